"""The shell around the account view: gives it time, writes what changed into the journal, answers what decisions ask.

Every change of trust, every loss of the equity, every fill and every end is a row. A change that needs a reading asks
for one at once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, assert_never

from trade_core.clock import NS_PER_S, Clock
from trade_core.money import format_decimal
from trade_gateway.account.activity import Activity, Note
from trade_gateway.account.messages import ExecutionSeen, NonsenseSaid, OrderSeen, PositionSeen, parse_frame
from trade_gateway.account.tally import tally
from trade_gateway.account.trust import NEVER_READ, Trust, Trusted, Untrusted
from trade_gateway.account.view import AccountView, Appeared, Change, Ended, Filled
from trade_gateway.commands import AppendLater
from trade_gateway.ledger import OrderLedger, TrackedOrder
from trade_gateway.order_flow import report_unknown_fill, resolved_kind
from trade_gateway.policy.facts import AccountFacts, base_coin_of
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import Fields, RowKind

_ZERO = Decimal(0)
NO_EQUITY = "the last word of the exchange about the wallet names no equity above zero"
log = logging.getLogger(__name__)


class AccountKeeper:
    """One account's view, activity and trust."""

    def __init__(self, *, ledger: OrderLedger, activity: Activity, recorder: Recorder, clock: Clock) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._clock = clock
        self._wall_offset_ns = clock.wall_ns() - clock.monotonic_ns()
        self.activity = activity
        self.view = AccountView(ledger=ledger)
        self._was_trusted = False
        self._was_equity_known = False
        self.on_news: Callable[[], None] = lambda: None  # a reading is wanted
        self.on_fee: Callable[[SymbolKey, Decimal], None] = lambda *_: None  # the stream told what a trade cost
        self.on_position: Callable[[], None] = lambda: None  # the stream told of a position

    def hear_frame(self, text: str) -> None:
        """Take in one data frame of the private stream; one that cannot be believed is cause for distrust."""
        try:
            messages = parse_frame(text)
        except NonsenseSaid as error:
            self.distrust(f"the private stream: {error}")
            return
        changes: list[Change] = []
        for seen in messages:
            changes += self.view.hear(seen, now_ns=self._clock.monotonic_ns())
        self.apply(changes)
        if any(isinstance(change, Filled) for change in changes):
            self.on_news()  # until a reading contains the fill, it is claimed twice
        for seen in messages:
            if isinstance(seen, ExecutionSeen) and seen.is_trade and seen.fee_rate is not None:
                self.on_fee((seen.category, seen.symbol), seen.fee_rate)
        if any(isinstance(seen, PositionSeen) for seen in messages):
            self.on_position()

    def stream_up(self) -> None:
        """Note that the stream stands; trust needs a reading from now on."""
        self.view.trust_keeper.stream_up(at_ns=self._clock.monotonic_ns())
        self.note_trust()
        self.on_news()

    def stream_down(self, reason: str) -> None:
        """Note that the stream is lost."""
        self.view.trust_keeper.stream_down(reason, at_ns=self._clock.monotonic_ns())
        self.note_trust()

    def distrust(self, reason: str) -> None:
        """Distrust the view until a later reading agrees with it."""
        self.view.trust_keeper.distrust(reason, at_ns=self._clock.monotonic_ns())
        self.note_trust()
        self.on_news()

    def apply(self, changes: Iterable[Change]) -> None:
        """Write rows of what changed, and count it."""
        for change in changes:
            match change:
                case Filled():
                    self._write(self.activity.count_fill(change, at_ns=self._window_ns()))
                    for row in report_unknown_fill(change.order, filled=change.total):
                        if isinstance(row, AppendLater):
                            self._recorder.append_later(row.kind, row.fields)
                case Ended():
                    self._resolved(change.order, "ended", change.status)
                case Appeared():
                    self._resolved(change.order, "found", change.status)
                case _:
                    assert_never(change)

    def count_message(self) -> MessageLevel:
        """Count one order message of the bot."""
        level, notes = self.activity.count_message(at_ns=self._window_ns())
        self._write(notes)
        return level

    def trust(self) -> Trust:
        """Tell whether the view may be believed at this moment."""
        return self.view.trust(now_ns=self._clock.monotonic_ns())

    def note_trust(self) -> Trust:
        """Write a row when trust was lost or came back, or when the equity was lost."""
        self._note_equity()
        trust = self.trust()
        is_trusted = isinstance(trust, Trusted)
        if is_trusted is not self._was_trusted:
            self._was_trusted = is_trusted
            if isinstance(trust, Untrusted):
                self._recorder.append_later(RowKind.ACCOUNT_DISTRUSTED, {"reason": trust.reason[:200]})
                log.warning("the account view is not trusted: %s", trust.reason)
                self.on_news()
            else:
                self._recorder.append_later(RowKind.ACCOUNT_TRUSTED, {})
                log.info("the account view is trusted")
        return trust

    def _note_equity(self) -> None:
        is_known = self.view.equity_usdt is not None
        if self._was_equity_known and not is_known:
            fields: Fields = {"type": "equity unknown", "severity": "warning", "reason": NO_EQUITY}
            self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)
            log.warning("the equity is not known, no risk is added: %s", NO_EQUITY)
        self._was_equity_known = is_known

    def is_blind(self) -> bool:
        """Tell whether stream or readings fail: more than an outcome that is being asked for."""
        now_ns = self._clock.monotonic_ns()
        return isinstance(self.view.trust_keeper.judge(now_ns=now_ns, has_unknown_outcome=False), Untrusted)

    def is_flat(self, symbol: str, *, since_ns: int) -> bool:
        """Tell whether a symbol surely has no position: trusted, read after `since_ns`, no fill still to be read."""
        read_at_ns = self.view.trust_keeper.read_at_ns
        if read_at_ns is None or read_at_ns <= since_ns or not isinstance(self.trust(), Trusted):
            return False
        is_moving = any(
            order.intent.symbol == symbol and order.filled > order.settled for order in self._ledger.claims()
        )
        return not is_moving and symbol not in self.view.positions

    def age_s(self) -> float | None:
        """Seconds since the last complete reading began."""
        read_at_ns = self.view.trust_keeper.read_at_ns
        return None if read_at_ns is None else (self._clock.monotonic_ns() - read_at_ns) / NS_PER_S

    def describe(self) -> dict[str, Any]:
        """What /state says of the view."""
        trust, equity = self.trust(), self.view.equity_usdt
        lack = NO_EQUITY if self.view.trust_keeper.has_baseline else NEVER_READ
        return {
            "is_trusted": isinstance(trust, Trusted),
            "reason": trust.reason if isinstance(trust, Untrusted) else "",
            "age_s": self.age_s(),
            "equity_usdt": None if equity is None else format_decimal(equity),
            "equity_reason": lack if equity is None else "",
        }

    def facts(self, *, unpinned: frozenset[str], message_level: MessageLevel) -> AccountFacts:
        """Gather what a decision needs to know of the account, worst case."""
        view, own = self.view, tally(self._ledger.claims())
        buys, sells = own.buys, own.sells
        stops, others = _split(view.foreign_orders)
        for seen in others:
            sums, key = buys if seen.side is Side.BUY else sells, (seen.category, seen.symbol)
            sums[key] = sums.get(key, _ZERO) + max(_ZERO, seen.quantity - seen.filled)
        trust = view.trust_keeper.judge(now_ns=self._clock.monotonic_ns(), has_unknown_outcome=bool(own.unresolved))
        held = {coin: amount for coin, amount in view.coins.items() if amount > 0}
        return AccountFacts(
            is_trusted=isinstance(trust, Trusted),
            equity_usdt=view.equity_usdt,
            working_orders=own.working + len(others),
            working_stops=Counter(own.stops) + Counter(seen.symbol for seen in stops) if stops else own.stops,
            unresolved_symbols=own.unresolved,
            held_base=held,
            sellable_base=_sellable(held, sells),
            positions=view.positions,
            working_buys=buys,
            working_sells=sells,
            turnover_used_usdt=self.activity.turnover_usdt(own.pending_usdt, at_ns=self._window_ns()),
            working_keys=self._ledger.working_keys(),
            unresolved_keys=own.unresolved_keys,
            leverage_unpinned_symbols=unpinned,
            message_level=message_level,
            is_terminated=self.activity.is_terminated,
            repeated_execution_symbols=self.activity.tripped_symbols,
        )

    def _window_ns(self) -> int:
        """Wall time as it would be had nobody set the clock since the start: a leap empties no window."""
        return self._clock.monotonic_ns() + self._wall_offset_ns

    def _resolved(self, order: TrackedOrder, result: str, status: str) -> None:
        fields: dict[str, str | bool] = {
            "tag": order.tag,
            "result": result,
            "status": status,
            "filled": format_decimal(order.filled),
        }
        if result == "found":
            fields |= {"order_id": order.order_id or "", "is_disowned": order.is_disowned}
        self._recorder.append_later(resolved_kind(order), fields)

    def _write(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._recorder.append_later(note.kind, note.fields)


def _split(orders: Iterable[OrderSeen]) -> tuple[list[OrderSeen], list[OrderSeen]]:
    stops: list[OrderSeen] = []
    others: list[OrderSeen] = []
    for seen in orders:
        is_stop = seen.is_conditional and seen.is_reducing and seen.category is Category.LINEAR
        (stops if is_stop else others).append(seen)
    return stops, others


def _sellable(held: dict[str, Decimal], sells: dict[SymbolKey, Decimal]) -> dict[str, Decimal]:
    sellable = dict(held)
    for (category, symbol), quantity in sells.items():
        coin = base_coin_of(symbol)
        if category is Category.SPOT and coin in sellable:
            sellable[coin] = max(_ZERO, sellable[coin] - quantity)
    return sellable
