"""What the stack consists of: its folders, its settings files, its processes and the order in which they start.

    simulator   first: it makes the accounts and keys of this run
    watchdog    `init`: makes its lease key, whose public half the gateway pins
    journal-writer `init`: makes the key that signs the gateway's log
    gateway     `init`: makes its own keys, the key ring, and a handover file for each of its users
    executor    `init`: makes the key that signs its own log
    journal-writer runs, and has the ring's word for whose log it writes
    executor    runs, before anything that it may have to sweep is traded
    gateway     and watchdog run; the gateway becomes ACTIVE with the watchdog's first lease
    freqtrade   paused, with the configuration that the gateway prints, and then told to start
    console     once there is something to see: the page for people
    shim        last: follows freqtrade's trades into the journal

Every file with a secret is readable by its owner only and reaches its process by path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from trade_core.money import format_decimal
from trade_core.secrets import Secret, read_secret_file, secret_text, write_secret_file
from trade_demo.exchange_reader import ApiKey
from trade_demo.freqtrade_control import FreqtradeAccess
from trade_demo.options import Mode, Options, Scenario
from trade_demo.policy import CRASH_SYMBOL, STAKE_USDT, demo_policy
from trade_demo.ports import HOST, Ports
from trade_demo.process import ProcessFailed, ProcessSpec, minimal_environment, service_command

STRATEGY = "QuietMaker"
STRATEGY_FOLDER = Path(__file__).parents[1] / "strategy"
JOURNAL_WRITER = "journal-writer"
SHIM = "shim"
EXECUTOR = "executor"
CONSOLE = "console"
SERVICES = ("simulator", "gateway", JOURNAL_WRITER, "watchdog", EXECUTOR, CONSOLE, "freqtrade", SHIM)
# The virtual environment of each service; of the others it is named as they are.
_ENVIRONMENTS = {JOURNAL_WRITER: "journal", EXECUTOR: "killswitch"}
_COMMANDS = {EXECUTOR: "trade-kill-executor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where everything of one run is. Every folder is closed to other users."""

    root: Path

    @property
    def logs(self) -> Path:
        """Return the folder of the log files, one a process."""
        return self.root / "logs"

    @property
    def ring(self) -> Path:
        """Return the key ring that the gateway makes and both services pin."""
        return self.root / "ring.json"

    @property
    def policy(self) -> Path:
        """Return the demo's own policy; a policy of the user's stays where it is."""
        return self.root / "gateway" / "policy.toml"

    @property
    def credentials(self) -> Path:
        """Return what the simulator writes when it is ready: addresses, accounts and keys."""
        return self.root / "simulator" / "credentials.json"

    @property
    def public_keys(self) -> Path:
        """Return the public keys with which a stranger verifies the journals; `init` puts them beside the ring."""
        return self.ring.with_name("public-keys.txt")

    @property
    def watchdog_public(self) -> Path:
        """Return the public half of the watchdog's lease key."""
        return self.root / "watchdog" / "state" / "public.json"

    @property
    def executor_public(self) -> Path:
        """The public halves of the kill executor's keys."""
        return self.root / EXECUTOR / "state" / "public.json"

    @property
    def codes(self) -> Path:
        """The codes that enrol the first security keys, and recover."""
        return self.root / "codes.json"

    @property
    def journal_public(self) -> Path:
        """Return the public half of the log's key."""
        return self.root / JOURNAL_WRITER / "state" / "public.json"

    @property
    def freqtrade_config(self) -> Path:
        """Return freqtrade's configuration."""
        return self.root / "freqtrade" / "config.json"

    @property
    def freqtrade_database(self) -> Path:
        """Return the database in which freqtrade keeps its trades."""
        return self.root / "freqtrade" / "trades.sqlite"

    @property
    def freqtrade_data(self) -> Path:
        """Return freqtrade's user data folder."""
        return self.root / "freqtrade" / "user_data"

    @property
    def description(self) -> Path:
        """Return what describes the run for other programs; the same as `--describe` asks for elsewhere."""
        return self.root / "demo.json"

    @property
    def security_keys(self) -> Path:
        """Return the folder of the simulated security keys."""
        return self.root / "security-keys"

    def settings(self, service: str) -> Path:
        """Return the settings file of a service."""
        return self.root / service / f"{service}.toml"

    def secrets(self, service: str) -> Path:
        """Return the file with the exchange key of a service."""
        return self.root / service / "secrets.json"

    @property
    def master_secrets(self) -> Path:
        """Return the file with the watchdog's reading key of the master account."""
        return self.root / "watchdog" / "master.secrets.json"

    @property
    def revoker_secrets(self) -> Path:
        """Return the file with the executor's key of the master account, which can delete keys."""
        return self.root / EXECUTOR / "revoker.secrets.json"

    def state(self, service: str) -> Path:
        """Return the folder that a service keeps its own state in."""
        return self.root / service / "state"

    def handover(self, service: str, reader: str) -> Path:
        """Return the file in which a service leaves addresses and a token for one of its users."""
        return self.state(service) / "handover" / f"{reader}.json"

    def journal(self, service: str) -> str:
        """Return the URL of the journal of a service; executor and watchdog write their own."""
        if service == "watchdog":
            return f"sqlite:///{self.state(service) / 'watchdog.db'}"
        if service == EXECUTOR:
            return f"sqlite:///{self.root / EXECUTOR / 'executor.db'}"
        return f"sqlite:///{self.root / JOURNAL_WRITER / (service + '.db')}"

    def journal_socket(self, peer: str) -> Path:
        """Return the socket through which a peer writes into the gateway's journal."""
        return self.root / JOURNAL_WRITER / f"{peer}.sock"

    @property
    def executor_socket(self) -> Path:
        """Return the socket through which the kill executor takes requests."""
        return self.root / EXECUTOR / "executor.sock"

    @property
    def bot_control(self) -> Path:
        """Return the file with freqtrade's control, for the watchdog."""
        return self.root / "watchdog" / "freqtrade.json"

    @property
    def bot_pid(self) -> Path:
        """Return the file with the number of freqtrade's process, for the watchdog."""
        return self.root / "watchdog" / "freqtrade.pid"

    def log(self, process: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{process}.log"

    def make_folders(self) -> None:
        """Create every folder. The root itself must exist."""
        for folder in (
            self.logs,
            *(self.root / service for service in SERVICES),
            self.freqtrade_data,
            self.security_keys,
        ):
            folder.mkdir(mode=0o700)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeCredentials:
    """What the simulator hands out, as far as the demo passes it on."""

    url: str
    ws: str
    control: str
    control_token: Secret
    account: str
    order: ApiKey
    watch: ApiKey
    master_read: ApiKey
    master: ApiKey
    exit: ApiKey
    revoker: ApiKey
    client: ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """An admin address and its token."""

    url: str
    token: Secret


def read_exchange_credentials(file: Path) -> ExchangeCredentials:
    """Read the simulator's credentials file. Raises ConfigurationError when it is not one."""
    content = read_secret_file(file)
    keys = _object(content, "keys", file)

    def key(role: str) -> ApiKey:
        pair = _object(keys, role, file)
        return ApiKey(key=secret_text(pair, "key", path=file).reveal(), secret=secret_text(pair, "secret", path=file))

    return ExchangeCredentials(
        url=secret_text(content, "url", path=file).reveal().rstrip("/"),
        ws=secret_text(content, "ws", path=file).reveal().rstrip("/"),
        control=secret_text(content, "control", path=file).reveal().rstrip("/").removesuffix("/__sim"),
        control_token=secret_text(content, "control_token", path=file),
        account=secret_text(_object(content, "accounts", file), "sub_uid", path=file).reveal(),
        order=key("order"),
        watch=key("watch"),
        master_read=key("master_read"),
        master=key("master"),
        exit=key("exit"),
        revoker=key("revoker"),
        client=key("client"),
    )


def read_handover(file: Path) -> Handover:
    """Read a handover file for an admin listener. Raises ConfigurationError when it is not one."""
    content = read_secret_file(file)
    return Handover(
        url=secret_text(content, "admin_url", path=file).reveal().rstrip("/"),
        token=secret_text(content, "admin_token", path=file),
    )


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


def write_bot_handover(files: Files, access: FreqtradeAccess, *, pid: int) -> None:
    """Tell the watchdog where freqtrade's control is, and its process."""
    content = {"url": access.url, "username": access.username, "password": access.password.reveal()}
    write_secret_file(files.bot_control, content)
    files.bot_pid.write_text(f"{pid}\n", encoding="ascii")


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


def console_url(ports: Ports) -> str:
    """Return the console's address, by name: security keys do not know it by its number."""
    return f"http://localhost:{ports.console}"


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


def write_freqtrade_config(files: Files, printed: bytes, *, mode: Mode) -> FreqtradeAccess:
    """Write the configuration that the gateway printed, with at most the demo's stake.

    Raises ProcessFailed when what was printed is not a freqtrade configuration.
    """
    try:
        config = json.loads(printed)
        control = config["api_server"]
        config["stake_amount"] = min(config["stake_amount"], int(STAKE_USDT[mode]))
        access = FreqtradeAccess(
            url=f"http://{HOST}:{int(control['listen_port'])}",
            username=str(control["username"]),
            password=Secret(str(control["password"])),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ProcessFailed("trade-gateway freqtrade-config printed no freqtrade configuration") from error
    write_secret_file(files.freqtrade_config, config)
    return access


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


def _key_file(key: ApiKey) -> dict[str, str]:
    return {"exchange_key": key.key, "exchange_secret": key.secret.reveal()}


def _object(content: Mapping[str, object], name: str, file: Path) -> dict[str, Any]:
    value = content.get(name)
    if not isinstance(value, dict):
        raise ProcessFailed(f"{file}: {name}: must be an object")
    return cast("dict[str, Any]", value)


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
