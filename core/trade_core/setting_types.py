"""Types of settings that services share: paths, ports, loopback addresses, environments."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from trade_core.settings import resolve_path

RETENTION_DAYS_MAX = 3650


def _path(value: object, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return resolve_path(value, folder)


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


def _loopback_host(value: str) -> str:
    if ":" in value or not is_loopback_host(value):
        raise ValueError("must be a loopback address such as 127.0.0.1")
    return value


def _loopback_http(value: str) -> str:
    return loopback_url(value, scheme="http")


def _loopback_websocket(value: str) -> str:
    return loopback_url(value, scheme="ws")


SettingPath = Annotated[Path, BeforeValidator(_path)]
"""An absolute path; a relative one is taken from the settings file's own folder."""
Port = Annotated[int, Field(ge=1, le=65535)]
Environment = Literal["simulated", "testnet", "live"]
"""What a deployment belongs to. It stands in key ring, leases, warrants and logs; nothing of one counts in another."""
LoopbackHost = Annotated[str, AfterValidator(_loopback_host)]
LoopbackHttpUrl = Annotated[str, AfterValidator(_loopback_http)]
LoopbackWebSocketUrl = Annotated[str, AfterValidator(_loopback_websocket)]
AccountId = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
RetentionDays = Annotated[int, Field(ge=1, le=RETENTION_DAYS_MAX)]
"""After how many days rows are sealed and leave the file in use; at least one, so that a segment holds some."""
