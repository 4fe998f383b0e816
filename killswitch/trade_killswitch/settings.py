"""The kill executor's settings file: which account, where its socket is, who may use it; no switch for a check."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trade_core.bot_hosts.selection import BotHostSettings
from trade_core.setting_types import AccountId, LogLevel, LoopbackHttpUrl, SettingPath, Simulated
from trade_killswitch.secret_store.selection import SecretStoreSettings

UserId = Annotated[int, Field(ge=0, lt=2**32 - 1)]
REQUESTS_PER_S_DEFAULT = 20
REQUESTS_PER_S_MAX = 40
"""A third of what gets an address banned, which gateway and watchdog may share."""


class ExecutorSettings(BotHostSettings, SecretStoreSettings):
    """One account, one exit key, one socket. A user that is not set is the executor's own."""

    environment: Simulated
    exchange: Simulated
    exchange_url: LoopbackHttpUrl
    account: AccountId
    state_dir: SettingPath
    journal_url: Annotated[str, Field(pattern=r"^sqlite:////.+")]
    # JSON {"exchange_key", "exchange_secret"} of the exit key.
    secrets_file: SettingPath
    ring_file: SettingPath
    socket: SettingPath
    # JSON, mode 0600: channels of alerts.
    alerts_file: SettingPath | None = None
    watchdog_uid: UserId | None = None
    console_uid: UserId | None = None
    requests_per_s: Annotated[int, Field(ge=5, le=REQUESTS_PER_S_MAX)] = REQUESTS_PER_S_DEFAULT
    log_level: LogLevel = "INFO"
