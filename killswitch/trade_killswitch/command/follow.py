"""Shows how a kill goes on until it is over, and says with which exit code that ends. The kill waits for nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from trade_core.logs import neutralise
from trade_killswitch.command.executor_client import ExecutorClient, NotTaken

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_PENDING: Final = 3
EXIT_NOT_FLAT: Final = 4
LOOK_EVERY_S: Final = 0.5
_CODES: Final = {"complete": EXIT_DONE, "not_flat": EXIT_NOT_FLAT, "pending": EXIT_PENDING}
_LINE_CHARACTERS: Final = 300
Say = Callable[[str], None]


def follow(client: ExecutorClient, *, say: Say, wait_s: float, sleep: Callable[[float], None] = time.sleep) -> int:
    """Show each step as it ends, for at most `wait_s`; answers the exit code. An executor that dies is waited for."""
    told: dict[str, str] = {}
    deadline = time.monotonic() + wait_s
    while True:
        kill = _kill(client, told, say)
        if kill is not None:
            running, last = kill
            _tell(running or last, told, say)
            if running is None:
                return told_end(last, say)
        if time.monotonic() >= deadline:
            say(f"not over after {wait_s:g} s; it goes on by itself: trade-kill --status")
            return EXIT_PENDING
        sleep(LOOK_EVERY_S)


def told_end(report: Mapping[str, Any] | None, say: Say) -> int:
    """Say how a kill ended; answers the exit code."""
    if report is None:
        say("there has been no kill")
        return EXIT_DONE
    say(_line(report.get("in_words", "the executor does not say how it stands")))
    return _CODES.get(str(report.get("verdict")), EXIT_PENDING)


def kill_of(status: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Read the kill that goes on and the last one from a status. Raises NotTaken."""
    kill = status.get("kill")
    running, last = (kill.get("running"), kill.get("last")) if isinstance(kill, dict) else (0, 0)
    if isinstance(running, dict | None) and isinstance(last, dict | None):
        return running, last
    raise NotTaken("the executor's status says nothing of a kill: is it another version?")


def _kill(
    client: ExecutorClient, told: dict[str, str], say: Say
) -> tuple[dict[str, Any] | None, dict[str, Any] | None] | None:
    try:
        return kill_of(client.get("/status"))
    except NotTaken as error:
        if told.get("") != str(error):
            told[""] = str(error)
            say(f"{error}; a kill that was taken goes on when it is back")
        return None


def _tell(report: Mapping[str, Any] | None, told: dict[str, str], say: Say) -> None:
    steps = report.get("steps") if report is not None else None
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, dict):
            continue
        name, status = str(step.get("step")), str(step.get("status"))
        if told.get(name) == status or status in {"waiting", "running"}:
            continue
        told[name] = status
        took, why = step.get("ended_s"), str(step.get("why") or "")
        time_text = f"{took:6.2f} s" if isinstance(took, int | float) else " " * 8
        say(_line(f"{time_text}  {status.replace('_', ' '):<10}  {step.get('words', name)}{': ' + why if why else ''}"))


def _line(text: object) -> str:
    return neutralise(str(text), limit=_LINE_CHARACTERS)
