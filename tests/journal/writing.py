"""A journal writer with its doors open, in this event loop, and bare peers that say what they like to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import SystemClock
from trade_journal.log.checkpoint import LogSigner, cosign
from trade_journal.log.note import COSIGNATURE_V1, Verifier, parse_note
from trade_journal.log.verify import PublicKeys
from trade_journal.store.store import JournalReader
from trade_journal.writer.client import JournalClient
from trade_journal.writer.frames import (
    ANSWER_BYTES_MAX,
    Answer,
    FrameReader,
    Hello,
    Request,
    Welcome,
    framed,
    parse_answer,
)
from trade_journal.writer.peers import Peer
from trade_journal.writer.server import Door, JournalServer
from trade_journal.writer.writer import JournalWriter

_A = TypeVar("_A")
ORIGIN = "trade/simulated/1002/gateway"
WITNESS = "trade/simulated/1002/watchdog"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER = LogSigner(origin=ORIGIN, private_key=LOG_KEY, ring_hash="ab" * 32)
KEYS = PublicKeys(
    log=SIGNER.verifier(),
    witness=Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key()),
)


class Writing:
    """A journal writer of a folder. `start` and `stop` may be called in turn."""

    def __init__(self, folder: Path, *, uid: int | None = None) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/journal.db"
        self._uid = os.getuid() if uid is None else uid

    def socket(self, peer: Peer) -> Path:
        """Say where a peer is let in."""
        return self.folder / f"{peer.value}.sock"

    async def start(self) -> None:
        """Open journal and doors."""
        self.writer = await JournalWriter.open(
            self.url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER, emergency=self.folder / "emergency.segment"
        )
        self.server = JournalServer(writer=self.writer, keys=KEYS, clock=SystemClock())
        await self.server.start(self.doors())

    def doors(self) -> list[Door]:
        """Give a door for each peer."""
        return [
            Door(peer=peer, path=self.socket(peer), uid=self._uid, mode=0o600, setting=f"{peer.value}_socket")
            for peer in Peer
        ]

    async def stop(self) -> None:
        """End both in order."""
        await self.writer.close()
        await self.server.close()

    def numbers(self) -> list[object]:
        """Read the numbers in the rows that are durable, in order, and see that no row is missing."""
        reader = JournalReader(self.url)
        rows = reader.read(0, 1000)
        reader.close()
        assert [row.seq for row in rows] == list(range(len(rows)))
        return [row.fields["number"] for row in rows if "number" in row.fields]

    async def client(self, peer: Peer = Peer.GATEWAY, *, within_s: float = 10) -> JournalClient:
        """Connect as a service does."""
        return await JournalClient.open(
            self.socket(peer), origin=ORIGIN, clock=SystemClock(), peer=peer, within_s=within_s
        )


@asynccontextmanager
async def writing(folder: Path) -> AsyncIterator[Writing]:
    """Run a journal writer until the context ends."""
    there = Writing(folder)
    await there.start()
    try:
        yield there
    finally:
        await there.stop()


OPEN_PEERS: list[BarePeer] = []


class BarePeer:
    """A connection that says whatever it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(bytes_max=ANSWER_BYTES_MAX)
        self._heard: list[Answer] = []

    @classmethod
    async def connect(cls, path: Path) -> BarePeer:
        """Connect without a word."""
        peer = cls(*await asyncio.open_unix_connection(str(path)))
        OPEN_PEERS.append(peer)
        return peer

    @classmethod
    async def welcomed(cls, path: Path) -> BarePeer:
        """Connect and be let in."""
        peer = await cls.connect(path)
        peer.say(Hello(version=1, origin=ORIGIN))
        await peer.hear(Welcome)
        return peer

    def say(self, *requests: Request) -> None:
        """Send frames."""
        self.writer.write(b"".join(framed(request) for request in requests))

    async def hear(self, kind: type[_A]) -> _A:
        """Wait for the next answer of a kind; the others are passed over."""
        async with asyncio.timeout(60):
            while True:
                while self._heard:
                    answer = self._heard.pop(0)
                    if isinstance(answer, kind):
                        return answer
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError
                self._heard += [parse_answer(body) for body in self._frames.feed(data)]

    async def is_cut_off(self) -> bool:
        """Wait for the end of the connection."""
        try:
            while True:
                await self.hear(Hello)
        except (EOFError, ConnectionError):
            return True

    def close(self) -> None:
        """End the connection."""
        self.writer.close()


def cosigned(note: bytes) -> bytes:
    """Add the witness's cosignature."""
    return cosign(parse_note(note), name=WITNESS, private_key=WITNESS_KEY, at_s=1).rendered().encode()
