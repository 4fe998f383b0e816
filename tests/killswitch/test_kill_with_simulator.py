"""Whole kills against the real simulator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from http_double import HANG, Asked, http_double, reply
from killswitch.kill_scene import HALTED, KillScene, client_of, kill_scene, killable, ordered, revive, step_of
from killswitch.scene import Scene, scene, simulator, until
from killswitch.test_authorisation import warrant
from killswitch.test_with_simulator import conditional_orders, protected_position
from trust_parts import touch

from trade_core.clock import NS_PER_MS, SystemClock
from trade_core.secrets import Secret, write_secret_file
from trade_core.trust.ring import read_ring, ring_hash
from trade_journal.log.rows import RowKind

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]
Credentials = dict[str, Any]
KILLED_WITHIN_S = 60
"""What is promised; `make drill` measures on whole stacks how much sooner it is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Credentials]:
    """One simulator for all of them: each test begins with clear books and new keys."""
    async with simulator(tmp_path_factory.mktemp("simulator")) as credentials:
        yield credentials


async def is_refused(credentials: Credentials, role: str) -> bool:
    pair = credentials["keys"][role]
    client = client_of(credentials["url"], Secret(pair["key"]), Secret(pair["secret"]))
    try:
        return (await client.get("/v5/user/query-api")).ret_code == 10003
    finally:
        await client.aclose()


async def open_positions(made: Scene) -> list[str]:
    state = (await made.control.get("/__sim/state")).json()
    return [one["symbol"] for one in state["positions"] if one["uid"] == made.account and Decimal(one["size"]) != 0]


async def test_five_kills_of_a_flat_account_are_complete_in_time(tmp_path: Path, exchange: Credentials) -> None:
    for number in range(5):
        (place := tmp_path / f"kill-{number}").mkdir()
        async with killable(place, exchange) as killing:
            await asyncio.gather(*(killing.scene.order("spot", "XRPUSDT", "Buy") for _ in range(3)))
            report = await killing.killed(ordered(f"{number:016x}"))
            assert report["verdict"] == "complete", report
            assert report["took_s"] < KILLED_WITHIN_S


async def test_flat_account_is_killed_frozen_and_every_key_is_refused(tmp_path: Path, exchange: Credentials) -> None:
    async with killable(tmp_path, exchange) as killing:
        report = await killing.killed()
        assert report["verdict"] == "complete", report
        assert step_of(report, "freeze")["evidence"] == {"is_frozen": True}
        assert set(step_of(report, "prove")["evidence"].values()) == {"10003"}
        assert len(step_of(report, "prove")["evidence"]) == 4
        assert killing.store.destroyed == ["gateway", "bot"]
        assert killing.rows.of(RowKind.KILL_REPORTED)[-1]["verdict"] == "complete"
        assert [asked.path for asked in killing.gateway.asked] == ["/halt"]
        for role in ("order", "watch", "exit"):
            assert await is_refused(exchange, role)
        assert not await is_refused(exchange, "revoker")
        # The keys stand in the journal before the first of them is deleted.
        kinds = [kind for kind, _ in killing.rows.rows]
        assert kinds.index(RowKind.KILL_KEYS_LISTED) < kinds.index(RowKind.KILL_REPORTED)
        (listed,) = killing.rows.of(RowKind.KILL_KEYS_LISTED)
        assert set(listed["keys"]) == {exchange["keys"][role]["key"] for role in ("order", "watch")}


