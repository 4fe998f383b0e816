"""Which channels there are: read from a secret file, since an address or a token is what it takes to send.

{"channels": [{"kind": "telegram", "token": "...", "chat_id": "-100123"},
              {"kind": "webhook", "url": "https://...", "bearer": "..."}]}
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trade_core.alerts.channels import TELEGRAM_URL, Channel, TelegramChannel, WebhookChannel
from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, read_secret_file
from trade_core.setting_types import is_loopback_host

CHANNELS_MAX: Final = 8
_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}", re.ASCII)  # it becomes a part of the path
_KEYS: Final = {
    "telegram": (frozenset({"token", "chat_id"}), frozenset({"base_url"})),
    "webhook": (frozenset({"url"}), frozenset({"bearer"})),
}


def read_channels(path: Path) -> list[Channel]:
    """Read the channels; must be called inside the event loop that uses them.

    Raises ConfigurationError that names the channel and the key, and never a value.
    """
    content = read_secret_file(path)
    channels = content.get("channels")
    if set(content) != {"channels"} or not isinstance(channels, list) or not 0 < len(channels) <= CHANNELS_MAX:
        raise ConfigurationError(f"{path}: must hold `channels` alone, a list of 1 to {CHANNELS_MAX}")
    return [_channel(entry, f"{path}: channel {number}") for number, entry in enumerate(channels, 1)]


def _channel(entry: Any, place: str) -> Channel:
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ConfigurationError(f"{place}: kind must be one of {', '.join(_KEYS)}")
    required, optional = _KEYS[kind]
    given = {key: value for key, value in entry.items() if key != "kind"}
    if not required <= given.keys() <= required | optional:
        raise ConfigurationError(f"{place}: a {kind} takes {', '.join(sorted(required | optional))}")
    wrong = [key for key, value in given.items() if not isinstance(value, str) or not value.isprintable() or not value]
    if wrong:
        raise ConfigurationError(f"{place}: {', '.join(sorted(wrong))} must be a printable text")
    if kind == "telegram":
        if _TOKEN.fullmatch(given["token"]) is None:
            raise ConfigurationError(f"{place}: token is none of Telegram's: digits, a colon, letters, digits, - and _")
        base_url = _checked_url(given.get("base_url", TELEGRAM_URL), place)
        return TelegramChannel(token=Secret(given["token"]), chat_id=given["chat_id"], base_url=base_url)
    bearer = given.get("bearer")
    return WebhookChannel(
        url=Secret(_checked_url(given["url"], place)), bearer=None if bearer is None else Secret(bearer)
    )


def _checked_url(url: str, place: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    is_permitted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    if not host or not is_permitted or parts.username or parts.password or parts.fragment:
        raise ConfigurationError(f"{place}: its address must be https, or http on a loopback address")
    return url
