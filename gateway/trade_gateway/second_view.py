"""What /state and the metrics say of the second venue: whom the leases name, and which coins lack its price."""

from __future__ import annotations

from typing import Any

from prometheus_client import Gauge

from trade_gateway.account.reference_feed import ReferenceFeed
from trade_gateway.metrics import Metrics
from trade_gateway.second_prices import SecondPrices


def describe_venue(second: SecondPrices, feed: ReferenceFeed) -> dict[str, Any]:
    """Name the venue, and the coins without a fresh price of it; none is missed while no lease has named a venue."""
    return {"name": second.venue, "missing": missing_coins(second, feed)}


def missing_coins(second: SecondPrices, feed: ReferenceFeed) -> list[str]:
    """List the coins whose second price is expected and does not count."""
    if second.venue is None:
        return []
    return [coin for coin in feed.coins if feed.second(coin).flaw is not None]


def update_second_gauges(metrics: Metrics, second: SecondPrices, feed: ReferenceFeed) -> None:
    """Bring the gauges up to date; a coin without a second price has no age and no divergence to show."""
    metrics.second_prices_missing.set(len(missing_coins(second, feed)))
    for coin in feed.coins:
        view = feed.second(coin)
        _show(metrics.second_price_age_seconds, coin, view.age_s)
        _show(
            metrics.second_price_divergence_fraction, coin, None if view.divergence is None else float(view.divergence)
        )


def _show(gauge: Gauge, coin: str, value: float | None) -> None:
    if value is not None:
        gauge.labels(coin=coin).set(value)
    else:
        gauge.remove_by_labels({"coin": coin})
