"""The admin listener: what each caller may see, and what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from trust_parts import ring_of
from watchdog.audit_world import AuditWorld
from watchdog.keepers import JournalList, keeper_of

from trade_core.clock import ManualClock
from trade_core.guarded_protocol import RECOGNISE_KEY
from trade_core.reasons import NO_REASON, REASON_CHARACTERS_MAX
from trade_core.ring_keeper import RingKeeper
from trade_core.secrets import Secret
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.lease import Lease
from trade_watchdog.account_watch import Look
from trade_watchdog.admin import admin_app
from trade_watchdog.auditor import Auditor
from trade_watchdog.ceiling import Ceiling, EquitySample, Finding, Verdict
from trade_watchdog.effects import Severity
from trade_watchdog.equity import LogMark, open_book
from trade_watchdog.gateway_link import GatewayUnavailable
from trade_watchdog.journal_routes import ROWS_MAX
from trade_watchdog.ladder import Stage
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.quotes import QuoteFinding, SeenPrice
from trade_watchdog.status import LeaseResult, Phase, SecondCoin, Status

NS_PER_S = 1_000_000_000
BEARER = {"authorization": "Bearer token"}
ANNOUNCER = {"authorization": "Bearer announcing"}
KEY = load_private_key(new_private_key())
RING = ring_of(KEY, credentials=())


def rings_of(folder: Path, clock: ManualClock) -> RingKeeper:
    async def record(kind: str, fields: Any) -> bool:
        return True

    return RingKeeper(folder=folder, first=RING, record=record, clock=clock, is_clock_trusted=lambda: True)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands."""
    return ManualClock()


@pytest.fixture
def status() -> Status:
    """A watchdog that has just started."""
    return Status()


@pytest.fixture
def keeper(clock: ManualClock) -> LadderKeeper:
    """A ladder that nothing has happened to."""
    return keeper_of(clock=clock)


class Gateway:
    """Is halted, or does not answer."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.is_down = False

    async def halt(self, reason: str) -> tuple[str, ...]:
        self.reasons.append(reason)
        if self.is_down:
            raise GatewayUnavailable("the gateway does not answer: ConnectError")
        return ("T1-one",)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def auditor(clock: ManualClock) -> Auditor:
    return AuditWorld(clock=clock).auditor


@pytest_asyncio.fixture
async def client(
    *,
    status: Status,
    keeper: LadderKeeper,
    auditor: Auditor,
    gateway: Gateway,
    clock: ManualClock,
    tmp_path: Path,
) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to the application."""
    registry = CollectorRegistry()
    WatchdogMetrics(registry=registry, status=status, keeper=keeper, auditor=auditor, clock=clock)
    app = admin_app(
        status=status,
        keeper=keeper,
        auditor=auditor,
        rings=rings_of(tmp_path, clock),
        gateway=gateway,
        token=Secret("token"),
        announce_token=Secret("announcing"),
        registry=registry,
        clock=clock,
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:21020") as made:
        yield made


def set_watching(status: Status, clock: ManualClock) -> None:
    """Bring a status to a watchdog whose lease was counted."""
    status.phase = Phase.WATCHING
    status.clock_offset_ms = -120
    status.finding = Finding.GOOD
    status.last_good = EquitySample(
        equity_usdt=Decimal("4000.50"),
        coins=(),
        exchange_time_ms=7,
        received_wall_ns=clock.wall_ns(),
        received_monotonic_ns=clock.monotonic_ns(),
    )
    status.verdict = Verdict(ceiling=Ceiling.ACTIVE, reason="fresh")
    status.lease = Lease(
        deployment="d1",
        environment="simulated",
        account="1002",
        boot_nonce="b",
        generation=12,
        ceiling="ACTIVE",
        scale="1",
        second_venue="none",
        second_prices=(),
        checkpoint="c",
        policy_hash="p",
        ring_hash="r",
        signed_at_ms=1,
        expires_at_ms=1,
    )
    status.lease_result = LeaseResult.ACCEPTED
    status.lease_accepted_at_ns = clock.monotonic_ns()


async def test_health_is_open_and_readiness_says_why_not(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).status_code == 200
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reason": "the exchange key is not verified yet"}


async def test_readiness_lasts_as_long_as_the_lease(
    client: httpx.AsyncClient, status: Status, clock: ManualClock
) -> None:
    set_watching(status, clock)
    assert (await client.get("/readyz")).status_code == 200
    clock.advance(20 * NS_PER_S - 1_000_000)
    assert (await client.get("/readyz")).status_code == 200
    clock.advance(1_000_000)
    assert (await client.get("/readyz")).status_code == 503


@pytest.mark.parametrize("path", ["/state", "/metrics"])
@pytest.mark.parametrize("value", [b"", b"token", b"Bearer", b"Bearer wrong", b"bearer token", b"Bearer t\xf6ken"])
async def test_state_and_metrics_take_the_token(client: httpx.AsyncClient, path: str, value: bytes) -> None:
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers={"authorization": value})).status_code == 401
    assert (await client.get(path, headers=BEARER)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:21020", ""])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/state", "/metrics"])
