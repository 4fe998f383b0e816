"""The watchdog's own metrics; labels come from closed sets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from trade_core.clock import NS_PER_S, Clock
from trade_watchdog.ceiling import Ceiling, Finding
from trade_watchdog.quotes import QuoteFinding
from trade_watchdog.status import LeaseResult, Phase, Status

_NEVER = float("nan")


class WatchdogMetrics:
    """Counters of what happened and gauges that read the status when they are scraped."""

    def __init__(self, *, registry: CollectorRegistry, status: Status, clock: Clock) -> None:
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

    @staticmethod
    def _add_gauges(registry: CollectorRegistry, status: Status, clock: Clock) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        def age(at_ns: int | None) -> float:
            return _NEVER if at_ns is None else (clock.monotonic_ns() - at_ns) / NS_PER_S

        gauge("trade_watchdog_equity_usdt", "Last believed total equity").set_function(
            lambda: float(status.last_good.equity_usdt) if status.last_good else _NEVER
        )
        gauge("trade_watchdog_equity_age_seconds", "Age of the last believed equity").set_function(
            lambda: age(status.last_good.received_monotonic_ns if status.last_good else None)
        )
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
        gauge("trade_watchdog_ceiling_active", "1 when the ceiling vouched for is ACTIVE").set_function(
            lambda: status.verdict.ceiling is Ceiling.ACTIVE
        )
        gauge("trade_watchdog_key_verified", "1 once the exchange key was found harmless").set_function(
            lambda: status.phase is Phase.WATCHING
        )
