"""What the account had before: read whole or not at all, journaled, counted, and never judged."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from http_double import Asked, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import ManualClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_core.trust.baseline import (
    Baseline,
    BaselineHolding,
    BaselineOrder,
    BaselinePosition,
    baseline_of,
)
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.account.messages import OrderSeen
from trade_gateway.baseline import MAX_STRANGERS, Strangers, baseline_rows, read_baseline, shown_baseline
from trade_gateway.startup import KeyRefused
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import Entry, RowKind, draft

KEY = public_text(load_private_key(new_private_key()))
KEY_FACTS: dict[str, Any] = {
    "userID": 1002,
    "readOnly": 0,
    "isMaster": False,
    "ips": ["127.0.0.1"],
    "permissions": {"Spot": ["SpotTrade"], "ContractTrade": ["Order", "Position"]},
}
SEEN = OrderSeen(
    category=Category.SPOT,
    symbol="BTCUSDT",
    order_id="stranger",
    tag="",
    side=Side.BUY,
    status="New",
    quantity=Decimal(1),
    price=Decimal(30000),
    filled=Decimal(0),
    value=None,
    is_reducing=False,
    is_conditional=False,
)


def shown_order(order_id: str, *, status: str = "New", **changed: Any) -> dict[str, Any]:
    order = {"orderId": order_id, "symbol": "BTCUSDT", "side": "Buy", "orderStatus": status}
    return {**order, "qty": "0.10", "price": "29000.0", "cumExecQty": "0", "reduceOnly": False, **changed}


@dataclass
class Account:
    """What the exchange says of it; a path in `broken` is answered so instead."""

    key_facts: dict[str, Any] = field(default_factory=lambda: dict(KEY_FACTS))
    orders: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"spot": [], "linear": []})
    positions: list[dict[str, Any]] = field(default_factory=list)
    coins: list[dict[str, str]] = field(default_factory=list)
    time_ms: int = 1_800_000_000_000
    broken: dict[str, bytes] = field(default_factory=dict)

    def answer(self, asked: Asked) -> bytes:
        if asked.path in self.broken:
            return self.broken[asked.path]
        match asked.path:
            case "/v5/user/query-api":
                return envelope(self.key_facts)
            case "/v5/order/realtime":
                listed = self.orders[str(asked.parameter("category"))]
                start, limit = int(asked.parameter("cursor") or 0), int(asked.parameter("limit") or 0)
                more = str(start + limit) if len(listed) > start + limit else ""
                return envelope({"list": listed[start : start + limit], "nextPageCursor": more})
            case "/v5/position/list":
                return envelope({"list": self.positions})
            case _:
                content = {"retCode": 0, "retMsg": "OK", "result": {"list": [{"coin": self.coins}]}}
                return reply(json.dumps({**content, "time": self.time_ms}).encode())


@asynccontextmanager
async def client_of(answer: Callable[[Asked], bytes | None]) -> AsyncIterator[BybitClient]:
    async with http_double(answer) as double:
        client = BybitClient(
            base_url=double.url, clock=ManualClock(), is_simulated=True, key=Secret("k"), secret=Secret("s")
        )
        try:
            yield client
        finally:
            await client.aclose()


async def read(account: Account, *categories: Category) -> Baseline:
    async with client_of(account.answer) as client:
        return await read_baseline(client, account="1002", categories=categories or (Category.SPOT,))


async def test_baseline_of_an_account_names_all_that_it_has() -> None:
    account = Account(
        orders={
            "spot": [shown_order("s1"), shown_order("gone", status="Cancelled")],
            "linear": [shown_order("l1", side="Sell", reduceOnly=True)],
        },
        positions=[
            {"symbol": "BTCUSDT", "size": "0.5", "side": "Sell", "positionIdx": 0, "seq": 7},
            {"symbol": "ETHUSDT", "size": "0", "side": "", "positionIdx": 0, "seq": 8},
        ],
        coins=[{"coin": "BTC", "walletBalance": "1.50"}, {"coin": "USDT", "walletBalance": "4000"}],
    )
    found = await read(account)
    order = BaselineOrder(
        category="spot",
        symbol="BTCUSDT",
        order_id="s1",
        side="Buy",
        quantity=Decimal("0.10"),
        price=Decimal("29000.0"),
        is_reducing=False,
    )
    assert found == baseline_of(
        taken_at_ms=1_800_000_000_000,
        orders=[order, replace(order, category="linear", order_id="l1", side="Sell", is_reducing=True)],
        positions=[BaselinePosition(symbol="BTCUSDT", size=Decimal("-0.5"))],
        holdings=[
            BaselineHolding(coin="BTC", amount=Decimal("1.5")),
            BaselineHolding(coin="USDT", amount=Decimal(4000)),
        ],
    )
    assert shown_baseline(found) == {"taken_at_ms": 1_800_000_000_000, "orders": 2, "positions": 1, "holdings": 2}


async def test_baseline_follows_the_pages_of_orders() -> None:
    account = Account(orders={"spot": [shown_order(f"s{number}") for number in range(120)], "linear": []})
    assert len((await read(account)).orders) == 120


async def test_baseline_reads_what_the_key_may_trade_and_what_the_policy_names() -> None:
    account = Account(orders={"spot": [shown_order("s1")], "linear": [shown_order("l1")]})
    account.key_facts["permissions"] = {"Spot": ["SpotTrade"]}
    assert [order.order_id for order in (await read(account, Category.SPOT)).orders] == ["s1"]
    assert [order.order_id for order in (await read(account, Category.LINEAR)).orders] == ["l1", "s1"]


async def test_baseline_of_more_orders_than_fit_is_refused() -> None:
    account = Account(orders={"spot": [shown_order(f"s{number}") for number in range(501)], "linear": []})
    with pytest.raises(NotTrusted, match="501 orders, at most 500"):
        await read(account)


async def test_baseline_of_another_account_is_refused() -> None:
    account = Account()
    account.key_facts["userID"] = 1003
    with pytest.raises(KeyRefused, match="another account"):
        await read(account)


@pytest.mark.parametrize("path", ["/v5/order/realtime", "/v5/position/list", "/v5/account/wallet-balance"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(b"", status=503), ExchangeUnavailable),
        (envelope({}, ret_code=10016), ExchangeAnswerInvalid),
        (envelope({"list": None}), ExchangeAnswerInvalid),
        (envelope({"list": [1]}), ExchangeAnswerInvalid),
    ],
)
async def test_baseline_of_which_a_part_cannot_be_read_is_none(
    path: str, answer: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await read(Account(broken={path: answer}))


async def test_baseline_without_a_time_is_refused() -> None:
    with pytest.raises(ExchangeAnswerInvalid, match="at what time"):
        await read(Account(time_ms=0))


def ring_of(baseline: Baseline) -> KeyRing:
    return KeyRing(
        version=1,
        previous_hash="",
        deployment="d1",
        environment="simulated",
        account="1002",
        gateway_key=KEY,
        lease_key=KEY,
        witness_key=KEY,
        executor_key=KEY,
        tag_key_id="t",
        policy_hash="a" * 64,
        rp_id="localhost",
        origins=("http://localhost:8650",),
        attestation_roots=(),
        credentials=(),
        recovery_key="",
        bootstrap_key="",
        bootstrap_expires_at_ms=0,
        baseline=baseline,
    )


def largest() -> Baseline:
    order = BaselineOrder(
        category="linear",
        symbol="X" * 60 + "USDT",
        order_id="",
        side="Sell",
        quantity=Decimal("123456789012.123456789012"),
        price=Decimal("123456789012.123456789012"),
        is_reducing=True,
    )
    return baseline_of(
        taken_at_ms=2**53 - 1,
        orders=[replace(order, order_id=f"{number:064d}") for number in range(500)],
        positions=[BaselinePosition(symbol=f"{number:064d}", size=Decimal("-1.123456789")) for number in range(200)],
        holdings=[BaselineHolding(coin=f"{number:064d}", amount=Decimal("-1.123456789")) for number in range(500)],
    )


@pytest.mark.parametrize("baseline", [baseline_of(taken_at_ms=1), largest()])
def test_baseline_rows_name_everything_and_fit_a_row(baseline: Baseline) -> None:
    ring = ring_of(baseline)
    rows = list(baseline_rows(ring))
    for number, fields in enumerate(rows, start=1):
        draft(Entry(at_ns=1, kind=RowKind.BASELINE_TAKEN, actor="gateway", fields=fields))
        assert (fields["part"], fields["parts"], fields["ring_hash"]) == (number, len(rows), ring_hash(ring))
    counts = {name: sum(len(fields.get(name, ())) for fields in rows) for name in ("orders", "positions", "holdings")}  # type: ignore[arg-type]
    assert counts == {
        "orders": len(baseline.orders),
        "positions": len(baseline.positions),
        "holdings": len(baseline.holdings),
    }
    assert (rows[-1]["order_count"], rows[-1]["holding_count"]) == (len(baseline.orders), len(baseline.holdings))


def known(*order_ids: str) -> Strangers:
    order = BaselineOrder(
        category="spot",
        symbol="BTCUSDT",
        order_id="",
        side="Buy",
        quantity=Decimal(1),
        price=Decimal(1),
        is_reducing=False,
    )
    return Strangers(baseline_of(taken_at_ms=1, orders=[replace(order, order_id=name) for name in order_ids]))


def test_order_of_the_baseline_is_no_stranger() -> None:
    assert known("stranger").news([SEEN]) == []


def test_order_of_others_that_adds_risk_is_told_once() -> None:
    strangers = known("other")
    assert strangers.news([SEEN]) == [SEEN]
    assert strangers.news([replace(SEEN, filled=Decimal("0.5"))]) == []


@pytest.mark.parametrize(
    ("changed", "is_told"),
    [
        ({"side": Side.SELL}, False),
        ({"side": Side.SELL, "is_reducing": True}, False),
        ({"is_reducing": True}, True),  # the exchange knows no reduce-only on spot
        ({"category": Category.LINEAR}, True),
        ({"category": Category.LINEAR, "side": Side.SELL}, True),
        ({"category": Category.LINEAR, "side": Side.SELL, "is_reducing": True}, False),
    ],
)
def test_order_of_others_is_told_when_it_can_add_risk(changed: dict[str, Any], is_told: bool) -> None:
    assert bool(known().news([replace(SEEN, **changed)])) is is_told


def test_flood_of_strangers_is_told_up_to_a_bound() -> None:
    strangers = known()
    flood = [replace(SEEN, order_id=f"o{number}") for number in range(MAX_STRANGERS + 1)]
    assert len(strangers.news(flood)) == MAX_STRANGERS
    assert strangers.news(flood) == []
