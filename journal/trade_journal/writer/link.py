"""The one connection of a client to the journal writer, made again as often as it is lost.

A writer that says nothing for a while is as good as dead, though its connection stands. Whoever is turned away for good
is not let in by asking again: then nothing is tried any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, cast

from trade_core.unix_sockets import connect
from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.writer.frames import (
    ANSWER_BYTES_MAX,
    PROTOCOL_VERSION,
    Answer,
    Failed,
    Fate,
    FoundRows,
    FrameReader,
    FrameRefused,
    Hello,
    SignedNote,
    Status,
    TurnedAway,
    WasSigned,
    Welcome,
    Written,
    framed,
    parse_answer,
)

Said = Written | Status | Failed | Fate | FoundRows | SignedNote | WasSigned
"""What the writer says to who has been let in."""

WELCOME_WITHIN_S: Final = 10.0
_SILENT_LOOKS: Final = 6  # looks without a word from the writer, which says one at each
_RETRY_FIRST_S: Final = 0.05
_RETRY_LAST_S: Final = 1.0
log = logging.getLogger(__name__)


class Link:
    """The way to the writer of the journal `origin` behind `socket`.

    `hear` takes what the writer says. A new connection counts once `catch_up` has learned what became of what the last
    one carried; then `on_connected` is called, and `on_lost` when it has ended or could not be made.
    """

    def __init__(
        self,
        *,
        socket: Path,
        origin: str,
        hear: Callable[[Said], None],
        catch_up: Callable[[Welcome], Awaitable[None]],
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Begin to connect."""
        self._socket = socket
        self._origin = origin
        self._hear_said = hear
        self._catch_up = catch_up
        self._on_connected = on_connected
        self._on_lost = on_lost
        self.is_connected = False
        self.why_not = "not connected yet"
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()  # fails with JournalRefused
        self._connection: _Connection | None = None
        self._welcome: asyncio.Future[Welcome] | None = None
        self._silent_looks = 0
        self._is_refused = False
        self._keeping = loop.create_task(self._keep_connected())

    @property
    def is_living(self) -> bool:
        """Say whether there is a writer at the other end that speaks."""
        return self.is_connected and self._silent_looks < _SILENT_LOOKS

    def write(self, data: bytes) -> None:
        """Send, unless there is no connection: then the rows in it are in doubt anyway."""
        if self._connection is not None:
            self._connection.write(data)

    def look(self) -> None:
        """Count the time without a word; call it as often as the writer says its status."""
        self._silent_looks += 1
        if self._silent_looks == _SILENT_LOOKS and self.is_connected:
            self.why_not = "the journal writer is silent"

    async def end(self) -> None:
        """Send what is left and close, for good."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        if self._connection is not None:
            self._connection.end()
            self._connection = None
        self.is_connected = False
        if self.opened.done() and not self.opened.cancelled():
            self.opened.exception()
        else:
            self.opened.cancel()

    async def _keep_connected(self) -> None:
        pause_s = _RETRY_FIRST_S
        while not self._is_refused:
            try:
                lost = await self._connected()
            except JournalDamaged as error:
                self.why_not = str(error)
            except JournalRefused as error:
                self._refuse_for_good(str(error))
            except (OSError, TimeoutError, FrameRefused, JournalUnavailable) as error:
                self.why_not = self._said_of(error)
            except Exception as error:
                # A defect: nothing is writable meanwhile, and the next try may do without it.
                self.why_not = f"a defect in the journal's client: {error!r}"
                log.exception("the connection to the journal writer failed")
            else:
                pause_s = _RETRY_FIRST_S
                await lost
            self._lose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _RETRY_LAST_S)

    def _said_of(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"{self._socket}: the journal writer lets nobody in, its journal cannot be read"
        if isinstance(error, OSError):
            return f"{self._socket}: no journal writer there ({error.strerror or type(error).__name__})"
        return str(error) or self.why_not

    async def _connected(self) -> asyncio.Future[None]:
        """Connect, be welcomed, and catch up. Gives what ends with the connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: _Connection(self), sock=connect(self._socket))
        self._connection = connection
        welcome = self._welcome = loop.create_future()
        connection.write(framed(Hello(version=PROTOCOL_VERSION, origin=self._origin)))
        async with asyncio.timeout(WELCOME_WITHIN_S):
            greeting = await welcome
        await self._catch_up(greeting)
        self.is_connected = True
        self._silent_looks = 0
        self._on_connected()
        if not self.opened.done():
            self.opened.set_result(None)
        return connection.lost

    def hear(self, answer: Answer) -> None:
        """Take what came over the connection."""
        match answer:
            case Welcome():
                if self._welcome is not None and not self._welcome.done():
                    self._welcome.set_result(answer)
            case TurnedAway():
                self.why_not = answer.reason
                if answer.is_final:
                    self._refuse_for_good(answer.reason)
            case _:
                self._hear_said(answer)

    def hear_sign_of_life(self) -> None:
        """Note that the writer is there, whatever it says."""
        self._silent_looks = 0

    def hear_end(self) -> None:
        """Tell who waits for a welcome, or for the rows to catch up with, that nothing will come."""
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(JournalUnavailable(self.why_not))
        elif self._connection is not None and not self.is_connected:
            self._on_lost()

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        was_connected, self.is_connected = self.is_connected, False
        if connection is not None:
            connection.abort()
        if was_connected:
            self.why_not = "the connection to the journal writer ended"
            log.warning("%s", self.why_not)
        self._on_lost()

    def _refuse_for_good(self, reason: str) -> None:
        self._is_refused = True
        self.why_not = reason
        if self.opened.done():
            log.error("the journal is not written any more: %s", reason)
        else:
            self.opened.set_exception(JournalRefused(f"{self._socket}: {reason}"))


class _Connection(asyncio.Protocol):
    """One connection to the writer; what arrives goes to the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._frames = FrameReader(bytes_max=ANSWER_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is one in all but its class

    def data_received(self, data: bytes) -> None:
        """Hand on what the writer said; what is no frame of ours ends the connection."""
        self._link.hear_sign_of_life()
        try:
            for body in self._frames.feed(data):
                self._link.hear(parse_answer(body))
        except FrameRefused as error:
            log.error("the journal writer does not speak our protocol: %s", error)
            self.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Say so, also to who waits for a welcome."""
        if not self.lost.done():
            self.lost.set_result(None)
        self._link.hear_end()

    def write(self, data: bytes) -> None:
        """Send, unless the connection is gone: then the rows are in doubt anyway."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """Send what is left and close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
