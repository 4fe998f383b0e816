"""What readiness says of the executor's own journal, between two looks and at one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trade_killswitch.journal_guard import WORDS
from trade_killswitch.own_samples import READY
from trade_killswitch.readiness import Readiness


class Answering:
    """Stands for everything that is asked, and answers that nothing is wrong."""

    async def key_information(self) -> Any:
        return None

    async def record(self, *_: object) -> bool:
        return True


@pytest.fixture
def readiness(monkeypatch: pytest.MonkeyPatch) -> Readiness:
    monkeypatch.setattr("trade_killswitch.readiness.excess_power", lambda *_, **__: [])
    gauge = SimpleNamespace(set=lambda _: None)
    gateway = SimpleNamespace(look=Answering().key_information)
    made: Any = Answering()
    return Readiness(
        account="1002",
        exit_key="exit",
        exchange=made,
        revoker=None,
        gateway=gateway,  # type: ignore[arg-type]
        bot=None,
        secrets=None,
        recorder=made,
        metrics=SimpleNamespace(key_verified=gauge, ready=gauge),  # type: ignore[arg-type]
        own_samples=lambda: READY,
    )


async def test_journal_that_somebody_else_wrote_to_is_named_at_a_look(readiness: Readiness) -> None:
    await readiness.look()
    assert readiness.parts["journal"] == READY
    readiness.journal = lambda: WORDS
    await readiness.look()
    assert (readiness.parts["journal"], readiness.is_ready) == (WORDS, False)


async def test_journal_that_somebody_else_wrote_to_is_named_before_the_next_look(readiness: Readiness) -> None:
    assert readiness.status() == {"is_ready": False, "parts": {}, "keys_of_the_account": 0}
    await readiness.look()
    readiness.parts["revoker_key"] = READY
    assert readiness.status()["is_ready"] is True
    readiness.journal = lambda: WORDS
    status = readiness.status()
    assert (status["is_ready"], status["parts"]["journal"]) == (False, WORDS)
