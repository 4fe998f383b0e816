"""The watchdog's own metrics; labels come from closed sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from trade_core.clock import NS_PER_S, Clock
from trade_watchdog.auditor import Auditor
from trade_watchdog.ceiling import Ceiling, Finding
from trade_watchdog.ladder import Rung, RungReading, Stage
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.quotes import QuoteFinding
from trade_watchdog.status import LeaseResult, Phase, Status

_NEVER = float("nan")


def _read_rung(keeper: LadderKeeper, rung: Rung, read: Callable[[RungReading], float]) -> float:
    return next(read(reading) for reading in keeper.ladder.readings() if reading.rung is rung)


class WatchdogMetrics:
    """Counters of what happened and gauges that read the status when they are scraped."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        status: Status,
        keeper: LadderKeeper,
        auditor: Auditor,
        clock: Clock,
    ) -> None:
        self.samples = Counter(
            "trade_watchdog_equity_samples",
            "Attempts to read the equity, by what they found",
            ["finding"],
            registry=registry,
        )
        self.leases = Counter(
            "trade_watchdog_leases", "Attempts to send a lease, by how they ended", ["result"], registry=registry
        )
        self.second_quotes = Counter(
            "trade_watchdog_second_quotes",
            "Quotes asked of the second venue, by what they found",
            ["finding"],
            registry=registry,
        )
        for quote_finding in QuoteFinding:
            self.second_quotes.labels(quote_finding.value)
        for finding in Finding:
            self.samples.labels(finding.value)
        for result in LeaseResult:
            self.leases.labels(result.value)
        self._add_gauges(registry, status, clock)
        self._add_ladder(registry, keeper)
        self._add_audit(registry, auditor, clock)

    @staticmethod
    def _add_ladder(registry: CollectorRegistry, keeper: LadderKeeper) -> None:
        def gauge(name: str, text: str, read: Callable[[RungReading], float]) -> None:
            made = Gauge(name, text, ["rung"], registry=registry)
            for rung in Rung:
                made.labels(rung.value).set_function(partial(_read_rung, keeper, rung, read))

        gauge(
            "trade_watchdog_rung_drawdown",
            "Fraction that the unit price is below the rung's peak",
            lambda reading: _NEVER if reading.drawdown is None else float(reading.drawdown),
        )
        gauge(
            "trade_watchdog_rung_threshold",
            "Fraction at which the rung trips",
            lambda reading: float(reading.fraction),
        )
        gauge(
            "trade_watchdog_rung_fired",
            "1 while the rung has fired and nothing has ended it",
            lambda reading: reading.stage is not Stage.ARMED,
        )
        Gauge("trade_watchdog_unit_price", "Price of a unit of the account", registry=registry).set_function(
            lambda: _NEVER if keeper.book is None else float(keeper.book.price)
        )
        Gauge(
            "trade_watchdog_actions_pending", "Actions that a rung demands and that fail so far", registry=registry
        ).set_function(lambda: sum(bool(pursuit.failure) for pursuit in keeper.pursuits.values()))
        Gauge(
            "trade_watchdog_journal_writable", "1 when the watchdog's own journal takes rows", registry=registry
        ).set_function(lambda: keeper.history.is_writable)

    @staticmethod
    def _add_audit(registry: CollectorRegistry, auditor: Auditor, clock: Clock) -> None:
        state = auditor.state

        def gauge(name: str, text: str, read: Callable[[], float]) -> None:
            Gauge(name, text, registry=registry).set_function(read)

        def age(at_ns: int | None) -> float:
            return _NEVER if at_ns is None else (clock.monotonic_ns() - at_ns) / NS_PER_S

        gauge(
            "trade_watchdog_audit_age_seconds",
            "Time since the orders at the exchange were last looked at in full",
            lambda: age(state.looked_at_ns),
        )
        gauge(
            "trade_watchdog_keys_age_seconds",
            "Time since the keys of the account were last read",
            lambda: age(state.keys_read_at_ns),
        )
        gauge("trade_watchdog_rogue_orders", "Rogue orders found since the start", lambda: state.rogue_orders)
        gauge("trade_watchdog_unproven_orders", "Orders that nothing proves ours or not", lambda: state.unproven)
        gauge("trade_watchdog_key_alarms", "Keys that are not as they should be", lambda: len(state.key_alarms))
        gauge(
            "trade_watchdog_posture_alarms",
            "Settings, loans and algorithms of the account that are not as they should be",
            lambda: len(state.posture_alarms),
        )
        gauge("trade_watchdog_limit_alarms", "Limits exceeded at the last look", lambda: len(state.limit_alarms))
        gauge(
            "trade_watchdog_audit_actions_pending",
            "Halts and kill requests of the audit that are not done",
            lambda: len(auditor.duties.owed),
        )

    @staticmethod
    def _add_gauges(registry: CollectorRegistry, status: Status, clock: Clock) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        def age(at_ns: int | None) -> float:
            return _NEVER if at_ns is None else (clock.monotonic_ns() - at_ns) / NS_PER_S

        frames = Gauge(
            "trade_watchdog_stream_frames",
            "Entries that a stream has told since the start",
            ["stream"],
            registry=registry,
        )
        gauge("trade_watchdog_equity_usdt", "Last believed total equity").set_function(
            lambda: float(status.last_good.equity_usdt) if status.last_good else _NEVER
        )
        gauge("trade_watchdog_equity_age_seconds", "Age of the last believed equity").set_function(
            lambda: age(status.last_good.received_monotonic_ns if status.last_good else None)
        )
        gauge(
            "trade_watchdog_exchange_clock_offset_seconds", "How far the exchange's clock is ahead of ours"
        ).set_function(lambda: _NEVER if status.clock_offset_ms is None else status.clock_offset_ms / 1000)
        gauge("trade_watchdog_lease_age_seconds", "Time since the gateway last counted a lease").set_function(
            lambda: age(status.lease_accepted_at_ns)
        )
        gauge("trade_watchdog_lease_generation", "Generation of the last counted lease").set_function(
            lambda: status.lease.generation if status.lease else 0
        )
        gauge("trade_watchdog_lease_second_prices", "Second prices in the last counted lease").set_function(
            lambda: len(status.lease.second_prices) if status.lease else 0
        )
        gauge("trade_watchdog_witnessed_rows", "Rows of the gateway's journal in this watchdog's copy").set_function(
            lambda: status.witnessed_rows
        )
        for name, stream in (("account", status.account_stream), ("prices", status.price_stream)):
            frames.labels(name).set_function(partial(getattr, stream, "frames"))
        gauge(
            "trade_watchdog_executor_journal_age_seconds", "Time since the executor's journal was cosigned"
        ).set_function(lambda: age(status.executor_journal.cosigned_at_ns))
        gauge("trade_watchdog_ceiling_active", "1 when the ceiling vouched for is ACTIVE").set_function(
            lambda: status.verdict.ceiling is Ceiling.ACTIVE
        )
        gauge("trade_watchdog_key_verified", "1 once the exchange key was found harmless").set_function(
            lambda: status.phase is Phase.WATCHING
        )
