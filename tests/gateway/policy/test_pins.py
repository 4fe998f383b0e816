"""Pinned settings: the pinned value passes, anything else is denied with the code that the bot swallows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.policy.parts import POLICY as WHOLE_POLICY
from gateway.policy.parts import SYMBOL_LIMITS

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.pins import decide_pin
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import (
    Category,
    MarginMode,
    MarginModeIntent,
    PinIntent,
    PositionModeIntent,
    SetLeverageIntent,
)

POLICY = replace(
    WHOLE_POLICY,
    symbols=dict.fromkeys([(Category.LINEAR, "BTCUSDT"), (Category.SPOT, "ETHUSDT")], SYMBOL_LIMITS),
    leverage=3,
)


def leverage(buy: str, sell: str, symbol: str = "BTCUSDT") -> SetLeverageIntent:
    return SetLeverageIntent(symbol=symbol, buy_leverage=Decimal(buy), sell_leverage=Decimal(sell))


@pytest.mark.parametrize(
    "intent",
    [
        leverage("3", "3"),
        leverage("3.0", "3.00"),
        PositionModeIntent(mode=0, coin="USDT", symbol=None),
        MarginModeIntent(margin_mode=MarginMode.ISOLATED),
    ],
)
def test_pin_of_the_pinned_setting_passes(intent: PinIntent) -> None:
    assert decide_pin(intent, policy=POLICY) is None


@pytest.mark.parametrize(
    ("intent", "code"),
    [
        (leverage("4", "3"), DenyCode.PIN_LEVERAGE_DIFFERS),
        (leverage("3", "4"), DenyCode.PIN_LEVERAGE_DIFFERS),
        (leverage("4", "4"), DenyCode.PIN_LEVERAGE_DIFFERS),
        (leverage("1", "1"), DenyCode.PIN_LEVERAGE_DIFFERS),
        (leverage("3.01", "3"), DenyCode.PIN_LEVERAGE_DIFFERS),
        (leverage("3", "3", "ETHUSDT"), DenyCode.SYMBOL_NOT_PERMITTED),
        (PositionModeIntent(mode=3, coin="USDT", symbol=None), DenyCode.PIN_POSITION_MODE_DIFFERS),
        (MarginModeIntent(margin_mode=MarginMode.CROSS), DenyCode.PIN_MARGIN_MODE_DIFFERS),
        (MarginModeIntent(margin_mode=MarginMode.PORTFOLIO), DenyCode.PIN_MARGIN_MODE_DIFFERS),
    ],
)
def test_pin_of_another_setting_is_denied(intent: PinIntent, code: DenyCode) -> None:
    denied = decide_pin(intent, policy=POLICY)
    assert isinstance(denied, Deny)
    assert denied.code is code
    assert denied.detail
