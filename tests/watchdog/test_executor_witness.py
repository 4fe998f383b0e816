"""The watchdog as witness of the executor's journal: sees every row, keeps it, cosigns, and tells of a fork once."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trust_parts import ring_of
from watchdog.conftest import row_numbered

from trade_core.clock import ManualClock
from trade_core.errors import ConfigurationError, TradeError
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_journal.log.checkpoint import Checkpoint, open_cosigned, sign_checkpoint
from trade_journal.log.ring_keys import executor_log_keys
from trade_journal.log.rows import Row, leaf_hash, row_bytes
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import PublicKeys, StoredRow, verify_journal
from trade_journal.store.store import JournalReader
from trade_watchdog import executor_witness
from trade_watchdog.executor_witness import COPY_FILE, ROWS_A_PAGE, ExecutorWitness
from trade_watchdog.status import ExecutorJournalState

WATCHDOG = load_private_key(new_private_key())
EXECUTOR = load_private_key(new_private_key())
RING = ring_of(WATCHDOG, executor_key=public_text(EXECUTOR))


def keys_of_executor() -> PublicKeys:
    found = executor_log_keys(RING)
    assert found is not None
    return found


class Executor:
    """An executor's journal as it is served."""

    def __init__(self) -> None:
        self.rows_kept: list[Row] = [row_numbered(seq) for seq in range(3)]
        self.signing = EXECUTOR
        self.signed_rows: list[Row] | None = None
        self.is_gone = False
        self.given = ROWS_A_PAGE
        self.asked = 0

    async def checkpoint(self) -> bytes:
        if self.is_gone:
            raise TradeError("the kill executor does not answer")
        rows = self.rows_kept if self.signed_rows is None else self.signed_rows
        tree = Frontier().extended(leaf_hash(row_bytes(row)) for row in rows)
        name = keys_of_executor().log.name
        signed = Checkpoint(origin=name, size=tree.size, root=tree.root(), ring_hash="a" * 64)
        return sign_checkpoint(signed, self.signing).rendered().encode()

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        self.asked += 1
        page = self.rows_kept[from_seq : from_seq + min(limit, self.given)]
        return [StoredRow(seq=row.seq, body=row_bytes(row), leaf_hash=leaf_hash(row_bytes(row))) for row in page]


@pytest.fixture
def executor() -> Executor:
    return Executor()


class Scene:
    """A witness and what it told."""

    def __init__(self, folder: Path, executor: Executor, key: Ed25519PrivateKey = WATCHDOG) -> None:
        self.folder = folder
        self.forks: list[str] = []
        self.clock = ManualClock()
        self.state = ExecutorJournalState()
        self.witness = ExecutorWitness(
            source=executor,
            state_dir=folder,
            keys=keys_of_executor(),
            private_key=key,
            on_fork=self.forks.append,
            state=self.state,
            clock=self.clock,
        )


@pytest.fixture
def scene(tmp_path: Path, executor: Executor) -> Scene:
    return Scene(tmp_path, executor)


async def test_every_row_is_kept_and_cosigned(scene: Scene, executor: Executor) -> None:
    executor.rows_kept += [row_numbered(seq) for seq in range(3, 2 * ROWS_A_PAGE)]
    await scene.witness.step()
    assert (scene.state.rows, scene.state.detail, executor.asked) == (2 * ROWS_A_PAGE, "", 2)
    assert scene.state.cosigned_at_ns == scene.clock.monotonic_ns()
    scene.witness.close()
    reader = JournalReader(f"sqlite:///{scene.folder / COPY_FILE}")
    keys = keys_of_executor()
    notes = reader.checkpoints(0, 10)
    verdict = verify_journal(reader.stored_rows(0, 1000), notes=notes, keys=keys)
    assert keys.witness is not None
    assert open_cosigned(notes[-1], log=keys.log, witness=keys.witness).checkpoint.size == 2 * ROWS_A_PAGE
    reader.close()
    assert verdict.is_good


async def test_witness_goes_on_after_a_restart(scene: Scene, executor: Executor) -> None:
    await scene.witness.step()
    scene.witness.close()
    executor.rows_kept.append(row_numbered(3))
    executor.asked = 0
    again = Scene(scene.folder, executor)
    await again.witness.step()
    assert (again.state.rows, executor.asked) == (4, 1)
    again.witness.close()


async def test_fork_is_told_once(scene: Scene, executor: Executor) -> None:
    await scene.witness.step()
    executor.signed_rows = [*executor.rows_kept[:2], row_numbered(2, path="/v5/other")]
    await scene.witness.step()
    await scene.witness.step()
    assert len(scene.forks) == 1
    assert scene.forks[0].startswith("the executor's journal forked: the log signed a root over 3 rows")
    scene.witness.close()


async def test_journal_that_went_back_is_withheld_and_no_fork(scene: Scene, executor: Executor) -> None:
    await scene.witness.step()
    executor.signed_rows = executor.rows_kept[:2]
    await scene.witness.step()
    assert scene.state.detail.endswith("the log went back")
    assert scene.forks == []
    scene.witness.close()


async def test_checkpoint_by_another_key_is_withheld(scene: Scene, executor: Executor) -> None:
    executor.signing = WATCHDOG
    await scene.witness.step()
    assert (scene.state.rows, scene.forks, scene.state.cosigned_at_ns) == (0, [], None)
    assert scene.state.detail
    scene.witness.close()


async def test_rows_that_are_signed_and_not_given_are_withheld(scene: Scene, executor: Executor) -> None:
    executor.given = 0
    await scene.witness.step()
    assert scene.state.detail == "the executor signed 3 rows and gives 0"
    scene.witness.close()


async def test_executor_that_does_not_answer_is_said_once_and_changes_nothing(
    scene: Scene, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    executor.is_gone = True
    await scene.witness.step()
    await scene.witness.step()
    assert scene.state.detail == "the kill executor does not answer"
    assert caplog.text.count("is not cosigned") == 1
    assert scene.forks == []
    scene.witness.close()


async def test_long_journal_is_caught_up_with_in_rounds(
    scene: Scene, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_witness, "ROWS_A_ROUND_MAX", 2)
    await scene.witness.step()
    assert scene.state.detail == "catching up: 2 of 3 rows of the executor's journal have been seen"
    await scene.witness.step()
    assert scene.state.detail == ""
    scene.witness.close()


async def test_copy_that_is_gone_after_it_was_begun_refuses_the_start(scene: Scene, executor: Executor) -> None:
    await scene.witness.step()
    scene.witness.close()
    (scene.folder / COPY_FILE).unlink()
    with pytest.raises(ConfigurationError, match="not there, but this watchdog has witnessed"):
        Scene(scene.folder, executor)


async def test_copy_that_cannot_be_opened_is_said_and_tried_again(scene: Scene, executor: Executor) -> None:
    (scene.folder / COPY_FILE).mkdir()
    await scene.witness.step()
    assert scene.state.detail
    (scene.folder / COPY_FILE).rmdir()
    await scene.witness.step()
    assert scene.state.detail == ""
    scene.witness.close()


def test_ring_without_an_executor_has_no_keys_of_it() -> None:
    assert executor_log_keys(ring_of(WATCHDOG, executor_key="")) is None
