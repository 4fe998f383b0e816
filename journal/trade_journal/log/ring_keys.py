"""Whose signatures count for a log: read from the key ring, the same for its writer, its witness and strangers."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import load_public_key
from trade_core.trust.log_warrant import FIRST_LOG
from trade_core.trust.ring import KeyRing, ring_hash
from trade_journal.log.checkpoint import LogSigner, log_name, signer_name
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Verifier
from trade_journal.log.verify import PublicKeys


def gateway_journal_name(ring: KeyRing) -> str:
    """Name the gateway's journal, whatever logs it went on in."""
    return _name(ring, "gateway")


def gateway_log_keys(ring: KeyRing, *, number: int = FIRST_LOG) -> PublicKeys:
    """Return the keys of the gateway's log of a number, of those before it, and of its witness, the watchdog."""
    public = load_public_key(ring.gateway_key)
    names = [log_name(gateway_journal_name(ring), one) for one in range(FIRST_LOG, number + 1)]
    *former, log = (Verifier(name=name, kind=ED25519, public=public) for name in names)
    return PublicKeys(
        log=log,
        witness=Verifier(name=_name(ring, "watchdog"), kind=COSIGNATURE_V1, public=load_public_key(ring.witness_key)),
        former=tuple(former),
    )


def executor_log_keys(ring: KeyRing, *, executor_key: str = "") -> PublicKeys | None:
    """Return the keys of the kill executor's log and of its witness, the watchdog.

    `executor_key` stands in where the ring names none; None when nobody does. Raises NotTrusted for what is no key.
    """
    public = ring.executor_key or executor_key
    if not public:
        return None
    return PublicKeys(
        log=Verifier(name=_name(ring, "executor"), kind=ED25519, public=load_public_key(public)),
        witness=Verifier(name=_name(ring, "watchdog"), kind=COSIGNATURE_V1, public=load_public_key(ring.witness_key)),
    )


def gateway_log_signer(ring: KeyRing, private_key: Ed25519PrivateKey, *, number: int = FIRST_LOG) -> LogSigner:
    """Return who signs the checkpoints of the gateway's log of a number."""
    name = log_name(gateway_journal_name(ring), number)
    return LogSigner(origin=name, private_key=private_key, ring_hash=ring_hash(ring))


def watchdog_log_name(ring: KeyRing) -> str:
    """Name the watchdog's own log."""
    return _name(ring, "watchdog")


def watchdog_log_keys(ring: KeyRing, *, watchdog_key: str) -> PublicKeys:
    """Return the key of the watchdog's own log, which nobody witnesses. Raises NotTrusted for what is no key."""
    log = Verifier(name=watchdog_log_name(ring), kind=ED25519, public=load_public_key(watchdog_key))
    return PublicKeys(log=log, witness=None)


def public_keys_text(
    ring: KeyRing, *, number: int = FIRST_LOG, others: Sequence[PublicKeys] = (), watchdog_key: str = ""
) -> str:
    """Write what a stranger needs to verify the journals of a deployment, in the words of signed notes.

    The ring names no key of the watchdog's own log: it is `watchdog_key`, or among the `others` that a file had before.
    """
    keys = gateway_log_keys(ring, number=number)
    assert keys.witness is not None
    lines = [f"# deployment {ring.deployment}: the log of the gateway, and its witness, the watchdog"]
    lines += [key.text() for key in (*keys.former, keys.log, keys.witness)]
    more = {one.journal: one for one in others if one.journal != keys.journal}
    executor = executor_log_keys(ring)
    if executor is not None:
        more[executor.journal] = executor
    if watchdog_key:
        watchdog = watchdog_log_keys(ring, watchdog_key=watchdog_key)
        more[watchdog.journal] = watchdog
    for journal, one in sorted(more.items()):
        lines += [f"# the log of {journal}", *(key.text() for key in (*one.former, one.log))]
    return "\n".join(lines) + "\n"


def _name(ring: KeyRing, service: str) -> str:
    return signer_name(environment=ring.environment, account=ring.account, service=service)
