"""Freqtrade's own database, read and never written, so that nothing here can stop the bot.

Guarantees
- It is opened read-only for one short reading and closed again: no lock outlives a page of trades, and a bot that
  holds a lock is waited for BUSY_WAIT_S at most.
- No file is made beside it. SQLite would make `-wal` and `-shm` files even for a reader, as our user, which the bot
  might then not be able to write. So a database in WAL mode is read with the files that the bot has made, or, when it
  has ended and taken them away, as a file that nobody writes; what was read is thrown away if somebody did.
- Only the columns named here are read. Settings, custom data and wallet tables of the bot stay its own.
- What is no database of freqtrade's, or one of another version, is refused with a sentence that names what was found.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from trade_journal.trades.bot_trades import (
    BotTrade,
    Result,
    TradeRefused,
    foreign_text,
    number_text,
    optional_number_text,
    sum_text,
    time_ns,
)

BUSY_WAIT_S: Final = 0.5
PAGE_TRADES: Final = 200  # a reading of some milliseconds
TRADES_MAX: Final = 1_000_000
TESTED_WITH: Final = "2026.9"
TRADE_COLUMNS: Final = (
    "id",
    "pair",
    "is_open",
    "is_short",
    "leverage",
    "strategy",
    "enter_tag",
    "open_rate",
    "amount",
    "open_date",
    "close_rate",
    "close_date",
    "close_profit",
    "close_profit_abs",
    "realized_profit",
    "exit_reason",
    "stake_currency",
    "fee_open_cost",
    "fee_open_currency",
    "fee_close_cost",
    "fee_close_currency",
)
ORDER_COLUMNS: Final = ("id", "ft_trade_id", "ft_order_side", "ft_is_open", "order_id", "filled")
_HEADER_BYTES: Final = 20
_MAGIC: Final = b"SQLite format 3\x00"
_WAL_VERSION: Final = 2  # the read version of a database in WAL mode, https://www.sqlite.org/fileformat.html
# A plus keeps SQLite from searching by that column: each would find nearly all orders, the trade's number a few.
_OF_TRADE: Final = "FROM orders o WHERE o.ft_trade_id = t.id AND +o.ft_is_open = 0 AND o.filled > 0"
_ENTRY_SIDE: Final = "CASE WHEN t.is_short THEN 'sell' ELSE 'buy' END"
_QUERY: Final = (
    f"SELECT {', '.join(f't.{name}' for name in TRADE_COLUMNS)},"  # noqa: S608 - constants only
    f" (SELECT SUM(o.filled) {_OF_TRADE} AND o.ft_order_side = {_ENTRY_SIDE}) AS entry_amount,"
    f" (SELECT SUM(o.filled) {_OF_TRADE} AND o.ft_order_side <> {_ENTRY_SIDE}) AS exit_amount,"
    f" (SELECT o.order_id {_OF_TRADE} AND o.ft_order_side = {_ENTRY_SIDE} ORDER BY +o.id LIMIT 1) AS entry_order_id"
    " FROM trades t WHERE t.id > :after AND (t.is_open OR t.id > :settled) ORDER BY t.id LIMIT :limit"
)


class BotDatabaseUnreadable(Exception):
    """The bot's database cannot be read now; the message says what was found. Nothing is lost by trying again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One trade of the database: `trade` when it has a fill, `odd` when it makes no sense."""

    number: int
    trade: BotTrade | None = None
    odd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMark:
    """What tells whether a file is another one, or was written meanwhile."""

    device: int
    inode: int
    size: int
    modified_at_ns: int

    def is_same_file(self, other: FileMark) -> bool:
        """Tell whether it is the same file, whatever is in it."""
        return (self.device, self.inode) == (other.device, other.inode)


