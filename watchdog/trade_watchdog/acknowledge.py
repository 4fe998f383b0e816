"""`trade-watchdog ack`: tells the running watchdog that a person has reviewed the positions."""

from __future__ import annotations

import json
from typing import Final

import httpx

from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_core.secrets import read_secret_file, secret_text
from trade_core.setting_types import loopback_url
from trade_watchdog.identity import OPERATOR_FILE
from trade_watchdog.settings import WatchdogSettings

TIMEOUT_S: Final = 5.0
_SHOWN_CHARACTERS: Final = 200


class AcknowledgementFailed(TradeError):
    """The watchdog could not be asked, or waits for no acknowledgement; the message says why."""


def acknowledge(settings: WatchdogSettings, *, rung: str) -> str:
    """Acknowledge a rung's review; answers what to tell the person.

    Raises ConfigurationError when the operator's file is not there, and AcknowledgementFailed.
    """
    path = settings.state_dir / OPERATOR_FILE
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; `trade-watchdog init` writes it")
    access = read_secret_file(path)
    token = secret_text(access, "admin_token", path=path)
    try:
        url = loopback_url(secret_text(access, "admin_url", path=path).reveal(), scheme="http")
    except ValueError as error:
        raise ConfigurationError(f"{path}: admin_url: {error}") from error
    headers = {"authorization": f"Bearer {token.reveal()}", "content-type": "application/json"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
            answer = http.post("/ack", content=json.dumps({"rung": rung}))
    except httpx.HTTPError as error:
        raise AcknowledgementFailed(f"the watchdog does not answer at {url}: {type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK:
        said = neutralise(answer.text, limit=_SHOWN_CHARACTERS)
        raise AcknowledgementFailed(f"not acknowledged: HTTP {answer.status_code} {said}")
    return f"acknowledged: the {rung} rung's review"
