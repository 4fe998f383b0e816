"""One login to Vault or OpenBao and what is done with it, through hvac. Blocking: it runs in a thread.

Guarantees
- Every request has a time-out, a bound on the bytes of its answer and a deadline for all of them; no redirect is
  followed, no proxy, certificate, token or address is taken from the environment.
- An answer counts by what it is: JSON where JSON is due. A redirect of a standby, a proxy's page or an empty answer is
  a failure, although hvac raises nothing for them.
- "Absent" is Vault's own 404 with an empty list of errors. A 404 that says why (no such mount) is a failure.
- No path, token, accessor or text of the server stands in an error.

Source: Vault HTTP API, KV v2, AppRole, Kubernetes auth, token store, leases; the same in OpenBao.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hvac
import requests
from hvac import exceptions

from trade_core.secrets import Secret
from trade_killswitch.secret_store.port import SecretStoreFailed

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_NO_CONTENT: Final = 204
_WORDS: Final[Mapping[type[exceptions.VaultError], str]] = {
    exceptions.InvalidRequest: "takes the request for invalid",
    exceptions.Unauthorized: "does not know us (401)",
    exceptions.Forbidden: "refuses by its policy, or our login is wrong (403)",
    exceptions.InvalidPath: "has no such path (404): is the mount right?",
    exceptions.RateLimitExceeded: "limits our requests (429)",
    exceptions.VaultNotInitialized: "is not initialised (501)",
    exceptions.VaultDown: "is sealed or down (503)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultAddress:
    """Which server. `ca_file` None: the authorities that requests comes with."""

    url: str
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleLogin:
    """Log in as an AppRole."""

    mount: str
    role_id: Secret
    secret_id: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesLogin:
    """Log in with the pod's own service account; its token is read anew each time, since it is rotated."""

    mount: str
    role: str
    token_file: Path


