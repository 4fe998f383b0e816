"""The journal writer's doors: a Unix socket for each peer, and what may be said through it.

Guarantees
- The actor of a row is the socket that it came through; the kernel says which user is at its other end, and no other
  user than the one set is heard.
- A peer writes the kinds of `peers.KINDS_BY_PEER` and no others; a row of another kind or of a bad shape is refused
  with a sentence, and nothing else is. Bytes that are no frame end the connection, and lose no row that came before.
- Nothing here waits for a peer: one that does not read is heard no more until it does, and cut off after
  READS_WITHIN_S; the others do not notice. Connections, frames, rows in flight and questions are bounded for each peer.
- A peer that comes back is welcomed only when everything that it handed over before has found its end, so that reading
  the rows tells it what became of them.

It does not keep rows through a failure: a row that could not be written is handed back, and whoever wrote it keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, assert_never, cast

from trade_core.clock import Clock
from trade_core.logs import RefusalLog
from trade_core.unix_sockets import bind, caller_of
from trade_journal.errors import (
    JournalError,
    JournalFull,
    JournalUnavailable,
    NoteRefused,
    RowRefused,
)
from trade_journal.log.checkpoint import Checkpoint, open_cosigned
from trade_journal.log.rows import KIND_BY_VALUE, Draft, Entry, draft
from trade_journal.log.verify import PublicKeys
from trade_journal.writer.frames import (
    PROTOCOL_VERSION,
    REQUEST_BYTES_MAX,
    Answer,
    Append,
    AskCheckpoint,
    AskRows,
    AskSigned,
    Failed,
    Fate,
    FoundRows,
    FrameReader,
    FrameRefused,
    Hello,
    KeepCosigned,
    Request,
    SignedNote,
    Status,
    TurnedAway,
    WasSigned,
    Welcome,
    Written,
    framed,
    parse_request,
)
from trade_journal.writer.peers import CONNECTIONS_BY_PEER, KINDS_BY_PEER, PENDING_ROWS_BY_PEER, Peer
from trade_journal.writer.writer import HandedOver, JournalWriter

STATUS_EVERY_S: Final = 0.25
HELLO_WITHIN_S: Final = 5.0
READS_WITHIN_S: Final = 10.0
QUESTIONS_MAX: Final = 8  # in flight on one connection: a page of rows is up to 8 MiB
_SAID_CHARACTERS: Final = 300
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a peer is let in. `setting` is named when it cannot be opened."""

    peer: Peer
    path: Path
    uid: int
    mode: int
    setting: str


