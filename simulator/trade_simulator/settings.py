"""Settings of the simulator: one TOML file, every key checked before a port is opened."""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_core.settings import Settings, resolve_path

MAX_EQUITY_USDT = Decimal(1_000_000_000)
MAX_SPEED = Decimal(1000)
MAX_BASE_LATENCY_MS = 60_000


def _path(value: Any, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return resolve_path(value, folder)


def _decimal(value: Any) -> Decimal:
    try:
        return parse_decimal(value)
    except InvalidNumber as error:
        raise ValueError('must be a plain decimal number in quotes, such as "4000"') from error


def _loopback(value: Any) -> str:
    try:
        if isinstance(value, str) and ipaddress.ip_address(value).is_loopback:
            return value
    except ValueError:
        pass
    raise ValueError("must be a loopback address such as 127.0.0.1: the simulator is never reachable")


FilePath = Annotated[Path, BeforeValidator(_path)]
PlainDecimal = Annotated[Decimal, BeforeValidator(_decimal)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SimulatorSettings(Settings):
    """What a simulator process is told; see docs of each key beside it."""

    environment: Literal["simulated"]
    host: Annotated[str, BeforeValidator(_loopback)] = "127.0.0.1"
    port: Port
    control_port: Port
    # Holds the bearer token of the control interface; made, mode 0600, when absent.
    control_token_file: FilePath
    # Written, mode 0600, once everything is ready: addresses, account ids and keys by role.
    credentials_file: FilePath
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    equity_usdt: Annotated[PlainDecimal, Field(gt=0, le=MAX_EQUITY_USDT)] = Decimal(4000)
    market: Literal["walk", "replay"] = "walk"
    # Symbol to CSV file; required with market = "replay", refused otherwise.
    replay: dict[Literal["BTCUSDT", "ETHUSDT", "XRPUSDT"], FilePath] = Field(default_factory=dict)
    # Lists METHUSDT too, on spot alone: a coin without a linear contract and so without an index.
    spot_only: bool = False
    # How fast the price path is walked; exchange time stays wall time.
    speed: Annotated[PlainDecimal, Field(gt=0, le=MAX_SPEED)] = Decimal(1)
    # Every answer waits this long, as on a real network.
    base_latency_ms: Annotated[int, Field(ge=0, le=MAX_BASE_LATENCY_MS)] = 0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.port == self.control_port:
            raise ValueError("port and control_port must differ")
        if self.control_token_file == self.credentials_file:
            raise ValueError("control_token_file and credentials_file must differ")
        if self.market == "replay" and not self.replay:
            raise ValueError('replay: is missing; market = "replay" needs one CSV file a symbol')
        if self.market == "walk" and self.replay:
            raise ValueError('replay: is given although market = "walk"')
        return self
