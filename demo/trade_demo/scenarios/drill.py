"""A kill drill by a touch: everything is stopped, the account's keys are deleted, and each part of it is proved.

The keys are software, in files; what signs, verifies and kills is what a real key would drive.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import read_secret_file
from trade_core.tls import tls_context
from trade_core.trust.ring import KeyRing, read_ring, ring_hash
from trade_core.unix_sockets import short_path
from trade_demo.exchange_reader import get_json
from trade_demo.process import ProcessFailed
from trade_demo.scenarios.stage import ScenarioFailed, Stage

BOT_TRADES_WITHIN_S: Final = 600.0
KILLED_WITHIN_S: Final = 180.0
TIMEOUT_S: Final = 30.0
_ENDED: Final = frozenset({"done", "not_needed", "failed", "pending", "short"})


async def play(stage: Stage) -> None:
    """Enrol two keys, touch one for a drill, and see the world stopped. Raises ScenarioFailed."""
    if stage.files.bot_pid.exists():
        stage.say("waiting until the bot has something at the exchange, so that there is something to stop")
        await stage.until("the bot trades", lambda: _something_is_open(stage), within_s=BOT_TRADES_WITHIN_S)
    try:
        async with _executor(stage) as executor:
            ring = await _enrol(stage, executor)
            report = await _drill(stage, executor, ring)
    except ProcessFailed as error:
        raise ScenarioFailed(str(error)) from None
    stage.prove(str(report.get("in_words")))
    await _look_around(stage)
    if report.get("verdict") != "complete":
        raise ScenarioFailed(str(report.get("in_words")))


@contextlib.asynccontextmanager
async def _executor(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    with short_path(stage.files.executor_socket) as path:
        transport = httpx.AsyncHTTPTransport(uds=path, verify=tls_context(), trust_env=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://executor", timeout=TIMEOUT_S, trust_env=False
        ) as client:
            yield client


async def _something_is_open(stage: Stage) -> bool:
    world = await stage.world()
    shown = (*world.get("orders", ()), *world.get("positions", ()))
    return any(item.get("uid") == stage.account for item in shown)


async def _enrol(stage: Stage, executor: httpx.AsyncClient) -> KeyRing:
    """Enrol two keys at gateway, watchdog and executor, each of which checks the offer by itself."""
    pinned = read_ring(stage.files.ring)
    code = str(read_secret_file(stage.files.codes)["bootstrap_code"])
    raw = await stage.keys.offer(pinned, bootstrap_code=code, clock=stage.clock)
    hashes = {await _posted(client, "/ring", raw, "ring_hash") for client in (stage.gateway, stage.watchdog, executor)}
    ring = stage.keys.offered(pinned)
    if hashes != {ring_hash(ring)}:
        raise ScenarioFailed("gateway, watchdog and executor have not all taken the same key ring")
    stage.prove("two security keys are enrolled: gateway, watchdog and executor have each verified the offer")
    return ring


async def _drill(stage: Stage, executor: httpx.AsyncClient, ring: KeyRing) -> Mapping[str, Any]:
    draft = await get_json(executor, "/draft?purpose=drill")
    stage.say(f"somebody touches a key for: {draft.get('words')}")
    envelope = await stage.keys.touch(ring, draft, clock=stage.clock)
    await _posted(executor, "/kill", envelope, "kill_id")
    shown: set[str] = set()
    report: Mapping[str, Any] = {}

    async def is_over() -> bool:
        nonlocal report
        kill = (await get_json(executor, "/status")).get("kill")
        parts = kill if isinstance(kill, Mapping) else {}
        report = parts.get("running") or parts.get("last") or {}
        for step in report.get("steps", ()):
            _show(stage, step, shown)
        return parts.get("running") is None and parts.get("last") is not None

    await stage.until("the drill is over", is_over, within_s=KILLED_WITHIN_S)
    return report


def _show(stage: Stage, step: Mapping[str, Any], shown: set[str]) -> None:
    """Show a step once it ended, with its evidence."""
    status = str(step.get("status"))
    if status not in _ENDED or f"{step.get('step')} {status}" in shown:
        return
    shown.add(f"{step.get('step')} {status}")
    evidence = ", ".join(f"{name} {value}" for name, value in dict(step.get("evidence") or {}).items())
    after = f" after {step['ended_s']:.2f} s" if step.get("ended_s") is not None else ""
    why = f" ({step['why']})" if step.get("why") else ""
    line = f"{status.replace('_', ' ')}{after}: {step.get('words')}{why}{'; ' + evidence if evidence else ''}"
    (stage.prove if status in {"done", "not_needed"} else stage.say)(line[:400])


async def _look_around(stage: Stage) -> None:
    """Look at the simulated world itself: nothing here is what the executor says of its own work."""
    world = await stage.world()
    account = stage.account
    orders = [order for order in world.get("orders", ()) if order.get("uid") == account]
    keys = [key for key in world.get("keys", ()) if key.get("uid") == account]
    positions = [position for position in world.get("positions", ()) if position.get("uid") == account]
    stage.prove(
        f"the exchange itself shows {len(orders)} orders, {len(positions)} positions, {len(keys)} keys of the account"
    )
    try:
        state = (await stage.gateway_state()).get("trading_state")
    except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
        state = f"nothing ({error})"
    stage.prove(f"the gateway says {state}")


async def _posted(client: httpx.AsyncClient, path: str, raw: bytes, wanted: str) -> str:
    try:
        answer = await client.post(path, content=raw, headers={"content-type": "application/json"})
        content = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ScenarioFailed(f"{path} was not answered: {type(error).__name__}") from None
    if not answer.is_success or not isinstance(content, dict) or wanted not in content:
        raise ScenarioFailed(f"{path} was refused: HTTP {answer.status_code} {answer.text[:300]}")
    return str(content[wanted])
