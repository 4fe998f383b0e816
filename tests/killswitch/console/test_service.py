"""The console in this process on a real port: its command line, its refusals, its start and end."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ports import free_port
from trust_parts import ring_of

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_killswitch.console.cli import main
from trade_killswitch.console.service import run
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.console.sign_in import CodeBook

SECURED = {"public_origin": "https://trade.example", "tls_certificate_file": "c.pem", "tls_key_file": "k.pem"}


def certificate(folder: Path, name: str) -> None:
    """Write a certificate of a name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "k.pem").chmod(0o600)


def written(folder: Path, **changed: Any) -> Path:
    values: dict[str, Any] = {
        "environment": "simulated",
        "account": "1002",
        "listen_port": free_port(),
        "state_dir": "state",
        "ring_file": "ring.json",
        "gateway_handover": "gateway.json",
        **changed,
    }
    file = folder / "console.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return file


async def test_console_serves_without_the_others_and_ends_when_told_to(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path), ConsoleSettings)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop=stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.listen_port}", trust_env=False) as client:
        async with asyncio.timeout(60):
            while True:
                try:
                    answer = await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
        assert answer.json() == {"status": "alive", "executor": "unavailable"}
        assert (await client.get("/")).headers["location"] == f"http://localhost:{settings.listen_port}/"
    stop.set()
    await task


async def test_console_of_real_money_is_served_over_https_with_a_cookie_for_it_alone(tmp_path: Path) -> None:
    certificate(tmp_path, "trade.example")
    port = free_port()
    file = written(tmp_path, environment="testnet", listen_port=port, **SECURED)
    settings = load_settings(file, ConsoleSettings)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop=stop))
    context = ssl.create_default_context(cafile=tmp_path / "c.pem")
    headers = {"host": "trade.example", "origin": settings.origin}
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False) as client:
        more: dict[str, Any] = {"headers": headers, "extensions": {"sni_hostname": "trade.example"}}
        async with asyncio.timeout(60):
            while True:
                try:
                    assert (await client.get("/", **more)).headers["location"] == "/sign-in"
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
        code = CodeBook(settings.state_dir, clock=SystemClock()).issue()
        cookie = (await client.post("/sign-in", json={"code": code}, **more)).headers["set-cookie"]
        assert cookie.startswith("__Host-trade_console_443=")
        assert "Secure" in cookie
    stop.set()
    await task


def test_key_of_tls_that_is_open_to_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate(tmp_path, "trade.example")
    (tmp_path / "k.pem").chmod(0o644)
    assert main(["--config", str(written(tmp_path, environment="testnet", **SECURED))]) == 2
    assert "open to others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"environment": "practice"}, "environment"),
        ({"environment": "live"}, "public_origin: is missing"),
        ({"environment": "live", "public_origin": "https://trade.example"}, "tls_certificate_file: is missing"),
        ({"public_origin": "https://trade.example"}, "public_origin: is given"),
        ({"environment": "live", **SECURED, "public_origin": "http://trade.example"}, "must be https://"),
        ({"environment": "live", **SECURED, "public_origin": "https://trade.example/"}, "must be https://"),
        ({"environment": "live", **SECURED}, "no certificate with its key"),
        ({"listen_host": "0.0.0.0"}, "loopback"),
        ({"listen_port": 0}, "listen_port"),
        ({"exchange_key": "x"}, "exchange_key: is not a known setting"),
        ({"account": "x"}, "account"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], why: str
) -> None:
    assert main(["--config", str(written(tmp_path, **changed))]) == 2
    assert why in capsys.readouterr().err


async def test_ring_of_another_account_is_refused(tmp_path: Path) -> None:
    ring = ring_of(load_private_key(new_private_key()), account="7")
    (tmp_path / "ring.json").write_bytes(ring_bytes(ring))
    with pytest.raises(ConfigurationError, match="account is not that of the settings"):
        await run(load_settings(written(tmp_path), ConsoleSettings))


def test_code_is_printed_alone_with_its_use_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    assert main(["code", "--config", str(file)]) == 0
    said = capsys.readouterr()
    code = said.out.strip()
    assert len(code) == 14
    assert said.out == f"{code}\n"
    assert "good once" in said.err
    assert code not in said.err


def test_code_that_cannot_be_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    assert main(["code", "--config", str(written(tmp_path))]) == 1
    assert "no code can be kept there" in capsys.readouterr().err


def test_taken_port_is_named_with_its_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--config", str(written(tmp_path, listen_port=taken.getsockname()[1]))]) == 2
    assert "listen_port" in capsys.readouterr().err
