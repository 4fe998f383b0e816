"""Protective and disaster stops through real processes: they rest, fill, are found again, and outlive deaths."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.bot import Bot
from integration.stack import Stack, wait_until

from trade_demo.policy import demo_policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]

CREATE, CANCEL, REALTIME = "/v5/order/create", "/v5/order/cancel", "/v5/order/realtime"
SYMBOL = "XRPUSDT"
TICK = Decimal("0.0001")
SLIPPAGE = Decimal("0.004")
FRACTION = Decimal("0.1")
OPEN = ("Untriggered", "Triggered", "New", "PartiallyFilled")


def policy_file(folder: Path, *, has_disaster_stop: bool = False) -> Path:
    text = demo_policy()
    assert f'stop_slippage = "{SLIPPAGE}"' in text
    if has_disaster_stop:
        text += f'\n[disaster_stop]\nfraction = "{FRACTION}"\n'
    path = folder / "stops.toml"
    path.write_text(text)
    return path


class Scene:
    """A running stack, a bot, and what stands at the exchange."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.bot = Bot(stack.gateway)

    def price(self) -> Decimal:
        query = {"category": "linear", "symbol": SYMBOL}
        answer = httpx.get(self.stack.simulator["url"] + "/v5/market/tickers", params=query, timeout=30)
        return Decimal(answer.json()["result"]["list"][0]["lastPrice"])

    def set_price(self, price: Decimal) -> None:
        body = {"symbol": SYMBOL, "price": str(price.quantize(TICK))}
        self.stack.control.post("/price", json=body).raise_for_status()

    def faults(self, **fault: object) -> None:
        self.stack.control.post("/faults", json=fault).raise_for_status()

    def position(self) -> Decimal:
        state = self.stack.control.get("/state").json()
        sizes = [Decimal(p["size"]) for p in state["positions"] if p["symbol"] == SYMBOL]
        return sum(sizes, Decimal(0))

    def orders(self, *, is_open: bool = True) -> list[dict[str, Any]]:
        state = self.stack.control.get("/state").json()
        listed = state["orders"] if is_open else state["closed_orders"]
        tagged = [order for order in listed if str(order["orderLinkId"]).startswith("T1")]
        return [order for order in tagged if Decimal(order.get("triggerPrice") or 0) > 0]

    def buy(self, quantity: str = "100") -> Decimal:
        """Open or enlarge a position as a maker; returns the price."""
        before, price = self.position(), self.price()
        limit = (price * Decimal("0.9995")).quantize(TICK)
        order = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Limit", "qty": quantity}
        answer = self.bot.create({**order, "price": str(limit), "timeInForce": "PostOnly"})
        assert answer["retCode"] == 0, answer
        self.set_price(price * Decimal("0.998"))
        wait_until(lambda: self.position() == before + Decimal(quantity), what="the entry filled")
        wait_until(self.is_known, what="the position known and trusted")
        return limit

    def is_closed_by_a_fall(self) -> bool:
        """Let the price fall once more; tells whether the position is gone."""
        if self.position() != 0:
            self.set_price(self.price() * Decimal("0.99"))
        return self.position() == 0

    def is_known(self) -> bool:
        return bool(self.stack.state()["account_view"]["is_trusted"])

    def stop(self, trigger: Decimal, quantity: str = "100") -> dict[str, Any]:
        return self.bot.create(
            {
                "category": "linear",
                "symbol": SYMBOL,
                "side": "Sell",
                "orderType": "Market",
                "qty": quantity,
                "triggerPrice": str(trigger.quantize(TICK)),
                "triggerDirection": 2,
                "triggerBy": "MarkPrice",
                "reduceOnly": True,
            },
        )

    def shown_to_bot(self, **query: str) -> list[dict[str, Any]]:
        text = "&".join(f"{key}={value}" for key, value in {"category": "linear", "symbol": SYMBOL, **query}.items())
        listed: list[dict[str, Any]] = self.bot.get(REALTIME, text)["result"]["list"]
        return [order for order in listed if order["orderStatus"] in OPEN]

    def cancel(self, order_id: str) -> dict[str, Any]:
        return self.bot.post(CANCEL, {"category": "linear", "symbol": SYMBOL, "orderId": order_id})

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return [row["fields"] for row in self.stack.rows() if row["kind"] == kind]

    def incidents(self, kind: str) -> list[dict[str, Any]]:
        return [fields for fields in self.rows("incident:opened") if fields["type"] == kind]

    def flatten(self) -> None:
        """Leave nothing behind: sell as a maker while the price rises."""
        for order in self.shown_to_bot():
            self.cancel(order["orderId"])
        quantity, price = self.position(), self.price()
        if quantity:
            body = {"category": "linear", "symbol": SYMBOL, "side": "Sell", "orderType": "Limit", "reduceOnly": True}
            limit = str((price * Decimal("1.0005")).quantize(TICK))
            answer = self.bot.create({**body, "qty": str(quantity), "price": limit, "timeInForce": "PostOnly"})
            assert answer["retCode"] == 0, answer
            self.set_price(price * Decimal("1.002"))
        wait_until(lambda: self.position() == 0, what="flat")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack whose policy permits protective stops."""
    folder = tmp_path_factory.mktemp("stops")
    stack = Stack(folder, "--policy", str(policy_file(folder)), "--speed", "0.1")
    try:
        stack.wait_for_state("ACTIVE")
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def scene(running: Stack) -> Iterator[Scene]:
    """That stack, flat before and after."""
    made = Scene(running)
    running.control.delete("/faults")
    running.wait_for_state("ACTIVE")
    yield made
    running.control.delete("/faults")
    made.flatten()
    made.bot.close()


@pytest.fixture(scope="module")
def guarding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack whose policy has a disaster stop."""
    folder = tmp_path_factory.mktemp("disaster")
    policy = policy_file(folder, has_disaster_stop=True)
    stack = Stack(folder, "--policy", str(policy), "--speed", "0.1")
    try:
        stack.wait_for_state("ACTIVE")
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def guarded(guarding: Stack) -> Iterator[Scene]:
    """That stack, which a test leaves flat."""
    guarding.wait_for_state("ACTIVE")
    made = Scene(guarding)
    yield made
    made.bot.close()


