"""`trade-journal succeed`: a new log behind the watchdog's copy, whole or not at all, and never over anything."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from journal.writer.test_writer_process import deployed
from journal.writer.test_writer_settings import written
from trust_parts import KEYS, FastKey

from trade_core.clock import ManualClock
from trade_core.secrets import read_secret_file
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import KeyRing, read_ring
from trade_core.trust.signed_warrant import touched_envelope
from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, main
from trade_journal.log.key_file import parse_key_file
from trade_journal.log.log_succession import check_succession
from trade_journal.log.ring_keys import gateway_log_keys, gateway_log_signer, public_keys_text
from trade_journal.log.rows import Row, RowKind, leaf_hash, parse_row, row_bytes
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store import successor
from trade_journal.store.segments import archive_beside
from trade_journal.store.store import JournalReader, JournalStore
from trade_journal.writer.emergency_segment import EmergencySegment
from trade_journal.writer.retention import seal_when_due
from trade_journal.writer.witness import Witness
from trade_journal.writer.writer_identity import load_log_identity, number_of_log
from trade_journal.writer.writer_settings import JournalWriterSettings

PROCESS = load_private_key(new_private_key())
JOURNAL = "trade/simulated/1002/gateway"


def row(seq: int) -> StoredRow:
    made = Row(seq=seq, at_ns=seq, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": "/v5"})
    body = row_bytes(made)
    return StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body))


ROWS = [row(seq) for seq in range(7)]


class Lost:
    """A deployment whose journal is gone, and the watchdog's copy: five rows that it cosigned, and two more."""

    def __init__(self, folder: Path) -> None:
        self.config = deployed(folder)
        self.settings = load_settings(self.config, JournalWriterSettings)
        self.path = folder / "journal.db"
        self.copy = folder / "watchdog" / "witnessed-gateway.db"
        self.copy.parent.mkdir()
        self.key = KEYS[0]
        self.papers = folder.with_name(folder.name + "-papers")
        self.papers.mkdir(exist_ok=True)
        self.witness(5, 7)

    @property
    def ring(self) -> KeyRing:
        return read_ring(self.settings.ring_file)

    def witness(self, cosigned: int, seen: int) -> None:
        keys = gateway_log_keys(self.ring)
        assert keys.witness is not None
        log_key = load_private_key(str(read_secret_file(self.settings.state_dir / "log-key.json")["log_key"]))
        signer = gateway_log_signer(self.ring, log_key)
        witness = Witness.open(self.copy_url, log=keys.log, name=keys.witness.name, private_key=PROCESS)
        if cosigned:
            witness.take(ROWS[:cosigned])
            tree = Frontier().extended(one.leaf_hash for one in ROWS[:cosigned])
            witness.cosign(signer.sign(tree).rendered().encode(), at_s=1_795_000_000)
        witness.take(ROWS[cosigned:seen])
        witness.close()

    @property
    def copy_url(self) -> str:
        return f"sqlite:///{self.copy}"

    def asked(self, *more: str) -> int:
        return main(["succeed", "--config", str(self.config), "--copy", str(self.copy), *more])

    def drafted(self) -> Path:
        return self.papers / "draft"

    def succeed(self) -> int:
        """Draft, sign, and begin."""
        code = self.asked("--draft", str(self.drafted()), "--reason", "the disk died")
        if code != EXIT_GOOD:
            return code
        payload, signed = self.drafted().read_bytes(), self.papers / "signed"
        signed.write_bytes(touched_envelope(payload, [self.key.touch(payload)]))
        return self.asked("--warrant", str(signed))


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lost:
    monkeypatch.setattr("journal.writer.test_writer_process.SOMEBODY", PROCESS)
    return Lost(tmp_path)


def test_new_log_goes_on_behind_every_row_that_was_seen(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    assert lost.succeed() == EXIT_GOOD
    told = capsys.readouterr().out
    assert "goes on in log 2 with row 7" in told
    assert "the last cosigned at 2026-11-18" in told
    assert "reason given: the disk died" in told
    with_keys = ["--journal", str(lost.path), "--keys", str(lost.settings.ring_file.with_name("public-keys.txt"))]
    assert main(["verify", *with_keys, "--json"]) == EXIT_GOOD
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["rows"], verdict["witnessed_rows"], verdict["origin"]) == (9, 5, f"{JOURNAL}/2")
    reader = JournalReader(lost.settings.journal_url)
    assert reader.stored_rows(0, 7) == ROWS
    succeeded, halted = (parse_row(stored.body) for stored in reader.stored_rows(7, 10))
    assert check_succession(succeeded, ring=lost.ring, number=1).number == 2
    assert (halted.fields["holder"], halted.fields["ceiling"]) == ("operator_latch", "HALTED")
    reader.close()
    assert main(["table", "halt_events", "--journal", str(lost.path), "--json"]) == EXIT_GOOD
    assert "the journal was lost" in capsys.readouterr().out


