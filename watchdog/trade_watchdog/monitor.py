"""The watchdog's work: verify the key, then look at the account, walk the ladder and send leases, each in its own loop.

Guarantees
- No lease before the exchange has said that our key is harmless; a harmful key ends the process.
- Each loop has its own time: a hanging exchange delays no lease (it tightens it), a hanging gateway no reading, a
  hanging second venue nothing.
- A tighter ceiling is sent at once, not with the next period.
- What freezes new risk is told to people, whatever it is: a reading that cannot be believed, what the ladder, the audit
  or the streams demand, a journal that cannot be written, leases that the gateway does not count, another watchdog.
- The ceiling is the tightest of five: what the reading is worth, what the ladder demands, what the audit vouches for,
  whether what must be remembered can be written, and a fall that streams tell of and no reading has answered.
- What nobody foresaw ends the process: its leases lapse, and the gateway is REDUCE_ONLY within their lifetime.

Log levels: waiting for others is INFO or WARNING; ERROR is only for what a person must look at. Conditions are logged
when they change, not every period.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.trust.lease import SEND_EVERY_S
from trade_watchdog.account_watch import AccountWatch, Look
from trade_watchdog.auditor import Auditor
from trade_watchdog.ceiling import Ceiling, Finding, Verdict, judge, tightest
from trade_watchdog.coin_prices import held_coins
from trade_watchdog.effects import Alert, Severity
from trade_watchdog.exchange import WatchedExchange
from trade_watchdog.freeze_alarm import FreezeAlarm
from trade_watchdog.gateway_link import GatewayAnswerInvalid, GatewayRefused, GatewayUnavailable
from trade_watchdog.identity import GenerationUnavailable
from trade_watchdog.key_check import excess_master_power, excess_power
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.lease_sender import LIFETIME_S, GatewayForeign, GatewayForked, LeaseSender, StandsBy, Unwitnessed
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.reconciler import Reconciler
from trade_watchdog.status import LeaseResult, Phase, Status
from trade_watchdog.streams import Streams

SAMPLE_EVERY_S: Final = 1.1
"""A little more than samples must lie apart to count as ones."""
SAMPLE_SOON_S: Final = 0.25
"""Between two readings, however much the streams tell: a thirtieth of what the exchange permits one address."""
CHECKPOINT_EVERY_S: Final = 60.0
RETRY_FIRST_S: Final = 0.5
RETRY_LAST_S: Final = 5.0
LEASE_RETRY_S: Final = 1.0
TAKE_OVER_AFTER_S: Final = 0.05
"""Behind the end of another watchdog's lease, as the gateway told it."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Monitor:
    """The loops and what they share."""

    exchange: WatchedExchange
    watch: AccountWatch
    keeper: LadderKeeper
    master: WatchedExchange
    auditor: Auditor
    reconciler: Reconciler
    sender: LeaseSender
    status: Status
    metrics: WatchdogMetrics
    account: str
    clock: Clock
    streams: Streams | None = None
    alarm: FreezeAlarm = field(init=False)
    _watching_since_ns: int = 0
    _soon: asyncio.Event = field(default_factory=asyncio.Event)
    _sampled: asyncio.Event = field(default_factory=asyncio.Event)
    _tightened: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Tell of what freezes by the same hands as everything else."""
        self.alarm = FreezeAlarm(tell=self.keeper.effects.alert, clock=self.clock)

    async def run(self) -> None:
        """Watch until cancelled. Raises ConfigurationError for a key or an exchange that must not be used."""
        await self._verify_key()
        self.keeper.on_moved = self._update_verdict
        self.auditor.on_change = self._update_verdict
        self.sender.on_fork = self.auditor.found_fork_of_gateway
        self.sender.on_fork_judged = self.auditor.judged_fork_of_gateway
        async with asyncio.TaskGroup() as tasks:
            if self.streams is not None:
                self.streams.on_change = self._update_verdict
                tasks.create_task(self.streams.run())
            tasks.create_task(self._sample_forever())
            tasks.create_task(self._lease_forever())
            tasks.create_task(self.sender.second.keep_reading())
            tasks.create_task(self.keeper.pursue())
            tasks.create_task(self.auditor.run())
            tasks.create_task(self.reconciler.run())
            tasks.create_task(self.keeper.history.keep_signed(every_s=CHECKPOINT_EVERY_S))

    async def _verify_key(self) -> None:
        """Wait for the exchange as long as it takes; its answer about the key decides."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self.exchange.check_environment()
                information = await self.exchange.key_information()
                masters = await self.master.key_information()
                break
            except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
                self._note_waiting(str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_LAST_S)
        wrong = excess_power(information, account=self.account)
        if wrong:
            raise ConfigurationError("the watchdog's exchange key is refused: " + "; ".join(wrong))
        wrong = excess_master_power(masters, of_sub_account=information)
        if wrong:
            raise ConfigurationError("the watchdog's master key is refused: " + "; ".join(wrong))
        self.status.phase = Phase.WATCHING
        self._watching_since_ns = self.clock.monotonic_ns()
        self.status.exchange_detail = ""
        _log.info("exchange keys verified: read-only, account %s and its master", self.account)

    def _note_waiting(self, detail: str) -> None:
        if detail != self.status.exchange_detail:
            _log.warning("no lease yet, waiting for the exchange: %s", detail)
        self.status.exchange_detail = detail
        self.status.finding = Finding.UNAVAILABLE
        self.alarm.take({"start": "the exchange has not said yet that our keys are harmless"})

    async def _sample_forever(self) -> None:
        while True:
            began_ns = self.clock.monotonic_ns()
            await self._sample()
            await asyncio.sleep(self._rest_of_period_s(began_ns, SAMPLE_SOON_S))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rest_of_period_s(began_ns, SAMPLE_EVERY_S)):
                    await self._soon.wait()
            self._soon.clear()

    def sample_soon(self) -> None:
        """Bring the next reading forward: a stream has told of something that may have moved the equity."""
        self._soon.set()

    async def _sample(self) -> None:
        look = await self.watch.look()
        self.status.clock_offset_ms = self.watch.clock_offset_ms
        self.metrics.samples.labels(look.finding.value).inc()
        if look.finding is Finding.NOT_SIMULATED and self.status.finding is not look.finding:
            _log.error("%s", look.detail)
        if look.finding is Finding.DISPUTED and self.status.finding is not look.finding:
            _log.error("%s", look.detail)
            self.keeper.effects.alert(Alert(subject="coin_price", severity=Severity.CRITICAL, text=look.detail))
        self.status.finding = look.finding
        self.status.exchange_detail = look.detail
        if look.finding is Finding.GOOD:
            self.status.last_good = look.sample
            self.keeper.take(look)
            self._tell_streams(look)
            self._hold_second(look)
        self._update_verdict()
        self._sampled.set()

    def _hold_second(self, look: Look) -> None:
        if look.sample is not None:
            self.sender.second.hold(held_coins(look.sample))

    def _tell_streams(self, look: Look) -> None:
        if self.streams is not None and look.sample is not None and look.book is not None:
            self.streams.take(look.sample, unit_price=look.book.price)

    def _update_verdict(self) -> Verdict:
        """Judge anew; time alone can make a verdict tighter."""
        before = self.status.verdict
        verdicts = self._verdicts()
        verdict = tightest(*verdicts.values())
        self.status.verdict = verdict
        if verdict.ceiling is not before.ceiling:
            level = logging.INFO if verdict.ceiling is Ceiling.ACTIVE else logging.WARNING
            _log.log(level, "ceiling %s: %s", verdict.ceiling.value, verdict.reason)
            self._tightened.set()
        self.alarm.take(self._frozen(verdicts))
        return verdict

    def _verdicts(self) -> dict[str, Verdict]:
        """Ask everybody who may tighten, by name; the reading goes by the name of what it found."""
        finding, now_ns = self.status.finding, self.clock.monotonic_ns()
        reading = judge(last_good=self.status.last_good, finding=finding, now_monotonic_ns=now_ns)
        verdicts = {
            "stale" if finding is Finding.GOOD else finding.value: reading,
            "ladder": self.keeper.demand(),
            "memory": self._memory_verdict(),
            "audit": self.auditor.verdict(),
        }
        return verdicts if self.streams is None else {**verdicts, "streams": self.streams.verdict()}

    def _frozen(self, verdicts: Mapping[str, Verdict]) -> dict[str, str]:
        """Name what freezes, with its reason. A disputed price has an alert of its own, which says more."""
        frozen = {
            cause: verdict.reason
            for cause, verdict in verdicts.items()
            if verdict.ceiling is Ceiling.REDUCE_ONLY and cause != Finding.DISPUTED.value
        }
        since_ns = max(self.status.lease_accepted_at_ns or 0, self._watching_since_ns)
        is_leading = self.status.lease_result is not LeaseResult.STANDING_BY
        if is_leading and self.clock.monotonic_ns() - since_ns > LIFETIME_S * NS_PER_S:
            result = self.status.lease_result.value
            frozen["lease"] = f"the gateway has counted no lease for {LIFETIME_S} s (the last attempt: {result})"
        return frozen

    def _memory_verdict(self) -> Verdict:
        if self.keeper.history.is_writable:
            return Verdict(ceiling=Ceiling.ACTIVE, reason="")
        return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason="the watchdog's own journal cannot be written")

    async def _lease_forever(self) -> None:
        await self._sampled.wait()  # whatever the first reading finds, the first lease carries it
        while True:
            began_ns = self.clock.monotonic_ns()
            self._tightened.clear()
            try:
                is_accepted = await self._send_lease()
                pause_s = self._rest_of_period_s(began_ns, SEND_EVERY_S) if is_accepted else LEASE_RETRY_S
            except StandsBy as error:
                if self.status.lease_result is not LeaseResult.STANDING_BY:
                    self._tell_of_standing_by(error.whose)
                # Its detail counts seconds down: what is logged is that it stands by, once.
                self._note_lease(LeaseResult.STANDING_BY, str(error), level=logging.WARNING)
                pause_s = min(SEND_EVERY_S, error.wait_s + TAKE_OVER_AFTER_S)
            await self._wait_for_change(pause_s)

    async def _wait_for_change(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._tightened.wait()
        except TimeoutError:
            return

    async def _send_lease(self) -> bool:
        try:
            lease = await self.sender.send(self._update_verdict)
        except GatewayUnavailable as error:
            return self._note_lease(LeaseResult.UNAVAILABLE, str(error), level=logging.WARNING)
        except GatewayRefused as error:
            return self._note_lease(LeaseResult.REFUSED, str(error), level=logging.WARNING)
        except GatewayAnswerInvalid as error:
            return self._note_lease(LeaseResult.INVALID, str(error), level=logging.ERROR)
        except GenerationUnavailable as error:
            return self._note_lease(LeaseResult.UNNUMBERED, str(error), level=logging.ERROR)
        except GatewayForeign as error:
            return self._note_lease(LeaseResult.FOREIGN, str(error), level=logging.ERROR)
        except Unwitnessed as error:
            return self._note_lease(LeaseResult.UNWITNESSED, str(error), level=logging.WARNING)
        except GatewayForked as error:
            return self._note_lease(LeaseResult.FORKED, str(error), level=logging.ERROR)
        finally:
            self.status.witnessed_rows = self.sender.witness.size
        if self.status.lease_result is LeaseResult.STANDING_BY:
            self._tell_of_taking_over()
        self.status.lease = lease
        self.status.lease_accepted_at_ns = self.clock.monotonic_ns()
        self._note_lease(LeaseResult.ACCEPTED, "", level=logging.INFO)
        return True

    def _tell_of_standing_by(self, whose: str) -> None:
        text = f"{whose}; this watchdog stands by: it watches and sends no lease"
        self.keeper.effects.alert(Alert(subject="watchdog_stands_by", severity=Severity.WARNING, text=text))

    def _tell_of_taking_over(self) -> None:
        text = "the watchdog that led has sent no lease in time; this one, which stood by, leads now"
        self.keeper.effects.alert(Alert(subject="watchdog_took_over", severity=Severity.WARNING, text=text))

    def _note_lease(self, result: LeaseResult, detail: str, *, level: int) -> bool:
        self.metrics.leases.labels(result.value).inc()
        if result is not self.status.lease_result:
            _log.log(level, "lease %s %s", result.value, detail)
        self.status.lease_result = result
        self.status.lease_detail = detail
        return False

    def _rest_of_period_s(self, began_ns: int, period_s: float) -> float:
        return max(0.0, period_s - (self.clock.monotonic_ns() - began_ns) / 1e9)