async def test_other_hosts_are_refused(client: httpx.AsyncClient, host: str, path: str) -> None:
    assert (await client.get(path, headers={**BEARER, "host": host})).status_code == 400


async def test_own_names_are_answered(client: httpx.AsyncClient) -> None:
    for host in ("127.0.0.1", "127.0.0.1:21020", "localhost:21020"):
        assert (await client.get("/state", headers={**BEARER, "host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/state", "/metrics", "/readyz"])
async def test_nothing_can_be_changed(client: httpx.AsyncClient, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await client.request(method, path, headers=BEARER)).status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=BEARER)).status_code == 404


async def test_state_says_what_is_seen_and_sent(client: httpx.AsyncClient, status: Status, clock: ManualClock) -> None:
    set_watching(status, clock)
    clock.advance(3 * NS_PER_S)
    document = (await client.get("/state", headers=BEARER)).json()
    assert document["equity"] == {
        "equity_usdt": "4000.5",
        "age_s": 3.0,
        "exchange_time_ms": 7,
        "unit_price": None,
        "units": None,
    }
    assert document["lease"] == {
        "generation": 12,
        "ceiling": "ACTIVE",
        "age_s": 3.0,
        "result": "accepted",
        "detail": "",
    }
    assert (document["ceiling"], document["reason"], document["phase"]) == ("ACTIVE", "fresh", "watching")
    assert document["exchange"] == {
        "finding": "good",
        "detail": "",
        "clock_offset_ms": -120,
        "clock_offset_max_ms": 10_000,
    }
    assert (document["account"], document["environment"], document["deployment"]) == ("1002", "simulated", "d1")


async def test_state_says_what_the_streams_have_told(
    client: httpx.AsyncClient, status: Status, clock: ManualClock
) -> None:
    status.account_stream.frames, status.account_stream.last_frame_ns = 3, clock.monotonic_ns()
    status.executor_journal.rows, status.executor_journal.cosigned_at_ns = 7, clock.monotonic_ns()
    status.price_stream.detail = "the stream has ended: NetworkError"
    clock.advance(2 * NS_PER_S)
    document = (await client.get("/state", headers=BEARER)).json()
    assert document["executor_journal"] == {"rows": 7, "age_s": 2.0, "detail": "not witnessed yet"}
    assert document["streams"] == {
        "account": {"frames": 3, "age_s": 2.0, "detail": ""},
        "prices": {"frames": 0, "age_s": None, "detail": "the stream has ended: NetworkError"},
    }
    assert 'trade_watchdog_stream_frames{stream="account"} 3.0' in (await client.get("/metrics", headers=BEARER)).text


async def test_state_says_what_the_second_venue_says(
    client: httpx.AsyncClient, status: Status, clock: ManualClock
) -> None:
    status.second_venue = "okx"
    seen = SeenPrice(price=Decimal("64000.50"), seen_monotonic_ns=clock.monotonic_ns())
    status.second_coins = {"BTC": SecondCoin(finding=QuoteFinding.GOOD, seen=seen), "ETH": SecondCoin()}
    clock.advance(2 * NS_PER_S)
    document = (await client.get("/state", headers=BEARER)).json()
    assert document["second_venue"] == {
        "name": "okx",
        "coins": {
            "BTC": {"finding": "good", "price": "64000.5", "age_s": 2.0},
            "ETH": {"finding": "never_asked", "price": None, "age_s": None},
        },
    }


