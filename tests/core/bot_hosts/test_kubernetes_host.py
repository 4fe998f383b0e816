"""A deployment's scale, over TLS, with the API's own quirks: no `replicas` at zero, a status that lags."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trade_core.bot_hosts import kubernetes_host
from trade_core.bot_hosts.kubernetes_host import KubernetesHost
from trade_core.bot_hosts.port import BotHostFailed

PATH = "/apis/apps/v1/namespaces/bots/deployments/freqtrade/scale"
PODS = "/api/v1/namespaces/bots/pods"
TOKEN = "token-canary"


def certificate(folder: Path) -> ssl.SSLContext:
    """Make an authority that is its own server, write it as `ca.crt`, and return what serves with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key.pem")
    return context


class Cluster:
    """One Scale and its pods. What runs follows what is wanted after some looks, and the pods follow that."""

    def __init__(self) -> None:
        self.wanted = self.running = 2
        self.lag = 3
        self.paths: set[str] = set()
        self.patches: list[Any] = []
        self.override: tuple[int, bytes] | None = None
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.phases = ["Running", "Running", "Failed"]
        self.pod_lag = 2
        self.may_list_pods = True
        self.queries: list[dict[str, list[str]]] = []
        self.is_hanging = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if self.is_hanging:
                    await asyncio.Event().wait()
                more = ""
                if self.faults:
                    status, named = self.faults.pop(0)
                    content, more = b"{}", "".join(f"{name}: {value}\r\n" for name, value in named.items())
                else:
                    status, content = self.answer(method, path, headers, body)
                writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        writer.close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        path, _, query = path.partition("?")
        self.paths.add(path)
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, b"{}"
        if self.override is not None:
            return self.override
        if path == PODS:
            return self.pods(parse_qs(query)) if self.may_list_pods else (403, b"{}")
        if method == "PATCH":
            if headers["content-type"] != "application/merge-patch+json":
                return 415, b"{}"
            self.patches.append(json.loads(body))
            self.wanted = self.patches[-1]["spec"]["replicas"]
        elif self.running != self.wanted:
            self.lag -= 1
            self.running = self.wanted if self.lag <= 0 else self.running
        return 200, json.dumps(self.scale()).encode()

    def pods(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """List one pod a page, as a server may that has less patience than was asked of it."""
        self.queries.append(query)
        if query["labelSelector"] != ["app=freqtrade"]:
            return 200, b'{"kind": "PodList", "metadata": {}, "items": null}'
        if self.running == 0:
            self.pod_lag -= 1
        listed = self.phases if self.pod_lag > 0 else [phase for phase in self.phases if phase != "Running"]
        start = int(query.get("continue", ["0"])[0])
        items = [{"metadata": {}, "status": {"phase": phase}} for phase in listed[start : start + 1]]
        more = {"continue": str(start + 1)} if start + 1 < len(listed) else {}
        return 200, json.dumps({"kind": "PodList", "metadata": more, "items": items}).encode()

    def scale(self) -> dict[str, Any]:
        spec = {"replicas": self.wanted} if self.wanted else {}
        running = {"replicas": self.running} if self.running else {}
        return {"kind": "Scale", "metadata": {}, "spec": spec, "status": {"selector": "app=freqtrade", **running}}


@asynccontextmanager
async def cluster(folder: Path, *, lists_pods: bool = False) -> AsyncIterator[tuple[KubernetesHost, Cluster]]:
    made = Cluster()
    context = certificate(folder)
    (folder / "token").write_text(f"{TOKEN}\n")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        made_host = KubernetesHost(
            url=url, folder=folder, namespace="bots", deployment="freqtrade", lists_pods=lists_pods
        )
        yield made_host, made
    finally:
        server.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_host, "LOOK_EVERY_S", 0.01)


async def test_deployment_is_scaled_to_zero_and_waited_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (host, made):
        assert (await host.look()).is_gone is False
        await host.scale_to_zero()
        assert (await host.look()).is_gone is True
    assert made.patches == [{"spec": {"replicas": 0}}]
    assert (made.wanted, made.running) == (0, 0)
    assert made.paths == {PATH}


async def test_status_that_lags_is_not_taken_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_host, "GONE_WITHIN_S", 0.2)
    async with cluster(tmp_path) as (host, made):
        made.lag = 10**6
        with pytest.raises(BotHostFailed, match=r"replicas 2 \(tried for 0.2 s\)"):
            await host.scale_to_zero()
        assert made.wanted == 0


