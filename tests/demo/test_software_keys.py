"""The demo's security keys: what they enrol and sign is what the services believe."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from trust_parts import ring_of

from trade_core.clock import SystemClock
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.succession import open_ring_offer
from trade_demo.software_keys import LABELS, SoftwareKeys
from trade_simulator.security_key.command import main

CODE = new_code()
DRAFT = {"purpose": "drill", "audience": "executor", "subject": "kill:spot=hold", "words": "DRILL account 1002"}


def first_ring() -> KeyRing:
    return ring_of(
        load_private_key(new_private_key()),
        credentials=(),
        bootstrap_key=public_text(printed_key(CODE, purpose="bootstrap")),
        bootstrap_expires_at_ms=time.time_ns() // 10**6 + 600_000,
    )


def keys_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> SoftwareKeys:
    async def run(command: list[str]) -> bytes:
        assert command[0] == "trade-security-key"
        assert main(command[1:]) == 0
        return capsys.readouterr().out.encode()

    return SoftwareKeys(folder=folder, command="trade-security-key", run=run)


async def test_offer_enrols_both_keys_and_a_touch_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pinned, keys, clock = first_ring(), keys_in(tmp_path, capsys), SystemClock()
    raw = await keys.offer(pinned, bootstrap_code=CODE, clock=clock)
    offer = open_ring_offer(raw, pinned=pinned, now_ms=clock.wall_ns() // 10**6, is_clock_trusted=True)
    assert [credential.label for credential in offer.ring.credentials] == list(LABELS)
    assert ring_hash(keys.offered(pinned)) == ring_hash(offer.ring)
    signed = open_warrant(await keys.touch(offer.ring, DRAFT, clock=clock), ring=offer.ring)
    assert (signed.warrant.purpose, signed.warrant.words) == ("drill", DRAFT["words"])
    assert [touch.credential.label for touch in signed.touches] == ["blue"]
