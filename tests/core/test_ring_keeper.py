"""The ceremony of key rings in one process: rows first, then the book, and nothing that is refused changes anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, enrolled, ring_of, touch

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.errors import ConfigurationError
from trade_core.ring_keeper import BOOK_FILE, RingKeeper, current_ring, published_rings
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.succession import cancel_subject, next_ring, ring_change, ring_offer, ring_subject
from trade_core.trust.warrant import Warrant

FIRST = ring_of(load_private_key(new_private_key()))
THIRD = FastKey("third")
HOURS_72_NS = 72 * 3600 * NS_PER_S


class House:
    """One process with its folder; `is_writable` is whether its journal is."""

    def __init__(self, folder: Path, *, first: KeyRing = FIRST) -> None:
        self.folder, self.first = folder, first
        self.clock = ManualClock()
        self.rows: list[tuple[str, Mapping[str, Any]]] = []
        self.adopted: list[KeyRing] = []
        self.is_writable = self.is_clock_trusted = True
        self.keeper = self.opened()

    def opened(self) -> RingKeeper:
        async def record(kind: str, fields: Mapping[str, Any]) -> bool:
            if self.is_writable:
                self.rows.append((kind, fields))
            return self.is_writable

        return RingKeeper(
            folder=self.folder,
            first=self.first,
            record=record,
            clock=self.clock,
            is_clock_trusted=lambda: self.is_clock_trusted,
            on_ring=self.adopted.append,
        )

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.rows]

    def order(self, **changed: Any) -> Warrant:
        made = Warrant(
            purpose="ring",
            version=1,
            deployment="d1",
            environment="simulated",
            audience="deployment",
            account="1002",
            ring_hash=ring_hash(self.keeper.ring),
            subject="",
            nonce="n",
            words="a third key",
            expires_at_ms=self.clock.wall_ns() // NS_PER_MS + 60_000,
        )
        return replace(made, **changed)

    def offer(self, *, by: Sequence[FastKey] = KEYS) -> bytes:
        pinned = self.keeper.ring
        change = ring_change(pinned, credentials=[key.credential for key in (*KEYS, THIRD)])
        order = self.order(subject=ring_subject(pinned, next_ring(pinned, change)))
        return ring_offer(change=change, warrant=touch(order, by=by))

    def cancel(self, *, by: Sequence[FastKey] = KEYS[1:]) -> bytes:
        waiting = self.keeper.book.waiting
        assert waiting is not None
        return touch(self.order(subject=cancel_subject(self.keeper.ring, waiting.ring), words="not mine"), by=by)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A process that was just begun."""
    return House(tmp_path)


async def test_ring_by_two_keys_counts_at_once_and_after_a_restart(house: House) -> None:
    answer = await house.keeper.accept(house.offer())
    assert answer == {"ring_hash": ring_hash(house.keeper.ring), "version": 2, "takes_effect_in_s": 0}
    assert house.adopted == [house.keeper.ring]
    assert house.kinds == ["ring:changed"]
    assert house.opened().ring == house.keeper.ring
    assert house.keeper.describe()["version"] == 2
    assert [one["label"] for one in house.keeper.describe()["credentials"]] == ["first", "second", "third"]


async def test_row_of_a_ring_proves_it_where_the_book_was_not_written(house: House) -> None:
    await house.keeper.accept(house.offer())
    (_, fields) = house.rows[0]
    (house.folder / BOOK_FILE).unlink()
    again = house.opened()
    assert again.ring == FIRST
    assert again.recover(fields) == house.keeper.ring == again.ring
    for broken in ({}, {**fields, "change": "text"}, {**fields, "warrant": ["A"]}, {**fields, "warrant": []}):
        assert house.opened().recover(broken) is None


async def test_ring_by_the_bootstrap_code_counts_at_once(tmp_path: Path) -> None:
    code = new_code()
    house = House(
        tmp_path,
        first=replace(
            FIRST,
            credentials=(),
            bootstrap_key=public_text(printed_key(code, purpose="bootstrap")),
            bootstrap_expires_at_ms=2**52,
        ),
    )
    house.clock = ManualClock()
    raw = enrolled(house.first, code)
    order = json.loads(raw)
    assert set(order) == {"change", "warrant", "attestations"}
    with pytest.raises(NotTrusted):  # signed by the clock on the wall, which this house's clock is far behind
        await house.keeper.accept(raw)


async def test_ring_by_one_key_waits_three_days_over_restarts(house: House) -> None:
    answer = await house.keeper.accept(house.offer(by=KEYS[:1]))
    assert (answer["version"], answer["takes_effect_in_s"]) == (1, 259_200)
    assert house.kinds == ["ring:announced"]
    house.clock.advance(HOURS_72_NS - NS_PER_S)
    house.keeper = house.opened()
    await house.keeper.work()
    assert house.keeper.ring == FIRST
    assert house.keeper.describe()["waiting"]["in_s"] == 1
    house.clock.advance(NS_PER_S)
    house.is_clock_trusted = False
    await house.keeper.work()
    assert house.keeper.ring == FIRST
    house.is_clock_trusted = True
    house.is_writable = False
    await house.keeper.work()
    assert house.keeper.ring == FIRST
    house.is_writable = True
    await house.keeper.work()
    assert (house.keeper.ring.version, house.adopted) == (2, [house.keeper.ring])
    assert house.keeper.describe()["waiting"] is None
    await house.keeper.work()
    assert house.kinds == ["ring:announced", "ring:changed"]


