"""The description file: how to reach everything that runs, for acceptance checks and for other clients.

It holds credentials of the simulated exchange and is written readable by its owner only, when everything is ready.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from trade_core.errors import ExchangeAnswerInvalid
from trade_core.secrets import read_secret_file
from trade_demo.credentials import ExchangeCredentials, read_handover
from trade_demo.exchange_reader import ApiKey, get_json, http_client
from trade_demo.files import CONSOLE, EXECUTOR, Files
from trade_demo.freqtrade_control import FreqtradeAccess
from trade_demo.ports import Ports, console_url
from trade_demo.process import RunningProcess

CATEGORIES = ("spot", "linear")
# Named by the interface; null is what does not run.
PROCESS_NAMES = ("gateway", "journal-writer", "watchdog", "executor", "console", "simulator", "freqtrade", "shim")


async def listed_symbols(client: httpx.AsyncClient) -> dict[str, list[str]]:
    """Ask the simulated exchange what it lists. Raises ExchangeUnavailable or ExchangeAnswerInvalid."""
    symbols = {}
    for category in CATEGORIES:
        answer = await get_json(client, f"/v5/market/instruments-info?category={category}&limit=1000")
        try:
            symbols[category] = [str(row["symbol"]) for row in answer["result"]["list"]]
        except (LookupError, TypeError) as error:
            raise ExchangeAnswerInvalid("instruments-info holds no list of symbols") from error
    return symbols


async def describe(
    *,
    files: Files,
    ports: Ports,
    policy_file: Path,
    exchange: ExchangeCredentials,
    running: Sequence[RunningProcess],
    freqtrade: FreqtradeAccess | None,
) -> dict[str, Any]:
    """Return the whole description. Raises ExchangeUnavailable, ExchangeAnswerInvalid or ConfigurationError."""
    processes = {item.spec.name: item for item in running}
    async with http_client(exchange.url) as client:
        symbols = await listed_symbols(client)
    return {
        "environment": "simulated",
        "simulator": {
            "url": exchange.url,
            "ws": exchange.ws,
            "control": f"{exchange.control}/__sim",
            "control_token": exchange.control_token.reveal(),
            "symbols": symbols,
            "master": _key(exchange.master),
            "client": _key(exchange.client),
            "pid": processes["simulator"].pid,
        },
        "gateway": _gateway(files, policy_file, processes),
        "watchdog": _admin(files, "watchdog", processes),
        "killswitch": {
            "console": console_url(ports) if CONSOLE in processes else None,
            "socket": str(files.executor_socket),
            "console_pid": processes[CONSOLE].pid if CONSOLE in processes else None,
            "executor_pid": processes[EXECUTOR].pid,
        },
        "journals": {service: files.journal(service) for service in ("gateway", "watchdog", EXECUTOR)},
        "freqtrade": None if freqtrade is None else _freqtrade(freqtrade, processes),
        "processes": {name: _process(processes.get(name)) for name in PROCESS_NAMES},
        "ring": str(files.ring),
        "public_keys": str(files.public_keys),
        "enrol_code": read_secret_file(files.codes)["bootstrap_code"],
        "logs": str(files.logs),
    }


def _gateway(files: Files, policy_file: Path, processes: Mapping[str, RunningProcess]) -> dict[str, Any]:
    bot = read_secret_file(files.handover("gateway", "freqtrade"))
    return {
        **_admin(files, "gateway", processes),
        **{name: bot.get(name) for name in ("url", "ws", "key", "secret")},
        "policy": str(policy_file),
    }


def _admin(files: Files, service: str, processes: Mapping[str, RunningProcess]) -> dict[str, Any]:
    operator = read_handover(files.handover(service, "operator"))
    return {"admin": operator.url, "admin_token": operator.token.reveal(), "pid": processes[service].pid}


def _freqtrade(access: FreqtradeAccess, processes: Mapping[str, RunningProcess]) -> dict[str, Any]:
    return {
        "url": access.url,
        "username": access.username,
        "password": access.password.reveal(),
        "pid": processes["freqtrade"].pid,
    }


def _process(running: RunningProcess | None) -> dict[str, Any] | None:
    if running is None:
        return None
    spec = running.spec
    return {"pid": running.pid, "command": list(spec.command), "env": dict(spec.environment)}


def _key(key: ApiKey) -> dict[str, str]:
    return {"key": key.key, "secret": key.secret.reveal()}
