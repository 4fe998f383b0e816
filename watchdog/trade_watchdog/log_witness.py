"""Witnesses the gateway's journal: pulls its rows, computes the tree from them, and cosigns what they bear out.

Guarantees
- No lease carries a cosignature that the journal's witness did not give; its memory is a file of this watchdog.
- A long log is caught up with in bounded steps. Until then, and while our own disk refuses, there is no cosignature.
- Once this watchdog has vouched, it never begins a copy anew: with a forgotten copy it would believe any history.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError
from trade_core.trust.ring import KeyRing
from trade_journal.errors import JournalError, JournalRefused, JournalUnavailable, Withheld
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.verify import StoredRow
from trade_journal.writer.retention import seal_when_due
from trade_journal.writer.witness import Witness
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.gateway_link import ROWS_MAX, GatewayLink
from trade_watchdog.intent_feed import CopyReading, IntentFeed

COPY_FILE: Final = "witnessed-gateway.db"
CATCH_UP_S: Final = 5.0
"""A checkpoint that is older when it is cosigned helps nobody: the gateway takes none of more than 15 s."""


class LogWitness:
    """The witness of one gateway's log. One `cosigned` at a time."""

    def __init__(
        self,
        *,
        link: GatewayLink,
        state_dir: Path,
        ring: KeyRing,
        private_key: Ed25519PrivateKey,
        retention_days: int | None = None,
    ) -> None:
        """Prepare; `open` opens the copy. Its rows are sealed at a start when they are older than `retention_days`."""
        self._retention_days = retention_days
        self._link = link
        self._path = state_dir / COPY_FILE
        self._keys = gateway_log_keys(ring)
        self._private_key = private_key
        self._witness: Witness | None = None
        self._least = 0  # rows that the copy cannot have less of any more
        self._feed = IntentFeed()
        self._read_through_ns: int | None = None

    def open(self, *, has_vouched: bool, clock: Clock) -> None:
        """Open the copy, or begin it when nothing was ever vouched for. Raises ConfigurationError, JournalError."""
        if has_vouched and not self._path.exists():
            raise ConfigurationError(f"{self._path}: not there, but this watchdog has vouched for what it held")
        if self._retention_days is not None:
            url, log = self._url(), self._keys.log.name
            seal_when_due(url, origin=log, keys=self._keys, retention_days=self._retention_days, clock=clock)
        self._least = 1 if has_vouched else 0
        self._witness = self._opened()
        with contextlib.closing(self._witness.reading()) as copy:
            self._feed.load(copy)

    @property
    def size(self) -> int:
        """Count the rows seen; 0 while the copy is not open."""
        return self._witness.size if self._witness is not None else 0

    @property
    def journaled(self) -> JournaledOrders:
        """The intents of the gateway's journal, as far as its rows were pulled."""
        return self._feed.journaled

    @property
    def read_through_ns(self) -> int | None:
        """The monotonic time at which the last reading that came to the journal's signed end began.

        What the gateway had made durable by then is in the copy. None before the first.
        """
        return self._read_through_ns

    def reading(self) -> CopyReading | None:
        """Open a view of the copy for another thread, which closes it; None while the copy is not open."""
        return self._witness.reading() if self._witness is not None else None

    async def search(self, tags: list[str]) -> int:
        """Look through the whole copy for the intents of tags; answers how many were found. Raises JournalError."""
        copy = self.reading()
        if copy is None:
            raise JournalUnavailable("the copy of the gateway's journal is not open")
        return await asyncio.to_thread(self._search, copy, tags)

    async def cosigned(self, clock: Clock) -> bytes:
        """Have the gateway sign its journal, see every row of it, and cosign.

        Raises ForkProven, Withheld, JournalError (our own copy), GatewayUnavailable, GatewayRefused,
        GatewayAnswerInvalid.
        """
        began_ns = clock.monotonic_ns()
        raw = await self._link.checkpoint()
        try:
            if self._witness is None:
                self._witness = await asyncio.to_thread(self._opened)
            witness = self._witness
            wanted = witness.read_checkpoint(raw).size
            while witness.size < wanted:
                if clock.monotonic_ns() - began_ns > CATCH_UP_S * NS_PER_S:
                    raise Withheld(f"catching up: {witness.size} of {wanted} rows have been seen")
                rows = await self._link.rows(witness.size, min(ROWS_MAX, wanted - witness.size))
                if not rows:
                    raise Withheld(f"the gateway signed {wanted} rows and gives {witness.size}")
                await asyncio.to_thread(self._take, witness, rows)
            cosigned = await asyncio.to_thread(witness.cosign, raw, at_s=clock.wall_ns() // NS_PER_S)
            self._least = witness.size
            self._read_through_ns = began_ns
            return cosigned
        except Withheld:
            raise
        except JournalError:
            self.close()  # after a failed write only a new opening knows what is there
            raise

    def close(self) -> None:
        """Close the copy; the next `cosigned` opens it again."""
        if self._witness is not None:
            self._witness.close()
            self._witness = None

    def _search(self, copy: CopyReading, tags: list[str]) -> int:
        with contextlib.closing(copy):
            return self._feed.search(copy, tags)

    def _take(self, witness: Witness, rows: Sequence[StoredRow]) -> None:
        witness.take(rows)
        self._feed.take(rows)

    def _url(self) -> str:
        return f"sqlite:///{self._path.absolute()}"

    def _opened(self) -> Witness:
        witness = self._keys.witness
        assert witness is not None
        try:
            opened = Witness.open(
                self._url(),
                log=self._keys.log,
                name=witness.name,
                private_key=self._private_key,
            )
        except JournalRefused as error:
            raise JournalRefused(f"the copy of the gateway's journal: {error}") from error
        if opened.size < self._least:
            size = opened.size
            opened.close()
            raise JournalRefused(f"{self._path}: {size} rows, but this watchdog has vouched for {self._least}")
        return opened
