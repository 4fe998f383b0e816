"""The registry of API keys: who may call, from where, until when, and for what.

Keys and secrets are cryptographically random; they are the only randomness that the seed does not decide.
A deleted key is forgotten at once and answers 10003. A key of a frozen sub-account answers 10027.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from trade_simulator.paging import Page, paginate
from trade_simulator.rejections import (
    ACCOUNT_FROZEN,
    INVALID_KEY,
    KEY_EXPIRED,
    PERMISSION_DENIED,
    SUB_KEY_LIMIT,
    UNMATCHED_ADDRESS,
    parameter_error,
)

# Bybit lets a member hold 20 keys; the bound also keeps the registry small.
KEYS_PER_ACCOUNT_MAX: Final = 20
# A key that is bound to no address lives for three months.
UNBOUND_LIFETIME_MS: Final = 90 * 24 * 3600 * 1000
ADDRESSES_MAX: Final = 100
ANY_ADDRESS: Final = "*"

PERMISSION_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "ContractTrade": frozenset({"Order", "Position"}),
    "Spot": frozenset({"SpotTrade"}),
    "Wallet": frozenset({"AccountTransfer", "SubMemberTransfer", "SubMemberTransferList", "Withdraw"}),
    "Options": frozenset({"OptionsTrade"}),
    "Derivatives": frozenset({"DerivativesTrade"}),
    "CopyTrading": frozenset({"CopyTrading"}),
    "BlockTrade": frozenset(),
    "Exchange": frozenset({"ExchangeHistory"}),
    "NFT": frozenset({"NFTQueryProductList"}),
    "Affiliate": frozenset({"Affiliate"}),
    "Earn": frozenset({"Earn"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key. secret is "" for an RSA key, rsa_public_key is "" for an HMAC key."""

    key_id: str
    uid: str
    is_master: bool
    api_key: str
    secret: str
    rsa_public_key: str
    note: str
    read_only: bool
    permissions: Mapping[str, tuple[str, ...]]
    ips: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int | None
    seq: int

    def allows(self, group: str, name: str) -> bool:
        """Tell whether the key carries a permission."""
        return name in self.permissions.get(group, ())

    def deadline_day(self, now_ms: int) -> int:
        """Return the days left as Bybit shows them: -2 when bound to addresses, -1 when expired."""
        if self.expires_at_ms is None:
            return -2
        left_ms = self.expires_at_ms - now_ms
        return left_ms // 86_400_000 if left_ms > 0 else -1

    def created_at(self) -> str:
        """Return the creation time as Bybit writes it."""
        return _iso(self.created_at_ms)

    def expired_at(self) -> str:
        """Return the expiry as Bybit writes it; the epoch when there is none."""
        return _iso(self.expires_at_ms or 0)


