"""A bot that runs as a deployment on Kubernetes: scaled to zero through the scale subresource, and nothing else.

Guarantees
- It needs the right to get and patch one deployment's scale. It names no other object.
- "Zero" is what the API says: the Scale object has no `replicas` at 0, in `spec` and in `status`; an absent number is
  0, and a `status` that lags behind is not believed until it is 0 too.
- The token is read anew for each attempt (it is rotated on the disk) and stands in no log and no error.

Source: Kubernetes API, autoscaling/v1 Scale: `spec.replicas`, `status.replicas`, both omitted when empty.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any, Final

import httpx

from trade_watchdog.effects import EffectFailed

REQUEST_TIMEOUT_S: Final = 4.0
GONE_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.5
ANSWER_BYTES_MAX: Final = 256 * 1024
_TOKEN_BYTES_MAX: Final = 16 * 1024


class KubernetesHost:
    """One deployment of one namespace."""

    def __init__(self, *, url: str, folder: Path, namespace: str, deployment: str) -> None:
        """Prepare. `folder` holds `token` and `ca.crt`, as a pod's service account does; names come checked."""
        self._url = url
        self._folder = folder
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale"
        self._name = f"{namespace}/{deployment}"

    async def scale_to_zero(self) -> None:
        """Scale to zero and wait until no replica is left. Raises EffectFailed."""
        async with await self._client() as client:
            await self._ask(client, "PATCH", {"spec": {"replicas": 0}})
            loop = asyncio.get_running_loop()
            deadline = loop.time() + GONE_WITHIN_S
            while True:
                wanted, running = _replicas(await self._ask(client, "GET", None))
                if wanted == 0 and running == 0:
                    return
                if wanted:
                    raise EffectFailed(f"{self._name}: somebody scales it back to {wanted}")
                if loop.time() > deadline:
                    raise EffectFailed(f"{self._name}: {running} replicas are left after {GONE_WITHIN_S:g} s")
                await asyncio.sleep(LOOK_EVERY_S)

    async def is_gone(self) -> bool:
        """Tell whether nothing is wanted and nothing runs. Raises EffectFailed."""
        async with await self._client() as client:
            return _replicas(await self._ask(client, "GET", None)) == (0, 0)

    async def _client(self) -> httpx.AsyncClient:
        def read() -> tuple[str, ssl.SSLContext]:
            token = (self._folder / "token").read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii").strip()
            return token, ssl.create_default_context(cafile=str(self._folder / "ca.crt"))

        try:
            token, context = await asyncio.to_thread(read)
        except (OSError, ValueError) as error:
            raise EffectFailed(f"{self._folder}: token or ca.crt: {type(error).__name__}") from None
        if not token or not token.isprintable():
            raise EffectFailed(f"{self._folder}/token: holds no token")
        return httpx.AsyncClient(
            base_url=self._url,
            headers={"authorization": f"Bearer {token}", "accept": "application/json", "accept-encoding": "identity"},
            verify=context,
            timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
        )

    async def _ask(self, client: httpx.AsyncClient, method: str, content: Any) -> Any:
        headers = {} if content is None else {"content-type": "application/merge-patch+json"}
        body = bytearray()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                raw = None if content is None else json.dumps(content).encode()
                async with client.stream(method, self._path, content=raw, headers=headers) as response:
                    async for part in response.aiter_raw():
                        body += part
                        if len(body) > ANSWER_BYTES_MAX:
                            raise EffectFailed(f"{self._name}: the cluster's answer is too long")
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise EffectFailed(f"{self._name}: the cluster does not answer: {type(error).__name__}") from None
        if response.status_code != httpx.codes.OK:
            raise EffectFailed(f"{self._name}: {method} scale: HTTP {response.status_code}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise EffectFailed(f"{self._name}: the cluster answers no JSON") from None


def _replicas(scale: Any) -> tuple[int, int]:
    """Read what is wanted and what runs. Raises EffectFailed for what is no Scale."""
    if not isinstance(scale, dict) or scale.get("kind") != "Scale":
        raise EffectFailed("the cluster answers no Scale")
    numbers = []
    for part in ("spec", "status"):
        content = scale.get(part, {})
        value = content.get("replicas", 0) if isinstance(content, dict) else None
        if type(value) is not int or value < 0:
            raise EffectFailed(f"the cluster's Scale has an odd {part}")
        numbers.append(value)
    return numbers[0], numbers[1]
