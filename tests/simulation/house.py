"""Gateway, watchdog, exchange and referee in one process, on one clock and one seed."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hostile.policies import policy_text
from hostile.venue import Key
from simulation.calm import Calm
from simulation.clocks import ProcessClock, SimulatedLoop
from simulation.disk import SimulatedDisk
from simulation.exchange_edge import SimulatedVenue
from simulation.gateway_process import GatewayProcess
from simulation.referee import Limits, Referee
from simulation.watchdog_process import WatchdogProcess
from simulation.wire import Link, Trace, cut_all
from trust_parts import ring_of, touch

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.baseline import Baseline
from trade_core.trust.keys import NotTrusted, load_private_key
from trade_core.trust.release_subject import RELEASABLE_RUNGS
from trade_core.trust.ring import ring_hash
from trade_core.trust.tag import tag_key_id
from trade_core.trust.warrant import Warrant
from trade_gateway.policy.limits import parse_policy, policy_hash
from trade_journal.log.ring_keys import gateway_log_signer
from trade_simulator.instruments import Category
from trade_simulator.orders import CancelOrder, Order, OrderType, PlaceOrder, Side, TimeInForce
from trade_simulator.rejections import Rejected

SYMBOLS: Final[tuple[Key, ...]] = (
    (Category.SPOT, "ETHUSDT"),
    (Category.SPOT, "XRPUSDT"),
    (Category.LINEAR, "XRPUSDT"),
)
TRADED: Final = ("ETH", "XRP")
HELD: Final = "BTC"
"""A coin that the account holds and the bot does not trade: its price walks the rungs."""
TICKS_EVERY_S: Final = 1.0
_PRIVATE: Final = load_private_key(base64.b64encode(bytes(range(32))).decode())
_TAG_KEY: Final = b"t" * 32
_TRADE_APART: Final = Decimal("0.005")
_SYMBOL_USDT: Final = Decimal(300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a house begins with."""

    seed: int
    equity_usdt: Decimal = Decimal(4000)
    held: Decimal = Decimal("0.1")


class _ErrorsHeard(logging.Handler):
    """Hears of what the services did not expect."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.unexpected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that carries a traceback."""
        if record.exc_info:
            self.unexpected.append(f"{record.name}: {record.getMessage()}: {record.exc_info[1]!r}")


