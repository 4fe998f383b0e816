"""Index and mark prices of the linear contracts of the policy's coins, from the public ticker stream and by REST.

Guarantees
- Only index and mark are read: no traded price, no book. Of a coin without an index the middle of the spot book is read
  too; it can deny, and is never the reference.
- A price is as old as the last message that confirmed it: a ticker delta confirms what it names, a snapshot or an
  answer by REST all that it contains. Ages run on the monotonic clock.
- Nothing that a message leaves out, or says nonsensically, becomes a price.

REST is asked at start, whenever the stream is down, and every few seconds besides: a delta names only what changed,
so a price that stands still must be confirmed by somebody. Second prices are passed in, as the lease brought them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import format_decimal, parse_exchange_decimal
from trade_core.trust.lease import MAX_SECOND_PRICES
from trade_gateway.account.messages import NonsenseSaid, parse_object
from trade_gateway.account.stream import Operation, Stream
from trade_gateway.policy.facts import CoinMarket, MarketFacts, base_coin_of
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.references import (
    Flaw,
    Judgement,
    KeptReference,
    Observation,
    Reference,
    ReferenceInputs,
    Source,
    Unusable,
    Usable,
    divergence_of,
    judge_reference,
    see_second,
)
from trade_gateway.second_prices import ArrivedPrice

PUBLIC_LINEAR_PATH = "/v5/public/linear"
TICKERS_PATH = "/v5/market/tickers"
READ_EVERY_S = 2.0
READ_TIMEOUT_S = 2.0
FIRST_PRICES_WITHIN_S = 3.0
FACTS_HOLD_NS = 20 * NS_PER_MS
_TOPIC = "tickers."
_FIELDS = {Source.INDEX: "indexPrice", Source.MARK: "markPrice"}
_SHOWN_DIVERGENCE = Decimal("0.000001")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondView:
    """What there is to show of one coin's second price; None for what is not known. `flaw` is None when it counts."""

    price: Decimal | None
    age_s: float | None
    divergence: Decimal | None
    flaw: Flaw | None


@dataclass(slots=True, kw_only=True)
class _Price:
    price: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldFacts:
    facts: MarketFacts
    until_ns: int
    second: Mapping[str, ArrivedPrice]


