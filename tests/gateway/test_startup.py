"""What must be true of the exchange, against a small one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from gateway.house import POLICY
from http_double import Asked, HttpDouble, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import ManualClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, UnknownOutcome
from trade_core.secrets import Secret
from trade_gateway.startup import (
    NOT_MODIFIED,
    KeyRefused,
    changed_modes,
    load_instruments,
    pin_modes,
    verify_key,
)
from trade_gateway.wire.intents import Category

KEY_FACTS = {
    "userID": 1002,
    "readOnly": 0,
    "isMaster": False,
    "ips": ["127.0.0.1"],
    "permissions": {"Spot": ["SpotTrade"]},
}


@asynccontextmanager
async def exchange(
    answer: Callable[[Asked], bytes | None] | bytes,
) -> AsyncIterator[tuple[BybitClient, HttpDouble]]:
    async with http_double((lambda _: answer) if isinstance(answer, bytes) else answer) as double:
        client = BybitClient(
            base_url=double.url, clock=ManualClock(), is_simulated=True, key=Secret("k"), secret=Secret("s")
        )
        try:
            yield client, double
        finally:
            await client.aclose()


async def test_verify_key_of_the_right_power_passes() -> None:
    async with exchange(envelope(KEY_FACTS)) as (client, double):
        await verify_key(client, account="1002")
        assert double.paths() == ["/v5/user/query-api"]


async def test_verify_key_with_too_much_power_is_refused_by_name() -> None:
    facts = {**KEY_FACTS, "permissions": {"Spot": ["SpotTrade"], "Wallet": ["Withdraw"]}}
    async with exchange(envelope(facts)) as (client, _):
        with pytest.raises(KeyRefused, match="Wallet Withdraw"):
            await verify_key(client, account="1002")


@pytest.mark.parametrize("ret_code", [10003, 10004, 10005, 10010, 33004])
async def test_verify_key_that_the_exchange_does_not_accept_is_refused(ret_code: int) -> None:
    async with exchange(envelope({}, ret_code=ret_code)) as (client, _):
        with pytest.raises(KeyRefused, match=str(ret_code)):
            await verify_key(client, account="1002")


@pytest.mark.parametrize("ret_code", [10000, 10002, 10006, 10016])
async def test_verify_key_without_an_answer_is_neither_right_nor_refused(ret_code: int) -> None:
    async with exchange(envelope({}, ret_code=ret_code)) as (client, _):
        with pytest.raises(ExchangeAnswerInvalid):
            await verify_key(client, account="1002")


async def test_verify_key_of_an_exchange_that_is_down_is_not_known() -> None:
    async with exchange(reply(b"", status=503)) as (client, _):
        with pytest.raises(ExchangeUnavailable):
            await verify_key(client, account="1002")


def filters(asked: Asked, **changed: Any) -> dict[str, Any]:
    is_spot = asked.parameter("category") == "spot"
    lot = {"minOrderQty": "0.001", "maxLimitOrderQty": "9", "maxOrderQty": "9"}
    lot |= {"basePrecision": "0.001", "minOrderAmt": "5"} if is_spot else {"qtyStep": "0.001", "minNotionalValue": "5"}
    return {
        "symbol": asked.parameter("symbol"),
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "priceFilter": {"tickSize": "0.1"},
        "lotSizeFilter": lot,
        **changed,
    }


SPOT_BTC, SPOT_ETH = (Category.SPOT, "BTCUSDT"), (Category.SPOT, "ETHUSDT")


async def test_load_instruments_reads_every_symbol() -> None:
    async with exchange(lambda asked: envelope({"list": [filters(asked)]})) as (client, _):
        loaded = await load_instruments(client, POLICY.symbols, known={})
    assert set(loaded.known) == {SPOT_BTC, (Category.LINEAR, "BTCUSDT")}
    assert all(key == (one.category, one.symbol) for key, one in loaded.known.items())
    assert loaded.refused == {}


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (lambda asked: {"list": [filters(asked, symbol="XRPUSDT")]}, "another symbol"),
        (lambda _: {"list": []}, "no filters"),
        (lambda asked: {"list": [filters(asked)] * 2}, "no filters"),
        (lambda _: {}, "no filters"),
        (lambda _: {"list": None}, "no filters"),
        (lambda _: {"list": "x"}, "no filters"),
        (lambda asked: {"list": [filters(asked, status="Closed")]}, "not Trading"),
        (lambda asked: {"list": [filters(asked, priceFilter={"tickSize": "x" * 999})]}, "tickSize"),
    ],
)
async def test_load_instruments_that_cannot_be_traded_by_is_refused_by_itself(
    answered: Callable[[Asked], dict[str, Any]], reason: str
) -> None:
    def answer(asked: Asked) -> bytes:
        is_odd = asked.parameter("symbol") == "ETHUSDT"
        return envelope(answered(asked) if is_odd else {"list": [filters(asked)]})

    async with exchange(answer) as (client, _):
        loaded = await load_instruments(client, [SPOT_ETH, SPOT_BTC], known={})
    assert set(loaded.known) == {SPOT_BTC}
    assert set(loaded.refused) == {SPOT_ETH}
    assert reason in loaded.refused[SPOT_ETH]
    assert len(loaded.refused[SPOT_ETH]) <= 200


async def test_load_instruments_without_an_answer_is_neither_known_nor_refused() -> None:
    def answer(asked: Asked) -> bytes:
        is_odd = asked.parameter("symbol") == "ETHUSDT"
        return reply(b"", status=503) if is_odd else envelope({"list": [filters(asked)]})

    async with exchange(answer) as (client, _):
        loaded = await load_instruments(client, [SPOT_ETH, SPOT_BTC], known={})
    assert set(loaded.known) == {SPOT_BTC}
    assert loaded.refused == {}


async def test_load_instruments_keeps_what_is_known_when_the_exchange_has_forgotten() -> None:
    is_gone = [False]

    def answer(asked: Asked) -> bytes:
        return envelope({"list": [] if is_gone[0] else [filters(asked)]})

    async with exchange(answer) as (client, _):
        known = (await load_instruments(client, [SPOT_BTC], known={})).known
        is_gone[0] = True
        loaded = await load_instruments(client, [SPOT_BTC], known=known)
    assert loaded.known == known
    assert set(loaded.refused) == {SPOT_BTC}


async def test_pin_modes_sets_margin_position_and_leverage() -> None:
    async with exchange(envelope({})) as (client, double):
        await pin_modes(client, POLICY)
    assert [(asked.path, asked.json()) for asked in double.asked] == [
        ("/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}),
        ("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0}),
        (
            "/v5/position/set-leverage",
            {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "2", "sellLeverage": "2"},
        ),
    ]


async def test_pin_modes_of_spot_alone_asks_nothing() -> None:
    async with exchange(envelope({})) as (client, double):
        await pin_modes(client, replace(POLICY, symbols=frozenset({(Category.SPOT, "BTCUSDT")})))
    assert double.asked == []


@pytest.mark.parametrize("ret_code", sorted(NOT_MODIFIED))
async def test_pin_modes_that_are_so_already_count_as_done(ret_code: int) -> None:
    async with exchange(envelope({}, ret_code=ret_code)) as (client, double):
        await pin_modes(client, POLICY)
        assert len(double.asked) == 3


@pytest.mark.parametrize(
    "path", ["/v5/account/set-margin-mode", "/v5/position/switch-mode", "/v5/position/set-leverage"]
)
async def test_pin_modes_refused_by_the_exchange_are_not_done(path: str) -> None:
    async with exchange(lambda asked: envelope({}, ret_code=10001 if asked.path == path else 0)) as (client, _):
        with pytest.raises(ExchangeAnswerInvalid, match=path):
            await pin_modes(client, POLICY)


async def test_pin_modes_not_answered_are_not_known() -> None:
    async with exchange(reply(b"", status=502)) as (client, _):
        with pytest.raises(UnknownOutcome):
            await pin_modes(client, POLICY)


POSITION = {"symbol": "BTCUSDT", "positionIdx": 0, "leverage": "2.00"}


@pytest.mark.parametrize(
    ("mode", "positions", "changed"),
    [
        ("ISOLATED_MARGIN", [POSITION], []),
        ("REGULAR_MARGIN", [POSITION], ["margin mode"]),
        ("ISOLATED_MARGIN", [{**POSITION, "leverage": "3"}], ["leverage of BTCUSDT"]),
        (
            "ISOLATED_MARGIN",
            [{**POSITION, "positionIdx": 1}, {**POSITION, "positionIdx": 2}],
            ["position mode of BTCUSDT"],
        ),
        ("", ["x"], ["margin mode", "position mode of BTCUSDT"]),
    ],
)
async def test_changed_modes_names_what_is_otherwise_than_pinned(
    mode: str, positions: list[Any], changed: list[str]
) -> None:
    def answer(asked: Asked) -> bytes:
        return envelope({"marginMode": mode} if asked.path == "/v5/account/info" else {"list": positions})

    async with exchange(answer) as (client, _):
        assert await changed_modes(client, POLICY) == changed


async def test_changed_modes_of_spot_alone_asks_nothing() -> None:
    async with exchange(envelope({})) as (client, double):
        assert await changed_modes(client, replace(POLICY, symbols=frozenset({SPOT_BTC}))) == []
    assert double.asked == []


@pytest.mark.parametrize("path", ["/v5/account/info", "/v5/position/list"])
@pytest.mark.parametrize("odd", [envelope({}, ret_code=10005), envelope({"list": []}), envelope({"list": "x"})])
async def test_changed_modes_that_cannot_be_read_are_not_known(path: str, odd: bytes) -> None:
    def answer(asked: Asked) -> bytes:
        return odd if asked.path == path else envelope({"marginMode": "ISOLATED_MARGIN", "list": [POSITION]})

    async with exchange(answer) as (client, _):
        if path == "/v5/account/info" and b"10005" not in odd:
            assert await changed_modes(client, POLICY) == ["margin mode"]
        else:
            with pytest.raises(ExchangeAnswerInvalid):
                await changed_modes(client, POLICY)
