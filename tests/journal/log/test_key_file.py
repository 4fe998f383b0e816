"""Files of public keys: each journal is held to its own, and others' keys say nothing of it."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal.writing import KEYS, ORIGIN, SIGNER, WITNESS, WITNESS_KEY, cosigned

from trade_journal.errors import KeysUnknown, NoteRefused
from trade_journal.log.key_file import check_signers, keys_of, parse_key_file, parse_keys
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Verifier
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import PublicKeys

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
EXECUTOR = "trade/simulated/1002/executor"
NOTE = SIGNER.sign(Frontier()).rendered().encode()
assert KEYS.witness is not None


def log(name: str, key: Ed25519PrivateKey = OTHER_KEY) -> Verifier:
    return Verifier(name=name, kind=ED25519, public=key.public_key())


def text(*keys: Verifier) -> str:
    return "".join(f"# a key\n{key.text()}\n" for key in keys)


ALL = text(KEYS.log, KEYS.witness, log(f"{ORIGIN}/2"), log(EXECUTOR), log(WITNESS))


def test_each_journal_of_a_file_has_its_own_keys() -> None:
    gateway, executor, watchdog = parse_key_file(ALL)
    assert gateway == PublicKeys(log=log(f"{ORIGIN}/2"), witness=KEYS.witness, former=(KEYS.log,))
    assert executor == PublicKeys(log=log(EXECUTOR), witness=KEYS.witness)
    assert parse_keys(ALL, origin=EXECUTOR) == executor
    assert keys_of(ORIGIN, parse_key_file(ALL)) == keys_of(f"{ORIGIN}/2", parse_key_file(ALL)) == gateway
    assert watchdog.log == log(WITNESS)


def test_witness_is_none_of_its_own_journal() -> None:
    assert parse_keys(ALL, origin=WITNESS).witness is None


def test_files_put_together_say_the_same() -> None:
    assert parse_key_file(ALL + "\n" + ALL) == parse_key_file(ALL)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("", "0 journals with keys"),
        (text(KEYS.witness), "0 journals with keys, and 1 witnesses"),
        (
            text(KEYS.log, KEYS.witness, Verifier(name="w", kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key())),
            "1 journals with keys, and 2 witnesses",
        ),
        (text(KEYS.log, log(ORIGIN)), "is no successor of"),
        (text(KEYS.log, log(f"{ORIGIN}/3")), "is no successor of"),
        (text(KEYS.log, log(f"{ORIGIN}/2"), log(f"{ORIGIN}/2", WITNESS_KEY)), "is no successor of"),
        ("nonsense", "nonsense"),
        ("#" * 4097, "at most 4096 characters"),
    ],
)
def test_file_of_another_form_is_refused(file: str, said: str) -> None:
    with pytest.raises(NoteRefused, match=said):
        parse_key_file(file)


def test_longest_file_is_read() -> None:
    assert parse_keys(KEYS.log.text() + "\n" + "#" * (4095 - len(KEYS.log.text()))).log == KEYS.log


def test_only_one_journal_goes_without_its_name() -> None:
    assert parse_keys(text(KEYS.log)) == PublicKeys(log=KEYS.log, witness=None)
    with pytest.raises(NoteRefused, match="keys of 3 journals; those of one are needed"):
        parse_keys(ALL)


def test_journal_of_other_keys_is_named_with_those_that_are_there() -> None:
    with pytest.raises(KeysUnknown) as refused:
        keys_of("trade/live/7/gateway", parse_key_file(ALL))
    said = str(refused.value)
    assert said.startswith("a journal of 'trade/live/7/gateway'; the keys are of ")
    assert f"'{EXECUTOR}' ({log(EXECUTOR).key_id.hex()})" in said
    assert f"'{ORIGIN}/2' ({log(f'{ORIGIN}/2').key_id.hex()})" in said


def test_absurd_name_is_cut() -> None:
    with pytest.raises(KeysUnknown) as refused:
        keys_of("x" * 5000, parse_key_file(ALL))
    assert "x" * 200 in str(refused.value)
    assert "x" * 201 not in str(refused.value)


def test_signers_of_the_same_names_with_other_keys_are_named() -> None:
    with pytest.raises(KeysUnknown) as refused:
        check_signers([b"nonsense", NOTE], verifiers=[log(ORIGIN)])
    assert str(refused.value) == (
        f"signed by {ORIGIN} ({KEYS.log.key_id.hex()}); the keys given are {ORIGIN} ({log(ORIGIN).key_id.hex()})"
    )
    assert KEYS.witness is not None
    other = Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=OTHER_KEY.public_key())
    with pytest.raises(KeysUnknown, match=f"signed by {WITNESS} \\({KEYS.witness.key_id.hex()}\\)"):
        check_signers([cosigned(NOTE)], verifiers=[other])


def test_one_note_by_a_known_key_among_strangers_is_for_verify_to_judge() -> None:
    strange = NOTE.replace(NOTE.split(b" ")[-1][:6], b"AAAAAA")
    check_signers([strange, NOTE], verifiers=[KEYS.log])
    check_signers([NOTE, strange], verifiers=[log(f"{ORIGIN}/2"), KEYS.log])


@pytest.mark.parametrize("notes", [[], [b"nonsense"], [NOTE]])
def test_nothing_by_any_of_the_names_is_for_verify_to_judge(notes: list[bytes]) -> None:
    check_signers(notes, verifiers=[log("another/name")])


def test_few_of_many_strange_keys_are_named() -> None:
    notes = [NOTE]
    for number in range(10):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        verifier = log(ORIGIN, key)
        notes.append(
            b"text\n\n\xe2\x80\x94 " + f"{ORIGIN} ".encode() + base64.b64encode(verifier.key_id + b"0" * 64) + b"\n",
        )
    with pytest.raises(KeysUnknown) as refused:
        check_signers(notes, verifiers=[log(ORIGIN)])
    assert str(refused.value).count(f"{ORIGIN} (") == 5
