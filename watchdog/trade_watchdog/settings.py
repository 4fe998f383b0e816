"""The watchdog's settings file: whom it watches, where its files are, and nothing that switches a check off."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from trade_core.administration import AdministeredSettings
from trade_core.bot_hosts.selection import BotHostSettings
from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_core.setting_types import (
    AccountId,
    LogLevel,
    LoopbackHttpUrl,
    RetentionDays,
    SettingPath,
)
from trade_watchdog.ladder import Rung, Thresholds


def _fraction(value: Any) -> Decimal:
    """Read a number from its text: a float would not be the number that was written."""
    try:
        return parse_decimal(value)
    except InvalidNumber as error:
        raise ValueError('must be a plain decimal number in quotes, such as "0.05"') from error


ExchangeKeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{6,64}$")]
Fraction = Annotated[Decimal, BeforeValidator(_fraction)]


class WatchdogSettings(AdministeredSettings, BotHostSettings):
    """Which account on which exchange, where the gateway's handover stands, and where the watchdog listens."""

    account: AccountId
    state_dir: SettingPath
    # JSON {"exchange_key", "exchange_secret"} of a read-only key of the account.
    secrets_file: SettingPath
    # The same of a read-only key of the master account, which alone can list the keys of the account.
    master_secrets_file: SettingPath
    # The public ids of the keys that the account should have beside the watchdog's own: the gateway's, the executor's.
    order_key: ExchangeKeyId
    exit_key: ExchangeKeyId | None = None
    # Written by the gateway's `init` for the watchdog: where its admin listener is, and a token for it.
    gateway_handover: SettingPath
    ring_file: SettingPath
    # Another venue whose prices stand beside the exchange's own; public data, no key.
    second_venue: Literal["none", "okx", "kucoin", "bitget", "bybit"] = "none"
    second_venue_url: LoopbackHttpUrl | None = None
    # Of its copy of the gateway's journal.
    retention_days: RetentionDays | None = None
    # The ladder: by how much the unit price may fall. The defaults are the loosest values that there are.
    daily_fraction: Annotated[Fraction, Field(ge=Decimal("0.005"), le=Decimal("0.05"))] = Decimal("0.05")
    weekly_fraction: Annotated[Fraction, Field(ge=Decimal("0.01"), le=Decimal("0.08"))] = Decimal("0.08")
    monthly_fraction: Annotated[Fraction, Field(ge=Decimal("0.02"), le=Decimal("0.15"))] = Decimal("0.15")
    high_water_fraction: Annotated[Fraction, Field(ge=Decimal("0.03"), le=Decimal("0.18"))] = Decimal("0.18")
    trim_scale: Annotated[Fraction, Field(ge=Decimal("0.1"), le=Decimal("0.5"))] = Decimal("0.5")
    # The hands. What is not set cannot be done, and the watchdog says so when it is needed.
    executor_socket: SettingPath | None = None
    # The executor's `public.json`, whose key its journal is verified by where the key ring names none.
    executor_public_file: SettingPath | None = None
    # JSON, mode 0600: channels of alerts, freqtrade's control, the address of a dead-man service.
    alerts_file: SettingPath | None = None
    freqtrade_file: SettingPath | None = None
    heartbeat_file: SettingPath | None = None
    # How long a halted bot may manage its exits before it is ended.
    halt_exit_s: Annotated[int, Field(ge=0, le=86_400)] = 900
    log_level: LogLevel = "INFO"

    def thresholds(self) -> Thresholds:
        """Return what the ladder is walked by."""
        fractions = {
            Rung.DAILY: self.daily_fraction,
            Rung.WEEKLY: self.weekly_fraction,
            Rung.MONTHLY: self.monthly_fraction,
            Rung.HIGH_WATER: self.high_water_fraction,
        }
        return Thresholds(fractions=fractions, trim_scale=self.trim_scale)

    @model_validator(mode="after")
    def _rungs_are_walked_in_order(self) -> Self:
        fractions = list(self.thresholds().fractions.values())
        if not all(before < after for before, after in pairwise(fractions)):
            raise ValueError("daily_fraction, weekly_fraction, monthly_fraction and high_water_fraction must rise")
        return self

    @model_validator(mode="after")
    def _second_venue_is_of_the_environment(self) -> Self:
        # What a real venue says of a coin means nothing on a simulated exchange; real venues have constant hosts.
        if self.second_venue == "none" and self.second_venue_url is not None:
            raise ValueError('second_venue_url: is given although second_venue = "none"')
        if not self.is_simulated and self.second_venue_url is not None:
            raise ValueError("second_venue_url: is given; the hosts of a real venue are constants")
        if self.is_simulated and self.second_venue != "none" and self.second_venue_url is None:
            raise ValueError("second_venue_url: is missing; a simulated exchange needs a simulated second venue")
        if not self.is_simulated and self.second_venue == "bybit":
            raise ValueError('second_venue: "bybit" is the exchange itself, which cannot vouch for its own prices')
        if self.second_venue_url is not None and self.second_venue_url == self.exchange_url:
            raise ValueError("second_venue_url: is the exchange itself, which cannot vouch for its own prices")
        return self
