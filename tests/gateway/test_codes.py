"""The codes that init makes: shown to a person, or in a file where nothing can be lost, and nowhere else."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from gateway.deployment import deployment

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import public_text
from trade_core.trust.printed_key import printed_key
from trade_gateway.codes import BOOTSTRAP_LIFETIME_MS, SIMULATED_LIFETIME_MS, new_codes, said


def test_codes_go_to_a_file_where_nothing_can_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "codes.json"
    made = new_codes(deployment(tmp_path), codes_file=path)
    assert made is not None
    made.write(path)
    content = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for purpose in ("bootstrap", "recovery"):
        code = content[f"{purpose}_code"]
        assert made.public(purpose) == public_text(printed_key(code, purpose=purpose))
        assert code not in " ".join(said(made, codes_file=path))
        assert code in " ".join(said(made, codes_file=None))
        assert code not in repr(made)
    left_ms = made.expires_at_ms - time.time_ns() // 1_000_000
    assert 0 <= SIMULATED_LIFETIME_MS - left_ms < 60_000
    assert (BOOTSTRAP_LIFETIME_MS, SIMULATED_LIFETIME_MS) == (600_000, 86_400_000)


def test_codes_are_shown_at_a_terminal_for_ten_minutes_of_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = deployment(tmp_path).model_copy(update={"environment": "live"})
    with pytest.raises(ConfigurationError, match="simulated exchange only"):
        new_codes(live, codes_file=tmp_path / "codes.json")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    with pytest.raises(ConfigurationError, match="at a terminal"):
        new_codes(live, codes_file=None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    made = new_codes(live, codes_file=None)
    assert made is not None
    left_ms = made.expires_at_ms - time.time_ns() // 1_000_000
    assert 0 <= BOOTSTRAP_LIFETIME_MS - left_ms < 60_000


def test_simulated_deployment_without_a_terminal_has_no_codes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert new_codes(deployment(tmp_path), codes_file=None) is None
    assert "no security key can be enrolled" in " ".join(said(None, codes_file=None))
