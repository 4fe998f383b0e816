"""Which host the settings name: the same keys for whoever may end the bot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trade_core.bot_hosts.kubernetes_host import KubernetesHost
from trade_core.bot_hosts.port import BotHost
from trade_core.bot_hosts.process_host import ProcessHost
from trade_core.bot_hosts.systemd_host import SystemdHost
from trade_core.setting_types import SettingPath
from trade_core.settings import Settings

KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
_NEEDED: dict[str, set[str]] = {
    "none": set(),
    "process": {"bot_pid_file"},
    "systemd": {"bot_unit"},
    "kubernetes": {"bot_namespace", "bot_deployment"},
}


class BotHostSettings(Settings):
    """Where the bot is ended. What is not set cannot be done, and whoever needs it says so."""

    bot_host: Literal["none", "process", "systemd", "kubernetes"] = "none"
    bot_pid_file: SettingPath | None = None
    bot_unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@:-]{0,99}\.service$")] | None = None
    bot_namespace: KubernetesName | None = None
    bot_deployment: KubernetesName | None = None
    kubernetes_url: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.:\[\]-]{1,200}$")] = (
        "https://kubernetes.default.svc"
    )
    kubernetes_folder: SettingPath = Path("/var/run/secrets/kubernetes.io/serviceaccount")

    @model_validator(mode="after")
    def _host_is_named_with_what_it_needs(self) -> Self:
        for name in sorted(set().union(*_NEEDED.values())):
            is_needed, is_given = name in _NEEDED[self.bot_host], getattr(self, name) is not None
            if is_needed != is_given:
                verb = "is missing" if is_needed else "is given"
                raise ValueError(f'{name}: {verb} although bot_host = "{self.bot_host}"')
        return self


def bot_host_of(settings: BotHostSettings, *, lists_pods: bool) -> BotHost | None:
    """Make the host that the settings name, or None. `lists_pods`: prove an end by the cluster's pods too."""
    if settings.bot_pid_file is not None:
        return ProcessHost(settings.bot_pid_file)
    if settings.bot_unit is not None:
        return SystemdHost(settings.bot_unit)
    if settings.bot_namespace is not None and settings.bot_deployment is not None:
        return KubernetesHost(
            url=settings.kubernetes_url,
            folder=settings.kubernetes_folder,
            namespace=settings.bot_namespace,
            deployment=settings.bot_deployment,
            lists_pods=lists_pods,
        )
    return None
