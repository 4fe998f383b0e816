"""`trade-gateway release`: a person reads what is held or loosened and why, signs, and hands the warrant over."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.administration import admin_address
from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_core.secrets import read_secret_file, secret_text
from trade_core.trust.keys import load_private_key
from trade_core.trust.policy_warrant import AUDIENCE
from trade_core.trust.release_subject import parse_release_subject, release_subject
from trade_core.trust.ring import read_ring, ring_hash
from trade_core.trust.warrant import WARRANT_VERSION, Warrant, WarrantPurpose, sign_warrant
from trade_gateway.identity import HANDOVER_FOLDER, OPERATOR_KEY_FILE
from trade_gateway.policy_file import look_at
from trade_gateway.policy_release import explained, requested_policy, subject_of, words_of
from trade_gateway.settings import GatewaySettings

WARRANT_LIFETIME_MS = 120_000
_TIMEOUT_S = 5.0
_CONFIRMATION = "release"


class ReleaseFailed(TradeError):
    """The gateway could not be asked, or did not take the warrant; the message says why."""


def release(
    settings: GatewaySettings, *, key_file: Path | None, reason: str, is_confirmed: bool, rebased: Sequence[str] = ()
) -> str:
    """Release the gateway's HALTED latch and return what to tell the person. Raises ReleaseFailed, TradeError.

    `rebased` names the rungs of the watchdog's ladder whose windows begin anew at the equity of the release.
    """
    key = _operator_key(settings, key_file)
    with _admin(settings) as http:
        state = _ask(http, "GET", "/state", None)
        subject = state.get("latch_subject")
        if not isinstance(subject, str):
            raise ReleaseFailed(f"nothing to release: the gateway is {state.get('trading_state')} and not latched")
        subject = release_subject(parse_release_subject(subject).sequence, rungs=rebased)
        words = _words(state, reason, rebased=parse_release_subject(subject).rungs)
        if not is_confirmed and not _is_confirmed(words):
            raise ReleaseFailed("not released: it was not confirmed")
        warrant = _warrant(settings, subject, words, purpose=WarrantPurpose.RELEASE)
        answer = _ask(http, "POST", "/release", sign_warrant(warrant, key))
    return f"announced: {words}; it takes effect in {answer['takes_effect_in_s']} s unless the gateway halts again"


def release_policy(settings: GatewaySettings, *, key_file: Path | None, reason: str, is_confirmed: bool) -> str:
    """Ask for the policy file's looser policy, and return what to tell the person. Raises ReleaseFailed, TradeError."""
    key = _operator_key(settings, key_file)
    with _admin(settings) as http:
        look, state = look_at(settings.policy_file), _ask(http, "GET", "/state", None)
        old, new = requested_policy(look, state, counts=settings.policy_counts)
        words = words_of(old, new, reason=reason)
        if not is_confirmed and not _is_confirmed(f"{explained(old, new)}\n{words}"):
            raise ReleaseFailed("not released: it was not confirmed")
        warrant = _warrant(settings, subject_of(old, new), words, purpose=WarrantPurpose.POLICY)
        answer = _ask(http, "POST", "/release", sign_warrant(warrant, key))
    return (
        f"announced: {words}\n{explained(old, new)}\n"
        f"it takes effect in {answer['takes_effect_in_s']} s unless the gateway halts or the file changes"
    )


def _operator_key(settings: GatewaySettings, key_file: Path | None) -> Ed25519PrivateKey:
    path = key_file if key_file is not None else settings.state_dir / HANDOVER_FOLDER / OPERATOR_KEY_FILE
    return load_private_key(secret_text(read_secret_file(path), "operator_key", path=path).reveal())


def _admin(settings: GatewaySettings) -> httpx.Client:
    access = read_secret_file(settings.state_dir / HANDOVER_FOLDER / "operator.json")
    headers = {"Authorization": f"Bearer {access['admin_token']}"}
    return admin_address(str(access["admin_url"])).client(headers=headers, timeout=_TIMEOUT_S)


def _words(state: dict[str, Any], reason: str, *, rebased: Sequence[str]) -> str:
    held = state["holders"]["operator_latch"]
    rungs = f" and re-base the rungs {', '.join(rebased)}" if rebased else ""
    text = f"release {held['ceiling']}{rungs} (held because: {held['reason']}); reason given: {reason}"
    return neutralise(text, limit=380)


def _is_confirmed(words: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to confirm at; pass --yes to sign without asking")
    print(words)
    return input(f'type "{_CONFIRMATION}" to sign: ').strip() == _CONFIRMATION


def _warrant(settings: GatewaySettings, subject: str, words: str, *, purpose: WarrantPurpose) -> Warrant:
    ring = read_ring(settings.ring_file)
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
        answer = http.request(method, path, content=body)
        content = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ReleaseFailed(f"the gateway's admin listener did not answer: {type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK or not isinstance(content, dict):
        detail = content.get("detail") if isinstance(content, dict) else ""
        raise ReleaseFailed(f"the gateway answered {answer.status_code}: {detail}")
    return content
