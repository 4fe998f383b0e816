"""The watchdog as a whole: a gateway that hangs has the executor asked and people told, and one that lives does not."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from http_double import Asked, http_double, reply

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_watchdog.actions import silence
from trade_watchdog.service import run

Until = Callable[..., Awaitable[None]]


async def test_hanging_gateway_is_swept_and_told_with_the_journal_s_head(
    deployment: Any, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENT_S", 6)
    sweeps: list[str] = []

    async def executor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
        if not asked.startswith("/journal/"):  # the witness asks on its own
            sweeps.append(asked)
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_unix_server(executor, tmp_path / "s")
    told: list[Asked] = []

    def telegram(asked: Asked) -> bytes:
        told.append(asked)
        return reply(b'{"ok": true}', headers={})

    async with http_double(telegram) as double:
        channel = {"kind": "telegram", "token": "1:canary", "chat_id": "-1", "base_url": double.url}
        write_secret_file(tmp_path / "alerts.json", {"channels": [channel]})
        settings = deployment.settings.model_copy(
            update={"executor_socket": tmp_path / "s", "alerts_file": tmp_path / "alerts.json"}
        )
        task = asyncio.create_task(run(settings))
        await until(lambda: len(deployment.gateway.leases) > 0 or task.done())
        deployment.gateway.is_hanging = True
        await until(lambda: bool(sweeps and told) or task.done())
        assert sweeps == ["/sweep"]
        text = told[0].json()["text"]
        assert "CRITICAL watchdog simulated/" in text
        assert "has not answered" in text
        assert "journal 3 rows, root " in text
        deployment.gateway.is_hanging = False
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 60)
    server.close()


async def test_folder_where_nothing_would_be_kept_is_refused(deployment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_journal.writer.file_system.why_not_durable", lambda folder: f"{folder} lies on tmpfs")
    with pytest.raises(ConfigurationError, match=r"^state_dir: .* lies on tmpfs"):
        await run(deployment.settings.model_copy(update={"environment": "live"}))


async def test_copy_of_the_executors_journal_that_is_gone_is_refused_and_nothing_else_is_said(
    deployment: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    public = tmp_path / "executor-public.json"
    public.write_text(json.dumps({"executor_key": public_text(load_private_key(new_private_key()))}))
    (deployment.settings.state_dir / "witnessed-executor.begun").write_text("1\n")
    settings = deployment.settings.model_copy(
        update={"executor_socket": tmp_path / "none", "executor_public_file": public}
    )
    with pytest.raises(ConfigurationError, match="has witnessed what it held"):
        await run(settings)
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


async def test_gateway_is_not_silent_while_the_exchange_is_what_fails(
    deployment: Any,
    tmp_path: Path,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(silence, "SILENT_S", 4)
    deployment.exchange.override = (503, {}, b"")
    settings = deployment.settings.model_copy(update={"executor_socket": tmp_path / "none"})
    task = asyncio.create_task(run(settings))

    def pings() -> int:
        return sum(path == "/state" for _, path, *_ in deployment.gateway.requests)

    await until(lambda: pings() >= 3 or task.done())
    assert not task.done()
    assert "gateway:silent" not in caplog.text
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 60)
