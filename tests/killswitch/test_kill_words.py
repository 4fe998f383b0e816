"""What a person reads before he touches his key: everything that is destroyed, and nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.warrant import MAX_KILL_WORDS_CHARACTERS
from trade_killswitch.kill_order import Ending
from trade_killswitch.kill_words import LAPSES_CHARACTERS, arm_words, kill_words
from trade_killswitch.working_orders import Category

ENDINGS = {Category.SPOT: Ending.HOLD, Category.LINEAR: Ending.FLATTEN, Category.INVERSE: Ending.HOLD}
BODY = (
    "gateway halted, bot ended, every order cancelled but stops, positions: spot kept open, linear CLOSED, inverse "
    "kept open; {keys}; account frozen when flat; {secrets}. New keys are needed to trade again."
)
TWO = "2 secrets destroyed (gateway, bot) and access to them revoked"


def of_kill(*, keys: Sequence[str] = (), secrets: Sequence[str] = (), is_drill: bool = False) -> str:
    return kill_words(
        account="1002", environment="simulated", endings=ENDINGS, keys=keys, secrets=secrets, is_drill=is_drill
    )


def of_arming(*, keys: Sequence[str] = ("exit",), secrets: Sequence[str] = ()) -> str:
    return arm_words(
        account="1002",
        environment="simulated",
        endings=ENDINGS,
        keys=keys,
        secrets=secrets,
        drawdown=Decimal("0.18"),
    )


def test_words_of_a_kill_name_what_is_stopped_closed_and_destroyed() -> None:
    keys = "every API key of the account deleted, 3 known now: exit, order, watch"
    assert of_kill(keys=("exit", "order", "watch"), secrets=("gateway", "bot")) == (
        "KILL account 1002 (simulated): " + BODY.format(keys=keys, secrets=TWO)
    )


def test_words_of_a_drill_say_that_it_destroys() -> None:
    assert of_kill(is_drill=True) == (
        "DRILL, which destroys as a kill does: account 1002 (simulated): "
        + BODY.format(keys="every API key of the account deleted", secrets="no secrets destroyed")
    )


def test_words_of_arming_say_when_it_comes_and_what_it_does() -> None:
    keys = "every API key of the account deleted, 2 known now: exit, order"
    assert of_arming(keys=("exit", "order"), secrets=("gateway", "bot")) == (
        "ARM an automatic KILL of account 1002 (simulated), until this warrant lapses: at a drawdown of 18.0 %, or an "
        "order or key that nobody knows, confirmed by the executor itself. It is then: "
        + BODY.format(keys=keys, secrets=TWO)
    )


def longest(words: str, *, most: int) -> int:
    """Return how long one more name may be, with the comma before it."""
    return most - len(words) - len(", ")


def test_keys_whose_names_do_not_fit_are_counted_and_the_kill_goes_on() -> None:
    room = longest(of_kill(keys=("a", "b")), most=MAX_KILL_WORDS_CHARACTERS)
    just = of_kill(keys=("a", "b", "k" * room))
    assert len(just) == MAX_KILL_WORDS_CHARACTERS
    assert just.count("k" * room) == 1
    beyond = of_kill(keys=("a", "b", "k" * (room + 1)))
    assert "every API key of the account deleted, 3 known now; account frozen" in beyond


def test_secrets_whose_names_do_not_fit_are_refused_and_never_cut_off() -> None:
    room = longest(of_kill(secrets=("a", "b")), most=MAX_KILL_WORDS_CHARACTERS)
    assert len(of_kill(secrets=("a", "b", "s" * room))) == MAX_KILL_WORDS_CHARACTERS
    for keys in ((), ("exit",)):
        with pytest.raises(ConfigurationError, match="the names of 3 secrets are longer than the words of a warrant"):
            of_kill(keys=keys, secrets=("a", "b", "s" * (room + 1)))


def test_arming_more_than_its_words_hold_is_refused_with_room_for_when_it_lapses() -> None:
    most = MAX_KILL_WORDS_CHARACTERS - LAPSES_CHARACTERS
    room = longest(of_arming(keys=("a", "b")), most=most)
    assert len(of_arming(keys=("a", "b", "k" * room))) == most
    with pytest.raises(NotTrusted, match="do not hold the names of 3 keys"):
        of_arming(keys=("a", "b", "k" * (room + 1)))
    assert len(" It lapses on 2026-11-27 08:12:25 UTC.") <= LAPSES_CHARACTERS == 60