async def test_more_orders_than_one_call_cancels_and_algorithms_are_ended(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await conditional_orders(made)
        await asyncio.gather(*(made.order("spot", "XRPUSDT", "Buy") for _ in range(320)))
        await asyncio.gather(*(made.order("linear", "XRPUSDT", "Buy") for _ in range(230)))
        for number in range(3):
            content = {"category": "UTA_USDT", "symbol": "XRPUSDT", "side": "Buy", "strategyType": "twap"}
            answer = await made.post("/v5/strategy/create", {**content, "size": str(100 + number)})
            assert answer.is_ok, answer
        report = await killing.killed()
        assert report["verdict"] == "complete", report
        assert step_of(report, "algorithms")["evidence"] == {"running": 0, "stopped": 3}
        assert await made.working() == []
        assert report["took_s"] < KILLED_WITHIN_S
        shown = step_of(report, "cancel")["evidence"]
        kinds = {name: count for name, count in shown.items() if name.startswith("working:")}
        assert {"working:spot:Order", "working:spot:OcoOrder", "working:linear/USDT:StopOrder"} <= set(kinds)
        assert len(kinds) == 11
        assert set(kinds.values()) == {0}


async def test_what_is_held_keeps_its_stop_and_is_not_frozen(tmp_path: Path, exchange: Credentials) -> None:
    async with killable(tmp_path, exchange) as killing:
        stop = await protected_position(killing.scene)
        report = await killing.killed()
        assert report["verdict"] == "complete", report
        assert [order["orderId"] for order in await killing.scene.working()] == [stop]
        assert step_of(report, "freeze")["status"] == "not_needed"
        assert step_of(report, "flatten")["evidence"]["held_as_ordered"] == "linear XRPUSDT 100 long"
        assert await is_refused(exchange, "exit")


async def test_open_positions_are_closed_and_their_stops_cancelled(tmp_path: Path, exchange: Credentials) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await protected_position(made)
        await made.order("spot", "XRPUSDT", "Buy", orderType="Market", timeInForce="IOC", qty="200")
        report = await killing.killed(ordered(linear="flatten", spot="flatten"))
        assert report["verdict"] == "complete", report
        assert report["took_s"] < KILLED_WITHIN_S
        assert await open_positions(made) == []
        assert await made.working() == []
        assert step_of(report, "freeze")["status"] == "done"
        assert step_of(report, "refuse")["status"] == "done"


async def test_position_that_nobody_takes_is_not_flat_until_a_person_goes_on(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await made.order("linear", "XRPUSDT", "Buy", orderType="Market", timeInForce="IOC", qty="100")
        # The exchange takes stops and cancels, and answers everything else with an error.
        await made.fault("/v5/order/create", "error", ret_code=10016, count=60)
        report = await killing.killed(ordered(linear="flatten"))
        assert report["verdict"] == "not_flat", report
        assert "linear XRPUSDT 100 long" in report["in_words"]
        assert step_of(report, "exit_key")["status"] == "waiting"
        assert step_of(report, "freeze")["status"] == "waiting"
        assert not await is_refused(exchange, "exit")
        assert await is_refused(exchange, "order")
        assert step_of(report, "prove")["why"].startswith("the exit key is kept")
        await made.no_faults()
        killing.killer.take_up_again()
        report = await killing.over()
        assert report["verdict"] == "complete", report
        assert await open_positions(made) == []
        assert await is_refused(exchange, "exit")


def sometimes(seed: int) -> Callable[[Asked], bytes | None]:
    """Answer, hang, refuse or close, at random: three in ten fail."""
    chance = random.Random(seed)

    def answer(_: Asked) -> bytes | None:
        return reply(HALTED) if chance.random() > 0.3 else chance.choice([HANG, None, reply(b"no", status=503)])

    return answer


def gateway_down(killing: KillScene) -> None:
    killing.gateway.answer = lambda _: None


def gateway_hangs(killing: KillScene) -> None:
    killing.gateway.answer = lambda _: HANG


def gateway_lies(killing: KillScene) -> None:
    killing.gateway.answer = lambda _: reply(b'{"trading_state":"ACTIVE","in_flight":[]}')


def bot_fails(killing: KillScene) -> None:
    killing.bot.failures = 10**6


def bot_hangs(killing: KillScene) -> None:
    killing.bot.hangs = True


def store_fails(killing: KillScene) -> None:
    killing.store.failures = 10**6


def store_hangs(killing: KillScene) -> None:
    killing.store.hangs = True


def journal_is_stuck(killing: KillScene) -> None:
    killing.rows.is_stuck = True


@pytest.mark.parametrize(
    ("breaks", "pending"),
    [
        (gateway_down, "refuse"),
        (gateway_hangs, "refuse"),
        (gateway_lies, "refuse"),
        (bot_fails, "bot"),
        (bot_hangs, "bot"),
        (store_fails, "secrets"),
        (store_hangs, "secrets"),
        (journal_is_stuck, ""),
    ],
)
async def test_everything_else_is_done_while_one_part_is_broken(
    tmp_path: Path, exchange: Credentials, breaks: Callable[[KillScene], None], pending: str
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await asyncio.gather(*(killing.scene.order("linear", "XRPUSDT", "Buy") for _ in range(3)))
        breaks(killing)
        killing.begin()

        def is_rest_done() -> bool:
            status = killing.killer.status()
            steps = (status["running"] or status["last"])["steps"]
            left = {step["step"] for step in steps if step["status"] not in ("done", "not_needed")}
            return left - {"tell"} <= {pending}

        await until(is_rest_done)
        assert await killing.scene.working() == []
        for role in ("order", "watch", "exit"):
            assert await is_refused(exchange, role)


@pytest.mark.parametrize("seed", [1, 2])
async def test_parts_that_fail_three_times_in_ten_are_got_done(
    tmp_path: Path, exchange: Credentials, seed: int
) -> None:
    async with killable(tmp_path, exchange) as killing:
        killing.gateway.answer = sometimes(seed)
        killing.bot.failures = killing.store.failures = seed
        report = await killing.killed()
        assert report["verdict"] == "complete", report


FAULTED = (
    "/v5/order/realtime",
    "/v5/order/cancel-all",
    "/v5/order/cancel",
    "/v5/order/create",
    "/v5/position/list",
    "/v5/account/wallet-balance",
    "/v5/strategy/list",
    "/v5/user/sub-apikeys",
    "/v5/user/delete-sub-api",
    "/v5/user/frozen-sub-member",
    "/v5/user/query-api",
)
"""What a kill asks of the exchange."""
RATE_LIMITED: dict[str, Any] = {"mode": "error", "ret_code": 10006, "message": "Too many visits!"}
BROKEN: dict[str, Any] = {"mode": "status", "status": 502}
UNHEARD: dict[str, Any] = {"mode": "drop", "ms": 1500}
DONE_AND_UNTOLD: dict[str, Any] = {"mode": "lose_response", "ms": 1500}
CLOSED: dict[str, Any] = {"mode": "close"}


async def furnished(made: Scene) -> None:
    """Open a position with its stop, and place orders of several kinds."""
    await protected_position(made)
    await conditional_orders(made)
    await asyncio.gather(*(made.order("linear", "XRPUSDT", "Buy") for _ in range(3)))


async def killed_among_faults(killing: KillScene) -> None:
    """Kill, and see that steps were tried again and that all is gone."""
    made = killing.scene
    report = await killing.killed(ordered(linear="flatten"), within_s=180)
    assert report["verdict"] == "complete", report
    assert sum(step["tries"] for step in report["steps"]) > len(report["steps"])
    await made.no_faults()
    assert await made.working() == []
    assert await open_positions(made) == []
    for role in ("order", "watch", "exit"):
        assert await is_refused(made.credentials, role)


@pytest.mark.parametrize("fault", [RATE_LIMITED, DONE_AND_UNTOLD], ids=lambda one: one["mode"])
async def test_exchange_that_fails_each_call_twice_is_got_to_do_all_of_it(
    tmp_path: Path, exchange: Credentials, fault: dict[str, Any]
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await furnished(killing.scene)
        for path in FAULTED:
            await killing.scene.fault(path, count=2, **fault)
        await killed_among_faults(killing)


@pytest.mark.parametrize("seed", [1, 3])
async def test_exchange_that_fails_at_random_is_got_to_do_all_of_it(
    tmp_path: Path, exchange: Credentials, seed: int
) -> None:
    chance = random.Random(seed)
    async with killable(tmp_path, exchange) as killing:
        await furnished(killing.scene)
        for path in FAULTED:
            for fault in (RATE_LIMITED, BROKEN, UNHEARD, DONE_AND_UNTOLD, CLOSED):
                if chance.random() < 0.3:
                    await killing.scene.fault(path, count=chance.randint(1, 3), **fault)
        await killed_among_faults(killing)


async def test_exchange_that_is_down_leaves_named_steps_pending_and_is_killed_when_it_is_back(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await made.order("linear", "XRPUSDT", "Buy")
        for path in ("/v5/order/realtime", "/v5/order/cancel-all", "/v5/user/sub-apikeys", "/v5/position/list"):
            await made.fault(path, "status", status=503)
        for path in ("/v5/strategy/list", "/v5/account/wallet-balance"):
            await made.fault(path, "drop", ms=5000)
        killing.begin()
        await until(lambda: killing.rows.of(RowKind.KILL_REPORTED))
        (told,) = killing.rows.of(RowKind.KILL_REPORTED)
        assert told["verdict"] == "pending"
        assert told["unfinished"] == ["algorithms", "cancel", "flatten", "revoke", "exit_key", "freeze", "prove"]
        assert {"refuse", "bot"} <= told["ended_ms"].keys()
        assert not await is_refused(exchange, "exit")
        await made.no_faults()
        killing.killer.take_up_again()
        report = await killing.over()
        assert report["verdict"] == "complete", report
        assert killing.rows.of(RowKind.KILL_REPORTED)[-1]["verdict"] == "complete"


async def test_key_that_comes_during_the_kill_is_deleted_before_the_proof(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await killing.scene.fault("/v5/user/frozen-sub-member", "status", status=503)
        killing.begin()
        await until(lambda: any(row["step"] == "exit_key" for row in killing.rows.of(RowKind.KILL_STEP)))
        asked = {"uid": killing.scene.account, "permissions": {"Spot": ["SpotTrade"]}, "readOnly": False, "ips": []}
        made = (await killing.scene.control.post("/__sim/key", json=asked)).json()
        await killing.scene.no_faults()
        report = await killing.over()
        assert report["verdict"] == "complete", report
        assert made["key"] in step_of(report, "prove")["evidence"]


@pytest.mark.parametrize("count", [1, 3, 5, 8])
async def test_kill_that_was_cut_off_after_any_row_is_completed_by_another_process(
    tmp_path: Path, exchange: Credentials, count: int
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await asyncio.gather(*(killing.scene.order("linear", "XRPUSDT", "Buy") for _ in range(3)))
        killing.begin()
        await until(lambda: len(killing.rows.of(RowKind.KILL_STEP)) >= count)
        await killing.killer.stop()
        await killing.parts.sweeper.stop()
        async with kill_scene(killing.scene) as again:
            was_over = bool(killing.rows.of(RowKind.KILL_REPORTED))  # a quick machine is through before it is cut off
            assert await again.killer.resume(killing.rows.journal()) is not was_over
            report = await again.over()
            assert report["verdict"] == "complete", report
            assert set(step_of(report, "prove")["evidence"].values()) == {"10003"}
            assert len(step_of(report, "prove")["evidence"]) == 4


async def test_twenty_touches_at_once_over_the_socket_are_one_kill(tmp_path: Path, exchange: Credentials) -> None:
    await revive(exchange)
    async with scene(tmp_path, exchange) as made, http_double(lambda _: reply(HALTED)) as gateway:
        pair = exchange["keys"]["revoker"]
        write_secret_file(tmp_path / "revoker.json", {"exchange_key": pair["key"], "exchange_secret": pair["secret"]})
        write_secret_file(tmp_path / "gateway.json", {"admin_url": gateway.url, "admin_token": "t" * 32})
        (tmp_path / "doomed").write_text("secret")
        made.write_settings(
            revoker_file="revoker.json", gateway_handover="gateway.json", secret_files=[str(tmp_path / "doomed")]
        )
        await made.order("linear", "XRPUSDT", "Buy")
        async with made.executor():
            await until(lambda: "revoker key verified" in made.log.read_text())
            draft = await made.ask("GET", "/draft?purpose=kill")
            assert "doomed" in draft["words"]
            assert ring_hash(read_ring(tmp_path / "ring.json")) == draft["ring_hash"]
            now_ms = SystemClock().wall_ns() // NS_PER_MS
            named = ("purpose", "audience", "subject", "deployment", "environment", "account", "ring_hash", "words")
            raw = touch(warrant(expires_at_ms=now_ms + 60_000, **{name: draft[name] for name in named}))
            answers = await asyncio.gather(*(made.ask_raw("/kill", raw) for _ in range(20)))
            assert sorted(answer["kill"] for answer in answers) == ["begun"] + ["joined"] * 19
            assert len({answer["kill_id"] for answer in answers}) == 1

            async def last() -> Any:
                return (await made.ask("GET", "/status"))["kill"]["last"]

            await until(last)
            assert (await last())["verdict"] == "complete"
            assert not (tmp_path / "doomed").exists()
            assert {row["step"] for row in await made.rows("kill:step")} >= {"secrets", "prove", "tell"}
            assert [asked.path for asked in gateway.asked if asked.method == "POST"] == ["/halt", "/kill"]
            assert [asked.body for asked in gateway.asked if asked.path == "/kill"] == [raw]
            (told,) = await made.rows("kill:ordered")
            assert "".join(told["warrant"]).encode() == raw
            assert (await made.ask_raw("/kill", raw))["kill"] == "joined"
        assert "is not known to be written" not in made.log.read_text()
