"""The whole gateway in this process when its policy file changes: at work, over restarts, and with a warrant."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gateway.deployment import POLICY_TOML
from gateway.parts import order_intent
from gateway.test_service import Exchange, Running, rows_in, short_waits
from gateway.test_service import running as running_without_keys
from trust_parts import touch

from trade_core.clock import NS_PER_S
from trade_core.errors import ConfigurationError
from trade_core.ring_keeper import current_ring
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import policy_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant
from trade_gateway import loops, policy_keeper
from trade_gateway.ledger import TrackedOrder
from trade_gateway.policy.limits import parse_policy, policy_hash
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.states import Fault
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import RowKind

__all__ = ["short_waits"]
TIGHTER = POLICY_TOML.replace("max_open_orders = 5", "max_open_orders = 4")
LOOSER = POLICY_TOML.replace("max_open_orders = 5", "max_open_orders = 6")
WITHOUT_BTC = POLICY_TOML.replace(
    "symbols = [",
    'symbols = [\n    {category = "linear", symbol = "BTCUSDT", max_order_quantity = "1", max_notional_usdt = "4000"},',
).replace('    {category = "spot", symbol = "BTCUSDT", max_order_quantity = "1", max_notional_usdt = "4000"},\n', "")


running = partial(running_without_keys, has_security_keys=True)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that follow each other quickly, and a minute that is soon over."""
    monkeypatch.setattr(loops, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(policy_keeper, "RELEASE_DELAY_S", 1)


def hash_of(toml: str) -> str:
    return policy_hash(parse_policy(toml.encode()))


def write(it: Running, toml: str) -> None:
    it.settings.policy_file.write_text(toml)


async def until_active(it: Running, *, generation: int = 1, **changed: Any) -> None:
    await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
    await it.gateway.accept_lease(await it.lease(generation=generation, **changed))
    await it.until_state("ACTIVE")


def signed(it: Running, toml: str, **changed: Any) -> bytes:
    ring = current_ring(it.settings.ring_file)
    made = Warrant(
        purpose="policy",
        version=1,
        deployment=ring.deployment,
        environment=ring.environment,
        audience="gateway",
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=policy_subject(old_hash=str(it.state["policy_hash"]), new_hash=hash_of(toml)),
        nonce=str(time.monotonic_ns()),
        words="loosen it",
        expires_at_ms=time.time_ns() // 1_000_000 + 60_000,
    )
    return touch(replace(made, **changed))


async def test_gateway_first_start_records_the_policy_that_the_ring_names(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["policy"]["file"]["status"] == "in_force")
        assert it.state["policy"]["authorised_hash"] == it.state["policy_hash"] == hash_of(POLICY_TOML)
    rows = await rows_in(tmp_path)
    assert rows[0].kind is RowKind.PROCESS_STARTED
    (content,) = [row for row in rows if row.kind is RowKind.POLICY_RECORDED]
    assert content.fields["hash"] == hash_of(POLICY_TOML)


async def test_gateway_tightened_file_is_in_force_everywhere_and_after_a_restart(tmp_path: Path) -> None:
    tighter = TIGHTER.replace("repeated_execution_limit = 10", "repeated_execution_limit = 2")
    async with running(tmp_path) as it:
        await until_active(it)
        write(it, tighter)
        await it.until(lambda: it.state["policy_hash"] == hash_of(tighter))
        assert it.state["trading_state"] == "ACTIVE"
        assert it.state["limits"]["max_open_orders"]["value"] == "4"
        parts = (it.gateway.parts.desk.policy, it.gateway.judge.policy, it.gateway.parts.policy)
        assert {part.max_open_orders for part in parts} == {4}
        assert it.gateway.recorder.policy_hash == hash_of(tighter)
        assert it.gateway.parts.activity._executions._limit == 2
        await it.gateway.accept_lease(await it.lease(generation=2))  # it names what was authorised, as before
    write(it, POLICY_TOML)  # as it was: looser than what is in force by now
    async with running(tmp_path) as it:
        assert it.state["policy_hash"] == hash_of(tighter)
        await it.until(lambda: it.state["policy"]["file"]["status"] == "needs_warrant")
        await until_active(it)
        assert it.gateway.parts.desk.policy.max_open_orders == 4
    last = [row for row in await rows_in(tmp_path) if row.kind is RowKind.PROCESS_STARTED][-1]
    assert last.policy_hash == hash_of(tighter)


async def test_gateway_loosened_file_changes_nothing_at_work_and_at_start(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await until_active(it)
        write(it, LOOSER)
        await it.until(lambda: it.state["policy"]["file"]["status"] == "needs_warrant")
        assert it.state["policy_hash"] == hash_of(POLICY_TOML)
        assert it.state["trading_state"] == "ACTIVE"
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["policy"]["file"]["status"] == "needs_warrant")
        assert it.state["policy_hash"] == hash_of(POLICY_TOML)


@pytest.mark.parametrize("content", [None, "", POLICY_TOML[:200], POLICY_TOML.replace('"0.003"', '"nan"')])
async def test_gateway_file_that_cannot_be_used_is_reduce_only_and_recovers(
    tmp_path: Path, content: str | None
) -> None:
    def spoil(path: Path) -> None:
        if content is None:
            path.unlink()
        else:
            path.write_text(content)

    async with running(tmp_path) as it:
        await until_active(it)
        spoil(it.settings.policy_file)
        await it.until_state("REDUCE_ONLY")
        assert it.state["holders"]["own_faults"]["reason"] == Fault.POLICY_FILE.value
        assert it.state["policy"]["file"]["reason"]
        write(it, POLICY_TOML)
        await it.until_state("ACTIVE")
        await it.until_row(lambda row: row["kind"] == "policy:refused")
        spoil(it.settings.policy_file)
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["policy"]["file"]["status"] == "unusable")
        assert it.state["trading_state"] == "REDUCE_ONLY"
        write(it, POLICY_TOML)
        await until_active(it)


