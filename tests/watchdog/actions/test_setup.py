"""The hands as the settings ask for them, and the loops that run beside the monitor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from trust_parts import cosigned, ring_of, signed_checkpoint

from trade_core.alerts.model import JournalHead
from trade_core.bot_hosts.kubernetes_host import KubernetesHost
from trade_core.bot_hosts.process_host import ProcessHost
from trade_core.bot_hosts.systemd_host import SystemdHost
from trade_core.clock import NS_PER_S, ManualClock
from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.lease import Lease
from trade_watchdog.actions.setup import Actions, run_beside, set_up, witnessed_head
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.identity import load_gateway_address
from trade_watchdog.status import Status


def no_row(action: str, *, reason: str, failure: str = "") -> None:
    """Write nothing."""


def made(deployment: Any, *, status: Status | None = None, clock: ManualClock | None = None, **changed: Any) -> Actions:
    settings = deployment.settings.model_copy(update=changed)
    return set_up(
        settings,
        link=GatewayLink(load_gateway_address(settings.gateway_handover)),
        status=status or Status(),
        record=no_row,
        registry=CollectorRegistry(),
        clock=clock or ManualClock(),
        lease_key=load_private_key(new_private_key()),
    )


async def test_nothing_that_is_not_set_is_there(deployment: Any) -> None:
    actions = made(deployment)
    hands = actions.hands
    assert (hands.executor, hands.freqtrade, hands.host, actions.heartbeat) == (None, None, None, None)
    loops = actions.loops(is_flat=lambda _since_ns: True)
    assert hands.is_flat(0)
    assert len(loops) == 3
    for loop in loops:
        loop.close()
    await actions.close()


async def test_everything_that_is_set_is_there(deployment: Any, tmp_path: Path) -> None:
    write_secret_file(tmp_path / "heartbeat.json", {"url": "http://127.0.0.1:1/x"})
    webhook = {"kind": "webhook", "url": "http://127.0.0.1:1/x"}
    write_secret_file(tmp_path / "alerts.json", {"channels": [webhook]})
    actions = made(
        deployment,
        executor_socket=tmp_path / "s",
        freqtrade_file=tmp_path / "f.json",
        bot_pid_file=tmp_path / "pid",
        alerts_file=tmp_path / "alerts.json",
        heartbeat_file=tmp_path / "heartbeat.json",
    )
    assert None not in (actions.hands.executor, actions.hands.freqtrade, actions.heartbeat)
    assert isinstance(actions.hands.host, ProcessHost)
    loops = actions.loops(is_flat=lambda _since_ns: True)
    assert len(loops) == 4
    for loop in loops:
        loop.close()
    await actions.close()


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"bot_unit": "x.service"}, SystemdHost),
        ({"bot_namespace": "n", "bot_deployment": "d"}, KubernetesHost),
    ],
)
async def test_host_is_the_one_that_is_set(deployment: Any, changed: dict[str, str], kind: type) -> None:
    actions = made(deployment, **changed)
    assert isinstance(actions.hands.host, kind)
    await actions.close()


async def test_wrong_files_are_refused(deployment: Any, tmp_path: Path) -> None:
    for name in ("alerts_file", "heartbeat_file"):
        with pytest.raises(ConfigurationError):
            made(deployment, **{name: tmp_path / "none.json"})


async def test_any_answer_of_the_gateway_s_own_ends_its_silence(deployment: Any) -> None:
    clock = ManualClock()
    actions = made(deployment, clock=clock)
    link: Any = actions.hands.gateway
    clock.advance(20 * NS_PER_S)
    assert actions.silence.silent_s == 20
    deployment.gateway.override = (409, {}, b"no")
    with pytest.raises(Exception, match="409"):
        await link.state()
    assert actions.silence.silent_s == 0
    await link.close()
    await actions.close()


def test_head_is_that_of_the_last_lease() -> None:
    key = load_private_key(new_private_key())
    ring = ring_of(key)
    status = Status()
    assert witnessed_head(status) is None
    checkpoint = cosigned(signed_checkpoint(ring, key, size=7, root=b"r" * 32), ring, key)
    content: dict[str, Any] = dict.fromkeys(Lease.__slots__, "x")
    status.lease = Lease(**{**content, "checkpoint": checkpoint})
    assert witnessed_head(status) == JournalHead(size=7, root=(b"r" * 32).hex())
    status.lease = Lease(**{**content, "checkpoint": "nonsense"})
    assert witnessed_head(status) is None


async def test_loops_end_with_the_main_one_and_its_error_is_bare() -> None:
    ended: list[str] = []

    async def for_ever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def refused() -> None:
        await asyncio.sleep(0.01)
        raise ConfigurationError("the key")

    with pytest.raises(ConfigurationError, match="the key"):
        await run_beside(refused(), [for_ever("a"), for_ever("b")])
    assert sorted(ended) == ["a", "b"]


async def test_loop_that_fails_ends_the_main_one() -> None:
    async def broken() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await run_beside(asyncio.sleep(60), [broken()])
