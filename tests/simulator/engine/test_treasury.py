"""Transfers, withdrawals, deposits and outside flows."""

import uuid
from decimal import Decimal

import pytest

from trade_simulator.instruments import Category
from trade_simulator.orders import Side
from trade_simulator.records import AccountType, RecordQuery, TransactionType, WithdrawRequest

D = Decimal
UNIFIED, FUND = AccountType.UNIFIED, AccountType.FUND


def inter(venue, amount="100", coin="USDT", *, uid="1", source=UNIFIED, target=FUND, transfer_id=None):
    return venue.exchange.inter_transfer(
        uid, transfer_id=transfer_id or str(uuid.uuid4()), coin=coin, amount=D(amount), from_type=source, to_type=target
    )


def universal(venue, *, caller="1", source="1", target="2", amount="100", coin="USDT", transfer_id=None):
    return venue.exchange.universal_transfer(
        caller,
        transfer_id=transfer_id or str(uuid.uuid4()),
        coin=coin,
        amount=D(amount),
        from_uid=source,
        to_uid=target,
        from_type=UNIFIED,
        to_type=UNIFIED,
    )


def withdraw(venue, *, uid="1", **fields):
    values = {"coin": "USDT", "chain": "ETH", "address": "0xabc", "tag": "", "amount": D(100), "account_type": FUND}
    return venue.exchange.withdraw(uid, WithdrawRequest(**{**values, **fields}))


def test_inter_transfer_moves_between_the_wallets_of_a_member(venue):
    record = inter(venue)
    assert venue.balance() == 99_900
    assert venue.exchange.accounts["1"].funding_balances["USDT"] == 100
    assert venue.exchange.inter_transfers("1", RecordQuery()).items == (record,)
    assert venue.exchange.universal_transfers("1", RecordQuery()).items == ()
    assert venue.exchange.accounts["1"].ledger[-1].kind is TransactionType.TRANSFER_OUT
    venue.assert_sound()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target": UNIFIED}, 131211),
        ({"transfer_id": "not-a-uuid"}, 131203),
        ({"coin": "DOGE"}, 131203),
        ({"amount": "0"}, 131215),
        ({"amount": "-1"}, 131215),
        ({"amount": "0.000000001"}, 131210),
        ({"amount": "100000.00000001"}, 131212),
        ({"source": FUND, "target": UNIFIED}, 131212),
    ],
)
def test_transfer_that_breaks_a_rule_is_refused(venue, fields, code):
    assert venue.refused(lambda: inter(venue, **fields))[0] == code


def test_transfer_id_is_used_once(venue):
    used = inter(venue).transfer_id
    assert venue.refused(lambda: inter(venue, transfer_id=used))[0] == 131214


def test_whole_balance_can_be_transferred_but_not_what_is_locked(venue):
    venue.spot(Side.BUY, "1", "60000")
    assert venue.refused(lambda: inter(venue, "40000.00000001"))[0] == 131212
    inter(venue, "40000")
    assert venue.balance() == 60_000


def test_unrealised_profit_cannot_be_transferred(venue):
    venue.place(Side.BUY, "1")
    venue.jump("70000")
    margin = venue.exchange.wallet("1").total_initial_margin
    free = (venue.balance() - margin).quantize(D("1e-8"), rounding="ROUND_DOWN")
    assert venue.refused(lambda: inter(venue, str(free + D("0.00000001"))))[0] == 131212
    inter(venue, str(free))


def test_master_moves_money_within_its_family(venue):
    record = universal(venue)
    assert (venue.balance(), venue.balance(uid="2")) == (99_900, 100_100)
    assert venue.exchange.universal_transfers("1", RecordQuery()).items == (record,)
    assert venue.exchange.universal_transfers("2", RecordQuery()).items == (record,)
    universal(venue, source="2", target="1")
    assert venue.balance() == 100_000
    venue.assert_sound()


def test_sub_account_moves_money_only_out_of_itself(venue):
    universal(venue, caller="2", source="2", target="1")
    assert venue.refused(lambda: universal(venue, caller="2", source="1", target="2"))[0] == 131208


def test_nobody_moves_money_across_families(venue):
    assert venue.refused(lambda: universal(venue, target="3"))[0] == 131202
    assert venue.refused(lambda: universal(venue, caller="3", source="1", target="3"))[0] == 131202
    assert venue.refused(lambda: universal(venue, target="9"))[0] == 10001


def test_frozen_member_neither_gives_nor_receives(venue):
    venue.exchange.accounts["2"].is_frozen = True
    assert venue.refused(lambda: universal(venue))[0] == 131208
    assert venue.refused(lambda: universal(venue, caller="2", source="2", target="1"))[0] == 10027


def test_withdrawal_takes_amount_and_fee(venue):
    inter(venue, "1000")
    record = withdraw(venue)
    assert venue.exchange.accounts["1"].funding_balances["USDT"] == 897
    assert (record.amount, record.fee, record.status) == (100, 3, "success")
    assert venue.exchange.withdrawals("1", RecordQuery(coin="USDT")).items == (record,)
    assert venue.exchange.withdrawals("1", RecordQuery(coin="BTC")).items == ()
    venue.assert_sound()


def test_withdrawal_can_pay_its_fee_out_of_the_amount(venue):
    inter(venue, "100")
    assert withdraw(venue, fee_type=1).amount == 97
    assert venue.exchange.accounts["1"].funding_balances["USDT"] == 0
    venue.assert_sound()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"coin": "DOGE"}, 131002),
        ({"chain": "TRX"}, 131002),
        ({"address": ""}, 131002),
        ({"amount": D("9.99")}, 131096),
        ({"amount": D("10.000000001")}, 131096),
        ({"amount": D(5_000_001)}, 131096),
        ({"amount": D(998)}, 131001),
        ({"uid": "2"}, 131090),
    ],
)
def test_withdrawal_that_breaks_a_rule_is_refused(venue, fields, code):
    inter(venue, "1000")
    assert venue.refused(lambda: withdraw(venue, **fields))[0] == code


def test_outside_flows_leave_records(venue):
    venue.exchange.flow("1", coin="USDT", amount=D(50))
    venue.exchange.flow("1", coin="USDT", amount=D(-20))
    assert venue.balance() == 100_030
    assert venue.exchange.deposits("1", RecordQuery()).items[0].amount == 50
    assert venue.exchange.withdrawals("1", RecordQuery()).items[0].amount == 20
    venue.assert_sound()


@pytest.mark.parametrize(("coin", "amount"), [("DOGE", "1"), ("USDT", "0"), ("USDT", "NaN")])
def test_flow_that_is_nothing_is_refused(venue, coin, amount):
    assert venue.refused(lambda: venue.exchange.flow("1", coin=coin, amount=D(amount)))[0] == 10001


def test_flow_out_of_more_than_there_is_is_refused(venue):
    assert venue.refused(lambda: venue.exchange.flow("1", coin="USDT", amount=D(-100_001)))[0] == 131212


def test_fee_rates_are_those_of_the_category(venue):
    rates = venue.exchange.fee_rates("1", Category.LINEAR, symbol="BTCUSDT")
    assert [(one.maker_fee_rate, one.taker_fee_rate) for one in rates] == [(D("0.0002"), D("0.00055"))]
    assert len(venue.exchange.fee_rates("1", Category.SPOT)) == 3
    assert len(venue.exchange.fee_rates("1", Category.SPOT, base_coin="ETH")) == 1
    assert venue.refused(lambda: venue.exchange.fee_rates("1", Category.SPOT, symbol="NO"))[0] == 170121
