"""The kill executor's socket as a person's command uses it. Bounded, and every answer is foreign text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import httpx

from trade_core.errors import TradeError
from trade_core.logs import neutralise
from trade_core.tls import tls_context
from trade_core.unix_sockets import short_path

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 256 * 1024
_SHOWN_CHARACTERS: Final = 400


class NotTaken(TradeError):
    """The executor did not take what was asked; the message says why, and what to do."""


class ExecutorClient:
    """Connects anew for each request: an executor that was started again is found."""

    def __init__(self, socket: Path) -> None:
        """Prepare; nothing is sent yet."""
        self._socket = socket

    def get(self, path: str) -> dict[str, Any]:
        """Ask for a JSON object. Raises NotTaken."""
        return _object(self._ask("GET", path, None))

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """Hand something over. Raises NotTaken."""
        return _object(self._ask("POST", path, body))

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        if not self._socket.exists():
            raise NotTaken(f"{self._socket}: no executor takes requests there; start `trade-kill-executor`")
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        try:
            with short_path(self._socket) as short:
                transport = httpx.HTTPTransport(uds=short, verify=tls_context(), trust_env=False)
                with (
                    httpx.Client(
                        transport=transport, base_url="http://executor", timeout=TIMEOUT_S, trust_env=False
                    ) as client,
                    client.stream(method, path, content=body, headers=headers) as response,
                ):
                    content = _read(response)
        except (httpx.HTTPError, OSError) as error:
            advice = "is this user the executor's, or its console_uid?"
            raise NotTaken(f"{self._socket}: the executor does not answer ({type(error).__name__}); {advice}") from None
        if not response.is_success:
            raise NotTaken(f"the executor refuses: {_detail(content)} (HTTP {response.status_code})")
        return content


def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            raise NotTaken("the executor's answer is too long")
    return bytes(body)


def _detail(content: bytes) -> str:
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = content.decode("utf-8", "replace")
    return neutralise(str(detail), limit=_SHOWN_CHARACTERS)


def _object(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NotTaken("the executor answers no object: is it another version?")
    return answer