async def test_state_before_anything_is_seen(client: httpx.AsyncClient) -> None:
    document = (await client.get("/state", headers=BEARER)).json()
    assert set(document["equity"].values()) == {None}
    assert document["rungs"]["monthly"] == {
        "stage": "armed",
        "effect": "halt",
        "window_s": 2_592_000,
        "threshold": "0.15",
        "drawdown": None,
        "peak": None,
        "breaching_samples": 0,
        "since_ms": None,
    }
    assert list(document["rungs"]) == ["daily", "weekly", "monthly", "high_water"]
    assert document["rungs"]["high_water"]["window_s"] is None
    assert document["actions"] == {
        action: {"done_for": None, "failure": None} for action in ("halt", "kill", "scale_bot", "flatten")
    }
    assert document["journal"] == {"rows": 0, "is_writable": True, "failure": None}
    assert document["ceiling"] == "REDUCE_ONLY"
    assert document["lease"]["result"] == "never_sent"
    assert document["second_venue"] == {"name": "none", "coins": {}}
    assert document["executor_journal"] == {"rows": 0, "age_s": None, "detail": "not witnessed yet"}


async def test_metrics_hold_the_domains_own_and_the_standard_ones(
    client: httpx.AsyncClient, status: Status, clock: ManualClock
) -> None:
    set_watching(status, clock)
    await client.get("/healthz")
    text = (await client.get("/metrics", headers=BEARER)).text
    for line in (
        "trade_watchdog_equity_usdt 4000.5",
        "trade_watchdog_equity_age_seconds 0.0",
        "trade_watchdog_exchange_clock_offset_seconds -0.12",
        "trade_watchdog_lease_age_seconds 0.0",
        "trade_watchdog_lease_generation 12.0",
        "trade_watchdog_ceiling_active 1.0",
        "trade_watchdog_lease_second_prices 0.0",
        'trade_watchdog_second_quotes_total{finding="crossed"} 0.0',
        "trade_watchdog_key_verified 1.0",
        'trade_watchdog_leases_total{result="accepted"} 0.0',
        'trade_watchdog_equity_samples_total{finding="good"} 0.0',
        'http_requests_total{handler="/healthz",method="GET",status="2xx"} 1.0',
    ):
        assert line in text.splitlines()


def walk_to(keeper: LadderKeeper, price: str, clock: ManualClock) -> None:
    """Let the account begin at 1000 and stand three samples at a unit price."""
    sample = EquitySample(
        equity_usdt=Decimal(1000), coins=(), exchange_time_ms=1, received_wall_ns=1, received_monotonic_ns=1
    )
    book = open_book(sample, mark=LogMark(entry_id="", at_ms=0))
    for wanted in ("1", "1", "1", price, price, price):
        clock.advance(NS_PER_S)
        now = replace(
            sample,
            exchange_time_ms=clock.wall_ns() // 1_000_000,
            received_monotonic_ns=clock.monotonic_ns(),
        )
        keeper.take(Look(finding=Finding.GOOD, sample=now, book=replace(book, price=Decimal(wanted))))


async def test_fired_rung_is_shown_and_acknowledged(
    client: httpx.AsyncClient, keeper: LadderKeeper, clock: ManualClock
) -> None:
    walk_to(keeper, "0.94", clock)
    document = (await client.get("/state", headers=BEARER)).json()
    daily = document["rungs"]["daily"]
    assert (daily["stage"], daily["drawdown"], daily["peak"], daily["effect"]) == ("fired", "0.06", "1", "review")
    assert daily["since_ms"] == clock.wall_ns() // 1_000_000
    assert (document["equity"]["unit_price"], document["equity"]["units"]) == ("0.94", "1000")
    text = (await client.get("/metrics", headers=BEARER)).text.splitlines()
    assert 'trade_watchdog_rung_fired{rung="daily"} 1.0' in text
    assert 'trade_watchdog_rung_fired{rung="weekly"} 0.0' in text
    assert 'trade_watchdog_rung_drawdown{rung="daily"} 0.06' in text
    assert 'trade_watchdog_rung_threshold{rung="high_water"} 0.18' in text
    answer = await client.post("/ack", headers=BEARER, json={"subject": "rung:daily", "by": "kim"})
    assert (answer.status_code, answer.json()) == (200, {"acknowledged": "rung:daily"})
    document = (await client.get("/state", headers=BEARER)).json()
    assert document["rungs"]["daily"]["stage"] == "acknowledged"
    assert (await client.post("/ack", headers=BEARER, json={"subject": "rung:weekly_"})).status_code == 409


