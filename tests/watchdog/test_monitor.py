"""The monitor: no lease without a harmless key, ACTIVE only on what it saw, and recovery by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from trust_parts import watchdogs_checkpoint
from watchdog.conftest import row_numbered
from watchdog.keepers import EffectsList
from watchdog.warrants import policy_warrant

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_journal.log.checkpoint import open_cosigned, read_checkpoint
from trade_journal.log.fork_proof import proof_in, proves_fork
from trade_journal.log.note import parse_note
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import RowKind
from trade_watchdog import ceiling as ceiling_module
from trade_watchdog import freeze_alarm
from trade_watchdog import ladder as ladder_module
from trade_watchdog import monitor as monitor_module
from trade_watchdog import releases as releases_module
from trade_watchdog import second_prices as second_prices_module
from trade_watchdog.account_watch import AccountWatch, Look
from trade_watchdog.audited_exchange import AuditedExchange
from trade_watchdog.auditor_service import make_auditor
from trade_watchdog.ceiling import Ceiling, Finding, Verdict
from trade_watchdog.effects import KillCondition
from trade_watchdog.exchange import KeyRefusedByExchange, OtherEnvironment, WatchedExchange
from trade_watchdog.gateway_link import GatewayLink, GatewayUnavailable
from trade_watchdog.history import History
from trade_watchdog.identity import GenerationStore, load_exchange_key, load_gateway_address
from trade_watchdog.ladder import Ladder
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.lease_sender import LIFETIME_S, PROOFS_TRIED, LeaseSender
from trade_watchdog.log_witness import LogWitness
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.monitor import Monitor
from trade_watchdog.policy_chain import CHAIN_FILE, PolicyChain
from trade_watchdog.quotes import QuoteFinding
from trade_watchdog.reconciler import Reconciler
from trade_watchdog.releases import Position, Releases
from trade_watchdog.second_prices import SecondPrices
from trade_watchdog.second_venue import SecondVenue
from trade_watchdog.status import LeaseResult, Phase, Status
from trade_watchdog.streams import Deliver, Streams

Until = Callable[..., Awaitable[None]]
NOTHING_OWED = {"borrowAmount": "0", "spotBorrow": "0", "accruedInterest": "0"}


@pytest_asyncio.fixture
async def monitor(deployment: Any, venue: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Monitor]:
    """Put a monitor together as the service does, with short periods; nothing runs yet."""
    monkeypatch.setattr(monitor_module, "SEND_EVERY_S", 0.05)
    monkeypatch.setattr(monitor_module, "SAMPLE_EVERY_S", 0.05)
    monkeypatch.setattr(monitor_module, "SAMPLE_SOON_S", 0.01)
    monkeypatch.setattr(ladder_module, "SAMPLES_APART_S", 0)
    monkeypatch.setattr(monitor_module, "LEASE_RETRY_S", 0.05)
    monkeypatch.setattr(monitor_module, "RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(second_prices_module, "READ_EVERY_S", 0.05)
    clock = SystemClock()
    settings = deployment.settings
    status = Status()
    history = await History.open(
        settings.state_dir,
        ring=deployment.ring,
        log_key=deployment.identity.log_key,
        clock=clock,
        has_vouched=False,
    )
    effects = EffectsList()
    keeper = LadderKeeper(
        ladder=Ladder(settings.thresholds()),
        thresholds=settings.thresholds(),
        history=history,
        effects=effects,
        clock=clock,
    )
    link = GatewayLink(load_gateway_address(settings.gateway_handover))
    witness = LogWitness(
        link=link, state_dir=settings.state_dir, ring=deployment.ring, private_key=deployment.identity.witness_key
    )
    witness.open(has_vouched=False, clock=SystemClock())
    policies = PolicyChain(settings.state_dir, ring=deployment.ring)
    read_key = load_exchange_key(settings.secrets_file)
    audited = AuditedExchange(url=settings.exchange_url, is_simulated=True, key=read_key, clock=clock)
    master = AuditedExchange(
        url=settings.exchange_url, is_simulated=True, key=load_exchange_key(settings.master_secrets_file), clock=clock
    )
    auditor = make_auditor(
        settings,
        ring=deployment.ring,
        tag_key=load_gateway_address(settings.gateway_handover).tag_key_of(deployment.ring),
        audited=audited,
        master=master,
        witness=witness,
        link=link,
        keeper=keeper,
        policies=policies,
        read_key=read_key,
        clock=clock,
    )
    metrics = WatchdogMetrics(registry=CollectorRegistry(), status=status, keeper=keeper, auditor=auditor, clock=clock)
    second = SecondPrices(
        venue=SecondVenue(name="bybit", url=venue.url, clock=clock), status=status, metrics=metrics, clock=clock
    )
    exchange = WatchedExchange(url=settings.exchange_url, is_simulated=True, key=read_key, clock=clock)
    yield Monitor(
        exchange=exchange,
        watch=AccountWatch(exchange=exchange, clock=clock),
        keeper=keeper,
        master=master,
        auditor=auditor,
        reconciler=Reconciler(
            reading=audited,
            open_copy=witness.reading,
            history=history,
            effects=effects,
            state_dir=settings.state_dir,
            clock=clock,
        ),
        sender=LeaseSender(
            link=link,
            ring=deployment.ring,
            private_key=deployment.identity.lease_key,
            holder="a" * 16,
            generations=GenerationStore(settings.state_dir),
            second=second,
            policies=policies,
            witness=witness,
            releases=Releases(ring=deployment.ring, open_copy=witness.reading, position=Position()),
            keeper=keeper,
            clock=clock,
        ),
        status=status,
        metrics=metrics,
        account=settings.account,
        clock=clock,
    )
    await link.close()
    for connection in (exchange, audited, master):
        await connection.close()
    await second.close()
    witness.close()
    await history.close()


@contextlib.asynccontextmanager
async def running(monitor: Monitor) -> AsyncIterator[asyncio.Task[None]]:
    """Run a monitor for the length of a block; it must not end by itself."""
    task = asyncio.create_task(monitor.run())
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def assert_active_once_begun(gateway: Any) -> None:
    """Check that no lease fell back after the first samples, which permit nothing yet."""
    ceilings = [lease.ceiling for lease in gateway.leases]
    begun = ceilings.index("ACTIVE")
    assert set(ceilings[:begun]) <= {"REDUCE_ONLY"}
    assert set(ceilings[begun:]) == {"ACTIVE"}


async def test_leases_are_active_rising_and_name_the_gateway(monitor: Monitor, deployment: Any, until: Until) -> None:
    gateway = deployment.gateway
    gateway.generation = 100
    async with running(monitor):
        await until(lambda: len(gateway.leases) >= 3 and gateway.leases[-1].ceiling == "ACTIVE")
    assert_active_once_begun(gateway)
    generations = [lease.generation for lease in gateway.leases]
    assert generations == list(range(101, 101 + len(generations)))
    lease = gateway.leases[-1]
    assert (lease.boot_nonce, lease.deployment, lease.environment, lease.account) == (
        "boot-1",
        "d1",
        "simulated",
        "1002",
    )
    assert (lease.policy_hash, lease.scale) == (deployment.ring.policy_hash, "1")
    left_s = lease.expires_at_ms / 1000 - SystemClock().wall_ns() / 1e9
    assert LIFETIME_S - 5 < left_s <= LIFETIME_S
    assert monitor.status.lease_result is LeaseResult.ACCEPTED


async def test_generation_goes_on_after_a_restart_of_the_watchdog(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    async with running(monitor):
        await until(lambda: len(deployment.gateway.leases) >= 2)
    last = GenerationStore(deployment.state_dir).value
    assert last >= deployment.gateway.leases[-1].generation >= 2


async def test_restarted_gateway_gets_a_lease_for_its_new_boot(monitor: Monitor, deployment: Any, until: Until) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: len(gateway.leases) >= 2)
        before = gateway.leases[-1].generation
        await gateway.stop()
        await until(lambda: monitor.status.lease_result is LeaseResult.UNAVAILABLE)
        gateway.boot_nonce, gateway.generation = "boot-2", 0
        await gateway.start()
        await until(lambda: gateway.leases[-1].boot_nonce == "boot-2")
    assert gateway.leases[-1].generation > before


@pytest.mark.parametrize(
    "change",
    [{"readOnly": 0}, {"userID": 7}, {"permissions": {"Wallet": ["Withdraw"]}}, {"permissions": None}],
)
async def test_harmful_key_ends_the_watchdog_before_any_lease(
    monitor: Monitor, deployment: Any, change: dict[str, Any]
) -> None:
    deployment.exchange.key_changes = change
    with pytest.raises(ConfigurationError, match="exchange key is refused"):
        await asyncio.wait_for(monitor.run(), 60)
    assert deployment.gateway.requests == []


async def test_unknown_key_ends_the_watchdog(monitor: Monitor, deployment: Any) -> None:
    deployment.exchange.override = (
        200,
        {"content-type": "application/json", **deployment.exchange.mark},
        b'{"retCode":10003,"retMsg":"API key is invalid.","result":{},"time":1}',
    )
    with pytest.raises(KeyRefusedByExchange):
        await asyncio.wait_for(monitor.run(), 60)


async def test_exchange_not_simulated_gets_no_key_and_ends_the_watchdog(monitor: Monitor, deployment: Any) -> None:
    deployment.exchange.mark = {}
    with pytest.raises(OtherEnvironment):
        await asyncio.wait_for(monitor.run(), 60)
    assert [path for _method, path, _headers, _body in deployment.exchange.requests] == ["/v5/market/time"]


async def test_exchange_down_at_start_means_no_lease_and_recovery(
    monitor: Monitor, deployment: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    await deployment.exchange.stop()
    with caplog.at_level(logging.INFO):
        async with running(monitor):
            await until(lambda: bool(monitor.status.exchange_detail))
            await asyncio.sleep(0.2)
            assert deployment.gateway.requests == []
            assert monitor.status.phase is Phase.WAITING_FOR_EXCHANGE
            await deployment.exchange.start()
            await until(lambda: any(lease.ceiling == "ACTIVE" for lease in deployment.gateway.leases))
    assert {record.levelname for record in caplog.records if record.name.startswith("trade_")} <= {"INFO", "WARNING"}


@pytest.mark.parametrize("equity", [None, "NaN", "0", "-4000", "garbage"])
async def test_equity_not_to_be_believed_tightens_at_once_and_clears(
    monitor: Monitor, deployment: Any, until: Until, equity: object
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and gateway.leases[-1].ceiling == "ACTIVE")
        deployment.exchange.equity = equity
        await until(lambda: gateway.leases[-1].ceiling == "REDUCE_ONLY")
        assert "equity" in monitor.status.verdict.reason
        deployment.exchange.equity = "3999"
        await until(lambda: gateway.leases[-1].ceiling == "ACTIVE")


async def test_tighter_ceiling_does_not_wait_for_the_next_period(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "SEND_EVERY_S", 3600)
    gateway = deployment.gateway
    for _ in range(3):
        await monitor._sample()
    await monitor.auditor.look()
    await monitor.auditor.read_keys()
    await monitor.auditor.read_posture()
    await monitor.auditor.reread_journal()
    leasing = asyncio.create_task(monitor._lease_forever())
    try:
        await until(lambda: [lease.ceiling for lease in gateway.leases] == ["ACTIVE"])
        deployment.exchange.equity = None
        await monitor._sample()
        await until(lambda: gateway.leases[-1].ceiling == "REDUCE_ONLY")
    finally:
        leasing.cancel()


async def test_exchange_that_repeats_its_answer_is_not_believed(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and gateway.leases[-1].ceiling == "ACTIVE")
        deployment.exchange.frozen_time_ms = SystemClock().wall_ns() // 1_000_000
        await until(lambda: gateway.leases[-1].ceiling == "REDUCE_ONLY")
        assert monitor.status.finding.value == "time_stands_still"


async def test_exchange_clock_that_leaps_is_not_believed(monitor: Monitor, deployment: Any, until: Until) -> None:
    deployment.exchange.clock_offset_ms = 60_000
    async with running(monitor):
        await until(lambda: monitor.status.finding.value == "clocks_disagree")
        await until(lambda: bool(deployment.gateway.leases))
        assert {lease.ceiling for lease in deployment.gateway.leases} == {"REDUCE_ONLY"}


async def test_exchange_silent_for_long_tightens_and_clears(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trade_watchdog import ceiling  # noqa: PLC0415

    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and gateway.leases[-1].ceiling == "ACTIVE")
        monkeypatch.setattr(ceiling, "SAMPLE_AGE_MAX_S", 1)
        await deployment.exchange.stop()
        await until(lambda: gateway.leases[-1].ceiling == "REDUCE_ONLY")
        assert "last read more than" in monitor.status.verdict.reason
        await deployment.exchange.start()
        await until(lambda: gateway.leases[-1].ceiling == "ACTIVE")


async def test_exchange_that_loses_its_mark_is_not_believed_and_called_an_error(
    monitor: Monitor, deployment: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and gateway.leases[-1].ceiling == "ACTIVE")
        deployment.exchange.mark = {}
        await until(lambda: gateway.leases[-1].ceiling == "REDUCE_ONLY")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "does not say that it is simulated" in errors[0].getMessage()


@pytest.mark.parametrize("name", ["deployment", "environment", "account", "ring_hash"])
async def test_gateway_that_names_another_ring_gets_no_lease(
    monitor: Monitor, deployment: Any, until: Until, name: str
) -> None:
    deployment.gateway.state_changes = {name: "other"}
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.FOREIGN)
        assert monitor.status.lease_detail.endswith(name)
        assert "/lease" not in {path for _method, path, _headers, _body in deployment.gateway.requests}
        deployment.gateway.state_changes = {}
        await until(lambda: monitor.status.lease_result is LeaseResult.ACCEPTED)


async def test_gateway_with_a_policy_that_no_warrant_authorised_gets_no_lease(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    deployment.gateway.state_changes = {"policy": {"authorised_hash": "q" * 64, "warrants": []}}
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.FOREIGN)
        assert "no warrant authorised" in monitor.status.lease_detail
        deployment.gateway.state_changes = {"policy": {"authorised_hash": "q" * 64, "warrants": ["bm8="]}}
        await until(lambda: "is not authorised" in monitor.status.lease_detail)
        assert deployment.gateway.leases == []
        deployment.gateway.state_changes = {}
        await until(lambda: monitor.status.lease_result is LeaseResult.ACCEPTED)


async def test_gateway_with_an_authorised_policy_gets_a_lease_that_names_it_and_none_without_it_again(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    shown = {"authorised_hash": "c" * 64, "warrants": [policy_warrant(deployment, "b" * 64, "c" * 64)]}
    deployment.gateway.state_changes = {"policy": shown}
    async with running(monitor):
        await until(lambda: bool(deployment.gateway.leases))
        assert deployment.gateway.leases[-1].policy_hash == "c" * 64
        deployment.gateway.state_changes = {}
        await until(lambda: monitor.status.lease_result is LeaseResult.FOREIGN)
        assert "do not continue" in monitor.status.lease_detail


async def test_policy_warrant_that_cannot_be_kept_gives_no_lease(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    (deployment.state_dir / CHAIN_FILE).mkdir()
    shown = {"authorised_hash": "c" * 64, "warrants": [policy_warrant(deployment, "b" * 64, "c" * 64)]}
    deployment.gateway.state_changes = {"policy": shown}
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.UNNUMBERED)
        assert deployment.gateway.leases == []


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ((200, {}, b"not json"), LeaseResult.INVALID),
        ((503, {}, b"starting"), LeaseResult.REFUSED),
        ((401, {}, b"who?"), LeaseResult.REFUSED),
    ],
)
async def test_gateway_that_answers_badly_is_tried_again(
    monitor: Monitor, deployment: Any, until: Until, answer: Any, result: LeaseResult
) -> None:
    deployment.gateway.override = answer
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is result)
        deployment.gateway.override = None
        await until(lambda: monitor.status.lease_result is LeaseResult.ACCEPTED)


async def test_generation_that_cannot_be_stored_sends_nothing(monitor: Monitor, deployment: Any, until: Until) -> None:
    generation_file = deployment.state_dir / "generation.json"
    generation_file.mkdir()
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.UNNUMBERED)
        assert deployment.gateway.leases == []
        generation_file.rmdir()
        await until(lambda: monitor.status.lease_result is LeaseResult.ACCEPTED)


def second_prices_of(lease: Any) -> dict[str, str]:
    return {price.coin: price.price for price in lease.second_prices}


async def test_leases_carry_the_second_venue_s_prices(
    monitor: Monitor, deployment: Any, venue: Any, until: Until
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and len(gateway.leases[-1].second_prices) == 2)
        await until(lambda: gateway.leases[-1].ceiling == "ACTIVE")
        lease = gateway.leases[-1]
        assert lease.second_venue == "bybit"
        assert second_prices_of(lease) == {"BTC": "64000.5", "ETH": "3200.1"}
        assert all(0 <= lease.signed_at_ms - price.seen_at_ms < 5_000 for price in lease.second_prices)
        venue.books["BTC"] = ("70000", "70001")
        await until(lambda: second_prices_of(gateway.leases[-1]).get("BTC") == "70000.5")
        venue.books["BTC"] = ("70001", "70000")
        await until(lambda: set(second_prices_of(gateway.leases[-1])) == {"ETH"})
        assert monitor.status.second_coins["BTC"].finding is QuoteFinding.CROSSED
    assert_active_once_begun(gateway)


async def test_second_venue_that_hangs_or_dies_delays_no_lease(
    monitor: Monitor, deployment: Any, venue: Any, until: Until
) -> None:
    gateway = deployment.gateway
    venue.is_hanging = True
    async with running(monitor):
        await until(lambda: len(venue.requests) >= 2 and len(gateway.leases) >= 10)
        assert {lease.second_venue for lease in gateway.leases} == {"bybit"}
        assert all(not lease.second_prices for lease in gateway.leases)
        await venue.stop()
        count = len(gateway.leases)
        await until(lambda: monitor.status.second_coins["BTC"].finding is QuoteFinding.UNAVAILABLE)
        await until(lambda: len(gateway.leases) >= count + 5)
    assert_active_once_begun(gateway)


async def test_leases_carry_a_cosigned_checkpoint_of_every_row(monitor: Monitor, deployment: Any, until: Until) -> None:
    keys = gateway_log_keys(deployment.ring)
    assert keys.witness is not None
    async with running(monitor):
        await until(lambda: bool(deployment.gateway.leases))
        deployment.gateway.rows.append(row_numbered(3))
        await until(lambda: monitor.status.witnessed_rows == 4)
        count = len(deployment.gateway.leases)
        await until(lambda: len(deployment.gateway.leases) > count)
    last = open_cosigned(deployment.gateway.leases[-1].checkpoint.encode(), log=keys.log, witness=keys.witness)
    assert last.checkpoint.size == 4


async def test_journal_that_cannot_be_borne_out_gets_no_lease_until_it_can(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    deployment.gateway.path_overrides["/journal/entries"] = (200, {}, b"")
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.UNWITNESSED)
        assert "signed 3 rows and gives 0" in monitor.status.lease_detail
        assert not deployment.gateway.leases
        deployment.gateway.path_overrides.clear()
        await until(lambda: monitor.status.lease_result is LeaseResult.ACCEPTED)
    assert not deployment.gateway.halts


async def test_forked_journal_halts_the_gateway_and_gets_no_lease(
    monitor: Monitor, deployment: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases))
        gateway.rows = [row_numbered(0, path="/v5/other"), *gateway.rows[1:]]
        await until(lambda: bool(gateway.halts))
        count = len(gateway.leases)
        await until(lambda: len(gateway.halts) > 1 and bool(monitor.keeper.effects.kills))
        assert len(gateway.leases) == count
    assert gateway.halts[0].startswith("journal forked: the log signed a root over 3 rows that its own rows contradict")
    assert monitor.status.lease_result is LeaseResult.FORKED
    assert isinstance(monitor.keeper.effects, EffectsList)
    (kill,) = monitor.keeper.effects.kills
    assert kill.condition is KillCondition.FORKED_JOURNAL
    assert proves_fork(proof_in(kill.evidence), log_of=lambda _: gateway_log_keys(deployment.ring).log)
    assert subjects(monitor).count("journal:forked") == 1
    assert any(record.levelno == logging.ERROR and "forked" in record.message for record in caplog.records)


async def test_fork_that_signatures_do_not_prove_is_asked_a_kill_for_without_a_proof(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, tried = deployment.gateway, []

    async def no_proof() -> bytes:
        tried.append("proof")
        raise GatewayUnavailable("it hangs")

    monkeypatch.setattr(monitor.sender.witness, "fork_proof", no_proof)
    async with running(monitor):
        await until(lambda: bool(gateway.leases))
        gateway.rows = [row_numbered(0, path="/v5/other"), *gateway.rows[1:]]
        await until(lambda: len(gateway.halts) > PROOFS_TRIED + 1)
    assert isinstance(monitor.keeper.effects, EffectsList)
    assert [list(kill.evidence) for kill in monitor.keeper.effects.kills] == [["detail"]]
    assert len(tried) == PROOFS_TRIED


async def test_leases_tell_the_peaks_once_the_gateway_s_journal_is_read(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and len(gateway.leases[-1].peaks) == 4)
        told = gateway.leases[-1]
    assert {peak.rung: peak.price for peak in told.peaks} == dict.fromkeys(
        ("daily", "weekly", "monthly", "high_water"), "1"
    )
    assert told.memory_rows <= monitor.keeper.history.journal.size
    own = read_checkpoint(parse_note(told.memory_checkpoint.encode()))
    assert own.origin == "trade/simulated/1002/watchdog"
    assert own.size <= told.memory_rows
    assert await monitor.keeper.history.journal.has_signed(own)


@pytest.mark.parametrize(("is_own_holder", "is_put_back"), [(True, True), (False, False)])
async def test_watchdog_whose_journal_never_signed_what_it_once_told_takes_its_peaks_back(
    monitor: Monitor, deployment: Any, until: Until, *, is_own_holder: bool, is_put_back: bool
) -> None:
    monitor.keeper.began_with_rows = 7
    fields = {
        "rows": 5,
        "peaks": {"monthly": "1.2"},
        "holder": monitor.sender.holder if is_own_holder else "f" * 16,
        "memory_checkpoint": watchdogs_checkpoint(monitor.sender.ring, size=5),
    }
    deployment.gateway.rows.append(replace(row_numbered(3), kind=RowKind.WATCHDOG_REMEMBERED, fields=fields))
    async with running(monitor):
        await until(lambda: bool(deployment.gateway.leases) and monitor.keeper.began_with_rows is None)
    alerts = [alert.text for alert in monitor.keeper.effects.alerts if alert.subject == "watchdog_journal"]
    assert [("is not the one that once had 5" in text) for text in alerts] == ([True] if is_put_back else [])


async def test_watchdog_that_was_put_back_finds_its_peaks_in_the_gateway_s_journal(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    monitor.keeper.began_with_rows = 7
    fields = {"rows": 99, "peaks": {"monthly": "1.2", "high_water": "1.25"}}
    deployment.gateway.rows.append(replace(row_numbered(3), kind=RowKind.WATCHDOG_REMEMBERED, fields=fields))
    async with running(monitor):
        await until(lambda: any(lease.ceiling == "HALTED" for lease in deployment.gateway.leases))
    assert not any(lease.ceiling in {"ACTIVE", "TRIMMED"} for lease in deployment.gateway.leases)
    halted = next(lease for lease in deployment.gateway.leases if lease.ceiling == "HALTED")
    assert Decimal(halted.trigger_value) >= Decimal("0.15")
    assert all(not lease.trigger_value for lease in deployment.gateway.leases if lease.ceiling != "HALTED")
    (alert,) = [alert for alert in monitor.keeper.effects.alerts if alert.subject == "watchdog_journal"]
    assert "began with 7 rows and once had 99" in alert.text


async def test_journal_that_is_not_read_to_its_end_permits_nothing(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases_module, "PAGE_ROWS", 1)
    monkeypatch.setattr(releases_module, "PAGES_AT_ONCE", 1)
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: bool(gateway.leases) and gateway.leases[-1].ceiling == "ACTIVE")
    ceilings = [lease.ceiling for lease in gateway.leases]
    assert ceilings[:3] == ["REDUCE_ONLY"] * 3
    assert all(not lease.peaks for lease in gateway.leases[:3])


class ScriptedStream:
    """Streams that stay open; a test delivers through `deliver`."""

    def __init__(self) -> None:
        self.deliver: Deliver = lambda _topic, _entry: None

    async def follow_account(self, deliver: Deliver) -> None:
        self.deliver = deliver
        await asyncio.Event().wait()

    async def follow_prices(self, symbols: frozenset[str], deliver: Deliver) -> None:
        await asyncio.Event().wait()


def with_streams(monitor: Monitor) -> ScriptedStream:
    stream = ScriptedStream()
    monitor.streams = Streams(
        stream=stream,
        ladder=monitor.keeper.ladder,
        orders=monitor.auditor,
        clock=monitor.clock,
        sample_soon=monitor.sample_soon,
        account=monitor.status.account_stream,
        prices=monitor.status.price_stream,
    )
    return stream


async def test_stream_brings_the_next_reading_forward(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "SAMPLE_EVERY_S", 3600)
    stream = with_streams(monitor)
    async with running(monitor):
        await until(lambda: monitor.status.last_good is not None)
        first = monitor.status.last_good
        await asyncio.sleep(0.05)
        assert monitor.status.last_good is first
        stream.deliver("wallet", {})
        await until(lambda: monitor.status.last_good is not first)


async def test_fall_that_streams_tell_of_and_no_reading_answers_freezes(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    with_streams(monitor)
    assert monitor.streams is not None
    async with running(monitor):
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)
        deployment.exchange.wallet_override = (503, {}, b"")
        await until(lambda: monitor.status.finding is Finding.UNAVAILABLE)
        monitor.streams._breached_at_ns, monitor.streams._breached = 0, "daily"
        await until(lambda: monitor.status.verdict.reason.startswith("the streams tell of a fall past the daily rung"))
        deployment.exchange.wallet_override = None
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)


async def test_watchdog_stands_by_while_another_leads_and_takes_over_when_its_lease_has_expired(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    gateway = deployment.gateway
    gateway.lease_holder, gateway.lease_expires_in_s, gateway.generation = "b" * 16, 0.2, 40
    async with running(monitor):
        await until(lambda: monitor.status.lease_result is LeaseResult.STANDING_BY)
        assert monitor.status.lease_detail == "watchdog bbbbbbbbbbbbbbbb leads; its lease lives 0 s"
        await until(lambda: monitor.sender.witness.size == len(gateway.rows))
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)
        assert gateway.leases == []
        gateway.lease_expires_in_s = 0
        await until(lambda: len(gateway.leases) > 0)
        assert (gateway.leases[0].holder, gateway.leases[0].generation) == ("a" * 16, 41)
        gateway.lease_expires_in_s = 20
        led = len(gateway.leases)
        await until(lambda: len(gateway.leases) > led + 2)
    assert isinstance(monitor.keeper.effects, EffectsList)
    told = [alert.subject for alert in monitor.keeper.effects.alerts]
    assert (told.count("watchdog_took_over"), told.count("watchdog_stands_by")) == (1, 1)
    assert monitor.keeper.effects.alerts[0].text == (
        "watchdog bbbbbbbbbbbbbbbb leads; this watchdog stands by: it watches and sends no lease"
    )


async def test_watchdog_stands_by_for_a_copy_of_itself(monitor: Monitor, deployment: Any, until: Until) -> None:
    gateway = deployment.gateway
    async with running(monitor):
        await until(lambda: len(gateway.leases) > 1)
        gateway.lease_expires_in_s = 20
        gateway.generation += 10
        await until(lambda: monitor.status.lease_result is LeaseResult.STANDING_BY)
        assert "a copy of this one leads" in monitor.status.lease_detail


async def test_coin_that_two_venues_do_not_agree_on_freezes_and_is_told_once(
    monitor: Monitor, deployment: Any, venue: Any, until: Until
) -> None:
    deployment.exchange.equity = "500"
    deployment.exchange.coins = [
        {"coin": "BTC", "walletBalance": "5", "equity": "5", "usdValue": "500", **NOTHING_OWED}
    ]
    second = {"BTC": Decimal(100)}
    monitor.watch = AccountWatch(exchange=monitor.exchange, clock=monitor.clock, second=lambda: second)
    assert isinstance(monitor.keeper.effects, EffectsList)
    async with running(monitor):
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)
        second["BTC"] = Decimal(60)
        await until(lambda: monitor.status.verdict.reason == "two venues do not agree on what a coin is worth")
        deployment.exchange.equity, deployment.exchange.coins[0]["usdValue"] = "250", "250"
        await asyncio.sleep(0.3)
        assert monitor.status.finding is Finding.DISPUTED
        assert monitor.keeper.effects.done == []
        assert [alert.subject for alert in monitor.keeper.effects.alerts] == ["coin_price"]
        second.clear()
        await until(lambda: monitor.status.finding is Finding.GOOD)


async def test_release_that_rebases_the_high_water_mark_is_handed_on_once(
    monitor: Monitor, deployment: Any, until: Until
) -> None:
    told: list[bytes] = []
    monitor.sender.on_high_water = told.append
    monitor.sender.releases.high_water = b"a release"
    async with running(monitor):
        await until(lambda: len(deployment.gateway.leases) >= 2)
    assert told == [b"a release"]


class ScriptedWatch:
    """Looks at the account for real until it is told to find something else."""

    def __init__(self, real: AccountWatch) -> None:
        self.real = real
        self.finding: Finding | None = None
        self.clock_offset_ms = 7

    async def look(self) -> Look:
        if self.finding in {None, Finding.GOOD}:
            return await self.real.look()
        assert self.finding is not None
        return Look(finding=self.finding)


def subjects(monitor: Monitor) -> list[str]:
    assert isinstance(monitor.keeper.effects, EffectsList)
    return [alert.subject for alert in monitor.keeper.effects.alerts]


async def test_every_reading_that_freezes_is_told(
    monitor: Monitor, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = ScriptedWatch(monitor.watch)
    monkeypatch.setattr(monitor, "watch", watch)
    told = {finding: f"frozen:{finding.value}" for finding in Finding}
    told |= {Finding.DISPUTED: "coin_price", Finding.GOOD: "frozen:stale"}
    async with running(monitor):
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)
        assert subjects(monitor) == []
        monkeypatch.setattr(ceiling_module, "SAMPLE_AGE_MAX_S", 0)
        monkeypatch.setattr(ceiling_module, "UNEXPLAINED_BRIDGED_S", 0)
        for finding in sorted(Finding, key=lambda one: one is Finding.GOOD):
            watch.finding = finding
            await until(lambda: watch.finding is not None and told[watch.finding] in subjects(monitor))
            assert monitor.status.verdict.ceiling is Ceiling.REDUCE_ONLY
    assert monitor.keeper.effects.done == []
    assert monitor.status.clock_offset_ms == 7


async def test_journal_that_cannot_be_written_and_an_audit_that_does_not_vouch_are_told(
    monitor: Monitor, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(monitor):
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE)
        monitor.auditor.state.unproven = 2
        monkeypatch.setattr(History, "is_writable", False)
        await until(lambda: {"frozen:memory", "frozen:audit"} <= set(subjects(monitor)))


async def test_leases_that_the_gateway_does_not_count_are_told(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(monitor):
        await until(lambda: monitor.status.verdict.ceiling is Ceiling.ACTIVE and monitor.status.lease is not None)
        deployment.gateway.override = (409, {}, b"lease: refused")
        await until(lambda: monitor.status.lease_result is LeaseResult.REFUSED)
        assert "frozen:lease" not in subjects(monitor)
        monkeypatch.setattr(monitor_module, "LIFETIME_S", 0)
        await until(lambda: "frozen:lease" in subjects(monitor))
    (alert,) = [alert for alert in monitor.keeper.effects.alerts if alert.subject == "frozen:lease"]
    assert alert.text.endswith("counted no lease for 0 s (the last attempt: refused)")


async def test_exchange_that_does_not_answer_at_the_start_is_told_in_the_end(
    monitor: Monitor, deployment: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze_alarm, "START_S", 0)
    await deployment.exchange.stop()
    async with running(monitor):
        await until(lambda: subjects(monitor) == ["frozen:start"])


async def test_lease_that_halts_carries_what_was_found_of_what_is_allowed(monitor: Monitor) -> None:
    halting = Verdict(ceiling=Ceiling.HALTED, reason="a limit", figure="501 USDT of 500 USDT")
    assert monitor.sender._trigger_value(halting) == "501 USDT of 500 USDT"
    assert monitor.sender._trigger_value(replace(halting, figure="")) == ""
    assert monitor.sender._trigger_value(replace(halting, ceiling=Ceiling.REDUCE_ONLY)) == ""
