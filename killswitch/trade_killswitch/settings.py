"""The kill executor's settings file: which account, where its socket is, who may use it; no switch for a check."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from trade_core.bot_hosts.selection import BotHostSettings
from trade_core.errors import InvalidNumber
from trade_core.exchange_settings import ExchangeSettings
from trade_core.money import parse_decimal
from trade_core.setting_types import AccountId, LogLevel, SettingPath
from trade_killswitch.kill_order import Ending
from trade_killswitch.secret_store.selection import SecretStoreSettings
from trade_killswitch.working_orders import Category

UserId = Annotated[int, Field(ge=0, lt=2**32 - 1)]
REQUESTS_PER_S_DEFAULT = 20
DRILL_EVERY_DAYS_DEFAULT = 92
"""A quarter. Keys, rights and addresses change unseen, and a kill that was never tried is not known to work."""
REQUESTS_PER_S_MAX = 40
"""A third of what gets an address banned, which gateway and watchdog may share."""
SLIPPAGE_DEFAULT = Decimal("0.02")
DRAWDOWN_DEFAULT = Decimal("0.18")
HALT_DRAWDOWN_DEFAULT = Decimal("0.15")


def _fraction(value: object) -> Decimal:
    try:
        return parse_decimal(value if isinstance(value, str) else "")
    except InvalidNumber:
        raise ValueError('must be a decimal in quotes, such as "0.02"') from None


def _ending(value: object) -> Ending:
    if value not in {ending.value for ending in Ending}:
        raise ValueError('must be "hold" or "flatten"')
    return Ending(str(value))


EndingChoice = Annotated[Ending, BeforeValidator(_ending)]


class ExecutorSettings(ExchangeSettings, BotHostSettings, SecretStoreSettings):
    """One account, its keys, one socket. A user that is not set is the executor's own."""

    account: AccountId
    state_dir: SettingPath
    journal_url: Annotated[str, Field(pattern=r"^sqlite:////.+")]
    # JSON {"exchange_key", "exchange_secret"} of the exit key.
    secrets_file: SettingPath
    # JSON, mode 0600, the same names: the master's key that can delete keys. Without it nothing is revoked.
    revoker_file: SettingPath | None = None
    # The gateway's handover with its admin address and a token that may halt.
    gateway_handover: SettingPath | None = None
    # What a kill does to what is open; required, since neither choice is safe for everybody.
    kill_spot: EndingChoice
    kill_linear: EndingChoice
    kill_inverse: EndingChoice
    # The drawdown from its own highest point at which the executor confirms a kill that was armed ahead.
    kill_drawdown: Annotated[Decimal, BeforeValidator(_fraction), Field(ge=Decimal("0.03"), le=Decimal("0.18"))] = (
        DRAWDOWN_DEFAULT
    )
    # What the -15 % rung's halt does to what is open, and the drawdown of its own at which the executor believes in it.
    on_halt_spot: EndingChoice = Ending.HOLD
    on_halt_linear: EndingChoice = Ending.HOLD
    on_halt_inverse: EndingChoice = Ending.HOLD
    on_halt_drawdown: Annotated[Decimal, BeforeValidator(_fraction), Field(ge=Decimal("0.02"), le=Decimal("0.15"))] = (
        HALT_DRAWDOWN_DEFAULT
    )
    flatten_slippage: Annotated[Decimal, BeforeValidator(_fraction), Field(ge=Decimal("0.001"), le=Decimal("0.1"))] = (
        SLIPPAGE_DEFAULT
    )
    quote_coin: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}$")] = "USDT"
    ring_file: SettingPath
    socket: SettingPath
    # JSON, mode 0600: channels of alerts.
    alerts_file: SettingPath | None = None
    # After how many days without a complete drill people are told that one is overdue.
    drill_every_days: Annotated[int, Field(ge=1, le=365)] = DRILL_EVERY_DAYS_DEFAULT
    # Whether a drill, which destroys as a kill does, may be ordered here: true on a spare account alone. That
    # of the simulator is one.
    drill_allowed: bool = False
    watchdog_uid: UserId | None = None
    console_uid: UserId | None = None
    requests_per_s: Annotated[int, Field(ge=5, le=REQUESTS_PER_S_MAX)] = REQUESTS_PER_S_DEFAULT
    log_level: LogLevel = "INFO"

    @property
    def endings(self) -> dict[Category, Ending]:
        """Return what a kill does to what is open, by category."""
        return {Category.SPOT: self.kill_spot, Category.LINEAR: self.kill_linear, Category.INVERSE: self.kill_inverse}

    @property
    def halt_endings(self) -> dict[Category, Ending]:
        """Return what the halt of the -15 % rung does to what is open, by category."""
        return {
            Category.SPOT: self.on_halt_spot,
            Category.LINEAR: self.on_halt_linear,
            Category.INVERSE: self.on_halt_inverse,
        }

    @model_validator(mode="after")
    def _closing_needs_the_gateway(self) -> Self:
        # A gateway that was released must be able to say so: else the bot would buy what we sell.
        if self.gateway_handover is None and Ending.FLATTEN in self.halt_endings.values():
            raise ValueError('gateway_handover: is missing; on_halt_* = "flatten" asks the gateway if it is halted')
        return self
