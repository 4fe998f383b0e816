"""Asks the exchange: is it there, is our clock its clock, may the order key do what it must and nothing else?"""

from __future__ import annotations

import time
from typing import Any, Final

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_MS, SystemClock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.findings import Finding, Level, finding
from trade_gateway.identity import load_order_key
from trade_gateway.key_check import excess_power
from trade_gateway.settings import GatewaySettings

CLOCK_WARNING_MS: Final = 250
CLOCK_WRONG_MS: Final = 1000
"""The exchange takes a request for old after our window of 2 s, which the way there and back shares."""
EXPIRY_WARNING_DAYS: Final = 14
_WRONG_ADDRESS: Final = 10010
_KEY_UNKNOWN: Final = frozenset({10003, 10004, 10005, 33004})


async def check_exchange(settings: GatewaySettings) -> list[Finding]:
    """Ask for the time, then about the key."""
    is_simulated = settings.is_simulated
    client = BybitClient(base_url=settings.exchange_http, clock=SystemClock(), is_simulated=is_simulated)
    try:
        findings = await _reachable(client)
    finally:
        await client.aclose()
    if findings[0].level is not Level.GOOD:
        return [*findings, finding("order key", Level.UNKNOWN, "the exchange could not be asked")]
    return [*findings, *await _key(settings)]


async def _reachable(client: BybitClient) -> list[Finding]:
    before = time.time_ns()
    try:
        answer = await client.get_public("/v5/market/time")
        their_ns = int(str(answer.result["timeNano"]))
    except (ExchangeUnavailable, ExchangeAnswerInvalid, KeyError, ValueError) as error:
        advice = "see whether the address is right, and whether this machine may reach it (egress, DNS, firewall)"
        return [finding("exchange", Level.WRONG, f"does not answer: {error or type(error).__name__}", advice)]
    after = time.time_ns()
    way_ms = (after - before) // NS_PER_MS
    return [
        finding("exchange", Level.GOOD, f"answers in {way_ms} ms"),
        _clock(offset_ms=(their_ns - (before + after) // 2) // NS_PER_MS),
    ]


def _clock(*, offset_ms: int) -> Finding:
    words = f"the exchange's is {abs(offset_ms)} ms {'ahead' if offset_ms >= 0 else 'behind'}"
    advice = "keep time with chrony or systemd-timesyncd; a clock that is off has every order refused"
    if abs(offset_ms) >= CLOCK_WRONG_MS:
        return finding("clock", Level.WRONG, words, advice)
    if abs(offset_ms) >= CLOCK_WARNING_MS:
        return finding("clock", Level.WARNING, words, advice)
    return finding("clock", Level.GOOD, words)


async def _key(settings: GatewaySettings) -> list[Finding]:
    try:
        key, secret = load_order_key(settings)
        is_simulated = settings.is_simulated
        client = BybitClient(
            base_url=settings.exchange_http, clock=SystemClock(), is_simulated=is_simulated, key=key, secret=secret
        )
    except ConfigurationError as error:
        return [finding("order key", Level.WRONG, str(error), "write the key of the sub-account there, mode 0600")]
    try:
        answer = await client.get("/v5/user/query-api")
    except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
        return [finding("order key", Level.UNKNOWN, f"the exchange did not say: {error}", "try again")]
    finally:
        await client.aclose()
    if answer.ret_code == _WRONG_ADDRESS:
        advice = "bind the key to the address that this machine goes out with, or give the machine a fixed one"
        return [finding("egress", Level.WRONG, "the key is bound to another address than ours", advice)]
    if answer.ret_code in _KEY_UNKNOWN:
        advice = "make a new key for the sub-account, and replace both texts in secrets_file"
        return [finding("order key", Level.WRONG, f"the exchange refuses it (code {answer.ret_code})", advice)]
    if not answer.is_ok:
        return [finding("order key", Level.UNKNOWN, f"the exchange answered {answer.ret_code}", "try again")]
    return _judged(answer.result, account=settings.account)


def _judged(information: dict[str, Any], *, account: str) -> list[Finding]:
    wrong = excess_power(information, account=account)
    advice = "make a key of the sub-account, bound to this address, that may trade and nothing else"
    findings = [finding("order key", Level.WRONG, fault, advice) for fault in wrong]
    if not wrong:
        findings.append(finding("order key", Level.GOOD, "may trade, and nothing else"))
        ips = ", ".join(str(ip) for ip in information["ips"])
        findings.append(finding("egress", Level.GOOD, f"the exchange knows us by an address of the key's own ({ips})"))
    days = information.get("deadlineDay")
    if type(days) is int and 0 < days <= EXPIRY_WARNING_DAYS:
        findings.append(finding("order key", Level.WARNING, f"ends in {days} days", "make the next one now"))
    return findings
