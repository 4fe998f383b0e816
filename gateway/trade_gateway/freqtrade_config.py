"""A complete freqtrade configuration that fits this gateway, as a pure function of the policy and the virtual key.

Guarantees of what it returns:
- every address is the gateway's, REST and WebSocket, so freqtrade has no way around it;
- every order that freqtrade makes by itself is Limit and PostOnly, exits and emergency exits too, and no
  setting left at freqtrade's default would send a taking order; the one exception is the stop at the exchange,
  which is set exactly for linear contracts whose policy permits it;
- an order is at most half the policy's per-order cap, so that a policy at half size still lets it trade;
- the bot starts paused, takes no entries by force, and cancels its open orders when it ends.

It cannot bind the strategy: a strategy may still ask for a market exit by its own code, or for a stake of its
own. The gateway denies those; this file only makes sure that nobody asks by accident.
Freqtrade's reactions behind these choices are described in docs/freqtrade.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import Any

from trade_core.errors import ConfigurationError

STAKE_CURRENCY = "USDT"
# Freqtrade refuses a key for its JSON web tokens shorter than this.
MIN_JWT_SECRET_CHARACTERS = 32
# Freqtrade's own bounds on the port of its control interface.
MIN_API_PORT, MAX_API_PORT = 1024, 65535
# Freqtrade gives an entry up after this; a policy's order time-to-live must be longer than both.
ENTRY_TIMEOUT_S = 30
EXIT_TIMEOUT_S = 30
LOOP_S = 5
HEARTBEAT_S = 60
# The gateway answers within 8 s; ccxt must not hang up before that.
HTTP_TIMEOUT_MS = 10_000
# Part of the policy's slippage between a stop's trigger and its limit: freqtrade rounds each to the tick by itself.
STOP_SLIPPAGE_USED = Decimal("0.9")
# Part of the balance that freqtrade may commit; the rest pays fees and rounding.
TRADABLE_BALANCE_RATIO = Decimal("0.9")


class Mode(StrEnum):
    """Which of the two markets a freqtrade process trades: it cannot trade both."""

    SPOT = "spot"
    FUTURES = "futures"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlInterface:
    """Freqtrade's own REST control: always on loopback, with credentials made for this one configuration."""

    port: int
    username: str
    password: str
    jwt_secret: str
    websocket_token: str


def largest_stake_usdt(*, max_order_notional_usdt: Decimal, leverage: int) -> Decimal:
    """Return the largest whole-USDT stake whose order is at most half the per-order cap.

    Raises ConfigurationError when the cap leaves no room for one whole USDT.
    """
    if leverage < 1:
        raise ConfigurationError(f"leverage: must be 1 or more (found {leverage})")
    stake = (max_order_notional_usdt / 2 / leverage).to_integral_value(rounding=ROUND_DOWN)
    if stake < 1:
        raise ConfigurationError(
            f"max_order_notional_usdt: {max_order_notional_usdt} leaves no stake at half of it (leverage {leverage})"
        )
    return stake


def freqtrade_config(
    *,
    mode: Mode,
    gateway_url: str,
    gateway_ws: str,
    key: str,
    secret: str,
    symbols: Sequence[str],
    stake_usdt: Decimal,
    max_order_notional_usdt: Decimal,
    leverage: int,
    control: ControlInterface,
    stop_slippage: Decimal | None = None,
    bot_name: str = "trade",
) -> dict[str, Any]:
    """Return the configuration as plain JSON types.

    `stake_usdt` is the margin of one trade: with leverage its order is that many times larger. `leverage` is the
    policy's pinned one (1 for spot). `symbols` are the policy's, as the exchange writes them ("BTCUSDT").
    `stop_slippage` is the policy's when it permits protective stops, else None; freqtrade has none on spot.
    Raises ConfigurationError for values that freqtrade or the gateway would refuse later.
    """
    _check_stake(mode=mode, stake_usdt=stake_usdt, max_order_notional_usdt=max_order_notional_usdt, leverage=leverage)
    return {
        "bot_name": bot_name,
        "dry_run": False,
        "initial_state": "paused",
        "force_entry_enable": False,
        "cancel_open_orders_on_exit": True,
        "trading_mode": mode.value,
        "margin_mode": "isolated" if mode is Mode.FUTURES else "",
        # Freqtrade has no setting for leverage: a strategy's leverage() must return this.
        "pinned_leverage": leverage,
        "max_open_trades": len(symbols),
        "stake_currency": STAKE_CURRENCY,
        "stake_amount": _json_number(stake_usdt),
        "tradable_balance_ratio": _json_number(TRADABLE_BALANCE_RATIO),
        **_order_settings(None if mode is Mode.SPOT else stop_slippage),
        "exchange": _exchange(
            mode=mode,
            gateway_url=gateway_url,
            gateway_ws=gateway_ws,
            key=key,
            secret=secret,
            pairs=[pair_name(symbol, mode) for symbol in sorted(symbols)],
        ),
        "pairlists": [{"method": "StaticPairList"}],
        "telegram": {"enabled": False, "token": "", "chat_id": ""},
        "api_server": _api_server(control),
        "internals": {"process_throttle_secs": LOOP_S, "heartbeat_interval": HEARTBEAT_S},
    }


