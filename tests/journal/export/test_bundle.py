"""Bundles from strangers: what was changed is named, what is no bundle is refused, and nothing is unpacked."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal.bundle_parts import (
    KEYS,
    ORIGIN,
    Change,
    forged,
    make_journal,
    members,
    rezip,
    write_keys,
)

from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, main
from trade_journal.errors import JournalDamaged, JournalError, JournalRefused
from trade_journal.export.bundle import (
    CHECKPOINTS,
    CONSISTENCY,
    COSIGNED,
    FORMAT,
    INCLUSION,
    MANIFEST,
    README,
    ROWS,
    Manifest,
    consistency_block,
    consistency_of,
    lines_of,
    note_block,
    notes_of,
    parse_manifest,
    readme,
)
from trade_journal.export.bundle_source import BundleSource
from trade_journal.export.bundle_verify import verify_bundle
from trade_journal.export.growth import Consistency
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.verify import PublicKeys

Said = pytest.CaptureFixture[str]


class Made:
    """A whole bundle, a range and the public keys, made once and never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = write_keys(folder / "keys.txt")
        journal = make_journal(folder / "journal.db", rows=30, signed=[5, 12, 20, 28], cosigned=[12, 20])
        other = make_journal(folder / "other.db", rows=30, signed=[5, 12, 20, 28], cosigned=[12, 20], text="other")
        self.whole = self._exported(journal, "whole.zip")
        self.range = self._exported(journal, "range.zip", "--from", "15", "--to", "24")
        self.other = self._exported(other, "other.zip")
        self.other_range = self._exported(other, "other-range.zip", "--from", "15", "--to", "24")

    def verify(self, bundle: Path) -> int:
        return main(["verify", "--journal", str(bundle), "--keys", str(self.keys)])

    def _exported(self, journal: Path, name: str, *more: str) -> Path:
        out = self.folder / name
        arguments = ["export", "--journal", str(journal), "--keys", str(self.keys), "--out", str(out), *more]
        assert main(arguments) == EXIT_GOOD
        return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("bundles"))


def emptied(_: bytes) -> bytes:
    return b""


def without_row(number: int) -> Change:
    return lambda rows: b"".join(rows.splitlines(keepends=True)[:number] + rows.splitlines(keepends=True)[number + 1 :])


def swapped_blocks(raw: bytes) -> bytes:
    """Swap the first two of what an empty line ends; of notes, text and signatures are a block each."""
    blocks = raw.split(b"\n\n")
    return b"\n\n".join([*blocks[2:4], *blocks[:2], *blocks[4:]])


def with_count(name: str, count: int) -> Change:
    def change(raw: bytes) -> bytes:
        document = json.loads(raw)
        document.pop("format")
        return Manifest(**{**document, name: count}).rendered()

    return change


