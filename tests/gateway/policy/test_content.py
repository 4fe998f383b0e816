"""The canonical form of a policy, there and back, and into one row of the journal at its largest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.policy.parts import POLICY

from trade_gateway.policy import bounds
from trade_gateway.policy.content import policy_of, policy_text
from trade_gateway.policy.limits import PolicyError, policy_hash
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolLimits
from trade_gateway.row_texts import row_parts
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import Entry, RowKind, draft

VARIANTS = [
    POLICY,
    replace(POLICY, disaster_stop_fraction=Decimal("0.1"), leverage=2),
    replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY),
]


@pytest.mark.parametrize("policy", VARIANTS)
def test_content_read_back_is_the_same_policy(policy: Policy) -> None:
    back = policy_of(policy_text(policy), expected_hash=policy_hash(policy))
    assert replace(back, symbols=dict(back.symbols)) == policy
    assert policy_hash(back) == policy_hash(policy)


def test_content_of_another_hash_is_refused() -> None:
    with pytest.raises(PolicyError, match="is not that of"):
        policy_of(policy_text(POLICY), expected_hash=policy_hash(VARIANTS[1]))


@pytest.mark.parametrize(
    "change",
    [{"version": 1}, {"collar": "0.5"}, {"symbols": []}, {"symbols": [["spot"]]}, {"symbols": 7}, {"leverage": True}],
)
def test_content_that_no_policy_file_could_have_is_refused(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(policy_text(POLICY)), **change})
    with pytest.raises(PolicyError):
        policy_of(text, expected_hash=_hash(text))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\ud800"])
def test_content_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        policy_of(text, expected_hash=_hash(text))


def test_content_of_the_largest_policy_fits_one_row() -> None:
    longest = Decimal("123456789012.123456789012")
    symbols = {
        (Category.LINEAR, f"{number:02}" + "X" * 28): SymbolLimits(
            max_order_quantity=longest, max_notional_usdt=longest
        )
        for number in range(bounds.MAX_SYMBOLS)
    }
    numbers = dict.fromkeys([*bounds.MONEY, *bounds.MULTIPLES, *bounds.FRACTIONS], longest)
    largest = replace(
        POLICY,
        symbols=symbols,
        disaster_stop_fraction=longest,
        protective_stops=ProtectiveStops.REDUCE_ONLY,
        **numbers,  # type: ignore[arg-type]
    )
    fields = {"hash": policy_hash(largest), "content": row_parts(policy_text(largest))}
    entry = Entry(at_ns=1, kind=RowKind.POLICY_RECORDED, actor="gateway", fields=fields, policy_hash="a" * 64)
    assert draft(entry).head


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def test_content_of_a_load_test_is_read_back_with_its_bounds_only() -> None:
    policy = replace(POLICY, max_open_orders=500)
    text, named = policy_text(policy), policy_hash(policy)
    with pytest.raises(PolicyError, match="max_open_orders"):
        policy_of(text, expected_hash=named)
    assert policy_of(text, expected_hash=named, counts=bounds.counts_at(51)).max_open_orders == 500


@pytest.mark.parametrize("table", [7, "text", None, {"a": 1}])
def test_content_with_a_symbol_that_is_no_list_is_refused(table: object) -> None:
    content = json.loads(policy_text(POLICY))
    content["symbols"][0] = table
    text = json.dumps(content)
    with pytest.raises(PolicyError):
        policy_of(text, expected_hash=_hash(text))
