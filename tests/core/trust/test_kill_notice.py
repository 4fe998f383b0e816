"""An automatic kill as it is told: both signatures, this minute, and nothing else latches."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.kill_notice import (
    CLOCKS_APART_MS_MAX,
    NOTICE_AGE_MS_MAX,
    NOTICE_PURPOSE,
    KillNotice,
    check_notice_time,
    is_kill_notice,
    kill_notice,
    open_kill_notice,
)
from trade_core.trust.ring import ring_hash
from trade_core.trust.statement import sign_statement
from trade_core.trust.warrant import MAX_ARMED_MS, Warrant

EXECUTOR = load_private_key(new_private_key())
STRANGER = load_private_key(new_private_key())
RING = ring_of(EXECUTOR)
NOW_MS = 1_800_000_000_000
LAPSES_MS = NOW_MS + 1000


def standing(**changed: Any) -> bytes:
    made = Warrant(
        purpose="arm",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="executor",
        account="1002",
        ring_hash=ring_hash(RING),
        subject="arm:1",
        nonce="n",
        words="ARM",
        expires_at_ms=LAPSES_MS,
    )
    by = changed.pop("by", KEYS[:1])
    return touch(replace(made, **changed), by=by)


def opened(**changed: Any) -> KillNotice:
    return open_kill_notice(kill_notice(standing(**changed), now_ms=NOW_MS, private_key=EXECUTOR), ring=RING)


def test_notice_has_the_bounds_that_were_decided() -> None:
    assert (NOTICE_AGE_MS_MAX, CLOCKS_APART_MS_MAX) == (60_000, 5_000)


def test_notice_of_the_executor_about_a_standing_warrant_is_believed() -> None:
    raw = kill_notice(standing(), now_ms=NOW_MS, private_key=EXECUTOR)
    assert is_kill_notice(raw)
    notice = open_kill_notice(raw, ring=RING)
    assert (notice.at_ms, notice.standing.warrant.words) == (NOW_MS, "ARM")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'"payload"', b"\xff", b"[" * 100_000, standing()])
def test_what_is_no_notice_is_told_by_its_form(raw: bytes) -> None:
    assert not is_kill_notice(raw)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"purpose": "kill"}, "purpose is not"),
        ({"purpose": "disarm"}, "purpose is not"),
        ({"audience": "gateway"}, "audience is not"),
        ({"account": "1003"}, "account is not"),
        ({"ring_hash": "other"}, "ring_hash is not"),
        ({"by": [FastKey("stranger")]}, "security key"),
    ],
)
def test_notice_about_another_warrant_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(NotTrusted, match=why):
        opened(**changed)


def test_notice_that_another_key_signed_is_refused() -> None:
    raw = kill_notice(standing(), now_ms=NOW_MS, private_key=STRANGER)
    with pytest.raises(NotTrusted, match="signature of this kill-notice/v1"):
        open_kill_notice(raw, ring=RING)


def test_notice_that_was_signed_for_something_else_is_refused() -> None:
    content = {"at_ms": NOW_MS, "warrant": base64.b64encode(standing()).decode()}
    with pytest.raises(NotTrusted, match="signature"):
        open_kill_notice(sign_statement(content, EXECUTOR, purpose="kill-evidence/v1"), ring=RING)


def test_notice_without_an_executor_in_the_ring_is_refused() -> None:
    raw = kill_notice(standing(), now_ms=NOW_MS, private_key=EXECUTOR)
    with pytest.raises(NotTrusted, match="kill notice: the key ring names no executor"):
        open_kill_notice(raw, ring=replace(RING, executor_key=""))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"at_ms": NOW_MS}, "kill notice: its fields are not those of a kill notice"),
        ({"at_ms": NOW_MS, "warrant": "AAAA", "more": "x"}, "kill notice: its fields"),
        ({"at_ms": "1", "warrant": "AAAA"}, "kill notice: at_ms must be int"),
        ({"at_ms": NOW_MS, "warrant": 1}, "kill notice: warrant must be str"),
        ({"at_ms": NOW_MS, "warrant": "?"}, "kill notice warrant: not base64"),
        ({"at_ms": NOW_MS, "warrant": "AAAA"}, "warrant envelope"),
    ],
)
def test_notice_of_another_form_is_refused(content: dict[str, Any], why: str) -> None:
    with pytest.raises(NotTrusted, match=why):
        open_kill_notice(sign_statement(content, EXECUTOR, purpose=NOTICE_PURPOSE), ring=RING)


def test_statement_that_is_none_is_named_as_a_kill_notice() -> None:
    with pytest.raises(NotTrusted, match="kill notice: must hold exactly payload and signature"):
        open_kill_notice(json.dumps({"payload": ""}).encode(), ring=RING)


@pytest.mark.parametrize("age_ms", [-CLOCKS_APART_MS_MAX, 0, NOTICE_AGE_MS_MAX])
def test_notice_of_this_minute_counts(age_ms: int) -> None:
    notice = opened(expires_at_ms=NOW_MS + NOTICE_AGE_MS_MAX + 1)
    check_notice_time(notice, now_ms=NOW_MS + age_ms, is_clock_trusted=True)


@pytest.mark.parametrize("age_ms", [-CLOCKS_APART_MS_MAX - 1, NOTICE_AGE_MS_MAX + 1])
def test_notice_of_another_minute_is_refused_by_a_trusted_clock_alone(age_ms: int) -> None:
    notice = opened(expires_at_ms=NOW_MS + 10 * NOTICE_AGE_MS_MAX)
    with pytest.raises(NotTrusted, match=f"made {age_ms} ms ago"):
        check_notice_time(notice, now_ms=NOW_MS + age_ms, is_clock_trusted=True)
    check_notice_time(notice, now_ms=NOW_MS + age_ms, is_clock_trusted=False)


@pytest.mark.parametrize("expires_at_ms", [NOW_MS, NOW_MS + MAX_ARMED_MS + 1])
def test_notice_about_a_warrant_out_of_its_time_is_refused_by_a_trusted_clock_alone(expires_at_ms: int) -> None:
    notice = opened(expires_at_ms=expires_at_ms)
    with pytest.raises(NotTrusted, match=r"expired|ninety days"):
        check_notice_time(notice, now_ms=NOW_MS, is_clock_trusted=True)
    check_notice_time(notice, now_ms=NOW_MS, is_clock_trusted=False)
