"""A coin that has no linear contract, on real processes: it lives on the second venue's price, near its own book."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.bot import Bot
from integration.stack import PATIENCE_S, wait_until
from integration.venue import Venue

from trade_core.secrets import read_secret_file
from trade_demo.commands import (
    init_executor_command,
    init_gateway_command,
    init_journal_writer_command,
    init_watchdog_command,
    service_spec,
)
from trade_demo.credentials import read_exchange_credentials
from trade_demo.files import JOURNAL_WRITER, Files
from trade_demo.options import parse_options
from trade_demo.policy import demo_policy
from trade_demo.ports import choose_ports
from trade_demo.settings_files import (
    write_executor_settings,
    write_gateway_settings,
    write_journal_writer_settings,
    write_simulator_settings,
    write_watchdog_settings,
)

pytestmark = pytest.mark.slow

SYMBOL = "METHUSDT"
LIMITS = (
    '\n[[symbols]]\ncategory = "spot"\nsymbol = "METHUSDT"\nmax_order_quantity = "0.3"\nmax_notional_usdt = "1000"\n'
)


class House:
    """Simulator, gateway and watchdog with a policy that lists the coin, and the second venue beside them."""

    def __init__(self, folder: Path, venue: Venue, started: contextlib.ExitStack) -> None:
        self.venue = venue
        self._started = started
        self._files = files = Files(root=folder)
        files.make_folders()
        policy = folder / "policy.toml"
        policy.write_text(demo_policy() + LIMITS)
        options = parse_options(["--policy", str(policy)])
        ports = choose_ports(None)
        write_simulator_settings(files, ports=ports, options=options)
        _append(files.settings("simulator"), "spot_only = true")
        self._run("simulator")
        wait_until(files.credentials.exists, what="the simulator is ready")
        exchange = read_exchange_credentials(files.credentials)
        write_watchdog_settings(files, ports=ports, exchange=exchange)
        _append(files.settings("watchdog"), f'second_venue = "bybit"\nsecond_venue_url = "{venue.url}"')
        write_gateway_settings(files, ports=ports, exchange=exchange, options=options)
        write_journal_writer_settings(files, exchange=exchange)
        write_executor_settings(files, exchange=exchange)  # for its key in the ring; it does not run
        makers = (init_watchdog_command, init_journal_writer_command, init_executor_command, init_gateway_command)
        for maker in makers:
            subprocess.run(maker(files), check=True, timeout=PATIENCE_S, capture_output=True)
        self._run(JOURNAL_WRITER)
        self._run("gateway")
        self._run("watchdog")
        operator = read_secret_file(files.handover("gateway", "operator"))
        self.admin = httpx.Client(
            base_url=str(operator["admin_url"]),
            headers={"Authorization": f"Bearer {operator['admin_token']}"},
            timeout=30,
        )
        started.callback(self.admin.close)
        self.exchange = httpx.Client(base_url=exchange.url, timeout=30)
        started.callback(self.exchange.close)
        self.bot = Bot(read_secret_file(files.handover("gateway", "freqtrade")))
        started.callback(self.bot.close)

    def _run(self, service: str) -> None:
        spec = service_spec(self._files, service)
        with spec.log_file.open("ab") as log:
            process = subprocess.Popen(spec.command, env=dict(spec.environment), stdout=log, stderr=log)
        self._started.callback(process.wait)
        self._started.callback(process.kill)

    def state(self) -> dict[str, Any]:
        """The gateway's state; empty while it does not answer."""
        try:
            return dict(self.admin.get("/state").json())
        except httpx.HTTPError:
            return {}

    def status(self) -> str:
        """What the reference of the coin is worth."""
        return str(self.state().get("references", {}).get("METH", {}).get("status"))

    def until_status(self, wanted: str) -> None:
        """Wait until the reference of the coin is worth that."""
        wait_until(lambda: self.status() == wanted, what=f"METH {wanted}")

    def book_middle(self) -> float:
        """The middle of the exchange's own book."""
        query = {"category": "spot", "symbol": SYMBOL}
        ticker = self.exchange.get("/v5/market/tickers", params=query).json()["result"]["list"][0]
        return (float(ticker["bid1Price"]) + float(ticker["ask1Price"])) / 2

    def entered(self, price: float) -> str:
        """Try to enter at a price; take an accepted order back and return why not."""
        order = {
            "category": "spot",
            "symbol": SYMBOL,
            "side": "Buy",
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "price": f"{price:.2f}",
            "qty": "0.01",
        }
        answer = self.bot.create(order)
        if answer["retCode"] == 0:
            cancel = {"category": "spot", "symbol": SYMBOL, "orderId": answer["result"]["orderId"]}
            assert self.bot.post("/v5/order/cancel", cancel)["retCode"] == 0
        return str(answer["retMsg"])


def _append(file: Path, lines: str) -> None:
    file.write_text(file.read_text() + lines + "\n")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Everything running, and the gateway ACTIVE."""
    for name in ("venue", "house"):
        (tmp_path / name).mkdir()
    with contextlib.ExitStack() as started:
        venue = Venue(tmp_path / "venue", spot_only=True)
        started.callback(venue.stop)
        made = House(tmp_path / "house", venue, started)
        wait_until(lambda: made.state().get("trading_state") == "ACTIVE", what="ACTIVE")
        yield made


def test_coin_without_an_index_is_traded_by_the_second_price_while_its_own_book_is_near(house: House) -> None:
    house.venue.set_price(SYMBOL, house.book_middle())
    house.until_status("usable")
    described = house.state()["references"]["METH"]
    assert described["price"] is None
    middle = house.book_middle()
    assert house.entered(middle * 0.98) == "OK"
    assert house.entered(middle * 1.006).startswith("PRICE_OUTSIDE_COLLAR: ")

    house.venue.set_price(SYMBOL, middle * 1.02)  # what an owned watchdog would say to lift the collar
    house.until_status("second diverges")
    assert house.entered(middle * 0.98).startswith("REFERENCE_DIVERGES: ")
    wait_until(lambda: house.state().get("trading_state") == "ACTIVE", what="ACTIVE all the while")

    house.venue.set_price(SYMBOL, house.book_middle())
    house.until_status("usable")
    house.venue.stop()
    # No index stands in: silence denies.
    wait_until(lambda: house.status() in {"second stale", "second missing"}, what="METH has no price")
    assert house.entered(middle * 0.98).split(":")[0] in {"REFERENCE_STALE", "REFERENCE_MISSING"}
    wait_until(lambda: house.state().get("trading_state") == "ACTIVE", what="ACTIVE all the while")
    assert json.loads(house.admin.get("/readyz").text)["ready"]
