"""The bot's ways to lose money: each a world to begin with and an attack, both drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hostile.actions import play, random_steps
from hostile.bot import BETWEEN_ORDERS_S, Bot, Placed
from hostile.policies import FINE, LINEAR, PRICES, SPOT, draw_policy, sharp_policy, stop_policy
from hostile.venue import COINS, Key, jitter
from hostile.world import Setting, World

from trade_core.clock import NS_PER_S
from trade_gateway.policy.limits import parse_policy
from trade_gateway.policy.trading_state import TradingState
from trade_simulator.instruments import Category
from trade_simulator.orders import Side

DAY_S = 24 * 3600
_ROUNDS = 12
Attack = Callable[[World, Bot, random.Random], Awaitable[None]]
Symbols = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One way. `symbols` are those of its sharp policies; half of its policies are drawn freely."""

    attack: Attack
    symbols: Symbols = FINE
    equity_factor: tuple[str, str] = ("1.2", "4")
    is_thin: bool = True
    holdings: bool = False
    policy: Callable[..., str] | None = None

    def setting(self, seed: int) -> Setting:
        """Draw the world."""
        draw = random.Random(seed)
        chosen = [draw.choice(list(self.symbols))]
        if draw.random() < 0.3:
            chosen = draw.sample(list(self.symbols), min(len(self.symbols), 3))
        make = self.policy or (sharp_policy if draw.random() < 0.5 else draw_policy)
        policy = make(draw, symbols=chosen)
        capital = parse_policy(policy.encode()).allocated_capital_usdt
        low, high = self.equity_factor
        factor = Decimal(low) + (Decimal(high) - Decimal(low)) * Decimal(draw.randint(0, 100)) / 100
        return Setting(
            policy=policy,
            equity_usdt=(capital * factor).quantize(Decimal("0.01")),
            seed=seed,
            is_thin=self.is_thin,
            holdings=_holdings(draw, chosen, capital) if self.holdings else (),
        )


# Pieces of attacks


async def build(bot: Bot, side_of: Callable[[Key], Side], *, days: int = 1) -> None:
    """Take on all the exposure that there is room for; over several days when a day's turnover is less."""
    for day in range(days):
        if day:
            await bot.world.skip(DAY_S + 61)
            if not await bot.world.ready():
                return
        for _ in range(_ROUNDS):
            taken = [bot.take(await _paced(bot, key, side_of(key))) for key in bot.keys]
            if not any(taken):
                break


async def wash(bot: Bot, side_of: Callable[[Key], Side]) -> None:
    """Wash until the turnover is used up."""
    for _ in range(_ROUNDS):
        washed = [await bot.wash(key, side_of(key), bot.policy.max_order_notional_usdt) for key in bot.keys]
        if not any(washed):
            return


async def _paced(bot: Bot, key: Key, side: Side, notional: Decimal | None = None) -> Placed | None:
    placed = await bot.add(key, side, bot.policy.max_order_notional_usdt if notional is None else notional)
    await bot.world.sleep(BETWEEN_ORDERS_S)
    return placed


def sides(draw: random.Random) -> Callable[[Key], Side]:
    """Draw for each linear symbol whether it is bought or sold first; a coin must be bought first."""
    chosen: dict[Key, Side] = {}

    def side_of(key: Key) -> Side:
        if key[0] is Category.SPOT:
            return Side.BUY
        return chosen.setdefault(key, draw.choice([Side.BUY, Side.SELL]))

    return side_of


# The attacks


async def wash_only(world: World, bot: Bot, draw: random.Random) -> None:
    """Buy at +c and sell at -c, over and over."""
    await wash(bot, sides(draw))


async def beyond(world: World, bot: Bot, draw: random.Random) -> None:
    """Try far beyond the collars first, then at their edge."""
    side_of = sides(draw)
    for _ in range(_ROUNDS):
        taken = Decimal(0)
        for key in bot.keys:
            for away in (Decimal("0.028"), bot.policy.collar):
                taken += bot.take(await bot.add(key, side_of(key), bot.policy.max_order_notional_usdt, collar=away))
                await world.sleep(BETWEEN_ORDERS_S)
            for away in (Decimal("0.028"), bot.policy.exit_collar):
                bot.take(await bot.reduce(key, collar=away))
                await world.sleep(BETWEEN_ORDERS_S)
        if not taken:
            return


