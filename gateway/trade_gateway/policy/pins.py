"""Decides on the settings that the policy pins: asking for what is pinned is fine, anything else is denied."""

from __future__ import annotations

from typing import assert_never

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import (
    Category,
    MarginMode,
    MarginModeIntent,
    PinIntent,
    PositionModeIntent,
    SetLeverageIntent,
)
from trade_gateway.wire.refusal import detail_of

ONE_WAY = 0


def decide_pin(intent: PinIntent, *, policy: Policy) -> Deny | None:
    """Return None when the bot asks for the pinned setting, else the denial.

    After PIN_LEVERAGE_DIFFERS the symbol counts as unpinned until the bot asks for the pinned leverage.
    """
    match intent:
        case SetLeverageIntent():
            return _decide_leverage(intent, policy)
        case PositionModeIntent():
            if intent.mode == ONE_WAY:
                return None
            return Deny(code=DenyCode.PIN_POSITION_MODE_DIFFERS, detail=detail_of(mode=intent.mode))
        case MarginModeIntent():
            if intent.margin_mode is MarginMode.ISOLATED:
                return None
            asked = detail_of(margin_mode=intent.margin_mode.value)
            return Deny(code=DenyCode.PIN_MARGIN_MODE_DIFFERS, detail=asked)
        case _:  # pragma: no cover
            assert_never(intent)


def _decide_leverage(intent: SetLeverageIntent, policy: Policy) -> Deny | None:
    if not policy.permits(Category.LINEAR, intent.symbol):
        return Deny(code=DenyCode.SYMBOL_NOT_PERMITTED, detail=detail_of(symbol=intent.symbol))
    if intent.buy_leverage == intent.sell_leverage == policy.leverage:
        return None
    return Deny(
        code=DenyCode.PIN_LEVERAGE_DIFFERS,
        detail=detail_of(buy_leverage=intent.buy_leverage, sell_leverage=intent.sell_leverage, pinned=policy.leverage),
    )
