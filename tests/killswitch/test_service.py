"""The executor in this process: its parts together, its socket, its refusals. The exchange is a small server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_double import Asked, envelope, http_double, reply
from killswitch.test_key_check import key
from killswitch.test_working_orders import row
from trust_parts import ring_of

from trade_core.alerts import outbox
from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_journal.errors import JournalUnavailable
from trade_journal.writer.writer import JournalWriter
from trade_killswitch import recorder as recorder_module
from trade_killswitch import sweep_flow
from trade_killswitch import sweeper as sweeper_module
from trade_killswitch.cli import main
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.identity import PINNED_RING_FILE, initialise
from trade_killswitch.service import KEPT_FILES, run
from trade_killswitch.settings import ExecutorSettings

EMPTY = {"list": [], "nextPageCursor": ""}


def written(folder: Path, url: str, **changed: Any) -> Path:
    """Write an executor's settings, secrets and ring; returns the settings file."""
    values: dict[str, Any] = {
        "environment": "simulated",
        "exchange": "simulated",
        "exchange_url": url,
        "account": "1002",
        "state_dir": "state",
        "journal_url": f"sqlite:///{folder / 'executor.db'}",
        "secrets_file": "secrets.json",
        "ring_file": "ring.json",
        "socket": "run/executor.sock",
        "kill_spot": "hold",
        "kill_linear": "flatten",
        "kill_inverse": "flatten",
        **changed,
    }
    file = folder / "executor.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    write_secret_file(folder / "secrets.json", {"exchange_key": "exitkey", "exchange_secret": "exitsecret"})
    if not (folder / "ring.json").exists():
        (folder / "ring.json").write_bytes(ring_bytes(ring_of(load_private_key(new_private_key()))))
    return file