async def short_only(world: World, bot: Bot, draw: random.Random) -> None:
    """The same, sold first."""
    await wash(bot, lambda key: Side.SELL if key[0] is Category.LINEAR else Side.BUY)


async def patient(world: World, bot: Bot, draw: random.Random) -> None:
    """Build full exposure over days; then, in one window, sell it all and wash with the whole turnover."""
    side_of = sides(draw)
    await build(bot, side_of, days=draw.randint(1, 4))
    await world.skip(DAY_S + 61)
    await world.ready()
    await bot.dump()
    await wash(bot, side_of)


async def window_edge(world: World, bot: Bot, draw: random.Random) -> None:
    """Use the turnover up, and again as soon as a day is over, some seconds before and after."""
    side_of = sides(draw)
    for _ in range(3):
        await wash(bot, side_of)
        await world.skip(DAY_S - draw.choice([0, 1, 30, 59, 60, 61, 120]))
        await world.ready()
        for _ in range(draw.randint(1, 3)):
            await wash(bot, side_of)
            await world.sleep(draw.choice([1, 20, 61]))


async def _use_up(bot: Bot, side_of: Callable[[Key], Side]) -> None:
    """Wash until there is room for one or two orders of the largest size."""
    policy, oracle = bot.policy, bot.world.oracle
    budget = policy.turnover_budget_24h * policy.allocated_capital_usdt
    for _ in range(_ROUNDS * 2):
        used = sum((fill.counted for fill in oracle.fills if not fill.is_reducing), Decimal(0))
        if used + 2 * policy.max_order_notional_usdt > budget:
            return
        await bot.wash(bot.keys[0], side_of(bot.keys[0]), policy.max_order_notional_usdt)


async def flood(world: World, bot: Bot, draw: random.Random) -> None:
    """Send a flood of orders, each just under its cap, before any fills; then have them all taken at once."""
    side_of = sides(draw)
    await _use_up(bot, side_of)
    for _ in range(4):
        notional = bot.policy.max_order_notional_usdt * draw.choice([1, Decimal("0.5"), Decimal("0.2")])
        placed: list[Placed | None] = []
        for _ in range(3):
            wanted = [bot.add(key, side_of(key), notional) for key in bot.keys for _ in range(draw.randint(1, 4))]
            works = [world.begin(work) for work in wanted]
            for work in works:
                placed.append(await work)
            await world.sleep(draw.choice([0.05, 1.0]))
        for order in placed:
            bot.take(order)
        if draw.random() < 0.5:
            await world.sleep(BETWEEN_ORDERS_S)
        await bot.dump()


async def crumbs(world: World, bot: Bot, draw: random.Random) -> None:
    """Orders taken in crumbs, cancelled half-way, cancels and takes in a race."""
    world.venue.network.latency_s = jitter(draw, 0.05)
    side_of = sides(draw)
    for _ in range(_ROUNDS):
        for key in bot.keys:
            placed = await _paced(bot, key, side_of(key))
            for _ in range(draw.randint(1, 4)):
                bot.take(placed, share=Decimal(draw.choice(["0.1", "0.33", "0.5"])))
                await world.sleep(draw.random() * 0.1)
            cancel = world.begin(bot.cancel(placed))
            await world.sleep(draw.random() * 0.1)
            bot.take(placed)
            await cancel
            bot.take(await bot.reduce(key), share=Decimal(draw.choice(["0.5", "1"])))
    await bot.dump()


