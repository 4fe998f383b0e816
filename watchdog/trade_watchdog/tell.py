"""What a person tells the running watchdog: `trade-watchdog ack`, `mitigated` and `announce`."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from trade_core.administration import admin_address, refusal_text
from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_core.secrets import read_secret_file, secret_text
from trade_watchdog.identity import ANNOUNCER_FILE, OPERATOR_FILE
from trade_watchdog.settings import WatchdogSettings

TIMEOUT_S: Final = 5.0
MITIGATED_WITHIN_S: Final = 60.0
"""A watchdog that was just started reads its whole journal for incidents first."""
_SHOWN_CHARACTERS: Final = 200
_ROW_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_PERSON: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}", re.ASCII)


class NotTaken(TradeError):
    """The watchdog could not be asked, or does not take what it was told; the message says why."""


def acknowledge(settings: WatchdogSettings, *, subject: str) -> str:
    """Acknowledge an alert by its subject; answers what to tell the person. Raises as `_tell`."""
    _tell(settings, "/ack", {"subject": subject}, file=OPERATOR_FILE, name="admin_token")
    return f"acknowledged: {subject}"


def mitigate(settings: WatchdogSettings, *, incident: str, text: str) -> str:
    """Say what was done about an incident of the watchdog's journal; answers what to tell the person.

    `incident` is the number of the row that opened it. Raises as `_tell`.
    """
    if not _ROW_NUMBER.fullmatch(incident):
        raise ConfigurationError(f"mitigated takes the number of the incident's row, not {incident!r}")
    content: dict[str, str | int] = {"incident": int(incident), "mitigation": text, "by": _person()}
    answer = _tell(settings, "/mitigated", content, file=OPERATOR_FILE, name="admin_token", within_s=MITIGATED_WITHIN_S)
    row, by, said = (neutralise(str(answer.get(name)), limit=_SHOWN_CHARACTERS) for name in ("row", "by", "mitigation"))
    if answer.get("is_new") is True:
        return f"incident {incident} mitigated: row {row}"
    return f"incident {incident} was mitigated before, by {by} in row {row}: {said}"


def _person() -> str:
    """Name who runs this process, in the form that the watchdog takes."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = ""
    return name if _PERSON.fullmatch(name) else f"uid-{os.getuid()}"


def announce(settings: WatchdogSettings, *, amount: str, coin: str) -> str:
    """Announce that money will leave the account; answers what to tell the person. Raises as `_tell`."""
    content = {"coin": coin, "amount": amount}
    answer = _tell(settings, "/announce", content, file=ANNOUNCER_FILE, name="announce_token")
    movement_id = neutralise(str(answer.get("movement_id")), limit=_SHOWN_CHARACTERS)
    return f"announced: at most {amount} {coin} within 24 hours, movement {movement_id}"


def _tell(
    settings: WatchdogSettings,
    path: str,
    content: Mapping[str, str | int],
    *,
    file: str,
    name: str,
    within_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Post to the watchdog's admin listener with a token of a handover file. Raises ConfigurationError, NotTaken."""
    place = settings.state_dir / file
    if not place.exists():
        after = ", and for an older deployment `trade-watchdog announcer`" if file == ANNOUNCER_FILE else ""
        raise ConfigurationError(f"{place}: not there; `trade-watchdog init` writes it{after}")
    access = read_secret_file(place)
    bearer = secret_text(access, name, path=place)
    try:
        address = admin_address(secret_text(access, "admin_url", path=place).reveal())
    except ValueError as error:
        raise ConfigurationError(f"{place}: admin_url: {error}") from error
    headers = {"authorization": f"Bearer {bearer.reveal()}", "content-type": "application/json"}
    try:
        with address.client(headers=headers, timeout=within_s) as http:
            answer = http.post(path, content=json.dumps(content))
        said = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NotTaken(
            f"the watchdog does not answer at {address.socket or address.url}: {type(error).__name__}"
        ) from error
    if answer.status_code != httpx.codes.OK or not isinstance(said, dict):
        detail = said.get("detail") if isinstance(said, dict) else said
        why = neutralise(refusal_text(detail), limit=_SHOWN_CHARACTERS)
        raise NotTaken(f"not taken: {why} (HTTP {answer.status_code})")
    return said
