"""What an exchange holds when it opens: three accounts, their money, and one key for each role.

Every role gets the least that it needs: order and exit keys may only trade, bound to the loopback address; watch
and master_read keys are read-only; the revoker may only do what managing keys asks for.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_atomically
from trade_simulator.exchange import Exchange
from trade_simulator.keys import ApiKey

LOOPBACK = ("127.0.0.1",)
_TRADE = {"ContractTrade": ("Order", "Position"), "Spot": ("SpotTrade",)}
_READ = {**_TRADE, "Wallet": ("AccountTransfer",), "Exchange": ("ExchangeHistory",)}
# The watchdog refuses a key with any Wallet permission, read-only or not.
_WATCH = {**_TRADE, "Exchange": ("ExchangeHistory",)}
_REVOKE = {"Wallet": ("AccountTransfer",)}
_ALL = {
    **_TRADE,
    "Wallet": ("AccountTransfer", "SubMemberTransfer", "SubMemberTransferList", "Withdraw"),
    "Exchange": ("ExchangeHistory",),
}
# The second account trades against nothing of ours; it can sell as well as buy.
_CLIENT_BALANCES = {
    "USDT": Decimal(1_000_000),
    "BTC": Decimal(10),
    "ETH": Decimal(200),
    "XRP": Decimal(200_000),
}
MIN_TOKEN_CHARACTERS = 16
MAX_TOKEN_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The accounts and keys that an exchange opens with."""

    master_uid: str
    sub_uid: str
    client_uid: str
    keys: Mapping[str, ApiKey]


def open_exchange(exchange: Exchange, *, equity_usdt: Decimal) -> Opening:
    """Make the accounts and keys."""
    master = exchange.create_account(name="master", balances={})
    sub = exchange.create_account(parent_uid=master.uid, name="trading", balances={"USDT": equity_usdt})
    client = exchange.create_account(name="client", balances=_CLIENT_BALANCES)

    def key(
        uid: str, note: str, permissions: Mapping[str, tuple[str, ...]], *, read_only: bool = False, bound: bool = True
    ) -> ApiKey:
        return exchange.keys.create(
            uid=uid,
            is_master=uid != sub.uid,
            permissions=permissions,
            read_only=read_only,
            ips=LOOPBACK if bound else (),
            note=note,
        )

    keys = {
        "master": key(master.uid, "master", _ALL),
        "order": key(sub.uid, "order", _TRADE),
        "watch": key(sub.uid, "watch", _WATCH, read_only=True),
        "master_read": key(master.uid, "master_read", _READ, read_only=True),
        "revoker": key(master.uid, "revoker", _REVOKE),
        "exit": key(sub.uid, "exit", _TRADE),
        "client": key(client.uid, "client", _ALL, bound=False),
    }
    return Opening(master_uid=master.uid, sub_uid=sub.uid, client_uid=client.uid, keys=keys)


def credentials(
    opening: Opening, *, host: str, port: int, control_port: int, control_token: str, pid: int
) -> dict[str, object]:
    """Give the content of the credentials file."""
    authority = f"[{host}]" if ":" in host else host
    return {
        "url": f"http://{authority}:{port}",
        "ws": f"ws://{authority}:{port}",
        "control": f"http://{authority}:{control_port}/__sim",
        "control_token": control_token,
        "pid": pid,
        "accounts": {
            "master_uid": opening.master_uid,
            "sub_uid": opening.sub_uid,
            "client_uid": opening.client_uid,
        },
        "keys": {role: {"key": key.api_key, "secret": key.secret} for role, key in opening.keys.items()},
    }


def control_token(path: Path) -> str:
    """Read the bearer token of the control interface, or make one. Raises ConfigurationError that names the file."""
    if not path.exists():
        token = secrets.token_urlsafe(32)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, token.encode() + b"\n", mode=0o600)
        return token
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path}: token file is open to others; chmod 600 it")
        token = path.read_bytes()[:MAX_TOKEN_BYTES].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: token file cannot be read: {error}") from error
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{path}: must hold one token of at least {MIN_TOKEN_CHARACTERS} characters")
    return token
