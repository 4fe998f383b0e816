"""The watchdog's settings file: whom it watches, where its files are, and nothing that switches a check off."""

from __future__ import annotations

from trade_core.setting_types import (
    AccountId,
    LogLevel,
    LoopbackHost,
    LoopbackHttpUrl,
    LoopbackWebSocketUrl,
    Port,
    SettingPath,
    Simulated,
)
from trade_core.settings import Settings


class WatchdogSettings(Settings):
    """Which account on which exchange, where the gateway's handover stands, and where the watchdog listens."""

    environment: Simulated
    exchange: Simulated
    exchange_url: LoopbackHttpUrl
    # Named now so that a settings file stays valid; this version reads over REST alone.
    exchange_ws_url: LoopbackWebSocketUrl
    account: AccountId
    admin_host: LoopbackHost = "127.0.0.1"
    admin_port: Port
    state_dir: SettingPath
    # JSON {"exchange_key", "exchange_secret"} of a read-only key of the account.
    secrets_file: SettingPath
    # Written by the gateway's `init` for the watchdog: where its admin listener is, and a token for it.
    gateway_handover: SettingPath
    ring_file: SettingPath
    log_level: LogLevel = "INFO"
