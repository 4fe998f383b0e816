"""`trade-watchdog doctor`: are the keys that the watchdog holds and expects what they must be? It changes nothing.

It asks the exchange with the watchdog's own two keys and judges as the running watchdog does; and it looks at what that
only notices, or only refuses to start for: addresses, ends, and one key in two places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trade_core.clock import SystemClock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.findings import Finding, Level, finding
from trade_watchdog.audit.key_inventory import KeyAlarm, KeyFinding, examine_keys
from trade_watchdog.audited_exchange import AuditedExchange
from trade_watchdog.auditor_service import expected_keys
from trade_watchdog.drop_copy import all_keys
from trade_watchdog.exchange import KeyRefusedByExchange, WatchedExchange
from trade_watchdog.identity import ExchangeKey, load_exchange_key
from trade_watchdog.key_check import excess_master_power, excess_power
from trade_watchdog.settings import WatchdogSettings

EXPIRY_WARNING_DAYS: Final = 14
ANY_ADDRESS: Final = frozenset({"*", "0.0.0.0", "0.0.0.0/0", "::/0"})  # noqa: S104 - what an unbound key shows, not a bind
WATCH: Final = "watch key"
MASTER: Final = "master key"
LISTED: Final = "account's keys"
_MAKE: Final[Mapping[str, str]] = {
    WATCH: "make a key of the sub-account that is read-only, without Wallet permissions, bound to this address",
    MASTER: "make a key of the master account that is read-only, bound to this address",
}
_LISTED_ADVICE: Final[Mapping[KeyAlarm, str]] = {
    KeyAlarm.ROGUE: "delete it; if it is yours, end the watchdog and name it in order_key or exit_key first",
    KeyAlarm.WIDENED: "take the rest from it at the exchange, or make another one",
    KeyAlarm.UNBOUND: "bind it to the address of the process that uses it",
    KeyAlarm.EXPIRING: "make the next one now; see docs/audit.md, to change a key",
    KeyAlarm.CHANGED: "find out who changed it",
    KeyAlarm.MISSING: "name the key that is used now in order_key or exit_key",
}
_NOT_ASKED = (ExchangeUnavailable, ExchangeAnswerInvalid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The two keys that the watchdog holds."""

    watch: ExchangeKey
    master: ExchangeKey


async def examine(settings: WatchdogSettings) -> list[Finding]:
    """Check files, keys, and what the account lists. Makes connections of its own, and closes them."""
    keys, findings = _held(settings)
    if keys is None:
        return findings
    findings += _apart(settings, keys)
    asked = AuditedExchange(
        url=settings.exchange_http, is_simulated=settings.is_simulated, key=keys.watch, clock=SystemClock()
    )
    master = AuditedExchange(
        url=settings.exchange_http, is_simulated=settings.is_simulated, key=keys.master, clock=SystemClock()
    )
    try:
        return [*findings, *await _at_the_exchange(settings, keys, asked, master)]
    finally:
        await close_all(asked.close, master.close)


def _held(settings: WatchdogSettings) -> tuple[_Keys | None, list[Finding]]:
    held: dict[str, ExchangeKey] = {}
    findings = []
    for name, path in ((WATCH, settings.secrets_file), (MASTER, settings.master_secrets_file)):
        try:
            held[name] = load_exchange_key(path)
        except ConfigurationError as error:
            advice = f"{_MAKE[name]}; write it there: JSON with exchange_key and exchange_secret, mode 0600"
            findings.append(finding(name, Level.WRONG, str(error), advice))
    return (None if findings else _Keys(watch=held[WATCH], master=held[MASTER])), findings


