"""What the journal writer and its peers say to each other over a Unix socket. Pure.

A frame is four bytes of length (big-endian) and a MessagePack array whose first item names it. A peer that says
anything else is cut off; a row that must be refused is refused alone, with a sentence.

There is no word for changing, removing or replacing a row, and none for an actor or a sequence number: the actor is
the socket's, the number the writer's.

Rules
- The first frame of a peer is Hello; the writer answers with Welcome once everything that the peer handed over on
  earlier connections has found its end. What became of it can then be read among the rows.
- `number` is the peer's own name for what it said, for the answer to come back to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from trade_journal.errors import JournalError

PROTOCOL_VERSION: Final = 1
# The largest append_many, 256 rows of 8 KiB, and its names.
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
# The largest page of rows, 1000 of 8 KiB, and their hashes.
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
ROWS_MAX: Final = 256
ROW_FRAME_BYTES_MAX: Final = REQUEST_BYTES_MAX // ROWS_MAX - 64  # twice the row itself, so that ROWS_MAX are one frame
NOTE_BYTES_MAX: Final = 16 * 1024
_LENGTH: Final = struct.Struct(">I")

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class FrameRefused(JournalError):
    """Bytes that are no frame of this protocol; whoever sent them is cut off."""


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class WireRow(_Frame, frozen=True):
    """A row to write. What is wrong with it is found by `rows.draft`, so that it is refused alone."""

    at_ns: int
    kind: str
    fields: dict[str, Any]
    policy_hash: str | None


class Hello(_Frame, frozen=True, tag="hello"):
    """The first frame: which protocol, and which journal the peer takes this for."""

    version: int
    origin: str


class Append(_Frame, frozen=True, tag="append"):
    """Write rows together. What is not urgent may wait a moment for company."""

    number: Number
    is_urgent: bool
    rows: Annotated[list[WireRow], msgspec.Meta(min_length=1, max_length=ROWS_MAX)]


class AskCheckpoint(_Frame, frozen=True, tag="checkpoint"):
    """Sign and keep a checkpoint."""

    number: Number


class KeepCosigned(_Frame, frozen=True, tag="cosigned"):
    """Keep a checkpoint that the witness has cosigned."""

    note: Annotated[bytes, msgspec.Meta(max_length=NOTE_BYTES_MAX)]


class AskSigned(_Frame, frozen=True, tag="signed"):
    """Was a checkpoint of this size and root ever given out?"""

    number: Number
    size: Number
    root: Annotated[bytes, msgspec.Meta(max_length=64)]


class AskRows(_Frame, frozen=True, tag="rows"):
    """Read durable rows in order."""

    number: Number
    from_seq: Number
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000)]


Request: TypeAlias = Hello | Append | AskCheckpoint | KeepCosigned | AskSigned | AskRows


class Status(_Frame, frozen=True, tag="status"):
    """What the writer is like at this moment; sent with every answer, and twice a second."""

    size: int
    witnessed_size: int
    is_writable: bool
    emergency_rows: int
    commits_total: int
    failures_total: int
    foreign_writes: int
    last_failure: str


class Welcome(_Frame, frozen=True, tag="welcome"):
    """The peer may begin. Rows of before stand below `end`."""

    origin: str
    end: int


class TurnedAway(_Frame, frozen=True, tag="turned_away"):
    """The last frame to a peer that cannot be served. `is_final` says that asking again will not help."""

    reason: str
    is_final: bool


class Written(_Frame, frozen=True, tag="written"):
    """Rows are durable: pairs of a number and the sequence number of its first row."""

    pairs: list[tuple[int, int]]


class Failed(_Frame, frozen=True, tag="failed"):
    """Something was not done. `is_refused`: a defect of the peer. `is_doubtful`: a Fate follows."""

    number: int
    said: str
    cause: str
    is_refused: bool
    is_doubtful: bool


class Fate(_Frame, frozen=True, tag="fate"):
    """What became of rows whose commit failed half-way."""

    number: int
    is_written: bool


class SignedNote(_Frame, frozen=True, tag="note"):
    """The checkpoint that was asked for, durable."""

    number: int
    note: bytes


class WasSigned(_Frame, frozen=True, tag="was_signed"):
    """The answer to AskSigned."""

    number: int
    is_signed: bool


class FoundRows(_Frame, frozen=True, tag="found"):
    """The answer to AskRows: sequence number, bytes and leaf hash of each."""

    number: int
    rows: list[tuple[int, bytes, bytes]]


Answer: TypeAlias = Status | Welcome | TurnedAway | Written | Failed | Fate | SignedNote | WasSigned | FoundRows

EncodedRow: TypeAlias = msgspec.Raw

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_answers: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def framed(message: Request | Answer) -> bytes:
    """Give a message as bytes to send. Raises FrameRefused for what no frame can say."""
    body = _encoded(message)
    return _LENGTH.pack(len(body)) + body


def encoded_row(*, at_ns: int, kind: str, fields: Mapping[str, Any], policy_hash: str | None) -> EncodedRow:
    """Give a row as it stands in an Append. Raises FrameRefused for what no frame can say."""
    return EncodedRow(_encoded(WireRow(at_ns=at_ns, kind=kind, fields=dict(fields), policy_hash=policy_hash)))


def framed_rows(rows: Sequence[EncodedRow], *, number: int, is_urgent: bool) -> bytes:
    """Give an Append of encoded rows as bytes to send."""
    body = _encoder.encode(("append", number, is_urgent, rows))
    return _LENGTH.pack(len(body)) + body


def parse_request(body: bytes) -> Request:
    """Read what a peer said. Raises FrameRefused."""
    try:
        return _requests.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameRefused(f"no request: {type(error).__name__}") from error


def parse_answer(body: bytes) -> Answer:
    """Read what the writer said. Raises FrameRefused."""
    try:
        return _answers.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameRefused(f"no answer: {type(error).__name__}") from error


def _encoded(message: Request | Answer | WireRow) -> bytes:
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise FrameRefused(f"cannot be said: {type(error).__name__}") from error


class FrameReader:
    """Cuts what arrives into frames, and holds back what is not whole yet, within a bound."""

    __slots__ = ("_bytes_max", "_held")

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and give the bodies that are whole now, one by one.

        Raises FrameRefused for a length beyond the bound, after the frames before it have been given.
        """
        held = self._held
        held += data
        start = 0
        try:
            while len(held) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(held, start)
                if not 0 < length <= self._bytes_max:
                    raise FrameRefused(f"a frame of {length} bytes; at most {self._bytes_max}")
                end = start + _LENGTH.size + length
                if len(held) < end:
                    return
                body = bytes(held[start + _LENGTH.size : end])
                start = end
                yield body
        finally:
            del held[:start]
