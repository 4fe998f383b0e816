"""`trade-gateway halt`, `state` and `release`: what a person tells and asks the running gateway.

Release drafts what would lift a latch or loosen the policy, and hands it over once it is signed.

A person reads what is held or loosened and why, and touches a security key over exactly these bytes; which program
brings draft, key and person together is not the gateway's affair. It verifies what comes back by itself.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from trade_core.administration import admin_address, refusal_text
from trade_core.drafts import UNSIGNED, is_unsigned
from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_core.ring_keeper import current_ring
from trade_core.secrets import read_secret_file, secret_text
from trade_core.trust.policy_warrant import AUDIENCE
from trade_core.trust.release_subject import HIGH_WATER, parse_release_subject, release_subject
from trade_core.trust.release_terms import (
    KILLED,
    WHY_CHARACTERS,
    KillTerms,
    ReleaseTerms,
    check_release_terms,
    killed_keys_of,
    release_words,
)
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import WARRANT_VERSION, Warrant, WarrantPurpose, warrant_bytes
from trade_gateway.identity import HANDOVER_FOLDER
from trade_gateway.policy_file import look_at
from trade_gateway.policy_release import explained, requested_policy, subject_of, words_of
from trade_gateway.settings import GatewaySettings

WARRANT_LIFETIME_MS = 240_000
_TIMEOUT_S = 5.0
_SHOWN_CHARACTERS = 80
_DETAIL_CHARACTERS = 400


class ReleaseFailed(TradeError):
    """The gateway could not be asked, or did not take what it was handed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterKill:
    """What a person says besides the cause when what he releases is a kill; empty where he says nothing."""

    decision: str = ""
    drill: str = ""
    exit_key: str = ""


_NOTHING_SAID = AfterKill()


def halt(settings: GatewaySettings, *, reason: str) -> str:
    """Have the gateway halt at once; answers what to tell the person. Raises ReleaseFailed, ConfigurationError."""
    with _admin(settings) as http:
        answer = _ask(http, "POST", "/halt", json.dumps({"reason": reason}).encode())
    in_flight = answer.get("in_flight")
    names = [neutralise(str(one), limit=_SHOWN_CHARACTERS) for one in in_flight] if isinstance(in_flight, list) else []
    flying = f"; on the wire at that moment: {', '.join(names)}" if names else ""
    return f"the gateway is {neutralise(str(answer.get('trading_state')), limit=_SHOWN_CHARACTERS)}{flying}"


def state_text(settings: GatewaySettings) -> str:
    """Ask the gateway for its whole state, as JSON for people. Raises ReleaseFailed, ConfigurationError."""
    with _admin(settings) as http:
        return json.dumps(_ask(http, "GET", "/state", None), indent=1)  # escapes whatever is not ASCII


def draft_release(
    settings: GatewaySettings,
    path: Path,
    *,
    reason: str,
    rebased: Sequence[str] = (),
    after_kill: AfterKill = _NOTHING_SAID,
) -> str:
    """Write the warrant that would lift the gateway's latch; answers what to tell the person.

    `rebased` names the rungs of the watchdog's ladder whose windows begin anew at the equity of the release.
    After a kill `after_kill` must say everything, and the gateway must use a key that was not killed.
    Raises ReleaseFailed, TradeError.
    """
    with _admin(settings) as http:
        state = _ask(http, "GET", "/state", None)
    subject = state.get("latch_subject")
    if not isinstance(subject, str):
        raise ReleaseFailed(f"nothing to release: the gateway is {state.get('trading_state')} and not latched")
    subject = release_subject(parse_release_subject(subject).sequence, rungs=rebased)
    is_killed = state["holders"]["operator_latch"]["ceiling"] == KILLED
    terms = ReleaseTerms(cause=reason, after_kill=_kill_terms(state, after_kill) if is_killed else None)
    if not is_killed and after_kill != _NOTHING_SAID:
        raise ConfigurationError(
            "--decision, --drill, --exit-key: are of a release after a kill, and nothing is killed"
        )
    words = _words(state, terms, rebased=parse_release_subject(subject).rungs)
    _write(path, _warrant(settings, subject, words, purpose=WarrantPurpose.RELEASE))
    keys = "two different security keys sign" if is_killed or HIGH_WATER in rebased else "a security key signs"
    return f"{path}: drafted, {keys} it within {WARRANT_LIFETIME_MS // 1000} s: {words}"


