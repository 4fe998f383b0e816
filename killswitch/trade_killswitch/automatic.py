"""Keeps the standing warrant, and judges whether a request may become a kill.

Guarantees
- Nothing is armed unless every part of a kill was seen to be ready, our own samples among them, and the warrant names
  the keys that were seen.
- The warrant is verified anew, against the ring of that moment, whenever it is to be used: a lapsed one, or one of
  another ring, is none. A disarmed one is never taken again, nor is one whose kill has begun: that follows from the
  rows of kills and from its own file, either of which is enough.
- A request counts only when it bears the watchdog's signature and what the executor reads itself at that moment agrees.
- A file that cannot be written arms nothing and disarms all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import read_secret_file, write_secret_file
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.warrant import WarrantPurpose
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import log_number
from trade_journal.log.fork_proof import proof_in, proves_fork
from trade_journal.log.note import Verifier
from trade_journal.log.ring_keys import gateway_journal_name, gateway_log_keys
from trade_journal.log.rows import Fields, RowKind
from trade_killswitch.authorisation import Authorisation, kill_id_of, warrant_fields
from trade_killswitch.authorised import AuthorisedKill
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.kill_order import REASON_CHARACTERS_MAX, Authority, KillOrder
from trade_killswitch.own_samples import READY, OwnSamples
from trade_killswitch.readiness import Readiness
from trade_killswitch.recorder import Recorder
from trade_killswitch.revoker import RevokerExchange
from trade_killswitch.standing import Condition, OwnView, Terms, judge

STANDING_FILE: Final = "standing.json"
LOOK_PATIENCE_S: Final = 6.0
DAY_MS: Final = 24 * 3600 * 1000
NAG_WITHIN_MS: Final = 7 * DAY_MS
VOIDED_MAX: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
NOT_ARMED: Final = "no standing warrant: a kill without a touch is a sweep, and a person is called"
USED: Final = "the kill that this standing warrant allowed has begun already; another one takes a new touch"
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Automatic:
    """The standing warrant of one account."""

    authorisation: Authorisation
    readiness: Readiness
    exchange: ExitExchange
    revoker: RevokerExchange | None
    recorder: Recorder
    clock: Clock
    state_dir: Path
    terms_of: Callable[[tuple[str, ...]], Terms]
    tell: Callable[[str, str], None]
    samples: OwnSamples
    is_used: Callable[[str], bool] = lambda _: False
    """Whether a kill of this id was ordered before, as the journal of kills shows."""
    _raw: bytes = b""
    _terms: Terms | None = None
    _voided: list[str] = field(default_factory=list)
    _nagged_at_ms: int = 0

    def load(self) -> None:
        """Read what was kept. Raises ConfigurationError for a damaged file."""
        file = self.state_dir / STANDING_FILE
        if file.exists():
            content = read_secret_file(file)
            envelope, keys, voided = content.get("envelope"), content.get("keys"), content.get("voided")
            if not isinstance(envelope, str) or not isinstance(keys, list) or not isinstance(voided, list):
                raise ConfigurationError(f"{file}: is not what the executor keeps of a standing warrant")
            self._raw, self._voided = envelope.encode(), [str(one) for one in voided]
            self._terms = self.terms_of(tuple(str(key) for key in keys)) if envelope else None

    def draft(self) -> Terms:
        """Return what would be armed now. Raises NotTrusted unless everything is ready."""
        if not self.readiness.is_ready:
            raise NotTrusted("nothing can be armed: not every part of a kill is ready, see ready in the status")
        if self.samples.words != READY:
            raise NotTrusted(f"nothing can be armed: our own samples are {self.samples.words}")
        return self.terms_of(self.readiness.keys)

    async def arm(self, raw: bytes) -> Fields:
        """Take a standing warrant. Raises NotTrusted."""
        terms = self.draft()
        signed = self.authorisation.order(raw, purpose=WarrantPurpose.ARM, subject=terms.subject())
        named = kill_id_of(signed.warrant)
        if self._is_void(named):
            raise NotTrusted("this warrant was disarmed or used; a new one takes a new touch")
        try:
            self._keep(raw, terms)
        except OSError as error:
            raise NotTrusted(f"the standing warrant cannot be kept: {error.strerror}") from error
        fields = {
            "expires_at_ms": signed.warrant.expires_at_ms,
            "terms": terms.subject(),
            "keys_of_the_account": list(terms.keys),
            **warrant_fields(raw, signed),
        }
        await self.recorder.record(RowKind.STANDING_WARRANT_ARMED, fields)
        return fields

    async def disarm(self, raw: bytes) -> None:
        """Give the standing warrant up. Raises NotTrusted without one, or without a touch."""
        subject = self.disarm_subject()
        signed = self.authorisation.order(raw, purpose=WarrantPurpose.DISARM, subject=subject)
        self._void(subject.removeprefix("disarm:"))
        await self.recorder.record(RowKind.STANDING_WARRANT_DISARMED, warrant_fields(raw, signed))

    def use_up(self, kill_id: str) -> None:
        """Void the standing warrant, whose kill has begun: there is no second kill in it."""
        self._void(kill_id)

    def disarm_subject(self) -> str:
        """Return what a warrant to disarm is for. Raises NotTrusted when nothing is armed."""
        return f"disarm:{self._standing_id()}"

    def status(self) -> dict[str, Any]:
        """Say whether it is armed, until when, and what the executor's own samples show."""
        own = None if self.samples.drawdown is None else f"{self.samples.drawdown:.6f}"
        try:
            expires_at_ms = self._armed()[0].warrant.expires_at_ms if self._raw else 0
        except NotTrusted as error:
            return {"is_armed": False, "reason": f"the standing warrant is none any more: {error}", "own_drawdown": own}
        if not expires_at_ms:
            return {"is_armed": False, "reason": NOT_ARMED, "own_drawdown": own}
        left_ms = expires_at_ms - self.clock.wall_ns() // NS_PER_MS
        reason = "" if self.readiness.is_ready else "not every part of a kill is ready"
        if not reason and self.samples.words != READY:
            reason = f"our own samples are {self.samples.words}"
        return {
            "is_armed": not reason,
            "reason": reason,
            "expires_at_ms": expires_at_ms,
            "lapses_soon": left_ms < NAG_WITHIN_MS,
            "own_drawdown": own,
        }

    async def judged(self, condition: Condition, evidence: dict[str, str], *, reason: str) -> AuthorisedKill:
        """Make a kill of a signed request when our own look agrees. Raises NotTrusted saying why it is none."""
        signed, terms = self._armed()
        own = await self._look(condition, evidence)
        found = judge(terms, condition, own)
        if not found.holds:
            raise NotTrusted(f"not confirmed: {found.why}")
        order = KillOrder(
            kill_id=kill_id_of(signed.warrant),
            authority=Authority.STANDING_WARRANT,
            reason=f"{condition.value}: {found.why}; {reason}"[:REASON_CHARACTERS_MAX],
            endings=terms.endings,
            is_drill=False,
        )
        return AuthorisedKill(order=order, fields={"confirmed": found.why, **warrant_fields(self._raw, signed)})

    async def rebase(self, raw: bytes) -> Fields | None:
        """Let our own highest point begin anew, by the release that did so at the gateway and the watchdog.

        Gives what was written of it, None when that release has done it before. Raises NotTrusted.
        """
        signed = self.authorisation.rebasing(raw)
        try:
            async with asyncio.timeout(LOOK_PATIENCE_S):
                before = await self.samples.rebase(kill_id_of(signed.warrant))
        except (ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError) as error:
            raise NotTrusted(f"release: our own equity cannot be read now: {error or type(error).__name__}") from None
        if before is None:
            return None
        fields = {"drawdown_before": f"{before:.6f}", **warrant_fields(raw, signed)}
        await self.recorder.record(RowKind.OWN_SAMPLES_REBASED, fields)
        return fields

    async def keep_sampling(self) -> None:
        """Sample the account once a minute, and faster until its highest point is known."""
        while True:
            await self.samples.try_sample()
            self.nag()
            await asyncio.sleep(self.samples.pause_s)

    def nag(self) -> None:
        """Tell people once a day when the standing warrant lapses within a week, or is none any more."""
        now_ms = self.clock.wall_ns() // NS_PER_MS
        if not self._raw or now_ms - self._nagged_at_ms < DAY_MS:
            return
        status = self.status()
        expires_at_ms = status.get("expires_at_ms")
        if expires_at_ms is None:
            self.tell("standing_warrant:lapsed", f"{status['reason']}; arm it again")
        elif status["lapses_soon"]:
            left_days = (int(expires_at_ms) - now_ms) // DAY_MS
            self.tell("standing_warrant:lapsing", f"the automatic kill lapses in {left_days} days; arm it again")
        else:
            return
        self._nagged_at_ms = now_ms

    async def _look(self, condition: Condition, evidence: dict[str, str]) -> OwnView:
        with contextlib.suppress(ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError):
            async with asyncio.timeout(LOOK_PATIENCE_S):
                match condition:
                    case Condition.DRAWDOWN:
                        await self.samples.sample()
                        return OwnView(drawdown=self.samples.drawdown)
                    case Condition.ROGUE_KEY if self.revoker is not None:
                        return OwnView(keys=[one.key for one in await self.revoker.keys()])
                    case Condition.ROGUE_ORDER:
                        return OwnView(has_order=await self._has_order(evidence))
                    case Condition.FORKED_JOURNAL:
                        return OwnView(has_forked=forked_by(self.authorisation.ring, evidence))
                    case _:
                        return OwnView()
        return OwnView()

    async def _has_order(self, evidence: dict[str, str]) -> bool:
        """Look for the order that is named. The exchange lists working contracts by symbol or settle coin alone."""
        order_id, symbol = evidence.get("order_id", ""), evidence.get("symbol", "")
        category = evidence.get("category", "")
        is_named = _NAME.fullmatch(order_id) is not None and _NAME.fullmatch(symbol) is not None
        if not is_named or category not in ("spot", "linear", "inverse"):
            return False
        query = f"category={category}&symbol={symbol}&orderId={order_id}"
        for path in ("/v5/order/realtime", "/v5/order/history"):
            rows = (await self.exchange.calls.get(path, query)).result.get("list")
            if isinstance(rows, list) and any(isinstance(row, dict) and row.get("orderId") == order_id for row in rows):
                return True
        return False

    def _armed(self) -> tuple[SignedWarrant, Terms]:
        """Verify what is armed. Raises NotTrusted when it is none, or none any more."""
        if not self._raw or self._terms is None:
            raise NotTrusted(NOT_ARMED)
        signed = self.authorisation.standing(self._raw)
        if self._is_void(kill_id_of(signed.warrant)):
            raise NotTrusted(USED)
        if signed.warrant.subject != self._terms.subject():
            raise NotTrusted("the standing warrant is for other terms than the settings now say")
        return signed, self._terms

    def _is_void(self, kill_id: str) -> bool:
        return kill_id in self._voided or self.is_used(kill_id)

    def _void(self, kill_id: str) -> None:
        self._voided = [*self._voided, kill_id][-VOIDED_MAX:]
        self._raw, self._terms = b"", None
        try:
            self._keep(b"", None)
        except OSError as error:
            # Void in memory. If we crash before it is on disk, the row of its kill voids it; a disarmed one comes back.
            log.error("the file of the standing warrant cannot be written: %s", error.strerror)

    def _standing_id(self) -> str:
        if not self._raw:
            raise NotTrusted("nothing is armed")
        return kill_id_of(self.authorisation.standing(self._raw).warrant)

    def _keep(self, raw: bytes, terms: Terms | None) -> None:
        content = {
            "envelope": raw.decode("ascii"),
            "keys": [] if terms is None else list(terms.keys),
            "voided": self._voided,
        }
        write_secret_file(self.state_dir / STANDING_FILE, content)
        self._raw, self._terms = raw, terms


def forked_by(ring: KeyRing, evidence: dict[str, str]) -> bool | None:
    """Tell whether a proof in the evidence shows that the gateway's log has signed two histories; None without one."""
    proof = proof_in(evidence)
    if not proof:
        return None
    try:
        return proves_fork(proof, log_of=lambda name: _gateway_log(ring, name))
    except NoteRefused:
        return False


def _gateway_log(ring: KeyRing, name: str) -> Verifier:
    """Give the key of one of the gateway's logs. Raises NoteRefused for another log."""
    return gateway_log_keys(ring, number=log_number(gateway_journal_name(ring), name)).log
