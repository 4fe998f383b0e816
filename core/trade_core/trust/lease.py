"""The watchdog's lease: for a short time it allows risk up to a ceiling. A signed statement of its own purpose.

Second prices ride in it: what another venue says that a coin is worth, and when it said so. They can only make the
gateway deny; the checks here bound their number and form, the gateway judges their age and value.

So does what the watchdog remembers: how long its own journal is, the last checkpoint of it, and the peaks that its
ladder measures from. The gateway keeps them in its journal, which the watchdog reads again: a watchdog that was put
back to an older memory finds there what it has forgotten, and whoever holds both journals finds whether they agree.

So does the name of its holder, the watchdog that signed it: where two watchdogs share their keys, one leads.

So does the checkpoint: the gateway's own, of its journal, with the watchdog's cosignature under it. A lease without one
is none; whether it is believed is the gateway's part.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_core.trust.keys import NotTrusted
from trade_core.trust.statement import (
    MAX_STATEMENT_BYTES,
    check_fields,
    is_signed_for,
    open_statement,
    sign_statement,
)

PURPOSE = "lease/v6"
OLD_PURPOSES = ("lease/v1", "lease/v2", "lease/v3", "lease/v4", "lease/v5")
MAX_LEASE_BYTES = MAX_STATEMENT_BYTES
MAX_CHECKPOINT_CHARACTERS = 1024
"""A checkpoint with two signatures has about 600; with the longest names that a note may have, 900."""
MAX_MEMORY_CHECKPOINT_CHARACTERS = 512
"""What one text of a row takes; with its one signature and our names it has about 350."""
MAX_LIFETIME_S = 30
MAX_SECOND_PRICES = 50
"""As many as a policy has symbols; with the longest names and numbers they fill less than half of MAX_LEASE_BYTES."""
SEND_EVERY_S = 5
CEILINGS = ("ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED")
NO_VENUE = "none"
COIN = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
HOLDER = re.compile(r"[0-9a-f]{16}", re.ASCII)
ONLY_HOLDER = "0" * 16
"""The holder where nobody says which of several watchdogs it is."""
TRIGGER_VALUE = re.compile(r"[ -~]{0,64}", re.ASCII)
_VENUE = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
MAX_PEAKS = 8
_RUNG = re.compile(r"[a-z_]{1,20}", re.ASCII)
_INTEGERS = frozenset({"generation", "memory_rows", "signed_at_ms", "expires_at_ms"})
_SECOND_PRICE_INTEGERS = frozenset({"seen_at_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondPrice:
    """What one coin is worth at another venue: decimal text in USDT, and the time (UTC) at which that was so."""

    coin: str
    price: str
    seen_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The unit price that one rung of the ladder measures from: decimal text, rounded up."""

    rung: str
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the watchdog vouches for. `scale` is the decimal text of the size factor; times are UTC milliseconds.

    `second_venue` names the venue that second prices are read from, NO_VENUE when the watchdog was told to read none.
    `checkpoint` is a cosigned checkpoint of the gateway's journal, a note as C2SP writes it. `memory_rows` counts the
    rows of the watchdog's own journal, `memory_checkpoint` is the last that its log signed, cosigned by nobody; it
    is the gateway that reads it. `holder` names the watchdog among those with its keys.
    `trigger_value` is the figure that a HALTED ceiling is for, in words for people; empty where there is none.
    """

    deployment: str
    environment: str
    account: str
    boot_nonce: str
    generation: int
    ceiling: str
    scale: str
    second_venue: str
    second_prices: tuple[SecondPrice, ...]
    checkpoint: str
    policy_hash: str
    ring_hash: str
    signed_at_ms: int
    expires_at_ms: int
    memory_rows: int = 0
    memory_checkpoint: str = ""
    peaks: tuple[Peak, ...] = ()
    holder: str = ONLY_HOLDER
    trigger_value: str = ""

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        listed = {
            "second_prices": [asdict(price) for price in self.second_prices],
            "peaks": [asdict(peak) for peak in self.peaks],
        }
        return {**asdict(self), **listed}


def sign_lease(lease: Lease, private_key: Ed25519PrivateKey) -> bytes:
    """Serialise and sign a lease. The result is the body of POST /lease."""
    return sign_statement(lease.content(), private_key, purpose=PURPOSE)


def open_lease(raw: bytes, *, lease_key: str) -> Lease:
    """Verify a signed lease and return it. Raises NotTrusted saying what is wrong, before believing any field."""
    try:
        content = open_statement(raw, what="lease", purpose=PURPOSE, public_key=lease_key)
    except NotTrusted:
        _name_old_purpose(raw, lease_key)
        raise
    if set(content) != set(Lease.__slots__):
        raise NotTrusted("lease: its fields are not those of a lease")
    listed, peaks = content.pop("second_prices"), content.pop("peaks")
    check_fields(content, what="lease", fields=content, integers=_INTEGERS)
    lease = Lease(**content, second_prices=_second_prices(listed), peaks=_peaks(peaks))
    _check_values(lease)
    return lease


def _name_old_purpose(raw: bytes, lease_key: str) -> None:
    """Say so when a lease is good but for its age: whoever upgrades one service alone should read why it is refused."""
    for old in OLD_PURPOSES:
        if is_signed_for(raw, purpose=old, public_key=lease_key):
            raise NotTrusted(f"lease: it is a {old}, only {PURPOSE} counts; run the watchdog of the gateway's version")


def _second_prices(listed: object) -> tuple[SecondPrice, ...]:
    if not isinstance(listed, list):
        raise NotTrusted("lease: second_prices must be list")
    if len(listed) > MAX_SECOND_PRICES:
        raise NotTrusted(f"lease: {len(listed)} second prices, at most {MAX_SECOND_PRICES}")
    prices = tuple(_second_price(item) for item in listed)
    if len({price.coin for price in prices}) != len(prices):
        raise NotTrusted("lease: a coin has two second prices")
    return prices


def _second_price(item: object) -> SecondPrice:
    if not isinstance(item, dict):
        raise NotTrusted("lease: a second price must be an object")
    check_fields(item, what="second price", fields=SecondPrice.__slots__, integers=_SECOND_PRICE_INTEGERS)
    price = SecondPrice(**item)
    if COIN.fullmatch(price.coin) is None:
        raise NotTrusted("second price: coin is not the name of one")
    if not _is_positive(price.price):
        raise NotTrusted("second price: price is not a plain decimal number above 0")
    return price


def _peaks(listed: object) -> tuple[Peak, ...]:
    if not isinstance(listed, list):
        raise NotTrusted("lease: peaks must be list")
    if len(listed) > MAX_PEAKS:
        raise NotTrusted(f"lease: {len(listed)} peaks, at most {MAX_PEAKS}")
    peaks = tuple(_peak(item) for item in listed)
    if len({peak.rung for peak in peaks}) != len(peaks):
        raise NotTrusted("lease: a rung has two peaks")
    return peaks


def _peak(item: object) -> Peak:
    if not isinstance(item, dict):
        raise NotTrusted("lease: a peak must be an object")
    check_fields(item, what="peak", fields=Peak.__slots__, integers=frozenset())
    peak = Peak(**item)
    if _RUNG.fullmatch(peak.rung) is None:
        raise NotTrusted("peak: rung is not the name of one")
    if not _is_positive(peak.price):
        raise NotTrusted("peak: price is not a plain decimal number above 0")
    return peak


def _is_positive(text: str) -> bool:
    try:
        return parse_decimal(text) > 0
    except InvalidNumber:
        return False


def _check_values(lease: Lease) -> None:
    if lease.ceiling not in CEILINGS:
        raise NotTrusted("lease: ceiling is not a trading state")
    if HOLDER.fullmatch(lease.holder) is None:
        raise NotTrusted("lease: holder is not the name of one")
    if TRIGGER_VALUE.fullmatch(lease.trigger_value) is None:
        raise NotTrusted("lease: trigger_value is not at most 64 printable characters")
    if _VENUE.fullmatch(lease.second_venue) is None:
        raise NotTrusted("lease: second_venue is not the name of one")
    if lease.second_venue == NO_VENUE and lease.second_prices:
        raise NotTrusted("lease: second prices of no venue")
    _check_length(lease.checkpoint, MAX_CHECKPOINT_CHARACTERS)
    _check_length(lease.memory_checkpoint, MAX_MEMORY_CHECKPOINT_CHARACTERS)
    if any(price.seen_at_ms > lease.signed_at_ms for price in lease.second_prices):
        raise NotTrusted("lease: a second price was seen after the lease was signed")


def _check_length(checkpoint: str, most: int) -> None:
    if len(checkpoint) > most:
        raise NotTrusted(f"lease: a checkpoint of {len(checkpoint)} characters, at most {most}")
