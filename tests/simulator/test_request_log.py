"""The request log: gapless numbers, bounded memory."""

from __future__ import annotations

from trade_core.clock import ManualClock
from trade_simulator.request_log import MAX_BODY_CHARACTERS, RequestLog, shown


def test_entries_are_numbered_from_one_and_listed_after_a_number() -> None:
    log = RequestLog(clock=ManualClock(wall_ns=5))
    for path in ("/a", "/b", "/c"):
        log.append(method="GET", path=path)
    assert [entry.n for entry in log.since(0)] == [1, 2, 3]
    assert [entry.path for entry in log.since(2)] == ["/c"]
    assert log.since(3) == []


def test_entry_is_shown_with_the_names_of_the_interface() -> None:
    log = RequestLog(clock=ManualClock(wall_ns=5))
    entry = log.append(method="POST", path="/a", query="x=1", body="{}", key="k")
    assert entry.as_json()["ret_code"] is None
    entry.ret_code = 10001
    assert entry.as_json() == {
        "n": 1, "at_ns": 5, "method": "POST", "path": "/a", "query": "x=1", "body": "{}", "key": "k", "ret_code": 10001,
    }  # fmt: skip


def test_clear_keeps_the_numbering() -> None:
    log = RequestLog(clock=ManualClock())
    log.append(method="GET", path="/a")
    log.clear()
    assert log.append(method="GET", path="/b").n == 2
    assert len(log.since(0)) == 1


def test_log_keeps_the_newest_entries_only() -> None:
    log = RequestLog(clock=ManualClock(), capacity=3)
    for _ in range(5):
        log.append(method="GET", path="/a")
    assert [entry.n for entry in log.since(0)] == [3, 4, 5]


def test_long_body_is_cut() -> None:
    log = RequestLog(clock=ManualClock())
    assert len(log.append(method="POST", path="/a", body="x" * 100_000).body) == MAX_BODY_CHARACTERS


def test_bytes_outside_utf8_stay_visible() -> None:
    assert shown(b"a\xff") == "a\\xff"
