"""The host that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trade_core.bot_hosts.kubernetes_host import KubernetesHost
from trade_core.bot_hosts.process_host import ProcessHost
from trade_core.bot_hosts.selection import BotHostSettings, bot_host_of
from trade_core.bot_hosts.systemd_host import SystemdHost


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, type(None)),
        ({"bot_host": "process", "bot_pid_file": "bot.pid"}, ProcessHost),
        ({"bot_host": "systemd", "bot_unit": "freqtrade.service"}, SystemdHost),
        ({"bot_host": "kubernetes", "bot_namespace": "bots", "bot_deployment": "freqtrade"}, KubernetesHost),
    ],
)
def test_host_is_the_one_that_is_named(given: dict[str, Any], kind: type) -> None:
    settings = BotHostSettings.model_validate(given, context={"folder": Path("/nowhere")})
    assert type(bot_host_of(settings, lists_pods=True)) is kind


@pytest.mark.parametrize(
    "given",
    [
        {"bot_host": "process"},
        {"bot_pid_file": "bot.pid"},
        {"bot_host": "kubernetes", "bot_namespace": "bots"},
        {"bot_host": "systemd", "bot_unit": "--user.service"},
        {"bot_host": "systemd", "bot_unit": "freqtrade"},
        {"bot_host": "kubernetes", "bot_namespace": "../etc", "bot_deployment": "x"},
        {"bot_host": "docker"},
    ],
)
def test_host_without_what_it_needs_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BotHostSettings.model_validate(given, context={"folder": Path("/nowhere")})
