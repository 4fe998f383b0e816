"""Ten thousand signed warrants, each changed somewhere: none is believed. Apart, since it proves no single line."""

from __future__ import annotations

import base64
import json
import random

from trust_parts import KEYS, ring_of, touch

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.warrant import Warrant

MUTATIONS = 10_000
RING = ring_of(load_private_key(new_private_key()))
WARRANT = Warrant(
    purpose="release",
    version=1,
    deployment="d1",
    environment="simulated",
    audience="gateway",
    account="1002",
    ring_hash=ring_hash(RING),
    subject="latch:7",
    nonce="n",
    words="release HALTED",
    expires_at_ms=1_800_000_000_000,
)


def test_every_mutated_envelope_is_refused() -> None:
    """Change bytes of the envelope, and of what is inside it, in ten thousand ways; none is accepted."""
    chance = random.Random(20261126)
    raw = touch(WARRANT, by=KEYS)
    accepted = 0
    for _ in range(MUTATIONS):
        mutated = _mutated_inside(raw, chance) if chance.random() < 0.7 else _mutated(raw, chance)
        if mutated == raw:
            continue
        try:
            open_warrant(mutated, ring=RING)
        except NotTrusted:
            continue
        accepted += 1
    assert accepted == 0


def _mutated_inside(raw: bytes, chance: random.Random) -> bytes:
    content = json.loads(raw)
    where: dict[str, str] = content if chance.random() < 0.3 else chance.choice(content["assertions"])
    name = chance.choice([key for key in where if isinstance(where[key], str)])
    where[name] = base64.b64encode(_mutated(base64.b64decode(where[name]), chance)).decode()
    return canonical_json(content)


def _mutated(raw: bytes, chance: random.Random) -> bytes:
    changed = bytearray(raw)
    start = chance.randrange(len(changed))
    match chance.randrange(5):
        case 0:
            changed[start] ^= 1 << chance.randrange(8)
        case 1:
            changed[start] = chance.randrange(256)
        case 2:
            del changed[start : start + chance.randint(1, 8)]
        case 3:
            changed[start:start] = chance.randbytes(chance.randint(1, 8))
        case _:
            piece = changed[start : start + 16]
            other = chance.randrange(len(changed))
            changed[other : other + len(piece)] = piece
    return bytes(changed)
