"""Asks the processes beside the gateway: do they run, do alerts reach anybody, is a kill armed?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from trade_core.administration import admin_address
from trade_core.alerts.channels import Channel, Sent
from trade_core.alerts.model import Alert, Message, Sender, Severity
from trade_core.alerts.setup import read_channels
from trade_core.clock import SystemClock
from trade_core.errors import TradeError
from trade_core.findings import Finding, Level, finding
from trade_core.secrets import read_secret_file
from trade_core.tls import tls_context
from trade_core.unix_sockets import short_path
from trade_gateway.identity import HANDOVER_FOLDER
from trade_gateway.settings import GatewaySettings

TIMEOUT_S: Final = 5.0
READY: Final = "ready"
PART_CHARACTERS: Final = 40
OPERATOR_HANDOVER: Final = "operator.json"


def check_journal_writer(settings: GatewaySettings) -> Finding:
    """See that the journal writer's socket is there; the gateway alone may connect to it."""
    path = settings.journal_socket
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        return finding("journal writer", Level.GOOD, f"{path} is there")
    advice = "start `trade-journal-writer` first; it outlives the gateway"
    return finding("journal writer", Level.WARNING, f"{path} is not there: it does not run, or elsewhere", advice)


def check_gateway(settings: GatewaySettings) -> list[Finding]:
    """Ask the running gateway for its state."""
    try:
        access = read_secret_file(settings.state_dir / HANDOVER_FOLDER / OPERATOR_HANDOVER)
        headers = {"authorization": f"Bearer {access['admin_token']}"}
        with admin_address(str(access["admin_url"])).client(headers=headers, timeout=TIMEOUT_S) as http:
            state = _object(http.get("/state"))
    except (TradeError, KeyError, httpx.HTTPError, ValueError) as error:
        return [finding("gateway", Level.WARNING, f"does not run, or does not say: {type(error).__name__}", "start it")]
    found = f"{state.get('trading_state')}"
    holders = state.get("holders")
    reasons = [
        f"{name}: {holder.get('reason')}"
        for name, holder in (holders.items() if isinstance(holders, dict) else ())
        if isinstance(holder, dict) and holder.get("ceiling") != "ACTIVE"
    ]
    level = Level.GOOD if found == "ACTIVE" else Level.WARNING
    advice = "see docs/runbook.md, why is nothing traded" if reasons else ""
    return [finding("gateway", level, "; ".join([found, *reasons]), advice)]


def check_executor(socket: Path | None) -> list[Finding]:
    """Ask the kill executor whether a kill is armed, its key is right, and every part was seen to be ready."""
    if socket is None:
        advice = "name its socket: --executor-socket FILE"
        return [finding("kill", Level.UNKNOWN, "no executor is named, so that nothing is known of a kill", advice)]
    try:
        if not socket.exists():  # httpx would leave a socket open that found nobody
            raise FileNotFoundError(socket)
        with short_path(socket) as short:
            transport = httpx.HTTPTransport(uds=short, verify=tls_context(), trust_env=False)
            with httpx.Client(
                transport=transport, base_url="http://executor", timeout=TIMEOUT_S, trust_env=False
            ) as http:
                status = _object(http.get("/status"))
    except (OSError, httpx.HTTPError, ValueError, TradeError) as error:
        advice = "start `trade-kill-executor`, and let this user reach its socket"
        return [finding("kill", Level.WRONG, f"the executor does not answer: {type(error).__name__}", advice)]
    return list(_executor(status))


def _executor(status: dict[str, Any]) -> Iterator[Finding]:
    armed = status.get("armed")
    is_armed = isinstance(armed, dict) and armed.get("is_armed") is True
    reason = str(armed.get("reason", "")) if isinstance(armed, dict) else ""
    advice = "" if is_armed else "arm it with a touch of a security key; until then a kill needs a person"
    words = "an automatic kill is armed" if is_armed else f"not armed: {reason or 'it does not say why'}"
    yield finding("kill", Level.GOOD if is_armed else Level.WARNING, words, advice)
    key = str(status.get("exit_key", "not said"))
    level = Level.GOOD if key == "verified" else Level.WARNING
    yield finding("exit key", level, key, "" if level is Level.GOOD else "the executor's log says what is wrong")
    ready = status.get("ready")
    parts = ready.get("parts") if isinstance(ready, dict) else None
    for name, words in sorted(parts.items()) if isinstance(parts, dict) else ():
        if name != "exit_key" and words != READY:
            what = name.replace("_", " ")[:PART_CHARACTERS]
            yield finding(f"kill: {what}", Level.WARNING, str(words), "a kill needs it; see docs/killswitch.md")


async def check_alerts(settings: GatewaySettings, alerts_file: Path | None, *, send: bool) -> list[Finding]:
    """Read the channels, and send each a test message when that is asked for."""
    if alerts_file is None:
        advice = "name the alerts_file of watchdog and executor: --alerts FILE"
        return [finding("alerts", Level.UNKNOWN, "no file is named, so that nobody may be told of anything", advice)]
    try:
        channels = read_channels(alerts_file)
    except TradeError as error:
        return [finding("alerts", Level.WRONG, str(error), "see docs/alerts.md")]
    if not send:
        for channel in channels:
            await channel.close()
        words = f"{len(channels)} channels are set up"
        return [finding("alerts", Level.WARNING, words, "--send-test-alert shows that they reach you")]
    return [await _sent(channel, settings, number) for number, channel in enumerate(channels, 1)]


async def _sent(channel: Channel, settings: GatewaySettings, number: int) -> Finding:
    message = Message(
        sender=Sender(service="doctor", environment=settings.environment, account=settings.account),
        alert=Alert(subject="doctor:test", severity=Severity.INFO, text="a test: this channel works"),
        at_ns=SystemClock().wall_ns(),
    )
    try:
        outcome = await channel.send(message)
    finally:
        await channel.close()
    name = f"channel {number} ({channel.kind.value})"
    if outcome.sent is Sent.DELIVERED:
        return finding("alerts", Level.GOOD, f"{name} took a test message; see that it arrived")
    return finding("alerts", Level.WRONG, f"{name} did not take it ({outcome.sent.value})", "see docs/alerts.md")


def _object(answer: httpx.Response) -> dict[str, Any]:
    content = answer.json()
    if answer.status_code != httpx.codes.OK or not isinstance(content, dict):
        raise ValueError("no state")
    return content
