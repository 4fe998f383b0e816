"""What a warrant brings about is told outside, each in its own right."""

from __future__ import annotations

from trade_core.alerts.model import Alert, Severity
from trade_gateway.announcer import announcing


def test_each_warrant_is_a_matter_of_its_own_and_fits_an_alert() -> None:
    told: list[Alert] = []
    announce = announcing(told.append)
    announce("release", b"one", "release HALTED")
    announce("release", b"two", "w" * 500)
    first, second = told
    assert (first.severity, first.text, first.subject[:8]) == (Severity.CRITICAL, "release HALTED", "release:")
    assert first.subject != second.subject
    assert len(first.subject) == len("release:") + 12
    assert len(second.text) == 400
