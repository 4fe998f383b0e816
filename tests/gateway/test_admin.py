"""Roles, hosts and bounds of the admin listener, through ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from trade_core.guarded_protocol import RECOGNISE_KEY
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import MAX_LEASE_BYTES
from trade_gateway.admin import MAX_ROWS, admin_app
from trade_gateway.identity import Role
from trade_journal.errors import JournalUnavailable

TOKENS = {role: Secret(f"token-of-{role.value}") for role in Role}


class Gateway:
    """What stands behind the listener; remembers what it was told."""

    def __init__(self) -> None:
        self.ready = True
        self.halts: list[tuple[str, ...]] = []
        self.leases: list[bytes] = []
        self.lease_error: NotTrusted | None = None
        self.rows_error: JournalUnavailable | None = None
        self.asked_rows: list[tuple[int, int]] = []

    async def is_ready(self) -> bool:
        return self.ready

    async def state(self) -> dict[str, Any]:
        return {"trading_state": "ACTIVE"}

    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]:
        self.halts.append((reason, by) if trigger_value is None else (reason, by, trigger_value))
        return {"trading_state": "HALTED", "in_flight": []}

    async def entries(self, from_seq: int, limit: int) -> bytes:
        if self.rows_error is not None:
            raise self.rows_error
        return b"".join(b'{"seq":%d}\n' % seq for seq in range(from_seq, from_seq + limit))

    async def cosigned(self) -> bytes:
        return b"cosigned"

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        if self.lease_error is not None:
            raise self.lease_error
        self.leases.append(raw)
        return {"generation": 1}

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        return self._handed("release", raw)

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        return self._handed("kill", raw)

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        return self._handed("ring", raw)

    def _handed(self, what: str, raw: bytes) -> dict[str, Any]:
        if raw == b"bad":
            raise NotTrusted("nobody signed it")
        return {"handed": what}

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        if self.rows_error is not None:
            raise self.rows_error
        self.asked_rows.append((from_seq, limit))
        return [{"seq": from_seq}]

    async def checkpoint(self) -> bytes:
        if self.rows_error is not None:
            raise self.rows_error
        return b"trade/test\n0\n"


@asynccontextmanager
async def admin(
    role: Role | None = Role.OPERATOR, *, gateway: Gateway | None = None, base_url: str = "http://127.0.0.1:9"
) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway]]:
    behind = gateway or Gateway()
    registry = CollectorRegistry()
    Counter("trade_gateway_requests", "d", registry=registry)
    app = admin_app(behind, tokens=TOKENS, registry=registry)
    headers = {} if role is None else {"authorization": f"Bearer {TOKENS[role].reveal()}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers) as client:
        yield client, behind


READS = ["/state", "/metrics", "/journal/rows", "/journal/entries", "/journal/checkpoint", "/journal/cosigned"]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    ("role", "status"), [(Role.WATCHDOG, 200), (Role.OPERATOR, 200), (Role.PROBE, 403), (None, 401)]
)
async def test_admin_read_is_for_watchdog_and_operator(path: str, role: Role | None, status: int) -> None:
    async with admin(role) as (client, _):
        assert (await client.get(path)).status_code == status


@pytest.mark.parametrize(
    ("role", "status"), [(Role.WATCHDOG, 200), (Role.OPERATOR, 200), (Role.PROBE, 403), (None, 401)]
)
async def test_admin_halt_is_for_watchdog_and_operator(role: Role | None, status: int) -> None:
    async with admin(role) as (client, gateway):
        assert (await client.post("/halt", json={"reason": "r"})).status_code == status
        assert gateway.halts == ([("r", role.value)] if status == 200 and role is not None else [])


@pytest.mark.parametrize(
    ("role", "status"), [(Role.WATCHDOG, 200), (Role.OPERATOR, 403), (Role.PROBE, 403), (None, 401)]
)
async def test_admin_lease_is_for_the_watchdog_alone(role: Role | None, status: int) -> None:
    async with admin(role) as (client, gateway):
        assert (await client.post("/lease", content=b"signed")).status_code == status
        assert gateway.leases == ([b"signed"] if status == 200 else [])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic token-of-operator",
        "bearer token-of-operator",
        "token-of-operator",
        "Bearer token-of-operator ",
        "Bearer token-of-operato",
        "Bearer token-of-operator, Bearer x",
    ],
)
async def test_admin_other_authorization_is_refused(value: str) -> None:
    async with admin(None) as (client, _):
        assert (await client.get("/state", headers={"authorization": value})).status_code in {401}


async def test_admin_authorization_beyond_ascii_is_refused() -> None:
    async with admin(None) as (client, _):
        answer = await client.get("/state", headers=[(b"authorization", b"Bearer \xff\xfe")])
        assert answer.status_code == 401


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_admin_readiness_needs_no_token(ready: bool, status: int) -> None:
    async with admin(None) as (client, gateway):
        gateway.ready = ready
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (status, {"ready": ready})
        assert (await client.get("/healthz")).json() == {"status": "alive"}


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9", "http://127.0.0.1", "http://localhost:9", "http://[::1]:9"])
async def test_admin_host_that_is_ours_is_served(base_url: str) -> None:
    async with admin(base_url=base_url) as (client, _):
        assert (await client.get("/state")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9", "127.0.0.1.evil.example", "", "127.0.0.2", "[::1"])
@pytest.mark.parametrize("path", ["/state", "/healthz"])
async def test_admin_other_host_is_refused(host: str, path: str) -> None:
    async with admin() as (client, _):
        assert (await client.get(path, headers={"host": host})).status_code == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9", "https://evil.example", "null", ""])
async def test_admin_request_of_a_browser_is_refused(origin: str) -> None:
    async with admin() as (client, gateway):
        answer = await client.post("/halt", json={"reason": "r"}, headers={"origin": origin})
        assert answer.status_code == 403
        assert gateway.halts == []


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"reason": 1},
        {"reason": None},
        {"reason": "r", "state": "ACTIVE"},
        {"reason": "r", "trigger_value": ""},
        {"reason": "r", "trigger_value": "x" * 65},
        {"reason": "r", "trigger_value": "5\n"},
        {"reason": "r", "trigger_value": 5},
        [],
        "r",
    ],
)
async def test_admin_halt_without_a_proper_reason_is_refused(content: object) -> None:
    async with admin() as (client, gateway):
        assert (await client.post("/halt", json=content)).status_code == 422
        assert gateway.halts == []


@pytest.mark.parametrize(
    ("reason", "latched"), [("", "no reason was given"), ("x" * 200, "x" * 200), ("x" * 5_000, "x" * 200)]
)
async def test_admin_halt_never_fails_by_the_length_of_its_reason(reason: str, latched: str) -> None:
    async with admin() as (client, gateway):
        assert (await client.post("/halt", json={"reason": reason})).status_code == 200
        assert [halt[0] for halt in gateway.halts] == [latched]


@pytest.mark.parametrize("value", [None, "0.1502", "x" * 64])
async def test_admin_halt_has_the_figure_that_it_is_for(value: str | None) -> None:
    async with admin() as (client, gateway):
        assert (await client.post("/halt", json={"reason": "r", "trigger_value": value})).status_code == 200
        (halt,) = gateway.halts
        assert halt[2:] == (() if value is None else (value,))


@pytest.mark.parametrize("length", [1, 200])
async def test_admin_halt_reason_may_be_up_to_200_characters(length: int) -> None:
    async with admin() as (client, gateway):
        assert (await client.post("/halt", json={"reason": "x" * length})).status_code == 200
        assert len(gateway.halts) == 1


@pytest.mark.parametrize("path", ["/halt", "/lease"])
@pytest.mark.parametrize("role", [None, Role.WATCHDOG])
async def test_admin_body_beyond_its_bound_is_refused_before_it_is_read(path: str, role: Role | None) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b"x" * 1024

    async with admin(role) as (client, gateway):
        declared = {"content-length": str(MAX_LEASE_BYTES + 1), "content-type": "application/json"}
        assert (await client.post(path, content=endless(), headers=declared)).status_code == 413
        assert (await client.post(path, content=endless())).status_code == 413
        assert (gateway.leases, gateway.halts) == ([], [])


@pytest.mark.parametrize("length", [b"-1", b"x", b"1e3", "\u0661".encode(), b"9" * 30])
async def test_admin_body_of_an_absurd_length_is_refused(length: bytes) -> None:
    async with admin(Role.WATCHDOG) as (client, gateway):
        answer = await client.post("/lease", content=b"x", headers=[(b"content-length", length)])
        assert answer.status_code == 413
        assert gateway.leases == []


async def test_admin_lease_of_the_largest_size_is_taken() -> None:
    async with admin(Role.WATCHDOG) as (client, gateway):
        assert (await client.post("/lease", content=b"x" * MAX_LEASE_BYTES)).status_code == 200
        assert len(gateway.leases) == 1


async def test_admin_lease_that_is_longer_than_it_says_is_refused() -> None:
    async def long() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1024

    async with admin(Role.WATCHDOG) as (client, gateway):
        answer = await client.post("/lease", content=long(), headers={"content-length": "10"})
        assert answer.status_code == 413
        assert gateway.leases == []


async def test_admin_lease_that_is_not_trusted_is_a_conflict_with_its_reason() -> None:
    async with admin(Role.WATCHDOG) as (client, gateway):
        gateway.lease_error = NotTrusted("lease: generation 1 does not rise above 5")
        answer = await client.post("/lease", content=b"x")
        assert answer.status_code == 409
        assert "does not rise above 5" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", (0, 100)), ("?from=7&limit=1", (7, 1)), (f"?limit={MAX_ROWS}", (0, MAX_ROWS)), (f"?from={2**53 - 1}", None)],
)
async def test_admin_rows_are_read_from_a_place(query: str, expected: tuple[int, int] | None) -> None:
    async with admin() as (client, gateway):
        for path in ("/journal/rows", "/journal/entries"):
            assert (await client.get(path + query)).status_code == 200
        if expected is not None:
            assert gateway.asked_rows == [expected]


@pytest.mark.parametrize(
    "query", ["?from=-1", "?limit=0", f"?limit={MAX_ROWS + 1}", "?from=x", f"?from={2**53}", "?from=" + "9" * 40]
)
async def test_admin_rows_outside_the_bounds_are_refused(query: str) -> None:
    async with admin() as (client, gateway):
        for path in ("/journal/rows", "/journal/entries"):
            assert (await client.get(path + query)).status_code == 422
        assert gateway.asked_rows == []


async def test_admin_rows_of_a_journal_that_cannot_be_read_are_unavailable() -> None:
    async with admin() as (client, gateway):
        gateway.rows_error = JournalUnavailable("disk")
        assert (await client.get("/journal/rows")).status_code == 503
        assert (await client.get("/journal/entries")).status_code == 503
        assert (await client.get("/journal/checkpoint")).status_code == 503


async def test_admin_checkpoint_is_given_as_the_note_it_is() -> None:
    async with admin() as (client, _):
        answer = await client.get("/journal/checkpoint")
    assert (answer.status_code, answer.content) == (200, b"trade/test\n0\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_admin_metrics_are_of_the_gateways_registry() -> None:
    async with admin() as (client, _):
        assert "trade_gateway_requests_total" in (await client.get("/metrics")).text


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/", "/v5/order/create"])
async def test_admin_nothing_else_is_there(path: str) -> None:
    async with admin(Role.WATCHDOG) as (client, _):
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/halt"), ("GET", "/lease"), ("POST", "/state"), ("DELETE", "/halt")]
)
async def test_admin_other_methods_are_refused(method: str, path: str) -> None:
    async with admin(Role.WATCHDOG) as (client, _):
        assert (await client.request(method, path)).status_code == 405


@pytest.mark.parametrize(
    ("path", "role", "is_recognised"),
    [
        ("/state", Role.OPERATOR, True),
        ("/state", Role.WATCHDOG, True),
        ("/state", None, False),
        ("/healthz", Role.OPERATOR, False),
        ("/healthz", None, False),
    ],
)
async def test_admin_tells_the_protocol_whose_token_is_good(path: str, role: Role | None, is_recognised: bool) -> None:
    recognised: list[bool] = []
    app = admin_app(Gateway(), tokens=TOKENS, registry=CollectorRegistry())

    async def behind_the_protocol(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, RECOGNISE_KEY: lambda: recognised.append(True)}, receive, send)

    headers = {} if role is None else {"authorization": f"Bearer {TOKENS[role].reveal()}"}
    transport = httpx.ASGITransport(app=behind_the_protocol)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9", headers=headers) as client:
        await client.get(path)
    assert recognised == [True] * is_recognised


@pytest.mark.parametrize("what", ["release", "ring", "kill"])
async def test_warrant_is_handed_to_the_gateway_which_says_whether_it_counts(what: str) -> None:
    async with admin() as (client, _):
        good, bad = [await client.post(f"/{what}", content=raw) for raw in (b"good", b"bad")]
        long = await client.post(f"/{what}", content=b"x" * 16_385)
    assert (good.status_code, good.json()) == (200, {"handed": what})
    assert (bad.status_code, bad.json()) == (409, {"detail": "nobody signed it"})
    assert long.status_code == 413


@pytest.mark.parametrize(
    ("what", "role", "status"),
    [
        ("release", Role.WATCHDOG, 403),
        ("ring", Role.WATCHDOG, 403),
        ("kill", Role.WATCHDOG, 200),
        ("release", Role.PROBE, 403),
        ("ring", Role.PROBE, 403),
        ("kill", Role.PROBE, 403),
        ("release", None, 401),
        ("ring", None, 401),
        ("kill", None, 401),
    ],
)
async def test_warrant_is_taken_from_who_may_bring_one(what: str, role: Role | None, status: int) -> None:
    async with admin(role) as (client, _):
        answer = await client.post(f"/{what}", content=b"good")
    assert answer.status_code == status
