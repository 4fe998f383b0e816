"""The observers: each reads one service in its own task and notes what it finds in the view.

They never block the screen or each other. A service that does not answer is tried again at the next tick; that it is
down is shown by its process, not here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import httpx

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_demo.exchange_reader import ExchangeReader, get_json
from trade_demo.process import RunningProcess
from trade_demo.view import Fill, HappeningKind, View, clean

TICK_S = 1.0
ROWS_PER_REQUEST = 500
# Rows read in one tick; a gateway that writes more than this every second is caught up with later.
MAX_REQUESTS_A_TICK = 10
# Tags kept to match executions with; at the gateway's rate limits this is hours of orders.
MAX_TAGS = 200_000
# What the gateway's rows call an order that is not, or not known to be, at the exchange.
NOT_PLACED = frozenset({"rejected", "withheld", "not_sent", "unknown", "not_found", "still_unknown", "undelivered"})

log = logging.getLogger(__name__)


async def observe_forever(read: Callable[[], Awaitable[None]]) -> None:
    """Call one observer once a tick until cancelled."""
    while True:
        try:
            await read()
        except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
            log.debug("not observed: %s", error)
        await asyncio.sleep(TICK_S)


class GatewayObserver:
    """Reads the gateway's state and the new rows of its journal."""

    def __init__(self, *, client: httpx.AsyncClient, view: View) -> None:
        self._client = client
        self._view = view
        self._next_row = 0
        self._tags: dict[str, None] = {}
        self._unmatched: list[Fill] = []

    async def read(self) -> None:
        """Read state and rows once. Raises ExchangeUnavailable or ExchangeAnswerInvalid."""
        note_gateway_state(await get_json(self._client, "/state"), self._view)
        await self.read_rows()

    async def read_rows(self) -> None:
        """Take in the rows written since the last call. Raises as `read`."""
        for _ in range(MAX_REQUESTS_A_TICK):
            path = f"/journal/rows?from={self._next_row}&limit={ROWS_PER_REQUEST}"
            rows = (await get_json(self._client, path)).get("rows")
            if not isinstance(rows, list):
                raise ExchangeAnswerInvalid("/journal/rows holds no rows")
            for row in rows:
                self._note_row(row)
            if len(rows) < ROWS_PER_REQUEST:
                break
        self._match_fills()

    def note_fills(self, fills: list[Fill]) -> None:
        """Count executions; each is matched with its intent row when that has been read."""
        for fill in fills:
            self._view.note_fill(fill)
        self._unmatched.extend(fills)

    def _note_row(self, row: Mapping[str, Any]) -> None:
        try:
            sequence, at_ns = int(row["seq"]), int(row["at_ns"])
            kind, fields = str(row["kind"]), row["fields"]
            note_row(kind, fields, at_ns=at_ns, view=self._view)
        except (LookupError, TypeError, ValueError) as error:
            raise ExchangeAnswerInvalid("/journal/rows: a row lacks a field") from error
        self._next_row = sequence + 1
        self._view.journal_rows = max(self._view.journal_rows, sequence + 1)
        if kind == "order:intent" and len(self._tags) < MAX_TAGS:
            self._tags[str(fields["tag"])] = None

    def _match_fills(self) -> None:
        unmatched = []
        for fill in self._unmatched:
            if fill.order_link_id in self._tags:
                self._view.note_journaled(fill)
            else:
                unmatched.append(fill)
        self._unmatched = unmatched


def note_gateway_state(state: Mapping[str, Any], view: View) -> None:
    """Take over trading state, holders, lease and journal size from the gateway's `/state`."""
    holders = state.get("holders")
    listed = list(holders.values()) if isinstance(holders, dict) else holders
    entries = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    trading_state = str(state.get("trading_state", "unknown"))
    reasons = tuple(
        str(entry["reason"]) for entry in entries if entry.get("reason") and str(entry.get("ceiling")) != "ACTIVE"
    )
    view.note_state(trading_state, reasons if trading_state != "ACTIVE" else ())
    lease = state.get("lease")
    view.lease_age_s = _decimal(lease.get("age_s")) if isinstance(lease, dict) else None
    view.hostile_loss_usdt = _loss_usdt(state.get("max_hostile_loss"))
    view.stress_loss_usdt = _loss_usdt(state.get("stress_loss"))
    journal = state.get("journal")
    if isinstance(journal, dict) and isinstance(journal.get("size"), int):
        view.journal_rows = journal["size"]


def _loss_usdt(loss: object) -> str:
    usdt = loss.get("usdt") if isinstance(loss, dict) else None
    return clean(usdt) if isinstance(usdt, str) else "unknown"


