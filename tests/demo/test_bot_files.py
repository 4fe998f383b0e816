"""Freqtrade's configuration is the one that the gateway printed, with at most the demo's stake."""

import json
import stat

import pytest

from trade_demo.bot_files import write_bot_handover, write_freqtrade_config
from trade_demo.files import Files
from trade_demo.options import Mode
from trade_demo.process import ProcessFailed


def printed(stake: int) -> bytes:
    control = {"listen_port": 22006, "username": "trade", "password": "p"}
    return json.dumps({"stake_amount": stake, "api_server": control}).encode()


@pytest.mark.parametrize(("stake", "written"), [(125, 40), (40, 40), (10, 10)])
def test_freqtrade_config_stake_is_the_smaller_one(stake: int, written: int, files: Files) -> None:
    access = write_freqtrade_config(files, printed(stake), mode=Mode.SPOT)
    assert json.loads(files.freqtrade_config.read_text())["stake_amount"] == written
    assert stat.S_IMODE(files.freqtrade_config.stat().st_mode) == 0o600
    assert (access.url, access.username, access.password.reveal()) == ("http://127.0.0.1:22006", "trade", "p")


@pytest.mark.parametrize("output", [b"", b"[]", b"{}", b"usage: trade-gateway"])
def test_freqtrade_config_other_output_is_refused(output: bytes, files: Files) -> None:
    with pytest.raises(ProcessFailed, match="printed no freqtrade configuration"):
        write_freqtrade_config(files, output, mode=Mode.SPOT)
    assert not files.freqtrade_config.exists()


def test_bot_handover_names_freqtrade_s_control_and_process_and_is_closed_to_others(files: Files) -> None:
    access = write_freqtrade_config(files, printed(10), mode=Mode.SPOT)
    write_bot_handover(files, access, pid=4711)
    assert files.bot_pid.read_text() == "4711\n"
    assert json.loads(files.bot_control.read_text()) == {
        "url": "http://127.0.0.1:22006",
        "username": "trade",
        "password": "p",
    }
    assert stat.S_IMODE(files.bot_control.stat().st_mode) == 0o600
