"""The ways to people: Telegram's Bot API, and a generic webhook.

Guarantees
- A try ends within TRY_TIMEOUT_S whatever the other side does; no redirect is followed, no proxy is taken from the
  environment, and no answer is read beyond ANSWER_BYTES_MAX.
- Tokens and addresses stand in no log, error or return value: what went wrong is told by its kind alone.
- What is sent is plain text and JSON: no markup is interpreted.

Source: Telegram Bot API "sendMessage" and "ResponseParameters" (retry_after).
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, unique
from typing import Any, Final, Protocol

import httpx

from trade_core.alerts.model import Message, Severity
from trade_core.clock import NS_PER_S
from trade_core.logs import neutralise
from trade_core.secrets import Secret
from trade_core.tls import tls_context

TRY_TIMEOUT_S: Final = 8.0
ANSWER_BYTES_MAX: Final = 16 * 1024
RETRY_AFTER_MAX_S: Final = 600.0
"""What somebody else's server may make us wait at most."""
TELEGRAM_URL: Final = "https://api.telegram.org"
_SHOWN_CHARACTERS: Final = 1000
_TOO_MANY: Final = 429
# The message itself is refused: to send it again would only be refused again.
_MESSAGE_REFUSED: Final = frozenset({400, 413, 422})


@unique
class ChannelKind(Enum):
    """The kinds of channel; metrics are counted by them."""

    TELEGRAM = "telegram"
    WEBHOOK = "webhook"


@unique
class Sent(Enum):
    """How a try ended."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # the message, for good
    FAILED = "failed"  # to be tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a try; `wait_s` is what the other side asks for, 0 when it does not."""

    sent: Sent
    wait_s: float = 0.0


class Channel(Protocol):
    """One way to people."""

    @property
    def kind(self) -> ChannelKind:
        """What it is."""
        ...

    async def send(self, message: Message) -> Outcome:
        """Try once. Never raises for what the network or the other side does."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class TelegramChannel:
    """A bot that writes into one chat."""

    kind = ChannelKind.TELEGRAM

    def __init__(self, *, token: Secret, chat_id: str, base_url: str = TELEGRAM_URL) -> None:
        """Prepare; nothing is sent yet."""
        self._token = token
        self._chat_id = chat_id
        self._client = _client(base_url)

    async def send(self, message: Message) -> Outcome:
        """Send a message into the chat."""
        content = {
            "chat_id": self._chat_id,
            "text": as_text(message),
            "disable_notification": message.alert.severity is Severity.INFO,
        }
        return await _post(self._client, f"/bot{self._token.reveal()}/sendMessage", content, headers={})

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class WebhookChannel:
    """Any server that takes a JSON object by POST."""

    kind = ChannelKind.WEBHOOK

    def __init__(self, *, url: Secret, bearer: Secret | None = None) -> None:
        """Prepare; the address is a secret, since many services put a token into it."""
        self._url = url
        self._headers = {} if bearer is None else {"Authorization": f"Bearer {bearer.reveal()}"}
        self._client = _client("")

    async def send(self, message: Message) -> Outcome:
        """Send a message as an object."""
        return await _post(self._client, self._url.reveal(), as_object(message), headers=self._headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def as_text(message: Message) -> str:
    """Write a message for people: severity, who tells it, what, how often, and the journal's head."""
    sender, alert = message.sender, message.alert
    lines = [f"{alert.severity.value.upper()} {sender.service} {sender.environment}/{sender.account}: {alert.text}"]
    if message.repeats:
        lines.append(f"repeated {message.repeats} times" if message.repeats > 1 else "repeated once")
    if alert.needs_acknowledgement:
        lines.append(f"until acknowledged: {alert.subject}")
    lines.append(_time_text(message.at_ns))
    if message.head is not None:
        lines.append(f"journal {message.head.size} rows, root {message.head.root}")
    return "\n".join(neutralise(line, limit=_SHOWN_CHARACTERS) for line in lines)


def as_object(message: Message) -> dict[str, Any]:
    """Write a message for programs."""
    alert, head = message.alert, message.head
    return {
        "service": message.sender.service,
        "environment": message.sender.environment,
        "account": message.sender.account,
        "subject": alert.subject,
        "severity": alert.severity.value,
        "text": neutralise(alert.text, limit=_SHOWN_CHARACTERS),
        "needs_acknowledgement": alert.needs_acknowledgement,
        "repeats": message.repeats,
        "at": _time_text(message.at_ns),
        "journal": None if head is None else {"size": head.size, "root": head.root},
    }


def _time_text(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _client(base_url: str) -> httpx.AsyncClient:
    for name in ("httpx", "httpcore"):  # they log whole addresses, in which tokens stand
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx.AsyncClient(
        base_url=base_url,
        verify=tls_context(),
        timeout=TRY_TIMEOUT_S,
        limits=httpx.Limits(max_connections=2),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "trade-alerts", "Accept-Encoding": "identity"},
    )


async def _post(client: httpx.AsyncClient, url: str, content: dict[str, Any], *, headers: dict[str, str]) -> Outcome:
    try:
        async with asyncio.timeout(TRY_TIMEOUT_S):
            async with client.stream("POST", url, json=content, headers=headers) as response:
                body = await _head_of(response)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
        return Outcome(sent=Sent.FAILED)
    if response.is_success:
        return Outcome(sent=Sent.DELIVERED)
    if response.status_code in _MESSAGE_REFUSED:
        return Outcome(sent=Sent.REFUSED)
    wait_s = _retry_after_s(response, body) if response.status_code == _TOO_MANY else 0.0
    return Outcome(sent=Sent.FAILED, wait_s=wait_s)


async def _head_of(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            break
    return bytes(body[:ANSWER_BYTES_MAX])


def _retry_after_s(response: httpx.Response, body: bytes) -> float:
    try:
        value = json.loads(body)["parameters"]["retry_after"]
    except (ValueError, LookupError, TypeError, RecursionError):
        value = response.headers.get("retry-after", "")
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0.0
    return float(min(value, RETRY_AFTER_MAX_S))
