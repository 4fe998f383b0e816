"""The role that the executor is given permits what the host asks, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from core.bot_hosts.test_kubernetes_host import PATH, PODS, cluster

ROLE = json.loads((Path(__file__).resolve().parents[3] / "ops/kubernetes/bot-control-role.json").read_text())


def permits(rule: dict[str, Any], *, group: str, resource: str, name: str, verb: str) -> bool:
    """Judge as the API server does: a rule with names permits only requests that name one of them."""
    return (
        group in rule["apiGroups"]
        and resource in rule["resources"]
        and verb in rule["verbs"]
        and ("resourceNames" not in rule or name in rule["resourceNames"])
    )


def is_permitted(**asked: str) -> bool:
    return any(permits(rule, **asked) for rule in ROLE["rules"])


async def test_role_permits_what_the_host_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        await host.scale_to_zero()
    assert made.paths == {PATH, PODS}
    for verb in ("get", "patch"):
        assert is_permitted(group="apps", resource="deployments/scale", name="freqtrade", verb=verb)
    assert is_permitted(group="", resource="pods", name="", verb="list")


@pytest.mark.parametrize(
    ("group", "resource", "name", "verb"),
    [
        ("apps", "deployments/scale", "gateway", "patch"),
        ("apps", "deployments/scale", "freqtrade", "update"),
        ("apps", "deployments", "freqtrade", "patch"),
        ("apps", "deployments", "freqtrade", "delete"),
        ("", "pods", "x", "get"),
        ("", "pods", "x", "delete"),
        ("", "pods/exec", "x", "create"),
        ("", "secrets", "x", "get"),
        ("", "secrets", "", "list"),
    ],
)
def test_role_permits_nothing_else(group: str, resource: str, name: str, verb: str) -> None:
    assert not is_permitted(group=group, resource=resource, name=name, verb=verb)


def test_role_names_no_wildcard() -> None:
    assert "*" not in json.dumps(ROLE)