def replaced(old: bytes, new: bytes) -> Change:
    return lambda raw: raw.replace(old, new, 1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({ROWS: replaced(b'"n":4,', b'"n":5,')}, "rows 0 to 4: changed, added, removed or swapped"),
        ({ROWS: replaced(b'"n":29,', b'"N":29,')}, "row 29: not a row"),
        ({ROWS: without_row(7)}, "row 7: is missing; the next one is numbered 8"),
        ({ROWS: without_row(29)}, "row 29: missing: cut off; the bundle says that it has 30 rows"),
        ({ROWS: without_row(29), MANIFEST: with_count("rows", 29)}, None),  # no checkpoint vouched for it
        ({ROWS: without_row(28)}, "row 28: is missing"),
        ({ROWS: lambda raw: raw + raw.splitlines(keepends=True)[-1]}, "row 30: "),
        ({ROWS: lambda raw: raw[:-1]}, "rows.jsonl: its last line is cut short"),
        ({ROWS: lambda raw: raw + b"\n"}, "row 30: line b'' is not a row"),
        ({ROWS: lambda raw: b"x" * 20_000 + raw}, "rows.jsonl: a line of 20"),
        ({ROWS: lambda raw: b"x" * 9_000 + raw}, "row 0: line b'xxx"),
        ({CHECKPOINTS: swapped_blocks}, "checkpoint 1: of 5 rows, after one of 12: the log went back"),
        ({COSIGNED: swapped_blocks}, "cosigned checkpoint 1: of 12 rows, after one of 20"),
        ({CHECKPOINTS: replaced(b"\n5\n", b"\n6\n")}, "checkpoint 0: the signature by"),
        ({CHECKPOINTS: lambda raw: raw[:-1]}, "checkpoints.notes: a note that is cut short"),
        ({CHECKPOINTS: emptied}, "checkpoints.notes: 0 checkpoints; the bundle says that it has 4"),
        ({COSIGNED: emptied}, "cosigned.notes: 0 checkpoints; the bundle says that it has 2"),
        ({COSIGNED: lambda _: b"\n".join(b"%d" % n for n in range(9000))}, "cosigned.notes: "),
        ({CONSISTENCY: emptied}, "consistency.proofs: proof 0: is not the one from 5 to 12 rows"),
        ({CONSISTENCY: swapped_blocks}, "consistency.proofs: proof 0: is not the one from 5 to 12 rows"),
        ({CONSISTENCY: lambda raw: raw + b"old 1\nnew 2\n\n"}, "consistency.proofs: one proof too many"),
        ({CONSISTENCY: replaced(b"old 5", b"old 05")}, "expected `old NUMBER`, found b'old 05'"),
        ({CONSISTENCY: replaced(b"=\n", b"\n")}, "its path is not at most 64 hashes"),
        ({CONSISTENCY: replaced(b"new 12\n", b"new 12\n" + b"A" * 43 + b"=\n")}, "does not begin with that of 5"),
        ({CONSISTENCY: lambda raw: raw[:-1]}, "proof 2 is cut short"),
        ({README: replaced(b"NOT from whoever", b"from whoever")}, "README.txt is not the one of this format"),
        ({MANIFEST: replaced(b'"rows": 30', b'"rows": 30.0')}, "manifest.json: not a manifest"),
        ({MANIFEST: replaced(b'"rows": 30', b'"rows": true')}, "manifest.json: not a manifest"),
        ({MANIFEST: replaced(b'"rows": 30', b'"rows": 30, "more": 1')}, "manifest.json: not a manifest"),
        ({MANIFEST: lambda raw: raw + b" "}, "not a manifest in its one form"),
        ({MANIFEST: with_count("first_row", 1)}, "not a manifest in its one form"),
        ({MANIFEST: replaced(b"/1002/", b"/1003/")}, "a bundle of 'trade/simulated/1003/gateway'; the keys are of"),
        ({MANIFEST: replaced(b'"is_range": false', b'"is_range": true')}, "inclusion.tlog-proofs is missing"),
        ({MANIFEST: replaced(b'"is_range": false', b'"is_range": 0')}, "manifest.json: not a manifest"),
    ],
)
def test_whole_bundle_that_was_changed_is_named(
    made: Made, capsys: Said, changes: Mapping[str, Change], named: str | None
) -> None:
    bundle = forged(made.whole, changes)
    assert made.verify(bundle) == (EXIT_GOOD if named is None else EXIT_TAMPERED)
    if named is not None:
        said = capsys.readouterr()
        assert named in said.out + said.err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({ROWS: replaced(b'"n":16,', b'"n":61,')}, "row 16: its proof does not lead from it to the checkpoint of 20"),
        ({ROWS: without_row(3)}, "row 18: is missing; the next one is numbered 19"),
        ({ROWS: without_row(0)}, "row 15: is missing; the next one is numbered 16"),
        ({ROWS: without_row(9)}, "row 24: missing: cut off"),
        ({ROWS: without_row(9), MANIFEST: with_count("rows", 9)}, "a proof of no row"),
        ({ROWS: emptied, MANIFEST: with_count("rows", 0)}, "a proof of no row"),
        (
            {ROWS: emptied, INCLUSION: emptied, MANIFEST: with_count("rows", 0)},
            "a range without rows",
        ),
        ({MANIFEST: with_count("first_row", 14)}, "row 14: is missing; the next one is numbered 15"),
        ({INCLUSION: replaced(b"index 16", b"index 17")}, "row 16: its proof is missing or not in its place"),
        ({INCLUSION: replaced(b"c2sp.org", b"c3sp.org")}, "proof 0 does not begin with 'c2sp.org/tlog-proof@v1'"),
        ({INCLUSION: emptied}, "row 15: its proof is missing"),
        ({INCLUSION: lambda raw: raw[: len(raw) // 2]}, "inclusion.tlog-proofs: "),
        ({INCLUSION: lambda raw: raw.replace(b"\n20\n", b"\n21\n", 1)}, "row 15: its proof ends in a checkpoint"),
        ({INCLUSION: replaced(b"index 15\n", b"index 15\n" + (b"A" * 43 + b"=\n"))}, "row 15: its proof does not lead"),
        ({INCLUSION: replaced(b"index 15\n", b"index 15\n" + (b"A" * 43 + b"=\n") * 64)}, "at most 64 hashes"),
        ({CONSISTENCY: emptied}, "proof 0: is not the one from 20 to 28 rows"),
        ({CHECKPOINTS: emptied, MANIFEST: with_count("checkpoints", 0)}, "one proof too many"),
    ],
)
def test_range_that_was_changed_is_named(made: Made, capsys: Said, changes: Mapping[str, Change], named: str) -> None:
    assert made.verify(forged(made.range, changes)) == EXIT_TAMPERED
    said = capsys.readouterr()
    assert named in said.out + said.err


@pytest.mark.parametrize("name", [ROWS, CHECKPOINTS, COSIGNED, CONSISTENCY, INCLUSION])
@pytest.mark.parametrize("kind", ["whole", "range"])
def test_parts_of_another_journal_by_the_same_keys_are_found(made: Made, capsys: Said, kind: str, name: str) -> None:
    one, other = (made.whole, made.other) if kind == "whole" else (made.range, made.other_range)
    contents = members(one)
    if name not in contents:
        return
    contents[name] = members(other)[name]
    assert made.verify(rezip(made.folder / "mixed.zip", contents)) == EXIT_TAMPERED
    assert "TAMPERED" in capsys.readouterr().out


def test_bundle_by_another_key_is_not_believed(made: Made, tmp_path: Path, capsys: Said) -> None:
    private_key = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
    stranger = LogSigner(origin=ORIGIN, private_key=private_key, ring_hash="ab" * 32).verifier()
    keys = write_keys(tmp_path / "stranger.txt", PublicKeys(log=stranger, witness=KEYS.witness))
    for bundle in (made.whole, made.range):
        assert main(["verify", "--journal", str(bundle), "--keys", str(keys)]) == EXIT_UNREADABLE
        assert f"signed by {ORIGIN} ({KEYS.log.key_id.hex()})" in capsys.readouterr().err


@pytest.mark.parametrize("name", [README, ROWS, CHECKPOINTS, COSIGNED, CONSISTENCY, INCLUSION, MANIFEST])
def test_missing_member_is_named(made: Made, capsys: Said, name: str) -> None:
    contents = members(made.range)
    del contents[name]
    assert made.verify(rezip(made.folder / "missing.zip", contents)) == EXIT_TAMPERED
    assert f"{name} is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["more.txt", "../../etc/passwd", "/etc/passwd", "rows.jsonl/", "x" * 3000])
def test_member_that_has_no_place_is_named_and_nothing_is_unpacked(made: Made, capsys: Said, name: str) -> None:
    before = sorted(made.folder.iterdir())
    bundle = rezip(made.folder / "more.zip", {**members(made.whole), name: b"x"})
    assert made.verify(bundle) == EXIT_TAMPERED
    assert "has no place in a bundle" in capsys.readouterr().err
    bundle.unlink()
    assert sorted(made.folder.iterdir()) == before


def test_inclusion_proofs_in_a_whole_bundle_have_no_place(made: Made, capsys: Said) -> None:
    contents = members(made.whole)
    manifest = contents.pop(MANIFEST)
    bundle = rezip(made.folder / "more.zip", {**contents, INCLUSION: b"", MANIFEST: manifest})
    assert made.verify(bundle) == EXIT_TAMPERED
    assert "too many, or not in its place" in capsys.readouterr().err


def test_member_that_is_there_twice_is_found(made: Made, capsys: Said) -> None:
    contents = members(made.whole)
    bundle = made.folder / "twice.zip"
    rezip(bundle, contents)
    with zipfile.ZipFile(bundle, "a", zipfile.ZIP_DEFLATED) as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr(ROWS, b"")
    assert made.verify(bundle) == EXIT_TAMPERED
    assert "is there twice" in capsys.readouterr().err


def test_bundle_of_a_newer_format_is_unreadable(made: Made, capsys: Said) -> None:
    bundle = forged(made.whole, {MANIFEST: replaced(FORMAT.encode(), b"trade-journal-bundle/2")})
    assert made.verify(bundle) == EXIT_UNREADABLE
    assert f"'trade-journal-bundle/2'; this version reads {FORMAT}" in capsys.readouterr().err


def test_stored_members_are_unreadable(made: Made, capsys: Said) -> None:
    bundle = rezip(made.folder / "stored.zip", members(made.whole), compression=zipfile.ZIP_STORED)
    assert made.verify(bundle) == EXIT_UNREADABLE
    assert "not deflated" in capsys.readouterr().err


def test_bomb_is_refused_before_it_is_inflated(made: Made, capsys: Said) -> None:
    contents = {**members(made.whole), ROWS: b"\n" * 50_000_000}
    assert made.verify(rezip(made.folder / "bomb.zip", contents)) == EXIT_UNREADABLE
    assert "a bomb" in capsys.readouterr().err


def test_member_of_absurd_size_is_refused(made: Made, capsys: Said) -> None:
    assert made.verify(forged(made.whole, {MANIFEST: lambda raw: raw + b" " * 5000})) == EXIT_UNREADABLE
    assert "at most 4096" in capsys.readouterr().err


@pytest.mark.parametrize("size", [10, 10**9])
def test_member_that_lies_about_its_size_is_found(made: Made, capsys: Said, size: int) -> None:
    """Change the sizes that the directory promises; a small one cuts the rows, a large one is no ratio of a row's."""
    raw = bytearray(made.whole.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(ROWS.encode()))
    raw[at + 24 : at + 28] = struct.pack("<L", size)
    bundle = made.folder / "lies.zip"
    bundle.write_bytes(raw)
    assert made.verify(bundle) in (EXIT_TAMPERED, EXIT_UNREADABLE)
    said = capsys.readouterr()
    assert "Bad CRC" in said.out + said.err or "a bomb" in said.err


def test_directory_of_absurd_size_is_refused_before_it_is_read(made: Made, capsys: Said) -> None:
    contents = {f"{number}": b"" for number in range(500)}
    assert made.verify(rezip(made.folder / "many.zip", contents)) == EXIT_UNREADABLE
    assert "not a bundle: 500 members" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 66_000, 66_000, 4_000_000, 0), "66000 members"),
        (struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 6, 6, 2**40, 0), "listed in 1099511627776 bytes"),
        (b"\x00" * 56, "its zip64 end is not in its place"),
    ],
)
def test_large_directory_behind_a_small_end_is_refused(made: Made, capsys: Said, record: bytes, named: str) -> None:
    raw = made.whole.read_bytes()
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(raw) - 22, 1)
    bundle = made.folder / "zip64.zip"
    bundle.write_bytes(raw[:-22] + record + locator + raw[-22:])
    assert made.verify(bundle) == EXIT_UNREADABLE
    assert named in capsys.readouterr().err


