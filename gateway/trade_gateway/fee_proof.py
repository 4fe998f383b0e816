"""Keeps proving that the exchange takes no more than `highest_fee`, on which the published loss stands.

Guarantees
- Every symbol that the policy names and the exchange trades is asked for: at start, when it is new, and every hour.
- Until each has been answered, and while one takes more than `highest_fee`, maker or taker, it is a fault. So it is
  when an answer is older than HOLDS_NS: a question that fails is asked again every second meanwhile, and a short
  silence of the exchange stops nobody.
- A trade that was charged more than was told counts at once, until the next answer, which is asked for at once.
- A rate that is too high is a row, once for each rate, and its reason names both figures.

Exits pass whatever the fee is. The fees of symbols that are no longer traded are not asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set
from dataclasses import dataclass
from decimal import Decimal

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid
from trade_core.money import format_decimal, parse_exchange_decimal
from trade_gateway.exchange_proof import FaultBoard
from trade_gateway.policy.model import NOTHING_PERMITTED, Policy, SymbolKey
from trade_gateway.recorder import Recorder
from trade_gateway.startup import EXPECTED_TROUBLE, shown_key
from trade_gateway.states import Fault
from trade_journal.log.rows import Fields, RowKind

FEE_RATE_PATH = "/v5/account/fee-rate"
LOOK_EVERY_S = 1.0
ASK_EVERY_NS = 3600 * NS_PER_S
HOLDS_NS = 2 * ASK_EVERY_NS
_ASKED_IN_A_LOOK = 4
"""The exchange takes five of these questions a second."""
_REASON_CHARACTERS = 300
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """The greater of maker and taker fee, as a fraction; `asked_at_ns` is monotonic."""

    rate: Decimal
    asked_at_ns: int


class FeeProof:
    """The fees of the account as the exchange says them, and whether the policy's formula holds with them."""

    def __init__(self, *, client: BybitClient, clock: Clock, recorder: Recorder, faults: FaultBoard) -> None:
        self._client = client
        self._clock = clock
        self._recorder = recorder
        self._faults = faults
        self._policy: Policy = NOTHING_PERMITTED
        self._traded: Set[SymbolKey] = frozenset()
        self._fees: dict[SymbolKey, Fee] = {}
        self._reported: dict[SymbolKey, Decimal] = {}
        self._is_silent = False
        self._changed = asyncio.Event()

    def require(self, policy: Policy) -> None:
        """Prove for this policy from now on. What is not known to be within it is a fault at once."""
        self._policy = policy
        self._judge()
        self._changed.set()

    def take_traded(self, symbols: Set[SymbolKey]) -> None:
        """Ask for these symbols, as far as the policy names them."""
        self._traded = frozenset(symbols)
        self._changed.set()

    def note_charged(self, key: SymbolKey, rate: Decimal) -> None:
        """Take in what an execution was charged: more than is known counts at once, and is asked about at once."""
        known = self._fees.get(key)
        if known is None or rate <= known.rate:
            return
        log.warning("a trade of %s was charged %s, more than the %s that was told", shown_key(key), rate, known.rate)
        self._fees[key] = Fee(rate=rate, asked_at_ns=self._clock.monotonic_ns() - ASK_EVERY_NS)
        self._judge()
        self._changed.set()

    async def run(self) -> None:
        """Ask and judge for ever."""
        while True:
            self._changed.clear()
            for key in self._due()[:_ASKED_IN_A_LOOK]:
                await self._ask(key)
            self._judge()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _wanted(self) -> list[SymbolKey]:
        return sorted(self._policy.symbols.keys() & self._traded, key=shown_key)

    def _due(self) -> list[SymbolKey]:
        """The symbols to ask for, those that were asked for longest ago first."""
        asked = {key: fee.asked_at_ns for key, fee in self._fees.items()}
        latest_ns = self._clock.monotonic_ns() - ASK_EVERY_NS
        due = [key for key in self._wanted() if asked.get(key, latest_ns) <= latest_ns]
        return sorted(due, key=lambda key: asked.get(key, -1))

    async def _ask(self, key: SymbolKey) -> None:
        asked_at_ns = self._clock.monotonic_ns()
        try:
            rate = await ask_fee(self._client, key)
        except EXPECTED_TROUBLE as error:
            if not self._is_silent:
                log.warning("the fee of %s is not known: %s", shown_key(key), error)
            self._is_silent = True
        else:
            self._is_silent = False
            self._fees[key] = Fee(rate=rate, asked_at_ns=asked_at_ns)

    def _judge(self) -> None:
        wanted, highest = self._wanted(), self._policy.highest_fee
        fees = {key: self._fees[key] for key in wanted if key in self._fees}
        oldest_ns = self._clock.monotonic_ns() - HOLDS_NS
        too_high = {key: fee.rate for key, fee in fees.items() if fee.rate > highest}
        unknown = [key for key in wanted if key not in fees or fees[key].asked_at_ns <= oldest_ns]
        limit = format_decimal(highest)
        reasons = [
            f"{shown_key(key)} takes {format_decimal(rate)}, highest_fee is {limit}" for key, rate in too_high.items()
        ]
        if unknown:
            reasons.append(f"no answer about {', '.join(map(shown_key, unknown))}")
        self._report(too_high)
        self._faults.set_fault(Fault.FEES_UNPROVED, is_there=bool(reasons) or not wanted)
        self._faults.explain_fault(Fault.FEES_UNPROVED, "; ".join(reasons)[:_REASON_CHARACTERS])

    def _report(self, too_high: dict[SymbolKey, Decimal]) -> None:
        for key, rate in too_high.items():
            if self._reported.get(key) == rate:
                continue
            fields: Fields = {
                "type": "fee above highest_fee",
                "severity": "critical",
                "category": key[0].value,
                "symbol": key[1],
                "fee": format_decimal(rate),
                "highest_fee": format_decimal(self._policy.highest_fee),
            }
            self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)
        self._reported = too_high


async def ask_fee(client: BybitClient, key: SymbolKey) -> Decimal:
    """Ask for the greater of a symbol's maker and taker fee, as a fraction. Raises what EXPECTED_TROUBLE lists."""
    category, symbol = key
    answer = await client.get(FEE_RATE_PATH, f"category={category.value}&symbol={symbol}")
    items = answer.result.get("list")
    for item in items if answer.is_ok and isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("symbol") == symbol:
            return max(
                parse_exchange_decimal(item.get("takerFeeRate")), parse_exchange_decimal(item.get("makerFeeRate"))
            )
    raise ExchangeAnswerInvalid(f"no fee of {shown_key(key)} in the exchange's answer (code {answer.ret_code})")
