"""Unitised equity: no flow moves the price, nothing unexplained raises it, and every loss lowers it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_core.clock import NS_PER_S
from trade_watchdog.ceiling import CoinBalance, EquitySample, Finding
from trade_watchdog.equity import (
    DUST_USDT,
    FLOW_KINDS,
    RESULT_KINDS,
    UNEXPLAINED_MAX_S,
    Book,
    Flow,
    LogEntry,
    LogMark,
    Step,
    needs_log,
    open_book,
    step,
    unpriced_coins,
)

START = LogMark(entry_id="", at_ms=100)


def reading(**coins: str | tuple[str, str] | tuple[str, str, str]) -> EquitySample:
    """Make a reading of coins given as balance, price (1 when left out) and unrealised result."""
    balances = []
    for name, given_as in coins.items():
        balance, price, unrealised = (*((given_as,) if isinstance(given_as, str) else given_as), "1", "0")[:3]
        if isinstance(given_as, tuple) and len(given_as) == 2:
            unrealised = "0"
        equity = Decimal(balance) + Decimal(unrealised)
        balances.append(
            CoinBalance(coin=name, wallet_balance=Decimal(balance), equity=equity, value_usdt=equity * Decimal(price))
        )
    total = sum((coin.value_usdt for coin in balances), Decimal(0))
    return EquitySample(
        equity_usdt=total, coins=tuple(balances), exchange_time_ms=100, received_wall_ns=1, received_monotonic_ns=1
    )


def entry(number: int, kind: str, coin: str, change: str, *, at_ms: int = 200) -> LogEntry:
    return LogEntry(entry_id=f"e{number}", kind=kind, coin=coin, change=Decimal(change), at_ms=at_ms)


def book_of(**coins: str | tuple[str, str]) -> Book:
    return open_book(reading(**coins), mark=START)


def stepped(book: Book, sample: EquitySample, *entries: LogEntry, now_s: float = 0) -> Step:
    return step(book, sample, entries, now_ns=int(now_s * NS_PER_S))


def good(book: Book, sample: EquitySample, *entries: LogEntry) -> Step:
    made = stepped(book, sample, *entries)
    assert made.finding is Finding.GOOD
    assert made.unexplained_usdt == 0
    return made


def test_book_opens_at_one_unit_a_dollar() -> None:
    book = book_of(USDT="4000", BTC=("0.5", "2000"))
    assert (book.units, book.price) == (Decimal(5000), Decimal(1))
    assert book.balances == {"USDT": Decimal(4000), "BTC": Decimal("0.5")}
    assert book.prices == {"USDT": Decimal(1), "BTC": Decimal(2000)}
    assert (book.mark, book.unexplained_since_ns) == (START, None)


@pytest.mark.parametrize(
    ("change", "coin", "after", "price"),
    [
        ("-5000", "USDT", ("0", "0.1"), "0.9"),
        ("-2500", "USDT", ("2500", "0.1"), "0.9"),
        ("5000", "USDT", ("10000", "0.1"), "0.9"),
        ("-0.05", "BTC", ("5000", "0.05"), "0.9"),
        ("0.1", "BTC", ("5000", "0.2"), "0.9"),
    ],
)
def test_fall_beside_a_flow_in_one_gap_is_the_money_lost_of_the_equity_before_it(
    change: str, coin: str, after: tuple[str, str], price: str
) -> None:
    """Half of the account is a coin that falls by a fifth: a tenth of the money is lost, whatever came or went."""
    book = book_of(USDT="5000", BTC=("0.1", "50000"))
    kind = "TRANSFER_OUT" if change.startswith("-") else "TRANSFER_IN"
    now = reading(USDT=after[0], BTC=(after[1], "40000"))
    made = stepped(book, now, entry(1, kind, coin, change))
    assert (made.finding, made.book.price) == (Finding.GOOD, Decimal(price))


@pytest.mark.parametrize(
    ("asked", "price"), [({}, "1"), ({"BTC": "40000"}, "0.9"), ({"BTC": "50000"}, "1"), ({"BTC": "60000"}, "1")]
)
def test_coin_that_left_whole_is_worth_what_was_asked_and_never_more_than_was_known(
    asked: dict[str, str], price: str
) -> None:
    book, now, gone = (
        book_of(USDT="5000", BTC=("0.1", "50000")),
        reading(USDT="5000"),
        entry(1, "WITHDRAW", "BTC", "-0.1"),
    )
    prices = {coin: Decimal(text) for coin, text in asked.items()}
    made = step(book, now, [gone], now_ns=0, asked_prices=prices)
    assert (made.finding, made.book.price) == (Finding.GOOD, Decimal(price))


def test_coin_that_came_and_left_unseen_is_worth_what_was_asked() -> None:
    book, now = book_of(USDT="5000"), reading(USDT="5600")
    entries = [entry(1, "DEPOSIT", "BTC", "0.1"), entry(2, "TRADE", "BTC", "-0.1"), entry(3, "TRADE", "USDT", "600")]
    made = step(book, now, entries, now_ns=0, asked_prices={"BTC": Decimal(6000)})
    assert (made.finding, made.book.price, made.flows[0].value_usdt) == (Finding.GOOD, Decimal(1), Decimal(600))


@pytest.mark.parametrize(
    ("now", "entries", "coins"),
    [
        (reading(USDT="5000"), [entry(1, "WITHDRAW", "BTC", "-0.1")], {"BTC"}),
        (reading(USDT="5000", BTC="0"), [entry(1, "WITHDRAW", "BTC", "-0.1")], {"BTC"}),
        (reading(USDT="5000", BTC=("0.05", "1")), [entry(1, "WITHDRAW", "BTC", "-0.05")], set()),
        (reading(USDT="5000"), [entry(1, "TRADE", "BTC", "-0.1")], set()),
        (reading(USDT="5000"), [entry(1, "WITHDRAW", "BTC", "-0.1", at_ms=100)], set()),
        (reading(USDT="5000"), [entry(1, "DEPOSIT", "ETH", "1"), entry(2, "UNHEARD_OF", "XRP", "1")], {"ETH", "XRP"}),
        (reading(USDT="5000"), [], set()),
    ],
)
def test_unpriced_coins_are_those_that_flowed_and_are_not_held(
    now: EquitySample, entries: list[LogEntry], coins: set[str]
) -> None:
    assert unpriced_coins(book_of(USDT="5000", BTC=("0.1", "50000")), now, entries) == coins


def test_prices_and_unrealised_results_move_the_price_without_any_log() -> None:
    book = book_of(USDT="4000", BTC=("0.5", "2000"))
    sample = reading(USDT="4000", BTC=("0.5", "1000"))
    assert not needs_log(book, sample)
    made = good(book, sample)
    assert made.book.price == Decimal("0.9")
    assert good(made.book, reading(USDT=("4000", "1", "-500"), BTC=("0.5", "1000"))).book.price == Decimal("0.8")
    assert made.book.units == 5000
    assert made.book.prices["BTC"] == 1000


@pytest.mark.parametrize("sample", [reading(USDT="4001"), reading(USDT="4000", BTC=("1", "1")), reading()])
def test_changed_new_or_missing_balance_needs_the_log(sample: EquitySample) -> None:
    assert needs_log(book_of(USDT="4000"), sample)


def test_coin_that_comes_with_nothing_needs_no_log() -> None:
    assert not needs_log(book_of(USDT="4000"), reading(USDT="4000", BTC=("0", "5")))


@pytest.mark.parametrize("kind", sorted(RESULT_KINDS))
@pytest.mark.parametrize("change", ["-400", "400"])
def test_results_move_the_price(kind: str, change: str) -> None:
    equity = Decimal(4000) + Decimal(change)
    made = good(book_of(USDT="4000"), reading(USDT=str(equity)), entry(1, kind, "USDT", change))
    assert made.book.price == equity / 4000
    assert (made.book.units, made.flows) == (4000, ())
    assert made.book.mark == LogMark(entry_id="e1", at_ms=200)


@pytest.mark.parametrize("kind", sorted(FLOW_KINDS))
@pytest.mark.parametrize("change", ["-3999.5", "12000"])
def test_flows_trade_units_and_leave_the_price(kind: str, change: str) -> None:
    equity = Decimal(4000) + Decimal(change)
    made = good(book_of(USDT="4000"), reading(USDT=str(equity)), entry(1, kind, "USDT", change))
    assert made.book.price == 1
    assert made.book.units == equity
    assert made.flows == (
        Flow(entry_id="e1", kind=kind, coin="USDT", amount=Decimal(change), value_usdt=Decimal(change), at_ms=200),
    )


def test_unknown_kind_is_a_flow_when_it_brings_and_a_loss_when_it_takes() -> None:
    came = good(book_of(USDT="1000"), reading(USDT="2000"), entry(1, "NEVER_SEEN", "USDT", "1000"))
    assert (came.book.price, came.book.units, len(came.flows)) == (1, 2000, 1)
    went = good(book_of(USDT="1000"), reading(USDT="800"), entry(1, "NEVER_SEEN", "USDT", "-200"))
    assert (went.book.price, went.book.units, went.flows) == (Decimal("0.8"), 1000, ())
    little = good(book_of(USDT="1000"), reading(USDT="1000.5"), entry(1, "NEVER_SEEN", "USDT", "0.5"))
    assert (little.book.price, len(little.flows)) == (1, 1)
    nothing = good(book_of(USDT="1000"), reading(USDT="1000"), entry(1, "NEVER_SEEN", "USDT", "0"))
    assert nothing.flows == ()


def test_units_trade_at_the_price_just_before_the_flow() -> None:
    # Fallen by a tenth, then 900 came in: 1000 units at 0.9, and 1000 more.
    made = good(
        book_of(USDT="1000"),
        reading(USDT="1800"),
        entry(1, "TRADE", "USDT", "-100"),
        entry(2, "DEPOSIT", "USDT", "900"),
    )
    assert (made.book.price, made.book.units) == (Decimal("0.9"), 2000)
    assert good(made.book, reading(USDT="1800")).book.price == Decimal("0.9")


def test_flow_in_a_coin_is_worth_what_the_reading_says() -> None:
    made = good(
        book_of(USDT="1000", BTC=("1", "1000")),
        reading(USDT="1000", BTC=("0.5", "1500")),
        entry(1, "TRANSFER_OUT", "BTC", "-0.5"),
    )
    assert made.flows[0].value_usdt == -750
    assert made.book.price == Decimal("1.25")
    assert made.book.units == 1400


def test_coin_that_leaves_entirely_is_worth_what_it_was_last() -> None:
    made = good(book_of(USDT="1000", BTC=("1", "1000")), reading(USDT="1000"), entry(1, "WITHDRAW", "BTC", "-1"))
    assert (made.book.price, made.book.units) == (1, 1000)
    assert made.book.balances == {"USDT": Decimal(1000)}
    assert set(made.book.prices) == {"USDT"}


def test_coin_that_came_and_went_unseen_is_worth_nothing() -> None:
    made = good(
        book_of(USDT="1000"),
        reading(USDT="1000"),
        entry(1, "DEPOSIT", "XRP", "5"),
        entry(2, "WITHDRAW", "XRP", "-5"),
    )
    assert [flow.value_usdt for flow in made.flows] == [0, 0]
    assert (made.book.price, made.book.mark.entry_id) == (1, "e2")


def test_swap_of_coins_is_explained_by_both_of_its_entries_only() -> None:
    book = book_of(USDT="1000")
    bought = reading(USDT="499.5", BTC=("0.5", "1000"))
    cash, coin = entry(1, "TRADE", "USDT", "-500.5"), entry(2, "TRADE", "BTC", "0.5")
    assert good(book, bought, cash, coin).book.price == Decimal("0.9995")
    assert stepped(book, bought, cash).finding is Finding.UNEXPLAINED
    assert stepped(book, bought, coin).finding is Finding.UNEXPLAINED


def test_entries_that_the_balance_does_not_show_yet_are_left_for_later() -> None:
    first, second = entry(1, "TRADE", "USDT", "-100"), entry(2, "DEPOSIT", "USDT", "900", at_ms=300)
    made = good(book_of(USDT="1000"), reading(USDT="900"), first, second)
    assert (made.book.mark.entry_id, made.flows) == ("e1", ())
    later = good(made.book, reading(USDT="1800"), first, second)
    assert (later.book.mark.entry_id, later.book.price, later.book.units) == ("e2", Decimal("0.9"), 2000)
    both = good(book_of(USDT="1000"), reading(USDT="1800"), first, second)
    assert both.book.mark == LogMark(entry_id="e2", at_ms=300)
    none_yet = good(book_of(USDT="1000"), reading(USDT="1000"), first, second)
    assert none_yet.book.mark == START


def test_mark_that_is_not_listed_falls_back_to_its_time() -> None:
    book = book_of(USDT="1000")
    at_mark, after = entry(1, "TRADE", "USDT", "5", at_ms=100), entry(2, "TRADE", "USDT", "-100", at_ms=101)
    made = good(book, reading(USDT="900"), at_mark, after)
    assert made.book.mark.entry_id == "e2"
    assert stepped(book, reading(USDT="1005"), at_mark).finding is Finding.UNEXPLAINED


@pytest.mark.parametrize(("balance", "kept"), [("500", 500), ("1500", 1500)])
def test_unexplained_step_is_untrusted_and_keeps_the_book(balance: str, kept: int) -> None:
    book = book_of(USDT="1000")
    made = stepped(book, reading(USDT=balance), now_s=5)
    assert made.finding is Finding.UNEXPLAINED
    assert made.unexplained_usdt == kept - 1000
    assert (made.book.price, made.book.units, made.book.balances) == (1, 1000, book.balances)
    assert made.book.unexplained_since_ns == 5 * NS_PER_S


def test_unexplained_step_counts_as_loss_after_ten_minutes_and_no_sooner() -> None:
    waiting = stepped(book_of(USDT="1000"), reading(USDT="500"), now_s=5).book
    just_before = stepped(waiting, reading(USDT="500"), now_s=5 + UNEXPLAINED_MAX_S - 0.001)
    assert (just_before.finding, just_before.book.unexplained_since_ns) == (Finding.UNEXPLAINED, 5 * NS_PER_S)
    made = stepped(waiting, reading(USDT="500"), now_s=5 + UNEXPLAINED_MAX_S)
    assert (made.finding, made.unexplained_usdt) == (Finding.GOOD, -500)
    assert (made.book.price, made.book.units, made.book.unexplained_since_ns) == (Decimal("0.5"), 1000, None)
    assert made.book.balances == {"USDT": Decimal(500)}
    assert UNEXPLAINED_MAX_S == 600


def test_unexplained_gain_buys_units_after_ten_minutes() -> None:
    waiting = stepped(book_of(USDT="1000"), reading(USDT="3000")).book
    made = stepped(waiting, reading(USDT="3000"), now_s=UNEXPLAINED_MAX_S)
    assert (made.finding, made.unexplained_usdt, made.flows) == (Finding.GOOD, 2000, ())
    assert (made.book.price, made.book.units) == (1, 3000)


def test_unexplained_swap_counts_as_the_difference_in_worth() -> None:
    swapped = reading(USDT="0", BTC=("0.45", "2000"))
    waiting = stepped(book_of(USDT="1000"), swapped).book
    made = stepped(waiting, swapped, now_s=UNEXPLAINED_MAX_S)
    assert (made.book.price, made.unexplained_usdt) == (Decimal("0.9"), -100)


def test_what_entries_explain_is_taken_with_what_they_do_not() -> None:
    flow = entry(1, "DEPOSIT", "USDT", "1000")
    waiting = stepped(book_of(USDT="1000"), reading(USDT="1500"), flow)
    assert waiting.unexplained_usdt == -500
    made = stepped(waiting.book, reading(USDT="1500"), flow, now_s=UNEXPLAINED_MAX_S)
    assert made.book.price == Decimal("0.5")
    assert (made.book.units, made.book.mark.entry_id, len(made.flows)) == (3000, "e1", 1)


def test_step_that_gets_its_explanation_is_trusted_again() -> None:
    waiting = stepped(book_of(USDT="1000"), reading(USDT="900")).book
    made = good(waiting, reading(USDT="900"), entry(1, "TRADE", "USDT", "-100"))
    assert (made.book.price, made.book.unexplained_since_ns) == (Decimal("0.9"), None)


@pytest.mark.parametrize(("balance", "price"), [("1000.01", "1"), ("999.99", "0.99999")])
def test_dust_is_no_step_and_never_raises_the_price(balance: str, price: str) -> None:
    made = stepped(book_of(USDT="1000"), reading(USDT=balance))
    assert (made.finding, made.book.price) == (Finding.GOOD, Decimal(price))
    assert abs(made.unexplained_usdt) == DUST_USDT


@pytest.mark.parametrize("balance", ["1000.011", "999.989"])
def test_more_than_dust_is_a_step(balance: str) -> None:
    assert stepped(book_of(USDT="1000"), reading(USDT=balance)).finding is Finding.UNEXPLAINED


def test_dust_is_measured_over_all_coins_without_netting() -> None:
    book = book_of(USDT="1000", BTC=("1", "1000"))
    both = reading(USDT="1000.006", BTC=("0.999994", "1000"))
    assert stepped(book, both).finding is Finding.UNEXPLAINED


def test_difference_in_a_coin_without_a_price_is_no_dust() -> None:
    book = book_of(USDT="1000")
    # XRP is held by neither reading, and the log says that some came: nobody can say what is missing.
    assert stepped(book, reading(USDT="1001"), entry(1, "TRADE", "XRP", "0.0001")).finding is Finding.UNEXPLAINED


def test_account_that_was_emptied_before_the_flow_is_no_sample() -> None:
    made = stepped(
        book_of(USDT="1000"),
        reading(USDT="500"),
        entry(1, "TRADE", "USDT", "-1000"),
        entry(2, "DEPOSIT", "USDT", "500"),
    )
    assert made.finding is Finding.NOT_POSITIVE
    assert made.book == book_of(USDT="1000")


def test_rounding_goes_down_in_the_price_and_up_in_the_units() -> None:
    book = book_of(USDT="3")
    made = good(book, reading(USDT="2"), entry(1, "TRADE", "USDT", "-1"))
    assert made.book.price == Decimal("0.666666666666666666")
    more = good(made.book, reading(USDT="3"), entry(1, "TRADE", "USDT", "-1"), entry(2, "DEPOSIT", "USDT", "1"))
    assert more.book.price == Decimal("0.666666666666666666")
    assert more.book.units == Decimal("4.500000000000000005")


Action = tuple[str, int, int]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["market", "trade", "fee", "in", "out", "coin_in", "coin_out"]),
            st.integers(1, 400),
            st.integers(0, 2),
        ),
        max_size=40,
    )
)
def test_price_is_the_time_weighted_result_whatever_flows(actions: Sequence[Action]) -> None:
    """The oracle knows the account: it chains the results between flows, in fractions, and knows no units."""
    cash, coin, worth = Fraction(10_000), Fraction(10), Fraction(500)
    oracle, before = Fraction(1), cash + coin * worth
    log: list[LogEntry] = []
    book = open_book(shown(cash, coin, worth), mark=START)
    for kind, size, lag in actions:
        amount = Fraction(size)
        flow = Fraction(0)
        changes: list[tuple[str, str, Fraction]] = []
        match kind:
            case "market":
                worth = worth * (600 + size) / 800
            case "trade":
                changes = [("TRADE", "USDT", -amount), ("TRADE", "BTC", Fraction(size, 512))]
            case "fee":
                changes = [("SETTLEMENT", "USDT", -amount / 64)]
            case "in" | "out":
                flow = amount if kind == "in" else -amount / 8
                changes = [("DEPOSIT" if kind == "in" else "WITHDRAW", "USDT", flow)]
            case _:
                quantity = Fraction(size, 64) if kind == "coin_in" else -coin / 16
                flow = quantity * worth
                changes = [("TRANSFER_IN" if quantity > 0 else "TRANSFER_OUT", "BTC", quantity)]
        for what, name, change in changes:
            log.append(entry(len(log), what, name, str(plain(change)), at_ms=200 + len(log)))
            cash, coin = (cash + change, coin) if name == "USDT" else (cash, coin + change)
        after = cash + coin * worth
        oracle, before = oracle * (after - flow) / before, after
        # The log may already know what the balance does not show: a flow that comes next.
        ahead = [entry(10_000 + index, "DEPOSIT", "USDT", "7777", at_ms=9999) for index in range(lag)]
        made = step(book, shown(cash, coin, worth), [*log, *ahead], now_ns=0)
        assert made.finding is Finding.GOOD
        book = made.book
        assert abs(Fraction(book.price) - oracle) < Fraction(1, 10**12)
        assert len(made.flows) == (1 if flow else 0)


def plain(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def shown(cash: Fraction, coin: Fraction, worth: Fraction) -> EquitySample:
    price = plain(worth)
    return reading(USDT=str(plain(cash)), BTC=(str(plain(coin)), str(price)))
