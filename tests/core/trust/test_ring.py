from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from trust_parts import KEYS

from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import (
    FIRST_VERSION,
    MAX_RING_BYTES,
    KeyRing,
    parse_ring,
    read_ring,
    ring_bytes,
    ring_hash,
)
from trade_simulator.security_key.maker import new_maker


def some_key() -> str:
    return public_text(load_private_key(new_private_key()))


RING = KeyRing(
    version=1,
    previous_hash="",
    deployment="d1",
    environment="simulated",
    account="1002",
    gateway_key=some_key(),
    lease_key=some_key(),
    witness_key=some_key(),
    executor_key=some_key(),
    tag_key_id="0123456789abcdef",
    policy_hash="a" * 64,
    rp_id="example.org",
    origins=("https://trade.example.org:8443", "https://example.org"),
    attestation_roots=(),
    credentials=tuple(key.credential for key in KEYS),
    recovery_key=some_key(),
    bootstrap_key="",
    bootstrap_expires_at_ms=0,
    baseline=baseline_of(taken_at_ms=1),
)
OTHER = {
    "version": 2,
    "previous_hash": "b",
    "deployment": "d2",
    "environment": "live",
    "account": "1003",
    "gateway_key": some_key(),
    "lease_key": some_key(),
    "witness_key": some_key(),
    "executor_key": some_key(),
    "tag_key_id": "f",
    "policy_hash": "b" * 64,
    "rp_id": "example.com",
    "origins": ("https://example.org",),
    "attestation_roots": ("AAAA",),
    "credentials": (),
    "recovery_key": some_key(),
    "bootstrap_key": some_key(),
    "bootstrap_expires_at_ms": 1,
    "baseline": baseline_of(taken_at_ms=2),
}


def test_ring_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    path.write_bytes(ring_bytes(RING))
    assert read_ring(path) == RING
    assert ring_hash(read_ring(path)) == ring_hash(RING)


@pytest.mark.parametrize("name", OTHER)
def test_ring_hash_covers_every_field(name: str) -> None:
    assert ring_hash(replace(RING, **{name: OTHER[name]})) != ring_hash(RING)  # type: ignore[arg-type]


def test_ring_hash_test_names_every_field() -> None:
    assert set(OTHER) == set(RING.content())


@pytest.mark.parametrize("name", OTHER)
def test_ring_without_a_field_is_refused(name: str) -> None:
    content = RING.content()
    del content[name]
    with pytest.raises(NotTrusted, match="not those of a key ring"):
        parse_ring(json.dumps(content).encode())


def test_ring_with_a_further_field_is_refused() -> None:
    with pytest.raises(NotTrusted, match="not those of a key ring"):
        parse_ring(json.dumps({**RING.content(), "extra": ""}).encode())


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("value", [None, True, 1.5, {}])
def test_ring_with_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(NotTrusted, match=f"{name} must be|baseline: its fields"):
        parse_ring(json.dumps({**RING.content(), name: value}).encode())


@pytest.mark.parametrize("version", [0, -1])
def test_ring_of_a_version_before_the_first_is_refused(version: int) -> None:
    with pytest.raises(NotTrusted, match="below 1"):
        parse_ring(json.dumps({**RING.content(), "version": version}).encode())


@pytest.mark.parametrize("name", ["gateway_key", "lease_key", "witness_key"])
def test_ring_with_a_key_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(NotTrusted, match="public key"):
        parse_ring(json.dumps({**RING.content(), name: "AAAA"}).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"\xff", b"[" * 60_000, b" " * (MAX_RING_BYTES + 1)])
def test_ring_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(NotTrusted, match="key ring"):
        parse_ring(raw)


def test_ring_file_missing_or_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    with pytest.raises(NotTrusted, match=r"ring\.json: key ring cannot be read: .*; `trade-gateway init` writes it$"):
        read_ring(path)
    with pytest.raises(NotTrusted, match=r"key ring cannot be read: Is a directory$"):
        read_ring(tmp_path)
    path.write_bytes(b"{}")
    with pytest.raises(NotTrusted, match=r"ring\.json: key ring"):
        read_ring(path)


def test_ring_has_the_bounds_that_were_decided() -> None:
    assert (FIRST_VERSION, MAX_RING_BYTES) == (1, 262_144)


