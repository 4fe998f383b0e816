"""Rows of the journal: what one may say, and the bytes that stand for it. Pure.

Guarantees
- A row has exactly one byte form (RFC 8785), so that a hash over it means one thing.
- A row that has been built is within its bounds: closed kinds, named fields, plain values, at most 8 KiB.
- Parsing is the inverse of rendering; bytes that are not the canonical form of a row are refused.

Rules
- Money is text, never a float. Integers stay within 2**53 (RFC 8785 numbers are IEEE doubles); only names that end
  in ``_ns`` hold more: they are integers here and decimal text in the bytes.
- Values are text, integers, booleans or None, or one flat list or one flat mapping of those.

It does not judge meaning: whether a field holds a secret or a foreign error text is for the caller to prevent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import Enum, unique
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from trade_core.records import record
from trade_journal.errors import JournalDamaged, RowRefused

Scalar: TypeAlias = str | int | bool | None
Value: TypeAlias = Scalar | Sequence[Scalar] | Mapping[str, Scalar]
Fields: TypeAlias = Mapping[str, Value]

# A row is read by people and copied by the witness every few seconds: it says what happened, it is no archive.
ROW_BYTES_MAX: Final = 8 * 1024
STRING_CHARACTERS_MAX: Final = 512
FIELDS_MAX: Final = 64
ITEMS_MAX: Final = 128
INTEGER_MAX: Final = 2**53 - 1
TIME_NS_MAX: Final = 2**63 - 1

_FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)
_ITEM_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,63}", re.ASCII)
_ACTOR: Final = re.compile(r"[a-z][A-Za-z0-9_.:@-]{0,63}", re.ASCII)
_POLICY_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIME_TEXT: Final = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_TIME_SUFFIX: Final = "_ns"
_LEAF_PREFIX: Final = b"\x00"  # RFC 6962 section 2.1: leaves and inner nodes must never hash alike
# What the checks below let through (ASCII names, integers within 2**53, no floats) this encoder renders exactly as
# RFC 8785 does, at a fiftieth of the price on the hot path; a test holds it to the core's canonical form.
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")
# Takes the last of two keys of one name, as any reader of the kind: rendered again, such a row is another one.
_PARSED: Final = msgspec.json.Decoder()
_NAMES_REMEMBERED: Final = 4096
_ROW_KEYS: Final = frozenset({"actor", "at_ns", "fields", "kind", "policy_hash", "seq"})


@unique
class RowKind(Enum):
    """Every kind of row there is, as ``subject:action``."""

    PROCESS_STARTED = "process:started"
    PROCESS_STOPPED = "process:stopped"
    CONFIG_LOADED = "config:loaded"
    KEY_VERIFIED = "key:verified"
    KEY_REFUSED = "key:refused"
    STATE_CHANGED = "state:changed"
    RELEASE_ANNOUNCED = "release:announced"
    RELEASE_VOIDED = "release:voided"
    RELEASE_REFUSED = "release:refused"
    # Of the journal of each process that has pinned a ring: the change and its warrant prove the next one for ever.
    RING_ANNOUNCED = "ring:announced"
    RING_CHANGED = "ring:changed"
    RING_VOIDED = "ring:voided"
    RING_REFUSED = "ring:refused"
    POLICY_RECORDED = "policy:recorded"  # the content of one policy, by its hash
    POLICY_CHANGED = "policy:changed"
    POLICY_REFUSED = "policy:refused"
    BASELINE_TAKEN = "baseline:taken"
    LEASE_GAINED = "lease:gained"
    LEASE_LOST = "lease:lost"
    LEASE_REFUSED = "lease:refused"
    REFERENCE_KEPT = "reference:kept"  # last good references, and how far the next may be from them without a row
    INSTRUMENT_KEPT = "instrument:kept"  # filters of a symbol, for exits after a restart that cannot read them
    WATCHDOG_REMEMBERED = "watchdog:remembered"  # what its leases say that it remembers, for itself to find again
    ORDER_INTENT = "order:intent"
    ORDER_DENIED = "order:denied"
    ORDER_OUTCOME = "order:outcome"
    ORDER_RESOLVED = "order:resolved"
    ORDER_FILLED = "order:filled"  # more of an order filled: what turnover and throttles are rebuilt from
    ORDER_CANCELED_BY_GATEWAY = "order:canceled_by_gateway"
    # The gateway's own stop of a position: the same fields as those of orders, and no request of the bot.
    DISASTER_STOP_INTENT = "disaster_stop:intent"
    DISASTER_STOP_OUTCOME = "disaster_stop:outcome"
    DISASTER_STOP_RESOLVED = "disaster_stop:resolved"
    DISASTER_STOP_FILLED = "disaster_stop:filled"
    THROTTLE_TRIPPED = "throttle:tripped"  # a latch: `throttle` says which, with category and symbol if it has one
    THROTTLE_REARMED = "throttle:rearmed"  # the same fields: a person has released it
    ACCOUNT_TRUSTED = "account:trusted"
    ACCOUNT_DISTRUSTED = "account:distrusted"  # with the reason: new risk is denied until it is trusted again
    CANCEL_INTENT = "cancel:intent"
    CANCEL_ANSWERED = "cancel:answered"
    CANCEL_OUTCOME = "cancel:outcome"
    READ_FORWARDED = "read:forwarded"
    READ_ANSWERED = "read:answered"
    READ_FAILED = "read:failed"
    PIN_ANSWERED = "pin:answered"
    REQUEST_DENIED = "request:denied"
    REQUEST_COUNTED = "request:counted"
    STREAM_OPENED = "stream:opened"
    STREAM_DENIED = "stream:denied"
    INCIDENT_OPENED = "incident:opened"
    INCIDENT_MITIGATED = "incident:mitigated"  # by a person; names the row of the incident
    LOG_SUCCEEDED = "log:succeeded"
    JOURNAL_RECOVERED = "journal:recovered"
    # Written by the journal shim, which reads the bot's own database.
    SWING_TRADE_OPENED = "swing_trade:opened"
    SWING_TRADE_CHANGED = "swing_trade:changed"  # the bot bought more, or sold a part
    SWING_TRADE_CLOSED = "swing_trade:closed"
    SWING_TRADE_LESSON = "swing_trade:lesson"
    # For whoever moves money in or out, or sees it moved: each change of `status` is a row with the same `movement_id`.
    CAPITAL_MOVEMENT_RECORDED = "capital_movement:recorded"
    # Written by the kill executor into its own journal: `sweep_id` holds the rows of one sweep together.
    SWEEP_STARTED = "sweep:started"
    SWEEP_ROUND = "sweep:round"
    SWEEP_PENDING = "sweep:pending"  # not proved yet, and not given up
    SWEEP_PROVED = "sweep:proved"
    # One closing on a halt: what was asked for and confirmed, and what of it is still open.
    FLATTEN_STARTED = "flatten:started"
    FLATTEN_ENDED = "flatten:ended"
    KILL_REQUESTED = "kill:requested"
    # Of the console, which has no journal: written into the executor's, by the executor, as the console says it.
    CONSOLE_SIGNED_IN = "console:signed_in"
    CONSOLE_REFUSED = "console:refused"
    CONSOLE_ACTED = "console:acted"
    # `kill_id` holds the rows of one kill together; what was ordered stands in the first, with what authorised it.
    KILL_ORDERED = "kill:ordered"
    KILL_STEP = "kill:step"
    KILL_KEYS_LISTED = "kill:keys_listed"  # written before the first of them is deleted
    KILL_REPORTED = "kill:reported"
    KILL_JUDGED = "kill:judged"  # a request without a touch: what the executor saw itself, and whether it agrees
    OWN_SAMPLES_REBASED = "own_samples:rebased"
    STANDING_WARRANT_ARMED = "standing_warrant:armed"
    STANDING_WARRANT_DISARMED = "standing_warrant:disarmed"
    # Written by the watchdog into its own journal: what it must remember of the account, and what it did.
    EQUITY_SAMPLED = "equity:sampled"  # the whole memory of equity and ladder, about once a minute
    EQUITY_FLOWED = "equity:flowed"
    EQUITY_ABSORBED = "equity:absorbed"  # an unexplained step that counts from now on: as a loss, or as units
    RUNG_FIRED = "rung:fired"
    RUNG_CLEARED = "rung:cleared"
    RUNG_ACKNOWLEDGED = "rung:acknowledged"
    RUNG_REBASED = "rung:rebased"
    ACTION_DONE = "action:done"
    RECONCILIATION_RECORDED = "reconciliation:recorded"  # how journal, drop copy and statement compare for one day
    ACTION_FAILED = "action:failed"


# One row of these kinds is one request that the gateway saw; REQUEST_COUNTED stands for ``count`` more of them.
REQUEST_KINDS: Final = frozenset(
    {
        RowKind.ORDER_INTENT,
        RowKind.ORDER_DENIED,
        RowKind.CANCEL_INTENT,
        RowKind.CANCEL_ANSWERED,
        RowKind.READ_FORWARDED,
        RowKind.READ_ANSWERED,
        RowKind.READ_FAILED,
        RowKind.PIN_ANSWERED,
        RowKind.REQUEST_DENIED,
        RowKind.STREAM_OPENED,
        RowKind.STREAM_DENIED,
    }
)

KIND_BY_VALUE: Final = {kind.value: kind for kind in RowKind}
"""To look a kind up without a call into the enum."""


@record(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a caller wants recorded; the writer gives it a sequence number."""

    at_ns: int
    kind: RowKind
    actor: str
    fields: Fields
    policy_hash: str | None = None


