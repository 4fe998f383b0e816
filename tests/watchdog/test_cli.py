"""The command: what it makes, what it refuses, and how a real process lives and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from trade_core.secrets import read_secret_file, write_secret_file
from trade_journal.log.rows import RowKind
from trade_journal.store.store import JournalReader
from trade_watchdog.cli import main
from trade_watchdog.history import JOURNAL_FILE

Until = Callable[..., Awaitable[None]]
SETTINGS = """
environment = "simulated"
exchange = "{exchange}"
exchange_url = "http://127.0.0.1:21000"
exchange_ws_url = "ws://127.0.0.1:21000"
account = "1002"
admin_port = 21020
state_dir = "watchdog"
secrets_file = "secrets.json"
master_secrets_file = "master.json"
order_key = "orderkey"
gateway_handover = "handover.json"
ring_file = "ring.json"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write settings of a watchdog that is not initialised."""
    path = tmp_path / "watchdog.toml"
    path.write_text(SETTINGS.format(exchange="simulated"))
    return path


def test_init_answers_0_and_names_what_it_wrote(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--config", str(config)]) == 0
    written = [line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines()]
    assert [Path(path).name for path in written] == [
        "public.json",
        "operator.json",
        "announcer.json",
        "identity.json",
    ]
    assert json.loads(Path(written[0]).read_bytes())["lease_key"]


def test_init_twice_answers_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--config", str(config)]) == 0
    assert main(["init", "--config", str(config)]) == 2
    assert "initialised once" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["init"], ["run"], []])
@pytest.mark.parametrize("exchange", ["testnet", "live"])
def test_exchange_of_another_environment_answers_2(
    config: Path, capsys: pytest.CaptureFixture[str], command: list[str], exchange: str
) -> None:
    config.write_text(SETTINGS.format(exchange=exchange))
    assert main([*command, "--config", str(config)]) == 2
    assert f'exchange: is "{exchange}"' in capsys.readouterr().err
    assert not (config.parent / "watchdog").exists()


def test_run_before_init_answers_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(config)]) == 2
    assert "run `trade-watchdog init` first" in capsys.readouterr().err


def test_ack_before_init_answers_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ack", "--config", str(config)]) == 2
    assert "operator.json: not there" in capsys.readouterr().err


def test_announce_before_init_answers_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["announce", "5", "USDT", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert "announcer.json: not there; `trade-watchdog init` writes it, and for an older deployment `trade-w" in said


def test_announcer_makes_the_file_that_an_older_init_has_not_made(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--config", str(config)]) == 0
    path = config.parent / "watchdog/handover/announcer.json"
    before = read_secret_file(path)
    path.unlink()
    assert main(["announcer", "--config", str(config)]) == 0
    assert "start the watchdog again" in capsys.readouterr().out
    made = read_secret_file(path)
    assert made["admin_url"] == before["admin_url"]
    assert len(made["announce_token"]) == len(before["announce_token"])
    assert made["announce_token"] != before["announce_token"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_announcer_that_is_there_is_kept(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--config", str(config)]) == 0
    path = config.parent / "watchdog/handover/announcer.json"
    before = path.read_bytes()
    assert main(["announcer", "--config", str(config)]) == 2
    assert "announcer.json: exists already" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_announcer_before_init_answers_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["announcer", "--config", str(config)]) == 2
    assert "run `trade-watchdog init` first" in capsys.readouterr().err
    assert not (config.parent / "watchdog/handover/announcer.json").exists()


def test_ack_without_a_watchdog_answers_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--config", str(config)]) == 0
    assert main(["ack", "--config", str(config)]) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"admin_url": "https://example.com"}, {"admin_token": None}])
def test_ack_with_a_damaged_handover_answers_2(
    config: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    assert main(["init", "--config", str(config)]) == 0
    path = config.parent / "watchdog" / "handover" / "operator.json"
    write_secret_file(path, {**read_secret_file(path), **change})
    assert main(["ack", "daily", "--config", str(config)]) == 2
    assert "operator.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "daily"], "run does not take: daily"),
        (["init", "daily"], "init does not take: daily"),
        (["ack", "daily", "weekly"], "ack does not take: daily weekly"),
        (["mitigated"], "mitigated does not take: nothing"),
        (["mitigated", "7"], "mitigated does not take: 7"),
        (["mitigated", "seven", "x"], "mitigated takes the number of the incident's row, not 'seven'"),
        (["mitigated", "7" * 16, "x"], "mitigated takes the number"),
        (["announce"], "announce does not take: nothing"),
        (["announce", "5"], "announce does not take: 5"),
    ],
)
def test_details_that_a_command_does_not_take_answer_2(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main([*arguments, "--config", str(config)]) == 2
    assert words in capsys.readouterr().err


def test_settings_missing_answer_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--config"], ["kill", "--config", "x"], ["--config", "x", "--force"]])
def test_usage_answers_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


class Process:
    """A watchdog in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def levels(self) -> set[str]:
        return {line.split()[1] for line in self.lines}

    async def ended(self, number: signal.Signals | None = None) -> int:
        """Wait for the end, after a signal if one is given; answers the exit code."""
        if number is not None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), 120)


