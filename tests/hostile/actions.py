"""Any mixture of everything: single steps of a bot, its accomplices, the market, the network and the machine.

A step is a name and three numbers from 0 to 1, so that a property-based test can draw and shrink lists of them and a
search can change them; what a number means is for the step to say.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from hostile.bot import BETWEEN_ORDERS_S, Bot, Placed
from hostile.venue import COINS, Key, jitter
from hostile.world import World

from trade_gateway.policy.trading_state import TradingState
from trade_simulator.instruments import Category
from trade_simulator.orders import Side

DAY_S = 24 * 3600
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step. The numbers lie from 0 up to 1."""

    name: str
    a: float = 0.0
    b: float = 0.0
    c: float = 0.0


@dataclass(slots=True)
class Play:
    """A play under way."""

    world: World
    bot: Bot
    orders: list[Placed] = field(default_factory=list)

    def note(self, placed: Placed | None) -> None:
        """Remember an order for the accomplice."""
        if placed is not None:
            self.orders.append(placed)


def one_of(choices: Sequence[T], number: float) -> T:
    """Choose by a number from 0 up to 1."""
    return choices[min(int(number * len(choices)), len(choices) - 1)]


def _side(key: Key, number: float) -> Side:
    return Side.BUY if key[0] is Category.SPOT or number < 0.5 else Side.SELL


async def _add(play: Play, step: Step) -> None:
    key = one_of(play.bot.keys, step.a)
    share = Decimal(one_of(["1", "1", "0.5", "0.1"], step.c))
    play.note(await play.bot.add(key, _side(key, step.b), play.bot.policy.max_order_notional_usdt * share))


async def _add_unseen(play: Play, step: Step) -> None:
    """Place an order and do not wait for its answer."""
    key = one_of(play.bot.keys, step.a)
    play.world.begin(_noted(play, play.bot.add(key, _side(key, step.b), play.bot.policy.max_order_notional_usdt)))
    await play.world.sleep(step.c * 0.2)


async def _noted(play: Play, work: Awaitable[Placed | None]) -> None:
    play.note(await work)


async def _reduce(play: Play, step: Step) -> None:
    key = one_of(play.bot.keys, step.a)
    share = Decimal(one_of(["1", "1", "0.5"], step.b))
    play.note(await play.bot.reduce(key, abs(play.bot.held(key)) * share))


async def _take(play: Play, step: Step) -> None:
    if play.orders:
        play.bot.take(one_of(play.orders[-8:], step.a), share=Decimal(one_of(["1", "1", "0.5", "0.1"], step.b)))


async def _take_all(play: Play, step: Step) -> None:
    account = play.world.venue.exchange.accounts[play.world.venue.uid]
    for order in list(account.open_orders.values()):
        key = (order.category, order.symbol)
        play.world.venue.take(key, order.side.opposite, quantity=order.leaves_qty, price=order.price)


async def _cancel(play: Play, step: Step) -> None:
    if play.orders:
        play.world.begin(play.bot.cancel(one_of(play.orders[-8:], step.a)))


async def _wash(play: Play, step: Step) -> None:
    key = one_of(play.bot.keys, step.a)
    await play.bot.wash(key, _side(key, step.b), play.bot.policy.max_order_notional_usdt)


async def _sleep(play: Play, step: Step) -> None:
    await play.world.sleep(one_of([0.0, 0.01, BETWEEN_ORDERS_S, 0.3, 1.1, 3.0, 12.0, 65.0], step.a))


async def _skip_day(play: Play, step: Step) -> None:
    await play.world.skip(DAY_S + one_of([-3600, -61, -1, 0, 1, 59, 61, 61, 61, 3600], step.a))
    await play.world.ready()


async def _settle(play: Play, step: Step) -> None:
    """Let all trouble end."""
    world, network = play.world, play.world.venue.network
    network.order_faults.clear()
    network.frame_faults.clear()
    network.is_reading_down = network.is_ticker_down = False
    network.mark_shift = Decimal(0)
    world.ceiling = TradingState.ACTIVE
    if network.is_private_down:
        world.stream_up()
    world.tell_prices()
    world.send_lease()
    await world.ready()


async def _move(play: Play, step: Step) -> None:
    coin = one_of(COINS, step.a)
    size = Decimal(one_of(["0.0003", "0.003", "0.03"], step.b)) * (1 if step.c < 0.5 else -1)
    instrument = play.world.venue.instrument((Category.LINEAR, f"{coin}USDT"))
    price = instrument.nearest_price(play.world.venue.index(coin) * (1 + size))
    play.world.move(coin, price, is_told=(step.c * 4) % 1 < 0.7)


