"""`trade-journal` as a person calls it: verdicts with their exit codes, rows, proofs and counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal.outsider import Outsider
from sqlalchemy import Executable, delete, insert, select, update

from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNCOVERED, EXIT_UNREADABLE, EXIT_USAGE, main
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.sources import DatabaseSource
from trade_journal.store.schema import CHECKPOINTS, ROWS
from trade_journal.store.store import JournalStore

ORIGIN = "trade/simulated/1002/gateway"
SIGNER = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
Make = Callable[..., Entry]


@pytest.fixture
def journal(journal_url: str, reader_url: str, entry: Make) -> str:
    """Write twelve rows, with a checkpoint after the tenth; named as a person who may only read would."""
    store = JournalStore.open(journal_url, origin=ORIGIN)
    kinds = [RowKind.ORDER_INTENT, RowKind.ORDER_OUTCOME]
    entries = [entry(at_ns=1_795_000_000_000_000_000 + n, kind=kinds[n % 2], fields={"n": n}) for n in range(12)]
    store.append([draft(one) for one in entries[:10]])
    store.append_checkpoint(SIGNER.sign(store.tree()).rendered().encode())
    store.append([draft(one) for one in entries[10:]])
    store.close()
    return reader_url


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "public-keys.txt"
    path.write_text(f"# the gateway's log\n{SIGNER.verifier().text()}\n")
    return path


def test_verify_good_journal_says_who_vouches_for_what(
    journal: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_GOOD
    said = capsys.readouterr().out
    assert said.startswith(f"GOOD  {ORIGIN}\n  12 rows, root ")
    assert "10 signed by the log, in 1 checkpoints" in said
    assert "0 no witness's key was given; 12 unwitnessed" in said


def test_verify_takes_a_file_s_path_and_prints_json(
    sqlite_url: str, keys: Path, entry: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    store.append([draft(entry()) for _ in range(12)])
    store.append_checkpoint(SIGNER.sign(store.tree()).rendered().encode())
    store.append([draft(entry())])
    store.close()
    assert (
        main(["verify", "--journal", sqlite_url.removeprefix("sqlite:///"), "--keys", str(keys), "--json"]) == EXIT_GOOD
    )
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["is_good"], verdict["rows"], verdict["signed_rows"]) == (True, 13, 12)


def test_verify_row_edited_is_named(
    journal: str, outsider: Outsider, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outsider.edit_body(4, b'"n":4', b'"n":5')
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    assert "row 4: its bytes" in capsys.readouterr().out


FIFTH = select(ROWS.c.body).where(ROWS.c.seq == 5).scalar_subquery()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (update(ROWS).where(ROWS.c.seq == 11).values(leaf_hash=bytes(32)), "row 11: its bytes"),
        (update(ROWS).where(ROWS.c.seq == 4).values(body=FIFTH), "row 4: its bytes"),
        (delete(ROWS).where(ROWS.c.seq == 3), "row 3: is missing"),
        (delete(ROWS).where(ROWS.c.seq > 8), "row 9: missing: cut off"),
        (update(CHECKPOINTS).values(note=b"nonsense"), "checkpoint 0:"),
    ],
    ids=str,
)
def test_verify_tampered_journal_names_the_first_bad_row(
    *,
    journal: str,
    outsider: Outsider,
    keys: Path,
    capsys: pytest.CaptureFixture[str],
    statement: Executable,
    named: str,
) -> None:
    outsider.tamper(statement)
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    said = capsys.readouterr().out
    assert said.startswith("TAMPERED")
    assert named in said


def test_verify_rows_swapped_is_tampered(
    journal: str, outsider: Outsider, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for old, new in ((6, 100), (7, 6), (100, 7)):
        outsider.tamper(update(ROWS).where(ROWS.c.seq == old).values(seq=new))
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    assert "row 6: its bytes are of another row" in capsys.readouterr().out


def test_verify_without_the_triggers_is_tampered(
    journal: str, outsider: Outsider, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outsider.drop_trigger("rows")
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    assert "triggers" in capsys.readouterr().err


def test_verify_a_missing_journal_is_unreadable(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--journal", str(tmp_path / "missing.db"), "--keys", str(keys)]) == EXIT_UNREADABLE
    assert "no journal there" in capsys.readouterr().err


def test_verify_what_is_no_journal_is_unreadable(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.db").write_bytes(b"not a database at all, but a text" * 40)
    assert main(["verify", "--journal", str(tmp_path / "text.db"), "--keys", str(keys)]) == EXIT_UNREADABLE
    assert "not a SQLite database" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "nonsense\n", ""])
def test_verify_with_keys_that_are_none_is_unreadable_and_names_the_file(
    journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "other-keys.txt"
    if content is not None:
        path.write_text(content)
    assert main(["verify", "--journal", journal, "--keys", str(path)]) == EXIT_UNREADABLE
    assert "other-keys.txt" in capsys.readouterr().err


STRANGER = LogSigner(origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(32)), ring_hash="ab" * 32)
ELSEWHERE = LogSigner(origin="trade/live/7/gateway", private_key=SIGNER.private_key, ring_hash="ab" * 32)


@pytest.mark.parametrize("command", ["verify", "prove", "export"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (STRANGER, f"signed by {ORIGIN} ({SIGNER.verifier().key_id.hex()}); the keys given are {ORIGIN} ("),
        (ELSEWHERE, f"a journal of '{ORIGIN}'; the keys are of 'trade/live/7/gateway' ("),
    ],
    ids=["another key", "another journal"],
)
def test_keys_of_others_are_named_and_not_taken_for_tampering(
    *, journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, other: LogSigner, said: str
) -> None:
    keys = tmp_path / "other.txt"
    keys.write_text(other.verifier().text())
    more = {"verify": [], "prove": ["3"], "export": ["--out", str(tmp_path / "out.zip")]}[command]
    assert main([command, *more, "--journal", journal, "--keys", str(keys)]) == EXIT_UNREADABLE
    found = capsys.readouterr()
    assert (found.out, said in found.err) == ("", True)
    assert other.verifier().key_id.hex() in found.err


def test_checkpoint_by_another_key_among_known_ones_is_tampering(
    journal: str, outsider: Outsider, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = STRANGER.sign(Frontier()).rendered().encode()
    outsider.tamper(insert(CHECKPOINTS).values(number=1, size=10, note=strange, tree=b""))
    assert main(["verify", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    assert f"there are some by other keys of that name: {STRANGER.verifier().key_id.hex()}" in capsys.readouterr().out


def test_proof_by_keys_of_others_is_not_called_tampered(
    journal: str, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prove", "7", "--journal", journal, "--keys", str(keys)]) == EXIT_GOOD
    proof = tmp_path / "row.tlog-proof"
    proof.write_text(capsys.readouterr().out)
    for other in (STRANGER, ELSEWHERE):
        keys.write_text(other.verifier().text())
        assert main(["check-proof", str(proof), "--keys", str(keys)]) == EXIT_UNREADABLE
        assert other.verifier().key_id.hex() in capsys.readouterr().err


def test_verify_a_service_without_a_token_is_refused(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--journal", "http://127.0.0.1:1", "--keys", str(keys)]) == EXIT_UNREADABLE
    assert "--token-file" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["verify"], ["tail", "--journal", "x", "--rows", "-1"], ["nonsense"]])
def test_usage_that_is_wrong_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == EXIT_USAGE


def rows_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_tail_shows_the_last_rows(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--journal", journal, "--rows", "3", "--json"]) == EXIT_GOOD
    rows = rows_of(capsys)
    assert [row["seq"] for row in rows] == [9, 10, 11]
    assert rows[0].keys() == {"seq", "at_ns", "kind", "actor", "fields", "policy_hash", "leaf_hash"}


def test_tail_filters_by_kind_and_actor(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tail", "--journal", journal, "--rows", "2", "--json"]
    assert main([*arguments, "--kind", "order:intent", "--actor", "gateway"]) == EXIT_GOOD
    assert [row["seq"] for row in rows_of(capsys)] == [8, 10]
    assert main([*arguments, "--actor", "nobody"]) == EXIT_GOOD
    assert rows_of(capsys) == []


def test_tail_of_a_kind_that_is_none_is_a_usage_error(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--journal", journal, "--kind", "order:eaten"]) == EXIT_USAGE
    assert "order:eaten" in capsys.readouterr().err


def test_tail_for_people_is_a_line_a_row(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--journal", journal, "--rows", "1"]) == EXIT_GOOD
    assert capsys.readouterr().out == "11 2026-11-18T11:06:40.000Z order:outcome gateway n=11\n"


def test_prove_and_check_a_row(journal: str, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "7", "--journal", journal, "--keys", str(keys)]) == EXIT_GOOD
    proof = tmp_path / "row.tlog-proof"
    proof.write_text(capsys.readouterr().out)
    assert main(["check-proof", str(proof), "--keys", str(keys)]) == EXIT_GOOD
    said = capsys.readouterr().out
    assert f"GOOD  {ORIGIN}, 10 rows, unwitnessed" in said
    assert "7 2026-" in said
    proof.write_text(proof.read_text().replace("index 7", "index 6"))
    assert main(["check-proof", str(proof), "--keys", str(keys)]) == EXIT_TAMPERED


def test_prove_a_row_that_no_checkpoint_covers_is_refused(
    journal: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prove", "10", "--journal", journal, "--keys", str(keys)]) == EXIT_UNCOVERED
    assert "no checkpoint covers row 10 yet; there are 12 rows" in capsys.readouterr().err
    assert main(["prove", "12", "--journal", journal, "--keys", str(keys)]) == EXIT_UNREADABLE
    assert "the journal has 12 rows, and no row 12" in capsys.readouterr().err


def test_prove_in_a_tampered_journal_gives_no_proof(
    journal: str, outsider: Outsider, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outsider.edit_body(4, b'"n":4', b'"n":5')
    assert main(["prove", "7", "--journal", journal, "--keys", str(keys)]) == EXIT_TAMPERED
    assert capsys.readouterr().out == ""


def test_export_of_any_database_is_verified_by_strangers(
    journal: str, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle.zip"
    assert main(["export", "--journal", journal, "--keys", str(keys), "--out", str(bundle)]) == EXIT_GOOD
    assert main(["verify", "--journal", str(bundle), "--keys", str(keys)]) == EXIT_GOOD
    assert "12 rows, root" in capsys.readouterr().out


def test_stats_count_rows_by_kind(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--journal", journal, "--json"]) == EXIT_GOOD
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["kinds"]) == (12, {"order:intent": 6, "order:outcome": 6})
    assert main(["stats", "--journal", journal]) == EXIT_GOOD
    assert "from 2026-11-18T11:06:40.000Z" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "code"), [(["verify"], EXIT_UNREADABLE), (["tail", "--follow"], EXIT_GOOD)])
def test_interrupted_verdict_never_looks_like_a_good_one(
    *, journal: str, keys: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], code: int
) -> None:
    def interrupt(*_: object) -> list[StoredRow]:
        raise KeyboardInterrupt

    monkeypatch.setattr(DatabaseSource, "rows", interrupt)
    more = ["--keys", str(keys)] if command == ["verify"] else []
    assert main([*command, "--journal", journal, *more]) == code
