"""A person's terminal in the folder of a running demo: what the pages print is pasted there."""

from __future__ import annotations

import re
import subprocess

import httpx
from integration.stack import ROOT, Stack, wait_until

COMMAND_WITHIN_S = 300


def is_ready_to_kill(stack: Stack) -> bool:
    """The executor looks again every quarter of a minute until it is; nothing can be armed before."""
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=30) as executor:
        return executor.get("/status").json()["ready"]["is_ready"] is True


def in_shell(stack: Stack, line: str) -> subprocess.CompletedProcess[str]:
    """Paste a line where the demo said that a person should go."""
    there: re.Match[str] = wait_until(lambda: _way_there(stack), what="the demo says where to go")
    line = line.replace(".venv/", f"{ROOT}/.venv/")
    shell = ["bash", "-c", f"{there[1]} && {line}"]
    return subprocess.run(
        shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN_S
    )


def _way_there(stack: Stack) -> re.Match[str] | None:
    """The screen is drawn in its own time: what is described may not be on it yet."""
    return re.search(r"in another terminal: (cd .*)\n", (stack.folder / "demo.log").read_text())
