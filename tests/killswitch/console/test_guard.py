from __future__ import annotations

import httpx
import pytest
from killswitch.console.world import ADDRESS, ORIGIN
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from trade_killswitch.console.guard import BODY_BYTES_MAX, HEADERS, Guard

GOOD = {"origin": ORIGIN, "content-type": "application/json"}


async def reached(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"cache-control": "public", "Content-Security-Policy": "default-src *"}
    await PlainTextResponse("reached", headers=headers)(scope, receive, send)


async def ask(
    method: str = "POST", path: str = "/act/halt", *, headers: dict[str, str] | None = None, content: bytes = b"{}"
) -> httpx.Response:
    transport = httpx.ASGITransport(app=Guard(reached, origin=ORIGIN, address=ADDRESS))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        return await client.request(method, path, headers=GOOD if headers is None else headers, content=content)


async def test_request_of_the_own_page_passes() -> None:
    assert (await ask()).text == "reached"
    with_charset = {"content-type": "application/json; charset=utf-8"}
    assert (await ask(headers={**GOOD, **with_charset})).text == "reached"
    assert (await ask("GET", "/", headers={}, content=b"")).text == "reached"


@pytest.mark.parametrize("answer_of", ["GET", "POST", "DELETE"])
async def test_every_answer_has_the_headers_once_whatever_the_application_says(answer_of: str) -> None:
    answer = await ask(answer_of, "/")
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name


@pytest.mark.parametrize(
    "origin",
    ["", "null", "http://localhost", "http://localhost:22008", "https://localhost:22007", "http://127.0.0.1:22007",
     "http://localhost:22007/", "http://localhost:22007.evil.example", "http://evil.example", f"{ORIGIN}, {ORIGIN}"],
)  # fmt: skip
async def test_change_from_another_origin_is_refused(origin: str) -> None:
    answer = await ask(headers={**GOOD, "origin": origin})
    assert answer.status_code == 403
    assert answer.text != "reached"


async def test_change_without_an_origin_or_with_two_is_refused() -> None:
    assert (await ask(headers={"content-type": "application/json"})).status_code == 403
    transport = httpx.ASGITransport(app=Guard(reached, origin=ORIGIN, address=ADDRESS))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        twice = [("origin", ORIGIN), ("origin", ORIGIN), ("content-type", "application/json")]
        assert (await client.post("/", headers=twice, content=b"{}")).status_code == 403


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
async def test_change_of_another_content_type_is_refused(content_type: str) -> None:
    assert (await ask(headers={**GOOD, "content-type": content_type})).status_code == 415


@pytest.mark.parametrize("length", ["", "-1", "+5", "0x10", str(BODY_BYTES_MAX + 1), "0000000000000005", "\u0665"])
async def test_body_of_no_or_great_length_is_refused(length: str) -> None:
    async def streamed() -> object:
        yield b"{}"

    transport = httpx.ASGITransport(app=Guard(reached, origin=ORIGIN, address=ADDRESS))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        headers = {**{name: value.encode() for name, value in GOOD.items()}, "content-length": length.encode()}
        assert (await client.post("/", headers=headers, content=b"{}")).status_code == 413


async def test_body_in_chunks_is_refused() -> None:
    assert (await ask(headers={**GOOD, "transfer-encoding": "chunked", "content-length": "2"})).status_code == 413


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost", "localhost:1", "localhost:22007.evil.example", "[::1]:22007", "LOCALHOST:22007 "],
)
async def test_another_host_is_refused(host: str) -> None:
    assert (await ask(headers={**GOOD, "host": host})).status_code == 421
    assert (await ask("GET", "/healthz", headers={"host": host}, content=b"")).status_code == 421


async def test_address_leads_to_the_name_and_serves_probes() -> None:
    answer = await ask("GET", "/anything?next=//evil.example", headers={"host": ADDRESS}, content=b"")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{ORIGIN}/")
    assert (await ask(headers={**GOOD, "host": ADDRESS})).status_code == 421
    for path in ("/healthz", "/metrics"):
        assert (await ask("GET", path, headers={"host": ADDRESS}, content=b"")).text == "reached"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
async def test_other_methods_are_refused(method: str) -> None:
    assert (await ask(method)).status_code == 405
