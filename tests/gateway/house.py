"""The gateway's parts put together around a small exchange, with the trading state in the test's hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from gateway.parts import ACCOUNT
from gateway.policy.parts import POLICY as WHOLE_POLICY
from gateway.policy.parts import coin, market
from http_double import HANG, Asked, HttpDouble, envelope, http_double

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_MS, ManualClock, SystemClock
from trade_core.secrets import Secret
from trade_gateway.account.activity import Activity, ActivityLimits
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.resync import AccountSync
from trade_gateway.conductor import Conductor
from trade_gateway.egress import EgressBudget
from trade_gateway.judge import BotJudge
from trade_gateway.ledger import OrderLedger
from trade_gateway.metrics import Metrics
from trade_gateway.order_desk import OrderDesk
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolLimits
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.reads import Reads
from trade_gateway.recorder import Recorder
from trade_gateway.upstream import Upstream
from trade_gateway.wire.authentication import SpentSignatures
from trade_gateway.wire.intents import Category
from trade_gateway.wire.request import RawRequest, hosts_of

HOST = ((b"host", b"127.0.0.1:22000"),)
KEY, SECRET = "bot1", "bots-secret"
TAG_KEY = b"t" * 32
DEPLOYMENT = "d1"
_LIMITS = SymbolLimits(max_order_quantity=Decimal(10), max_notional_usdt=Decimal(500_000))
POLICY = replace(
    WHOLE_POLICY,
    allocated_capital_usdt=Decimal(1_000_000),
    symbols={(Category.SPOT, "BTCUSDT"): _LIMITS, (Category.LINEAR, "BTCUSDT"): _LIMITS},
    max_order_notional_usdt=Decimal(1000),
    max_open_orders=5,
    leverage=2,
)
STOPS_POLICY = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
LIMITS = ActivityLimits(
    messages_per_s_deny=1000,
    messages_per_s_terminate=1000,
    repeated_execution_limit=1000,
    repeated_execution_window_s=60,
)
MARKET = market(BTC=coin("30000", last_good="30000", mark="30000"))
ORDER = {
    "category": "spot",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.01",
    "price": "30000",
    "timeInForce": "PostOnly",
}


def instrument(category: Category) -> Instrument:
    return Instrument(
        category=category,
        symbol="BTCUSDT",
        base_coin="BTC",
        quote_coin="USDT",
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal(100),
        min_notional=Decimal(5),
    )


@dataclass
class House:
    """Everything that a test of the desk or the judge looks at."""

    double: HttpDouble
    ledger: OrderLedger
    account: AccountSync
    conductor: Conductor
    desk: OrderDesk
    judge: BotJudge
    recorder: Recorder
    metrics: Metrics
    clock: ManualClock
    state: list[TradingState]
    scale: list[Decimal]
    halts: list[str]
    answers: dict[str, bytes | None] = field(default_factory=dict)
    coins: list[dict[str, str]] = field(default_factory=lambda: [{"coin": "BTC", "walletBalance": "1"}])
    placed: int = 0
    _position_sequence: int = 0

    def answer(self, asked: Asked) -> bytes | None:
        if asked.path in self.answers:
            return self.answers[asked.path]
        match asked.path:
            case "/v5/order/create":
                self.placed += 1
                return envelope({"orderId": f"x{self.placed}"})
            case "/v5/order/cancel":
                return envelope({"orderId": asked.json()["orderId"]})
            case "/v5/account/wallet-balance":
                return envelope({"list": [{"totalEquity": "1000000", "coin": self.coins}]})
            case _:
                return envelope({"list": []})

    def sent(self, path: str = "/v5/order/create") -> list[Asked]:
        return [asked for asked in self.double.asked if asked.path == path]

    def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        secret: str = SECRET,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        is_signed: bool = True,
    ) -> RawRequest:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        payload = raw if method == "POST" else target.partition("?")[2].encode()
        self.clock.advance(NS_PER_MS)  # so that no two signatures are the same
        timestamp = str(self.clock.wall_ns() // NS_PER_MS).encode()
        signature = hmac.new(secret.encode(), timestamp + KEY.encode() + b"5000" + payload, hashlib.sha256)
        signed = (
            (b"x-bapi-api-key", KEY.encode()),
            (b"x-bapi-timestamp", timestamp),
            (b"x-bapi-recv-window", b"5000"),
            (b"x-bapi-sign", signature.hexdigest().encode()),
        )
        content = ((b"content-type", b"application/json"),) if method == "POST" else ()
        return RawRequest(
            method=method.encode(),
            target=target.encode(),
            headers=(*(() if any(name == b"host" for name, _ in headers) else HOST), *content)
            + (signed if is_signed else ())
            + headers,
            body=raw,
            client="127.0.0.1",
        )

    async def ask(self, method: str, target: str, body: Any = None, **options: Any) -> dict[str, Any]:
        answer = await self.judge.answer(self.request(method, target, body, **options))
        content: dict[str, Any] = json.loads(answer.body)
        return content

    def hold(self, size: str, *, entry_price: str = "30000", side: str | None = None) -> None:
        """Let the private stream tell of a linear position; signed."""
        amount = Decimal(size)
        self._position_sequence += 1
        row = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": side or ("Buy" if amount > 0 else "Sell"),
            "size": str(abs(amount)),
            "entryPrice": entry_price,
            "positionIdx": 0,
            "seq": self._position_sequence,
        }
        self.account.keeper.hear_frame(json.dumps({"topic": "position", "creationTime": 1, "data": [row]}))

    async def create(self, **changed: Any) -> dict[str, Any]:
        return await self.ask("POST", "/v5/order/create", {**ORDER, **changed})

    async def cancel(self, **names: Any) -> dict[str, Any]:
        return await self.ask("POST", "/v5/order/cancel", {"category": "spot", "symbol": "BTCUSDT", **names})


async def _no_wait(_: str) -> None:
    """Every price is there."""


@asynccontextmanager
async def house(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, policy: Policy = POLICY
) -> AsyncIterator[House]:
    """Build it ready to trade: ACTIVE, the account read, the instruments known."""
    async with http_double() as double:
        private = BybitClient(
            base_url=double.url, clock=clock, is_simulated=True, key=Secret("housekey"), secret=Secret("housesecret")
        )
        public = BybitClient(base_url=double.url, clock=clock, is_simulated=True)
        upstream, ledger, budget = Upstream(client=private, clock=clock), OrderLedger(), EgressBudget(clock=clock)
        state, scale = [TradingState.ACTIVE], [Decimal(1)]

        def permits(adds_risk: bool) -> bool:
            return state[0] <= (TradingState.TRIMMED if adds_risk else TradingState.HALTED)

        conductor = Conductor(recorder=recorder, upstream=upstream, clock=SystemClock(), permits=permits)
        account = AccountSync(
            client=private,
            upstream=upstream,
            ledger=ledger,
            keeper=AccountKeeper(ledger=ledger, activity=Activity(limits=LIMITS), recorder=recorder, clock=clock),
            clock=clock,
            categories=frozenset({Category.SPOT}),
        )
        desk = OrderDesk(
            policy=policy,
            ledger=ledger,
            account=account,
            conductor=conductor,
            recorder=recorder,
            budget=budget,
            metrics=metrics,
            clock=SystemClock(),
            market=lambda: MARKET,
            first_price=_no_wait,
            trading_state=lambda: state[0],
            trimmed_scale=lambda: scale[0],
            tag_key=TAG_KEY,
            deployment=DEPLOYMENT,
            account_id=ACCOUNT,
        )
        desk.instruments = {(category, "BTCUSDT"): instrument(category) for category in Category}
        halts: list[str] = []

        async def halt(reason: str) -> None:
            halts.append(reason)

        judge = BotJudge(
            virtual_keys={KEY: Secret(SECRET)},
            hosts=hosts_of("127.0.0.1"),
            policy=policy,
            desk=desk,
            reads=Reads(private=private, public=public, ledger=ledger, budget=budget),
            recorder=recorder,
            metrics=metrics,
            clock=clock,
            spent=SpentSignatures(),
            halt=halt,
        )
        made = House(
            double=double,
            ledger=ledger,
            account=account,
            conductor=conductor,
            desk=desk,
            judge=judge,
            recorder=recorder,
            metrics=metrics,
            clock=clock,
            state=state,
            scale=scale,
            halts=halts,
        )
        double.answer = made.answer
        account.keeper.stream_up()
        await account.read()
        double.asked.clear()
        yield made
        # What a test left hanging is answered, so that the flows end that wait for it.
        made.answers.clear()
        double.answer = made.answer
        double.nothing_hangs.set()
        await conductor.drain(within_s=60)
        await private.aclose()
        await public.aclose()


__all__ = ["HANG", "House", "house"]