def test_ring_of_its_greatest_size_is_read_and_a_greater_one_is_not() -> None:
    raw = ring_bytes(RING)
    assert parse_ring(raw + b" " * (262_144 - len(raw))) == RING
    with pytest.raises(NotTrusted, match="at most"):
        parse_ring(raw + b" " * (262_145 - len(raw)))


def test_ring_file_is_sorted_and_indented_for_a_person_to_compare() -> None:
    lines = ring_bytes(RING).decode().splitlines()
    names = [line.strip().split('"')[1] for line in lines if line.startswith(' "')]
    assert names == sorted(RING.content())
    assert lines[1] == f' "account": "{RING.account}",'


def read(**changed: object) -> KeyRing:
    return parse_ring(json.dumps({**RING.content(), **changed}).encode())


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "https://example.org:65535",
        "https://a.b-c.example.org",
    ],
)
def test_ring_with_an_origin_of_its_name_is_read(origin: str) -> None:
    assert read(origins=[origin]).origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "example.org",
        "http://example.org",
        "http://localhost:8650",
        "https://localhost",
        "https://example.org/",
        "https://example.org:0",
        "https://example.org:080",
        "https://example.org:123456",
        "https://EXAMPLE.org",
        "https://example.org.evil.example",
        "https://evilexample.org",
        "https://example.org@evil.example",
        "https://.example.org",
        "https://-a.example.org",
        "https://example.org\n",
        "https://user@example.org",
        "https://ex\u00e4mple.org",
        "ftp://example.org",
    ],
)
def test_ring_with_an_origin_that_is_not_its_own_is_refused(origin: str) -> None:
    with pytest.raises(NotTrusted, match="origin"):
        read(origins=[origin])


def test_ring_on_localhost_without_tls_is_simulated() -> None:
    local: dict[str, object] = {"rp_id": "localhost", "origins": ["http://localhost:8650"]}
    assert read(**local).rp_id == "localhost"
    with pytest.raises(NotTrusted, match="is not https"):
        read(**local, environment="live")
    assert read(**{**local, "origins": ["https://localhost:8650"]}, environment="live")


@pytest.mark.parametrize("rp_id", ["", "EXAMPLE.org", "example.org:80", "https://example.org", "-a.org", "a..b", "a_b"])
def test_ring_with_an_rp_id_that_is_no_name_is_refused(rp_id: str) -> None:
    with pytest.raises(NotTrusted, match="rp_id is not the name of a host"):
        read(rp_id=rp_id)


def test_ring_has_one_to_four_origins() -> None:
    origins = [f"https://a{number}.example.org" for number in range(5)]
    assert len(read(origins=origins[:4]).origins) == 4
    for wrong in ([], origins, [1], [None, *origins[:1]]):
        with pytest.raises(NotTrusted, match="origins must be 1 to 4 texts"):
            read(origins=wrong)


def test_ring_has_at_most_two_roots_that_are_certificates() -> None:
    root = base64.b64encode(new_maker().root).decode()
    assert read(attestation_roots=[root, root]).attestation_roots == (root, root)
    for wrong in ([root] * 3, [1]):
        with pytest.raises(NotTrusted, match="attestation_roots must be at most 2 texts"):
            read(attestation_roots=wrong)
    with pytest.raises(NotTrusted, match="not a certificate"):
        read(attestation_roots=["AAAA"])


def test_ring_with_a_key_that_can_be_copied_is_simulated() -> None:
    copied = [{**KEYS[0].credential.content(), "is_backup_eligible": True}]
    assert read(credentials=copied).credentials[0].is_backup_eligible
    with pytest.raises(NotTrusted, match="can be copied"):
        read(credentials=copied, environment="live")
    assert read(environment="live").environment == "live"


def test_ring_with_a_bootstrap_key_is_the_first_and_holds_no_credential() -> None:
    key = some_key()
    assert read(bootstrap_key=key, credentials=[]).bootstrap_key == key
    for wrong in ({}, {"credentials": [], "version": 2}):
        with pytest.raises(NotTrusted, match="a bootstrap key beside enrolled security keys"):
            read(bootstrap_key=key, **wrong)


@pytest.mark.parametrize("name", ["executor_key", "recovery_key", "bootstrap_key"])
def test_ring_may_lack_a_key_and_holds_no_wrong_one(name: str) -> None:
    assert getattr(read(**{name: ""}), name) == ""
    with pytest.raises(NotTrusted, match="public key"):
        read(**{name: "AAAA"})
