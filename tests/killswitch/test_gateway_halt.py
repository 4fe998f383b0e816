"""How the executor has the gateway halted, and what it believes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from http_double import HANG, HttpDouble, http_double, reply

from trade_core.administration import admin_address
from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, write_secret_file
from trade_killswitch import gateway_halt
from trade_killswitch.gateway_halt import GatewayHalt, GatewayNotHalted, Halted, load_gateway

HALTED = b'{"trading_state":"HALTED","in_flight":["a","b"]}'


@asynccontextmanager
async def gateway(answer: bytes | None) -> AsyncIterator[tuple[GatewayHalt, HttpDouble]]:
    async with http_double(lambda _: answer) as double:
        made = GatewayHalt(admin=admin_address(double.url), token=Secret("token"))
        try:
            yield made, double
        finally:
            await made.close()


async def test_halt_is_asked_for_with_reason_and_token() -> None:
    async with gateway(reply(HALTED)) as (made, double):
        assert await made.halt("x" * 300) == Halted(trading_state="HALTED", in_flight=2)
    (asked,) = double.asked
    assert (asked.method, asked.path) == ("POST", "/halt")
    assert asked.json() == {"reason": "x" * 200}
    assert asked.headers["authorization"] == "Bearer token"


async def test_warrant_is_handed_on_as_it_is() -> None:
    async with gateway(reply(b'{"trading_state":"KILLED"}')) as (made, double):
        assert await made.kill(b"envelope", within_s=1) == Halted(trading_state="KILLED", in_flight=0)
    assert (double.asked[0].path, double.asked[0].body) == ("/kill", b"envelope")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "does not answer"),
        (reply(b"no", status=403), "HTTP 403"),
        (reply(b'{"trading_state":"ACTIVE","in_flight":[]}'), "is not halted"),
        (reply(b'{"trading_state":"REDUCE_ONLY","in_flight":[]}'), "is not halted"),
        (reply(b'{"in_flight":[]}'), "something else"),
        (reply(b'{"trading_state":"HALTED","in_flight":7}'), "something else"),
        (reply(b"[]"), "something else"),
        (reply(b"<html>"), "something else"),
        (reply(b"x" * 300_000), "no end"),
    ],
)
async def test_gateway_that_does_not_say_that_it_refuses_is_not_believed(answer: bytes | None, told: str) -> None:
    async with gateway(answer) as (made, _):
        with pytest.raises(GatewayNotHalted, match=told):
            await made.halt("x")
        with pytest.raises(GatewayNotHalted):
            await made.kill(b"{}", within_s=1)


async def test_gateway_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_halt, "REQUEST_TIMEOUT_S", 0.1)
    async with gateway(HANG) as (made, _):
        with pytest.raises(GatewayNotHalted, match="does not answer"):
            await made.halt("x")
        with pytest.raises(GatewayNotHalted, match=r"within 0\.0 s|does not answer"):
            await made.kill(b"{}", within_s=0.02)


async def test_look_changes_nothing() -> None:
    async with gateway(reply(b"{}")) as (made, double):
        await made.look()
    assert [(one.method, one.path) for one in double.asked] == [("GET", "/state")]
    async with gateway(reply(b"{}", status=401)) as (made, _):
        with pytest.raises(GatewayNotHalted, match="HTTP 401"):
            await made.look()


@pytest.mark.parametrize("url", ["http://127.0.0.1:21000", "unix:/run/trade/gateway.sock"])
async def test_handover_names_a_loopback_address_or_a_socket(tmp_path: Path, url: str) -> None:
    write_secret_file(tmp_path / "h.json", {"admin_url": url, "admin_token": "t"})
    await load_gateway(tmp_path / "h.json").close()


@pytest.mark.parametrize(
    "content", [{"admin_url": "http://10.0.0.1:1", "admin_token": "t"}, {"admin_url": "unix:x", "admin_token": "t"}, {}]
)
def test_handover_that_names_something_else_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    write_secret_file(tmp_path / "h.json", content)
    with pytest.raises(ConfigurationError, match="admin_url"):
        load_gateway(tmp_path / "h.json")
    with pytest.raises(ConfigurationError, match="trade-gateway init"):
        load_gateway(tmp_path / "none.json")
