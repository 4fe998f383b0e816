"""From a draft that a person is shown to a warrant that is handed in: the routes in between, for whoever has signed in.

    POST /draft      what is to be done -> the words, and what the browser has the key sign
    POST /hand-over  the key's answer   -> the envelope, handed to the services; their answers are told

    POST /enrol/begin, /enrol/key   a new security key is made in the browser and remembered here for its session

Guarantees
- The bytes that are handed in are those whose words were shown; they are kept here and never come from the browser.
- A draft is good for one hand-over of the session that asked for it. What was refused is drafted anew.
- What was shown and what came of it is written down, and so is what was refused, and each new key that was made or
  forgotten. What loosens is not handed in when the first cannot be: a release or a ring without a trace is none. A kill
  goes on.
- The bootstrap code is used once and kept nowhere.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from trade_core.clock import NS_PER_MS, Clock
from trade_core.logs import neutralise
from trade_core.trust.assertion import Assertion, challenge_of
from trade_core.trust.attestation import Attestation, credential_of, enrolment_challenge
from trade_core.trust.credential import MAX_CREDENTIALS, Credential
from trade_core.trust.keys import NotTrusted
from trade_core.trust.printed_key import printed_key
from trade_core.trust.release_terms import CAUSE_CHARACTERS, TEXT_LEAST, ReleaseTerms
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import Signer, printed_envelope, touched_envelope
from trade_core.trust.succession import ring_change, ring_offer
from trade_killswitch.console.checklist import conditions, is_killed, kill_terms, open_conditions
from trade_killswitch.console.drafts import (
    ARMED_DAYS_MAX,
    LIFETIME_MS,
    CannotDraft,
    Draft,
    Receiver,
    draft_executor,
    draft_release,
    draft_ring,
    draft_ring_cancel,
)
from trade_killswitch.console.facts import gateway_facts
from trade_killswitch.console.ledger import Person
from trade_killswitch.console.metrics import Action, ActionResult
from trade_killswitch.console.parts import ACTED, Parts, person_of, session_check
from trade_killswitch.console.ring_chain import RingProof
from trade_killswitch.console.sign_in import Session
from trade_killswitch.console.sources import Asked, Unreadable

DRAFTS_MAX: Final = 32
NEW_KEYS_MAX: Final = MAX_CREDENTIALS
_Base64 = Annotated[str, Field(min_length=1, max_length=8192, pattern=r"^[A-Za-z0-9_-]+$")]
_Label = Annotated[str, Field(min_length=1, max_length=40)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DraftAsked(_Body):
    """What somebody wants to sign.

    `cause` and `rungs` are of a release, `decision` and `drill` of one after a kill, `remove` and `keys` of a ring.
    """

    action: Literal["kill", "drill", "arm", "disarm", "release", "ring", "ring_cancel"]
    cause: Annotated[str, Field(max_length=CAUSE_CHARACTERS)] = ""
    rungs: Annotated[list[Literal["daily", "weekly", "monthly", "high_water"]], Field(max_length=4)] = Field(
        default_factory=list
    )
    decision: Annotated[str, Field(max_length=CAUSE_CHARACTERS)] = ""
    drill: Annotated[str, Field(max_length=CAUSE_CHARACTERS)] = ""
    confirmed: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=8)] = Field(default_factory=list)
    remove: Annotated[list[Annotated[str, Field(max_length=400)]], Field(max_length=MAX_CREDENTIALS)] = Field(
        default_factory=list
    )
    keys: Literal[1, 2] = 2
    days: Annotated[int, Field(ge=1, le=ARMED_DAYS_MAX)] = ARMED_DAYS_MAX


class TouchGiven(_Body):
    """What a security key answered, in base64url."""

    credential_id: _Base64
    authenticator_data: _Base64
    client_data: _Base64
    signature: _Base64


class HandOver(_Body):
    """The touches over a draft, or the bootstrap code in their place."""

    draft: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    touches: Annotated[list[TouchGiven], Field(max_length=2)] = Field(default_factory=list)
    code: Annotated[str, Field(max_length=60)] = ""


class NewKey(_Body):
    """What a security key answered when it made a credential, in base64url."""

    label: _Label
    credential_id: _Base64
    attestation_object: _Base64
    client_data: _Base64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A draft as it was shown, to whom, and until when it can be handed in (monotonic)."""

    draft: Draft
    session: str
    until_ns: int


