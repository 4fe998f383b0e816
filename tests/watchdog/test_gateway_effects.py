"""What a watchdog without executor and bot control can do: halt, and say the rest."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from trade_watchdog.effects import Alert, EffectFailed, Effects, KillCondition, KillRequest, Severity
from trade_watchdog.gateway_effects import GatewayEffects
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.identity import load_gateway_address

REQUEST = KillRequest(request_id="r", condition=KillCondition.DRAWDOWN, reason="why", at_ns=1)


async def test_halt_reaches_the_gateway_and_its_refusal_is_a_failure(deployment: Any) -> None:
    link = GatewayLink(load_gateway_address(deployment.settings.gateway_handover))
    effects: Effects = GatewayEffects(link)
    await effects.halt("the monthly rung has fired")
    assert deployment.gateway.halts == ["the monthly rung has fired"]
    deployment.gateway.override = (503, {}, b"no")
    with pytest.raises(EffectFailed, match="503"):
        await effects.halt("again")
    await deployment.gateway.stop()
    with pytest.raises(EffectFailed, match="does not answer"):
        await effects.halt("again")
    await link.close()


async def test_what_nothing_reaches_fails_and_says_so(deployment: Any) -> None:
    link = GatewayLink(load_gateway_address(deployment.settings.gateway_handover))
    effects = GatewayEffects(link)
    with pytest.raises(EffectFailed, match="no bot control"):
        await effects.scale_bot("why")
    with pytest.raises(EffectFailed, match="no kill executor"):
        await effects.sweep("why")
    with pytest.raises(EffectFailed, match="no kill executor"):
        await effects.request_kill(REQUEST)
    await link.close()


async def test_alerts_are_said_in_the_log(deployment: Any, caplog: pytest.LogCaptureFixture) -> None:
    link = GatewayLink(load_gateway_address(deployment.settings.gateway_handover))
    effects = GatewayEffects(link)
    with caplog.at_level(logging.INFO):
        effects.alert(Alert(subject="rung:daily", severity=Severity.CRITICAL, text="it has fired"))
        effects.acknowledge("rung:daily")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "alert rung:daily: it has fired"),
        ("INFO", "acknowledged: rung:daily"),
    ]
    await link.close()
