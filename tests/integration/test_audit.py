"""The audit in the running stack: what a thief does is found and halts, and what the bot does is not.

A key that nobody expects, and a row that root edits, are found in the demo's scenarios of them.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.bot import Bot, resting_order
from integration.security_keys import arm, enrol, last_kill
from integration.stack import Stack, wait_until

from trade_core.trust.tag import NONCE_BYTES, TaggedOrder, make_tag

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own for each test: a halt stays."""
    made = Stack(tmp_path)
    made.wait_for_state("ACTIVE")
    yield made
    made.stop()


def audit_of(stack: Stack) -> dict[str, Any]:
    """What the watchdog's audit says."""
    watchdog = stack.description["watchdog"]
    headers = {"Authorization": f"Bearer {watchdog['admin_token']}"}
    state = httpx.get(watchdog["admin"] + "/state", headers=headers, timeout=30).raise_for_status().json()
    audit: dict[str, Any] = state["audit"]
    return audit


def act(stack: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = stack.control.post(path, json=body).raise_for_status().json()
    return answer


def trade(stack: Stack, *, orders: int, category: str) -> None:
    """Place and cancel orders as a bot does."""
    bot = Bot(stack.gateway)
    try:
        for number in range(orders):
            order = resting_order(stack, category=category, usdt=20 + number)
            placed = bot.create(order)
            assert placed["retCode"] == 0, placed
            if number % 2:
                cancel = {"category": category, "symbol": order["symbol"], "orderId": placed["result"]["orderId"]}
                assert bot.post("/v5/order/cancel", cancel)["retCode"] == 0
    finally:
        bot.close()


def is_calm(audit: dict[str, Any]) -> bool:
    """Tell whether every order was judged, the posture was read, and the limits are known."""
    return not audit["pending_orders"] and not audit["posture_detail"] and bool(audit["are_limits_known"])


def test_order_behind_the_gateway_is_found_among_the_bots_and_halts(stack: Stack) -> None:
    for category in ("spot", "linear"):
        trade(stack, orders=4, category=category)
    rounds = audit_of(stack)["journal_rounds"]
    wait_until(lambda: audit_of(stack)["journal_rounds"] > rounds + 1, what="the journal is read again")
    calm = wait_until(
        lambda: audit if is_calm(audit := audit_of(stack)) else None,
        what="everything was looked at, and every order judged",
    )
    assert (calm["rogue_orders"], calm["other_orders"], calm["unproven_orders"]) == (0, 0, 0)
    assert (calm["key_alarms"], calm["posture_alarms"], calm["limit_alarms"]) == ([], [], [])
    stack.wait_for_state("ACTIVE")
    order = resting_order(stack, symbol="BTCUSDT", usdt=300)
    act(stack, "/order", {**order, "timeInForce": "GTC"})
    stack.wait_for_state("HALTED")
    assert audit_of(stack)["rogue_orders"] == 1
    halt = stack.state()["holders"]["operator_latch"]
    assert "no tag of this deployment" in halt["reason"]


def test_market_order_behind_the_gateway_is_found_by_its_execution_and_kills_as_it_was_armed(stack: Stack) -> None:
    enrol(stack)
    arm(stack)
    act(
        stack,
        "/order",
        {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.001"},
    )
    stack.wait_for_state("KILLED")
    assert audit_of(stack)["rogue_orders"] == 1
    # The watchdog's signed evidence, the executor's own look and the touch of before: nobody touched anything now.
    killed = wait_until(lambda: last_kill(stack), what="the kill is over")
    assert (killed["verdict"], killed["authority"], killed["is_drill"]) == ("complete", "standing_warrant", False)
    state = stack.state()
    assert state["holders"]["operator_latch"]["reason"].startswith("killed automatically, as armed: ARM an automatic")
    assert state["killed_keys"] == [state["order_key"]]
    exchange = stack.control.get("/state").raise_for_status().json()
    assert [one for one in exchange["orders"] if one["uid"] == state["account"]] == []


def stop_gateway(stack: Stack) -> None:
    """Kill the gateway and its journal's writer."""
    for name in ("gateway", "journal-writer"):
        stack.kill(name)
        stack.reap(name)


def start_gateway(stack: Stack) -> None:
    for name in ("journal-writer", "gateway"):
        stack.restart(name)


def test_forked_journal_is_proved_to_the_executor_and_kills_as_it_was_armed(stack: Stack, tmp_path: Path) -> None:
    enrol(stack)
    arm(stack)
    folder = Path(stack.description["journals"]["gateway"].removeprefix("sqlite:///")).parent
    kept = tmp_path / "kept"
    kept.mkdir()
    stop_gateway(stack)
    for file in folder.iterdir():
        if file.is_file():
            shutil.copy2(file, kept)
    start_gateway(stack)
    stack.wait_for_state("ACTIVE", within_s=60)
    stop_gateway(stack)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    for file in kept.iterdir():
        shutil.copy2(file, folder)
    start_gateway(stack)  # whose log signs another history from here on
    killed = wait_until(lambda: last_kill(stack), within_s=120, what="the kill is over")
    assert (killed["verdict"], killed["authority"]) == ("complete", "standing_warrant")
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor") as executor:
        rows = executor.get("/journal/rows?from=0&limit=512").raise_for_status().json()["rows"]
    judged = [row["fields"] for row in rows if row["kind"] == "kill:judged"]
    assert [(row["condition"], row["holds"]) for row in judged] == [("forked_journal", True)]


def test_person_who_reduces_by_hand_halts_and_is_not_called_rogue(stack: Stack) -> None:
    bot = Bot(stack.gateway)
    order = resting_order(stack, category="linear", symbol="XRPUSDT", usdt=50)
    assert bot.create(order)["retCode"] == 0
    bot.close()
    act(stack, "/price", {"symbol": "XRPUSDT", "price": str(float(order["price"]) * 0.999)})
    wait_until(lambda: any(row["kind"] == "order:filled" for row in stack.rows()), what="the order is filled")
    hand = {"category": "linear", "symbol": "XRPUSDT", "side": "Sell", "orderType": "Market", "reduceOnly": True}
    act(stack, "/order", {**hand, "qty": order["qty"]})
    stack.wait_for_state("HALTED")
    found = audit_of(stack)
    assert (found["rogue_orders"], found["other_orders"]) == (0, 1)


def tag_key(stack: Stack) -> bytes:
    """The key that gateway and watchdog share, which who owns the gateway has."""
    (handed,) = stack.folder.glob("state/gateway/state/handover/watchdog.json")
    return bytes.fromhex(json.loads(handed.read_text())["tag_key"])


def watchdog_incidents(stack: Stack) -> set[str]:
    """The incidents of the watchdog's own journal, by their kinds."""
    url = stack.description["journals"]["watchdog"]
    with sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True) as journal:
        bodies = [bytes(body) for (body,) in journal.execute("SELECT body FROM rows")]
    rows = [json.loads(body) for body in bodies if b'"kind":"incident:opened"' in body]
    return {str(row["fields"]["type"]) for row in rows}


def turnover_of_starting(stack: Stack) -> str | None:
    """What a watchdog that may still be starting has counted; None while it does not answer."""
    try:
        used: str | None = audit_of(stack)["turnover"]["used_usdt"]
    except httpx.TransportError:
        return None
    return used


def test_owner_of_the_gateway_who_buys_dear_and_much_is_found_by_price_and_turnover(stack: Stack) -> None:
    bot = Bot(stack.gateway)
    order = resting_order(stack, category="linear", symbol="XRPUSDT", usdt=100)
    assert bot.create(order)["retCode"] == 0
    bot.close()
    act(stack, "/price", {"symbol": "XRPUSDT", "price": str(float(order["price"]) * 0.999)})
    wait_until(lambda: any(row["kind"] == "order:filled" for row in stack.rows()), what="the order is filled")
    used = format(Decimal(order["price"]) * Decimal(order["qty"]), "f").rstrip("0").rstrip(".")
    wait_until(lambda: audit_of(stack)["turnover"]["used_usdt"] == used, what="the fill is counted")
    stack.kill("watchdog")
    stack.reap("watchdog")
    stack.restart("watchdog")
    wait_until(lambda: turnover_of_starting(stack) == used, what="the fill is counted after a restart")
    wait_until(lambda: not audit_of(stack)["collars"]["waiting_orders"], what="the price is held against the index")
    assert audit_of(stack)["collars"]["given_up_orders"] == 0
    assert audit_of(stack)["turnover"]["budget_usdt"] == "6000"
    stack.wait_for_state("ACTIVE")
    state = stack.state()
    ticker = httpx.get(
        stack.simulator["url"] + "/v5/market/tickers", params={"category": "linear", "symbol": "BTCUSDT"}, timeout=30
    ).json()["result"]["list"][0]
    dear = TaggedOrder(
        category="linear",
        symbol="BTCUSDT",
        side="Buy",
        quantity=Decimal("0.1"),
        price=Decimal(round(float(ticker["indexPrice"]) * 1.04)),
        is_reducing=False,
    )
    link_id = make_tag(
        dear, key=tag_key(stack), deployment=state["deployment"], account=state["account"], nonce=b"n" * NONCE_BYTES
    )
    words = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "timeInForce": "GTC"}
    act(stack, "/flow", {"coin": "USDT", "amount": "10000"})  # or the exchange would refuse it for want of money
    taken = act(stack, "/order", {**words, "qty": "0.1", "price": str(dear.price), "orderLinkId": link_id})
    assert taken["retCode"] == 0, taken
    stack.wait_for_state("HALTED")
    wanted = {"limit:collar", "limit:turnover"}
    wait_until(lambda: watchdog_incidents(stack) >= wanted, what="price and turnover are incidents")