@dataclass(slots=True)
class Desk:
    """What is between being shown and being handed in. Bounded; the oldest makes room."""

    clock: Clock
    shown: dict[str, _Shown] = field(default_factory=dict)
    made: dict[str, list[tuple[Credential, Attestation]]] = field(default_factory=dict)

    def put(self, draft: Draft, *, session: str) -> str:
        """Keep a draft that is shown now; returns its name."""
        while len(self.shown) >= DRAFTS_MAX:
            del self.shown[next(iter(self.shown))]
        name = secrets.token_hex(16)
        until_ns = self.clock.monotonic_ns() + LIFETIME_MS * NS_PER_MS
        self.shown[name] = _Shown(draft=draft, session=session, until_ns=until_ns)
        return name

    def take(self, name: str, *, session: str) -> Draft | None:
        """Take a draft out; None for one that is not there, is another session's, or has lapsed."""
        shown = self.shown.get(name)
        if shown is None or shown.session != session:
            return None
        del self.shown[name]
        return shown.draft if self.clock.monotonic_ns() < shown.until_ns else None

    def new_keys(self, session: str) -> list[tuple[Credential, Attestation]]:
        """Return the keys that a session has made for the next ring."""
        while len(self.made) >= DRAFTS_MAX and session not in self.made:
            del self.made[next(iter(self.made))]
        return self.made.setdefault(session, [])


def add_ceremony(app: FastAPI, parts: Parts) -> None:
    """Serve the routes."""
    desk = Desk(parts.clock)
    _add_drafts(app, parts, desk)
    _add_hand_over(app, parts, desk)
    _add_enrolment(app, parts, desk)


def _add_drafts(app: FastAPI, parts: Parts, desk: Desk) -> None:
    signed_in = Depends(session_check(parts))

    @app.post("/draft")
    async def draft(body: DraftAsked, request: Request, session: Session = signed_in) -> dict[str, Any]:
        ring = _ring(parts)
        try:
            made = await _drafted(parts, desk, body, ring=ring, session=session.name)
        except (CannotDraft, Unreadable) as error:
            await _note(parts, request, session, action=f"draft_{body.action}", result=f"not drafted: {error}")
            raise HTTPException(409, str(error)) from None
        person = person_of(request, session.name)
        confirmed = f"; confirmed: {', '.join(sorted(body.confirmed))}" if body.confirmed else ""
        shown = f"{made.words}{confirmed}"
        is_noted = await parts.ledger.note(ACTED, person, action=f"draft_{made.action}", shown=shown, result="shown")
        if not is_noted and made.action not in _TIGHTENING:
            raise HTTPException(503, "the executor's journal takes no row of it, and nothing is loosened without one")
        is_first = made.action == "ring" and not ring.credentials
        return {
            "draft": desk.put(made, session=session.name),
            "words": made.words,
            "challenge": _url(challenge_of(made.payload)),
            "rp_id": ring.rp_id,
            "allow": [_url(base64.b64decode(one.credential_id)) for one in ring.credentials],
            "keys": 0 if is_first else made.keys,
            "needs_code": is_first,
        }


async def _drafted(parts: Parts, desk: Desk, asked: DraftAsked, *, ring: KeyRing, session: str) -> Draft:
    nonce, now_ns = secrets.token_hex(16), desk.clock.wall_ns()
    match asked.action:
        case "kill" | "drill" | "arm" | "disarm":
            told = (await parts.executor.ask("GET", f"/draft?purpose={asked.action}")).document(parts.executor.name)
            return draft_executor(asked.action, told, ring=ring, nonce=nonce, now_ns=now_ns, armed_days=asked.days)
        case "release":
            state = (await parts.gateway.ask("GET", "/state")).document(parts.gateway.name)
            if len(asked.cause.strip()) < TEXT_LEAST:
                raise CannotDraft("say the cause: it is announced, and stands in the journal")
            gateway, executor = gateway_facts(state), parts.watch.executor_facts()
            unmet = open_conditions(conditions(gateway, executor), frozenset(asked.confirmed))
            if unmet:
                raise CannotDraft(f"not yet: {'; '.join(unmet)}")
            decision, drill = asked.decision.strip(), asked.drill.strip()
            after_kill = None
            if is_killed(gateway):
                after_kill = kill_terms(gateway, executor, decision=decision, drill=drill)
            elif decision or drill:
                raise CannotDraft("a decision and a drill are said of a release after a kill, and nothing is killed")
            return draft_release(
                gateway,
                terms=ReleaseTerms(cause=asked.cause.strip(), after_kill=after_kill),
                rungs=asked.rungs,
                ring=ring,
                nonce=nonce,
                now_ns=now_ns,
            )
        case "ring":
            return _drafted_ring(desk, asked, ring=ring, session=session, nonce=nonce, now_ns=now_ns)
        case "ring_cancel":
            change = parts.watch.waiting_change()
            if change is None:
                raise CannotDraft("no key ring waits")
            return draft_ring_cancel(change, ring=ring, nonce=nonce, now_ns=now_ns)