class _Room:
    """What one peer uses, over all its connections."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.connections: set[_Connection] = set()
        self.pending_rows = 0
        self.unsettled = 0
        self.is_settled = asyncio.Event()
        self.is_settled.set()

    def take(self, rows: int) -> None:
        self.pending_rows += rows
        self.unsettled += 1
        self.is_settled.clear()

    def settle(self, rows: int) -> None:
        self.pending_rows -= rows
        self.unsettled -= 1
        if self.unsettled == 0:
            self.is_settled.set()


class JournalServer:
    """Lets peers into one journal writer. Made in the event loop; `start` opens the doors, `close` shuts them."""

    def __init__(self, *, writer: JournalWriter, keys: PublicKeys, clock: Clock) -> None:
        """`keys` say whose checkpoints and cosignatures count for this journal; its name is the origin."""
        self.writer = writer
        self.keys = keys
        self.refusals = RefusalLog("journal writer", clock=clock)
        self._servers: list[asyncio.Server] = []
        self._rooms: list[_Room] = []
        self._heart: asyncio.Task[None] | None = None

    async def start(self, doors: Sequence[Door]) -> None:
        """Open the doors. Raises ConfigurationError, which names the setting, and opens none then."""
        loop = asyncio.get_running_loop()
        sockets = []
        try:
            for door in doors:
                sockets.append(bind(door.path, mode=door.mode, setting=door.setting))
        except BaseException:
            for listening in sockets:
                listening.close()
            raise
        for door, listening in zip(doors, sockets, strict=True):
            room = _Room(door)
            self._rooms.append(room)
            self._servers.append(await loop.create_unix_server(partial(_Connection, self, room), sock=listening))
        self._heart = loop.create_task(self._beat())

    def status(self) -> Status:
        """Say what the writer is like now."""
        writer = self.writer
        return Status(
            size=writer.size,
            witnessed_size=writer.witnessed_size,
            is_writable=writer.is_writable,
            emergency_rows=writer.emergency_rows,
            commits_total=writer.commits_total,
            failures_total=writer.failures_total,
            foreign_writes=writer.foreign_writes,
            last_failure=writer.last_failure[:_SAID_CHARACTERS],
        )

    async def close(self) -> None:
        """Let nobody in any more, and end every connection once it has been told what there is to tell."""
        for server in self._servers:
            server.close()
        if self._heart is not None:
            self._heart.cancel()
        await asyncio.sleep(0)  # answers of the last commit are on their way through the loop
        await asyncio.sleep(0)
        for room in self._rooms:
            for connection in list(room.connections):
                connection.end()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            for room in self._rooms:
                for connection in list(room.connections):
                    connection.beat()


class _Connection(asyncio.Protocol):
    """One peer's connection."""

    def __init__(self, server: JournalServer, room: _Room) -> None:
        self._server = server
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(bytes_max=REQUEST_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._out: list[Answer] = []
        self._written: list[tuple[int, int]] = []
        self._is_flush_due = False
        self._is_heard = False  # the peer has said Hello
        self._is_welcome = False
        self._is_reading = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.caller_pid = 0

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who it is, and turn away who must not come in."""

        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is one in all but its class
        door, peers = self._room.door, self._room.connections
        caller = caller_of(transport.get_extra_info("socket").fileno())
        self.caller_pid = caller.pid
        if caller.uid != door.uid:
            self._turn_away(f"user {caller.uid} may not write as {door.peer.value}", code="WRONG_USER", is_final=True)
        elif len(peers) >= CONNECTIONS_BY_PEER[door.peer]:
            pids = ", ".join(str(one.caller_pid) for one in peers)
            said = f"another {door.peer.value} is connected (process {pids}); at most {len(peers)} may be"
            self._turn_away(said, code="TOO_MANY", is_final=False)
        else:
            peers.add(self)
            self._timer = self._loop.call_later(HELLO_WITHIN_S, self._cut_off, "NO_HELLO")

    def data_received(self, data: bytes) -> None:
        """Take what the peer said."""
        if self not in self._room.connections:
            return
        try:
            for body in self._frames.feed(data):
                self._hear(parse_request(body))
        except FrameRefused as error:
            self._turn_away(str(error), code="NO_FRAME", is_final=True)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the connection; what it handed over goes on."""
        self._room.connections.discard(self)
        self._stop_timer()
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        """Hear no more from a peer that does not read."""
        assert self._transport is not None
        self._is_reading = False
        self._transport.pause_reading()
        self._stop_timer()
        self._timer = self._loop.call_later(READS_WITHIN_S, self._cut_off, "NOT_READING")

    def resume_writing(self) -> None:
        """Hear it again."""
        assert self._transport is not None
        self._is_reading = True
        self._stop_timer()
        self._transport.resume_reading()

    # What the peer says.

    def _hear(self, request: Request) -> None:
        if self not in self._room.connections:
            return
        if isinstance(request, Hello):
            self._greet(request)
            return
        if not self._is_welcome:
            raise FrameRefused("the first frame is Hello, and its answer is waited for")
        match request:
            case Append():
                self._append(request)
            case AskCheckpoint():
                self._ask(request.number, self._checkpoint)
            case AskRows():
                self._ask(request.number, partial(self._rows, request))
            case AskSigned():
                self._ask(request.number, partial(self._signed, request))
            case KeepCosigned():
                self._keep_cosigned(request.note)
            case _:
                assert_never(request)

    def _greet(self, hello: Hello) -> None:
        if self._is_heard:
            raise FrameRefused("a second Hello")
        self._is_heard = True
        self._stop_timer()
        if hello.version != PROTOCOL_VERSION:
            said = f"protocol {hello.version!r}; this writer speaks {PROTOCOL_VERSION}"
            self._turn_away(said, code="OTHER_PROTOCOL", is_final=True)
        elif hello.origin != self._server.keys.journal:
            said = f"this is the journal of {self._server.keys.journal}, not of {hello.origin[:100]}"
            self._turn_away(said, code="OTHER_JOURNAL", is_final=True)
        else:
            self._spawn(self._welcome())

    async def _welcome(self) -> None:
        await self._room.is_settled.wait()
        self._is_welcome = True
        writer = self._server.writer
        self._say(Welcome(origin=self._server.keys.journal, end=writer.end))

    def _append(self, request: Append) -> None:
        number, count = request.number, len(request.rows)
        peer = self._room.door.peer
        try:
            drafts = self._drafts(request)
            room = PENDING_ROWS_BY_PEER[peer]
            if self._room.pending_rows + count > room:
                raise JournalFull(f"{self._room.pending_rows} rows of {peer.value} pending; at most {room}")
            handed = self._server.writer.hand_over(drafts, is_urgent=request.is_urgent)
        except RowRefused as error:
            self._server.refusals.note("ROW_REFUSED")
            self._say(_failed(number, error, is_refused=True))
        except JournalUnavailable as error:
            self._say(_failed(number, error))
        else:
            self._room.take(count)
            handed.waiter.add_done_callback(partial(self._settled, number, count, handed))

    def _drafts(self, request: Append) -> list[Draft]:
        peer = self._room.door.peer
        drafts = []
        for row in request.rows:
            kind = KIND_BY_VALUE.get(row.kind)
            if kind is None:
                raise RowRefused("no such kind of row")
            if kind not in KINDS_BY_PEER[peer]:
                raise RowRefused(f"{kind.value}: not a kind that {peer.value} may write")
            entry = Entry(
                at_ns=row.at_ns, kind=kind, actor=peer._value_, fields=row.fields, policy_hash=row.policy_hash
            )
            drafts.append(draft(entry))
        return drafts

    def _settled(self, number: int, count: int, handed: HandedOver, waiter: asyncio.Future[int]) -> None:
        error = waiter.exception()
        if error is None:
            self._written.append((number, waiter.result()))
            self._flush_soon()
            self._room.settle(count)
            return
        assert isinstance(error, JournalUnavailable)
        self._say(_failed(number, error, is_doubtful=True))
        handed.is_written.add_done_callback(partial(self._decided, number, count))

    def _decided(self, number: int, count: int, is_written: asyncio.Future[bool]) -> None:
        self._say(Fate(number=number, is_written=is_written.result()))
        self._room.settle(count)

    def _keep_cosigned(self, raw: bytes) -> None:
        """Take a cosigned checkpoint, if it is one and this journal gave it out; the peer waits for no answer."""
        keys = self._server.keys
        try:
            if keys.witness is None:
                raise NoteRefused("this journal has no witness")
            cosigned = open_cosigned(raw, log=keys.log, witness=keys.witness)
        except NoteRefused as error:
            self._server.refusals.note("NOTE_REFUSED")
            log.warning("a cosigned checkpoint was not kept: %s", error)
            return
        if len(self._tasks) < QUESTIONS_MAX:  # the next one comes in a second
            self._spawn(self._keep_if_own(raw, cosigned.checkpoint))

    async def _keep_if_own(self, raw: bytes, checkpoint: Checkpoint) -> None:
        try:
            is_own = await self._server.writer.has_signed(checkpoint)
        except JournalError as error:
            log.warning("a cosigned checkpoint was not kept: %s", error)
            return
        if is_own:
            self._server.writer.keep_cosigned(raw)
        else:
            log.error("a cosigned checkpoint of %d rows is not of this journal", checkpoint.size)

    def _ask(self, number: int, question: Callable[[int], Awaitable[Answer]]) -> None:
        if len(self._tasks) >= QUESTIONS_MAX:
            self._say(_failed(number, JournalUnavailable(f"{QUESTIONS_MAX} questions are open", cause="busy")))
        else:
            self._spawn(self._answered(number, question))

    async def _answered(self, number: int, question: Callable[[int], Awaitable[Answer]]) -> None:
        try:
            answer = await question(number)
        except JournalError as error:
            answer = _failed(number, error)
        self._say(answer)

    async def _checkpoint(self, number: int) -> Answer:
        return SignedNote(number=number, note=await self._server.writer.checkpoint())

    async def _rows(self, request: AskRows, number: int) -> Answer:
        found = await self._server.writer.stored(request.from_seq, request.limit)
        return FoundRows(number=number, rows=[(row.seq, row.body, row.leaf_hash) for row in found])

    async def _signed(self, request: AskSigned, number: int) -> Answer:
        asked = Checkpoint(origin="", size=request.size, root=request.root, ring_hash="")
        return WasSigned(number=number, is_signed=await self._server.writer.has_signed(asked))

    # What the peer is told.

    def beat(self) -> None:
        """Tell the peer that the writer lives, and how it is."""
        if self._is_welcome and self._is_reading:
            self._flush_soon()

    def end(self) -> None:
        """Send what is to be sent, and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _say(self, answer: Answer) -> None:
        self._out.append(answer)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        answers, self._out = self._out, []
        if self._written:
            answers.append(Written(pairs=self._written))
            self._written = []
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_welcome:
            answers.append(self._server.status())
        self._transport.write(b"".join([framed(answer) for answer in answers]))

    def _turn_away(self, said: str, *, code: str, is_final: bool) -> None:
        assert self._transport is not None
        self._server.refusals.note(code)
        self._room.connections.discard(self)
        self._stop_timer()
        self._transport.write(framed(TurnedAway(reason=said, is_final=is_final)))
        self._transport.close()

    def _cut_off(self, code: str) -> None:
        assert self._transport is not None
        self._server.refusals.note(code)
        self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _failed(number: int, error: JournalError, *, is_refused: bool = False, is_doubtful: bool = False) -> Failed:
    cause = error.cause if isinstance(error, JournalUnavailable) else "refused"
    said = str(error)[:_SAID_CHARACTERS]
    return Failed(number=number, said=said, cause=cause, is_refused=is_refused, is_doubtful=is_doubtful)