def test_stop_rests_is_seen_by_its_bot_and_fills_within_its_limit(scene: Scene) -> None:
    scene.buy()
    trigger = (scene.price() * Decimal("0.99")).quantize(TICK)
    answer = scene.stop(trigger)
    assert answer["retCode"] == 0, answer
    (resting,) = scene.orders()
    assert (resting["orderStatus"], resting["orderType"], resting["reduceOnly"]) == ("Untriggered", "Limit", True)
    bound = trigger * (1 - SLIPPAGE)
    assert bound <= Decimal(resting["price"]) < bound + TICK
    order_id = answer["result"]["orderId"]
    for query in ({"orderId": order_id}, {"orderFilter": "StopOrder"}, {"openOnly": "0"}):
        (shown,) = scene.shown_to_bot(**query)
        assert (shown["orderId"], shown["orderLinkId"], shown["triggerBy"]) == (order_id, "", "MarkPrice")
    wait_until(lambda: scene.stack.state()["working_stops"] == 1, what="the stop in the view")
    scene.set_price(trigger * Decimal("0.999"))
    wait_until(lambda: scene.position() == 0, what="the stop closed the position")
    (filled,) = [order for order in scene.orders(is_open=False) if order["orderId"] == order_id]
    assert filled["orderStatus"] == "Filled"
    assert Decimal(filled["avgPrice"]) >= bound
    wait_until(lambda: scene.stack.state()["working_stops"] == 0, what="the stop ended in the view")

    def fills() -> list[dict[str, Any]]:
        return [fields for fields in scene.rows("order:filled") if fields["tag"] == filled["orderLinkId"]]

    wait_until(lambda: sum(Decimal(f["quantity"]) for f in fills()) == 100, what="the rows of its fills")
    assert {(fields["adds_risk"], Decimal(fields["reference_price"])) for fields in fills()} == {(False, trigger)}
    wait_until(scene.is_known, what="trusted")


