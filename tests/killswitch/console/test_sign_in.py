from __future__ import annotations

import re
from pathlib import Path

import pytest

from trade_core.clock import NS_PER_S, ManualClock
from trade_killswitch.console.sign_in import (
    CODE_FILE,
    CODE_LIFETIME_S,
    SESSION_LIFETIME_S,
    SESSIONS_MAX,
    WRONG_ROWS,
    WRONG_ROWS_EVERY_S,
    CodeBook,
    Sessions,
    Spent,
    WrongCodes,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def codes(tmp_path: Path, clock: ManualClock) -> CodeBook:
    return CodeBook(tmp_path, clock=clock)


def test_code_is_good_once(codes: CodeBook) -> None:
    code = codes.issue()
    assert codes.spend(code) is Spent.ACCEPTED
    assert codes.spend(code) is Spent.NO_CODE


def test_code_is_not_on_disk_and_its_file_is_closed_to_others(codes: CodeBook, tmp_path: Path) -> None:
    code = codes.issue()
    file = tmp_path / CODE_FILE
    assert code not in file.read_text()
    assert code.replace("-", "") not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_code_is_taken_as_people_type_it(codes: CodeBook) -> None:
    code = codes.issue()
    typed = f"  {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert codes.spend(typed) is Spent.ACCEPTED


def test_new_code_takes_the_place_of_the_one_before(codes: CodeBook) -> None:
    first = codes.issue()
    codes.issue()
    assert codes.spend(first) is Spent.WRONG


def test_wrong_codes_lock_nobody_out_who_has_the_right_one(codes: CodeBook) -> None:
    code = codes.issue()
    for _ in range(1000):
        assert codes.spend("0000-0000-0000") is Spent.WRONG
    assert codes.spend(code) is Spent.ACCEPTED
    assert codes.spend(codes.issue()) is Spent.ACCEPTED


def test_code_has_sixty_random_bits_in_groups_of_four(codes: CodeBook) -> None:
    issued = {codes.issue() for _ in range(50)}
    assert len(issued) == 50
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}", code) for code in issued)
    # What a hundred thousand tries a second find in the time of a code.
    assert 100_000 * CODE_LIFETIME_S / 32**12 < 1e-10


def test_first_wrong_codes_are_written_down_and_then_counted_once_a_minute(clock: ManualClock) -> None:
    wrong = WrongCodes(clock=clock)
    assert [wrong.note() for _ in range(WRONG_ROWS + 3)] == [1] * WRONG_ROWS + [0, 0, 0]
    clock.advance(WRONG_ROWS_EVERY_S * NS_PER_S - 1)
    assert wrong.note() == 0
    clock.advance(1)
    assert [wrong.note(), wrong.note()] == [5, 0]
    clock.advance(WRONG_ROWS_EVERY_S * NS_PER_S)
    assert wrong.note() == 2


@pytest.mark.parametrize(
    ("leap_s", "spent"),
    [
        (-1, Spent.NO_CODE),
        (0, Spent.ACCEPTED),
        (CODE_LIFETIME_S - 1, Spent.ACCEPTED),
        (CODE_LIFETIME_S, Spent.NO_CODE),
        (10 * CODE_LIFETIME_S, Spent.NO_CODE),
    ],
)
def test_code_is_good_for_its_time_alone(codes: CodeBook, clock: ManualClock, leap_s: int, spent: Spent) -> None:
    code = codes.issue()
    clock.leap_wall(leap_s * NS_PER_S)
    assert codes.spend(code) is spent


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"salt":"a","digest":"b","expires_at_ns":"1"}',
                                  '{"salt":1,"digest":"b","expires_at_ns":1}'])  # fmt: skip
def test_file_that_is_no_code_permits_nothing(codes: CodeBook, tmp_path: Path, kept: str) -> None:
    file = tmp_path / CODE_FILE
    file.write_text(kept)
    file.chmod(0o600)
    assert codes.spend("") is Spent.NO_CODE


def test_code_file_open_to_others_permits_nothing(codes: CodeBook, tmp_path: Path) -> None:
    code = codes.issue()
    (tmp_path / CODE_FILE).chmod(0o644)
    assert codes.spend(code) is Spent.NO_CODE


@pytest.mark.parametrize("entered", ["", "\ud800", "x" * 10_000, "\x00"])
def test_entered_nonsense_is_wrong(codes: CodeBook, entered: str) -> None:
    codes.issue()
    assert codes.spend(entered) is Spent.WRONG


def test_session_is_found_by_its_token_until_it_lapses(clock: ManualClock) -> None:
    sessions = Sessions(clock=clock)
    token, session = sessions.begin()
    assert sessions.find(token) is session
    assert sessions.find(token + "x") is None
    clock.advance(SESSION_LIFETIME_S * NS_PER_S - 1)
    assert sessions.find(token) is session
    clock.advance(1)
    assert sessions.find(token) is None


def test_session_ends_when_told_to(clock: ManualClock) -> None:
    sessions = Sessions(clock=clock)
    token, _ = sessions.begin()
    sessions.end(token)
    sessions.end("nobody's")
    assert sessions.find(token) is None


def test_oldest_session_makes_room(clock: ManualClock) -> None:
    sessions = Sessions(clock=clock)
    tokens = [sessions.begin()[0] for _ in range(SESSIONS_MAX + 1)]
    assert [sessions.find(token) is not None for token in tokens] == [False, *[True] * SESSIONS_MAX]
