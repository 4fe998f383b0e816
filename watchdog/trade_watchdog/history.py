"""What the watchdog must remember, as rows of its own journal: written soon, read back at the start.

Guarantees
- One row of `equity:sampled` holds the whole memory but for the rolling peaks: units, price, balances, how far the
  exchange's log was applied, the high-water mark, where each rung stands. The last such row is where a start goes on.
- The rolling peaks come from the rows of the longest window. Between two rows lies at most ROW_EVERY_S; a new high of
  more than HIGH_STEP is written at once. So a death forgets no peak but one that lay less than a hundredth of a percent
  above what is written.
- The ladder's settings stand in each row, so that a start with looser ones is refused: see `check_ratchet`.
- A file that is gone, or a journal whose rows are not ours, refuses the start. Nothing begins anew by itself.

A row that the disk does not take is kept by the writer, within its bound; `is_writable` says whether rows become
durable, and the caller permits no new risk without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import Clock
from trade_core.errors import ConfigurationError, InvalidNumber
from trade_core.money import format_decimal, parse_exchange_decimal
from trade_core.trust.ring import KeyRing, ring_hash
from trade_journal.errors import JournalDamaged, JournalError
from trade_journal.log.checkpoint import LogSigner, signer_name
from trade_journal.log.rows import Entry, Fields, Row, RowKind
from trade_journal.store.records import READ_ROWS_MAX
from trade_journal.writer.writer import JournalWriter
from trade_watchdog.audit.reconciliation import Reconciliation
from trade_watchdog.effects import Severity
from trade_watchdog.equity import Book, Flow, LogMark
from trade_watchdog.ladder import WINDOW_MS, Change, Ladder, LadderMemory, Move, Rung, Stage, Thresholds
from trade_watchdog.movements import Announcement
from trade_watchdog.own_incidents import OwnIncidents
from trade_watchdog.releases import Position

JOURNAL_FILE: Final = "watchdog.db"
_VOUCHED: Final = "this watchdog has vouched by what it held; put it back from a copy"
ACTOR: Final = "watchdog"
ANNOUNCED: Final = "announced"
SEEN: Final = "seen"
ROGUE_OUTFLOW: Final = "outflow nobody announced"
HALT: Final = "halt"
_QUANTUM: Final = Decimal("1e-18")
_EXACT: Final = Context(prec=64)
_LONGEST_MS: Final = max(ms for ms in WINDOW_MS.values() if ms is not None)
_KINDS: Final = {
    Move.FIRED: RowKind.RUNG_FIRED,
    Move.CLEARED: RowKind.RUNG_CLEARED,
    Move.ACKNOWLEDGED: RowKind.RUNG_ACKNOWLEDGED,
    Move.REBASED: RowKind.RUNG_REBASED,
}
_STAGES: Final = {
    RowKind.RUNG_FIRED: Stage.FIRED,
    RowKind.RUNG_CLEARED: Stage.ARMED,
    RowKind.RUNG_ACKNOWLEDGED: Stage.ACKNOWLEDGED,
    RowKind.RUNG_REBASED: Stage.ARMED,
}
RING_ROW_WITHIN_S: Final = 5.0
FIRST_SIGNED_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a start goes on with: the book, the ladder's memory, and how far the gateway's journal has been read."""

    book: Book
    memory: LadderMemory
    thresholds: Thresholds
    position: Position
    announcements: tuple[Announcement, ...] = ()
    rogue_outflow: str = ""
    """The last outflow that nobody announced, while no row says that the gateway was halted for it."""


