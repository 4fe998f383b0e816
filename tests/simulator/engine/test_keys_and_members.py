"""API keys: who may call, from where, until when, and who manages whose."""

from decimal import Decimal

import pytest

from trade_simulator.instruments import Category
from trade_simulator.keys import KEYS_PER_ACCOUNT_MAX, UNBOUND_LIFETIME_MS
from trade_simulator.orders import Side
from trade_simulator.positions import TradingStop
from trade_simulator.records import AccountType, MarginMode
from trade_simulator.rejections import Rejected

TRADE = {"ContractTrade": ("Order", "Position"), "Spot": ("SpotTrade",)}
TRANSFER = {"Wallet": ("AccountTransfer", "SubMemberTransfer")}


@pytest.fixture
def keys(venue):
    """Return the master key, a trading key of the sub-account, and a master key of the stranger."""
    registry = venue.exchange.keys
    return {
        "master": registry.create(uid="1", is_master=True, permissions=TRANSFER),
        "sub": registry.create(uid="2", is_master=False, permissions={**TRADE, **TRANSFER}),
        "stranger": registry.create(uid="3", is_master=True, permissions=TRANSFER),
    }


def code_of(action):
    with pytest.raises(Rejected) as caught:
        action()
    return caught.value.code


def test_key_that_was_made_authenticates(venue, keys):
    found = venue.exchange.keys.authenticate(keys["sub"].api_key, address="10.0.0.1")
    assert found == keys["sub"]
    assert found.allows("Spot", "SpotTrade")
    assert not found.allows("Wallet", "Withdraw")


def test_unknown_key_is_refused(venue):
    assert code_of(lambda: venue.exchange.keys.authenticate("nobody", address="")) == 10003


def test_keys_are_random_even_with_the_same_seed(make_venue):
    made = [make_venue(seed=7).exchange.keys.create(uid="1", is_master=True, permissions={}) for _ in range(2)]
    assert made[0].api_key != made[1].api_key
    assert made[0].secret != made[1].secret


def test_bound_key_is_refused_from_another_address(venue):
    registry = venue.exchange.keys
    key = registry.create(uid="1", is_master=True, permissions={}, ips=("10.0.0.1",))
    assert registry.authenticate(key.api_key, address="10.0.0.1")
    assert code_of(lambda: registry.authenticate(key.api_key, address="10.0.0.2")) == 10010
    assert key.expires_at_ms is None
    assert key.deadline_day(venue.now_ms) == -2


def test_unbound_key_expires_after_three_months(venue, keys):
    registry, key = venue.exchange.keys, keys["sub"]
    assert key.deadline_day(venue.now_ms) == 90
    venue.now_ms += UNBOUND_LIFETIME_MS - 1
    assert registry.authenticate(key.api_key, address="")
    venue.now_ms += 1
    assert code_of(lambda: registry.authenticate(key.api_key, address="")) == 33004
    assert key.deadline_day(venue.now_ms) == -1


def test_star_means_any_address(venue):
    key = venue.exchange.keys.create(uid="1", is_master=True, permissions={}, ips=("*",))
    assert venue.exchange.keys.authenticate(key.api_key, address="10.9.9.9")


@pytest.mark.parametrize("permissions", [{"Nothing": ("x",)}, {"Spot": ("Everything",)}])
def test_unknown_permission_is_refused(venue, permissions):
    assert code_of(lambda: venue.exchange.keys.create(uid="1", is_master=True, permissions=permissions)) == 10001


def test_too_many_addresses_are_refused(venue):
    ips = tuple(f"10.0.{n}.1" for n in range(101))
    registry = venue.exchange.keys
    assert code_of(lambda: registry.create(uid="1", is_master=True, permissions={}, ips=ips)) == 10001


def test_account_with_twenty_keys_gets_no_more(venue, keys):
    registry = venue.exchange.keys
    for _ in range(KEYS_PER_ACCOUNT_MAX - 1):
        registry.create(uid="2", is_master=False, permissions={})
    assert code_of(lambda: registry.create(uid="2", is_master=False, permissions={})) == 10001


def test_master_makes_lists_changes_and_deletes_keys_of_its_sub_account(venue, keys):
    exchange, master = venue.exchange, keys["master"]
    made = exchange.create_sub_key(master, "2", permissions=TRADE, read_only=False, ips=("10.0.0.1",), note="n")
    assert (made.uid, made.is_master, made.note) == ("2", False, "n")
    page = exchange.sub_keys(master, "2", limit=1, cursor="")
    assert page.items == (made,)
    assert exchange.sub_keys(master, "2", limit=1, cursor=page.next_cursor).items == (keys["sub"],)
    changed = exchange.update_sub_key(master, made.api_key, read_only=True, ips=None, permissions=None)
    assert (changed.read_only, changed.ips, changed.permissions) == (True, ("10.0.0.1",), TRADE)
    exchange.delete_sub_key(master, made.api_key)
    assert code_of(lambda: exchange.keys.authenticate(made.api_key, address="10.0.0.1")) == 10003


def test_sub_account_deletes_only_the_key_that_calls(venue, keys):
    exchange = venue.exchange
    other = exchange.keys.create(uid="2", is_master=False, permissions=TRADE)
    assert venue.refused(lambda: exchange.delete_sub_key(keys["sub"], other.api_key))[0] == 10005
    exchange.delete_sub_key(keys["sub"], "")
    assert code_of(lambda: exchange.keys.find(keys["sub"].api_key)) == 10003
    assert exchange.keys.find(other.api_key)


