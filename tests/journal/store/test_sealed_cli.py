"""`trade-journal` over sealed segments: the journal in use, the folder alone, and what is said of a missing one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from journal.store.sealed import Sealable
from journal.store.test_segments import Break, cut_off, put_anothers, remove_second, swap_first_two, without_triggers
from journal.writing import KEYS

from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sealable:
    """Three segments of three rows, and two rows in use, the last of which nobody cosigned."""
    made = Sealable(path=tmp_path_factory.mktemp("made") / "journal.db")
    for _ in range(3):
        made.sealed(3)
    made.grow(1)
    made.vouch()
    made.grow(1)
    return made


@pytest.fixture
def journal(made: Sealable, tmp_path: Path) -> Sealable:
    """A test's own copy of it."""
    return made.copied_to(tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    assert KEYS.witness is not None
    path = tmp_path / "public-keys.txt"
    path.write_text(f"{KEYS.log.text()}\n{KEYS.witness.text()}\n")
    return str(path)


def test_verify_spans_the_segments(journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--journal", str(journal.path), "--keys", keys, "--json"]) == EXIT_GOOD
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["rows"], verdict["signed_rows"], verdict["witnessed_rows"], verdict["checkpoints"]) == (
        11,
        10,
        10,
        8,
    )


def test_folder_of_segments_is_verified_by_itself(
    journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--journal", str(journal.archive), "--keys", keys, "--json"]) == EXIT_GOOD
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["rows"], verdict["witnessed_rows"]) == (9, 9)


def test_archive_elsewhere_is_named(journal: Sealable, keys: str, tmp_path: Path) -> None:
    journal.archive.rename(tmp_path / "cold")
    command = ["verify", "--journal", str(journal.path), "--keys", keys]
    assert main(command) == EXIT_UNREADABLE
    assert main([*command, "--archive", str(tmp_path / "cold")]) == EXIT_GOOD


@pytest.mark.parametrize(
    ("breaks", "code_and_words"),
    [
        (remove_second, (EXIT_UNREADABLE, "the sealed segment of rows 3 to 5 is missing")),
        (cut_off, (EXIT_TAMPERED, "cut off")),
        (swap_first_two, (EXIT_TAMPERED, "another segment")),
        (put_anothers, (EXIT_TAMPERED, "a segment of another journal")),
    ],
)
def test_verify_names_the_segment_that_does_not_join(
    journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str], breaks: Break, code_and_words: tuple[int, str]
) -> None:
    code, said = code_and_words
    breaks(journal.segments())
    for where in (journal.path, journal.archive):
        assert main(["verify", "--journal", str(where), "--keys", keys]) == code
        told = capsys.readouterr().err
        assert said in told
        assert "rows-0000000000000003-0000000000000006.db" in told


def test_row_changed_in_a_segment_is_named(
    journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:

    without_triggers(
        journal.segments()[1], "UPDATE rows SET body = CAST(replace(body, 'this', 'that') AS BLOB) WHERE seq = 4"
    )
    assert main(["verify", "--journal", str(journal.path), "--keys", keys]) == EXIT_TAMPERED
    assert "row 4: its bytes do not have the leaf hash beside them" in capsys.readouterr().out


def test_rows_of_segments_are_shown_counted_and_proven(
    journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = ["--journal", str(journal.path)]
    assert main(["tail", *where, "--rows", "8", "--json"]) == EXIT_GOOD
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == list(range(3, 11))
    assert main(["stats", *where, "--json"]) == EXIT_GOOD
    assert json.loads(capsys.readouterr().out)["rows"] == 11
    proof = tmp_path / "row.tlog-proof"
    for row in (0, 4, 9):
        assert main(["prove", str(row), *where, "--keys", keys]) == EXIT_GOOD
        proof.write_text(capsys.readouterr().out)
        assert main(["check-proof", str(proof), "--keys", keys]) == EXIT_GOOD
        assert "10 rows, witnessed" not in capsys.readouterr().err


def test_bundle_of_a_sealed_journal_needs_no_segment(
    journal: Sealable, keys: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bundle = str(tmp_path / "journal.zip")
    assert main(["export", "--journal", str(journal.path), "--keys", keys, "--out", bundle]) == EXIT_GOOD
    shutil.rmtree(journal.archive)
    capsys.readouterr()
    assert main(["verify", "--journal", bundle, "--keys", keys, "--json"]) == EXIT_GOOD
    assert json.loads(capsys.readouterr().out)["rows"] == 11
    assert main(["export", "--journal", str(journal.path), "--keys", keys, "--out", bundle + "2"]) == EXIT_UNREADABLE
    assert not Path(bundle + "2").exists()