async def lost_answers(world: World, bot: Bot, draw: random.Random) -> None:
    """Orders whose answers are lost, or late, or that never arrive; the accomplice takes whatever stands."""
    side_of = sides(draw)
    for _ in range(4):
        for key in bot.keys:
            world.venue.network.order_faults += draw.choices(["", "lose", "drop", "slow"], k=2)
            work = world.begin(bot.add(key, side_of(key), bot.policy.max_order_notional_usdt))
            for _ in range(draw.randint(1, 6)):
                await world.sleep(draw.random() * 2)
                take_all(bot, draw)
            await work
    world.venue.network.order_faults.clear()
    await world.sleep(10)
    await wash(bot, side_of)
    await bot.dump()


async def restarts(world: World, bot: Bot, draw: random.Random) -> None:
    """The gateway is killed at any moment, rows are lost, answers too; the bot goes on as soon as it can."""
    side_of = sides(draw)
    world.commit_s = draw.choice([0.0, 0.004, 0.02])
    world.venue.network.latency_s = jitter(draw, 0.03)
    for _ in range(4):
        for key in bot.keys:
            if draw.random() < 0.3:
                world.venue.network.order_faults.append(draw.choice(["lose", "slow"]))
            work = world.begin(_sequence(bot, key, side_of(key)))
            await world.sleep(draw.choice([0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 5.0]) * (0.5 + draw.random()))
            take_all(bot, draw)
            await world.sleep(draw.choice([0.0, 0.01, 0.3]))
            await world.crash_gateway(survive=draw.randint(0, 6))
            await work
            take_all(bot, draw)
            await world.sleep(draw.choice([0.0, 1.0, 20.0]))
            await world.start_gateway()
            await bot.dump()
        await world.ready()
        await wash(bot, side_of)
    await bot.dump()


async def first_moment(world: World, bot: Bot, draw: random.Random) -> None:
    """Sell everything in the moment after a restart, before the gateway has heard of any price."""
    side_of = sides(draw)
    await build(bot, side_of)
    await world.skip(DAY_S + 61)
    await world.ready()
    if draw.random() < 0.5:
        for coin in COINS:
            _walk(world, draw, coin)
    await world.crash_gateway()
    world.venue.network.is_ticker_down = True
    await world.start_gateway()
    await world.sleep(draw.choice([0.0, 0.1, 3.0]))
    await _give_away(world, bot, draw, ("0.049", "0.029", "0.01"))
    world.venue.network.is_ticker_down = False
    world.tell_prices()
    await world.ready()
    await bot.dump()
    await wash(bot, side_of)


async def old_order(world: World, bot: Bot, draw: random.Random) -> None:
    """Let prices run far from the last order, have the gateway killed, and give away what the old price permits."""
    side_of = sides(draw)
    await build(bot, side_of)
    await world.skip(DAY_S + 61)
    await world.ready()
    for _ in range(draw.choice([1, 4])):
        for key in bot.keys:
            coin = key[1].removesuffix("USDT")
            sign = 1 if bot.held(key) > 0 else -1
            step = sign * Decimal(draw.choice(["0.0015", "0.01", "0.04"]))
            world.move(coin, world.venue.instrument(key).nearest_price(world.venue.index(coin) * (1 + step)))
        await world.sleep(1)
    await world.crash_gateway()
    await world.sleep(draw.choice([0.0, 3600.0]))
    world.venue.network.is_ticker_down = True
    await world.start_gateway()
    await world.sleep(draw.choice([0.0, 5.0]))
    await _give_away(world, bot, draw, ("0.15", "0.08", "0.049", "0.029", "0.01", "0.004", "0.002"))
    world.venue.network.is_ticker_down = False
    world.tell_prices()
    await world.ready()
    await bot.dump()
    await wash(bot, side_of)


async def _give_away(world: World, bot: Bot, draw: random.Random, aways: Sequence[str]) -> None:
    """Try to close everything so far on the bad side of the index."""
    for key in bot.keys:
        held = bot.held(key)
        side = Side.SELL if held > 0 else Side.BUY
        for away in aways:
            price = bot.on_grid(
                key, side, world.venue.index(key[1].removesuffix("USDT")) * (1 + Decimal(away) * side.sign)
            )
            bot.make_room(key, side, price)
            quantity = bot.steps(key, abs(held))
            if quantity > 0:
                await world.create(key, side.value, quantity=quantity, price=price, reduce=key[0] is Category.LINEAR)
            take_all(bot, draw)


