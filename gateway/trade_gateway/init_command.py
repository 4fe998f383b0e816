"""`trade-gateway init`: begins a deployment, once, with what the account has now as its baseline."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.errors import (
    ExchangeAnswerInvalid,
    ExchangeUnavailable,
    InvalidNumber,
    TradeError,
    UnknownOutcome,
)
from trade_core.trust.baseline import Baseline
from trade_core.trust.keys import key_id
from trade_gateway.baseline import read_baseline
from trade_gateway.codes import new_codes, said
from trade_gateway.identity import HANDOVER_FOLDER, initialise, load_order_key, require_uninitialised
from trade_gateway.policy.limits import Policy, policy_hash
from trade_gateway.policy_file import read_policy
from trade_gateway.public_keys import read_public, require_of_account
from trade_gateway.settings import GatewaySettings

BASELINE_WITHIN_S = 20


class BaselineUnavailable(TradeError):
    """The exchange could not be asked what the account has; nothing was written."""


def initialise_deployment(
    settings: GatewaySettings,
    *,
    watchdog_public: Path,
    journal_public: Path,
    executor_public: Path | None = None,
    codes_file: Path | None = None,
) -> str:
    """Make keys, ring and handover files of a new deployment; answers what to tell the person at the terminal.

    Raises ConfigurationError, NotTrusted, BaselineUnavailable; nothing has been written then.
    """
    watchdog_names = ("lease_key", "witness_key", "log_key")
    lease_key, witness_key, watchdog_log_key = read_public(watchdog_public, *watchdog_names, of="a watchdog")
    (log_key,) = read_public(journal_public, "log_key", of="a journal writer")
    executor_key = "" if executor_public is None else read_public(executor_public, "executor_key", of="an executor")[0]
    for path in filter(None, (watchdog_public, journal_public, executor_public)):
        require_of_account(path, environment=settings.environment, account=settings.account)
    require_uninitialised(settings)
    codes = new_codes(settings, codes_file=codes_file)
    for key in (log_key, lease_key, witness_key, watchdog_log_key):
        key_id(key)  # before the exchange is asked: a wrong file is known at once
    policy = read_policy(settings.policy_file, counts=settings.policy_counts)
    baseline = asyncio.run(_take_baseline(settings, policy))
    ring = initialise(
        settings,
        log_key=log_key,
        lease_key=lease_key,
        witness_key=witness_key,
        policy_hash=policy_hash(policy),
        baseline=baseline,
        executor_key=executor_key,
        watchdog_log_key=watchdog_log_key,
        codes=codes,
    )
    if codes is not None and codes_file is not None:
        codes.write(codes_file)
    return "\n".join(
        [
            f"deployment {ring.deployment} for account {ring.account} ({ring.environment})",
            f"baseline: {len(baseline.orders)} orders, {len(baseline.positions)} positions and {len(baseline.holdings)}"
            " coins were there before; orders that appear later without the gateway's tag are a stranger's",
            f"key ring: {settings.ring_file}",
            f"handover files for watchdog, operator and freqtrade: {settings.state_dir / HANDOVER_FOLDER}",
            *(said(codes, codes_file=codes_file)),
        ]
    )


async def _take_baseline(settings: GatewaySettings, policy: Policy) -> Baseline:
    key, secret = load_order_key(settings)
    client = BybitClient(
        base_url=settings.exchange_http,
        clock=SystemClock(),
        is_simulated=settings.is_simulated,
        key=key,
        secret=secret,
    )
    categories = frozenset(category for category, _ in policy.symbols)
    try:
        async with asyncio.timeout(BASELINE_WITHIN_S):
            return await read_baseline(client, account=settings.account, categories=categories)
    except (TimeoutError, ExchangeUnavailable, ExchangeAnswerInvalid, UnknownOutcome, InvalidNumber) as error:
        raise BaselineUnavailable(
            f"the exchange at {settings.exchange_http} did not tell what the account has ({str(error) or 'in time'}); "
            "init needs it, so that what is there now is not taken for a stranger's later"
        ) from error
    finally:
        await client.aclose()
