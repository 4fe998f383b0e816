"""From rows in a real journal to the orders that count again."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.house import LIMITS, instrument
from gateway.parts import order_intent, stop_intent, tracked, tracked_stop

from trade_core.clock import SystemClock
from trade_gateway import recovery
from trade_gateway.account.activity import Activity, fill_fields
from trade_gateway.account.tally import tally
from trade_gateway.account.view import Filled
from trade_gateway.instrument_memory import instrument_fields
from trade_gateway.ledger import OrderLedger, Phase
from trade_gateway.order_flow import intent_fields
from trade_gateway.policy.references import KeptReference
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recovery import LATCH_HOLDER, Recovered, recover
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter

STARTED_NS = 77
Rows = list[tuple[RowKind, dict[str, Any]]]


async def recovered(journal: JournalWriter, rows: Rows) -> tuple[Recovered, OrderLedger]:
    if rows:
        await journal.append_many([Entry(at_ns=1, kind=kind, actor="gateway", fields=fields) for kind, fields in rows])
    ledger = OrderLedger()
    found = await recover(
        journal,
        ledger,
        activity=Activity(limits=LIMITS),
        started_at_ns=STARTED_NS,
        is_release=is_believed,
    )
    return found, ledger


def is_believed(raw: bytes, *, latch_sequence: int, latch: TradingState, killed_keys: Collection[str]) -> bool:
    return raw == b"warrant for %d" % latch_sequence


def intent_row(tag: str = "a", **options: Any) -> tuple[RowKind, dict[str, Any]]:
    return RowKind.ORDER_INTENT, dict(intent_fields(tracked(tag, intent=order_intent(**options))))


def outcome(result: str, tag: str = "a", **fields: Any) -> tuple[RowKind, dict[str, Any]]:
    return RowKind.ORDER_OUTCOME, {"tag": tag, "result": result, **fields}


def resolved(result: str, tag: str = "a", **fields: Any) -> tuple[RowKind, dict[str, Any]]:
    return RowKind.ORDER_RESOLVED, {"tag": tag, "result": result, **fields}


async def test_recovery_of_an_empty_journal_finds_nothing(journal: JournalWriter) -> None:
    found, ledger = await recovered(journal, [])
    assert (found.rows, found.latch, ledger.open_count()) == (0, TradingState.ACTIVE, 0)


async def test_recovery_intent_without_an_outcome_counts_and_is_disowned(journal: JournalWriter) -> None:
    _, ledger = await recovered(journal, [intent_row()])
    (order,) = ledger.unresolved()
    assert order.is_disowned
    assert order.signed_at_ns == STARTED_NS
    assert tally(ledger.claims()).unresolved == {(Category.SPOT, "BTCUSDT")}


async def test_recovery_intent_comes_back_as_it_was(journal: JournalWriter) -> None:
    options: dict[str, Any] = {
        "category": Category.LINEAR,
        "symbol": "ETHUSDT",
        "side": Side.SELL,
        "quantity": "0.25",
        "price": "1999.5",
        "reduce_only": True,
        "client_link_id": "mine",
    }
    _, ledger = await recovered(journal, [intent_row(**options)])
    (order,) = ledger.open_orders()
    assert order.intent == order_intent(**options)
    assert order.adds_risk
    assert ledger.find(order_id=None, client_link_id="mine") is order


@pytest.mark.parametrize("result", ["rejected", "withheld", "not_sent"])
async def test_recovery_order_that_never_stood_counts_no_more(journal: JournalWriter, result: str) -> None:
    _, ledger = await recovered(journal, [intent_row(), outcome(result)])
    assert ledger.open_count() == 0


@pytest.mark.parametrize("result", ["not_found", "ended"])
async def test_recovery_order_whose_end_is_known_counts_no_more(journal: JournalWriter, result: str) -> None:
    _, ledger = await recovered(journal, [intent_row(), outcome("unknown"), resolved(result)])
    assert ledger.open_count() == 0


FOUND_FILLED = resolved("found", order_id="x1", status="Filled", filled="0.01", is_disowned=False)


def filled_row(tag: str = "a", *, quantity: str = "0.01", filled: str = "0.01") -> tuple[RowKind, dict[str, Any]]:
    order = tracked(tag)
    change = Filled(order=order, quantity=Decimal(quantity), price=Decimal(30000), total=Decimal(filled))
    return RowKind.ORDER_FILLED, dict(fill_fields(change, Decimal(quantity) * 30000))


async def test_recovery_order_that_was_found_filled_counts_until_a_row_has_counted_its_fills(
    journal: JournalWriter,
) -> None:
    # A crash between asking and the next reading: without this its fills would be missing from the turnover for good.
    _, ledger = await recovered(journal, [intent_row(), outcome("unknown"), FOUND_FILLED])
    (order,) = ledger.open_orders()
    assert (order.phase, order.filled, order.counted, order.is_disowned) == (Phase.WORKING, 0, 0, False)


@pytest.mark.parametrize(
    "rows",
    [
        [outcome("unknown"), FOUND_FILLED, filled_row("a")],
        [outcome("unknown"), filled_row("a"), FOUND_FILLED],
        [outcome("unknown"), filled_row("a", quantity="0.004", filled="0.004"), FOUND_FILLED, filled_row("a")],
        [outcome("unknown"), resolved("found", order_id="x1", status="Cancelled", filled="0")],
    ],
)
async def test_recovery_order_that_was_found_ended_counts_no_more_once_its_fills_are_rows(
    journal: JournalWriter, rows: Rows
) -> None:
    _, ledger = await recovered(journal, [intent_row(), *rows])
    assert ledger.open_count() == 0


async def test_recovery_order_whose_end_was_told_before_its_fills_were_rows_starts_and_counts_them_once(
    journal: JournalWriter,
) -> None:
    rows = [intent_row(), outcome("unknown"), FOUND_FILLED, resolved("ended", status="Filled"), filled_row()]
    _, ledger = await recovered(journal, rows)
    order = ledger.get("a")
    assert order is not None
    assert (ledger.open_count(), order.counted, order.filled) == (0, Decimal("0.01"), Decimal("0.01"))


async def test_recovery_order_found_live_after_it_was_taken_for_gone_counts_again(journal: JournalWriter) -> None:
    rows = [intent_row(), outcome("unknown"), resolved("not_found"), resolved("found", order_id="x1", status="New")]
    _, ledger = await recovered(journal, rows)
    order = ledger.find(order_id="x1", client_link_id=None)
    assert order is not None
    assert order.is_disowned  # the bot was told that it does not exist


def kept(within: str, **prices: str) -> tuple[RowKind, dict[str, Any]]:
    return RowKind.REFERENCE_KEPT, {"within": within, "prices": prices}


async def test_recovery_remembers_the_last_kept_reference_of_each_coin(journal: JournalWriter) -> None:
    rows = [kept("0.002", BTC="30000", ETH="2000"), kept("0.001", BTC="30100"), kept("0", XRP="2.5")]
    found, _ = await recovered(journal, rows)
    assert found.references == {
        "BTC": KeptReference(price=Decimal(30_100), within=Decimal("0.001")),
        "ETH": KeptReference(price=Decimal(2000), within=Decimal("0.002")),
        "XRP": KeptReference(price=Decimal("2.5"), within=Decimal(0)),
    }


async def test_recovery_remembers_the_last_filters_of_each_symbol(journal: JournalWriter) -> None:
    spot, linear = instrument(Category.SPOT), instrument(Category.LINEAR)
    finer = replace(spot, tick_size=Decimal("0.01"))
    rows = [(RowKind.INSTRUMENT_KEPT, dict(instrument_fields(one))) for one in (spot, linear, finer)]
    found, _ = await recovered(journal, rows)
    assert found.instruments == {(Category.SPOT, "BTCUSDT"): finer, (Category.LINEAR, "BTCUSDT"): linear}


async def test_recovery_takes_no_reference_from_an_order(journal: JournalWriter) -> None:
    """It may be days old; and what a stop is measured against is its own trigger, which a bot chooses."""
    rows = [intent_row(), stop_row(RowKind.ORDER_INTENT, "s"), stop_row(RowKind.DISASTER_STOP_INTENT, "t")]
    found, _ = await recovered(journal, rows)
    assert found.references == {}


async def test_recovery_acknowledged_order_works_and_is_the_bots(journal: JournalWriter) -> None:
    _, ledger = await recovered(journal, [intent_row(), outcome("acknowledged", order_id="x1", is_disowned=False)])
    order = ledger.find(order_id="x1", client_link_id=None)
    assert order is not None
    assert order.phase is Phase.WORKING
    assert not order.is_disowned
    assert not order.is_in_flow


@pytest.mark.parametrize(
    "rows",
    [
        [outcome("acknowledged", order_id="x1", is_disowned=True)],
        [outcome("acknowledged", order_id="x1"), resolved("undelivered")],
        [
            outcome("unknown"),
            resolved("still_unknown"),
            resolved("found", order_id="x1", status="New", is_disowned=True),
        ],
        [resolved("still_unknown"), resolved("found", order_id="x1", status="New", is_disowned=False)],
    ],
)
async def test_recovery_working_order_that_the_bot_does_not_know_stays_disowned(
    journal: JournalWriter, rows: Rows
) -> None:
    _, ledger = await recovered(journal, [intent_row(), *rows])
    (order,) = ledger.open_orders()
    assert order.phase is Phase.WORKING
    assert order.is_disowned


async def test_recovery_order_found_for_a_bot_that_was_told_is_not_disowned(journal: JournalWriter) -> None:
    rows = [outcome("unknown"), resolved("found", order_id="x1", status="New", is_disowned=False)]
    _, ledger = await recovered(journal, [intent_row(), *rows])
    assert [order.is_disowned for order in ledger.open_orders()] == [False]


async def test_recovery_order_found_in_its_end_counts_no_more(journal: JournalWriter) -> None:
    rows = [outcome("unknown"), resolved("found", order_id="x1", status="Filled", is_disowned=False)]
    _, ledger = await recovered(journal, [intent_row(), *rows])
    assert ledger.open_count() == 0


async def test_recovery_ignores_outcomes_of_orders_that_have_ended(journal: JournalWriter) -> None:
    _, ledger = await recovered(journal, [intent_row(), outcome("rejected"), outcome("acknowledged", order_id="x1")])
    assert ledger.open_count() == 0


async def test_recovery_ignores_rows_of_other_kinds(journal: JournalWriter) -> None:
    rows: Rows = [(RowKind.ORDER_DENIED, {"code": "X"}), (RowKind.CANCEL_INTENT, {"tag": "a"})]
    found, ledger = await recovered(journal, rows)
    assert (found.rows, ledger.open_count()) == (2, 0)


def latch_row(ceiling: str, *, holder: str = LATCH_HOLDER) -> tuple[RowKind, dict[str, Any]]:
    return RowKind.STATE_CHANGED, {"holder": holder, "ceiling": ceiling, "reason": f"why {ceiling}"}


async def test_recovery_latch_comes_back(journal: JournalWriter) -> None:
    found, _ = await recovered(journal, [latch_row("HALTED")])
    assert (found.latch, found.latch_reason) == (TradingState.HALTED, "why HALTED")


async def test_recovery_latch_is_never_looser_than_the_tightest_row(journal: JournalWriter) -> None:
    found, _ = await recovered(journal, [latch_row("KILLED"), latch_row("HALTED"), latch_row("ACTIVE")])
    assert (found.latch, found.latch_reason) == (TradingState.KILLED, "why KILLED")


async def test_recovery_effective_state_is_no_latch(journal: JournalWriter) -> None:
    found, _ = await recovered(journal, [latch_row("HALTED", holder="effective")])
    assert found.latch is TradingState.ACTIVE


async def test_recovery_reads_past_one_page(journal: JournalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_PAGE", 2)
    found, ledger = await recovered(journal, [intent_row(tag) for tag in "abcde"])
    assert (found.rows, ledger.open_count()) == (5, 5)


def warranted_row(ceiling: str, *, warrant: bytes | None = None) -> tuple[RowKind, dict[str, Any]]:
    fields: dict[str, Any] = {"holder": "operator_latch", "ceiling": ceiling, "reason": f"{ceiling} row", "by": "x"}
    if warrant is not None:
        text = base64.b64encode(warrant).decode()
        fields["warrant"] = [text[:8], text[8:]]
    return RowKind.STATE_CHANGED, fields


@pytest.mark.parametrize(
    ("rows", "latch", "sequence"),
    [
        ([warranted_row("HALTED")], TradingState.HALTED, 0),
        ([warranted_row("HALTED"), warranted_row("HALTED")], TradingState.HALTED, 1),
        ([warranted_row("HALTED"), warranted_row("ACTIVE")], TradingState.HALTED, 0),
        ([warranted_row("HALTED"), warranted_row("ACTIVE", warrant=b"forged")], TradingState.HALTED, 0),
        ([warranted_row("HALTED"), warranted_row("ACTIVE", warrant=b"warrant for 0")], TradingState.ACTIVE, None),
        (
            [warranted_row("HALTED"), warranted_row("HALTED"), warranted_row("ACTIVE", warrant=b"warrant for 0")],
            TradingState.HALTED,
            1,
        ),
        (
            [warranted_row("HALTED"), warranted_row("ACTIVE", warrant=b"warrant for 0"), warranted_row("HALTED")],
            TradingState.HALTED,
            2,
        ),
        ([warranted_row("KILLED"), warranted_row("HALTED")], TradingState.KILLED, 0),
    ],
)
async def test_recovery_latch_is_lifted_only_by_a_warrant_for_its_own_row(
    journal: JournalWriter, rows: Rows, latch: TradingState, sequence: int | None
) -> None:
    found, _ = await recovered(journal, rows)
    assert (found.latch, found.latch_sequence) == (latch, sequence)


async def test_recovery_fill_that_was_counted_is_not_news_again(journal: JournalWriter) -> None:
    rows = [
        intent_row(),
        outcome("acknowledged", order_id="x1"),
        filled_row(quantity="0.004", filled="0.004"),
        filled_row(quantity="0.002", filled="0.006"),
    ]
    _, ledger = await recovered(journal, rows)
    (order,) = ledger.open_orders()
    assert (order.filled, order.counted, order.filled_value) == (Decimal("0.006"), Decimal("0.006"), Decimal(180))


async def test_recovery_order_keeps_what_it_was_measured_by(journal: JournalWriter) -> None:
    order = tracked("a")
    order.notional_usdt, order.reference_price = Decimal("300.5"), Decimal(30050)
    _, ledger = await recovered(journal, [(RowKind.ORDER_INTENT, dict(intent_fields(order)))])
    (found,) = ledger.open_orders()
    assert (found.notional_usdt, found.reference_price) == (Decimal("300.5"), Decimal(30050))


async def test_recovery_of_ten_thousand_rows_counts_every_one(journal: JournalWriter) -> None:
    at_ns = SystemClock().wall_ns()
    entries = []
    for number in range(2_000):
        tag = f"T{number}"
        for kind, fields in [
            intent_row(tag),
            outcome("acknowledged", tag, order_id=f"x{number}"),
            filled_row(tag, quantity="0.004", filled="0.004"),
            filled_row(tag, quantity="0.006", filled="0.01"),
            resolved("ended", tag, status="Filled", filled="0.01"),
        ][: 5 if number < 1_990 else 3]:
            entries.append(Entry(at_ns=at_ns, kind=kind, actor="gateway", fields=fields))
    for start in range(0, len(entries), 256):
        await journal.append_many(entries[start : start + 256])
    ledger, activity = OrderLedger(), Activity(limits=LIMITS)
    found = await recover(journal, ledger, activity=activity, started_at_ns=1, is_release=is_believed)
    assert (found.rows, ledger.open_count()) == (len(entries), 10)
    expected = 1_990 * Decimal(300) + 10 * Decimal(300)
    assert activity.turnover_usdt(tally(ledger.claims()).pending_usdt, at_ns=at_ns) == expected


async def test_recovery_believed_release_rearms_the_throttles_and_a_forged_one_does_not(journal: JournalWriter) -> None:
    tripped = (RowKind.THROTTLE_TRIPPED, {"throttle": "messages"})
    rows = [latch_row("HALTED"), tripped, warranted_row("ACTIVE", warrant=b"forged")]
    assert (await activity_after(journal, rows)).is_terminated
    rows = [warranted_row("ACTIVE", warrant=b"warrant for 0")]
    assert not (await activity_after(journal, rows)).is_terminated


async def activity_after(journal: JournalWriter, rows: Rows) -> Activity:
    await journal.append_many([Entry(at_ns=1, kind=kind, actor="gateway", fields=fields) for kind, fields in rows])
    activity = Activity(limits=LIMITS)
    await recover(journal, OrderLedger(), activity=activity, started_at_ns=1, is_release=is_believed)
    return activity


def stop_row(kind: RowKind, tag: str, **options: Any) -> tuple[RowKind, dict[str, Any]]:
    is_gateways = kind is RowKind.DISASTER_STOP_INTENT
    return kind, dict(intent_fields(tracked_stop(tag, is_gateways=is_gateways, **options)))


@pytest.mark.parametrize("limit", ["28800", None])
async def test_recovery_stop_comes_back_as_it_was(journal: JournalWriter, limit: str | None) -> None:
    intent = stop_row(RowKind.ORDER_INTENT, "s", limit_price=limit, client_link_id="mine")
    _, ledger = await recovered(journal, [intent, outcome("acknowledged", "s", order_id="x1", is_disowned=False)])
    (order,) = ledger.stops()
    assert order.intent == stop_intent(limit_price=limit, client_link_id="mine")
    assert (order.phase, order.is_gateways, order.is_disowned) == (Phase.WORKING, False, False)
    assert order.reference_price == 29000
    assert ledger.find(order_id=None, client_link_id="mine") is order


async def test_recovery_disaster_stop_works_on_and_is_the_gateways(journal: JournalWriter) -> None:
    acknowledged = {"tag": "s", "result": "acknowledged", "order_id": "x1", "is_disowned": False}
    rows = [stop_row(RowKind.DISASTER_STOP_INTENT, "s"), (RowKind.DISASTER_STOP_OUTCOME, acknowledged)]
    _, ledger = await recovered(journal, rows)
    (order,) = ledger.stops()
    assert (order.phase, order.is_gateways, order.is_disowned) == (Phase.WORKING, True, False)
    assert ledger.find(order_id="x1", client_link_id=None) is None


async def test_recovery_disaster_stop_without_an_outcome_is_resolved_and_not_disowned(journal: JournalWriter) -> None:
    _, ledger = await recovered(journal, [stop_row(RowKind.DISASTER_STOP_INTENT, "s")])
    (order,) = ledger.unresolved()
    assert order.is_gateways
    assert not order.is_disowned


async def test_recovery_ended_disaster_stop_counts_no_more_and_its_tag_is_remembered(journal: JournalWriter) -> None:
    ended = (RowKind.DISASTER_STOP_RESOLVED, {"tag": "s", "result": "ended", "status": "Deactivated", "filled": "0"})
    _, ledger = await recovered(journal, [stop_row(RowKind.DISASTER_STOP_INTENT, "s"), ended])
    assert ledger.stops() == []
    assert ledger.is_own_tag("s")


async def test_recovery_fills_of_a_disaster_stop_are_counted_before_the_restart(journal: JournalWriter) -> None:
    stop = tracked_stop("s", is_gateways=True)
    fill = Filled(order=stop, quantity=Decimal("0.004"), price=Decimal(28900), total=Decimal("0.004"))
    rows: Rows = [
        stop_row(RowKind.DISASTER_STOP_INTENT, "s"),
        (RowKind.DISASTER_STOP_FILLED, dict(fill_fields(fill, Decimal("115.6")))),
    ]
    _, ledger = await recovered(journal, rows)
    (order,) = ledger.stops()
    assert (order.filled, order.counted) == (Decimal("0.004"), Decimal("0.004"))


async def test_recovery_disaster_stop_that_turned_up_after_all_is_not_disowned(journal: JournalWriter) -> None:
    def told(result: str, **fields: Any) -> tuple[RowKind, dict[str, Any]]:
        return RowKind.DISASTER_STOP_RESOLVED, {"tag": "s", "result": result, **fields}

    found = told("found", order_id="x1", status="Untriggered", filled="0", is_disowned=False)
    _, ledger = await recovered(journal, [stop_row(RowKind.DISASTER_STOP_INTENT, "s"), told("not_found"), found])
    (order,) = ledger.stops()
    assert (order.phase, order.is_disowned) == (Phase.WORKING, False)


ENDS = [
    [outcome("rejected")],
    [outcome("withheld")],
    [outcome("not_sent")],
    [outcome("unknown"), resolved("not_found")],
    [outcome("acknowledged", order_id="x1"), resolved("ended", status="Cancelled", filled="0")],
    [filled_row(quantity="0.01", filled="0.01"), resolved("found", order_id="x1", status="Filled", filled="0.01")],
    [resolved("found", order_id="x1", status="Filled", filled="0.01"), filled_row(quantity="0.01", filled="0.01")],
]


@pytest.mark.parametrize("rows", ENDS)
async def test_recovery_order_link_id_of_an_ended_order_stays_used(journal: JournalWriter, rows: Rows) -> None:
    _, ledger = await recovered(journal, [intent_row(client_link_id="mine"), *rows])
    assert ledger.open_count() == 0
    assert ledger.is_alias_used("mine")
    order = ledger.find(order_id=None, client_link_id="mine")
    assert order is not None
    assert order.phase is Phase.FINISHED


async def test_recovery_remembers_the_latest_ended_orders_up_to_its_bound(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_FINISHED", 2)
    rows = [row for tag in "abc" for row in (intent_row(tag, client_link_id=f"link-{tag}"), outcome("rejected", tag))]
    _, ledger = await recovered(journal, rows)
    assert [ledger.is_alias_used(f"link-{tag}") for tag in "abc"] == [False, True, True]


async def test_recovery_ended_order_claims_nothing_and_counts_no_fill_again(journal: JournalWriter) -> None:
    rows = [
        intent_row(),
        outcome("acknowledged", order_id="x1"),
        filled_row(quantity="0.004", filled="0.004"),
        resolved("ended", status="PartiallyFilledCanceled", filled="0.004"),
    ]
    _, ledger = await recovered(journal, rows)
    order = ledger.find(order_id="x1", client_link_id=None)
    assert order is not None
    assert (order.filled, order.counted, order.claim, order.uncounted) == (Decimal("0.004"), Decimal("0.004"), 0, 0)
    assert list(ledger.claims()) == []
    assert not ledger.revive("a", "x1")


async def test_recovery_order_that_came_back_to_life_counts_again(journal: JournalWriter) -> None:
    rows = [
        intent_row(),
        outcome("unknown"),
        resolved("not_found"),
        resolved("found", order_id="x1", status="New", is_disowned=True),
    ]
    _, ledger = await recovered(journal, rows)
    (order,) = ledger.open_orders()
    assert (order.order_id, order.phase, order.is_disowned) == ("x1", Phase.WORKING, True)


async def test_recovery_acknowledgement_after_the_end_names_the_order_and_does_not_revive_it(
    journal: JournalWriter,
) -> None:
    rows = [intent_row(), resolved("ended", status="Filled", filled="0.01"), outcome("acknowledged", order_id="x1")]
    _, ledger = await recovered(journal, rows)
    assert ledger.open_count() == 0
    assert ledger.find(order_id="x1", client_link_id=None) is not None


async def test_recovery_order_not_found_that_shows_up_live_is_revived(journal: JournalWriter) -> None:
    _, ledger = await recovered(journal, [intent_row(), outcome("unknown"), resolved("not_found")])
    assert ledger.revive("a", "x1")
    assert [order.is_disowned for order in ledger.open_orders()] == [True]


SUCCEEDED: tuple[RowKind, dict[str, Any]] = (RowKind.LOG_SUCCEEDED, {"log": 2})


@pytest.mark.parametrize(
    ("rows", "latch", "sequence"),
    [
        ([SUCCEEDED], TradingState.HALTED, 0),
        ([latch_row("TRIMMED"), SUCCEEDED], TradingState.HALTED, 1),
        ([latch_row("KILLED"), SUCCEEDED], TradingState.KILLED, 1),
        ([SUCCEEDED, latch_row("HALTED")], TradingState.HALTED, 1),
        ([SUCCEEDED, latch_row("TRIMMED")], TradingState.HALTED, 0),
        ([SUCCEEDED, warranted_row("ACTIVE", warrant=b"warrant for 0")], TradingState.ACTIVE, None),
        ([latch_row("HALTED"), SUCCEEDED, warranted_row("ACTIVE", warrant=b"warrant for 0")], TradingState.HALTED, 1),
    ],
)
async def test_recovery_new_log_is_halted_until_its_own_row_is_released(
    journal: JournalWriter, rows: Rows, latch: TradingState, sequence: int | None
) -> None:
    found, _ = await recovered(journal, rows)
    assert (found.latch, found.latch_sequence) == (latch, sequence)
    assert found.latch is TradingState.ACTIVE or found.latch_reason
