"""Telegram and webhook on real sockets: what is sent, what comes of it, and that no token stands anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from http_double import HANG, Asked, http_double, reply

from trade_core.alerts import channels
from trade_core.alerts.channels import Outcome, Sent, TelegramChannel, WebhookChannel
from trade_core.alerts.model import Alert, JournalHead, Message, Sender, Severity
from trade_core.logs import configure_logging
from trade_core.secrets import Secret

CANARY = "12345:AAcanaryTOKEN-x_y"
MESSAGE = Message(
    sender=Sender(service="watchdog", environment="simulated", account="1002"),
    alert=Alert(subject="rung:daily", severity=Severity.CRITICAL, text="the daily rung", needs_acknowledgement=True),
    at_ns=1_790_000_000_000_000_000,
    repeats=2,
    head=JournalHead(size=7, root="cm9vdA=="),
)


async def telegram(answer: Any, message: Message = MESSAGE) -> tuple[Outcome, list[Asked]]:
    async with http_double(lambda _: answer) as double:
        channel = TelegramChannel(token=Secret(CANARY), chat_id="-100", base_url=double.url)
        try:
            return await channel.send(message), double.asked
        finally:
            await channel.close()


async def webhook(answer: Any, *, bearer: str | None = None) -> tuple[Outcome, list[Asked]]:
    async with http_double(lambda _: answer) as double:
        url = Secret(f"{double.url}/hook/{CANARY}")
        channel = WebhookChannel(url=url, bearer=None if bearer is None else Secret(bearer))
        try:
            return await channel.send(MESSAGE), double.asked
        finally:
            await channel.close()


def told(status: int, content: Any = None, **headers: str) -> bytes:
    return reply(json.dumps(content).encode(), status=status, headers=headers)


async def test_telegram_message_is_plain_text_with_the_journal_s_head() -> None:
    outcome, (asked,) = await telegram(told(200, {"ok": True}))
    assert outcome == Outcome(sent=Sent.DELIVERED)
    assert (asked.method, asked.path) == ("POST", f"/bot{CANARY}/sendMessage")
    assert asked.json() == {
        "chat_id": "-100",
        "text": "CRITICAL watchdog simulated/1002: the daily rung\nrepeated 2 times\nuntil acknowledged: rung:daily\n"
        "2026-09-21T14:13:20Z\njournal 7 rows, root cm9vdA==",
        "disable_notification": False,
    }


async def test_telegram_message_without_urgency_rings_nobody() -> None:
    quiet = replace(
        MESSAGE, alert=Alert(subject="s", severity=Severity.INFO, text="all\x1b[2J well\nnow"), repeats=1, head=None
    )
    _, (asked,) = await telegram(told(200), quiet)
    assert asked.json()["disable_notification"] is True
    assert asked.json()["text"] == (
        "INFO watchdog simulated/1002: all\\x1b[2J well\\nnow\nrepeated once\n2026-09-21T14:13:20Z"
    )


async def test_webhook_message_is_an_object() -> None:
    outcome, (asked,) = await webhook(told(204), bearer="b")
    assert outcome == Outcome(sent=Sent.DELIVERED)
    assert asked.path == f"/hook/{CANARY}"
    assert asked.headers["authorization"] == "Bearer b"
    assert asked.json() == {
        "service": "watchdog",
        "environment": "simulated",
        "account": "1002",
        "subject": "rung:daily",
        "severity": "critical",
        "text": "the daily rung",
        "needs_acknowledgement": True,
        "repeats": 2,
        "at": "2026-09-21T14:13:20Z",
        "journal": {"size": 7, "root": "cm9vdA=="},
    }


async def test_webhook_without_bearer_sends_none() -> None:
    _, (asked,) = await webhook(told(200))
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_message_that_is_refused_for_good_is_not_tried_again(status: int) -> None:
    assert (await telegram(told(status, {"ok": False})))[0] == Outcome(sent=Sent.REFUSED)


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 500, 502, 503])
async def test_everything_else_is_tried_again_and_no_redirect_is_followed(status: int) -> None:
    outcome, asked = await webhook(told(status, None, location="/elsewhere"))
    assert outcome == Outcome(sent=Sent.FAILED)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        ({"parameters": {"retry_after": 35}}, {}, 35.0),
        ({"parameters": {"retry_after": 10**9}}, {}, 600.0),
        ({"parameters": {"retry_after": -5}}, {}, 0.0),
        ({"parameters": {"retry_after": True}}, {}, 0.0),
        ({"parameters": {"retry_after": "soon"}}, {}, 0.0),
        ({"parameters": {"retry_after": float("nan")}}, {}, 0.0),
        ({"parameters": None}, {"retry-after": "12"}, 12.0),
        (None, {"retry-after": "12"}, 12.0),
        (None, {"retry-after": "9" * 5000}, 0.0),
        (None, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ([], {}, 0.0),
    ],
)
async def test_too_many_is_tried_again_when_the_other_side_says(
    content: Any, headers: dict[str, str], expected: float
) -> None:
    assert (await telegram(told(429, content, **headers)))[0] == Outcome(sent=Sent.FAILED, wait_s=expected)


async def test_closed_connection_and_nonsense_are_tried_again() -> None:
    for answer in (None, b"nonsense\r\n\r\n"):
        assert (await telegram(answer))[0] == Outcome(sent=Sent.FAILED)


async def test_hanging_server_ends_the_try_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "TRY_TIMEOUT_S", 0.1)
    async with asyncio.timeout(60):
        assert (await telegram(HANG))[0] == Outcome(sent=Sent.FAILED)


async def test_endless_answer_is_not_read_to_its_end() -> None:
    assert (await telegram(reply(b"x" * 1_000_000)))[0] == Outcome(sent=Sent.DELIVERED)


async def test_nobody_there_is_tried_again() -> None:
    channel = TelegramChannel(token=Secret(CANARY), chat_id="1", base_url="http://127.0.0.1:1")
    assert await channel.send(MESSAGE) == Outcome(sent=Sent.FAILED)
    await channel.close()


async def test_no_token_stands_in_any_log(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    logging.getLogger("httpcore").setLevel(logging.NOTSET)
    configure_logging("test", level="DEBUG")
    for answer in (told(200), told(500), told(429), None, told(301, None, location=f"/{CANARY}")):
        await telegram(answer)
        await webhook(answer, bearer=CANARY)
    logging.getLogger().handlers[:] = []
    said = capsys.readouterr()
    assert "canary" not in said.err + said.out


def test_channels_show_no_token() -> None:
    channel = TelegramChannel(token=Secret(CANARY), chat_id="1")
    assert "canary" not in repr(channel) + str(vars(channel))
