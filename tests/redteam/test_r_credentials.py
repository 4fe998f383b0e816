"""What the bot's credential opens: the bot's listener and nothing else; and who may tighten or loosen."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.bot import Bot
from integration.stack import ROOT, Stack, wait_until
from trust_parts import cosigned, watchdogs_checkpoint

from redteam.attacker import CANCEL, Attacker, received_since, working_ids
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.lease import Lease, SecondPrice, sign_lease
from trade_core.trust.ring import read_ring

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    """An attacker of a stack whose watchdog will be dead."""
    stack = Stack(tmp_path_factory.mktemp("lonely"))
    someone = Attacker(stack)
    try:
        stack.wait_for_state("ACTIVE")
        yield someone
    finally:
        someone.close()
        stack.stop()


MORE_ROWS_THAN_ANY = 1_000_000
"""Of a watchdog's own journal: what an owned watchdog says of it may only grow."""


def service_folder(attacker: Attacker, name: str) -> Path:
    """Where a service's settings and state are."""
    command = attacker.stack.description["processes"][name]["command"]
    return Path(command[command.index("--config") + 1]).parent


def send_lease(attacker: Attacker, raw: bytes) -> httpx.Response:
    """Send a lease as the watchdog does."""
    handover = json.loads((service_folder(attacker, "gateway") / "state/handover/watchdog.json").read_text())
    headers = {"Authorization": f"Bearer {handover['admin_token']}"}
    return httpx.post(handover["admin_url"] + "/lease", headers=headers, content=raw)


def signed_lease(attacker: Attacker, *, key: str | None = None, **changes: Any) -> bytes:
    """A lease as an owned watchdog could sign it, or as somebody with a key of his own."""
    state = attacker.stack.state()
    identity = json.loads((service_folder(attacker, "watchdog") / "state/identity.json").read_text())
    lease = {
        "deployment": state["deployment"],
        "environment": "simulated",
        "account": state["account"],
        "boot_nonce": state["boot_nonce"],
        "generation": state["lease"]["generation"] + 50,
        "holder": state["lease"]["holder"],
        "ceiling": "ACTIVE",
        "scale": "1",
        "second_venue": "none",
        "second_prices": (),
        "checkpoint": cosigned_checkpoint(attacker, identity["witness_key"]),
        "memory_checkpoint": watchdogs_checkpoint(
            read_ring(Path(attacker.stack.description["ring"])), size=MORE_ROWS_THAN_ANY
        ),
        "memory_rows": MORE_ROWS_THAN_ANY,
        "policy_hash": state["policy_hash"],
        "ring_hash": state["ring_hash"],
        "signed_at_ms": time.time_ns() // 1_000_000,
        "expires_at_ms": time.time_ns() // 1_000_000 + 20_000,
    } | changes
    return sign_lease(Lease(**lease), load_private_key(identity["lease_key"] if key is None else key))


def cosigned_checkpoint(attacker: Attacker, witness_key: str) -> str:
    """What the gateway has signed just now, cosigned with the owned watchdog's key."""
    signed = attacker.stack.admin.get("/journal/checkpoint").raise_for_status().content
    return cosigned(signed, read_ring(Path(attacker.stack.description["ring"])), load_private_key(witness_key))


def test_r31_nothing_but_bybit_paths_on_the_bots_port(attacker: Attacker) -> None:
    for path in ("/metrics", "/docs", "/openapi.json", "/state", "/healthz", "/.git/config", "/debug", "/"):
        attacker.denied_get("PATH_UNKNOWN", path)


def test_r31_no_secret_stands_in_a_log_a_row_or_a_metric(attacker: Attacker) -> None:
    attacker.bot.http.post("/v5/order/create", content="{}", headers={"X-BAPI-SIGN": attacker.bot.secret})
    attacker.denied_order("ORDER_NOT_MAKER", attacker.order(orderType="Market"))
    stack = attacker.stack
    secrets = json.loads((service_folder(attacker, "gateway") / "secrets.json").read_text())
    hidden = [str(value) for name, value in secrets.items() if name != "exchange_key"]  # its id is no secret
    hidden += [attacker.bot.secret, stack.gateway["admin_token"]]
    text = stack.admin.get("/metrics").text + json.dumps(stack.rows()) + json.dumps(stack.state())
    for log in Path(stack.description["logs"]).glob("*.log"):
        text += log.read_text(errors="replace")
    assert [secret[:4] for secret in hidden if len(secret) >= 16 and secret in text] == []


def test_r32_bots_credential_opens_no_admin_path(attacker: Attacker) -> None:
    admin = attacker.stack.gateway["admin"]
    for token in (attacker.bot.key, attacker.bot.secret, "x", "x" * 43):
        headers = {"Authorization": f"Bearer {token}"}
        for method, path in (("GET", "/state"), ("GET", "/metrics"), ("GET", "/journal/rows"), ("POST", "/lease")):
            assert httpx.request(method, admin + path, headers=headers).status_code == 401
        for path in ("/halt", "/release"):
            answer = httpx.post(admin + path, headers=headers, json={"reason": "x"})
            assert answer.status_code == 401
    attacker.stack.wait_for_state("ACTIVE")


