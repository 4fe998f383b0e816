"""The journal shim's settings file: which database of the bot it follows, and through which socket it writes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trade_core.setting_types import AccountId, Environment, LogLevel, SettingPath
from trade_core.settings import Settings
from trade_journal.log.checkpoint import signer_name


class ShimSettings(Settings):
    """One bot, and the journal of the gateway that it trades through."""

    environment: Environment
    account: AccountId
    state_dir: SettingPath
    journal_socket: SettingPath
    bot_database: SettingPath
    trade_prefix: Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9-]{0,15})?$")] = ""
    poll_every_s: Annotated[int, Field(ge=1, le=60)] = 2
    log_level: LogLevel = "INFO"

    @property
    def origin(self) -> str:
        """Name the journal that the trades belong to."""
        return signer_name(environment=self.environment, account=self.account, service="gateway")