async def leaping_clock(world: World, bot: Bot, draw: random.Random) -> None:
    """Somebody sets the machine's clock ahead by a day and back, to have the day's turnover once more."""
    side_of = sides(draw)
    await wash(bot, side_of)
    for _ in range(2):
        world.clock.leap_wall(int((DAY_S + 100) * draw.choice([1, 1, -1]) * NS_PER_S))
        await world.sleep(draw.choice([1, 62, 70]))
        await world.ready()
        await wash(bot, side_of)
    await bot.dump()


async def moving(world: World, bot: Bot, draw: random.Random) -> None:
    """The index moves all the time, also between acceptance and fill, and not always to the gateway's knowledge."""
    side_of = sides(draw)
    await build(bot, side_of)
    await world.skip(DAY_S + 61)
    await world.ready()
    for _ in range(_ROUNDS):
        for key in bot.keys:
            coin = key[1].removesuffix("USDT")
            placed = await bot.add(key, side_of(key), bot.policy.max_order_notional_usdt)
            _walk(world, draw, coin)
            bot.take(placed)
            await world.sleep(BETWEEN_ORDERS_S)
            reducing = await bot.reduce(key)
            _walk(world, draw, coin)
            bot.take(reducing)
            await world.sleep(BETWEEN_ORDERS_S)
            await bot.cancel(reducing)
    await bot.dump()


async def stale(world: World, bot: Bot, draw: random.Random) -> None:
    """Prices stop, or contradict one another, while the index runs on: exits against the last good one."""
    side_of = sides(draw)
    await build(bot, side_of)
    for _ in range(4):
        if draw.random() < 0.5:
            world.venue.network.is_ticker_down = True
        else:
            world.venue.network.mark_shift = world.policy.reference_max_divergence * 2
        for coin in COINS:
            _walk(world, draw, coin)
        await world.sleep(draw.choice([0.3, 3.0, 40.0]))
        await bot.dump()
        await wash(bot, side_of)
        world.venue.network.is_ticker_down = False
        world.venue.network.mark_shift = Decimal(0)
        await world.sleep(1)
        await world.ready()
        await wash(bot, side_of)
    await bot.dump()


async def trimmed(world: World, bot: Bot, draw: random.Random) -> None:
    """The watchdog trims, and lets go, in the midst of it."""
    side_of = sides(draw)
    for _ in range(4):
        world.ceiling = draw.choice([TradingState.TRIMMED, TradingState.ACTIVE, TradingState.REDUCE_ONLY])
        world.scale = draw.choice(["0.5", "0.1", "1"])
        world.send_lease()
        await world.sleep(0.1)
        placed = [await _paced(bot, key, side_of(key)) for key in bot.keys]
        world.ceiling = TradingState.ACTIVE
        world.send_lease()
        await world.sleep(draw.choice([0.0, 1.5]))
        for order in placed:
            bot.take(order)
        await wash(bot, side_of)
    await bot.dump()


async def flows(world: World, bot: Bot, draw: random.Random) -> None:
    """Money comes and goes: equity falls and grows, coins arrive, between building exposure and selling it."""
    side_of = sides(draw)
    await build(bot, side_of)
    for _ in range(3):
        free = bot.world.venue.exchange.wallet(world.venue.uid).total_available_balance
        share = Decimal(draw.choice(["-0.9", "-0.5", "0.3", "1"]))
        amount = (free * share).quantize(Decimal("0.01"))
        if amount:
            world.flow("USDT", amount)
        spot = [key for key in bot.keys if key[0] is Category.SPOT]
        if spot and draw.random() < 0.5:
            key = draw.choice(spot)
            coin = key[1].removesuffix("USDT")
            capital = world.policy.allocated_capital_usdt
            world.flow(coin, bot.steps(key, capital * Decimal(draw.choice(["0.1", "2"])) / world.venue.index(coin)))
        await world.sleep(draw.choice([0.3, 3.0]))
        if draw.random() < 0.5:
            await world.skip(DAY_S + 61)
            await world.ready()
        await bot.dump()
        await wash(bot, side_of)