@record(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it stands in the journal; ``seq`` counts from 0 and is its leaf index in the tree."""

    seq: int
    at_ns: int
    kind: RowKind
    actor: str
    fields: Fields
    policy_hash: str | None = None


@record(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checked entry with its canonical bytes, complete but for the sequence number."""

    entry: Entry
    head: bytes


def draft(entry: Entry) -> Draft:
    """Check and render an entry. Raises RowRefused.

    This happens in the caller, before anything is queued, so that a row that must be refused fails the one who made
    it and nobody else. The sequence number sorts last in the canonical form, so the rest can be made without it.
    """
    return Draft(entry=entry, head=_head(entry))


def numbered(head: bytes, seq: int) -> bytes:
    """Complete the bytes of a draft with its sequence number."""
    if not 0 <= seq <= INTEGER_MAX:
        raise RowRefused(f"sequence number out of bounds: {seq}")
    return b"%b%d}" % (head, seq)


def row_bytes(row: Row) -> bytes:
    """Render a row as canonical JSON; these bytes are what is hashed and stored. Raises RowRefused."""
    entry = Entry(at_ns=row.at_ns, kind=row.kind, actor=row.actor, fields=row.fields, policy_hash=row.policy_hash)
    return numbered(_head(entry), row.seq)


def leaf_hash(body: bytes) -> bytes:
    """Hash a row's bytes as a Merkle tree leaf (RFC 6962 section 2.1): 32 bytes."""
    return hashlib.sha256(_LEAF_PREFIX + body).digest()


def parse_row(body: bytes) -> Row:
    """Read a row back from its bytes. Raises JournalDamaged when they are not the canonical form of a row."""
    try:
        row = _row_from(_PARSED.decode(body))
        canonical = row_bytes(row)
    except (ValueError, TypeError, KeyError, RecursionError, RowRefused) as error:
        raise JournalDamaged(f"not a row: {type(error).__name__}") from error
    if canonical != body:
        raise JournalDamaged("not the canonical form of a row")
    return row


def _row_from(document: object) -> Row:
    if not isinstance(document, dict) or document.keys() != _ROW_KEYS:
        raise ValueError("wrong keys")
    if not isinstance(document["fields"], dict):
        raise TypeError("fields")
    return Row(
        seq=document["seq"],
        at_ns=_parsed_time(document["at_ns"]),
        kind=KIND_BY_VALUE[document["kind"]],
        actor=document["actor"],
        fields={
            name: value if _is_plain(_form_of(name), value) else _parsed_value(name, value)
            for name, value in document["fields"].items()
        },
        policy_hash=document["policy_hash"],
    )


def _head(entry: Entry) -> bytes:
    _check_names(entry)
    document = {
        "actor": entry.actor,
        "at_ns": _time_text("at_ns", entry.at_ns),
        "fields": _rendered_fields(entry.fields),
        "kind": entry.kind._value_,
        "policy_hash": entry.policy_hash,
    }
    try:
        body = _CANONICAL.encode(document)[:-1] + b',"seq":'
    except UnicodeEncodeError as error:
        raise RowRefused(f"{entry.kind.value}: text that is not Unicode (a lone surrogate)") from error
    if len(body) + len(str(INTEGER_MAX)) + 1 > ROW_BYTES_MAX:
        raise RowRefused(f"{entry.kind.value}: a row of {len(body)} bytes; at most {ROW_BYTES_MAX}")
    return body


def _check_names(entry: Entry) -> None:
    if not isinstance(entry.kind, RowKind):
        raise RowRefused(f"kind is not a RowKind: {type(entry.kind).__name__}")
    if not isinstance(entry.actor, str) or not _is_actor(entry.actor):
        raise RowRefused(f"{entry.kind.value}: actor is not a name")
    if entry.policy_hash is not None and not (
        isinstance(entry.policy_hash, str) and _is_policy_hash(entry.policy_hash)
    ):
        raise RowRefused(f"{entry.kind.value}: policy_hash is not 64 lower-case hexadecimal digits")
    if len(entry.fields) > FIELDS_MAX:
        raise RowRefused(f"{entry.kind.value}: {len(entry.fields)} fields; at most {FIELDS_MAX}")


@lru_cache(_NAMES_REMEMBERED)
def _is_actor(name: str) -> bool:
    return _ACTOR.fullmatch(name) is not None


@lru_cache(_NAMES_REMEMBERED)
def _is_policy_hash(text: str) -> bool:
    return _POLICY_HASH.fullmatch(text) is not None


def _rendered_fields(fields: Fields) -> dict[str, object]:
    rendered: dict[str, object] = {}
    for name, value in fields.items():
        if not isinstance(name, str) or not (form := _form_of(name)):
            raise RowRefused("a field name is not lower-case snake case of at most 48 characters")
        rendered[name] = value if _is_plain(form, value) else _rendered_value(name, value)
    return rendered


def _is_plain(form: _Form | None, value: object) -> bool:
    """Tell whether a value stands for itself, as most do; of all others `_rendered_value` decides."""
    if type(value) is str:
        return form is _Form.PLAIN and len(value) <= STRING_CHARACTERS_MAX
    return value is None or (type(value) is bool and form is _Form.PLAIN)


class _Form(Enum):
    """What a field's name says of its value."""

    PLAIN = "plain"
    TIME = "time"


@lru_cache(_NAMES_REMEMBERED)
def _form_of(name: str) -> _Form | None:
    """Tell the form of a field's name; None when it is none."""
    if not _FIELD_NAME.fullmatch(name):
        return None
    return _Form.TIME if name.endswith(_TIME_SUFFIX) else _Form.PLAIN


def _rendered_value(name: str, value: object) -> object:
    if value is None or isinstance(value, (str, int)):  # nearly all of them, and Mapping is slow to ask for
        return _rendered_scalar(name, value)
    if isinstance(value, Mapping):
        return _rendered_mapping(name, value)
    if isinstance(value, list | tuple):
        _check_length(name, len(value))
        return [_rendered_scalar(name, item) for item in value]
    return _rendered_scalar(name, value)


def _rendered_mapping(name: str, value: Mapping[object, object]) -> dict[str, object]:
    _check_length(name, len(value))
    rendered: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str) or not _ITEM_NAME.fullmatch(key):
            raise RowRefused(f"{name}: a key of the mapping is not a plain name of at most 64 characters")
        rendered[key] = _rendered_scalar(key, item)
    return rendered


