"""A kill in this process against the real simulator: doubles for gateway, bot and secrets, real everything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
from http_double import HttpDouble, http_double, reply
from killswitch.scene import PATIENCE_S, TIMEOUT_S, Scene, scene, until

from trade_core.administration import admin_address
from trade_core.alerts.model import Sender
from trade_core.alerts.outbox import Outbox
from trade_core.bot_hosts.port import BotHostFailed, BotSight
from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.errors import TradeError
from trade_core.secrets import Secret
from trade_journal.log.rows import Fields, Row, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.gateway_halt import GatewayHalt
from trade_killswitch.kill_order import Authority, Ending, KillOrder
from trade_killswitch.kill_steps import Parts
from trade_killswitch.killer import Killer
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.recorder import Recorder
from trade_killswitch.revoker import RevokerExchange
from trade_killswitch.sweeper import Sweeper
from trade_killswitch.working_orders import Category

HALTED = b'{"trading_state":"HALTED","in_flight":[]}'
KILL_ID = "0123456789abcdef"


def ordered(kill_id: str = KILL_ID, *, is_drill: bool = False, **endings: str) -> KillOrder:
    """Make an order that holds what is open, but for what is changed."""
    chosen = {category: Ending(endings.get(category.value, "hold")) for category in Category}
    return KillOrder(kill_id=kill_id, authority=Authority.TOUCH, reason="a test", endings=chosen, is_drill=is_drill)


@dataclass
class Bot:
    """A bot host that may fail or hang."""

    failures: int = 0
    hangs: bool = False
    is_gone: bool = False

    async def scale_to_zero(self) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.failures:
            self.failures -= 1
            raise BotHostFailed("the cluster does not answer")
        self.is_gone = True

    async def look(self) -> BotSight:
        return BotSight(is_gone=self.is_gone, evidence={"replicas": "0"})


class StoreFailed(TradeError):
    """As a secret store's own error."""


@dataclass
class Store:
    """A secret store that may fail or hang."""

    failures: int = 0
    hangs: bool = False
    destroyed: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return ("gateway", "bot")

    async def destroy(self, name: str) -> Mapping[str, str]:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.failures:
            self.failures -= 1
            raise StoreFailed("sealed")
        self.destroyed.append(name)
        return {"read back": "absent"}

    async def prove_ready(self) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        """Hold nothing open."""

    async def revoke_access(self) -> Mapping[str, str]:
        return {"tokens": "0"}