def test_zip_that_is_none_is_unreadable(made: Made, capsys: Said) -> None:
    for content in (b"", b"PK\x03\x04", b"PK\x03\x04" + b"\x00" * 500, b"text" * 100):
        path = made.folder / "none.zip"
        path.write_bytes(content)
        assert made.verify(path) == EXIT_UNREADABLE
        assert "not a bundle" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["whole", "range"])
def test_bundle_that_is_cut_short_anywhere_is_named(made: Made, capsys: Said, kind: str) -> None:
    raw = (made.whole if kind == "whole" else made.range).read_bytes()
    for length in {*range(30, len(raw), 97), len(raw) - 1}:
        path = made.folder / "cut.zip"
        path.write_bytes(raw[:length])
        assert made.verify(path) == EXIT_UNREADABLE
        assert "cut short" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["whole", "range"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_byte_that_was_changed_is_never_a_traceback_and_never_another_good_verdict(
    made: Made, kind: str, data: st.DataObject
) -> None:
    bundle = made.whole if kind == "whole" else made.range
    raw = bytearray(bundle.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = made.folder / f"changed-{kind}.zip"
    path.write_bytes(raw)
    try:
        found = BundleSource(path)
    except JournalError:
        return
    try:
        verdict = verify_bundle(found, keys=KEYS, advance=lambda _: None)
    except JournalError:
        return
    finally:
        found.close()
    assert not verdict.is_good or members(path) == members(bundle)


@given(
    st.lists(
        st.builds(
            Consistency,
            old_size=st.integers(0, 2**53 - 1),
            size=st.integers(0, 2**53 - 1),
            path=st.lists(st.binary(min_size=32, max_size=32), max_size=64).map(tuple),
        ),
        max_size=4,
    ),
    st.integers(1, 300),
)
def test_consistency_proofs_are_read_as_they_were_written(proofs: list[Consistency], chunk: int) -> None:
    raw = b"".join(map(consistency_block, proofs))
    chunks = (raw[at : at + chunk] for at in range(0, len(raw), chunk))
    assert list(consistency_of(lines_of(chunks, member=CONSISTENCY))) == proofs


def test_notes_are_read_as_they_were_written(made: Made) -> None:
    raw = members(made.whole)[CHECKPOINTS]
    notes = list(notes_of(lines_of([raw], member=CHECKPOINTS), member=CHECKPOINTS))
    assert b"".join(map(note_block, notes)) == raw


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4) | st.binary())
def test_manifest_that_is_none_is_refused(value: object) -> None:
    raw = value if isinstance(value, bytes) else json.dumps({"format": value}).encode()
    with pytest.raises((JournalRefused, JournalDamaged)):
        parse_manifest(raw)


def test_text_for_people_belongs_to_the_format() -> None:
    """Whoever changes the text changes the format's number too, since readers refuse another text."""
    texts = readme(is_range=False), readme(is_range=True)
    assert FORMAT.endswith("/1")
    assert [crc32(text) for text in texts] == [2162662058, 3063770180]
    assert all(len(line) <= 120 for text in texts for line in text.decode().splitlines())
