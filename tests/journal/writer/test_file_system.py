from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_journal.writer import file_system, writer_process
from trade_journal.writer.file_system import file_system_of, journal_folders, require_durable, why_not_durable
from trade_journal.writer.writer_settings import JournalWriterSettings

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:30 / /tmp rw,nosuid master:3 - tmpfs tmpfs rw,size=1g
31 30 0:31 / /tmp/deep rw - ext4 /dev/vdb rw
32 27 0:32 / /srv/my\040journals rw - nfs4 host:/x rw
33 27 0:33 / /twice rw - tmpfs tmpfs rw
34 27 0:34 / /twice rw - xfs /dev/vdc rw
nonsense
35 27 0:35 /
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/trade", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/x/y", "tmpfs"),
        ("/tmpx", "ext4"),
        ("/tmp/deep/x", "ext4"),
        ("/srv/my journals/a", "nfs4"),
        ("/twice", "xfs"),
    ],
)
def test_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), TABLE) == kind


def test_file_system_of_an_empty_table_is_unknown() -> None:
    assert file_system_of(Path("/"), "") is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("tmpfs", "memory"), ("ramfs", "memory"), ("nfs4", "network"), ("9p", "network"), ("ext4", None), ("xfs", None)],
)
def test_folder_without_durable_sync_is_named(tmp_path: Path, kind: str, reason: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"27 1 254:0 / / rw - {kind} dev rw\n")
    said = why_not_durable(tmp_path / "not" / "there", mounts=mounts)
    if reason is None:
        assert said is None
    else:
        assert said is not None
        assert str(tmp_path / "not" / "there") in said
        assert kind in said
        assert reason in said


def test_folder_is_not_judged_without_a_table_of_mounts(tmp_path: Path) -> None:
    assert why_not_durable(tmp_path, mounts=tmp_path / "none") is None


def test_folders_are_those_of_the_state_and_of_a_journal_in_a_file(tmp_path: Path) -> None:
    found = journal_folders(state_dir=tmp_path, journal_url=f"sqlite:///{tmp_path}/journal/gateway.db")
    assert found == {"state_dir": tmp_path, "journal_url": tmp_path / "journal"}
    assert journal_folders(state_dir=tmp_path, journal_url="postgresql://role@host/db") == {"state_dir": tmp_path}


def test_folder_where_nothing_would_be_kept_is_refused_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_system, "why_not_durable", lambda folder: f"{folder} lies on tmpfs")
    folders = {"state_dir": tmp_path, "journal_url": tmp_path / "journal"}
    require_durable(folders, environment="simulated")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"journal_url: {tmp_path}/journal lies on tmpfs" in caplog.text
    for environment in ("testnet", "live"):
        with pytest.raises(ConfigurationError, match=r"^state_dir: .* lies on tmpfs"):
            require_durable(folders, environment=environment)


def test_folder_on_a_disk_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_system, "why_not_durable", lambda _: None)
    require_durable({"state_dir": tmp_path}, environment="live")
    assert caplog.records == []


async def test_writer_does_not_start_where_nothing_would_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_system, "why_not_durable", lambda folder: f"{folder} lies on tmpfs")
    settings = JournalWriterSettings.model_validate(
        {
            "environment": "simulated",
            "account": "1001",
            "state_dir": str(tmp_path),
            "journal_url": f"sqlite:///{tmp_path}/journal/gateway.db",
            "ring_file": str(tmp_path / "ring.json"),
            "gateway_socket": str(tmp_path / "gateway.sock"),
            "shim_socket": str(tmp_path / "shim.sock"),
        }
    )
    with pytest.raises(ConfigurationError, match=r"^state_dir: .* lies on tmpfs"):
        await writer_process.run(settings.model_copy(update={"environment": "live"}))
