"""Turns what PostgreSQL and its driver say into the journal's own errors, with a word for rows and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable

_SAID_CHARACTERS: Final = 200
_RIGHTS: Final = ("42501",)  # insufficient_privilege
_FOREIGN: Final = ("3F000", "42P01", "42703")  # no such schema, table, column
_CORRUPT: Final = ("XX001", "XX002")  # data_corrupted, index_corrupted


@contextmanager
def failures_named(place: str) -> Iterator[None]:
    """Raise JournalRefused for rights and foreign tables, JournalDamaged for corrupt data, else JournalUnavailable."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error) as error:
        raise _named(error, place) from error


def _named(error: Exception, place: str) -> JournalUnavailable | JournalRefused:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    words = said_by(cause)
    if state in _RIGHTS:
        return JournalRefused(f"{place}: a right is missing: {words}")
    if state in _FOREIGN:
        return JournalRefused(f"{place}: not a journal of this format: {words}")
    if state in _CORRUPT:
        return JournalDamaged(f"{place}: the server calls its data corrupt: {words}")
    # Without a code the server never got to answer, or is gone.
    word = "connection" if state is None else _snake(type(cause).__name__)
    return JournalUnavailable(f"{place}: {words}", cause=f"postgres_{word}")


def said_by(cause: object) -> str:
    """Repeat what was said with an error."""
    diagnosis = getattr(cause, "diag", None)
    return shown(getattr(diagnosis, "message_primary", None) or str(cause)) or type(cause).__name__


def shown(words: str) -> str:
    """Show a server's words: the first of them, on one line, printable characters only."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else " " for letter in words)
    return re.sub(r" +", " ", plain).strip()[:_SAID_CHARACTERS]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
