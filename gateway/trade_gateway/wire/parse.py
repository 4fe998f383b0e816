"""The parser's public face: bytes in, an intent or a refusal out."""

from __future__ import annotations

from trade_gateway.wire.order_bodies import parse_order_cancel, parse_order_create
from trade_gateway.wire.pin_bodies import parse_pins
from trade_gateway.wire.queries import parse_read
from trade_gateway.wire.stop_bodies import parse_order_or_stop, stop_symbol

__all__ = [
    "parse_order_cancel",
    "parse_order_create",
    "parse_order_or_stop",
    "parse_pins",
    "parse_read",
    "stop_symbol",
]
