"""Rate limits: each limit inside, at, just past; bans and how they end."""

from __future__ import annotations

import pytest

from trade_simulator.api.envelope import HttpRefusal
from trade_simulator.api.rate_limits import RateLimits, TooManyVisits, limit_of
from trade_simulator.instruments import Category
from trade_simulator.rejections import Rejected

NOW_MS = 1_700_000_000_000
CREATE = "/v5/order/create"


@pytest.mark.parametrize(
    ("path", "category", "limit"),
    [
        (CREATE, Category.LINEAR, 10),
        (CREATE, Category.SPOT, 20),
        ("/v5/order/amend", Category.SPOT, 10),
        ("/v5/order/cancel", Category.SPOT, 20),
        ("/v5/order/realtime", None, 50),
        ("/v5/account/wallet-balance", None, 50),
        ("/v5/account/fee-rate", Category.LINEAR, 5),
    ],
)
def test_limit_of_an_endpoint_is_the_documented_one(path: str, category: Category | None, limit: int) -> None:
    assert limit_of(path, category) == limit


def test_visit_counts_down_to_nothing_left() -> None:
    limits = RateLimits()
    left = [limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS).left for _ in range(10)]
    assert left == list(range(9, -1, -1))


def test_visit_past_the_limit_answers_10006_with_the_reset_time() -> None:
    limits = RateLimits()
    for _ in range(10):
        limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS)
    with pytest.raises(TooManyVisits) as refused:
        limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS + 999)
    assert refused.value.code == 10006
    assert refused.value.allowance.headers() == {
        "X-Bapi-Limit": "10",
        "X-Bapi-Limit-Status": "0",
        "X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 1000),
    }


def test_visit_in_the_next_second_is_admitted_again() -> None:
    limits = RateLimits()
    for _ in range(10):
        limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS)
    assert limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS + 1000).left == 9


def test_visit_of_another_account_or_category_counts_apart() -> None:
    limits = RateLimits()
    for _ in range(10):
        limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS)
    assert limits.visit("2", CREATE, Category.LINEAR, now_ms=NOW_MS).left == 9
    assert limits.visit("1", CREATE, Category.SPOT, now_ms=NOW_MS).left == 19


def test_visit_with_limits_switched_off_is_never_refused() -> None:
    limits = RateLimits(enabled=False)
    for _ in range(100):
        limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS)
    assert limits.visit("1", CREATE, Category.LINEAR, now_ms=NOW_MS).left == 0


def visit_until_banned(limits: RateLimits) -> None:
    for _ in range(600):
        limits.visit_address("127.0.0.1", now_ms=NOW_MS)
    with pytest.raises(HttpRefusal) as refused:
        limits.visit_address("127.0.0.1", now_ms=NOW_MS)
    assert refused.value.answer.status == 403
    assert "access too frequent" in refused.value.answer.ret_msg


def test_address_past_600_requests_is_banned_for_ten_minutes() -> None:
    limits = RateLimits()
    visit_until_banned(limits)
    with pytest.raises(HttpRefusal):
        limits.visit_address("127.0.0.1", now_ms=NOW_MS + 599_999)
    assert limits.visit_address("127.0.0.1", now_ms=NOW_MS + 600_000).left == 599


def test_address_that_is_banned_gets_no_new_stream() -> None:
    limits = RateLimits()
    visit_until_banned(limits)
    with pytest.raises(HttpRefusal):
        limits.visit_connection("127.0.0.1", now_ms=NOW_MS)


def test_address_other_than_the_banned_one_is_admitted() -> None:
    limits = RateLimits()
    visit_until_banned(limits)
    assert limits.visit_address("127.0.0.2", now_ms=NOW_MS).left == 599


def test_ban_ends_when_limits_are_switched_off() -> None:
    limits = RateLimits()
    visit_until_banned(limits)
    limits.set_enabled(False)
    assert limits.visit_address("127.0.0.1", now_ms=NOW_MS).limit == 600


def test_ban_does_not_last_for_ever_when_the_clock_goes_back() -> None:
    limits = RateLimits()
    visit_until_banned(limits)
    assert limits.visit_address("127.0.0.1", now_ms=NOW_MS - 86_400_000).left == 599


def test_address_within_600_requests_in_every_five_seconds_is_admitted() -> None:
    limits = RateLimits()
    for second in range(60):
        for _ in range(120):
            limits.visit_address("127.0.0.1", now_ms=NOW_MS + second * 1000)
    assert limits.visit_address("127.0.0.1", now_ms=NOW_MS + 60_000).left == 600 - 481


def test_connections_past_500_in_five_minutes_are_refused() -> None:
    limits = RateLimits()
    for _ in range(500):
        limits.visit_connection("127.0.0.1", now_ms=NOW_MS)
    with pytest.raises(HttpRefusal):
        limits.visit_connection("127.0.0.1", now_ms=NOW_MS)
    limits.visit_connection("127.0.0.1", now_ms=NOW_MS + 300_000)


def test_frames_past_3000_a_second_answer_10403() -> None:
    limits = RateLimits()
    for _ in range(3000):
        limits.visit_frame("127.0.0.1", now_ms=NOW_MS)
    with pytest.raises(Rejected) as refused:
        limits.visit_frame("127.0.0.1", now_ms=NOW_MS)
    assert refused.value.code == 10403
