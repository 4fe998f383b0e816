"""The whole gateway in this process, with a real journal and a small exchange: what it does with time and trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateway.deployment import LEASE_KEY, LEASE_PRIVATE, LOG_KEY, LOG_PRIVATE, WITNESS_KEY, WITNESS_PRIVATE, deployment
from gateway.parts import order_intent, tracked
from http_double import Asked, HttpDouble, envelope, http_double, reply
from trust_parts import cosigned, keep_enrolled, signed_checkpoint, watchdogs_checkpoint
from ws_double import WsDouble, ws_double

from trade_core.clock import NS_PER_MS, NS_PER_S, SystemClock
from trade_core.ring_keeper import current_ring
from trade_core.secrets import Secret
from trade_core.trust.baseline import Baseline, BaselineHolding, BaselineOrder, baseline_of
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import Lease, Peak, SecondPrice, sign_lease
from trade_core.trust.printed_key import new_code
from trade_core.trust.ring import ring_hash
from trade_gateway import exchange_proof, loops, loss_guard
from trade_gateway.codes import Codes
from trade_gateway.identity import PUBLIC_KEYS_FILE, identity_path, initialise, load_identity
from trade_gateway.order_desk import Placed
from trade_gateway.order_flow import intent_fields
from trade_gateway.parts import Parts
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy_file import read_policy
from trade_gateway.service import Gateway
from trade_gateway.settings import GatewaySettings
from trade_gateway.states import Fault
from trade_gateway.wire.intents import Side
from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import open_checkpoint, open_cosigned
from trade_journal.log.key_file import parse_keys
from trade_journal.log.ring_keys import gateway_journal_name, gateway_log_keys, gateway_log_signer
from trade_journal.log.rows import Entry, Row, RowKind, leaf_hash
from trade_journal.log.tree import root_of
from trade_journal.log.verify import verify_journal
from trade_journal.store.store import JournalReader
from trade_journal.writer.writer import JournalWriter

ORIGIN = "trade/simulated/1002/gateway"
NOTHING = baseline_of(taken_at_ms=1)
KEY_FACTS: dict[str, Any] = {
    "userID": 1002,
    "readOnly": 0,
    "isMaster": False,
    "ips": ["127.0.0.1"],
    "permissions": {"Spot": ["SpotTrade"]},
}
INSTRUMENT = {
    "symbol": "BTCUSDT",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "priceFilter": {"tickSize": "0.1"},
    "lotSizeFilter": {"basePrecision": "0.001", "minOrderQty": "0.001", "maxLimitOrderQty": "9", "minOrderAmt": "5"},
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that turn quickly."""
    monkeypatch.setattr(loops, "_RETRY_S", 0.02)
    monkeypatch.setattr(exchange_proof, "RETRY_S", 0.02)
    monkeypatch.setattr(loops, "_WATCH_STATE_EVERY_S", 0.02)
    monkeypatch.setattr(loops, "_CHECKPOINT_EVERY_S", 0.05)


class LeapingClock(SystemClock):
    """The machine's clocks, with a wall clock that leaps, or breaks once, when told to."""

    __slots__ = ("is_broken", "leap_ns")

    def __init__(self) -> None:
        self.leap_ns = 0
        self.is_broken = False

    def wall_ns(self) -> int:
        if self.is_broken:
            self.is_broken = False
            raise ZeroDivisionError
        return super().wall_ns() + self.leap_ns


