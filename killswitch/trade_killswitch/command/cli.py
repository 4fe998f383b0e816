"""`trade-kill`: revoke, drill, arm, look, take up again, and sign a warrant that was drafted on another machine."""

from __future__ import annotations

import argparse
import getpass
import json
import secrets
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.drafts import UNSIGNED, is_unsigned
from trade_core.errors import ConfigurationError, TradeError
from trade_core.exit_codes import EXIT_REFUSED
from trade_core.logs import neutralise
from trade_core.ring_keeper import current_ring
from trade_core.secrets import write_atomically
from trade_core.settings import load_settings
from trade_core.trust.assertion import Assertion
from trade_core.trust.keys import NotTrusted
from trade_core.trust.printed_key import printed_key
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import MAX_ENVELOPE_BYTES, Signer, printed_envelope, touched_envelope
from trade_core.trust.warrant import MAX_WARRANT_BYTES, WarrantPurpose
from trade_killswitch.command.draft import ARMED_DAYS_MAX, draft_warrant, read_draft, shown, time_text
from trade_killswitch.command.executor_client import ExecutorClient, NotTaken
from trade_killswitch.command.follow import EXIT_DONE, EXIT_FAILED, EXIT_PENDING, follow, kill_of, told_end
from trade_killswitch.command.security_key import Devices, NotSigned, Terminal, plugged_in, sign_by_touch
from trade_killswitch.settings import ExecutorSettings

EXIT_NOT_SIGNED: Final = 5
WAIT_S_DEFAULT: Final = 90
WAIT_S_MAX: Final = 3600
RECOVERY_PURPOSE: Final = "recovery"
KEYS_MAX: Final = 2
_TIME_MS_MAX: Final = 253_402_300_800_000  # the year 10000, which no calendar here writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the command has around it: security keys, a person, a clock, and a browser if there is one."""

    devices: Devices = plugged_in
    ask_secret: Callable[[str], str] = getpass.getpass
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    browse: Callable[[str], bool] = webbrowser.open


def main(arguments: Sequence[str] | None = None, *, surroundings: Surroundings | None = None) -> int:
    """Run the command line; answers the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.sign and options.config is None and (options.socket is None or options.ring is None):
        parser.error("--config FILE, or --socket and --ring, are needed")
    if options.sign and options.config is None and options.ring is None:
        parser.error("--sign needs --ring FILE, the public key ring of the deployment")
    try:
        return _run(options, surroundings or Surroundings())
    except NotSigned as error:
        _say(f"trade-kill: nothing was signed: {error}")
        return EXIT_NOT_SIGNED
    except (ConfigurationError, NotTrusted) as error:
        _say(f"trade-kill: refused: {error}")
        return EXIT_REFUSED
    except (NotTaken, TradeError) as error:
        _say(f"trade-kill: {error}")
        return EXIT_FAILED
    except EOFError:
        _say("\ntrade-kill: nothing was signed: there is no terminal to ask at")
        return EXIT_NOT_SIGNED
    except KeyboardInterrupt:
        _say("\nended; a kill that was taken goes on: trade-kill --status")
        return EXIT_PENDING


def _run(options: argparse.Namespace, around: Surroundings) -> int:
    socket, ring_file = _places(options)
    if options.sign:
        return _sign(options, around, current_ring(ring_file))
    if options.browser:
        return _open_console(around, current_ring(ring_file))
    client = ExecutorClient(socket)
    if options.status:
        return _status(client, as_json=options.json)
    if options.resume:
        client.post("/resume", b"{}")
        _say("taken up again: what is not done is tried at once")
        return follow(client, say=_say, wait_s=options.wait)
    return _order(options, around, client, current_ring(ring_file))


def _open_console(around: Surroundings, ring: KeyRing) -> int:
    """Open the console's page, at the origin for which the security keys were enrolled."""
    address = f"{ring.origins[0]}/"
    _say(f"the console is at {address}; it asks for a code: trade-console code --config console.toml")
    if around.browse(address):
        return EXIT_DONE
    _say("there is no browser here: open that address in one, or make a tunnel that ends at it")
    return EXIT_FAILED


