"""Checkpoints and cosignatures: believed under the expected keys, and checkable by a stranger's own ten lines."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import (
    Checkpoint,
    check_cosigned,
    cosign,
    open_checkpoint,
    open_cosigned,
    sign_checkpoint,
)
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Note, Verifier, parse_note, sign_text
from trade_journal.log.tree import EMPTY_ROOT

ORIGIN = "trade/simulated/1002/gateway"
WITNESS = "trade/simulated/1002/watchdog"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
LOG = Verifier(name=ORIGIN, kind=ED25519, public=LOG_KEY.public_key())
WATCHDOG = Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key())
AT_S = 1_795_000_000
POINT = Checkpoint(origin=ORIGIN, size=17, root=hashlib.sha256(b"root").digest(), ring_hash="ab" * 32)


def cosigned() -> Note:
    return cosign(sign_checkpoint(POINT, LOG_KEY), name=WITNESS, private_key=WITNESS_KEY, at_s=AT_S)


def test_checkpoint_signed_and_cosigned_is_believed() -> None:
    found = open_cosigned(cosigned().rendered().encode(), log=LOG, witness=WATCHDOG)
    assert (found.checkpoint, found.at_s) == (POINT, AT_S)


def test_checkpoint_is_verified_by_a_stranger_without_our_code() -> None:
    """Check both signatures from the formats' words alone: split, decode, verify."""
    text, _, lines = cosigned().rendered().rpartition("\n\n")
    text += "\n"
    bodies = [base64.b64decode(line.split(" ")[2])[4:] for line in lines.splitlines()]
    LOG_KEY.public_key().verify(bodies[0], text.encode())
    at_s = int.from_bytes(bodies[1][:8], "big")
    WITNESS_KEY.public_key().verify(bodies[1][8:], f"cosignature/v1\ntime {at_s}\n{text}".encode())
    assert text.splitlines()[:3] == [ORIGIN, "17", base64.b64encode(POINT.root).decode()]


def test_checkpoint_like_one_that_was_opened_is_the_same() -> None:
    opened = open_checkpoint(sign_checkpoint(POINT, LOG_KEY).rendered().encode(), log=LOG)
    found, note = open_checkpoint(cosigned().rendered().encode(), log=LOG, like=opened)
    assert (found, note) == (POINT, cosigned())


def test_checkpoint_of_a_believed_text_under_another_signature_is_refused() -> None:
    signed = sign_checkpoint(POINT, LOG_KEY)
    opened = open_checkpoint(signed.rendered().encode(), log=LOG)
    forged = replace(signed, signatures=(replace(signed.signatures[0], body=bytes(64)),))
    with pytest.raises(NoteRefused, match="does not verify"):
        open_checkpoint(forged.rendered().encode(), log=LOG, like=opened)


def test_checkpoint_of_another_text_under_a_believed_signature_is_refused() -> None:
    signed = sign_checkpoint(POINT, LOG_KEY)
    opened = open_checkpoint(signed.rendered().encode(), log=LOG)
    forged = replace(signed, text=replace(POINT, size=18).text())
    with pytest.raises(NoteRefused, match="does not verify"):
        open_checkpoint(forged.rendered().encode(), log=LOG, like=opened)


def test_checkpoint_of_an_empty_log_is_believed() -> None:
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT, ring_hash="0" * 64)
    found, _ = open_checkpoint(sign_checkpoint(empty, LOG_KEY).rendered().encode(), log=LOG)
    assert found == empty


def test_checkpoint_cosignature_moved_to_another_checkpoint_is_refused() -> None:
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=18, root=POINT.root, ring_hash="ab" * 32), LOG_KEY)
    moved = Note(text=other.text, signatures=(*other.signatures, cosigned().signatures[1]))
    with pytest.raises(NoteRefused, match=f"by {WITNESS} does not verify"):
        check_cosigned(moved, witness=WATCHDOG)


def test_checkpoint_cosignature_with_another_time_is_refused() -> None:
    note = cosigned()
    body = (AT_S + 1).to_bytes(8, "big") + note.signatures[1].body[8:]
    forged = Note(
        text=note.text,
        signatures=(note.signatures[0], type(note.signatures[1])(name=WITNESS, key_id=WATCHDOG.key_id, body=body)),
    )
    with pytest.raises(NoteRefused, match="does not verify"):
        check_cosigned(forged, witness=WATCHDOG)


def test_checkpoint_plain_signature_of_the_witness_is_no_cosignature() -> None:
    """A witness's Ed25519 signature over the text has another type, so another key id."""
    note = sign_checkpoint(POINT, LOG_KEY)
    plain = sign_text(note.text, name=WITNESS, private_key=WITNESS_KEY)
    with pytest.raises(NoteRefused, match="0 signatures by"):
        check_cosigned(Note(text=note.text, signatures=(*note.signatures, plain)), witness=WATCHDOG)


def test_checkpoint_without_cosignature_is_refused() -> None:
    with pytest.raises(NoteRefused, match="0 signatures by"):
        open_cosigned(sign_checkpoint(POINT, LOG_KEY).rendered().encode(), log=LOG, witness=WATCHDOG)


def test_checkpoint_by_another_key_is_refused() -> None:
    with pytest.raises(NoteRefused, match="0 signatures by"):
        open_checkpoint(sign_checkpoint(POINT, WITNESS_KEY).rendered().encode(), log=LOG)


def test_checkpoint_of_another_origin_signed_under_this_name_is_refused() -> None:
    text = POINT.text().replace(ORIGIN, "trade/simulated/1003/gateway", 1)
    note = Note(text=text, signatures=(sign_text(text, name=ORIGIN, private_key=LOG_KEY),))
    with pytest.raises(NoteRefused, match="expected 'trade/simulated/1002/gateway'"):
        open_checkpoint(note.rendered().encode(), log=LOG)


ROOT = base64.b64encode(POINT.root).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n17\n{ROOT}\n",
        f"{ORIGIN}\n17\n{ROOT}\nring {'ab' * 31}\n",
        f"{ORIGIN}\n17\n{ROOT}\nring {'ab' * 32}\nmore\n",
        f"{ORIGIN}\n017\n{ROOT}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n-1\n{ROOT}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n\u0661\n{ROOT}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n{2**53}\n{ROOT}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n17\n{ROOT[:-4]}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n17\n{ROOT[:-1]}\nring {'ab' * 32}\n",
        f"{ORIGIN}\n17\n\u0661{ROOT[1:]}\nring {'ab' * 32}\n",
        f"two words\n17\n{ROOT}\nring {'ab' * 32}\n",
    ],
)
def test_checkpoint_of_another_form_is_refused_though_it_is_signed(text: str) -> None:
    raw = Note(text=text, signatures=(sign_text(text, name=ORIGIN, private_key=LOG_KEY),)).rendered().encode()
    with pytest.raises(NoteRefused):
        open_checkpoint(raw, log=LOG)


@pytest.mark.parametrize("at_s", [0, -1, 2**63])
def test_cosign_at_no_time_is_refused(at_s: int) -> None:
    with pytest.raises(ValueError, match="not a time"):
        cosign(parse_note(cosigned().rendered().encode()), name=WITNESS, private_key=WITNESS_KEY, at_s=at_s)


def test_cosignature_without_its_signature_is_refused() -> None:
    note = cosigned()
    short = type(note.signatures[1])(name=WITNESS, key_id=WATCHDOG.key_id, body=bytes(8))
    with pytest.raises(NoteRefused, match="too short"):
        check_cosigned(Note(text=note.text, signatures=(short,)), witness=WATCHDOG)
