"""The gateway connection: bounded, strict about what it believes, silent about its token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from trade_core.administration import admin_address
from trade_core.secrets import Secret
from trade_watchdog import gateway_link
from trade_watchdog.gateway_link import GatewayAnswerInvalid, GatewayLink, GatewayRefused, GatewayUnavailable
from trade_watchdog.identity import GENERATION_MAX, GatewayAddress


@pytest_asyncio.fixture
async def link(deployment: Any) -> AsyncIterator[GatewayLink]:
    """Connect to the double."""
    made = GatewayLink(
        GatewayAddress(admin=admin_address(deployment.gateway.url), token=Secret("lease-token"), tag_key=Secret("00"))
    )
    yield made
    await made.close()


async def test_state_is_read(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.generation = 41
    state = await link.state()
    assert (state.boot_nonce, state.generation, state.account) == ("boot-1", 41, "1002")
    assert state.coins == ("BTC", "ETH")
    assert (state.lease_holder, state.lease_expires_in_s) == ("", 0.0)


async def test_holder_of_the_gateway_s_lease_is_read(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.lease_holder, deployment.gateway.lease_expires_in_s = "0123456789abcdef", 12.5
    state = await link.state()
    assert (state.lease_holder, state.lease_expires_in_s) == ("0123456789abcdef", 12.5)


@pytest.mark.parametrize(
    "change",
    [
        {"boot_nonce": None},
        {"boot_nonce": ""},
        {"boot_nonce": "x" * 129},
        {"deployment": 7},
        {"policy": None},
        {"policy": {"authorised_hash": 7, "warrants": []}},
        {"policy": {"authorised_hash": "p"}},
        {"policy": {"authorised_hash": "p", "warrants": [7]}},
        {"policy": {"authorised_hash": "p", "warrants": ["x" * 8193]}},
        {"policy": {"authorised_hash": "p", "warrants": ["x"] * 65}},
        {"lease": None},
        {"lease": {}},
        {"lease": {"generation": "1"}},
        {"lease": {"generation": -1}},
        {"lease": {"generation": True}},
        {"lease": {"generation": 1.0}},
        {"lease": {"generation": GENERATION_MAX}},
        {"lease": {"generation": 1}},
        *({"lease": {"generation": 1, "expires_in_s": wrong}} for wrong in (-1, 30.1, "1", True, None)),
        *({"lease": {"generation": 1, "expires_in_s": 1, "holder": wrong}} for wrong in ("", 7, "F" * 16, "0" * 17)),
        {"references": None},
        {"references": ["BTC"]},
        {"references": {"btc": {}}},
        {"references": {"../x": {}}},
        {"references": {"X" * 21: {}}},
        {"references": {f"C{index}": {} for index in range(51)}},
    ],
)
async def test_state_with_an_absurd_value_is_invalid(
    link: GatewayLink, deployment: Any, change: dict[str, Any]
) -> None:
    deployment.gateway.state_changes = change
    with pytest.raises(GatewayAnswerInvalid):
        await link.state()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b" " * (600 * 1024)])
async def test_state_that_is_no_document_is_invalid(link: GatewayLink, deployment: Any, body: bytes) -> None:
    deployment.gateway.override = (200, {}, body)
    with pytest.raises(GatewayAnswerInvalid):
        await link.state()


async def test_refusal_is_told_bounded_and_neutralised(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.override = (409, {}, b"\x1b[31mno\n" + b"x" * 5000)
    with pytest.raises(GatewayRefused) as caught:
        await link.send_lease(b"{}")
    assert "HTTP 409" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_redirect_is_a_refusal(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.override = (307, {"location": deployment.gateway.url + "/other"}, b"")
    with pytest.raises(GatewayRefused):
        await link.state()
    assert len(deployment.gateway.requests) == 1


async def test_gateway_that_hangs_or_is_gone_is_unavailable(
    link: GatewayLink, deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_link, "REQUEST_TIMEOUT_S", 0.2)
    deployment.gateway.is_hanging = True
    with pytest.raises(GatewayUnavailable):
        await link.state()
    deployment.gateway.is_hanging = False
    await deployment.gateway.stop()
    with pytest.raises(GatewayUnavailable) as caught:
        await link.state()
    assert "lease-token" not in str(caught.value)


async def test_halt_that_a_restart_would_forget_is_not_done(link: GatewayLink, deployment: Any) -> None:
    await link.halt("a rung has fired", trigger_value="0.15")
    deployment.gateway.halt_answer = b'{"trading_state":"HALTED","is_recorded":false}'
    with pytest.raises(GatewayRefused, match="not on its disk yet"):
        await link.halt("a rung has fired")
    assert deployment.gateway.halts == ["a rung has fired"] * 2
    assert deployment.gateway.halt_values == ["0.15", None]


async def test_halt_with_an_answer_that_is_no_json_is_not_done(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.halt_answer = b"<html>"
    with pytest.raises(GatewayAnswerInvalid, match="not JSON"):
        await link.halt("a rung has fired")


@pytest.mark.parametrize(
    ("status", "is_sign_of_life"),
    [(200, True), (401, True), (409, True), (500, True), (502, False), (503, False), (504, False)],
)
async def test_what_a_proxy_says_of_a_dead_gateway_is_no_sign_of_life(
    link: GatewayLink, deployment: Any, status: int, *, is_sign_of_life: bool
) -> None:
    heard: list[bool] = []
    link.on_heard = lambda: heard.append(True)
    deployment.gateway.override = (status, {}, b"{}")
    if status == 200:
        await link.ping()
    else:
        with pytest.raises(GatewayRefused, match=f"HTTP {status}"):
            await link.ping()
    assert heard == [True] * is_sign_of_life


async def test_gateway_whose_listener_lives_while_its_orders_hang_is_silent(
    link: GatewayLink, deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await link.ping()
    assert [path for _, path, _, _ in deployment.gateway.requests] == ["/state"]
    heard: list[bool] = []
    link.on_heard = lambda: heard.append(True)
    monkeypatch.setattr(gateway_link, "REQUEST_TIMEOUT_S", 0.05)
    deployment.gateway.is_hanging = True
    with pytest.raises(GatewayUnavailable):
        await link.ping()
    assert heard == []


async def test_halt_waits_for_no_other_request(link: GatewayLink, deployment: Any) -> None:
    deployment.gateway.is_hanging = True
    others = [asyncio.create_task(link.state()) for _ in range(4)]
    async with asyncio.timeout(60):
        while len(deployment.gateway.requests) < 2:  # noqa: ASYNC110 - the other server's state
            await asyncio.sleep(0.005)
        halting = asyncio.create_task(link.halt("a rung has fired"))
        while "/halt" not in [path for _, path, _, _ in deployment.gateway.requests]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    deployment.gateway.is_hanging = False
    await asyncio.gather(halting, *others)