def commit_another_hand(url: str) -> None:
    """Commit something to a journal's file, as whoever may write there can, and leave every row as it is."""
    with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None) as journal:
        version = journal.execute("PRAGMA user_version").fetchone()[0]
        journal.execute(f"PRAGMA user_version = {int(version) + 1}")
        journal.execute(f"PRAGMA user_version = {int(version)}")


def executor_status(stack: Stack) -> dict[str, Any]:
    """What the kill executor says of itself."""
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", timeout=30) as executor:
        status: dict[str, Any] = executor.get("/status").raise_for_status().json()
    return status


def test_another_hand_in_the_executor_s_journal_is_named_and_one_in_the_watchdog_s_halts(stack: Stack) -> None:
    assert executor_status(stack)["journal"]["foreign_writes"] == 0
    commit_another_hand(stack.description["journals"]["executor"])
    wait_until(lambda: executor_status(stack)["journal"]["foreign_writes"], what="the executor names another hand")
    wait_until(lambda: "journal:foreign_write" in executor_status(stack)["unacknowledged"], what="a person is called")
    ready = executor_status(stack)["ready"]
    assert (ready["is_ready"], "somebody else has written" in ready["parts"]["journal"]) == (False, True)
    assert stack.state_name() != "HALTED"
    commit_another_hand(stack.description["journals"]["watchdog"])
    stack.wait_for_state("HALTED")
    assert "the watchdog's journal" in stack.state()["holders"]["operator_latch"]["reason"]
    wait_until(lambda: "journal:foreign_write" in watchdog_incidents(stack), what="it is an incident")