class KeyRegistry:
    """All living keys."""

    def __init__(self, *, now_ms: Callable[[], int], is_frozen: Callable[[str], bool]) -> None:
        self._now_ms = now_ms
        self._is_frozen = is_frozen
        self._keys: dict[str, ApiKey] = {}
        self._sequence = 0

    def create(
        self,
        *,
        uid: str,
        is_master: bool,
        permissions: Mapping[str, tuple[str, ...]],
        read_only: bool = False,
        ips: tuple[str, ...] = (),
        note: str = "",
        rsa_public_key: str = "",
        expires_at_ms: int | None = None,
    ) -> ApiKey:
        """Make a key. Raises Rejected 10001 for unknown permissions, a full account or too many addresses."""
        _check_permissions(permissions)
        _check_addresses(ips)
        if len(self.of_account(uid)) >= KEYS_PER_ACCOUNT_MAX:
            raise SUB_KEY_LIMIT.error()
        self._sequence += 1
        now_ms = self._now_ms()
        key = ApiKey(
            key_id=str(10_000_000 + self._sequence),
            uid=uid,
            is_master=is_master,
            api_key=_random_text(18),
            secret="" if rsa_public_key else _random_text(36),
            rsa_public_key=rsa_public_key,
            note=note,
            read_only=read_only,
            permissions=dict(permissions),
            ips=ips,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms if expires_at_ms is not None else _expiry(ips, now_ms),
            seq=self._sequence,
        )
        self._keys[key.api_key] = key
        return key

    def find(self, api_key: str) -> ApiKey:
        """Return a living key. Raises Rejected 10003."""
        key = self._keys.get(api_key)
        if key is None:
            raise INVALID_KEY.error()
        return key

    def authenticate(self, api_key: str, *, address: str) -> ApiKey:
        """Return the key if it may be used from an address now.

        Raises Rejected 10003 unknown, 33004 expired, 10010 wrong address, 10027 frozen account. The caller
        still checks the signature.
        """
        key = self.find(api_key)
        if key.expires_at_ms is not None and self._now_ms() >= key.expires_at_ms:
            raise KEY_EXPIRED.error()
        if key.ips and ANY_ADDRESS not in key.ips and address not in key.ips:
            raise UNMATCHED_ADDRESS.error()
        if self._is_frozen(key.uid):
            raise ACCOUNT_FROZEN.error()
        return key

    def update(
        self,
        api_key: str,
        *,
        read_only: bool | None = None,
        ips: tuple[str, ...] | None = None,
        permissions: Mapping[str, tuple[str, ...]] | None = None,
        note: str | None = None,
    ) -> ApiKey:
        """Change the settings of a key; None leaves one alone."""
        key = self.find(api_key)
        if permissions is not None:
            _check_permissions(permissions)
        if ips is not None:
            _check_addresses(ips)
        updated = replace(
            key,
            read_only=key.read_only if read_only is None else read_only,
            ips=key.ips if ips is None else ips,
            permissions=key.permissions if permissions is None else dict(permissions),
            note=key.note if note is None else note,
            expires_at_ms=key.expires_at_ms if ips is None else _expiry(ips, self._now_ms()),
        )
        self._keys[api_key] = updated
        return updated

    def delete(self, api_key: str) -> None:
        """Forget a key at once. Raises Rejected 10003 when there is none."""
        self.find(api_key)
        del self._keys[api_key]

    def of_account(self, uid: str) -> list[ApiKey]:
        """Return the keys of an account, newest first."""
        return sorted((key for key in self._keys.values() if key.uid == uid), key=lambda key: -key.seq)

    def page(self, uid: str, *, limit: int, cursor: str) -> Page[ApiKey]:
        """Return one page of the keys of an account."""
        return paginate(self.of_account(uid), sequence_of=lambda key: key.seq, limit=limit, cursor=cursor)

    def all(self) -> list[ApiKey]:
        """Return every living key, oldest first."""
        return list(self._keys.values())


def require_key_management(caller: ApiKey) -> None:
    """Check that a key may manage keys. Raises Rejected 10005.

    The API-key pages of Bybit V5 ask for one of the transfer or withdrawal permissions.
    """
    names = ("AccountTransfer", "SubMemberTransfer", "Withdraw")
    if caller.read_only or not any(caller.allows("Wallet", name) for name in names):
        raise PERMISSION_DENIED.error()


def _check_permissions(permissions: Mapping[str, tuple[str, ...]]) -> None:
    for group, names in permissions.items():
        known = PERMISSION_NAMES.get(group)
        if known is None or not set(names) <= known:
            raise parameter_error(f"permissions.{group} invalid")


def _check_addresses(ips: tuple[str, ...]) -> None:
    if len(ips) > ADDRESSES_MAX:
        raise parameter_error("too many ips")


def _expiry(ips: tuple[str, ...], now_ms: int) -> int | None:
    return None if ips and ANY_ADDRESS not in ips else now_ms + UNBOUND_LIFETIME_MS


def _random_text(length: int) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