def test_r33_virtual_key_is_worth_nothing_at_the_exchange(attacker: Attacker) -> None:
    bot = Bot(attacker.stack.gateway | {"url": attacker.stack.simulator["url"]})
    try:
        assert bot.post("/v5/order/create", attacker.order())["retCode"] == 10003
        assert bot.get("/v5/account/wallet-balance", "accountType=UNIFIED")["retCode"] == 10003
    finally:
        bot.close()


def test_r46_order_with_a_spare_key_behind_the_gateway_is_not_taken_for_the_bots(own_attacker: Attacker) -> None:
    stack = own_attacker.stack
    stack.wait_for_state("ACTIVE")
    forged = own_attacker.order(qty="18") | {"orderLinkId": "T1" + "A" * 34}
    before = own_attacker.facts().received
    placed = stack.control.post("/order", json=forged).json()
    query = f"category=spot&symbol=XRPUSDT&orderId={placed['orderId']}"
    (shown,) = own_attacker.bot.get("/v5/order/realtime", query)["result"]["list"]
    assert shown["orderLinkId"] == ""
    for name in ({"orderId": placed["orderId"]}, {"orderLinkId": forged["orderLinkId"]}):
        assert own_attacker.bot.post(CANCEL, {"category": "spot", "symbol": "XRPUSDT"} | name)["retCode"] == 170213
    assert [item for item in received_since(stack, before) if item["path"] == CANCEL] == []
    stack.wait_for_state("HALTED")
    wait_until(lambda: placed["orderId"] not in working_ids(stack), what="the stranger's order swept")
    assert forged["orderLinkId"] not in {row["fields"].get("tag") for row in stack.rows()}


