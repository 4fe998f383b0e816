"""Killed, and trading again: what the runbook says is done on a running stack, with its commands, to the first order.

The exchange's own page, on which a person makes keys and unfreezes, is the interface behind it, asked with the master's
key. The spare account for the drill is the account itself: a simulated exchange has no other.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs.walk import DRILL, KEY, KILL, RELEASE, RELEASE_AFTER_A_KILL, STATUS, VIRTUAL_KEY, WATCHDOG_DOCTOR
from integration.bot import Bot, resting_order
from integration.pager import Pager, pager
from integration.shell import in_shell, is_ready_to_kill
from integration.stack import PATIENCE_S, Stack, wait_until

from trade_gateway.countdown import WAITS
from trade_gateway.states import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ENROL = "trade-security-key enrol --describe demo.json blue.key green.key"
DOCTOR = "trade-gateway doctor --config gateway.toml --executor-socket executor.sock"
TRADE = {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"]}
READ = {**TRADE, "Exchange": ["ExchangeHistory"]}
OF_A_KEY = ("gateway", "watchdog", "executor")
EXECUTOR_STATUS = "--unix-socket executor.sock http://executor/status"


def said(stack: Stack, line: str, *, code: int = 0) -> str:
    """Paste a line; answers what it says."""
    ran = in_shell(stack, line)
    assert ran.returncode == code, f"$ {line}\n{ran.stdout}{ran.stderr}-> exit code {ran.returncode}"
    return ran.stdout + ran.stderr


def setting_file(stack: Stack, name: str) -> Path:
    command = stack.description["processes"][name]["command"]
    return Path(command[command.index("--config") + 1])


class ExchangePage:
    """The exchange's own page, as the master of the account sees it."""

    def __init__(self, stack: Stack, *, account: str) -> None:
        simulator = stack.description["simulator"]
        self._http = Bot({"url": simulator["url"], **simulator["master"]})
        self._account = account

    def listed_keys(self) -> set[str]:
        """The ids of the account's keys."""
        answer = self._http.get("/v5/user/sub-apikeys", f"subMemberId={self._account}")
        return {one["apiKey"] for one in answer["result"]["result"]}

    def unfreeze(self) -> None:
        """Let the account's keys do something again."""
        answer = self._http.post("/v5/user/frozen-sub-member", {"subuid": int(self._account), "frozen": 0})
        assert answer["retCode"] == 0, answer

    def new_key(self, permissions: dict[str, list[str]], *, read_only: int = 0) -> dict[str, str]:
        """Make a key that is bound to this machine; answers the content of its secret file."""
        body = {"subuid": int(self._account), "note": "new", "readOnly": read_only, "permissions": permissions}
        made = self._http.post("/v5/user/create-sub-api", {**body, "ips": "127.0.0.1"})
        assert made["retCode"] == 0, made
        return {"exchange_key": made["result"]["apiKey"], "exchange_secret": made["result"]["secret"]}

    def close(self) -> None:
        """Close the page."""
        self._http.close()


def write_secrets(stack: Stack, name: str, key: dict[str, str]) -> None:
    path = setting_file(stack, name).with_name("secrets.json")
    path.write_text(json.dumps(key))
    path.chmod(0o600)


def name_keys(stack: Stack, *, order: str, exit_: str) -> None:
    """Edit the watchdog's settings as a person does."""
    path = setting_file(stack, "watchdog")
    text = re.sub(r"(?m)^order_key = .*$", f'order_key = "{order}"', path.read_text())
    path.write_text(re.sub(r"(?m)^exit_key = .*$", f'exit_key = "{exit_}"', text))


def make_new(stack: Stack) -> tuple[str, str]:
    """Do what the runbook says from ending the processes to their start; answers the new order and exit key's ids."""
    page = ExchangePage(stack, account=stack.state()["account"])
    for name in OF_A_KEY:
        stack.kill(name, signal.SIGTERM)
        stack.reap(name)
    page.unfreeze()
    assert page.listed_keys() == set()
    order, exit_, watch = page.new_key(TRADE), page.new_key(TRADE), page.new_key(READ, read_only=1)
    page.close()
    for name, key in (("gateway", order), ("executor", exit_), ("watchdog", watch)):
        write_secrets(stack, name, key)
    name_keys(stack, order=order["exchange_key"], exit_=exit_["exchange_key"])
    assert "wrote" in said(stack, VIRTUAL_KEY)
    for name in OF_A_KEY:
        stack.restart(name)
    wait_until(lambda: is_up(stack), what="every part of a kill is ready again")
    return order["exchange_key"], exit_["exchange_key"]


