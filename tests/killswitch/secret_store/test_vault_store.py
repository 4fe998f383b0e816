"""The store against a Vault double, through the real hvac, with the policy that the documentation gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import hvac
import pytest
from http_double import HttpDouble, http_double, reply
from killswitch.secret_store.vault_world import READERS, READS, furnished, store_at
from vault_double import VaultDouble, parse_policy

from trade_core.secrets import Secret
from trade_killswitch.secret_store import vault_session, vault_store
from trade_killswitch.secret_store.port import SecretStoreFailed
from trade_killswitch.secret_store.vault_session import AppRoleLogin, KubernetesLogin
from trade_killswitch.secret_store.vault_store import Readers, VaultStore


@asynccontextmanager
async def world() -> AsyncIterator[tuple[VaultDouble, VaultStore, HttpDouble]]:
    vault, login = furnished()
    async with http_double(vault.answer) as double:
        yield vault, store_at(double.url, login), double


def leftovers(vault: VaultDouble) -> list[str]:
    """Tokens of the executor's own that it did not give back."""
    return [name for name, token in vault.tokens.items() if token.meta.get("role_name") == "executor"]


async def test_secret_is_destroyed_with_every_version_and_proved_absent() -> None:
    async with world() as (vault, store, double):
        reader = vault.add_token(READS, {})
        assert store.names == ("vault:trade/gateway", "vault:trade/bot")
        assert await store.prove_ready() == {"vault_secrets": "2"}
        assert await store.destroy("vault:trade/gateway") == {"was_there": "yes", "read_back": "absent"}
        assert vault.kv.keys() == {"trade/bot", "other"}
        client = hvac.Client(url=double.url, token=reader)
        with pytest.raises(hvac.exceptions.InvalidPath):
            await asyncio.to_thread(
                client.secrets.kv.v2.read_secret_version, "trade/gateway", raise_on_deleted_version=True
            )
        client.adapter.close()
        assert await store.destroy("vault:trade/gateway") == {"was_there": "no", "read_back": "absent"}
        with pytest.raises(SecretStoreFailed, match="vault:trade/gateway: is not there"):
            await store.prove_ready()
        assert leftovers(vault) == []
        assert not any("/data/" in line for line in vault.asked[:-1] if "trade" in line and "GET" not in line)
        await store.close()


async def test_access_of_the_roles_ends_and_of_nobody_else() -> None:
    async with world() as (vault, store, _):
        assert await store.revoke_access() == {"logins_ended": "2", "tokens_revoked": "2", "read_back": "none left"}
        assert vault.roles["trade-gateway"][2] == {}
        assert len(vault.roles["executor"][2]) == 1
        assert [token.meta for token in vault.tokens.values()] == [{}]
        assert vault.leases == {"pki/issue/x"}
        assert await store.revoke_access() == {"logins_ended": "0", "tokens_revoked": "0", "read_back": "none left"}


async def test_leases_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_store, "LOOK_EVERY_S", 0.01)
    async with world() as (vault, store, _):
        vault.lease_lag = 3
        await store.revoke_access()
        assert vault.leases == {"pki/issue/x"}
        monkeypatch.setattr(vault_store, "LEASES_GONE_WITHIN_S", 0.05)
        vault.leases.add("database/creds/bot/3")
        vault.lease_lag = 10**6
        with pytest.raises(SecretStoreFailed, match="leases below database/creds are left"):
            await store.revoke_access()


async def test_token_that_is_still_listed_is_a_failure() -> None:
    async with world() as (vault, store, _):
        vault.unrevocable = {token.accessor for token in vault.tokens.values() if token.meta}
        with pytest.raises(SecretStoreFailed, match="2 tokens are not known to be revoked"):
            await store.revoke_access()


async def test_too_many_tokens_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_store, "TOKENS_MAX", 3)
    async with world() as (_, store, _):
        with pytest.raises(SecretStoreFailed, match="more than 3 tokens"):
            await store.revoke_access()


async def test_nothing_to_revoke_asks_for_no_list() -> None:
    vault, login = furnished()
    async with http_double(vault.answer) as double:
        store = store_at(double.url, login, readers=Readers())
        assert (await store.revoke_access())["tokens_revoked"] == "0"
        assert await store.prove_ready() == {"vault_secrets": "2"}
    assert not any("accessors" in line for line in vault.asked)


async def test_pod_logs_in_with_its_own_token(tmp_path: Path) -> None:
    vault, _ = furnished()
    policy = vault.roles["executor"][1]
    vault.pods["executor"] = ("pod-token", policy)
    login = KubernetesLogin(mount="kubernetes", role="executor", token_file=tmp_path / "token")
    async with http_double(vault.answer) as double:
        store = store_at(double.url, login)
        with pytest.raises(SecretStoreFailed, match="token: FileNotFoundError"):
            await store.prove_ready()
        (tmp_path / "token").write_text("pod-token\n")
        assert await store.prove_ready() == {"vault_secrets": "2"}
        (tmp_path / "token").write_text("another's\n")
        with pytest.raises(SecretStoreFailed, match="invalid"):
            await store.prove_ready()


async def test_login_that_was_ended_is_a_failure() -> None:
    async with world() as (vault, store, _):
        vault.roles["executor"][2].clear()
        with pytest.raises(SecretStoreFailed, match="takes the request for invalid"):
            await store.destroy("vault:trade/bot")
        assert "trade/bot" in vault.kv