class History:
    """The watchdog's own journal, open for writing."""

    def __init__(self, journal: JournalWriter, *, clock: Clock) -> None:
        """Use `open` instead."""
        self.journal = journal
        self.is_urgent = asyncio.Event()
        self._clock = clock
        self._is_begun = False
        self._signed = b""
        self.incidents = OwnIncidents(journal=journal, clock=clock)

    @classmethod
    async def open(
        cls, state_dir: Path, *, ring: KeyRing, log_key: Ed25519PrivateKey, clock: Clock, has_vouched: bool
    ) -> History:
        """Open or begin the journal in the state folder.

        Raises ConfigurationError when it is gone or empty although this watchdog has vouched, and JournalError.
        """
        path = state_dir / JOURNAL_FILE
        if has_vouched and not path.exists():
            raise ConfigurationError(f"{path}: not there, but {_VOUCHED}")
        origin = signer_name(environment=ring.environment, account=ring.account, service=ACTOR)
        signer = LogSigner(origin=origin, private_key=log_key, ring_hash=ring_hash(ring))
        journal = await JournalWriter.open(f"sqlite:///{path.absolute()}", origin=origin, clock=clock, signer=signer)
        if has_vouched and not journal.size:
            await journal.close()
            raise ConfigurationError(f"{path}: holds no rows, but {_VOUCHED}")
        return cls(journal, clock=clock)

    @property
    def is_writable(self) -> bool:
        """Say whether what is remembered now will outlive the process."""
        return self.journal.is_writable

    def begin(self, *, settings: Mapping[str, str], ring: KeyRing) -> int:
        """Write that the watchdog runs, and with which settings; answers how many rows there were before."""
        rows = self.journal.size
        self._is_begun = True
        self._write(RowKind.PROCESS_STARTED, {"process": ACTOR, "ring_hash": ring_hash(ring)})
        self._write(RowKind.CONFIG_LOADED, {"settings": settings})
        return rows

    def sampled(
        self,
        *,
        book: Book,
        equity_usdt: Decimal,
        high: Decimal | None,
        memory: LadderMemory,
        thresholds: Thresholds,
        position: Position,
    ) -> None:
        """Write the whole memory. `high` is the highest confirmed price since the row before."""
        self._write(
            RowKind.EQUITY_SAMPLED,
            {
                "equity_usdt": _text(equity_usdt),
                "unit_price": _text(book.price),
                "units": _text(book.units),
                "high": None if high is None else _text(high),
                "balances": {coin: _text(amount) for coin, amount in book.balances.items()},
                "prices": {coin: _text(price) for coin, price in book.prices.items()},
                "log_entry": book.mark.entry_id,
                "log_time_ms": book.mark.at_ms,
                "observed_ms": memory.observed_ms,
                "exchange_time_ms": memory.at_ms,
                "high_water": None if memory.high_water is None else _text(memory.high_water),
                "stages": {rung.value: stage.value for rung, stage in memory.stages.items()},
                "since_ms": {rung.value: since_ms for rung, since_ms in memory.since_ms.items()},
                "thresholds": {rung.value: _text(part) for rung, part in thresholds.fractions.items()},
                "trim_scale": _text(thresholds.trim_scale),
                "gateway_rows": position.rows,
                "gateway_latch": position.latch,
            },
        )

    def flowed(self, flow: Flow, *, is_announced: bool) -> None:
        """Write that money came or went."""
        self._write(
            RowKind.EQUITY_FLOWED,
            {
                "log_entry": flow.entry_id,
                "type": flow.kind,
                "coin": flow.coin,
                "amount": _text(flow.amount),
                "value_usdt": _text(flow.value_usdt),
                "log_time_ms": flow.at_ms,
                "is_announced": is_announced,
            },
        )

    def absorbed(self, value_usdt: Decimal) -> None:
        """Write that an unexplained step counts from now on."""
        self._write(RowKind.EQUITY_ABSORBED, {"value_usdt": _text(value_usdt)})

    def moved(self, change: Change, *, observed_ms: int, by: str) -> None:
        """Write what happened to a rung and who did it: the ladder itself, or a person."""
        self.is_urgent.set()
        self._write(
            _KINDS[change.move],
            {
                "rung": change.rung.value,
                "unit_price": None if change.price is None else _text(change.price),
                "peak": None if change.peak is None else _text(change.peak),
                "drawdown": None if change.drawdown is None else _text(change.drawdown),
                "observed_ms": observed_ms,
                "by": by,
            },
        )

    def acted(self, action: str, *, reason: str, failure: str = "") -> None:
        """Write that an action came about, or why it did not."""
        kind = RowKind.ACTION_FAILED if failure else RowKind.ACTION_DONE
        self._write(kind, {"action": action, "reason": reason, "failure": failure or None})

    def announced(self, announcement: Announcement, *, by: str) -> None:
        """Write what a person says will leave, and who said so."""
        self.is_urgent.set()
        self._write(
            RowKind.CAPITAL_MOVEMENT_RECORDED,
            {
                "movement_id": announcement.movement_id,
                "direction": "out",
                "coin": announcement.coin,
                "amount": _text(announcement.amount),
                "status": ANNOUNCED,
                "announced_at_ms": announcement.at_ms,
                "by": by,
            },
        )

    def moved_capital(self, flow: Flow, *, movement_id: str) -> None:
        """Write that money has moved; `movement_id` is that of the announcement if there was one."""
        self._write(
            RowKind.CAPITAL_MOVEMENT_RECORDED,
            {
                "movement_id": movement_id,
                "direction": "out" if flow.amount < 0 else "in",
                "coin": flow.coin,
                "amount": _text(abs(flow.amount)),
                "status": SEEN,
                "confirm_txn": flow.entry_id,
            },
        )

    def reconciled(self, found: Reconciliation) -> None:
        """Write how journal, drop copy and statement compare for one day."""
        self._write(
            RowKind.RECONCILIATION_RECORDED,
            {
                "day": found.day,
                "executions": found.executions,
                "statement_trades": found.statement_trades,
                "orders": found.orders,
                "orders_of_others": found.orders_of_others,
                "differing": found.differing,
                "differences": list(found.differences),
            },
        )

    def open_incident(self, *, kind: str, severity: Severity, fields: Mapping[str, str]) -> None:
        """Write an incident, as the audit finds them."""
        self.is_urgent.set()
        self._write(RowKind.INCIDENT_OPENED, {"type": kind, "severity": severity.value, **fields})

    async def ring_row(self, kind: str, fields: Fields) -> bool:
        """Write what became of a key ring; True once it is durable."""
        self.is_urgent.set()
        entry = Entry(at_ns=self._clock.wall_ns(), kind=RowKind(kind), actor=ACTOR, fields=fields)
        try:
            async with asyncio.timeout(RING_ROW_WITHIN_S):
                await self.journal.append(entry)
        except (JournalError, TimeoutError) as error:
            _log.error("a row of %s is not known to be written: %s", kind, error or type(error).__name__)
            return False
        return True

    def _write(self, kind: RowKind, fields: Fields) -> None:
        try:
            self.journal.append_later(Entry(at_ns=self._clock.wall_ns(), kind=kind, actor=ACTOR, fields=fields))
        except JournalError as error:
            # `is_writable` is false then, or becomes so: no new risk. What was to be remembered still counts meanwhile.
            _log.error("a row of %s is lost: %s", kind.value, error)

    async def keep_signed(self, *, every_s: float) -> None:
        """Have the journal signed now and then, so that others can verify it, and at once after what must not wait.

        A checkpoint stands for durable rows, so that what was handed over before it is durable with it. The first rows
        of a run are signed soon: a journal without a checkpoint over any of its rows proves nothing to anybody.
        """
        wait_s = min(every_s, FIRST_SIGNED_S)
        while True:
            self.is_urgent.clear()
            try:
                self._signed = await self.journal.checkpoint()
            except JournalError as error:
                _log.warning("the watchdog's journal could not be signed: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.is_urgent.wait()
            wait_s = every_s

    async def last_signed(self) -> str:
        """Give the last checkpoint of this run, signed now when there is none yet. Raises JournalError."""
        if not self._signed:
            self._signed = await self.journal.checkpoint()
        return self._signed.decode()

    async def restore(self, ladder: Ladder) -> Remembered | None:
        """Read back what was remembered, the peaks straight into the ladder; None when nothing ever was.

        Raises JournalDamaged for rows that do not say what they must, and JournalError.
        """
        try:
            rows = await self._rows_of_longest_window()
            last = next((row for row in reversed(rows) if row.kind is RowKind.EQUITY_SAMPLED), None)
            if last is None:
                return None
            for row in rows:
                _recall(row, ladder)
            return replace(
                _remembered(last, [row for row in rows if row.seq > last.seq]),
                announcements=_announcements(rows),
                rogue_outflow=_rogue_outflow(rows),
            )
        except (KeyError, ValueError, TypeError, InvalidNumber) as error:
            raise JournalDamaged(f"a row of {JOURNAL_FILE} says not what it must: {type(error).__name__}") from error

    async def _rows_of_longest_window(self) -> list[Row]:
        """Read backwards from the end until the rows are older than the longest window by observed time."""
        found: list[Row] = []
        end, newest_ms = self.journal.size, None
        while end > 0:
            start = max(0, end - READ_ROWS_MAX)
            page = await self.journal.read(start, end - start)
            found = [*page, *found]
            end = start
            times_ms = [_integer(row.fields, "observed_ms") for row in page if row.kind is RowKind.EQUITY_SAMPLED]
            if not times_ms:
                continue
            newest_ms = times_ms[-1] if newest_ms is None else newest_ms
            if times_ms[0] < newest_ms - _LONGEST_MS - _LONGEST_MS // 100:
                break
        return found

    async def close(self) -> None:
        """Let what is pending become durable, and end."""
        if self._is_begun:
            self._write(RowKind.PROCESS_STOPPED, {"process": ACTOR})
        try:
            await self.journal.close()
        except JournalError as error:
            _log.error("the journal did not close in order: %s", error)


def check_ratchet(*, asked: Thresholds, stood: Thresholds) -> None:
    """Refuse settings of the ladder that are looser than those it stood at. Raises ConfigurationError naming them."""
    looser = [
        f"{rung.value}_fraction: {format_decimal(fraction)} is looser than {format_decimal(stood.fractions[rung])}"
        for rung, fraction in asked.fractions.items()
        if fraction > stood.fractions[rung]
    ]
    if asked.trim_scale > stood.trim_scale:
        scales = f"{format_decimal(asked.trim_scale)} is looser than {format_decimal(stood.trim_scale)}"
        looser.append(f"trim_scale: {scales}")
    if looser:
        raise ConfigurationError("; ".join(looser) + ", which stood before; only tightening is free")


def _recall(row: Row, ladder: Ladder) -> None:
    fields = row.fields
    match row.kind:
        case RowKind.EQUITY_SAMPLED:
            if fields["high"] is not None:
                ladder.recall_peak(_decimal(fields["high"]), observed_ms=_integer(fields, "observed_ms"))
        case RowKind.RUNG_REBASED:
            price = _decimal(fields["unit_price"])
            ladder.recall_rebase(Rung(fields["rung"]), price, observed_ms=_integer(fields, "observed_ms"))
        case _:
            pass


def _remembered(last: Row, later: Sequence[Row]) -> Remembered:
    fields = last.fields
    stages = {Rung(name): Stage(stage) for name, stage in _mapping(fields, "stages").items()}
    since_ms = {Rung(name): _whole(value) for name, value in _mapping(fields, "since_ms").items()}
    for row in later:
        if row.kind in _STAGES:
            stages[Rung(row.fields["rung"])] = _STAGES[row.kind]
    if set(stages) != set(Rung) or set(since_ms) != set(Rung):
        raise ValueError("a rung is missing")
    high_water = fields["high_water"]
    return Remembered(
        book=Book(
            units=_decimal(fields["units"]),
            price=_decimal(fields["unit_price"]),
            balances={coin: _decimal(amount) for coin, amount in _mapping(fields, "balances").items()},
            prices={coin: _decimal(price) for coin, price in _mapping(fields, "prices").items()},
            mark=LogMark(entry_id=str(fields["log_entry"]), at_ms=_integer(fields, "log_time_ms")),
        ),
        memory=LadderMemory(
            observed_ms=_integer(fields, "observed_ms"),
            at_ms=_integer(fields, "exchange_time_ms"),
            high_water=None if high_water is None else _decimal(high_water),
            stages=stages,
            since_ms=since_ms,
        ),
        thresholds=Thresholds(
            fractions={Rung(name): _decimal(part) for name, part in _mapping(fields, "thresholds").items()},
            trim_scale=_decimal(fields["trim_scale"]),
        ),
        position=Position(rows=_integer(fields, "gateway_rows"), latch=_integer(fields, "gateway_latch")),
    )


def _announcements(rows: Sequence[Row]) -> tuple[Announcement, ...]:
    """Return what was announced and not seen yet."""
    waiting: dict[str, Announcement] = {}
    for row in rows:
        if row.kind is not RowKind.CAPITAL_MOVEMENT_RECORDED:
            continue
        movement_id = str(row.fields["movement_id"])
        if row.fields["status"] == ANNOUNCED:
            waiting[movement_id] = Announcement(
                movement_id=movement_id,
                coin=str(row.fields["coin"]),
                amount=_decimal(row.fields["amount"]),
                at_ms=_integer(row.fields, "announced_at_ms"),
            )
        else:
            waiting.pop(movement_id, None)
    return tuple(waiting.values())


def _rogue_outflow(rows: Sequence[Row]) -> str:
    """Return the last outflow that nobody announced; empty when there was none, or the gateway was halted for it."""
    detail = ""
    for row in rows:
        if row.kind is RowKind.INCIDENT_OPENED and row.fields["type"] == ROGUE_OUTFLOW:
            detail = str(row.fields["detail"])
        elif row.kind is RowKind.ACTION_DONE and row.fields["action"] == HALT and detail in str(row.fields["reason"]):
            detail = ""
    return detail


def _text(value: Decimal) -> str:
    """Write a number with at most 18 digits after the point, as `parse_exchange_decimal` reads it; rounded down."""
    return format_decimal(value.quantize(_QUANTUM, rounding=ROUND_FLOOR, context=_EXACT))


def _decimal(value: object) -> Decimal:
    return parse_exchange_decimal(value)


def _integer(fields: Fields, name: str) -> int:
    return _whole(fields[name])


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _mapping(fields: Fields, name: str) -> Mapping[str, object]:
    value = fields[name]
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is not a mapping")
    return value
