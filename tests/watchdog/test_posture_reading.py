"""Reading how the account stands, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.posture_reading import read_posture


def position(symbol: str, size: str = "1") -> dict[str, Any]:
    return {"symbol": symbol, "side": "Buy", "size": size, "leverage": "3", "positionIdx": 0, "markPrice": "100"}


class Exchange:
    """An account with three positions on two pages, one loan and one algorithm."""

    def __init__(self) -> None:
        self.is_endless = False

    async def positions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        if parameters["category"] == "inverse":
            return {"list": [position("BTCUSD")]}
        if parameters["settleCoin"] == "USDC":
            return {"list": [position("BTCPERP")]}
        if "cursor" in parameters:
            return {"list": [position("XRPUSDT")], "nextPageCursor": "2" if self.is_endless else ""}
        return {"list": [position("BTCUSDT"), position("ETHUSDT", "0")], "nextPageCursor": "1"}

    async def wallet(self) -> Mapping[str, Any]:
        return {
            "coin": [
                {"coin": "USDT", "borrowAmount": "1", "spotBorrow": "", "accruedInterest": "", "walletBalance": "5"}
            ]
        }

    async def account_settings(self) -> Mapping[str, Any]:
        return {"marginMode": "ISOLATED_MARGIN"}

    async def strategies(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        running = {"strategyId": "s1", "symbol": "BTCUSDT", "status": 1, "createdTimeE3": "7"}
        return {"list": [running, {**running, "status": 3}]}


async def test_whole_account_is_read() -> None:
    standing = await read_posture(Exchange(), adopted={})
    assert standing.coins == {"USDT": Decimal(5)}
    posture = standing.posture
    assert [(seen.category, seen.symbol, seen.size) for seen in posture.positions] == [
        ("linear", "BTCUSDT", Decimal(1)),
        ("linear", "XRPUSDT", Decimal(1)),
        ("linear", "BTCPERP", Decimal(1)),
        ("inverse", "BTCUSD", Decimal(1)),
    ]
    assert (posture.margin_mode, posture.borrowed) == ("ISOLATED_MARGIN", ("USDT",))
    assert [seen.strategy_id for seen in posture.algorithms] == ["s1"]


async def test_positions_of_the_baseline_are_left_out_of_the_posture() -> None:
    whole, less = Decimal(1), Decimal(2)
    standing = await read_posture(Exchange(), adopted={"BTCUSDT": whole, "BTCPERP": less, "BTCUSD": whole})
    assert [seen.symbol for seen in standing.posture.positions] == ["XRPUSDT"]
    assert standing.sizes == {"BTCUSDT": Decimal(1), "XRPUSDT": Decimal(1), "BTCPERP": Decimal(1)}


async def test_positions_without_end_are_refused() -> None:
    exchange = Exchange()
    exchange.is_endless = True
    with pytest.raises(ExchangeAnswerInvalid, match="pages of positions"):
        await read_posture(exchange, adopted={})


@pytest.mark.parametrize(("was", "left"), [("0.4", "0.6"), ("-0.4", "1"), ("0", "1")])
async def test_what_was_added_to_a_position_of_the_baseline_is_in_the_posture(was: str, left: str) -> None:
    standing = await read_posture(Exchange(), adopted={"XRPUSDT": Decimal(was)})
    assert [seen.size for seen in standing.posture.positions if seen.symbol == "XRPUSDT"] == [Decimal(left)]
    assert standing.sizes["XRPUSDT"] == 1


async def test_what_is_left_of_a_short_position_of_the_baseline_is_short() -> None:
    class Short(Exchange):
        async def positions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
            page = await super().positions(parameters)
            return {**page, "list": [{**entry, "side": "Sell"} for entry in page["list"]]}

    standing = await read_posture(Short(), adopted={"XRPUSDT": Decimal("-0.4"), "BTCUSDT": Decimal(1)})
    sizes = {seen.symbol: seen.size for seen in standing.posture.positions}
    assert (sizes["XRPUSDT"], sizes["BTCUSDT"]) == (Decimal("-0.6"), Decimal(-1))
