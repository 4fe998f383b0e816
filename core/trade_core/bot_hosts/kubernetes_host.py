"""A bot that runs as a deployment on Kubernetes: scaled to zero through the scale subresource, and nothing else.

Guarantees
- It needs the right to get and patch one deployment's scale; with `lists_pods` also to list the pods of its namespace.
  It names no other object and changes nothing but that number.
- "Zero" is what the API says: the Scale object has no `replicas` at 0, in `spec` and in `status`; an absent number is
  0, and a `status` that lags behind is not believed until it is 0 too. With `lists_pods` no pod of the deployment's
  own selector may be left that is not at its end; a pod that is being deleted still runs.
- What passes by itself (409, 429, 5xx, no answer) is asked again until `GONE_WITHIN_S` is over; what does not (401,
  403, 404) fails at once.
- The token is read anew for each attempt (it is rotated on the disk) and stands in no log and no error.

Source: Kubernetes API, autoscaling/v1 Scale: `spec.replicas`, `status.replicas`, both omitted when empty,
`status.selector` as a label query; core/v1 PodList: `metadata.continue` while there is more, `status.phase`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any, Final

import httpx

from trade_core.bot_hosts.port import BotHostFailed, BotSight

REQUEST_TIMEOUT_S: Final = 4.0
GONE_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.5
RETRY_AFTER_S_MAX: Final = 5.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
POD_PAGE: Final = 50
POD_PAGES_MAX: Final = 10
_TOKEN_BYTES_MAX: Final = 16 * 1024
_SELECTOR_CHARACTERS_MAX: Final = 1024
_PASSING: Final = frozenset({409, 429})
_SERVER_FAULTS: Final = 500
_ENDED: Final = frozenset({"Succeeded", "Failed"})


class _TryAgain(BotHostFailed):
    """What may be over at the next attempt."""

    def __init__(self, text: str, *, after_s: float = LOOK_EVERY_S) -> None:
        super().__init__(text)
        self.after_s = after_s


class KubernetesHost:
    """One deployment of one namespace."""

    def __init__(self, *, url: str, folder: Path, namespace: str, deployment: str, lists_pods: bool = False) -> None:
        """Prepare. `folder` holds `token` and `ca.crt`, as a pod's service account does; names come checked."""
        self._url = url
        self._folder = folder
        self._scale_path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale"
        self._pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self._name = f"{namespace}/{deployment}"
        self._lists_pods = lists_pods

    async def scale_to_zero(self) -> None:
        """Scale to zero and wait until nothing is left. Raises BotHostFailed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GONE_WITHIN_S
        is_asked = False
        while True:
            try:
                async with await self._client() as client:
                    if not is_asked:
                        await self._ask(client, "PATCH", self._scale_path, content={"spec": {"replicas": 0}})
                        is_asked = True
                    await self._require_gone(client)
                    return
            except _TryAgain as error:
                if loop.time() + error.after_s > deadline:
                    raise BotHostFailed(f"{error} (tried for {GONE_WITHIN_S:g} s)") from None
                await asyncio.sleep(error.after_s)

    async def look(self) -> BotSight:
        """Tell whether nothing is wanted and nothing runs. Raises BotHostFailed."""
        async with await self._client() as client:
            return await self._look(client)

    async def _require_gone(self, client: httpx.AsyncClient) -> None:
        sight = await self._look(client)
        if sight.is_gone:
            return
        if sight.evidence["wanted"] != "0":
            raise BotHostFailed(f"{self._name}: somebody scales it back to {sight.evidence['wanted']}")
        left = ", ".join(f"{name} {value}" for name, value in sight.evidence.items() if name in {"replicas", "pods"})
        raise _TryAgain(f"{self._name}: is not gone: {left}")

    async def _look(self, client: httpx.AsyncClient) -> BotSight:
        scale = _scale(await self._ask(client, "GET", self._scale_path))
        wanted, running = (_replicas(scale, part) for part in ("spec", "status"))
        evidence = {"deployment": self._name, "wanted": str(wanted), "replicas": str(running)}
        pods = 0
        if self._lists_pods:
            pods = await self._pods(client, _selector(scale))
            evidence["pods"] = str(pods)
        return BotSight(is_gone=wanted == running == pods == 0, evidence=evidence)

    async def _pods(self, client: httpx.AsyncClient, selector: str) -> int:
        """Count the pods that are not at their end."""
        found, parameters = 0, {"labelSelector": selector, "limit": str(POD_PAGE)}
        for _ in range(POD_PAGES_MAX):
            listed = await self._ask(client, "GET", self._pods_path, parameters=parameters)
            if not isinstance(listed, dict) or listed.get("kind") != "PodList":
                raise BotHostFailed("the cluster answers no PodList")
            items, more = listed.get("items") or [], (listed.get("metadata") or {}).get("continue")
            try:
                found += sum((item.get("status") or {}).get("phase") not in _ENDED for item in items)
            except (AttributeError, TypeError):
                raise BotHostFailed("the cluster's PodList has an odd item") from None
            if not more:
                return found
            parameters["continue"] = str(more)
        raise BotHostFailed(f"{self._name}: more than {POD_PAGES_MAX * POD_PAGE} pods are listed")

    async def _client(self) -> httpx.AsyncClient:
        def read() -> tuple[str, ssl.SSLContext]:
            token = (self._folder / "token").read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii").strip()
            return token, ssl.create_default_context(cafile=str(self._folder / "ca.crt"))

        try:
            token, context = await asyncio.to_thread(read)
        except (OSError, ValueError) as error:
            raise BotHostFailed(f"{self._folder}: token or ca.crt: {type(error).__name__}") from None
        if not token or not token.isprintable():
            raise BotHostFailed(f"{self._folder}/token: holds no token")
        return httpx.AsyncClient(
            base_url=self._url,
            headers={"authorization": f"Bearer {token}", "accept": "application/json", "accept-encoding": "identity"},
            verify=context,
            timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
        )

    async def _ask(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        content: Any = None,
        parameters: dict[str, str] | None = None,
    ) -> Any:
        headers = {} if content is None else {"content-type": "application/merge-patch+json"}
        raw = None if content is None else json.dumps(content).encode()
        body = bytearray()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                async with client.stream(method, path, content=raw, headers=headers, params=parameters) as response:
                    async for part in response.aiter_raw():
                        body += part
                        if len(body) > ANSWER_BYTES_MAX:
                            raise BotHostFailed(f"{self._name}: the cluster's answer is too long")
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise _TryAgain(f"{self._name}: the cluster does not answer: {type(error).__name__}") from None
        what = f"{self._name}: {method} {path.rpartition('/')[2]}: HTTP {response.status_code}"
        if response.status_code in _PASSING or response.status_code >= _SERVER_FAULTS:
            raise _TryAgain(what, after_s=_retry_after_s(response.headers.get("retry-after", "")))
        if response.status_code != httpx.codes.OK:
            raise BotHostFailed(what)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BotHostFailed(f"{self._name}: the cluster answers no JSON") from None


def _retry_after_s(text: str) -> float:
    """Read how long the server asks us to wait; a kill waits no longer than its own bound."""
    wanted = float(text) if text.isdecimal() and len(text) <= 4 else 0.0
    return min(max(wanted, LOOK_EVERY_S), RETRY_AFTER_S_MAX)


def _scale(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or answer.get("kind") != "Scale":
        raise BotHostFailed("the cluster answers no Scale")
    return answer


def _replicas(scale: dict[str, Any], part: str) -> int:
    """Read a number of replicas, absent at 0. Raises BotHostFailed for what is none."""
    content = scale.get(part, {})
    value = content.get("replicas", 0) if isinstance(content, dict) else None
    if type(value) is not int or value < 0:
        raise BotHostFailed(f"the cluster's Scale has an odd {part}")
    return value


def _selector(scale: dict[str, Any]) -> str:
    """Read which pods are the deployment's. Raises BotHostFailed: without it, every pod of the namespace would be."""
    value = scale.get("status", {}).get("selector")
    if not isinstance(value, str) or not value or len(value) > _SELECTOR_CHARACTERS_MAX:
        raise BotHostFailed("the cluster's Scale names no selector")
    return value
