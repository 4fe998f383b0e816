"""The settings file of each service, with the file of its secrets beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from trade_core.money import format_decimal
from trade_core.secrets import write_secret_file
from trade_demo.credentials import ExchangeCredentials
from trade_demo.exchange_reader import ApiKey
from trade_demo.files import CONSOLE, EXECUTOR, JOURNAL_WRITER, SHIM, Files
from trade_demo.options import Options, Scenario
from trade_demo.policy import CRASH_SYMBOL, demo_policy
from trade_demo.ports import HOST, Ports, console_url


def write_simulator_settings(files: Files, *, ports: Ports, options: Options) -> None:
    """Write simulator.toml."""
    replay = {symbol: str(file) for symbol, file in options.replays}
    _write_toml(
        files.settings("simulator"),
        {
            "environment": "simulated",
            "host": HOST,
            "port": ports.simulator,
            "control_port": ports.simulator_control,
            "control_token_file": str(files.root / "simulator" / "control.token"),
            "credentials_file": str(files.credentials),
            "seed": options.seed,
            "equity_usdt": format_decimal(options.equity_usdt),
            "market": "replay" if replay else "walk",
            "speed": format_decimal(options.speed),
            **({"replay": replay} if replay else {}),
        },
    )


def write_watchdog_settings(
    files: Files, *, ports: Ports, exchange: ExchangeCredentials, has_bot: bool = False
) -> None:
    """Write watchdog.toml and its secrets: two keys that only read, of the bot's account and of its master."""
    write_secret_file(files.secrets("watchdog"), _key_file(exchange.watch))
    write_secret_file(files.master_secrets, _key_file(exchange.master_read))
    _write_toml(
        files.settings("watchdog"),
        {
            "environment": "simulated",
            "exchange": "simulated",
            "exchange_url": exchange.url,
            "exchange_ws_url": exchange.ws,
            "account": exchange.account,
            "admin_host": HOST,
            "admin_port": ports.watchdog_admin,
            "state_dir": str(files.state("watchdog")),
            "secrets_file": str(files.secrets("watchdog")),
            "master_secrets_file": str(files.master_secrets),
            "order_key": exchange.order.key,
            "exit_key": exchange.exit.key,
            "gateway_handover": str(files.handover("gateway", "watchdog")),
            "ring_file": str(files.ring),
            "executor_socket": str(files.executor_socket),
            "executor_public_file": str(files.state(EXECUTOR) / "public.json"),
            **(_bot_settings(files) if has_bot else {}),
        },
    )


def _bot_settings(files: Files) -> dict[str, str]:
    """Return what lets the watchdog pause and end a bot whose files come later."""
    return {
        "freqtrade_file": str(files.bot_control),
        "bot_host": "process",
        "bot_pid_file": str(files.bot_pid),
    }


def write_gateway_settings(files: Files, *, ports: Ports, exchange: ExchangeCredentials, options: Options) -> None:
    """Write gateway.toml, its secrets (the order key) and, unless the user brought one, the policy."""
    write_secret_file(files.secrets("gateway"), _key_file(exchange.order))
    if options.policy_file is None:
        without = CRASH_SYMBOL if options.scenario is Scenario.CRASH else None
        files.policy.write_text(demo_policy(without=without), encoding="utf-8")
    _write_toml(
        files.settings("gateway"),
        {
            "environment": "simulated",
            "exchange": "simulated",
            "exchange_url": exchange.url,
            "exchange_ws_url": exchange.ws,
            "account": exchange.account,
            "listen_host": HOST,
            "listen_port": ports.gateway,
            "admin_host": HOST,
            "admin_port": ports.gateway_admin,
            "state_dir": str(files.state("gateway")),
            "journal_socket": str(files.journal_socket("gateway")),
            "policy_file": str(options.policy_file or files.policy),
            "secrets_file": str(files.secrets("gateway")),
            "ring_file": str(files.ring),
            "origins": [console_url(ports)],
        },
    )