async def test_any_key_cancels_a_ring_that_waits(house: House) -> None:
    await house.keeper.accept(house.offer(by=KEYS[:1]))
    answer = await house.keeper.accept(house.cancel())
    assert answer["takes_effect_in_s"] is None
    assert house.kinds == ["ring:announced", "ring:voided"]
    house.clock.advance(HOURS_72_NS)
    await house.keeper.work()
    assert house.opened().book.waiting is None
    assert house.keeper.ring == FIRST


async def test_cancelling_is_refused_to_strangers_and_when_nothing_waits(house: House) -> None:
    await house.keeper.accept(house.offer(by=KEYS[:1]))
    for by in ((THIRD,), (FastKey("stranger"),)):
        with pytest.raises(NotTrusted, match="no security key"):
            await house.keeper.accept(house.cancel(by=by))
    raw = house.cancel()
    await house.keeper.accept(raw)
    with pytest.raises(NotTrusted, match="no ring waits"):
        await house.keeper.accept(raw)


async def test_second_ring_does_not_wait_beside_the_first_and_two_keys_overtake(house: House) -> None:
    await house.keeper.accept(house.offer(by=KEYS[:1]))
    with pytest.raises(NotTrusted, match="another ring waits already"):
        await house.keeper.accept(house.offer(by=KEYS[1:]))
    await house.keeper.accept(house.offer())
    assert (house.keeper.ring.version, house.keeper.book.waiting) == (2, None)


async def test_offer_that_was_taken_is_refused_the_second_time(house: House) -> None:
    raw = house.offer()
    await house.keeper.accept(raw)
    with pytest.raises(NotTrusted):
        await house.keeper.accept(raw)
    assert house.kinds == ["ring:changed", "ring:refused"]
    assert len(house.adopted) == 1


async def test_offer_whose_counter_did_not_rise_is_refused_after_a_restart_too(house: House) -> None:
    raw = house.offer(by=KEYS[:1])
    await house.keeper.accept(raw)
    await house.keeper.accept(house.cancel())
    house.keeper = house.opened()
    with pytest.raises(NotTrusted, match="counter of 'first' did not rise"):
        await house.keeper.accept(raw)


async def test_ring_counts_not_before_its_row_is_durable(house: House) -> None:
    house.is_writable = False
    for by in (KEYS, KEYS[:1]):
        with pytest.raises(NotTrusted, match="journal cannot be written"):
            await house.keeper.accept(house.offer(by=by))
    assert (house.keeper.ring, house.adopted, house.keeper.book.waiting) == (FIRST, [], None)


async def test_ring_counts_not_when_the_book_cannot_be_written(house: House) -> None:
    raw = house.offer()
    (house.folder / BOOK_FILE).mkdir()
    with pytest.raises(NotTrusted, match=r"rings\.json: cannot be written"):
        await house.keeper.accept(raw)
    assert (house.keeper.ring, house.adopted) == (FIRST, [])


async def test_offer_by_an_untrusted_clock_is_refused(house: House) -> None:
    house.is_clock_trusted = False
    with pytest.raises(NotTrusted, match="clock"):
        await house.keeper.accept(house.offer())


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b'{"change":""}', b"x" * 20_000])
async def test_body_that_is_no_offer_is_refused(house: House, raw: bytes) -> None:
    with pytest.raises(NotTrusted, match="ring"):
        await house.keeper.accept(raw)
    assert house.kinds == ["ring:refused"]


def test_kill_goes_on_when_its_counters_are_wrong_or_cannot_be_kept(house: House) -> None:
    kill = open_warrant(touch(house.order(purpose="kill", audience="executor")), ring=FIRST)
    assert house.keeper.check_counters(kill) == ()
    assert house.keeper.check_counters(kill) == ("first",)
    (house.folder / BOOK_FILE).unlink()
    (house.folder / BOOK_FILE).mkdir()
    assert house.keeper.check_counters(kill) == ("first",)
    drill = open_warrant(touch(house.order(purpose="drill", audience="executor")), ring=FIRST)
    with pytest.raises(NotTrusted, match="cannot be written"):
        house.keeper.check_counters(drill)


@pytest.mark.parametrize("content", ["", "{}", "[", '{"changes":[],"counters":{}}', " " * (2 * 1024 * 1024 + 1)])
def test_book_that_proves_nothing_keeps_the_process_from_starting(house: House, content: str) -> None:
    (house.folder / BOOK_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=r"rings\.json: does not prove the key ring"):
        house.opened()


def test_book_that_cannot_be_read_keeps_the_process_from_starting(house: House) -> None:
    (house.folder / BOOK_FILE).mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        house.opened()


async def test_rings_are_published_for_commands_that_draft(house: House, tmp_path: Path) -> None:
    ring_file = tmp_path / "public" / "ring.json"
    ring_file.parent.mkdir()
    ring_file.write_bytes(ring_bytes(FIRST))
    assert current_ring(ring_file) == FIRST
    await house.keeper.accept(house.offer())
    published_rings(house.keeper.book, beside=ring_file)
    assert current_ring(ring_file) == house.keeper.ring
    assert json.loads(ring_file.with_name(BOOK_FILE).read_text())["counters"] == {}
