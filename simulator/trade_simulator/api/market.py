"""Public market data."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

from trade_simulator.api.call import Call
from trade_simulator.api.envelope import Answer
from trade_simulator.api.fields import Fields
from trade_simulator.api.shapes import Shape, number, optional
from trade_simulator.instruments import Category, Instrument
from trade_simulator.market.series import Candle, CandleKind, Interval, Ticker, Trade
from trade_simulator.rejections import SYMBOL_INVALID, parameter_error

DAY_MS = 24 * 3600 * 1000
MAX_CANDLES = 1000
MAX_BOOK_LEVELS = 1000
MAX_SPOT_TRADES = 60


class OpenInterestInterval(StrEnum):
    """The steps that open interest is listed in."""

    M5 = "5min"
    M15 = "15min"
    M30 = "30min"
    H1 = "1h"
    H4 = "4h"
    DAY = "1d"


_OPEN_INTEREST_MS = {
    OpenInterestInterval.M5: 300_000,
    OpenInterestInterval.M15: 900_000,
    OpenInterestInterval.M30: 1_800_000,
    OpenInterestInterval.H1: 3_600_000,
    OpenInterestInterval.H4: 14_400_000,
    OpenInterestInterval.DAY: DAY_MS,
}


def time(call: Call) -> object:
    """Tell the exchange's time."""
    return Answer(
        result={"timeSecond": str(call.now_ms // 1000), "timeNano": str(call.now_ms * 1_000_000)},
    )


def listed(call: Call, category: Category, symbol: str) -> Instrument:
    """Find an instrument. Raises Rejected with the category's own code."""
    instrument = call.exchange.instruments.get((category, symbol))
    if instrument is None:
        raise SYMBOL_INVALID.error(category)
    return instrument


def _selected(call: Call, category: Category) -> list[Instrument]:
    """Give one instrument when a symbol is named, else all of the category, by base coin if one is named."""
    symbol = call.fields.text("symbol")
    if symbol:
        return [listed(call, category, symbol)]
    base_coin = call.fields.text("baseCoin")
    return [
        instrument
        for instrument in call.exchange.instruments.values()
        if instrument.category is category and base_coin in ("", instrument.base_coin)
    ]


def instruments_info(call: Call) -> object:
    """List instruments with their filters; spot has no pages."""
    category = call.fields.category()
    call.fields.limit(default=500, most=1000)
    selected = _selected(call, category)
    if call.fields.text("status", default="Trading") != "Trading":
        selected = []
    if category is Category.SPOT:
        return {"category": str(category), "list": [_spot_info(one) for one in selected]}
    return {"category": str(category), "list": [_linear_info(one) for one in selected], "nextPageCursor": ""}


def _risk_parameters(one: Instrument) -> Shape:
    return {
        "priceLimitRatioX": number(one.price_limit_fraction),
        "priceLimitRatioY": number(one.price_limit_fraction),
    }


def _spot_info(one: Instrument) -> Shape:
    return {
        "symbolId": one.symbol_id,
        "symbol": one.symbol,
        "baseCoin": one.base_coin,
        "quoteCoin": one.quote_coin,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": number(one.quantity_step),
            "quotePrecision": number(one.quote_precision),
            "minOrderQty": number(one.min_quantity),
            "maxOrderQty": number(one.max_limit_quantity),
            "minOrderAmt": number(one.min_notional),
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": number(one.max_limit_quantity),
            "maxMarketOrderQty": number(one.max_market_quantity),
            "postOnlyMaxLimitOrderSize": number(one.max_post_only_quantity),
        },
        "priceFilter": {"tickSize": number(one.tick_size)},
        "riskParameters": _risk_parameters(one),
        "symbolType": "",
    }


def _linear_info(one: Instrument) -> Shape:
    return {
        "symbol": one.symbol,
        "symbolId": one.symbol_id,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": one.base_coin,
        "quoteCoin": one.quote_coin,
        "launchTime": str(one.launched_at_ms),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(one.price_scale),
        "leverageFilter": {
            "minLeverage": number(one.min_leverage),
            "maxLeverage": number(one.max_leverage),
            "leverageStep": number(one.leverage_step),
        },
        "priceFilter": {
            "minPrice": number(one.min_price),
            "maxPrice": number(one.max_price),
            "tickSize": number(one.tick_size),
        },
        "lotSizeFilter": {
            "maxOrderQty": number(one.max_limit_quantity),
            "minOrderQty": number(one.min_quantity),
            "qtyStep": number(one.quantity_step),
            "postOnlyMaxOrderQty": number(one.max_post_only_quantity),
            "maxMktOrderQty": number(one.max_market_quantity),
            "minNotionalValue": number(one.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": one.funding_interval_min,
        "settleCoin": one.settle_coin,
        "copyTrading": "both",
        "upperFundingRate": number(one.max_funding_rate),
        "lowerFundingRate": number(-one.max_funding_rate),
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": _risk_parameters(one),
        "symbolType": "",
    }


def _candles(call: Call, kind: CandleKind) -> tuple[Category, str, list[Candle]]:
    fields = call.fields
    category = fields.choice("category", Category, default=Category.LINEAR)
    symbol = fields.symbol()
    listed(call, category, symbol)
    interval = fields.required_choice("interval", Interval)
    start_ms = fields.optional_integer("start")
    end_ms = fields.optional_integer("end")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise parameter_error("start cannot be greater than end")
    rows = call.exchange.market.candles(
        category,
        symbol,
        interval,
        kind=kind,
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=200, most=MAX_CANDLES),
    )
    return category, symbol, rows


def _prices(candle: Candle) -> list[str]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    return [str(candle.start_ms), *(number(price) for price in prices)]


def kline(call: Call) -> object:
    """List trade candles, newest first."""
    category, symbol, rows = _candles(call, CandleKind.TRADE)
    lines = [[*_prices(row), number(row.volume), number(row.turnover)] for row in rows]
    return {"symbol": symbol, "category": str(category), "list": lines}


def _price_kline(call: Call, kind: CandleKind) -> object:
    if call.fields.text("category", default="linear") != Category.LINEAR:
        raise parameter_error("category invalid")
    category, symbol, rows = _candles(call, kind)
    return {"symbol": symbol, "category": str(category), "list": [_prices(row) for row in rows]}


def mark_price_kline(call: Call) -> object:
    """List mark price candles, newest first."""
    return _price_kline(call, CandleKind.MARK)


def index_price_kline(call: Call) -> object:
    """List index price candles, newest first."""
    return _price_kline(call, CandleKind.INDEX)


def levels(side: Iterable[tuple[Decimal, Decimal]]) -> list[list[str]]:
    """Render the levels of one side of a book."""
    return [[number(price), number(size)] for price, size in side]


def orderbook(call: Call) -> object:
    """Show the best levels of a book."""
    category = call.fields.category()
    symbol = call.fields.symbol()
    listed(call, category, symbol)
    depth = call.fields.limit(default=1 if category is Category.SPOT else 25, most=MAX_BOOK_LEVELS)
    book = call.exchange.market.book(category, symbol, depth=depth)
    return {
        "s": symbol,
        "b": levels(book.bids),
        "a": levels(book.asks),
        "ts": call.now_ms,
        "u": book.update_id,
        "seq": book.seq,
        "cts": book.at_ms,
    }


def tickers(call: Call) -> object:
    """Summarise instruments."""
    category = call.fields.category()
    market = call.exchange.market
    rows = [ticker_shape(market.ticker(category, one.symbol), one) for one in _selected(call, category)]
    return {"category": str(category), "list": rows}


def ticker_shape(ticker: Ticker, instrument: Instrument) -> Shape:
    """Render a ticker as REST lists it."""
    shape: Shape = {
        "symbol": ticker.symbol,
        "bid1Price": number(ticker.bid_price),
        "bid1Size": number(ticker.bid_size),
        "ask1Price": number(ticker.ask_price),
        "ask1Size": number(ticker.ask_size),
        "lastPrice": number(ticker.last_price),
        "prevPrice24h": number(ticker.previous_price_24h),
        "price24hPcnt": number(ticker.change_24h_fraction.quantize(Decimal("0.000001"))),
        "highPrice24h": number(ticker.high_price_24h),
        "lowPrice24h": number(ticker.low_price_24h),
        "turnover24h": number(ticker.turnover_24h),
        "volume24h": number(ticker.volume_24h),
    }
    if ticker.category is Category.SPOT:
        return shape | {"usdIndexPrice": number(ticker.index_price)}
    return shape | {
        "indexPrice": number(ticker.index_price),
        "markPrice": number(ticker.mark_price),
        "prevPrice1h": number(ticker.previous_price_1h),
        "openInterest": optional(ticker.open_interest),
        "openInterestValue": optional(ticker.open_interest_value),
        "fundingRate": optional(ticker.funding_rate),
        "nextFundingTime": str(ticker.next_funding_ms or ""),
        "fundingIntervalHour": str(ticker.funding_interval_h or ""),
        "fundingCap": number(instrument.max_funding_rate),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basisRateYear": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def recent_trade(call: Call) -> object:
    """List the last public trades, newest first."""
    category = call.fields.category()
    symbol = call.fields.symbol()
    listed(call, category, symbol)
    most = MAX_SPOT_TRADES if category is Category.SPOT else 1000
    limit = min(call.fields.limit(default=min(most, 500), most=1000), most)
    rows = call.exchange.market.trades(category, symbol, limit=limit)
    return {"category": str(category), "list": [_trade_shape(row) for row in rows]}


def _trade_shape(trade: Trade) -> Shape:
    return {
        "execId": trade.trade_id,
        "symbol": trade.symbol,
        "price": number(trade.price),
        "size": number(trade.size),
        "side": str(trade.side),
        "time": str(trade.at_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(trade.seq),
    }


def _linear_symbol(fields: Fields, call: Call) -> str:
    if fields.category() is not Category.LINEAR:
        raise parameter_error("category invalid")
    symbol = fields.symbol()
    listed(call, Category.LINEAR, symbol)
    return symbol


def funding_history(call: Call) -> object:
    """List settled funding rates; a start alone is refused, as the exchange does."""
    fields = call.fields
    symbol = _linear_symbol(fields, call)
    start_ms = fields.optional_integer("startTime")
    end_ms = fields.optional_integer("endTime")
    if start_ms is not None and end_ms is None:
        raise parameter_error("endTime is required with startTime")
    rows = call.exchange.market.funding_history(
        symbol, start_ms=start_ms, end_ms=end_ms, limit=fields.limit(default=200, most=200)
    )
    return {
        "category": "linear",
        "list": [
            {
                "symbol": row.symbol,
                "fundingRate": number(row.funding_rate),
                "fundingRateTimestamp": str(row.at_ms),
            }
            for row in rows
        ],
    }


def risk_limit(call: Call) -> object:
    """List risk tiers; this exchange has one tier an instrument."""
    if call.fields.category() is not Category.LINEAR:
        raise parameter_error("category invalid")
    selected = _selected(call, Category.LINEAR)
    return {"category": "linear", "list": [_risk_tier(one) for one in selected], "nextPageCursor": ""}


def _risk_tier(one: Instrument) -> Shape:
    return {
        "id": one.symbol_id,
        "symbol": one.symbol,
        "riskLimitValue": number(one.risk_limit_value),
        "maintenanceMargin": number(one.maintenance_margin_rate),
        "initialMargin": number(1 / one.max_leverage),
        "isLowestRisk": 1,
        "maxLeverage": number(one.max_leverage),
        "mmDeduction": "",
    }


def open_interest(call: Call) -> object:
    """List open interest at the start of intervals, newest first."""
    fields = call.fields
    symbol = _linear_symbol(fields, call)
    interval = fields.required_choice("intervalTime", OpenInterestInterval)
    rows = call.exchange.market.open_interest(
        symbol,
        interval_ms=_OPEN_INTEREST_MS[interval],
        start_ms=fields.optional_integer("startTime"),
        end_ms=fields.optional_integer("endTime"),
        limit=fields.limit(default=50, most=200),
    )
    return {
        "symbol": symbol,
        "category": "linear",
        "list": [
            {
                "openInterest": number(row.open_interest),
                "singleOpenInterest": number(row.open_interest / 2),
                "timestamp": str(row.at_ms),
            }
            for row in rows
        ],
        "nextPageCursor": "",
    }