def mark_of(path: Path) -> FileMark:
    """Look at the file. Raises BotDatabaseUnreadable when there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise BotDatabaseUnreadable(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise BotDatabaseUnreadable(f"{path}: is no file")
    return FileMark(device=found.st_dev, inode=found.st_ino, size=found.st_size, modified_at_ns=found.st_mtime_ns)


def read_trades(path: Path, *, settled: int = 0) -> list[Found]:
    """Read every trade that is open or has a number above `settled`. Raises BotDatabaseUnreadable."""
    before = mark_of(path)
    is_left_alone = _is_wal(path) and not _beside(path, "-wal").exists()
    try:
        with closing(_opened(path, is_left_alone=is_left_alone)) as database:
            _check_schema(path, database)
            found = list(_pages(path, database, settled))
    except sqlite3.Error as error:
        raise BotDatabaseUnreadable(f"{path}: {_why(error)}") from error
    if is_left_alone and (mark_of(path) != before or _beside(path, "-wal").exists()):
        raise BotDatabaseUnreadable(f"{path}: the bot has begun to write it while it was read")
    return found


def _is_wal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise BotDatabaseUnreadable(f"{path}: cannot be read: {error.strerror}") from error
    if not header:
        raise BotDatabaseUnreadable(f"{path}: is empty; freqtrade has not made its tables yet")
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise BotDatabaseUnreadable(f"{path}: is no SQLite database")
    is_wal = header[_HEADER_BYTES - 1] == _WAL_VERSION
    if is_wal and _beside(path, "-wal").exists() and not _beside(path, "-shm").exists():
        raise BotDatabaseUnreadable(f"{path}: has a -wal file and no -shm file: it waits for the bot to recover it")
    return is_wal


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _opened(path: Path, *, is_left_alone: bool) -> sqlite3.Connection:
    how = "immutable=1" if is_left_alone else "readonly_shm=1"
    uri = f"file:{quote(os.fspath(path.absolute()))}?mode=ro&{how}"
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=True)
    database.row_factory = sqlite3.Row
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return database


def _why(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    match name.removeprefix("SQLITE_"):
        case "BUSY" | "BUSY_RECOVERY" | "BUSY_SNAPSHOT" | "LOCKED":
            return f"is locked by the bot for longer than {BUSY_WAIT_S:g} s"
        case "NOTADB" | "CORRUPT":
            return "is no whole SQLite database"
        case _:
            return f"cannot be read ({name})"


def _check_schema(path: Path, database: sqlite3.Connection) -> None:
    for table, wanted in (("trades", TRADE_COLUMNS), ("orders", ORDER_COLUMNS)):
        there = {str(column["name"]) for column in database.execute(f"PRAGMA table_info({table})")}
        if not there:
            raise BotDatabaseUnreadable(f"{path}: has no table {table}: not a database of freqtrade's, or a new one")
        missing = [name for name in wanted if name not in there]
        if missing:
            raise BotDatabaseUnreadable(
                f"{path}: the table {table} has no {', '.join(missing)}: an older or newer freqtrade than {TESTED_WITH}"
            )


def _pages(path: Path, database: sqlite3.Connection, settled: int) -> Iterator[Found]:
    after = count = 0
    while True:
        asked = {"after": after, "settled": settled, "limit": PAGE_TRADES}
        page = database.execute(_QUERY, asked).fetchall()  # one statement is one reading: no lock is left behind
        count += len(page)
        if count > TRADES_MAX:
            raise BotDatabaseUnreadable(f"{path}: more than {TRADES_MAX} trades")
        for record in page:
            yield _found(record)
        if len(page) < PAGE_TRADES:
            return
        after = int(page[-1]["id"])


def _found(record: sqlite3.Row) -> Found:
    values = {name: record[name] for name in record.keys()}  # noqa: SIM118 - a Row iterates over its values
    number = int(values["id"])
    try:
        return Found(number=number, trade=_trade(values))
    except TradeRefused as error:
        return Found(number=number, odd=str(error))


def _trade(values: Mapping[str, Any]) -> BotTrade | None:
    """Give a trade; None when nothing of it is filled yet."""
    if values["entry_amount"] is None:
        return None
    return BotTrade(
        pair=foreign_text("pair", values["pair"]),
        direction="short" if values["is_short"] else "long",
        leverage=number_text("leverage", 1 if values["leverage"] is None else values["leverage"]),
        strategy=foreign_text("strategy", values["strategy"]),
        enter_tag=foreign_text("enter_tag", values["enter_tag"]),
        entry_order_id=foreign_text("order_id", values["entry_order_id"]),
        entry_price=number_text("open_rate", values["open_rate"]),
        entry_amount=sum_text("filled", values["entry_amount"]),
        opened_at_ns=time_ns("open_date", values["open_date"]),
        amount=number_text("amount", values["amount"]),
        exit_amount=sum_text("filled", values["exit_amount"]),
        realized_profit=optional_number_text("realized_profit", values["realized_profit"]),
        result=None if values["is_open"] else _result(values),
    )


def _result(values: Mapping[str, Any]) -> Result:
    return Result(
        exit_price=optional_number_text("close_rate", values["close_rate"]),
        exit_reason=foreign_text("exit_reason", values["exit_reason"]),
        closed_at_ns=time_ns("close_date", values["close_date"]),
        profit=optional_number_text("close_profit_abs", values["close_profit_abs"]),
        profit_ratio=optional_number_text("close_profit", values["close_profit"]),
        currency=foreign_text("stake_currency", values["stake_currency"]),
        entry_fee=_fee("fee_open", values),
        exit_fee=_fee("fee_close", values),
    )


def _fee(name: str, values: Mapping[str, Any]) -> str | None:
    cost = optional_number_text(f"{name}_cost", values[f"{name}_cost"])
    currency = foreign_text(f"{name}_currency", values[f"{name}_currency"])
    return None if cost is None else f"{cost} {currency}".rstrip()