class World:
    """An exchange that lists what it is told to list, and the executor's socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.orders: list[dict[str, Any]] = []
        self.key = key()
        self.is_up = True
        self.task: asyncio.Task[None] | None = None

    def answer(self, asked: Asked) -> bytes | None:
        if not self.is_up:
            return None
        match asked.path:
            case "/v5/user/query-api":
                return envelope(self.key)
            case "/v5/order/realtime":
                is_spot = "category=spot&limit=50" in asked.query and "orderFilter" not in asked.query
                return envelope({"list": self.orders if is_spot else [], "nextPageCursor": ""})
            case _:
                gone, self.orders = self.orders, []
                return envelope({"list": [{"orderId": one["orderId"]} for one in gone], "success": "1"})

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(uds=str(self.folder / "run" / "executor.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://executor") as client:
            return await client.request(method, path, **more)

    async def answers(self) -> bool:
        try:
            return (await self.ask("GET", "/status")).is_success
        except httpx.TransportError:
            return False

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.ask("GET", "/status")).json()
        return status

    async def kinds(self) -> list[str]:
        return [row["kind"] for row in (await self.ask("GET", "/journal/rows")).json()["rows"]]

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                status = await self.status()
                if condition(status):
                    return status
                await asyncio.sleep(0.01)


@asynccontextmanager
async def world(folder: Path, *, settings: dict[str, Any] | None = None, **key_changes: Any) -> AsyncIterator[World]:
    """Run an executor until the context ends."""
    made = World(folder)
    made.key = key(**key_changes)
    async with http_double(made.answer) as double:
        loaded = load_settings(written(folder, double.url, **(settings or {})), ExecutorSettings)
        if not loaded.state_dir.exists():
            initialise(loaded)
        stop = asyncio.Event()
        task = made.task = asyncio.create_task(run(loaded, stop=stop))
        async with asyncio.timeout(60):
            while not await made.answers() and not task.done():  # noqa: ASYNC110 - it is what a client would do
                await asyncio.sleep(0.01)
        try:
            yield made
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)


async def test_status_says_what_the_executor_is_ready_for(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        status = await made.until(lambda status: status["exit_key"] == "verified")
        assert status["account"] == "1002"
        assert status["environment"] == "simulated"
        assert status["armed"]["is_armed"] is False
        assert status["sweep"] == {"running": None, "last": None}
        assert await made.kinds() == ["process:started", "config:loaded", "key:verified"]
        loaded = (await made.ask("GET", "/journal/rows")).json()["rows"][1]["fields"]
        assert loaded["settings"]["environment"] == "simulated"


async def test_sweep_is_begun_at_once_and_proved(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.orders = [row(orderId=str(number)) for number in range(3)]
        answer = await made.ask("POST", "/sweep", json={"reason": "the gateway is silent"})
        assert answer.status_code == 202
        status = await made.until(lambda status: status["sweep"]["last"] is not None)
        last = status["sweep"]["last"]
        assert last["sweep_id"] == answer.json()["sweep_id"]
        assert (last["acknowledged"], last["kept"]) == (3, 0)
        kinds = [kind for kind in await made.kinds() if kind.startswith("sweep")]
        assert kinds == ["sweep:started", "sweep:round", "sweep:proved"]
        (started,) = [
            one["fields"]
            for one in (await made.ask("GET", "/journal/rows")).json()["rows"]
            if one["kind"] == "sweep:started"
        ]
        assert started["reason"] == "the gateway is silent"
        assert started["asked_by"] == f"uid {os.getuid()}"


async def test_twenty_requests_while_a_sweep_goes_on_are_one_sweep(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.until(lambda status: status["exit_key"] == "verified")
        made.is_up = False
        answers = await asyncio.gather(*(made.ask("POST", "/sweep", json={"reason": "again"}) for _ in range(20)))
        assert len({answer.json()["sweep_id"] for answer in answers}) == 1
        assert sum(answer.json()["is_new"] for answer in answers) == 1
        made.is_up = True
        await made.until(lambda status: status["sweep"]["last"] is not None)
        assert (await made.kinds()).count("sweep:started") == 1


async def test_people_are_told_of_a_pending_sweep_until_it_is_proved_and_of_a_kill_until_somebody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_flow, "PENDING_AFTER_S", 0)
    monkeypatch.setattr(outbox, "PACE_S", 0.01)
    texts: list[str] = []

    def telegram(asked: Asked) -> bytes:
        texts.append(asked.json()["text"])
        return reply(b"{}", headers={})

    async with http_double(telegram) as double:
        channel = {"kind": "telegram", "token": "1:canary", "chat_id": "-1", "base_url": double.url}
        write_secret_file(tmp_path / "alerts.json", {"channels": [channel]})
        async with world(tmp_path, settings={"alerts_file": "alerts.json"}) as made:
            made.is_up = False
            await made.ask("POST", "/sweep", json={"reason": "x"})
            await made.until(lambda status: status["unacknowledged"] == ["sweep:pending"])
            made.is_up = True
            await made.until(lambda status: status["sweep"]["last"] is not None)
            assert (await made.status())["unacknowledged"] == []
            kill = {"request_id": "r", "condition": "rogue_key", "reason": "a key appeared"}
            await made.ask("POST", "/kill", json=kill)
            assert (await made.status())["unacknowledged"] == ["kill:rogue_key"]
            answer = await made.ask("POST", "/ack", json={"subject": "kill:rogue_key"})
            assert answer.json() == {"unacknowledged": []}
            async with asyncio.timeout(60):
                while not any("a kill was asked for" in text for text in texts):  # noqa: ASYNC110 - it is sent soon
                    await asyncio.sleep(0.01)
    assert texts[0].startswith("WARNING kill executor simulated/1002: a sweep has begun: x\n")
    assert texts[1].startswith("CRITICAL kill executor simulated/1002: the sweep has no proof")


async def test_sweep_that_is_stopped_goes_on_at_the_next_start(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.is_up = False
        sweep_id = (await made.ask("POST", "/sweep", json={"reason": "x"})).json()["sweep_id"]
        await made.until(lambda status: status["sweep"]["running"]["rounds"] > 0)
    async with world(tmp_path) as made:
        status = await made.until(lambda status: status["sweep"]["last"] is not None)
        assert status["sweep"]["last"]["sweep_id"] == sweep_id


async def test_defect_in_a_round_begins_the_sweep_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "DEFECT_PAUSE_S", 0.01)
    real = ExitExchange.read_shelves
    failures = iter([RuntimeError("a defect"), RuntimeError("another")])

    async def failing(self: ExitExchange) -> Any:
        for failure in failures:
            raise failure
        return await real(self)

    monkeypatch.setattr(ExitExchange, "read_shelves", failing)
    async with world(tmp_path) as made:
        await made.ask("POST", "/sweep", json={"reason": "x"})
        await made.until(lambda status: status["sweep"]["last"] is not None)


async def test_kill_request_is_recorded_once_with_its_evidence(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        asked = {"request_id": "r", "condition": "rogue_key", "reason": "a key appeared", "evidence": {"id": "9"}}
        for _ in range(2):
            answer = await made.ask("POST", "/kill", json=asked)
            assert (answer.status_code, answer.json()["kill"]) == (202, "not_armed")
        assert (await made.status())["kill_requests"] == {"r": "rogue_key"}
        assert (await made.kinds()).count("kill:requested") == 1


REFUSED_BODIES: list[tuple[str, Any]] = [
    ("/sweep", {}),
    ("/sweep", {"reason": 1}),
    ("/sweep", {"reason": "x", "more": 1}),
    ("/kill", {"request_id": "r", "condition": "boredom", "reason": "x"}),
    ("/kill", {"request_id": "r r", "condition": "drawdown", "reason": "x"}),
    ("/kill", {"request_id": "r", "condition": "drawdown", "reason": "x", "evidence": {"a": "x" * 201}}),
    (
        "/kill",
        {"request_id": "r", "condition": "drawdown", "reason": "x", "evidence": {str(n): "" for n in range(33)}},
    ),
]


async def test_requests_without_end_get_few_rows_and_each_calls_and_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "ASKED_AT_ONCE", 3)
    monkeypatch.setattr(recorder_module, "ASKED_A_SECOND_LATER", 1e-6)
    async with world(tmp_path) as made:
        for number in range(8):
            asked = {"request_id": f"r{number}", "condition": "rogue_key", "reason": "a key appeared"}
            answer = await made.ask("POST", "/kill", json=asked)
            assert (answer.status_code, answer.json()["kill"]) == (202, "not_armed")
            assert answer.json()["sweep_id"]
        kinds = await made.kinds()
        assert (kinds.count("kill:requested"), kinds.count("kill:judged")) == (3, 3)
        assert len((await made.status())["kill_requests"]) == 8
        for _ in range(3):
            assert (await made.ask("POST", "/ring", json={"change": 1})).status_code == 409
        assert "ring:refused" not in await made.kinds()
    assert "a kill was asked for: no row, there were too many; so it was 5 times in a row" in caplog.text
    assert "a key ring was refused: no row" in caplog.text


async def reasons(made: World) -> list[str | None]:
    rows = (await made.ask("GET", "/journal/rows?limit=500")).json()["rows"]
    return [row["fields"].get("reason") for row in rows]


@pytest.mark.parametrize(("reason", "said"), [("", "no reason was given"), ("x" * 5_000, "x" * 200)])
async def test_sweep_never_fails_by_the_length_of_its_reason(tmp_path: Path, reason: str, said: str) -> None:
    async with world(tmp_path) as made:
        assert (await made.ask("POST", "/sweep", json={"reason": reason})).status_code == 202
        async with asyncio.timeout(60):
            while True:  # the first row and the first reading go out together
                if said in await reasons(made):
                    break
                await asyncio.sleep(0.05)


async def test_request_that_says_nothing_or_too_much_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        for path, body in REFUSED_BODIES:
            assert (await made.ask("POST", path, json=body)).status_code == 422, (path, body)
        assert (await made.status())["sweep"] == {"running": None, "last": None}


async def test_long_body_and_body_without_length_are_refused(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    async with world(tmp_path) as made:
        assert (await made.ask("POST", "/sweep", content=b" " * 17_000)).status_code == 413
        assert (await made.ask("POST", "/sweep", content=chunks())).status_code == 413


async def test_journal_is_served_as_rows_bytes_and_checkpoint(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.until(lambda status: status["exit_key"] == "verified")
        entries = (await made.ask("GET", "/journal/entries?from=1&limit=1")).content
        assert json.loads(entries)["kind"] == "config:loaded"
        note = (await made.ask("GET", "/journal/checkpoint")).text
        assert note.startswith("trade/simulated/1002/executor\n3\n")


async def test_metrics_count_requests_and_sweeps(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.ask("POST", "/sweep", json={"reason": "x"})
        await made.until(lambda status: status["sweep"]["last"] is not None)
        text = (await made.ask("GET", "/metrics")).text
    assert "trade_executor_sweeps_proved_total 1.0" in text
    assert 'trade_executor_requests_total{kind="read",result="answered"} 1' in text


async def test_wrong_key_ends_the_executor_and_stands_in_the_journal(tmp_path: Path) -> None:
    async with world(tmp_path, ips=["*"]) as made:
        assert made.task is not None
        with pytest.raises(ConfigurationError, match="the exit key is refused: it is bound to any address"):
            await asyncio.wait_for(asyncio.shield(made.task), 60)


def test_init_makes_a_key_once_and_tells_only_its_public_half(tmp_path: Path, capsys: Any) -> None:
    file = written(tmp_path, "http://127.0.0.1:1")
    assert main(["init", "--config", str(file)]) == 0
    assert "public.json" in capsys.readouterr().out
    public = json.loads((tmp_path / "state" / "public.json").read_text())
    assert (public["account"], public["environment"]) == ("1002", "simulated")
    private = json.loads((tmp_path / "state" / "identity.json").read_text())["log_key"]
    assert private not in (tmp_path / "state" / "public-keys.txt").read_text()
    assert (tmp_path / "state" / "identity.json").stat().st_mode & 0o777 == 0o600
    assert main(["init", "--config", str(file)]) == 2
    assert "initialised once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda folder: (folder / "ring.json").unlink(), "ring.json"),
        (lambda folder: (folder / "secrets.json").chmod(0o644), "open to others"),
        (lambda folder: (folder / "secrets.json").unlink(), "exit key"),
        (lambda folder: (folder / "state" / "identity.json").unlink(), "init"),
        (lambda folder: written(folder, "http://127.0.0.1:1", account="7"), "account is not that of the settings"),
        (lambda folder: written(folder, "http://127.0.0.1:1", requests_per_s=41), "requests_per_s"),
        (lambda folder: written(folder, "http://10.0.0.1:1"), "loopback"),
        (lambda folder: written(folder, "http://127.0.0.1:1", environment="live"), "live"),
        (lambda folder: written(folder, "http://127.0.0.1:1", sweep=False), "not a known setting"),
    ],
)
def test_what_must_not_be_started_with_is_refused_by_name(
    tmp_path: Path, capsys: Any, break_it: Callable[[Path], Any], told: str
) -> None:
    file = written(tmp_path, "http://127.0.0.1:1")
    assert main(["init", "--config", str(file)]) == 0
    break_it(tmp_path)
    assert main(["--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert "exitsecret" not in said


async def test_folder_where_nothing_would_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path):
        pass
    monkeypatch.setattr("trade_journal.writer.file_system.why_not_durable", lambda folder: f"{folder} lies on tmpfs")
    settings = load_settings(tmp_path / "executor.toml", ExecutorSettings)
    with pytest.raises(ConfigurationError, match=r"^state_dir: .* lies on tmpfs"):
        await run(settings.model_copy(update={"environment": "live"}))


async def test_another_ring_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path):
        pass
    other = ring_of(load_private_key(new_private_key()))
    (tmp_path / "ring.json").write_bytes(ring_bytes(other))
    settings = load_settings(tmp_path / "executor.toml", ExecutorSettings)
    with pytest.raises(ConfigurationError, match="is not the ring pinned"):
        await run(settings)


@pytest.mark.parametrize("kept", KEPT_FILES)
async def test_pin_that_is_gone_from_a_folder_that_was_worked_with_is_refused(tmp_path: Path, kept: str) -> None:
    async with world(tmp_path):
        pass
    settings = load_settings(tmp_path / "executor.toml", ExecutorSettings)
    for name in KEPT_FILES:
        (settings.state_dir / name).unlink(missing_ok=True)
    (settings.state_dir / kept).write_text("{}")
    (settings.state_dir / PINNED_RING_FILE).unlink()
    with pytest.raises(ConfigurationError, match=rf"ring\.json: not there, but {kept} beside it"):
        await run(settings)
    assert not (settings.state_dir / PINNED_RING_FILE).exists()


async def test_sweep_goes_on_although_no_row_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as made:
        await made.until(lambda status: status["exit_key"] == "verified")

        async def refuse(self: JournalWriter, entry: Any) -> int:
            raise JournalUnavailable("the disk is full")

        monkeypatch.setattr(JournalWriter, "append", refuse)
        made.orders = [row()]
        await made.ask("POST", "/sweep", json={"reason": "x"})
        status = await made.until(lambda status: status["sweep"]["last"] is not None)
        assert status["sweep"]["last"]["acknowledged"] == 1
        assert "trade_executor_rows_lost_total 3.0" in (await made.ask("GET", "/metrics")).text
