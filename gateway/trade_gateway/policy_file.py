"""The policy file as it stands on disk at one moment, and what that means beside the policy in force.

Guarantees
- Reading is bounded in bytes and never waits for a writer: a pipe, a device or a folder is no policy file.
- Judging is pure: bytes and the policy in force in, a verdict out.
- A verdict counts once it is settled: seen twice in a row. An editor's half-written save must neither flap nor, cut
  off between two tables, pass for a policy with fewer symbols. Only what is in force already needs no second look.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_gateway.limits_view import require_bounded_loss
from trade_gateway.policy.bounds import COUNTS, MAX_POLICY_BYTES
from trade_gateway.policy.comparison import compare
from trade_gateway.policy.limits import Counts, parse_policy, policy_hash
from trade_gateway.policy.model import Policy

REASON_CHARACTERS = 400


class FileStatus(Enum):
    """What the file says beside the policy in force."""

    NOT_READ = "not_read_yet"
    IN_FORCE = "in_force"
    TIGHTENS = "tightens"
    NEEDS_WARRANT = "needs_warrant"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the file: its bytes, or why there are none."""

    raw: bytes
    problem: str = ""

    @property
    def digest(self) -> str:
        """A name of what was seen."""
        return hashlib.sha256(self.raw + b"\x00" + self.problem.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerdict:
    """What the file means. `policy` is there exactly when it is usable."""

    status: FileStatus
    digest: str = ""
    reason: str = ""
    policy: Policy | None = None
    policy_hash: str | None = None


NOT_READ = FileVerdict(status=FileStatus.NOT_READ, reason="the policy file was not read yet")


def look_at(path: Path) -> Look:
    """Read the file now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return Look(raw=b"", problem=f"the file cannot be read: {error.strerror}")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Look(raw=b"", problem="the file is not a regular one")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return Look(raw=file.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        return Look(raw=b"", problem=f"the file cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def usable_policy(look: Look, *, counts: Counts = COUNTS) -> Policy:
    """Parse what was seen and check that this version may trade with it. Raises ConfigurationError saying why not."""
    if look.problem:
        raise ConfigurationError(f"policy: {look.problem}")
    policy = parse_policy(look.raw, counts=counts)
    require_bounded_loss(policy)
    return policy


def judge_file(look: Look, *, in_force: Policy, in_force_hash: str, counts: Counts = COUNTS) -> FileVerdict:
    """Judge what was seen beside the policy in force."""
    try:
        policy = usable_policy(look, counts=counts)
    except ConfigurationError as error:
        reason = neutralise(str(error), limit=REASON_CHARACTERS)
        return FileVerdict(status=FileStatus.UNUSABLE, digest=look.digest, reason=reason)
    found_hash = policy_hash(policy)
    if found_hash == in_force_hash:
        status = FileStatus.IN_FORCE
    elif compare(in_force, policy).loosened:
        status = FileStatus.NEEDS_WARRANT
    else:
        status = FileStatus.TIGHTENS
    return FileVerdict(status=status, digest=look.digest, policy=policy, policy_hash=found_hash)


class Settling:
    """Tells when a verdict has been seen twice in a row."""

    def __init__(self) -> None:
        self._last: tuple[FileStatus, str] | None = None

    def is_settled(self, verdict: FileVerdict) -> bool:
        """Take the verdict of the newest look."""
        # A file that is unusable in two ways, one after the other, is still being written or simply bad: either way
        # it cannot be used.
        digest = "" if verdict.status is FileStatus.UNUSABLE else verdict.digest
        seen = (verdict.status, digest)
        is_again, self._last = seen == self._last, seen
        return is_again or verdict.status is FileStatus.IN_FORCE


def read_policy(path: Path, *, counts: Counts = COUNTS) -> Policy:
    """Read the policy file. Raises ConfigurationError naming it."""
    try:
        return parse_policy(path.read_bytes(), counts=counts)
    except OSError as error:
        raise ConfigurationError(f"{path}: policy cannot be read: {error.strerror}") from error
    except TradeError as error:
        raise ConfigurationError(f"{path}: {error}") from error
