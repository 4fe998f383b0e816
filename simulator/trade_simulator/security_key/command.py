"""`trade-security-key`: a security key in a file, for people who try the demo and own none. It protects nothing."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fido2.client import ClientError

from trade_core.canonical import canonical_json
from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system
from trade_core.errors import ConfigurationError
from trade_simulator.security_key.client import make_credential, sign_payload
from trade_simulator.security_key.enrol import NotTaken, enrol, read_described
from trade_simulator.security_key.file import read_memory, write_memory
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 2
PIN_DEFAULT: Final = "0000"
_PAYLOAD_BYTES_MAX: Final = 4096
_KEYS_MAX: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        content = {"make": _made, "sign": _signed, "enrol": _enrolled}[options.command](options)
    except ConfigurationError as error:
        sys.stderr.write(f"trade-security-key: {error}\n")
        return EXIT_REFUSED
    except NotTaken as error:
        sys.stderr.write(f"trade-security-key: {error}\n")
        return EXIT_FAILED
    except ClientError as error:
        sys.stderr.write(f"trade-security-key: the key did not sign: {error.code.name.lower()}\n")
        return EXIT_FAILED
    except OSError as error:
        sys.stderr.write(f"trade-security-key: {refused_by_system(error)}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"trade-security-key: {INTERRUPTED}\n")
        return EXIT_INTERRUPTED
    sys.stdout.write(canonical_json(content).decode("ascii") + "\n")
    return EXIT_DONE


def _made(options: argparse.Namespace) -> dict[str, Any]:
    path: Path = options.file
    if not path.exists():
        write_memory(path, Memory(pin_hash=pin_hash(options.pin)))
    challenge = _decoded(options.challenge)
    made = make_credential(_key(path), rp_id=options.rp_id, origin=options.origin, challenge=challenge, pin=options.pin)
    answers = {
        "credential_id": made.credential_id,
        "attestation_object": made.attestation_object,
        "client_data": made.client_data,
    }
    return {name: _text(value) for name, value in answers.items()}


def _enrolled(options: argparse.Namespace) -> dict[str, Any]:
    return enrol(options.describe, options.file, pin=options.pin)


def _signed(options: argparse.Namespace) -> dict[str, Any]:
    payload = _payload(options.warrant)
    return {"assertions": [_assertion(path, payload, options) for path in options.file], "warrant": _text(payload)}


def _assertion(path: Path, payload: bytes, options: argparse.Namespace) -> dict[str, str]:
    key, (rp_id, origin) = _key(path), _names(options)
    held = list(key.memory.credentials.get(rp_id, {}))
    if not held:
        raise ConfigurationError(f"{path}: holds no credential for {rp_id}; make one and enrol it first")
    signed = sign_payload(key, payload, rp_id=rp_id, origin=origin, credential_ids=held, pin=options.pin)
    answers = {
        "credential_id": signed.credential_id,
        "authenticator_data": signed.authenticator_data,
        "client_data": signed.client_data,
        "signature": signed.signature,
    }
    return {name: _text(value) for name, value in answers.items()}


def _names(options: argparse.Namespace) -> tuple[str, str]:
    """Return rp id and origin: those of the key ring, or those that were given."""
    if options.ring is None:
        return options.rp_id, options.origin
    ring = read_described(options.ring)
    rp_id, origins = ring.get("rp_id"), ring.get("origins")
    if not isinstance(rp_id, str) or not isinstance(origins, list) or not origins or not isinstance(origins[0], str):
        raise ConfigurationError(f"{options.ring}: is no key ring: it names no rp_id, or no origins")
    return rp_id, origins[0]


def _key(path: Path) -> SoftwareKey:
    memory = read_memory(path)
    return SoftwareKey(memory=memory, maker=new_maker(), on_change=lambda: write_memory(path, memory))


def _payload(path: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            content = file.read(_PAYLOAD_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if not 0 < len(content) <= _PAYLOAD_BYTES_MAX:
        raise ConfigurationError(f"{path}: is empty or longer than {_PAYLOAD_BYTES_MAX} bytes")
    return content


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ConfigurationError("--challenge: must be base64") from None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-security-key",
        description="A security key in a file, for the simulated exchange. It protects nothing: its copy is the key.",
        epilog="Exit codes: 0 done, 1 the key did not sign or a service refused it, 2 refused.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    making = commands.add_parser("make", help="make a credential, in a new file or one that is there")
    making.add_argument("--file", type=Path, required=True, metavar="KEY")
    making.add_argument("--challenge", required=True, metavar="BASE64", help="what the enrolment asks to be signed")
    signing = commands.add_parser("sign", help="sign the bytes of a warrant; prints what is handed over")
    signing.add_argument("warrant", type=Path, metavar="WARRANT", help="what was drafted; - for stdin")
    signing.add_argument(
        "--file", type=Path, required=True, action="append", metavar="KEY", help="twice where two keys must sign"
    )
    enrolling = commands.add_parser("enrol", help="make two keys and have a running trade-demo take them")
    enrolling.add_argument("file", type=Path, nargs=_KEYS_MAX, metavar="KEY", help="where the two keys go")
    enrolling.add_argument(
        "--describe", type=Path, required=True, metavar="FILE", help="what `trade-demo --describe` wrote"
    )
    for each in (making, signing, enrolling):
        each.add_argument("--pin", default=PIN_DEFAULT, help=f"its PIN ({PIN_DEFAULT})")
    for each in (making, signing):
        each.add_argument("--rp-id", default="localhost", metavar="NAME", help="the key ring's rp id (localhost)")
    where = signing.add_mutually_exclusive_group(required=True)
    where.add_argument("--ring", type=Path, metavar="FILE", help="the key ring, which names rp id and origin")
    making.add_argument("--origin", required=True, metavar="URL", help="an origin of the key ring, the console's")
    where.add_argument("--origin", metavar="URL", help="an origin of the key ring, the console's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
