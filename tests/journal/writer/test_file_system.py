from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_journal.writer import writer_process
from trade_journal.writer.file_system import file_system_of, why_not_durable
from trade_journal.writer.writer_process import require_durable_folders
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


def settings_on(folder: Path, *, environment: str) -> JournalWriterSettings:
    made = JournalWriterSettings.model_validate(
        {
            "environment": "simulated",
            "account": "1001",
            "state_dir": str(folder),
            "journal_url": f"sqlite:///{folder}/journal/gateway.db",
            "ring_file": str(folder / "ring.json"),
            "gateway_socket": str(folder / "gateway.sock"),
            "shim_socket": str(folder / "shim.sock"),
        }
    )
    return made.model_copy(update={"environment": environment})


def test_writer_says_where_nothing_would_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_process, "why_not_durable", lambda folder: f"{folder} lies on tmpfs")
    require_durable_folders(settings_on(tmp_path, environment="simulated"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"journal_url: {tmp_path}/journal lies on tmpfs" in caplog.text
    with pytest.raises(ConfigurationError, match=r"^state_dir: .* lies on tmpfs"):
        require_durable_folders(settings_on(tmp_path, environment="live"))


def test_writer_on_a_disk_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_process, "why_not_durable", lambda _: None)
    require_durable_folders(settings_on(tmp_path, environment="live"))
    assert caplog.records == []
