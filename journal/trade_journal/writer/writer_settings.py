"""The journal writer's settings file: where the journal is, who may write into it, and through which sockets."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from trade_core.setting_types import AccountId, Environment, LogLevel, RetentionDays, SettingPath
from trade_core.settings import Settings

UserId = Annotated[int, Field(ge=0, lt=2**32 - 1)]


class JournalWriterSettings(Settings):
    """One journal, its key, and a socket for each peer. A user that is not set is the writer's own."""

    environment: Environment
    account: AccountId
    state_dir: SettingPath
    journal_url: Annotated[str, Field(pattern=r"^(sqlite:////|postgresql://).+")]
    ring_file: SettingPath
    gateway_socket: SettingPath
    gateway_uid: UserId | None = None
    shim_socket: SettingPath
    shim_uid: UserId | None = None
    retention_days: RetentionDays | None = None
    archive_dir: SettingPath | None = None
    log_level: LogLevel = "INFO"

    @model_validator(mode="after")
    def _sockets_differ(self) -> Self:
        if self.gateway_socket == self.shim_socket:
            raise ValueError("gateway_socket and shim_socket are one path; the socket says who writes")
        return self

    @model_validator(mode="after")
    def _only_a_file_is_sealed(self) -> Self:
        if self.retention_days is not None and not self.journal_url.startswith("sqlite:"):
            raise ValueError("retention_days is for a SQLite journal; one in PostgreSQL is sealed by its owner")
        if self.archive_dir is not None and self.journal_url.startswith("sqlite:"):
            raise ValueError("archive_dir is for a PostgreSQL journal; the segments of a file lie beside it")
        return self
