"""Who may read: whoever can run a command as the console's user gets a code, and the code becomes a session.

Guarantees
- A code is printed at a terminal and stored as a hash; it is good once and for ten minutes.
- A wrong code takes nothing from the right one: whoever can reach the page cannot lock out whoever has the code. No
  guessing finds its 60 random bits: at a hundred thousand tries a second, more than this process answers, ten minutes
  find it once in twenty thousand million times.
- A session is 32 random bytes in a cookie; the console remembers its hash, for twelve hours at most, in memory alone.
- A session reads, tightens and asks for touches. It releases nothing: a warrant does, and the console signs none.

It does not tell apart who asked for a code: every person who may run the command has the same rights.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError
from trade_core.secrets import read_secret_file, write_secret_file

CODE_FILE: Final = "code.json"
CODE_LIFETIME_S: Final = 600
CODE_CHARACTERS: Final = 12
_GROUP: Final = 4
WRONG_ROWS: Final = 5
WRONG_ROWS_EVERY_S: Final = 60
SESSION_LIFETIME_S: Final = 12 * 3600
SESSIONS_MAX: Final = 16
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing in it looks like something else
_LOOKALIKES: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
_ENTERED_MAX: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptCode:
    """What stands on disk of a code: a salted hash, and until when it is good (UTC)."""

    salt: str
    digest: str
    expires_at_ns: int


@unique
class Spent(Enum):
    """What became of an entered code. Without a code that is good, entering one tries nothing."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    NO_CODE = "no_code"


class CodeBook:
    """The one code that is good at a time. A new one takes the place of the one before."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._file = folder / CODE_FILE
        self._clock = clock

    def issue(self) -> str:
        """Make a code of 60 random bits, written in groups of four, and keep its hash. Raises OSError."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_CHARACTERS))
        salt = secrets.token_hex(16)
        self._keep(
            _KeptCode(
                salt=salt,
                digest=_digest(salt, code),
                expires_at_ns=self._clock.wall_ns() + CODE_LIFETIME_S * NS_PER_S,
            )
        )
        return "-".join(code[start : start + _GROUP] for start in range(0, CODE_CHARACTERS, _GROUP))

    def spend(self, entered: str) -> Spent:
        """Tell whether this is the code, which is used up then. A code that cannot be read is none."""
        kept = self._read()
        if kept is None:
            return Spent.NO_CODE
        left_ns = kept.expires_at_ns - self._clock.wall_ns()
        # A clock that was put back must not make a code last longer than it was to last.
        if not 0 < left_ns <= CODE_LIFETIME_S * NS_PER_S:
            self._file.unlink(missing_ok=True)
            return Spent.NO_CODE
        if not hmac.compare_digest(_digest(kept.salt, _plain(entered)), kept.digest):
            return Spent.WRONG
        self._file.unlink(missing_ok=True)
        return Spent.ACCEPTED

    def _keep(self, kept: _KeptCode) -> None:
        write_secret_file(self._file, asdict(kept))

    def _read(self) -> _KeptCode | None:
        try:
            content = read_secret_file(self._file)
        except ConfigurationError:
            return None
        salt, digest, expires_at_ns = content.get("salt"), content.get("digest"), content.get("expires_at_ns")
        if not (isinstance(salt, str) and isinstance(digest, str) and isinstance(expires_at_ns, int)):
            return None
        return _KeptCode(salt=salt, digest=digest, expires_at_ns=expires_at_ns)


def _plain(entered: str) -> str:
    """Read a code as people type it: lower case, with or without the dash, O for 0 and I for 1."""
    return "".join(entered[:_ENTERED_MAX].upper().translate(_LOOKALIKES).replace("-", " ").split())


def _digest(salt: str, code: str) -> str:
    return hashlib.sha256(f"{salt}:{code}".encode("utf-8", "surrogatepass")).hexdigest()


class WrongCodes:
    """Which wrong codes are written down: the first WRONG_ROWS, then one row a minute that counts the others."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._rows = 0
        self._unwritten = 0
        self._written_at_ns = 0

    def note(self) -> int:
        """Note one; returns how many a row is to tell of now, 0 when none is due."""
        now_ns = self._clock.monotonic_ns()
        self._unwritten += 1
        is_due = now_ns - self._written_at_ns >= WRONG_ROWS_EVERY_S * NS_PER_S
        if self._rows >= WRONG_ROWS and not is_due:
            return 0
        told, self._unwritten = self._unwritten, 0
        self._rows, self._written_at_ns = self._rows + 1, now_ns
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser. `name` is what the journal calls it; the cookie cannot be computed from it."""

    name: str
    began_at_ns: int


class Sessions:
    """The browsers that are signed in, at most SESSIONS_MAX; the oldest makes room."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._by_digest: dict[str, Session] = {}

    def begin(self) -> tuple[str, Session]:
        """Begin a session; returns the cookie's value and the session."""
        while len(self._by_digest) >= SESSIONS_MAX:
            del self._by_digest[next(iter(self._by_digest))]
        token = secrets.token_urlsafe(32)
        session = Session(name=f"session-{secrets.token_hex(4)}", began_at_ns=self._clock.monotonic_ns())
        self._by_digest[_token_digest(token)] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """Return the session of a cookie, None for nobody's or one that has lapsed."""
        digest = _token_digest(token)
        session = self._by_digest.get(digest)
        if session is None:
            return None
        if self._clock.monotonic_ns() - session.began_at_ns >= SESSION_LIFETIME_S * NS_PER_S:
            del self._by_digest[digest]
            return None
        return session

    def end(self, token: str) -> None:
        """Forget a session."""
        self._by_digest.pop(_token_digest(token), None)


def _token_digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
