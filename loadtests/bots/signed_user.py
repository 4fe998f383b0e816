"""A client of the gateway's bot listener, and the phases of a run. It knows Bybit's signature, and no code of ours."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from locust import HttpUser

from bots.limits import CALM, Limit

RECV_WINDOW = "5000"
TIMEOUT_S = 12.0
CALM_SHARE = 3  # the first third of a run is calm


class Stage:
    """What the clients of one run share: the description of the stack, and when the calm ends."""

    stack: dict[str, Any]
    calm_until_s = 0.0
    halted_at_s: float | None = None  # when a halt was acknowledged

    @classmethod
    def begin(cls, *, run_time_s: float) -> None:
        """Begin a run."""
        cls.calm_until_s = time.monotonic() + run_time_s / CALM_SHARE
        cls.halted_at_s = None

    @classmethod
    def is_calm(cls) -> bool:
        """Tell whether the trouble has not begun yet."""
        return time.monotonic() < cls.calm_until_s


class SignedUser(HttpUser):
    """Signs what it sends. `limits` is what the requests of its kind must keep to."""

    abstract = True
    limits: tuple[Limit, ...] = ()

    def on_start(self) -> None:
        """Take nothing from the environment, such as a proxy."""
        self.client.trust_env = False

    def ask(self, method: str, path: str, *, name: str, query: str = "", body: dict[str, str] | None = None) -> Any:
        """Send one signed request; an answer other than retCode 0 is a failure. Returns the answer's result or None."""
        answer = self.answer(method, path, name=name, query=query, body=body)
        return answer.get("result") if answer.get("retCode") == 0 else None

    def answer(
        self,
        method: str,
        path: str,
        *,
        name: str,
        query: str = "",
        body: dict[str, str] | None = None,
        expected: frozenset[int] = frozenset({0}),
    ) -> dict[str, Any]:
        """Send one signed request and return the whole answer; empty when there was none."""
        text = "" if body is None else json.dumps(body)
        with self.client.request(
            method,
            f"{path}?{query}" if query else path,
            data=text or None,
            headers=self._headers(text or query),
            name=name + (CALM if Stage.is_calm() else ""),
            catch_response=True,
            timeout=TIMEOUT_S,
        ) as response:
            try:
                answer: dict[str, Any] = response.json()
            except ValueError:
                response.failure(f"HTTP {response.status_code}: no JSON")
                return {}
            if answer.get("retCode") in expected:
                response.success()
            else:
                response.failure(f"{answer.get('retCode')}: {answer.get('retMsg')}")
            return answer

    def _headers(self, payload: str) -> dict[str, str]:
        gateway = Stage.stack["gateway"]
        timestamp = str(time.time_ns() // 1_000_000)
        text = timestamp + gateway["key"] + RECV_WINDOW + payload
        return {
            "X-BAPI-API-KEY": gateway["key"],
            "X-BAPI-TIMESTAMP": timestamp,
            "X-BAPI-RECV-WINDOW": RECV_WINDOW,
            "X-BAPI-SIGN": hmac.new(gateway["secret"].encode(), text.encode(), hashlib.sha256).hexdigest(),
            "Content-Type": "application/json",
        }
