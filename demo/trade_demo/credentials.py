"""What services hand out when they are ready: the simulator accounts and keys, the others an address and a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trade_core.secrets import Secret, read_secret_file, secret_text
from trade_demo.exchange_reader import ApiKey
from trade_demo.process import ProcessFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeCredentials:
    """What the simulator hands out, as far as the demo passes it on."""

    url: str
    ws: str
    control: str
    control_token: Secret
    account: str
    order: ApiKey
    watch: ApiKey
    master_read: ApiKey
    master: ApiKey
    exit: ApiKey
    revoker: ApiKey
    client: ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """An admin address and its token."""

    url: str
    token: Secret


def read_exchange_credentials(file: Path) -> ExchangeCredentials:
    """Read the simulator's credentials file. Raises ConfigurationError when it is not one."""
    content = read_secret_file(file)
    keys = _object(content, "keys", file)

    def key(role: str) -> ApiKey:
        pair = _object(keys, role, file)
        return ApiKey(key=secret_text(pair, "key", path=file).reveal(), secret=secret_text(pair, "secret", path=file))

    return ExchangeCredentials(
        url=secret_text(content, "url", path=file).reveal().rstrip("/"),
        ws=secret_text(content, "ws", path=file).reveal().rstrip("/"),
        control=secret_text(content, "control", path=file).reveal().rstrip("/").removesuffix("/__sim"),
        control_token=secret_text(content, "control_token", path=file),
        account=secret_text(_object(content, "accounts", file), "sub_uid", path=file).reveal(),
        order=key("order"),
        watch=key("watch"),
        master_read=key("master_read"),
        master=key("master"),
        exit=key("exit"),
        revoker=key("revoker"),
        client=key("client"),
    )


def read_handover(file: Path) -> Handover:
    """Read a handover file for an admin listener. Raises ConfigurationError when it is not one."""
    content = read_secret_file(file)
    return Handover(
        url=secret_text(content, "admin_url", path=file).reveal().rstrip("/"),
        token=secret_text(content, "admin_token", path=file),
    )


def _object(content: Mapping[str, object], name: str, file: Path) -> dict[str, Any]:
    value = content.get(name)
    if not isinstance(value, dict):
        raise ProcessFailed(f"{file}: {name}: must be an object")
    return cast("dict[str, Any]", value)