async def test_incident_is_listed_until_a_person_says_what_was_done(
    client: httpx.AsyncClient, keeper: LadderKeeper
) -> None:
    assert (await client.get("/state", headers=BEARER)).json()["incidents"] == {"open": 0, "newest": []}
    for number in range(14):
        keeper.history.open_incident(kind=f"kind {number}", severity=Severity.CRITICAL, fields={"order": "7"})
    body = {"incident": 13, "mitigation": "cancelled by hand", "by": "kim"}
    answer = await client.post("/mitigated", headers=BEARER, json=body)
    assert (answer.status_code, answer.json()["row"], answer.json()["is_new"]) == (200, 14, True)
    listed = (await client.get("/state", headers=BEARER)).json()["incidents"]
    assert (listed["open"], len(listed["newest"])) == (13, 12)
    newest = {name: listed["newest"][0][name] for name in ("row", "kind", "severity", "detail")}
    assert newest == {"row": 12, "kind": "kind 12", "severity": "critical", "detail": "order=7"}
    again = (await client.post("/mitigated", headers=BEARER, json={**body, "by": "lee"})).json()
    assert again == {"row": 14, "by": "kim", "mitigation": "cancelled by hand", "is_new": False}


@pytest.mark.parametrize(
    ("body", "status_code", "sentence"),
    [
        ({"incident": 0, "mitigation": "x"}, 404, "no row 0 in the watchdog's journal, which has 0"),
        ({"incident": 0, "mitigation": " "}, 422, "what was done is empty"),
        ({"incident": "0", "mitigation": "x"}, 422, ""),
        ({"incident": -1, "mitigation": "x"}, 422, ""),
        ({"incident": 2**53, "mitigation": "x"}, 422, ""),
        ({"incident": 0}, 422, ""),
        ({"incident": 0, "mitigation": "x", "by": "<b>"}, 422, ""),
        ({"incident": 0, "mitigation": "x", "more": 1}, 422, ""),
        ({"incident": 0, "mitigation": "x" * 8192}, 413, ""),
    ],
)
async def test_mitigation_of_nonsense_is_refused(
    client: httpx.AsyncClient, keeper: LadderKeeper, body: dict[str, Any], status_code: int, sentence: str
) -> None:
    answer = await client.post("/mitigated", headers=BEARER, json=body)
    assert answer.status_code == status_code
    assert sentence in answer.text
    assert keeper.history.journal.size == 0


