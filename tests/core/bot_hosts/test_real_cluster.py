"""The host against a real API server, with the narrow role.

TRADE_KUBECONFIG names a file of `kubectl config view --raw --minify -o json` for somebody who may make namespaces.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from trade_core.bot_hosts.kubernetes_host import KubernetesHost
from trade_core.bot_hosts.port import BotHostFailed

pytestmark = [pytest.mark.outside]
ROLE = json.loads((Path(__file__).resolve().parents[3] / "ops/kubernetes/bot-control-role.json").read_text())
PAUSE = "registry.k8s.io/pause:3.9"


class Cluster:
    """The API as an administrator sees it."""

    def __init__(self, folder: Path) -> None:
        config = json.loads(Path(os.environ["TRADE_KUBECONFIG"]).read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = str(server["server"])
        self.authority = base64.b64decode(server["certificate-authority-data"])
        (folder / "admin-ca.crt").write_bytes(self.authority)
        context = ssl.create_default_context(cafile=str(folder / "admin-ca.crt"))
        headers = {}
        if "token" in user:
            headers["authorization"] = f"Bearer {user['token']}"
        else:
            for name in ("client-certificate", "client-key"):
                (folder / name).write_bytes(base64.b64decode(user[f"{name}-data"]))
            context.load_cert_chain(folder / "client-certificate", folder / "client-key")
        self.http = httpx.Client(base_url=self.url, verify=context, headers=headers, timeout=20, trust_env=False)

    def make(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=content)
        assert answer.status_code in {200, 201}, answer.text
        made: dict[str, Any] = answer.json()
        return made


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "bot", "image": PAUSE}]}}
    return {"metadata": {"name": name}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}}


async def test_narrow_role_scales_its_deployment_to_zero_and_no_other(tmp_path: Path) -> None:
    cluster, space = Cluster(tmp_path), "trade-" + secrets.token_hex(4)
    core, apps = f"/api/v1/namespaces/{space}", f"/apis/apps/v1/namespaces/{space}"
    rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}"
    cluster.make("/api/v1/namespaces", {"metadata": {"name": space}})
    try:
        for name in ("freqtrade", "gateway"):
            cluster.make(f"{apps}/deployments", deployment(name))
        cluster.make(f"{core}/serviceaccounts", {"metadata": {"name": "executor"}})
        cluster.make(f"{rights}/roles", ROLE)
        subject = {"kind": "ServiceAccount", "name": "executor", "namespace": space}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE["metadata"]["name"]}
        binding = {"metadata": {"name": "executor"}, "subjects": [subject], "roleRef": reference}
        cluster.make(f"{rights}/rolebindings", binding)
        made = cluster.make(f"{core}/serviceaccounts/executor/token", {"spec": {"expirationSeconds": 600}})
        (tmp_path / "token").write_text(made["status"]["token"])
        (tmp_path / "ca.crt").write_bytes(cluster.authority)

        def host(name: str) -> KubernetesHost:
            return KubernetesHost(url=cluster.url, folder=tmp_path, namespace=space, deployment=name, lists_pods=True)

        async with asyncio.timeout(60):
            while (await host("freqtrade").look()).evidence["pods"] != "2":  # noqa: ASYNC110 - the cluster tells nobody
                await asyncio.sleep(0.5)
        await host("freqtrade").scale_to_zero()
        sight = await host("freqtrade").look()
        assert sight.is_gone
        assert sight.evidence["pods"] == "0"
        with pytest.raises(BotHostFailed, match="403"):
            await host("gateway").scale_to_zero()
    finally:
        cluster.http.delete(f"/api/v1/namespaces/{space}")
        cluster.http.close()
