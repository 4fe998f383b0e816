"""Journals on the disk with checkpoints and cosigned ones, and bundles changed as a forger can."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.log.checkpoint import LogSigner, cosign
from trade_journal.log.note import COSIGNATURE_V1, Verifier
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.log.verify import PublicKeys
from trade_journal.store.store import JournalStore

ORIGIN, WITNESS = "trade/simulated/1002/gateway", "trade/simulated/1002/watchdog"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER = LogSigner(origin=ORIGIN, private_key=LOG_KEY, ring_hash="ab" * 32)
KEYS = PublicKeys(
    log=SIGNER.verifier(), witness=Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key())
)
AT_S = 1_795_000_000
Change = Callable[[bytes], bytes]


def make_journal(
    path: Path,
    *,
    rows: int,
    signed: Sequence[int] = (),
    cosigned: Sequence[int] = (),
    text: str = "",
    lists: Sequence[str] = (),
) -> Path:
    """Write rows, with checkpoints after some numbers of them, of which some are cosigned too."""
    store = JournalStore.open(f"sqlite:///{path}", origin=ORIGIN)
    kinds = [RowKind.ORDER_INTENT, RowKind.ORDER_OUTCOME]
    for size in sorted({0, *signed, *cosigned, rows}):
        entries = [
            Entry(
                at_ns=AT_S * 10**9 + n,
                kind=kinds[n % 2],
                actor="gateway",
                fields={"n": n, "text": text, "lists": list(lists)},
            )
            for n in range(store.size(), size)
        ]
        if entries:
            store.append([draft(entry) for entry in entries])
        note = SIGNER.sign(store.tree())
        if size in signed:
            store.append_checkpoint(note.rendered().encode())
        if size in cosigned:
            made = cosign(note, name=WITNESS, private_key=WITNESS_KEY, at_s=AT_S + size)
            store.append_cosigned(made.rendered().encode())
    store.close()
    return path


def write_keys(path: Path, keys: PublicKeys = KEYS) -> Path:
    """Write the file of public keys that a stranger has."""
    lines = [key.text() for key in (keys.log, keys.witness) if key is not None]
    path.write_text("\n".join(lines) + "\n")
    return path


def members(bundle: Path) -> dict[str, bytes]:
    """Read every member of a bundle."""
    with zipfile.ZipFile(bundle) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rezip(path: Path, contents: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip file with every checksum right."""
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in contents.items():
            made.writestr(name, content)
    return path


def forged(bundle: Path, changes: Mapping[str, Change]) -> Path:
    """Change members of a bundle, with every checksum right."""
    contents = members(bundle)
    for name, change in changes.items():
        changed = change(contents[name])
        assert changed != contents[name]
        contents[name] = changed
    return rezip(bundle.with_name("forged.zip"), contents)
