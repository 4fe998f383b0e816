"""Reads: recorded queries pass and are rebuilt as they came; keys and values outside their lists are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.intents import ReadIntent
from trade_gateway.wire.parse import parse_read
from trade_gateway.wire.queries import RULES
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.render import read_query
from trade_gateway.wire.routes import Kind, Route

RECORDED = [
    # freqtrade and ccxt
    (Route.MARKET_INSTRUMENTS, "category=spot"),
    (Route.MARKET_INSTRUMENTS, "category=linear&limit=1000"),
    (Route.MARKET_INSTRUMENTS, "category=linear&limit=1000&status=PreLaunch"),
    (Route.MARKET_KLINE, "symbol=BTCUSDT&limit=1000&interval=1&category=spot"),
    (Route.MARKET_KLINE, "symbol=BTCUSDT&start=1790002800000&limit=10&end=1790003600000&interval=60&category=spot"),
    (Route.MARKET_MARK_PRICE_KLINE, "symbol=BTCUSDT&limit=200&interval=60&category=linear"),
    (
        Route.MARKET_FUNDING_HISTORY,
        "limit=200&symbol=BTCUSDT&category=linear&startTime=1790000000000&endTime=1795760000000",
    ),
    (Route.MARKET_TICKERS, "category=linear"),
    (Route.MARKET_TICKERS, "symbol=BTCUSDT&category=spot"),
    (Route.MARKET_ORDERBOOK, "symbol=BTCUSDT&category=linear&limit=1"),
    (Route.MARKET_RECENT_TRADE, "symbol=BTCUSDT&limit=5&category=spot"),
    (Route.MARKET_RISK_LIMIT, "category=linear"),
    (Route.MARKET_OPEN_INTEREST, "symbol=BTCUSDT&intervalTime=1h&category=linear"),
    (Route.WALLET_BALANCE, "accountType=UNIFIED"),
    (Route.ORDER_REALTIME, "symbol=BTCUSDT&category=spot&orderId=1321003749386327552"),
    (Route.ORDER_REALTIME, "settleCoin=USDT&category=linear"),
    (Route.ORDER_REALTIME, "symbol=BTCUSDT&category=linear&cursor=660af5d6%3A1712000000%2C660af"),
    (Route.ORDER_HISTORY, "symbol=BTCUSDT&category=spot&orderStatus=Filled&orderId=abc-1"),
    (Route.ORDER_HISTORY, "symbol=BTCUSDT&category=linear&limit=20&startTime=1790000000000&orderStatus=Cancelled"),
    (Route.EXECUTION_LIST, "execType=Trade&symbol=BTCUSDT&category=linear&orderId=abc-1"),
    (Route.POSITION_LIST, "settleCoin=USDT&limit=200&category=linear"),
    (Route.FEE_RATE, "symbol=BTCUSDT&category=spot"),
    (Route.FEE_RATE, ""),
    (Route.MARKET_TIME, ""),
    (Route.QUERY_API, ""),
    (Route.ACCOUNT_INFO, ""),
    (Route.COIN_INFO, ""),
    # pybit
    (Route.WALLET_BALANCE, "accountType=UNIFIED&coin=USDT,BTC"),
    (Route.ORDER_REALTIME, "category=spot&limit=50&openOnly=0&symbol=BTCUSDT"),
    (Route.ORDER_REALTIME, "category=spot&orderLinkId=p_1"),
    (Route.MARKET_KLINE, "category=linear&interval=D&limit=5&start=1790000000000&symbol=BTCUSDT"),
    (Route.COIN_INFO, "coin=USDT"),
]


VALUES = {"symbol": "BTCUSD", "interval": "1", "intervalTime": "1h"}


def code_of(route: Route, query: bytes | str) -> DenyCode:
    result = parse_read(route, query if isinstance(query, bytes) else query.encode())
    assert isinstance(result, Refusal), result
    return result.code


@pytest.mark.parametrize(("route", "query"), RECORDED)
def test_read_of_a_recorded_query_is_rebuilt_as_it_came(route: Route, query: str) -> None:
    intent = parse_read(route, query.encode())
    assert isinstance(intent, ReadIntent), intent
    assert intent.route is route
    assert read_query(intent) == query


def test_recorded_queries_cover_every_read() -> None:
    assert {route for route, _ in RECORDED} == {route for route in Route if route.method == "GET"} == RULES.keys()


def test_read_of_a_write_route_is_a_fault_of_the_caller() -> None:
    with pytest.raises(KeyError):
        parse_read(Route.ORDER_CREATE, b"")


@pytest.mark.parametrize(
    "query", ["&", "category=spot&", "&category=spot", "category=spot&&symbol=A", "category", "category=spot&symbol"]
)
def test_read_of_a_query_that_is_no_list_of_pairs_is_malformed(query: str) -> None:
    assert code_of(Route.MARKET_TICKERS, query) is DenyCode.QUERY_MALFORMED


def test_read_of_a_query_beyond_ascii_is_malformed() -> None:
    assert code_of(Route.MARKET_TICKERS, b"category=sp\xc3\xb6t") is DenyCode.QUERY_MALFORMED


@pytest.mark.parametrize(
    "query",
    ["=", "=spot", "Category=spot", "category=spot&x=1", "category=spot&cate%67ory=spot", "category=spot&api_key=x",
     "category=spot&limit=1", "category=spot;symbol=A"],
)  # fmt: skip
def test_read_with_a_key_outside_the_list_is_refused(query: str) -> None:
    expected = DenyCode.QUERY_VALUE_INVALID if ";" in query else DenyCode.QUERY_KEY_UNKNOWN
    assert code_of(Route.MARKET_TICKERS, query) is expected


def test_read_with_a_duplicate_key_is_refused() -> None:
    assert code_of(Route.MARKET_TICKERS, "category=spot&category=linear") is DenyCode.QUERY_KEY_DUPLICATE
    assert code_of(Route.MARKET_TICKERS, "category=spot&category=spot") is DenyCode.QUERY_KEY_DUPLICATE


@pytest.mark.parametrize(
    ("route", "query"),
    [
        (Route.MARKET_TICKERS, ""),
        (Route.MARKET_TICKERS, "category="),
        (Route.MARKET_KLINE, "category=spot&symbol=BTCUSDT"),
        (Route.MARKET_KLINE, "category=spot&symbol=&interval=1"),
        (Route.MARKET_ORDERBOOK, "symbol=BTCUSDT&limit=1"),
        (Route.WALLET_BALANCE, "coin=USDT"),
        (Route.ORDER_REALTIME, "symbol=BTCUSDT"),
    ],
)
def test_read_without_a_required_key_is_refused(route: Route, query: str) -> None:
    assert code_of(route, query) is DenyCode.QUERY_KEY_MISSING


@pytest.mark.parametrize(
    "pair",
    [
        "symbol=btcusdt", "symbol=BTC%55SDT", "symbol=BTC/USDT", "symbol=../x", "symbol=" + "A" * 31,
        "symbol=http://169.254.169.254", "symbol=A B", "symbol=A\n", "symbol=A#b", "symbol=A?b",
        "limit=0", "limit=1001", "limit=01", "limit=-1", "limit=1.0", "limit=1e2", "limit=10000",
        "orderId=a_b", "orderId=" + "1" * 65, "orderId=a,b",
        "orderLinkId=a.b", "orderLinkId=" + "x" * 37,
        "cursor=a b", "cursor=a+b", "cursor=%", "cursor=%0a", "cursor=%00", "cursor=%7F", "cursor=%zz",
        "cursor=%C3%A4", "cursor=" + "a" * 513, "cursor=a\\b",
        "openOnly=3", "openOnly=00", "openOnly=true", "orderFilter=order", "orderFilter=All",
        "baseCoin=btc", "settleCoin=USDT,USDC",
    ],
)  # fmt: skip
def test_read_with_a_value_outside_its_grammar_is_refused(pair: str) -> None:
    assert code_of(Route.ORDER_REALTIME, "category=linear&" + pair) is DenyCode.QUERY_VALUE_INVALID


@pytest.mark.parametrize("category", ["Spot", "Inverse", "spot,linear", "spotlinear", "spot%2Clinear"])
def test_read_of_another_category_is_refused(category: str) -> None:
    assert code_of(Route.MARKET_TICKERS, f"category={category}") is DenyCode.QUERY_VALUE_INVALID


@pytest.mark.parametrize("category", ["inverse", "option"])
def test_public_read_of_a_category_that_is_not_traded_passes_and_a_private_one_is_refused(category: str) -> None:
    query = f"category={category}"
    for route in RULES:
        if "category" not in RULES[route].known:
            continue
        if route.kind is Kind.PUBLIC_READ:
            others = "".join(f"&{key}={VALUES[key]}" for key in sorted(RULES[route].required - {"category"}))
            intent = parse_read(route, (query + others).encode())
            assert isinstance(intent, ReadIntent), intent
            assert read_query(intent) == query + others
        else:
            assert code_of(route, query) is DenyCode.QUERY_VALUE_INVALID


@pytest.mark.parametrize("route", [Route.MARKET_KLINE, Route.MARKET_MARK_PRICE_KLINE])
def test_read_of_candles_may_leave_the_category_to_the_exchange(route: Route) -> None:
    intent = parse_read(route, b"symbol=BTCUSDT&interval=1")
    assert isinstance(intent, ReadIntent)
    assert read_query(intent) == "symbol=BTCUSDT&interval=1"


@pytest.mark.parametrize(
    ("query", "rebuilt"),
    [
        ("category=linear&settleCoin=USDT&cursor=", "category=linear&settleCoin=USDT"),
        ("cursor=&category=spot&symbol=&orderId=&orderLinkId=a&limit=", "category=spot&orderLinkId=a"),
    ],
)
def test_read_key_without_a_value_counts_as_not_sent(query: str, rebuilt: str) -> None:
    intent = parse_read(Route.ORDER_REALTIME, query.encode())
    assert isinstance(intent, ReadIntent), intent
    assert read_query(intent) == rebuilt


def test_read_key_without_a_value_is_still_known_and_sent_once() -> None:
    assert code_of(Route.MARKET_TICKERS, "category=spot&x=") is DenyCode.QUERY_KEY_UNKNOWN
    assert code_of(Route.MARKET_TICKERS, "category=spot&symbol=&symbol=A") is DenyCode.QUERY_KEY_DUPLICATE
    assert code_of(Route.MARKET_TICKERS, "category=spot&symbol=&symbol=") is DenyCode.QUERY_KEY_DUPLICATE


@pytest.mark.parametrize("comma", ["%2C", "%2c", ","])
def test_read_comma_between_coins_goes_up_as_a_comma(comma: str) -> None:
    intent = parse_read(Route.WALLET_BALANCE, f"accountType=UNIFIED&coin=BTC{comma}ETH{comma}USDT".encode())
    assert isinstance(intent, ReadIntent), intent
    assert read_query(intent) == "accountType=UNIFIED&coin=BTC,ETH,USDT"


def test_read_escaped_comma_is_one_of_coins_only() -> None:
    assert code_of(Route.ORDER_REALTIME, "category=linear&settleCoin=USDT%2CUSDC") is DenyCode.QUERY_VALUE_INVALID
    assert code_of(Route.COIN_INFO, "coin=BTC%2CUSDT%2C") is DenyCode.QUERY_VALUE_INVALID
    assert code_of(Route.COIN_INFO, "coin=BTC%252CUSDT") is DenyCode.QUERY_VALUE_INVALID


@pytest.mark.parametrize(
    ("route", "pair"),
    [
        (Route.MARKET_KLINE, "interval=2"), (Route.MARKET_KLINE, "interval=1m"), (Route.MARKET_KLINE, "interval=d"),
        (Route.MARKET_KLINE, "interval=1&start=-1"), (Route.MARKET_KLINE, "interval=1&end=" + "9" * 16),
        (Route.MARKET_KLINE, "interval=1&start=01"), (Route.MARKET_INSTRUMENTS, "status=Closed"),
        (Route.MARKET_OPEN_INTEREST, "intervalTime=1m"), (Route.ORDER_HISTORY, "orderStatus=filled"),
        (Route.ORDER_HISTORY, "orderStatus=Filled,New"), (Route.EXECUTION_LIST, "execType=trade"),
    ],
)  # fmt: skip
def test_read_with_a_word_outside_its_set_is_refused(route: Route, pair: str) -> None:
    assert code_of(route, "category=linear&symbol=A&" + pair) is DenyCode.QUERY_VALUE_INVALID


@pytest.mark.parametrize("value", ["FUND", "CONTRACT", "unified"])
def test_read_of_another_account_type_is_refused(value: str) -> None:
    assert code_of(Route.WALLET_BALANCE, f"accountType={value}") is DenyCode.QUERY_VALUE_INVALID


def test_read_bounds_the_list_of_coins() -> None:
    assert isinstance(parse_read(Route.COIN_INFO, b"coin=" + b",".join([b"A"] * 20)), ReadIntent)
    assert code_of(Route.COIN_INFO, b"coin=" + b",".join([b"A"] * 21)) is DenyCode.QUERY_VALUE_INVALID
    assert code_of(Route.COIN_INFO, b"coin=A,,B") is DenyCode.QUERY_VALUE_INVALID


def test_read_at_the_edges_of_its_grammars_passes() -> None:
    query = f"category=linear&limit=1000&cursor={'a' * 512}&orderId={'1' * 64}&orderLinkId={'x' * 36}&symbol={'A' * 30}"
    assert isinstance(parse_read(Route.ORDER_REALTIME, query.encode()), ReadIntent)


def test_read_bounds_the_query() -> None:
    padded = b"category=spot&symbol=" + b"A" * (1024 - 21)
    assert len(padded) == 1024
    assert code_of(Route.MARKET_TICKERS, padded) is DenyCode.QUERY_VALUE_INVALID
    assert code_of(Route.MARKET_TICKERS, padded + b"A") is DenyCode.QUERY_MALFORMED
    pairs = [b"x=1"] * 16
    assert code_of(Route.MARKET_TICKERS, b"&".join(pairs)) is DenyCode.QUERY_KEY_UNKNOWN
    assert code_of(Route.MARKET_TICKERS, b"&".join([*pairs, b"x=1"])) is DenyCode.QUERY_MALFORMED


def plain(query: bytes) -> bytes:
    """A query without the keys that have no value, and with commas for what escapes one between coins."""
    valued = [pair for pair in query.split(b"&") if pair.partition(b"=")[2]]
    return b"&".join(
        pair.replace(b"%2C", b",").replace(b"%2c", b",") if pair.startswith(b"coin=") else pair for pair in valued
    )


_READS = st.sampled_from(sorted(RULES, key=lambda route: route.name))


@given(_READS, st.binary(max_size=80) | st.text("abcderyotl=&%+;#?/ .,0129AZ", max_size=80).map(str.encode))
def test_read_of_any_bytes_is_refused_or_rebuilt_exactly(route: Route, query: bytes) -> None:
    result = parse_read(route, query)
    assert isinstance(result, Refusal) or read_query(result).encode() == plain(query)


@given(st.sampled_from(RECORDED), st.data())
def test_read_of_a_mutated_query_is_refused_or_plain(case: tuple[Route, str], data: st.DataObject) -> None:
    route, query = case
    raw = bytearray(query.encode())
    position = data.draw(st.integers(0, len(raw)))
    raw[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    result = parse_read(route, bytes(raw))
    if isinstance(result, ReadIntent):
        assert read_query(result).encode() == plain(bytes(raw))
        assert re.fullmatch(r"[A-Za-z0-9._~=,:;/%&-]*", read_query(result))
        assert len(dict(result.parameters)) == len(result.parameters)
