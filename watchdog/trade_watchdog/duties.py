"""What the audit's findings demand: halts and kill requests, each tried until it is done.

Guarantees
- A halt and a kill request are tried in a task of their own each: an executor that hangs delays no halt, and a gateway
  that does not halt, which may be the one at fault, no kill.
- Whatever is demanded is kept as an incident and told before anything is tried.
- One halt stands for all findings that want one, with the reason of the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from trade_core.clock import Clock
from trade_core.trust.lease import TRIGGER_VALUE
from trade_watchdog.effects import Alert, EffectFailed, Effects, KillCondition, KillRequest, Severity

DUTY_FIRST_S: Final = 1.0
DUTY_LAST_S: Final = 4.0
_log = logging.getLogger(__name__)


class IncidentBook(Protocol):
    """Where incidents are kept: the watchdog's own journal. It may not raise."""

    def open_incident(self, *, kind: str, severity: Severity, fields: Mapping[str, str]) -> None:
        """Keep an incident as a row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something that must be done and is tried until it is: a halt, then what follows it."""

    subject: str
    reason: str
    kill: KillRequest | None
    figure: str = ""  # what was found of what is allowed


@dataclass(slots=True, kw_only=True)
class Duties:
    """What is owed. `on_change` is called when a halt becomes due and when it is done."""

    effects: Effects
    incidents: IncidentBook
    clock: Clock
    on_change: Callable[[], object]
    _duties: dict[str, Duty] = field(default_factory=dict)
    _unhalted: set[str] = field(default_factory=set)  # of the duties, those for which the gateway has not halted yet
    _asked: set[str] = field(default_factory=set)  # of the duties, those whose kill the executor has taken
    _failures: dict[str, str] = field(default_factory=dict)
    _due: asyncio.Event = field(default_factory=asyncio.Event)
    _kill_due: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def owed(self) -> list[str]:
        """Name what was found and is not acted on in full: a halt or a kill request that is tried again."""
        return list(self._duties)

    @property
    def owed_halt(self) -> Duty | None:
        """Give the first of what the gateway is to be halted for; None while it need not be."""
        return next((duty for name, duty in self._duties.items() if name in self._unhalted), None)

    def act(
        self,
        *,
        subject: str,
        name: str,
        words: str,
        fields: Mapping[str, str],
        halts: bool,
        condition: KillCondition | None,
        figure: str = "",
    ) -> None:
        """Put a halt, with a kill request behind it, on the list; keep the incident and tell."""
        at_ns = self.clock.wall_ns()
        kill = None
        if condition is not None:
            kill = KillRequest(
                request_id=f"{condition.value}:{name}", condition=condition, reason=words, at_ns=at_ns, evidence=fields
            )
        if halts:
            shown = figure if TRIGGER_VALUE.fullmatch(figure) else ""  # one of another form must not cost the halt
            self._owe_halt(f"{subject}:{name}", Duty(subject=subject, reason=words, kill=kill, figure=shown))
            self._kill_due.set()
            self.on_change()
        severity = Severity.CRITICAL if halts else Severity.WARNING
        self.incidents.open_incident(kind=subject, severity=severity, fields=fields)
        self.effects.alert(Alert(subject=subject, severity=severity, text=words[:400], needs_acknowledgement=halts))

    def halt_for(self, reason: str) -> None:
        """Halt because somebody asks for it: the lease says so from now on, until the gateway does."""
        self._owe_halt(f"asked:{reason}", Duty(subject="asked", reason=reason, kill=None))
        self.on_change()

    def ask_for_kill(self, kill: KillRequest, *, subject: str) -> None:
        """Put a kill request on the list, without another halt."""
        self._duties.setdefault(f"{subject}:{kill.request_id}", Duty(subject=subject, reason=kill.reason, kill=kill))
        self._kill_due.set()

    def _owe_halt(self, name: str, duty: Duty) -> None:
        self._duties.setdefault(name, duty)
        self._unhalted.add(name)
        self._due.set()

    async def pursue(self) -> None:
        """Do what is owed until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pursue(self._due, self.halt, lambda: bool(self._unhalted)))
            tasks.create_task(self._pursue(self._kill_due, self.ask_for_kills, lambda: bool(self._duties)))

    async def _pursue(
        self, due: asyncio.Event, work: Callable[[], Awaitable[None]], is_left: Callable[[], bool]
    ) -> None:
        """Do a work whenever it is due; while something of it is left, again after a pause."""
        pause_s = DUTY_FIRST_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s if is_left() else None):
                    await due.wait()
            pause_s = DUTY_FIRST_S if due.is_set() else min(2 * pause_s, DUTY_LAST_S)
            due.clear()
            await work()

    async def halt(self) -> None:
        """Try once to halt the gateway, if a finding still wants that. One halt stands for all of them."""
        first = self.owed_halt  # the gateway keeps its reason
        if first is None:
            return
        stood_for = set(self._unhalted)
        if await self._tried("halt", self.effects.halt(first.reason, trigger_value=first.figure)):
            self._unhalted -= stood_for
            self._drop_done()
            self.on_change()

    async def ask_for_kills(self) -> None:
        """Ask once for each kill that was not asked for with success."""
        for name, duty in list(self._duties.items()):
            if (
                duty.kill is not None
                and name not in self._asked
                and await self._tried(name, self.effects.request_kill(duty.kill))
            ):
                self._asked.add(name)
                self._failures.pop(name, None)
        self._drop_done()

    def _drop_done(self) -> None:
        for name, duty in list(self._duties.items()):
            if name not in self._unhalted and (duty.kill is None or name in self._asked):
                del self._duties[name]
                self._asked.discard(name)

    async def _tried(self, name: str, effect: Awaitable[None]) -> bool:
        try:
            await effect
        except EffectFailed as error:
            if self._failures.get(name) != str(error):
                _log.error("%s is not done, and tried again: %s", name, error)
            self._failures[name] = str(error)
            return False
        return True
