"""The console's settings file: where it listens, whose state it reads, and no key of anything."""

from __future__ import annotations

from trade_core.setting_types import AccountId, LogLevel, LoopbackHost, Port, SettingPath, Simulated
from trade_core.settings import Settings

RP_ID = "localhost"
"""What a browser calls the console in the simulated environment: security keys are bound to this name."""


class ConsoleSettings(Settings):
    """One console of one account. What is not named cannot be read, and the page says so."""

    environment: Simulated
    account: AccountId
    listen_host: LoopbackHost = "127.0.0.1"
    listen_port: Port
    # The console's own files: the one-time code (as a hash) and the curve of the last day.
    state_dir: SettingPath
    ring_file: SettingPath
    # Written by the gateway's `init` and by the watchdog for the operator: an address, and a token to read and tighten.
    gateway_handover: SettingPath
    watchdog_handover: SettingPath | None = None
    executor_socket: SettingPath | None = None
    log_level: LogLevel = "INFO"

    @property
    def origin(self) -> str:
        """Return the one origin that pages are served from, and that requests which change something must name."""
        return f"http://{RP_ID}:{self.listen_port}"
