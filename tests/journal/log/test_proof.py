"""Proofs of single rows, in the public format, believed for their row alone."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import LogSigner, cosign
from trade_journal.log.note import COSIGNATURE_V1, Verifier
from trade_journal.log.proof import HEADER, RowProof, check_proof, first_over, opened_over, parse_proof
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier, inclusion_proof, root_of
from trade_journal.log.verify import PublicKeys

ORIGIN, WITNESS = "trade/simulated/1002/gateway", "trade/simulated/1002/watchdog"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
LOG = SIGNER.verifier()
KEYS = PublicKeys(log=LOG, witness=None)
WATCHDOG = Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key())
BODIES = [b'{"seq":%d}' % seq for seq in range(21)]
LEAVES = [leaf_hash(body) for body in BODIES]


def note(size: int) -> bytes:
    made = SIGNER.sign(Frontier().extended(LEAVES[:size]))
    return cosign(made, name=WITNESS, private_key=WITNESS_KEY, at_s=1_795_000_000).rendered().encode()


def proof(index: int, size: int = 21) -> RowProof:
    path = inclusion_proof(index, size, lambda first, end: root_of(LEAVES[first:end]))
    return RowProof(body=BODIES[index], index=index, path=tuple(path), note=note(size))


@given(st.integers(0, 20))
def test_proof_written_and_read_back_is_believed(index: int) -> None:
    found = check_proof(parse_proof(proof(index).rendered().encode()), log=LOG, witness=WATCHDOG)
    assert (found.body, found.checkpoint.size, found.witnessed_at_s) == (BODIES[index], 21, 1_795_000_000)


def test_proof_of_the_only_row_has_no_path() -> None:
    assert proof(0, 1).path == ()
    assert check_proof(parse_proof(proof(0, 1).rendered().encode()), log=LOG, witness=None).witnessed_at_s is None


def test_proof_is_checked_by_a_stranger_without_our_code() -> None:
    """Follow the path by hand, as RFC 9162 describes it, from the file's own lines."""
    lines = proof(6).rendered().split("\n")
    assert lines[0] == HEADER
    path = [base64.b64decode(line) for line in lines[3 : lines.index("")]]
    node, last, computed = 6, 20, sha256(b"\x00" + base64.b64decode(lines[1].removeprefix("extra "))).digest()
    for sibling in path:
        if node & 1 or node == last:
            computed = sha256(b"\x01" + sibling + computed).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = sha256(b"\x01" + computed + sibling).digest()
        node, last = node >> 1, last >> 1
    checkpoint = lines[lines.index("") + 1 :]
    assert base64.b64encode(computed).decode() == checkpoint[2]


@pytest.mark.parametrize(
    "forged",
    [
        replace(proof(6), body=BODIES[7]),
        replace(proof(6), index=7),
        replace(proof(6), path=proof(7).path),
        replace(proof(6), note=note(20)),
        replace(proof(6), path=proof(6).path[:-1]),
    ],
)
def test_proof_of_something_else_is_refused(forged: RowProof) -> None:
    with pytest.raises(NoteRefused, match="the path does not lead"):
        check_proof(parse_proof(forged.rendered().encode()), log=LOG, witness=WATCHDOG)


GOOD = proof(6).rendered()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        GOOD.replace("@v1", "@v2"),
        GOOD.replace("index 6", "index 06"),
        GOOD.replace("index 6", "index -6"),
        GOOD.replace("extra ", "extr "),
        GOOD.replace("index 6\n", "index 6\nAAAA\n"),
        GOOD.replace("index 6\n", "index 6\nnot base64\n"),
        GOOD.replace("\n\n", "\n", 1),
        GOOD.replace("index 6\n", "index 6\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 65),
        GOOD.replace("extra ", "extra " + "AAAA" * 3000),
        GOOD + "x" * 70_000,
    ],
)
def test_proof_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        check_proof(parse_proof(text.encode()), log=LOG, witness=None)


def test_proof_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(NoteRefused, match="UTF-8"):
        parse_proof(b"\xff" + GOOD.encode())


def test_first_checkpoint_over_a_row_is_found() -> None:
    notes = [b"", b"nonsense", note(3), note(9), note(21)]
    assert [first_over(notes, index) for index in (0, 2, 3, 8, 9, 20)] == [notes[at] for at in (2, 2, 3, 3, 4, 4)]
    assert first_over(notes, 21) is first_over([], 0) is None
    assert opened_over(note(9), 8, keys=KEYS).size == 9


def test_checkpoint_that_does_not_cover_the_row_is_refused() -> None:
    with pytest.raises(NoteRefused, match="a checkpoint of 9 rows stands where one over row 9 should"):
        opened_over(note(9), 9, keys=KEYS)
    with pytest.raises(NoteRefused):
        opened_over(note(9).replace(b"\n9\n", b"\n99\n"), 9, keys=KEYS)
