from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.bybit.envelope import Answer, parse_answer
from trade_core.errors import ExchangeAnswerInvalid


def test_parse_answer_of_the_whole_envelope() -> None:
    raw = b'{"retCode":0,"retMsg":"OK","result":{"list":[]},"retExtInfo":{},"time":17}'
    assert parse_answer(raw) == Answer(ret_code=0, ret_msg="OK", result={"list": []}, time_ms=17)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"0",
        b'"retCode"',
        b"{}",
        b'{"retCode":"0"}',
        b'{"retCode":0.0}',
        b'{"retCode":true}',
        b'{"retCode":null}',
        b"[" * 100_000,
        b'{"retCode":' + b"9" * 5000 + b"}",
    ],
)
def test_parse_answer_of_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        parse_answer(raw)


@pytest.mark.parametrize("result", ["null", "[]", '"x"', "1"])
def test_parse_answer_with_a_result_that_is_no_object_has_none(result: str) -> None:
    assert parse_answer(b'{"retCode":0,"result":%b}' % result.encode()).result == {}


@pytest.mark.parametrize("time", ['"17"', "1.5", "null", "true"])
def test_parse_answer_with_a_time_that_is_no_integer_has_none(time: str) -> None:
    assert parse_answer(b'{"retCode":0,"time":%b}' % time.encode()).time_ms == 0


@pytest.mark.parametrize(("ret_code", "is_ok"), [(0, True), (1, False), (-1, False), (10001, False)])
def test_answer_is_ok_for_code_zero_alone(ret_code: int, is_ok: bool) -> None:
    assert parse_answer(json.dumps({"retCode": ret_code}).encode()).is_ok is is_ok


@given(st.binary(max_size=200))
def test_parse_answer_of_any_bytes_answers_or_refuses(raw: bytes) -> None:
    with suppress(ExchangeAnswerInvalid):
        assert isinstance(parse_answer(raw), Answer)
