"""The kill executor's socket as the watchdog uses it: ask for a sweep, a closing or a kill, hand a release on. Bounded.

A request to kill bears the signature of the lease key, over the account and the time at which it is sent: what the
executor was armed for, it does only for the watchdog, and not for one of its requests of long ago.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import NS_PER_MS, Clock
from trade_core.logs import neutralise
from trade_core.tls import tls_context
from trade_core.trust.statement import sign_statement
from trade_core.unix_sockets import short_path
from trade_watchdog.effects import EffectFailed, KillRequest

EVIDENCE_PURPOSE: Final = "kill-evidence/v1"
FLATTEN_PURPOSE: Final = "flatten-request/v1"
FLATTENED: Final = frozenset({"flat", "held"})
REQUEST_TIMEOUT_S: Final = 8.0
"""The executor looks itself before it answers a request to kill."""
ANSWER_BYTES_MAX: Final = 64 * 1024
REASON_CHARACTERS: Final = 200
EVIDENCE_MAX: Final = 32
_NAME_CHARACTERS: Final = 64
_DETAIL_CHARACTERS: Final = 200


class ExecutorLink:
    """Connects anew for each request: they are rare, and an executor that was started again is found."""

    def __init__(self, socket: Path, *, key: Ed25519PrivateKey, account: str, clock: Clock) -> None:
        """Prepare; nothing is sent yet. `key` is the lease key, whose public half stands in the ring."""
        self._socket = socket
        self._key = key
        self._account = account
        self._clock = clock

    async def sweep(self, reason: str) -> None:
        """Have a sweep begun, or join the one that goes on. Raises EffectFailed."""
        await self._post("/sweep", json.dumps({"reason": _text(reason, REASON_CHARACTERS)}).encode())

    async def request_kill(self, request: KillRequest) -> None:
        """Have a kill request taken. Raises EffectFailed."""
        evidence = list(request.evidence.items())[:EVIDENCE_MAX]
        # Signed anew each time: what is asked for again is asked for now, however long ago it was first seen.
        content = {
            "request_id": request.request_id,
            "condition": request.condition.value,
            "reason": _text(request.reason, REASON_CHARACTERS),
            "account": self._account,
            "at_ms": self._clock.wall_ns() // NS_PER_MS,
            "evidence": {name[:_NAME_CHARACTERS]: _text(value, REASON_CHARACTERS) for name, value in evidence},
        }
        await self._post("/kill", sign_statement(content, self._key, purpose=EVIDENCE_PURPOSE))

    async def flatten(self, request_id: str, reason: str) -> str:
        """Have closed what a halt closes; gives how that stands, empty when it is flat. Raises EffectFailed.

        Signed anew each time, as a request to kill is.
        """
        content = {
            "request_id": request_id,
            "reason": _text(reason, REASON_CHARACTERS),
            "account": self._account,
            "at_ms": self._clock.wall_ns() // NS_PER_MS,
        }
        body = await self._post("/flatten", sign_statement(content, self._key, purpose=FLATTEN_PURPOSE))
        try:
            answer = json.loads(body)
            state, left = str(answer["flatten"]), str(answer.get("open", ""))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise EffectFailed("the kill executor answers something else than how the closing stands") from None
        if state in FLATTENED:
            return ""
        return _text(f"{state}: {left}" if left else state, _DETAIL_CHARACTERS)

    async def hand_release(self, release: bytes) -> None:
        """Hand a release over that re-bases the high-water mark. Raises EffectFailed."""
        await self._post("/release", release)

    async def _post(self, path: str, content: bytes) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, body = await self._exchange(path, content)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise EffectFailed(f"the kill executor does not answer: {type(error).__name__}") from None
        if status != httpx.codes.ACCEPTED:
            detail = neutralise(body.decode("utf-8", "replace"), limit=_DETAIL_CHARACTERS)
            raise EffectFailed(f"the kill executor refuses {path}: HTTP {status} {detail}")
        return body

    async def _exchange(self, path: str, content: bytes) -> tuple[int, bytes]:
        with short_path(self._socket) as short:
            transport = httpx.AsyncHTTPTransport(uds=short, verify=tls_context(), trust_env=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://executor", timeout=REQUEST_TIMEOUT_S, trust_env=False
            ) as client:
                headers = {"content-type": "application/json", "accept-encoding": "identity"}
                async with client.stream("POST", path, content=content, headers=headers) as response:
                    body = bytearray()
                    async for part in response.aiter_raw():
                        body += part
                        if len(body) > ANSWER_BYTES_MAX:
                            break
                    return response.status_code, bytes(body)


def _text(text: str, most: int) -> str:
    """Cut a text to what the executor takes, with nothing in it that a terminal obeys; empty becomes a word."""
    return neutralise(text, limit=most)[:most] or "not said"
