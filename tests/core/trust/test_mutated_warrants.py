"""Ten thousand releases and ten thousand kills, signed and each changed somewhere: none is believed.

Apart, since it proves no single line.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.warrant import Warrant

MUTATIONS = 10_000
SEED = 20261127
RING = ring_of(load_private_key(new_private_key()))
RELEASE = Warrant(
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
KILL = replace(RELEASE, purpose="kill", audience="executor", subject="kill:spot=hold", words="KILL account 1002")


@pytest.mark.parametrize(("warrant", "by"), [(RELEASE, KEYS), (KILL, KEYS[:1])], ids=["release", "kill"])
def test_every_mutated_envelope_is_refused(warrant: Warrant, by: Sequence[FastKey]) -> None:
    """Change bytes of the envelope, and of what is inside it, in ten thousand ways; none is accepted."""
    chance = random.Random(SEED)
    raw = touch(warrant, by=by)
    assert open_warrant(raw, ring=RING).warrant == warrant
    refused = accepted = 0
    while refused + accepted < MUTATIONS:
        mutated = _mutated_inside(raw, chance) if chance.random() < 0.7 else _mutated(raw, chance)
        if mutated == raw:
            continue
        try:
            open_warrant(mutated, ring=RING)
        except NotTrusted:
            refused += 1
        else:
            accepted += 1
    assert (refused, accepted) == (MUTATIONS, 0)


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
