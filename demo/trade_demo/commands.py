"""How each process is started, and the commands that make what it needs first."""

from __future__ import annotations

from pathlib import Path

from trade_demo.files import CONSOLE, EXECUTOR, JOURNAL_WRITER, SHIM, Files
from trade_demo.options import Mode
from trade_demo.ports import Ports
from trade_demo.process import ProcessFailed, ProcessSpec, minimal_environment, service_command

STRATEGY = "QuietMaker"
STRATEGY_FOLDER = Path(__file__).parents[1] / "strategy"
# The virtual environment of each service; of the others it is named as they are.
_ENVIRONMENTS = {JOURNAL_WRITER: "journal", EXECUTOR: "killswitch"}
_COMMANDS = {EXECUTOR: "trade-kill-executor"}


def service_spec(files: Files, service: str) -> ProcessSpec:
    """Return how simulator, journal writer, gateway, watchdog, executor or console runs."""
    command = (_command(service), "--config", str(files.settings(service)))
    return ProcessSpec(
        name=service,
        command=command,
        environment=minimal_environment(files.root / service),
        log_file=files.log(service),
    )


def shim_spec(files: Files) -> ProcessSpec:
    """Return how the journal shim runs."""
    return ProcessSpec(
        name=SHIM,
        command=(service_command("journal", "trade-journal"), "shim", "--config", str(files.settings(SHIM))),
        environment=minimal_environment(files.root / SHIM),
        log_file=files.log(SHIM),
    )


def freqtrade_spec(files: Files) -> ProcessSpec:
    """Return how freqtrade runs. Raises ProcessFailed when the strategy's folder is not there."""
    if not (STRATEGY_FOLDER / f"{STRATEGY}.py").is_file():
        raise ProcessFailed(f"{STRATEGY_FOLDER} is missing: trade-demo runs from a checkout of the repository")
    home = files.root / "freqtrade"
    command = (
        service_command("freqtrade", "freqtrade"),
        "trade",
        *("--config", str(files.freqtrade_config)),
        *("--userdir", str(files.freqtrade_data)),
        *("--strategy", STRATEGY),
        *("--strategy-path", str(STRATEGY_FOLDER)),
        *("--db-url", f"sqlite:///{files.freqtrade_database}"),
    )
    # Freqtrade would otherwise leave compiled files beside the strategy.
    environment = {**minimal_environment(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return ProcessSpec(name="freqtrade", command=command, environment=environment, log_file=files.log("freqtrade"))


def init_watchdog_command(files: Files) -> list[str]:
    """Return the command that makes the watchdog's keys."""
    return [_command("watchdog"), "init", "--config", str(files.settings("watchdog"))]


def init_journal_writer_command(files: Files) -> list[str]:
    """Return the command that makes the key of the gateway's log."""
    return [_command(JOURNAL_WRITER), "init", "--config", str(files.settings(JOURNAL_WRITER))]


def init_executor_command(files: Files) -> list[str]:
    """Return the command that makes the key of the executor's log."""
    return [_command(EXECUTOR), "init", "--config", str(files.settings(EXECUTOR))]


def init_gateway_command(files: Files) -> list[str]:
    """Return the command that makes the gateway's keys, the ring and the handover files."""
    command = [_command("gateway"), "init", "--config", str(files.settings("gateway"))]
    return [
        *command,
        *("--watchdog-public", str(files.watchdog_public)),
        *("--journal-public", str(files.journal_public)),
        *("--executor-public", str(files.executor_public)),
        *("--codes", str(files.codes)),
    ]


def console_code_command(files: Files) -> list[str]:
    """Return the command that prints a one-time code for the console's page."""
    return [_command(CONSOLE), "code", "--config", str(files.settings(CONSOLE))]


def freqtrade_config_command(files: Files, *, mode: Mode, ports: Ports) -> list[str]:
    """Return the command that prints freqtrade's configuration."""
    command = [_command("gateway"), "freqtrade-config"]
    command += ["--config", str(files.settings("gateway")), "--mode", mode.value]
    return [*command, "--api-port", str(ports.freqtrade)]


def _command(service: str) -> str:
    return service_command(_ENVIRONMENTS.get(service, service), _COMMANDS.get(service, f"trade-{service}"))
