"""Secrets in Vault or OpenBao (KV v2): destroyed with every version and their metadata, and their readers logged out.

Guarantees
- Destroying is `delete_metadata_and_all_versions`, never the soft delete: nothing can be undeleted. The proof is that
  the metadata are absent, which needs no right to read a secret.
- Access of a role ends in this order: its secret ids (nobody logs in anew), its tokens with the leases they made, then
  the leases below each prefix. The proof is a list without them, read afterwards.
- Each use logs in anew and revokes its own token: no login of ours is left over, and a login that no longer works shows
  itself at the next proof of readiness and not in a kill.

Rights that it needs (a policy stands in docs/secrets.md): read and delete of the metadata of these secrets, list and
destroy of these roles' secret ids, list of accessors (sudo), lookup and revocation by accessor, revocation of these
prefixes (sudo). No right to read a secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trade_killswitch.secret_store.port import Evidence, SecretStoreFailed
from trade_killswitch.secret_store.vault_session import AppRoleLogin, KubernetesLogin, VaultAddress, VaultSession

DESTROY_WITHIN_S: Final = 15.0
REVOKE_WITHIN_S: Final = 25.0
LEASES_GONE_WITHIN_S: Final = 5.0
LOOK_EVERY_S: Final = 0.2
TOKENS_MAX: Final = 2000
PREFIX: Final = "vault:"
_GRACE_S: Final = 2.0
_WIDE: Final = frozenset({"root"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Whose access ends: roles by name, at the mount of their AppRole, and prefixes of leases."""

    approle_mount: str = "approle"
    roles: Sequence[str] = ()
    lease_prefixes: Sequence[str] = ()


class VaultStore:
    """The secrets of one KV v2 mount that the settings name; a secret's name is `vault:` and its path."""

    def __init__(
        self,
        address: VaultAddress,
        login: AppRoleLogin | KubernetesLogin,
        *,
        mount: str,
        paths: Sequence[str],
        readers: Readers,
    ) -> None:
        """Prepare; nothing is asked yet."""
        self._address = address
        self._login = login
        self._mount = mount
        self._paths = {PREFIX + path: path for path in paths}
        self._readers = readers

    @property
    def names(self) -> tuple[str, ...]:
        """The secrets, each as `vault:path`."""
        return tuple(self._paths)

    async def prove_ready(self) -> Evidence:
        """Log in, and show that each secret is there and may be deleted. Raises SecretStoreFailed."""
        return await self._within(DESTROY_WITHIN_S, self._ready)

    async def destroy(self, name: str) -> Evidence:
        """Destroy a secret with all its versions and read it back as absent. Raises SecretStoreFailed."""
        path = self._paths[name]

        def work(session: VaultSession) -> Evidence:
            was_there = session.has_secret(self._mount, path)
            session.delete_secret(self._mount, path)
            if session.has_secret(self._mount, path):
                raise SecretStoreFailed(f"{name}: is there after it was destroyed")
            return {"was_there": "yes" if was_there else "no", "read_back": "absent"}

        return await self._within(DESTROY_WITHIN_S, work)

    async def revoke_access(self) -> Evidence:
        """End logins, tokens and leases; none are left then. Raises SecretStoreFailed."""
        return await self._within(REVOKE_WITHIN_S, self._revoke)

    async def close(self) -> None:
        """Do nothing: no connection outlives its use."""

    async def _within(self, seconds: float, work: Callable[[VaultSession], Evidence]) -> Evidence:
        def run() -> Evidence:
            with VaultSession(self._address, self._login, within_s=seconds) as session:
                return work(session)

        try:
            async with asyncio.timeout(seconds + _GRACE_S):
                return await asyncio.to_thread(run)
        except TimeoutError:
            raise SecretStoreFailed(f"the secret server took more than {seconds + _GRACE_S:g} s") from None

    def _ready(self, session: VaultSession) -> Evidence:
        for name, path in self._paths.items():
            if not session.capabilities(f"{self._mount}/metadata/{path}") & {"delete", *_WIDE}:
                raise SecretStoreFailed(f"{name}: our policy does not let us delete its metadata")
            if not session.has_secret(self._mount, path):
                raise SecretStoreFailed(f"{name}: is not there")
        for role in self._readers.roles:
            session.secret_ids(self._readers.approle_mount, role)
        if self._readers.roles:
            session.tokens()
        return {"vault_secrets": str(len(self._paths))}

    def _revoke(self, session: VaultSession) -> Evidence:
        readers = self._readers
        ids = sum(self._end_logins(session, role) for role in readers.roles)
        tokens = _end_tokens(session, frozenset(readers.roles)) if readers.roles else 0
        for prefix in readers.lease_prefixes:
            _end_leases(session, prefix)
        return {"logins_ended": str(ids), "tokens_revoked": str(tokens), "read_back": "none left"}

    def _end_logins(self, session: VaultSession, role: str) -> int:
        mount = self._readers.approle_mount
        found = session.secret_ids(mount, role)
        for accessor in found:
            session.destroy_secret_id(mount, role, accessor)
        if session.secret_ids(mount, role):
            raise SecretStoreFailed(f"role {role}: can still log in")
        return len(found)


def _end_tokens(session: VaultSession, roles: frozenset[str]) -> int:
    """Revoke every token of the roles but our own, and see that none is listed any more."""
    revoked, unknown = set(), set()
    listed = session.tokens()
    if len(listed) > TOKENS_MAX:
        raise SecretStoreFailed(f"the secret server has more than {TOKENS_MAX} tokens, too many to look at in time")
    for accessor in listed:
        if accessor == session.accessor:
            continue
        try:
            if session.role_of(accessor) not in roles:
                continue
            session.revoke_token(accessor)
        except SecretStoreFailed:
            unknown.add(accessor)  # one that ended meanwhile cannot be looked up either; the second list tells
        else:
            revoked.add(accessor)
    left = (revoked | unknown) & set(session.tokens())
    if left:
        raise SecretStoreFailed(f"{len(left)} tokens are not known to be revoked")
    return len(revoked)


def _end_leases(session: VaultSession, prefix: str) -> None:
    session.revoke_leases(prefix)
    deadline = time.monotonic() + LEASES_GONE_WITHIN_S
    while session.leases(prefix):
        if time.monotonic() > deadline:
            raise SecretStoreFailed(f"leases below {prefix} are left after {LEASES_GONE_WITHIN_S:g} s")
        time.sleep(LOOK_EVERY_S)
