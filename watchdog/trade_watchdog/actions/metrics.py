"""Metrics of the watchdog's hands; labels come from closed sets."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from trade_core.alerts.channels import ChannelKind
from trade_core.alerts.outbox import Fate


class ActionMetrics:
    """Counters of alerts and signs of life, and gauges that are read when they are scraped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._alerts = Counter(
            "trade_watchdog_alerts",
            "Messages to people, by the kind of channel and what became of them",
            ["channel", "fate"],
            registry=registry,
        )
        self._heartbeats = Counter(
            "trade_watchdog_heartbeats", "Signs of life, by whether they were taken", ["result"], registry=registry
        )
        self._silent = Gauge(
            "trade_watchdog_gateway_silent_seconds", "Since the gateway last answered anything", registry=registry
        )
        self._open = Gauge("trade_watchdog_alerts_unacknowledged", "Matters that wait for somebody", registry=registry)
        for kind in ChannelKind:
            for fate in Fate:
                self._alerts.labels(kind.value, fate.value)
        for result in ("taken", "failed"):
            self._heartbeats.labels(result)

    def count_alert(self, kind: ChannelKind, fate: Fate) -> None:
        """Count what became of a message on a channel."""
        self._alerts.labels(kind.value, fate.value).inc()

    def count_heartbeat(self, is_taken: bool) -> None:
        """Count a sign of life."""
        self._heartbeats.labels("taken" if is_taken else "failed").inc()

    def read_from(self, *, silent_s: Callable[[], float], open_matters: Callable[[], int]) -> None:
        """Say what the gauges read."""
        self._silent.set_function(silent_s)
        self._open.set_function(open_matters)