async def deaf(world: World, bot: Bot, draw: random.Random) -> None:
    """The private stream loses, repeats, delays and reorders, or is cut; readings fail."""
    side_of = sides(draw)
    network = world.venue.network
    network.latency_s = jitter(draw, 0.05)
    for _ in range(5):
        network.frame_faults += draw.choices(["", "lose", "duplicate", "delay", "overtake"], k=draw.randint(1, 12))
        for key in bot.keys:
            placed = await _paced(bot, key, side_of(key))
            match draw.choice(["cut", "blind", "none"]):
                case "cut":
                    world.stream_down()
                case "blind":
                    network.is_reading_down = True
            bot.take(placed, share=Decimal(draw.choice(["0.5", "1"])))
            await world.sleep(draw.choice([0.1, 1.5, 12.0]))
            second = await _paced(bot, key, side_of(key))
            bot.take(second)
            bot.take(await bot.reduce(key))
            network.is_reading_down = False
            if network.is_private_down:
                world.stream_up()
            await world.sleep(draw.choice([0.1, 2.0]))
        network.frame_faults.clear()
        await world.ready()
        await wash(bot, side_of)
    await bot.dump()


async def forgotten(world: World, bot: Bot, draw: random.Random) -> None:
    """An answer is lost, the stream silent; the order is found filled by asking, and the gateway dies that moment."""
    side_of = sides(draw)
    readings = {"/v5/execution/list", "/v5/account/wallet-balance"}
    for _ in range(6):
        for key in bot.keys:
            world.venue.network.order_faults.append("lose")
            world.venue.network.frame_faults += ["lose"] * 80
            work = world.begin(bot.add(key, side_of(key), bot.policy.max_order_notional_usdt))
            await world.sleep(0.02)
            world.venue.network.dead_paths |= readings
            take_all(bot, draw, shares=("1",))
            await work
            await world.crash_gateway(survive=draw.choice([0, 1, 2, 99, 99]))
            world.venue.network.dead_paths.clear()
            world.venue.network.frame_faults.clear()
            world.venue.network.order_faults.clear()
            await world.start_gateway()
            await world.ready()
            bot.take(await bot.reduce(key))
            await world.sleep(BETWEEN_ORDERS_S)
    await wash(bot, side_of)


async def stops(world: World, bot: Bot, draw: random.Random) -> None:
    """Have stops triggered by the smallest step of the index, and taken as far from their trigger as they may be."""
    side_of = sides(draw)
    await build(bot, side_of)
    await world.skip(DAY_S + 61)
    await world.ready()
    for number in range(_ROUNDS):
        placed = [await _paced(bot, key, side_of(key)) for key in bot.keys]
        taken = [bot.take(order) for order in placed]
        if number and not any(taken):
            break
        for key in bot.keys:
            await _stop_out(world, bot, draw, key)
    await bot.dump()


async def _stop_out(world: World, bot: Bot, draw: random.Random, key: Key) -> None:
    held, index = bot.held(key), world.venue.index(key[1].removesuffix("USDT"))
    tick = world.venue.instrument(key).tick_size
    sign = 1 if held > 0 else -1
    side = Side.SELL if held > 0 else Side.BUY
    if not held:
        return
    trigger = index - sign * (index * Decimal("0.0006")).quantize(tick, rounding="ROUND_UP")
    limit = bot.on_grid(key, side, trigger * (1 + side.sign * bot.policy.stop_slippage))
    await world.sleep(BETWEEN_ORDERS_S)
    answer = await world.create_stop(key, side.value, quantity=abs(held), trigger=trigger)
    if answer["retCode"] != 0:
        bot.take(await bot.reduce(key))
        return
    is_waiting = draw.random() < 0.7
    if is_waiting:
        world.venue.rest(key, side.opposite, quantity=abs(held), price=limit)
    world.move(key[1].removesuffix("USDT"), trigger - sign * tick)
    if not is_waiting:
        world.move(key[1].removesuffix("USDT"), index)
        world.venue.take(key, side.opposite, quantity=abs(held), price=limit)
    world.venue.leave(key)
    world.move(key[1].removesuffix("USDT"), index)
    await world.sleep(0.5)


