"""Which stores the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_core.settings import load_settings
from trade_killswitch.secret_store.port import SecretStoreFailed
from trade_killswitch.secret_store.selection import SecretStoreSettings, secret_store_of

VAULT = 'vault_url = "https://vault.example:8200"\nvault_secrets = ["trade/gateway"]\n'


def loaded(folder: Path, text: str) -> SecretStoreSettings:
    (folder / "executor.toml").write_text(text)
    return load_settings(folder / "executor.toml", SecretStoreSettings)


def test_nothing_that_is_not_named_is_there(tmp_path: Path) -> None:
    assert secret_store_of(loaded(tmp_path, "")) is None


async def test_files_and_vault_are_one_store(tmp_path: Path) -> None:
    write_secret_file(tmp_path / "login.json", {"role_id": "r", "secret_id": "s"})
    (tmp_path / "bot.json").write_text("{}")
    text = 'secret_files = ["bot.json"]\nvault_login_file = "login.json"\n' + VAULT
    store = secret_store_of(loaded(tmp_path, text))
    assert store is not None
    path = str((tmp_path / "bot.json").resolve())
    assert store.names == (path, "vault:trade/gateway")
    assert (await store.destroy(path))["read_back"] == "absent"
    with pytest.raises(SecretStoreFailed, match="no secret of the settings"):
        await store.destroy("vault:trade/other")
    await store.close()


async def test_each_store_is_asked(tmp_path: Path) -> None:
    (tmp_path / "bot.json").write_text("{}")
    store = secret_store_of(loaded(tmp_path, 'secret_files = ["bot.json"]'))
    assert store is not None
    assert await store.prove_ready() == {"files": "1"}
    assert await store.revoke_access() == {}


def test_kubernetes_login_needs_no_file(tmp_path: Path) -> None:
    text = VAULT + 'vault_auth = "kubernetes"\nvault_role = "executor"\n'
    store = secret_store_of(loaded(tmp_path, text))
    assert store is not None
    assert store.names == ("vault:trade/gateway",)


def test_login_file_that_is_wrong_is_refused(tmp_path: Path) -> None:
    write_secret_file(tmp_path / "login.json", {"role_id": "r"})
    with pytest.raises(ConfigurationError, match="secret_id"):
        secret_store_of(loaded(tmp_path, VAULT + 'vault_login_file = "login.json"\n'))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('vault_secrets = ["a"]', "vault_secrets: is given without vault_url"),
        ('vault_revoked_roles = ["a"]', "without vault_url"),
        (VAULT, "vault_login_file, and not vault_role"),
        (VAULT + 'vault_role = "x"', "vault_login_file, and not vault_role"),
        (VAULT + 'vault_auth = "kubernetes"', "vault_role, and not vault_login_file"),
        ('vault_url = "https://v"\nvault_login_file = "l"', "vault_secrets: is missing"),
        ('vault_url = "http://vault.example:8200"', "loopback"),
        ('vault_url = "https://user@v"', "vault_url"),
        ('vault_url = "https://v/path"', "vault_url"),
        ('vault_secrets = ["../x"]', "vault_secrets.0"),
        ('vault_secrets = ["/x"]', "vault_secrets.0"),
        ('vault_secrets = ["x/*"]', "vault_secrets.0"),
        ('vault_revoked_leases = [""]', "vault_revoked_leases.0"),
        (f"secret_files = {['x'] * 33}", "secret_files"),
        ('secret_files = "x"', "secret_files"),
    ],
)
def test_absurd_settings_are_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        loaded(tmp_path, text)
