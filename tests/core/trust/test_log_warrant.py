"""Log warrants: number, size and root in the subject, the names of the ring, the operator's signature, a bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from trust_parts import FastKey, ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.log_warrant import FIRST_LOG, MAX_LOG_WARRANT_BYTES, log_subject, open_log_warrant
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant

KEY = load_private_key(new_private_key())
ROOT = "0123456789abcdef" * 4
RING = ring_of(KEY)
WARRANT = Warrant(
    purpose="log",
    version=1,
    deployment="d1",
    environment="simulated",
    audience="gateway",
    account="1002",
    ring_hash=ring_hash(RING),
    subject=log_subject(number=2, size=1234, root=ROOT),
    nonce="n",
    words="the disk is gone",
    expires_at_ms=1,
)


def test_log_warrant_opens_to_what_it_names_whenever_it_expired() -> None:
    found = open_log_warrant(touch(WARRANT), ring=RING)
    assert (found.number, found.size, found.root, found.warrant) == (2, 1234, ROOT, WARRANT)


def test_subject_is_the_words_that_are_signed() -> None:
    assert log_subject(number=3, size=7, root="ab") == "log:3:7:ab"
    assert FIRST_LOG == 1


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "release"},
        {"purpose": "policy"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"audience": "watchdog"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"subject": "latch:7"},
        {"subject": f"log:2:1234:{ROOT}\n"},
        {"subject": f"log:2:1234:{ROOT.upper()}"},
        {"subject": f"log:2:1234:{ROOT[:-1]}"},
        {"subject": f"log:0:1234:{ROOT}"},
        {"subject": f"log:10000:1234:{ROOT}"},
        {"subject": f"log:2:0:{ROOT}"},
        {"subject": f"log:2:12345678901234567:{ROOT}"},
        {"subject": f"log:2:\u0661:{ROOT}"},
    ],
)
def test_log_warrant_that_names_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted):
        open_log_warrant(touch(replace(WARRANT, **change)), ring=RING)


@pytest.mark.parametrize("subject", [f"log:9999:1234567890123456:{ROOT}", f"log:1:1:{ROOT}"])
def test_log_warrant_at_its_bounds_opens(subject: str) -> None:
    assert open_log_warrant(touch(replace(WARRANT, subject=subject)), ring=RING).root == ROOT


def test_log_warrant_of_a_stranger_is_refused() -> None:
    with pytest.raises(NotTrusted, match="no security key"):
        open_log_warrant(touch(WARRANT, by=[FastKey("stranger")]), ring=RING)


def test_log_warrant_is_bounded_before_it_is_read() -> None:
    raw = touch(WARRANT)
    with pytest.raises(NotTrusted, match="warrant envelope: not in its one canonical form"):
        open_log_warrant(raw.ljust(MAX_LOG_WARRANT_BYTES), ring=RING)
    with pytest.raises(NotTrusted, match="log warrant: 3073 bytes, at most 3072"):
        open_log_warrant(raw.ljust(MAX_LOG_WARRANT_BYTES + 1), ring=RING)


def test_log_warrant_says_what_is_wrong_with_its_subject() -> None:
    raw = touch(replace(WARRANT, subject="log"))
    with pytest.raises(NotTrusted) as raised:
        open_log_warrant(raw, ring=RING)
    assert str(raised.value) == "log warrant: subject does not name a log, and the rows that it goes on from"
