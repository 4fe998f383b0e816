"""What services hand out is read as it was written, or refused without a word of its contents."""

import json
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_demo.credentials import read_exchange_credentials, read_handover
from trade_demo.files import Files
from trade_demo.process import ProcessFailed


@pytest.mark.parametrize("missing", ["url", "control_token", "accounts", "keys"])
def test_credentials_incomplete_are_refused_without_their_contents(
    missing: str, files: Files, credentials: dict[str, Any]
) -> None:
    del credentials[missing]
    files.credentials.write_text(json.dumps(credentials))
    with pytest.raises((ConfigurationError, ProcessFailed), match=missing) as refusal:
        read_exchange_credentials(files.credentials)
    assert "order-secret" not in str(refusal.value)


def test_credentials_open_to_others_are_refused(files: Files, credentials: dict[str, Any]) -> None:
    files.credentials.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        read_exchange_credentials(files.credentials)


def test_handover_is_read(files: Files) -> None:
    file = files.handover("gateway", "operator")
    file.parent.mkdir(parents=True)
    file.write_text('{"admin_url": "http://127.0.0.1:22004/", "admin_token": "t"}')
    file.chmod(0o600)
    handover = read_handover(file)
    assert (handover.url, handover.token.reveal()) == ("http://127.0.0.1:22004", "t")
