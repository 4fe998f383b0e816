"""Which channel files are taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trade_core.alerts.channels import ChannelKind
from trade_core.alerts.setup import CHANNELS_MAX, read_channels
from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file

TELEGRAM = {"kind": "telegram", "token": "1:canary", "chat_id": "-100"}
WEBHOOK = {"kind": "webhook", "url": "https://example.test/canary"}


def written(folder: Path, content: Any) -> Path:
    file = folder / "alerts.json"
    write_secret_file(file, content)
    return file


async def kinds(folder: Path, *entries: Any) -> list[ChannelKind]:
    channels = read_channels(written(folder, {"channels": list(entries)}))
    for channel in channels:
        await channel.close()
    return [channel.kind for channel in channels]


async def test_channels_are_read_in_their_order(tmp_path: Path) -> None:
    loopback = {**TELEGRAM, "base_url": "http://127.0.0.1:9"}
    hook = {**WEBHOOK, "url": "http://127.0.0.1:9/x", "bearer": "b"}
    found = await kinds(tmp_path, TELEGRAM, WEBHOOK, loopback, hook)
    assert found == [ChannelKind.TELEGRAM, ChannelKind.WEBHOOK, ChannelKind.TELEGRAM, ChannelKind.WEBHOOK]


@pytest.mark.parametrize(
    "entry",
    [
        "telegram",
        {},
        {"kind": "mail"},
        {"kind": ["telegram"]},
        {"kind": "telegram", "token": "1:canary"},
        {**TELEGRAM, "more": "x"},
        {**TELEGRAM, "token": "canary"},
        {**TELEGRAM, "token": "1:canary/../x"},
        {**TELEGRAM, "chat_id": 100},
        {**TELEGRAM, "chat_id": ""},
        {**TELEGRAM, "base_url": "http://example.test"},
        {**TELEGRAM, "base_url": "ftp://127.0.0.1"},
        {**WEBHOOK, "url": "http://canary.test/x"},
        {**WEBHOOK, "url": "https://user:canary@example.test/x"},
        {**WEBHOOK, "url": "https://example.test/x#canary"},
        {**WEBHOOK, "url": "https://"},
        {**WEBHOOK, "url": "https://[canary"},
        {**WEBHOOK, "url": "canary"},
        {**WEBHOOK, "bearer": "canary\r\nX: y"},
    ],
)
async def test_bad_channel_is_refused_by_number_without_its_values(tmp_path: Path, entry: Any) -> None:
    file = written(tmp_path, {"channels": [TELEGRAM, entry]})
    with pytest.raises(ConfigurationError, match="channel 2") as refusal:
        read_channels(file)
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [{}, {"channels": []}, {"channels": TELEGRAM}, {"channels": [TELEGRAM] * (CHANNELS_MAX + 1)}, {"x": 1}]
)
async def test_file_without_a_list_of_channels_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ConfigurationError, match="a list of 1 to 8"):
        read_channels(written(tmp_path, content))


async def test_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps({"channels": [TELEGRAM]}))
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        read_channels(file)
