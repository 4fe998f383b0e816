"""The admin listener of a service: where its settings put it, how it is served, and how another process reaches it.

Guarantees
- A loopback port with bearer tokens is for the simulated environment; elsewhere it is a Unix socket, whose callers the
  kernel names, and whose tokens say what each may do.
- Its address is one text, `http://127.0.0.1:PORT` or `unix:/PATH`, which stands in handover files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

import httpx
from pydantic import Field, model_validator

from trade_core.exchange_settings import StreamedExchangeSettings
from trade_core.guarded_protocol import guarded_protocol
from trade_core.peer_protocol import peer_protocol
from trade_core.serving import Listener, UnixListener
from trade_core.setting_types import LoopbackHost, Port, SettingPath, loopback_url
from trade_core.tls import tls_context

UserId = Annotated[int, Field(ge=0, lt=2**32 - 1)]
SOCKET_PREFIX: Final = "unix:"
_OWN_USER_MODE: Final = 0o600
# Another user must be able to connect; who it is, the kernel says, and everybody else is turned away.
_OTHER_USER_MODE: Final = 0o666
_SOCKET_URL: Final = "http://localhost"


class AdministeredSettings(StreamedExchangeSettings):
    """Where a service is administered. `admin_uids` are the users that may connect beside its own."""

    admin_host: LoopbackHost = "127.0.0.1"
    admin_port: Port | None = None
    admin_socket: SettingPath | None = None
    admin_uids: Annotated[list[UserId], Field(max_length=8)] = Field(default_factory=list)

    @property
    def admin_url(self) -> str:
        """The address that stands in handover files."""
        if self.admin_socket is not None:
            return f"{SOCKET_PREFIX}{self.admin_socket}"
        return f"http://{self.admin_host}:{self.admin_port}"

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.admin_port is not None and self.admin_socket is not None:
            raise ValueError("admin_port: is given beside admin_socket; one of them is enough")
        if self.admin_port is not None and not self.is_simulated:
            raise ValueError("admin_port: is for the simulated environment; set admin_socket")
        if self.admin_port is None and self.admin_socket is None:
            raise ValueError(f"{'admin_port' if self.is_simulated else 'admin_socket'}: is missing")
        if self.admin_uids and self.admin_socket is None:
            raise ValueError("admin_uids: are given without admin_socket; a port knows no users")
        return self


def admin_listener(
    settings: AdministeredSettings,
    *,
    app: Any,
    on_refusal: Callable[[str], None],
    max_connections: int,
    has_own_thread: bool = False,
    options: dict[str, Any],
) -> Listener | UnixListener:
    """Serve an application where the settings say. The protocol bounds connections, so that the server need not."""
    options = {"limit_concurrency": None, **options}
    if settings.admin_socket is None:
        return Listener(
            app=app,
            host=settings.admin_host,
            port=settings.admin_port or 0,
            setting="admin_port",
            http=guarded_protocol(on_refusal, max_connections=max_connections),
            has_own_thread=has_own_thread,
            options=options,
        )
    settings.admin_socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    users = frozenset({os.getuid(), *settings.admin_uids})
    return UnixListener(
        app=app,
        path=settings.admin_socket,
        mode=_OTHER_USER_MODE if len(users) > 1 else _OWN_USER_MODE,
        setting="admin_socket",
        http=peer_protocol(on_refusal, allowed_uids=users, max_connections=max_connections),
        has_own_thread=has_own_thread,
        options=options,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAddress:
    """What a client needs to reach a listener: a base URL, and the socket beneath it, if there is one."""

    url: str
    socket: Path | None

    def client(self, **options: Any) -> httpx.Client:
        """Make a client that believes neither proxies nor redirects."""
        transport = None if self.socket is None else httpx.HTTPTransport(uds=str(self.socket), verify=tls_context())
        return httpx.Client(base_url=self.url, transport=transport, **_STRICT, verify=tls_context(), **options)

    def async_client(self, *, limits: httpx.Limits, **options: Any) -> httpx.AsyncClient:
        """Make the same for an event loop."""
        transport = (
            None
            if self.socket is None
            else httpx.AsyncHTTPTransport(uds=str(self.socket), limits=limits, verify=tls_context())
        )
        return httpx.AsyncClient(
            base_url=self.url, transport=transport, limits=limits, **_STRICT, verify=tls_context(), **options
        )


_STRICT: Final[dict[str, Any]] = {"follow_redirects": False, "trust_env": False}


def refusal_text(detail: object) -> str:
    """Write the detail of an admin listener's refusal in words: of a body, which field is wrong and how."""
    if not isinstance(detail, list) or not all(isinstance(one, dict) for one in detail):
        return str(detail)
    return "; ".join(f"{_place(one.get('loc'))}: {one.get('msg')}" for one in detail)


def _place(names: object) -> str:
    return ".".join(str(name) for name in names if name != "body") if isinstance(names, list) else "request"


def admin_address(text: str) -> AdminAddress:
    """Read an address of a handover file. Raises ValueError."""
    if not text.startswith(SOCKET_PREFIX):
        return AdminAddress(url=loopback_url(text, scheme="http"), socket=None)
    path = Path(text.removeprefix(SOCKET_PREFIX))
    if not path.is_absolute():
        raise ValueError("must be unix: with an absolute path, or http:// with a loopback address and a port")
    return AdminAddress(url=_SOCKET_URL, socket=path)
