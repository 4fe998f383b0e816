"""Arming, disarming, and what becomes of a request, against a small exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from http_double import Asked, envelope, http_double
from killswitch.kill_scene import Rows, client_of
from killswitch.test_authorisation import PRIVATE, RING, START_MS, releasing, warrant
from killswitch.test_standing import ENDINGS
from trust_parts import KEYS, touch

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock, SystemClock
from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.fork_proof import fork_proof, proof_evidence
from trade_journal.log.rows import RowKind, leaf_hash
from trade_journal.log.tree import Frontier
from trade_killswitch.authorisation import Authorisation
from trade_killswitch.automatic import DAY_MS, STANDING_FILE, Automatic
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.kill_order import Authority
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.own_book import APART_MS
from trade_killswitch.own_samples import READY, STALE_S, OwnSamples
from trade_killswitch.readiness import Readiness
from trade_killswitch.revoker import RevokerExchange
from trade_killswitch.standing import Condition, Terms

ORDER = {"order_id": "o-1", "category": "spot", "symbol": "XRPUSDT"}


@dataclass
class World:
    """An exchange of three keys, and the executor's automatic part beside it."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(wall_ns=(START_MS - 3 * APART_MS) * NS_PER_MS))
    equity: str = "1000"
    flows: list[dict[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=lambda: ["exit", "order"])
    orders: list[str] = field(default_factory=list)
    is_up: bool = True
    told: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)

    def answer(self, asked: Asked) -> bytes | None:
        if not self.is_up:
            return None
        match asked.path:
            case "/v5/account/wallet-balance":
                coin = {"coin": "USDT", "equity": self.equity, "usdValue": self.equity}
                return envelope({"list": [{"totalEquity": self.equity, "coin": [coin]}]})
            case "/v5/account/transaction-log":
                kind = asked.parameter("type")
                return envelope({"list": [one for one in self.flows if one["type"] == kind], "nextPageCursor": ""})
            case "/v5/user/sub-apikeys":
                return envelope({"result": [{"apiKey": key, "readOnly": False} for key in self.keys]})
            case "/v5/order/realtime" if asked.parameter("category") != "spot" and not asked.parameter("symbol"):
                return envelope({}, ret_code=10001, ret_msg="missing symbol or settleCoin")  # as the real one
            case "/v5/order/history":
                return envelope({"list": [{"orderId": one} for one in self.orders]})
            case _:
                return envelope({"list": []})

    @asynccontextmanager
    async def automatic(self) -> AsyncIterator[Automatic]:
        metrics = ExecutorMetrics()
        async with http_double(self.answer) as double:
            client = client_of(double.url, Secret("exit"), Secret("s"))
            exchange = ExitExchange(client=client, requests_per_s=1000, metrics=metrics, clock=SystemClock())
            calls = ExchangeCalls(
                client=client_of(double.url, Secret("revoker"), Secret("s")),
                requests_per_s=1000,
                metrics=metrics,
                clock=SystemClock(),
            )
            revoker = RevokerExchange(
                calls=calls, account="1002", client_of=lambda key, secret: client_of(double.url, key, secret)
            )
            samples = OwnSamples(
                exchange=exchange,
                clock=self.clock,
                state_dir=self.folder,
                tell=lambda subject, _: self.told.append(subject),
            )
            readiness = Readiness(
                account="1002",
                exit_key="exit",
                exchange=exchange,
                revoker=revoker,
                gateway=None,
                bot=None,
                secrets=None,
                recorder=self.rows,
                metrics=metrics,
                parts={"exit_key": READY},
                keys=("exit", "order"),
                own_samples=lambda: samples.words,
            )
            made = Automatic(
                authorisation=Authorisation(ring=lambda: RING, clock=self.clock, state_dir=self.folder),
                readiness=readiness,
                exchange=exchange,
                revoker=revoker,
                recorder=self.rows,
                clock=self.clock,
                state_dir=self.folder,
                terms_of=lambda keys: Terms(account="1002", keys=keys, endings=ENDINGS, drawdown=Decimal("0.18")),
                tell=lambda subject, _: self.told.append(subject),
                samples=samples,
            )
            made.load()
            samples.load()
            for _ in range(3 if self.is_up else 0):
                await samples.sample()
                self.clock.advance(APART_MS * NS_PER_MS)
            try:
                yield made
            finally:
                await exchange.close()
                await revoker.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def arming(automatic: Automatic, **changed: Any) -> bytes:
    values = {"purpose": "arm", "subject": automatic.draft().subject(), "expires_at_ms": START_MS + 30 * DAY_MS}
    return touch(warrant(**{**values, **changed}))