def _rendered_scalar(name: str, value: object) -> object:
    if value is None:
        return None
    if name.endswith(_TIME_SUFFIX):
        return _time_text(name, value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise RowRefused(f"{name}: integer beyond 2**53; only names ending in _ns may hold it")
        return int(value)
    if isinstance(value, str):
        if len(value) > STRING_CHARACTERS_MAX:
            raise RowRefused(f"{name}: {len(value)} characters; at most {STRING_CHARACTERS_MAX}")
        return str(value)
    raise RowRefused(f"{name}: a {type(value).__name__} has no place in a row")


def _check_length(name: str, length: int) -> None:
    if length > ITEMS_MAX:
        raise RowRefused(f"{name}: {length} items; at most {ITEMS_MAX}")


def _time_text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RowRefused(f"{name}: nanoseconds are an integer, not a {type(value).__name__}")
    if not -TIME_NS_MAX <= value <= TIME_NS_MAX:
        raise RowRefused(f"{name}: beyond 2**63 nanoseconds")
    return str(value)


def _parsed_time(value: object) -> int:
    if not isinstance(value, str) or not _TIME_TEXT.fullmatch(value):
        raise ValueError("time")
    return int(value)


def _parsed_value(name: str, value: object) -> Value:
    if isinstance(value, dict):
        return {key: _parsed_scalar(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_parsed_scalar(name, item) for item in value]
    return _parsed_scalar(name, value)


def _parsed_scalar(name: str, value: object) -> Scalar:
    if value is None:
        return None
    if name.endswith(_TIME_SUFFIX):
        return _parsed_time(value)
    if isinstance(value, str | int):
        return value
    raise TypeError(name)
