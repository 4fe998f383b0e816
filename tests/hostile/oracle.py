"""Measures what a bot has lost, from the exchange's own fills and prices; no row, limit or figure of the gateway's.

The loss of a fill is quantity x how much worse its price is than the reference was when the order was accepted, never
less than nothing, and its fee. The reference is the last index price that had been told by then and that a mark price
stood near; of those told in the very instant of acceptance, or in the moment before the gateway was killed, the kindest
one. A restart changes nothing of what had been told. What the index did between acceptance and fill is market movement
and reported apart.

A reducing fill gives a fraction of its value away. When the coin has risen since the exposure was counted, the part of
that fraction that lies on the rise is market movement on exposure that was allowed: `loss` leaves it out, `strict`
counts it. While no index rises, both are the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from trade_core.clock import NS_PER_S
from trade_simulator.events import Event, Executed
from trade_simulator.instruments import Category
from trade_simulator.orders import ExecType, Execution, Side

DAY_NS = 24 * 3600 * NS_PER_S
ZERO = Decimal(0)
Key = tuple[Category, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of the bot's. `reference` is the one at acceptance, `index` the one at the moment of the fill."""

    at_ns: int
    key: Key
    side: Side
    quantity: Decimal
    price: Decimal
    fee_usdt: Decimal
    base_fee: Decimal
    reference: Decimal
    index: Decimal
    is_reducing: bool

    @property
    def strict(self) -> Decimal:
        """What it lost against the reference, in USDT."""
        return self.quantity * max(ZERO, (self.price - self.reference) * self.side.sign) + self.fee_usdt

    @property
    def movement(self) -> Decimal:
        """What the index moved against it between acceptance and fill, in USDT; below zero is a gain."""
        return self.quantity * (self.reference - self.index) * self.side.sign

    @property
    def counted(self) -> Decimal:
        """What it takes of a turnover, in USDT."""
        return self.quantity * max(self.price, self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A coin that came from or went outside."""

    at_ns: int
    key: Key
    quantity: Decimal
    index: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The losses of 24 hours, in USDT. `exposure` is what was held at its start, and what came from outside since."""

    end_ns: int
    loss: Decimal
    strict: Decimal
    movement: Decimal
    exposure: Decimal
    fills: int


@dataclass(slots=True, kw_only=True)
class _Pool:
    """What is held of one symbol, signed, with the value at which it was counted."""

    quantity: Decimal = ZERO
    value: Decimal = ZERO

    def put(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Take in a signed change; returns the value at which what it reduced had been counted."""
        reduced = ZERO
        if self.quantity * quantity < 0:
            part = min(abs(quantity), abs(self.quantity))
            reduced = self.value * part / abs(self.quantity)
            self.value -= reduced
            sign = 1 if quantity > 0 else -1
            self.quantity += sign * part
            quantity -= sign * part
        self.quantity += quantity
        self.value += abs(quantity) * price
        return reduced


@dataclass(slots=True, kw_only=True)
class Oracle:
    """Listens to the exchange. `index` answers with its index price of a coin, `now_ns` with the time.

    `is_reduce_only` answers whether the exchange holds an order, by its id, to reducing a position, `trigger_of` at
    which price it was to be triggered: a stop is measured against that, since up to it the market did it all.
    """

    uid: str
    now_ns: Callable[[], int]
    index: Callable[[str], Decimal]
    max_divergence: Decimal
    is_reduce_only: Callable[[str], bool]
    trigger_of: Callable[[str], Decimal | None] = lambda _: None
    fills: list[Fill] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    highest_equity: Decimal = ZERO
    liquidations: int = 0
    _told: dict[str, list[tuple[int, Decimal]]] = field(default_factory=dict)
    _unsure: dict[str, int] = field(default_factory=dict)
    _accepted: dict[str, tuple[Decimal, ...]] = field(default_factory=dict)
    _path: dict[str, list[tuple[int, Decimal]]] = field(default_factory=dict)

    def note_equity(self, equity: Decimal) -> None:
        """Note what the account is worth."""
        self.highest_equity = max(self.highest_equity, equity)

    def note_told(self, coin: str, index: Decimal, mark: Decimal) -> None:
        """Note a price that reaches the gateway now; one whose mark is far off is no reference."""
        if abs(mark - index) > index * self.max_divergence:
            return
        told = self._told.setdefault(coin, [(-1, index)])
        self._unsure.pop(coin, None)
        if told[-1][1] != index:
            told.append((self.now_ns(), index))

    def note_index(self, coin: str) -> None:
        """Note that the index of a coin has moved."""
        self._path.setdefault(coin, []).append((self.now_ns(), self.index(coin)))

    @property
    def has_moved(self) -> bool:
        """Whether any index has moved since the start."""
        return any(len({price for _, price in path}) > 1 for path in self._path.values())

    def reference(self, coin: str) -> Decimal | None:
        """Return the reference at this moment."""
        told = self._told.get(coin)
        return None if told is None else told[-1][1]

    def note_accepted(self, tag: str, symbol: str) -> None:
        """Note that an order was accepted now."""
        coin = symbol.removesuffix("USDT")
        told = self._told.get(coin, [(-1, self.index(coin))])
        self._accepted[tag] = _since(told, self._unsure.get(coin, self.now_ns()))

    def note_killed(self, *, lost_s: float) -> None:
        """Note that the gateway is killed now: it may not have kept what it was told so few seconds ago."""
        self._unsure = dict.fromkeys(self._told, self.now_ns() - int(lost_s * NS_PER_S)) | self._unsure

    def note_flow(self, coin: str, quantity: Decimal) -> None:
        """Note that a coin came from outside."""
        key = (Category.SPOT, f"{coin}USDT")
        self.flows.append(Flow(at_ns=self.now_ns(), key=key, quantity=quantity, index=self.index(coin)))

    def on_event(self, event: Event) -> None:
        """Take in an event of the exchange."""
        if not isinstance(event, Executed) or event.uid != self.uid:
            return
        seen = event.execution
        if seen.exec_type is ExecType.TRADE:
            self.fills.append(self._fill(seen))
        elif seen.exec_type is ExecType.BUST_TRADE:
            self.liquidations += 1

    def _fill(self, seen: Execution) -> Fill:
        coin = seen.base_coin
        if seen.order_link_id not in self._accepted:
            raise AssertionError(f"an order that nobody accepted has filled: {seen.order_link_id}")
        trigger = self.trigger_of(seen.order_id)
        references = self._accepted[seen.order_link_id] if trigger is None else (trigger,)
        is_base_fee = seen.fee_currency == coin
        order = (seen.exec_price, seen.side.sign)
        return Fill(
            at_ns=self.now_ns(),
            key=(seen.category, seen.symbol),
            side=seen.side,
            quantity=seen.exec_qty,
            price=seen.exec_price,
            fee_usdt=seen.exec_fee * (seen.exec_price if is_base_fee else 1),
            base_fee=seen.exec_fee if is_base_fee else ZERO,
            reference=min(references, key=lambda price: max(ZERO, (order[0] - price) * order[1])),
            index=self.index(coin),
            is_reducing=(
                seen.side is Side.SELL if seen.category is Category.SPOT else self.is_reduce_only(seen.order_id)
            ),
        )

    def worst(self, bound: Callable[[Window], Decimal]) -> Window | None:
        """Return the window, ending with a fill, in which the loss comes nearest to its bound.

        `bound` must not fall with the window's exposure; so only windows that could be the worst are measured whole.
        """
        nothing = Window(end_ns=0, loss=ZERO, strict=ZERO, movement=ZERO, exposure=ZERO, fills=0)
        least = bound(nothing)
        found, ratio = None, Decimal(-1)
        for end_ns, strict in sorted(self._strict_sums().items(), key=lambda item: -item[1]):
            if strict / least <= ratio:
                break
            window = self.window(end_ns)
            if window.loss / bound(window) > ratio:
                found, ratio = window, window.loss / bound(window)
        return found

    def _strict_sums(self) -> dict[int, Decimal]:
        """The strict loss of the window that ends at each fill."""
        sums: dict[int, Decimal] = {}
        total, first = ZERO, 0
        for fill in self.fills:
            total += fill.strict
            while self.fills[first].at_ns < fill.at_ns - DAY_NS:
                total -= self.fills[first].strict
                first += 1
            sums[fill.at_ns] = total
        return sums

    def window(self, end_ns: int) -> Window:
        """Measure the 24 hours that end at a time."""
        start_ns = end_ns - DAY_NS
        pools: dict[Key, _Pool] = {}
        loss = strict = movement = exposure = ZERO
        fills = 0
        for change in self._changes_before(start_ns):
            pools.setdefault(change.key, _Pool()).put(change.quantity, change.price)
        for key, pool in pools.items():
            index = self._index_at(key[1].removesuffix("USDT"), start_ns)
            pool.value = abs(pool.quantity) * index
            exposure += pool.value
        for item in self._items(start_ns, end_ns):
            pool = pools.setdefault(item.key, _Pool())
            if isinstance(item, Flow):
                pool.put(item.quantity, item.index)
                exposure += max(ZERO, item.quantity) * item.index
                continue
            signed = item.quantity * item.side.sign
            reduced = pool.put(signed, max(item.price, item.reference))
            pool.quantity -= item.base_fee
            fills += 1
            strict += item.strict
            movement += item.movement
            loss += item.strict * _share_counted(item, reduced)
        return Window(
            end_ns=end_ns,
            loss=loss,
            strict=strict,
            movement=movement,
            exposure=exposure,
            fills=fills,
        )

    def _changes_before(self, at_ns: int) -> list[_Change]:
        changes = [
            _Change(
                at_ns=fill.at_ns,
                key=fill.key,
                quantity=fill.quantity * fill.side.sign - fill.base_fee,
                price=fill.price,
            )
            for fill in self.fills
            if fill.at_ns < at_ns
        ]
        changes += [
            _Change(at_ns=flow.at_ns, key=flow.key, quantity=flow.quantity, price=flow.index)
            for flow in self.flows
            if flow.at_ns < at_ns
        ]
        return sorted(changes, key=lambda change: change.at_ns)

    def _items(self, start_ns: int, end_ns: int) -> list[Fill | Flow]:
        items: list[Fill | Flow] = [*self.flows, *self.fills]
        return sorted((item for item in items if start_ns <= item.at_ns <= end_ns), key=lambda item: item.at_ns)

    def _index_at(self, coin: str, at_ns: int) -> Decimal:
        """Return the index price as it was at a time."""
        path = self._path.get(coin, [])
        before = bisect_right(path, at_ns, key=lambda item: item[0])
        return path[max(0, before - 1)][1] if path else self.index(coin)


def _since(told: Sequence[tuple[int, Decimal]], from_ns: int) -> tuple[Decimal, ...]:
    """Return the prices told from a time on, and the one before them."""
    known = bisect_left(told, from_ns, key=lambda item: item[0])
    return tuple(price for _, price in told[max(0, known - 1) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    at_ns: int
    key: Key
    quantity: Decimal
    price: Decimal


def _share_counted(fill: Fill, reduced: Decimal) -> Decimal:
    """Return which share of a fill's loss lies on the value at which its exposure was counted."""
    value = fill.quantity * fill.reference
    if not fill.is_reducing or reduced >= value:
        return Decimal(1)
    return reduced / value
