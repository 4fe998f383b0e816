"""What a person tells the watchdog about an incident, and what he is told back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from http_double import Asked, HttpDouble, http_double, reply

from trade_core.secrets import write_secret_file
from trade_watchdog import tell as module
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.tell import NotTaken, mitigate


class Listener:
    """The watchdog's admin listener: answers as it is told to."""

    def __init__(self) -> None:
        self.status, self.content = 200, dict[str, Any]()

    def __call__(self, _: Asked) -> bytes:
        return reply(json.dumps(self.content).encode(), status=self.status)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest_asyncio.fixture
async def double(listener: Listener) -> AsyncIterator[HttpDouble]:
    async with http_double(listener) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, double: HttpDouble) -> WatchdogSettings:
    (tmp_path / "handover").mkdir()
    write_secret_file(tmp_path / "handover" / "operator.json", {"admin_url": double.url, "admin_token": "t" * 40})
    return WatchdogSettings.model_construct(state_dir=tmp_path)


async def told(settings: WatchdogSettings, incident: str = "7") -> str:
    return await asyncio.to_thread(mitigate, settings, incident=incident, text="looked")


async def test_incident_is_told_with_who_says_so(
    settings: WatchdogSettings, listener: Listener, double: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_person", lambda: "kim")
    listener.content = {"row": 9, "by": "kim", "mitigation": "looked", "is_new": True}
    assert await told(settings) == "incident 7 mitigated: row 9"
    (asked,) = double.asked
    assert (asked.path, asked.headers["authorization"]) == ("/mitigated", f"Bearer {'t' * 40}")
    assert asked.json() == {"incident": 7, "mitigation": "looked", "by": "kim"}


async def test_incident_that_was_dealt_with_is_told_with_the_first_word(
    settings: WatchdogSettings, listener: Listener
) -> None:
    listener.content = {"row": 8, "by": "lee", "mitigation": "sold\x1b[31m it", "is_new": False}
    said = await told(settings)
    assert said.startswith("incident 7 was mitigated before, by lee in row 8: sold")
    assert "\x1b" not in said


async def test_refusal_is_told_in_the_watchdog_s_words(settings: WatchdogSettings, listener: Listener) -> None:
    listener.status, listener.content = 404, {"detail": "no row 7 in the watchdog's journal, which has 3"}
    with pytest.raises(NotTaken, match=r"not taken: no row 7 in the watchdog's journal, which has 3 \(HTTP 404\)"):
        await told(settings)


async def test_refused_field_is_named_and_its_content_not_repeated(
    settings: WatchdogSettings, listener: Listener
) -> None:
    fault = {"loc": ["body", "mitigation"], "msg": "is too long", "input": "y" * 500}
    listener.status, listener.content = 422, {"detail": [fault]}
    with pytest.raises(NotTaken, match=r"^not taken: mitigation: is too long \(HTTP 422\)$"):
        await told(settings)


@pytest.mark.parametrize(("name", "person"), [("kim.lee", "kim.lee"), ("a b", "uid-7"), (None, "uid-7")])
def test_person_is_named_in_the_form_that_the_watchdog_takes(
    monkeypatch: pytest.MonkeyPatch, name: str | None, person: str
) -> None:
    class Entry:
        pw_name = name

    def entry(_: int) -> Entry:
        if name is None:
            raise KeyError
        return Entry()

    monkeypatch.setattr(module.os, "getuid", lambda: 7)
    monkeypatch.setattr(module.pwd, "getpwuid", entry)
    assert module._person() == person
