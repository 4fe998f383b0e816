"""Everything real but the exchange and the fingers: enrol, halt, release and kill on a running stack, in a browser."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from browser.seat import seated_at
from integration.stack import Stack
from playwright.async_api import Browser, expect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.asyncio(loop_scope="module")
async def test_enrol_halt_release_and_kill(browser: Browser, tmp_path: Path) -> None:
    stack = await asyncio.to_thread(Stack, tmp_path, has_console=True)
    try:
        await asyncio.to_thread(stack.wait_for_state, "ACTIVE")
        command = stack.description["processes"]["console"]["command"]

        def new_code() -> str:
            asked = [command[0], "code", *command[1:]]
            return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

        origin, code = stack.description["killswitch"]["console"], stack.description["enrol_code"]
        async with seated_at(browser, origin, new_code=new_code, bootstrap_code=code) as seat:
            page = seat.page
            await seat.sign_in()
            await expect(page.locator("#p-head .state")).to_have_text("ACTIVE")
            await seat.enrol_two()
            await seat.said("form[data-ceremony=ring]", "the kill executor: taken")
            await expect(page.locator("#p-keys")).to_contain_text("blue")
            await page.click("#act-arm summary")
            await page.click("#act-arm form[data-ceremony=arm] button[type=submit]")
            await expect(page.locator("#act-arm .words").first).to_contain_text("ARM an automatic KILL")
            await page.click("#act-arm form[data-ceremony=arm] .sign")
            await seat.said("form[data-ceremony=arm]", "the kill executor:")
            await page.click("#act-halt summary")
            await page.click("#act-halt button[type=submit]")
            await expect(page.locator("#p-head .state")).to_have_text("HALTED")
            await page.click("#act-release summary")
            await page.fill("#release-cause", "a test")
            await page.click("#act-release button[type=submit]")
            await page.click("#act-release .sign")
            await seat.said("#act-release form", "announced, takes effect in")
            await expect(page.locator("#p-pending")).to_contain_text("release HALTED")
            await page.click("#act-kill summary")
            await page.click("#act-kill button[type=submit]")
            await expect(page.locator("#act-kill .words")).to_contain_text("KILL account")
            await page.click("#act-kill .sign")
            await seat.said("#act-kill form", "begun: kill")
            await expect(page.locator("#p-kill .outcome")).to_contain_text("complete and proved")
            await expect(page.locator("#p-head .state")).to_have_text("KILLED")
            await expect(page.locator("#p-pending")).to_have_text("")
            await seat.picture("stack-killed")
    finally:
        await asyncio.to_thread(stack.stop)
