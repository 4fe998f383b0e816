"""The watchdog as witness of the gateway's journal: sees every row, keeps them, and cosigns or withholds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from watchdog.conftest import row_numbered

from trade_core.clock import NS_PER_S, ManualClock, SystemClock
from trade_core.errors import ConfigurationError
from trade_journal.errors import ForkProven, JournalRefused, JournalUnavailable, Withheld
from trade_journal.log.checkpoint import open_cosigned
from trade_journal.log.fork_proof import proves_fork
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.verify import verify_journal
from trade_journal.store.records import READ_ROWS_MAX
from trade_journal.store.store import JournalReader
from trade_journal.writer.witness import Witness
from trade_watchdog import log_witness as log_witness_module
from trade_watchdog.gateway_link import ROWS_MAX, GatewayAnswerInvalid, GatewayLink, GatewayRefused
from trade_watchdog.identity import load_gateway_address
from trade_watchdog.log_witness import CATCH_UP_S, COPY_FILE, LogWitness


@pytest_asyncio.fixture
async def link(deployment: Any) -> AsyncIterator[GatewayLink]:
    """A connection to the gateway."""
    made = GatewayLink(load_gateway_address(deployment.settings.gateway_handover))
    yield made
    await made.close()


def log_witness(deployment: Any, link: GatewayLink) -> LogWitness:
    return LogWitness(
        link=link,
        state_dir=deployment.state_dir,
        ring=deployment.ring,
        private_key=deployment.identity.witness_key,
    )


@pytest_asyncio.fixture
async def witness(deployment: Any, link: GatewayLink) -> AsyncIterator[LogWitness]:
    """A witness that has seen nothing."""
    made = log_witness(deployment, link)
    made.open(has_vouched=False, clock=SystemClock())
    yield made
    made.close()


def size_of(cosigned: bytes, deployment: Any) -> int:
    keys = gateway_log_keys(deployment.ring)
    assert keys.witness is not None
    return open_cosigned(cosigned, log=keys.log, witness=keys.witness).checkpoint.size


async def test_every_row_is_seen_and_kept_before_the_checkpoint_is_cosigned(
    witness: LogWitness, deployment: Any
) -> None:
    assert size_of(await witness.cosigned(SystemClock()), deployment) == witness.size == 3
    deployment.gateway.rows += [row_numbered(seq) for seq in range(3, 3 + 2 * ROWS_MAX + 1)]
    assert size_of(await witness.cosigned(SystemClock()), deployment) == witness.size == 4 + 2 * ROWS_MAX
    asked = [path for _, path, _, _ in deployment.gateway.requests]
    assert asked.count("/journal/entries") == 1 + 3
    reader = JournalReader(f"sqlite:///{deployment.state_dir / COPY_FILE}")
    verdict = verify_journal(
        reader.stored_rows(0, 1000), notes=reader.checkpoints(0, 10), keys=gateway_log_keys(deployment.ring)
    )
    reader.close()
    assert (verdict.is_good, verdict.witnessed_rows) == (True, 4 + 2 * ROWS_MAX)


async def test_copy_outlives_a_restart(witness: LogWitness, deployment: Any, link: GatewayLink) -> None:
    await witness.cosigned(SystemClock())
    witness.close()
    again = log_witness(deployment, link)
    again.open(has_vouched=True, clock=SystemClock())
    assert again.size == 3
    again.close()


async def test_journal_that_says_something_else_now_is_a_fork(witness: LogWitness, deployment: Any) -> None:
    await witness.cosigned(SystemClock())
    deployment.gateway.rows = [row_numbered(0), row_numbered(1, path="/v5/other"), row_numbered(2)]
    with pytest.raises(ForkProven, match="its own rows contradict"):
        await witness.cosigned(SystemClock())


async def test_journal_that_went_back_is_not_cosigned_and_a_fork_once_it_goes_another_way(
    witness: LogWitness, deployment: Any
) -> None:
    await witness.cosigned(SystemClock())
    deployment.gateway.rows = deployment.gateway.rows[:2]
    with pytest.raises(Withheld, match="the log went back"):
        await witness.cosigned(SystemClock())
    deployment.gateway.rows += [row_numbered(2, path="/v5/other"), row_numbered(3)]
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())


def proves(proof: bytes, deployment: Any) -> bool:
    return proves_fork(proof, log_of=lambda _: gateway_log_keys(deployment.ring).log)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 2 * ROWS_MAX])
async def test_fork_is_proved_to_strangers_whatever_the_log_says_now(
    witness: LogWitness, deployment: Any, size: int
) -> None:
    await witness.cosigned(SystemClock())
    deployment.gateway.rows = [row_numbered(0, path="/v5/other"), *(row_numbered(seq) for seq in range(1, size))]
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    assert proves(await witness.fork_proof(), deployment)


async def test_rows_that_are_not_under_the_root_give_no_proof(
    witness: LogWitness, deployment: Any, gateway: Any
) -> None:
    await witness.cosigned(SystemClock())
    signed = gateway.checkpoint([row_numbered(seq, path="/v5/other") for seq in range(4)])
    gateway.rows = [row_numbered(seq) for seq in range(4)]
    gateway.path_overrides["/journal/checkpoint"] = (200, {}, signed)
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    assert await witness.fork_proof() == b""
    gateway.rows = []
    assert await witness.fork_proof() == b""


async def test_fork_of_a_log_that_went_back_is_proved_without_the_gateway(
    witness: LogWitness, deployment: Any, gateway: Any
) -> None:
    gateway.rows = [row_numbered(seq) for seq in range(2 * READ_ROWS_MAX + 1)]
    await witness.cosigned(SystemClock())
    gateway.rows = [row_numbered(0, path="/v5/other"), *gateway.rows[1:-1]]
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    gateway.rows = []
    before = len(gateway.requests)
    assert proves(await witness.fork_proof(), deployment)
    assert len(gateway.requests) == before


async def test_fork_at_the_end_of_a_long_log_takes_only_the_rows_that_differ(
    witness: LogWitness, deployment: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_witness_module, "SERVED_ROWS_MAX", 2 * ROWS_MAX)
    gateway.rows = [row_numbered(seq) for seq in range(8 * ROWS_MAX)]
    await witness.cosigned(SystemClock())
    gateway.rows = [
        *gateway.rows[:-5],
        *(row_numbered(seq, path="/v5/other") for seq in range(8 * ROWS_MAX - 5, 8 * ROWS_MAX + 20)),
    ]
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    before = len(gateway.requests)
    assert proves(await witness.fork_proof(), deployment)
    assert len(gateway.requests) == before + 1


@pytest.mark.parametrize(("most", "is_proved"), [(8 * ROWS_MAX + 20, True), (4 * ROWS_MAX, False)])
async def test_fork_at_an_old_row_takes_all_that_came_after_it(  # noqa: PLR0917 - fixtures
    witness: LogWitness,
    deployment: Any,
    gateway: Any,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    is_proved: bool,
) -> None:
    monkeypatch.setattr(log_witness_module, "SERVED_ROWS_MAX", most)
    gateway.rows = [row_numbered(seq) for seq in range(8 * ROWS_MAX)]
    await witness.cosigned(SystemClock())
    gateway.rows[2 * ROWS_MAX] = row_numbered(2 * ROWS_MAX, path="/v5/other")
    gateway.rows += [row_numbered(seq) for seq in range(8 * ROWS_MAX, 8 * ROWS_MAX + 20)]
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    assert bool(await witness.fork_proof()) is is_proved


async def test_without_a_cosigned_checkpoint_there_is_no_proof(
    witness: LogWitness, deployment: Any, gateway: Any
) -> None:
    assert await witness.fork_proof() == b""
    signed = gateway.checkpoint([row_numbered(0), row_numbered(1), row_numbered(2, path="/v5/other")])
    gateway.path_overrides["/journal/checkpoint"] = (200, {}, signed)
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())
    assert await witness.fork_proof() == b""


async def test_long_log_is_caught_up_with_in_steps(
    witness: LogWitness, deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    taken = Witness.take

    def slow(self: Witness, rows: Any) -> None:
        clock.advance(int((CATCH_UP_S + 1) * NS_PER_S))
        taken(self, rows)

    monkeypatch.setattr(Witness, "take", slow)
    deployment.gateway.rows = [row_numbered(seq) for seq in range(2 * ROWS_MAX)]
    with pytest.raises(Withheld, match=f"catching up: {ROWS_MAX} of {2 * ROWS_MAX} rows have been seen"):
        await witness.cosigned(clock)
    assert size_of(await witness.cosigned(clock), deployment) == 2 * ROWS_MAX


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("/journal/checkpoint", b"nonsense", Withheld),
        ("/journal/checkpoint", b"", Withheld),
        ("/journal/entries", b"nonsense", GatewayAnswerInvalid),
        ("/journal/entries", b"nonsense\n", Withheld),
        ("/journal/entries", b"{}\n" * 3, Withheld),
        ("/journal/entries", b"{}\n" * 4, GatewayAnswerInvalid),
        ("/journal/entries", b"\n", Withheld),
        ("/journal/entries", b"", Withheld),
    ],
)
async def test_nonsense_is_not_cosigned(
    witness: LogWitness, deployment: Any, path: str, answer: bytes, error: type[Exception]
) -> None:
    deployment.gateway.path_overrides[path] = (200, {}, answer)
    with pytest.raises(error):
        await witness.cosigned(SystemClock())
    deployment.gateway.path_overrides.clear()
    assert size_of(await witness.cosigned(SystemClock()), deployment) == 3


async def test_rows_that_are_others_than_were_signed_are_a_fork(
    witness: LogWitness, deployment: Any, gateway: Any
) -> None:
    signed = gateway.checkpoint([row_numbered(0), row_numbered(1), row_numbered(2, path="/v5/other")])
    gateway.path_overrides["/journal/checkpoint"] = (200, {}, signed)
    with pytest.raises(ForkProven):
        await witness.cosigned(SystemClock())


async def test_rows_are_not_taken_out_of_turn(witness: LogWitness, gateway: Any) -> None:
    gateway.rows = [row_numbered(1), row_numbered(0), row_numbered(2)]
    with pytest.raises(Withheld, match="rows that are none"):
        await witness.cosigned(SystemClock())


async def test_gateway_that_cannot_sign_is_told_as_it_is(witness: LogWitness, gateway: Any) -> None:
    gateway.path_overrides["/journal/checkpoint"] = (503, {}, b"the journal cannot be written")
    with pytest.raises(GatewayRefused, match="503"):
        await witness.cosigned(SystemClock())


async def test_own_disk_that_fails_is_opened_anew(
    witness: LogWitness, deployment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Witness, _rows: Any) -> None:
        raise JournalUnavailable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Witness, "take", fail)
        with pytest.raises(JournalUnavailable, match="disk full"):
            await witness.cosigned(SystemClock())
    assert witness.size == 0
    assert size_of(await witness.cosigned(SystemClock()), deployment) == 3


def test_copy_that_is_gone_after_vouching_is_not_begun_anew(deployment: Any, link: GatewayLink) -> None:
    with pytest.raises(ConfigurationError, match="not there, but this watchdog has vouched"):
        log_witness(deployment, link).open(has_vouched=True, clock=SystemClock())
    assert not (deployment.state_dir / COPY_FILE).exists()


def test_copy_that_is_something_else_is_refused(deployment: Any, link: GatewayLink) -> None:
    (deployment.state_dir / COPY_FILE).write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(JournalRefused, match=r"the copy of the gateway's journal: .*not a SQLite database"):
        log_witness(deployment, link).open(has_vouched=True, clock=SystemClock())


async def test_halt_tells_the_reason_within_its_bound(link: GatewayLink, gateway: Any) -> None:
    await link.halt("x" * 500)
    assert gateway.halts == ["x" * 200]
    assert json.loads(gateway.requests[-1][3]) == {"reason": "x" * 200}


def test_copy_that_was_emptied_after_vouching_is_refused(deployment: Any, link: GatewayLink) -> None:
    (deployment.state_dir / COPY_FILE).touch()
    with pytest.raises(JournalRefused, match="0 rows, but this watchdog has vouched for 1"):
        log_witness(deployment, link).open(has_vouched=True, clock=SystemClock())


async def test_copy_that_is_taken_away_while_it_is_closed_is_not_begun_anew(
    witness: LogWitness, deployment: Any
) -> None:
    await witness.cosigned(SystemClock())
    witness.close()
    for path in deployment.state_dir.glob(COPY_FILE + "*"):
        path.unlink()
    with pytest.raises(JournalRefused, match="0 rows, but this watchdog has vouched for 3"):
        await witness.cosigned(SystemClock())
