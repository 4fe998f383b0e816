"""Secrets in files: overwritten, unlinked, looked for again."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from trade_killswitch.secret_store import files
from trade_killswitch.secret_store.files import SecretFiles
from trade_killswitch.secret_store.port import SecretStoreFailed


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.secrets.json"
    path.write_bytes(b"canary" * 1000)
    path.chmod(0o600)
    return path


async def test_file_is_overwritten_and_gone(secret: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "hard-link"
    os.link(secret, other_name)  # shows what became of the bytes
    store = SecretFiles([secret])
    assert store.names == (str(secret),)
    assert await store.prove_ready() == {"files": "1"}
    assert await store.destroy(str(secret)) == {"overwritten": "yes", "read_back": "absent"}
    assert content(secret) is None
    assert content(other_name) == b"\0" * 6000


async def test_destroying_twice_is_harmless(secret: Path) -> None:
    store = SecretFiles([secret])
    await store.destroy(str(secret))
    assert await store.destroy(str(secret)) == {"overwritten": "was not there", "read_back": "absent"}
    with pytest.raises(SecretStoreFailed, match="No such file"):
        await store.prove_ready()
    assert await store.revoke_access() == {}
    await store.close()


async def test_file_that_cannot_be_written_is_unlinked(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *more)

    monkeypatch.setattr(files.os, "open", refuse)
    assert await SecretFiles([secret]).destroy(str(secret)) == {
        "overwritten": "no (Permission denied)",
        "read_back": "absent",
    }
    assert content(secret) is None


async def test_folder_that_is_not_there_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "not-mounted" / "x.json"
    with pytest.raises(SecretStoreFailed, match="not mounted"):
        await SecretFiles([path]).destroy(str(path))


async def test_link_and_folder_are_not_followed(secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret)
    (tmp_path / "folder").mkdir()
    for path in (link, tmp_path / "folder"):
        store = SecretFiles([path])
        with pytest.raises(SecretStoreFailed, match="no regular file"):
            await store.destroy(str(path))
        with pytest.raises(SecretStoreFailed, match="no regular file"):
            await store.prove_ready()
    assert content(secret) == b"canary" * 1000


async def test_folder_that_may_not_be_written_is_not_ready(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(SecretStoreFailed, match="could not be destroyed"):
        await SecretFiles([secret]).prove_ready()


async def test_unlink_that_is_refused_or_undone_is_a_failure(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SecretFiles([secret])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SecretStoreFailed, match="Operation not permitted"):
        await store.destroy(str(secret))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(SecretStoreFailed, match="is there again"):
        await store.destroy(str(secret))


async def test_disk_that_hangs_is_given_up(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DESTROY_WITHIN_S", 0.05)
    monkeypatch.setattr(files, "_overwrite", lambda _: time.sleep(0.3))
    with pytest.raises(SecretStoreFailed, match="the disk took more than"):
        await SecretFiles([secret]).destroy(str(secret))
    await asyncio.sleep(0)
