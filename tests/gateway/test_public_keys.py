"""The file of public keys of a deployment from before it named every journal, and what is never put in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway.deployment import LEASE_KEY, LOG_KEY, WITNESS_KEY, write_deployment

from trade_core.settings import load_settings
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_gateway.cli import main
from trade_gateway.identity import PUBLIC_KEYS_FILE, initialise
from trade_gateway.settings import GatewaySettings
from trade_journal.log.key_file import parse_key_file
from trade_journal.log.ring_keys import watchdog_log_keys

WATCHDOG_LOG_KEY = public_text(load_private_key(new_private_key()))
EXECUTOR_KEY = public_text(load_private_key(new_private_key()))
SERVICES = ("gateway", "watchdog", "executor")


class Case:
    """A deployment whose file has the lines of the gateway and the witness alone, and the other services' files."""

    def __init__(self, folder: Path, *, executor_key: str = "") -> None:
        self.config = write_deployment(folder)
        settings = load_settings(self.config, GatewaySettings)
        self.ring = initialise(
            settings,
            log_key=LOG_KEY,
            lease_key=LEASE_KEY,
            witness_key=WITNESS_KEY,
            policy_hash="a" * 64,
            baseline=baseline_of(taken_at_ms=1),
            executor_key=executor_key,
        )
        self.path = settings.ring_file.with_name(PUBLIC_KEYS_FILE)
        self.path.write_text("".join(self.path.read_text().splitlines(keepends=True)[:3]))
        self.watchdog = self.public("watchdog", lease_key=LEASE_KEY, witness_key=WITNESS_KEY, log_key=WATCHDOG_LOG_KEY)
        self.executor = self.public("executor", executor_key=EXECUTOR_KEY)

    def public(self, name: str, **content: str) -> Path:
        path = self.config.with_name(f"{name}.public.json")
        path.write_text(json.dumps(content))
        return path

    def run(self, **named: Path) -> int:
        flags = [text for name, path in named.items() for text in (f"--{name}-public", str(path))]
        return main(["public-keys", "--config", str(self.config), *flags])

    def named(self) -> list[str]:
        return [keys.log.name for keys in parse_key_file(self.path.read_text())]


def names(*services: str) -> list[str]:
    return [f"trade/simulated/1002/{service}" for service in services]


def test_missing_lines_are_added_behind_those_that_are_there_and_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(tmp_path)
    before = case.path.read_text()
    assert case.named() == names("gateway")
    assert case.run(watchdog=case.watchdog, executor=case.executor) == 0
    said = capsys.readouterr().out
    assert "added the keys of trade/simulated/1002/watchdog, trade/simulated/1002/executor" in said
    assert case.path.read_text().startswith(before)
    assert case.named() == names(*SERVICES)
    completed = case.path.read_text()
    assert watchdog_log_keys(case.ring, watchdog_key=WATCHDOG_LOG_KEY).log.text() in completed
    assert case.run(watchdog=case.watchdog, executor=case.executor) == 0
    assert "nothing was missing" in capsys.readouterr().out
    assert case.path.read_text() == completed


def test_what_the_ring_names_needs_no_other_file_and_what_is_missing_still_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(tmp_path, executor_key=EXECUTOR_KEY)
    assert case.run() == 0
    assert case.named() == names("gateway", "executor")
    assert "it has no key of trade/simulated/1002/watchdog yet: name the watchdog's --watchdog-public" in (
        capsys.readouterr().out
    )


def test_file_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.path.unlink()
    assert case.run(watchdog=case.watchdog, executor=case.executor) == 0
    assert case.named() == names("gateway", "watchdog", "executor")


def test_last_line_without_an_end_is_not_run_together_with_the_next(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.path.write_text(case.path.read_text().rstrip("\n"))
    assert case.run(watchdog=case.watchdog) == 0
    assert case.named() == names("gateway", "watchdog")


def _another_watchdog_key(case: Case) -> dict[str, Path]:
    case.path.write_text(case.path.read_text() + watchdog_log_keys(case.ring, watchdog_key=LOG_KEY).log.text() + "\n")
    return {"watchdog": case.watchdog}


def _another_watchdog(case: Case) -> dict[str, Path]:
    return {"watchdog": case.public("other", lease_key=LOG_KEY, log_key=WATCHDOG_LOG_KEY)}


def _another_executor(case: Case) -> dict[str, Path]:
    return {"executor": case.public("other", executor_key=LOG_KEY)}


def _no_public_file(case: Case) -> dict[str, Path]:
    return {"watchdog": case.path}


def _old_public_file(case: Case) -> dict[str, Path]:
    return {"watchdog": case.public("old", lease_key=LEASE_KEY)}


def _no_key_file(case: Case) -> dict[str, Path]:
    case.path.write_text("nonsense\n")
    return {"watchdog": case.watchdog}


def _unreadable(case: Case) -> dict[str, Path]:
    case.path.write_bytes(b"\xff")
    return {"watchdog": case.watchdog}


def _too_long(case: Case) -> dict[str, Path]:
    text = case.path.read_text()
    case.path.write_text(text + "#" * (4095 - len(text)) + "\n")
    return {"watchdog": case.watchdog}


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (_another_watchdog_key, "of trade/simulated/1002/watchdog, and that of this deployment is"),
        (_another_watchdog, "is of another watchdog than the one that the key ring names"),
        (_another_executor, "is of another kill executor than the one that the key ring names"),
        (_no_public_file, "is not a watchdog's public.json"),
        (_old_public_file, "is not a watchdog's public.json: it names no log_key"),
        (_no_key_file, "public-keys.txt: "),
        (_unreadable, "public-keys.txt: cannot be read: UnicodeDecodeError"),
        (_too_long, "at most 4096 characters"),
    ],
)
def test_what_does_not_belong_refuses_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prepare: Any, sentence: str
) -> None:
    case = Case(tmp_path, executor_key=EXECUTOR_KEY)
    flags = prepare(case)
    before = case.path.read_bytes()
    assert case.run(**flags) == 2
    assert sentence in capsys.readouterr().err
    assert case.path.read_bytes() == before
