"""The `auth` operation of the private and the order stream."""

from __future__ import annotations

from typing import Any

from trade_simulator.api.authentication import verify
from trade_simulator.api.reception import Reception
from trade_simulator.keys import ApiKey
from trade_simulator.rejections import Rejected, parameter_error


def log_in(message: dict[str, Any], *, reception: Reception, address: str) -> ApiKey:
    """Check `[key, expires, signature]` over "GET/realtime" + expires. Raises Rejected with Bybit's code."""
    arguments = message.get("args")
    if not isinstance(arguments, list) or len(arguments) != 3:
        raise parameter_error("args of auth are [api key, expires, signature]")
    name, expires, signature = arguments
    expires_text = str(expires) if isinstance(expires, int | str) else ""
    if not isinstance(name, str) or not isinstance(signature, str) or not _is_time(expires_text):
        raise parameter_error("args of auth are [api key, expires, signature]")
    key = reception.exchange.keys.authenticate(name, address=address)
    if int(expires_text) <= reception.clock.now_ms():
        raise Rejected(10002, "Params Error: expires is not in the future")
    if not verify(key, origin=f"GET/realtime{expires_text}".encode(), signature=signature):
        raise Rejected(10004, "Error sign, please check your signature generation algorithm.")
    return key


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16
