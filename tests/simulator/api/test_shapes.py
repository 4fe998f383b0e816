"""Shapes: every answer has at least the keys that the Bybit V5 documentation lists, with values of the right kind."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from simulator.support import Venue

BUY = {
    "category": "spot",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Market",
    "qty": "0.01",
    "marketUnit": "baseCoin",
}
LONG = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
SHORT = LONG | {"side": "Sell"}

ORDER = """orderId orderLinkId blockTradeId symbol price qty side isLeverage positionIdx orderStatus cancelType
    rejectReason avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee timeInForce orderType stopOrderType
    orderIv triggerPrice takeProfit stopLoss tpTriggerBy slTriggerBy triggerDirection triggerBy lastPriceOnCreated
    reduceOnly
    closeOnTrigger smpType smpGroup smpOrderId tpslMode tpLimitPrice slLimitPrice placeType createdTime updatedTime
    cumFeeDetail"""
ENDED_ORDER = ORDER + " slippageToleranceType slippageTolerance extraFees rpiTakerAccess rpiMatchedQty"
PERMISSIONS = "ContractTrade Spot Wallet Options Derivatives CopyTrading BlockTrade Exchange NFT Affiliate Earn"

# Path, role, query, where the record is in the result, keys of the record.
READS: list[tuple[str, str | None, dict[str, object], str, str]] = [
    ("/v5/market/time", None, {}, "", "timeSecond timeNano"),
    (
        "/v5/market/instruments-info", None, {"category": "spot"}, "list",
        """symbolId symbol baseCoin quoteCoin innovation status marginTrading stTag lotSizeFilter priceFilter
        riskParameters symbolType""",
    ),
    (
        "/v5/market/instruments-info", None, {"category": "linear"}, "list",
        """symbol symbolId contractType status baseCoin quoteCoin launchTime deliveryTime deliveryFeeRate priceScale
        leverageFilter priceFilter lotSizeFilter unifiedMarginTrade fundingInterval settleCoin copyTrading
        upperFundingRate lowerFundingRate isPreListing preListingInfo riskParameters symbolType""",
    ),
    (
        "/v5/market/tickers", None, {"category": "spot"}, "list",
        """symbol bid1Price bid1Size ask1Price ask1Size lastPrice prevPrice24h price24hPcnt highPrice24h lowPrice24h
        turnover24h volume24h usdIndexPrice""",
    ),
    (
        "/v5/market/tickers", None, {"category": "linear"}, "list",
        """symbol lastPrice indexPrice markPrice prevPrice24h price24hPcnt highPrice24h lowPrice24h prevPrice1h
        openInterest openInterestValue turnover24h volume24h fundingRate nextFundingTime predictedDeliveryPrice
        basisRate deliveryFeeRate deliveryTime ask1Size bid1Price ask1Price bid1Size basis preOpenPrice preQty
        curPreListingPhase fundingIntervalHour basisRateYear fundingCap""",
    ),
    ("/v5/market/orderbook", None, {"category": "spot", "symbol": "BTCUSDT"}, "", "s a b ts u seq cts"),
    (
        "/v5/market/recent-trade", None, {"category": "spot", "symbol": "BTCUSDT"}, "list",
        "execId symbol price size side time isBlockTrade isRPITrade seq",
    ),
    (
        "/v5/market/funding/history", None, {"category": "linear", "symbol": "BTCUSDT"}, "list",
        "symbol fundingRate fundingRateTimestamp",
    ),
    (
        "/v5/market/risk-limit", None, {"category": "linear", "symbol": "BTCUSDT"}, "list",
        "id symbol riskLimitValue maintenanceMargin initialMargin isLowestRisk maxLeverage mmDeduction",
    ),
    (
        "/v5/market/open-interest", None, {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h"}, "list",
        "openInterest singleOpenInterest timestamp",
    ),
    ("/v5/order/history", "client", {"category": "spot"}, "list", ENDED_ORDER),
    ("/v5/order/history", "client", {"category": "linear"}, "list", ORDER),
    ("/v5/order/realtime", "client", {"category": "spot", "openOnly": 1}, "list", ORDER),
    (
        "/v5/execution/list", "client", {"category": "linear"}, "list",
        """symbol orderType underlyingPrice orderLinkId side indexPrice orderId stopOrderType leavesQty execTime
        feeCurrency isMaker execFee feeRate execId tradeIv blockTradeId markPrice execPrice markIv orderQty orderPrice
        execValue execType execQty closedSize extraFees seq""",
    ),
    (
        "/v5/position/list", "client", {"category": "linear", "symbol": "BTCUSDT"}, "list",
        """positionIdx riskId riskLimitValue symbol side size avgPrice positionValue tradeMode positionStatus
        autoAddMargin adlRankIndicator leverage breakEvenPrice positionBalance markPrice liqPrice bustPrice positionMM
        positionMMByMp positionIM positionIMByMp tpslMode takeProfit stopLoss trailingStop unrealisedPnl curRealisedPnl
        cumRealisedPnl seq isReduceOnly mmrSysUpdateTime leverageSysUpdatedTime sessionAvgPrice createdTime
        updatedTime""",
    ),
    (
        "/v5/position/closed-pnl", "client", {"category": "linear"}, "list",
        """symbol orderType leverage updatedTime side orderId closedPnl avgEntryPrice qty cumEntryValue createdTime
        orderPrice closedSize avgExitPrice execType fillCount cumExitValue""",
    ),
    (
        "/v5/account/wallet-balance", "client", {"accountType": "UNIFIED"}, "list",
        """totalEquity accountIMRate accountIMRateByMp totalMarginBalance totalInitialMargin totalInitialMarginByMp
        accountType totalAvailableBalance accountMMRate accountMMRateByMp totalPerpUPL totalWalletBalance accountLTV
        totalMaintenanceMargin totalMaintenanceMarginByMp coin""",
    ),
    (
        "/v5/account/info", "client", {}, "",
        "marginMode updatedTime unifiedMarginStatus dcpStatus timeWindow smpGroup isMasterTrader spotHedgingStatus",
    ),
    ("/v5/account/fee-rate", "client", {"category": "linear"}, "list", "symbol takerFeeRate makerFeeRate"),
    (
        "/v5/account/transaction-log", "client", {}, "list",
        """transSubType id symbol side funding orderLinkId orderId fee change cashFlow transactionTime type feeRate
        bonusChange size qty cashBalance currency category tradePrice tradeId extraFees""",
    ),
    ("/v5/asset/coin/query-info", "client", {"coin": "BTC"}, "rows", "name coin remainAmount chains"),
    (
        "/v5/asset/transfer/query-inter-transfer-list", "client", {}, "list",
        "transferId coin amount fromAccountType toAccountType timestamp status",
    ),
    (
        "/v5/asset/transfer/query-universal-transfer-list", "master", {}, "list",
        "transferId coin amount timestamp status fromAccountType toAccountType fromMemberId toMemberId",
    ),
    (
        "/v5/asset/withdraw/query-record", "client", {}, "rows",
        """coin chain amount txID status toAddress tag withdrawFee createTime updateTime withdrawId withdrawType fee tax
        taxRate taxType""",
    ),
    (
        "/v5/asset/deposit/query-record", "watch", {}, "rows",
        """coin chain amount txID status toAddress tag depositFee successAt confirmations txIndex blockHash
        batchReleaseLimit depositType fromAddress taxDepositRecordsId taxStatus id""",
    ),
    (
        "/v5/user/query-api", "order", {}, "",
        """id note apiKey readOnly secret permissions ips type deadlineDay expiredAt createdAt unified uta userID
        inviterID vipLevel mktMakerLevel affiliateID rsaPublicKey isMaster parentUid kycLevel kycRegion userIDInt64
        inviterIDInt64 affiliateIDInt64""",
    ),
    ("/v5/user/query-sub-members", "master", {}, "subMembers", "uid username memberType status remark accountMode"),
    (
        "/v5/strategy/list", "client", {}, "list",
        """strategyId category symbol side size duration status executedDuration executedSize executedAvgPrice
        createdTimeE3 updatedTimeE3 limitPrice reduceOnly terminateType terminateRemark strategyType""",
    ),
]  # fmt: skip


async def accepted(venue: Venue, path: str, role: str, body: dict[str, object]) -> dict[str, Any]:
    answer = (await venue.post(path, role, body)).json()
    assert answer["retCode"] == 0, answer
    result: dict[str, Any] = answer["result"]
    return result


@pytest.fixture
async def busy(venue: Venue) -> Venue:
    """An exchange on which something of every kind has happened."""
    for body in (BUY, LONG, SHORT, LONG):
        await accepted(venue, "/v5/order/create", "client", body)
    move = {"coin": "USDT", "amount": "100", "fromAccountType": "UNIFIED", "toAccountType": "FUND"}
    await accepted(venue, "/v5/asset/transfer/inter-transfer", "client", move | {"transferId": str(uuid.uuid4())})
    await venue.control("POST", "flow", {"coin": "USDT", "amount": "50"})
    universal = move | {
        "transferId": str(uuid.uuid4()),
        "amount": "5",
        "toAccountType": "UNIFIED",
        "fromMemberId": int(venue.opening.sub_uid),
        "toMemberId": int(venue.opening.master_uid),
    }
    await accepted(venue, "/v5/asset/transfer/universal-transfer", "master", universal)
    withdrawal = {"coin": "USDT", "chain": "ETH", "address": "0xaddress", "amount": "10", "timestamp": venue.now_ms()}
    await accepted(venue, "/v5/asset/withdraw/create", "client", withdrawal | {"accountType": "FUND"})
    strategy = {"category": "UTA_USDT", "symbol": "BTCUSDT", "side": "Buy", "size": "0.05", "strategyType": "twap"}
    await accepted(venue, "/v5/strategy/create", "client", strategy | {"duration": 600, "interval": 60})
    for _ in range(20):
        venue.exchange.tick()
    return venue


@pytest.mark.parametrize("read", READS, ids=[f"{row[0]} {row[2]}" for row in READS])
async def test_answer_has_the_documented_keys(
    busy: Venue, read: tuple[str, str | None, dict[str, object], str, str]
) -> None:
    path, role, query, where, keys = read
    answer = (await busy.get(path, role, **query)).json()
    assert answer["retCode"] == 0, answer
    record = answer["result"]
    if where:
        assert record[where], f"{path} has no record to compare"
        record = record[where][0]
    assert set(keys.split()) - record.keys() == set()


@pytest.mark.parametrize(
    ("path", "width"),
    [("/v5/market/kline", 7), ("/v5/market/mark-price-kline", 5), ("/v5/market/index-price-kline", 5)],
)
async def test_candles_are_rows_of_texts_newest_first(venue: Venue, path: str, width: int) -> None:
    answer = await venue.get(path, category="linear", symbol="BTCUSDT", interval="5", limit=10)
    result = answer.json()["result"]
    assert {"symbol", "category", "list"} <= result.keys()
    rows = result["list"]
    assert len(rows) == 10
    assert all(len(row) == width and all(isinstance(cell, str) for cell in row) for row in rows)
    times = [int(row[0]) for row in rows]
    assert times == sorted(times, reverse=True)


def wrong_kinds(record: dict[str, Any], numbers: set[str], booleans: set[str]) -> dict[str, Any]:
    """Find values that are not texts where the exchange writes texts."""
    return {
        name: value
        for name, value in record.items()
        if not isinstance(value, dict | list)
        and type(value) is not (int if name in numbers else bool if name in booleans else str)
    }


async def test_numbers_of_orders_positions_and_wallets_are_texts(busy: Venue) -> None:
    order = (await busy.get("/v5/order/history", "client", category="linear")).json()["result"]["list"][0]
    assert not wrong_kinds(
        order, {"positionIdx", "triggerDirection", "smpGroup"}, {"reduceOnly", "closeOnTrigger", "rpiTakerAccess"}
    )
    position = (await busy.get("/v5/position/list", "client", category="linear", symbol="BTCUSDT")).json()
    record = position["result"]["list"][0]
    integers = {"positionIdx", "riskId", "tradeMode", "autoAddMargin", "adlRankIndicator", "seq"}
    assert not wrong_kinds(record, integers, {"isReduceOnly"})
    wallet = (await busy.get("/v5/account/wallet-balance", "client", accountType="UNIFIED")).json()["result"]["list"][0]
    assert not wrong_kinds(wallet, set(), set())
    assert not wrong_kinds(wallet["coin"][0], set(), {"collateralSwitch", "marginCollateral"})


async def test_wallet_coin_has_the_documented_keys(busy: Venue) -> None:
    wallet = (await busy.get("/v5/account/wallet-balance", "client", accountType="UNIFIED")).json()["result"]["list"][0]
    keys = """availableToBorrow bonus accruedInterest availableToWithdraw totalOrderIM equity totalPositionMM usdValue
        spotHedgingQty unrealisedPnl collateralSwitch borrowAmount totalPositionIM walletBalance cumRealisedPnl locked
        marginCollateral coin spotBorrow"""
    assert set(keys.split()) - wallet["coin"][0].keys() == set()


async def test_acknowledgements_have_the_documented_keys(venue: Venue) -> None:
    price = {"orderType": "Limit", "price": "60000"}
    created = await accepted(venue, "/v5/order/create", "client", LONG | price)
    assert created.keys() == {"orderId", "orderLinkId"}
    ids = {"category": "linear", "symbol": "BTCUSDT", "orderId": created["orderId"]}
    assert (await accepted(venue, "/v5/order/amend", "client", ids | {"qty": "0.02"})).keys() == created.keys()
    assert (await accepted(venue, "/v5/order/cancel", "client", ids)).keys() == created.keys()
    await accepted(venue, "/v5/order/create", "client", LONG | price)
    swept = await accepted(venue, "/v5/order/cancel-all", "client", {"category": "linear", "settleCoin": "USDT"})
    assert swept["success"] == "1"
    assert [row.keys() for row in swept["list"]] == [created.keys()]


async def test_batch_answers_have_the_documented_keys(venue: Venue) -> None:
    order = {name: value for name, value in LONG.items() if name != "category"} | {
        "orderType": "Limit",
        "price": "60000",
    }
    batch = {"category": "linear", "request": [order, order | {"qty": "0"}]}
    answer = (await venue.post("/v5/order/create-batch", "client", batch)).json()
    assert answer["retCode"] == 0
    assert [row.keys() for row in answer["result"]["list"]] == [
        {"category", "symbol", "orderId", "orderLinkId", "createAt"}
    ] * 2
    assert [row.keys() for row in answer["retExtInfo"]["list"]] == [{"code", "msg"}] * 2
    assert answer["retExtInfo"]["list"][0] == {"code": 0, "msg": "OK"}
    assert answer["retExtInfo"]["list"][1]["code"] != 0


async def test_key_answers_have_the_documented_keys(venue: Venue) -> None:
    body = {"subuid": int(venue.opening.sub_uid), "readOnly": 0, "note": "n", "permissions": {"Spot": ["SpotTrade"]}}
    created = await accepted(venue, "/v5/user/create-sub-api", "master", body)
    assert {"id", "note", "apiKey", "readOnly", "secret", "permissions"} <= created.keys()
    assert set(PERMISSIONS.split()) - {"Derivatives", "Affiliate"} <= created["permissions"].keys()
    update = {"apikey": created["apiKey"], "readOnly": 1, "ips": "10.0.0.1"}
    updated = await accepted(venue, "/v5/user/update-sub-api", "master", update)
    assert (updated["readOnly"], updated["ips"], updated["secret"]) == (1, ["10.0.0.1"], "")
    listed = (await venue.get("/v5/user/sub-apikeys", "master", subMemberId=venue.opening.sub_uid)).json()["result"]
    keys = "id ips apiKey note status expiredAt createdAt type permissions secret readOnly deadlineDay flag"
    assert set(keys.split()) - listed["result"][0].keys() == set()
    assert listed["nextPageCursor"] == ""
    assert await accepted(venue, "/v5/user/delete-sub-api", "master", {"apikey": created["apiKey"]}) == {}