@dataclass
class Exchange:
    """What it answers; `is_down` answers everything with 503."""

    key_facts: dict[str, Any] = field(default_factory=lambda: dict(KEY_FACTS))
    orders: list[dict[str, str]] = field(default_factory=list)
    ticker: dict[str, str] = field(
        default_factory=lambda: {"symbol": "BTCUSDT", "indexPrice": "30000", "markPrice": "30001"}
    )
    fee: str = "0.001"
    equity: str = "34000"  # a coin of 30000, and some quote coin
    is_down: bool = False
    is_listed: bool = True
    cancelled: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> bytes | None:
        if self.is_down:
            return reply(b"", status=503)
        match asked.path:
            case "/v5/user/query-api":
                return envelope(self.key_facts)
            case "/v5/market/instruments-info":
                return envelope({"list": [INSTRUMENT] if self.is_listed else []})
            case "/v5/account/wallet-balance":
                return envelope(
                    {"list": [{"totalEquity": self.equity, "coin": [{"coin": "BTC", "walletBalance": "1"}]}]}
                )
            case "/v5/account/fee-rate":
                fee = {"symbol": asked.parameter("symbol"), "takerFeeRate": self.fee, "makerFeeRate": "0.0001"}
                return envelope({"list": [fee]})
            case "/v5/order/cancel":
                order_id = asked.json()["orderId"]
                self.cancelled.append(order_id)
                for order in self.orders:
                    if order["orderId"] == order_id:
                        order["orderStatus"] = "Cancelled"
                return envelope({"orderId": order_id})
            case "/v5/order/create":
                return envelope({"orderId": "x-new"})
            case "/v5/market/tickers":
                return envelope({"list": [self.ticker]})
            case "/v5/execution/list":
                return envelope({"list": []})
            case _:
                return envelope({"list": self.orders})