def note_row(kind: str, fields: Mapping[str, Any], *, at_ns: int, view: View) -> None:
    """Count one row of the gateway's journal and say what it means, when it means something to a spectator."""
    counts = view.counts
    match kind:
        case "order:intent":
            counts.orders_intended += 1
            text = f"{fields['side']} {fields['quantity']} {fields['symbol']} at {fields['price']}"
            view.happened(HappeningKind.ORDER, text, at_ns=at_ns)
        case "order:outcome" | "order:resolved" if fields.get("result") in {"acknowledged", "found"}:
            counts.orders_acknowledged += 1
            if view.first_ack_s is None:
                view.first_ack_s = view.seconds_after_start(at_ns)
        case "order:outcome" | "order:resolved" if fields.get("result") in NOT_PLACED:
            view.happened(HappeningKind.PROBLEM, f"order not placed: {_flat(fields)}", at_ns=at_ns)
        case "cancel:intent":
            counts.cancels += 1
            view.happened(HappeningKind.CANCEL, str(fields.get("symbol", "")), at_ns=at_ns)
        case "order:denied" | "request:denied" | "stream:denied":
            code = clean(str(fields.get("code", "unknown")))
            counts.denials[code] += 1
            view.happened(HappeningKind.DENIED, f"{code} {_flat(fields, leave_out='code')}", at_ns=at_ns)
        case "request:counted":
            for code, count in fields["codes"].items():
                counts.denials[clean(str(code))] += int(count)
        case "incident:opened":
            view.happened(HappeningKind.PROBLEM, f"incident: {_flat(fields)}", at_ns=at_ns)


def _flat(fields: Mapping[str, Any], *, leave_out: str = "") -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items() if name != leave_out and value != "")


class ExchangeObserver:
    """Reads executions, equity, prices and tick lag from the simulated exchange."""

    def __init__(
        self,
        *,
        reader: ExchangeReader,
        control: httpx.AsyncClient,
        account: str,
        category: str,
        gateway: GatewayObserver,
        view: View,
    ) -> None:
        self._reader = reader
        self._control = control
        self._account = account
        self._category = category
        self._gateway = gateway
        self._view = view
        self._seen: set[str] = set()

    async def read(self) -> None:
        """Read everything once. Raises ExchangeUnavailable or ExchangeAnswerInvalid."""
        await self.read_fills()
        self._view.note_equity(await self._reader.equity_usdt())
        state = await get_json(self._control, "/__sim/state")
        note_simulator_state(state, account=self._account, category=self._category, view=self._view)

    async def read_fills(self) -> None:
        """Take in new executions. Raises as `read`."""
        fills = await self._reader.new_fills(self._category, self._seen)
        self._seen.update(fill.execution_id for fill in fills)
        self._gateway.note_fills(fills)


def note_simulator_state(state: Mapping[str, Any], *, account: str, category: str, view: View) -> None:
    """Take over prices, the account's working orders and the tick lag."""
    prices = state.get("prices")
    if isinstance(prices, dict):
        view.prices = _prices(prices, category)
    orders = state.get("orders")
    if isinstance(orders, list):
        view.working_orders = sum(1 for order in orders if _is_working(order, account))
    lag = state.get("tick_lag_ms")
    view.tick_lag_p99_ms = _decimal(lag.get("p99") if isinstance(lag, dict) else lag)


def _prices(prices: Mapping[str, Any], category: str) -> dict[str, Decimal]:
    of_category = prices.get(category)
    flat = of_category if isinstance(of_category, dict) else prices
    found = {str(symbol): _decimal(price.get("last") if isinstance(price, dict) else price)
             for symbol, price in flat.items()}  # fmt: skip
    return {symbol: price for symbol, price in found.items() if price is not None}


def _is_working(order: object, account: str) -> bool:
    return (
        isinstance(order, dict)
        and str(order.get("uid", "")) == account
        and order.get("orderStatus", order.get("status")) in {"New", "PartiallyFilled", "Untriggered"}
    )


def _decimal(value: object) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


class ProcessObserver:
    """Notes the processes that ended without being asked to."""

    def __init__(self, *, running: list[RunningProcess], view: View) -> None:
        self._running = running
        self._view = view
        self._reported: set[int] = set()

    async def read(self) -> None:
        """Look at every process once."""
        for running in self._running:
            name = running.spec.name
            if not running.has_died:
                self._view.processes[name] = "running" if running.exit_code is None else "ended"
                continue
            self._view.processes[name] = f"died ({running.exit_code})"
            if running.pid not in self._reported:
                self._reported.add(running.pid)
                text = f"{name} died with code {running.exit_code}; nothing is restarted, see {running.spec.log_file}"
                self._view.happened(HappeningKind.PROCESS, text)
