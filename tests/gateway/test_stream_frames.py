from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.stream_frames import MAX_FRAME_CHARACTERS, MAX_TOPICS, FrameRefused, Operation, parse_client_frame


def render(text: str) -> str:
    return parse_client_frame(text).render()


def test_frame_subscribe_is_built_anew() -> None:
    text = '{ "args" : ["orderbook.50.BTCUSDT","kline.D.ETHUSDT"], "op":"subscribe", "req_id": "r-1" }'
    assert render(text) == '{"op":"subscribe","req_id":"r-1","args":["orderbook.50.BTCUSDT","kline.D.ETHUSDT"]}'


def test_frame_ping_carries_no_topics() -> None:
    assert render('{"op":"ping","args":[1,2],"req_id":7}') == '{"op":"ping","req_id":7}'


def test_frame_without_request_id_sends_none() -> None:
    assert render('{"op":"ping"}') == '{"op":"ping"}'


def test_frame_mark_of_the_client_library_is_dropped() -> None:
    assert "callerMethodName" not in render('{"op":"ping","callerMethodName":"watchTicker"}')


@pytest.mark.parametrize("operation", Operation)
def test_frame_of_every_operation_is_understood(operation: Operation) -> None:
    frame = parse_client_frame(json.dumps({"op": operation.value, "args": ["publicTrade.BTCUSDT"]}))
    assert frame.operation is operation


@pytest.mark.parametrize(
    "topic",
    [
        "orderbook.1.BTCUSDT",
        "orderbook.1000.BTCUSDT",
        "publicTrade.BTCUSDT",
        "tickers.1000PEPEUSDT",
        "kline.1.BTCUSDT",
        "kline.W.BTCUSDT",
        "tickers." + "A" * 30,
    ],
)
def test_frame_public_topic_is_permitted(topic: str) -> None:
    assert parse_client_frame(json.dumps({"op": "subscribe", "args": [topic]})).topics == (topic,)


@pytest.mark.parametrize(
    "topic",
    [
        "order",
        "order.spot",
        "execution.fast",
        "wallet",
        "position.linear",
        "orderbook.2.BTCUSDT",
        "kline.2.BTCUSDT",
        "tickers.btcusdt",
        "tickers.",
        "tickers.BTCUSDT ",
        "tickers.BTCUSDT\n",
        "tickers.BTC.USDT",
        "tickers." + "A" * 31,
        "liquidation.BTCUSDT",
        "tickers.\u0411TCUSDT",
        "",
        1,
        None,
        ["tickers.BTCUSDT"],
    ],
)
def test_frame_other_topic_is_refused(topic: object) -> None:
    with pytest.raises(FrameRefused, match="topic is not a public one"):
        parse_client_frame(json.dumps({"op": "subscribe", "args": ["tickers.BTCUSDT", topic]}))


@pytest.mark.parametrize(
    "operation", ["auth", "order.create", "cancel-on-disconnect", "", None, 1, True, [], {}, "PING"]
)
def test_frame_of_another_operation_is_refused(operation: object) -> None:
    with pytest.raises(FrameRefused, match="operation"):
        parse_client_frame(json.dumps({"op": operation, "args": []}))


@pytest.mark.parametrize("args", [None, "tickers.BTCUSDT", {}, [], ["tickers.BTCUSDT"] * (MAX_TOPICS + 1)])
def test_frame_without_a_bounded_list_of_topics_is_refused(args: object) -> None:
    with pytest.raises(FrameRefused, match="args"):
        parse_client_frame(json.dumps({"op": "subscribe", "args": args}))


def test_frame_with_as_many_topics_as_permitted_passes() -> None:
    frame = parse_client_frame(json.dumps({"op": "subscribe", "args": ["tickers.BTCUSDT"] * MAX_TOPICS}))
    assert len(frame.topics) == MAX_TOPICS


@pytest.mark.parametrize("request_id", [0, 2**53 - 1, "a", "A-b_c.d:9", "tickers.A,kline.1.B", "x" * 8000])
def test_frame_plain_request_id_is_permitted(request_id: object) -> None:
    assert parse_client_frame(json.dumps({"op": "ping", "req_id": request_id})).request_id == request_id


@pytest.mark.parametrize("request_id", [-1, 2**53, 1.5, True, "", "x" * 8001, "a b", "<b>", "a\n", [], {}])
def test_frame_other_request_id_is_refused(request_id: object) -> None:
    with pytest.raises(FrameRefused, match="req_id"):
        parse_client_frame(json.dumps({"op": "ping", "req_id": request_id}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ping",
        "[]",
        "null",
        '"ping"',
        '{"op":"ping"}{"op":"ping"}',
        '{"op":"ping","op":"subscribe"}',
        '{"op":"ping","extra":1}',
        "[" * 16_000,
        '{"op":' + "9" * 5000 + "}",
    ],
)
def test_frame_that_is_not_one_plain_object_is_refused(text: str) -> None:
    with pytest.raises(FrameRefused):
        parse_client_frame(text)


@pytest.mark.parametrize(("excess", "is_refused"), [(0, False), (1, True)])
def test_frame_length_has_a_bound(excess: int, is_refused: bool) -> None:
    text = '{"op":"ping"}'
    text += " " * (MAX_FRAME_CHARACTERS - len(text) + excess)
    if is_refused:
        with pytest.raises(FrameRefused, match="too long"):
            parse_client_frame(text)
    else:
        assert parse_client_frame(text).operation is Operation.PING


def refusal_of(content: object) -> dict[str, object]:
    with pytest.raises(FrameRefused) as caught:
        parse_client_frame(json.dumps(content))
    answer: dict[str, object] = json.loads(caught.value.render())
    assert answer.pop("success") is False
    assert str(answer.pop("ret_msg")).startswith("STREAM_FRAME_REFUSED: ")
    return answer


@pytest.mark.parametrize(
    "topics", [["liquidation.BTCUSDT"], [], ["tickers.BTCUSDT"] * (MAX_TOPICS + 1)], ids=["other", "none", "many"]
)
def test_frame_refusal_names_the_request_and_its_operation_as_the_exchange_does(topics: list[str]) -> None:
    frame = {"op": "subscribe", "args": topics, "req_id": "r,1"}
    assert refusal_of(frame) == {"conn_id": "", "req_id": "r,1", "op": "subscribe"}
    assert refusal_of(frame | {"req_id": 0, "more": 1}) == {"conn_id": "", "req_id": 0, "op": "subscribe"}


@pytest.mark.parametrize("content", [[], {"op": "auth"}, {"op": "subscribe", "args": [], "req_id": "a b"}])
def test_frame_refusal_names_nothing_that_was_not_understood(content: object) -> None:
    answer = refusal_of(content)
    assert "req_id" not in answer
    assert answer["op"] == "error"


@given(st.text(max_size=100))
def test_frame_refusal_repeats_nothing_of_the_bots_text(text: str) -> None:
    with pytest.raises(FrameRefused) as caught:
        parse_client_frame(text)
    assert str(caught.value).isascii()