class House:
    """Everything; made by `house`."""

    def __init__(self, setting: Setting, clock: ManualClock, folder: Path) -> None:
        self.setting, self.clock = setting, clock
        self.draw = random.Random(f"house-{setting.seed}")
        self.trace = Trace(clock)
        self.counts: Counter[str] = Counter()
        self.venue = SimulatedVenue(
            clock=clock, seed=setting.seed % 1000, equity_usdt=setting.equity_usdt, draw=self.draw
        )
        self.venue.exchange.flow(self.venue.uid, coin=HELD, amount=setting.held)
        self.links = {name: self._link(name) for name in ("gateway-exchange", "watchdog-exchange", "watchdog-gateway")}
        self.venue.frames = self.links["gateway-exchange"]
        self.calm = Calm(clock.monotonic_ns)
        self.is_paused = False
        policy = _policy()
        (folder / "gateway").mkdir()
        (folder / "policy.toml").write_text(policy)
        parsed = parse_policy(policy.encode())
        ring = ring_of(
            _PRIVATE,
            deployment="simulation",
            account=self.venue.uid,
            policy_hash=policy_hash(parsed),
            tag_key_id=tag_key_id(_TAG_KEY),
            baseline=Baseline(taken_at_ms=clock.wall_ns() // NS_PER_MS, orders=(), positions=(), holdings=()),
        )
        self.ring = ring
        self.gateway = GatewayProcess(
            venue=self.venue,
            link=self.links["gateway-exchange"],
            clock=ProcessClock(clock),
            disk=SimulatedDisk(),
            ring=ring,
            signer=gateway_log_signer(ring, _PRIVATE),
            tag_key=_TAG_KEY,
            folder=folder / "gateway",
            policy_file=folder / "policy.toml",
            on_sent=self._order_leaves,
        )
        self.referee = Referee(
            clock=clock,
            venue=self.venue,
            trace=self.trace,
            limits=Limits(
                gross_usdt=parsed.max_gross_exposure * parsed.allocated_capital_usdt,
                order_usdt=parsed.max_order_notional_usdt,
                symbol_usdt=dict.fromkeys(SYMBOLS, _SYMBOL_USDT),
            ),
            calm=self.calm,
            gateway=self.gateway,
        )
        self.watchdog = WatchdogProcess(
            venue=self.venue,
            gateway=self.gateway,
            to_exchange=self.links["watchdog-exchange"],
            to_gateway=self.links["watchdog-gateway"],
            clock=ProcessClock(clock),
            disk=SimulatedDisk(),
            copy=SimulatedDisk(),
            ring=ring,
            private=_PRIVATE,
            tag_key=_TAG_KEY,
            folder=folder,
            ears=self.referee,
            sweep=self.sweep,
            pause_bot=self._pause,
        )
        self.referee.watchdog = self.watchdog
        self.gateway.disk.on_row = self.referee.row_durable
        self.venue.on_told = self.referee.wallet_told
        self.venue.exchange.subscribe(self.referee.on_event)
        self.watchdog.prepare_files()
        for coin in (HELD, *TRADED):
            self.referee.price_moved(coin)

    def _link(self, name: str) -> Link:
        draw = random.Random(f"{name}-{self.setting.seed}")
        return Link(name=name, draw=draw, trace=self.trace, counts=self.counts)

    def _order_leaves(self, body: bytes) -> None:
        self.referee.order_leaves(body)

    def _pause(self, is_paused: bool) -> None:
        self.is_paused = is_paused

    # The market's life

    def move(self, coin: str, factor: float) -> None:
        """Let a coin's index price move by a factor."""
        symbol = f"{coin}USDT"
        price = self.venue.index(coin) * Decimal(f"{factor:.8f}")
        tick = self.venue.instrument((Category.LINEAR, symbol)).tick_size
        price = max(tick, (price / tick).to_integral_value() * tick)
        self.set_price(coin, price)

    def set_price(self, coin: str, price: Decimal) -> None:
        """Set a coin's index price. Trades follow it only when it is far off: they cost more than all the rest."""
        symbol = f"{coin}USDT"
        last = self.venue.exchange.market.last_price(Category.SPOT, symbol)
        if coin in TRADED and abs(last - price) > price * _TRADE_APART:
            self.venue.move(coin, price)
        else:
            self.venue.exchange.set_price(symbol, price)
        self.venue.note_index(coin)
        self.referee.price_moved(coin)

    def flow(self, coin: str, amount: Decimal, *, is_theft: bool = False) -> bool:
        """Let money come or go; False when there is not so much."""
        try:
            self.venue.exchange.flow(self.venue.uid, coin=coin, amount=amount)
        except Rejected:
            return False
        self.referee.truth.flowed(coin, amount)
        if is_theft:
            self.referee.must_halt(f"{-amount} {coin} that nobody announced")
        return True

    async def tell_prices(self) -> None:
        """Let the ticker stream tell every price, for ever."""
        while True:
            await asyncio.sleep(TICKS_EVERY_S)
            running = self.gateway.running
            if running is not None and not self.venue.network.is_ticker_down:
                for coin in TRADED:
                    row = self.venue.ticker(f"{coin}USDT")
                    running.parts.references.hear_frame(json.dumps({"topic": f"tickers.{coin}USDT", "data": row}))
            self.referee.look_at_orders()
            self.referee.look_at_breach()

    def sweep(self) -> int:
        """Cancel, as the executor does, whatever adds risk; answers how many orders that were."""
        adding = self.referee.adding_orders()
        for order in adding:
            self._cancel(order)
        return len(adding)

    def _cancel(self, order: Order) -> None:
        command = CancelOrder(category=order.category, symbol=order.symbol, order_id=order.order_id)
        with suppress(Rejected):
            self.venue.exchange.cancel(self.venue.uid, command)

    def plant_rogue(self, *, is_taken: bool) -> None:
        """Place an order with the order key behind the gateway's back; one that is taken has ended at once."""
        name = f"rogue{self.referee.rogue_planted + 1}"
        self.referee.rogue_comes(name)
        price = self.venue.instrument((Category.SPOT, "XRPUSDT")).nearest_price(
            self.venue.index("XRP") * Decimal("0.95")
        )
        self.venue.exchange.place(
            self.venue.uid,
            PlaceOrder(
                category=Category.SPOT,
                symbol="XRPUSDT",
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                qty=Decimal(20),
                price=price,
                time_in_force=TimeInForce.POST_ONLY,
                order_link_id=name,
            ),
        )
        if is_taken:
            self.venue.take((Category.SPOT, "XRPUSDT"), Side.SELL, quantity=Decimal(20), price=price)

    # What people do

    def cancel_rogues(self) -> None:
        """Cancel, at the exchange's own page, the orders that were placed behind the gateway's back."""
        for order in self.referee.adding_orders():
            if order.order_link_id.startswith("rogue"):
                self._cancel(order)

    async def release(self) -> bool:
        """Sign a release of the halt that names every rung, and hand it in."""
        running = self.gateway.running
        subject = None if running is None else running.states.describe()["latch_subject"]
        if running is None or subject is None:
            return False
        warrant = Warrant(
            purpose="release",
            version=1,
            deployment=self.ring.deployment,
            environment="simulated",
            audience="gateway",
            account=self.ring.account,
            ring_hash=ring_hash(self.ring),
            subject=subject + "".join(f"+{rung}" for rung in RELEASABLE_RUNGS),
            nonce=secrets.token_hex(8),
            words="release HALTED; cause: simulated",
            expires_at_ms=self.clock.wall_ns() // NS_PER_MS + 240_000,
        )
        self.referee.release_rungs = RELEASABLE_RUNGS
        try:
            await running.accept_release(touch(warrant))
        except NotTrusted:
            return False
        if self.gateway.running is running:
            self.referee.release_given(RELEASABLE_RUNGS)
        return True

    # Waiting

    async def wait_until(self, is_so: Any, *, within_s: float) -> bool:
        """Wait until something is so; False when it was not in time."""
        until_ns = self.clock.monotonic_ns() + int(within_s * NS_PER_S)
        while not is_so():
            if self.clock.monotonic_ns() >= until_ns:
                return False
            await asyncio.sleep(0.25)
        return True

    def skip(self, seconds: float) -> None:
        """Let the whole machine sleep: both clocks go on, and nobody does anything."""
        self.clock.advance(int(seconds * NS_PER_S))
        self.calm.leapt()

    @property
    def state(self) -> str:
        """The gateway's trading state; DEAD without one."""
        return "DEAD" if self.gateway.running is None else self.gateway.running.states.trading_state().name


def _policy() -> str:
    return policy_text(
        symbols=[(category.value, symbol) for category, symbol in SYMBOLS],
        symbol_notional=_SYMBOL_USDT,
        allocated_capital_usdt=Decimal(4000),
        max_gross_exposure=Decimal("0.15"),
        turnover_budget_24h=Decimal("0.6"),
        max_order_notional_usdt=Decimal(100),
        collar=Decimal("0.005"),
        exit_collar=Decimal("0.01"),
        highest_fee=Decimal("0.001"),
        leverage=1,
        order_time_to_live_s=60,
    )


class _SeededSecrets:
    """What a service draws at random, from the seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"secrets-{seed}")

    def token_bytes(self, count: int = 32) -> bytes:
        return self._draw.randbytes(count)

    def token_hex(self, count: int = 32) -> str:
        return self._draw.randbytes(count).hex()

    def token_urlsafe(self, count: int = 32) -> str:
        return self._draw.randbytes(count).hex()

    def choice(self, these: Any) -> Any:
        return self._draw.choice(these)


@asynccontextmanager
async def house(setting: Setting, clock: ManualClock) -> AsyncIterator[House]:
    """Build a house whose processes are started."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir="/dev/shm"))
    heard = _ErrorsHeard()
    logging.getLogger().addHandler(heard)
    seeded = _SeededSecrets(setting.seed)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("token_bytes", "token_hex", "token_urlsafe", "choice"):
            patch.setattr(secrets, name, getattr(seeded, name))
        made = House(setting, clock, folder)
        made.watchdog.patched(patch)
        await made.gateway.start()
        made.watchdog.start()
        loop.after_step = made.referee.after_step
        ticker = asyncio.create_task(made.tell_prices())
        try:
            yield made
        finally:
            loop.after_step = lambda: None
            ticker.cancel()
            await made.watchdog.crash()
            await made.gateway.crash()
            waiting = [ticker, *cut_all()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            for disk in (made.gateway.disk, made.watchdog.disk, made.watchdog.copy):
                disk.close()
            logging.getLogger().removeHandler(heard)
            shutil.rmtree(folder, ignore_errors=True)
        for words in heard.unexpected:
            made.referee.fail(f"not foreseen: {words}")