def test_stop_whose_answer_is_lost_is_found_and_not_sent_twice(scene: Scene) -> None:
    scene.buy()
    scene.faults(path=CREATE, mode="lose_response", count=1)
    answer = scene.stop(scene.price() * Decimal("0.98"))
    assert answer["retCode"] == 0, answer
    (resting,) = scene.orders()
    assert resting["orderId"] == answer["result"]["orderId"]

    def outcomes() -> list[str]:
        return [str(f["result"]) for f in scene.rows("order:outcome") if f["tag"] == resting["orderLinkId"]]

    wait_until(outcomes, what="the row of its outcome")
    assert outcomes() == ["unknown"]
    assert scene.cancel(resting["orderId"])["retCode"] == 0


def test_stop_that_was_lost_on_its_way_is_finally_not_found(scene: Scene) -> None:
    scene.buy()
    scene.faults(path=CREATE, mode="drop", ms=50, count=1)
    answer = scene.stop(scene.price() * Decimal("0.98"))
    assert answer["retMsg"].split(":")[0] in ("EXCHANGE_UNREACHABLE", "EXCHANGE_OUTCOME_UNKNOWN"), answer
    assert scene.orders() == []
    wait_until(lambda: scene.incidents("protective stop not placed"), what="the incident")


def test_stop_of_a_closed_position_is_withdrawn_when_the_bot_leaves_it(scene: Scene) -> None:
    scene.buy()
    assert scene.stop(scene.price() * Decimal("0.95"))["retCode"] == 0
    price = scene.price()
    body = {"category": "linear", "symbol": SYMBOL, "side": "Sell", "orderType": "Limit", "reduceOnly": True}
    limit = str((price * Decimal("1.0005")).quantize(TICK))
    answer = scene.bot.create({**body, "qty": "100", "price": limit, "timeInForce": "PostOnly"})
    assert answer["retCode"] == 0, answer
    scene.set_price(price * Decimal("1.002"))
    wait_until(lambda: scene.position() == 0, what="flat")
    assert len(scene.orders()) == 1  # the exchange leaves it there
    wait_until(lambda: scene.orders() == [], what="the orphan withdrawn")
    reasons = [fields["reason"] for fields in scene.rows("order:canceled_by_gateway")]
    assert reasons[-1] == "the position that it protected is gone"


def test_stop_that_a_crash_left_unanswered_is_found_and_withdrawn(scene: Scene) -> None:
    """SIGKILL between the row and the answer: the order may be at the exchange, and nobody told the bot."""
    scene.buy()
    acknowledged = scene.stop(scene.price() * Decimal("0.98"))["result"]["orderId"]
    before = len(scene.rows("order:intent"))
    scene.faults(path=CREATE, mode="delay", ms=30_000, count=1)
    asking = threading.Thread(target=lambda: quietly(scene, scene.price() * Decimal("0.97")))
    asking.start()
    wait_until(lambda: len(scene.rows("order:intent")) > before, what="the intent's row")
    scene.stack.kill("gateway", signal.SIGKILL)
    asking.join()
    scene.stack.restart("gateway")
    scene.stack.wait_for_state("ACTIVE")
    wait_until(
        lambda: [order["orderId"] for order in scene.orders()] == [acknowledged],
        what="the stop that nobody was told of is withdrawn, and the other one stands",
    )
    assert scene.stack.state()["working_stops"] == 1
    tag = scene.rows("order:intent")[-1]["tag"]
    resolved = wait_until(
        lambda: [fields["result"] for fields in scene.rows("order:resolved") if fields["tag"] == tag],
        what="the row of what became of it",
    )
    assert resolved[0] in {"found", "not_found"}
    scene.bot.close()
    scene.bot = Bot(scene.stack.gateway)
    answer = scene.bot.post(CANCEL, {"category": "linear", "symbol": SYMBOL, "orderId": acknowledged})
    assert answer["retCode"] == 0, answer


def quietly(scene: Scene, trigger: Decimal) -> None:
    with pytest.raises(httpx.HTTPError):
        scene.stop(trigger)


