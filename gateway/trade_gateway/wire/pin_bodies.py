"""Parses what a bot asks of settings that the policy pins: leverage, position mode, margin mode.

None of these is ever forwarded. The intent only says whether the bot asks for what is pinned anyway.
Source: Bybit V5 "Set Leverage", "Switch Position Mode", "Set Margin Mode", and the bodies that ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import Mapping

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.fields import (
    COIN,
    SYMBOL,
    invalid,
    member_of,
    optional_text_of,
    positive_decimal_of,
    refuse_unknown_keys,
    require_keys,
    text_of,
)
from trade_gateway.wire.flat_json import JsonNumber, Value, read_flat_object
from trade_gateway.wire.intents import (
    Category,
    MarginMode,
    MarginModeIntent,
    PinIntent,
    PositionModeIntent,
    SetLeverageIntent,
)
from trade_gateway.wire.refusal import Refusal, Refused
from trade_gateway.wire.routes import Kind, Route

_LEVERAGE_KEYS = ("category", "symbol", "buyLeverage", "sellLeverage")
_POSITION_MODES = {JsonNumber("0"): 0, JsonNumber("3"): 3}


def parse_pins(route: Route, body: bytes) -> PinIntent | Refusal:
    """Parse the body of one of the three pinned settings. Raises ValueError for another route."""
    try:
        fields = read_flat_object(body)
        if route.kind is Kind.PIN_LEVERAGE:
            return _set_leverage(fields)
        if route.kind is Kind.PIN_POSITION_MODE:
            return _position_mode(fields)
        if route.kind is Kind.PIN_MARGIN_MODE:
            return _margin_mode(fields)
    except Refused as error:
        return error.refusal
    raise ValueError(f"{route.name} pins nothing")


def _set_leverage(fields: Mapping[str, Value]) -> SetLeverageIntent:
    refuse_unknown_keys(fields, frozenset(_LEVERAGE_KEYS))
    require_keys(fields, _LEVERAGE_KEYS)
    _require_linear(fields)
    return SetLeverageIntent(
        symbol=text_of(fields, "symbol", SYMBOL),
        buy_leverage=positive_decimal_of(fields, "buyLeverage", DenyCode.BODY_VALUE_INVALID),
        sell_leverage=positive_decimal_of(fields, "sellLeverage", DenyCode.BODY_VALUE_INVALID),
    )


def _position_mode(fields: Mapping[str, Value]) -> PositionModeIntent:
    refuse_unknown_keys(fields, frozenset({"category", "mode", "coin", "symbol"}))
    require_keys(fields, ("category", "mode"))
    _require_linear(fields)
    value = fields["mode"]
    if not isinstance(value, JsonNumber) or value not in _POSITION_MODES:
        raise invalid("mode", value)
    return PositionModeIntent(
        mode=_POSITION_MODES[value],
        coin=optional_text_of(fields, "coin", COIN),
        symbol=optional_text_of(fields, "symbol", SYMBOL),
    )


def _margin_mode(fields: Mapping[str, Value]) -> MarginModeIntent:
    # freqtrade adds its leverage, which the exchange ignores here; it is dropped.
    refuse_unknown_keys(fields, frozenset({"setMarginMode", "leverage"}))
    require_keys(fields, ("setMarginMode",))
    return MarginModeIntent(margin_mode=member_of(fields, "setMarginMode", MarginMode))


def _require_linear(fields: Mapping[str, Value]) -> None:
    if member_of(fields, "category", Category) is not Category.LINEAR:
        raise invalid("category", fields["category"])
