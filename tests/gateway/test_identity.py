from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from gateway.deployment import LEASE_KEY, LOG_KEY, WITNESS_KEY, deployment

from trade_core.errors import ConfigurationError
from trade_core.secrets import read_secret_file, write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, read_ring, ring_bytes
from trade_core.trust.tag import tag_key_id
from trade_gateway.genesis import GENESIS_FILE
from trade_gateway.identity import (
    PUBLIC_KEYS_FILE,
    Role,
    identity_path,
    initialise,
    load_identity,
    renew_virtual_key,
)
from trade_gateway.settings import GatewaySettings
from trade_journal.log.key_file import parse_keys

POLICY_HASH = "a" * 64
BASELINE = baseline_of(taken_at_ms=1)
EXECUTOR_KEY, WATCHDOG_LOG_KEY = (public_text(load_private_key(new_private_key())) for _ in range(2))
SERVICES = ("gateway", "watchdog", "executor")


def initialised(settings: GatewaySettings, **others: str) -> KeyRing:
    return initialise(
        settings,
        log_key=LOG_KEY,
        lease_key=LEASE_KEY,
        witness_key=WITNESS_KEY,
        policy_hash=POLICY_HASH,
        baseline=BASELINE,
        **others,
    )


def made(folder: Path, **others: str) -> tuple[GatewaySettings, KeyRing]:
    settings = deployment(folder)
    return settings, initialised(settings, **others)


def test_init_makes_a_ring_that_fits_the_identity(tmp_path: Path) -> None:
    settings, ring = made(tmp_path)
    identity, read = load_identity(settings)
    assert read == ring == read_ring(settings.ring_file)
    assert (ring.version, ring.previous_hash, ring.environment, ring.account) == (1, "", "simulated", "1002")
    assert (ring.lease_key, ring.policy_hash) == (LEASE_KEY, POLICY_HASH)
    assert ring.gateway_key == LOG_KEY
    assert ring.tag_key_id == tag_key_id(identity.tag_key)
    assert len(identity.tag_key) == 32


def test_init_publishes_the_keys_that_sign_the_journal(tmp_path: Path) -> None:
    settings, ring = made(tmp_path)
    keys = parse_keys(settings.ring_file.with_name(PUBLIC_KEYS_FILE).read_text(), origin="trade/simulated/1002/gateway")
    assert keys.log.name == "trade/simulated/1002/gateway"
    assert base64.b64encode(keys.log.public.public_bytes_raw()).decode() == ring.gateway_key
    assert keys.witness is not None
    assert keys.witness.name == "trade/simulated/1002/watchdog"
    assert base64.b64encode(keys.witness.public.public_bytes_raw()).decode() == ring.witness_key


def test_init_publishes_the_keys_of_all_three_journals(tmp_path: Path) -> None:
    settings, _ = made(tmp_path, executor_key=EXECUTOR_KEY, watchdog_log_key=WATCHDOG_LOG_KEY)
    published = settings.ring_file.with_name(PUBLIC_KEYS_FILE).read_text()
    found = {service: parse_keys(published, origin=f"trade/simulated/1002/{service}") for service in SERVICES}
    keys = [base64.b64encode(found[service].log.public.public_bytes_raw()).decode() for service in SERVICES]
    assert keys == [LOG_KEY, WATCHDOG_LOG_KEY, EXECUTOR_KEY]
    assert [found[service].witness is not None for service in SERVICES] == [True, False, True]