@dataclass
class Running:
    gateway: Gateway
    exchange: Exchange
    double: HttpDouble
    streams: WsDouble
    settings: GatewaySettings
    journal: JournalWriter
    stop: asyncio.Event
    clock: LeapingClock

    @property
    def state(self) -> dict[str, Any]:
        state = self.gateway.state()
        json.dumps(state)  # it is served as JSON
        return state

    async def lease(
        self, *, generation: int = 1, ceiling: str = "ACTIVE", lives_ms: int = 15_000, **changed: Any
    ) -> bytes:
        ring = current_ring(self.settings.ring_file)
        checkpoint = cosigned(await self.gateway.checkpoint(), ring, WITNESS_PRIVATE)
        now_ms = SystemClock().wall_ns() // NS_PER_MS
        lease = Lease(
            deployment=ring.deployment,
            environment=ring.environment,
            account=ring.account,
            boot_nonce=self.state["boot_nonce"],
            generation=generation,
            ceiling=ceiling,
            scale="1",
            second_venue="none",
            second_prices=(),
            checkpoint=checkpoint,
            memory_checkpoint=watchdogs_checkpoint(ring),
            policy_hash=ring.policy_hash,
            ring_hash=ring_hash(ring),
            signed_at_ms=now_ms,
            expires_at_ms=now_ms + lives_ms,
        )
        return sign_lease(replace(lease, **changed), LEASE_PRIVATE)

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_true():  # noqa: ASYNC110 - several loops do what is waited for
                await asyncio.sleep(0.01)

    async def until_row(self, is_it: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(60):
            while not any(is_it(row) for row in await self.gateway.rows(0, 512)):  # noqa: ASYNC110 - another's doing
                await asyncio.sleep(0.01)

    async def until_state(self, name: str) -> None:
        await self.until(lambda: self.state["trading_state"] == name)


CODE = new_code()


def journal_url(settings: GatewaySettings) -> str:
    """Name the journal of a gateway whose writer is in this process too."""
    return f"sqlite:///{settings.state_dir.parent}/gateway.db"


async def rows_in(folder: Path) -> list[Row]:
    journal = await JournalWriter.open(f"sqlite:///{folder}/gateway.db", origin=ORIGIN, clock=SystemClock())
    rows = await journal.read(0, 512)
    await journal.close()
    return rows


@asynccontextmanager
async def running(
    folder: Path,
    exchange: Exchange | None = None,
    *,
    baseline: Baseline = NOTHING,
    policy_at_start: str | None = None,
    journal_at: str | None = None,
    log_number: int = 1,
    has_security_keys: bool = False,
) -> AsyncIterator[Running]:
    """Run a gateway; the folder keeps its identity, journal and policy file from one run to the next."""
    there = exchange or Exchange()
    async with http_double(there.answer) as double, ws_double() as streams:
        file = folder / "policy.toml"
        before = file.read_bytes() if file.exists() else None
        settings = deployment(folder, exchange_url=double.url, exchange_ws_url=streams.url)
        if not identity_path(settings).exists():
            policy = read_policy(settings.policy_file)
            initialise(
                settings,
                log_key=LOG_KEY,
                lease_key=LEASE_KEY,
                witness_key=WITNESS_KEY,
                policy_hash=policy_hash(policy),
                baseline=baseline,
                codes=Codes(bootstrap=Secret(CODE), recovery=Secret(CODE), expires_at_ms=2**52),
            )
            if has_security_keys:
                keep_enrolled(load_identity(settings)[1], CODE, folder=settings.state_dir)
        elif before is None:
            file.unlink()
        else:
            file.write_bytes(before)
        if policy_at_start is not None:
            file.write_text(policy_at_start)
        identity, ring = load_identity(settings)
        clock = LeapingClock()
        signer = gateway_log_signer(ring, LOG_PRIVATE, number=log_number)
        url = journal_at or journal_url(settings)
        journal = await JournalWriter.open(url, origin=gateway_journal_name(ring), clock=clock, signer=signer)
        parts = Parts(
            settings=settings,
            identity=identity,
            ring=ring,
            order_key=(Secret("k"), Secret("s")),
            journal=journal,
            clock=clock,
        )
        gateway = Gateway(parts)
        stop = asyncio.Event()
        try:
            await gateway.start(stop=stop)
            yield Running(
                gateway=gateway,
                exchange=there,
                double=double,
                streams=streams,
                settings=settings,
                journal=journal,
                stop=stop,
                clock=clock,
            )
        finally:
            await gateway.stop()


async def test_gateway_with_everything_proved_and_a_lease_is_active(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        assert it.state["trading_state"] == "REDUCE_ONLY"
        assert not it.gateway.is_ready()
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "ACTIVE"
        assert it.gateway.is_ready()


async def test_gateway_at_start_is_held_by_its_faults(tmp_path: Path) -> None:
    async with running(tmp_path, Exchange(is_down=True)) as it:
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "REDUCE_ONLY"
        reason = it.state["holders"]["own_faults"]["reason"]
        assert Fault.KEY_UNVERIFIED.value in reason
        assert Fault.INSTRUMENTS_MISSING.value in reason
        assert Fault.ACCOUNT_UNTRUSTED.value in reason


async def test_gateway_with_the_exchange_down_stays_up_and_recovers_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, Exchange(is_down=True)) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until(lambda: len(it.double.asked) > 5)
        assert it.state["trading_state"] == "REDUCE_ONLY"
        assert not it.stop.is_set()
        it.exchange.is_down = False
        await it.until_state("ACTIVE")


async def test_gateway_whose_key_has_too_much_power_ends(tmp_path: Path) -> None:
    exchange = Exchange()
    exchange.key_facts["permissions"] = {"Spot": ["SpotTrade"], "Wallet": ["Withdraw"]}
    async with running(tmp_path, exchange) as it:
        await it.until(it.stop.is_set)
        assert it.gateway.fatal is not None
        assert "Withdraw" in str(it.gateway.fatal)
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "REDUCE_ONLY"
    assert RowKind.KEY_REFUSED in [row.kind for row in await rows_in(tmp_path)]


async def test_gateway_that_is_charged_more_than_the_policy_says_is_reduce_only(tmp_path: Path) -> None:
    async with running(tmp_path, Exchange(fee="0.0011")) as it:
        await it.gateway.accept_lease(await it.lease())
        reason = f"{Fault.FEES_UNPROVED.value}: spot BTCUSDT takes 0.0011, highest_fee is 0.001"
        await it.until(lambda: it.state["holders"]["own_faults"]["reason"] == reason)
        assert it.state["trading_state"] == "REDUCE_ONLY"
        await it.until_row(lambda row: row["fields"].get("type") == "fee above highest_fee")


async def test_gateway_that_hears_of_a_higher_fee_in_a_trade_asks_again_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until_state("ACTIVE")
        it.exchange.fee = "0.0011"
        trade = {
            "category": "spot",
            "symbol": "BTCUSDT",
            "execId": "e1",
            "orderId": "",
            "orderLinkId": "",
            "execQty": "1",
            "execPrice": "30000",
            "execType": "Trade",
            "feeRate": "0.00105",
        }
        await it.streams.say({"topic": "execution", "creationTime": 1, "data": [trade]})
        reason = f"{Fault.FEES_UNPROVED.value}: spot BTCUSDT takes 0.0011, highest_fee is 0.001"
        await it.until(lambda: it.state["holders"]["own_faults"]["reason"] == reason)


async def test_gateway_with_more_held_than_the_rungs_permit_reduces_only_until_it_is_within_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_guard, "HOLDS_NS", 0)
    async with running(tmp_path, Exchange(equity="4000")) as it:  # a coin of 30000, most of it owed for
        await it.gateway.accept_lease(await it.lease())
        loss = "a hostile bot can lose 5.10 % of equity in a day, more than the daily rung of 5.00 % (204.15 USDT)"
        reason = f"{Fault.LOSS_UNBOUNDED.value}: {loss}, with 30001.00 USDT held"
        await it.until(lambda: it.state["holders"]["own_faults"]["reason"] == reason)
        assert it.state["trading_state"] == "REDUCE_ONLY"
        assert it.state["max_hostile_loss"] == {"usdt": "204.15", "fraction": "0.0510"}
        await it.until_row(lambda row: row["fields"].get("type") == "hostile loss beyond a rung")
        it.exchange.equity = "34000"
        await it.until_state("ACTIVE")
        it.exchange.equity = "4000"
        await it.until_state("REDUCE_ONLY")


