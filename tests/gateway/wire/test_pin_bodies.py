"""Pinned settings: what ccxt and pybit send is understood, anything else refused."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.intents import MarginMode, MarginModeIntent, PinIntent, PositionModeIntent, SetLeverageIntent
from trade_gateway.wire.parse import parse_pins
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.routes import Route

LEVERAGE = {"symbol": "BTCUSDT", "buyLeverage": "3", "sellLeverage": "3", "category": "linear"}
MODE = {"mode": 0, "coin": "USDT", "category": "linear"}


def code_of(route: Route, fields: dict[str, object]) -> DenyCode:
    result = parse_pins(route, json.dumps(fields).encode())
    assert isinstance(result, Refusal), result
    return result.code


@pytest.mark.parametrize(
    ("route", "raw", "expected"),
    [
        (
            Route.SET_LEVERAGE,
            b'{"symbol":"BTCUSDT","buyLeverage":"3","sellLeverage":"3","category":"linear"}',
            SetLeverageIntent(symbol="BTCUSDT", buy_leverage=Decimal(3), sell_leverage=Decimal(3)),
        ),
        (
            Route.SET_LEVERAGE,
            b'{"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "100", "sellLeverage": "2.5"}',
            SetLeverageIntent(symbol="BTCUSDT", buy_leverage=Decimal(100), sell_leverage=Decimal("2.5")),
        ),
        (
            Route.SWITCH_POSITION_MODE,
            b'{"mode":0,"coin":"USDT","category":"linear"}',
            PositionModeIntent(mode=0, coin="USDT", symbol=None),
        ),
        (
            Route.SWITCH_POSITION_MODE,
            b'{"mode":3,"symbol":"BTCUSDT","category":"linear"}',
            PositionModeIntent(mode=3, coin=None, symbol="BTCUSDT"),
        ),
        (
            Route.SET_MARGIN_MODE,
            b'{"setMarginMode":"ISOLATED_MARGIN","leverage":3.0}',
            MarginModeIntent(margin_mode=MarginMode.ISOLATED),
        ),
        (
            Route.SET_MARGIN_MODE,
            b'{"setMarginMode":"REGULAR_MARGIN"}',
            MarginModeIntent(margin_mode=MarginMode.CROSS),
        ),
        (
            Route.SET_MARGIN_MODE,
            b'{"setMarginMode":"PORTFOLIO_MARGIN"}',
            MarginModeIntent(margin_mode=MarginMode.PORTFOLIO),
        ),
    ],
)
def test_pin_of_a_recorded_body_is_understood(route: Route, raw: bytes, expected: PinIntent) -> None:
    assert parse_pins(route, raw) == expected


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"buyLeverage": 3}, DenyCode.BODY_VALUE_INVALID),
        ({"buyLeverage": "0"}, DenyCode.BODY_VALUE_INVALID),
        ({"sellLeverage": "-3"}, DenyCode.BODY_VALUE_INVALID),
        ({"sellLeverage": "1e2"}, DenyCode.BODY_VALUE_INVALID),
        ({"category": "inverse"}, DenyCode.BODY_VALUE_INVALID),
        ({"category": "spot"}, DenyCode.BODY_VALUE_INVALID),
        ({"symbol": ""}, DenyCode.BODY_VALUE_INVALID),
        ({"tradeMode": 1}, DenyCode.BODY_KEY_UNKNOWN),
    ],
)
def test_pin_of_a_bad_leverage_is_refused(changes: dict[str, object], code: DenyCode) -> None:
    assert code_of(Route.SET_LEVERAGE, {**LEVERAGE, **changes}) is code


@pytest.mark.parametrize("key", sorted(LEVERAGE))
def test_pin_of_a_leverage_without_a_key_is_refused(key: str) -> None:
    fields: dict[str, object] = {name: value for name, value in LEVERAGE.items() if name != key}
    assert code_of(Route.SET_LEVERAGE, fields) is DenyCode.BODY_KEY_MISSING


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mode": "0"}, DenyCode.BODY_VALUE_INVALID),
        ({"mode": 1}, DenyCode.BODY_VALUE_INVALID),
        ({"mode": 0.0}, DenyCode.BODY_VALUE_INVALID),
        ({"mode": False}, DenyCode.BODY_VALUE_INVALID),
        ({"coin": "usdt"}, DenyCode.BODY_VALUE_INVALID),
        ({"category": "spot"}, DenyCode.BODY_VALUE_INVALID),
        ({"leverage": 1}, DenyCode.BODY_KEY_UNKNOWN),
    ],
)
def test_pin_of_a_bad_position_mode_is_refused(changes: dict[str, object], code: DenyCode) -> None:
    assert code_of(Route.SWITCH_POSITION_MODE, {**MODE, **changes}) is code


def test_pin_of_a_bad_margin_mode_is_refused() -> None:
    assert code_of(Route.SET_MARGIN_MODE, {"setMarginMode": "isolated"}) is DenyCode.BODY_VALUE_INVALID
    assert code_of(Route.SET_MARGIN_MODE, {"setMarginMode": 1}) is DenyCode.BODY_VALUE_INVALID
    assert code_of(Route.SET_MARGIN_MODE, {"leverage": 3}) is DenyCode.BODY_KEY_MISSING
    assert code_of(Route.SET_MARGIN_MODE, {"setMarginMode": "ISOLATED_MARGIN", "x": 1}) is DenyCode.BODY_KEY_UNKNOWN


def test_pin_of_a_duplicate_key_is_refused() -> None:
    result = parse_pins(Route.SWITCH_POSITION_MODE, b'{"mode":0,"mode":3,"category":"linear"}')
    assert isinstance(result, Refusal)
    assert result.code is DenyCode.BODY_KEY_DUPLICATE


def test_pin_on_a_route_that_pins_nothing_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="ORDER_CREATE pins nothing"):
        parse_pins(Route.ORDER_CREATE, b'{"a":1}')


@pytest.mark.parametrize("key", ["category", "mode"])
def test_pin_of_a_position_mode_without_a_key_is_refused(key: str) -> None:
    fields: dict[str, object] = {name: value for name, value in MODE.items() if name != key}
    assert code_of(Route.SWITCH_POSITION_MODE, fields) is DenyCode.BODY_KEY_MISSING
