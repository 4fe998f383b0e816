"""What the demo knows about the running stack: filled by the observers, read by the screen, verdict and summary.

Foreign texts (codes, messages of the services) are neutralised when they enter, so that no reader has to.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from trade_core.clock import NS_PER_S, Clock
from trade_core.logs import neutralise

MAX_TEXT_CHARACTERS = 200
# What a slow reader may have to catch up with; older happenings are dropped, the counters stay exact.
MAX_UNSHOWN = 1000


class HappeningKind(StrEnum):
    """What a happening is about."""

    STEP = "step"
    PROCESS = "process"
    STATE = "state"
    ORDER = "order"
    CANCEL = "cancel"
    DENIED = "denied"
    FILL = "fill"
    PROBLEM = "problem"
    SCENARIO = "scenario"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing worth a line. `at_ns` is UTC."""

    at_ns: int
    kind: HappeningKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution on the bot's account, as the simulated exchange itself reports it. `at_ns` is UTC."""

    execution_id: str
    at_ns: int
    order_link_id: str  # the gateway's tag; the same text stands in its intent row
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    is_exit: bool
    is_maker: bool

    @property
    def notional_usdt(self) -> Decimal:
        """Return its value."""
        return self.price * self.quantity


@dataclass(slots=True)
class Counts:
    """Totals since the start: the journal's rows and the exchange's executions."""

    orders_intended: int = 0
    orders_acknowledged: int = 0
    cancels: int = 0
    denials: Counter[str] = field(default_factory=Counter)
    entry_fills: int = 0
    exit_fills: int = 0
    journaled_entry_fills: int = 0
    journaled_exit_fills: int = 0
    taker_fills: int = 0
    turnover_usdt: Decimal = Decimal(0)


class View:
    """The present state of everything, and what happened since a reader last asked."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.started_wall_ns = clock.wall_ns()
        self._started_monotonic_ns = clock.monotonic_ns()
        self.headline = "starting"
        self.console = "not started"
        self.prices: dict[str, Decimal] = {}
        self.trading_state = "not started"
        self.reasons: tuple[str, ...] = ()
        self.lease_age_s: Decimal | None = None
        self.hostile_loss_usdt = "unknown"
        self.stress_loss_usdt = "unknown"
        self.equity_usdt: Decimal | None = None
        self.first_equity_usdt: Decimal | None = None
        self.working_orders = 0
        self.journal_rows = 0
        self.first_ack_s: Decimal | None = None
        self.tick_lag_p99_ms: Decimal | None = None
        self.freqtrade_state = "not started"
        self.processes: dict[str, str] = {}
        self.counts = Counts()
        self._unshown: deque[Happening] = deque(maxlen=MAX_UNSHOWN)

    def elapsed_s(self) -> int:
        """Return whole seconds since the start."""
        return (self._clock.monotonic_ns() - self._started_monotonic_ns) // NS_PER_S

    def seconds_after_start(self, at_wall_ns: int) -> Decimal:
        """Return how long after the start a row was written, in tenths of a second."""
        return (Decimal(at_wall_ns - self.started_wall_ns) / NS_PER_S).quantize(Decimal("0.1"))

    def happened(self, kind: HappeningKind, text: str, *, at_ns: int | None = None) -> None:
        """Note something worth a line, at this moment unless its own time is known."""
        moment = self._clock.wall_ns() if at_ns is None else at_ns
        self._unshown.append(Happening(at_ns=moment, kind=kind, text=clean(text)))

    def take_happenings(self) -> list[Happening]:
        """Return what happened since the last call, oldest first whoever noticed it first."""
        taken = sorted(self._unshown, key=lambda item: item.at_ns)
        self._unshown.clear()
        return taken

    def note_equity(self, equity_usdt: Decimal) -> None:
        """Take over the account's present equity; the first one is kept for the summary."""
        if self.first_equity_usdt is None:
            self.first_equity_usdt = equity_usdt
        self.equity_usdt = equity_usdt

    def note_state(self, state: str, reasons: tuple[str, ...]) -> None:
        """Take over the gateway's effective trading state with why it is not ACTIVE."""
        shown, why = clean(state), tuple(clean(reason) for reason in reasons)
        if shown != self.trading_state:
            because = f" ({'; '.join(why)})" if why else ""
            self.happened(HappeningKind.STATE, f"trading state {self.trading_state} -> {shown}{because}")
        self.trading_state, self.reasons = shown, why

    def note_fill(self, fill: Fill) -> None:
        """Count an execution that the exchange reports."""
        counts = self.counts
        if fill.is_exit:
            counts.exit_fills += 1
        else:
            counts.entry_fills += 1
        counts.taker_fills += not fill.is_maker
        counts.turnover_usdt += fill.notional_usdt
        role = "exit" if fill.is_exit else "entry"
        kind = "maker" if fill.is_maker else "taker"
        text = f"{role} {fill.side} {fill.quantity} {fill.symbol} at {fill.price} ({kind})"
        self.happened(HappeningKind.FILL, text, at_ns=fill.at_ns)

    def note_journaled(self, fill: Fill) -> None:
        """Count an execution whose order has its intent in the gateway's journal."""
        if fill.is_exit:
            self.counts.journaled_exit_fills += 1
        else:
            self.counts.journaled_entry_fills += 1


def clean(text: str) -> str:
    """Return foreign text fit for a terminal."""
    return neutralise(text, limit=MAX_TEXT_CHARACTERS)
