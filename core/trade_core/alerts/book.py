"""Which alerts go out, and when one is repeated. Pure: times come in, decisions go out.

Rules
- The first alert of a subject goes out at once, and so does one that is more urgent than the last of its subject.
- The same matter again is not told again within QUIET_S; then it is, with the number of times that it was raised.
- One that needs acknowledgement is repeated on its own, after REPEAT_FIRST_S and then at doubling intervals up to
  REPEAT_LAST_S, until the subject is acknowledged. An acknowledged subject that is raised again begins anew.
- At most SUBJECTS_MAX subjects are remembered. The one that has been quiet longest is forgotten first, and one that
  waits for acknowledgement only when all do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trade_core.alerts.model import Alert
from trade_core.clock import NS_PER_S

QUIET_S: Final = 300
REPEAT_FIRST_S: Final = 60
REPEAT_LAST_S: Final = 900
SUBJECTS_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An alert to be told now; `repeats` counts how often the matter was raised or told since it was last new."""

    alert: Alert
    repeats: int


@dataclass(slots=True, kw_only=True)
class _Matter:
    alert: Alert
    told_at_ns: int
    raised: int = 0
    repeat_at_ns: int | None = None
    pause_s: int = REPEAT_FIRST_S


class AlertBook:
    """The matters that are open."""

    def __init__(self) -> None:
        self._matters: dict[str, _Matter] = {}  # the first was told longest ago

    @property
    def unacknowledged(self) -> tuple[str, ...]:
        """The subjects that wait for somebody."""
        return tuple(subject for subject, matter in self._matters.items() if matter.repeat_at_ns is not None)

    def take(self, alert: Alert, *, now_ns: int) -> Due | None:
        """Decide on an alert that was raised; None means that it was told lately."""
        matter = self._matters.get(alert.subject)
        if matter is None:
            self._make_room()
            self._matters[alert.subject] = matter = _Matter(alert=alert, told_at_ns=now_ns)
            self._await_acknowledgement(matter, alert, now_ns)
            return Due(alert=alert, repeats=0)
        is_graver = alert.severity.rank > matter.alert.severity.rank
        is_quiet = now_ns - matter.told_at_ns >= QUIET_S * NS_PER_S
        matter.raised += 1
        self._await_acknowledgement(matter, alert, now_ns)
        if not is_graver and not is_quiet:
            return None
        matter.alert = alert
        return self._tell(matter, now_ns)

    def due(self, now_ns: int) -> list[Due]:
        """Take what must be repeated now."""
        due = []
        for matter in list(self._matters.values()):
            if matter.repeat_at_ns is None or matter.repeat_at_ns > now_ns:
                continue
            matter.pause_s = min(matter.pause_s * 2, REPEAT_LAST_S)
            matter.repeat_at_ns = now_ns + matter.pause_s * NS_PER_S
            matter.raised += 1
            due.append(self._tell(matter, now_ns))
        return due

    def next_due_ns(self) -> int | None:
        """Say when something is repeated next."""
        times = [matter.repeat_at_ns for matter in self._matters.values() if matter.repeat_at_ns is not None]
        return min(times, default=None)

    def acknowledge(self, subject: str) -> bool:
        """Close a subject; False when it was not open."""
        return self._matters.pop(subject, None) is not None

    def _await_acknowledgement(self, matter: _Matter, alert: Alert, now_ns: int) -> None:
        if alert.needs_acknowledgement and matter.repeat_at_ns is None:
            matter.repeat_at_ns = now_ns + matter.pause_s * NS_PER_S

    def _tell(self, matter: _Matter, now_ns: int) -> Due:
        matter.told_at_ns = now_ns
        self._matters[matter.alert.subject] = self._matters.pop(matter.alert.subject)
        return Due(alert=matter.alert, repeats=matter.raised)

    def _make_room(self) -> None:
        if len(self._matters) < SUBJECTS_MAX:
            return
        quiet = (subject for subject, matter in self._matters.items() if matter.repeat_at_ns is None)
        del self._matters[next(quiet, next(iter(self._matters)))]
