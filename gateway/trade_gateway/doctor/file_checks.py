"""Looks at files: who may read secrets, whether policy and key ring are what they must be. Reads nothing secret out."""

from __future__ import annotations

import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from trade_core.errors import TradeError
from trade_core.findings import Finding, Level, finding
from trade_core.ring_keeper import current_ring
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.genesis import GENESIS_FILE
from trade_gateway.identity import HANDOVER_FOLDER, identity_path, load_identity
from trade_gateway.limits_view import losses
from trade_gateway.policy_file import read_policy
from trade_gateway.public_keys import has_watchdog_log, missing_keys, public_keys_path, read_text, ring_keys
from trade_gateway.settings import GatewaySettings
from trade_journal.log.ring_keys import watchdog_log_name

CREDENTIALS_NEEDED = 2
BOT_HANDOVER = "freqtrade.json"
"""The one file that the bot's user is meant to have."""


def check_files(settings: GatewaySettings, *, bot_user: str | None) -> Iterator[Finding]:
    """Check modes, policy and ring."""
    yield from _modes(settings)
    yield _bot_user(settings, bot_user)
    yield _policy(settings)
    yield from _ring(settings)


def secret_paths(settings: GatewaySettings) -> list[Path]:
    """The secret files of the gateway that are there."""
    handover = settings.state_dir / HANDOVER_FOLDER
    handed = sorted(handover.glob("*.json")) if handover.is_dir() else []
    named = [settings.secrets_file, identity_path(settings), *handed]
    return [path for path in named if path.exists()]


def _modes(settings: GatewaySettings) -> Iterator[Finding]:
    paths = secret_paths(settings)
    if settings.secrets_file not in paths:
        advice = "write the order key there: JSON with exchange_key and exchange_secret, mode 0600"
        yield finding("secrets", Level.WRONG, f"{settings.secrets_file} is not there", advice)
    loose = [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in loose:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield finding("secrets", Level.WRONG, f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}")
    if paths and not loose:
        yield finding("secrets", Level.GOOD, f"{len(paths)} files, each readable by its owner alone")
    for folder in (settings.state_dir, settings.policy_file.parent):
        if folder.is_dir() and folder.stat().st_mode & stat.S_IWOTH:
            yield finding("folders", Level.WRONG, f"{folder} may be written by anybody", f"chmod o-w {folder}")


def _bot_user(settings: GatewaySettings, bot_user: str | None) -> Finding:
    if bot_user is None:
        advice = "run the bot as a user of its own, and name it: --bot-user NAME"
        return finding("bot's user", Level.UNKNOWN, "not named, so nothing is known of what it may read", advice)
    try:
        uid = pwd.getpwnam(bot_user).pw_uid
    except KeyError:
        return finding("bot's user", Level.WRONG, f"there is no user {bot_user}", "name the user that the bot runs as")
    owned = [path for path in _not_for_the_bot(settings) if path.stat().st_uid == uid]
    if uid == 0 or owned:
        what = "everything, as root" if uid == 0 else str(owned[0])
        return finding(
            "bot's user",
            Level.WRONG,
            f"{bot_user} can read {what}",
            "give gateway and bot a user each; else whoever takes the bot takes the key",
        )
    return finding("bot's user", Level.GOOD, f"{bot_user} owns none of the gateway's secrets")


def _not_for_the_bot(settings: GatewaySettings) -> Iterable[Path]:
    return (path for path in secret_paths(settings) if path.name != BOT_HANDOVER)


def _policy(settings: GatewaySettings) -> Finding:
    try:
        policy = read_policy(settings.policy_file, counts=settings.policy_counts)
    except TradeError as error:
        return finding("policy", Level.WRONG, str(error), "`trade-gateway init` proposes one; see docs/policy-guide.md")
    hostile, stress = losses(policy, equity_usdt=None)
    found = (
        f"at {policy.allocated_capital_usdt} USDT a hostile bot can lose {hostile.usdt:.2f} a day "
        f"({hostile.fraction:.2%}), one market gap {stress.usdt:.2f} ({stress.fraction:.2%})"
    )
    return finding("policy", Level.GOOD, found)


def _public_keys(settings: GatewaySettings, ring: KeyRing) -> Finding:
    """Look whether a stranger could verify the journals with the file of public keys."""
    path = public_keys_path(settings)
    try:
        text = read_text(path)
        missing = [key.name for key in missing_keys(text, ring_keys(ring), path=path)]
        if not has_watchdog_log(text, ring, path=path):
            missing.append(watchdog_log_name(ring))
    except TradeError as error:
        return finding("public keys", Level.WRONG, str(error), "see docs/journal.md, public keys")
    if missing:
        advice = "trade-gateway public-keys --config FILE --watchdog-public FILE adds them"
        return finding("public keys", Level.WARNING, f"{path} has no key of {', '.join(missing)}", advice)
    return finding("public keys", Level.GOOD, f"{path} names the logs of this deployment and their witness")


def _ring(settings: GatewaySettings) -> Iterator[Finding]:
    if not (settings.state_dir / GENESIS_FILE).exists() and not settings.ring_file.exists():
        advice = (
            "run the `init` of trade-watchdog, trade-journal-writer and trade-kill-executor, then `trade-gateway init`"
        )
        yield finding("key ring", Level.WRONG, "this deployment was not begun", advice)
        return
    try:
        load_identity(settings)
        ring = current_ring(settings.ring_file)  # the first ring is pinned; the changes that prove themselves follow
    except TradeError as error:
        yield finding("key ring", Level.WRONG, str(error), "see docs/runbook.md, the gateway does not start")
        return
    yield finding(
        "key ring", Level.GOOD, f"version {ring.version}, {ring_hash(ring)[:16]}, follows from the one pinned here"
    )
    yield _public_keys(settings, ring)
    labels = ", ".join(credential.label for credential in ring.credentials)
    if len(ring.credentials) < CREDENTIALS_NEEDED:
        advice = "enrol two, and keep them apart: a lost one must not be the only one"
        yield finding("security keys", Level.WARNING, f"{len(ring.credentials)} enrolled {labels}".strip(), advice)
    else:
        yield finding("security keys", Level.GOOD, f"{len(ring.credentials)} enrolled: {labels}")
