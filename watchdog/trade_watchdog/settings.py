"""The watchdog's settings file: whom it watches, where its files are, and nothing that switches a check off."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from trade_core.setting_types import (
    AccountId,
    LogLevel,
    LoopbackHost,
    LoopbackHttpUrl,
    LoopbackWebSocketUrl,
    Port,
    RetentionDays,
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
    # Another venue whose prices stand beside the exchange's own; public data, no key.
    second_venue: Literal["none", "okx", "kucoin", "bitget", "bybit"] = "none"
    second_venue_url: LoopbackHttpUrl | None = None
    # Of its copy of the gateway's journal.
    retention_days: RetentionDays | None = None
    log_level: LogLevel = "INFO"

    @model_validator(mode="after")
    def _second_venue_is_simulated_too(self) -> Self:
        # What a real venue says of a coin means nothing on a simulated exchange; live venues have constant hosts.
        if self.second_venue == "none" and self.second_venue_url is not None:
            raise ValueError('second_venue_url: is given although second_venue = "none"')
        if self.second_venue != "none" and self.second_venue_url is None:
            raise ValueError("second_venue_url: is missing; a simulated exchange needs a simulated second venue")
        if self.second_venue_url == self.exchange_url:
            raise ValueError("second_venue_url: is the exchange itself, which cannot vouch for its own prices")
        return self
