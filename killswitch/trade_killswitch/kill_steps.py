"""One try of each step of a kill: what it does, and what counts as evidence that it is so.

Guarantees
- A try may be repeated, also when the one before was cut off anywhere: each looks first, or asks for what may be asked
  for twice.
- Done means seen: the gateway said that it is halted, the host shows no bot, a whole reading of the books shows no
  order, the list shows no key, the exchange refuses it. An acknowledged request alone is never evidence.
- What cannot be told raises or fails with a sentence; who drives the steps turns both into a try that failed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, assert_never

from trade_core.bot_hosts.port import BotHost
from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import TradeError
from trade_journal.log.rows import STRING_CHARACTERS_MAX, RowKind, Scalar
from trade_killswitch.account_keys import AccountKey, deletion_order
from trade_killswitch.algorithms import running_algorithms, stop_algorithms
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exit_orders import ExitOrders
from trade_killswitch.flatten_conductor import closed
from trade_killswitch.flatten_flow import Closing, Unreadable
from trade_killswitch.flatten_plan import named
from trade_killswitch.gateway_halt import GatewayHalt, GatewayNotHalted
from trade_killswitch.kill_order import Authority, KillOrder
from trade_killswitch.procedure import RULES, Outcome, Progress, Status, Step, Tried
from trade_killswitch.recorder import Recorder
from trade_killswitch.revoker import RevokerExchange
from trade_killswitch.secret_store.port import SecretStore
from trade_killswitch.sweep_plan import Reading, plan
from trade_killswitch.sweeper import Sweeper

GATEWAY_CANCELS_WITHIN_S: Final = 5.0
REFUSE_WITHIN_S: Final = 0.8
TELL_GATEWAY_WITHIN_S: Final = 1.5
LOOK_EVERY_S: Final = 0.2
SAY_WITHIN_S: Final = 0.5
"""How long before its end a try without a proof says what is in the way: who cuts it off knows only that it ended."""
NAMES_SHOWN: Final = 8
NAME_CHARACTERS_MAX: Final = 64
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.:/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a kill works with. What is not set up is None, and said of the step that needs it.

    `sign_notice` makes of a standing warrant what the gateway believes of an automatic kill, counting for a minute.
    """

    exchange: ExitExchange
    exit_key: str
    sweeper: Sweeper
    recorder: Recorder
    clock: Clock
    gateway: GatewayHalt | None
    bot: BotHost | None
    secrets: SecretStore | None
    revoker: RevokerExchange | None
    baseline: Mapping[str, Decimal]
    quote_coin: str
    slippage: Decimal
    sign_notice: Callable[[bytes], bytes]


