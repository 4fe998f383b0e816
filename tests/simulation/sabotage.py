"""Ways to break the product, each of which a simulation must find: the proof that it can fail.

Each breaks one guarantee where it is kept, and names the words with which the referee must find it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import pytest
from simulation.story import Plan

from trade_gateway import conductor
from trade_gateway.commands import AppendDurable, Unknown
from trade_gateway.lease_keeper import LeaseKeeper
from trade_gateway.order_care import OrderCare
from trade_gateway.state_keeper import StateKeeper
from trade_gateway.upstream import Upstream
from trade_watchdog import account_watch, ladder
from trade_watchdog.audit import listing, turnover_audit
from trade_watchdog.ceiling import Finding
from trade_watchdog.ladder import Ladder

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """What is broken, and a word of what the referee says of it."""

    breaks: Callable[[Patch], None]
    found_by: tuple[str, ...]
    plan: Plan


def _lease_never_ends(patch: Patch) -> None:
    patch.setattr(LeaseKeeper, "is_fresh", lambda self: self.held is not None)


def _first_sample_fires(patch: Patch) -> None:
    patch.setattr(ladder, "SAMPLES_TO_FIRE", 1)


def _no_sample_fires(patch: Patch) -> None:
    patch.setattr(Ladder, "_moves_on", lambda *_: False)


def _cancel_forgotten(patch: Patch) -> None:
    def reason(self: OrderCare, order: Any) -> str | None:
        was, self._is_reduced = self._is_reduced, lambda: False
        try:
            return _REASON(self, order)
        finally:
            self._is_reduced = was

    patch.setattr(OrderCare, "_reason_to_withdraw", reason)


_REASON = OrderCare._reason_to_withdraw


def _row_forgotten(patch: Patch) -> None:
    perform = conductor.Conductor._perform

    async def performed(self: Any, command: Any) -> Any:
        if isinstance(command, AppendDurable) and command.kind.value == "order:intent":
            self._recorder.append_later(command.kind, command.fields)
            return True
        return await perform(self, command)

    patch.setattr(conductor.Conductor, "_perform", performed)


def _sent_again(patch: Patch) -> None:
    send = Upstream.send_order

    async def twice(self: Upstream, body: bytes, *, may_send: Callable[[], bool]) -> Any:
        result = await send(self, body, may_send=may_send)
        return await send(self, body, may_send=may_send) if isinstance(result, Unknown) else result

    patch.setattr(Upstream, "send_order", twice)


def _latch_forgotten(patch: Patch) -> None:
    patch.setattr(StateKeeper, "restore", lambda *_: None)


def _everything_believed(patch: Patch) -> None:
    patch.setattr(account_watch, "examine", lambda *_, **__: Finding.GOOD)


def _flow_is_result(patch: Patch) -> None:
    step = account_watch.step

    def stepped(book: Any, reading: Any, entries: Any, **known: Any) -> Any:
        return step(book, reading, [replace(entry, kind="TRADE") for entry in entries], **known)

    patch.setattr(account_watch, "step", stepped)


def _budget_of_nothing(patch: Patch) -> None:
    patch.setattr(turnover_audit, "budget_usdt", lambda _limits: Decimal("0.01"))


def _index_of_half(patch: Patch) -> None:
    candle = listing._candle

    def halved(entry: Mapping[str, Any]) -> Any:
        told = candle(entry)
        return replace(told, lowest=told.lowest / 2, highest=told.highest / 2)

    patch.setattr(listing, "_candle", halved)


_CALM: Final = Plan(seed=1, nights=0, active_s=240.0, crash_every_s=1e9, flow_every_s=1e9, bot_every_s=1.0)


def _plan(trouble: str, every_s: float, **changes: float) -> Plan:
    return replace(_CALM, troubles=(trouble,), trouble_every_s=every_s, **changes)  # type: ignore[arg-type]


SABOTAGES: Final[Mapping[str, Sabotage]] = {
    "the lease check is skipped": Sabotage(
        breaks=_lease_never_ends,
        found_by=("loosened by itself", "adds risk while"),
        plan=_plan("cut watchdog-gateway", 30.0),
    ),
    "the first sample fires": Sabotage(
        breaks=_first_sample_fires, found_by=("fires and must not",), plan=replace(_CALM, crash_every_s=20.0)
    ),
    "no sample fires": Sabotage(
        breaks=_no_sample_fires,
        found_by=("has not fired", "not refused in time"),
        plan=replace(_CALM, crash_every_s=20.0),
    ),
    "a cancel is forgotten": Sabotage(
        breaks=_cancel_forgotten, found_by=("after none may",), plan=_plan("cut watchdog-gateway", 40.0, active_s=600.0)
    ),
    "the row is not waited for": Sabotage(breaks=_row_forgotten, found_by=("without a durable row",), plan=_CALM),
    "an unknown order is sent again": Sabotage(
        breaks=_sent_again, found_by=("a second time",), plan=_plan("flaky gateway-exchange", 20.0)
    ),
    "a restart forgets the latch": Sabotage(
        breaks=_latch_forgotten,
        found_by=("loosened by itself",),
        plan=_plan("gateway crash", 25.0, rogue_every_s=15.0),
    ),
    "every sample is believed": Sabotage(
        breaks=_everything_believed, found_by=("cannot be believed",), plan=_plan("wild wallet", 15.0)
    ),
    "a flow is taken for a result": Sabotage(
        breaks=_flow_is_result,
        found_by=("fires and must not", "has not fired"),
        plan=replace(_CALM, flow_every_s=15.0, active_s=600.0),
    ),
    "the audit takes the turnover for exceeded": Sabotage(
        breaks=_budget_of_nothing, found_by=("were added in 24 hours",), plan=_CALM
    ),
    "the audit reads another index": Sabotage(breaks=_index_of_half, found_by=("where the collar ended",), plan=_CALM),
}
