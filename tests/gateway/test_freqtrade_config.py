"""The printed freqtrade configuration: safe in every field, and accepted by the real freqtrade."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_gateway.freqtrade_config import (
    MIN_JWT_SECRET_CHARACTERS,
    ControlInterface,
    Mode,
    freqtrade_config,
    largest_stake_usdt,
    pair_name,
    render,
)

GATEWAY = "http://127.0.0.1:20001"
GATEWAY_WS = "ws://127.0.0.1:20001"
CONTROL = ControlInterface(
    port=20009,
    username="operator",
    password="a-password",
    jwt_secret="j" * MIN_JWT_SECRET_CHARACTERS,
    websocket_token="a-token",
)
FREQTRADE = Path(sys.prefix).parent / "freqtrade" / "bin"
STRATEGIES = Path(__file__).parents[2] / "demo" / "strategy"

# Asks freqtrade's own code for the three judgements that it makes before it trades in live mode.
VALIDATE = """
import sys
from freqtrade.configuration import Configuration, validate_config_consistency
from freqtrade.enums import RunMode
from freqtrade.exchange.check_exchange import check_exchange
from freqtrade.resolvers import StrategyResolver
arguments = {"config": [sys.argv[1]], "user_data_dir": sys.argv[2], "strategy": "QuietMaker",
             "strategy_path": sys.argv[3], "db_url": "sqlite://"}
config = Configuration(arguments, RunMode.LIVE).get_config()
check_exchange(config)
strategy = StrategyResolver.load_strategy(config)
validate_config_consistency(config)
assert strategy.order_types["emergency_exit"] == "limit", strategy.order_types
assert strategy.order_time_in_force == {"entry": "PO", "exit": "PO"}, strategy.order_time_in_force
print("live" if not config["dry_run"] else "dry", config["trading_mode"].value, config["initial_state"])
"""


def config_of(mode: Mode, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "mode": mode,
        "gateway_url": GATEWAY,
        "gateway_ws": GATEWAY_WS,
        "key": "virtual-key",
        "secret": "virtual-secret",
        "symbols": ("BTCUSDT", "ETHUSDT"),
        "stake_usdt": Decimal(50),
        "max_order_notional_usdt": Decimal(100),
        "leverage": 1,
        "control": CONTROL,
    }
    return freqtrade_config(**{**arguments, **changes})


def texts(value: object) -> list[str]:
    """List every text anywhere inside plain JSON."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("mode", Mode)
def test_config_any_mode_sends_every_address_to_the_gateway(mode: Mode) -> None:
    addresses = [text for text in texts(config_of(mode)) if "://" in text]
    assert len(addresses) == 14
    assert all(address.startswith((GATEWAY, GATEWAY_WS)) for address in addresses)


@pytest.mark.parametrize("mode", Mode)
def test_config_any_mode_orders_are_limit_and_post_only(mode: Mode) -> None:
    config = config_of(mode)
    kinds = dict(config["order_types"])
    assert kinds.pop("stoploss_on_exchange") is False
    assert set(kinds) == {"entry", "exit", "emergency_exit", "force_entry", "force_exit", "stoploss"}
    assert set(kinds.values()) == {"limit"}
    assert config["order_time_in_force"] == {"entry": "PO", "exit": "PO"}
    assert config["entry_pricing"]["price_side"] == config["exit_pricing"]["price_side"] == "same"
    assert config["unfilledtimeout"]["exit_timeout_count"] == 0


@pytest.mark.parametrize("mode", Mode)
def test_config_any_mode_starts_paused_and_cannot_be_forced(mode: Mode) -> None:
    config = config_of(mode)
    assert config["initial_state"] == "paused"
    assert config["force_entry_enable"] is False
    assert config["cancel_open_orders_on_exit"] is True
    assert config["dry_run"] is False
    assert config["exchange"]["enable_ws"] is False
    assert config["api_server"]["listen_ip_address"] == "127.0.0.1"


def test_config_spot_has_no_margin_mode_and_spot_pairs() -> None:
    config = config_of(Mode.SPOT)
    assert (config["trading_mode"], config["margin_mode"]) == ("spot", "")
    assert config["exchange"]["pair_whitelist"] == ["BTC/USDT", "ETH/USDT"]
    assert config["exchange"]["ccxt_config"]["options"]["fetchMarkets"] == {"types": ["spot"]}


def test_config_futures_is_isolated_with_linear_pairs_and_pinned_leverage() -> None:
    config = config_of(Mode.FUTURES, leverage=5, stake_usdt=Decimal(10))
    assert (config["trading_mode"], config["margin_mode"]) == ("futures", "isolated")
    assert config["exchange"]["pair_whitelist"] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert config["exchange"]["ccxt_config"]["options"]["fetchMarkets"] == {"types": ["linear"]}
    assert config["pinned_leverage"] == 5