def test_key_management_needs_a_money_permission(venue):
    exchange = venue.exchange
    weak = exchange.keys.create(uid="1", is_master=True, permissions=TRADE)
    reader = exchange.keys.create(uid="1", is_master=True, permissions=TRANSFER, read_only=True)
    for key in (weak, reader):
        for action in (
            lambda key=key: exchange.freeze(key, "2", frozen=True),
            lambda key=key: exchange.delete_key(key),
            lambda key=key: exchange.update_key(key, read_only=None, ips=None, permissions=None),
            lambda key=key: exchange.delete_sub_key(key, ""),
            lambda key=key: exchange.create_sub_key(key, "2", permissions={}, read_only=True, ips=(), note=""),
        ):
            assert venue.refused(action)[0] == 10005
    assert exchange.sub_keys(reader, "2", limit=10, cursor="").items == ()


def test_sub_account_manages_nobody(venue, keys):
    exchange, sub = venue.exchange, keys["sub"]
    for action in (
        lambda: exchange.freeze(sub, "2", frozen=True),
        lambda: exchange.sub_keys(sub, "2", limit=10, cursor=""),
        lambda: exchange.delete_key(sub),
        lambda: exchange.create_sub_key(sub, "2", permissions={}, read_only=True, ips=(), note=""),
    ):
        assert venue.refused(action)[0] == 10005


def test_stranger_reaches_no_sub_account_of_another(venue, keys):
    exchange, stranger = venue.exchange, keys["stranger"]
    for action in (
        lambda: exchange.freeze(stranger, "2", frozen=True),
        lambda: exchange.sub_keys(stranger, "2", limit=10, cursor=""),
        lambda: exchange.delete_sub_key(stranger, keys["sub"].api_key),
        lambda: exchange.create_sub_key(stranger, "2", permissions={}, read_only=True, ips=(), note=""),
    ):
        assert venue.refused(action)[0] == 10001


def test_sub_account_key_never_withdraws(venue, keys):
    exchange = venue.exchange
    power = {"Wallet": ("Withdraw",)}
    make = lambda: exchange.create_sub_key(keys["master"], "2", permissions=power, read_only=False, ips=(), note="")  # noqa: E731
    change = lambda: exchange.update_sub_key(  # noqa: E731
        keys["master"], keys["sub"].api_key, read_only=None, ips=None, permissions=power
    )
    assert venue.refused(make)[0] == 10001
    assert venue.refused(change)[0] == 10001


def test_master_deletes_its_calling_key_and_then_can_do_nothing(venue, keys):
    exchange, master = venue.exchange, keys["master"]
    exchange.delete_key(master)
    assert code_of(lambda: exchange.keys.authenticate(master.api_key, address="")) == 10003
    assert venue.refused(lambda: exchange.freeze(master, "2", frozen=True))[0] == 10003


def test_binding_a_key_to_an_address_takes_away_its_expiry(venue, keys):
    changed = venue.exchange.update_key(keys["master"], read_only=None, ips=("10.0.0.1",), permissions=None)
    assert changed.expires_at_ms is None


def test_frozen_sub_account_can_do_nothing_until_it_is_thawed(venue, keys):
    exchange = venue.exchange
    order = venue.rest(uid="2")
    exchange.freeze(keys["master"], "2", frozen=True)
    actions = (
        lambda: exchange.keys.authenticate(keys["sub"].api_key, address=""),
        lambda: venue.rest(uid="2"),
        lambda: venue.cancel(order),
        lambda: venue.amend(order, price=Decimal(50000)),
        lambda: venue.cancel_all("2", symbol="BTCUSDT"),
        lambda: venue.place(Side.SELL, "0", uid="2", reduce_only=True, close_on_trigger=True),
        lambda: exchange.trading_stop("2", TradingStop(symbol="BTCUSDT")),
        lambda: exchange.set_margin_mode("2", MarginMode.ISOLATED),
        lambda: exchange.switch_mode("2", category=Category.LINEAR, symbol="", coin="USDT", mode=3),
        lambda: exchange.inter_transfer(
            "2",
            transfer_id="00000000-0000-0000-0000-000000000001",
            coin="USDT",
            amount=Decimal(1),
            from_type=AccountType.UNIFIED,
            to_type=AccountType.FUND,
        ),
        lambda: exchange.delete_sub_key(keys["sub"], ""),
        lambda: exchange.stop_algo("2", "x"),
    )
    for action in actions:
        assert venue.refused(action)[0] == 10027
    assert venue.order(order).is_open
    assert exchange.wallet("2").total_equity > 0
    exchange.freeze(keys["master"], "2", frozen=False)
    assert venue.rest(uid="2", side=Side.SELL).is_open


def test_sub_accounts_are_listed_and_have_none_of_their_own(venue):
    exchange = venue.exchange
    assert [one.uid for one in exchange.sub_accounts("1")] == ["2"]
    refused = venue.refused(lambda: exchange.create_account(parent_uid="2", balances={}))
    assert refused[0] == 10001


@pytest.mark.parametrize("fields", [{"uid": "1", "balances": {}}, {"uid": "8", "balances": {"USDT": Decimal(-1)}}])
def test_account_that_exists_or_owes_is_refused(venue, fields):
    assert venue.refused(lambda: venue.exchange.create_account(**fields))[0] == 10001
