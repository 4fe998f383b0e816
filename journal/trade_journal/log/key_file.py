"""Files of public keys: the logs of a deployment's journals and the witness, as C2SP writes them. Pure.

A key a line; `#` begins a comment, and a line that stands there twice counts once, so that files can be put together.
Several journals may be in one file: gateway, watchdog and kill executor have one each.

Guarantees
- A journal is held to its own keys. The witness, which is the watchdog, is no witness of the watchdog's own journal.
- A journal whose keys are not in the file, or whose signers have other keys under the same names, is not called
  tampered with: nothing can be said of it, and what was found and what was expected is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from trade_journal.errors import KeysUnknown, NoteRefused
from trade_journal.log.checkpoint import log_name
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Signature, Verifier, parse_note, parse_verifier
from trade_journal.log.verify import PublicKeys

KEYS_BYTES_MAX: Final = 4096
_NAMED_MAX: Final = 4  # key ids in a message


def parse_key_file(text: str) -> tuple[PublicKeys, ...]:
    """Read the public keys of some journals, each with its logs in their order. Raises NoteRefused.

    Of several logs of a journal each later one is the successor of the one before, and is named so.
    """
    if len(text) > KEYS_BYTES_MAX:
        raise NoteRefused(f"a file of public keys has at most {KEYS_BYTES_MAX} characters")
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    keys = [parse_verifier(line) for line in lines if line and not line.startswith("#")]
    witnesses = [key for key in keys if key.kind == COSIGNATURE_V1]
    journals = _journals([key for key in keys if key.kind == ED25519])
    if not journals or len(witnesses) > 1:
        raise NoteRefused(
            f"{len(journals)} journals with keys, and {len(witnesses)} witnesses; some and at most 1 are needed"
        )
    witness = witnesses[0] if witnesses else None
    return tuple(
        PublicKeys(
            log=logs[-1],
            witness=None if witness is not None and witness.name == journal else witness,
            former=tuple(logs[:-1]),
        )
        for journal, logs in journals.items()
    )


def parse_keys(text: str, *, origin: str | None = None) -> PublicKeys:
    """Read the keys of the journal of a name, or of the only one in a file. Raises NoteRefused, KeysUnknown."""
    journals = parse_key_file(text)
    if origin is not None:
        return keys_of(origin, journals)
    if len(journals) > 1:
        raise NoteRefused(f"keys of {len(journals)} journals; those of one are needed")
    return journals[0]


def keys_of(origin: str, journals: Sequence[PublicKeys]) -> PublicKeys:
    """Give the keys of a journal, by its name or by that of one of its logs. Raises KeysUnknown."""
    for keys in journals:
        if origin in (log.name for log in (*keys.former, keys.log)):
            return keys
    known = ", ".join(f"{keys.log.name!r} ({keys.log.key_id.hex()})" for keys in journals)
    raise KeysUnknown(f"a journal of {origin[:200]!r}; the keys are of {known}")


def check_signers(notes: Iterable[bytes], *, verifiers: Sequence[Verifier]) -> None:
    """Refuse keys under which not one note is signed, while others of the same names signed. Raises KeysUnknown.

    Only names and ids are compared: whether a signature is good, and whether all of them are there, `verify` says.
    """
    ids = {(verifier.name, verifier.key_id) for verifier in verifiers}
    names = {verifier.name for verifier in verifiers}
    strangers: dict[tuple[str, bytes], None] = {}
    for note in notes:
        for one in _signatures(note):
            if (one.name, one.key_id) in ids:
                return
            if one.name in names and len(strangers) < _NAMED_MAX:
                strangers[one.name, one.key_id] = None
    if strangers:
        raise KeysUnknown(f"signed by {_named(strangers)}; the keys given are {_named(sorted(ids))}")


def _signatures(note: bytes) -> Sequence[Signature]:
    try:
        return parse_note(note).signatures
    except NoteRefused:
        return ()  # what is no note, `verify` names


def _named(keys: Iterable[tuple[str, bytes]]) -> str:
    return ", ".join(f"{name} ({key_id.hex()})" for name, key_id in keys)


def _journals(logs: Sequence[Verifier]) -> dict[str, list[Verifier]]:
    """Put the logs of each journal together. Raises NoteRefused for one that follows none of what stands before it."""
    journals: dict[str, list[Verifier]] = {}
    for log in logs:
        journal = next((name for name in journals if (log.name + "/").startswith(name + "/")), None)
        if journal is None:
            journals[log.name] = [log]
        elif log.name == log_name(journal, len(journals[journal]) + 1):
            journals[journal].append(log)
        else:
            raise NoteRefused(f"{log.name!r} is no successor of {journals[journal][-1].name!r}, and another key of it")
    return journals
