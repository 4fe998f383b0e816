"""The console's own metrics; labels come from closed sets."""

from __future__ import annotations

from enum import StrEnum, unique

from prometheus_client import CollectorRegistry, Counter, Gauge


@unique
class SignIn(StrEnum):
    """How an attempt to sign in ended."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@unique
class Action(StrEnum):
    """What a person does with the console."""

    HALT = "halt"
    SWEEP = "sweep"
    RESUME = "resume"
    ACKNOWLEDGE = "acknowledge"
    KILL = "kill"
    DRILL = "drill"
    ARM = "arm"
    DISARM = "disarm"
    RELEASE = "release"
    RING = "ring"


@unique
class ActionResult(StrEnum):
    """How it ended; what brought no answer may have been done."""

    DONE = "done"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


SOURCES = ("the gateway", "the watchdog", "the kill executor")


class ConsoleMetrics:
    """Counters and gauges of one console."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._source_read = Gauge(
            "trade_console_source_read",
            "1 while the service could be read at the last look",
            ["source"],
            registry=self.registry,
        )
        self._sign_ins = Counter(
            "trade_console_sign_ins", "Attempts to sign in, by how they ended", ["result"], registry=self.registry
        )
        self._actions = Counter(
            "trade_console_actions",
            "What persons did, by action and how it ended",
            ["action", "result"],
            registry=self.registry,
        )
        self.rows_lost = Counter(
            "trade_console_rows_lost",
            "Actions that the executor's journal did not take a row of",
            registry=self.registry,
        )
        for name in SOURCES:
            self.note_source(name, is_read=False)
        for result in SignIn:
            self._sign_ins.labels(result=result.value)

    def note_source(self, name: str, *, is_read: bool) -> None:
        """Note whether a service of SOURCES could be read."""
        self._source_read.labels(source=name.removeprefix("the ").replace(" ", "_")).set(1 if is_read else 0)

    def note_sign_in(self, result: SignIn) -> None:
        """Count an attempt to sign in."""
        self._sign_ins.labels(result=result.value).inc()

    def note_action(self, action: Action, result: ActionResult) -> None:
        """Count something that a person did."""
        self._actions.labels(action=action.value, result=result.value).inc()