@contextlib.asynccontextmanager
async def started(deployment: Any) -> AsyncIterator[Process]:
    """Start a watchdog on a deployment and leave none behind."""
    log = deployment.config.with_suffix(".log")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trade_watchdog.cli", "--config", str(deployment.config), stdout=output, stderr=output
        )
    try:
        yield Process(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def admin(deployment: Any) -> httpx.AsyncClient:
    """Talk to the watchdog as its operator."""
    handover = read_secret_file(deployment.state_dir / "handover" / "operator.json")
    headers = {"authorization": f"Bearer {handover['admin_token']}"}
    return httpx.AsyncClient(base_url=str(handover["admin_url"]), headers=headers, trust_env=False, timeout=60)


def fired(deployment: Any) -> set[str]:
    """Read which rungs have fired by the journal of the watchdog."""
    with contextlib.closing(JournalReader(f"sqlite:///{deployment.state_dir / JOURNAL_FILE}")) as reader:
        return {str(row.fields["rung"]) for row in reader.read(0, 500) if row.kind is RowKind.RUNG_FIRED}


async def ready_state(client: httpx.AsyncClient) -> dict[str, Any]:
    """Ask until the watchdog is ready, then for its state."""
    async with asyncio.timeout(120):
        while not (await client.get("/readyz")).is_success:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    document: dict[str, Any] = (await client.get("/state")).json()
    return document


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_process_leases_serves_and_ends_cleanly(deployment: Any, until: Until, number: signal.Signals) -> None:
    async with started(deployment) as process, admin(deployment) as client:
        await until(lambda: any(lease.ceiling == "ACTIVE" for lease in deployment.gateway.leases))
        state = await ready_state(client)
        assert state["equity"]["equity_usdt"] == "4000.5"
        assert state["lease"]["generation"] in {lease.generation for lease in deployment.gateway.leases}
        assert "trade_watchdog_lease_generation" in (await client.get("/metrics")).text
        assert await process.ended(number) == 0
        assert process.levels() <= {"INFO", "WARNING"}
        assert not any("watchsecret" in line or "lease-token" in line for line in process.lines)


@pytest.mark.slow
async def test_process_waits_for_exchange_and_gateway_without_an_error(deployment: Any, until: Until) -> None:
    await deployment.exchange.stop()
    await deployment.gateway.stop()
    async with started(deployment) as process:
        await until(lambda: any("waiting for the exchange" in line for line in process.lines))
        await deployment.exchange.start()
        await until(lambda: any("lease unavailable" in line for line in process.lines))
        await deployment.gateway.start()
        await until(lambda: bool(deployment.gateway.leases))
        assert await process.ended(signal.SIGTERM) == 0
        assert process.levels() <= {"INFO", "WARNING"}


@pytest.mark.slow
async def test_process_with_a_harmful_key_answers_2(deployment: Any) -> None:
    deployment.exchange.key_changes = {"readOnly": 0, "permissions": {"Wallet": ["Withdraw"]}}
    async with started(deployment) as process:
        assert await process.ended() == 2
        (refusal,) = [line for line in process.lines if " ERROR " in line]
    assert "it is not read-only; it has Wallet permissions: Withdraw" in refusal
    assert deployment.gateway.requests == []


@pytest.mark.slow
async def test_process_on_a_taken_port_answers_2_and_names_the_setting(deployment: Any) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", deployment.settings.admin_port))
        other.listen()
        async with started(deployment) as process:
            assert await process.ended() == 2
            assert any("admin_port" in line for line in process.lines)
    assert deployment.gateway.requests == []


@pytest.mark.slow
async def test_process_killed_while_a_rung_has_fired_still_knows_it_and_takes_the_acknowledgement(
    deployment: Any, until: Until
) -> None:
    gateway, exchange = deployment.gateway, deployment.exchange
    async with started(deployment) as process, admin(deployment) as client:
        await until(lambda: any(lease.ceiling == "ACTIVE" for lease in gateway.leases))
        exchange.equity = "3680"  # 8.01 % down
        await until(lambda: gateway.leases[-1].ceiling == "TRIMMED")
        assert gateway.leases[-1].scale == "0.5"
        await ready_state(client)
        await until(lambda: fired(deployment) == {"daily", "weekly"})  # on the disk, and not on its way there
        assert await process.ended(signal.SIGKILL) == -signal.SIGKILL
    seen = len(gateway.leases)
    async with started(deployment), admin(deployment) as client:
        await until(lambda: len(gateway.leases) > seen)
        assert {lease.ceiling for lease in gateway.leases[seen:]} <= {"TRIMMED", "REDUCE_ONLY"}
        state = await ready_state(client)
        assert (state["rungs"]["daily"]["stage"], state["rungs"]["weekly"]["stage"]) == ("fired", "fired")
        assert state["rungs"]["weekly"]["peak"] == "1"
        command = ("-m", "trade_watchdog.cli", "ack", "--config", str(deployment.config))
        said = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(said.communicate(), 120)
        assert output == b"acknowledged: rung:daily\n"
        assert (await client.get("/state")).json()["rungs"]["daily"]["stage"] == "acknowledged"
        assert (await client.post("/ack", json={"subject": "rung:yearly"})).status_code == 409
        command = ("-m", "trade_watchdog.cli", "announce", "100", "USDT", "--config", str(deployment.config))
        said = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(said.communicate(), 120)
        assert output.startswith(b"announced: at most 100 USDT within 24 hours, movement ")
        exchange.equity = "3400"  # 15.01 % down
        await until(lambda: gateway.leases[-1].ceiling == "HALTED")
        await until(lambda: bool(gateway.halts))
        assert gateway.halts[0] == "the monthly rung has fired"


@pytest.mark.slow
async def test_process_with_looser_thresholds_than_before_answers_2(deployment: Any, until: Until) -> None:
    text = deployment.config.read_text()
    deployment.config.write_text(text + 'daily_fraction = "0.03"\n')
    async with started(deployment) as process:
        await until(lambda: any(lease.ceiling == "ACTIVE" for lease in deployment.gateway.leases))
        assert await process.ended(signal.SIGTERM) == 0
    deployment.config.write_text(text)
    async with started(deployment) as process:
        assert await process.ended() == 2
        assert any("daily_fraction: 0.05 is looser than 0.03" in line for line in process.lines)


@pytest.mark.slow
async def test_process_killed_goes_on_with_a_higher_generation(deployment: Any, until: Until) -> None:
    async with started(deployment) as process:
        await until(lambda: bool(deployment.gateway.leases))
        assert await process.ended(signal.SIGKILL) == -signal.SIGKILL
    last = deployment.gateway.leases[-1].generation
    # A gateway that lost its memory must still get a higher one.
    deployment.gateway.generation = 0
    async with started(deployment):
        await until(lambda: deployment.gateway.leases[-1].generation > last)
