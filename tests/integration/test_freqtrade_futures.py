"""Real freqtrade on linear contracts: its stops at the exchange, its trades in the journal, a silent watchdog.

The tests follow one stack from its first trades to its end. The bot's first round has a trade in each pair; after it
the bot rests for minutes, so what needs a trade comes first.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from integration.bot import PASSING, Bot, resting_order
from integration.stack import ROOT, Stack, wait_until

FILLS_WITHIN_S = 600
READY_WITHIN_S = 300
FREQTRADE_CONFIG = "state/freqtrade/config.json"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(READY_WITHIN_S + 2 * FILLS_WITHIN_S)]


@pytest.fixture(scope="module")
def trading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The demo with real freqtrade on linear contracts."""
    tmp_path = tmp_path_factory.mktemp("freqtrade")
    arguments = ("--json", "--bot", "freqtrade", "--mode", "futures", "--speed", "0.5")
    stack = Stack(tmp_path, *arguments, ready_within_s=READY_WITHIN_S)
    try:
        yield stack
    finally:
        stack.stop()


def stops(stack: Stack, *, is_open: bool) -> list[dict[str, Any]]:
    state = stack.control.get("/state").json()
    listed = state["orders"] if is_open else state["closed_orders"]
    return [order for order in listed if Decimal(order.get("triggerPrice") or 0) > 0]


def trades(stack: Stack) -> list[dict[str, Any]]:
    """The bot's closed trades, as its own control interface lists them."""
    bot = stack.description["freqtrade"]
    answer = httpx.get(f"{bot['url']}/api/v1/trades", auth=(bot["username"], bot["password"]), trust_env=False)
    listed: list[dict[str, Any]] = answer.raise_for_status().json()["trades"]
    return [trade for trade in listed if not trade["is_open"]]


def set_price(stack: Stack, symbol: str, price: Decimal) -> None:
    ticks = {"BTCUSDT": "0.1", "ETHUSDT": "0.01", "XRPUSDT": "0.0001"}
    body = {"symbol": symbol, "price": str(price.quantize(Decimal(ticks[symbol])))}
    stack.control.post("/price", json=body).raise_for_status()


def denial_codes(stack: Stack) -> set[str]:
    return {str(row["fields"]["code"]) for row in stack.rows() if row["kind"] == "order:denied"}


def test_freqtrade_sees_its_trade_closed_by_the_stop_when_the_price_falls_through(trading: Stack) -> None:
    """The first stop that rests is taken: its trade is too young for an exit of the bot's own."""
    (resting, *_) = wait_until(lambda: stops(trading, is_open=True), within_s=FILLS_WITHIN_S, what="a resting stop")
    trigger, symbol = Decimal(resting["triggerPrice"]), resting["symbol"]
    for beyond in ("1.002", "0.999"):  # to its door, and through it by less than its slippage
        set_price(trading, symbol, trigger * Decimal(beyond))
        time.sleep(0.3)
    assert (resting["orderStatus"], resting["orderType"], resting["side"]) == ("Untriggered", "Limit", "Sell")
    assert (resting["reduceOnly"], resting["triggerBy"]) == (True, "MarkPrice")
    assert resting["orderLinkId"].startswith("T1")
    filled = wait_until(
        lambda: [order for order in stops(trading, is_open=False) if order["orderId"] == resting["orderId"]],
        what="the stop filled",
    )
    assert filled[0]["orderStatus"] == "Filled"
    assert Decimal(filled[0]["avgPrice"]) >= trigger * (1 - Decimal("0.004"))
    closed = wait_until(
        lambda: [trade for trade in trades(trading) if trade["exit_reason"] == "stoploss_on_exchange"],
        what="the bot saw its trade closed by the stop",
    )
    assert closed[0]["pair"].startswith(symbol.removesuffix("USDT") + "/")
    assert closed[0]["close_profit"] < -0.04
    assert denial_codes(trading) <= PASSING


def test_freqtrade_takes_its_stop_back_after_its_exit(trading: Stack) -> None:
    ended = wait_until(
        lambda: [order for order in stops(trading, is_open=False) if order["orderStatus"] != "Filled"],
        within_s=FILLS_WITHIN_S,
        what="a stop taken back",
    )
    assert (ended[0]["orderStatus"], ended[0]["cancelType"]) == ("Deactivated", "CancelByUser")
    rows = trading.rows()
    asked = [row for row in rows if row["kind"] == "cancel:intent"]
    assert [row for row in asked if row["fields"]["order_id"] == ended[0]["orderId"]], "the bot itself took it back"
    wait_until(
        lambda: [trade for trade in trades(trading) if trade["exit_reason"] in {"held_long_enough", "roi"}],
        what="the trade closed",
    )
    assert denial_codes(trading) <= PASSING
    assert not [row for row in rows if row["kind"] == "incident:opened"]