def render(config: dict[str, Any]) -> str:
    """Return the configuration as the text of a JSON file. It holds secrets: write it readable by its owner only."""
    return json.dumps(config, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def pair_name(symbol: str, mode: Mode) -> str:
    """Return freqtrade's name of a symbol: BTCUSDT is BTC/USDT on spot and BTC/USDT:USDT on linear.

    Raises ConfigurationError when the symbol is not quoted in the stake currency.
    """
    base = symbol.removesuffix(STAKE_CURRENCY)
    if base == symbol or not base or not (base.isascii() and base.isalnum() and base.isupper()):
        raise ConfigurationError(f"symbols: {symbol!a} is not a symbol quoted in {STAKE_CURRENCY}")
    pair = f"{base}/{STAKE_CURRENCY}"
    return f"{pair}:{STAKE_CURRENCY}" if mode is Mode.FUTURES else pair


def _check_stake(*, mode: Mode, stake_usdt: Decimal, max_order_notional_usdt: Decimal, leverage: int) -> None:
    if mode is Mode.SPOT and leverage != 1:
        raise ConfigurationError(f"leverage: must be 1 for spot (found {leverage})")
    largest = largest_stake_usdt(max_order_notional_usdt=max_order_notional_usdt, leverage=leverage)
    if not stake_usdt.is_finite() or not 0 < stake_usdt <= largest:
        raise ConfigurationError(
            f"stake_usdt: must be above 0 and at most {largest}, half the per-order cap (found {stake_usdt})"
        )


def _order_settings(stop_slippage: Decimal | None) -> dict[str, Any]:
    # "same" puts entries on the bid and exits on the ask, and freqtrade itself refuses market orders beside it.
    pricing = {"price_side": "same", "use_order_book": True, "order_book_top": 1}
    no_depth_check = {"enabled": False, "bids_to_ask_delta": 1}
    return {
        "unfilledtimeout": {
            "entry": ENTRY_TIMEOUT_S,
            "exit": EXIT_TIMEOUT_S,
            # Above 0, freqtrade would answer that many unfilled exits with an emergency exit.
            "exit_timeout_count": 0,
            "unit": "seconds",
        },
        "entry_pricing": {**pricing, "price_last_balance": 0.0, "check_depth_of_market": no_depth_check},
        "exit_pricing": pricing,
        "order_types": {
            "entry": "limit",
            "exit": "limit",
            "emergency_exit": "limit",
            "force_entry": "limit",
            "force_exit": "limit",
            "stoploss": "limit",
            **_stop_settings(stop_slippage),
        },
        "order_time_in_force": {"entry": "PO", "exit": "PO"},
    }


def _stop_settings(stop_slippage: Decimal | None) -> dict[str, Any]:
    if stop_slippage is None:
        # A stop at the exchange takes when it triggers, which the policy denies. Freqtrade then watches the stop
        # itself and exits with a PostOnly order.
        return {"stoploss_on_exchange": False}
    # With it freqtrade never watches the stop itself: the one at the exchange is the only one.
    return {
        "stoploss_on_exchange": True,
        "stoploss_on_exchange_interval": 60,
        "stoploss_on_exchange_limit_ratio": _json_number(1 - stop_slippage * STOP_SLIPPAGE_USED),
        # Freqtrade's default is the last trade, which the gateway does not accept as a trigger.
        "stoploss_price_type": "mark",
    }


def _exchange(
    *, mode: Mode, gateway_url: str, gateway_ws: str, key: str, secret: str, pairs: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": "bybit",
        "key": key,
        "secret": secret,
        # Freqtrade would otherwise hang instead of ending after a fatal error at start.
        "enable_ws": False,
        "log_responses": False,
        "ccxt_config": {
            "enableRateLimit": True,
            "timeout": HTTP_TIMEOUT_MS,
            "urls": {"api": _addresses(gateway_url.rstrip("/"), gateway_ws.rstrip("/"))},
            "options": {
                # One market instead of all; and a unified account, which ccxt would otherwise ask about.
                "fetchMarkets": {"types": ["linear" if mode is Mode.FUTURES else "spot"]},
                "enableUnifiedMargin": False,
                "enableUnifiedAccount": True,
                "unifiedMarginStatus": 6,
                "fetchOrder": {"acknowledged": True},
            },
        },
        "ccxt_async_config": {},
        "pair_whitelist": list(pairs),
        "pair_blacklist": [],
    }


def _addresses(rest: str, ws: str) -> dict[str, Any]:
    """Override every address that ccxt knows for Bybit, used by freqtrade or not: none may point elsewhere."""
    public = {name: f"{ws}/v5/public/{name}" for name in ("spot", "linear", "inverse", "option")}
    private = f"{ws}/v5/private"
    return {
        **dict.fromkeys(("public", "private", "spot", "futures", "v2"), rest),
        "ws": {
            "public": public,
            "private": {
                "spot": {"unified": private, "nonUnified": private},
                "contract": private,
                "usdc": private,
                "trade": f"{ws}/v5/trade",
            },
        },
    }


def _api_server(control: ControlInterface) -> dict[str, Any]:
    if not MIN_API_PORT <= control.port <= MAX_API_PORT:
        raise ConfigurationError(f"control.port: must be {MIN_API_PORT} to {MAX_API_PORT} (found {control.port})")
    if len(control.jwt_secret) < MIN_JWT_SECRET_CHARACTERS:
        raise ConfigurationError(f"control.jwt_secret: must have at least {MIN_JWT_SECRET_CHARACTERS} characters")
    return {
        "enabled": True,
        "listen_ip_address": "127.0.0.1",
        "listen_port": control.port,
        "verbosity": "error",
        "enable_openapi": False,
        "jwt_secret_key": control.jwt_secret,
        "ws_token": control.websocket_token,
        "CORS_origins": [],
        "username": control.username,
        "password": control.password,
    }


def _json_number(value: Decimal) -> int | float:
    """Return the number as JSON has it: freqtrade's schema takes no text here, and computes in floats itself."""
    return int(value) if value == value.to_integral_value() else float(str(value))