@dataclass(slots=True, kw_only=True)
class KillMemory:
    """What the steps of one kill share: the ids of every key that was to be deleted, and the warrant that allows it."""

    keys: set[str] = field(default_factory=set)
    warrant: bytes = b""
    is_gateway_killed: bool = False
    """Whether the gateway said that it took that warrant; a halt alone is released by one key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSteps:
    """The steps of one kill."""

    parts: Parts
    order: KillOrder
    memory: KillMemory
    tell: Callable[[], None]

    async def attempt(self, step: Step, progress: Progress) -> Tried:
        """Try one step. Raises TradeError, and whatever nobody foresaw."""
        match step:
            case Step.REFUSE:
                return await self._refuse()
            case Step.BOT:
                return await self._bot()
            case Step.ALGORITHMS:
                return await self._algorithms()
            case Step.SECRETS:
                return await self._secrets()
            case Step.CANCEL:
                return await self._cancel(does_gateway_help=progress[Step.REFUSE].has_succeeded)
            case Step.FLATTEN:
                return await self._flatten()
            case Step.REVOKE:
                return await self._revoke()
            case Step.EXIT_KEY:
                return await self._delete_exit_key(is_frozen=progress[Step.FREEZE].has_succeeded)
            case Step.FREEZE:
                return await self._freeze(is_flat=progress[Step.FLATTEN].evidence.get("is_flat") is True)
            case Step.PROVE:
                return await self._prove(progress)
            case Step.TELL:
                return await self._tell()
            case _:
                assert_never(step)

    async def _refuse(self) -> Tried:
        if self.parts.gateway is None:
            return _failed("no gateway is set up (setting gateway_handover)")
        began_ns = self.parts.clock.monotonic_ns()
        halted = await self.parts.gateway.halt(f"kill {self.order.kill_id}: {self.order.reason}")
        left_s = REFUSE_WITHIN_S - (self.parts.clock.monotonic_ns() - began_ns) / NS_PER_S
        state, note = halted.trading_state, ""
        if self.memory.warrant and left_s > 0:
            # So that its release takes two keys. It refuses already: what becomes of this changes nothing about that.
            try:
                state = await self._kill_gateway(self.parts.gateway, within_s=left_s)
            except GatewayNotHalted as error:
                note = str(error)
        return _done(trading_state=state, in_flight=halted.in_flight, warrant=note)

    async def _tell(self) -> Tried:
        """Tell people, and have a gateway that was too slow, or away, in the first second latch KILLED now."""
        self.tell()
        note = ""
        if self.parts.gateway is not None and self.memory.warrant and not self.memory.is_gateway_killed:
            try:
                note = await self._kill_gateway(self.parts.gateway, within_s=TELL_GATEWAY_WITHIN_S)
            except GatewayNotHalted as error:
                note = str(error)
        return _done(handed_over=True, gateway=note)

    async def _kill_gateway(self, gateway: GatewayHalt, *, within_s: float) -> str:
        """Hand the gateway what it verifies; gives its state. Raises GatewayNotHalted."""
        killed = await gateway.kill(self._for_the_gateway(), within_s=within_s)
        self.memory.is_gateway_killed = True
        return killed.trading_state

    def _for_the_gateway(self) -> bytes:
        """Return what the gateway verifies: a person's order to kill, or our word beside his standing warrant."""
        if self.order.authority is Authority.STANDING_WARRANT:
            return self.parts.sign_notice(self.memory.warrant)
        return self.memory.warrant

    async def _bot(self) -> Tried:
        if self.parts.bot is None:
            return Tried(outcome=Outcome.NOT_NEEDED, why="no bot host is set up (setting bot_host)")
        await self.parts.bot.scale_to_zero()
        sight = await self.parts.bot.look()
        if not sight.is_gone:
            return _failed("the bot still runs", sight.evidence)
        return Tried(outcome=Outcome.DONE, evidence=_evidence(sight.evidence))

    async def _algorithms(self) -> Tried:
        calls = self.parts.exchange.calls
        running = await running_algorithms(calls)
        if running:
            await stop_algorithms(calls, running)
            left = await running_algorithms(calls)
            if left:
                return _failed(f"{len(left)} algorithms still run: {', '.join(left[:NAMES_SHOWN])}")
        return _done(running=0, stopped=len(running))

    async def _secrets(self) -> Tried:
        store = self.parts.secrets
        if store is None:
            return Tried(outcome=Outcome.NOT_NEEDED, why="no secrets are set up to be destroyed")
        works: dict[str, Awaitable[Mapping[str, str]]] = {name: store.destroy(name) for name in store.names}
        ended = await asyncio.gather(*works.values(), store.revoke_access(), return_exceptions=True)
        evidence: dict[str, str] = {}
        faults = []
        for name, result in zip((*works, "access"), ended, strict=True):
            if isinstance(result, TradeError):
                faults.append(f"{name}: {result}")
            elif isinstance(result, BaseException):
                raise result
            else:
                evidence |= {f"{name}:{key}": value for key, value in result.items()}
        if faults:
            return _failed("; ".join(faults), evidence)
        return Tried(outcome=Outcome.DONE, evidence=_evidence(evidence))

    async def _cancel(self, *, does_gateway_help: bool) -> Tried:
        began_ns = self.parts.clock.monotonic_ns()
        if does_gateway_help:
            await self._let_the_gateway_cancel()
        await self.parts.sweeper.begin(f"kill {self.order.kill_id}", by="kill")
        left_s = RULES[Step.CANCEL].try_s - SAY_WITHIN_S - (self.parts.clock.monotonic_ns() - began_ns) / NS_PER_S
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                proof = await self.parts.sweeper.proof()
        except TimeoutError:
            return _failed(self.parts.sweeper.in_the_way())
        refusals = dict(proof.get("refusals", {}))
        return _done(
            working=0,
            **{f"working:{kind}": count for kind, count in dict(proof.get("by_kind", {})).items()},
            stops_kept=int(proof.get("kept", 0)),
            cancels_acknowledged=int(proof.get("acknowledged", 0)),
            cancels_refused=", ".join(f"{code}: {count}" for code, count in refusals.items()),
            cancels_unanswered=int(proof.get("unanswered", 0)),
            readings=int(proof.get("rounds", 0)),
        )

    async def _let_the_gateway_cancel(self) -> None:
        """Wait while orders work that the gateway cancels itself, for no longer than it may take."""
        began_ns = self.parts.clock.monotonic_ns()
        while (self.parts.clock.monotonic_ns() - began_ns) / NS_PER_S < GATEWAY_CANCELS_WITHIN_S:
            if not adds_risk(await self.parts.exchange.read_shelves()):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _flatten(self) -> Tried:
        parts = self.parts
        hand = ExitOrders(exchange=parts.exchange, kill_id=self.order.kill_id, quote_coin=parts.quote_coin)
        closing = Closing(
            endings=self.order.endings,
            baseline=parts.baseline,
            quote_coin=parts.quote_coin,
            slippage=parts.slippage,
        )
        try:
            settled = await closed(closing, hand, exchange=parts.exchange, clock=parts.clock)
        except Unreadable as error:
            return _failed(str(error))
        evidence: dict[str, Scalar] = {
            "is_flat": settled.is_flat,
            "held_as_ordered": named(settled.held),
            "orders_sent": hand.sent,
            "stops": ", ".join(settled.stops[:NAMES_SHOWN]),
            "dust": ", ".join(settled.dust[:NAMES_SHOWN]),
            "took_ms": round(settled.took_s * 1000),
        }
        if settled.open:
            evidence |= {"open": named(settled.open)}
            return Tried(
                outcome=Outcome.SHORT,
                why=f"NOT FLAT: {named(settled.open)}",
                evidence=_evidence(evidence),
            )
        return Tried(outcome=Outcome.DONE, evidence=_evidence(evidence))

    async def _revoke(self) -> Tried:
        revoker = self._revoker()
        doomed = deletion_order(await self._listed(), exit_key=self.parts.exit_key)
        answers = [await revoker.delete(key) for key in doomed]
        left = deletion_order(await self._listed(), exit_key=self.parts.exit_key)
        if left:
            codes = ", ".join(sorted(set(answers)))
            return _failed(f"{len(left)} keys are still listed: {', '.join(left[:NAMES_SHOWN])} (answers: {codes})")
        return _done(listed_besides_the_exit_key=0, deleted=len(self.memory.keys - {self.parts.exit_key}))

    async def _delete_exit_key(self, *, is_frozen: bool) -> Tried:
        """Delete the exit key after a last look with it, which a frozen account does not answer any more."""
        revoker, key = self._revoker(), self.parts.exit_key
        listed = {one.key for one in await self._listed()}
        if key in listed:
            if not is_frozen and not plan(await self.parts.exchange.read_shelves()).is_proved:
                await self.parts.sweeper.begin(f"kill {self.order.kill_id}: orders came back", by="kill")
                return _failed("orders work again, or cannot be read: the exit key is still needed")
            self.memory.keys.add(key)
            answer = await revoker.delete(key)
            if key in {one.key for one in await revoker.keys()}:
                return _failed(f"the exit key is still listed (answer: {answer})")
        return _done(listed=False, working_when_deleted=0)

    async def _freeze(self, *, is_flat: bool) -> Tried:
        if not is_flat:
            why = "positions are held as ordered; what a frozen account lets one do with them is not documented"
            return Tried(outcome=Outcome.NOT_NEEDED, why=why)
        revoker = self._revoker()
        answer = await revoker.freeze()
        if not await revoker.is_frozen():
            return _failed(f"the account is not called frozen (answer: {answer})")
        return _done(is_frozen=True)

    async def _prove(self, progress: Progress) -> Tried:
        revoker, exit_key = self._revoker(), self.parts.exit_key
        is_kept = progress[Step.FLATTEN].status is Status.SHORT
        listed = await self._listed()
        strangers = deletion_order(listed, exit_key=exit_key)
        for key in strangers:
            await revoker.delete(key)
        asked = sorted(self.memory.keys - {exit_key} if is_kept else self.memory.keys | {exit_key})
        refusals = await revoker.refusals(asked)
        wrong = refusals.not_refused(listed={one.key for one in listed})
        evidence = {key: refusals.answers[key] for key in asked} | {"a_key_that_never_was": refusals.to_unknown}
        if wrong or strangers:
            faults = [f"{key} {why}" for key, why in wrong.items()]
            faults += [f"{key} came after the others were deleted" for key in strangers if key not in wrong]
            return _failed("; ".join(faults[:NAMES_SHOWN]), evidence)
        if is_kept:
            why = "the exit key is kept, since the account is not flat; the others are refused"
            return Tried(outcome=Outcome.SHORT, why=why, evidence=_evidence(evidence))
        return Tried(outcome=Outcome.DONE, evidence=_evidence(evidence))

    async def _listed(self) -> list[AccountKey]:
        """List the account's keys, and remember them: first in the journal, since a deleted key is listed no more."""
        listed = await self._revoker().keys()
        new = {one.key for one in listed} - self.memory.keys - {self.parts.exit_key}
        if new:
            self.memory.keys |= new
            fields = {"kill_id": self.order.kill_id, "keys": sorted(new)}
            await self.parts.recorder.record(RowKind.KILL_KEYS_LISTED, fields)
        return listed

    def _revoker(self) -> RevokerExchange:
        if self.parts.revoker is None:
            raise NotSetUp("no revoker key is set up (setting revoker_file)")
        return self.parts.revoker


class NotSetUp(TradeError):
    """A step needs what the settings do not give."""


def adds_risk(readings: Sequence[Reading]) -> bool:
    """Tell whether a reading shows an order that adds risk, which the gateway cancels; what it cannot show is none."""
    return any(not order.is_reducing for reading in readings for order in reading.orders or ())


def _done(**evidence: Scalar) -> Tried:
    return Tried(outcome=Outcome.DONE, evidence=_evidence(evidence))


def _failed(why: str, evidence: Mapping[str, Scalar] | None = None) -> Tried:
    return Tried(outcome=Outcome.FAILED, why=why, evidence=_evidence(evidence or {}))


def _plain(name: str) -> str:
    """Make a name that a row takes: it begins with a letter, a digit or _, and of a long one the end tells more."""
    plain = _NOT_IN_A_NAME.sub("_", name)[-NAME_CHARACTERS_MAX:].lstrip(".:/-")
    return plain or "_"


def _evidence(facts: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return facts as a row takes them: plain names, texts of bounded length, nothing empty."""
    named_facts = {_plain(name): value for name, value in facts.items()}
    return {
        name: value[:STRING_CHARACTERS_MAX] if isinstance(value, str) else value
        for name, value in list(named_facts.items())[:100]
        if value != ""
    }
