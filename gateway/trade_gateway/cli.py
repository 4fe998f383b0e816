"""`trade-gateway`: run the gateway, initialise a deployment, print a configuration for freqtrade."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.errors import (
    ConfigurationError,
    ExchangeAnswerInvalid,
    ExchangeUnavailable,
    InvalidNumber,
    TradeError,
    UnknownOutcome,
)
from trade_core.guarded_protocol import MAX_CONNECTIONS, guarded_protocol
from trade_core.logs import RefusalLog, configure_logging
from trade_core.open_files import connections_within_limit
from trade_core.secrets import Secret, read_secret_file, secret_text
from trade_core.serving import Listener, serve
from trade_core.settings import load_settings
from trade_core.trust.baseline import Baseline
from trade_core.trust.keys import NotTrusted, key_id, load_private_key
from trade_core.trust.ring import ring_hash
from trade_gateway.admin import admin_app
from trade_gateway.baseline import read_baseline
from trade_gateway.freqtrade_config import ControlInterface, Mode, freqtrade_config, largest_stake_usdt, render
from trade_gateway.genesis import check_genesis, remember_genesis
from trade_gateway.identity import HANDOVER_FOLDER, initialise, load_identity, log_signer, require_uninitialised
from trade_gateway.listener import BotListener
from trade_gateway.policy.explain import explain_request
from trade_gateway.policy.limits import Policy, parse_policy, policy_hash
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.release_command import release, release_policy
from trade_gateway.service import Gateway
from trade_gateway.settings import GatewaySettings
from trade_gateway.stream_frames import MAX_FRAME_CHARACTERS
from trade_gateway.wire.intents import Category
from trade_journal.writer import JournalWriter

EXIT_CLEAN = 0
EXIT_FAILURE = 1
EXIT_REFUSED = 2
ADMIN_CONNECTIONS = 64
BASELINE_WITHIN_S = 20
log = logging.getLogger("trade_gateway")


class BaselineUnavailable(TradeError):
    """The exchange could not be asked what the account has; nothing was written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 clean, 1 failure, 2 usage or configuration refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.config is None:
        parser.error("--config FILE is needed")
    configure_logging("trade-gateway")
    try:
        settings = load_settings(options.config, GatewaySettings)
        configure_logging("trade-gateway", level=settings.log_level)
        match options.command:
            case "init":
                return _init(settings, options.watchdog_public)
            case "freqtrade-config":
                return _freqtrade_config(settings, Mode(options.mode), options.api_port)
            case "explain":
                return _explain(settings, options.request)
            case "release":
                ask = release_policy if options.policy else release
                print(ask(settings, key_file=options.key, reason=options.reason, is_confirmed=options.yes))
                return EXIT_CLEAN
            case _:
                exit_code: int = uvloop.run(_run(settings))
                return exit_code
    except TradeError as error:
        print(f"trade-gateway: {error}", file=sys.stderr)
        return EXIT_REFUSED if isinstance(error, ConfigurationError | NotTrusted) else EXIT_FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-gateway",
        description="The only process that holds an order key: checks, journals and forwards each order.",
        epilog="Exit codes: 0 clean end, 1 failure while running, 2 usage or configuration refused.",
    )
    parser.add_argument("--config", type=Path, required=False, metavar="FILE", help="settings (TOML)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    init = commands.add_parser("init", help="make the gateway's keys and the key ring of a new deployment")
    init.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    init.add_argument(
        "--watchdog-public", type=Path, required=True, metavar="FILE", help="public.json of the watchdog's own init"
    )
    printing = commands.add_parser("freqtrade-config", help="print a complete, safe freqtrade configuration")
    printing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    printing.add_argument("--mode", choices=[mode.value for mode in Mode], required=True)
    printing.add_argument(
        "--api-port", type=int, default=8080, metavar="PORT", help="loopback port of freqtrade's own control (8080)"
    )
    explaining = commands.add_parser("explain", help="say what the policy would answer to an order, check by check")
    explaining.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    explaining.add_argument("request", type=Path, metavar="REQUEST.json", help='{"body": {...}, "assume": {...}}')
    releasing = commands.add_parser(
        "release", help="lift the HALTED latch, or put a looser policy in force, with the operator's key"
    )
    releasing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    releasing.add_argument("--reason", required=True, help="why it is safe; journaled")
    releasing.add_argument("--policy", action="store_true", help="the policy file's looser policy, and no latch")
    releasing.add_argument("--key", type=Path, metavar="FILE", help="the operator's key, when it is kept elsewhere")
    releasing.add_argument("--yes", action="store_true", help="sign without asking at the terminal")
    return parser


def read_policy(path: Path) -> Policy:
    """Read the policy file. Raises ConfigurationError naming it."""
    try:
        return parse_policy(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: policy cannot be read: {error.strerror}") from error
    except TradeError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _init(settings: GatewaySettings, watchdog_public: Path) -> int:
    try:
        public = json.loads(watchdog_public.read_bytes())
        lease_key, witness_key = str(public["lease_key"]), str(public["witness_key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{watchdog_public}: is not a watchdog's public.json ({type(error).__name__})"
        ) from None
    require_uninitialised(settings)
    for key in (lease_key, witness_key):
        key_id(key)  # before the exchange is asked: a wrong file is known at once
    policy = read_policy(settings.policy_file)
    baseline = asyncio.run(_take_baseline(settings, policy))
    ring = initialise(
        settings, lease_key=lease_key, witness_key=witness_key, policy_hash=policy_hash(policy), baseline=baseline
    )
    print(f"deployment {ring.deployment} for account {ring.account} ({ring.environment})")
    print(
        f"baseline: {len(baseline.orders)} orders, {len(baseline.positions)} positions and {len(baseline.holdings)} "
        "coins were there before; orders that appear later without the gateway's tag are a stranger's"
    )
    print(f"key ring: {settings.ring_file}")
    print(f"handover files for watchdog, operator and freqtrade: {settings.state_dir / 'handover'}")
    return EXIT_CLEAN


async def _take_baseline(settings: GatewaySettings, policy: Policy) -> Baseline:
    key, secret = _order_key(settings)
    client = BybitClient(
        base_url=settings.exchange_url,
        clock=SystemClock(),
        is_simulated=settings.environment == "simulated",
        key=key,
        secret=secret,
    )
    categories = frozenset(category for category, _ in policy.symbols)
    try:
        async with asyncio.timeout(BASELINE_WITHIN_S):
            return await read_baseline(client, account=settings.account, categories=categories)
    except (TimeoutError, ExchangeUnavailable, ExchangeAnswerInvalid, UnknownOutcome, InvalidNumber) as error:
        raise BaselineUnavailable(
            f"the exchange at {settings.exchange_url} did not tell what the account has ({str(error) or 'in time'}); "
            "init needs it, so that what is there now is not taken for a stranger's later"
        ) from error
    finally:
        await client.aclose()


def _order_key(settings: GatewaySettings) -> tuple[Secret, Secret]:
    content = read_secret_file(settings.secrets_file)
    return (
        secret_text(content, "exchange_key", path=settings.secrets_file),
        secret_text(content, "exchange_secret", path=settings.secrets_file),
    )


def _explain(settings: GatewaySettings, request: Path) -> int:
    try:
        document = request.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{request}: cannot be read: {error.strerror}") from error
    explanation = explain_request(document, policy=read_policy(settings.policy_file))
    print(f"{'allowed' if explanation.is_allowed else 'denied'} ({explanation.kind})")
    for check in explanation.checks:
        print(f"  {'pass' if check.has_passed else 'DENY'}  {check.name}{': ' + check.reason if check.reason else ''}")
    for assumption in explanation.assumed:
        print(f"  assumed: {assumption}")
    return EXIT_CLEAN if explanation.is_allowed else EXIT_FAILURE


def _freqtrade_config(settings: GatewaySettings, mode: Mode, api_port: int) -> int:
    policy = read_policy(settings.policy_file)
    category = Category.SPOT if mode is Mode.SPOT else Category.LINEAR
    symbols = sorted(symbol for listed, symbol in policy.symbols if listed is category)
    if not symbols:
        raise ConfigurationError(f"{settings.policy_file}: has no {category.value} symbol for {mode.value} trading")
    handover = settings.state_dir / HANDOVER_FOLDER / "freqtrade.json"
    access = read_secret_file(handover)
    leverage = 1 if mode is Mode.SPOT else policy.leverage
    control = ControlInterface(
        port=api_port,
        username="trade",
        password=secrets.token_urlsafe(24),
        jwt_secret=secrets.token_hex(32),
        websocket_token=secrets.token_urlsafe(24),
    )
    config = freqtrade_config(
        mode=mode,
        gateway_url=str(access["url"]),
        gateway_ws=str(access["ws"]),
        key=str(access["key"]),
        secret=str(access["secret"]),
        symbols=symbols,
        stake_usdt=largest_stake_usdt(max_order_notional_usdt=policy.max_order_notional_usdt, leverage=leverage),
        max_order_notional_usdt=policy.max_order_notional_usdt,
        leverage=leverage,
        stop_slippage=policy.stop_slippage if policy.protective_stops is ProtectiveStops.REDUCE_ONLY else None,
        control=control,
    )
    print(render(config))
    return EXIT_CLEAN


async def _run(settings: GatewaySettings) -> int:
    identity, ring = load_identity(settings)
    order_key = _order_key(settings)
    clock = SystemClock()
    signer = log_signer(ring, load_private_key(identity.private_key.reveal()))
    journal = await JournalWriter.open(settings.journal_url, origin=signer.origin, clock=clock, signer=signer)
    try:
        await check_genesis(settings.state_dir, journal, ring_hash=ring_hash(ring))
    except BaseException:
        await journal.close()
        raise
    gateway = Gateway(
        settings=settings,
        identity=identity,
        ring=ring,
        order_key=order_key,
        journal=journal,
        clock=clock,
    )
    stop = asyncio.Event()
    try:
        await gateway.start(stop=stop)
        await remember_genesis(settings.state_dir, journal)
        await serve(_listeners(settings, gateway), stop=stop, on_ready=lambda: log.info("%s", _where(settings)))
    finally:
        await gateway.stop()
    if gateway.fatal is not None:
        raise gateway.fatal
    return EXIT_CLEAN


def _listeners(settings: GatewaySettings, gateway: Gateway) -> list[Listener]:
    bot = Listener(
        app=BotListener(judge=gateway.judge, relay=gateway.relay),
        host=settings.listen_host,
        port=settings.listen_port,
        setting="listen_port",
        http=guarded_protocol(gateway.judge.count_refusal, max_connections=connections_within_limit(MAX_CONNECTIONS)),
        # The protocol itself bounds connections, and counts what it refuses.
        options={"limit_concurrency": None, "ws_max_size": MAX_FRAME_CHARACTERS * 4, "interface": "asgi3"},
    )
    admin = Listener(
        app=admin_app(gateway, tokens=gateway.admin_tokens, registry=gateway.metrics.registry),
        host=settings.admin_host,
        port=settings.admin_port,
        setting="admin_port",
        # For its bounds: strangers, idle or slow, must not use up the few connections.
        http=guarded_protocol(RefusalLog("admin listener").note, max_connections=ADMIN_CONNECTIONS),
        options={"limit_concurrency": None},
    )
    return [admin, bot]


def _where(settings: GatewaySettings) -> str:
    return (
        f"listening for the bot on {settings.listen_host}:{settings.listen_port}, "
        f"for administration on {settings.admin_host}:{settings.admin_port}"
    )
