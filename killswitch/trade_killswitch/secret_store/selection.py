"""Which secrets the settings name, and how the secret server is reached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from trade_core.secrets import read_secret_file, secret_text
from trade_core.setting_types import SettingPath, loopback_url
from trade_core.settings import Settings
from trade_killswitch.secret_store.files import SecretFiles
from trade_killswitch.secret_store.port import Evidence, SecretStore, SecretStoreFailed


def _vault_url(value: str) -> str:
    """Permit TLS, or plain HTTP to an agent on this machine's own loopback address."""
    return value if value.startswith("https://") else loopback_url(value, scheme="http")


VaultUrl = Annotated[
    str, Field(pattern=r"^https://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?$|^http://"), AfterValidator(_vault_url)
]
VaultName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
VaultPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,9}$")]
_MOST = 32
_LIST = (BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value), Field(max_length=_MOST))


class SecretStoreSettings(Settings):
    """What a kill destroys. Nothing is named by default: whoever kills says that no secret was destroyed."""

    secret_files: Annotated[tuple[SettingPath, ...], *_LIST] = ()
    vault_url: VaultUrl | None = None
    vault_ca_file: SettingPath | None = None
    vault_mount: VaultPath = "secret"
    vault_secrets: Annotated[tuple[VaultPath, ...], *_LIST] = ()
    vault_auth: Literal["approle", "kubernetes"] = "approle"
    vault_auth_mount: VaultPath | None = None
    # JSON {"role_id", "secret_id"}, mode 0600, for "approle".
    vault_login_file: SettingPath | None = None
    # For "kubernetes".
    vault_role: VaultName | None = None
    vault_token_file: SettingPath = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    vault_revoked_roles: Annotated[tuple[VaultName, ...], *_LIST] = ()
    vault_revoked_leases: Annotated[tuple[VaultPath, ...], *_LIST] = ()

    @model_validator(mode="after")
    def _vault_is_named_with_what_it_needs(self) -> Self:
        given: dict[str, Any] = {
            "vault_ca_file": self.vault_ca_file,
            "vault_secrets": self.vault_secrets,
            "vault_login_file": self.vault_login_file,
            "vault_role": self.vault_role,
            "vault_revoked_roles": self.vault_revoked_roles,
            "vault_revoked_leases": self.vault_revoked_leases,
        }
        if self.vault_url is None:
            extra = [name for name, value in given.items() if value]
            if extra:
                raise ValueError(f"{extra[0]}: is given without vault_url")
            return self
        needed = "vault_login_file" if self.vault_auth == "approle" else "vault_role"
        other = "vault_role" if self.vault_auth == "approle" else "vault_login_file"
        if given[needed] is None or given[other] is not None:
            raise ValueError(f'{needed}, and not {other}, is needed with vault_auth = "{self.vault_auth}"')
        if not self.vault_secrets:
            raise ValueError("vault_secrets: is missing although vault_url is given")
        return self


class SecretStores:
    """Several stores as one; each secret's name says where it is."""

    def __init__(self, stores: Sequence[SecretStore]) -> None:
        self._stores = tuple(stores)

    @property
    def names(self) -> tuple[str, ...]:
        """Every secret of every store."""
        return tuple(name for store in self._stores for name in store.names)

    async def prove_ready(self) -> Evidence:
        """Ask each store. Raises SecretStoreFailed."""
        evidence: dict[str, str] = {}
        for store in self._stores:
            evidence.update(await store.prove_ready())
        return evidence

    async def destroy(self, name: str) -> Evidence:
        """Destroy where it stands. Raises SecretStoreFailed."""
        for store in self._stores:
            if name in store.names:
                return await store.destroy(name)
        raise SecretStoreFailed(f"{name}: is no secret of the settings")

    async def revoke_access(self) -> Evidence:
        """Ask each store. Raises SecretStoreFailed."""
        evidence: dict[str, str] = {}
        for store in self._stores:
            evidence.update(await store.revoke_access())
        return evidence

    async def close(self) -> None:
        """Close each store."""
        for store in self._stores:
            await store.close()


def secret_store_of(settings: SecretStoreSettings) -> SecretStore | None:
    """Make the store that the settings name; None when a kill destroys no secret. Raises ConfigurationError."""
    stores: list[SecretStore] = []
    if settings.secret_files:
        stores.append(SecretFiles(settings.secret_files))
    if settings.vault_url is not None:
        stores.append(_vault(settings, settings.vault_url))
    return SecretStores(stores) if stores else None


def _vault(settings: SecretStoreSettings, url: str) -> SecretStore:
    # The client of the secret server takes a second to import; who has no such server does without.
    from trade_killswitch.secret_store.vault_session import AppRoleLogin, KubernetesLogin, VaultAddress  # noqa: PLC0415
    from trade_killswitch.secret_store.vault_store import Readers, VaultStore  # noqa: PLC0415

    mount = settings.vault_auth_mount or settings.vault_auth
    login: AppRoleLogin | KubernetesLogin
    if settings.vault_login_file is not None:
        content = read_secret_file(settings.vault_login_file)  # held in memory: a kill must not wait for a disk
        role_id, secret_id = (
            secret_text(content, name, path=settings.vault_login_file) for name in ("role_id", "secret_id")
        )
        login = AppRoleLogin(mount=mount, role_id=role_id, secret_id=secret_id)
    else:
        login = KubernetesLogin(mount=mount, role=str(settings.vault_role), token_file=settings.vault_token_file)
    return VaultStore(
        VaultAddress(url=url, ca_file=settings.vault_ca_file),
        login,
        mount=settings.vault_mount,
        paths=settings.vault_secrets,
        readers=Readers(roles=settings.vault_revoked_roles, lease_prefixes=settings.vault_revoked_leases),
    )