class ReferenceFeed:
    """The prices of each coin, and what they are worth as a reference."""

    def __init__(
        self,
        *,
        symbols: Iterable[SymbolKey],
        client: BybitClient,
        clock: Clock,
        max_age_s: int,
        max_divergence: Decimal,
        second_prices: Callable[[], Mapping[str, ArrivedPrice]] = dict,
        on_good: Callable[[str, Decimal], None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._second_prices = second_prices
        self._on_good = on_good
        self._held: _HeldFacts | None = None  # until something arrives that it does not know
        self._contracts: dict[str, str] = {}
        self._former_coins: frozenset[str] = frozenset()
        self.follow(symbols, former=(), max_age_s=max_age_s, max_divergence=max_divergence)
        self._prices: dict[tuple[str, Source], _Price] = {}
        self._unlisted: set[str] = set()
        self._last_good: dict[str, Decimal] = {}
        self._disagreed: set[str] = set()
        self._kept: dict[str, KeptReference] = {}  # of coins that have had no good price since the restart
        self._first_until_ns = 0
        self._arrived = asyncio.Event()

    def restore(self, references: Mapping[str, KeptReference]) -> None:
        """Take over the last good references of the time before a restart, which must not loosen the exits' collar."""
        for coin, kept in references.items():
            if coin in self._contracts and coin not in self._last_good:
                self._last_good[coin], self._kept[coin] = kept.price, kept
        self._first_until_ns = self._clock.monotonic_ns() + int(FIRST_PRICES_WITHIN_S * NS_PER_S)
        self._held = None

    async def wait_for_first(self, symbol: str) -> None:
        """Wait for the first good price of a coin that is known from before a restart alone.

        Returns at once for every other coin, and always FIRST_PRICES_WITHIN_S after the restart: an exit that waited in
        vain is measured against what was known before, and never trapped.
        """
        coin = base_coin_of(symbol)
        while coin in self._kept and (left_ns := self._first_until_ns - self._clock.monotonic_ns()) > 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_ns / NS_PER_S):
                    await self._arrived.wait()
            self.judge()

    def follow(
        self, symbols: Iterable[SymbolKey], *, former: Iterable[SymbolKey], max_age_s: int, max_divergence: Decimal
    ) -> bool:
        """Follow the coins of these symbols from now on, by these bounds. Returns whether there are others than before.

        `former` symbols are no longer traded but may be held: they are priced, and their silence is no fault. Of their
        coins those are left out that would be more than a lease has second prices for.
        """
        self._held = None
        self._max_age_s, self._max_divergence = max_age_s, max_divergence
        before = self._contracts
        traded = {base_coin_of(symbol): symbol for _, symbol in symbols}
        held = {base_coin_of(symbol): symbol for _, symbol in sorted(former, key=lambda key: key[1])}
        room = max(0, MAX_SECOND_PRICES - len(traded))
        self._contracts = dict([item for item in held.items() if item[0] not in traded][:room]) | traded
        self._former_coins = frozenset(self._contracts.keys() - traded.keys())
        return self._contracts != before

    @property
    def coins(self) -> tuple[str, ...]:
        """The base coins that are followed, sorted."""
        return tuple(sorted(self._contracts))

    def stream(self, *, exchange_ws_url: str, is_simulated: bool) -> Stream:
        """Make the stream that feeds this; it starts with `run`."""
        return Stream(
            name="ticker",
            url=exchange_ws_url.rstrip("/") + PUBLIC_LINEAR_PATH,
            is_simulated=is_simulated,
            clock=self._clock,
            operations=self._operations,
            on_frame=self.hear_frame,
            on_up=lambda: None,
            on_down=lambda _: None,  # the prices age by themselves
        )

    def _operations(self) -> tuple[Operation, ...]:
        # A contract that does not exist would have the whole subscription refused.
        left_out = self._unlisted | self._former_coins
        topics = sorted(_TOPIC + symbol for coin, symbol in self._contracts.items() if coin not in left_out)
        return (Operation(op="subscribe", args=tuple(topics)),) if topics else ()

    def hear_frame(self, text: str) -> None:
        """Take in one frame of the ticker stream."""
        try:
            content = parse_object(text)
        except NonsenseSaid as error:
            log.warning("ticker stream: %s", error)
            return
        topic, data = content.get("topic"), content.get("data")
        if isinstance(topic, str) and topic.startswith(_TOPIC) and isinstance(data, dict):
            self._take(topic.removeprefix(_TOPIC), data, at_ns=self._clock.monotonic_ns())

    async def read(self) -> None:
        """Ask for every contract's prices by REST. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        for coin, symbol in sorted(self._contracts.items()):
            at_ns = self._clock.monotonic_ns()  # before asking: the answer is no younger than that
            answer = await self._client.get_public(
                TICKERS_PATH, f"category=linear&symbol={symbol}", timeout_s=READ_TIMEOUT_S
            )
            items = answer.result.get("list")
            if answer.ret_code == 10001 or (answer.is_ok and items == []):
                if (coin, Source.INDEX) not in self._prices:  # an answer that is empty for once changes nothing
                    self._unlisted.add(coin)
                    self._held = None
                    await self._read_spot(symbol)
                continue
            if not answer.is_ok or not isinstance(items, list):
                if coin in self._former_coins:
                    continue  # delisted, perhaps: it must not keep the others from being read
                raise ExchangeAnswerInvalid(f"no ticker of {symbol} (code {answer.ret_code})")
            self._unlisted.discard(coin)
            self._held = None
            for item in items:
                if isinstance(item, dict) and item.get("symbol") == symbol:
                    self._take(symbol, item, at_ns=at_ns)

    async def _read_spot(self, symbol: str) -> None:
        """Ask for the spot book's best prices. A symbol that is not listed there either has none."""
        at_ns = self._clock.monotonic_ns()
        answer = await self._client.get_public(TICKERS_PATH, f"category=spot&symbol={symbol}", timeout_s=READ_TIMEOUT_S)
        items = answer.result.get("list") if answer.is_ok else None
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("symbol") == symbol:
                self._prices[base_coin_of(symbol), Source.SPOT] = _Price(price=_middle(item), at_ns=at_ns)
                self._held = None

    async def keep_reading(self) -> None:
        """Read by REST for ever; trouble is logged once and shows as age."""
        was_down = False
        while True:
            try:
                await self.read()
            except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
                if not was_down:
                    log.warning("prices cannot be read: %s", error)
                was_down = True
            else:
                was_down = False
            await asyncio.sleep(READ_EVERY_S)

    def judge(self, *, ahead_ns: int = 0) -> dict[str, Reference]:
        """Judge every coin's reference now, and remember those that are good and those that a second venue denies.

        With `ahead_ns` they are judged as old as they will be by then.
        """
        references: dict[str, Reference] = {}
        now_ns = self._clock.monotonic_ns() + ahead_ns
        for coin in self._contracts:
            judged = self._judge(coin, now_ns)
            references[coin] = judged.reference
            if isinstance(judged.own, Usable):
                self._last_good[coin] = judged.own.price
                self._kept.pop(coin, None)
                self._on_good(coin, judged.own.price)
            if judged.second_disagrees:
                self._disagreed.add(coin)
            else:
                self._disagreed.discard(coin)
        return references

    def _judge(self, coin: str, now_ns: int) -> Judgement:
        inputs = self._inputs(coin, now_ns)
        return judge_reference(inputs, max_age_s=self._max_age_s, max_divergence=self._max_divergence)

    def facts(self) -> MarketFacts:
        """What a decision needs to know of prices.

        Judged again with every price that arrives, and at the latest after FACTS_HOLD_NS; until then references are
        judged as old as they are at its end, so that none counts a moment longer than it may.
        """
        now_ns, second = self._clock.monotonic_ns(), self._second_prices()
        held = self._held
        if held is None or now_ns >= held.until_ns or second is not held.second:
            references = self.judge(ahead_ns=FACTS_HOLD_NS)
            facts = MarketFacts(
                coins={
                    coin: CoinMarket(
                        reference=reference,
                        last_good=self._last_good.get(coin),
                        mark=self._mark(coin),
                        kept=self._kept.get(coin),
                    )
                    for coin, reference in references.items()
                }
            )
            held = self._held = _HeldFacts(facts=facts, until_ns=now_ns + FACTS_HOLD_NS, second=second)
        return held.facts

    def is_stale(self) -> bool:
        """Tell whether the feed fails some coin: no price, a stale one, nonsense. Divergence denies coin by coin.

        So does what fails a coin without an index: its own feed is another venue's, or a thin book.
        """
        return any(
            isinstance(reference, Unusable) and reference.flaw is not Flaw.DIVERGES and reference.source in _FIELDS
            for coin, reference in self.judge().items()
            if coin not in self._former_coins
        )

    def age_s(self, coin: str) -> float | None:
        """Seconds since the index price was last confirmed; None when it never was."""
        seen = self._prices.get((coin, Source.INDEX))
        return None if seen is None else (self._clock.monotonic_ns() - seen.at_ns) / NS_PER_S

    def second(self, coin: str) -> SecondView:
        """Show a coin's second price, against the index or, without one, the spot book."""
        inputs = self._inputs(coin, self._clock.monotonic_ns())
        seen = inputs.second
        own = inputs.index if inputs.has_index else inputs.spot
        judged = see_second(seen)
        return SecondView(
            price=None if seen is None else seen.price,
            age_s=None if seen is None else seen.age_ns / NS_PER_S,
            divergence=None if seen is None or own is None else divergence_of(seen.price, own.price),
            flaw=judged.flaw if isinstance(judged, Unusable) else None,
        )

    def describe(self) -> dict[str, dict[str, Any]]:
        """What /state says of the references."""
        described: dict[str, dict[str, Any]] = {}
        for coin, judged in sorted(self.judge().items()):
            seen = self._prices.get((coin, Source.INDEX))
            described[coin] = {
                "price": None if seen is None else str(seen.price),
                "age_s": self.age_s(coin),
                "status": "usable" if isinstance(judged, Usable) else f"{judged.source.value} {judged.flaw.value}",
                "second": self._describe_second(coin),
            }
        return described

    def _describe_second(self, coin: str) -> dict[str, Any]:
        view = self.second(coin)
        return {
            "price": None if view.price is None else format_decimal(view.price),
            "age_s": view.age_s,
            "divergence": None if view.divergence is None else str(view.divergence.quantize(_SHOWN_DIVERGENCE)),
            "status": "usable" if view.flaw is None else view.flaw.value,
        }

    def _take(self, symbol: str, item: Mapping[str, Any], *, at_ns: int) -> None:
        coin = base_coin_of(symbol)
        if self._contracts.get(coin) != symbol:
            return
        self._held = None
        self._arrived.set()
        for source, name in _FIELDS.items():
            text = item.get(name)
            if text is None:
                continue  # a delta names only what changed
            try:
                price = parse_exchange_decimal(text)
            except InvalidNumber:
                price = Decimal(0)  # judged as no price; what was there before must not outlive it
            held = self._prices.get((coin, source))
            if held is None or at_ns >= held.at_ns:
                self._prices[coin, source] = _Price(price=price, at_ns=at_ns)

    def _inputs(self, coin: str, now_ns: int) -> ReferenceInputs:
        second = self._second_prices().get(coin)
        return ReferenceInputs(
            has_index=coin not in self._unlisted,
            index=self._observation(coin, Source.INDEX, now_ns),
            mark=self._observation(coin, Source.MARK, now_ns),
            second=None if second is None else Observation(price=second.price, age_ns=now_ns - second.at_ns),
            spot=self._observation(coin, Source.SPOT, now_ns),
            second_disagreed=coin in self._disagreed,
        )

    def _observation(self, coin: str, source: Source, now_ns: int) -> Observation | None:
        seen = self._prices.get((coin, source))
        return None if seen is None else Observation(price=seen.price, age_ns=now_ns - seen.at_ns)

    def _mark(self, coin: str) -> Decimal | None:
        seen = self._prices.get((coin, Source.MARK))
        return seen.price if seen is not None and seen.price > 0 else None


def _middle(item: Mapping[str, Any]) -> Decimal:
    """Return the middle of best bid and ask; zero, which is judged as no price, for a book that is empty or crossed."""
    try:
        bid, ask = parse_exchange_decimal(item.get("bid1Price")), parse_exchange_decimal(item.get("ask1Price"))
    except InvalidNumber:
        return Decimal(0)
    return (bid + ask) / 2 if 0 < bid < ask else Decimal(0)
