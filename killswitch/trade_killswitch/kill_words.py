"""What a kill does, in words that a person reads before he touches his key. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trade_killswitch.kill_order import Ending, Endings

WORDS_CHARACTERS_MAX: Final = 400
"""As many as a warrant takes."""
_WHAT: Final = {Ending.HOLD: "kept open", Ending.FLATTEN: "CLOSED"}


def kill_words(
    *, account: str, environment: str, endings: Endings, keys: int, secrets: Sequence[str], is_drill: bool
) -> str:
    """Say what is stopped, closed and destroyed. At most WORDS_CHARACTERS_MAX characters of plain text."""
    what = "DRILL, which destroys as a kill does:" if is_drill else "KILL"
    positions = ", ".join(f"{category.value} {_WHAT[ending]}" for category, ending in endings.items())
    destroyed = f"{len(secrets)} secrets destroyed ({', '.join(secrets)})" if secrets else "no secrets destroyed"
    counted = f"all {keys} API keys" if keys else "every API key"
    text = (
        f"{what} account {account} ({environment}): gateway halted, bot ended, every order cancelled but stops, "
        f"positions: {positions}; {counted} of the account deleted, account frozen when flat; {destroyed}. "
        "New keys are needed to trade again."
    )
    return text[:WORDS_CHARACTERS_MAX]
