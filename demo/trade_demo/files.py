"""Where everything of one run is.

Every file with a secret is readable by its owner only and reaches its process by path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

JOURNAL_WRITER = "journal-writer"
SHIM = "shim"
EXECUTOR = "executor"
CONSOLE = "console"
SERVICES = ("simulator", "gateway", JOURNAL_WRITER, "watchdog", EXECUTOR, CONSOLE, "freqtrade", SHIM)


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
