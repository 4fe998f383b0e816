"""Nothing stands in for a touch any more: no key in a file signs a warrant, and no code would believe one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from trust_parts import ring_of

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text, sign
from trade_core.trust.ring import parse_ring, ring_bytes
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.statement import sign_statement

ROOT = Path(__file__).parents[3]
FOLDERS = ("core", "journal", "gateway", "watchdog", "killswitch", "simulator", "demo", "loadtests", "ops", "helm")
KEY = load_private_key(new_private_key())
RING = ring_of(KEY)


def test_no_code_and_no_page_names_an_operator_key() -> None:
    named = re.compile(r"operator[ _-]?key|operator's key", re.IGNORECASE)
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    files += [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(files) > 300
    assert [str(file) for file in files if named.search(file.read_text())] == []


def test_old_ring_with_an_operator_key_is_refused() -> None:
    old = {**json.loads(ring_bytes(RING)), "operator_key": public_text(KEY)}
    with pytest.raises(NotTrusted, match="its fields are not those of a key ring"):
        parse_ring(json.dumps(old).encode())


def test_warrant_signed_by_a_key_in_a_file_is_refused() -> None:
    warrant = {"purpose": "release", "version": 1}
    payload = json.dumps(warrant).encode()
    signature = sign(KEY, purpose="warrant/v1", payload=payload)
    for raw in (
        sign_statement(warrant, KEY, purpose="warrant/v1"),
        json.dumps({"warrant": "", "signature": signature}).encode(),
        json.dumps({"payload": "", "signature": signature}).encode(),
    ):
        with pytest.raises(NotTrusted, match="warrant envelope"):
            open_warrant(raw, ring=RING)
