"""The disk of the journal is full: nothing adds risk, nothing is trapped, and no acknowledged row is lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from crash.full_disk import SmallDisk, small_disk_under_the_writer
from crash.kills import check_journal
from integration.bot import Bot, resting_order
from integration.stack import Stack, wait_until

from trade_journal.log.rows import Row, RowKind
from trade_journal.store.store import JournalReader

STILL_LOOKS = 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]
CREATE, CANCEL = "/v5/order/create", "/v5/order/cancel"


@pytest.fixture
def stack_on_a_small_disk(tmp_path: Path) -> Iterator[tuple[Stack, SmallDisk]]:
    """A stack that is ACTIVE and holds a coin to sell, with its journal on a disk of its own."""
    stack = Stack(tmp_path)
    with small_disk_under_the_writer(stack) as disk, being_read(stack):
        stack.control.post("/flow", json={"coin": "XRP", "amount": "60"}).raise_for_status()
        stack.wait_for_state("ACTIVE")
        yield stack, disk


@contextmanager
def being_read(stack: Stack) -> Iterator[None]:
    """Keep the database open, so that what its readers share stays on the disk.

    It is let go with the last connection, and what fills the disk at that moment takes its place: nobody can read the
    database then, and only cancels pass, until there is room.
    """
    with closing(sqlite3.connect(stack.description["journals"]["gateway"].removeprefix("sqlite:///"))) as connection:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        yield


def sale(stack: Stack, quantity: int) -> dict[str, Any]:
    """An order that sells what is held, above the market."""
    order = resting_order(stack)
    return order | {"side": "Sell", "price": f"{float(order['price']) / 0.97 * 1.03:.3f}", "qty": str(quantity)}


def is_sold(stack: Stack, bot: Bot) -> bool:
    """Try to sell, no faster than the message throttle takes: the gateway may be looking for the restarted writer."""
    time.sleep(0.3)
    return bool(bot.post(CREATE, sale(stack, 11))["retCode"] == 0)


def in_journal(stack: Stack) -> list[Row]:
    """Read what the database itself holds."""
    reader = JournalReader(stack.description["journals"]["gateway"])
    rows: list[Row] = []
    while page := reader.read(len(rows), 1000):
        rows += page
    reader.close()
    return rows


def reducing_tags(rows: list[dict[str, Any]]) -> set[str]:
    intents = [row["fields"] for row in rows if row["kind"] == "order:intent"]
    return {fields["tag"] for fields in intents if fields["adds_risk"] is False}


def sent_tags(stack: Stack, side: str) -> set[str]:
    orders: list[dict[str, Any]] = stack.control.get("/state").json()["orders"]
    return {str(order["orderLinkId"]) for order in orders if order["side"] == side}


def filled_until_nothing_is_written(stack: Stack, disk: SmallDisk, bot: Bot) -> None:
    disk.fill()
    wait_until(
        lambda: (
            bot.post(CREATE, resting_order(stack, symbol="ETHUSDT", usdt=64))["retCode"] != 0
            and not stack.state()["journal"]["is_writable"]
        ),
        what="the journal cannot be written",
    )
    sizes: list[int] = []
    # What was on its way may still find room in pages that the database has.
    wait_until(lambda: _is_still(stack, sizes), what="nothing more is written")


def _is_still(stack: Stack, sizes: list[int]) -> bool:
    sizes.append(len(in_journal(stack)))
    time.sleep(0.2)
    return len(sizes) > STILL_LOOKS and len(set(sizes[-STILL_LOOKS:])) == 1


def test_full_disk_refuses_new_risk_and_cancel_halt_and_reducing_order_pass_with_their_rows(
    stack_on_a_small_disk: tuple[Stack, SmallDisk],
) -> None:
    stack, disk = stack_on_a_small_disk
    bot = Bot(stack.gateway)
    wait_until(lambda: is_sold(stack, bot), what="the coin can be sold")
    filled_until_nothing_is_written(stack, disk, bot)
    size = len(in_journal(stack))
    refused = bot.post(CREATE, resting_order(stack, symbol="BTCUSDT", usdt=70))
    assert refused["retMsg"].split(":")[0] in {"STATE_REDUCE_ONLY", "JOURNAL_NOT_WRITABLE"}

    sold = wait_until(lambda: (found := bot.post(CREATE, sale(stack, 12)))["retCode"] == 0 and found, what="an exit")
    cancel = {"category": "spot", "symbol": "XRPUSDT", "orderId": sold["result"]["orderId"]}
    assert bot.post(CANCEL, cancel)["retCode"] == 0
    assert stack.admin.post("/halt", json={"reason": "full"}).json()["trading_state"] == "HALTED"
    assert len(in_journal(stack)) == size
    seen = stack.rows()[size:]
    assert {"order:intent", "cancel:intent", "state:changed"} <= {row["kind"] for row in seen}
    assert sent_tags(stack, "Sell") <= reducing_tags(stack.rows())
    assert stack.state()["journal"]["emergency_rows"] >= 3

    # Neither process remembers: the rows do, with the disk as full as before.
    for name in ("gateway", "journal-writer"):
        stack.kill(name)
        stack.reap(name)
    stack.restart("journal-writer")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    assert stack.state()["holders"]["operator_latch"]["reason"] == "full"
    assert stack.rows()[size : size + len(seen)] == seen
    assert not stack.state()["journal"]["is_writable"]
    again = wait_until(lambda: (found := bot.post(CREATE, sale(stack, 13)))["retCode"] == 0 and found, what="an exit")
    acknowledged = stack.rows()

    disk.empty()
    wait_until(lambda: stack.state()["journal"]["is_writable"], what="the journal is back")
    wait_until(lambda: stack.state()["journal"]["pending"] == 0, what="what waited is written")
    rows = in_journal(stack)
    assert [row.seq for row in rows] == list(range(len(rows)))
    assert [(row.seq, row.kind.value) for row in rows[: len(acknowledged)]] == [
        (row["seq"], row["kind"]) for row in acknowledged
    ]
    recovered = next(row for row in rows[size:] if row.kind is RowKind.JOURNAL_RECOVERED)
    assert recovered.fields["rows_from_segment"] == recovered.seq - size >= len(acknowledged) - size
    assert bot.post(CANCEL, cancel | {"orderId": again["result"]["orderId"]})["retCode"] == 0
    assert sent_tags(stack, "Sell") <= reducing_tags(stack.rows())

    for name in ("gateway", "journal-writer"):
        stack.kill(name)
        stack.reap(name)
    for name in ("journal-writer", "gateway"):
        stack.restart(name)
    stack.wait_for_state("HALTED")
    assert [(row.seq, row.kind) for row in in_journal(stack)[: len(rows)]] == [(row.seq, row.kind) for row in rows]
    reader = JournalReader(stack.description["journals"]["gateway"])
    check_journal(stack, reader)
    reader.close()
    bot.close()
