"""A private key that is none is refused with the name of its file, and without the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_core.key_file import private_key_of
from trade_core.trust.keys import new_private_key, public_text

PATH = Path("/state/identity.json")


def test_private_key_of_a_file_is_read() -> None:
    text = new_private_key()
    key = private_key_of({"log_key": text}, "log_key", path=PATH)
    assert len(public_text(key)) == len(text)


@pytest.mark.parametrize("text", ["not base64!", "c2hvcnQ="])
def test_private_key_that_is_none_is_refused_and_its_file_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^/state/identity\.json: log_key: private key: ") as refused:
        private_key_of({"log_key": text}, "log_key", path=PATH)
    assert text not in str(refused.value)


def test_private_key_that_is_missing_is_refused_and_its_file_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^/state/identity\.json: log_key: must be a non-empty text$"):
        private_key_of({}, "log_key", path=PATH)