@pytest.mark.parametrize(("stake", "allowed"), [("49.99", True), ("50", True), ("50.01", False), ("5000", False)])
def test_config_stake_beside_half_the_cap_is_refused_only_above_it(*, stake: str, allowed: bool) -> None:
    if allowed:
        assert config_of(Mode.SPOT, stake_usdt=Decimal(stake))["stake_amount"] == float(stake)
        return
    with pytest.raises(ConfigurationError, match="stake_usdt: must be above 0 and at most 50"):
        config_of(Mode.SPOT, stake_usdt=Decimal(stake))


@pytest.mark.parametrize("stake", ["0", "-1", "NaN", "Infinity"])
def test_config_stake_absurd_is_refused(stake: str) -> None:
    with pytest.raises(ConfigurationError, match="stake_usdt"):
        config_of(Mode.SPOT, stake_usdt=Decimal(stake))


def test_config_leverage_multiplies_the_order_so_the_stake_shrinks() -> None:
    assert largest_stake_usdt(max_order_notional_usdt=Decimal(100), leverage=3) == Decimal(16)
    with pytest.raises(ConfigurationError, match="at most 16"):
        config_of(Mode.FUTURES, leverage=3, stake_usdt=Decimal(17))


@pytest.mark.parametrize("cap", ["1.99", "0", "-5"])
def test_largest_stake_without_room_is_refused(cap: str) -> None:
    with pytest.raises(ConfigurationError, match="leaves no stake"):
        largest_stake_usdt(max_order_notional_usdt=Decimal(cap), leverage=1)


@pytest.mark.parametrize("leverage", [0, -1])
def test_largest_stake_leverage_below_one_is_refused(leverage: int) -> None:
    with pytest.raises(ConfigurationError, match="leverage: must be 1 or more"):
        largest_stake_usdt(max_order_notional_usdt=Decimal(100), leverage=leverage)


def test_config_spot_with_leverage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be 1 for spot"):
        config_of(Mode.SPOT, leverage=2)


@pytest.mark.parametrize("symbol", ["BTCUSDC", "USDT", "", "BTC-USDT", "btcUSDT", "BTC\u0661USDT"])
def test_pair_name_of_a_foreign_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigurationError, match="symbols"):
        pair_name(symbol, Mode.SPOT)


def test_config_short_jwt_secret_or_wild_port_is_refused() -> None:
    weak = ControlInterface(port=20009, username="u", password="p", jwt_secret="short", websocket_token="t")
    with pytest.raises(ConfigurationError, match="jwt_secret"):
        config_of(Mode.SPOT, control=weak)
    low = ControlInterface(port=80, username="u", password="p", jwt_secret="j" * 32, websocket_token="t")
    with pytest.raises(ConfigurationError, match="port"):
        config_of(Mode.SPOT, control=low)


def test_render_reads_back_as_the_same_json() -> None:
    config = config_of(Mode.SPOT)
    assert json.loads(render(config)) == config


@pytest.mark.slow
@pytest.mark.parametrize("mode", Mode)
def test_config_any_mode_is_accepted_by_the_real_freqtrade(mode: Mode, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(render(config_of(mode)))
    (tmp_path / "user_data").mkdir()
    outcome = subprocess.run(
        [FREQTRADE / "python", "-c", VALIDATE, file, tmp_path / "user_data", STRATEGIES],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert outcome.stdout.split() == ["live", mode.value, "paused"]
    assert not [line for line in outcome.stderr.splitlines() if "WARNING" in line or "ERROR" in line]


def test_config_futures_sets_the_stop_at_the_exchange_exactly_when_the_policy_permits_it() -> None:
    kinds = config_of(Mode.FUTURES, stop_slippage=Decimal("0.004"))["order_types"]
    assert kinds["stoploss_on_exchange"] is True
    assert kinds["stoploss_price_type"] == "mark"
    assert kinds["stoploss_on_exchange_limit_ratio"] == 0.9964  # nine tenths of the slippage, for rounding to ticks
    assert kinds["stoploss"] == "limit"
    assert config_of(Mode.FUTURES)["order_types"]["stoploss_on_exchange"] is False


def test_config_spot_never_sets_a_stop_at_the_exchange() -> None:
    kinds = config_of(Mode.SPOT, stop_slippage=Decimal("0.004"))["order_types"]
    assert kinds["stoploss_on_exchange"] is False
    assert "stoploss_price_type" not in kinds
