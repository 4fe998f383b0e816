"""How findings are shown."""

from __future__ import annotations

import json

from trade_core.findings import Level, all_is_well, finding, rendered

FINDINGS = [
    finding("clock", Level.GOOD, "the exchange's is 3 ms ahead"),
    finding("kill", Level.UNKNOWN, "nobody says", "ask"),
    finding("egress", Level.WARNING, "hm"),
]


def test_lines_say_what_to_do_and_how_many_are_open() -> None:
    assert rendered(FINDINGS, as_json=False).splitlines() == [
        "ok  clock: the exchange's is 3 ms ahead",
        "?   kill: nobody says",
        "     -> ask",
        "!   egress: hm",
        "3 checks, 0 wrong, 2 to look at",
    ]


def test_machines_get_the_same() -> None:
    assert json.loads(rendered(FINDINGS, as_json=True))[1] == {
        "check": "kill",
        "level": "unknown",
        "found": "nobody says",
        "advice": "ask",
    }


def test_only_what_is_wrong_is_not_well() -> None:
    assert all_is_well(FINDINGS)
    assert not all_is_well([*FINDINGS, finding("secrets", Level.WRONG, "open")])


def test_foreign_words_are_safe_on_a_terminal() -> None:
    shown = finding("x", Level.GOOD, "\x1b[2J" + "y" * 999)
    assert "\x1b" not in shown.found
    assert len(shown.found) < 420