def test_keys_of_the_other_journals_stay_published(lost: Lost) -> None:
    public = lost.settings.ring_file.with_name("public-keys.txt")
    public.write_text(public_keys_text(lost.ring, watchdog_key=lost.ring.witness_key))
    assert lost.succeed() == EXIT_GOOD
    names = [one.log.name for one in parse_key_file(public.read_text())]
    assert names == [f"{JOURNAL}/2", "trade/simulated/1002/executor", "trade/simulated/1002/watchdog"]


def test_writer_goes_on_in_the_new_log(lost: Lost) -> None:
    assert number_of_log(lost.settings) == 1
    lost.succeed()
    number = number_of_log(lost.settings)
    identity = load_log_identity(lost.settings, number=number)
    assert (number, identity.signer.origin, identity.keys.journal) == (2, f"{JOURNAL}/2", JOURNAL)
    store = JournalStore.open(lost.settings.journal_url, origin=JOURNAL, log=identity.signer.verifier())
    store.append_checkpoint(identity.signer.sign(store.tree()).rendered().encode())
    assert (store.size(), store.first_seq, store.witnessed_size()) == (9, 7, 7)
    store.close()


def test_journal_that_is_lost_again_goes_on_in_a_third_log(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    lost.succeed()
    # Whoever keeps the files of the second log for the watchdog's copy has what its own would be.
    keys = gateway_log_keys(lost.ring, number=2)
    assert keys.witness is not None
    identity = load_log_identity(lost.settings, number=2)
    second = Witness.open(
        lost.settings.journal_url, log=keys.log, name=keys.witness.name, private_key=PROCESS, journal=JOURNAL
    )
    tree = Frontier(size=0)
    reader = JournalReader(lost.settings.journal_url)
    tree = tree.extended(one.leaf_hash for one in reader.stored_rows(0, 100))
    reader.close()
    second.cosign(identity.signer.sign(tree).rendered().encode(), at_s=1_795_000_100)
    second.close()
    lost.copy = lost.path.rename(lost.copy.with_name("second.db"))
    archive_beside(lost.path).rename(archive_beside(lost.copy))
    assert lost.succeed() == EXIT_GOOD
    assert "goes on in log 3 with row 9" in capsys.readouterr().out
    names = sorted(path.name for path in archive_beside(lost.path).iterdir())
    assert [name[:22] for name in names] == ["rows-0000000000000000-", "rows-0000000000000007-"]
    public = str(lost.settings.ring_file.with_name("public-keys.txt"))
    assert main(["verify", "--journal", str(lost.path), "--keys", public]) == EXIT_GOOD


def test_copy_that_was_sealed_brings_its_segments(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    keys = gateway_log_keys(lost.ring)
    seal_when_due(lost.copy_url, origin=JOURNAL, keys=keys, retention_days=1, clock=ManualClock())
    assert lost.succeed() == EXIT_GOOD
    assert sorted(path.name for path in archive_beside(lost.path).iterdir()) == [
        "rows-0000000000000000-0000000000000005.db",
        "rows-0000000000000005-0000000000000007.db",
    ]
    public = str(lost.settings.ring_file.with_name("public-keys.txt"))
    assert main(["verify", "--journal", str(lost.path), "--keys", public]) == EXIT_GOOD
    assert "9 rows" in capsys.readouterr().out


def test_copy_all_of_which_was_sealed_is_gone_on_from(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    lost.copy.unlink()
    lost.witness(5, 5)
    keys = gateway_log_keys(lost.ring)
    seal_when_due(lost.copy_url, origin=JOURNAL, keys=keys, retention_days=1, clock=ManualClock())
    assert lost.succeed() == EXIT_GOOD
    assert sorted(path.name for path in archive_beside(lost.path).iterdir()) == [
        "rows-0000000000000000-0000000000000005.db",
        "rows-0000000000000005-0000000000000005.db",
    ]
    public = str(lost.settings.ring_file.with_name("public-keys.txt"))
    for where in (lost.path, archive_beside(lost.path)):
        capsys.readouterr()
        assert main(["verify", "--journal", str(where), "--keys", public]) == EXIT_GOOD
    assert "5 rows" in capsys.readouterr().out


def tamper(lost: Lost) -> None:
    connection = sqlite3.connect(lost.copy)
    connection.execute("DROP TRIGGER rows_refuse_update")
    connection.execute("UPDATE rows SET body = CAST(replace(body, 'v5', 'v6') AS BLOB) WHERE seq = 2")
    connection.execute(
        "CREATE TRIGGER rows_refuse_update BEFORE UPDATE ON rows "
        "BEGIN SELECT RAISE(ABORT, 'journal rows are never changed'); END"
    )
    connection.commit()
    connection.close()


def another_journals(lost: Lost) -> None:
    connection = sqlite3.connect(lost.copy)
    connection.execute("UPDATE journal_format SET origin = 'trade/simulated/9/gateway'")
    connection.commit()
    connection.close()


def never_cosigned(lost: Lost) -> None:
    lost.copy.unlink()
    lost.witness(0, 3)


def no_copy(lost: Lost) -> None:
    lost.copy.unlink()


def a_stranger(lost: Lost) -> None:
    lost.key = FastKey("stranger")


def journal_is_there(lost: Lost) -> None:
    lost.path.touch()


def segments_are_there(lost: Lost) -> None:
    archive_beside(lost.path).mkdir()


def emergency_rows(lost: Lost) -> None:
    segment = EmergencySegment.open(lost.settings.state_dir / "emergency.segment", origin=JOURNAL)
    segment.append([(7, ROWS[0].body)])
    segment.close()


def in_postgresql(lost: Lost) -> None:
    written(lost.config.parent, journal_url="postgresql://role@127.0.0.1/journals")


@pytest.mark.parametrize(
    ("breaks", "code", "said"),
    [
        (tamper, EXIT_TAMPERED, "row 2: "),
        (another_journals, EXIT_UNREADABLE, "a copy of 'trade/simulated/9/gateway'"),
        (never_cosigned, EXIT_UNREADABLE, "no row of it was ever cosigned"),
        (no_copy, EXIT_UNREADABLE, "no journal there"),
        (a_stranger, EXIT_UNREADABLE, "no security key"),
        (journal_is_there, EXIT_UNREADABLE, "journal.db: is there; a new log is for a journal that is lost"),
        (segments_are_there, EXIT_UNREADABLE, "journal.db.segments: is there"),
        (emergency_rows, EXIT_UNREADABLE, "holds row 7 and more of the lost journal, which were acknowledged"),
        (in_postgresql, EXIT_UNREADABLE, "only a journal in a SQLite file"),
    ],
)
def test_what_must_not_be_gone_on_from_is_named_and_nothing_is_made(
    lost: Lost, capsys: pytest.CaptureFixture[str], breaks: Callable[[Lost], None], code: int, said: str
) -> None:
    breaks(lost)
    before = sorted(lost.path.parent.rglob("*"))
    assert lost.succeed() == code
    assert said in capsys.readouterr().err
    assert [path for path in sorted(lost.path.parent.rglob("*")) if path not in before and path.suffix != ".lock"] == []


def test_new_log_needs_a_reason_and_a_warrant_that_is_there(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    assert lost.asked("--draft", str(lost.drafted())) == EXIT_UNREADABLE
    assert "a new log needs its --reason" in capsys.readouterr().err
    assert lost.asked("--warrant", str(lost.papers / "missing")) == EXIT_UNREADABLE
    assert "missing: cannot be read" in capsys.readouterr().err


def test_warrant_for_other_rows_begins_nothing(lost: Lost, capsys: pytest.CaptureFixture[str]) -> None:
    assert lost.asked("--draft", str(lost.drafted()), "--reason", "the disk died") == EXIT_GOOD
    payload, signed = lost.drafted().read_bytes(), lost.papers / "signed"
    signed.write_bytes(touched_envelope(payload, [KEYS[0].touch(payload)]))
    lost.copy.unlink()
    lost.witness(3, 4)
    assert lost.asked("--warrant", str(signed)) == EXIT_UNREADABLE
    assert "is for another log than the one behind these 4 rows" in capsys.readouterr().err


def test_warrant_that_has_expired_begins_nothing(
    lost: Lost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trade_journal.succession_cli.WARRANT_LIFETIME_MS", -1)
    assert lost.succeed() == EXIT_UNREADABLE
    assert "expired" in capsys.readouterr().err


def test_attempt_that_failed_can_be_made_again(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(successor, "make_file", fail)
        assert lost.succeed() == EXIT_UNREADABLE
    assert not lost.path.exists()
    assert lost.succeed() == EXIT_GOOD
