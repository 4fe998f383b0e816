"""A PostgreSQL server of its own for tests: made, started, killed and started again; on loopback and a Unix socket."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ports import HOST, free_port

from trade_journal.store.postgres_address import SCHEMA_PREFIX
from trade_journal.store.postgres_init import init_journal

DATABASE: Final = "journals"
SUPERUSER, OWNER, WRITER, READER = "postgres", "journal_owner", "journal_writer", "journal_reader"
_STARTED_WITHIN_S: Final = 30.0


class PostgresServer:
    """One server. initdb refuses root, so as root it runs as the user that the package brings."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
        assert found, "PostgreSQL is not installed: run tests/system-packages"
        self._programs = found[-1].parent
        self._user = "postgres" if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="trade-pg-", dir="/tmp"))  # a socket's path is short
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self.passfile = self.folder / "passfile"
        self.passfile.write_text(f"*:*:*:*:{self.password}\n")
        self.passfile.chmod(0o600)
        self._data = self.folder / "data"
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._make()
        self.start()
        self._make_roles()

    def url(self, role: str = WRITER, *, database: str = DATABASE, host: str | None = None, more: str = "") -> str:
        """Name the database as a role sees it."""
        where = f"{host}:{self.port}" if host else f":{self.port}"
        options = f"passfile={self.passfile}" + ("" if host else f"&host={self.folder}") + more
        return f"postgresql://{role}@{where}/{database}?{options}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        values = {
            "unix_socket_directories": self.folder,
            "max_connections": 40,
            "shared_buffers": "16MB",
            "max_wal_size": "256MB",
            "max_wal_senders": 2,  # without them it never waits for a standby
        }
        settings = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), "-h", HOST, *settings]
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while True:
            with (self.folder / "log").open("ab") as log:
                process = subprocess.Popen(command, user=self._user, cwd="/", stdout=log, stderr=log)
            self._postmaster = process
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    self.admin(database="postgres").close()
                except psycopg.OperationalError:
                    time.sleep(0.05)
                else:
                    return
            # After a kill its children may still hold the old memory for a moment.
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """End it with SIGKILL, as the death of the machine would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, throwing its clients out."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """End it at once and delete it."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def admin(self, *, database: str = DATABASE) -> psycopg.Connection[Any]:
        """Connect as the superuser."""
        return psycopg.connect(
            host=str(self.folder),
            port=self.port,
            dbname=database,
            user=SUPERUSER,
            password=self.password,
            autocommit=True,
        )

    def run(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with self.admin() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def setting(self, name: str, value: str | None) -> None:
        """Change a setting of the running server, or reset it."""
        self.run(f"ALTER SYSTEM SET {name} = {value}" if value else f"ALTER SYSTEM RESET {name}")
        self.run("SELECT pg_reload_conf()")
        while True:
            with self.admin() as connection:
                found = connection.execute("SHOW " + name.encode().decode()).fetchone()  # type: ignore[call-overload]
            if value is None or found == (value,):
                return
            time.sleep(0.02)

    def prove_itself(self) -> Path:
        """Have the server speak TLS as `localhost`; answer the certificate that vouches for it."""
        certificate, key = self._data / "server.crt", self._data / "server.key"
        made, private = self_signed("localhost")
        for path, content in ((certificate, made), (key, private)):
            path.write_bytes(content)
            path.chmod(0o600)
            if self._user is not None:
                shutil.chown(path, self._user)
        self.setting("ssl", "on")
        trusted = self.folder / "trusted.crt"
        trusted.write_bytes(made)
        return trusted

    def ask_in_clear(self) -> None:
        """Have the server ask for the password itself from now on."""
        (self._data / "pg_hba.conf").write_text("local all postgres scram-sha-256\nlocal all all password\n")
        self.stop()
        self.start()

    def empty(self) -> None:
        """Drop every journal, and throw out who has one open."""
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'journal_%'")
        with self.admin() as connection:
            found = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
            for (name,) in found:
                if name.startswith(SCHEMA_PREFIX) and re.fullmatch("[a-z0-9_]+", name):
                    connection.execute(f"DROP SCHEMA {name} CASCADE".encode())

    def make_journal(self, origin: str, *, role: str = WRITER) -> str:
        """Make an empty journal and answer the URL of its writer."""
        init_journal(self.url(OWNER), origin=origin, role=role, readers=[READER])
        return self.url(role)

    def _make(self) -> None:
        password = self.folder / "superuser"
        password.write_text(self.password)
        if self._user is not None:
            for path in (self.folder, password):
                shutil.chown(path, self._user)
            self.folder.chmod(0o755)  # others connect through the socket in it
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", SUPERUSER, "-A", "scram-sha-256"]
        command += ["--pwfile", str(password), "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, user=self._user, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=60)

    def _make_roles(self) -> None:
        with self.admin(database="postgres") as connection:
            for role in (OWNER, WRITER, READER):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self.password}'".encode())
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}".encode())

    def _end(self, number: int) -> None:
        process = self._postmaster
        if process is not None:
            process.send_signal(number)
            process.wait(30)
            self._postmaster = None


def self_signed(name: str) -> tuple[bytes, bytes]:
    """Make a certificate for a host and its private key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private
