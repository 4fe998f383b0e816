"""The gateway's settings file: every key required unless a default is safe, and nothing that switches a check off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from trade_core.administration import AdministeredSettings
from trade_core.setting_types import (
    AccountId,
    LogLevel,
    LoopbackHost,
    Port,
    SettingPath,
)
from trade_gateway.egress import LOAD_TEST_ORDERS_PER_S, ORDERS_PER_S, check_pace
from trade_gateway.policy.bounds import counts_at


class GatewaySettings(AdministeredSettings):
    """Where the gateway listens, whom it talks to, and where its files are. Limits stand in the policy file."""

    account: AccountId
    listen_host: LoopbackHost = "127.0.0.1"
    listen_port: Port
    state_dir: SettingPath
    journal_socket: SettingPath
    policy_file: SettingPath
    secrets_file: SettingPath
    ring_file: SettingPath
    alerts_file: SettingPath | None = None
    rp_id: Annotated[str, Field(max_length=253)] = "localhost"
    # A TOML array is a list; what stands in it is judged as strictly as everything else.
    origins: Annotated[tuple[str, ...], Field(max_length=4, strict=False)] = ("http://localhost:8650",)
    log_level: LogLevel = "INFO"
    orders_per_s: Annotated[int, Field(ge=1, le=LOAD_TEST_ORDERS_PER_S)] = ORDERS_PER_S

    @property
    def policy_counts(self) -> Mapping[str, tuple[int, int]]:
        """The bounds of the policy's counts and rates at this pace."""
        return counts_at(self.orders_per_s)

    @model_validator(mode="after")
    def _pace_fits_the_exchange(self) -> Self:
        check_pace(self.orders_per_s, is_simulated=self.is_simulated)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.listen_port == self.admin_port and self.listen_host == self.admin_host:
            raise ValueError(f"listen_port and admin_port are both {self.listen_port}; bot and admin need their own")
        return self