async def test_gateway_first_start_with_another_file_than_the_ring_s_is_refused_and_begins_nothing(
    tmp_path: Path,
) -> None:
    for content in (LOOSER, TIGHTER, "nonsense"):
        with pytest.raises(ConfigurationError, match=r"policy\.toml"):
            async with running(tmp_path, policy_at_start=content):
                pass
        assert await rows_in(tmp_path) == []
    async with running(tmp_path, policy_at_start=POLICY_TOML) as it:
        assert it.state["policy_hash"] == hash_of(POLICY_TOML)


async def test_gateway_warrant_puts_a_looser_policy_in_force_and_waits_for_a_lease_that_names_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as it:
        await until_active(it)
        write(it, LOOSER)
        answer = await it.gateway.accept_release(signed(it, LOOSER))
        assert answer["takes_effect_in_s"] == 1
        await it.until(lambda: it.state["policy_hash"] == hash_of(LOOSER))
        assert it.state["policy"]["authorised_hash"] == hash_of(LOOSER)
        assert len(it.state["policy"]["warrants"]) == 1
        assert it.state["trading_state"] == "REDUCE_ONLY"
        with pytest.raises(NotTrusted, match="policy_hash"):
            await it.gateway.accept_lease(await it.lease(generation=2))
        await it.gateway.accept_lease(await it.lease(generation=2, policy_hash=hash_of(LOOSER)))
        await it.until_state("ACTIVE")
    async with running(tmp_path) as it:
        assert it.state["policy_hash"] == it.state["policy"]["authorised_hash"] == hash_of(LOOSER)
        assert it.gateway.parts.desk.policy.max_open_orders == 6


async def test_gateway_halt_voids_a_policy_that_is_announced(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await until_active(it)
        write(it, LOOSER)
        await it.gateway.accept_release(signed(it, LOOSER))
        await it.gateway.halt("no", by="operator")
        await it.until_row(lambda row: row["kind"] == "release:voided")
        await it.until(lambda: it.state["policy"]["release_pending"] is None)
        assert it.state["policy_hash"] == hash_of(POLICY_TOML)


async def test_gateway_release_of_the_latch_goes_its_own_way(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.halt("no", by="operator")
        with pytest.raises(NotTrusted, match="ring_hash is not what it must be"):
            await it.gateway.accept_release(signed(it, LOOSER, ring_hash="other"))
        assert it.state["trading_state"] == "HALTED"


async def test_gateway_symbol_that_is_taken_away_is_withdrawn_and_its_exit_stays(tmp_path: Path) -> None:
    exchange = Exchange()
    async with running(tmp_path, exchange) as it:
        await until_active(it)
        order = TrackedOrder(tag="T1tag", intent=order_intent(), adds_risk=True)
        order.signed_at_ns = it.clock.monotonic_ns()
        it.gateway.parts.ledger.reserve(order)
        it.gateway.parts.ledger.acknowledge("T1tag", "x1")
        order.is_in_flow = False
        wider = WITHOUT_BTC.replace('category = "linear"', 'category = "spot"').replace("BTCUSDT", "ETHUSDT")
        # A file without BTC and with another symbol loosens; without any symbol it is no policy. So: by warrant.
        write(it, wider)
        await it.gateway.accept_release(signed(it, wider))
        await it.until(lambda: exchange.cancelled == ["x1"])
        assert it.state["policy"]["former_symbols"] == ["spot BTCUSDT"]
        sell = it.gateway.parts.desk._decide(
            order_intent(side=type(order.intent.side)("Sell"), quantity="0.01"), it.gateway.parts.keeper.count_message()
        )
        assert getattr(sell, "adds_risk", True) is False, sell
        buy = it.gateway.parts.desk._decide(order_intent(), it.gateway.parts.keeper.count_message())
        assert str(getattr(buy, "code", "")) == "DenyCode.SYMBOL_NOT_PERMITTED"


async def test_gateway_fills_of_before_a_tightening_are_counted_by_the_limits_of_then(tmp_path: Path) -> None:
    tighter = POLICY_TOML.replace("repeated_execution_limit = 10", "repeated_execution_limit = 2")
    async with running(tmp_path) as it:
        for number in range(5):
            fields = {
                "tag": f"T{number}",
                "category": "spot",
                "symbol": "BTCUSDT",
                "side": "Buy",
                "quantity": "1",
                "price": "1",
                "filled": "1",
                "notional_usdt": "1",
                "reference_price": None,
                "adds_risk": True,
            }
            it.gateway.recorder.append_later(RowKind.ORDER_FILLED, fields)
        write(it, tighter)
        await it.until(lambda: it.state["policy_hash"] == hash_of(tighter))
    async with running(tmp_path) as it:
        assert it.gateway.parts.activity.tripped_symbols == frozenset()
        assert it.gateway.parts.activity._turnover.used_usdt(at_ns=it.clock.wall_ns()) == Decimal(5)


async def test_gateway_clock_that_is_not_trusted_refuses_a_policy_warrant(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await until_active(it)
        write(it, LOOSER)
        it.clock.leap_ns = 3600 * NS_PER_S
        with pytest.raises(NotTrusted):
            await it.gateway.accept_release(signed(it, LOOSER))
        assert it.gateway.states.trading_state() >= TradingState.REDUCE_ONLY


def test_a_symbol_key_is_what_the_policy_says() -> None:
    assert list(parse_policy(WITHOUT_BTC.encode()).symbols) == [(Category.LINEAR, "BTCUSDT")]