def test_r60_gateway_environment_holds_its_lock_and_no_exchange_library(attacker: Attacker) -> None:
    listed = (
        subprocess.run(
            [
                ROOT / ".venv/gateway/bin/python",
                "-c",
                "import importlib.metadata as m; [print(d.name) for d in m.distributions()]",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.lower()
        .replace("_", "-")
        .split()
    )
    lock = (ROOT / "requirements/gateway.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9._-]+)==", lock, re.M))
    assert "ccxt" not in listed
    assert set(listed) - locked <= {"trade-safety"}
    assert lock.count("--hash=sha256:") >= len(locked)


def test_r60_gateway_talks_to_the_exchange_and_nobody_else(attacker: Attacker) -> None:
    pid = attacker.stack.description["processes"]["gateway"]["pid"]
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        name = str(link.readlink()) if link.is_symlink() else ""
        inodes |= set(re.findall(r"^socket:\[(\d+)\]$", name))
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    mine = [line for line in lines if line[9] in inodes]
    listening = {line[1] for line in mine if line[3] == "0A"}
    outgoing = {line[2] for line in mine if line[3] == "01" and line[1] not in listening}
    port = httpx.URL(attacker.stack.simulator["url"]).port
    assert outgoing == {f"0100007F:{port:04X}"}


def test_r37_owned_watchdog_widens_nothing(attacker: Attacker) -> None:
    for scale in ("2", "1.0000001", "0", "-1", "1e9", "NaN"):
        assert send_lease(attacker, signed_lease(attacker, scale=scale)).status_code == 409
    assert send_lease(attacker, signed_lease(attacker, ceiling="RESUMED")).status_code == 409
    assert attacker.stack.state()["lease"]["ceiling"] == "ACTIVE"


def second_price(price: str, *, coin: str = "XRP", late_ms: int = 0) -> SecondPrice:
    """What an owned watchdog says that a coin is worth elsewhere, now."""
    return SecondPrice(coin=coin, price=price, seen_at_ms=time.time_ns() // 1_000_000 + late_ms)


def lease_with(attacker: Attacker, *prices: SecondPrice) -> bytes:
    """A lease with second prices."""
    now_ms = max([time.time_ns() // 1_000_000, *(price.seen_at_ms for price in prices)])
    return signed_lease(attacker, second_venue="okx", second_prices=prices, signed_at_ms=now_ms)


def test_r37_owned_watchdog_s_nonsense_of_a_second_venue_is_refused(attacker: Attacker) -> None:
    now_ms = time.time_ns() // 1_000_000
    for raw in (
        *(
            lease_with(attacker, second_price(text))
            for text in ("0", "-1", "NaN", "Infinity", "1e9", "", "2.0 ", "9" * 13)
        ),
        *(lease_with(attacker, second_price("2", coin=name)) for name in ("", "xrp", "../XRP", "X" * 21, "XRP\n")),
        lease_with(attacker, second_price("2"), second_price("3")),
        lease_with(attacker, *(second_price("2", coin=f"C{number}") for number in range(51))),
        signed_lease(attacker, second_venue="none", second_prices=(second_price("2"),)),
        signed_lease(
            attacker, second_venue="okx", second_prices=(second_price("2", late_ms=5000),), signed_at_ms=now_ms
        ),
        signed_lease(attacker, second_venue="<b>"),
    ):
        assert send_lease(attacker, raw).status_code == 409
    assert attacker.stack.state()["lease"]["ceiling"] == "ACTIVE"


def test_r39_old_foreign_or_endless_lease_is_refused(attacker: Attacker) -> None:
    generation = attacker.stack.state()["lease"]["generation"]
    now_ms = time.time_ns() // 1_000_000
    for raw in (
        signed_lease(attacker, generation=generation),
        signed_lease(attacker, generation=0),
        signed_lease(attacker, expires_at_ms=now_ms - 1),
        signed_lease(attacker, boot_nonce="0" * 32),
        signed_lease(attacker, account="1"),
        signed_lease(attacker, deployment="another"),
        signed_lease(attacker, environment="live"),
        signed_lease(attacker, policy_hash="0" * 64),
        signed_lease(attacker, ring_hash="0" * 64),
        signed_lease(attacker, key=new_private_key()),
        b"",
        b"{}",
        b"[" * 10_000,
    ):
        assert send_lease(attacker, raw).status_code == 409
    assert attacker.stack.state()["lease"]["generation"] < generation + 50


# The tests below share a stack and stand in order: its watchdog dies first, its gateway last.


def test_r38_silent_watchdog_ends_new_risk_when_its_lease_does(lonely: Attacker) -> None:
    stack = lonely.stack
    stack.kill("watchdog")
    left_s = float(stack.state()["lease"]["expires_in_s"])
    assert left_s <= 30
    wait_until(lambda: stack.state_name() == "REDUCE_ONLY", what="REDUCE_ONLY")
    lonely.denied_order("STATE_REDUCE_ONLY", lonely.order(), state="REDUCE_ONLY")


def test_r39_lease_that_claims_to_live_for_a_year_lives_thirty_seconds(lonely: Attacker) -> None:
    stack = lonely.stack
    raw = signed_lease(lonely, expires_at_ms=time.time_ns() // 1_000_000 + 365 * 86_400_000)
    assert send_lease(lonely, raw).status_code == 200
    assert stack.state()["lease"]["expires_in_s"] <= 30
    assert send_lease(lonely, raw).status_code == 409, "a replay must not prolong it"


def test_r37_owned_watchdog_s_second_prices_move_no_collar_and_can_only_deny(lonely: Attacker) -> None:
    stack = lonely.stack
    assert send_lease(lonely, lease_with(lonely)).status_code == 200
    stack.wait_for_state("ACTIVE")
    index = float(stack.state()["references"]["XRP"]["price"])
    near = lease_with(lonely, second_price(f"{index * 1.0042:.6f}"))
    assert send_lease(lonely, near).status_code == 200
    assert stack.state()["references"]["XRP"]["second"]["status"] == "usable"
    # Within the collar of what the watchdog says, beyond that of the index.
    lonely.denied_order("PRICE_OUTSIDE_COLLAR", lonely.order(price=f"{index * 1.0040:.4f}"))
    for factor in (10, 0.1):
        assert send_lease(lonely, lease_with(lonely, second_price(f"{index * factor:.6f}"))).status_code == 200
        lonely.denied_order("REFERENCE_DIVERGES", lonely.order())
    # Taking the price away, or swearing that no venue was ever asked, does not end the denial.
    assert send_lease(lonely, lease_with(lonely)).status_code == 200
    lonely.denied_order("REFERENCE_DIVERGES", lonely.order())
    assert send_lease(lonely, signed_lease(lonely)).status_code == 200
    lonely.denied_order("REFERENCE_DIVERGES", lonely.order())
    assert "XRP" in stack.state()["second_venue"]["missing"]
    assert send_lease(lonely, lease_with(lonely, second_price(f"{index:.6f}"))).status_code == 200
    assert lonely.cancel(lonely.place())["retCode"] == 0


def test_r36_owned_watchdog_halts_and_cannot_take_it_back(lonely: Attacker) -> None:
    stack = lonely.stack
    for _ in range(50):
        assert send_lease(lonely, signed_lease(lonely, ceiling="HALTED")).status_code == 200
    latched = [row for row in stack.rows() if row["fields"].get("holder") == "operator_latch"]
    assert len(latched) == 1
    assert send_lease(lonely, signed_lease(lonely, ceiling="ACTIVE")).status_code == 200
    assert stack.state_name() == "HALTED"
    lonely.denied_order("STATE_HALTED", lonely.order(), state="HALTED")


def test_r41_gateway_refuses_to_run_with_the_watchdogs_reading_key(lonely: Attacker) -> None:
    stack = lonely.stack
    secrets = service_folder(lonely, "gateway") / "secrets.json"
    reading = (service_folder(lonely, "watchdog") / "secrets.json").read_text()
    stack.kill("gateway")
    secrets.write_text(reading)
    process = stack.restart("gateway")
    assert process.wait(timeout=30) == 2
    assert "read-only" in (stack.folder / "gateway-restarted.log").read_text()
