"""Keeps proving what must be true of the exchange before risk is added: at start, every hour, and for each new policy.

Each step that is open is a fault, which the policy's change raises and this clears; a step that was begun for an older
policy clears nothing. A symbol that the exchange does not trade is none: orders that add risk on it are denied, its
name stands in `/state` and in a row, and it is asked for again until it is traded or the policy names it no more.
What the journal remembers of filters serves exits alone, until the exchange has told them in this run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Protocol

from trade_core.bybit.client import BybitClient
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_gateway.account.stream import Stream
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import NOTHING_PERMITTED, Policy, SymbolKey
from trade_gateway.recorder import Recorder
from trade_gateway.startup import (
    EXPECTED_TROUBLE,
    KeyRefused,
    changed_modes,
    linear_symbols,
    load_instruments,
    pin_modes,
    shown_key,
    verify_key,
)
from trade_gateway.states import Fault
from trade_journal.log.rows import Fields, RowKind

RETRY_S = 1.0
PROVE_EVERY_S = 3600.0
REFUSED_EVERY_S = 10.0
"""A symbol that the exchange does not trade may be traded again any moment; until then only itself is denied."""
_SETTINGS_CHARACTERS = 400
log = logging.getLogger(__name__)


class FaultBoard(Protocol):
    """Where faults are raised and cleared."""

    def set_fault(self, fault: Fault, *, is_there: bool) -> None:
        """Raise or clear one."""
        ...

    def explain_fault(self, fault: Fault, detail: str) -> None:
        """Say more of one, also while it holds nothing back; an empty detail says that there is no more to say."""
        ...


class ExchangeProof:
    """The steps, and the loop that takes them."""

    def __init__(
        self,
        *,
        private: BybitClient,
        public: BybitClient,
        ticker_stream: Stream,
        account: str,
        recorder: Recorder,
        faults: FaultBoard,
        on_instruments: Callable[[Mapping[SymbolKey, Instrument], Set[SymbolKey]], None],
    ) -> None:
        self._private = private
        self._public = public
        self._ticker_stream = ticker_stream
        self._account = account
        self._recorder = recorder
        self._faults = faults
        self._on_instruments = on_instruments
        self._policy: Policy = NOTHING_PERMITTED
        self._former: frozenset[SymbolKey] = frozenset()
        self._instruments: Mapping[SymbolKey, Instrument] = {}
        self._remembered: Mapping[SymbolKey, Instrument] = {}
        self._refused: Mapping[SymbolKey, str] = {}
        self._pinned: tuple[int, list[str]] | None = None
        self._must_look = False
        self._must_reconnect = False
        self._changed = asyncio.Event()

    def require(self, policy: Policy, *, former: frozenset[SymbolKey], has_new_coins: bool) -> None:
        """Prove for this policy from now on; what it needs and the one before did not is a fault until it is proved."""
        before, self._policy, self._former = self._policy, policy, former
        if policy.symbols.keys() - before.symbols.keys():
            self._faults.set_fault(Fault.INSTRUMENTS_MISSING, is_there=True)
        if _pins(policy) != _pins(before):
            self._faults.set_fault(Fault.SETTINGS_UNPINNED, is_there=True)
        self._must_reconnect |= has_new_coins
        self._changed.set()

    def remember(self, instruments: Mapping[SymbolKey, Instrument]) -> None:
        """Let exits be sent by these filters of an earlier run, until the exchange has told them in this one."""
        self._remembered = instruments
        self._give_instruments()

    async def run(self) -> None:
        """Prove for ever. Raises KeyRefused when the exchange says that the key has the wrong power."""
        self._must_reconnect = False  # the stream begins beside this, with the coins of now
        await self._until_done("key check", self._verify_key)
        loop = asyncio.get_running_loop()
        look_at_s = loop.time() + PROVE_EVERY_S
        while True:
            self._changed.clear()
            await self._until_done("instruments", self._load_instruments)
            await self._until_done("pinning", self._pin)
            if self._must_reconnect:
                self._must_reconnect = False
                await self._ticker_stream.reconnect()
            try:
                async with asyncio.timeout(REFUSED_EVERY_S if self._refused else PROVE_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                if loop.time() >= look_at_s:
                    look_at_s, self._must_look = loop.time() + PROVE_EVERY_S, True

    async def _until_done(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Try a step until the exchange lets it succeed."""
        waited = False
        while True:
            try:
                await step()
            except EXPECTED_TROUBLE as error:
                if not waited:
                    log.warning("%s: waiting for the exchange: %s", what, error)
                waited = True
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _verify_key(self) -> None:
        try:
            await verify_key(self._private, account=self._account)
        except KeyRefused as error:
            await self._recorder.append_durable(RowKind.KEY_REFUSED, {"reason": str(error)[:400]})
            raise
        await self._recorder.append_durable(RowKind.KEY_VERIFIED, {"account": self._account})
        self._faults.set_fault(Fault.KEY_UNVERIFIED, is_there=False)

    async def _load_instruments(self) -> None:
        policy = self._policy
        symbols = policy.symbols.keys()
        filters = await load_instruments(self._public, {*symbols, *self._former}, known=self._instruments)
        self._instruments = filters.known
        self._note_refused({key: reason for key, reason in filters.refused.items() if key in symbols})
        self._give_instruments()
        if open_keys := symbols - filters.known.keys() - self._refused.keys():
            raise ExchangeUnavailable(f"no answer about {', '.join(sorted(map(shown_key, open_keys)))}")
        if not symbols & filters.known.keys():
            raise ExchangeUnavailable("not one symbol of the policy is traded")
        if policy is self._policy:
            self._faults.set_fault(Fault.INSTRUMENTS_MISSING, is_there=False)

    def _give_instruments(self) -> None:
        """Hand over what is known. Nothing adds risk by filters that are refused, or read by an earlier run alone."""
        known = self._instruments
        wanted = self._policy.symbols.keys() | self._former
        old = {key: kept for key, kept in self._remembered.items() if key in wanted and key not in known}
        self._on_instruments({**old, **known}, self._refused.keys() | old.keys())

    def _note_refused(self, refused: Mapping[SymbolKey, str]) -> None:
        news = {key: reason for key, reason in refused.items() if self._refused.get(key) != reason}
        self._refused = refused
        self._faults.explain_fault(Fault.INSTRUMENTS_MISSING, ", ".join(sorted(map(shown_key, refused))))
        for (category, symbol), reason in news.items():
            log.warning("%s %s adds no risk: %s", category.value, symbol, reason)
            fields: Fields = {
                "type": "symbol without filters",
                "severity": "warning",
                "category": category.value,
                "symbol": symbol,
                "reason": reason,
            }
            self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)

    async def _pin(self) -> None:
        policy = self._policy
        if _pins(policy) == self._pinned and self._must_look:
            await self._look_at_modes(policy)
        self._must_look = False
        if _pins(policy) != self._pinned:
            try:
                await pin_modes(self._private, policy)
            except ExchangeAnswerInvalid:
                self._faults.set_fault(Fault.SETTINGS_UNPINNED, is_there=True)
                raise
            self._pinned = _pins(policy)
        if policy is self._policy:
            self._faults.set_fault(Fault.SETTINGS_UNPINNED, is_there=False)

    async def _look_at_modes(self, policy: Policy) -> None:
        """Read what was pinned. What somebody has changed is a fault until it is pinned again, and an incident."""
        try:
            changed = await changed_modes(self._private, policy)
        except (ExchangeAnswerInvalid, InvalidNumber) as error:
            log.warning("what is pinned cannot be read, and is pinned again: %s", error)
            self._pinned = None
            return
        if not changed:
            return
        self._pinned = None
        self._faults.set_fault(Fault.SETTINGS_UNPINNED, is_there=True)
        fields: Fields = {
            "type": "pinned setting changed",
            "severity": "critical",
            "settings": ", ".join(changed)[:_SETTINGS_CHARACTERS],
        }
        self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)


def _pins(policy: Policy) -> tuple[int, list[str]]:
    return policy.leverage, linear_symbols(policy)