class VaultSession:
    """A client that is logged in between `__enter__` and `__exit__`; its token is revoked at the end."""

    def __init__(self, address: VaultAddress, login: AppRoleLogin | KubernetesLogin, *, within_s: float) -> None:
        """Prepare. `within_s` bounds everything that is done with this session."""
        self._login = login
        self._http = _BoundedSession(ca_file=address.ca_file, deadline=time.monotonic() + within_s)
        self._client = hvac.Client(
            url=address.url,
            token="",  # None, here and below, would be looked up in the environment or in a file of the home folder
            cert="",
            verify=self._http.verify,
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            allow_redirects=False,
            session=self._http,
            proxies={},
        )

    def __enter__(self) -> VaultSession:
        """Log in. Raises SecretStoreFailed."""
        try:
            answer = self._asked(self._log_in)
            self._client.token = str(answer["auth"]["client_token"])
            self.accessor = str(answer["auth"]["accessor"])
        except (KeyError, TypeError):
            self._http.close()
            raise SecretStoreFailed("the secret server answers a login without a token") from None
        except SecretStoreFailed:
            self._http.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Revoke our own token; that this fails is no failure of what was done, the token ends by itself."""
        try:
            self._client.auth.token.revoke_self()
        except (exceptions.VaultError, requests.RequestException, SecretStoreFailed):
            return
        finally:
            self._http.close()

    def capabilities(self, path: str) -> frozenset[str]:
        """What our policies permit at a path of the API. Raises SecretStoreFailed."""
        answer = self._asked(lambda: self._client.sys.get_capabilities([path]))
        listed = answer.get("capabilities")
        if not isinstance(listed, list):
            raise SecretStoreFailed("the secret server answers no capabilities")
        return frozenset(map(str, listed))

    def has_secret(self, mount: str, path: str) -> bool:
        """Tell whether a secret has any version left, deleted ones too. Raises SecretStoreFailed."""
        return (
            self._listed(lambda: self._client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)) is not None
        )

    def delete_secret(self, mount: str, path: str) -> None:
        """Destroy the secret with all its versions; one that is absent stays so. Raises SecretStoreFailed."""
        self._done(lambda: self._client.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=mount))

    def secret_ids(self, mount: str, role: str) -> list[str]:
        """Accessors of the secret ids with which a role can log in. Raises SecretStoreFailed."""
        return self._keys(lambda: self._client.auth.approle.list_secret_id_accessors(role, mount_point=mount))

    def destroy_secret_id(self, mount: str, role: str, accessor: str) -> None:
        """End one login of a role. Raises SecretStoreFailed."""
        approle = self._client.auth.approle
        self._done(lambda: approle.destroy_secret_id_accessor(role, accessor, mount_point=mount))

    def tokens(self) -> list[str]:
        """Accessors of every token of the server. Raises SecretStoreFailed."""
        return self._keys(self._client.auth.token.list_accessors)

    def role_of(self, accessor: str) -> str:
        """Name the role that a token was given to; empty for one that was not. Raises SecretStoreFailed."""
        answer = self._asked(lambda: self._client.auth.token.lookup_accessor(accessor))
        meta = (answer.get("data") or {}).get("meta") or {}
        return str(meta.get("role_name") or meta.get("role") or "")

    def revoke_token(self, accessor: str) -> None:
        """Revoke a token, with the leases and tokens that it made. Raises SecretStoreFailed."""
        self._done(lambda: self._client.auth.token.revoke_accessor(accessor))

    def leases(self, prefix: str) -> list[str]:
        """What stands below a prefix of leases. Raises SecretStoreFailed."""
        return self._keys(lambda: self._client.sys.list_leases(prefix))

    def revoke_leases(self, prefix: str) -> None:
        """Revoke all leases below a prefix. Raises SecretStoreFailed."""
        self._done(lambda: self._client.sys.revoke_prefix(prefix))

    def _log_in(self) -> Any:
        match self._login:
            case AppRoleLogin(mount=mount, role_id=role_id, secret_id=secret_id):
                return self._client.auth.approle.login(
                    role_id.reveal(), secret_id.reveal(), use_token=False, mount_point=mount
                )
            case KubernetesLogin(mount=mount, role=role, token_file=token_file):
                try:
                    token = token_file.read_text("ascii").strip()
                except (OSError, ValueError) as error:
                    raise SecretStoreFailed(f"{token_file}: {type(error).__name__}") from None
                return self._client.auth.kubernetes.login(role, token, use_token=False, mount_point=mount)

    def _keys(self, call: Any) -> list[str]:
        listed = self._listed(call)
        if listed is None:
            return []
        keys = (listed.get("data") or {}).get("keys")
        if not isinstance(keys, list):
            raise SecretStoreFailed("the secret server answers no list")
        return [str(key) for key in keys]

    def _listed(self, call: Any) -> dict[str, Any] | None:
        """Ask for what may be absent; None when the server says that it is."""
        try:
            return _json(call())
        except exceptions.InvalidPath as error:
            if error.errors == []:
                return None
            raise _failure(error) from None
        except (exceptions.VaultError, requests.RequestException) as error:
            raise _failure(error) from None

    def _asked(self, call: Any) -> dict[str, Any]:
        try:
            return _json(call())
        except (exceptions.VaultError, requests.RequestException) as error:
            raise _failure(error) from None

    def _done(self, call: Any) -> None:
        """Have something done; what is absent already is done."""
        try:
            answer = call()
        except exceptions.InvalidPath as error:
            if error.errors == []:
                return
            raise _failure(error) from None
        except (exceptions.VaultError, requests.RequestException) as error:
            raise _failure(error) from None
        if not isinstance(answer, dict) and getattr(answer, "status_code", 0) != _NO_CONTENT:
            raise SecretStoreFailed("the secret server answers something else than it should; is a proxy in between?")


class _BoundedSession(requests.Session):
    """Reads each answer itself, so that one that drips or never ends is cut off."""

    def __init__(self, *, ca_file: Path | None, deadline: float) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["accept-encoding"] = "identity"
        self.verify = True if ca_file is None else str(ca_file)
        self._deadline = deadline

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, and read the answer within the bounds. Raises requests.RequestException."""
        if time.monotonic() > self._deadline:
            raise requests.Timeout("the time for all of it is over")
        response = super().send(request, **{**kwargs, "stream": True})
        body = bytearray()
        # One read of the socket at a time: `iter_content` waits for a whole chunk, however slowly it drips.
        while part := response.raw.read1(_CHUNK_BYTES):
            body += part
            if len(body) > ANSWER_BYTES_MAX or time.monotonic() > self._deadline:
                response.close()
                raise requests.Timeout("the answer is too long or too slow")
        response._content = bytes(body)  # where requests itself keeps what it has read
        return response


def _json(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise SecretStoreFailed("the secret server answers something else than it should; is a proxy in between?")
    return answer


def _failure(error: Exception) -> SecretStoreFailed:
    if isinstance(error, exceptions.VaultError):
        return SecretStoreFailed(f"the secret server {_WORDS.get(type(error), f'fails: {type(error).__name__}')}")
    return SecretStoreFailed(f"the secret server does not answer: {type(error).__name__}")
