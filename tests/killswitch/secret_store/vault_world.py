"""A Vault with a gateway's and a bot's secrets, and an executor that may destroy them."""

from __future__ import annotations

import re
from pathlib import Path

from vault_double import VaultDouble, parse_policy

from trade_core.secrets import Secret
from trade_killswitch.secret_store.vault_session import AppRoleLogin, KubernetesLogin, VaultAddress
from trade_killswitch.secret_store.vault_store import Readers, VaultStore

ROOT = Path(__file__).resolve().parents[3]
PATHS = ("trade/gateway", "trade/bot")
READERS = Readers(roles=("trade-gateway",), lease_prefixes=("database/creds",))
READS = {"secret/data/trade/*": {"read"}}


def documented_policy() -> str:
    """Return the policy that the documentation gives the executor."""
    found = re.search(r"```hcl\n(.*?)```", (ROOT / "docs/secrets.md").read_text(), re.S)
    assert found is not None
    return found[1]


def furnished() -> tuple[VaultDouble, AppRoleLogin]:
    """Make the server: two secrets, a gateway with two logins and two tokens, a stranger's token, a lease."""
    vault = VaultDouble(kv={path: [{"key": "canary-1"}, {"key": "canary-2"}] for path in PATHS})
    vault.kv["other"] = [{"key": "not ours"}]
    vault.add_role("trade-gateway", READS, secret_ids=2)
    for _ in range(2):
        vault.add_token(READS, {"role_name": "trade-gateway"})
    vault.add_token({}, {})
    vault.leases = {"database/creds/bot/1", "database/creds/bot/2", "pki/issue/x"}
    role_id, secret_id = vault.add_role("executor", parse_policy(documented_policy()))
    return vault, AppRoleLogin(mount="approle", role_id=Secret(role_id), secret_id=Secret(secret_id))


def store_at(url: str, login: AppRoleLogin | KubernetesLogin, *, readers: Readers = READERS) -> VaultStore:
    """Make the executor's store."""
    return VaultStore(VaultAddress(url=url, ca_file=None), login, mount="secret", paths=PATHS, readers=readers)
