from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from http_double import HANG, HttpDouble, http_double, reply

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.secrets import write_secret_file
from trade_killswitch.console import sources
from trade_killswitch.console.sources import Answer, HandoverService, SocketService, Source, Unreadable


@pytest.fixture
async def double() -> AsyncIterator[HttpDouble]:
    async with http_double(lambda _: reply(b'{"a": 1}')) as made:
        yield made


@pytest.fixture
async def service(double: HttpDouble, tmp_path: Path) -> AsyncIterator[HandoverService]:
    file = tmp_path / "operator.json"
    write_secret_file(file, {"admin_url": double.url, "admin_token": "canary"})
    made = HandoverService("the gateway", file)
    yield made
    await made.close()


async def test_service_is_asked_with_its_token(service: HandoverService, double: HttpDouble) -> None:
    answer = await service.ask("POST", "/halt", b"{}")
    assert answer.document("it") == {"a": 1}
    (asked,) = double.asked
    assert asked.headers["authorization"] == "Bearer canary"
    assert asked.headers["content-type"] == "application/json"
    assert "origin" not in asked.headers


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (None, "the gateway does not answer"),
        (reply(b"not json"), "not JSON"),
        (reply(b"[" * 100_000), "not JSON"),
        (reply(b"[]"), "no object"),
        (reply(b'{"detail":"a bearer token"}', status=401), "HTTP 401: a bearer token"),
        (reply(b"", status=302, headers={"location": "http://evil.example/"}), "HTTP 302"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 9000000\r\n\r\n" + b" " * 9_000_000, "longer than"),
    ],
)
async def test_service_that_answers_otherwise_is_unreadable(
    service: HandoverService, double: HttpDouble, raw: bytes | None, why: str
) -> None:
    double.answer = lambda _: raw
    with pytest.raises(Unreadable, match=why) as refusal:
        (await service.ask("GET", "/state")).document("the gateway")
    assert "canary" not in str(refusal.value)


async def test_service_that_hangs_or_drips_is_given_up(
    service: HandoverService, double: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "REQUEST_TIMEOUT_S", 0.1)
    double.answer = lambda _: HANG
    async with asyncio.timeout(60):
        with pytest.raises(Unreadable, match="does not answer"):
            await service.ask("GET", "/state")


async def test_service_is_found_again_where_a_new_handover_says(double: HttpDouble, tmp_path: Path) -> None:
    file = tmp_path / "operator.json"
    service = HandoverService("the gateway", file)
    with pytest.raises(Unreadable, match="cannot be read"):
        await service.ask("GET", "/state")
    write_secret_file(file, {"admin_url": "http://127.0.0.1:1", "admin_token": "t"})
    with pytest.raises(Unreadable, match="does not answer"):
        await service.ask("GET", "/state")
    write_secret_file(file, {"admin_url": double.url, "admin_token": "t"})
    assert (await service.ask("GET", "/state")).status == 200
    await service.close()


@pytest.mark.parametrize("url", ["http://example.com:80", "https://127.0.0.1:1", "http://127.0.0.1:1/path", "ftp://x"])
async def test_handover_that_leads_elsewhere_is_refused(tmp_path: Path, url: str) -> None:
    write_secret_file(tmp_path / "operator.json", {"admin_url": url, "admin_token": "t"})
    with pytest.raises(Unreadable, match="must be http"):
        await HandoverService("the gateway", tmp_path / "operator.json").ask("GET", "/state")


async def test_service_that_is_not_named_cannot_be_asked() -> None:
    for service in (HandoverService("the watchdog", None), SocketService("the kill executor", None)):
        with pytest.raises(Unreadable, match="is not named in the console's settings"):
            await service.ask("GET", "/state")


async def test_socket_is_asked_and_its_absence_is_said(tmp_path: Path) -> None:
    path = tmp_path / "executor.sock"
    service = SocketService("the kill executor", path)
    with pytest.raises(Unreadable, match="the kill executor does not answer"):
        await service.ask("GET", "/status")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b'{"exit_key": "verified"}'))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        assert (await service.ask("GET", "/status")).document("it") == {"exit_key": "verified"}


async def test_source_keeps_its_last_document_beside_a_failure_and_since_when() -> None:
    clock = ManualClock()
    answers: list[Answer | Unreadable] = [
        Unreadable("down"),
        Answer(status=200, body=b'{"n": 1}'),
        Unreadable("down again"),
        Answer(status=503, body=b"{}"),
        Answer(status=200, body=b'{"n": 2}'),
    ]

    class Fake:
        name = "the gateway"

        async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
            found = answers.pop(0)
            if isinstance(found, Unreadable):
                raise found
            return found

    source = Source(Fake(), "/state", clock=clock)
    began = clock.wall_ns()
    clock.advance(NS_PER_S)
    first = await source.read()
    assert (first.document, first.failure, first.failing_since_ns) == (None, "down", began)
    assert (await source.read()).document == {"n": 1}
    good_at = clock.wall_ns()
    clock.advance(NS_PER_S)
    third = await source.read()
    assert (third.document, third.read_at_ns, third.failing_since_ns) == ({"n": 1}, good_at, good_at + NS_PER_S)
    clock.advance(NS_PER_S)
    assert (await source.read()).failing_since_ns == good_at + NS_PER_S
    last = await source.read()
    assert (last.document, last.failure, last.failing_since_ns) == ({"n": 2}, "", None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"detail": "plain"}', "plain"),
        (b'{"detail": [{"loc": "x"}]}', '[{"loc": "x"}]'),
        (b"text\n", "text"),
        (b"\xff\x1b[1m", "\N{REPLACEMENT CHARACTER}\\x1b[1m"),
        (b"", ""),
        (json.dumps({"detail": "x" * 999}).encode(), "x" * 300 + "..."),
    ],
)
def test_detail_is_one_neutral_line(body: bytes, said: str) -> None:
    assert Answer(status=409, body=body).detail() == said
