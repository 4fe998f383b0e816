"""The doctor over good and bad keys: it says what is wrong and what to do, with the real exchange library."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from http_double import HANG, Asked, envelope, http_double, reply

from trade_core.findings import Finding, Level
from trade_core.secrets import write_secret_file
from trade_watchdog import exchange as exchange_module
from trade_watchdog.cli import main
from trade_watchdog.doctor import examine
from trade_watchdog.settings import WatchdogSettings

TRADE = {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"]}
MINE = ["10.0.0.7"]
REFUSED = 10003


def listed(key: str, *, read_only: int = 0) -> dict[str, Any]:
    return {"apiKey": key, "readOnly": read_only, "permissions": TRADE, "ips": MINE, "deadlineDay": -2}


class Case:
    """A watchdog's settings and files beside an exchange that says what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watch: dict[str, Any] = {"userID": 1002, "parentUid": "1001", "readOnly": 1, "ips": MINE}
        self.watch |= {"permissions": TRADE, "deadlineDay": -2, "isMaster": False}
        self.master: dict[str, Any] = {"userID": 1001, "readOnly": 1, "ips": MINE, "deadlineDay": -2}
        self.master |= {"permissions": {"Wallet": ["AccountTransfer"]}, "isMaster": True}
        self.keys = [listed("orderkey"), listed("exitkey"), listed("watchkey", read_only=1)]
        self.answers: dict[str, bytes | None] = {}
        self.named = {"order_key": "orderkey", "exit_key": "exitkey"}
        self.write_key("secrets.json", "watchkey")
        self.write_key("master.json", "masterkey")
        self.url = ""

    def write_key(self, name: str, key: str) -> None:
        write_secret_file(self.folder / name, {"exchange_key": key, "exchange_secret": "s" * 12})

    def of(self, check: str) -> dict[str, Any]:
        return self.watch if check == "watch key" else self.master

    def answer(self, asked: Asked) -> bytes | None:
        key = asked.headers.get("x-bapi-api-key", "")
        for name in (f"{key} {asked.path}", asked.path):
            if name in self.answers:
                return self.answers[name]
        if asked.path == "/v5/market/time":
            return envelope({"timeNano": "1"})
        if asked.path == "/v5/user/query-api":
            return envelope(self.watch if key == "watchkey" else self.master)
        assert (asked.path, key) == ("/v5/user/sub-apikeys", "masterkey")
        return envelope({"result": self.keys, "nextPageCursor": ""})

    async def findings(self) -> list[Finding]:
        settings = WatchdogSettings.model_validate(
            {
                "environment": "simulated",
                "exchange": "simulated",
                "exchange_url": self.url,
                "exchange_ws_url": "ws://127.0.0.1:1",
                "account": "1002",
                "admin_port": 21020,
                "state_dir": str(self.folder / "state"),
                "secrets_file": str(self.folder / "secrets.json"),
                "master_secrets_file": str(self.folder / "master.json"),
                "gateway_handover": str(self.folder / "handover.json"),
                "ring_file": str(self.folder / "ring.json"),
                **self.named,
            }
        )
        return await examine(settings)

    async def found(self, check: str) -> list[tuple[Level, str]]:
        return [(one.level, one.found) for one in await self.findings() if one.check == check]


@pytest_asyncio.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    monkeypatch.setattr(exchange_module, "REQUEST_TIMEOUT_S", 2)  # of those who hang
    made = Case(tmp_path)
    async with http_double(made.answer) as double:
        made.url = double.url
        yield made


async def test_keys_that_are_right_are_called_good_each(case: Case) -> None:
    found = await case.findings()
    assert {one.level for one in found} == {Level.GOOD}, found
    assert [one.check for one in found] == ["keys apart", "exchange", "watch key", "master key", "account's keys"]


@pytest.mark.parametrize(
    ("check", "changed", "says"),
    [
        ("watch key", {"readOnly": 0}, "it is not read-only"),
        ("watch key", {"permissions": {"Wallet": ["AccountTransfer"]}}, "it has Wallet permissions: AccountTransfer"),
        ("watch key", {"userID": 7}, "it belongs to another account than the setting `account` names"),
        ("master key", {"readOnly": 0}, "it is not read-only"),
        ("master key", {"isMaster": False}, "it is not a key of a master account"),
        ("master key", {"userID": 1}, "its account is not the master of the watched one"),
    ],
)
async def test_key_that_may_too_much_or_is_of_another_account_is_wrong(
    case: Case, check: str, changed: dict[str, Any], says: str
) -> None:
    case.of(check).update(changed)
    assert await case.found(check) == [(Level.WRONG, says)]
    (bad,) = [one for one in await case.findings() if one.level is Level.WRONG]
    assert bad.advice.startswith("make a key of the")


@pytest.mark.parametrize("check", ["watch key", "master key"])
@pytest.mark.parametrize("ips", [["*"], [], None, [MINE[0], "0.0.0.0/0"], [7]])
async def test_key_that_works_from_anywhere_is_told(case: Case, check: str, ips: Any) -> None:
    case.of(check)["ips"] = ips
    assert (Level.WARNING, "it works from any address") in await case.found(check)