def is_up(stack: Stack) -> bool:
    """The exchange was asked about the new order key, and the executor is ready to kill."""
    asked = in_shell(stack, f"curl --silent {EXECUTOR_STATUS}")
    is_ready = asked.returncode == 0 and json.loads(asked.stdout)["ready"]["is_ready"] is True
    return (
        is_ready
        and stack.state_name() != "unreachable"
        and Fault.KEY_UNVERIFIED.value not in str(stack.state()["holders"])
    )


def ordered(stack: Stack, line: str) -> str:
    """Draft, touch and hand over a kill or drill; answers its id."""
    said(stack, f"{line} --out warrant")
    said(stack, f"{KEY} warrant --file blue.key --ring ring.json > signed")
    told = said(stack, f"{line} --signed signed")
    assert "complete and proved" in told
    found = re.search(r"the executor has taken it \(kill ([0-9a-f]+)\)", told)
    assert found is not None, told
    return found[1]


def bot_of(stack: Stack) -> Bot:
    """A bot with the virtual key that is handed over now."""
    handed = setting_file(stack, "gateway").with_name("state") / "handover" / "freqtrade.json"
    return Bot(json.loads(handed.read_text()))


def set_up_alerts(stack: Stack, person: Pager) -> None:
    """Let the gateway tell somebody, from its next start on."""
    settings = setting_file(stack, "gateway")
    alerts = person.write_alerts_file(settings.with_name("alerts.json"))
    settings.write_text(f'{settings.read_text()}alerts_file = "{alerts}"\n')


@pytest.fixture
def person() -> Iterator[Pager]:
    with pager() as made:
        yield made


def test_killed_account_trades_again_with_new_keys_by_the_runbook(own_stack: Stack, person: Pager) -> None:
    stack = own_stack
    said(stack, ENROL)
    stack.wait_for_state("ACTIVE")
    wait_until(lambda: is_ready_to_kill(stack), what="every part of a kill is ready")
    old = stack.state()["order_key"]
    ordered(stack, KILL)
    stack.wait_for_state("KILLED")
    said(stack, DOCTOR, code=1)
    assert "watch key: the exchange refuses the key" in said(stack, WATCHDOG_DOCTOR, code=1)

    make_new(stack)
    assert stack.state_name() == "KILLED"
    drill = ordered(stack, DRILL)
    set_up_alerts(stack, person)
    order_key, exit_key = make_new(stack)
    state = stack.state()
    assert (state["trading_state"], state["order_key"], state["killed_keys"]) == ("KILLED", order_key, [old])
    assert " 0 wrong" in said(stack, WATCHDOG_DOCTOR)
    doctor = said(stack, DOCTOR)
    assert "order key: may trade, and nothing else" in doctor

    release = RELEASE_AFTER_A_KILL.replace("0123456789abcdef", drill).replace("10000009", exit_key)
    told = said(stack, f"{release} --rebase high_water")
    assert "two different security keys sign it" in told
    said(stack, f"{KEY} draft --file blue.key --ring ring.json > signed")
    assert "two different security keys" in said(stack, f"{RELEASE} --warrant signed", code=1)
    said(stack, f"{KEY} draft --file blue.key --file green.key --ring ring.json > signed")
    assert "announced; it takes effect in 60 s" in said(stack, f"{RELEASE} --warrant signed")
    assert person.was_called.wait(timeout=PATIENCE_S)
    pending = stack.state()["release_pending"]
    assert (pending["in_s"], pending["waits_for"]) == (None, WAITS)
    person.is_on.set()
    wait_until(lambda: stack.state()["release_pending"]["in_s"], what="the announcement is taken")
    assert stack.state_name() == "KILLED"
    stack.wait_for_state("ACTIVE")
    assert "cause: what was wrong and why it is safe again" in next(
        one["text"] for one in person.told if one["subject"].startswith("release:")
    )

    bot = bot_of(stack)
    placed: dict[str, Any] = bot.create(resting_order(stack))
    bot.close()
    assert placed["retCode"] == 0, placed
    working = stack.control.get("/state").raise_for_status().json()["orders"]
    assert placed["result"]["orderId"] in {order["orderId"] for order in working}
    assert "NOT armed" in said(stack, STATUS)
