"""Each process runs from its own environment, and no secret stands on a command line."""

from typing import Any

import pytest

from trade_demo.commands import STRATEGY, STRATEGY_FOLDER, freqtrade_spec, service_spec, shim_spec
from trade_demo.files import Files


@pytest.mark.slow  # looks for the services' environments, which `make check` does without
def test_specs_name_no_secret_and_run_from_the_service_s_own_environment(
    files: Files, credentials: dict[str, Any]
) -> None:
    secrets = [pair["secret"] for pair in credentials["keys"].values()]
    services = ("simulator", "gateway", "journal-writer", "watchdog", "executor", "console")
    for spec in [*(service_spec(files, name) for name in services), freqtrade_spec(files), shim_spec(files)]:
        environment = {"journal-writer": "journal", "shim": "journal", "executor": "killswitch"}.get(
            spec.name, spec.name
        )
        assert f"/{environment}/bin/" in spec.command[0]
        text = " ".join([*spec.command, *spec.environment.values()])
        assert not any(secret in text for secret in secrets)
        assert spec.log_file.parent == files.logs


def test_strategy_stands_where_freqtrade_is_told_to_look() -> None:
    assert (STRATEGY_FOLDER / f"{STRATEGY}.py").is_file()