async def _crash(play: Play, step: Step) -> None:
    await play.world.crash_gateway(survive=int(step.a * 8))
    await play.world.sleep(one_of([0.0, 0.5, 30.0], step.b))
    await play.world.start_gateway()
    await play.world.sleep(one_of([0.0, 0.01, 1.0, 8.0], step.c))


async def _order_fault(play: Play, step: Step) -> None:
    play.world.venue.network.order_faults.append(one_of(["lose", "drop", "slow"], step.a))


async def _frame_fault(play: Play, step: Step) -> None:
    kind = one_of(["lose", "duplicate", "delay", "overtake"], step.a)
    play.world.venue.network.frame_faults += [kind] * (1 + int(step.b * 6))


async def _outage(play: Play, step: Step) -> None:
    network = play.world.venue.network
    match one_of(["stream", "reading", "ticker", "mark"], step.a):
        case "stream" if network.is_private_down:
            play.world.stream_up()
        case "stream":
            play.world.stream_down()
        case "reading":
            network.is_reading_down = not network.is_reading_down
        case "ticker":
            network.is_ticker_down = not network.is_ticker_down
        case _:
            network.mark_shift = Decimal(0) if network.mark_shift else play.world.policy.reference_max_divergence * 2


async def _ceiling(play: Play, step: Step) -> None:
    play.world.ceiling = one_of([TradingState.ACTIVE, TradingState.TRIMMED, TradingState.REDUCE_ONLY], step.a)
    play.world.scale = one_of(["0.5", "0.2", "1"], step.b)
    play.world.send_lease()
    await play.world.sleep(0.01)


async def _flow(play: Play, step: Step) -> None:
    free = play.world.venue.exchange.wallet(play.world.venue.uid).total_available_balance
    amount = (free * Decimal(one_of(["-0.8", "-0.3", "0.3", "1"], step.a))).quantize(Decimal("0.01"))
    if amount:
        play.world.flow("USDT", amount)
        await play.world.sleep(0.3)


async def _jitter(play: Play, step: Step) -> None:
    draw = random.Random(int(step.a * 1000))
    play.world.venue.network.latency_s = jitter(draw, one_of([0.0, 0.01, 0.08], step.b))
    play.world.commit_s = one_of([0.0, 0.004, 0.05], step.c)


STEPS: Mapping[str, Callable[[Play, Step], Awaitable[None]]] = {
    "add": _add,
    "add unseen": _add_unseen,
    "reduce": _reduce,
    "take": _take,
    "take all": _take_all,
    "cancel": _cancel,
    "wash": _wash,
    "sleep": _sleep,
    "skip a day": _skip_day,
    "settle": _settle,
    "move": _move,
    "crash": _crash,
    "order fault": _order_fault,
    "frame fault": _frame_fault,
    "outage": _outage,
    "ceiling": _ceiling,
    "flow": _flow,
    "jitter": _jitter,
}
WEIGHTS: Mapping[str, int] = {
    "add": 10,
    "add unseen": 3,
    "reduce": 6,
    "take": 10,
    "take all": 6,
    "wash": 10,
    "sleep": 6,
    "settle": 8,
    "move": 4,
}
"""How often a random mixture takes a step; one that is not named, twice."""


def random_steps(draw: random.Random, count: int) -> list[Step]:
    """Draw a mixture."""
    names = list(STEPS)
    chosen = draw.choices(names, weights=[WEIGHTS.get(name, 2) for name in names], k=count)
    return [Step(name, draw.random(), draw.random(), draw.random()) for name in chosen]


async def play(world: World, bot: Bot, steps: Sequence[Step]) -> None:
    """Do the steps one after the other; at the end all trouble stops and everything is sold."""
    under_way = Play(world, bot)
    for step in steps:
        await STEPS[step.name](under_way, step)
    await _settle(under_way, Step("settle"))
    await bot.dump()


def changed(steps: Sequence[Step], draw: random.Random) -> list[Step]:
    """Change a mixture a little, for a search."""
    made = list(steps)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(made)) if made else 0
        match draw.choice(["insert", "drop", "repeat", "turn"]):
            case "insert":
                made[place:place] = random_steps(draw, draw.randint(1, 3))
            case "drop" if len(made) > 1:
                del made[place]
            case "repeat":
                made[place:place] = made[place : place + draw.randint(1, 4)]
            case _ if made:
                made[place] = Step(made[place].name, draw.random(), draw.random(), draw.random())
    return made[:200]
