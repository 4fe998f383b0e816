"""Exports as a person makes them: verified, whole or not at all, and read back by the same commands."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal.bundle_parts import AT_S, KEYS, ORIGIN, WITNESS, make_journal, members, write_keys

from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, EXIT_USAGE, main
from trade_journal.export.bundle import MEMBER_BYTES_MAX, RANGE_MEMBERS, RATIO_MAX, ROWS, WHOLE_MEMBERS
from trade_journal.export.bundle_source import BundleSource
from trade_journal.export.bundle_verify import RangeVerdict, verify_bundle
from trade_journal.export.export import LAYOUTS
from trade_journal.log.verify import PublicKeys, StoredRow
from trade_journal.sources import DatabaseSource

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 30 rows: signed at 5, 12, 20 and 28, and cosigned at 12 and 20."""
    path = tmp_path_factory.mktemp("made") / "journal.db"
    return make_journal(path, rows=30, signed=[5, 12, 20, 28], cosigned=[12, 20])


@pytest.fixture
def journal(made: Path, tmp_path: Path) -> Path:
    """A test's own copy of it."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / made.name


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.txt")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "bundle.zip"


def export(journal: Path, keys: Path, out: Path, *more: str) -> int:
    return main(["export", "--journal", str(journal), "--keys", str(keys), "--out", str(out), *more])


def verdict_of(journal: Path, keys: Path, capsys: Said) -> dict[str, object]:
    capsys.readouterr()
    main(["verify", "--journal", str(journal), "--keys", str(keys), "--json"])
    verdict: dict[str, object] = json.loads(capsys.readouterr().out)
    return verdict


def damaged(journal: Path, statement: str) -> None:
    with closing(sqlite3.connect(journal, isolation_level=None)) as owner:
        triggers = owner.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            owner.execute(f"DROP TRIGGER {name}")
        owner.execute(statement)
        for _, trigger in triggers:
            owner.execute(trigger)


def test_whole_bundle_gives_the_verdict_of_its_journal(journal: Path, keys: Path, out: Path, capsys: Said) -> None:
    assert export(journal, keys, out) == EXIT_GOOD
    assert capsys.readouterr().out.startswith(f"{out}: 30 rows as bundle, of a journal that is\nGOOD  {ORIGIN}\n")
    assert list(members(out)) == list(WHOLE_MEMBERS)
    verdict = verdict_of(out, keys, capsys)
    assert verdict == verdict_of(journal, keys, capsys)
    assert (verdict["is_good"], verdict["signed_rows"], verdict["witnessed_rows"]) == (True, 28, 20)


@pytest.mark.parametrize(("rows", "signed"), [(0, []), (3, []), (0, [0]), (5, [0, 5])])
def test_small_journals_are_exported_whole(
    *, tmp_path: Path, keys: Path, out: Path, capsys: Said, rows: int, signed: list[int]
) -> None:
    journal = make_journal(tmp_path / "small.db", rows=rows, signed=signed)
    assert export(journal, keys, out) == (EXIT_GOOD if signed or not rows else EXIT_UNREADABLE)
    verdict = verdict_of(out, keys, capsys)
    assert verdict == verdict_of(journal, keys, capsys)
    assert (verdict["is_good"], verdict["rows"]) == (bool(signed or not rows), rows)


def test_same_journal_gives_the_same_bytes(journal: Path, keys: Path, out: Path) -> None:
    again = out.with_name("again.zip")
    for more in ([], ["--from", "3", "--to", "25"]):
        assert export(journal, keys, out, *more) == export(journal, keys, again, *more) == EXIT_GOOD
        assert out.read_bytes() == again.read_bytes()
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        out.unlink()
        again.unlink()


def test_range_is_verified_by_its_proofs_and_says_so(journal: Path, keys: Path, out: Path, capsys: Said) -> None:
    assert export(journal, keys, out, "--from", "15", "--to", "24") == EXIT_GOOD
    assert list(members(out)) == list(RANGE_MEMBERS)
    assert verdict_of(out, keys, capsys) == {
        "origin": ORIGIN,
        "is_good": True,
        "is_range": True,
        "first_row": 15,
        "rows": 10,
        "signed_rows": 10,
        "witnessed_rows": 5,
        "witnessed_at_s": AT_S + 20,
        "checkpoints": 2,
        "fault": None,
    }
    assert main(["verify", "--journal", str(out), "--keys", str(keys)]) == EXIT_GOOD
    said = capsys.readouterr().out
    assert "a range: rows 15 to 24; nothing is said of other rows" in said
    assert f"5 witnessed by {WITNESS} at 2026-" in said


@pytest.mark.parametrize(
    ("more", "rows", "witnessed", "checkpoints"),
    [
        (["--to", "19"], 20, 20, 1),
        (["--from", "20"], 8, 0, 1),
        (["--from", "0"], 28, 20, 2),
        (["--from", "19", "--to", "19"], 1, 1, 1),
        (["--from", "27", "--to", "27"], 1, 0, 1),
    ],
)
def test_each_row_of_a_range_is_proven_to_a_cosigned_checkpoint_where_one_covers_it(
    *, journal: Path, keys: Path, out: Path, capsys: Said, more: list[str], rows: int, witnessed: int, checkpoints: int
) -> None:
    assert export(journal, keys, out, *more) == EXIT_GOOD
    verdict = verdict_of(out, keys, capsys)
    found = (verdict["is_good"], verdict["rows"], verdict["witnessed_rows"], verdict["checkpoints"])
    assert found == (True, rows, witnessed, checkpoints)


def test_range_of_several_tiles_is_proven(tmp_path: Path, keys: Path, out: Path, capsys: Said) -> None:
    journal = make_journal(tmp_path / "long.db", rows=3200, signed=[2048, 3100], cosigned=[2048])
    assert export(journal, keys, out, "--from", "1000", "--to", "3099") == EXIT_GOOD
    verdict = verdict_of(out, keys, capsys)
    assert (verdict["is_good"], verdict["rows"], verdict["witnessed_rows"]) == (True, 2100, 1048)


def test_without_a_witness_key_nothing_is_called_witnessed(
    journal: Path, tmp_path: Path, out: Path, capsys: Said
) -> None:
    keys = write_keys(tmp_path / "log-only.txt", PublicKeys(log=KEYS.log, witness=None))
    assert export(journal, keys, out, "--to", "3") == EXIT_GOOD
    verdict = verdict_of(out, keys, capsys)
    assert (verdict["is_good"], verdict["rows"], verdict["witnessed_rows"]) == (True, 4, 0)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--from", "28"], "no checkpoint covers row 28 yet"),
        (["--from", "4", "--to", "29"], "no checkpoint covers row 28 yet"),
        (["--from", "99"], "no checkpoint covers row 99 yet"),
        (["--format", "jsonl", "--to", "30"], "has 30 rows, and no row 30"),
        (["--format", "jsonl", "--from", "30"], "has 30 rows, and no row 30"),
    ],
)
def test_rows_that_are_not_there_or_not_covered_are_refused(
    *, journal: Path, keys: Path, out: Path, capsys: Said, more: list[str], named: str
) -> None:
    assert export(journal, keys, out, *more) == EXIT_UNREADABLE
    assert named in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_range_that_ends_before_it_begins_is_a_usage_error(journal: Path, keys: Path, out: Path) -> None:
    assert export(journal, keys, out, "--from", "5", "--to", "4") == EXIT_USAGE
    assert not out.exists()


def test_file_that_is_there_already_is_not_touched(journal: Path, keys: Path, out: Path, capsys: Said) -> None:
    out.write_text("mine")
    assert export(journal, keys, out) == EXIT_UNREADABLE
    assert "nothing is overwritten" in capsys.readouterr().err
    assert [path.read_text() for path in out.parent.iterdir()] == ["mine"]


def test_link_that_leads_nowhere_is_not_followed(journal: Path, keys: Path, out: Path) -> None:
    out.symlink_to(out.with_name("elsewhere"))
    assert export(journal, keys, out) == EXIT_UNREADABLE
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("layout", ["bundle", "jsonl", "parquet"])
@pytest.mark.parametrize("more", [[], ["--from", "1", "--to", "2"]])
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE rows SET body = replace(body, '\"n\":4', '\"n\":5') WHERE seq = 4", "row 4: its bytes"),
        ("UPDATE rows SET leaf_hash = zeroblob(32) WHERE seq = 29", "row 29: its bytes"),
        ("DELETE FROM rows WHERE seq = 3", "row 3: is missing"),
        ("DELETE FROM rows WHERE seq > 21", "rows 22 to 27: missing: cut off"),
        ("UPDATE checkpoints SET note = x'00'", "checkpoint 0: a note"),
    ],
)
def test_tampered_journal_is_named_and_leaves_nothing_behind(
    *, journal: Path, keys: Path, out: Path, capsys: Said, layout: str, more: list[str], statement: str, named: str
) -> None:
    damaged(journal, statement)
    assert export(journal, keys, out, "--format", layout, *more) == EXIT_TAMPERED
    assert named in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_journal_that_is_missing_and_folder_that_is_missing_are_unreadable(
    journal: Path, keys: Path, out: Path, capsys: Said
) -> None:
    assert export(journal.with_name("missing.db"), keys, out) == EXIT_UNREADABLE
    assert export(journal, keys, out / "nowhere" / "bundle.zip") == EXIT_UNREADABLE
    assert "cannot be written" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_interrupted_export_leaves_nothing_behind(
    journal: Path, keys: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> list[StoredRow]:
        raise KeyboardInterrupt

    monkeypatch.setattr(DatabaseSource, "rows", interrupt)
    for layout in LAYOUTS:
        assert export(journal, keys, out, "--format", layout) == EXIT_UNREADABLE
        assert list(out.parent.iterdir()) == []


def test_journal_that_changes_while_a_range_is_proven_is_found(
    *, journal: Path, keys: Path, out: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = DatabaseSource.rows, iter(range(9))

    def rows(self: DatabaseSource, from_seq: int, limit: int) -> list[StoredRow]:
        page = read(self, from_seq, limit)
        if next(times) >= 2:  # after the pass that verified, to its end
            page[3] = page[3]._replace(leaf_hash=b"x" * 32)
        return page

    monkeypatch.setattr(DatabaseSource, "rows", rows)
    assert export(journal, keys, out, "--to", "11") == EXIT_TAMPERED
    assert "rows 0 to 19: changed while they were read" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_rows_as_alike_as_rows_can_be_are_no_bomb(tmp_path: Path, keys: Path, out: Path, capsys: Said) -> None:
    journal = make_journal(tmp_path / "alike.db", rows=3000, signed=[3000], lists=["a" * 59] * 128)
    for more in ([], ["--from", "0"]):
        assert export(journal, keys, out, *more) == EXIT_GOOD
        with zipfile.ZipFile(out) as bundle:
            info = bundle.getinfo(ROWS)
        assert info.file_size > 8000 * 3000
        assert info.file_size < RATIO_MAX * info.compress_size
        assert verdict_of(out, keys, capsys)["is_good"] is True
        out.unlink()


def test_bundle_that_its_readers_would_refuse_is_not_written(
    *, journal: Path, keys: Path, out: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEMBER_BYTES_MAX, ROWS, 100)
    assert export(journal, keys, out) == EXIT_UNREADABLE
    assert "more than a bundle may hold" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_bundle_beyond_four_gigabytes_has_another_end_and_is_read(
    *, journal: Path, keys: Path, out: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr(zipfile, "ZIP64_LIMIT", 1000)
        assert export(journal, keys, out) == EXIT_GOOD
    assert b"PK\x06\x06" in out.read_bytes()
    assert verdict_of(out, keys, capsys)["is_good"] is True


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_that_checkpoints_cover_is_proven(tmp_path: Path, keys: Path, data: st.DataObject) -> None:
    sizes = data.draw(st.sets(st.integers(1, 40), min_size=1, max_size=5))
    cosigned = data.draw(st.sets(st.sampled_from(sorted(sizes))))
    last = data.draw(st.integers(0, max(sizes) - 1))
    first = data.draw(st.integers(0, last))
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        out = Path(name) / "range.zip"
        journal = make_journal(Path(name) / "journal.db", rows=41, signed=sorted(sizes), cosigned=sorted(cosigned))
        assert export(journal, keys, out, "--from", str(first), "--to", str(last)) == EXIT_GOOD
        with closing(BundleSource(out)) as source:
            verdict = verify_bundle(source, keys=KEYS, advance=lambda _: None)
    assert isinstance(verdict, RangeVerdict)
    expected = max(0, min(last + 1, max(cosigned, default=0)) - first)
    assert (verdict.fault, verdict.first, verdict.rows) == (None, first, last - first + 1)
    assert verdict.witnessed_rows == expected


def test_json_lines_are_what_tail_shows(journal: Path, keys: Path, out: Path, capsys: Said) -> None:
    assert export(journal, keys, out, "--format", "jsonl", "--from", "2", "--to", "29") == EXIT_GOOD
    capsys.readouterr()
    assert main(["tail", "--journal", str(journal), "--rows", "28", "--json"]) == EXIT_GOOD
    assert capsys.readouterr().out == out.read_text()


def test_parquet_has_the_columns_of_tail(journal: Path, keys: Path, out: Path, capsys: Said) -> None:
    assert export(journal, keys, out, "--format", "parquet", "--from", "2", "--to", "29") == EXIT_GOOD
    capsys.readouterr()
    assert main(["tail", "--journal", str(journal), "--rows", "28", "--json"]) == EXIT_GOOD
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    table = pq.read_table(out)
    assert table.column_names == ["seq", "at_ns", "kind", "actor", "fields", "policy_hash", "leaf_hash"]
    assert [{**row, "fields": json.loads(row["fields"])} for row in table.to_pylist()] == rows


def test_parquet_of_several_groups_and_of_no_rows_is_complete(
    tmp_path: Path, keys: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trade_journal.export.parquet.GROUP_ROWS", 1000)
    for rows in (2500, 0):
        journal = make_journal(tmp_path / f"{rows}.db", rows=rows, signed=[rows])
        assert export(journal, keys, out, "--format", "parquet") == EXIT_GOOD
        assert pq.read_table(out).column("seq").to_pylist() == list(range(rows))
        out.unlink()


def test_parquet_without_pyarrow_is_refused(
    journal: Path, keys: Path, out: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trade_journal.export.parquet", None)
    assert export(journal, keys, out, "--format", "parquet") == EXIT_UNREADABLE
    assert "needs pyarrow" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_bundle_is_followed_counted_and_exported_as_its_journal(
    journal: Path, keys: Path, out: Path, capsys: Said
) -> None:
    assert export(journal, keys, out) == EXIT_GOOD
    for command in (
        ["tail", "--rows", "7", "--json", "--kind", "order:intent"],
        ["stats"],
        ["prove", "17", "--keys", str(keys)],
    ):
        said = []
        for where in (journal, out):
            capsys.readouterr()
            assert main([*command, "--journal", str(where)]) == EXIT_GOOD
            said.append(capsys.readouterr().out)
        assert said[0] == said[1] != ""
    again = out.with_name("again.zip")
    assert export(out, keys, again) == EXIT_GOOD
    assert again.read_bytes() == out.read_bytes()


def test_range_gives_out_the_proofs_of_its_rows_only(
    journal: Path, keys: Path, out: Path, tmp_path: Path, capsys: Said
) -> None:
    assert export(journal, keys, out, "--from", "15", "--to", "18") == EXIT_GOOD
    capsys.readouterr()
    assert main(["prove", "17", "--journal", str(out), "--keys", str(keys)]) == EXIT_GOOD
    proof = tmp_path / "row.tlog-proof"
    proof.write_text(capsys.readouterr().out)
    assert main(["check-proof", str(proof), "--keys", str(keys)]) == EXIT_GOOD
    assert re.search("20 rows, witnessed 2026-.*\n  17 2026-", capsys.readouterr().out)
    assert main(["prove", "19", "--journal", str(out), "--keys", str(keys)]) == EXIT_UNREADABLE
    assert "holds no row 19" in capsys.readouterr().err
    assert main(["tail", "--journal", str(out), "--rows", "2"]) == EXIT_GOOD
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["17", "18"]
    assert export(out, keys, out.with_name("again.zip")) == EXIT_UNREADABLE
    assert "only a whole journal is exported" in capsys.readouterr().err


def test_bundle_does_not_grow(journal: Path, keys: Path, out: Path) -> None:
    assert export(journal, keys, out) == EXIT_GOOD
    assert main(["tail", "--journal", str(out), "--follow"]) == EXIT_USAGE
