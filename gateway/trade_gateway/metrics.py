"""The gateway's own metrics. Names are documented in docs/metrics.md; labels come from closed sets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

# A creation time beside each counter doubles the lines and says nothing here.
disable_created_metrics()  # type: ignore[no-untyped-call]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Every metric of the gateway on one registry.

    What an order counts is looked up once: finding a counter by its labels costs four times as much as counting.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trade_gateway_requests",
            "Requests that the bot listener saw, parser refusals included.",
            ["outcome"],
            registry=self.registry,
        )
        self.denials = Counter(
            "trade_gateway_denials", "Requests denied by the gateway.", ["code"], registry=self.registry
        )
        self.orders = Counter(
            "trade_gateway_orders", "New orders by how they ended for the bot.", ["result"], registry=self.registry
        )
        self.cancels = Counter(
            "trade_gateway_cancels", "Cancels by how they ended for the bot.", ["result"], registry=self.registry
        )
        self.unknown_outcomes = Gauge(
            "trade_gateway_unknown_outcomes", "Orders whose effect is not known.", registry=self.registry
        )
        self.working_orders = Gauge(
            "trade_gateway_working_orders", "Orders that count as open.", registry=self.registry
        )
        self.working_stops = Gauge(
            "trade_gateway_working_stops",
            "Stops that wait at the exchange, the gateway's own among them.",
            registry=self.registry,
        )
        self.disaster_stops_missing = Gauge(
            "trade_gateway_disaster_stops_missing",
            "Positions that should have a disaster stop and could not get one.",
            registry=self.registry,
        )
        self.account_trusted = Gauge(
            "trade_gateway_account_trusted", "1 while the account view is trusted.", registry=self.registry
        )
        self.reference_age_seconds = Gauge(
            "trade_gateway_reference_age_seconds",
            "Since the coin's index price was last confirmed; infinite before the first time.",
            ["coin"],
            registry=self.registry,
        )
        self.second_price_age_seconds = Gauge(
            "trade_gateway_second_price_age_seconds",
            "Age of the coin's price at the second venue; absent while there is none.",
            ["coin"],
            registry=self.registry,
        )
        self.second_price_divergence_fraction = Gauge(
            "trade_gateway_second_price_divergence_fraction",
            "How far the second venue's price is from the exchange's own; absent while it cannot be told.",
            ["coin"],
            registry=self.registry,
        )
        self.second_prices_missing = Gauge(
            "trade_gateway_second_prices_missing",
            "Coins without a fresh second price although a lease has named a second venue.",
            registry=self.registry,
        )
        self.trading_state = Gauge(
            "trade_gateway_trading_state",
            "Effective trading state: 0 ACTIVE, 1 TRIMMED, 2 REDUCE_ONLY, 3 HALTED, 4 KILLED.",
            registry=self.registry,
        )
        self.lease_remaining_seconds = Gauge(
            "trade_gateway_lease_remaining_seconds", "How long the lease still lives.", registry=self.registry
        )
        self.hostile_loss_usdt = Gauge(
            "trade_gateway_hostile_loss_usdt",
            "The most that a fully hostile bot loses in 24 hours under the policy.",
            registry=self.registry,
        )
        self.stress_loss_usdt = Gauge(
            "trade_gateway_stress_loss_usdt", "The loss of one market gap at full exposure.", registry=self.registry
        )
        self.loss_unbounded = Gauge(
            "trade_gateway_loss_unbounded",
            "1 while the hostile loss, with what is held now, is not known to be within the ladder's rungs.",
            registry=self.registry,
        )
        self.policy_file_in_force = Gauge(
            "trade_gateway_policy_file_in_force",
            "1 while the policy file says what is in force; 0 when it needs a warrant or cannot be used.",
            registry=self.registry,
        )
        self.journal_rows = Gauge("trade_gateway_journal_rows", "Durable rows.", registry=self.registry)
        self.journal_witnessed_rows = Gauge(
            "trade_gateway_journal_witnessed_rows", "Rows that the watchdog has cosigned.", registry=self.registry
        )
        self.journal_is_writable = Gauge(
            "trade_gateway_journal_writable", "1 while rows can be written.", registry=self.registry
        )
        self.journal_emergency_rows = Gauge(
            "trade_gateway_journal_emergency_rows",
            "Rows that only the emergency segment holds; it takes 512.",
            registry=self.registry,
        )
        self.incidents = Counter("trade_gateway_incidents", "Incidents opened.", ["severity"], registry=self.registry)
        self.answer_seconds = Histogram(
            "trade_gateway_answer_seconds",
            "From the last byte of a request to its answer.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.streams = Gauge("trade_gateway_streams", "Open public stream relays.", registry=self.registry)
        self._placed: dict[str, Counter] = {}
        self._answered: dict[str, Histogram] = {}
        self._requested: dict[str, Counter] = {}

    def count_request(self, outcome: str) -> None:
        """Count a request that the bot listener saw."""
        counter = self._requested.get(outcome)
        if counter is None:
            counter = self._requested[outcome] = self.requests.labels(outcome=outcome)
        counter.inc()

    def count_order(self, result: str) -> None:
        """Count a new order by how it ended for the bot."""
        counter = self._placed.get(result)
        if counter is None:
            counter = self._placed[result] = self.orders.labels(result=result)
        counter.inc()

    def note_answer(self, route: str, seconds: float) -> None:
        """Note how long a request waited for its answer."""
        histogram = self._answered.get(route)
        if histogram is None:
            histogram = self._answered[route] = self.answer_seconds.labels(route=route)
        histogram.observe(seconds)
