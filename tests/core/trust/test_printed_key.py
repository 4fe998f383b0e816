"""Codes on paper, and the keys they stand for."""

from __future__ import annotations

import pytest

from trade_core.trust.keys import NotTrusted, public_text
from trade_core.trust.printed_key import CODE_CHARACTERS, new_code, printed_key

CODE = "01AB-CDEF-GHJK-MNPQ-RSTV-WXYZ"


def public(code: str, purpose: str = "recovery") -> str:
    return public_text(printed_key(code, purpose=purpose))


def test_code_leads_to_the_same_key_for_ever() -> None:
    assert public(CODE) == "tqtsrpoX43Y3XCRxFgw2ep3s5jZMqQmGRCCkg3We0G0="
    assert CODE_CHARACTERS == 24


def test_code_is_new_each_time_and_readable() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4] * 6
        assert set(code) <= set("-0123456789ABCDEFGHJKMNPQRSTVWXYZ")
        assert public(code)
    assert set("".join(codes)) == set("-0123456789ABCDEFGHJKMNPQRSTVWXYZ")


@pytest.mark.parametrize(
    "typed", [CODE.lower(), CODE.replace("-", ""), f" {CODE.replace('-', ' ')}\n", "OlAB" + CODE[4:], "oiab" + CODE[4:]]
)
def test_code_is_read_as_people_type_it(typed: str) -> None:
    assert public(typed) == public(CODE)


@pytest.mark.parametrize("typed", ["", CODE[:-1], CODE + "0", "U" + CODE[1:], "é" + CODE[1:], "*" + CODE[1:]])
def test_code_that_is_none_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(NotTrusted, match="bootstrap code: must be 24 letters and digits") as refused:
        printed_key(typed, purpose="bootstrap")
    assert "GHJK" not in str(refused.value)


def test_code_of_one_purpose_is_no_key_for_another() -> None:
    assert public(CODE, "recovery") != public(CODE, "bootstrap")
