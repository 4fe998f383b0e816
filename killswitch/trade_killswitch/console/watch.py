"""Looks at the other services again and again, and keeps what the page is made of.

Often while somebody looks at the page, seldom otherwise. The gateway's journal is followed at its end and read
backwards, a batch a look, until its beginning or BACKFILL_ROWS_MAX: what a night has left behind is found, and nobody
waits for it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.secrets import write_atomically
from trade_core.trust.ring import KeyRing
from trade_killswitch.console.curve import SAMPLES_MAX, Curve, Sample, parse_samples, sample_line
from trade_killswitch.console.digest import Digest, rows_of
from trade_killswitch.console.facts import ExecutorFacts, executor_facts, gateway_facts, watchdog_facts
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.panels import Readings
from trade_killswitch.console.ring_chain import RingChain, is_of
from trade_killswitch.console.sources import Asked, Reading, Source, Unreadable

LOOK_EVERY_S: Final = 1.0
LOOK_SELDOM_S: Final = 5.0
SOMEBODY_LOOKS_S: Final = 15
BATCH_ROWS: Final = 512
BACKFILL_ROWS_MAX: Final = 262_144
CURVE_FILE: Final = "curve.txt"
CURVE_BYTES_MAX: Final = 4 * 1024 * 1024
DENY_WORDS_MAX: Final = 1000
log = logging.getLogger(__name__)


class Watch:
    """What the console knows of the others."""

    def __init__(
        self,
        *,
        gateway: Asked,
        watchdog: Asked,
        executor: Asked,
        ring_file: Path,
        state_dir: Path,
        metrics: ConsoleMetrics,
        clock: Clock,
    ) -> None:
        self._gateway = Source(gateway, "/state", clock=clock)
        self._watchdog = Source(watchdog, "/state", clock=clock)
        self._executor = Source(executor, "/status", clock=clock)
        self.chain = RingChain(ring_file=ring_file, folder=state_dir)
        self._curve_file = state_dir / CURVE_FILE
        self._metrics = metrics
        self._clock = clock
        self._journal = JournalReader(gateway)
        self._deny_words: dict[str, tuple[str, str]] = {}
        self._curve = Curve(_kept(self._curve_file))
        self._looked_at_page_ns: int | None = None
        self._wake = asyncio.Event()

    @property
    def ring(self) -> KeyRing | None:
        """Return the key ring that counts, None while it cannot be read."""
        return self.chain.ring

    def executor_facts(self) -> ExecutorFacts | None:
        """Return what the executor said last, None when it cannot be read now."""
        reading = self._executor.reading
        return None if reading.failure or reading.document is None else executor_facts(reading.document)

    def kill_document(self) -> Any:
        """Return what the executor says of the kill that goes on, or of the last one, as it says it."""
        document = self._executor.reading.document
        return None if document is None else document.get("kill")

    def waiting_change(self) -> bytes | None:
        """Return the change of the ring that waits at the gateway, as the gateway says it; None when none does."""
        document = self._gateway.reading.document
        facts = None if document is None else gateway_facts(document)
        try:
            return None if facts is None or not facts.waiting_ring else base64.b64decode(facts.waiting_ring)
        except (ValueError, binascii.Error):
            return None

    def readings(self) -> Readings:
        """Return everything that is known, for a page that somebody looks at."""
        if self._looked_at_page_ns is None or not self._is_looked_at():
            self._wake.set()
        self._looked_at_page_ns = self._clock.monotonic_ns()
        return Readings(
            gateway=self._gateway.reading,
            watchdog=self._watchdog.reading,
            executor=self._executor.reading,
            digest=self._journal.digest,
            digest_from=self._journal.oldest,
            deny_words=self._deny_words,
            samples=self._curve.samples,
            ring=self.chain.ring,
            now_ns=self._clock.wall_ns(),
        )

    def executor_health(self) -> str:
        """Say whether the executor could be read at the last look: alive or unavailable."""
        return "unavailable" if self._executor.reading.failure else "alive"

    def look_soon(self) -> None:
        """Look at once: something was done that changes what there is to see."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled. What was not expected is logged, and the next look is as good as any."""
        self._rewrite_curve()
        while True:
            self._wake.clear()
            try:
                await self.look()
            except Exception:
                log.exception("a look at the other services failed")
            try:
                async with asyncio.timeout(LOOK_EVERY_S if self._is_looked_at() else LOOK_SELDOM_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Read everything once."""
        sources = (self._gateway, self._watchdog, self._executor)
        gateway, watchdog, _ = await asyncio.gather(*(source.read() for source in sources))
        for source in sources:
            self._metrics.note_source(source.service.name, is_read=not source.reading.failure)
        self.chain.begin()
        if not watchdog.failure:
            self._sample(watchdog)
        if not gateway.failure and gateway.document is not None:
            await self._read_gateway(gateway.document)

    async def _read_gateway(self, document: Mapping[str, Any]) -> None:
        try:
            if not self._deny_words:
                self._deny_words = _deny_words((await self._gateway.service.ask("GET", "/deny-codes")).document("it"))
            facts = gateway_facts(document)
            await self._journal.read(size=facts.journal_size or 0, deployment=facts.deployment)
            if facts.ring_hash and not is_of(self.chain.ring, facts.ring_hash):
                self.chain.follow(self._journal.digest.ring_changes)
        except Unreadable as error:
            log.debug("the gateway's journal is not read: %s", error)

    def _sample(self, watchdog: Reading) -> None:
        price = None if watchdog.document is None else watchdog_facts(watchdog.document).unit_price
        if price is None:
            return
        sample = Sample(at_ns=self._clock.wall_ns(), price=price)
        if self._curve.take(sample):
            _append(self._curve_file, sample_line(sample))

    def _rewrite_curve(self) -> None:
        text = "".join(sample_line(sample) for sample in self._curve.samples)
        write_atomically(self._curve_file, text.encode(), mode=0o600)

    def _is_looked_at(self) -> bool:
        at_ns = self._looked_at_page_ns
        return at_ns is not None and self._clock.monotonic_ns() - at_ns < SOMEBODY_LOOKS_S * NS_PER_S


class JournalReader:
    """Follows the gateway's journal and reads it backwards, a batch of rows at a time."""

    def __init__(self, gateway: Asked) -> None:
        self.digest = Digest()
        self.oldest: int | None = None
        self._next = 0
        self._deployment = ""
        self._gateway = gateway

    async def read(self, *, size: int, deployment: str) -> None:
        """Read the newest batch and one older. Raises Unreadable."""
        if deployment != self._deployment or size < self._next:
            # Another journal: nothing of the one before belongs to it.
            self.digest, self.oldest, self._next, self._deployment = Digest(), None, 0, deployment
        if self.oldest is None or size - self._next > BATCH_ROWS:
            self.oldest = self._next = max(0, size - BATCH_ROWS)
        if size > self._next:
            self._next += await self._take(self._next, size - self._next)
        if self.oldest > 0 and self._next - self.oldest < BACKFILL_ROWS_MAX:
            first = max(0, self.oldest - BATCH_ROWS)
            await self._take(first, self.oldest - first)
            self.oldest = first

    async def _take(self, first: int, count: int) -> int:
        answer = await self._gateway.ask("GET", f"/journal/entries?from={first}&limit={min(count, BATCH_ROWS)}")
        if answer.status != 200:
            raise Unreadable(f"/journal/entries: HTTP {answer.status}")
        rows = rows_of(answer.body)
        for row in rows:
            self.digest.take(row)
        return len(rows)


def _deny_words(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    words = {}
    for code, said in list(document.items())[:DENY_WORDS_MAX]:
        if isinstance(said, Mapping):
            words[code] = (str(said.get("meaning", "")), str(said.get("remedy", "")))
    return words


def _kept(file: Path) -> list[Sample]:
    try:
        return parse_samples(file.read_text(encoding="ascii", errors="replace")[-CURVE_BYTES_MAX:])
    except OSError:
        return []


def _append(file: Path, line: str) -> None:
    try:
        if file.exists() and file.stat().st_size > CURVE_BYTES_MAX:
            kept = file.read_text(encoding="ascii").splitlines(keepends=True)[-SAMPLES_MAX:]
            write_atomically(file, "".join(kept).encode(), mode=0o600)
        with file.open("a", encoding="ascii") as out:
            out.write(line)
    except OSError as error:
        log.debug("the curve is not kept: %s", error.strerror)
