"""Witnesses the kill executor's journal: pulls its rows, computes the tree from them, cosigns, and keeps its own copy.

Guarantees
- The copy holds what the executor served, tied to the root that it signed; what stands there nobody takes back later.
- Two signed roots that its rows contradict are a fork: told once, with an incident, and the gateway is halted. It asks
  for no kill: the one who would carry it out is the one who forked.
- An executor that does not answer, or a journal that cannot be borne out yet, is said and changes nothing else: whether
  it is alive is its own readiness's affair.
- Once something was witnessed the copy is never begun anew: a copy that is gone refuses the start.

It runs off the event loop where the disk works, at most ROWS_A_ROUND_MAX rows a round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError, TradeError
from trade_core.secrets import write_atomically
from trade_journal.errors import ForkProven, JournalError, Withheld
from trade_journal.log.verify import PublicKeys, StoredRow
from trade_journal.writer.witness import Witness
from trade_watchdog.status import ExecutorJournalState

COPY_FILE: Final = "witnessed-executor.db"
SEEN_FILE: Final = "witnessed-executor.begun"
WITNESS_EVERY_S: Final = 5.0
ROWS_A_PAGE: Final = 256
ROWS_A_ROUND_MAX: Final = 20 * ROWS_A_PAGE

_log = logging.getLogger(__name__)


class JournalSource(Protocol):
    """Where the executor's journal is read. Both raise TradeError."""

    async def checkpoint(self) -> bytes:
        """Have the executor sign its journal as it stands."""
        ...

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read the bytes of rows, at most `limit`; nothing judges them."""
        ...


class ExecutorWitness:
    """The witness of one executor's log. One `step` at a time."""

    def __init__(
        self,
        *,
        source: JournalSource,
        state_dir: Path,
        keys: PublicKeys,
        private_key: Ed25519PrivateKey,
        on_fork: Callable[[str], None],
        state: ExecutorJournalState,
        clock: Clock,
    ) -> None:
        """Prepare. Raises ConfigurationError when a copy that was begun is gone."""
        self._source = source
        self._path = state_dir / COPY_FILE
        self._begun = state_dir / SEEN_FILE
        self._keys = keys
        self._private_key = private_key
        self._on_fork = on_fork
        self._clock = clock
        self._witness: Witness | None = None
        self._told = ""
        self.state = state
        if self._begun.exists() and not self._path.exists():
            raise ConfigurationError(f"{self._path}: not there, but this watchdog has witnessed what it held")

    async def run(self) -> None:
        """Witness for ever."""
        while True:
            await self.step()
            await asyncio.sleep(WITNESS_EVERY_S)

    async def step(self) -> None:
        """Pull what is new and cosign. Never raises for what the executor or our disk does."""
        try:
            await self._cosign()
            self._note("")
            self.state.cosigned_at_ns = self._clock.monotonic_ns()
        except ForkProven as error:
            self._note(f"the executor's journal forked: {error}")
            if self.state.detail != self._told:
                self._told = self.state.detail
                self._on_fork(self.state.detail)
        except Withheld as error:
            self._note(str(error))
        except JournalError as error:
            self.close()  # after a failed write only a new opening knows what is there
            self._note(str(error))
        except TradeError as error:
            self._note(str(error))

    def close(self) -> None:
        """Close the copy; the next step opens it again."""
        if self._witness is not None:
            self._witness.close()
            self._witness = None

    async def _cosign(self) -> None:
        raw = await self._source.checkpoint()
        if self._witness is None:
            self._witness = await asyncio.to_thread(self._opened)
        witness = self._witness
        wanted = witness.read_checkpoint(raw).size
        last = min(wanted, witness.size + ROWS_A_ROUND_MAX)
        while witness.size < last:
            rows = await self._source.rows(witness.size, min(ROWS_A_PAGE, last - witness.size))
            if not rows:
                raise Withheld(f"the executor signed {wanted} rows and gives {witness.size}")
            await asyncio.to_thread(witness.take, rows)
            self.state.rows = witness.size
        if last < wanted:
            raise Withheld(f"catching up: {witness.size} of {wanted} rows of the executor's journal have been seen")
        await asyncio.to_thread(witness.cosign, raw, at_s=self._clock.wall_ns() // NS_PER_S)
        self.state.rows = witness.size

    def _opened(self) -> Witness:
        named = self._keys.witness
        assert named is not None
        url = f"sqlite:///{self._path.absolute()}"
        opened = Witness.open(url, log=self._keys.log, name=named.name, private_key=self._private_key)
        try:
            write_atomically(self._begun, b"1\n", mode=0o600)
        except OSError as error:
            opened.close()
            raise Withheld(f"{self._begun}: cannot be written: {error.strerror}") from error
        return opened

    def _note(self, detail: str) -> None:
        if detail and detail != self.state.detail:
            _log.warning("the executor's journal is not cosigned: %s", detail)
        self.state.detail = detail
