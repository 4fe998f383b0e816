"""Frames between the journal writer and its peers: what is one, and what is not."""

from __future__ import annotations

import struct

import msgspec
import pytest

from trade_journal.writer.frames import (
    REQUEST_BYTES_MAX,
    ROW_FRAME_BYTES_MAX,
    ROWS_MAX,
    Append,
    AskRows,
    EncodedRow,
    FrameReader,
    FrameRefused,
    Hello,
    KeepCosigned,
    Status,
    WireRow,
    encoded_row,
    framed,
    framed_rows,
    parse_answer,
    parse_request,
)

ROW = WireRow(at_ns=1, kind="order:intent", fields={"a": 1}, policy_hash=None)


def encoded(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 1000])
def test_frames_are_whole_however_they_arrive(pieces: int) -> None:
    said = [Hello(version=1, origin="x"), Append(number=1, is_urgent=True, rows=[ROW, ROW])]
    data = b"".join(framed(one) for one in said)
    reader = FrameReader(bytes_max=REQUEST_BYTES_MAX)
    heard = [body for start in range(0, len(data), pieces) for body in reader.feed(data[start : start + pieces])]
    assert [parse_request(body) for body in heard] == said


def test_rows_encoded_one_by_one_are_the_same_message() -> None:
    row = encoded_row(at_ns=1, kind="order:intent", fields={"a": 1}, policy_hash=None)
    assert framed_rows([row, row], number=7, is_urgent=False) == framed(
        Append(number=7, is_urgent=False, rows=[ROW, ROW])
    )
    with pytest.raises(FrameRefused, match="cannot be said"):
        encoded_row(at_ns=1, kind="order:intent", fields={"a": object()}, policy_hash=None)


def test_as_many_rows_as_one_message_holds_fit_its_bound() -> None:
    rows = [EncodedRow(encoded("x" * (ROW_FRAME_BYTES_MAX - 3)))] * ROWS_MAX
    assert len(rows[0]) == ROW_FRAME_BYTES_MAX
    assert len(framed_rows(rows, number=2**53, is_urgent=True)) <= REQUEST_BYTES_MAX


def test_frames_before_a_length_out_of_bounds_are_given() -> None:
    reader = FrameReader(bytes_max=100)
    good = framed(Hello(version=1, origin="x"))
    given: list[object] = []
    with pytest.raises(FrameRefused):
        given.extend(parse_request(body) for body in reader.feed(good + good + struct.pack(">I", 0)))
    assert given == [Hello(version=1, origin="x")] * 2


@pytest.mark.parametrize("length", [0, 101, 2**32 - 1])
def test_frame_length_out_of_bounds_is_refused_before_it_is_waited_for(length: int) -> None:
    reader = FrameReader(bytes_max=100)
    with pytest.raises(FrameRefused, match=f"a frame of {length} bytes; at most 100"):
        list(reader.feed(struct.pack(">I", length)))


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"{}",
        encoded(None),
        encoded({"hello": 1}),
        encoded(["hello", 1]),
        encoded(["hello", 1, "x", "more"]),
        encoded(["hello", "1", "x"]),
        encoded(["delete", 1]),
        encoded(["written", [[1, 2]]]),
        encoded(["append", 1, True, []]),
        encoded(["append", 1, True, [[1, "order:intent", {}, None]] * (ROWS_MAX + 1)]),
        encoded(["append", -1, True, [[1, "order:intent", {}, None]]]),
        encoded(["append", 1, 1, [[1, "order:intent", {}, None]]]),
        encoded(["append", 1, True, [[1, "order:intent", {}, None, "actor"]]]),
        encoded(["append", 1, True, [[1, "order:intent", [], None]]]),
        encoded(["append", 1, True, [["1", "order:intent", {}, None]]]),
        encoded(["rows", 1, 0, 1001]),
        encoded(["rows", 1, -1, 10]),
        encoded(["cosigned", b"x" * 20_000]),
        b"\x91" * 100_000 + b"\x00",
        encoded(["append", 1, True, [[1, "order:intent", {"a": 0}, None]]])[:-2] + b"\x91" * 100_000,
    ],
)
def test_bytes_that_are_no_request_are_refused(body: bytes) -> None:
    with pytest.raises(FrameRefused, match="no request"):
        parse_request(body)


def test_a_peer_has_no_word_for_an_actor_a_number_or_a_change() -> None:
    assert WireRow.__struct_fields__ == ("at_ns", "kind", "fields", "policy_hash")
    words = {"hello", "append", "checkpoint", "cosigned", "signed", "rows"}
    known = set()
    for word in [*words, "update", "delete", "replace", "sign", "set", "status"]:
        try:
            parse_request(encoded([word]))
        except FrameRefused as error:
            if "Invalid value" not in str(error.__cause__):
                known.add(word)
    assert known == words


def test_answer_that_is_none_is_refused() -> None:
    with pytest.raises(FrameRefused, match="no answer"):
        parse_answer(encoded(["hello", 1, "x"]))
    status = Status(
        size=1,
        witnessed_size=0,
        is_writable=True,
        emergency_rows=0,
        commits_total=1,
        failures_total=0,
        foreign_writes=0,
        last_failure="",
    )
    assert parse_answer(framed(status)[4:]) == status


@pytest.mark.parametrize("value", ["\ud800", 2**64, object(), 1 + 2j])
def test_what_no_frame_can_say_is_refused(value: object) -> None:
    row = WireRow(at_ns=1, kind="order:intent", fields={"a": value}, policy_hash=None)
    with pytest.raises(FrameRefused, match="cannot be said"):
        framed(Append(number=1, is_urgent=True, rows=[row]))


def test_requests_of_every_sort_survive_the_way() -> None:
    for request in (AskRows(number=2**53, from_seq=0, limit=1000), KeepCosigned(note=b"n")):
        assert parse_request(framed(request)[4:]) == request
