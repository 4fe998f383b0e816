"""`trade-gateway`: run the gateway, initialise a deployment, ask it, halt it, release it, configure freqtrade."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system
from trade_core.errors import (
    ConfigurationError,
    TradeError,
)
from trade_core.exit_codes import EXIT_CLEAN, EXIT_FAILURE, EXIT_REFUSED
from trade_core.logs import configure_logging
from trade_core.secrets import read_secret_file, secret_text
from trade_core.settings import load_settings
from trade_core.trust.keys import NotTrusted
from trade_core.trust.release_subject import HIGH_WATER, RELEASABLE_RUNGS
from trade_gateway.doctor.command import add_doctor, examine
from trade_gateway.freqtrade_config import ControlInterface, Mode, freqtrade_config, largest_stake_usdt, render
from trade_gateway.identity import HANDOVER_FOLDER, renew_virtual_key, require_uninitialised
from trade_gateway.init_command import initialise_deployment
from trade_gateway.limits_interview import add_flags, write_missing_policy
from trade_gateway.policy.explain import explain_request
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.policy_file import read_policy
from trade_gateway.public_keys import complete_public_keys
from trade_gateway.release_command import AfterKill, draft_policy, draft_release, halt, hand_over, state_text
from trade_gateway.settings import GatewaySettings
from trade_gateway.wire.intents import Category

BASELINE_WITHIN_S = 20
log = logging.getLogger("trade_gateway")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 clean, 1 failure, 2 usage or configuration refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.config is None:
        parser.error("--config FILE is needed")
    configure_logging("trade-gateway")
    try:
        return _carry_out(options)
    except TradeError as error:
        print(f"trade-gateway: {error}", file=sys.stderr)
        return EXIT_REFUSED if isinstance(error, ConfigurationError | NotTrusted) else EXIT_FAILURE
    except OSError as error:
        print(f"trade-gateway: {refused_by_system(error)}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print(f"trade-gateway: {INTERRUPTED}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _carry_out(options: argparse.Namespace) -> int:
    settings = load_settings(options.config, GatewaySettings)
    configure_logging("trade-gateway", level=settings.log_level)
    match options.command:
        case "init":
            print(_initialise(settings, options))
            return EXIT_CLEAN
        case "freqtrade-config":
            return _freqtrade_config(settings, Mode(options.mode), options.api_port)
        case "virtual-key":
            print(f"wrote {renew_virtual_key(settings)}; the gateway knows this key alone from its next start on")
            return EXIT_CLEAN
        case "public-keys":
            print(
                complete_public_keys(
                    settings, watchdog_public=options.watchdog_public, executor_public=options.executor_public
                )
            )
            return EXIT_CLEAN
        case "explain":
            return _explain(settings, options.request)
        case "doctor":
            return examine(settings, options)
        case "halt":
            print(halt(settings, reason=options.reason))
            return EXIT_CLEAN
        case "state":
            print(state_text(settings))
            return EXIT_CLEAN
        case "release":
            print(_release(settings, options))
            return EXIT_CLEAN
        case _:
            _run(settings)
            return EXIT_CLEAN


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
    init.add_argument(
        "--journal-public",
        type=Path,
        required=True,
        metavar="FILE",
        help="public.json of the journal writer's own init",
    )
    add_flags(init)
    init.add_argument(
        "--executor-public", type=Path, metavar="FILE", help="public.json of the kill executor's own init"
    )
    init.add_argument(
        "--codes", type=Path, metavar="FILE", help="write the two codes here and show none; simulated exchange only"
    )
    printing = commands.add_parser("freqtrade-config", help="print a complete, safe freqtrade configuration")
    printing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    printing.add_argument("--mode", choices=[mode.value for mode in Mode], required=True)
    printing.add_argument(
        "--api-port", type=int, default=8080, metavar="PORT", help="loopback port of freqtrade's own control (8080)"
    )
    renewing = commands.add_parser("virtual-key", help="make the bot a new virtual key in the place of the old one")
    renewing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    completing = commands.add_parser(
        "public-keys",
        help="add the lines that public-keys.txt lacks, of a deployment that was begun before it had them",
    )
    completing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    completing.add_argument("--watchdog-public", type=Path, metavar="FILE", help="public.json of the watchdog")
    completing.add_argument("--executor-public", type=Path, metavar="FILE", help="public.json of the kill executor")
    add_doctor(commands)
    explaining = commands.add_parser("explain", help="say what the policy would answer to an order, check by check")
    explaining.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    explaining.add_argument("request", type=Path, metavar="REQUEST.json", help='{"body": {...}, "assume": {...}}')
    halting = commands.add_parser("halt", help="stop everything that adds risk, now; takes no key, and lasts")
    halting.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    halting.add_argument("--reason", required=True, help="stands in the journal and the alerts")
    asking = commands.add_parser("state", help="print the running gateway's whole state: what is held and why, limits")
    asking.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    releasing = commands.add_parser(
        "release", help="draft what lifts the latch or puts a looser policy in force, or hand it over signed"
    )
    releasing.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    what = releasing.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--draft", type=Path, metavar="FILE", help="write the warrant's bytes, for a security key to sign"
    )
    what.add_argument("--warrant", type=Path, metavar="FILE", help="hand a signed warrant over to the gateway")
    releasing.add_argument("--reason", help="why it is safe; stands in the warrant and the journal")
    releasing.add_argument("--policy", action="store_true", help="the policy file's looser policy, and no latch")
    releasing.add_argument(
        "--rebase",
        action="append",
        default=[],
        choices=(*RELEASABLE_RUNGS, HIGH_WATER),
        help="a rung of the watchdog's ladder whose window begins anew at the equity of the release; may be repeated",
    )
    releasing.add_argument("--decision", default="", help="after a kill: what was decided about the ladder's rungs")
    releasing.add_argument("--drill", default="", metavar="NAME", help="after a kill: the id of the drill that passed")
    releasing.add_argument(
        "--exit-key", default="", metavar="ID", help="after a kill: id of the executor's new exit key"
    )
    return parser


def _initialise(settings: GatewaySettings, options: argparse.Namespace) -> str:
    require_uninitialised(settings)
    write_missing_policy(settings, options)
    return initialise_deployment(
        settings,
        watchdog_public=options.watchdog_public,
        journal_public=options.journal_public,
        executor_public=options.executor_public,
        codes_file=options.codes,
    )


def _release(settings: GatewaySettings, options: argparse.Namespace) -> str:
    after_kill = AfterKill(decision=options.decision, drill=options.drill, exit_key=options.exit_key)
    if options.warrant is not None:
        if options.reason or options.policy or options.rebase or after_kill != AfterKill():
            raise ConfigurationError("--warrant: it says itself what it releases and why")
        return hand_over(settings, options.warrant)
    if not options.reason:
        raise ConfigurationError("--draft: a release needs its --reason")
    if not options.policy:
        return draft_release(
            settings, options.draft, reason=options.reason, rebased=options.rebase, after_kill=after_kill
        )
    if options.rebase or after_kill != AfterKill():
        raise ConfigurationError("--policy: only the release of a latch re-bases rungs or follows a kill")
    return draft_policy(settings, options.draft, reason=options.reason)


def _explain(settings: GatewaySettings, request: Path) -> int:
    try:
        document = request.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{request}: cannot be read: {error.strerror}") from error
    policy = read_policy(settings.policy_file, counts=settings.policy_counts)
    try:
        explanation = explain_request(document, policy=policy)
    except ConfigurationError as error:
        raise ConfigurationError(f"{request}: {str(error).removeprefix(': ')}") from error
    print(f"{'allowed' if explanation.is_allowed else 'denied'} ({explanation.kind})")
    for check in explanation.checks:
        print(f"  {'pass' if check.has_passed else 'DENY'}  {check.name}{': ' + check.reason if check.reason else ''}")
    for assumption in explanation.assumed:
        print(f"  assumed: {assumption}")
    return EXIT_CLEAN if explanation.is_allowed else EXIT_FAILURE


def _freqtrade_config(settings: GatewaySettings, mode: Mode, api_port: int) -> int:
    policy = read_policy(settings.policy_file, counts=settings.policy_counts)
    category = Category.SPOT if mode is Mode.SPOT else Category.LINEAR
    symbols = sorted(symbol for listed, symbol in policy.symbols if listed is category)
    if not symbols:
        raise ConfigurationError(f"{settings.policy_file}: has no {category.value} symbol for {mode.value} trading")
    handover = settings.state_dir / HANDOVER_FOLDER / "freqtrade.json"
    access = read_secret_file(handover)
    url, websocket, key, secret = (
        secret_text(access, name, path=handover).reveal() for name in ("url", "ws", "key", "secret")
    )
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
        gateway_url=url,
        gateway_ws=websocket,
        key=key,
        secret=secret,
        symbols=symbols,
        stake_usdt=largest_stake_usdt(max_order_notional_usdt=policy.max_order_notional_usdt, leverage=leverage),
        max_order_notional_usdt=policy.max_order_notional_usdt,
        leverage=leverage,
        stop_slippage=policy.stop_slippage if policy.protective_stops is ProtectiveStops.REDUCE_ONLY else None,
        control=control,
    )
    print(render(config))
    return EXIT_CLEAN


def _run(settings: GatewaySettings) -> None:
    # A web server and a database take a second to import; the other commands do without.

    import uvloop  # noqa: PLC0415

    from trade_gateway.process import run  # noqa: PLC0415

    uvloop.run(run(settings))
