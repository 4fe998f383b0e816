"""The security key in a file, from the command line."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from fido2 import cbor
from fido2.webauthn import AttestationObject
from trust_parts import ring_of

from trade_core.trust.credential import Credential
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.warrant import Warrant, warrant_bytes
from trade_simulator.security_key.command import main

ORIGIN = ["--origin", "http://localhost:8650"]
CHALLENGE = base64.b64encode(b"c" * 32).decode()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, *ORIGIN]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def made(path: Path, capsys: pytest.CaptureFixture[str]) -> Credential:
    answer = run(capsys, "make", "--file", str(path), "--challenge", CHALLENGE)
    public = AttestationObject(base64.b64decode(answer["attestation_object"])).auth_data.credential_data
    assert public is not None
    return Credential(
        credential_id=answer["credential_id"],
        public_key=base64.b64encode(cbor.encode(public.public_key)).decode(),
        label=path.stem,
        aaguid=str(public.aaguid),
        is_backup_eligible=False,
        added_at_ms=1,
    )


def warrant_for(credentials: list[Credential]) -> tuple[Any, bytes]:
    ring = ring_of(load_private_key(new_private_key()), credentials=tuple(credentials))
    names = {name: getattr(ring, name) for name in ("deployment", "environment", "account")}
    said = {"purpose": "drill", "audience": "executor", "subject": "s", "nonce": "n", "words": "w"}
    warrant = Warrant(version=1, ring_hash=ring_hash(ring), expires_at_ms=1, **names, **said)
    return ring, warrant_bytes(warrant)


def test_key_in_a_file_signs_what_the_ring_believes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "blue.key", tmp_path / "red.key"]
    ring, payload = warrant_for([made(path, capsys) for path in paths])
    (tmp_path / "warrant").write_bytes(payload)
    both = [word for path in paths for word in ("--file", str(path))]
    envelopes = [run(capsys, "sign", str(tmp_path / "warrant"), *both) for _ in range(2)]
    opened = [open_warrant(json.dumps(one, separators=(",", ":")).encode(), ring=ring) for one in envelopes]
    counters = [[touch.counter for touch in one.touches] for one in opened]
    assert counters[0] < counters[1]  # the counter is kept in the file
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600


def test_wrong_pin_signs_nothing_and_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "blue.key"
    made(path, capsys)
    (tmp_path / "warrant").write_bytes(b"payload")
    assert main(["sign", str(tmp_path / "warrant"), "--file", str(path), "--pin", "9999", *ORIGIN]) == 1
    assert json.loads(path.read_bytes())["pin_tries"] == 7
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"pin_hash": "", "counter": 0, "pin_tries": 8, "credentials": 7}'])
def test_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "blue.key"
    path.write_bytes(content)
    path.chmod(0o600)
    (tmp_path / "warrant").write_bytes(b"payload")
    assert main(["sign", str(tmp_path / "warrant"), "--file", str(path), *ORIGIN]) == 2


def test_what_cannot_be_signed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "blue.key"
    made(path, capsys)
    for content in (b"", b"x" * 5000):
        (tmp_path / "warrant").write_bytes(content)
        assert main(["sign", str(tmp_path / "warrant"), "--file", str(path), *ORIGIN]) == 2
    assert main(["sign", str(tmp_path / "none"), "--file", str(path), *ORIGIN]) == 2
    assert main(["make", "--file", str(path), "--challenge", "!", *ORIGIN]) == 2
    (tmp_path / "warrant").write_bytes(b"payload")
    assert main(["sign", str(tmp_path / "warrant"), "--file", str(path), "--rp-id", "other.example", *ORIGIN]) == 2


def test_sign_takes_its_names_from_the_key_ring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, ring, warrant = tmp_path / "blue.key", tmp_path / "ring.json", tmp_path / "warrant"
    made(path, capsys)
    warrant.write_bytes(b"payload")
    ring.write_text(json.dumps({"rp_id": "localhost", "origins": [ORIGIN[1], "http://localhost:1"]}))
    assert main(["sign", str(warrant), "--file", str(path), "--ring", str(ring)]) == 0
    signed = json.loads(capsys.readouterr().out)["assertions"][0]
    assert json.loads(base64.b64decode(signed["client_data"]))["origin"] == ORIGIN[1]


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"rp_id": "localhost", "origins": []}', '{"rp_id": 1, "origins": ["x"]}']
)
def test_sign_under_what_is_no_key_ring_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path, ring, warrant = tmp_path / "blue.key", tmp_path / "ring.json", tmp_path / "warrant"
    made(path, capsys)
    warrant.write_bytes(b"payload")
    ring.write_text(content)
    assert main(["sign", str(warrant), "--file", str(path), "--ring", str(ring)]) == 2
    assert str(ring) in capsys.readouterr().err