def _places(options: argparse.Namespace) -> tuple[Path, Path]:
    """Say where socket and key ring are: flags go before the settings."""
    if options.config is None:
        return options.socket or Path(), options.ring
    settings = load_settings(options.config, ExecutorSettings)
    return options.socket or settings.socket, options.ring or settings.ring_file


def _order(options: argparse.Namespace, around: Surroundings, client: ExecutorClient, ring: KeyRing) -> int:
    """Draft, have signed and hand over, or as much of it as is asked for."""
    if options.signed is not None:
        envelope = _read(options.signed, MAX_ENVELOPE_BYTES)
        if is_unsigned(envelope):
            raise ConfigurationError(f"{options.signed}: {UNSIGNED}")
    else:
        told = client.get(f"/draft?purpose={_purpose(options).value}")
        nonce, now_ms = secrets.token_hex(16), around.now_ms()
        payload = draft_warrant(told, ring=ring, nonce=nonce, now_ms=now_ms, armed_days=options.arm)
        if options.out is not None:
            _write(options.out, payload)
            _say(f"wrote {options.out}; sign it within five minutes: trade-kill --sign {options.out} --ring FILE")
            return EXIT_DONE
        envelope = _signed(options, around, payload, ring)
    if options.arm is not None or options.disarm:
        answer = client.post("/disarm" if options.disarm else "/arm", envelope)
        _say(_armed_text(answer.get("armed")))
        return EXIT_DONE
    answer = client.post("/kill", envelope)
    _say(f"the executor has taken it (kill {neutralise(str(answer.get('kill_id')), limit=40)})")
    return follow(client, say=_say, wait_s=options.wait)


def _purpose(options: argparse.Namespace) -> WarrantPurpose:
    """Say what is ordered; the line is checked already."""
    if options.arm is not None:
        return WarrantPurpose.ARM
    if options.disarm:
        return WarrantPurpose.DISARM
    return WarrantPurpose.DRILL if options.drill else WarrantPurpose.KILL


def _sign(options: argparse.Namespace, around: Surroundings, ring: KeyRing) -> int:
    envelope = _signed(options, around, _read(options.sign, MAX_WARRANT_BYTES), ring)
    if options.out is None:
        sys.stdout.write(envelope.decode("ascii") + "\n")
    else:
        _write(options.out, envelope)
        _say(f"wrote {options.out}; hand it over where the warrant was drafted: --signed {options.out}")
    return EXIT_DONE


def _signed(options: argparse.Namespace, around: Surroundings, payload: bytes, ring: KeyRing) -> bytes:
    """Show what is to be signed, and have it signed. Raises NotSigned, NotTrusted."""
    warrant = read_draft(payload, ring=ring)
    _say(shown(warrant, now_ms=around.now_ms()) + "\n")
    if warrant.expires_at_ms <= around.now_ms():
        raise NotSigned("this warrant is over; draft a new one")
    if options.recovery:
        code = around.ask_secret("recovery code (24 letters and digits): ")
        return printed_envelope(payload, printed_key(code, purpose=RECOVERY_PURPOSE), signer=Signer.RECOVERY_KEY)
    person = Terminal(ask_pin=around.ask_secret, say=_say)
    touches: list[Assertion] = []
    for number in range(1, options.keys + 1):
        if options.keys > 1:
            _say(f"security key {number} of {options.keys}")
        touches.append(sign_by_touch(payload, ring=ring, person=person, devices=around.devices, without=touches))
    return touched_envelope(payload, touches)


