"""The executor as a process, against the real simulator and the real journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from killswitch.scene import PATIENCE_S, Scene, process, scene, simulator, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Credentials = dict[str, Any]
NOBODY = 65534
TCP_LISTEN = "0A"  # in /proc/net/tcp
ASK = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1]);"
    "s.sendall(b'GET /status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); print(s.recv(64))"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Credentials]:
    """One simulator for all of them: each test begins with clear books."""
    async with simulator(tmp_path_factory.mktemp("simulator")) as credentials:
        yield credentials


def open_folder() -> Path:
    """Make a folder that another user may walk through; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="trade-executor-"))
    folder.chmod(0o755)
    return folder


def asked_as_nobody(path: Path) -> str:
    """Ask as the user nobody, for which this test needs root or sudo, as the set-up of the tests does."""
    become = [] if os.getuid() == 0 else ["sudo", "-n", "-u", "nobody"]
    done = subprocess.run(
        [*become, "/usr/bin/python3", "-c", ASK, str(path)],
        user=NOBODY if os.getuid() == 0 else None,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(link.readlink()))
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}


def listening_sockets() -> set[str]:
    """Return the inodes of this machine's listening TCP sockets."""
    lines = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {columns[9] for columns in lines if columns[3] == TCP_LISTEN}


async def protected_position(made: Scene) -> str:
    """Open a linear position and protect it; returns the id of the stop."""
    await made.order("linear", "XRPUSDT", "Buy", orderType="Market", timeInForce="IOC", qty="100")
    trigger = str((made.prices["linear", "XRPUSDT"] * Decimal("0.8")).quantize(Decimal("0.0001")))
    return await made.order(
        "linear",
        "XRPUSDT",
        "Sell",
        orderType="Market",
        timeInForce="IOC",
        qty="100",
        reduceOnly=True,
        triggerPrice=trigger,
        triggerDirection=2,
    )


async def conditional_orders(made: Scene) -> None:
    """Place what waits for a trigger and adds risk: linear, spot, and spot of the kind that holds its money."""
    trigger = str((made.prices["linear", "XRPUSDT"] * Decimal("1.2")).quantize(Decimal("0.0001")))
    waiting = {"orderType": "Market", "timeInForce": "IOC", "triggerPrice": trigger}
    await made.order("linear", "XRPUSDT", "Buy", triggerDirection=1, **waiting)
    for order_filter in ("StopOrder", "tpslOrder"):
        await made.order("spot", "XRPUSDT", "Buy", orderFilter=order_filter, **waiting)


