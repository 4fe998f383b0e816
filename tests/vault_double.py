"""A small Vault: KV v2, AppRole and Kubernetes logins, tokens, leases, policies, a seal; real enough for hvac.

It evaluates policies as the real one does: by path with `*` at its end, a LIST with the slash that hvac drops, `sudo`
for what is protected by the root. It answers in the real shapes: 404 with an empty list of errors for what is absent,
and with a sentence for a mount that is not there.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from http_double import HANG, Asked, reply

Policy = dict[str, set[str]]
JSON = {"content-type": "application/json"}
OPERATIONS = {"GET": "read", "LIST": "list", "DELETE": "delete", "POST": "update", "PUT": "update"}
ROOT_PROTECTED = ("auth/token/accessors/", "sys/leases/revoke-prefix/", "sys/leases/lookup/")


def parse_policy(text: str) -> Policy:
    """Read the part of HCL that policies are written in."""
    found = re.findall(r'path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]\s*\}', text)
    return {path: set(re.findall(r'"(\w+)"', capabilities)) for path, capabilities in found}


@dataclass
class Token:
    accessor: str
    policy: Policy
    meta: dict[str, str]


@dataclass
class VaultDouble:
    """The server's state. `answer` is what an HTTP double asks."""

    mount: str = "secret"
    kv: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    roles: dict[str, tuple[str, Policy, dict[str, str]]] = field(default_factory=dict)
    pods: dict[str, tuple[str, Policy]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: set[str] = field(default_factory=set)
    lease_lag: int = 0
    is_sealed: bool = False
    is_hanging: bool = False
    raw: bytes | None = None
    unrevocable: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def add_role(self, name: str, policy: Policy, *, secret_ids: int = 1) -> tuple[str, str]:
        """Make an AppRole; returns a role id and one of its secret ids."""
        ids = {secrets.token_hex(8): secrets.token_hex(8) for _ in range(secret_ids)}
        self.roles[name] = (secrets.token_hex(8), policy, ids)
        return self.roles[name][0], next(iter(ids), "")

    def add_token(self, policy: Policy, meta: dict[str, str]) -> str:
        token = "hvs." + secrets.token_hex(8)
        self.tokens[token] = Token(accessor=secrets.token_hex(8), policy=policy, meta=meta)
        return token

    def answer(self, asked: Asked) -> bytes | None:
        self.asked.append(f"{asked.method} {asked.path}")
        if self.is_hanging:
            return HANG
        if self.raw is not None:
            return self.raw
        if self.is_sealed:
            return _errors(503, "Vault is sealed")
        path = asked.path.removeprefix("/v1/")
        if re.fullmatch(r"auth/(approle|kubernetes)/login", path):
            return self._log_in(path, asked.json())
        token = self.tokens.get(asked.headers.get("x-vault-token", ""))
        if token is None:
            return _errors(403, "permission denied")
        is_own = path in {"auth/token/revoke-self", "sys/capabilities-self"}
        listed = path + "/" if asked.method == "LIST" else path
        if not is_own and not self._permits(token, listed, OPERATIONS[asked.method]):
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        return self._carry_out(asked.method, path, asked, token)

    def _permits(self, token: Token, path: str, operation: str) -> bool:
        capabilities = _capabilities(token.policy, path)
        return operation in capabilities and ("sudo" in capabilities or not path.startswith(ROOT_PROTECTED))

    def _log_in(self, path: str, content: dict[str, str]) -> bytes:
        if path.startswith("auth/approle"):
            for name, (role_id, policy, ids) in self.roles.items():
                if content["role_id"] == role_id and content["secret_id"] in ids:
                    return self._logged_in(self.add_token(policy, {"role_name": name}))
        elif content["role"] in self.pods and self.pods[content["role"]][0] == content["jwt"]:
            return self._logged_in(self.add_token(self.pods[content["role"]][1], {"role": content["role"]}))
        return _errors(400, "invalid role or secret ID")

    def _logged_in(self, token: str) -> bytes:
        return _json({"auth": {"client_token": token, "accessor": self.tokens[token].accessor}})

    def _carry_out(self, method: str, path: str, asked: Asked, token: Token) -> bytes:
        match path.split("/"):
            case ["sys", "capabilities-self"]:
                (wanted,) = asked.json()["paths"]
                return _json({"capabilities": sorted(_capabilities(token.policy, wanted)) or ["deny"]})
            case [self.mount, "metadata", *rest]:
                return self._metadata(method, "/".join(rest))
            case [self.mount, "data", *rest]:
                return self._data(method, "/".join(rest), asked)
            case ["auth", "approle", "role", role, "secret-id"]:
                ids = self.roles[role][2] if role in self.roles else {}
                return _listing(ids.values())
            case ["auth", "approle", "role", role, "secret-id-accessor", "destroy"]:
                ids, wanted = self.roles[role][2], asked.json()["secret_id_accessor"]
                for secret_id in [one for one, accessor in ids.items() if accessor == wanted]:
                    del ids[secret_id]
                return _no_content()
            case ["auth", "token", *verb]:
                return self._token(verb, asked, token)
            case ["sys", "leases", verb, *rest]:
                return self._lease(verb, "/".join(rest))
        return _errors(404, f"no handler for route {path!r}. route entry not found.")

    def _metadata(self, method: str, path: str) -> bytes:
        if method == "DELETE":
            self.kv.pop(path, None)
            return _no_content()
        if path not in self.kv:
            return _errors(404)
        return _json({"data": {"current_version": len(self.kv[path])}})

    def _data(self, method: str, path: str, asked: Asked) -> bytes:
        if method in {"POST", "PUT"}:
            self.kv.setdefault(path, []).append(asked.json()["data"])
            return _json({"data": {"version": len(self.kv[path])}})
        return _json({"data": {"data": self.kv[path][-1], "metadata": {}}}) if path in self.kv else _errors(404)

    def _token(self, verb: list[str], asked: Asked, own: Token) -> bytes:
        accessors = {token.accessor: name for name, token in self.tokens.items()}
        match verb:
            case ["accessors"]:
                return _listing(accessors)
            case ["lookup-accessor"]:
                name = accessors.get(asked.json()["accessor"])
                return (
                    _errors(403, "invalid accessor")
                    if name is None
                    else _json({"data": {"meta": self.tokens[name].meta}})
                )
            case ["revoke-accessor"]:
                wanted = asked.json()["accessor"]
                if wanted not in self.unrevocable:
                    del self.tokens[accessors[wanted]]
                return _no_content()
            case ["revoke-self"]:
                del self.tokens[accessors[own.accessor]]
                return _no_content()
        return _errors(404, "unsupported path")

    def _lease(self, verb: str, prefix: str) -> bytes:
        found = {lease for lease in self.leases if lease.startswith(prefix + "/")}
        if verb == "revoke-prefix":
            if self.lease_lag == 0:
                self.leases -= found
            return _no_content()
        if self.lease_lag:
            self.lease_lag -= 1
            if self.lease_lag == 0:
                self.leases -= found
                found = set()
        return _listing(lease.removeprefix(prefix + "/") for lease in found)


def _capabilities(policy: Policy, path: str) -> set[str]:
    """Return those of the most exact rule that fits: itself, else the longest with a `*`."""
    if path in policy:
        return policy[path]
    globs = [rule for rule in policy if rule.endswith("*") and path.startswith(rule[:-1])]
    return policy[max(globs, key=len)] if globs else set()


def _json(content: dict[str, Any]) -> bytes:
    return reply(json.dumps(content).encode(), headers=JSON)


def _errors(status: int, *errors: str) -> bytes:
    return reply(json.dumps({"errors": list(errors)}).encode(), status=status, headers=JSON)


def _listing(keys: Any) -> bytes:
    listed = list(keys)
    return _json({"data": {"keys": listed}}) if listed else _errors(404)


def _no_content() -> bytes:
    return reply(b"", status=204, headers={})
