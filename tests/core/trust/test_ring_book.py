"""What a process knows of its key rings, read back and proved again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.ring_book import MAX_CHANGES, Change, RingBook, parse_ring_book, ring_named
from trade_core.trust.succession import (
    RING_WAIT_MS,
    RingOffer,
    next_ring,
    open_ring_offer,
    ring_change,
    ring_offer,
    ring_subject,
)
from trade_core.trust.warrant import Warrant

NOW_MS = 1_800_000_000_000
FIRST = ring_of(load_private_key(new_private_key()))
THIRD, FOURTH = FastKey("third"), FastKey("fourth")


def offer(pinned: KeyRing, *more: FastKey, by: Any = KEYS) -> RingOffer:
    change = ring_change(pinned, credentials=[key.credential for key in (*KEYS, *more)])
    warrant = Warrant(
        purpose="ring",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="deployment",
        account="1002",
        ring_hash=ring_hash(pinned),
        subject=ring_subject(pinned, next_ring(pinned, change)),
        nonce="n",
        words="more keys",
        expires_at_ms=NOW_MS + 60_000,
    )
    raw = ring_offer(change=change, warrant=touch(warrant, by=by))
    return open_ring_offer(raw, pinned=pinned, now_ms=NOW_MS, is_clock_trusted=True)


def proof(made: RingOffer) -> Change:
    return Change(change=made.change, warrant=made.warrant)


SECOND_OFFER = offer(FIRST, THIRD)
BOOK = RingBook(rings=(FIRST,)).touched(SECOND_OFFER.signed).taking(SECOND_OFFER.ring, proof(SECOND_OFFER))
WAITING_OFFER = offer(BOOK.ring, THIRD, FOURTH, by=KEYS[:1])
WAITING = BOOK.announcing(WAITING_OFFER, now_ms=NOW_MS)


def read(book: RingBook, **changed: Any) -> RingBook:
    return parse_ring_book({**json.loads(json.dumps(book.content())), **changed}, first=FIRST)


@pytest.mark.parametrize("book", [RingBook(rings=(FIRST,)), BOOK, WAITING, WAITING.cancelling()])
def test_book_survives_its_plain_form(book: RingBook) -> None:
    assert read(book) == book


def test_book_ends_with_the_ring_that_counts() -> None:
    assert (BOOK.ring, BOOK.rings) == (SECOND_OFFER.ring, (FIRST, SECOND_OFFER.ring))
    assert ring_named(BOOK, ring_hash(FIRST)) == FIRST
    assert ring_named(BOOK, ring_hash(BOOK.ring)) == BOOK.ring
    assert ring_named(BOOK, ring_hash(WAITING_OFFER.ring)) is None


def test_book_keeps_counters_of_keys_that_stay() -> None:
    named = {key.credential.credential_id for key in KEYS}
    assert set(BOOK.counters.content()) == named
    left = replace(SECOND_OFFER.ring, credentials=SECOND_OFFER.ring.credentials[1:])
    assert set(BOOK.taking(left, proof(SECOND_OFFER)).counters.content()) < named


def test_waiting_ring_is_due_after_its_wait_and_not_before() -> None:
    due_at_ms = NOW_MS + RING_WAIT_MS
    assert WAITING.due(now_ms=due_at_ms - 1) is None
    due = WAITING.due(now_ms=due_at_ms)
    assert due is not None
    assert (due.ring, due.due_at_ms) == (WAITING_OFFER.ring, due_at_ms)
    assert WAITING.ring == BOOK.ring
    assert WAITING.cancelling().due(now_ms=due_at_ms) is None
    assert BOOK.due(now_ms=due_at_ms) is None


def test_ring_that_counts_ends_the_wait_of_another() -> None:
    at_once = offer(WAITING.ring, THIRD, FOURTH)
    assert WAITING.taking(at_once.ring, proof(at_once)).waiting is None


def test_book_is_bounded() -> None:
    full = replace(BOOK, proofs=BOOK.proofs * MAX_CHANGES)
    with pytest.raises(NotTrusted, match="200 changes led here already"):
        full.taking(SECOND_OFFER.ring, proof(SECOND_OFFER))
    almost = replace(BOOK, proofs=BOOK.proofs * (MAX_CHANGES - 1))
    assert len(almost.taking(SECOND_OFFER.ring, proof(SECOND_OFFER)).proofs) == MAX_CHANGES == 200


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"more": 1}, "fields"),
        ({"changes": {}}, "changes or counters"),
        ({"counters": []}, "changes or counters"),
        ({"counters": {"a": "b"}}, "sign counters"),
        ({"changes": [1]}, "a change must be an object"),
        ({"changes": [{"change": "AAAA"}]}, "fields"),
        ({"changes": [{"change": "A", "warrant": ""}]}, "not base64"),
        ({"changes": [{"change": "", "warrant": "A"}]}, "not base64"),
        ({"changes": [proof(WAITING_OFFER).content()]}, "ring_hash"),
        ({"changes": [{**proof(SECOND_OFFER).content(), "warrant": ""}]}, "warrant envelope"),
        ({"changes": [proof(SECOND_OFFER).content()] * 2}, "ring_hash|subject"),
        ({"waiting": 1}, "what waits"),
        ({"waiting": {**proof(WAITING_OFFER).content()}}, "what waits"),
        ({"waiting": {**proof(WAITING_OFFER).content(), "due_at_ms": "1"}}, "what waits"),
        ({"waiting": {**proof(WAITING_OFFER).content(), "due_at_ms": True}}, "what waits"),
        ({"waiting": {**proof(SECOND_OFFER).content(), "due_at_ms": 1}}, "ring_hash"),
    ],
)
def test_book_that_does_not_prove_itself_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        read(BOOK, **changed)


@pytest.mark.parametrize("content", [None, [], {}, {"changes": []}])
def test_book_that_is_none_is_refused(content: object) -> None:
    with pytest.raises(NotTrusted, match="ring book"):
        parse_ring_book(content, first=FIRST)