async def test_six_hundred_orders_are_swept_proved_and_protective_stops_stay(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with scene(tmp_path, exchange) as made:
        stop = await protected_position(made)
        await conditional_orders(made)
        await asyncio.gather(*(made.order("spot", "XRPUSDT", "Buy") for _ in range(350)))
        await asyncio.gather(*(made.order("linear", "XRPUSDT", "Buy") for _ in range(250)))
        assert len(await made.working()) == 604
        async with made.executor() as executor:
            await made.sweep()
            report = await made.swept()
            assert [order["orderId"] for order in await made.working()] == [stop]
            assert report["kept"] == 1
            assert report["acknowledged"] == 603
            (proof,) = await made.rows("sweep:proved")
            assert proof["stops_by_symbol"] == {"linear/USDT:XRPUSDT": 1}
            executor.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(executor.wait(), PATIENCE_S) == 0
        assert " ERROR " not in made.log.read_text()


@pytest.mark.parametrize("name", ["master", "revoker", "watch"])
async def test_key_with_more_or_less_power_is_refused(tmp_path: Path, exchange: Credentials, name: str) -> None:
    async with scene(tmp_path, exchange) as made:
        made.write_settings(key=name)
        async with process(made.log, "-m", "trade_killswitch.cli", "--config", str(made.config)) as executor:
            assert await asyncio.wait_for(executor.wait(), PATIENCE_S) == 2
        assert "the exit key is refused" in made.log.read_text()
        assert made.credentials["keys"][name]["secret"] not in made.log.read_text()


async def test_sweep_does_not_wait_for_what_the_exchange_says_of_the_key(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made:
        await made.fault("/v5/user/query-api", "status", status=503)
        async with made.executor() as executor:
            assert (await made.ask("GET", "/status"))["exit_key"].startswith("not verified")
            order = await made.order("spot", "XRPUSDT", "Buy")
            await made.sweep()
            await made.swept()
            assert order not in [one["orderId"] for one in await made.working()]
            await made.no_faults()
            await until(lambda: "exit key verified" in made.log.read_text())
            assert executor.returncode is None


async def test_another_user_is_cut_off_unless_named(exchange: Credentials) -> None:
    folder = open_folder()
    try:
        async with scene(folder, exchange) as made:
            async with made.executor():
                assert "Permission denied" in await asyncio.to_thread(asked_as_nobody, made.socket)  # its mode
                made.socket.chmod(0o666)
                assert "200 OK" not in await asyncio.to_thread(asked_as_nobody, made.socket)
                await made.ask("GET", "/status")
            assert "PEER_REFUSED" in made.log.read_text()
            made.write_settings(watchdog_uid=NOBODY)
            async with made.executor():
                assert "200 OK" in await asyncio.to_thread(asked_as_nobody, made.socket)
    finally:
        shutil.rmtree(folder)


async def test_sweep_with_limits_on_and_lost_answers_ends_proved(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange, has_limits=True) as made:
        for _ in range(4):
            await asyncio.gather(*(made.order("linear", "XRPUSDT", "Buy") for _ in range(8)))
            await asyncio.sleep(1.05)  # the exchange takes ten orders a second
        await made.fault("/v5/order/cancel-all", "lose_response", count=2)
        await made.fault("/v5/order/realtime", "error", ret_code=10016, count=3)
        async with made.executor():
            await made.sweep()
            report = await made.swept()
            assert await made.working() == []
            assert report["rounds"] >= 2


async def test_exchange_that_hangs_and_comes_back_is_swept_then(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made:
        await asyncio.gather(*(made.order("spot", "XRPUSDT", "Buy") for _ in range(5)))
        await made.fault("/v5/order/realtime", "delay", ms=60_000)
        async with made.executor():
            await made.sweep()

            # What cannot be read is cancelled unread.
            async def is_empty() -> bool:
                return not await made.working()

            await until(is_empty)

            async def is_all_unread() -> bool:
                running = (await made.ask("GET", "/status"))["sweep"]["running"]
                return bool(running["unread_lists"] == 12)

            await until(is_all_unread)
            await made.no_faults()
            report = await made.swept()
            assert report["acknowledged"] == 5


async def test_executor_killed_in_the_middle_of_a_sweep_goes_on_with_it(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made:
        await asyncio.gather(*(made.order("spot", "XRPUSDT", "Buy") for _ in range(20)))
        await made.fault("/v5/order/cancel-all", "status", status=503)
        async with made.executor() as executor:
            await made.sweep()
            await until(lambda: made.rows("sweep:round"))
            executor.kill()
            await executor.wait()
        assert len(await made.working()) == 20
        await made.no_faults()
        async with made.executor():
            await made.swept()
            assert await made.working() == []
            (started, resumed) = await made.rows("sweep:started")
            assert resumed["sweep_id"] == started["sweep_id"]
            assert [proof["sweep_id"] for proof in await made.rows("sweep:proved")] == [started["sweep_id"]]
        async with made.executor():
            await asyncio.sleep(0.2)
            assert (await made.ask("GET", "/status"))["sweep"] == {"running": None, "last": None}


async def test_kill_without_a_standing_warrant_is_recorded_once_and_sweeps(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with scene(tmp_path, exchange) as made:
        await made.order("spot", "XRPUSDT", "Buy")
        async with made.executor():
            asked = {
                "request_id": "k1",
                "condition": "rogue_order",
                "reason": "an order without a tag",
                "evidence": {"order": "o1"},
            }
            answers = [await made.ask("POST", "/kill", asked) for _ in range(3)]
            assert answers[0]["kill"] == "not_armed"
            await made.swept()
            assert await made.working() == []
            (told,) = await made.rows("kill:requested")
            assert told["evidence"] == {"order": "o1"}
            assert told["asked_by"] == f"uid {os.getuid()}"


async def test_journal_of_the_executor_verifies_with_its_public_keys(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made:
        async with made.executor():
            await made.sweep()
            await made.swept()
        arguments = ("verify", "--journal", f"sqlite:///{tmp_path / 'executor.db'}")
        keys = ("--keys", str(tmp_path / "executor" / "public-keys.txt"))
        async with process(tmp_path / "verify.log", "-m", "trade_journal.cli", *arguments, *keys) as verify:
            assert await asyncio.wait_for(verify.wait(), PATIENCE_S) == 0, (tmp_path / "verify.log").read_text()


async def test_second_executor_on_one_journal_is_refused(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made, made.executor():
        async with process(tmp_path / "second.log", "-m", "trade_killswitch.cli", "--config", str(made.config)) as two:
            assert await asyncio.wait_for(two.wait(), PATIENCE_S) == 2
        assert (await made.ask("GET", "/status"))["account"] == made.account


async def test_executor_listens_on_no_port(tmp_path: Path, exchange: Credentials) -> None:
    async with scene(tmp_path, exchange) as made, made.executor() as executor:
        assert sockets_of(executor.pid)
        assert sockets_of(executor.pid) & listening_sockets() == set()
