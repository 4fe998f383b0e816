"""A deployment's files in a temporary folder, as an operator would make them."""

from __future__ import annotations

import base64
from pathlib import Path

from trade_core.secrets import write_secret_file
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, public_text
from trade_gateway.settings import GatewaySettings

LEASE_PRIVATE = load_private_key(base64.b64encode(bytes(range(32))).decode())
LEASE_KEY = public_text(LEASE_PRIVATE)
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
}
POLICY_TOML = """
max_order_notional_usdt = "1000"
min_order_notional_usdt = "10"
max_open_orders = 5
leverage = 2
symbols = [{category = "spot", symbol = "BTCUSDT"}]
"""


def toml(settings: dict[str, object]) -> str:
    def shown(value: object) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    return "".join(f"{key} = {shown(value)}\n" for key, value in settings.items())


def write_deployment(folder: Path, **changed: object) -> Path:
    """Write settings, policy, exchange key and the watchdog's public half; return the settings file."""
    content = {**SETTINGS, "journal_url": f"sqlite:///{folder}/gateway.db", **changed}
    config = folder / "gateway.toml"
    config.write_text(toml({key: value for key, value in content.items() if value is not None}))
    (folder / "policy.toml").write_text(POLICY_TOML)
    write_secret_file(folder / "secrets.json", {"exchange_key": "k", "exchange_secret": "s"})
    (folder / "public.json").write_text(f'{{"lease_key": "{LEASE_KEY}"}}')
    return config


def deployment(folder: Path, **changed: object) -> GatewaySettings:
    return load_settings(write_deployment(folder, **changed), GatewaySettings)
