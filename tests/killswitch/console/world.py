"""What the console reads, as documents, and services that answer with them and remember what they were asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from trust_parts import ring_of

from trade_core.clock import Clock, ManualClock
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_killswitch.console.app import console_app
from trade_killswitch.console.guard import Guard
from trade_killswitch.console.ledger import Ledger
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.parts import Parts
from trade_killswitch.console.sign_in import CodeBook, Sessions, WrongCodes
from trade_killswitch.console.sources import Answer, Unreadable
from trade_killswitch.console.watch import Watch

ORIGIN = "http://localhost:22007"
ADDRESS = "127.0.0.1:22007"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe",
    "\u2066isolated\u2069\u200b\u00ad",
    "line\r\nSet-Cookie: a=b",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 5000,
)


def gateway_state(**changed: Any) -> dict[str, Any]:
    """What the gateway answers at /state, as far as the console reads it."""
    return {
        "environment": "simulated",
        "deployment": "d1",
        "account": "1002",
        "trading_state": "ACTIVE",
        "holders": {
            name: {"ceiling": "ACTIVE", "reason": "", "since_ns": "0"}
            for name in ("operator_latch", "watchdog_ceiling", "lease", "own_faults")
        },
        "latch_subject": None,
        "release_pending": None,
        "lease": {"generation": 9, "age_s": 1.25, "expires_in_s": 28.5, "ceiling": "ACTIVE"},
        "limits": {
            "max_open_orders": {"value": "6", "use": "2"},
            "max_gross_exposure_usdt": {"value": "2000.00", "use": "1999.00"},
            "turnover_budget_24h_usdt": {"value": "1000.00", "use": "1000.00"},
            "max_order_notional_usdt": {"value": "250.00", "use": None},
            "max_notional_usdt.spot.BTCUSDT": {"value": "500.00", "use": "0.00"},
        },
        "max_hostile_loss": {"usdt": "123.40", "fraction": "0.0310"},
        "stress_loss": {"usdt": "80.00", "fraction": "0.0200"},
        "account_view": {"is_trusted": True, "reason": "", "age_s": 0.5},
        "working_orders": 2,
        "unknown_outcomes": [],
        "policy_hash": "a" * 64,
        "policy": {"release_pending": None},
        "ring_hash": "b" * 64,
        "journal": {"size": 3, "root": "c" * 64, "root_size": 3, "witnessed_size": 2, "is_writable": True},
        **changed,
    }


def held(ceiling: str, reason: str, *, holder: str = "operator_latch") -> dict[str, Any]:
    """A gateway that one holder holds."""
    state = gateway_state(trading_state=ceiling)
    state["holders"][holder] = {"ceiling": ceiling, "reason": reason, "since_ns": "1700000000000000000"}
    return state


def killed(**changed: Any) -> dict[str, Any]:
    """A gateway that was killed by a touch, and uses a new order key."""
    keys = {"order_key": "order2", "killed_keys": ["order1"]}
    return {**held("KILLED", "killed by a touch"), "latch_subject": "latch:7", **keys, **changed}


def watchdog_state(**changed: Any) -> dict[str, Any]:
    """What the watchdog answers at /state."""
    rungs = (
        ("daily", "review", "0.05"),
        ("weekly", "trim", "0.08"),
        ("monthly", "halt", "0.15"),
        ("high_water", "kill", "0.18"),
    )
    return {
        "ceiling": "ACTIVE",
        "reason": "the equity is read and fresh",
        "exchange": {"finding": "good", "detail": ""},
        "equity": {"equity_usdt": "4000.50", "age_s": 2.0, "unit_price": "1.0125", "units": "3951"},
        "rungs": {
            name: {
                "stage": "armed",
                "effect": effect,
                "window_s": 86400,
                "threshold": threshold,
                "drawdown": "0.0123",
                "peak": "1.025",
                "breaching_samples": 0,
                "since_ms": None,
            }
            for name, effect, threshold in rungs
        },
        "actions": {},
        "audit": {
            "reason": "",
            "keys": [
                {
                    "key": "orderkey123",
                    "role": "order",
                    "is_read_only": False,
                    "created_at": "2023-11-04T22:15:00Z",
                    "days_left": 80,
                },
                {"key": "watchkey123", "role": "read", "is_read_only": True, "created_at": None, "days_left": None},
            ],
            "key_alarms": [],
            "posture_alarms": [],
            "limit_alarms": [],
        },
        "lease": {"result": "accepted", "detail": ""},
        "incidents": {"open": 0, "newest": []},
        **changed,
    }


def executor_status(**changed: Any) -> dict[str, Any]:
    """What the executor answers at /status."""
    return {
        "exit_key": "verified",
        "exit_key_id": "exit2",
        "armed": {"is_armed": False, "reason": "nobody armed it"},
        "sweep": {"running": None, "last": None},
        "unacknowledged": [],
        "journal": {"size": 5, "is_writable": True, "last_failure": ""},
        **changed,
    }


def row(seq: int, kind: str, /, **fields: Any) -> dict[str, Any]:
    """A row as its bytes hold it."""
    at_ns = str(1_700_000_000_000_000_000 + seq)
    return {"seq": seq, "at_ns": at_ns, "kind": kind, "actor": "gateway", "fields": fields, "policy_hash": None}


@dataclass
class Service:
    """One service: answers by path, or fails."""

    name: str
    answers: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    is_up: bool = True
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        self.asked.append((method, path, None if content is None else json.loads(content)))
        if not self.is_up:
            raise Unreadable(f"{self.name} does not answer (ConnectError)")
        route, _, query = path.partition("?")
        if route == "/journal/entries":
            first, limit = (int(part.partition("=")[2]) for part in query.split("&"))
            lines = [json.dumps(one).encode() + b"\n" for one in self.rows[first : first + limit]]
            return Answer(status=200, body=b"".join(lines))
        found = self.answers.get(f"{method} {route}", self.answers.get(route))
        if found is None:
            return Answer(status=404, body=b'{"detail":"Not Found"}')
        if callable(found):
            found = found(content or b"")
        if isinstance(found, Answer):
            return found
        return Answer(status=201 if route == "/console/rows" else 200, body=json.dumps(found).encode())

    def told(self, path: str) -> list[Any]:
        """Return the bodies that were sent to a path."""
        return [content for method, asked, content in self.asked if method == "POST" and asked == path]


class World:
    """A console in this process, with its three services."""

    def __init__(self, folder: Path, *, origin: str = ORIGIN, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock(wall_ns=1_700_000_100_000_000_000)
        used = clock or self.clock
        self.gateway = Service(
            "the gateway",
            {
                "/state": gateway_state(),
                "/deny-codes": {"LIMIT_TURNOVER": {"meaning": "It could exceed the budget.", "remedy": "Wait."}},
                "/halt": {"trading_state": "HALTED", "in_flight": ["t1"]},
            },
        )
        self.watchdog = Service("the watchdog", {"/state": watchdog_state(), "/ack": {"acknowledged": "rung:daily"}})
        self.executor = Service(
            "the kill executor",
            {
                "/status": executor_status(),
                "/sweep": {"sweep_id": "s1", "is_new": True},
                "/ack": {"unacknowledged": []},
                "/console/rows": {"is_recorded": True},
                "/metrics": Answer(status=200, body=b"trade_executor_sweep_running 0.0\n"),
            },
        )
        self.ring_file = folder / "ring.json"
        self.ring_file.write_bytes(ring_bytes(ring_of(load_private_key(new_private_key()))))
        self.metrics = ConsoleMetrics()
        self.watch = Watch(
            gateway=self.gateway,
            watchdog=self.watchdog,
            executor=self.executor,
            ring_file=self.ring_file,
            state_dir=folder,
            metrics=self.metrics,
            clock=used,
        )
        self.codes = CodeBook(folder, clock=used)
        self.parts = Parts(
            watch=self.watch,
            gateway=self.gateway,
            watchdog=self.watchdog,
            executor=self.executor,
            codes=self.codes,
            wrong_codes=WrongCodes(clock=used),
            sessions=Sessions(clock=used),
            ledger=Ledger(self.executor, metrics=self.metrics),
            metrics=self.metrics,
            origin=origin,
            clock=used,
        )
        self.app = Guard(
            console_app(self.parts), origin=origin, address=origin.replace("//localhost", "//127.0.0.1")[7:]
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url=origin)

    async def post(self, path: str, content: Any, **headers: str) -> httpx.Response:
        """Send what the page's script sends."""
        return await self.client.post(path, json=content, headers={"origin": ORIGIN, **headers})

    async def sign_in(self) -> None:
        """Sign in with a code."""
        answer = await self.post("/sign-in", {"code": self.codes.issue()})
        assert answer.status_code == 200, answer.text

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that the console asked the executor to write."""
        return self.executor.told("/console/rows")