def swing_trades(stack: Stack) -> dict[str, dict[str, Any]]:
    """The table of trades, as the command shows it while everything runs."""
    command = [ROOT / ".venv/journal/bin/trade-journal", "table", "swing_trades", "--json"]
    shown = subprocess.run(
        [*command, "--journal", stack.description["journals"]["gateway"]], check=True, capture_output=True, text=True
    )
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    return {record["trade_id"]: record for record in records}


def test_freqtrade_s_trades_stand_in_the_journal_once_each_with_thesis_and_result(trading: Stack) -> None:
    closed = trades(trading)
    assert len(closed) >= 2
    wait_until(
        lambda: all(swing_trades(trading).get(str(trade["trade_id"]), {}).get("exit") for trade in closed),
        what="every closed trade in the journal",
    )
    table = swing_trades(trading)
    for trade in closed:
        record = table[str(trade["trade_id"])]
        assert (record["pair"], record["direction"], record["status"]) == (trade["pair"], "long", "closed")
        assert record["thesis"] == f"QuietMaker flat_at_the_bid -> {trade['exit_reason']}"
        assert float(str(record["profit"]).removesuffix(" USDT")) == pytest.approx(trade["close_profit_abs"])
        assert float(str(record["profit_ratio"])) == pytest.approx(trade["close_profit"])
        assert str(record["entry"]).startswith(f"{trade['amount']} at ")
    rows = [row for row in trading.rows() if row["actor"] == "shim"]
    for kind in ("swing_trade:opened", "swing_trade:closed"):
        ids = [row["fields"]["trade_id"] for row in rows if row["kind"] == kind]
        assert len(ids) == len(set(ids))


def test_shim_of_a_real_bot_repeats_no_secret(trading: Stack) -> None:
    described = trading.description
    secrets = [described["gateway"]["secret"], described["gateway"]["key"], described["freqtrade"]["password"]]
    secrets += re.findall(r'"(?:jwt_secret_key|ws_token)": "([^"]+)"', (trading.folder / FREQTRADE_CONFIG).read_text())
    assert len(secrets) >= 4
    rows = json.dumps([row for row in trading.rows() if row["actor"] == "shim"])
    folder = trading.folder / "state" / "shim"
    told = [rows, *(path.read_text() for path in folder.rglob("*") if path.is_file())]
    told.append((trading.folder / "state" / "logs" / "shim.log").read_text())
    assert "swing_trade:closed" in rows
    assert not [secret for secret in secrets if any(secret in text for text in told)]


def test_lesson_of_a_real_trade_stands_in_the_table(trading: Stack) -> None:
    trade_id = str(trades(trading)[0]["trade_id"])
    config = trading.description["processes"]["shim"]["command"][-1]
    command = [ROOT / ".venv/journal/bin/trade-journal", "lesson", trade_id, "do it again", "--config", config]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.endswith(f"the lesson of trade {trade_id}\n")
    assert swing_trades(trading)[trade_id]["lesson"] == "do it again"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
def test_silent_watchdog_leaves_a_trading_bot_reduce_only_when_its_lease_ends(
    trading: Stack, number: signal.Signals
) -> None:
    trading.wait_for_state("ACTIVE")
    trading.kill("watchdog", number)
    trading.wait_for_state("REDUCE_ONLY")
    before = len(creates(trading))
    bot = Bot(trading.gateway)
    for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT"):
        order = resting_order(trading, category="linear", symbol=symbol, usdt=80) | {"positionIdx": 0}
        answer = bot.post("/v5/order/create", order)
        assert (answer["retCode"], answer["retMsg"].split(":")[0]) == (110066, "STATE_REDUCE_ONLY"), answer
    bot.close()
    time.sleep(5)  # some rounds of the real bot
    assert all(json.loads(request["body"]).get("reduceOnly") for request in creates(trading)[before:])
    if number is signal.SIGSTOP:
        trading.kill("watchdog", signal.SIGCONT)
    else:
        trading.reap("watchdog")
        trading.restart("watchdog")
    trading.wait_for_state("ACTIVE")


def creates(stack: Stack) -> list[dict[str, Any]]:
    """Every order that the simulator was sent."""
    return stack.requests_at_exchange("/v5/order/create")


def test_freqtrade_demo_names_who_died_and_only_the_stop_took(trading: Stack) -> None:
    stopped = [order for order in stops(trading, is_open=False) if order["orderStatus"] == "Filled"]
    assert trading.stop() == 1
    lines = (json.loads(line) for line in (trading.folder / "demo.log").read_text().splitlines())
    (summary,) = (line for line in lines if line["kind"] == "summary")
    assert summary["verdict"] == "ended without being asked to: watchdog"
    assert summary["entry_fills"] > 0
    assert summary["taker_fills"] >= len(stopped) > 0
    assert summary["error_lines"] == []
    assert set(summary["denials"]) <= PASSING
