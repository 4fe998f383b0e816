"""The watchdog's settings file: whom it watches, where its files are, and nothing that switches a check off."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from trade_core.settings import Settings, resolve_path

UNAVAILABLE_EXCHANGES = ("testnet", "live")


def _path(value: object, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return resolve_path(value, folder)


def _simulated_only(value: object) -> object:
    if value in UNAVAILABLE_EXCHANGES:
        raise ValueError(f"{value!r} is not available in this version: it watches the simulated exchange only")
    return value


SettingPath = Annotated[Path, BeforeValidator(_path)]
Port = Annotated[int, Field(ge=1, le=65535)]


class WatchdogSettings(Settings):
    """Which account on which exchange, where the gateway's handover stands, and where the watchdog listens."""

    environment: Annotated[Literal["simulated"], BeforeValidator(_simulated_only)]
    exchange: Annotated[Literal["simulated"], BeforeValidator(_simulated_only)]
    exchange_url: str
    # Named now so that a settings file stays valid; this version reads over REST alone.
    exchange_ws_url: str
    account: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    admin_host: str = "127.0.0.1"
    admin_port: Port
    state_dir: SettingPath
    # JSON {"exchange_key", "exchange_secret"} of a read-only key of the account.
    secrets_file: SettingPath
    # Written by the gateway's `init` for the watchdog: where its admin listener is, and a token for it.
    gateway_handover: SettingPath
    ring_file: SettingPath
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("admin_host")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        if ":" in value or not is_loopback_host(value):
            raise ValueError("must be a loopback address such as 127.0.0.1")
        return value

    @field_validator("exchange_url", "exchange_ws_url")
    @classmethod
    def _is_loopback_url(cls, value: str, info: ValidationInfo) -> str:
        return loopback_url(value, scheme="http" if info.field_name == "exchange_url" else "ws")


def is_loopback_host(host: str) -> bool:
    """Tell whether a host is a loopback address; names are not, since they can be made to mean anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def loopback_url(value: str, *, scheme: str) -> str:
    """Check that a URL is exactly scheme://loopback-address:port and return it bare. Raises ValueError."""
    parts = urlsplit(value)
    is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme != scheme or not is_bare or parts.port is None or not is_loopback_host(parts.hostname or ""):
        raise ValueError(f"must be {scheme}:// with a loopback address and a port, such as {scheme}://127.0.0.1:21000")
    return value.rstrip("/")
