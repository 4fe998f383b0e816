"""What the simulated key's command writes is what the core reads: two writers of one format."""

from __future__ import annotations

import base64
import json
import time

from trust_parts import ORIGIN, RP_ID, ring_of

from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import ring_bytes, ring_hash
from trade_core.trust.succession import open_ring_offer
from trade_simulator.security_key import papers
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

CODE = new_code()
MAKER = new_maker()
FIRST = ring_of(
    load_private_key(new_private_key()),
    credentials=(),
    attestation_roots=(base64.b64encode(MAKER.root).decode(),),
    bootstrap_key=public_text(printed_key(CODE, purpose="bootstrap")),
    bootstrap_expires_at_ms=2**52,
)


def test_papers_enrol_as_the_core_reads_them() -> None:
    ring = json.loads(ring_bytes(FIRST))
    keys = {name: SoftwareKey(memory=Memory(pin_hash=pin_hash("1")), maker=MAKER) for name in ("blue", "green")}
    made = {
        name: make_credential(key, rp_id=RP_ID, origin=ORIGIN, challenge=papers.enrolment_challenge(ring), pin="1")
        for name, key in keys.items()
    }
    raw = papers.bootstrap_offer(ring, made, code=CODE)
    now_ms = time.time_ns() // 1_000_000
    offer = open_ring_offer(raw, pinned=FIRST, now_ms=now_ms, is_clock_trusted=True)
    assert [one.label for one in offer.ring.credentials] == ["blue", "green"]
    assert (offer.ring.version, offer.ring.previous_hash) == (2, ring_hash(FIRST))