@pytest.mark.parametrize("check", ["watch key", "master key"])
@pytest.mark.parametrize(("days", "is_told"), [(14, True), (1, True), (15, False), (-2, False), (0, False)])
async def test_key_that_ends_soon_is_told(case: Case, check: str, days: int, is_told: bool) -> None:
    case.of(check)["deadlineDay"] = days
    assert ((Level.WARNING, f"ends in {days} days") in await case.found(check)) is is_told


async def test_key_that_the_exchange_refuses_is_wrong_and_the_list_is_not_judged(case: Case) -> None:
    case.answers["watchkey /v5/user/query-api"] = envelope({}, ret_code=REFUSED)
    ((level, says),) = await case.found("watch key")
    assert (level, says.startswith("the exchange refuses the key")) == (Level.WRONG, True)
    assert [level for level, _ in await case.found("account's keys")] == [Level.UNKNOWN]


@pytest.mark.parametrize(
    ("path", "check", "level"),
    [
        ("/v5/market/time", "exchange", Level.WRONG),
        ("masterkey /v5/user/query-api", "master key", Level.UNKNOWN),
        ("/v5/user/sub-apikeys", "account's keys", Level.UNKNOWN),
    ],
)
@pytest.mark.parametrize("answer", [HANG, None, reply(b"no", status=503)], ids=["hangs", "closes", "503"])
async def test_exchange_that_does_not_answer_is_never_called_good(
    case: Case, path: str, check: str, level: Level, answer: bytes | None
) -> None:
    case.answers[path] = answer
    assert [level for level, _ in await case.found(check)] == [level]


async def test_exchange_of_another_environment_is_wrong(case: Case) -> None:
    case.answers["/v5/market/time"] = reply(b'{"retCode":0,"result":{}}', headers={"content-type": "application/json"})
    assert [level for level, _ in await case.found("exchange")] == [Level.WRONG]


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"order_key": "watchkey"}, "the gateway's (order_key) is the same as the watch key (secrets_file)"),
        ({"order_key": "masterkey"}, "the gateway's (order_key) is the same as the master key (master_secrets_file)"),
        ({"exit_key": "orderkey"}, "the executor's (exit_key) is the same as the gateway's (order_key)"),
    ],
)
async def test_key_in_two_places_is_wrong(case: Case, named: dict[str, str], says: str) -> None:
    case.named |= named
    assert await case.found("keys apart") == [(Level.WRONG, says)]


async def test_one_key_in_both_files_is_wrong(case: Case) -> None:
    case.write_key("master.json", "watchkey")
    says = "the master key (master_secrets_file) is the same as the watch key (secrets_file)"
    assert await case.found("keys apart") == [(Level.WRONG, says)]


async def test_executor_s_key_that_is_not_named_is_told_and_called_rogue(case: Case) -> None:
    del case.named["exit_key"]
    assert (Level.WARNING, "no exit_key is set") in await case.found("keys apart")
    says = "exitkey: nobody expects it; it may use ContractTrade, Spot"
    assert await case.found("account's keys") == [(Level.WRONG, says)]


async def test_key_that_was_changed_without_the_settings_is_missing_and_rogue(case: Case) -> None:
    case.keys[0]["apiKey"] = "neworder"
    assert set(await case.found("account's keys")) == {
        (Level.WRONG, "neworder: nobody expects it; it may use ContractTrade, Spot"),
        (Level.WRONG, "orderkey: the order key is not there any more"),
    }


async def test_listed_key_that_ends_or_is_unbound_is_told(case: Case) -> None:
    case.keys[0]["deadlineDay"] = 2
    case.keys[1]["ips"] = ["*"]
    found = await case.found("account's keys")
    assert [level for level, _ in found] == [Level.WARNING] * 2


@pytest.mark.parametrize("name", ["secrets.json", "master.json"])
async def test_file_that_is_missing_or_open_to_others_is_named(case: Case, name: str) -> None:
    (case.folder / name).chmod(0o644)
    (open_to_others,) = await case.findings()
    assert (open_to_others.level, name in open_to_others.found) == (Level.WRONG, True)
    assert "open to others" in open_to_others.found
    assert "mode 0600" in open_to_others.advice
    (case.folder / name).unlink()
    (missing,) = await case.findings()
    assert (missing.level, name in missing.found) == (Level.WRONG, True)


def test_command_ends_with_1_when_something_is_wrong_and_says_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "watchdog.toml"
    config.write_text(
        'environment = "simulated"\nexchange = "simulated"\nexchange_url = "http://127.0.0.1:1"\n'
        'exchange_ws_url = "ws://127.0.0.1:1"\naccount = "1002"\nadmin_port = 21020\nstate_dir = "state"\n'
        'secrets_file = "secrets.json"\nmaster_secrets_file = "master.json"\norder_key = "orderkey"\n'
        'gateway_handover = "handover.json"\nring_file = "ring.json"\n'
    )
    assert main(["doctor", "--config", str(config), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["check"], one["level"]) for one in found] == [("watch key", "wrong"), ("master key", "wrong")]
    assert main(["doctor", "--config", str(config)]) == 1
    assert "2 checks, 2 wrong" in capsys.readouterr().out
    assert main(["doctor", "more", "--config", str(config)]) == 2
    assert not (tmp_path / "state").exists()