_TIGHTENING: Final = frozenset({"kill", "arm", "ring_cancel"})
_KEYS_AT_ONCE: Final = 2


def _drafted_ring(desk: Desk, asked: DraftAsked, *, ring: KeyRing, session: str, nonce: str, now_ns: int) -> Draft:
    added = [credential for credential, _ in desk.new_keys(session)]
    removed = [one for one in ring.credentials if one.credential_id in asked.remove]
    if not added and not removed:
        raise CannotDraft("no key was added or removed")
    kept = [one for one in ring.credentials if one not in removed]
    words = f"key ring version {ring.version + 1}"
    if added:
        words += f"; add {', '.join(one.label for one in added)}"
    if removed:
        words += f"; remove {', '.join(one.label for one in removed)}"
    words += f"; its keys are then {', '.join(one.label for one in (*kept, *added))}"
    if ring.credentials and asked.keys == 1:
        words += "; it counts after 72 hours unless a key cancels it"
    change = ring_change(ring, credentials=[*kept, *added])
    return draft_ring(change, words=words, keys=asked.keys, ring=ring, nonce=nonce, now_ns=now_ns)


def _add_hand_over(app: FastAPI, parts: Parts, desk: Desk) -> None:
    signed_in = Depends(session_check(parts))

    @app.post("/hand-over")
    async def hand_over(body: HandOver, request: Request, session: Session = signed_in) -> dict[str, Any]:
        draft = desk.take(body.draft, session=session.name)
        if draft is None:
            result = "that was handed in already or has lapsed; begin again"
            await _note(parts, request, session, action="hand_over", result=result)
            raise HTTPException(409, result)
        try:
            envelope = _envelope(draft, body)
        except (NotTrusted, ValueError, binascii.Error) as error:
            result = f"not handed in: {error}"
            await _note(parts, request, session, action=draft.action, shown=draft.words, result=result)
            raise HTTPException(422, result) from None
        content = envelope
        if draft.change:
            attestations = [proof for _, proof in desk.new_keys(session.name)]
            content = ring_offer(change=draft.change, warrant=envelope, attestations=attestations)
        person = person_of(request, session.name)
        said, results = await _handed_in(parts, draft, content, person=person)
        if draft.change and ActionResult.DONE in results:
            if (
                body.code or len(body.touches) == _KEYS_AT_ONCE
            ):  # by one key it waits, and the journal tells when it counts
                parts.watch.chain.follow([RingProof(change=draft.change, warrant=envelope)])
            desk.made.pop(session.name, None)
        parts.watch.look_soon()
        # Whoever reads that it was done must be able to rely on all of it.
        if ActionResult.UNANSWERED in results:
            raise HTTPException(502, said)
        if ActionResult.REFUSED in results:
            raise HTTPException(409, said)
        return {"said": said}


def _envelope(draft: Draft, body: HandOver) -> bytes:
    if body.code:
        key = printed_key(body.code, purpose="bootstrap")
        return printed_envelope(draft.payload, key, signer=Signer.BOOTSTRAP_KEY)
    if not body.touches:
        raise ValueError("no security key was touched")
    names = ("credential_id", "authenticator_data", "client_data", "signature")
    touches = [Assertion(**{name: _bytes(getattr(one, name)) for name in names}) for one in body.touches]
    return touched_envelope(draft.payload, touches)


async def _handed_in(
    parts: Parts, draft: Draft, content: bytes, *, person: Person
) -> tuple[str, tuple[ActionResult, ...]]:
    """Hand a warrant to whom it is for, one after the other, whatever each answers; write down what they said."""
    receivers = {
        Receiver.EXECUTOR: (parts.executor,),
        Receiver.EXECUTOR_AND_GATEWAY: (parts.executor, parts.gateway),
        Receiver.GATEWAY: (parts.gateway,),
        Receiver.EVERYBODY: (parts.gateway, parts.watchdog, parts.executor),
    }[draft.receiver]
    answers = [await _answer(service, draft.path, content) for service in receivers]
    said = neutralise("; ".join(words for _, words in answers), limit=1000)
    results = tuple(result for result, _ in answers)
    worst = next((one for one in (ActionResult.UNANSWERED, ActionResult.REFUSED) if one in results), ActionResult.DONE)
    parts.metrics.note_action(_ACTIONS[draft.action], worst)
    await parts.ledger.note(ACTED, person, action=draft.action, shown=draft.words, result=said)
    return said, results


