"""The gateway's admin listener as the watchdog uses it: read state and journal, send leases, halt. Bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from trade_core.closing import close_all
from trade_core.errors import TradeError
from trade_core.logs import neutralise
from trade_core.trust.lease import COIN, HOLDER, MAX_LIFETIME_S, MAX_SECOND_PRICES
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANT_BYTES, MAX_POLICY_WARRANTS
from trade_journal.log.rows import leaf_hash
from trade_journal.log.verify import StoredRow
from trade_watchdog.identity import GENERATION_MAX, GatewayAddress

REQUEST_TIMEOUT_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 512 * 1024
ROWS_MAX: Final = 256
ROWS_BYTES_MAX: Final = 4 * 1024 * 1024  # a row has 8 KiB at most
NAME_CHARACTERS_MAX: Final = 128
DETAIL_CHARACTERS_MAX: Final = 200
HALT_REASON_CHARACTERS: Final = 200
_ANSWERED_FOR_THE_DEAD: Final = frozenset({502, 503, 504})
"""What a proxy says when there is nobody behind it; no sign that the gateway lives, and it has others."""


class GatewayUnavailable(TradeError):
    """The gateway did not answer in time; it may be starting."""


class GatewayAnswerInvalid(TradeError):
    """The gateway answered something that is not its protocol."""


class GatewayRefused(TradeError):
    """The gateway understood and refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """What a lease must name, as the gateway says it, and the coins whose prices it asks references for.

    `lease_holder` is the watchdog whose lease it holds, "" for none; `lease_expires_in_s` is 0 when that lease is dead.
    """

    boot_nonce: str
    generation: int
    lease_holder: str
    lease_expires_in_s: float
    deployment: str
    environment: str
    account: str
    authorised_policy_hash: str
    policy_warrants: tuple[str, ...]
    ring_hash: str
    coins: tuple[str, ...]