async def test_mitigation_that_cannot_be_written_is_said(client: httpx.AsyncClient, keeper: LadderKeeper) -> None:
    keeper.history.open_incident(kind="x", severity=Severity.CRITICAL, fields={})
    cast(JournalList, keeper.history.journal).is_writable = False
    answer = await client.post("/mitigated", headers=BEARER, json={"incident": 0, "mitigation": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (503, "the watchdog's journal: the disk is gone")


async def test_mitigation_takes_a_token(client: httpx.AsyncClient) -> None:
    assert (await client.post("/mitigated", json={"incident": 0, "mitigation": "x"})).status_code == 401


async def test_outflow_is_announced_until_too_many_wait(client: httpx.AsyncClient, keeper: LadderKeeper) -> None:
    answer = await client.post("/announce", headers=ANNOUNCER, json={"coin": "USDT", "amount": "50.5", "by": "kim"})
    assert answer.status_code == 200
    assert len(answer.json()["movement_id"]) == 16
    assert keeper.history.journal.entries[-1].fields["by"] == "kim"
    for _ in range(49):
        await client.post("/announce", headers=ANNOUNCER, json={"coin": "USDT", "amount": "1"})
    assert (await client.post("/announce", headers=ANNOUNCER, json={"coin": "USDT", "amount": "1"})).status_code == 409


@pytest.mark.parametrize(
    ("headers", "change", "status_code"),
    [
        ({}, {}, 401),
        (BEARER, {}, 401),
        (ANNOUNCER, {"amount": "0"}, 422),
        (ANNOUNCER, {"amount": "-5"}, 422),
        (ANNOUNCER, {"amount": "NaN"}, 422),
        (ANNOUNCER, {"amount": "1e3"}, 422),
        (ANNOUNCER, {"amount": 5}, 422),
        (ANNOUNCER, {"coin": "usdt"}, 422),
        (ANNOUNCER, {"coin": ""}, 422),
        (ANNOUNCER, {"more": "1"}, 422),
    ],
)
async def test_announcement_of_nonsense_is_refused(
    client: httpx.AsyncClient,
    keeper: LadderKeeper,
    headers: dict[str, str],
    change: dict[str, Any],
    status_code: int,
) -> None:
    answer = await client.post("/announce", headers=headers, json={"coin": "USDT", "amount": "5", **change})
    assert answer.status_code == status_code
    assert keeper.history.journal.entries == []


@pytest.mark.parametrize(
    ("headers", "content", "status_code"),
    [
        ({}, b'{"subject": "rung:daily"}', 401),
        ({"authorization": "Bearer wrong"}, b'{"subject": "rung:daily"}', 401),
        ({**BEARER, "origin": "http://127.0.0.1:21020"}, b'{"subject": "rung:daily"}', 403),
        (BEARER, b'{"subject": "rung nine"}', 422),
        (BEARER, b'{"subject": "rung:daily", "by": "a b"}', 422),
        (BEARER, b'{"subject": "rung:daily", "more": 1}', 422),
        (BEARER, b"[]", 422),
        (BEARER, b"{" * 500, 422),
        (BEARER, b" " * 1025, 413),
    ],
)
async def test_acknowledgement_is_refused_to_strangers_and_for_nonsense(
    client: httpx.AsyncClient, keeper: LadderKeeper, headers: dict[str, str], content: bytes, status_code: int
) -> None:
    walk_to(keeper, "0.94", ManualClock())
    sent = {**headers, "content-type": "application/json"}
    assert (await client.post("/ack", headers=sent, content=content)).status_code == status_code
    assert keeper.ladder.readings()[0].stage is Stage.FIRED


@pytest.mark.parametrize(
    ("headers", "is_recognised"), [(BEARER, True), ({"authorization": "Bearer x"}, False), ({}, False)]
)
async def test_bearer_of_the_token_is_made_known_to_the_protocol(
    status: Status, clock: ManualClock, headers: dict[str, str], is_recognised: bool, tmp_path: Path
) -> None:
    recognised: list[bool] = []
    app = admin_app(
        status=status,
        keeper=keeper_of(clock=clock),
        auditor=AuditWorld(clock=clock).auditor,
        rings=rings_of(tmp_path, clock),
        gateway=gateway,
        token=Secret("token"),
        announce_token=None,
        registry=CollectorRegistry(),
        clock=clock,
    )

    async def behind_the_protocol(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, RECOGNISE_KEY: lambda: recognised.append(True)}, receive, send)

    transport = httpx.ASGITransport(app=behind_the_protocol)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:21020", headers=headers) as made:
        await made.get("/state")
        body = {"coin": "USDT", "amount": "5"}
        assert (await made.post("/announce", json=body)).status_code == 403  # there is no token that could
    assert recognised == [True] * is_recognised


async def test_ring_is_handed_to_its_keeper_which_says_whether_it_counts(client: httpx.AsyncClient) -> None:
    stranger = await client.post("/ring", content=b"{}")
    assert stranger.status_code == 401
    for raw in (b"{}", b"x" * 16_000):
        refused = await client.post("/ring", content=raw, headers=BEARER)
        assert (refused.status_code, "ring offer" in refused.json()["detail"]) == (409, True)
    too_long = await client.post("/ring", content=b"x" * 16_385, headers=BEARER)
    assert too_long.status_code == 413
    document = (await client.get("/state", headers=BEARER)).json()
    assert (document["ring"]["version"], document["ring"]["credentials"]) == (1, [])


async def test_halt_halts_the_gateway_and_tells_what_was_on_its_way(
    client: httpx.AsyncClient, gateway: Gateway, auditor: Auditor
) -> None:
    answer = await client.post("/halt", json={"reason": "the news"}, headers=BEARER)
    assert (answer.status_code, answer.json()) == (200, {"trading_state": "HALTED", "in_flight": ["T1-one"]})
    assert gateway.reasons == ["asked of the watchdog: the news"]
    assert auditor.verdict().ceiling is Ceiling.HALTED
    await auditor.duties.halt()
    assert auditor.duties.owed == []


async def test_halt_of_a_gateway_that_does_not_answer_is_owed_and_every_lease_says_it(
    client: httpx.AsyncClient, gateway: Gateway, auditor: Auditor
) -> None:
    gateway.is_down = True
    answer = await client.post("/halt", json={"reason": "the news"}, headers=BEARER)
    assert answer.status_code == 503
    assert "it is tried again; no lease permits anything: the gateway does not answer" in answer.json()["detail"]
    verdict = auditor.verdict()
    assert (verdict.ceiling, verdict.reason) == (
        Ceiling.HALTED,
        "the gateway is to be halted: asked of the watchdog: the news",
    )


@pytest.mark.parametrize(("reason", "kept"), [("", NO_REASON), ("x" * 300, "x" * REASON_CHARACTERS_MAX)])
async def test_halt_does_not_fail_by_its_reason(
    client: httpx.AsyncClient, gateway: Gateway, reason: str, kept: str
) -> None:
    assert (await client.post("/halt", json={"reason": reason}, headers=BEARER)).status_code == 200
    assert gateway.reasons == [f"asked of the watchdog: {kept}"]


@pytest.mark.parametrize("body", [{}, {"reason": 5}, {"reason": "a", "b": 1}])
async def test_halt_that_is_none_is_refused_and_halts_nothing(
    client: httpx.AsyncClient, gateway: Gateway, body: dict[str, Any]
) -> None:
    assert (await client.post("/halt", json=body, headers=BEARER)).status_code == 422
    assert (await client.post("/halt", json={"reason": "a"})).status_code == 401
    assert gateway.reasons == []


async def test_own_journal_is_shown_as_the_gateway_s_is(client: httpx.AsyncClient, keeper: LadderKeeper) -> None:
    keeper.history.open_incident(kind="a:b", severity=Severity.WARNING, fields={})
    keeper.history.open_incident(kind="c:d", severity=Severity.WARNING, fields={})
    rows = (await client.get("/journal/rows?from=1&limit=5", headers=BEARER)).json()["rows"]
    assert [(row["seq"], row["kind"], row["fields"]["type"]) for row in rows] == [(1, "incident:opened", "c:d")]
    entries = (await client.get("/journal/entries?from=0&limit=1", headers=BEARER)).content
    assert entries.count(b"\n") == 1
    assert b"a:b" in entries
    assert (await client.get("/journal/checkpoint", headers=BEARER)).status_code == 200
    for path in ("/journal/rows", "/journal/entries", "/journal/checkpoint"):
        assert (await client.get(path)).status_code == 401
    for asked in ("from=-1", "limit=0", f"limit={ROWS_MAX + 1}"):
        assert (await client.get(f"/journal/rows?{asked}", headers=BEARER)).status_code == 422


async def test_own_journal_that_cannot_be_signed_is_said(client: httpx.AsyncClient, keeper: LadderKeeper) -> None:
    cast("JournalList", keeper.history.journal).is_writable = False
    answer = await client.get("/journal/checkpoint", headers=BEARER)
    assert (answer.status_code, answer.json()["detail"]) == (503, "the journal cannot be read now: the disk is gone")
