"""The console on real processes: it shows what is so, halts, leaves a trace, and the others do not need it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from integration.stack import STOPPED_WITHIN_S, Stack, is_alive, wait_until

pytestmark = pytest.mark.slow
HAS_CONSOLE = True


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A browser that is signed in at the console of a running stack."""
    origin = stack.description["killswitch"]["console"]
    command = stack.description["processes"]["console"]["command"]
    code = subprocess.run([command[0], "code", *command[1:]], capture_output=True, text=True, check=True).stdout.strip()
    with httpx.Client(base_url=origin, headers={"origin": origin}, trust_env=False, timeout=30) as client:
        assert client.get("/").headers["location"] == "/sign-in"
        client.post("/sign-in", json={"code": code}).raise_for_status()
        yield client


def shows(browser: httpx.Client, words: str) -> bool:
    return words in browser.get("/").text


def executor_rows(stack: Stack) -> list[dict[str, Any]]:
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=30) as client:
        rows: list[dict[str, Any]] = client.get("/journal/rows", params={"limit": 500}).json()["rows"]
        return rows


def test_others_go_on_without_the_console_and_it_comes_back(stack: Stack, browser: httpx.Client) -> None:
    stack.kill("console")
    stack.reap("console")
    stack.wait_for_state("ACTIVE")
    restarted = stack.restart("console")
    wait_until(lambda: _status(browser) == 303, what="the console again, which knows no session any more")
    stack.kill("console", signal.SIGTERM)
    assert restarted.wait(timeout=STOPPED_WITHIN_S) == 0
    assert not is_alive(restarted.pid)
    stack.restart("console")
    wait_until(lambda: _status(browser) == 303, what="the console for those who come next")


def test_console_shows_what_is_so_and_halts_with_a_trace(stack: Stack, browser: httpx.Client) -> None:
    wait_until(lambda: shows(browser, 'data-state="ACTIVE"'), what="ACTIVE on the page")
    wait_until(lambda: shows(browser, 'class="curve"'), what="the curve")
    answer = browser.post("/act/halt", json={"reason": "a test at night"})
    assert answer.json()["said"].startswith("the gateway is HALTED")
    assert stack.state_name() == "HALTED"
    wait_until(lambda: shows(browser, "a test at night"), what="the reason on the page")
    acted = [row["fields"] for row in executor_rows(stack) if row["kind"] == "console:acted"]
    assert [(fields["action"], fields["address"]) for fields in acted] == [("halt", "127.0.0.1")]
    stack.kill("gateway", signal.SIGSTOP)
    wait_until(lambda: shows(browser, "Nobody can say how the gateway stands"), what="unknown")
    stack.kill("gateway", signal.SIGCONT)
    wait_until(lambda: shows(browser, 'data-state="HALTED"'), what="HALTED again")
    wanted = {"trade_executor_key_verified 1.0", 'trade_console_source_read{source="watchdog"} 1.0'}
    wait_until(lambda: wanted <= metrics(stack), what="the executor's key and the watchdog in the metrics")


def metrics(stack: Stack) -> set[str]:
    origin = stack.description["killswitch"]["console"]
    return set(httpx.get(f"{origin}/metrics", trust_env=False, timeout=30).text.splitlines())


def _status(browser: httpx.Client) -> int:
    try:
        return browser.get("/").status_code
    except httpx.HTTPError:
        return 0
