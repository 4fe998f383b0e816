"""The master account as the executor touches it, with the revoker key: lists, deletes and freezes. Nothing else.

Guarantees
- Two paths are posted to: delete-sub-api and frozen-sub-member, the second with frozen=1 alone. There is no code here
  that could make a key, widen one, lift a freeze or move money, although the key's permission would let it.
- A key is deleted by its id; the call's short form, which deletes the calling key, is never used.
- Whether the exchange refuses a key is found out without its secret: a request that names it is signed with junk.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from trade_core.bybit.client import BybitClient, HttpStatus
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_killswitch.account_keys import AccountKey, Refusals, parse_keys
from trade_killswitch.exchange_calls import REQUEST_TIMEOUT_S, ExchangeCalls
from trade_killswitch.metrics import RequestKind

NO_ANSWER: Final = "no answer"
PAGE_KEYS: Final = 20
KEY_CHARACTERS: Final = 18
_FROZEN_STATUS: Final = 4  # Bybit V5 "Get Sub UID List": 1 normal, 2 login banned, 4 frozen
ClientOf = Callable[[Secret, Secret], BybitClient]


class RevokerExchange:
    """One master account, for the keys of one of its sub-accounts."""

    def __init__(self, *, calls: ExchangeCalls, account: str, client_of: ClientOf) -> None:
        """Prepare; `client_of` makes a client for a key and a secret, for the proof of refusal."""
        self._calls = calls
        self._account = account
        self._client_of = client_of

    async def key_information(self) -> dict[str, Any]:
        """Ask what the revoker key may do. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        return (await self._calls.get("/v5/user/query-api")).result

    async def keys(self) -> list[AccountKey]:
        """List every key of the sub-account. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        query = f"subMemberId={self._account}&limit={PAGE_KEYS}"
        return parse_keys(await self._calls.pages("/v5/user/sub-apikeys", query, rows_name="result"))

    async def delete(self, key: str) -> str:
        """Delete one key; answers the exchange's code, or NO_ANSWER. The list tells whether it is gone."""
        answer = await self._calls.post("/v5/user/delete-sub-api", {"apikey": key}, kind=RequestKind.REVOKE)
        return NO_ANSWER if answer is None else str(answer.ret_code)

    async def freeze(self) -> str:
        """Freeze the sub-account; answers the exchange's code, or NO_ANSWER."""
        content = {"subuid": int(self._account), "frozen": 1}
        answer = await self._calls.post("/v5/user/frozen-sub-member", content, kind=RequestKind.REVOKE)
        return NO_ANSWER if answer is None else str(answer.ret_code)

    async def is_frozen(self) -> bool:
        """Tell whether the master's list calls it frozen. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        answer = await self._calls.get("/v5/user/query-sub-members")
        members = answer.result.get("subMembers")
        if not isinstance(members, list):
            raise ExchangeAnswerInvalid("/v5/user/query-sub-members: a list is no list")
        for member in members:
            if isinstance(member, dict) and str(member.get("uid")) == self._account:
                return bool(member.get("status") == _FROZEN_STATUS)
        raise ExchangeAnswerInvalid("/v5/user/query-sub-members: does not list the account")

    async def refusals(self, keys: Sequence[str]) -> Refusals:
        """Ask once with each key's id and a junk secret, and once with an id that never was."""
        unknown = secrets.token_urlsafe(KEY_CHARACTERS)[:KEY_CHARACTERS]
        answers = await asyncio.gather(*(self._answer_to(key) for key in (unknown, *keys)))
        return Refusals(to_unknown=answers[0], answers=dict(zip(keys, answers[1:], strict=True)))

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _answer_to(self, key: str) -> str:
        client = self._client_of(Secret(key), Secret(secrets.token_urlsafe(24)))
        try:
            return str((await client.get("/v5/user/query-api", timeout_s=REQUEST_TIMEOUT_S)).ret_code)
        except HttpStatus as refused:
            return f"HTTP {refused.status}"
        except (ExchangeUnavailable, ExchangeAnswerInvalid):
            return NO_ANSWER
        finally:
            await client.aclose()