async def test_armed_by_a_touch_for_what_is_there_now(world: World) -> None:
    async with world.automatic() as automatic:
        assert automatic.status()["is_armed"] is False
        await automatic.arm(arming(automatic))
        status = automatic.status()
        assert status["is_armed"] is True
        assert status["expires_at_ms"] == START_MS + 30 * DAY_MS
        (row,) = world.rows.of(RowKind.STANDING_WARRANT_ARMED)
        assert row["keys_of_the_account"] == ["exit", "order"]
    async with world.automatic() as again:
        assert again.status()["is_armed"] is True


async def test_nothing_is_armed_while_a_part_is_not_ready(world: World) -> None:
    async with world.automatic() as automatic:
        raw = arming(automatic)
        automatic.readiness.parts["gateway"] = "not ready: x"
        with pytest.raises(NotTrusted, match="not every part"):
            await automatic.arm(raw)
        automatic.readiness.parts["gateway"] = READY
        await automatic.arm(raw)
        automatic.readiness.parts["gateway"] = "not ready: x"
        assert automatic.status()["is_armed"] is False


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": "arm:" + "0" * 64},
        {"purpose": "kill"},
        {"audience": "gateway"},
        {"account": "1003"},
        {"expires_at_ms": START_MS + 91 * DAY_MS},
        {"expires_at_ms": START_MS - 1},
    ],
)
async def test_warrant_for_something_else_arms_nothing(world: World, changed: dict[str, Any]) -> None:
    async with world.automatic() as automatic:
        with pytest.raises(NotTrusted):
            await automatic.arm(arming(automatic, **changed))
        assert automatic.status()["is_armed"] is False
        assert world.rows.rows == []


async def test_key_that_came_since_the_draft_arms_nothing(world: World) -> None:
    async with world.automatic() as automatic:
        raw = arming(automatic)
        automatic.readiness.keys = ("exit", "new", "order")
        with pytest.raises(NotTrusted, match="subject"):
            await automatic.arm(raw)


async def test_disarming_takes_a_touch_and_is_final_for_that_warrant(world: World) -> None:
    async with world.automatic() as automatic:
        with pytest.raises(NotTrusted, match="nothing is armed"):
            automatic.disarm_subject()
        raw = arming(automatic)
        await automatic.arm(raw)
        subject = automatic.disarm_subject()
        with pytest.raises(NotTrusted):
            await automatic.disarm(touch(warrant(purpose="disarm", subject="disarm:other")))
        assert automatic.status()["is_armed"] is True
        await automatic.disarm(touch(warrant(purpose="disarm", subject=subject)))
        assert automatic.status()["is_armed"] is False
        assert len(world.rows.of(RowKind.STANDING_WARRANT_DISARMED)) == 1
        with pytest.raises(NotTrusted):
            await automatic.arm(raw)
    async with world.automatic() as again:
        assert again.status()["is_armed"] is False
        with pytest.raises(NotTrusted):
            await again.arm(raw)
        await again.arm(arming(again, nonce="n2"))
        assert again.status()["is_armed"] is True


@pytest.mark.parametrize("is_file_kept", [False, True])
async def test_warrant_whose_kill_began_is_none_any_more_nor_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch, is_file_kept: bool
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    world.keys.append("stranger")
    async with world.automatic() as automatic:
        raw = arming(automatic)
        await automatic.arm(raw)
        used = (await automatic.judged(Condition.ROGUE_KEY, {}, reason="x")).order.kill_id
        with monkeypatch.context() as patched:
            if not is_file_kept:
                patched.setattr("trade_killswitch.automatic.write_secret_file", full)
            automatic.use_up(used)
        assert automatic.status()["is_armed"] is False
        with pytest.raises(NotTrusted, match="no standing warrant"):
            await automatic.judged(Condition.ROGUE_KEY, {}, reason="x")
    async with world.automatic() as again:
        # Its file, or the row of its kill: either is enough.
        again.is_used = lambda kill_id: not is_file_kept and kill_id == used
        assert again.status()["is_armed"] is False
        with pytest.raises(NotTrusted):
            await again.judged(Condition.ROGUE_KEY, {}, reason="x")
        with pytest.raises(NotTrusted):
            await again.arm(raw)
        await again.arm(arming(again, nonce="n2"))
        assert again.status()["is_armed"] is True