async def mixture(world: World, bot: Bot, draw: random.Random) -> None:
    """Anything, in any order."""
    await play(world, bot, random_steps(draw, draw.randint(20, 80)))


def take_all(bot: Bot, draw: random.Random, *, shares: Sequence[str] = ("0.3", "1", "1")) -> None:
    """Have the accomplice take every order of the account that stands, or a part of it."""
    account = bot.world.venue.exchange.accounts[bot.world.venue.uid]
    for order in list(account.open_orders.values()):
        key = (order.category, order.symbol)
        quantity = bot.steps(key, order.leaves_qty * Decimal(draw.choice(shares)))
        if quantity > 0:
            bot.world.venue.take(key, order.side.opposite, quantity=quantity, price=order.price)


async def _sequence(bot: Bot, key: Key, side: Side) -> None:
    for _ in range(2):
        bot.take(await _paced(bot, key, side))
        bot.take(await bot.reduce(key))


def _walk(world: World, draw: random.Random, coin: str) -> None:
    """Let the index of a coin take a step, small or large."""
    step = Decimal(str(round(draw.gauss(0, 1), 3))) * Decimal(draw.choice(["0.0005", "0.003", "0.02"]))
    instrument = world.venue.instrument((Category.LINEAR, f"{coin}USDT"))
    price = instrument.nearest_price(world.venue.index(coin) * (1 + max(Decimal("-0.06"), min(Decimal("0.06"), step))))
    world.move(coin, price, is_told=draw.random() < 0.7)


def _holdings(draw: random.Random, symbols: Symbols, capital: Decimal) -> tuple[tuple[str, Decimal], ...]:
    return tuple(
        (symbol.removesuffix("USDT"), (capital * draw.choice([1, 3]) / PRICES[symbol]).quantize(Decimal("0.01")))
        for category, symbol in symbols
        if category == "spot"
    )


STRATEGIES: Mapping[str, Strategy] = {
    "wash": Strategy(attack=wash_only),
    "wash, sold first": Strategy(attack=short_only, symbols=LINEAR),
    "many symbols": Strategy(attack=patient, symbols=SPOT + LINEAR),
    "patient": Strategy(attack=patient),
    "beyond the collar": Strategy(attack=beyond, symbols=SPOT + LINEAR),
    "window edge": Strategy(attack=window_edge),
    "floods under the cap": Strategy(attack=flood),
    "crumbs and cancels": Strategy(attack=crumbs, symbols=SPOT + LINEAR),
    "lost answers": Strategy(attack=lost_answers, symbols=SPOT + LINEAR),
    "restarts": Strategy(attack=restarts, symbols=SPOT + LINEAR),
    "first moment": Strategy(attack=first_moment, symbols=SPOT + LINEAR),
    "moving index": Strategy(attack=moving, symbols=SPOT + LINEAR),
    "stale references": Strategy(attack=stale, symbols=SPOT + LINEAR),
    "trimmed": Strategy(attack=trimmed, symbols=SPOT + LINEAR),
    "flows": Strategy(attack=flows, symbols=SPOT + LINEAR, equity_factor=("0.5", "1.5")),
    "holdings": Strategy(attack=patient, symbols=SPOT, holdings=True, equity_factor=("0.3", "2")),
    "leaping clock": Strategy(attack=leaping_clock, symbols=SPOT + LINEAR),
    "deaf": Strategy(attack=deaf, symbols=SPOT + LINEAR),
    "forgotten fills": Strategy(attack=forgotten),
    "stops": Strategy(attack=stops, symbols=LINEAR, policy=stop_policy),
    "mixture": Strategy(attack=mixture, symbols=SPOT + LINEAR),
    "thick books": Strategy(attack=patient, is_thin=False),
    "old order": Strategy(attack=old_order),
}
