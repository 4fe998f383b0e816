"""The lists that the audit reads, through a connection of its own and ccxt, as `exchange` does.

Guarantees
- It only reads: nine private GETs, the public time and the public index, by name. What they answer is believed only
  with the mark that `exchange` asks for.
- It shares no connection with the reading of the equity, so that a list that hangs holds up nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.exchange import WatchedExchange, answer_time_ms


class AuditedExchange(WatchedExchange):
    """A reading connection to the lists of one account; with a master's key, to the keys of its sub-account.

    Each reading raises OtherEnvironment, ExchangeUnavailable, ExchangeAnswerInvalid and KeyRefusedByExchange.
    """

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of working or of ended orders. Source: Bybit V5 "Get Open & Closed Orders"."""
        return await self._result_of(self._client.privateGetV5OrderRealtime(dict(parameters)))

    async def exchange_time_ms(self) -> int:
        """Ask for the exchange's time. Source: Bybit V5 "Get Bybit Server Time"; the time of its answer."""
        return answer_time_ms(await self._answer(self._client.publicGetV5MarketTime()))

    async def index_candles(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of index candles, newest first. Source: Bybit V5 "Get Index Price Kline"."""
        return await self._result_of(self._client.publicGetV5MarketIndexPriceKline(dict(parameters)))

    async def order_history(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of ended orders, back to two years. Source: Bybit V5 "Get Order History"."""
        return await self._result_of(self._client.privateGetV5OrderHistory(dict(parameters)))

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of executions. Source: Bybit V5 "Get Trade History"."""
        return await self._result_of(self._client.privateGetV5ExecutionList(dict(parameters)))

    async def statement(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of the transaction log. Source: Bybit V5 "Get Transaction Log"."""
        return await self._result_of(self._client.privateGetV5AccountTransactionLog(dict(parameters)))

    async def positions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of positions. Source: Bybit V5 "Get Position Info"."""
        return await self._result_of(self._client.privateGetV5PositionList(dict(parameters)))

    async def wallet(self) -> Mapping[str, Any]:
        """Read the unified account's wallet. Source: Bybit V5 "Get Wallet Balance"."""
        result = await self._result_of(self._client.privateGetV5AccountWalletBalance({"accountType": "UNIFIED"}))
        accounts = result.get("list")
        if not isinstance(accounts, list) or len(accounts) != 1 or not isinstance(accounts[0], Mapping):
            raise ExchangeAnswerInvalid("the answer does not hold exactly one account")
        return accounts[0]

    async def account_settings(self) -> Mapping[str, Any]:
        """Read the settings of the account. Source: Bybit V5 "Get Account Info"."""
        return await self._result_of(self._client.privateGetV5AccountInfo())

    async def strategies(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of the exchange's own strategies. Source: Bybit V5 "Get Strategy List"; ccxt does not name it."""
        return await self._result_of(self._client.request("v5/strategy/list", ["private"], "GET", dict(parameters)))

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of a sub-account's keys. Source: Bybit V5 "Get Sub Account All API Keys"."""
        return await self._result_of(self._client.privateGetV5UserSubApikeys(dict(parameters)))

    async def _result_of(self, request: Any) -> Mapping[str, Any]:
        result = (await self._answer(request)).get("result")
        if not isinstance(result, Mapping):
            raise ExchangeAnswerInvalid("the answer has no result")
        return result
