"""Which ring may follow the pinned one: the next version, ordered by a person under the one there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from trust_parts import ring_of

from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.succession import check_next_ring, difference, ring_subject
from trade_core.trust.warrant import Warrant, sign_warrant

OPERATOR = load_private_key(new_private_key())
STRANGER = load_private_key(new_private_key())
NOW_MS = 1_800_000_000_000
PINNED = ring_of(STRANGER, version=3, previous_hash="p" * 64, operator_key=public_text(OPERATOR))
NEXT = replace(PINNED, version=4, previous_hash=ring_hash(PINNED), lease_key=public_text(OPERATOR))


def warrant(offered: KeyRing = NEXT, **changed: Any) -> Warrant:
    made = Warrant(
        purpose="ring",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(PINNED),
        subject=ring_subject(PINNED, offered),
        nonce="n",
        words="another lease key",
        expires_at_ms=NOW_MS + 60_000,
    )
    return replace(made, **changed)


def check(offered: KeyRing = NEXT, *, raw: bytes | None = None, now_ms: int = NOW_MS) -> None:
    signed = sign_warrant(warrant(offered), OPERATOR) if raw is None else raw
    check_next_ring(offered, pinned=PINNED, warrant=signed, audience="gateway", now_ms=now_ms)


def said(offered: KeyRing) -> str | None:
    return difference(offered, pinned_hash=ring_hash(PINNED), pinned_version=PINNED.version)


def test_next_ring_that_a_person_ordered_passes() -> None:
    check()


@pytest.mark.parametrize("version", [1, 2, 3, 5, 400])
def test_next_ring_of_another_version_than_the_next_is_refused(version: int) -> None:
    with pytest.raises(NotTrusted, match="does not follow version 3"):
        check(replace(NEXT, version=version))


def test_next_ring_that_does_not_chain_is_refused() -> None:
    with pytest.raises(NotTrusted, match="the one before it"):
        check(replace(NEXT, previous_hash="q" * 64))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deployment", "d2"),
        ("environment", "live"),
        ("account", "1003"),
        ("baseline", baseline_of(taken_at_ms=2)),
    ],
)
def test_next_ring_of_another_house_is_refused(name: str, value: object) -> None:
    with pytest.raises(NotTrusted, match=f"{name} is not that of the pinned ring"):
        check(replace(NEXT, **{name: value}))  # type: ignore[arg-type]


def test_next_ring_with_a_warrant_by_its_own_key_is_refused() -> None:
    usurped = replace(NEXT, operator_key=public_text(STRANGER))
    with pytest.raises(NotTrusted, match="signature"):
        check(usurped, raw=sign_warrant(warrant(usurped), STRANGER))


def test_next_ring_with_a_warrant_for_another_ring_is_refused() -> None:
    other = replace(NEXT, policy_hash="b" * 64)
    with pytest.raises(NotTrusted, match="subject"):
        check(other, raw=sign_warrant(warrant(NEXT), OPERATOR))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("purpose", "release"),
        ("purpose", "policy"),
        ("deployment", "d2"),
        ("environment", "live"),
        ("audience", "watchdog"),
        ("account", "1003"),
        ("ring_hash", "r" * 64),
        ("subject", "ring:2:x"),
    ],
)
def test_next_ring_with_a_warrant_for_something_else_is_refused(name: str, value: str) -> None:
    with pytest.raises(NotTrusted, match=name):
        check(raw=sign_warrant(warrant(**{name: value}), OPERATOR))


@pytest.mark.parametrize("now_ms", [NOW_MS + 60_000, NOW_MS - 5 * 60_000])
def test_next_ring_with_a_warrant_out_of_its_time_is_refused(now_ms: int) -> None:
    with pytest.raises(NotTrusted, match=r"expired|five minutes"):
        check(now_ms=now_ms)


@pytest.mark.parametrize("raw", [b"", b"{}", b"null"])
def test_next_ring_without_a_warrant_is_refused(raw: bytes) -> None:
    with pytest.raises(NotTrusted, match="warrant"):
        check(raw=raw)


def test_difference_of_the_pinned_ring_is_none() -> None:
    assert said(PINNED) is None


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (replace(PINNED, version=2), "version 2 is older than the pinned version 3"),
        (replace(PINNED, policy_hash="b" * 64), "another ring of version 3"),
        (replace(NEXT, previous_hash="q" * 64), "version 4 does not follow"),
        (replace(NEXT, version=5), "version 5 does not follow"),
        (NEXT, "version 4 follows the pinned one, but no warrant orders it"),
    ],
)
def test_difference_names_why_a_ring_is_not_the_pinned_one(offered: KeyRing, reason: str) -> None:
    assert reason in str(said(offered))
