"""A person at Debian's Chromium in front of a console, with security keys that the browser simulates."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, ConsoleMessage, Page, expect

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(os.environ.get("TRADE_PICTURES", "build/pictures"))


@dataclass
class Seat:
    """One page, and the keys that are plugged in."""

    page: Page
    devtools: CDPSession
    origin: str
    new_code: Callable[[], str]
    bootstrap_code: str
    keys: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    async def sign_in(self) -> None:
        await self.page.goto(f"{self.origin}/")
        await self.page.fill("#code", self.new_code())
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_selector("#p-head")

    async def plug_in(self) -> str:
        """Plug a security key in; it verifies its person and is touched when it is asked."""
        options = {
            "protocol": "ctap2",
            "transport": "usb",
            "hasResidentKey": False,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = await self.devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.keys.append(made["authenticatorId"])
        return str(made["authenticatorId"])

    async def touch_only(self, key: str | None) -> None:
        """Let one key be touched, and no other."""
        for one in self.keys:
            content = {"authenticatorId": one, "enabled": one == key}
            await self.devtools.send("WebAuthn.setAutomaticPresenceSimulation", content)

    async def merge(self) -> None:
        """Put all credentials into the first key: a simulated key is touched at once, the wrong one too."""
        first, *others = self.keys
        for key in others:
            found = await self.devtools.send("WebAuthn.getCredentials", {"authenticatorId": key})
            await self.devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": key})
            for credential in found["credentials"]:
                content = {"authenticatorId": first, "credential": credential}
                await self.devtools.send("WebAuthn.addCredential", content)
        self.keys = [first]
        await self.touch_only(first)

    async def said(self, selector: str, words: str) -> None:
        await expect(self.page.locator(f"{selector} > .said")).to_contain_text(words)

    async def enrol(self, label: str) -> None:
        await self.page.fill("#key-label", label)
        await self.page.click("form[data-enrol] button")
        await self.said("form[data-enrol]", f"{label} was made")

    async def enrol_two(self) -> None:
        await self.page.click("#act-keys summary")
        for label in ("blue", "drawer"):
            await self.touch_only(await self.plug_in())
            await self.enrol(label)
        await self.page.click("form[data-ceremony=ring] button[type=submit]")
        await expect(self.page.locator("form[data-ceremony=ring] .words")).to_contain_text("add blue, drawer")
        await self.page.fill("form[data-ceremony=ring] .bootstrap", self.bootstrap_code)
        await self.page.click("form[data-ceremony=ring] .sign")
        await self.said("form[data-ceremony=ring]", "the gateway: taken")
        await self.merge()

    async def picture(self, name: str) -> None:
        await asyncio.to_thread(PICTURES.mkdir, parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


@asynccontextmanager
async def seated_at(
    browser: Browser, origin: str, *, new_code: Callable[[], str], bootstrap_code: str, **context: Any
) -> AsyncIterator[Seat]:
    """Open a page of its own."""
    opened = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = await opened.new_page()
    devtools = await opened.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    seat = Seat(page=page, devtools=devtools, origin=origin, new_code=new_code, bootstrap_code=bootstrap_code)

    def note(message: ConsoleMessage) -> None:
        seat.messages.append(f"{message.type}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: seat.messages.append(f"pageerror: {error}"))
    try:
        yield seat
    finally:
        await opened.close()
