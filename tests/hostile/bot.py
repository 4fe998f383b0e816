"""A fully hostile bot: it knows the policy and every price, and its accomplices are the other side of the book.

What it wants is that the account loses. So it buys and sells as far from the reference as the collar lets it, as much
as the limits let it, and has the accomplice take every order that stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from hostile.venue import Key
from hostile.world import World

from trade_simulator.instruments import Category
from trade_simulator.orders import Side

BETWEEN_ORDERS_S = 0.11  # the gateway sends ten orders a second
_TRIES = 6
_EXCHANGE_LIMIT = Decimal("0.0495")  # linear orders lie within 5 % of the mark price, which strays from the index
_LIMIT = re.compile(r"would_be=([0-9.]+), limit=([0-9.]+)")
_MAXIMUM = re.compile(r"(?:notional|quantity)=([0-9.]+), (?:maximum|limit)=([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An order of the bot's that the gateway let through."""

    key: Key
    side: Side
    quantity: Decimal
    price: Decimal
    order_id: str


class Bot:
    """One bot in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.policy = world.policy
        self.keys: list[Key] = [(Category(category.value), symbol) for category, symbol in world.policy.symbols]
        self._tweak = 0

    # What it knows

    def reference(self, key: Key) -> Decimal | None:
        """The reference that the gateway has."""
        return self.world.oracle.reference(key[1].removesuffix("USDT"))

    def held(self, key: Key) -> Decimal:
        """What the account has of a symbol: coins that nothing holds, or the signed position."""
        account = self.world.venue.exchange.accounts[self.world.venue.uid]
        if key[0] is Category.SPOT:
            coin = key[1].removesuffix("USDT")
            return account.balance(coin) - account.locked(coin)
        return account.position_size(key[1], 0)

    def edge(self, key: Key, side: Side, collar: Decimal) -> Decimal | None:
        """The worst price within a collar, on the grid."""
        reference = self.reference(key)
        if reference is None:
            return None
        return self.on_grid(key, side, reference * (1 + collar * side.sign))

    # What it does

    async def add(self, key: Key, side: Side, notional: Decimal, *, collar: Decimal | None = None) -> Placed | None:
        """Place an order that adds risk at the collar's edge, as large as the gateway lets it."""
        price = self.edge(key, side, self.policy.collar if collar is None else collar)
        reference = self.reference(key)
        if price is None or reference is None:
            return None
        quantity = self.steps(key, notional / max(price, reference))
        for _ in range(_TRIES):
            if quantity <= 0:
                return None
            self.make_room(key, side, price)
            answer = await self.world.create(key, side.value, quantity=quantity, price=price)
            if answer["retCode"] == 0:
                order_id = answer["result"]["orderId"]
                return Placed(key=key, side=side, quantity=quantity, price=price, order_id=order_id)
            smaller = self._smaller(key, quantity, str(answer["retMsg"]), max(price, reference))
            if smaller is None:
                return None
            quantity = smaller
            await self.world.sleep(BETWEEN_ORDERS_S)
        return None

    async def reduce(
        self, key: Key, quantity: Decimal | None = None, *, collar: Decimal | None = None
    ) -> Placed | None:
        """Place an order that reduces at the exit collar's edge, of all there is unless told otherwise."""
        held = self.held(key)
        if not held:
            return None
        side = Side.SELL if held > 0 else Side.BUY
        price = self.edge(key, side, min(self.policy.exit_collar if collar is None else collar, _EXCHANGE_LIMIT))
        if price is None:
            return None
        wanted = self.steps(key, min(abs(held), quantity or abs(held)))
        if wanted <= 0:
            return None
        self.make_room(key, side, price)
        is_linear = key[0] is Category.LINEAR
        answer = await self.world.create(key, side.value, quantity=wanted, price=price, reduce=is_linear)
        if answer["retCode"] != 0:
            return None
        order_id = answer["result"]["orderId"]
        return Placed(key=key, side=side, quantity=wanted, price=price, order_id=order_id)

    def take(self, placed: Placed | None, *, share: Decimal = Decimal(1)) -> Decimal:
        """Have the accomplice take an order, or a share of it."""
        if placed is None:
            return Decimal(0)
        quantity = self.steps(placed.key, placed.quantity * share)
        if quantity <= 0:
            return Decimal(0)
        return self.world.venue.take(placed.key, placed.side.opposite, quantity=quantity, price=placed.price)

    async def cancel(self, placed: Placed | None) -> None:
        """Cancel an order."""
        if placed is not None:
            await self.world.cancel(placed.key, placed.order_id)

    async def wash(self, key: Key, side: Side, notional: Decimal) -> bool:
        """Add at the edge, be taken, reduce at the edge, be taken; tells whether anything was added."""
        placed = await self.add(key, side, notional)
        self.take(placed)
        await self.world.sleep(BETWEEN_ORDERS_S)
        if placed is None:
            return False
        self.take(await self.reduce(key))
        await self.world.sleep(BETWEEN_ORDERS_S)
        return True

    async def dump(self) -> None:
        """Reduce everything there is at the edge."""
        for key in self.keys:
            for _ in range(2):
                if self.take(await self.reduce(key)) <= 0:
                    break
                await self.world.sleep(BETWEEN_ORDERS_S)

    # What it needs for that

    def make_room(self, key: Key, side: Side, price: Decimal) -> None:
        """Let the accomplices clear the way: nothing that the order would meet, and a last price that permits it."""
        venue = self.world.venue
        if not venue.is_thin:
            venue.sweep(key, side, price)
        elif key[0] is Category.SPOT:
            venue.print_trade(key, price)

    def _smaller(self, key: Key, quantity: Decimal, text: str, price: Decimal) -> Decimal | None:
        """Learn from a denial how much would have passed."""
        code = text.partition(":")[0]
        if code == "ORDER_DUPLICATE":
            self._tweak += 1
            return quantity - self.world.venue.instrument(key).quantity_step * (1 + self._tweak % 5)
        found = _LIMIT.search(text)
        if found is not None:
            excess = Decimal(found[1]) - Decimal(found[2])
            return self.steps(key, quantity - excess / price, is_below=True)
        found = _MAXIMUM.search(text)
        if found is not None and "BELOW" not in code:
            return self.steps(key, quantity * Decimal(found[2]) / Decimal(found[1]))
        return None

    def steps(self, key: Key, quantity: Decimal, *, is_below: bool = False) -> Decimal:
        """Cut a quantity to whole steps; `is_below` takes one off when nothing was cut."""
        step = self.world.venue.instrument(key).quantity_step
        steps = (quantity / step).to_integral_value(rounding=ROUND_FLOOR)
        return (steps - (1 if is_below and steps * step == quantity else 0)) * step

    def on_grid(self, key: Key, side: Side, price: Decimal) -> Decimal:
        """Round a price to a tick, towards what the collar permits."""
        tick = self.world.venue.instrument(key).tick_size
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        return (price / tick).to_integral_value(rounding=rounding) * tick
