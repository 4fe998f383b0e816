"""Proofs of a fork: every pair of sizes, and everything that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trade_core.trust.keys import load_private_key, new_private_key
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.fork_proof import PIECES_MAX, fork_proof, proof_evidence, proof_in, proves_fork
from trade_journal.log.note import Verifier
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier

LOG = LogSigner(
    origin="trade/simulated/1002/gateway", private_key=load_private_key(new_private_key()), ring_hash="a" * 64
)
OTHER = LogSigner(origin=LOG.origin, private_key=load_private_key(new_private_key()), ring_hash="a" * 64)
SIZES = [(old, new) for new in range(1, 20) for old in range(1, new + 1)]


def rows(count: int, *, other_from: int | None = None) -> list[bytes]:
    return [
        leaf_hash(f"{number}{'x' if other_from is not None and number >= other_from else ''}".encode())
        for number in range(count)
    ]


def signed(leaves: list[bytes], *, by: LogSigner = LOG) -> bytes:
    return by.sign(Frontier().extended(leaves)).rendered().encode()


def judged(proof: bytes) -> bool:
    return proves_fork(proof, log_of=known)


def known(name: str) -> Verifier:
    if name != LOG.origin:
        raise NoteRefused("another log")
    return LOG.verifier()


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("where", ["first", "last"])
def test_two_histories_are_proved_whichever_row_differs(old: int, new: int, where: str) -> None:
    leaves = rows(new)
    smaller = signed(rows(old, other_from=0 if where == "first" else old - 1))
    proof = fork_proof(smaller=smaller, larger=signed(leaves), leaves=leaves, log=LOG.verifier())
    assert judged(proof)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_log_that_only_grew_cannot_be_accused(old: int, new: int) -> None:
    leaves = rows(new)
    assert fork_proof(smaller=signed(rows(old)), larger=signed(leaves), leaves=leaves, log=LOG.verifier()) == b""
    other = rows(new, other_from=0)
    proof = json.loads(fork_proof(smaller=signed(rows(old)), larger=signed(other), leaves=other, log=LOG.verifier()))
    # The same proof with checkpoints of one history, and with the true root in its place.
    assert not judged(json.dumps({**proof, "larger": signed(leaves).decode()}).encode())
    true_root = Frontier().extended(rows(old)).root().hex()
    assert not judged(json.dumps({**proof, "root": true_root}).encode())


def test_rows_that_the_log_did_not_sign_prove_nothing() -> None:
    smaller, larger = signed(rows(3)), signed(rows(5))
    for leaves in (rows(5, other_from=0), rows(4), rows(6), []):
        assert fork_proof(smaller=smaller, larger=larger, leaves=leaves, log=LOG.verifier()) == b""
    assert fork_proof(smaller=larger, larger=smaller, leaves=rows(3), log=LOG.verifier()) == b""
    assert fork_proof(smaller=signed([]), larger=larger, leaves=rows(5), log=LOG.verifier()) == b""


def test_checkpoint_of_another_key_is_refused() -> None:
    leaves = rows(5)
    with pytest.raises(NoteRefused):
        fork_proof(
            smaller=signed(rows(3, other_from=0), by=OTHER), larger=signed(leaves), leaves=leaves, log=LOG.verifier()
        )
    proof = proved()
    for name, forged in (("smaller", rows(3, other_from=0)), ("larger", rows(5))):
        with pytest.raises(NoteRefused):
            judged(json.dumps({**proof, name: signed(forged, by=OTHER).decode()}).encode())


def proved() -> dict[str, Any]:
    leaves = rows(5)
    proof = fork_proof(smaller=signed(rows(3, other_from=0)), larger=signed(leaves), leaves=leaves, log=LOG.verifier())
    content: dict[str, Any] = json.loads(proof)
    return content


def test_empty_log_is_no_fork() -> None:
    empty = signed([]).decode()
    proof = {**proved(), "smaller": empty, "root": Frontier().root().hex(), "path": []}
    assert not judged(json.dumps(proof).encode())
    assert not judged(json.dumps({**proof, "larger": empty, "root": "00" * 32}).encode())


@pytest.mark.parametrize(
    "changed",
    [
        {"smaller": None},
        {"larger": 7},
        {"root": "zz"},
        {"path": ["zz"]},
        {"path": 7},
        {"smaller": "nonsense"},
        {"smaller": "another\n1\n"},
    ],
)
def test_what_is_no_proof_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(NoteRefused):
        judged(json.dumps({**proved(), **changed}).encode())


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"7", b"[" * 100_000, b"\xff"])
def test_nonsense_is_refused(raw: bytes) -> None:
    with pytest.raises(NoteRefused):
        judged(raw)


def test_path_that_is_cut_or_too_long_proves_nothing() -> None:
    proof = proved()
    for path in ([], proof["path"][:-1], [*proof["path"], "00" * 32], ["00" * 32] * 100_000):
        assert not judged(json.dumps({**proof, "path": path}).encode())


def test_proof_goes_through_the_pieces_of_a_request() -> None:
    leaves = rows(1000)
    proof = fork_proof(
        smaller=signed(rows(999, other_from=0)), larger=signed(leaves), leaves=leaves, log=LOG.verifier()
    )
    evidence = proof_evidence(proof)
    assert judged(proof_in({"detail": "x", **dict(reversed(evidence.items()))}))
    assert all(len(piece) <= 200 for piece in evidence.values())
    assert len(evidence) <= PIECES_MAX
    assert proof_evidence(b"") == {}
    assert proof_evidence(b"x" * 150 * PIECES_MAX).keys() == {f"proof_{number:02}" for number in range(PIECES_MAX)}
    assert proof_evidence(b"x" * (150 * PIECES_MAX + 1)) == {}
    assert proof_in({"detail": "x"}) == b""
    assert proof_in({"proof_00": "no base64!"}) == b""
