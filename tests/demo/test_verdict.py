"""The verdict: good only with an entry and an exit that both exchange and journal know."""

import pytest

from trade_demo.options import Bot
from trade_demo.verdict import Verdict, judge
from trade_demo.view import Counts


def verdict(
    bot: Bot = Bot.FREQTRADE, died: tuple[str, ...] = (), failure: Verdict | None = None, **counts: int
) -> Verdict:
    return judge(bot=bot, counts=Counts(**counts), died=died, failure=failure)  # type: ignore[arg-type]


def filled(entries: int, exits: int) -> dict[str, int]:
    return {
        "entry_fills": entries,
        "exit_fills": exits,
        "journaled_entry_fills": entries,
        "journaled_exit_fills": exits,
    }


@pytest.mark.parametrize(("entries", "exits"), [(1, 1), (5, 4)])
def test_verdict_entry_and_exit_filled_is_good(entries: int, exits: int) -> None:
    assert verdict(**filled(entries, exits)).exit_code == 0


@pytest.mark.parametrize(("entries", "exits", "why"), [(0, 0, "no entry"), (3, 0, "but no exit"), (0, 1, "no entry")])
def test_verdict_one_side_missing_is_failed(entries: int, exits: int, why: str) -> None:
    found = verdict(**filled(entries, exits))
    assert found.exit_code == 1
    assert why in found.sentence


def test_verdict_fill_without_intent_in_the_journal_is_failed() -> None:
    found = verdict(**{**filled(2, 2), "journaled_exit_fills": 1})
    assert found.exit_code == 1
    assert found.sentence.startswith("1 fills have no intent")


@pytest.mark.parametrize("bot", Bot)
def test_verdict_a_process_died_is_failed_and_named(bot: Bot) -> None:
    found = verdict(bot=bot, died=("gateway",), **filled(1, 1))
    assert found.exit_code == 1
    assert "gateway" in found.sentence


@pytest.mark.parametrize("bot", Bot)
def test_verdict_stack_did_not_start_is_failed_with_its_reason(bot: Bot) -> None:
    refused = Verdict(exit_code=2, sentence="policy refused")
    assert verdict(bot=bot, failure=refused, died=("gateway",)) == refused


def test_verdict_without_bot_needs_no_fills() -> None:
    assert verdict(bot=Bot.NONE).exit_code == 0
