"""Signed notes: one form, believed under the key that the caller names and no other."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.errors import NoteRefused
from trade_journal.log.note import (
    ED25519,
    NOTE_BYTES_MAX,
    Note,
    Verifier,
    check_signed,
    parse_note,
    parse_verifier,
    sign_text,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TEXT = "trade/simulated/1002/gateway\n3\nAAAA\n"
# The public key of Go's checksum database, as the go command ships it: the format is not ours alone.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def verifier(key: Ed25519PrivateKey = KEY, *, name: str = "log") -> Verifier:
    return Verifier(name=name, kind=ED25519, public=key.public_key())


def signed(text: str = TEXT) -> Note:
    return Note(text=text, signatures=(sign_text(text, name="log", private_key=KEY),))


def test_note_signed_and_read_back_is_believed() -> None:
    raw = signed().rendered().encode()
    assert raw.startswith(TEXT.encode() + b"\n\xe2\x80\x94 log ")
    note = parse_note(raw)
    assert note == signed()
    check_signed(note, verifier=verifier())


def test_note_with_a_blank_line_in_its_text_is_split_at_the_last_one() -> None:
    text = "one\n\ntwo\n"
    note = parse_note(signed(text).rendered().encode())
    assert note.text == text
    check_signed(note, verifier=verifier())


def test_note_changed_in_its_text_is_refused() -> None:
    raw = signed().rendered().replace("\n3\n", "\n4\n").encode()
    with pytest.raises(NoteRefused, match="does not verify"):
        check_signed(parse_note(raw), verifier=verifier())


@pytest.mark.parametrize("asked", [verifier(OTHER), verifier(name="another")], ids=["other key", "other name"])
def test_note_without_a_signature_of_the_key_asked_for_is_refused(asked: Verifier) -> None:
    with pytest.raises(NoteRefused, match="0 signatures by"):
        check_signed(signed(), verifier=asked)


def test_note_signed_twice_by_one_key_is_refused() -> None:
    once = signed()
    twice = Note(text=once.text, signatures=once.signatures * 2)
    with pytest.raises(NoteRefused, match="2 signatures by"):
        check_signed(twice, verifier=verifier())


def test_note_with_a_stranger_s_signature_beside_ours_is_believed() -> None:
    stranger = sign_text(TEXT, name="stranger", private_key=OTHER)
    note = parse_note(Note(text=TEXT, signatures=(stranger, *signed().signatures)).rendered().encode())
    check_signed(note, verifier=verifier())


GOOD = signed().rendered()


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "text without signatures\n",
        GOOD.rstrip("\n"),
        GOOD.replace("\n\n", "\n"),
        GOOD.replace("\u2014", "-"),
        GOOD + "\n",
        GOOD + "not a signature\n",
        GOOD.replace("\n3\n", "\n3\r\n"),
        GOOD.replace("\n3\n", "\n3\0\n"),
        TEXT + "\n\u2014 log AAAA\n",
        TEXT + "\n\u2014 log AAAAB===\n",
        TEXT + "\n\u2014 two words AAAAAAAA\n",
        TEXT + "\n\u2014 plus+sign AAAAAAAA\n",
        TEXT + "\n" + signed().signatures[0].line() * 17,
        "x" * NOTE_BYTES_MAX + GOOD,
    ],
)
def test_note_of_another_form_is_refused(raw: str) -> None:
    with pytest.raises(NoteRefused):
        parse_note(raw.encode())


def test_note_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(NoteRefused, match="UTF-8"):
        parse_note(b"\xff" + GOOD.encode())


def test_key_text_is_read_back() -> None:
    assert parse_verifier(verifier().text()) == verifier()


def test_key_text_of_another_project_is_read() -> None:
    found = parse_verifier(GO_KEY)
    assert (found.name, found.key_id.hex(), found.text()) == ("sum.golang.org", "033de0ae", GO_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log",
        GO_KEY.replace("033de0ae", "033de0af"),
        GO_KEY.replace("sum.golang.org", "sum.golang.com"),
        GO_KEY[:-4],
        "log+00000000+" + base64.b64encode(b"\x09" + bytes(32)).decode(),
        "a name+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
    ],
)
def test_key_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_verifier(text)
