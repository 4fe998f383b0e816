"""The explanation says what the decision says, of every check, and what it took for granted."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Any

import pytest
from gateway.policy.parts import ACCOUNT, LINEAR, LINEAR_BTC, MARKET, NO_PRICES, POLICY, SPOT, SPOT_BTC
from hypothesis import given
from hypothesis import strategies as st

from trade_core.errors import ConfigurationError
from trade_gateway.policy.decision import ADDING, REDUCING, ask, decide
from trade_gateway.policy.explain import Assumptions, Explanation, _assumed_instruments, explain, explain_request
from trade_gateway.policy.exposure import ValuedAccount
from trade_gateway.policy.facts import MarketFacts
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.policy.stops import STOP
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import OrderIntent
from trade_gateway.wire.parse import parse_order_create

BODY: dict[str, Any] = {
    "category": "spot",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "timeInForce": "PostOnly",
    "qty": "0.004",
    "price": "50000",
}
STOP_BODY: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Sell",
    "orderType": "Market",
    "qty": "0.004",
    "triggerPrice": "49000",
    "triggerDirection": 2,
    "triggerBy": "MarkPrice",
    "reduceOnly": True,
}
STOPS = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
INSTRUMENT = {
    "tick_size": "0.5",
    "quantity_step": "0.0001",
    "min_quantity": "0.0002",
    "max_quantity": "2",
    "min_notional": "5",
}


def asked(assume: dict[str, Any] | None = None, *, body: dict[str, Any] | None = None, **changes: Any) -> Explanation:
    document: dict[str, Any] = {"body": {**(body or BODY), **changes}}
    if assume is not None:
        document["assume"] = assume
    return explain_request(json.dumps(document).encode(), policy=STOPS)


def failing(explanation: Explanation) -> dict[str, str]:
    return {check.name: check.reason for check in explanation.checks if not check.has_passed}


def complaint(document: object) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(ConfigurationError) as caught:
        explain_request(raw, policy=POLICY)
    return str(caught.value)


def test_explanation_of_a_good_entry_passes_every_check() -> None:
    explanation = asked({"prices": {"BTC": "50000"}})
    assert explanation.kind == "adds risk"
    assert explanation.is_allowed
    assert [check.name for check in explanation.checks] == list(ADDING)
    assert explanation.assumed == (
        "equity 4000 USDT",
        "positions and holdings: none",
        "an instrument without grid, minimum or maximum",
    )


def test_explanation_names_every_check_that_fails() -> None:
    assume = {"prices": {"BTC": "40000"}, "turnover_used_usdt": "6000", "trading_state": "HALTED", "working_orders": 9}
    explanation = asked(assume, qty="1")
    assert not explanation.is_allowed
    assert {name: reason.partition(":")[0] for name, reason in failing(explanation).items()} == {
        "state permits new risk": "STATE_HALTED",
        "price in collar": "PRICE_OUTSIDE_COLLAR",
        "notional at most the policy's": "ORDER_NOTIONAL_ABOVE_MAXIMUM",
        "turnover budget": "LIMIT_TURNOVER",
        "exposure limits": "LIMIT_SYMBOL_EXPOSURE",
        "open orders": "LIMIT_OPEN_ORDERS",
    }


def test_explanation_without_prices_says_so() -> None:
    assert failing(asked())["price in collar"] == "REFERENCE_MISSING: symbol=BTCUSDT"


def test_explanation_of_an_exit() -> None:
    assume = {"prices": {"BTC": "50000"}, "held": {"BTC": "0.003"}}
    explanation = asked(assume, side="Sell")
    assert explanation.kind == "reduces risk"
    assert [check.name for check in explanation.checks] == list(REDUCING)
    assert failing(explanation) == {
        "within holdings or position": "ORDER_SELL_EXCEEDS_HOLDINGS: quantity=0.004, sellable=0.003"
    }
    assert "positions and holdings: BTC 0.003" in explanation.assumed


def test_explanation_of_a_stop() -> None:
    assume = {"prices": {"BTC": "50000"}, "positions": {"BTCUSDT": "0.004"}}
    explanation = asked(assume, body=STOP_BODY)
    assert explanation.kind == "protective stop"
    assert [check.name for check in explanation.checks] == list(STOP)
    assert explanation.is_allowed
    short = asked({**assume, "positions": {"BTCUSDT": "-0.004"}}, body=STOP_BODY)
    assert list(failing(short)) == ["within position"]


def test_explanation_of_what_is_not_understood() -> None:
    explanation = asked(timeInForce="GTC")
    assert explanation.kind == "not understood"
    assert failing(explanation) == {"request understood": "ORDER_NOT_MAKER: time_in_force=GTC"}
    assert failing(asked(body={"a": [1]}))["request understood"].startswith("BODY_NOT_FLAT_JSON")


def test_explanation_of_a_symbol_that_is_not_permitted_runs_all_checks() -> None:
    explanation = asked({"prices": {"XRP": "50000"}}, symbol="XRPUSDT")
    assert failing(explanation)["symbol permitted"].startswith("SYMBOL_NOT_PERMITTED")
    assert len(explanation.checks) == len(ADDING)


def test_explanation_uses_the_instrument_that_is_given() -> None:
    explanation = asked({"prices": {"BTC": "50000"}, "instruments": {"spot BTCUSDT": INSTRUMENT}}, price="50000.3")
    assert list(failing(explanation)) == ["price on tick"]
    assert len(explanation.assumed) == 2


@pytest.mark.parametrize(("scale", "is_allowed"), [("0.4", True), ("0.399", False), ("0", False)])
def test_explanation_takes_the_scale_while_trimmed(scale: str, *, is_allowed: bool) -> None:
    prices = {"prices": {"BTC": "50000"}}
    assert asked({**prices, "trading_state": "TRIMMED", "scale": scale}).is_allowed is is_allowed
    assert asked({**prices, "scale": scale}).is_allowed


def test_explanation_takes_the_equity_that_is_given() -> None:
    explanation = asked({"prices": {"BTC": "50000"}, "equity_usdt": "100"})
    assert list(failing(explanation)) == ["turnover budget", "exposure limits"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"[", "Invalid JSON"),
        ({}, "body: Field required"),
        ({"body": []}, "body: "),
        ({"body": BODY, "x": 1}, "x: Extra inputs"),
        ({"body": BODY, "assume": {"price": {}}}, "assume.price: Extra inputs"),
        ({"body": BODY, "assume": {"prices": {"BTC": 5}}}, "assume.prices.BTC: "),
        ({"body": BODY, "assume": {"prices": {"BTC": "0"}}}, "prices.BTC: must be above zero (found 0)"),
        ({"body": BODY, "assume": {"prices": {"BTC": "NaN"}}}, "prices.BTC: not a plain decimal number"),
        ({"body": BODY, "assume": {"equity_usdt": "-1"}}, "equity_usdt: not a plain decimal number"),
        ({"body": BODY, "assume": {"scale": "1e1"}}, "scale: not a plain decimal number"),
        ({"body": BODY, "assume": {"positions": {"BTCUSDT": "x"}}}, "positions.BTCUSDT: "),
        ({"body": BODY, "assume": {"trading_state": "FREE"}}, "assume.trading_state: "),
        ({"body": BODY, "assume": {"working_orders": -1}}, "assume.working_orders: "),
        (
            {"body": BODY, "assume": {"instruments": {"spot BTCUSDT": {**INSTRUMENT, "tick_size": "0"}}}},
            "instruments.spot BTCUSDT.tick_size: must be above zero",
        ),
        ({"body": {"a": "x" * 5000}}, "body: 5009 bytes are more than 4096"),
        (b" " * 65_537, "65537 bytes are more than 65536"),
    ],
)
def test_document_that_cannot_be_read_is_refused(document: object, words: str) -> None:
    assert words in complaint(document)


@given(
    st.fixed_dictionaries(
        {
            "side": st.sampled_from(["Buy", "Sell"]),
            "category": st.sampled_from(["spot", "linear"]),
            "qty": st.sampled_from(["0.0001", "0.004", "0.00405", "0.02", "3"]),
            "price": st.sampled_from(["50000", "50000.1", "50150.5", "49800", "1"]),
        }
    ),
    st.sampled_from(TradingState),
    st.sampled_from([MARKET, NO_PRICES]),
    st.booleans(),
)
def test_explanation_and_decision_agree(
    changes: dict[str, str], state: TradingState, facts: MarketFacts, is_known: bool
) -> None:
    body = json.dumps({**BODY, **changes}).encode()
    intent = parse_order_create(body)
    assert isinstance(intent, OrderIntent)
    instruments = {SPOT_BTC: SPOT, LINEAR_BTC: LINEAR} if is_known else {}
    given_facts: dict[str, Any] = {"policy": POLICY, "trading_state": state, "scale": Decimal("0.5")}
    question = ask(
        intent,
        instrument=instruments.get((intent.category, intent.symbol)),
        valued=ValuedAccount(account=ACCOUNT, market=facts),
        **given_facts,
    )
    decision = decide(question)
    explanation = explain(body, instruments=instruments, account=ACCOUNT, market=facts, **given_facts)
    assert explanation.is_allowed is not isinstance(decision, Deny)
    if isinstance(decision, Deny):
        first = next(check for check in explanation.checks if not check.has_passed)
        assert first.reason.partition(":")[0] == decision.code.name


def test_explanation_is_as_exact_as_the_decision() -> None:
    account = replace(ACCOUNT, turnover_used_usdt=Decimal("5800." + "0" * 30 + "1"))
    body = json.dumps(BODY).encode()
    with localcontext(Context(prec=5, rounding=ROUND_DOWN)):
        explanation = explain(
            body,
            policy=POLICY,
            instruments={SPOT_BTC: SPOT},
            account=account,
            market=MARKET,
            trading_state=TradingState.ACTIVE,
        )
    assert [check.name for check in explanation.checks if not check.has_passed] == ["turnover budget"]


def test_document_of_the_greatest_size_is_read() -> None:
    document = json.dumps({"body": BODY}).encode()
    assert explain_request(document + b" " * (65_536 - len(document)), policy=STOPS).kind == "adds risk"
    body = {"a": "x" * (4096 - len(json.dumps({"a": ""})))}
    assert explain_request(json.dumps({"body": body}).encode(), policy=STOPS).kind == "not understood"


@pytest.mark.parametrize("name", ["prices", "held", "positions", "instruments"])
def test_assumptions_hold_at_most_a_hundred_of_each(name: str) -> None:
    value: Any = INSTRUMENT if name == "instruments" else "1"
    many = {f"C{number}": value for number in range(101)}
    assert f"assume.{name}: " in complaint({"body": BODY, "assume": {name: many}})
    del many["C100"]
    assert len(getattr(Assumptions.model_validate({name: many}), name)) == 100


@pytest.mark.parametrize(("count", "is_read"), [(0, True), (10_000, True), (10_001, False)])
def test_assumptions_hold_at_most_ten_thousand_working_orders(count: int, *, is_read: bool) -> None:
    assume = {"working_orders": count}
    if is_read:
        assert asked(assume).kind == "adds risk"
    else:
        assert "assume.working_orders: " in complaint({"body": BODY, "assume": assume})


def test_assumptions_are_of_an_account_without_orders_and_the_widest_instrument() -> None:
    assert Assumptions().working_orders == 0
    for instrument in _assumed_instruments(POLICY, {}).values():
        assert (instrument.tick_size, instrument.quantity_step) == (Decimal("1e-12"), Decimal("1e-12"))
        assert instrument.max_quantity == 100_000_000_000


def test_reason_without_details_is_the_code_alone() -> None:
    assert "STATE_HALTED" in failing(asked({"trading_state": "HALTED"})).values()