@pytest.mark.parametrize("missing", ["delete", "read"])
async def test_policy_without_a_right_is_not_ready_and_destroys_nothing(missing: str) -> None:
    async with world() as (vault, store, _):
        vault.roles["executor"][1]["secret/metadata/trade/*"].discard(missing)
        with pytest.raises(SecretStoreFailed, match=r"does not let us delete|refuses by its policy"):
            await store.prove_ready()
        with pytest.raises(SecretStoreFailed, match="refuses by its policy"):
            await store.destroy("vault:trade/bot")
        assert "trade/bot" in vault.kv
        assert leftovers(vault) == []


@pytest.mark.parametrize(
    "path",
    [
        "auth/approle/role/trade-gateway/secret-id/",
        "auth/approle/role/trade-gateway/secret-id-accessor/destroy",
        "auth/token/accessors/",
        "auth/token/lookup-accessor",
        "auth/token/revoke-accessor",
        "sys/leases/revoke-prefix/database/creds",
        "sys/leases/lookup/database/creds/",
    ],
)
async def test_each_right_of_the_documented_policy_is_needed(path: str) -> None:
    async with world() as (vault, store, _):
        del vault.roles["executor"][1][path]
        with pytest.raises(SecretStoreFailed):
            await store.revoke_access()


async def test_documented_policy_reads_no_secret() -> None:
    vault, _ = furnished()
    policy = vault.roles["executor"][1]
    assert len(policy) == 8
    assert not any("secret/data" in path or path in {"*", "secret/*"} for path in policy)
    assert parse_policy('path "a" { capabilities = ["read"] }') == {"a": {"read"}}


async def test_sealed_server_is_a_failure() -> None:
    async with world() as (vault, store, _):
        vault.is_sealed = True
        for ask in (store.prove_ready, store.revoke_access, lambda: store.destroy("vault:trade/bot")):
            with pytest.raises(SecretStoreFailed, match="is sealed or down"):
                await ask()


async def test_server_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_session, "READ_TIMEOUT_S", 0.1)
    async with world() as (vault, store, _):
        vault.is_hanging = True
        with pytest.raises(SecretStoreFailed, match="does not answer: ReadTimeout"):
            await store.destroy("vault:trade/bot")


async def test_server_that_drips_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_store, "DESTROY_WITHIN_S", 0.3)
    stop = asyncio.Event()
    served: list[asyncio.Task[None] | None] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n")
        while not stop.is_set() and not writer.is_closing():
            writer.write(b"{")
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    _, login = furnished()
    store = store_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", login)
    try:
        with pytest.raises(SecretStoreFailed, match="does not answer: Timeout"):
            await store.destroy("vault:trade/bot")
    finally:
        stop.set()
        server.close()
        await asyncio.gather(*(task for task in served if task is not None))


@pytest.mark.parametrize(
    "raw",
    [
        reply(b"", status=307, headers={"location": "https://active.example/"}),
        reply(b"<html>sign in</html>", headers={"content-type": "text/html"}),
        reply(b"", headers={}),
        reply(b"[]", headers={"content-type": "application/json"}),
        reply(b'{"auth": null}', headers={"content-type": "application/json"}),
        reply(b'{"auth": {}}', headers={"content-type": "application/json"}),
        reply(b"{" + b" " * 5000 + b"}", headers={"content-type": "application/json"}),
        reply(b"x", status=500),
        reply(b'{"errors": []}', status=429, headers={"content-type": "application/json"}),
        reply(b'{"errors": []}', status=404, headers={"content-type": "application/json"}),
    ],
)
async def test_answer_of_something_else_is_a_failure(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_session, "ANSWER_BYTES_MAX", 4000)
    async with world() as (vault, store, _):
        vault.raw = raw
        with pytest.raises(SecretStoreFailed):
            await store.destroy("vault:trade/bot")
        assert "trade/bot" in vault.kv


@pytest.mark.parametrize(
    "raw",
    [
        reply(b"", status=307, headers={"location": "https://active.example/"}),
        reply(b"", headers={}),
        reply(b"<html>", headers={"content-type": "text/html"}),
        reply(b"not here", status=404, headers={"content-type": "text/plain"}),
        reply(b'{"errors": ["no handler"]}', status=404, headers={"content-type": "application/json"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_odd_answer_after_the_login_is_not_taken_for_absent(raw: bytes, method: str) -> None:
    vault, login = furnished()
    inner = vault.answer
    async with http_double(lambda a: raw if a.method == method and "metadata" in a.path else inner(a)) as double:
        with pytest.raises(SecretStoreFailed):
            await store_at(double.url, login).destroy("vault:trade/bot")


async def test_delete_without_effect_is_a_failure() -> None:
    vault, login = furnished()
    inner = vault.answer
    done = reply(b"", status=204, headers={})
    async with http_double(lambda a: done if a.method == "DELETE" else inner(a)) as double:
        with pytest.raises(SecretStoreFailed, match="is there after it was destroyed"):
            await store_at(double.url, login).destroy("vault:trade/bot")


async def test_wrong_mount_is_not_taken_for_an_absent_secret() -> None:
    vault, login = furnished()
    vault.mount = "kv"
    async with http_double(vault.answer) as double:
        with pytest.raises(SecretStoreFailed, match="is the mount right"):
            await store_at(double.url, login).destroy("vault:trade/bot")


async def test_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "root")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with world() as (_, store, double):
        await store.prove_ready()
        assert all(asked.headers.get("x-vault-token") != "root" for asked in double.asked)


async def test_no_error_shows_a_secret() -> None:
    vault, _ = furnished()
    login = AppRoleLogin(mount="approle", role_id=Secret("role-canary"), secret_id=Secret("secret-canary"))
    async with http_double(vault.answer) as double:
        with pytest.raises(SecretStoreFailed) as failure:
            await store_at(double.url, login, readers=READERS).prove_ready()
    assert "canary" not in str(failure.value)
    assert failure.value.__cause__ is None
