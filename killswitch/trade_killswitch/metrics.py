"""The executor's own metrics; labels come from closed sets. The console, or who may use the socket, reads them."""

from __future__ import annotations

from enum import StrEnum, unique

from prometheus_client import CollectorRegistry, Counter, Gauge

from trade_core.alerts.channels import ChannelKind
from trade_core.alerts.outbox import Fate
from trade_killswitch.procedure import Verdict


@unique
class RequestKind(StrEnum):
    """What is asked of the exchange."""

    READ = "read"
    CANCEL = "cancel"
    REDUCE = "reduce"
    REVOKE = "revoke"


@unique
class RequestResult(StrEnum):
    """How it ended; what brought no answer may have been carried out."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


class ExecutorMetrics:
    """Counters and gauges of one executor."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = Counter(
            "trade_executor_requests",
            "Requests to the exchange, by kind and how they ended",
            ["kind", "result"],
            registry=self.registry,
        )
        self.sweeps_proved = Counter(
            "trade_executor_sweeps_proved", "Sweeps that ended with a proof", registry=self.registry
        )
        self.sweep_running = self._gauge("trade_executor_sweep_running", "1 while a sweep goes on")
        self.sweep_pending = self._gauge("trade_executor_sweep_pending", "1 while a sweep has no proof after 20 s")
        self.working_orders = self._gauge(
            "trade_executor_working_orders", "Orders that must go, as the last reading of a sweep showed them"
        )
        self.key_verified = self._gauge(
            "trade_executor_key_verified", "1 once the exit key was found to have no more power than it needs"
        )
        self.ready = self._gauge("trade_executor_ready", "1 when the last look showed every part that a kill needs")
        self.armed = self._gauge("trade_executor_armed", "1 while a standing warrant holds and every part is ready")
        self.kill_running = self._gauge("trade_executor_kill_running", "1 while a kill is not complete and goes on")
        self.kill_steps_pending = self._gauge(
            "trade_executor_kill_steps_pending", "Steps of a kill that are out of their time and tried again"
        )
        self.kill_seconds = self._gauge("trade_executor_kill_seconds", "How long the last complete kill or drill took")
        self._kills = Counter(
            "trade_executor_kills",
            "Kills and drills, by what was reported of them",
            ["verdict"],
            registry=self.registry,
        )
        for verdict in Verdict:
            self._kills.labels(verdict.value)
        self.rows_lost = Counter(
            "trade_executor_rows_lost", "Rows that could not be written while a sweep went on", registry=self.registry
        )
        self.drill_overdue = self._gauge("trade_executor_drill_overdue", "1 while a kill drill is overdue")
        self.journal_rows = self._gauge("trade_executor_journal_rows", "Durable rows of the executor's journal")
        self.journal_writable = self._gauge("trade_executor_journal_writable", "1 while rows can be written")
        self._alerts = Counter(
            "trade_executor_alerts",
            "Messages to people, by the kind of channel and what became of them",
            ["channel", "fate"],
            registry=self.registry,
        )
        for channel in ChannelKind:
            for fate in Fate:
                self._alerts.labels(channel.value, fate.value)
        for kind in RequestKind:
            for result in RequestResult:
                self._requests.labels(kind.value, result.value)

    def count(self, kind: RequestKind, result: RequestResult) -> None:
        """Count one request."""
        self._requests.labels(kind.value, result.value).inc()

    def count_kill(self, verdict: Verdict) -> None:
        """Count one report of a kill."""
        self._kills.labels(verdict.value).inc()

    def count_alert(self, channel: ChannelKind, fate: Fate) -> None:
        """Count what became of a message on a channel."""
        self._alerts.labels(channel.value, fate.value).inc()

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)
