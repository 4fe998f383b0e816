"""What the bot and its watchdog are told of each other: freqtrade's configuration, its control and its process."""

from __future__ import annotations

import json

from trade_core.secrets import Secret, write_secret_file
from trade_demo.files import Files
from trade_demo.freqtrade_control import FreqtradeAccess
from trade_demo.options import Mode
from trade_demo.policy import STAKE_USDT
from trade_demo.ports import HOST
from trade_demo.process import ProcessFailed


def write_bot_handover(files: Files, access: FreqtradeAccess, *, pid: int) -> None:
    """Tell the watchdog where freqtrade's control is, and its process."""
    content = {"url": access.url, "username": access.username, "password": access.password.reveal()}
    write_secret_file(files.bot_control, content)
    files.bot_pid.write_text(f"{pid}\n", encoding="ascii")


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