def test_init_keeps_every_secret_from_others(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    handover = settings.state_dir / "handover"
    files = [identity_path(settings), *handover.iterdir()]
    assert {path.name for path in files} == {
        "identity.json",
        "watchdog.json",
        "operator.json",
        "probe.json",
        "freqtrade.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not stat.S_IMODE(settings.state_dir.stat().st_mode) & 0o077


def test_init_hands_over_one_token_a_role_and_one_key(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    identity, _ = load_identity(settings)
    handover = settings.state_dir / "handover"
    for role in Role:
        content = read_secret_file(handover / f"{role.value}.json")
        tag_key = {"tag_key": identity.tag_key.hex()} if role is Role.WATCHDOG else {}
        assert content == {
            "admin_url": "http://127.0.0.1:22001",
            "admin_token": identity.admin_tokens[role].reveal(),
            **tag_key,
        }
    assert len({token.reveal() for token in identity.admin_tokens.values()}) == len(Role)
    bot = read_secret_file(handover / "freqtrade.json")
    assert (bot["url"], bot["ws"]) == ("http://127.0.0.1:22000", "ws://127.0.0.1:22000")
    assert {key: secret.reveal() for key, secret in identity.virtual_keys.items()} == {bot["key"]: bot["secret"]}


def test_init_puts_no_private_half_into_the_ring(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    identity = read_secret_file(identity_path(settings))
    public = settings.ring_file.read_text()
    assert str(identity["tag_key"]) not in public


def test_init_a_second_time_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    settings, ring = made(tmp_path)
    before = identity_path(settings).read_bytes()
    with pytest.raises(ConfigurationError, match="exists already"):
        initialised(settings)
    assert identity_path(settings).read_bytes() == before
    assert read_ring(settings.ring_file) == ring


@pytest.mark.parametrize("lost", ["identity", "ring"])
def test_init_with_half_a_deployment_is_refused(tmp_path: Path, lost: str) -> None:
    settings, _ = made(tmp_path)
    missing, there = identity_path(settings), settings.ring_file
    if lost == "ring":
        missing, there = there, missing
    missing.unlink()
    with pytest.raises(ConfigurationError, match="exists already") as refused:
        initialised(settings)
    assert f"{missing}: not there. If an init was broken off" in str(refused.value)
    assert f"remove {there}, {settings.state_dir / GENESIS_FILE} and run init again" in str(refused.value)


def test_init_leaves_no_key_that_signs_the_log_with_the_gateway(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    assert "private_key" not in read_secret_file(identity_path(settings))


@pytest.mark.parametrize("log_key", ["", "AAAA", "nonsense"])
def test_init_with_a_log_key_that_is_none_writes_nothing(tmp_path: Path, log_key: str) -> None:
    settings = deployment(tmp_path)
    with pytest.raises(NotTrusted):
        initialise(
            settings,
            log_key=log_key,
            lease_key=LEASE_KEY,
            witness_key=WITNESS_KEY,
            policy_hash=POLICY_HASH,
            baseline=BASELINE,
        )
    assert not settings.state_dir.exists()


@pytest.mark.parametrize("lease_key", ["", "AAAA", "nonsense"])
def test_init_with_a_lease_key_that_is_none_writes_nothing(tmp_path: Path, lease_key: str) -> None:
    settings = deployment(tmp_path)
    with pytest.raises(NotTrusted):
        initialise(
            settings,
            log_key=LOG_KEY,
            lease_key=lease_key,
            witness_key=WITNESS_KEY,
            policy_hash=POLICY_HASH,
            baseline=BASELINE,
        )
    assert not settings.state_dir.exists()


def test_two_deployments_share_no_secret(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (read_secret_file(identity_path(made(tmp_path / name)[0])) for name in "ab")
    assert all(one[name] != other[name] for name in one if name != "ring_version")


def test_identity_before_init_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run `trade-gateway init` first"):
        load_identity(deployment(tmp_path))


def test_identity_without_its_ring_is_refused(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    settings.ring_file.unlink()
    with pytest.raises(NotTrusted, match="key ring cannot be read"):
        load_identity(settings)


OTHER_KEY = public_text(load_private_key(base64.b64encode(bytes(32)).decode()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deployment", "other"),
        ("environment", "live"),
        ("account", "9"),
        ("gateway_key", OTHER_KEY),
        ("tag_key_id", "0" * 16),
        ("lease_key", OTHER_KEY),
        ("policy_hash", "b" * 64),
        ("version", 2),
        ("previous_hash", "c"),
        ("baseline", baseline_of(taken_at_ms=2)),
    ],
)
def test_identity_beside_a_changed_ring_is_refused(tmp_path: Path, name: str, value: object) -> None:
    settings, ring = made(tmp_path)
    elsewhere = replace(ring, origins=("https://localhost",)) if name == "environment" else ring
    settings.ring_file.write_bytes(ring_bytes(replace(elsewhere, **{name: value})))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"ring\.json"):
        load_identity(settings)


def test_identity_of_another_account_than_the_settings_name_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(ConfigurationError, match="account is not that"):
        load_identity(deployment(tmp_path, account="1003"))


def test_identity_open_to_others_is_refused(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    identity_path(settings).chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_identity(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tag_key", "not hex"),
        ("virtual_keys", None),
        ("virtual_keys", {"bot": ""}),
        ("virtual_keys", {"bot": None}),
        ("admin_tokens", {}),
        ("admin_tokens", {"watchdog": "", "operator": "x", "probe": "y"}),
        ("admin_tokens", {"watchdog": None, "operator": "x", "probe": "y"}),
    ],
)
def test_identity_that_is_damaged_is_refused_without_its_secrets(tmp_path: Path, name: str, value: object) -> None:
    settings, _ = made(tmp_path)
    content = read_secret_file(identity_path(settings))
    write_secret_file(identity_path(settings), {**content, name: value})
    with pytest.raises(ConfigurationError) as caught:
        load_identity(settings)
    assert all(str(secret) not in str(caught.value) for secret in (content["tag_key"],))


@pytest.mark.parametrize(
    "name",
    ["deployment", "tag_key", "virtual_keys", "admin_tokens", "ring_hash", "ring_version"],
)
def test_identity_without_a_part_is_refused(tmp_path: Path, name: str) -> None:
    settings, _ = made(tmp_path)
    content = json.loads(identity_path(settings).read_bytes())
    del content[name]
    write_secret_file(identity_path(settings), content)
    with pytest.raises(ConfigurationError):
        load_identity(settings)


def test_new_virtual_key_takes_the_place_of_the_old_one_and_changes_nothing_else(tmp_path: Path) -> None:
    settings, ring = made(tmp_path)
    before = read_secret_file(identity_path(settings))
    handed = renew_virtual_key(settings)
    after = read_secret_file(identity_path(settings))
    bot = read_secret_file(handed)
    assert after == {**before, "virtual_keys": {bot["key"]: bot["secret"]}}
    assert bot["key"] not in before["virtual_keys"]  # type: ignore[operator]
    assert (load_identity(settings)[1], stat.S_IMODE(handed.stat().st_mode)) == (ring, 0o600)


def test_new_virtual_key_is_handed_over_where_a_kill_destroyed_the_old_file(tmp_path: Path) -> None:
    settings, _ = made(tmp_path)
    handed = settings.state_dir / "handover" / "freqtrade.json"
    destroyed = read_secret_file(handed)
    handed.unlink()
    assert renew_virtual_key(settings) == handed
    again = read_secret_file(handed)
    assert (again["url"], again["ws"]) == (destroyed["url"], destroyed["ws"])


def test_new_virtual_key_without_or_with_a_broken_identity_is_refused(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    with pytest.raises(ConfigurationError, match="run `trade-gateway init` first"):
        renew_virtual_key(settings)
    write_secret_file(identity_path(settings), {"virtual_keys": {}})
    with pytest.raises(ConfigurationError, match="is not a gateway identity"):
        renew_virtual_key(settings)
    assert read_secret_file(identity_path(settings)) == {"virtual_keys": {}}
