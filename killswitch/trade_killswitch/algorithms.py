"""Server-side algorithms of the account: found, stopped, and found stopped. Uses the exit key.

It sees what the strategy interface lists (TWAP, iceberg, chase and the like). The exchange's grid, DCA and martingale
bots have no list in V5: nobody can find one whose id he does not know.
Source: Bybit V5 "Get Strategy List": strategyId, status, terminateType (0: not ended); "Stop Strategy".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trade_core.errors import ExchangeAnswerInvalid
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.metrics import RequestKind

PAGE: Final = 50
ID_CHARACTERS_MAX: Final = 64


async def running_algorithms(calls: ExchangeCalls) -> list[str]:
    """List the ids of what runs. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    return still_running(await calls.pages("/v5/strategy/list", f"pageSize={PAGE}", cursor_name="nextCursor"))


async def stop_algorithms(calls: ExchangeCalls, ids: Sequence[str]) -> None:
    """Ask for each to be stopped, once; the list tells whether it was."""
    for algorithm in ids:
        await calls.post("/v5/strategy/stop", {"strategyId": algorithm}, kind=RequestKind.CANCEL)


def still_running(rows: Sequence[Any]) -> list[str]:
    """Return the ids of those that are not said to have ended. Raises ExchangeAnswerInvalid for one without an id."""
    found = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise ExchangeAnswerInvalid("the list of algorithms holds something else")
        algorithm = row.get("strategyId")
        if not isinstance(algorithm, str) or not 0 < len(algorithm) <= ID_CHARACTERS_MAX or not algorithm.isascii():
            raise ExchangeAnswerInvalid("an algorithm has no id")
        if row.get("terminateType") in (0, None):
            found.append(algorithm)
    return found
