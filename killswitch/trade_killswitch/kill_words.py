"""What a kill does, in words that a person reads before he touches his key. Pure.

Guarantees
- Everything that is destroyed is said, and nothing is cut off: every secret by its name, every key that is known by its
  id. What does not fit is refused where it can be mended: names of secrets at the executor's start, keys when arming.
- An order to kill is never refused for its words: where the ids of the keys do not fit it says how many there are, and
  that all of them go.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.warrant import MAX_KILL_WORDS_CHARACTERS
from trade_killswitch.kill_order import Ending, Endings

LAPSES_CHARACTERS: Final = 60
"""Whoever drafts a standing warrant adds when it lapses."""
_WHAT: Final = {Ending.HOLD: "kept open", Ending.FLATTEN: "CLOSED"}


def kill_words(
    *, account: str, environment: str, endings: Endings, keys: Sequence[str], secrets: Sequence[str], is_drill: bool
) -> str:
    """Say what is stopped, closed and destroyed, as plain text that a warrant takes.

    Raises ConfigurationError when the names of the secrets alone are too long.
    """
    what = "DRILL, which destroys as a kill does:" if is_drill else "KILL"
    head = f"{what} account {account} ({environment}): "
    for said in (_named(keys), _counted(keys)):
        text = head + _deeds(endings=endings, keys=said, secrets=secrets)
        if len(text) <= MAX_KILL_WORDS_CHARACTERS:
            return text
    raise ConfigurationError(
        f"the names of {len(secrets)} secrets are longer than the words of a warrant; name fewer, or shorten them"
    )


def arm_words(
    *,
    account: str,
    environment: str,
    endings: Endings,
    keys: Sequence[str],
    secrets: Sequence[str],
    drawdown: Decimal,
) -> str:
    """Say what is armed, and what it does when it comes. Raises NotTrusted when there is more than a warrant takes."""
    text = (
        f"ARM an automatic KILL of account {account} ({environment}), until this warrant lapses: at a drawdown of "
        f"{drawdown * 100:.1f} %, or an order or key that nobody knows, confirmed by the executor itself. It is then: "
        + _deeds(endings=endings, keys=_named(keys), secrets=secrets)
    )
    if len(text) > MAX_KILL_WORDS_CHARACTERS - LAPSES_CHARACTERS:
        raise NotTrusted(f"the words of a warrant do not hold the names of {len(keys)} keys; delete those not in use")
    return text


def _deeds(*, endings: Endings, keys: str, secrets: Sequence[str]) -> str:
    positions = ", ".join(f"{category.value} {_WHAT[ending]}" for category, ending in endings.items())
    destroyed = "no secrets destroyed"
    if secrets:
        destroyed = f"{len(secrets)} secrets destroyed ({', '.join(secrets)}) and access to them revoked"
    return (
        f"gateway halted, bot ended, every order cancelled but stops, positions: {positions}; {keys}; account frozen "
        f"when flat; {destroyed}. New keys are needed to trade again."
    )


def _named(keys: Sequence[str]) -> str:
    if not keys:
        return "every API key of the account deleted"
    return f"every API key of the account deleted, {len(keys)} known now: {', '.join(keys)}"


def _counted(keys: Sequence[str]) -> str:
    return f"every API key of the account deleted, {len(keys)} known now"
