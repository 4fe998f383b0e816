from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from trade_core.administration import AdministeredSettings, admin_address, admin_listener, refusal_text
from trade_core.serving import serve

REAL = {"environment": "testnet", "exchange": "testnet"}


def at_socket(path: Path, **more: object) -> AdministeredSettings:
    return AdministeredSettings.model_validate({**REAL, "admin_socket": str(path), **more}, context={"folder": path})


@pytest.fixture
async def started(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[AdministeredSettings], object]]:
    """Serve an application that answers with its name, until the end of the test."""
    stop, tasks, refused = asyncio.Event(), [], list[str]()
    app = FastAPI()

    @app.get("/who")
    async def who() -> str:
        return "admin"

    async def start(settings: AdministeredSettings) -> list[str]:
        ready = asyncio.Event()
        listener = admin_listener(
            settings, app=app, on_refusal=refused.append, max_connections=8, has_own_thread=True, options={}
        )
        tasks.append(asyncio.create_task(serve([listener], stop=stop, on_ready=ready.set)))
        await ready.wait()
        return refused

    yield start
    stop.set()
    await asyncio.gather(*tasks)


async def test_listener_at_a_socket_answers_its_own_user(started: Callable[..., object], tmp_path: Path) -> None:
    settings = at_socket(tmp_path / "deep" / "admin.sock")
    await started(settings)
    assert (tmp_path / "deep" / "admin.sock").stat().st_mode & 0o777 == 0o600
    address = admin_address(settings.admin_url)
    async with address.async_client(limits=httpx.Limits(max_connections=1)) as client:
        assert (await client.get("/who")).json() == "admin"
    with address.client() as client:
        assert (await asyncio.to_thread(client.get, "/who")).json() == "admin"


async def test_listener_for_other_users_can_be_reached_by_them_alone(
    started: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = at_socket(tmp_path / "admin.sock", admin_uids=[1234])
    monkeypatch.setattr("trade_core.administration.os.getuid", lambda: 4321)  # so that we are nobody it knows
    refused = await started(settings)
    assert (tmp_path / "admin.sock").stat().st_mode & 0o777 == 0o666
    async with admin_address(settings.admin_url).async_client(limits=httpx.Limits(max_connections=1)) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/who")
    assert refused == ["PEER_REFUSED"]


@pytest.mark.parametrize(
    "text", ["", "unix:", "unix:relative.sock", "https://example.com", "http://10.0.0.1:1", "file:///x"]
)
def test_address_that_is_neither_a_socket_nor_loopback_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        admin_address(text)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"exchange": "live"}, 'exchange: is "live" in an environment that is "testnet"'),
        ({"exchange_url": "http://127.0.0.1:1"}, "exchange_url: is given"),
        ({"exchange_ws_url": "ws://127.0.0.1:1"}, "exchange_ws_url: is given"),
        ({"admin_socket": None}, "admin_socket: is missing"),
        ({"admin_socket": None, "admin_port": 1}, "admin_port: is for the simulated environment"),
        ({"environment": "simulated", "exchange": "simulated"}, "exchange_url: is missing"),
    ],
)
def test_settings_that_do_not_fit_their_environment_are_refused(
    tmp_path: Path, given: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        at_socket(tmp_path / "admin.sock", **given)


@pytest.mark.parametrize(
    ("environment", "http", "streams"),
    [
        ("testnet", "https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
        ("live", "https://api.bybit.com", "wss://stream.bybit.com"),
    ],
)
def test_hosts_of_a_real_exchange_are_constants(tmp_path: Path, environment: str, http: str, streams: str) -> None:
    settings = at_socket(tmp_path / "admin.sock", environment=environment, exchange=environment)
    assert (settings.exchange_http, settings.exchange_streams) == (http, streams)
    assert not settings.is_simulated


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ("no row 7", "no row 7"),
        (None, "None"),
        ([{"loc": ["body", "coin"], "msg": "should be capitals", "input": "usdt"}], "coin: should be capitals"),
        (
            [{"loc": ["body", "a", 1], "msg": "x"}, {"msg": "y"}, {"loc": "b", "msg": "z"}],
            "a.1: x; request: y; request: z",
        ),
        (["odd"], "['odd']"),
    ],
)
def test_refusal_names_the_field_and_its_fault_and_repeats_no_input(detail: object, text: str) -> None:
    assert refusal_text(detail) == text
