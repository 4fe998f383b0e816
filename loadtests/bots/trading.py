"""Bots that trade as freqtrade does: look at the account and the market, place an order, look at it, cancel it."""

from __future__ import annotations

import itertools
import time
from typing import Any

from locust import constant_pacing, task

from bots.limits import Limit
from bots.signed_user import SignedUser, Stage

SYMBOL = "XRPUSDT"
PRICE_DIGITS = 3
_CALM_PACE_S = 0.5
LEAST_USDT = 20
# The order has ended already, on linear and on spot: that is what a cancel wants.
GONE = frozenset({0, 110001, 170213})


class Bot(SignedUser):
    """One bot. Its orders have a quantity that no other bot's has: the same order twice is a duplicate."""

    abstract = True
    _numbers = itertools.count()

    def on_start(self) -> None:
        """Take a number."""
        super().on_start()
        self.number = next(self._numbers)

    @task
    def trade(self) -> None:
        """Go through one round."""
        time.sleep(max(0.0, self.begins_at_s() - time.monotonic()))
        self.ask("GET", "/v5/account/wallet-balance", query="accountType=UNIFIED", name="balance")
        order = self.new_order()
        placed = self.place(order) if order is not None else None
        if placed is not None:
            query = f"category=spot&symbol={SYMBOL}"
            self.ask("GET", "/v5/order/realtime", query=query, name="open orders")
            self.cancel(placed["orderId"])

    def cancel(self, order_id: str, *, name: str = "cancel") -> None:
        """Cancel an order; that it has ended already is as good."""
        body = {"category": "spot", "symbol": SYMBOL, "orderId": order_id}
        self.answer("POST", "/v5/order/cancel", body=body, name=name, expected=GONE)

    def begins_at_s(self) -> float:
        """Return when this bot begins to trade, in monotonic time: at once."""
        return 0.0

    def new_order(self) -> dict[str, str] | None:
        """Make a post-only buy that rests below the market."""
        found = self.ask("GET", "/v5/market/tickers", query=f"category=spot&symbol={SYMBOL}", name="ticker")
        if found is None:
            return None
        price = round(float(found["list"][0]["lastPrice"]) * 0.97, PRICE_DIGITS)
        return {
            "category": "spot",
            "symbol": SYMBOL,
            "side": "Buy",
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "price": str(price),
            "qty": str(round(LEAST_USDT / price) + self.number % 40),
        }

    def place(self, order: dict[str, str]) -> Any:
        """Place the order; None when it was not accepted."""
        return self.ask("POST", "/v5/order/create", body=order, name="order")


class NormalBot(Bot):
    """One bot, a round a second: nothing fails."""

    wait_time = constant_pacing(1)
    limits = (Limit(name="order"), Limit(name="cancel"), Limit(name="balance"), Limit(name="open orders"))


class TwentyBots(Bot):
    """Twenty bots, a round every five seconds each, after a calm with one: nothing fails, and none waits long."""

    fixed_count = 20
    pace_s = 5.0
    _paced = constant_pacing(pace_s)
    limits = (Limit(name="order", highest_ratio=5), Limit(name="cancel", highest_ratio=5), Limit(name="balance"))

    def begins_at_s(self) -> float:
        """The first begins at once, the others after the calm and one after the other: the policy bounds messages."""
        return Stage.calm_until_s + self.number * self.pace_s / self.fixed_count if self.number else 0.0

    def wait_time(self) -> float:
        """Return the seconds to the next round: few for the one in calm, so that there is something to compare with."""
        return _CALM_PACE_S if Stage.is_calm() else float(self._paced())