async def test_gateway_restarted_while_filters_are_not_told_sends_exits_by_the_old_ones(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until_row(lambda row: row["kind"] == RowKind.INSTRUMENT_KEPT.value)
    exchange = Exchange(is_listed=False)
    async with running(tmp_path, exchange) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until(lambda: bool(it.state["account_view"]["is_trusted"]))
        assert isinstance(await it.gateway.parts.desk.create(order_intent(side=Side.SELL)), Placed)
        assert it.state["trading_state"] == "REDUCE_ONLY"
    (row,) = [row for row in await rows_in(tmp_path) if row.kind is RowKind.INSTRUMENT_KEPT]
    assert row.fields["symbol"] == "BTCUSDT"


async def test_gateway_keeps_what_the_witness_cosigned_and_shows_it(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until(lambda: it.journal.witnessed_size > 0)
        told = it.state["journal"]
        assert told["witnessed_size"] == it.journal.witnessed_size
        assert told["size"] >= told["root_size"] >= told["witnessed_size"]
        assert len(bytes.fromhex(told["root"])) == 32
        keys = gateway_log_keys(load_identity(it.settings)[1])
        assert keys.witness is not None
        shown = open_cosigned(it.gateway.cosigned(), log=keys.log, witness=keys.witness)
        assert shown.checkpoint.size == it.journal.witnessed_size
    reader = JournalReader(journal_url(it.settings))
    verdict = verify_journal(
        reader.stored_rows(0, 1000), notes=reader.checkpoints(0, 1000), cosigned=reader.cosigned(0, 1000), keys=keys
    )
    reader.close()
    assert verdict.is_good
    assert 0 < verdict.witnessed_rows <= verdict.signed_rows
    async with running(tmp_path) as again:  # what is witnessed does not go back over a restart
        assert again.state["journal"]["witnessed_size"] == verdict.witnessed_rows
        assert again.gateway.cosigned() == b""


async def test_gateway_gives_the_bytes_that_its_tree_is_over(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        note = await it.gateway.checkpoint()
        checkpoint, _ = open_checkpoint(note, log=gateway_log_keys(load_identity(it.settings)[1]).log)
        given = (await it.gateway.entries(0, 500)).split(b"\n")
        assert given.pop() == b""
        assert root_of(leaf_hash(line) for line in given[: checkpoint.size]) == checkpoint.root
        assert await it.gateway.entries(1, 2) == b"".join(line + b"\n" for line in given[1:3])


async def test_gateway_lease_without_a_cosigned_checkpoint_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        with pytest.raises(NotTrusted, match="its checkpoint"):
            await it.gateway.accept_lease(await it.lease(checkpoint=(await it.gateway.checkpoint()).decode()))
        assert it.state["trading_state"] == "REDUCE_ONLY"
        assert it.state["journal"]["witnessed_size"] == 0


async def test_gateway_that_is_shown_more_rows_than_it_has_halts_and_stays_halted(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        _, ring = load_identity(it.settings)
        foreign = cosigned(signed_checkpoint(ring, LOG_PRIVATE, size=10_000), ring, WITNESS_PRIVATE)
        with pytest.raises(NotTrusted, match="has 10000 rows"):
            await it.gateway.accept_lease(await it.lease(checkpoint=foreign))
        assert it.state["trading_state"] == "HALTED"
    async with running(tmp_path) as again:
        assert again.state["trading_state"] == "HALTED"


async def test_gateway_remembers_over_a_restart_what_the_watchdog_said_of_its_own_journal(tmp_path: Path) -> None:
    async def lease(it: Running, root: bytes) -> bytes:
        _, ring = load_identity(it.settings)
        note = watchdogs_checkpoint(ring, size=5, root=root)
        return await it.lease(memory_rows=5, memory_checkpoint=note, peaks=(Peak(rung="daily", price="1"),))

    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await lease(it, b"w" * 32))
    async with running(tmp_path) as again:
        with pytest.raises(NotTrusted, match="another root over 5 rows"):
            await again.gateway.accept_lease(await lease(again, b"x" * 32))
        assert again.state["trading_state"] == "HALTED"


async def test_gateway_lease_that_lapses_is_reduce_only_and_a_row(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        await it.gateway.accept_lease(await it.lease(lives_ms=3_000))
        assert it.state["trading_state"] == "ACTIVE"
        await it.until_state("REDUCE_ONLY")
        assert it.state["lease"]["expires_in_s"] == 0
        await asyncio.sleep(0.05)
    kinds = [row.kind for row in await rows_in(tmp_path)]
    assert kinds.index(RowKind.LEASE_GAINED) < kinds.index(RowKind.LEASE_LOST)


async def test_gateway_lease_that_is_not_trusted_is_a_row_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        with pytest.raises(NotTrusted):
            await it.gateway.accept_lease(await it.lease(account="9"))
        assert it.state["lease"]["generation"] == 0
    refused = [row for row in await rows_in(tmp_path) if row.kind is RowKind.LEASE_REFUSED]
    assert [row.fields["reason"] for row in refused] == ["lease: account is not this gateway's"]


@pytest.mark.parametrize("ceiling", ["TRIMMED", "REDUCE_ONLY"])
async def test_gateway_ceiling_of_the_lease_comes_and_goes(tmp_path: Path, ceiling: str) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        await it.gateway.accept_lease(await it.lease(ceiling=ceiling))
        assert it.state["trading_state"] == ceiling
        await it.gateway.accept_lease(await it.lease(generation=2))
        assert it.state["trading_state"] == "ACTIVE"


def second_price(price: str) -> tuple[SecondPrice, ...]:
    return (SecondPrice(coin="BTC", price=price, seen_at_ms=SystemClock().wall_ns() // NS_PER_MS - 1000),)


def sample(it: Running, name: str, **labels: str) -> float | None:
    return it.gateway.metrics.registry.get_sample_value(name, labels)


async def test_gateway_second_price_of_a_lease_is_shown_and_denies_when_far(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["references"]["BTC"]["status"] == "usable")
        assert it.state["second_venue"] == {"name": None, "missing": []}
        index = Decimal(it.state["references"]["BTC"]["price"])
        await it.gateway.accept_lease(await it.lease(second_venue="okx", second_prices=second_price(str(index))))
        assert it.state["second_venue"] == {"name": "okx", "missing": []}
        second = it.state["references"]["BTC"]["second"]
        assert (Decimal(second["price"]), second["divergence"], second["status"]) == (index, "0.000000", "usable")
        assert second["age_s"] >= 1
        far = second_price(str(index * 2))
        await it.gateway.accept_lease(await it.lease(generation=2, second_venue="okx", second_prices=far))
        assert it.state["references"]["BTC"]["status"] == "second diverges"
        # It denies the coin's entries and is no fault that would hold the state.
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        assert sample(it, "trade_gateway_second_price_divergence_fraction", coin="BTC") == 1.0


async def test_gateway_second_price_that_a_lease_leaves_out_is_missed(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["references"]["BTC"]["status"] == "usable")
        priced = second_price(it.state["references"]["BTC"]["price"])
        await it.gateway.accept_lease(await it.lease(second_venue="okx", second_prices=priced))
        assert it.state["second_venue"] == {"name": "okx", "missing": []}
        assert (sample(it, "trade_gateway_second_price_age_seconds", coin="BTC") or 0) >= 1
        await it.gateway.accept_lease(await it.lease(generation=2, second_venue="okx"))
        assert it.state["second_venue"] == {"name": "okx", "missing": ["BTC"]}
        assert it.state["references"]["BTC"]["status"] == "usable"
        await it.gateway.accept_lease(await it.lease(generation=3))
        assert it.state["second_venue"] == {"name": "okx", "missing": ["BTC"]}
        assert sample(it, "trade_gateway_second_prices_missing") == 1.0
        assert sample(it, "trade_gateway_second_price_age_seconds", coin="BTC") is None


async def test_gateway_halted_by_a_lease_stays_halted_when_the_lease_loosens(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease(ceiling="HALTED"))
        await it.gateway.accept_lease(await it.lease(generation=2))
        assert it.state["trading_state"] == "HALTED"
        assert it.state["holders"]["operator_latch"]["ceiling"] == "HALTED"


async def test_gateway_halt_is_at_once_and_survives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        answer = await it.gateway.halt("by hand", by="operator")
        assert answer == {"trading_state": "HALTED", "in_flight": [], "is_recorded": True}
        await it.gateway.halt("again", by="operator")
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "HALTED"
        assert it.state["holders"]["operator_latch"]["reason"] == "by hand"
        assert not it.gateway.is_ready()
    latches = [row for row in await rows_in(tmp_path) if row.fields.get("holder") == "operator_latch"]
    assert len(latches) == 1


async def test_gateway_halt_whose_row_fails_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as it:
        append, failures = it.journal.append, iter([True, True])

        async def failing(entry: Entry) -> int:
            if entry.kind is RowKind.STATE_CHANGED and next(failures, False):
                raise JournalUnavailable("disk")
            return await append(entry)

        monkeypatch.setattr(it.journal, "append", failing)
        assert (await it.gateway.halt("by hand", by="operator"))["trading_state"] == "HALTED"
        await it.until(lambda: next(failures, None) is None)
        await it.until_row(lambda row: row["fields"].get("holder") == "operator_latch")
    async with running(tmp_path) as it:
        assert it.state["trading_state"] == "HALTED"


async def test_gateway_whose_stop_is_cancelled_leaves_no_connection_open(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.double.connections > 0)
        stopping = asyncio.create_task(it.gateway.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await it.until(lambda: it.double.connections == 0)


async def test_gateway_restart_forgets_the_lease(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        raw = await it.lease()
        await it.gateway.accept_lease(raw)
    async with running(tmp_path) as it:
        with pytest.raises(NotTrusted, match="boot_nonce"):
            await it.gateway.accept_lease(raw)


SHOWN = {"orderLinkId": "T1a", "orderId": "x1", "symbol": "BTCUSDT", "side": "Buy", "qty": "0.01", "price": "30000"}


async def write_rows(folder: Path, *rows: tuple[RowKind, dict[str, Any]]) -> None:
    journal = await JournalWriter.open(f"sqlite:///{folder}/gateway.db", origin=ORIGIN, clock=SystemClock())
    await journal.append_many([Entry(at_ns=1, kind=kind, actor="gateway", fields=fields) for kind, fields in rows])
    await journal.close()


async def test_gateway_order_that_a_crash_left_is_found_and_cancelled(tmp_path: Path) -> None:
    await write_rows(tmp_path, (RowKind.ORDER_INTENT, dict(intent_fields(tracked("T1a", intent=order_intent())))))
    live = {**SHOWN, "orderStatus": "New", "cumExecQty": "0"}
    async with running(tmp_path, Exchange(orders=[live])) as it:
        await it.until(lambda: it.exchange.cancelled != [])
        await it.until(lambda: it.state["working_orders"] == 0)
        assert set(it.exchange.cancelled) == {"x1"}
    kinds = [row.kind for row in await rows_in(tmp_path)]
    assert RowKind.ORDER_CANCELED_BY_GATEWAY in kinds
    assert RowKind.INCIDENT_OPENED not in kinds


async def test_gateway_order_that_a_crash_left_and_that_filled_is_an_incident(tmp_path: Path) -> None:
    await write_rows(tmp_path, (RowKind.ORDER_INTENT, dict(intent_fields(tracked("T1a", intent=order_intent())))))
    filled = {**SHOWN, "orderStatus": "Filled", "cumExecQty": "0.01"}
    async with running(tmp_path, Exchange(orders=[filled])) as it:
        await it.until(lambda: it.state["working_orders"] == 0)
    incidents = [row for row in await rows_in(tmp_path) if row.kind is RowKind.INCIDENT_OPENED]
    assert [row.fields["filled"] for row in incidents] == ["0.01"]


async def test_gateway_with_an_order_that_cannot_be_resolved_stays_reduce_only(tmp_path: Path) -> None:
    await write_rows(tmp_path, (RowKind.ORDER_INTENT, dict(intent_fields(tracked("T1a", intent=order_intent())))))
    async with running(tmp_path, Exchange(is_down=True)) as it:
        assert it.state["unknown_outcomes"] == ["T1a"]
        assert Fault.ORDERS_UNRECONCILED.value in it.state["holders"]["own_faults"]["reason"]


async def test_gateway_start_and_end_are_rows(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        shown = await it.gateway.rows(0, 1)
        assert shown[0]["kind"] == "process:started"
    rows = await rows_in(tmp_path)
    assert (rows[0].kind, rows[-1].kind) == (RowKind.PROCESS_STARTED, RowKind.PROCESS_STOPPED)
    (loaded,) = (row for row in rows if row.kind is RowKind.CONFIG_LOADED)
    assert "/" not in str(loaded.fields)
    assert set(loaded.fields["settings"]) == set(GatewaySettings.model_fields)
    assert [row.seq for row in rows] == list(range(len(rows)))
    assert rows[-2].kind is RowKind.REFERENCE_KEPT
    assert rows[-2].fields == {"within": "0", "prices": {"BTC": "30000"}}


@pytest.mark.parametrize("leap_ns", [-3600 * NS_PER_S, 3600 * NS_PER_S])
async def test_gateway_clock_that_leaps_is_reduce_only(tmp_path: Path, leap_ns: int) -> None:
    async with running(tmp_path) as it:
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
        it.clock.leap_ns = leap_ns
        await it.until(lambda: Fault.CLOCK_LEAPT.value in it.state["holders"]["own_faults"]["reason"])
        await it.gateway.accept_lease(await it.lease(lives_ms=2 * 3_600_000))
        assert it.state["trading_state"] == "REDUCE_ONLY"


async def test_gateway_loop_that_breaks_begins_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as it:
        it.clock.is_broken = True
        await it.until(lambda: "begins again" in caplog.text)
        await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")


async def test_gateway_without_its_private_stream_is_reduce_only_until_it_is_read_again(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until_state("ACTIVE")
        it.streams.is_refusing = True
        await it.streams.drop()
        await it.until_state("REDUCE_ONLY")
        assert Fault.ACCOUNT_UNTRUSTED.value in it.state["holders"]["own_faults"]["reason"]
        assert "private stream" in it.state["account_view"]["reason"]
        assert not it.state["account_view"]["is_trusted"]
        assert it.gateway.metrics.registry.get_sample_value("trade_gateway_account_trusted") == 0
        it.streams.is_refusing = False
        await it.until_state("ACTIVE")
        assert it.state["account_view"]["reason"] == ""
        assert it.gateway.metrics.registry.get_sample_value("trade_gateway_account_trusted") == 1


async def test_gateway_with_stale_references_is_reduce_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_lease(await it.lease())
        await it.until_state("ACTIVE")
        reference = it.state["references"]["BTC"]
        assert (reference["price"], reference["status"]) == ("30000", "usable")
        frame = {"topic": "tickers.BTCUSDT", "data": {"indexPrice": "nonsense"}}
        monkeypatch.setattr(it.exchange, "ticker", {"symbol": "BTCUSDT", "indexPrice": "", "markPrice": "30001"})
        await it.streams.say(frame, path="/v5/public/linear")
        await it.until_state("REDUCE_ONLY")
        assert Fault.REFERENCES_STALE.value in it.state["holders"]["own_faults"]["reason"]
        assert it.state["references"]["BTC"]["status"] == "index invalid"
        await it.streams.say({"topic": "tickers.BTCUSDT", "data": {"indexPrice": "30002"}}, path="/v5/public/linear")
        await it.until_state("ACTIVE")
        age_s = it.gateway.metrics.registry.get_sample_value("trade_gateway_reference_age_seconds", {"coin": "BTC"})
        assert age_s is not None
        assert 0 <= age_s < 10


RESTING = {"orderId": "", "symbol": "BTCUSDT", "side": "Buy", "orderStatus": "New", "qty": "1", "price": "29000"}


def baseline_order(order_id: str) -> BaselineOrder:
    return BaselineOrder(
        category="spot",
        symbol="BTCUSDT",
        order_id=order_id,
        side="Buy",
        quantity=Decimal(1),
        price=Decimal(29000),
        is_reducing=False,
    )


async def test_gateway_first_start_journals_the_baseline_and_a_later_one_does_not(tmp_path: Path) -> None:
    baseline = baseline_of(taken_at_ms=7, orders=[baseline_order(f"o{number}") for number in range(30)])
    for _ in range(2):
        async with running(tmp_path, baseline=baseline) as it:
            assert it.state["baseline"] == {"taken_at_ms": 7, "orders": 30, "positions": 0, "holdings": 0}
    taken = [row.fields for row in await rows_in(tmp_path) if row.kind is RowKind.BASELINE_TAKEN]
    assert [(fields["part"], fields["parts"]) for fields in taken] == [(1, 3), (2, 3), (3, 3)]
    assert taken[-1]["order_count"] == 30


async def test_gateway_baseline_that_a_crash_left_half_written_is_written_again(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    half = {"ring_hash": "r", "taken_at_ms": 1, "part": 1, "parts": 2, "holdings": {"BTC": "1"}}
    other = tmp_path / "other"
    other.mkdir()
    journal = await JournalWriter.open(f"sqlite:///{other}/gateway.db", origin=ORIGIN, clock=SystemClock())
    await journal.append(Entry(at_ns=1, kind=RowKind.BASELINE_TAKEN, actor="gateway", fields=half))
    await journal.close()
    async with running(other):
        pass
    taken = [row.fields for row in await rows_in(other) if row.kind is RowKind.BASELINE_TAKEN]
    assert [(fields["part"], fields["parts"]) for fields in taken] == [(1, 2), (1, 1)]


async def test_gateway_order_of_before_is_left_alone_and_a_later_one_of_others_is_an_incident(tmp_path: Path) -> None:
    exchange = Exchange(orders=[{**RESTING, "orderId": "before"}, {**RESTING, "orderId": "after"}])
    async with running(
        tmp_path, exchange, baseline=baseline_of(taken_at_ms=1, orders=[baseline_order("before")])
    ) as it:
        await it.until_row(lambda row: row["kind"] == "incident:opened")
        await it.until_state("REDUCE_ONLY")
        await it.until(lambda: it.state["limits"]["max_open_orders"]["use"] in {2, "2"})
        await asyncio.sleep(0.5)  # rounds of withdrawing, in a state that withdraws what adds risk
    opened = [row.fields for row in await rows_in(tmp_path) if row.kind is RowKind.INCIDENT_OPENED]
    assert [(fields["type"], fields["order_id"]) for fields in opened] == [("order of others that adds risk", "after")]
    assert exchange.cancelled == []


async def test_gateway_coin_of_before_counts_and_can_be_sold(tmp_path: Path) -> None:
    baseline = baseline_of(taken_at_ms=1, holdings=[BaselineHolding(coin="BTC", amount=Decimal(1))])
    async with running(tmp_path, baseline=baseline) as it:
        await it.until(lambda: it.state["account_view"]["age_s"] is not None)
        facts = it.gateway.parts.account.facts(frozenset(), MessageLevel.FREE)
        assert (facts.held_base["BTC"], facts.sellable_base["BTC"]) == (1, 1)


async def test_gateway_signs_checkpoints_by_itself_and_keeps_them(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        reader = JournalReader(journal_url(run.settings))
        await run.until(lambda: bool(reader.checkpoints(0, 10)))
        rows = run.journal.size  # of which more may come at any moment
        last = await run.gateway.checkpoint()
        published = run.settings.ring_file.with_name(PUBLIC_KEYS_FILE).read_text()
        keys = parse_keys(published, origin=gateway_log_keys(load_identity(run.settings)[1]).journal)
        checkpoint, _ = open_checkpoint(last, log=keys.log)
        assert rows <= checkpoint.size <= run.journal.size
        assert checkpoint.ring_hash == run.gateway.state()["ring_hash"]
        verdict = verify_journal(reader.stored_rows(0, 1000), notes=reader.checkpoints(0, 1000), keys=keys)
        assert verdict.is_good
        assert checkpoint.size <= verdict.signed_rows <= run.journal.size
        reader.close()
