"""The console's settings file: where it listens, whose state it reads, and no key of anything but its own TLS."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from trade_core.setting_types import AccountId, Environment, LogLevel, LoopbackHost, Port, SettingPath
from trade_core.settings import Settings

SIMULATED: Final = "simulated"
SIMULATED_NAME: Final = "localhost"
"""What a browser calls the console in the simulated environment: security keys are bound to this name."""
_HTTPS: Final = re.compile(r"https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?", re.ASCII)


class ConsoleSettings(Settings):
    """One console of one account. What is not named cannot be read, and the page says so."""

    environment: Environment
    account: AccountId
    listen_host: LoopbackHost = "127.0.0.1"
    listen_port: Port
    # Outside the simulated environment: the address that browsers use, one of the key ring's, and TLS for its name.
    public_origin: Annotated[str, Field(max_length=280)] | None = None
    tls_certificate_file: SettingPath | None = None
    tls_key_file: SettingPath | None = None
    # The console's own files: the one-time code (as a hash), the rings that it followed, the curve of the last day.
    state_dir: SettingPath
    ring_file: SettingPath
    # Written by the gateway's `init` and by the watchdog for the operator: an address, and a token to read and tighten.
    gateway_handover: SettingPath
    watchdog_handover: SettingPath | None = None
    executor_socket: SettingPath | None = None
    log_level: LogLevel = "INFO"

    @property
    def is_simulated(self) -> bool:
        """Tell whether http on localhost is enough."""
        return self.environment == SIMULATED

    @property
    def origin(self) -> str:
        """Return the one origin that pages are served from, and that requests which change something must name."""
        return self.public_origin or f"http://{SIMULATED_NAME}:{self.listen_port}"

    @model_validator(mode="after")
    def _real_money_wants_tls(self) -> Self:
        secured = {
            "public_origin": self.public_origin,
            "tls_certificate_file": self.tls_certificate_file,
            "tls_key_file": self.tls_key_file,
        }
        for name, value in secured.items():
            if self.is_simulated and value is not None:
                raise ValueError(f"{name}: is given, and the simulated environment is served at http://localhost alone")
            if not self.is_simulated and value is None:
                raise ValueError(f"{name}: is missing; outside the simulated environment the page is served over https")
        if self.public_origin is not None and _HTTPS.fullmatch(self.public_origin) is None:
            raise ValueError("public_origin: must be https:// with a name, and its port unless that is 443")
        return self
