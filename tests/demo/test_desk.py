"""What a person finds in the folder of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trade_demo import desk
from trade_demo.desk import COMMANDS, lay_out
from trade_demo.files import Files


def test_desk_leads_to_commands_and_settings_by_the_names_of_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "service_command", lambda environment, command: f"/x/{environment}/bin/{command}")
    files = Files(root=tmp_path)
    files.make_folders()
    where = lay_out(files)
    for service in ("gateway", "watchdog", "executor", "console", "shim", "journal-writer"):
        files.settings(service).write_text(service)
        assert (tmp_path / f"{service}.toml").read_text() == service
    assert (tmp_path / "executor.sock").readlink() == files.executor_socket
    assert f"sqlite:///{(tmp_path / 'gateway.db').readlink()}" == files.journal("gateway")
    for command, environment in COMMANDS.items():
        assert (tmp_path / "bin" / command).readlink() == Path(f"/x/{environment}/bin/{command}")
    shell = subprocess.run(["bash", "-c", f"{where} && pwd && echo $PATH"], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines()[0] == str(tmp_path)
    assert shell.stdout.splitlines()[1].startswith(f"{tmp_path}/bin:")
