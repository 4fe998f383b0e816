"""A deployment's files in a temporary folder, as an operator would make them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from trade_core.secrets import write_secret_file
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, public_text
from trade_gateway.settings import GatewaySettings

LEASE_PRIVATE = load_private_key(base64.b64encode(bytes(range(32))).decode())
LEASE_KEY = public_text(LEASE_PRIVATE)
WITNESS_PRIVATE = load_private_key(base64.b64encode(bytes(range(1, 33))).decode())
WITNESS_KEY = public_text(WITNESS_PRIVATE)
LOG_PRIVATE = load_private_key(base64.b64encode(bytes(range(2, 34))).decode())
LOG_KEY = public_text(LOG_PRIVATE)
SETTINGS: dict[str, object] = {
    "environment": "simulated",
    "exchange": "simulated",
    "exchange_url": "http://127.0.0.1:21000",
    "exchange_ws_url": "ws://127.0.0.1:21000",
    "account": "1002",
    "listen_port": 22000,
    "admin_port": 22001,
    "state_dir": "state",
    "policy_file": "policy.toml",
    "secrets_file": "secrets.json",
    "ring_file": "ring.json",
    "journal_socket": "gateway.sock",
}
POLICY_TOML = """
allocated_capital_usdt = "4000"
max_order_notional_usdt = "1000"
min_order_notional_usdt = "10"
max_gross_exposure = "1"
turnover_budget_24h = "1.5"
collar = "0.003"
exit_collar = "0.004"
fat_finger = "0.2"
reference_max_age_s = 5
reference_max_divergence = "0.005"
messages_per_s_deny = 5
messages_per_s_terminate = 20
repeated_execution_limit = 10
repeated_execution_window_s = 60
duplicate_window_s = 10
max_open_orders = 5
leverage = 2
order_time_to_live_s = 300
protective_stops = "deny"
stop_slippage = "0.01"
stress_gap = "0.15"
funding_cap = "0.01"
highest_fee = "0.001"
symbols = [
    {category = "spot", symbol = "BTCUSDT", max_order_quantity = "1", max_notional_usdt = "4000"},
]
"""


def toml(settings: dict[str, object]) -> str:
    def shown(value: object) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    return "".join(f"{key} = {shown(value)}\n" for key, value in settings.items())


def write_deployment(folder: Path, **changed: object) -> Path:
    """Write settings, policy, exchange key and the public halves of others' keys; return the settings file."""
    content = {**SETTINGS, **changed}
    config = folder / "gateway.toml"
    config.write_text(toml({key: value for key, value in content.items() if value is not None}))
    (folder / "policy.toml").write_text(POLICY_TOML)
    write_secret_file(folder / "secrets.json", {"exchange_key": "k", "exchange_secret": "s"})
    place = {"environment": content["environment"], "account": content["account"]}
    (folder / "public.json").write_text(
        json.dumps({**place, "lease_key": LEASE_KEY, "witness_key": WITNESS_KEY, "log_key": LOG_KEY})
    )
    (folder / "journal-public.json").write_text(json.dumps({**place, "log_key": LOG_KEY}))
    return config


def deployment(folder: Path, **changed: object) -> GatewaySettings:
    return load_settings(write_deployment(folder, **changed), GatewaySettings)
