from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.trust.tag import NONCE_BYTES, TAG_CHARACTERS, TaggedOrder, is_valid_tag, make_tag, tag_key_id

KEY = b"k" * 32
NONCE = bytes(range(NONCE_BYTES))
ORDER = TaggedOrder(
    category="spot",
    symbol="BTCUSDT",
    side="Buy",
    quantity=Decimal("0.010"),
    price=Decimal("30000.5"),
    is_reducing=False,
)
AMOUNTS = st.decimals("0.000001", "999999", places=6)
ORDERS = st.builds(
    TaggedOrder,
    category=st.sampled_from(["spot", "linear"]),
    symbol=st.from_regex(r"\A[A-Z0-9]{2,12}USDT\Z"),
    side=st.sampled_from(["Buy", "Sell"]),
    quantity=AMOUNTS,
    price=AMOUNTS,
    is_reducing=st.booleans(),
)


def tag(
    order: TaggedOrder = ORDER,
    *,
    key: bytes = KEY,
    deployment: str = "d1",
    account: str = "1002",
    nonce: bytes = NONCE,
) -> str:
    return make_tag(order, key=key, deployment=deployment, account=account, nonce=nonce)


def is_ours(
    text: str, order: TaggedOrder = ORDER, *, key: bytes = KEY, deployment: str = "d1", account: str = "1002"
) -> bool:
    return is_valid_tag(text, order, key=key, deployment=deployment, account=account)


@given(ORDERS, st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES), st.binary(min_size=16, max_size=32))
def test_tag_is_36_plain_characters_and_valid_for_its_order(order: TaggedOrder, nonce: bytes, key: bytes) -> None:
    made = tag(order, key=key, nonce=nonce)
    assert len(made) == TAG_CHARACTERS == 36
    assert re.fullmatch(r"[A-Za-z0-9_-]{36}", made)
    assert is_ours(made, order, key=key)


@pytest.mark.parametrize(
    "changed",
    [
        {"category": "linear"},
        {"symbol": "ETHUSDT"},
        {"side": "Sell"},
        {"quantity": Decimal("0.011")},
        {"price": Decimal("30000.4")},
        {"is_reducing": True},
    ],
)
def test_tag_is_not_valid_for_another_order(changed: dict[str, object]) -> None:
    assert not is_ours(tag(), replace(ORDER, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [{"key": b"j" * 32}, {"deployment": "d2"}, {"account": "1003"}])
def test_tag_is_not_valid_for_another_owner(changed: dict[str, object]) -> None:
    assert not is_ours(tag(), **changed)  # type: ignore[arg-type]


@given(ORDERS, ORDERS)
def test_tag_of_one_order_fits_no_other(one: TaggedOrder, other: TaggedOrder) -> None:
    assert is_ours(tag(one), other) is (one == other)


def test_tag_does_not_depend_on_how_a_number_was_written() -> None:
    assert is_ours(tag(), replace(ORDER, quantity=Decimal("1E-2"), price=Decimal("30000.500")))


def test_tag_with_any_character_changed_is_not_valid() -> None:
    made = tag()
    for index, character in enumerate(made):
        other = "A" if character != "A" else "B"
        assert not is_ours(made[:index] + other + made[index + 1 :])


@pytest.mark.parametrize("text", ["", "T1", "x" * 36, tag()[:-1], tag() + "A", "T2" + tag()[2:], "\u00e9" + tag()[1:]])
def test_tag_of_another_form_is_not_valid(text: str) -> None:
    assert not is_ours(text)


def test_tag_with_a_nonce_that_is_no_base64_is_not_valid() -> None:
    made = tag()
    assert not is_ours(made[:8] + "!" * 12 + made[20:])


@given(st.text(max_size=40))
def test_tag_check_of_any_text_says_no(text: str) -> None:
    assert not is_ours(text)


@pytest.mark.parametrize("length", [0, NONCE_BYTES - 1, NONCE_BYTES + 1])
def test_make_tag_with_a_nonce_of_another_length_raises(length: int) -> None:
    with pytest.raises(ValueError, match="nonce has 9 bytes"):
        tag(nonce=bytes(length))


def test_tags_of_one_order_differ_by_nonce() -> None:
    assert tag() != tag(nonce=bytes(NONCE_BYTES))


def test_tag_key_id_names_without_revealing() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", tag_key_id(KEY))
    assert tag_key_id(KEY) != tag_key_id(b"j" * 32)
    assert KEY.hex()[:16] != tag_key_id(KEY)


def test_tag_of_a_fixed_order_is_this_one() -> None:
    # Whoever audits orders by their tags, now or in a year, must find the same.
    assert tag() == "T1soG8LGAAECAwQFBgcIV9CVSF0ZwMWSGzHh"
    assert tag_key_id(KEY) == "e4b46ec05772b6ee"


def test_tag_cut_anywhere_is_not_ours() -> None:
    made = tag()
    assert not any(is_ours(made[:length]) for length in range(len(made)))
    assert not is_ours(made + "A")


@pytest.mark.parametrize("position", [10, 35])
def test_tag_with_a_letter_beyond_ascii_is_not_ours(position: int) -> None:
    made = tag()
    assert not is_ours(made[:position] + "\u00e9" + made[position + 1 :])