class GatewayLink:
    """A connection to the admin listener of one gateway."""

    def __init__(self, address: GatewayAddress) -> None:
        """Prepare the client; nothing is sent yet. `on_heard` is called for each whole answer that is its own."""
        self.on_heard: Callable[[], None] = lambda: None
        self._client = _client(address, connections=2)
        self._halting = _client(address, connections=1)  # a halt waits for no other request

    async def state(self) -> GatewayState:
        """Read GET /state. Raises GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid."""
        return _parse_state(await self._request("GET", "/state", None))

    async def ping(self) -> None:
        """Have the loop that handles orders answer, beside which `/healthz` is answered. Raises as `state`."""
        await self._request("GET", "/state", None)

    async def checkpoint(self) -> bytes:
        """Have the gateway sign its journal as it stands. Raises as `state`."""
        return await self._request("GET", "/journal/checkpoint", None)

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read the bytes of rows of the gateway's journal, at most ROWS_MAX; nothing judges them. Raises as `state`."""
        body = await self._request("GET", f"/journal/entries?from={from_seq}&limit={limit}", None, ROWS_BYTES_MAX)
        lines = body.split(b"\n")
        if lines.pop() or len(lines) > limit:
            raise GatewayAnswerInvalid(f"/journal/entries: not at most {limit} whole lines after row {from_seq}")
        return [StoredRow(seq=seq, body=line, leaf_hash=leaf_hash(line)) for seq, line in enumerate(lines, from_seq)]

    async def halt(self, reason: str, *, trigger_value: str = "") -> tuple[str, ...]:
        """POST /halt; returns once the gateway is halted and a restart of it would know. Raises as `state`.

        `trigger_value` is the figure that it is for; empty where there is none. Answers the tags of the orders that
        were on their way.
        """
        content = {"reason": reason[:HALT_REASON_CHARACTERS]}
        if trigger_value:
            content["trigger_value"] = trigger_value
        body = await self._request("POST", "/halt", json.dumps(content).encode())
        answer = _halt_answer(body)
        if answer.get("is_recorded") is False:
            raise GatewayRefused("POST /halt: halted, but not on its disk yet; a restart would forget it")
        in_flight = answer.get("in_flight", [])
        return tuple(str(tag) for tag in in_flight) if isinstance(in_flight, list) else ()

    async def send_lease(self, signed: bytes) -> None:
        """POST a signed lease; returns when the gateway counts it. Raises as `state`."""
        await self._request("POST", "/lease", signed)

    async def close(self) -> None:
        """Close the connections."""
        await close_all(self._client.aclose, self._halting.aclose)

    async def _request(self, method: str, path: str, content: bytes | None, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            # The client bounds each read; this bounds the whole, however slowly an answer drips.
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                client = self._halting if path == "/halt" else self._client
                async with client.stream(method, path, content=content, headers=headers) as response:
                    body = await _bounded_body(response, bytes_max)
        except (httpx.HTTPError, TimeoutError) as error:
            raise GatewayUnavailable(f"the gateway does not answer: {type(error).__name__}") from None
        if response.status_code not in _ANSWERED_FOR_THE_DEAD:
            self.on_heard()
        if response.status_code == httpx.codes.OK:
            return body
        detail = neutralise(body.decode("utf-8", "replace"), limit=DETAIL_CHARACTERS_MAX)
        raise GatewayRefused(f"{method} {path}: HTTP {response.status_code} {detail}")


def _client(address: GatewayAddress, *, connections: int) -> httpx.AsyncClient:
    return address.admin.async_client(
        headers={"authorization": f"Bearer {address.token.reveal()}", "accept-encoding": "identity"},
        timeout=REQUEST_TIMEOUT_S,
        limits=httpx.Limits(max_connections=connections),
    )


async def _bounded_body(response: httpx.Response, bytes_max: int) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > bytes_max:
            raise GatewayAnswerInvalid(f"the gateway's answer is longer than {bytes_max} bytes")
    return bytes(body)


def _halt_answer(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise GatewayAnswerInvalid("/halt: the answer is not JSON") from None
    return content if isinstance(content, dict) else {}


def _parse_state(body: bytes) -> GatewayState:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise GatewayAnswerInvalid("/state is not JSON") from None
    if not isinstance(content, dict):
        raise GatewayAnswerInvalid("/state is not a JSON object")
    return GatewayState(
        boot_nonce=_name(content, "boot_nonce"),
        generation=_generation(content.get("lease")),
        lease_holder=_holder(content.get("lease")),
        lease_expires_in_s=_expires_in_s(content.get("lease")),
        deployment=_name(content, "deployment"),
        environment=_name(content, "environment"),
        account=_name(content, "account"),
        authorised_policy_hash=_name(_policy(content), "authorised_hash"),
        policy_warrants=_warrants(_policy(content).get("warrants")),
        ring_hash=_name(content, "ring_hash"),
        coins=_coins(content.get("references")),
    )


def _name(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX:
        raise GatewayAnswerInvalid(f"/state: {key} is not a name")
    return value


def _policy(content: Mapping[str, Any]) -> Mapping[str, Any]:
    policy = content.get("policy")
    if not isinstance(policy, dict):
        raise GatewayAnswerInvalid("/state: policy is not an object")
    return policy


def _warrants(shown: object) -> tuple[str, ...]:
    if not isinstance(shown, list) or len(shown) > MAX_POLICY_WARRANTS:
        raise GatewayAnswerInvalid("/state: policy.warrants is not a list, or too long")
    if not all(isinstance(text, str) and len(text) <= 2 * MAX_POLICY_WARRANT_BYTES for text in shown):
        raise GatewayAnswerInvalid("/state: policy.warrants holds something that is no warrant")
    return tuple(shown)


def _generation(lease: object) -> int:
    value = lease.get("generation") if isinstance(lease, dict) else None
    # One below the bound at most: ours is the next one.
    if type(value) is not int or not 0 <= value < GENERATION_MAX:
        raise GatewayAnswerInvalid("/state: lease.generation is not a whole number in range")
    return value


def _holder(lease: object) -> str:
    value = lease.get("holder") if isinstance(lease, dict) else None
    if value is not None and (not isinstance(value, str) or HOLDER.fullmatch(value) is None):
        raise GatewayAnswerInvalid("/state: lease.holder is not the name of one")
    return value or ""


def _expires_in_s(lease: object) -> float:
    value = lease.get("expires_in_s") if isinstance(lease, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_LIFETIME_S:
        raise GatewayAnswerInvalid(f"/state: lease.expires_in_s is not a number from 0 to {MAX_LIFETIME_S}")
    return float(value)


def _coins(references: object) -> tuple[str, ...]:
    if not isinstance(references, dict) or len(references) > MAX_SECOND_PRICES:
        raise GatewayAnswerInvalid(f"/state: references does not name at most {MAX_SECOND_PRICES} coins")
    if not all(COIN.fullmatch(coin) for coin in references):
        raise GatewayAnswerInvalid("/state: references names something that is not a coin")
    return tuple(sorted(references))
