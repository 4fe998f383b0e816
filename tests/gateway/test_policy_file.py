"""Looks at the policy file: bounded, never waiting, and judged beside the policy in force."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gateway.policy.parts import POLICY
from gateway.policy_parts import LOOSER, MIXED, TIGHTER, policy_toml

from trade_core.errors import ConfigurationError
from trade_gateway.policy.bounds import MAX_POLICY_BYTES
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy_file import FileStatus, FileVerdict, Look, Settling, judge_file, look_at, usable_policy


def judged(raw: bytes) -> FileVerdict:
    return judge_file(Look(raw=raw), in_force=POLICY, in_force_hash=policy_hash(POLICY))


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (POLICY, FileStatus.IN_FORCE),
        (TIGHTER, FileStatus.TIGHTENS),
        (LOOSER, FileStatus.NEEDS_WARRANT),
        (MIXED, FileStatus.NEEDS_WARRANT),
    ],
)
def test_file_is_judged_beside_the_policy_in_force(policy: Policy, status: FileStatus) -> None:
    verdict = judged(policy_toml(policy).encode())
    assert (verdict.status, verdict.policy_hash, verdict.reason) == (status, policy_hash(policy), "")


def test_file_that_says_the_same_in_other_words_is_in_force() -> None:
    assert judged(b"# a comment\n" + policy_toml(POLICY).encode()).status is FileStatus.IN_FORCE


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"", "symbols"),
        (policy_toml(POLICY).encode()[:200], "not TOML"),
        (policy_toml(POLICY).replace('collar = "0.003"', 'collar = "0"', 1).encode(), "collar"),
        (policy_toml(replace(POLICY, max_order_notional_usdt=Decimal(1900), leverage=1)).encode() + b"x = 1", "x"),
        (policy_toml(replace(POLICY, stress_gap=Decimal("0.5"))).encode(), "last rung"),
        (b"\xff\xfe", "not TOML"),
        (b"#" * (MAX_POLICY_BYTES + 1), "bytes"),
    ],
)
def test_file_that_cannot_be_used_says_why(raw: bytes, named: str) -> None:
    verdict = judged(raw)
    assert (verdict.status, verdict.policy, verdict.policy_hash) == (FileStatus.UNUSABLE, None, None)
    assert named in verdict.reason
    assert verdict.reason.isprintable()


def test_look_at_a_file_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"x")
    assert look_at(path) == Look(raw=b"x")
    path.write_bytes(b"x" * (2 * MAX_POLICY_BYTES))
    assert len(look_at(path).raw) == MAX_POLICY_BYTES + 1


def test_look_at_what_is_no_file_says_so_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    problems = {name: look_at(tmp_path / name).problem for name in ("none", "pipe", ".")}
    assert problems["none"].startswith("the file cannot be read")
    assert problems["pipe"] == problems["."] == "the file is not a regular one"
    with pytest.raises(ConfigurationError, match="policy: the file cannot be read"):
        usable_policy(look_at(tmp_path / "none"))


def test_look_is_named_by_bytes_and_problem() -> None:
    assert len({Look(raw=b"").digest, Look(raw=b"a").digest, Look(raw=b"", problem="a").digest}) == 3


def test_verdict_settles_when_it_is_seen_twice_in_a_row() -> None:
    settling = Settling()
    tighter, looser = judged(policy_toml(TIGHTER).encode()), judged(policy_toml(LOOSER).encode())
    half, other_half = judged(b"a"), judged(b"b")
    seen = [tighter, tighter, looser, tighter, half, other_half, looser, half]
    assert [settling.is_settled(verdict) for verdict in seen] == [False, True, False, False, False, True, False, False]


def test_verdict_that_the_file_is_in_force_needs_no_second_look() -> None:
    assert Settling().is_settled(judged(policy_toml(POLICY).encode()))


def test_verdict_on_a_changed_tightening_is_not_settled() -> None:
    settling = Settling()
    assert not settling.is_settled(judged(policy_toml(TIGHTER).encode()))
    assert not settling.is_settled(judged(policy_toml(replace(TIGHTER, leverage=1)).encode()))
