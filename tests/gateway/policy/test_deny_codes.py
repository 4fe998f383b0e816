"""The deny codes are closed, complete and documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trade_gateway.policy.deny_codes import RET_LEVERAGE_NOT_MODIFIED, RET_ORDER_NOT_FOUND_SPOT, DenyCode

DOCUMENT = Path(__file__).parents[3] / "docs" / "deny-codes.md"
# What ccxt 4.5.90 does with each was measured; a code outside this set needs the same measurement first.
MEASURED_RET_CODES = {10002, 10003, 10004, 10006, 10016, 10024, 110001, 110013, 110066, 110090, 110093}
_ROW = re.compile(r"^\| `([A-Z_]+)` \| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_codes_are_documented_one_by_one_with_the_same_words() -> None:
    rows = _ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert rows == [(code.name, str(code.ret_code), code.meaning, code.remedy) for code in DenyCode]


@pytest.mark.parametrize("code", list(DenyCode))
def test_code_has_a_category_a_condition_a_ret_code_and_a_remedy(code: DenyCode) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)+", code.name)
    assert code.ret_code in MEASURED_RET_CODES
    assert code.meaning.endswith(".")
    assert code.remedy.endswith(".")


def test_codes_with_one_ret_code_stay_apart() -> None:
    assert len({code.value for code in DenyCode}) == len({code.name for code in DenyCode}) == len(DenyCode)


@pytest.mark.parametrize(
    ("code", "ret_code"),
    [
        (DenyCode.ORDER_NOT_MAKER, 10024),
        (DenyCode.SYMBOL_NOT_PERMITTED, 10024),
        (DenyCode.PATH_UNKNOWN, 10024),
        (DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM, 110090),
        (DenyCode.LIMIT_OPEN_ORDERS, 110090),
        (DenyCode.STATE_REDUCE_ONLY, 110066),
        (DenyCode.STATE_HALTED, 110066),
        (DenyCode.LIMIT_REQUEST_RATE, 10006),
        (DenyCode.EXCHANGE_OUTCOME_UNKNOWN, 10016),
        (DenyCode.PIN_LEVERAGE_DIFFERS, 110013),
        (DenyCode.PIN_POSITION_MODE_DIFFERS, 10024),
        (DenyCode.AUTH_KEY_UNKNOWN, 10003),
        (DenyCode.AUTH_SIGNATURE_WRONG, 10004),
        (DenyCode.AUTH_TIMESTAMP_OUTSIDE_WINDOW, 10002),
    ],
)
def test_code_answers_what_clients_handle_best(code: DenyCode, ret_code: int) -> None:
    assert code.ret_code == ret_code


def test_codes_are_numbered_from_one_in_their_order() -> None:
    assert [code.value for code in DenyCode] == list(range(1, len(DenyCode) + 1))


def test_answers_that_no_code_has_alone_are_the_exchanges_own() -> None:
    assert (RET_LEVERAGE_NOT_MODIFIED, RET_ORDER_NOT_FOUND_SPOT) == (110043, 170213)
