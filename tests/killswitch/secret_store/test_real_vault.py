"""The store against a real Vault or OpenBao, named by TRADE_VAULT_ADDR and TRADE_VAULT_TOKEN (a development server)."""

from __future__ import annotations

import os
import secrets

import hvac
import pytest
from killswitch.secret_store.vault_world import PATHS, documented_policy

from trade_core.secrets import Secret
from trade_killswitch.secret_store.vault_session import AppRoleLogin, VaultAddress
from trade_killswitch.secret_store.vault_store import Readers, VaultStore

pytestmark = [pytest.mark.outside]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_real_server_loses_secrets_and_logins() -> None:
    url, name = os.environ["TRADE_VAULT_ADDR"], "trade-" + secrets.token_hex(4)
    root = hvac.Client(url=url, token=os.environ["TRADE_VAULT_TOKEN"])
    root.sys.enable_secrets_engine("kv", path=name, options={"version": "2"})
    root.sys.enable_auth_method("approle", path=name)
    try:
        policy = documented_policy().replace("secret/", f"{name}/").replace("auth/approle/", f"auth/{name}/")
        root.sys.create_or_update_policy(name, policy)
        for role, policies in (("trade-gateway", ["default"]), ("executor", [name])):
            root.auth.approle.create_or_update_approle(role, token_policies=policies, mount_point=name)
        ids = {
            role: root.auth.approle.read_role_id(role, mount_point=name)["data"]["role_id"]
            for role in ("trade-gateway", "executor")
        }
        made = {role: root.auth.approle.generate_secret_id(role, mount_point=name)["data"]["secret_id"] for role in ids}
        for path in PATHS:
            for version in range(2):
                root.secrets.kv.v2.create_or_update_secret(path, {"version": version}, mount_point=name)
        gateway = hvac.Client(url=url, token="")
        gateway.auth.approle.login(ids["trade-gateway"], made["trade-gateway"], mount_point=name)
        assert gateway.is_authenticated()
        store = VaultStore(
            VaultAddress(url=url, ca_file=None),
            AppRoleLogin(mount=name, role_id=Secret(ids["executor"]), secret_id=Secret(made["executor"])),
            mount=name,
            paths=PATHS,
            readers=Readers(approle_mount=name, roles=("trade-gateway",)),
        )
        await store.prove_ready()
        for secret in store.names:
            assert (await store.destroy(secret))["read_back"] == "absent"
        assert (await store.revoke_access())["tokens_revoked"] == "1"
        assert not gateway.is_authenticated()
        for path in PATHS:
            with pytest.raises(hvac.exceptions.InvalidPath):
                root.secrets.kv.v2.read_secret_version(path, mount_point=name, raise_on_deleted_version=True)
    finally:
        root.sys.disable_auth_method(name)
        root.sys.disable_secrets_engine(name)
        root.sys.delete_policy(name)