async def test_deployment_that_is_scaled_back_is_a_failure(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (host, made):
        made.override = (200, b'{"kind": "Scale", "spec": {"replicas": 1}, "status": {"replicas": 1}}')
        with pytest.raises(BotHostFailed, match="scales it back to 1"):
            await host.scale_to_zero()


@pytest.mark.parametrize(
    "answer",
    [
        (403, b"{}"),
        (401, b"{}"),
        (404, b"{}"),
        (302, b""),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"kind": "Deployment", "spec": {}, "status": {}}'),
        (200, b'{"kind": "Scale", "spec": {"replicas": "0"}, "status": {}}'),
        (200, b'{"kind": "Scale", "spec": {"replicas": false}, "status": {}}'),
        (200, b'{"kind": "Scale", "spec": {}, "status": {"replicas": -1}}'),
        (200, b'{"kind": "Scale", "spec": {}, "status": []}'),
        (200, b"x" * (kubernetes_host.ANSWER_BYTES_MAX + 1)),
    ],
)
async def test_answer_that_is_no_scale_is_a_failure_without_the_token(
    tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    async with cluster(tmp_path) as (host, made):
        made.override = answer
        with pytest.raises(BotHostFailed) as failure:
            await host.scale_to_zero()
    assert "canary" not in str(failure.value)


async def test_scale_without_spec_and_status_is_zero(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (host, made):
        made.override = (200, b'{"kind": "Scale"}')
        await host.scale_to_zero()


async def test_cluster_of_another_authority_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_host, "GONE_WITHIN_S", 0.5)
    async with cluster(tmp_path) as (host, made):
        (tmp_path / "other").mkdir()
        certificate(tmp_path / "other")
        (tmp_path / "ca.crt").write_bytes((tmp_path / "other" / "ca.crt").read_bytes())
        with pytest.raises(BotHostFailed, match="does not answer: ConnectError"):
            await host.scale_to_zero()
    assert made.paths == set()


async def test_missing_or_odd_token_is_a_failure(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (host, made):
        for content in (b"", b"\xff", b"a\x00b"):
            (tmp_path / "token").write_bytes(content)
            with pytest.raises(BotHostFailed, match="token"):
                await host.scale_to_zero()
        (tmp_path / "token").unlink()
        with pytest.raises(BotHostFailed, match="token"):
            await host.look()
        assert made.paths == set()


async def test_pods_are_waited_for_although_no_replica_is_left(tmp_path: Path) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        made.lag, made.pod_lag = 1, 4
        sight = await host.look()
        assert (sight.is_gone, sight.evidence["pods"], sight.evidence["replicas"]) == (False, "2", "2")
        await host.scale_to_zero()
        sight = await host.look()
    assert sight.is_gone
    assert sight.evidence == {"deployment": "bots/freqtrade", "wanted": "0", "replicas": "0", "pods": "0"}
    assert made.paths == {PATH, PODS}
    assert {query["labelSelector"][0] for query in made.queries} == {"app=freqtrade"}


async def test_pods_that_may_not_be_listed_prove_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        made.may_list_pods = False
        with pytest.raises(BotHostFailed, match="GET pods: HTTP 403"):
            await host.scale_to_zero()
    assert made.wanted == 0


async def test_scale_without_a_selector_is_not_proved_by_pods(tmp_path: Path) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        made.override = (200, b'{"kind": "Scale", "status": {"selector": ""}}')
        with pytest.raises(BotHostFailed, match="names no selector"):
            await host.look()


@pytest.mark.parametrize(
    "answer",
    [b"[]", b'{"kind": "Scale"}', b'{"kind": "PodList", "items": [1]}', b'{"kind": "PodList", "items": 1}'],
)
async def test_answer_that_is_no_list_of_pods_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        made.pods = lambda _: (200, answer)  # type: ignore[method-assign]
        with pytest.raises(BotHostFailed, match="PodList"):
            await host.look()


async def test_list_of_pods_without_end_is_a_failure(tmp_path: Path) -> None:
    async with cluster(tmp_path, lists_pods=True) as (host, made):
        made.phases = ["Running"] * 100
        with pytest.raises(BotHostFailed, match="more than 500 pods"):
            await host.look()
    assert len(made.queries) == kubernetes_host.POD_PAGES_MAX


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_fault_that_passes_is_asked_again(tmp_path: Path, status: int) -> None:
    async with cluster(tmp_path) as (host, made):
        made.faults = [(status, {}), (status, {"retry-after": "0"}), (status, {"retry-after": "soon"})]
        await host.scale_to_zero()
    assert made.running == 0


async def test_server_that_asks_for_patience_gets_a_bounded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_host, "RETRY_AFTER_S_MAX", 0.02)
    async with cluster(tmp_path) as (host, made):
        made.faults = [(429, {"retry-after": "3600"})]
        await host.scale_to_zero()
    assert made.running == 0


async def test_cluster_that_hangs_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_host, "REQUEST_TIMEOUT_S", 0.1)
    monkeypatch.setattr(kubernetes_host, "GONE_WITHIN_S", 0.3)
    async with cluster(tmp_path) as (host, made):
        made.is_hanging = True
        with pytest.raises(BotHostFailed, match=r"does not answer: .*Timeout.*tried for 0.3 s"):
            await host.scale_to_zero()