def test_stop_survives_a_halt_and_its_bot_can_still_cancel_it(scene: Scene) -> None:
    """The last one on its stack: it halts."""
    scene.buy()
    order_id = scene.stop(scene.price() * Decimal("0.98"))["result"]["orderId"]
    scene.stack.admin.post("/halt", json={"reason": "test"}).raise_for_status()
    scene.stack.wait_for_state("HALTED")
    second = scene.stop(scene.price() * Decimal("0.97"))
    assert second["retCode"] == 0, second
    time.sleep(3)  # longer than the rounds that cancel what adds risk
    assert {order["orderId"] for order in scene.orders()} == {order_id, second["result"]["orderId"]}
    for _ in range(2):  # cancels stay idempotent
        assert scene.cancel(order_id)["retCode"] in (0, 110001)
    assert [order["orderId"] for order in scene.orders()] == [second["result"]["orderId"]]


def test_disaster_stop_closes_the_position_when_the_price_falls_through(guarded: Scene) -> None:
    guarded.buy()
    (guard,) = wait_until(guarded.orders, what="the disaster stop")
    wait_until(guarded.is_closed_by_a_fall, what="the disaster stop closed the position")
    wait_until(lambda: guarded.incidents("disaster stop filled"), what="the incident")
    wait_until(
        lambda: sum(Decimal(fields["quantity"]) for fields in guarded.rows("disaster_stop:filled")) == 100,
        what="the rows of its fills",
    )
    assert {fields["tag"] for fields in guarded.rows("disaster_stop:filled")} == {guard["orderLinkId"]}
    wait_until(lambda: guarded.stack.state()["disaster_stops"]["stops"] == [], what="ended in the view")
    # Ended by a fill, it is shown: so the bot can find out what closed its position.
    history = guarded.bot.get("/v5/order/history", f"category=linear&symbol={SYMBOL}&orderId={guard['orderId']}")
    assert [order["orderStatus"] for order in history["result"]["list"]] == ["Filled"]
    assert history["result"]["list"][0]["orderLinkId"] == ""


def test_disaster_stop_guards_a_position_out_of_the_bots_reach(guarded: Scene) -> None:
    """The last one on its stack: it halts."""
    filled_before = guarded.incidents("disaster stop filled")
    entry = guarded.buy()
    (guard,) = wait_until(guarded.orders, what="the disaster stop")
    assert (guard["orderType"], guard["side"], guard["qty"], guard["triggerBy"]) == (
        "Market",
        "Sell",
        "100",
        "MarkPrice",
    )
    assert abs(Decimal(guard["triggerPrice"]) - entry * (1 - FRACTION)) <= 2 * TICK
    # The bot neither sees nor reaches it.
    for query in ({}, {"orderId": guard["orderId"]}, {"orderFilter": "StopOrder"}):
        assert guarded.shown_to_bot(**query) == []
    assert guarded.cancel(guard["orderId"])["retCode"] == 110001
    named = guarded.bot.post(CANCEL, {"category": "linear", "symbol": SYMBOL, "orderLinkId": guard["orderLinkId"]})
    assert named["retCode"] == 110001
    # A dead gateway leaves it; a new one knows it from the journal, and makes no second.
    guarded.stack.kill("gateway")
    guarded.stack.restart("gateway")
    guarded.stack.wait_for_state("ACTIVE")
    time.sleep(5)
    assert [order["orderId"] for order in guarded.orders()] == [guard["orderId"]]
    wait_until(lambda: guarded.stack.state()["disaster_stops"]["stops"][0]["is_standing"], what="it is known to stand")
    guarded.bot.close()
    guarded.bot = Bot(guarded.stack.gateway)
    assert guarded.cancel(guard["orderId"])["retCode"] == 110001
    # It follows the position.
    guarded.buy("50")
    wait_until(lambda: [o["qty"] for o in guarded.orders()] == ["150"], what="the stop of the larger position")
    # It outlives a halt, and the exit takes it away.
    guarded.stack.admin.post("/halt", json={"reason": "test"}).raise_for_status()
    time.sleep(3)
    assert len(guarded.orders()) == 1
    guarded.flatten()
    wait_until(lambda: guarded.orders() == [], what="withdrawn when flat")
    assert guarded.incidents("disaster stop filled") == filled_before
