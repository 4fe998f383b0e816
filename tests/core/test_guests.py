"""Room is made for newcomers at the cost of strangers first, and never of the guest who spoke last."""

from __future__ import annotations

import pytest

from trade_core.guests import Guests


def filled(*names: str, most: int) -> Guests[str]:
    guests: Guests[str] = Guests(most=most)
    for name in names:
        assert guests.admit(name) is None
    return guests


def test_guests_below_the_limit_all_stay() -> None:
    guests = filled("a", "b", "c", most=3)
    assert len(guests) == 3


def test_guests_at_the_limit_the_oldest_stranger_goes() -> None:
    guests = filled("a", "b", "c", most=3)
    assert [guests.admit(name) for name in "def"] == ["a", "b", "c"]
    assert len(guests) == 3


def test_guests_far_past_the_limit_strangers_never_crowd_out_a_guest() -> None:
    guests = filled("bot", "a", most=3)
    guests.recognise("bot")
    assert "bot" not in [guests.admit(f"stranger {number}") for number in range(1000)]
    guests.recognise("bot")
    assert len(guests) == 3


def test_guests_only_guests_the_one_silent_longest_goes() -> None:
    guests = filled("a", "b", "c", most=3)
    for name in ("b", "c", "a", "b"):
        guests.recognise(name)
    assert guests.admit("d") == "c"
    # The newcomer is a stranger: the next one takes its place, not another guest's.
    assert guests.admit("e") == "d"


def test_guests_who_left_makes_room() -> None:
    guests = filled("a", "b", most=2)
    guests.recognise("a")
    guests.leave("a")
    assert guests.admit("c") is None
    assert guests.admit("d") == "b"


@pytest.mark.parametrize("is_known", [False, True])
def test_guests_who_left_is_not_recognised_again(is_known: bool) -> None:
    guests = filled("a", most=1)
    if is_known:
        guests.recognise("a")
    assert guests.admit("b") == "a"
    guests.recognise("a")
    assert len(guests) == 1
    guests.leave("a")
    assert guests.admit("c") == "b"