async def _answer(service: Asked, path: str, content: bytes) -> tuple[ActionResult, str]:
    try:
        answer = await service.ask("POST", path, content)
    except Unreadable as error:
        return ActionResult.UNANSWERED, f"{error}; it may have been done"
    if not 200 <= answer.status < 300:
        return ActionResult.REFUSED, f"{service.name} refuses: {answer.detail()}"
    try:
        told = answer.document(service.name)
    except Unreadable:
        return ActionResult.DONE, f"{service.name}: taken"
    if "kill_id" in told:
        return ActionResult.DONE, f"{told.get('kill')}: kill {told['kill_id']}; its progress is shown here"
    in_s = told.get("takes_effect_in_s")
    if isinstance(in_s, int | float) and in_s > 0:
        return ActionResult.DONE, f"{service.name}: announced, takes effect in {round(in_s)} s"
    if isinstance(told.get("armed"), dict):
        is_armed = told["armed"].get("is_armed") is True
        return ActionResult.DONE, f"{service.name}: {'armed' if is_armed else 'not armed'}"
    if "trading_state" in told:
        return ActionResult.DONE, f"{service.name}: it is {told['trading_state']}"
    return ActionResult.DONE, f"{service.name}: taken"


_ACTIONS: Final = {
    "kill": Action.KILL,
    "drill": Action.DRILL,
    "arm": Action.ARM,
    "disarm": Action.DISARM,
    "release": Action.RELEASE,
    "ring": Action.RING,
    "ring_cancel": Action.RING,
}


def _add_enrolment(app: FastAPI, parts: Parts, desk: Desk) -> None:
    signed_in = Depends(session_check(parts))

    @app.post("/enrol/begin")
    async def begin(request: Request, session: Session = signed_in) -> dict[str, Any]:
        ring = _ring(parts)
        name = f"Trade {ring.environment} {ring.account}"
        await _note(parts, request, session, action="enrol_begin", shown=name, result="a new key was asked for")
        known = [base64.b64decode(one.credential_id) for one in ring.credentials]
        known += [proof.credential_id for _, proof in desk.new_keys(session.name)]
        return {
            "challenge": _url(enrolment_challenge(ring)),
            "rp_id": ring.rp_id,
            "user": _url(secrets.token_bytes(16)),
            "name": name,
            "exclude": [_url(identifier) for identifier in known],
        }

    @app.post("/enrol/key")
    async def key(body: NewKey, request: Request, session: Session = signed_in) -> dict[str, Any]:
        made = desk.new_keys(session.name)
        label = neutralise(body.label, limit=40)[:40]
        if len(made) >= NEW_KEYS_MAX:
            await _note(parts, request, session, action="enrol_key", shown=label, result="enough new keys wait already")
            raise HTTPException(409, "enough new keys wait already")
        try:
            attestation = Attestation(
                credential_id=_bytes(body.credential_id),
                attestation_object=_bytes(body.attestation_object),
                client_data=_bytes(body.client_data),
            )
            now_ms = desk.clock.wall_ns() // NS_PER_MS
            made.append((credential_of(attestation, label=label, added_at_ms=now_ms), attestation))
        except (NotTrusted, ValueError, binascii.Error) as error:
            result = f"that is no new security key: {error}"
            await _note(parts, request, session, action="enrol_key", shown=label, result=result)
            raise HTTPException(422, result) from None
        said = f"{label} was made; {len(made)} new in all"
        await _note(parts, request, session, action="enrol_key", shown=label, result=said)
        return {"said": said, "labels": [one.label for one, _ in made]}

    @app.post("/enrol/forget")
    async def forget(request: Request, session: Session = signed_in) -> dict[str, Any]:
        labels = ", ".join(one.label for one, _ in desk.made.pop(session.name, []))
        await _note(parts, request, session, action="enrol_forget", shown=labels or "none", result="forgotten")
        return {"said": "forgotten"}


async def _note(
    parts: Parts, request: Request, session: Session, *, action: str, result: str, shown: str = "none"
) -> None:
    """Write down what loosens nothing yet, or was refused; it is so although the journal takes no row of it."""
    await parts.ledger.note(ACTED, person_of(request, session.name), action=action, shown=shown, result=result)


def _ring(parts: Parts) -> KeyRing:
    if parts.watch.ring is None:
        raise HTTPException(409, "the key ring cannot be read, so nobody can say which keys to touch")
    if parts.origin not in parts.watch.ring.origins:
        raise HTTPException(409, f"the key ring does not name {parts.origin}, so no touch here would count")
    return parts.watch.ring


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
