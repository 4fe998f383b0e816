"""A world for the audit: an exchange, a copy of the journal, and hands that note what they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from trade_core.clock import ManualClock
from trade_core.errors import ExchangeUnavailable
from trade_core.trust.baseline import baseline_of
from trade_core.trust.tag import TaggedOrder, make_tag
from trade_journal.log.verify import StoredRow
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.audit.key_inventory import ExpectedKey, KeyMark, KeyRole
from trade_watchdog.audit.limit_audit import AuditedLimits
from trade_watchdog.audit.order_audit import OrderAudit
from trade_watchdog.auditor import Auditor
from trade_watchdog.collar_watch import CollarWatch
from trade_watchdog.drop_copy import DropCopy
from trade_watchdog.effects import Alert, EffectFailed, KillRequest, Severity
from trade_watchdog.recheck import Recheck
from trade_watchdog.turnover_watch import TurnoverWatch

KEY = b"k" * 32
WIDE = AuditedLimits(
    leverage=1,
    max_open_orders=1000,
    max_order_notional_usdt=Decimal(10**9),
    allocated_capital_usdt=Decimal(10**9),
    max_gross_exposure=Decimal(1),
    turnover_budget_24h=Decimal(1),
    collar=Decimal("0.01"),
    reference_max_divergence=Decimal("0.01"),
    reference_max_age_s=5,
    stress_gap=Decimal("0.1"),
    per_symbol={("spot", "BTCUSDT"): Decimal(10**9), ("linear", "BTCUSDT"): Decimal(10**9)},
)
NOW_MS = 1_700_000_000_000


def listed_order(number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {
        "symbol": "BTCUSDT",
        "orderId": f"o-{number}",
        "orderLinkId": "",
        "side": "Buy",
        "qty": "1",
        "price": "100",
        "triggerPrice": "",
        "reduceOnly": False,
        "isLeverage": "0",
        "createType": "CreateByUser",
        "orderStatus": "New",
        "cumExecQty": "0",
        "createdTime": str(NOW_MS),
    }
    return {**plain, **changes}


def tag() -> str:
    shape = TaggedOrder(
        category="spot",
        symbol="BTCUSDT",
        side="Buy",
        quantity=Decimal(1),
        price=Decimal(100),
        is_reducing=False,
    )
    return make_tag(shape, key=KEY, deployment="d", account="1002", nonce=b"n" * 9)


def listed_key(name: str, **changes: Any) -> dict[str, Any]:
    plain = {"apiKey": name, "readOnly": True, "permissions": {}, "ips": ["192.0.2.7"], "deadlineDay": -2}
    return {**plain, **changes}


class AuditWorld:
    """An exchange, a copy of the journal, and hands that note what they did."""

    def __init__(self, *, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(wall_ns=NOW_MS * 1_000_000)
        self.orders: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = [listed_key("read1")]
        self.is_down = False
        self.journaled = JournaledOrders()
        self.read_through_ns: int | None = None
        self.kept = [StoredRow(seq=seq, body=b"%d" % seq, leaf_hash=b"") for seq in range(3)]
        self.served = list(self.kept)
        self.done: list[str] = []
        self.alerts: list[Alert] = []
        self.kills: list[KillRequest] = []
        self.incidents: list[tuple[str, Severity, Mapping[str, str]]] = []
        self.failing: set[str] = set()
        self.figures: list[str] = []
        self.changes = 0
        self.during_look: Callable[[], None] = lambda: None
        self.limits: AuditedLimits | None = WIDE
        self.lost_limits: AuditedLimits | None = None
        self.held_positions: list[dict[str, Any]] = []
        self.looks = 0
        self.marks: list[int] = []
        self.kept_keys: list[Mapping[str, KeyMark]] = []
        self.margin_mode = "ISOLATED_MARGIN"
        self.coins: list[dict[str, Any]] = []
        self.candles: list[list[str]] | None = None
        self.listed_executions: list[dict[str, Any]] = []
        self.questions: list[Mapping[str, Any]] = []
        orders = OrderAudit(
            journaled=self.journaled,
            baseline=baseline_of(taken_at_ms=1),
            tag_key=KEY,
            deployment="d",
            account="1002",
        )
        self.auditor = Auditor(
            drop_copy=DropCopy(reading=self, read_until_ms=NOW_MS),
            audit=orders,
            turnover=TurnoverWatch(reading=self, audit=orders, recent_limits=self.recent_limits),
            collars=CollarWatch(reading=self, audit=orders, recent_limits=self.recent_limits),
            keys=self,
            recheck=Recheck(source=self, open_copy=lambda: self),
            posture=self,
            limits=lambda: self.limits,
            find_limits=self.find_limits,
            prices=lambda: {"BTC": Decimal(100)},
            account="1002",
            expected_keys=(ExpectedKey(key="read1", role=KeyRole.READ),),
            copy=self,
            effects=self,
            incidents=self,
            clock=self.clock,
            on_change=self.changed,
            keep_mark=self.marks.append,
            keep_keys=self.kept_keys.append,
        )

    def recent_limits(self, _since_ms: int) -> list[AuditedLimits] | None:
        return None if self.limits is None else [self.limits]

    async def find_limits(self) -> None:
        self.done.append("find limits")
        self._up()
        self.limits = self.lost_limits

    async def read_all(self) -> None:
        """Have everything read once that the audit asks before it vouches."""
        await self.auditor.look()
        await self.auditor.read_keys()
        await self.auditor.read_posture()
        await self.auditor.reread_journal()

    def changed(self) -> None:
        self.changes += 1

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        self.during_look()
        if parameters["category"] != "spot":
            return {"list": []}
        self.looks += parameters["openOnly"] == "0"
        return {"list": self.orders if parameters["openOnly"] == "0" else self.ended}

    async def exchange_time_ms(self) -> int:
        self._up()
        return self.clock.wall_ns() // 1_000_000

    async def order_history(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"list": []}

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        return {"list": self.listed_executions if parameters["category"] == "spot" else []}

    async def index_candles(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        self.questions.append(parameters)
        if self.candles is not None:
            return {"list": self.candles}
        minutes = range(parameters["start"], parameters["end"] + 1, 60_000)
        return {"list": [[str(start), "100", "100", "100", "100"] for start in minutes]}

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        return {"result": self.keys}

    async def positions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        return {"list": self.held_positions if parameters.get("settleCoin") == "USDT" else []}

    async def wallet(self) -> Mapping[str, Any]:
        return {"coin": self.coins}

    async def account_settings(self) -> Mapping[str, Any]:
        return {"marginMode": self.margin_mode}

    async def strategies(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"list": []}

    def _up(self) -> None:
        if self.is_down:
            raise ExchangeUnavailable("the exchange does not answer")

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        return self.kept[from_seq : from_seq + limit]

    def size(self) -> int:
        return len(self.kept)

    def close(self) -> None:
        return None

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        self._up()
        return self.served[from_seq : from_seq + limit]

    async def search(self, tags: list[str]) -> int:
        self.done.append(f"search {len(tags)}")
        return 0

    def open_incident(self, *, kind: str, severity: Severity, fields: Mapping[str, str]) -> None:
        self.incidents.append((kind, severity, fields))

    async def halt(self, reason: str, *, trigger_value: str = "") -> None:
        self.figures.append(trigger_value)
        self._try("halt")

    async def scale_bot(self, reason: str) -> None:
        self._try("scale")

    def spare_bot(self) -> None:
        self.done.append("spare")

    async def sweep(self, reason: str) -> None:
        self._try("sweep")

    async def flatten(self, request_id: str, reason: str) -> None:
        self._try("flatten")

    async def request_kill(self, request: KillRequest) -> None:
        self.kills.append(request)
        self._try("kill")

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def acknowledge(self, subject: str) -> None:
        self.done.append(f"acknowledge {subject}")

    def _try(self, what: str) -> None:
        if what in self.failing:
            self.done.append(f"{what} failed")
            raise EffectFailed(what)
        self.done.append(what)

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1_000_000_000))
