"""Identity: keys made once, a ring pinned, a generation that never goes back."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trust_parts import ring_of

from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, read_secret_file, write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.lease import HOLDER
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_watchdog.identity import (
    GENERATION_MAX,
    GenerationStore,
    GenerationUnavailable,
    holder_of,
    initialise,
    load_announce_token,
    load_exchange_key,
    load_executor_key,
    load_gateway_address,
    load_identity,
    load_pinned_ring,
)
from trade_watchdog.settings import WatchdogSettings


@pytest.fixture
def settings(tmp_path: Path) -> WatchdogSettings:
    """Settings whose files do not exist yet."""
    values = {
        "environment": "simulated",
        "exchange": "simulated",
        "exchange_url": "http://127.0.0.1:21000",
        "exchange_ws_url": "ws://127.0.0.1:21000",
        "account": "1002",
        "admin_port": 21020,
        "state_dir": "watchdog",
        "secrets_file": "secrets.json",
        "master_secrets_file": "master.json",
        "order_key": "orderkey",
        "gateway_handover": "handover.json",
        "ring_file": "ring.json",
    }
    return WatchdogSettings.model_validate(values, context={"folder": tmp_path})


@pytest.fixture
def ring(settings: WatchdogSettings) -> KeyRing:
    """Initialise the watchdog and write a ring that names it."""
    initialise(settings)
    made = ring_of(
        load_private_key(new_private_key()),
        lease_key=public_text(load_identity(settings).lease_key),
        witness_key=public_text(load_identity(settings).witness_key),
        tag_key_id="t1",
        policy_hash="p",
    )
    settings.ring_file.write_bytes(ring_bytes(made))
    return made


def test_init_hands_over_the_public_half_and_keeps_the_private_one(settings: WatchdogSettings) -> None:
    initialise(settings)
    public = json.loads((settings.state_dir / "public.json").read_bytes())
    identity = load_identity(settings)
    assert public == {
        "account": "1002",
        "environment": "simulated",
        "lease_key": public_text(identity.lease_key),
        "witness_key": public_text(identity.witness_key),
        "log_key": public_text(identity.log_key),
    }
    operator = read_secret_file(settings.state_dir / "handover" / "operator.json")
    assert operator == {"admin_url": "http://127.0.0.1:21020", "admin_token": identity.admin_token.reveal()}
    announcer = read_secret_file(settings.state_dir / "handover" / "announcer.json")
    token = load_announce_token(settings)
    assert token is not None
    assert announcer == {"admin_url": "http://127.0.0.1:21020", "announce_token": token.reveal()}
    assert token.reveal() != identity.admin_token.reveal()
    assert stat.S_IMODE((settings.state_dir / "identity.json").stat().st_mode) == 0o600
    private = str(read_secret_file(settings.state_dir / "identity.json")["lease_key"])
    others = [path for path in settings.state_dir.rglob("*.json") if path.name != "identity.json"]
    assert len(others) == 3
    assert all(private not in path.read_text() for path in others)


def test_watchdog_without_an_announcer_s_file_has_no_token_for_it(settings: WatchdogSettings) -> None:
    initialise(settings)
    (settings.state_dir / "handover" / "announcer.json").unlink()
    assert load_announce_token(settings) is None


def test_init_twice_is_refused_and_changes_nothing(settings: WatchdogSettings) -> None:
    initialise(settings)
    before = {path: path.read_bytes() for path in settings.state_dir.rglob("*.json")}
    with pytest.raises(ConfigurationError, match="initialised once"):
        initialise(settings)
    assert {path: path.read_bytes() for path in settings.state_dir.rglob("*.json")} == before


def test_identity_missing_names_the_command(settings: WatchdogSettings) -> None:
    with pytest.raises(ConfigurationError, match="run `trade-watchdog init` first"):
        load_identity(settings)


def test_identity_readable_by_others_is_refused(settings: WatchdogSettings) -> None:
    initialise(settings)
    (settings.state_dir / "identity.json").chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to others"):
        load_identity(settings)


def test_ring_is_pinned_and_read_again(settings: WatchdogSettings, ring: KeyRing) -> None:
    identity = load_identity(settings)
    assert load_pinned_ring(settings, identity) == ring
    assert load_pinned_ring(settings, identity) == ring


def test_ring_other_than_the_pinned_one_is_refused(settings: WatchdogSettings, ring: KeyRing) -> None:
    identity = load_identity(settings)
    load_pinned_ring(settings, identity)
    settings.ring_file.write_bytes(ring_bytes(replace(ring, policy_hash="looser", version=2)))
    with pytest.raises(ConfigurationError, match="is not the ring that this watchdog has pinned"):
        load_pinned_ring(settings, identity)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 2}, "version 2 does not follow the pinned version 1"),
        ({"gateway_key": "other"}, "another ring of version 1"),
        ({"baseline": baseline_of(taken_at_ms=2)}, "another ring of version 1"),
    ],
)
def test_ring_that_no_warrant_put_there_is_refused_by_name(
    settings: WatchdogSettings, ring: KeyRing, changed: dict[str, Any], said: str
) -> None:
    identity = load_identity(settings)
    load_pinned_ring(settings, identity)
    changed = {name: public_text(identity.lease_key) if value == "other" else value for name, value in changed.items()}
    settings.ring_file.write_bytes(ring_bytes(replace(ring, **changed)))
    with pytest.raises(ConfigurationError, match=said):
        load_pinned_ring(settings, identity)


def test_ring_that_follows_the_pinned_one_without_a_warrant_is_refused(
    settings: WatchdogSettings, ring: KeyRing
) -> None:
    identity = load_identity(settings)
    load_pinned_ring(settings, identity)
    settings.ring_file.write_bytes(ring_bytes(replace(ring, version=2, previous_hash=ring_hash(ring))))
    with pytest.raises(ConfigurationError, match="no warrant orders it"):
        load_pinned_ring(settings, identity)


def test_ring_older_than_the_pinned_one_is_refused(settings: WatchdogSettings, ring: KeyRing) -> None:
    identity = load_identity(settings)
    settings.ring_file.write_bytes(ring_bytes(replace(ring, version=2)))
    load_pinned_ring(settings, identity)
    settings.ring_file.write_bytes(ring_bytes(ring))
    with pytest.raises(ConfigurationError, match="version 1 is older than the pinned version 2"):
        load_pinned_ring(settings, identity)


def test_pinned_ring_gone_after_a_lease_was_sent_is_refused(settings: WatchdogSettings, ring: KeyRing) -> None:
    identity = load_identity(settings)
    load_pinned_ring(settings, identity)
    GenerationStore(settings.state_dir).next_above(0)
    (settings.state_dir / "ring.json").unlink()
    with pytest.raises(ConfigurationError, match="has vouched under a pinned ring"):
        load_pinned_ring(settings, identity)
    assert not (settings.state_dir / "ring.json").exists()


@pytest.mark.parametrize("name", ["environment", "account", "lease_key", "witness_key"])
def test_ring_of_another_watchdog_is_refused_and_not_pinned(
    settings: WatchdogSettings, ring: KeyRing, name: str
) -> None:
    other = ring.gateway_key if name.endswith("_key") else "other"
    elsewhere = replace(ring, origins=("https://localhost",))
    settings.ring_file.write_bytes(ring_bytes(replace(elsewhere, **{name: other})))
    with pytest.raises(ConfigurationError, match=f"{name} is not this watchdog's"):
        load_pinned_ring(settings, load_identity(settings))
    assert not (settings.state_dir / "ring.json").exists()


def test_ring_missing_is_refused(settings: WatchdogSettings, ring: KeyRing) -> None:
    settings.ring_file.unlink()
    with pytest.raises(NotTrusted, match="cannot be read"):
        load_pinned_ring(settings, load_identity(settings))


def test_generation_rises_above_both_and_survives_a_restart(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path)
    assert (store.value, store.next_above(0), store.next_above(0)) == (0, 1, 2)
    assert store.next_above(10) == 11
    again = GenerationStore(tmp_path)
    assert again.value == 11
    assert again.next_above(3) == 12


def test_generation_is_durable_before_it_is_used(tmp_path: Path) -> None:
    value = GenerationStore(tmp_path).next_above(7)
    assert json.loads((tmp_path / "generation.json").read_bytes()) == {"generation": value}


def test_generation_past_the_last_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path)
    assert store.next_above(GENERATION_MAX - 1) == GENERATION_MAX
    with pytest.raises(GenerationUnavailable):
        store.next_above(0)
    assert GenerationStore(tmp_path).value == GENERATION_MAX


def test_generation_that_cannot_be_written_is_refused_and_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    store = GenerationStore(folder)
    folder.rmdir()
    with pytest.raises(GenerationUnavailable, match="cannot be written"):
        store.next_above(0)
    assert store.value == 0


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"generation": "7"}', b'{"generation": 0}', b'{"generation": true}']
)
def test_generation_file_damaged_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "generation.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"generation\.json"):
        GenerationStore(tmp_path)


@pytest.mark.parametrize("url", ["http://10.0.0.1:1", "https://127.0.0.1:1", "", "http://127.0.0.1:1/state"])
def test_gateway_address_off_loopback_is_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "watchdog.json"
    write_secret_file(path, {"admin_url": url, "admin_token": "t"})
    with pytest.raises(ConfigurationError, match="admin_url"):
        load_gateway_address(path)


def test_handover_and_key_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="written by trade-gateway init"):
        load_gateway_address(tmp_path / "watchdog.json")
    with pytest.raises(ConfigurationError, match="not there"):
        load_exchange_key(tmp_path / "secrets.json")
    write_secret_file(tmp_path / "secrets.json", {"exchange_key": "k"})
    with pytest.raises(ConfigurationError, match="exchange_secret"):
        load_exchange_key(tmp_path / "secrets.json")


def test_tag_key_is_the_one_that_the_ring_names(deployment: Any) -> None:
    address = load_gateway_address(deployment.settings.gateway_handover)
    assert address.tag_key_of(deployment.ring) == b"t" * 32


@pytest.mark.parametrize("handed", ["not hex", "00", ("u" * 32).encode().hex()])
def test_tag_key_that_the_ring_does_not_name_is_refused(deployment: Any, handed: str) -> None:
    address = replace(load_gateway_address(deployment.settings.gateway_handover), tag_key=Secret(handed))
    with pytest.raises(ConfigurationError, match="tag_key is not the one that the key ring names"):
        address.tag_key_of(deployment.ring)


def test_holder_stays_over_a_restart_and_is_another_one_for_a_copied_folder(
    settings: WatchdogSettings, tmp_path: Path
) -> None:
    initialise(settings)
    first = holder_of(settings)
    assert HOLDER.fullmatch(first)
    assert holder_of(settings) == first
    copied = tmp_path / "copied"
    shutil.copytree(settings.state_dir, copied)
    assert holder_of(settings.model_copy(update={"state_dir": copied})) != first
    moved = settings.state_dir.rename(tmp_path / "moved")
    shutil.copytree(moved, settings.state_dir)
    assert holder_of(settings) != first


def test_holder_without_an_identity_is_refused(settings: WatchdogSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"identity\.json: cannot be read"):
        holder_of(settings)


def test_executor_s_key_is_read_from_its_public_file(tmp_path: Path) -> None:
    path = tmp_path / "public.json"
    assert load_executor_key(None) == ""
    path.write_text('{"account": "1", "executor_key": "abc"}')
    assert load_executor_key(path) == "abc"


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"executor_key": 7}', '{"executor_key": null}', "[" * 4_000]
)
def test_public_file_that_names_no_key_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "public.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"public\.json: "):
        load_executor_key(path)