async def test_lapsed_warrant_kills_nobody_and_people_are_told_before(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        automatic.nag()
        assert world.told == []
        world.clock.advance(24 * DAY_MS * NS_PER_MS)
        automatic.nag()
        automatic.nag()
        assert world.told == ["standing_warrant:lapsing"]
        world.clock.advance(6 * DAY_MS * NS_PER_MS)
        automatic.nag()
        assert world.told == ["standing_warrant:lapsing", "standing_warrant:lapsed"]
        assert automatic.status()["is_armed"] is False
        world.orders = ["o-1"]
        with pytest.raises(NotTrusted, match="expired"):
            await automatic.judged(Condition.ROGUE_ORDER, ORDER, reason="x")


async def test_request_without_a_warrant_is_no_kill(world: World) -> None:
    async with world.automatic() as automatic:
        with pytest.raises(NotTrusted, match="no standing warrant"):
            await automatic.judged(Condition.ROGUE_ORDER, ORDER, reason="x")


async def test_drawdown_that_the_executor_saw_too_kills(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        with pytest.raises(NotTrusted, match=r"own drawdown is 0\.00 %"):
            await automatic.judged(Condition.DRAWDOWN, {}, reason="the watchdog lies")
        world.equity = "800"
        allowed = await automatic.judged(Condition.DRAWDOWN, {}, reason="a fall")
        assert allowed.order.authority is Authority.STANDING_WARRANT
        assert allowed.order.endings == ENDINGS
        assert allowed.order.reason.startswith("drawdown: our own drawdown is 20.00 %")
        assert "warrant" in allowed.fields
        assert (await automatic.judged(Condition.DRAWDOWN, {}, reason="x")).order.kill_id == allowed.order.kill_id


async def test_nothing_is_armed_while_our_own_samples_confirm_nothing(world: World) -> None:
    async with world.automatic() as automatic:
        raw = arming(automatic)
        world.is_up = False
        world.clock.advance(int(STALE_S * NS_PER_S))
        await automatic.samples.try_sample()
        with pytest.raises(NotTrusted, match="was not read for 5 minutes"):
            await automatic.arm(raw)
        world.is_up = True
        await automatic.samples.try_sample()
        await automatic.arm(raw)
        assert automatic.status()["is_armed"] is True
        world.is_up = False
        world.clock.advance(int(STALE_S * NS_PER_S))
        status = automatic.status()
        assert status["is_armed"] is False
        assert "was not read for 5 minutes" in status["reason"]


async def test_rogue_key_and_order_are_looked_for(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        for condition in (Condition.ROGUE_KEY, Condition.ROGUE_ORDER, Condition.FORKED_JOURNAL):
            with pytest.raises(NotTrusted, match="not confirmed"):
                await automatic.judged(condition, ORDER, reason="x")
        world.keys.append("stranger")
        assert (await automatic.judged(Condition.ROGUE_KEY, {}, reason="x")).order
        world.orders = ["o-1"]
        assert (await automatic.judged(Condition.ROGUE_ORDER, ORDER, reason="x")).order
        for evidence in (
            {},
            {"order_id": "o-1", "symbol": "XRPUSDT"},
            {**ORDER, "order_id": "a&b"},
            {**ORDER, "order_id": ""},
            {**ORDER, "symbol": "X&limit=1"},
            {**ORDER, "symbol": "x" * 65},
            {"order_id": "o-1", "category": "spot"},
            {**ORDER, "order_id": "o-2"},
        ):
            with pytest.raises(NotTrusted, match="not confirmed"):
                await automatic.judged(Condition.ROGUE_ORDER, evidence, reason="x")


async def test_exchange_that_does_not_answer_confirms_nothing(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        world.equity, world.is_up = "100", False
        for condition in Condition:
            with pytest.raises(NotTrusted, match="not confirmed"):
                await automatic.judged(condition, ORDER, reason="x")


async def test_settings_that_changed_since_void_the_warrant(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        world.orders = ["o-1"]
        automatic.terms_of = lambda keys: Terms(account="1002", keys=keys, endings=ENDINGS, drawdown=Decimal("0.1"))
        automatic.load()
        with pytest.raises(NotTrusted, match="other terms"):
            await automatic.judged(Condition.ROGUE_ORDER, ORDER, reason="x")


async def test_file_that_cannot_be_written_arms_nothing_and_disarms(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    async with world.automatic() as automatic:
        raw = arming(automatic)
        with monkeypatch.context() as patched:
            patched.setattr("trade_killswitch.automatic.write_secret_file", full)
            with pytest.raises(NotTrusted, match="cannot be kept"):
                await automatic.arm(raw)
        await automatic.arm(arming(automatic, nonce="n2"))
        subject = automatic.disarm_subject()
        monkeypatch.setattr("trade_killswitch.automatic.write_secret_file", full)
        await automatic.disarm(touch(warrant(purpose="disarm", subject=subject)))
        assert automatic.status()["is_armed"] is False


@pytest.mark.parametrize("text", ['{"envelope": 1, "keys": [], "voided": []}', '{"envelope": "", "keys": []}', "{}"])
async def test_damaged_file_is_refused(world: World, text: str) -> None:
    file = world.folder / STANDING_FILE
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match=STANDING_FILE):
        async with world.automatic():
            pass


async def test_sampling_goes_on_through_an_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_killswitch.own_samples.SAMPLE_EVERY_S", 0.01)
    async with world.automatic() as automatic:
        world.is_up = False
        sampling = asyncio.create_task(automatic.keep_sampling())
        await asyncio.sleep(0.05)
        world.is_up, world.equity = True, "900"
        async with asyncio.timeout(60):
            while automatic.status()["own_drawdown"] != "0.100000":  # noqa: ASYNC110 - the loop's own turn
                await asyncio.sleep(0.01)
        sampling.cancel()


async def test_release_that_two_keys_signed_rebases_our_own_highest_point_once(world: World) -> None:
    async with world.automatic() as automatic:
        world.equity = "700"
        raw = releasing()
        fields = await automatic.rebase(raw)
        assert fields is not None
        assert fields["drawdown_before"] == "0.300000"
        assert automatic.samples.drawdown == 0
        world.equity = "650"
        world.clock.advance(APART_MS * NS_PER_MS)
        await automatic.samples.sample()
        assert await automatic.rebase(raw) is None
        assert automatic.samples.drawdown is not None
        assert automatic.samples.drawdown > 0
    (row,) = world.rows.of(RowKind.OWN_SAMPLES_REBASED)
    assert row["drawdown_before"] == "0.300000"
    assert row["security_keys"] == ["first", "second"]


async def test_release_rebases_nothing_that_cannot_be_read_and_may_come_again(world: World) -> None:
    async with world.automatic() as automatic:
        raw = releasing()
        world.is_up = False
        with pytest.raises(NotTrusted, match="cannot be read now"):
            await automatic.rebase(raw)
        assert world.rows.of(RowKind.OWN_SAMPLES_REBASED) == []
        world.is_up = True
        assert await automatic.rebase(raw) is not None


async def test_release_by_one_key_rebases_nothing(world: World) -> None:
    async with world.automatic() as automatic:
        world.equity = "700"
        with pytest.raises(NotTrusted, match="two different security keys"):
            await automatic.rebase(releasing(by=KEYS[:1]))
        await automatic.samples.sample()
        assert automatic.samples.drawdown == Decimal("0.3")


@pytest.mark.parametrize("category", ["spot", "linear", "inverse"])
async def test_rogue_order_is_looked_for_in_every_category_as_the_exchange_takes_it(
    world: World, category: str
) -> None:
    world.orders = ["o-1"]
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        found = await automatic.judged(Condition.ROGUE_ORDER, {**ORDER, "category": category}, reason="x")
        assert found.order.authority is Authority.STANDING_WARRANT


def forked(private_key: Any, *, origin: str = "trade/simulated/1002/gateway") -> dict[str, str]:
    """Make the evidence of a log that signed two histories of three rows."""
    log = LogSigner(origin=origin, private_key=private_key, ring_hash="a" * 64)
    histories = [[leaf_hash(f"{which}{number}".encode()) for number in range(3)] for which in "ab"]
    smaller, larger = (log.sign(Frontier().extended(leaves)).rendered().encode() for leaves in histories)
    return proof_evidence(fork_proof(smaller=smaller, larger=larger, leaves=histories[1], log=log.verifier()))


async def test_fork_is_confirmed_by_what_the_gateway_s_log_signed_and_nothing_else(world: World) -> None:
    async with world.automatic() as automatic:
        await automatic.arm(arming(automatic))
        for evidence, why in (
            ({"detail": "it forked"}, "nothing that proves a fork"),
            (forked(load_private_key(new_private_key())), "no two roots"),
            (forked(PRIVATE, origin="trade/simulated/1002/executor"), "no two roots"),
        ):
            with pytest.raises(NotTrusted, match=f"not confirmed: .*{why}"):
                await automatic.judged(Condition.FORKED_JOURNAL, evidence, reason="x")
        for origin in ("trade/simulated/1002/gateway", "trade/simulated/1002/gateway/2"):
            killed = await automatic.judged(Condition.FORKED_JOURNAL, forked(PRIVATE, origin=origin), reason="x")
            assert killed.order.authority is Authority.STANDING_WARRANT
            assert "two roots" in killed.order.reason
