"""A proof of a fork that anybody can check who knows the log's key, and nothing else. Pure.

Two checkpoints that the log signed, of one size or two, and an RFC 6962 consistency proof that the tree of the larger
one begins with another root than the smaller one says. SHA-256 lets a tree begin with one root only, so that the log
has signed two histories, whoever brings the proof and however he came by it.

Guarantees
- Both checkpoints are verified by the log's key, and are of one log. Nothing else in a proof is believed.
- A log that only grew, or served wrong rows that it never signed, cannot be accused: that gives no proof.

As evidence of a request a proof is base64, cut into pieces that a request takes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trade_core.canonical import canonical_json
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import open_checkpoint, said_name
from trade_journal.log.note import Verifier
from trade_journal.log.tree import consistency_proof, is_consistent, root_of

PIECE_CHARACTERS: Final = 200
PIECES_MAX: Final = 30
_PIECE: Final = "proof_"
_PATH_MAX: Final = 128


def fork_proof(*, smaller: bytes, larger: bytes, leaves: Sequence[bytes], log: Verifier) -> bytes:
    """Make a proof from the two checkpoints and the leaves under the larger one; empty when they prove no fork.

    Raises NoteRefused for what the log did not sign.
    """
    old, new = open_checkpoint(smaller, log=log)[0], open_checkpoint(larger, log=log)[0]
    if not 0 < old.size <= new.size == len(leaves) or root_of(leaves) != new.root:
        return b""
    root = root_of(leaves[: old.size])
    if root == old.root:
        return b""
    path = consistency_proof(old.size, new.size, lambda first, end: root_of(leaves[first:end]))
    return canonical_json(
        {
            "smaller": smaller.decode(),
            "larger": larger.decode(),
            "root": root.hex(),
            "path": [node.hex() for node in path],
        }
    )


def proves_fork(raw: bytes, *, log_of: Callable[[str], Verifier]) -> bool:
    """Tell whether a proof shows that a log has signed two histories. Raises NoteRefused for what is no proof.

    `log_of` gives the key of the log that the proof names, or raises NoteRefused for a log that is of no interest.
    """
    try:
        content = json.loads(raw)
        smaller, larger = content["smaller"].encode(), content["larger"].encode()
        root, path = bytes.fromhex(content["root"]), [bytes.fromhex(node) for node in content["path"][:_PATH_MAX]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NoteRefused("what is brought as the proof of a fork is none") from None
    log = log_of(said_name(smaller))
    old, new = open_checkpoint(smaller, log=log)[0], open_checkpoint(larger, log=log)[0]
    begins = is_consistent(old_size=old.size, old_root=root, size=new.size, root=new.root, proof=path)
    return old.size > 0 and begins and root != old.root


def proof_evidence(proof: bytes) -> dict[str, str]:
    """Cut a proof into pieces that a request takes; one that is longer than all of them is left out."""
    text = base64.b64encode(proof).decode("ascii")
    pieces = [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
    if len(pieces) > PIECES_MAX:
        return {}
    return {f"{_PIECE}{number:02}": piece for number, piece in enumerate(pieces)}


def proof_in(evidence: Mapping[str, str]) -> bytes:
    """Join the pieces of a proof again; empty when there are none, or when they are no base64."""
    text = "".join(evidence[name] for name in sorted(evidence) if name.startswith(_PIECE))
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
