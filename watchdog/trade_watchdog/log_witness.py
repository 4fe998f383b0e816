"""Witnesses the gateway's journal: pulls its rows, computes the tree from them, and cosigns what they bear out.

Guarantees
- No lease carries a cosignature that the journal's witness did not give; its memory is a file of this watchdog.
- A long log is caught up with in bounded steps. Until then, and while our own disk refuses, there is no cosignature.
- Once this watchdog has vouched, it never begins a copy anew: with a forgotten copy it would believe any history.
- A new log in the place of one that was lost is believed only by a warrant under the pinned ring, for just the rows
  that this watchdog has seen; the rows of the old log are kept as they are.
- A fork is proved to others from this copy, as far as it goes. Of a log that went on, the gateway is asked for no more
  rows than those from which on it differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.log_warrant import FIRST_LOG
from trade_core.trust.ring import KeyRing
from trade_journal.errors import ForkProven, JournalDamaged, JournalError, JournalRefused, JournalUnavailable, Withheld
from trade_journal.log.checkpoint import log_name, said_name, said_size
from trade_journal.log.fork_proof import fork_proof
from trade_journal.log.log_succession import check_succession
from trade_journal.log.ring_keys import gateway_journal_name, gateway_log_keys
from trade_journal.log.rows import leaf_hash, parse_row
from trade_journal.log.verify import PublicKeys, StoredRow
from trade_journal.store.database import is_yet_to_be_made
from trade_journal.store.records import READ_ROWS_MAX
from trade_journal.store.sealing import seal_all_rows
from trade_journal.store.store import JournalReader, kept_log_number
from trade_journal.writer.retention import seal_when_due
from trade_journal.writer.witness import Witness
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.gateway_link import ROWS_MAX, GatewayLink
from trade_watchdog.intent_feed import CopyReading, IntentFeed

COPY_FILE: Final = "witnessed-gateway.db"
_log = logging.getLogger(__name__)
KEPT_ROWS_MAX: Final = 2_000_000
"""Of our own copy, for a proof: their hashes are read in some seconds, and take 100 MB for the length of it."""
SERVED_ROWS_MAX: Final = 200_000
"""Of the gateway's, which gives them a page at a time: more would not come in the time that there is."""
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
        self._ring = ring
        self._link = link
        self._path = state_dir / COPY_FILE
        self._number = FIRST_LOG
        self._keys = gateway_log_keys(ring)
        self._private_key = private_key
        self._witness: Witness | None = None
        self._least = 0  # rows that the copy cannot have less of any more
        self._feed = IntentFeed()
        self._read_through_ns: int | None = None
        self._contradiction = b""

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe a new log that is ordered under another ring from now on."""
        self._ring = ring

    def open(self, *, has_vouched: bool, clock: Clock) -> None:
        """Open the copy, or begin it when nothing was ever vouched for. Raises ConfigurationError, JournalError."""
        if has_vouched and not self._path.exists():
            raise ConfigurationError(f"{self._path}: not there, but this watchdog has vouched for what it held")
        if self._retention_days is not None:
            url, days = self._url(), self._retention_days
            self._number, self._keys = self._log_in_use()
            seal_when_due(url, origin=self._keys.journal, keys=self._keys, retention_days=days, clock=clock)
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

    def policy_text(self, named: str) -> str | None:
        """Give the text of a policy that the journal has recorded, by its hash."""
        return self._feed.policies.get(named)

    async def find_policy(self, named: str) -> bool:
        """Look through the whole copy for the text of a policy; False when it is not there. Raises JournalError."""
        copy = self.reading()
        return False if copy is None else await asyncio.to_thread(self._find_policy, copy, named)

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
            if said_name(raw) == log_name(self._keys.journal, self._number + 1):
                await self._follow(self._witness)
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
        except JournalError as error:
            self._contradiction = raw if isinstance(error, ForkProven) else b""
            self.close()  # after a failed write only a new opening knows what is there
            raise

    async def fork_proof(self) -> bytes:
        """Prove to who has not seen the rows the fork that `cosigned` found last; empty when signatures cannot.

        Raises JournalError, NoteRefused, GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid.
        """
        with contextlib.closing(JournalReader(self._url())) as copy:
            kept = copy.last_note()
            if not kept or said_name(kept) != said_name(self._contradiction):
                return b""
            smaller, larger = sorted((kept, self._contradiction), key=said_size)
            own = await asyncio.to_thread(_kept_leaves, copy, min(said_size(kept), KEPT_ROWS_MAX))
        prove = partial(fork_proof, smaller=smaller, larger=larger, log=self._keys.log)
        if larger == kept:
            return await asyncio.to_thread(prove, leaves=own)
        return await self._proved_by_served(prove, own, size=said_size(larger))

    async def _proved_by_served(self, prove: Callable[..., bytes], own: list[bytes], *, size: int) -> bytes:
        """Prove by as few of the rows under a signed root as are not ours: what it begins with, the copy has.

        They are asked for from the end on. Where they meet our own, the root says whether all before are ours, too; if
        not, further back, twice as far each time, since a root is as many hashes as there are rows.
        """
        served: list[bytes] = []
        begin, tried = size, 0
        while begin and len(served) < SERVED_ROWS_MAX:
            start = max(0, begin - ROWS_MAX)
            rows = await self._link.rows(start, begin - start)
            if len(rows) < begin - start:
                return b""
            served[:0] = [leaf_hash(row.body) for row in rows]
            begin = start
            is_met = begin < len(own) and own[begin] == served[0] and len(served) >= 2 * tried
            if is_met or not begin:
                tried = len(served)
                if proof := await asyncio.to_thread(prove, leaves=own[:begin] + served):
                    return proof
        return b""

    def close(self) -> None:
        """Close the copy; the next `cosigned` opens it again."""
        if self._witness is not None:
            self._witness.close()
            self._witness = None

    def _find_policy(self, copy: CopyReading, named: str) -> bool:
        with contextlib.closing(copy):
            return self._feed.find_policy(copy, named)

    def _search(self, copy: CopyReading, tags: list[str]) -> int:
        with contextlib.closing(copy):
            return self._feed.search(copy, tags)

    def _take(self, witness: Witness, rows: Sequence[StoredRow]) -> None:
        witness.take(rows)
        self._feed.take(rows)

    async def _follow(self, witness: Witness) -> None:
        """Believe a new log by the warrant in its first row, and go on in a new file of the copy behind the old log.

        Raises Withheld while nobody has ordered it, or when it goes on behind other rows than were seen.
        """
        rows = await self._link.rows(witness.size, 1)
        try:
            row = parse_row(rows[0].body) if rows else None
            if row is None or row.seq != witness.size:
                raise Withheld(f"a new log, which has no row {witness.size}, and so many rows were seen")
            succeeded = check_succession(row, ring=self._ring, number=self._number)
        except (NotTrusted, JournalDamaged) as error:
            raise Withheld(f"a new log that nobody has ordered: {error}") from error
        if succeeded.root != witness.root:
            raise Withheld(f"a new log behind other rows than the {witness.size} that were seen")
        log, url = self._keys.log, self._url()
        self.close()
        await asyncio.to_thread(seal_all_rows, url, origin=self._keys.journal, log=log, note=succeeded.note)
        self._witness = await asyncio.to_thread(self._opened)
        _log.warning("the gateway's journal goes on in log %d behind row %d", succeeded.number, succeeded.size - 1)

    def _log_in_use(self) -> tuple[int, PublicKeys]:
        """Say in which of the journal's logs the copy is; whether the gateway signed it is found at its opening."""
        if is_yet_to_be_made(self._url()):
            return FIRST_LOG, gateway_log_keys(self._ring)
        with contextlib.closing(JournalReader(self._url())) as copy:
            number = kept_log_number(copy, journal=gateway_journal_name(self._ring))
        return number, gateway_log_keys(self._ring, number=number)

    def _url(self) -> str:
        return f"sqlite:///{self._path.absolute()}"

    def _opened(self) -> Witness:
        try:
            self._number, self._keys = self._log_in_use()
            witness = self._keys.witness
            assert witness is not None
            opened = Witness.open(
                self._url(),
                log=self._keys.log,
                name=witness.name,
                private_key=self._private_key,
                journal=self._keys.journal,
            )
        except JournalRefused as error:
            raise JournalRefused(f"the copy of the gateway's journal: {error}") from error
        if opened.size < self._least:
            size = opened.size
            opened.close()
            raise JournalRefused(f"{self._path}: {size} rows, but this watchdog has vouched for {self._least}")
        return opened


def _kept_leaves(copy: JournalReader, size: int) -> list[bytes]:
    """Read the leaf hashes of the first rows of our copy; fewer when there are fewer."""
    leaves: list[bytes] = []
    while len(leaves) < size and (rows := copy.stored_rows(len(leaves), min(READ_ROWS_MAX, size - len(leaves)))):
        leaves += [row.leaf_hash for row in rows]
    return leaves
