"""Bots in trouble, and who makes it: a flood of strangers, an operator who halts, an exchange that is slow."""

from __future__ import annotations

import json
import time
from typing import Any

import requests
from locust import HttpUser, User, constant_pacing, task
from locust.exception import RescheduleTask, StopUser

from bots.limits import Limit
from bots.signed_user import CALM, TIMEOUT_S, Stage
from bots.trading import Bot

DELAY_MS = 300
HALTED = 110066  # what a denial in that state answers
_WAIT_S = 0.1
_MORE = 30
_MARKET_ORDER = json.dumps({"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"})
_STALE = {
    "X-BAPI-API-KEY": "nobodynobodynobody",
    "X-BAPI-TIMESTAMP": "1790000000000",
    "X-BAPI-RECV-WINDOW": "5000",
    "X-BAPI-SIGN": "0" * 64,
}
_HOSTILE: tuple[tuple[str, str, str | None, dict[str, str]], ...] = (
    ("POST", "/v5/order/create", _MARKET_ORDER, {}),
    ("POST", "/v5/order/create", _MARKET_ORDER, _STALE),
    ("POST", "/v5/order/cancel-all", _MARKET_ORDER, _STALE),
    ("POST", "/v5/asset/withdraw/create", _MARKET_ORDER, _STALE),
    ("GET", "/v5/account/wallet-balance?accountType=UNIFIED", None, _STALE),
    ("GET", "/../../etc/passwd", None, {}),
    ("POST", "/v5/order/create", "{" * 5000, _STALE),
    ("DELETE", "/v5/order/create", None, {}),
)


class HonestBot(Bot):
    """The bot beside the flood: nothing of it fails."""

    fixed_count = 1
    wait_time = constant_pacing(1)
    limits = (Limit(name="order", highest_ratio=5), Limit(name="cancel", highest_ratio=5), Limit(name="balance"))


class Flood(HttpUser):
    """A stranger without a key who sends what comes to mind, without a pause. Every answer must be a denial."""

    wait_time = constant_pacing(0)
    limits = (Limit(name="hostile", least=100),)

    @task
    def flood(self) -> None:
        """Send each of them once."""
        if Stage.is_calm():
            time.sleep(_WAIT_S)
            raise RescheduleTask
        for method, path, body, headers in _HOSTILE:
            with self.client.request(
                method, path, data=body, headers=headers, name="hostile", catch_response=True, timeout=TIMEOUT_S
            ) as response:
                if _is_denied(response):
                    response.success()
                else:
                    response.failure(f"{method} {path} was answered with HTTP {response.status_code}")


def _is_denied(response: Any) -> bool:
    if response.status_code != 200:
        return bool(response.status_code)  # 0 is no answer at all
    try:
        return bool(response.json()["retCode"] != 0)
    except (ValueError, KeyError, TypeError):
        return False


class BotDuringHalt(Bot):
    """Trades on through a halt: no order that begins after the acknowledgement passes, and a cancel does."""

    fixed_count = 5
    wait_time = constant_pacing(1)
    limits = (
        Limit(name="order" + CALM),
        Limit(name="order after the halt"),
        Limit(name="cancel after the halt"),
        Limit(name="balance", highest_ratio=5),
    )
    resting: str | None = None  # an order that is left until the halt

    def place(self, order: dict[str, str]) -> Any:
        """Place an order, which must be denied after the halt. The first one placed is left and cancelled then."""
        if Stage.halted_at_s is None:
            if self.resting is None:
                order["qty"] = str(int(order["qty"]) + _MORE)  # what this bot places later is no duplicate of it
            answer = self.answer("POST", "/v5/order/create", body=order, name="order", expected=frozenset({0, HALTED}))
            placed = answer.get("result") if answer.get("retCode") == 0 else None
            if placed is not None and self.resting is None:
                self.resting = placed["orderId"]
                return None
            return placed
        denied = frozenset({HALTED})
        self.answer("POST", "/v5/order/create", body=order, name="order after the halt", expected=denied)
        if self.resting is not None:  # again and again: a cancel does no harm
            self.cancel(self.resting, name="cancel after the halt")
        return None


class _Intervention(User):
    """Does one thing when the calm ends, and is gone."""

    abstract = True
    fixed_count = 1
    wait_time = constant_pacing(_WAIT_S)

    @task
    def intervene(self) -> None:
        """Wait for the calm's end, then act once."""
        if not Stage.is_calm():
            self.act()
            raise StopUser

    def act(self) -> None:
        """Do it."""
        raise NotImplementedError

    def call(self, method: str, url: str, *, token: str, name: str, body: dict[str, Any] | None = None) -> None:
        """Make one request and count it."""
        began_s = time.perf_counter()
        error: Exception | None = None
        length = 0
        try:
            headers = {"Authorization": f"Bearer {token}"}
            answer = requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
            answer.raise_for_status()
            length = len(answer.content)
        except requests.RequestException as caught:
            error = caught
        self.environment.events.request.fire(
            request_type=method,
            name=name,
            response_time=(time.perf_counter() - began_s) * 1000,
            response_length=length,
            exception=error,
            context={},
        )
        if error is not None:
            raise StopUser


class HaltingOperator(_Intervention):
    """Halts the gateway in the middle of everything."""

    limits = (Limit(name="halt", least=1),)

    def act(self) -> None:
        """Halt; from the acknowledgement on, no order may pass."""
        gateway = Stage.stack["gateway"]
        body = {"reason": "the load test halts"}
        self.call("POST", gateway["admin"] + "/halt", token=gateway["admin_token"], name="halt", body=body)
        Stage.halted_at_s = time.monotonic()


class BotAtSlowExchange(Bot):
    """Trades on while each order takes the exchange 300 ms more: nothing fails, nothing else waits."""

    fixed_count = 5
    wait_time = constant_pacing(2)
    limits = (
        Limit(name="order", highest_ratio=5, allowance_ms=DELAY_MS),
        Limit(name="cancel", highest_ratio=5),
        Limit(name="balance", highest_ratio=5),
    )


class ExchangeSlows(_Intervention):
    """Makes the simulated exchange slow."""

    limits = (Limit(name="fault", least=1),)

    def act(self) -> None:
        """Delay every order at the exchange."""
        fault = {"path": "/v5/order/create", "mode": "delay", "ms": DELAY_MS}
        simulator = Stage.stack["simulator"]
        self.call("POST", simulator["control"] + "/faults", token=simulator["control_token"], name="fault", body=fault)


__all__ = ["CALM", "BotAtSlowExchange", "BotDuringHalt", "ExchangeSlows", "Flood", "HaltingOperator", "HonestBot"]