def _apart(settings: WatchdogSettings, keys: _Keys) -> Iterator[Finding]:
    """See that each key is one of its own: a watcher that holds another's key is worth stealing."""
    named = {
        f"the {WATCH} (secrets_file)": keys.watch.key.reveal(),
        f"the {MASTER} (master_secrets_file)": keys.master.key.reveal(),
        "the gateway's (order_key)": settings.order_key,
        "the executor's (exit_key)": settings.exit_key,
    }
    known = [(role, key) for role, key in named.items() if key is not None]
    same = [
        f"{role} is the same as {other}"
        for place, (role, key) in enumerate(known)
        for other, its in known[:place]
        if key == its
    ]
    for words in same:
        yield finding("keys apart", Level.WRONG, words, "each process has a key of its own: make another one")
    if not same:
        yield finding("keys apart", Level.GOOD, f"{len(known)} keys, each another")
    if settings.exit_key is None:
        advice = "name the executor's key in exit_key; else the watchdog calls it rogue"
        yield finding("keys apart", Level.WARNING, "no exit_key is set", advice)


async def _at_the_exchange(
    settings: WatchdogSettings, keys: _Keys, asked: AuditedExchange, master: AuditedExchange
) -> list[Finding]:
    try:
        await asked.check_environment()
    except (*_NOT_ASKED, ConfigurationError) as error:
        advice = "see whether the address is right, and whether this machine may reach it (egress, DNS, firewall)"
        return [finding("exchange", Level.WRONG, str(error), advice)]
    findings = [finding("exchange", Level.GOOD, "answers")]
    watched, problem = await _information(asked, WATCH)
    findings += problem
    if watched is not None:
        findings += _judged(WATCH, watched, excess_power(watched, account=settings.account))
    mastered, problem = await _information(master, MASTER)
    findings += problem
    if mastered is None or watched is None:
        unknown = f"not judged while the {WATCH if watched is None else MASTER} is not told of"
        return [*findings, finding(LISTED, Level.UNKNOWN, unknown)]
    faults = excess_master_power(mastered, of_sub_account=watched)
    findings += _judged(MASTER, mastered, faults)
    return [*findings, *await _listed(settings, keys, master)]


async def _information(exchange: WatchedExchange, name: str) -> tuple[Mapping[str, Any] | None, list[Finding]]:
    try:
        return await exchange.key_information(), []
    except KeyRefusedByExchange as error:
        advice = f"it is deleted, ended, or bound to another address than ours: {_MAKE[name]}"
        return None, [finding(name, Level.WRONG, str(error), advice)]
    except _NOT_ASKED as error:
        return None, [finding(name, Level.UNKNOWN, f"the exchange did not say: {error}", "try again")]


def _judged(name: str, information: Mapping[str, Any], faults: Iterable[str]) -> Iterator[Finding]:
    wrong = [finding(name, Level.WRONG, fault, _MAKE[name]) for fault in faults]
    yield from wrong or [finding(name, Level.GOOD, "reads, and nothing else")]
    ips = information.get("ips")
    if not isinstance(ips, list) or not ips or any(not isinstance(ip, str) or ip in ANY_ADDRESS for ip in ips):
        yield finding(name, Level.WARNING, "it works from any address", "bind it to this address at the exchange")
    days = information.get("deadlineDay")
    if type(days) is int and 0 < days <= EXPIRY_WARNING_DAYS:
        yield finding(name, Level.WARNING, f"ends in {days} days", "make the next one now")


async def _listed(settings: WatchdogSettings, keys: _Keys, master: AuditedExchange) -> list[Finding]:
    """Hold the account's list against the keys that the settings name, as the audit does."""
    try:
        listed = [one.listed for one in await all_keys(master, account=settings.account)]
    except (*_NOT_ASKED, KeyRefusedByExchange) as error:
        return [finding(LISTED, Level.UNKNOWN, f"the exchange did not list them: {error}", "try again")]
    found = examine_keys(listed, expected_keys(settings, read_key=keys.watch))
    if not found:
        return [finding(LISTED, Level.GOOD, f"{len(listed)}, each where and what it must be")]
    return [_alarm(one) for one in found]


def _alarm(found: KeyFinding) -> Finding:
    is_told = found.alarm in (KeyAlarm.EXPIRING, KeyAlarm.UNBOUND)
    level = Level.WARNING if is_told else Level.WRONG
    return finding(LISTED, level, f"{found.key}: {found.detail}", _LISTED_ADVICE[found.alarm])
