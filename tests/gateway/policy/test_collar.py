"""The collar: inclusive at its bounds, wide on the good side, and no trap for exits."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.parts import order_intent
from gateway.policy.parts import POLICY, coin

from trade_gateway.policy.collar import check_adding_price, check_reducing_price, exit_reference
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.facts import CoinMarket
from trade_gateway.policy.references import KeptReference
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import Side

USABLE = coin("1000", last_good="1000")
STALE = coin(None, last_good="1000", mark="1")
NEVER = coin(None)


def code(denied: Deny | None) -> DenyCode | None:
    return None if denied is None else denied.code


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (Side.BUY, "1002.999999999999", None), (Side.BUY, "1003", None),
        (Side.BUY, "1003.000000000001", DenyCode.PRICE_OUTSIDE_COLLAR),
        (Side.BUY, "9000", DenyCode.PRICE_OUTSIDE_COLLAR),
        (Side.BUY, "800", None), (Side.BUY, "799.999999999999", DenyCode.PRICE_FAT_FINGER),
        (Side.SELL, "997.000000000001", None), (Side.SELL, "997", None),
        (Side.SELL, "996.999999999999", DenyCode.PRICE_OUTSIDE_COLLAR), (Side.SELL, "1", DenyCode.PRICE_OUTSIDE_COLLAR),
        (Side.SELL, "1200", None), (Side.SELL, "1200.000000000001", DenyCode.PRICE_FAT_FINGER),
    ],
)  # fmt: skip
def test_collar_of_adding_orders(side: Side, price: str, expected: DenyCode | None) -> None:
    assert code(check_adding_price(order_intent(side=side, price=price), USABLE, POLICY)) is expected


@pytest.mark.parametrize("seen", [USABLE, STALE])
@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (Side.BUY, "1004", None), (Side.BUY, "1004.000000000001", DenyCode.PRICE_OUTSIDE_COLLAR),
        (Side.SELL, "996", None), (Side.SELL, "995.999999999999", DenyCode.PRICE_OUTSIDE_COLLAR),
        (Side.SELL, "0.5", DenyCode.PRICE_OUTSIDE_COLLAR),
    ],
)  # fmt: skip
def test_exit_collar_of_reducing_orders(side: Side, price: str, expected: DenyCode | None, seen: CoinMarket) -> None:
    assert code(check_reducing_price(order_intent(side=side, price=price), seen, POLICY)) is expected


def test_exit_far_on_the_good_side_is_a_slip_only_against_a_usable_reference() -> None:
    far = order_intent(side=Side.SELL, price="5000")
    assert code(check_reducing_price(far, USABLE, POLICY)) is DenyCode.PRICE_FAT_FINGER
    assert check_reducing_price(far, STALE, POLICY) is None


@pytest.mark.parametrize(
    ("side", "price", "is_denied"),
    [
        (Side.SELL, "991.98", False),  # 1002 x 0.99
        (Side.SELL, "991.9799", True),
        (Side.SELL, "5000", False),
        (Side.BUY, "1007.98", False),  # 998 x 1.01
        (Side.BUY, "1007.9801", True),
        (Side.BUY, "1", False),
    ],
)
def test_exit_after_a_restart_is_inside_the_collar_of_every_price_that_may_have_been_the_last(
    side: Side, price: str, is_denied: bool
) -> None:
    policy = replace(POLICY, exit_collar=Decimal("0.01"))
    seen = replace(STALE, kept=KeptReference(price=Decimal(1000), within=Decimal("0.002")))
    denied = check_reducing_price(order_intent(side=side, price=price), seen, policy)
    assert code(denied) is (DenyCode.PRICE_OUTSIDE_COLLAR if is_denied else None)


@pytest.mark.parametrize("seen", [None, NEVER])
@pytest.mark.parametrize("price", ["0.5", "1000", "99999"])
def test_exit_without_any_reference_is_denied(seen: CoinMarket | None, price: str) -> None:
    for side in Side:
        denied = check_reducing_price(order_intent(side=side, price=price), seen, POLICY)
        assert code(denied) is DenyCode.REFERENCE_MISSING


def test_entry_without_usable_reference_is_denied_with_its_flaw() -> None:
    assert code(check_adding_price(order_intent(), None, POLICY)) is DenyCode.REFERENCE_MISSING
    denied = check_adding_price(order_intent(price="1000"), STALE, POLICY)
    assert denied is not None
    assert denied.code is DenyCode.REFERENCE_STALE
    assert dict(denied.detail) == {"symbol": "BTCUSDT", "source": "index", "flaw": "stale"}


def test_exit_reference_is_the_usable_one_before_the_last_good_one() -> None:
    assert exit_reference(coin("7", last_good="8")) == 7
    assert exit_reference(coin(None, last_good="8")) == 8
    assert exit_reference(NEVER) is None
    assert exit_reference(None) is None


def test_collar_denial_names_the_bound() -> None:
    policy = replace(POLICY, collar=Decimal("0.01"))
    denied = check_adding_price(order_intent(side=Side.BUY, price="1011"), USABLE, policy)
    assert denied is not None
    assert dict(denied.detail) == {"price": "1011", "reference": "1000", "bound": "1010.00"}
