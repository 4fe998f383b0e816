"""The journal writer as a process: what it makes, what it refuses, and that it ends and dies without losing a row."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from journal.gate import until
from journal.writer.test_writer_settings import written
from trust_parts import ring_of

from trade_core.clock import SystemClock
from trade_core.secrets import read_secret_file
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.ring import read_ring, ring_bytes
from trade_journal.errors import JournalDoubtful, JournalUnavailable
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Entry, RowKind
from trade_journal.log.verify import verify_journal
from trade_journal.store.store import JournalReader
from trade_journal.writer import writer_process
from trade_journal.writer.client import JournalClient
from trade_journal.writer.peers import Peer
from trade_journal.writer.writer_cli import main
from trade_journal.writer.writer_process import doors
from trade_journal.writer.writer_settings import JournalWriterSettings

ORIGIN = "trade/simulated/1002/gateway"
SOMEBODY = load_private_key(new_private_key())


def deployed(folder: Path) -> Path:
    """Make the key, and a ring that has its public half; gives the settings file."""
    config = written(folder, journal_url=f"sqlite:///{folder}/journal.db")
    assert main(["init", "--config", str(config)]) == 0
    public = json.loads((folder / "state" / "public.json").read_text())
    write_ring(folder, public["log_key"])
    return config


def write_ring(folder: Path, log_key: str, *, account: str = "1002") -> None:
    ring = ring_of(SOMEBODY, gateway_key=log_key, account=account)
    (folder / "ring.json").write_bytes(ring_bytes(ring))


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the process; it is killed at the end, if it lives."""
    command = [sys.executable, "-m", "trade_journal.writer.writer_cli", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def client_of(folder: Path) -> JournalClient:
    return await JournalClient.open(folder / "gateway.sock", origin=ORIGIN, clock=SystemClock(), within_s=120)


async def writable(journal: JournalClient) -> None:
    await until(lambda: journal.is_writable)


def row(number: int, kind: RowKind = RowKind.ORDER_INTENT) -> Entry:
    return Entry(at_ns=number, kind=kind, actor="gateway", fields={"number": number})


def refused(config: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--config", str(config)]) == 2
    return capsys.readouterr().err


def test_init_makes_a_key_for_its_owner_alone_and_tells_the_public_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = deployed(tmp_path)
    said = capsys.readouterr().out
    key_file = tmp_path / "state" / "log-key.json"
    assert str(key_file) in said
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = str(read_secret_file(key_file)["log_key"])
    assert key not in said
    public = json.loads((tmp_path / "state" / "public.json").read_text())
    assert public == {
        "account": "1002",
        "environment": "simulated",
        "log_key": public_text(load_private_key(key)),
    }
    assert main(["init", "--config", str(config)]) == 2
    assert "initialised once" in capsys.readouterr().err
    assert str(read_secret_file(key_file)["log_key"]) == key


def test_start_before_init_is_refused_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run `trade-journal-writer init` first" in refused(written(tmp_path), capsys)


def test_ring_of_another_key_account_or_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = deployed(tmp_path)
    own = json.loads((tmp_path / "state" / "public.json").read_text())["log_key"]
    write_ring(tmp_path, public_text(load_private_key(new_private_key())))
    assert "gateway_key is not that of" in refused(config, capsys)
    write_ring(tmp_path, own, account="9")
    assert "account is not that of" in refused(config, capsys)
    (tmp_path / "ring.json").unlink()
    assert "key ring cannot be read" in refused(config, capsys)
    assert not (tmp_path / "journal.db").exists()


def test_key_open_to_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = deployed(tmp_path)
    (tmp_path / "state" / "log-key.json").chmod(0o640)
    assert "chmod 600" in refused(config, capsys)


@pytest.mark.parametrize("arguments", [[], ["nonsense", "--config", "x"], ["init"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_doors_are_for_the_own_user_unless_another_is_named(tmp_path: Path) -> None:
    plain = JournalWriterSettings.model_validate({**_plain(tmp_path), "shim_uid": 12345}, context={"folder": tmp_path})
    gateway, shim = doors(plain)
    assert (gateway.peer, gateway.mode, gateway.setting) == (Peer.GATEWAY, 0o600, "gateway_socket")
    assert (shim.peer, shim.uid, shim.mode) == (Peer.SHIM, 12345, 0o666)


def _plain(folder: Path) -> dict[str, object]:
    return {
        "environment": "simulated",
        "account": "1002",
        "state_dir": "state",
        "journal_url": f"sqlite:///{folder}/journal.db",
        "ring_file": "ring.json",
        "gateway_socket": "gateway.sock",
        "shim_socket": "shim.sock",
    }


async def test_writer_whose_thread_has_ended_ends_the_process() -> None:
    class Dead:
        is_dead = True
        last_failure = "ZeroDivisionError()"

    with pytest.raises(JournalUnavailable, match="ZeroDivisionError"):
        await writer_process._until_stopped(asyncio.Event(), Dead())  # type: ignore[arg-type]


@pytest.mark.slow
async def test_process_writes_signs_and_ends_in_order(tmp_path: Path) -> None:
    config = deployed(tmp_path)
    with running(config) as process:
        journal = await client_of(tmp_path)
        assert [await journal.append(row(number)) for number in range(5)] == list(range(5))
        await journal.checkpoint()
        journal.append_later(row(5))
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 120) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        await until(lambda: not journal.is_writable)
    with running(config):
        await until(lambda: journal.is_writable and journal.pending == 0)
        assert [one.fields["number"] for one in await journal.read(0, 10)] == list(range(6))
        await journal.close()


@pytest.mark.slow
async def test_second_process_on_one_journal_is_refused_and_told_which_has_it(tmp_path: Path) -> None:
    config = deployed(tmp_path)
    with running(config) as first:
        journal = await client_of(tmp_path)
        with running(config) as second:
            assert await asyncio.to_thread(second.wait, 120) == 2
            assert second.stderr is not None
            assert f"another writer has this journal open (pid {first.pid})" in second.stderr.read()
        assert await journal.append(row(0)) == 0
        await journal.close()


@pytest.mark.slow
async def test_process_killed_under_load_loses_no_acknowledged_row_and_writes_none_twice(tmp_path: Path) -> None:
    config = deployed(tmp_path)
    dice = Random(5)
    journal: JournalClient | None = None
    acknowledged: dict[int, int] = {}
    doubts: list[tuple[int, JournalDoubtful]] = []
    handed_over: list[int] = []
    numbers = iter(range(1_000_000))
    is_over = False

    async def append(journal: JournalClient) -> None:
        while not is_over:
            number = next(numbers)
            try:
                acknowledged[number] = await journal.append(row(number))
            except JournalDoubtful as doubt:
                doubts.append((number, doubt))
            except JournalUnavailable:
                await asyncio.sleep(0.01)
            if number % 5 == 0 and journal.pending < 1000:
                later = next(numbers)
                journal.append_later(row(later, RowKind.ORDER_OUTCOME))
                handed_over.append(later)

    tasks: list[asyncio.Task[None]] = []
    for _ in range(6):
        with running(config):
            if journal is None:
                journal = await client_of(tmp_path)
                tasks = [asyncio.create_task(append(journal)) for _ in range(8)]
            await writable(journal)
            await asyncio.sleep(dice.uniform(0.1, 0.6))
    assert journal is not None
    with running(config):
        await writable(journal)
        is_over = True
        await asyncio.gather(*tasks)
        await until(lambda: journal.pending == 0)
        await journal.checkpoint()
        await journal.close()
    reader = JournalReader(f"sqlite:///{tmp_path}/journal.db")
    found = {}
    size = 0
    while page := reader.read(size, 1000):
        for one in page:
            assert one.fields["number"] not in found
            found[one.fields["number"]] = one.seq
        size += len(page)
    assert acknowledged.items() <= found.items()
    assert set(handed_over) <= found.keys()
    for number, doubt in doubts:
        assert doubt.is_written.result() == (number in found)
    assert len(acknowledged) > 100
    assert doubts
    keys = gateway_log_keys(read_ring(tmp_path / "ring.json"))
    stored = [one for first in range(0, size, 1000) for one in reader.stored_rows(first, 1000)]
    assert verify_journal(stored, notes=reader.checkpoints(0, 1000), keys=keys).is_good
    reader.close()