def draft_policy(settings: GatewaySettings, path: Path, *, reason: str) -> str:
    """Write the warrant for the policy file's looser policy. Raises ReleaseFailed, TradeError."""
    with _admin(settings) as http:
        look, state = look_at(settings.policy_file), _ask(http, "GET", "/state", None)
    old, new = requested_policy(look, state, counts=settings.policy_counts)
    words = words_of(old, new, reason=reason)
    _write(path, _warrant(settings, subject_of(old, new), words, purpose=WarrantPurpose.POLICY))
    return f"{explained(old, new)}\n{path}: drafted, a security key signs it: {words}"


def hand_over(settings: GatewaySettings, path: Path) -> str:
    """Give a signed warrant to the gateway, which verifies it by itself. Raises ReleaseFailed, ConfigurationError."""
    try:
        raw = path.read_bytes().rstrip(b"\r\n")  # the end of a line is the file's, not the warrant's
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if is_unsigned(raw):
        raise ConfigurationError(f"{path}: {UNSIGNED}")
    with _admin(settings) as http:
        answer = _ask(http, "POST", "/release", raw)
    delay_s = answer["takes_effect_in_s"]
    return (
        f"announced; it takes effect in {delay_s} s from when a channel of alerts took that, unless the gateway halts"
    )


def _write(path: Path, warrant: Warrant) -> None:
    try:
        path.write_bytes(warrant_bytes(warrant))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


def _admin(settings: GatewaySettings) -> httpx.Client:
    path = settings.state_dir / HANDOVER_FOLDER / "operator.json"
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-gateway init` first")
    access = read_secret_file(path)
    headers = {"Authorization": f"Bearer {secret_text(access, 'admin_token', path=path).reveal()}"}
    try:
        address = admin_address(secret_text(access, "admin_url", path=path).reveal())
    except ValueError as error:
        raise ConfigurationError(f"{path}: admin_url: {error}") from None
    return address.client(headers=headers, timeout=_TIMEOUT_S)


def _kill_terms(state: dict[str, Any], said: AfterKill) -> KillTerms:
    """Put what a person says together with the key that the gateway uses. Raises ReleaseFailed, ConfigurationError."""
    open_flags = [f"--{name.replace('_', '-')}" for name, text in asdict(said).items() if not text]
    if open_flags:
        raise ConfigurationError(f"{', '.join(open_flags)}: a release after a kill needs it")
    order_key = str(state.get("order_key"))
    if order_key in killed_keys_of(state):
        raise ReleaseFailed(
            f"not yet: the gateway still uses the order key {order_key}, which was killed; "
            "give it a new one, start it again, and release then"
        )
    return KillTerms(decision=said.decision, drill=said.drill, order_key=order_key, exit_key=said.exit_key)


def _words(state: dict[str, Any], terms: ReleaseTerms, *, rebased: Sequence[str]) -> str:
    held = state["holders"]["operator_latch"]
    why = neutralise(held["reason"], limit=WHY_CHARACTERS)
    try:
        words = release_words(ceiling=held["ceiling"], why=why, rungs=rebased, terms=terms)
        check_release_terms(words, ceiling=held["ceiling"], killed_keys=killed_keys_of(state))
    except ValueError as error:
        raise ConfigurationError(f"cannot be released so: {error}") from None
    return words


def _warrant(settings: GatewaySettings, subject: str, words: str, *, purpose: WarrantPurpose) -> Warrant:
    ring = current_ring(settings.ring_file)
    return Warrant(
        purpose=purpose.value,
        version=WARRANT_VERSION,
        deployment=ring.deployment,
        environment=ring.environment,
        audience=AUDIENCE,
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=subject,
        nonce=secrets.token_hex(16),
        words=words,
        expires_at_ms=time.time_ns() // 1_000_000 + WARRANT_LIFETIME_MS,
    )


def _ask(http: httpx.Client, method: str, path: str, body: bytes | None) -> dict[str, Any]:
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        answer = http.request(method, path, content=body, headers=headers)
        content = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ReleaseFailed(f"the gateway's admin listener did not answer: {type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK or not isinstance(content, dict):
        detail = refusal_text(content.get("detail")) if isinstance(content, dict) else ""
        raise ReleaseFailed(
            f"the gateway answered {answer.status_code}: {neutralise(detail, limit=_DETAIL_CHARACTERS)}"
        )
    return content
