"""A bundle is checked by others' code: checkpoints and audit paths by sigstore's client, made for another log.

Consistency proofs, which that client does not check, are checked here from the text of RFC 9162. Nothing of this
platform's own code takes part in any check.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from journal.bundle_parts import AT_S, make_journal, members, write_keys
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import LogCheckpoint, SignedCheckpoint
from sigstore.errors import VerificationError

from trade_journal.cli import EXIT_GOOD, main


class Key:
    """A line of the file of public keys (C2SP signed-note), in the place of sigstore's ring of keys."""

    def __init__(self, line: str) -> None:
        self.name, _, rest = line.partition("+")
        identity, _, encoded = rest.partition("+")
        self.identity = bytes.fromhex(identity)
        self._public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])

    def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
        """Check as sigstore asks its ring."""
        assert key_id[:4] == self.identity
        try:
            self._public.verify(signature, data)
        except InvalidSignature as error:
            raise VerificationError("signature") from error


class Cosigner(Key):
    """A witness's key: the signature holds a time, and is over that and the text (C2SP tlog-cosignature)."""

    times: list[int]

    def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
        time = int.from_bytes(signature[:8], "big")
        super().verify(key_id=key_id, signature=signature[8:], data=b"cosignature/v1\ntime %d\n%b" % (time, data))
        self.times = [*getattr(self, "times", []), time]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.txt")


@pytest.fixture
def ring(keys: Path) -> tuple[Key, Cosigner]:
    log, witness = keys.read_text().splitlines()
    return Key(log), Cosigner(witness)


def exported(folder: Path, keys: Path, *more: str) -> dict[str, bytes]:
    journal = make_journal(folder / "journal.db", rows=1500, signed=[5, 12, 1024, 1300, 1499], cosigned=[12, 1300])
    out = folder / "bundle.zip"
    assert main(["export", "--journal", str(journal), "--keys", str(keys), "--out", str(out), *more]) == EXIT_GOOD
    return members(out)


def checkpoints(notes: bytes, *keys: Key) -> list[LogCheckpoint]:
    """Verify every note of a member with every key."""
    blocks = notes.decode().split("\n\n")[:-1]
    found = []
    for text, signatures in zip(blocks[::2], blocks[1::2], strict=True):
        signed = SignedCheckpoint.from_text(f"{text}\n\n{signatures}\n")
        for key in keys:
            signed.signed_note.verify(key, key.identity)
        assert signed.checkpoint.origin == keys[0].name
        found.append(signed.checkpoint)
    return found


def check_inclusion(row: bytes, block: str, checkpoint: LogCheckpoint) -> None:
    header, index, *path = block.split("\n")
    assert header == "c2sp.org/tlog-proof@v1"
    proof = SimpleNamespace(
        log_index=int(index.removeprefix("index ")),
        tree_size=checkpoint.log_size,
        hashes=[base64.b64decode(line) for line in path],
        root_hash=bytes.fromhex(checkpoint.log_hash),
    )
    verify_merkle_inclusion(SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=proof, canonicalized_body=row)))


def check_consistency(old: LogCheckpoint, new: LogCheckpoint, hashes: list[bytes]) -> None:
    """Follow RFC 9162 section 2.1.4.2 step by step."""
    first_hash, second_hash = bytes.fromhex(old.log_hash), bytes.fromhex(new.log_hash)
    if old.log_size & (old.log_size - 1) == 0:
        hashes = [first_hash, *hashes]
    fn, sn = old.log_size - 1, new.log_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        assert sn != 0
        if fn & 1 or fn == sn:
            fr, sr = hashlib.sha256(b"\x01" + c + fr).digest(), hashlib.sha256(b"\x01" + c + sr).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + c).digest()
        fn, sn = fn >> 1, sn >> 1
    assert (fr, sr, sn) == (first_hash, second_hash, 0)


def root(leaves: list[bytes]) -> bytes:
    """Hash a tree as RFC 6962 section 2.1 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(leaves[:middle]) + root(leaves[middle:])).digest()


def consistency_blocks(raw: bytes) -> list[list[str]]:
    return [block.split("\n") for block in raw.decode().split("\n\n")[:-1]]


def test_others_believe_a_whole_bundle(tmp_path: Path, keys: Path, ring: tuple[Key, Cosigner]) -> None:
    log, witness = ring
    bundle = exported(tmp_path, keys)
    signed = checkpoints(bundle["checkpoints.notes"], log)
    assert [point.log_size for point in signed] == [5, 12, 1024, 1300, 1499]
    assert [point.log_size for point in checkpoints(bundle["cosigned.notes"], log, witness)] == [12, 1300]
    assert witness.times == [AT_S + 12, AT_S + 1300]
    leaves = [hashlib.sha256(b"\x00" + line).digest() for line in bundle["rows.jsonl"].splitlines()]
    assert len(leaves) == 1500
    assert all(root(leaves[: point.log_size]).hex() == point.log_hash for point in signed)
    blocks = consistency_blocks(bundle["consistency.proofs"])
    assert len(blocks) == len(signed) - 1
    for old, new, (old_line, new_line, *hashes) in zip(signed[:-1], signed[1:], blocks, strict=True):
        assert (old_line, new_line) == (f"old {old.log_size}", f"new {new.log_size}")
        check_consistency(old, new, [base64.b64decode(line) for line in hashes])


def test_others_believe_every_row_of_a_range_and_no_other_row(
    tmp_path: Path, keys: Path, ring: tuple[Key, Cosigner]
) -> None:
    log, witness = ring
    bundle = exported(tmp_path, keys, "--from", "1000", "--to", "1400")
    [cosigned] = checkpoints(bundle["cosigned.notes"], log, witness)
    [signed] = checkpoints(bundle["checkpoints.notes"], log)
    assert (cosigned.log_size, signed.log_size) == (1300, 1499)
    rows = bundle["rows.jsonl"].splitlines()
    blocks = bundle["inclusion.tlog-proofs"].decode().split("\n\n")[:-1]
    assert len(blocks) == 3 * len(rows) == 3 * 401
    for seq, row in enumerate(rows, start=1000):
        proof, text, _ = blocks[3 * (seq - 1000) : 3 * (seq - 1000) + 3]
        checkpoint = cosigned if seq < 1300 else signed
        assert LogCheckpoint.from_text(text) == checkpoint
        assert proof.split("\n")[1] == f"index {seq}"
        check_inclusion(row, proof, checkpoint)
    with pytest.raises(VerificationError):
        check_inclusion(rows[1], blocks[0], cosigned)
    with pytest.raises(VerificationError):
        check_inclusion(rows[0], blocks[0], signed)


def test_others_do_not_believe_a_checkpoint_that_was_changed(
    tmp_path: Path, keys: Path, ring: tuple[Key, Cosigner]
) -> None:
    notes = exported(tmp_path, keys)["cosigned.notes"]
    for key in ring:
        with pytest.raises(VerificationError):
            checkpoints(notes.replace(b"\n1300\n", b"\n1301\n"), ring[0], key)
