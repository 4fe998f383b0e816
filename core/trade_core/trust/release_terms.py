"""What must be true before a latch is lifted, as a person signs it: the end of the words of a release. Pure.

    after a halt   ...; cause: TEXT
    after a kill   ...; cause: TEXT; decision: TEXT; drill: NAME; order key: ID; exit key: ID

The terms stand in the words because these are what the person is shown, what the touch signs and what is announced.
Gateway and watchdog read them there, each by itself, so that no page or command can leave them out.

Guarantees
- A release without a cause lifts nothing. After a kill it lifts nothing either without the decision about the ladder,
  the drill that passed, and the keys that are used from then on.
- Neither of these keys may be one that was in use when it was killed, and they are two.

Not judged here: whether a drill of that name took place elsewhere, and whether the decision is a wise one. Who signs
says so with his name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from trade_core.trust.keys import NotTrusted
from trade_core.trust.warrant import MAX_WORDS_CHARACTERS

KILLED: Final = "KILLED"
TEXT_LEAST: Final = 3
CAUSE_CHARACTERS: Final = 120
AFTER_KILL_CHARACTERS: Final = 80
"""Of cause and decision each after a kill: the words must hold both, the rungs and three names besides."""
NAME_CHARACTERS: Final = 32
WHY_CHARACTERS: Final = 120
"""Of why it is held, as whoever drafts a release cuts it; less where the rest needs the room."""
_NAME: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{NAME_CHARACTERS}}}", re.ASCII)
_AFTER_HALT: Final = re.compile(r".*; cause: ([^;]+)")
_AFTER_KILL: Final = re.compile(
    r".*; cause: ([^;]+); decision: ([^;]+); drill: ([^;]+); order key: ([^;]+); exit key: ([^;]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillTerms:
    """What is said besides after a kill. `drill` names the one that passed, `order_key` and `exit_key` are ids."""

    decision: str
    drill: str
    order_key: str
    exit_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms:
    """What a person says to be true. `after_kill` is None after a mere halt."""

    cause: str
    after_kill: KillTerms | None = None


def release_words(*, ceiling: str, why: str, rungs: Iterable[str], terms: ReleaseTerms) -> str:
    """Write the words of a release. `why` it is held is plain text, of which as much is told as has room.

    Raises ValueError naming what is wrong with the terms.
    """
    _check_written(terms)
    named = ", ".join(rungs)
    head = f"release {ceiling}" + (f" and re-base the rungs {named}" if named else "")
    end = f"; cause: {terms.cause}"
    if terms.after_kill is not None:
        said = terms.after_kill
        end += f"; decision: {said.decision}; drill: {said.drill}"
        end += f"; order key: {said.order_key}; exit key: {said.exit_key}"
    room = MAX_WORDS_CHARACTERS - len(head) - len(" (held because: )") - len(end)
    return f"{head} (held because: {why[: max(0, room)]}){end}"


def read_release_terms(words: str, *, is_killed: bool) -> ReleaseTerms:
    """Read what a person signed to be true. Raises NotTrusted naming what is missing or wrong."""
    found = (_AFTER_KILL if is_killed else _AFTER_HALT).fullmatch(words)
    if found is None:
        needed = "cause, decision, drill, order key and exit key" if is_killed else "a cause"
        raise NotTrusted(f"release: its words do not end with {needed}")
    after_kill = None
    if is_killed:
        after_kill = KillTerms(decision=found[2], drill=found[3], order_key=found[4], exit_key=found[5])
    terms = ReleaseTerms(cause=found[1], after_kill=after_kill)
    try:
        _check_written(terms)
    except ValueError as error:
        raise NotTrusted(f"release: {error}") from None
    return terms


def check_release_terms(words: str, *, ceiling: str, killed_keys: Collection[str]) -> ReleaseTerms:
    """Check that a person said all that a release of this latch needs, and that no killed key is used on.

    `killed_keys` are the ids that the latch's row names. Raises NotTrusted.
    """
    terms = read_release_terms(words, is_killed=ceiling == KILLED)
    said = terms.after_kill
    if said is None:
        return terms
    if not killed_keys:
        raise NotTrusted("release: the row of the kill names no key that it killed; kill again, which writes one")
    for role, key in (("order", said.order_key), ("exit", said.exit_key)):
        if key in killed_keys:
            raise NotTrusted(f"release: the {role} key {key} is one that was killed")
    return terms


def killed_keys_of(fields: Mapping[str, object]) -> frozenset[str]:
    """Read from a latch's row which keys it killed; none of a row that names them in another form."""
    found = fields.get("killed_keys")
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list | tuple) else frozenset()


def _check_written(terms: ReleaseTerms) -> None:
    said = terms.after_kill
    most = CAUSE_CHARACTERS if said is None else AFTER_KILL_CHARACTERS
    _check_text("cause", terms.cause, most=most)
    if said is None:
        return
    _check_text("decision", said.decision, most=most)
    for what, name in (("drill", said.drill), ("order key", said.order_key), ("exit key", said.exit_key)):
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{what}: must be 1 to {NAME_CHARACTERS} letters, digits, _, ., : or -")
    if said.order_key == said.exit_key:
        raise ValueError("exit key: must be another one than the order key")


def _check_text(what: str, text: str, *, most: int) -> None:
    if not TEXT_LEAST <= len(text.strip()) <= len(text) <= most:
        raise ValueError(f"{what}: must be {TEXT_LEAST} to {most} characters")
    if ";" in text or not text.isprintable():
        raise ValueError(f"{what}: must be plain text without a semicolon")
