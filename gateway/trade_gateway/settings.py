"""The gateway's settings file: every key required unless a default is safe, and nothing that switches a check off."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from trade_core.settings import Settings, resolve_path

UNAVAILABLE_EXCHANGES = ("testnet", "live")


def _path(value: object, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return resolve_path(value, folder)


def _simulated_only(value: object) -> object:
    if value in UNAVAILABLE_EXCHANGES:
        raise ValueError(
            f"{value!r} is refused by this version: it trades on the simulated exchange only, "
            "until the kill switch and its keys are in place"
        )
    return value


SettingPath = Annotated[Path, BeforeValidator(_path)]
Port = Annotated[int, Field(ge=1, le=65535)]


class GatewaySettings(Settings):
    """Where the gateway listens, whom it talks to, and where its files are. Limits stand in the policy file."""

    environment: Annotated[Literal["simulated"], BeforeValidator(_simulated_only)]
    exchange: Annotated[Literal["simulated"], BeforeValidator(_simulated_only)]
    exchange_url: str
    exchange_ws_url: str
    account: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    listen_host: str = "127.0.0.1"
    listen_port: Port
    admin_host: str = "127.0.0.1"
    admin_port: Port
    state_dir: SettingPath
    journal_url: Annotated[str, Field(pattern=r"^sqlite:///.+")]
    policy_file: SettingPath
    secrets_file: SettingPath
    ring_file: SettingPath
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("listen_host", "admin_host")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        # Loopback TCP with a bearer token is for the simulated environment, which is all that this version knows.
        try:
            is_loopback = ip_address(value).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError("must be a loopback address such as 127.0.0.1")
        return value

    @field_validator("exchange_url", "exchange_ws_url")
    @classmethod
    def _is_loopback_url(cls, value: str, info: ValidationInfo) -> str:
        scheme = "http" if info.field_name == "exchange_url" else "ws"
        parts = urlsplit(value)
        if parts.scheme != scheme or parts.path not in {"", "/"} or set(value) & set("?#@"):
            raise ValueError(f"must be {scheme}://host:port")
        try:
            is_loopback = ip_address(parts.hostname or "").is_loopback and parts.port is not None
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError("the simulated exchange is on a loopback address with a port, such as 127.0.0.1:21000")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.listen_port == self.admin_port and self.listen_host == self.admin_host:
            raise ValueError(f"listen_port and admin_port are both {self.listen_port}; bot and admin need their own")
        return self
