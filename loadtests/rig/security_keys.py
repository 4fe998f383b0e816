"""A simulated security key for a load: two credentials enrolled by the bootstrap code, and a touch for each release."""

from __future__ import annotations

import secrets
import time

import httpx

from rig.children import LoadTestFailed
from rig.deployment import Deployment
from trade_core.secrets import read_secret_file
from trade_core.settings import load_settings
from trade_core.trust.assertion import Assertion
from trade_core.trust.attestation import Attestation, credential_of, enrolment_challenge
from trade_core.trust.printed_key import printed_key
from trade_core.trust.ring import read_ring, ring_hash
from trade_core.trust.signed_warrant import Signer, printed_envelope, touched_envelope
from trade_core.trust.succession import AUDIENCE, next_ring, ring_change, ring_offer, ring_subject
from trade_core.trust.warrant import WARRANT_VERSION, Warrant, WarrantPurpose, warrant_bytes
from trade_demo.credentials import read_handover
from trade_gateway.release_command import draft_release, hand_over
from trade_gateway.settings import GatewaySettings
from trade_simulator.security_key.client import make_credential, sign_payload
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

_PIN = "1234"


class LoadKey:
    """One key with two credentials: who needs two different keys must not use it."""

    def __init__(self, deployment: Deployment) -> None:
        """Enrol it. Raises LoadTestFailed."""
        self._files = deployment.files
        self._settings = load_settings(self._files.settings("gateway"), GatewaySettings)
        self._device = SoftwareKey(memory=Memory(pin_hash=pin_hash(_PIN)), maker=new_maker())
        self._ring = read_ring(self._files.ring)
        self._credential_ids: list[bytes] = []
        offer = self._offer()
        watchdog = read_handover(self._files.handover("watchdog", "operator"))
        bearer = {"Authorization": f"Bearer {watchdog.token.reveal()}"}
        answers = [
            deployment.admin.post("/ring", content=offer),
            httpx.post(f"{watchdog.url}/ring", content=offer, headers=bearer, timeout=20, trust_env=False),
        ]
        for answer in answers:
            if answer.status_code != httpx.codes.OK:
                raise LoadTestFailed(f"the key was not enrolled: {answer.text}")
        deployment.wait_until_active()

    def release(self) -> None:
        """Draft a release of the latch, touch it and hand it over. Raises ReleaseFailed."""
        draft, signed = self._files.root / "draft", self._files.root / "signed"
        draft_release(self._settings, draft, reason="the load test goes on")
        payload = draft.read_bytes()
        answer = sign_payload(
            self._device,
            payload,
            rp_id=self._ring.rp_id,
            origin=self._ring.origins[0],
            credential_ids=self._credential_ids,
            pin=_PIN,
        )
        assertion = Assertion(
            credential_id=answer.credential_id,
            authenticator_data=answer.authenticator_data,
            client_data=answer.client_data,
            signature=answer.signature,
        )
        signed.write_bytes(touched_envelope(payload, [assertion]))
        hand_over(self._settings, signed)

    def _offer(self) -> bytes:
        ring, proofs = self._ring, [self._made() for _ in range(2)]
        self._credential_ids = [proof.credential_id for proof in proofs]
        labelled = [credential_of(proof, label=f"key {n}", added_at_ms=1) for n, proof in enumerate(proofs)]
        change = ring_change(ring, credentials=labelled)
        order = Warrant(
            purpose=WarrantPurpose.RING.value,
            version=WARRANT_VERSION,
            deployment=ring.deployment,
            environment=ring.environment,
            audience=AUDIENCE,
            account=ring.account,
            ring_hash=ring_hash(ring),
            subject=ring_subject(ring, next_ring(ring, change)),
            nonce=secrets.token_hex(16),
            words="enrol a simulated key for a load",
            expires_at_ms=time.time_ns() // 1_000_000 + 60_000,
        )
        private = printed_key(str(read_secret_file(self._files.codes)["bootstrap_code"]), purpose="bootstrap")
        warrant = printed_envelope(warrant_bytes(order), private, signer=Signer.BOOTSTRAP_KEY)
        return ring_offer(change=change, warrant=warrant, attestations=proofs)

    def _made(self) -> Attestation:
        made = make_credential(
            self._device,
            rp_id=self._ring.rp_id,
            origin=self._ring.origins[0],
            challenge=enrolment_challenge(self._ring),
            pin=_PIN,
        )
        return Attestation(
            credential_id=made.credential_id,
            attestation_object=made.attestation_object,
            client_data=made.client_data,
        )