@dataclass
class Rows(Recorder):
    """A recorder that keeps rows in memory."""

    rows: list[tuple[RowKind, Fields]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_stuck = False

    async def record(self, kind: RowKind, fields: Fields) -> bool:
        if self.is_stuck:
            await asyncio.sleep(1)
            return False
        self.rows.append((kind, fields))
        return True

    def has_room_for_asked(self, what: str) -> bool:
        return True

    def journal(self) -> JournalWriter:
        """Read the rows as from a journal that another process wrote."""
        return cast("JournalWriter", StoredRows(self.rows))

    def of(self, kind: RowKind) -> list[Fields]:
        return [fields for one, fields in self.rows if one is kind]


class StoredRows:
    """As much of a journal as a kill reads at its start."""

    def __init__(self, rows: list[tuple[RowKind, Fields]]) -> None:
        self._rows = rows
        self.end = len(rows)

    async def read(self, first: int, count: int) -> list[Row]:
        chosen = list(enumerate(self._rows))[first : first + count]
        return [Row(seq=seq, at_ns=1, kind=kind, actor="executor", fields=fields) for seq, (kind, fields) in chosen]


@dataclass
class KillScene:
    """One killer with everything around it."""

    scene: Scene
    killer: Killer
    gateway: HttpDouble
    bot: Bot
    store: Store
    rows: Rows
    parts: Parts
    outbox: Outbox

    def begin(self, order: KillOrder | None = None) -> None:
        self.killer.begin(order or ordered(), authorisation={}, by="a test")

    async def over(self, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until nothing more is tried; returns the report."""
        await until(lambda: not self.killer.is_running, within_s=within_s)
        report: dict[str, Any] = self.killer.status()["last"]
        return report

    async def killed(self, order: KillOrder | None = None, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        self.begin(order)
        return await self.over(within_s=within_s)


def client_of(url: str, key: Secret, secret: Secret) -> BybitClient:
    """Make a client as the executor does."""
    return BybitClient(
        base_url=url, clock=SystemClock(), is_simulated=True, key=key, secret=secret, user_agent="trade-kill-executor"
    )


@contextlib.asynccontextmanager
async def kill_scene(made: Scene, *, slippage: str = "0.02") -> AsyncIterator[KillScene]:
    """Put a killer beside a scene."""
    clock, metrics = SystemClock(), ExecutorMetrics()
    url, keys = made.credentials["url"], made.credentials["keys"]
    rows = Rows()

    def client(role: str) -> BybitClient:
        return client_of(url, Secret(keys[role]["key"]), Secret(keys[role]["secret"]))

    outbox = Outbox(
        sender=Sender(service="kill executor", environment="simulated", account=made.account),
        channels=[],
        clock=clock,
        count=metrics.count_alert,
    )
    exchange = ExitExchange(client=client("exit"), requests_per_s=40, metrics=metrics, clock=clock)
    calls = ExchangeCalls(client=client("revoker"), requests_per_s=20, metrics=metrics, clock=clock)
    revoker = RevokerExchange(
        calls=calls, account=made.account, client_of=lambda key, secret: client_of(url, key, secret)
    )
    async with http_double(lambda _: reply(HALTED)) as gateway:
        halt = GatewayHalt(admin=admin_address(gateway.url), token=Secret("t" * 32))
        bot, store = Bot(), Store()
        parts = Parts(
            exchange=exchange,
            exit_key=keys["exit"]["key"],
            sweeper=Sweeper(exchange=exchange, recorder=rows, outbox=outbox, metrics=metrics, clock=clock),
            recorder=rows,
            clock=clock,
            gateway=halt,
            bot=bot,
            secrets=store,
            revoker=revoker,
            baseline={},
            quote_coin="USDT",
            slippage=Decimal(slippage),
            sign_notice=lambda standing: b"notice of " + standing,
        )
        killer = Killer(parts=parts, outbox=outbox, metrics=metrics)
        try:
            yield KillScene(
                scene=made,
                killer=killer,
                gateway=gateway,
                bot=bot,
                store=store,
                rows=rows,
                parts=parts,
                outbox=outbox,
            )
        finally:
            await killer.stop()
            await parts.sweeper.stop()
            await halt.close()
            await exchange.close()
            await revoker.close()


TRADE = {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"]}


async def revive(credentials: dict[str, Any]) -> None:
    """Give the sub-account new keys and let it trade again: what a kill took away."""
    account = credentials["accounts"]["sub_uid"]
    pair = credentials["keys"]["master"]
    master = client_of(credentials["url"], Secret(pair["key"]), Secret(pair["secret"]))
    try:
        body = json.dumps({"subuid": int(account), "frozen": 0}).encode()
        assert (await master.post("/v5/user/frozen-sub-member", body)).is_ok
        for row in (await master.get("/v5/user/sub-apikeys", f"subMemberId={account}")).result["result"]:
            body = json.dumps({"apikey": row["apiKey"]}).encode()
            assert (await master.post("/v5/user/delete-sub-api", body)).is_ok
    finally:
        await master.aclose()
    headers = {"authorization": f"Bearer {credentials['control_token']}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=TIMEOUT_S) as control:
        (await control.delete(credentials["control"] + "/faults")).raise_for_status()
        for role, is_read_only in (("order", False), ("watch", True), ("exit", False)):
            asked = {"uid": account, "permissions": TRADE, "readOnly": is_read_only, "ips": ["127.0.0.1"]}
            made = (await control.post(credentials["control"] + "/key", json=asked)).raise_for_status().json()
            credentials["keys"][role] = {"key": made["key"], "secret": made["secret"]}


@contextlib.asynccontextmanager
async def killable(folder: Path, credentials: dict[str, Any], *, slippage: str = "0.02") -> AsyncIterator[KillScene]:
    """Put a killer beside an account on which nothing is open, with keys that are alive."""
    await revive(credentials)
    async with scene(folder, credentials) as made, kill_scene(made, slippage=slippage) as killing:
        yield killing


def step_of(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a step of a report."""
    found: dict[str, Any] = next(step for step in report["steps"] if step["step"] == name)
    return found
