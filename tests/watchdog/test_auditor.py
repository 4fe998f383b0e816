"""The audit at work: what each finding sets in motion, in which order, and what holds while it cannot look."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from trade_core.clock import ManualClock
from trade_core.errors import ExchangeUnavailable
from trade_core.trust.baseline import baseline_of
from trade_core.trust.tag import TaggedOrder, make_tag
from trade_journal.log.rows import RowKind
from trade_journal.log.verify import StoredRow
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.audit.key_inventory import ExpectedKey, KeyAlarm, KeyRole
from trade_watchdog.audit.order_audit import OVERDUE_S, OrderAudit
from trade_watchdog.auditor import KEYS_AGE_MAX_S, LOOK_AGE_MAX_S, Auditor
from trade_watchdog.ceiling import Ceiling
from trade_watchdog.drop_copy import DropCopy
from trade_watchdog.effects import Alert, EffectFailed, KillCondition, KillRequest, Severity
from trade_watchdog.recheck import Recheck

KEY = b"k" * 32
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


class World:
    """An exchange, a copy of the journal, and hands that note what they did."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall_ns=NOW_MS * 1_000_000)
        self.orders: list[dict[str, Any]] = []
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
        self.changes = 0
        self.auditor = Auditor(
            drop_copy=DropCopy(reading=self, read_until_ms=NOW_MS),
            audit=OrderAudit(
                journaled=self.journaled,
                baseline=baseline_of(taken_at_ms=1),
                tag_key=KEY,
                deployment="d",
                account="1002",
            ),
            keys=self,
            recheck=Recheck(source=self, open_copy=lambda: self),
            account="1002",
            expected_keys=(ExpectedKey(key="read1", role=KeyRole.READ),),
            copy=self,
            effects=self,
            incidents=self,
            clock=self.clock,
            on_change=self.changed,
        )

    def changed(self) -> None:
        self.changes += 1

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        is_here = parameters["category"] == "spot" and parameters["openOnly"] == "0"
        return {"list": self.orders if is_here else []}

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        return {"list": []}

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._up()
        return {"result": self.keys}

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

    async def halt(self, reason: str) -> None:
        self._try("halt")

    async def scale_bot(self, reason: str) -> None:
        self._try("scale")

    async def sweep(self, reason: str) -> None:
        self._try("sweep")

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


@pytest.fixture
def world() -> World:
    return World()


async def test_nothing_is_vouched_for_before_the_first_look(world: World) -> None:
    assert world.auditor.verdict().ceiling is Ceiling.REDUCE_ONLY
    await world.auditor.look()
    assert world.auditor.verdict().reason == "the account's keys are not audited: the keys were not read yet"
    await world.auditor.read_keys()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    assert world.changes == 2


async def test_rogue_order_halts_first_and_asks_for_a_kill_then(world: World) -> None:
    world.orders = [listed_order()]
    await world.auditor.look()
    await world.auditor.do_duties()
    assert world.done == ["halt", "kill"]
    assert [(kind, severity) for kind, severity, _ in world.incidents] == [("order:rogue", Severity.CRITICAL)]
    assert world.incidents[0][2] == {
        "order_id": "o-1",
        "link_id": "",
        "category": "spot",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "reason": "its order link id is no tag of this deployment for it",
    }
    (kill,) = world.kills
    assert (kill.condition, kill.request_id) == (KillCondition.ROGUE_ORDER, "rogue_order:o-1")
    assert (world.alerts[0].subject, world.alerts[0].needs_acknowledgement) == ("order:rogue", True)
    assert world.auditor.state.rogue_orders == 1


async def test_what_is_done_is_not_done_again(world: World) -> None:
    world.orders = [listed_order()]
    for _ in range(3):
        await world.auditor.look()
        await world.auditor.do_duties()
    assert world.done == ["halt", "kill"]
    assert (len(world.alerts), len(world.incidents)) == (1, 1)


async def test_halt_that_fails_keeps_no_kill_from_being_asked_for_and_is_tried_again(world: World) -> None:
    world.orders = [listed_order()]
    world.failing = {"halt", "kill"}
    await world.auditor.look()
    await world.auditor.do_duties()
    world.failing = {"kill"}
    await world.auditor.do_duties()
    world.failing = set()
    await world.auditor.do_duties()
    await world.auditor.do_duties()
    assert world.done == ["halt failed", "kill failed", "halt", "kill failed", "halt", "kill"]
    assert len({kill.request_id for kill in world.kills}) == 1


@pytest.mark.parametrize(
    ("changes", "subject"),
    [({"side": "Sell"}, "order:reduces"), ({"createType": "CreateByLiq"}, "order:exchanges")],
)
async def test_what_may_be_a_persons_or_is_the_exchanges_halts_and_does_not_kill(
    world: World, changes: dict[str, Any], subject: str
) -> None:
    world.orders = [listed_order(**changes)]
    await world.auditor.look()
    await world.auditor.do_duties()
    assert world.done == ["halt"]
    assert [kind for kind, _, _ in world.incidents] == [subject]
    assert (world.auditor.state.rogue_orders, world.auditor.state.other_orders) == (0, 1)