def _status(client: ExecutorClient, *, as_json: bool) -> int:
    status = client.get("/status")
    running, last = kill_of(status)
    if as_json:
        sys.stdout.write(json.dumps(status, indent=1) + "\n")
    _say(_armed_text(status.get("armed")))
    _say(neutralise(f"exit key {status.get('exit_key')}", limit=300))
    if running is not None:
        _say(neutralise(f"a kill goes on: {running.get('in_words')}", limit=400))
        return EXIT_PENDING
    return told_end(last, _say)


def _armed_text(armed: object) -> str:
    """Say whether an automatic kill is armed, and until when or why not; only a plain yes is one."""
    if not isinstance(armed, dict):
        return "an automatic kill is NOT armed"
    until = armed.get("expires_at_ms")
    if armed.get("is_armed") is True and type(until) is int and 0 < until < _TIME_MS_MAX:
        return f"an automatic kill is armed until {time_text(until)}"
    return neutralise(f"an automatic kill is NOT armed ({armed.get('reason')})", limit=300)


def _read(path: Path, most_bytes: int) -> bytes:
    """Read what another machine wrote; `-` is the standard input. Raises ConfigurationError."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            content = file.read(most_bytes + 2)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    content = content.rstrip(b"\r\n")
    if not content or len(content) > most_bytes:
        raise ConfigurationError(f"{path}: is empty or longer than {most_bytes} bytes")
    return content


def _write(path: Path, content: bytes) -> None:
    if str(path) == "-":
        sys.stdout.write(content.decode("ascii") + "\n")
        return
    try:
        write_atomically(path, content, mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text) <= WAIT_S_MAX:
        raise argparse.ArgumentTypeError(f"must be seconds from 0 to {WAIT_S_MAX}")
    return int(text)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= ARMED_DAYS_MAX):
        raise argparse.ArgumentTypeError(f"must be days from 1 to {ARMED_DAYS_MAX}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-kill",
        description="Stop everything and destroy the keys, by a touch of a security key that the key ring names.",
        epilog="Exit codes: 0 done (a kill: complete and proved), 1 the executor did not take it, 2 usage, settings or "
        "files refused, 3 taken and not over yet, 4 taken and NOT FLAT: a position is left, 5 nobody signed.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--revoke", action="store_true", help="kill: halt, end the bot, cancel, close as set, delete keys"
    )
    what.add_argument("--drill", action="store_true", help="the same, recorded as a drill: it destroys as a kill does")
    what.add_argument(
        "--arm", type=_days, metavar="DAYS", help=f"let it kill without a touch for so long, 1 to {ARMED_DAYS_MAX}"
    )
    what.add_argument("--disarm", action="store_true", help="a kill takes a touch again")
    what.add_argument("--status", action="store_true", help="say whether a kill is armed, goes on, or how it ended")
    what.add_argument("--resume", action="store_true", help="try at once what of the last kill is not done")
    what.add_argument(
        "--browser", action="store_true", help="open the console's page, where a browser has the key sign"
    )
    what.add_argument(
        "--sign", type=Path, metavar="FILE", help="sign a warrant that was drafted elsewhere; - for stdin"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the executor's settings: socket and key ring")
    parser.add_argument("--socket", type=Path, metavar="FILE", help="the executor's socket, without its settings")
    parser.add_argument("--ring", type=Path, metavar="FILE", help="the public key ring, without its settings")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the draft, or what was signed, here")
    parser.add_argument("--signed", type=Path, metavar="FILE", help="hand over what --sign made on another machine")
    parser.add_argument("--recovery", action="store_true", help="sign with the recovery code on paper, not with a key")
    parser.add_argument(
        "--keys",
        type=int,
        choices=range(1, KEYS_MAX + 1),
        default=1,
        help="how many security keys sign (a release after a kill takes 2)",
    )
    parser.add_argument(
        "--wait", type=_seconds, default=WAIT_S_DEFAULT, metavar="S", help=f"watch for so long ({WAIT_S_DEFAULT} s)"
    )
    parser.add_argument("--json", action="store_true", help="with --status: everything, for machines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
