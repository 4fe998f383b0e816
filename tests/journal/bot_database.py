"""A database as freqtrade keeps its trades in, with the columns that are read and some that must not be."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

CANARY = "hunter2-secret-of-the-exchange"
TRADE: dict[str, Any] = {
    "pair": "BTC/USDT",
    "is_open": 1,
    "is_short": 0,
    "leverage": 1.0,
    "strategy": "Sample",
    "enter_tag": "dip",
    "open_rate": 100.5,
    "amount": 0.2,
    "open_date": "2026-11-26 14:05:01.113776",
    "close_rate": None,
    "close_date": None,
    "close_profit": None,
    "close_profit_abs": None,
    "realized_profit": 0.0,
    "exit_reason": None,
    "stake_currency": "USDT",
    "fee_open_cost": 0.0201,
    "fee_open_currency": "USDT",
    "fee_close_cost": None,
    "fee_close_currency": None,
    "exchange": CANARY,
}
CLOSED: dict[str, Any] = {
    "is_open": 0,
    "close_rate": 101.0,
    "close_date": "2026-11-26 15:00:00.000000",
    "close_profit": 0.0029,
    "close_profit_abs": 0.0583,
    "realized_profit": 0.0583,
    "exit_reason": "roi",
    "fee_close_cost": 0.0202,
    "fee_close_currency": "USDT",
}
OPENED_AT_NS = 1_795_701_901_113_776_000
CLOSED_AT_NS = 1_795_705_200_000_000_000


class BotDatabase:
    """The bot's own hands on its database, which stays open in WAL mode as a running bot's does."""

    def __init__(self, path: Path, *, mode: str = "wal") -> None:
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(f"PRAGMA journal_mode={mode}")
        trade = ", ".join(TRADE)
        self._database.execute(f"CREATE TABLE trades (id INTEGER PRIMARY KEY, {trade})")
        self._database.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, ft_trade_id INTEGER, ft_order_side, ft_is_open, order_id,"
            " filled)"
        )
        for column in ("ft_trade_id", "ft_is_open"):
            self._database.execute(f"CREATE INDEX ix_orders_{column} ON orders ({column})")
        self._database.execute('CREATE TABLE "KeyValueStore" (id INTEGER PRIMARY KEY, key, string_value)')
        self.run('INSERT INTO "KeyValueStore" (key, string_value) VALUES (?, ?)', "secret", CANARY)

    def run(self, statement: str, *values: Any) -> None:
        """Say a statement and commit it."""
        self._database.execute(statement, values)

    def trade(self, number: int, *, filled: float | None = 0.2, **changed: Any) -> None:
        """Begin a trade whose first order has filled; with None it still waits."""
        values = {"id": number, **TRADE, **changed}
        marks = ", ".join("?" * len(values))
        self.run(f"INSERT INTO trades ({', '.join(values)}) VALUES ({marks})", *values.values())
        side = "sell" if values["is_short"] else "buy"
        self.order(number, side, filled, is_open=filled is None)

    def order(self, trade: int, side: str, filled: float | None, *, is_open: bool = False) -> None:
        """Add an order of a trade."""
        self.run(
            "INSERT INTO orders (ft_trade_id, ft_order_side, ft_is_open, order_id, filled) VALUES (?, ?, ?, ?, ?)",
            trade,
            side,
            int(is_open),
            f"order-of-{trade}",
            filled,
        )

    def set(self, number: int, **changed: Any) -> None:
        """Change a trade."""
        names = ", ".join(f"{name} = ?" for name in changed)
        self.run(f"UPDATE trades SET {names} WHERE id = {number}", *changed.values())

    def close_trade(self, number: int, *, filled: float = 0.2, **changed: Any) -> None:
        """End a trade by selling what is left."""
        self.order(number, "sell", filled)
        self.set(number, **{**CLOSED, **changed})

    def end(self) -> None:
        """End in order: SQLite takes the files beside the database away."""
        self._database.close()