def write_journal_writer_settings(files: Files, *, exchange: ExchangeCredentials) -> None:
    """Write journal-writer.toml."""
    _write_toml(
        files.settings(JOURNAL_WRITER),
        {
            "environment": "simulated",
            "account": exchange.account,
            "state_dir": str(files.state(JOURNAL_WRITER)),
            "journal_url": files.journal("gateway"),
            "ring_file": str(files.ring),
            "gateway_socket": str(files.journal_socket("gateway")),
            "shim_socket": str(files.journal_socket("shim")),
        },
    )


def write_executor_settings(files: Files, *, exchange: ExchangeCredentials, has_bot: bool = False) -> None:
    """Write executor.toml and its secrets: the exit key, which can trade, and the revoker key, which deletes keys."""
    write_secret_file(files.secrets(EXECUTOR), _key_file(exchange.exit))
    write_secret_file(files.revoker_secrets, _key_file(exchange.revoker))
    _write_toml(
        files.settings(EXECUTOR),
        {
            "environment": "simulated",
            "exchange": "simulated",
            "exchange_url": exchange.url,
            "account": exchange.account,
            "state_dir": str(files.state(EXECUTOR)),
            "journal_url": files.journal(EXECUTOR),
            "secrets_file": str(files.secrets(EXECUTOR)),
            "revoker_file": str(files.revoker_secrets),
            "gateway_handover": str(files.handover("gateway", "operator")),
            "kill_spot": "hold",
            "kill_linear": "flatten",
            "kill_inverse": "flatten",
            "secret_files": [str(files.secrets("gateway")), str(files.handover("gateway", "freqtrade"))],
            "ring_file": str(files.ring),
            "socket": str(files.executor_socket),
            **({"bot_host": "process", "bot_pid_file": str(files.bot_pid)} if has_bot else {}),
        },
    )


def write_console_settings(files: Files, *, ports: Ports, exchange: ExchangeCredentials) -> None:
    """Write console.toml. It gets what lets it read and tighten, and no credential of the exchange."""
    _write_toml(
        files.settings(CONSOLE),
        {
            "environment": "simulated",
            "account": exchange.account,
            "listen_host": HOST,
            "listen_port": ports.console,
            "state_dir": str(files.state(CONSOLE)),
            "ring_file": str(files.ring),
            "gateway_handover": str(files.handover("gateway", "operator")),
            "watchdog_handover": str(files.handover("watchdog", "operator")),
            "executor_socket": str(files.executor_socket),
        },
    )


def write_shim_settings(files: Files, *, exchange: ExchangeCredentials) -> None:
    """Write shim.toml."""
    _write_toml(
        files.settings(SHIM),
        {
            "environment": "simulated",
            "account": exchange.account,
            "state_dir": str(files.state(SHIM)),
            "journal_socket": str(files.journal_socket("shim")),
            "bot_database": str(files.freqtrade_database),
        },
    )


def _key_file(key: ApiKey) -> dict[str, str]:
    return {"exchange_key": key.key, "exchange_secret": key.secret.reveal()}


def _write_toml(file: Path, content: Mapping[str, str | int | Decimal | list[str] | Mapping[str, str]]) -> None:
    """Write plain keys first and then one table for each mapping, as TOML wants it."""
    plain = [f"{name} = {_toml(value)}" for name, value in content.items() if not isinstance(value, Mapping)]
    for name, value in content.items():
        if isinstance(value, Mapping):
            plain += ["", f"[{name}]", *(f"{key} = {_toml(item)}" for key, item in value.items())]
    file.write_text("\n".join(plain) + "\n", encoding="utf-8")


def _toml(value: str | int | Decimal | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    # A TOML basic string escapes as JSON does, but for characters outside the basic plane, which stay themselves.
    return json.dumps(str(value), ensure_ascii=False) if not isinstance(value, int) else str(value)