async def test_unproven_order_freezes_searches_and_does_neither_halt_nor_kill(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag())]
    await world.auditor.read_keys()
    await world.auditor.look()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    assert world.auditor.state.pending == 1
    world.pass_s(OVERDUE_S + 1)
    await world.auditor.look()
    await world.auditor.do_duties()
    assert world.done == ["search 1"]
    assert world.auditor.verdict().reason == "1 orders at the exchange are unproven"
    assert world.alerts[0].severity is Severity.WARNING
    world.journaled.take(
        seq=1,
        at_ns=1,
        kind=RowKind.ORDER_INTENT,
        fields={
            "tag": tag(),
            "category": "spot",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "quantity": "1",
            "price": "100",
            "reduce_only": False,
        },
    )
    await world.auditor.look()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE


async def test_order_whose_row_is_not_there_once_the_journal_was_read_is_rogue(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag())]
    await world.auditor.look()
    world.pass_s(1)
    world.read_through_ns = world.clock.monotonic_ns()
    await world.auditor.look()
    await world.auditor.do_duties()
    assert world.done == ["halt", "kill"]


async def test_exchange_that_does_not_answer_freezes_after_a_while_and_never_halts(world: World) -> None:
    await world.auditor.look()
    await world.auditor.read_keys()
    world.is_down = True
    world.pass_s(LOOK_AGE_MAX_S)
    await world.auditor.look()
    await world.auditor.read_keys()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.pass_s(0.001)
    verdict = world.auditor.verdict()
    assert verdict.ceiling is Ceiling.REDUCE_ONLY
    assert verdict.reason == "the orders are not audited: the exchange does not answer"
    assert world.done == []


async def test_keys_that_cannot_be_read_freeze_after_a_while(world: World) -> None:
    await world.auditor.read_keys()
    world.pass_s(KEYS_AGE_MAX_S)
    await world.auditor.look()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.pass_s(0.001)
    assert world.auditor.verdict().reason == "the account's keys are not audited: no reading came to its end"


async def test_rogue_key_halts_and_asks_for_a_kill(world: World) -> None:
    world.keys.append(listed_key("thief"))
    await world.auditor.read_keys()
    await world.auditor.read_keys()
    await world.auditor.do_duties()
    assert world.done == ["halt", "kill"]
    assert world.kills[0].condition is KillCondition.ROGUE_KEY
    assert world.incidents == [
        ("key:rogue", Severity.CRITICAL, {"key": "thief", "detail": "nobody expects it; it may read"})
    ]


async def test_widened_key_halts_and_does_not_kill(world: World) -> None:
    world.keys = [listed_key("read1", readOnly=False)]
    await world.auditor.read_keys()
    await world.auditor.do_duties()
    assert world.done == ["halt"]


@pytest.mark.parametrize("keys", [[], [listed_key("read1", deadlineDay=3)]])
async def test_key_that_is_gone_or_ends_is_told_and_halts_nothing(world: World, keys: list[dict[str, Any]]) -> None:
    world.keys = keys
    await world.auditor.read_keys()
    await world.auditor.do_duties()
    assert world.done == []
    assert world.alerts[0].severity is Severity.WARNING
    (finding,) = world.auditor.state.key_alarms
    assert finding.alarm in {KeyAlarm.MISSING, KeyAlarm.EXPIRING}


async def test_key_is_told_again_when_it_comes_back_or_comes_nearer_its_end(world: World) -> None:
    for days in (7, 7, 6, 3):
        world.keys = [listed_key("read1", deadlineDay=days)]
        await world.auditor.read_keys()
    assert [alert.text for alert in world.alerts] == [
        "exchange key read1: the read key ends within 7 days",
        "exchange key read1: the read key ends within 3 days",
    ]


async def test_row_that_was_edited_halts_once_and_asks_for_no_kill(world: World) -> None:
    await world.auditor.reread_journal()
    assert world.done == []
    world.served[1] = StoredRow(seq=1, body=b"edited", leaf_hash=b"")
    for _ in range(4):
        await world.auditor.reread_journal()
        await world.auditor.do_duties()
    assert world.done == ["halt"]
    words = "row 1 of the gateway's journal is not what it was when it was witnessed"
    assert world.incidents == [("journal:edited", Severity.CRITICAL, {"detail": words})]


async def test_journal_that_is_not_served_proves_nothing(world: World) -> None:
    world.is_down = True
    await world.auditor.reread_journal()
    await world.auditor.do_duties()
    assert (world.done, world.incidents) == ([], [])
