"""A second venue beside the exchange, on real processes: it denies when it differs, and delays nothing when silent."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from integration.bot import Bot, resting_order
from integration.stack import Stack, wait_until
from integration.venue import Venue, point_watchdog

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]

SYMBOL = "XRPUSDT"
COINS = ["BTC", "ETH", "XRP"]
LEASE_LIFETIME_S = 20


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    """A second venue that is well."""
    running = Venue(tmp_path_factory.mktemp("venue"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def watched(stack: Stack, venue: Venue) -> Stack:
    """A stack whose watchdog reads the second venue, with every second price in."""
    for coin in COINS:
        follow(stack, venue, f"{coin}USDT")
    point_watchdog(stack, venue)
    wait_until(lambda: second_venue(stack) == ("bybit", []), what="every second price")
    stack.wait_for_state("ACTIVE")
    return stack


@pytest.fixture
def bot(watched: Stack) -> Iterator[Bot]:
    """The bot."""
    made = Bot(watched.gateway)
    yield made
    made.close()


def own_price(stack: Stack, symbol: str = SYMBOL) -> float:
    query = {"category": "linear", "symbol": symbol}
    ticker = httpx.get(stack.simulator["url"] + "/v5/market/tickers", params=query).json()["result"]["list"][0]
    return float(ticker["indexPrice"])


def follow(stack: Stack, venue: Venue, symbol: str = SYMBOL, *, factor: float = 1) -> None:
    venue.set_price(symbol, own_price(stack, symbol) * factor)


def second_venue(stack: Stack) -> tuple[str | None, list[str]]:
    said = stack.state()["second_venue"]
    return said["name"], said["missing"]


def status(stack: Stack, coin: str = "XRP") -> str:
    return str(stack.state()["references"][coin]["status"])


def until_status(stack: Stack, wanted: str) -> None:
    wait_until(lambda: status(stack) == wanted, what=f"XRP {wanted}")


def entered(stack: Stack, bot: Bot, symbol: str = SYMBOL) -> str:
    """Try to enter; take an accepted order back and return why not."""
    answer = bot.create(resting_order(stack, symbol=symbol, usdt=20 if symbol == SYMBOL else 100))
    if answer["retCode"] == 0:
        cancel = {"category": "spot", "symbol": symbol, "orderId": answer["result"]["orderId"]}
        assert bot.post("/v5/order/cancel", cancel)["retCode"] == 0
    return str(answer["retMsg"])


def gauge(stack: Stack, line: str) -> float:
    text = stack.admin.get("/metrics").text
    return float(next(one for one in text.splitlines() if one.startswith(line + " ")).rsplit(" ", 1)[1])


def exit_order(stack: Stack) -> dict[str, Any]:
    return {
        "category": "spot",
        "symbol": SYMBOL,
        "side": "Sell",
        "orderType": "Limit",
        "timeInForce": "PostOnly",
        "price": f"{own_price(stack) * 1.02:.3f}",
        "qty": "10",
    }


# The tests share a stack and stand in order: the venue is dead after the last.


def test_second_venue_that_differs_denies_entries_of_that_coin_until_it_agrees(
    watched: Stack, venue: Venue, bot: Bot
) -> None:
    watched.control.post("/flow", json={"coin": "XRP", "amount": "20"}).raise_for_status()
    wait_until(lambda: bot.post("/v5/order/create", exit_order(watched))["retCode"] == 0, what="an exit passes")
    assert entered(watched, bot) == "OK"

    follow(watched, venue, factor=1.05)
    until_status(watched, "second diverges")
    assert entered(watched, bot).startswith("REFERENCE_DIVERGES: ")
    assert entered(watched, bot, "ETHUSDT") == "OK"
    second = watched.state()["references"]["XRP"]["second"]
    assert 0.045 < float(second["divergence"]) < 0.055
    assert gauge(watched, 'trade_gateway_second_price_divergence_fraction{coin="XRP"}') > 0.045
    watched.wait_for_state("ACTIVE")
    time.sleep(11)  # beyond the duplicate window of the first exit
    assert bot.create(exit_order(watched))["retMsg"] == "OK"

    follow(watched, venue)
    until_status(watched, "usable")
    assert entered(watched, bot) == "OK"


def test_second_venue_that_hangs_delays_no_lease_and_is_missed(watched: Stack, venue: Venue, bot: Bot) -> None:
    venue.signal(signal.SIGSTOP)
    ages: list[float] = []

    def is_missed() -> bool:
        ages.append(float(watched.state()["lease"]["age_s"]))
        return second_venue(watched) == ("bybit", COINS)

    wait_until(is_missed, what="the second prices are missed")
    assert max(ages) < LEASE_LIFETIME_S
    watched.wait_for_state("ACTIVE")
    assert entered(watched, bot) == "OK"
    assert gauge(watched, "trade_gateway_second_prices_missing") == len(COINS)

    venue.signal(signal.SIGCONT)
    follow(watched, venue)
    wait_until(lambda: second_venue(watched) == ("bybit", []), what="every second price again")


def test_silence_after_a_difference_is_no_agreement(watched: Stack, venue: Venue, bot: Bot) -> None:
    follow(watched, venue, factor=0.95)
    until_status(watched, "second diverges")
    venue.signal(signal.SIGKILL)
    wait_until(lambda: "XRP" in second_venue(watched)[1], what="XRP is missed")
    assert second_venue(watched) == ("bybit", COINS)
    assert status(watched) == "second diverges"
    assert entered(watched, bot).startswith("REFERENCE_DIVERGES: ")
    assert entered(watched, bot, "ETHUSDT") == "OK"  # a coin that agreed goes on by its index

    point_watchdog(watched, None)  # nor does a watchdog that is told to ask nobody
    generation = watched.state()["lease"]["generation"]
    wait_until(lambda: watched.state()["lease"]["generation"] > generation + 1, what="new leases")
    assert second_venue(watched) == ("bybit", COINS)
    assert entered(watched, bot).startswith("REFERENCE_DIVERGES: ")
