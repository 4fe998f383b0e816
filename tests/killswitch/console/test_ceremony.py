"""From a draft to a warrant that the real verifier takes: what is shown, what is signed, what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from killswitch.console.world import ORIGIN as CONSOLE
from killswitch.console.world import World, executor_status, gateway_state, held, killed, row
from trust_parts import KEYS, ORIGIN, RP_ID, FastKey, ring_of

from trade_core.clock import NS_PER_MS
from trade_core.trust.assertion import challenge_of
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_core.trust.signed_warrant import SignedWarrant, check_order, open_warrant, require_two_keys
from trade_core.trust.succession import RING_WAIT_MS, cancel_subject, open_ring_offer
from trade_core.trust.warrant import WarrantPurpose, check_in_time
from trade_killswitch.console.ceremony import NEW_KEYS_MAX
from trade_killswitch.console.drafts import LIFETIME_MS
from trade_killswitch.console.sources import Answer
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

MAKER = new_maker()
CODE = new_code()
ORIGINS = (ORIGIN, CONSOLE)
SUBJECT = "kill:spot=flatten,linear=flatten,inverse=hold"


def url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Ceremony:
    """A console whose services take warrants, and the person in front of it."""

    def __init__(self, folder: Path, ring: KeyRing) -> None:
        self.world = World(folder)
        self.world.ring_file.write_bytes(ring_bytes(ring))
        self.ring = ring
        self.world.executor.answers["/kill"] = {"kill": "begun", "kill_id": "0" * 16}
        self.world.gateway.answers["/kill"] = {"trading_state": "KILLED"}
        self.world.gateway.answers["/release"] = {"takes_effect_in_s": 60, "trading_state": "HALTED"}
        for service in (self.world.gateway, self.world.watchdog, self.world.executor):
            service.answers["/ring"] = {"ring_hash": "x", "version": 2, "takes_effect_in_s": 0}
        for purpose in ("kill", "drill"):
            self.drafts(purpose)

    def drafts(self, named: str, /, **changed: Any) -> None:
        """Let the executor say what a warrant must name."""
        self.world.executor.answers["/draft"] = {
            "purpose": named,
            "audience": "executor",
            "subject": SUBJECT,
            "ring_hash": ring_hash(self.ring),
            "words": "KILL account 1002: everything stops",
            **changed,
        }

    async def begin(self) -> None:
        await self.world.watch.look()
        await self.world.sign_in()
        self.world.executor.asked.clear()

    async def draft(self, action: str, **more: Any) -> dict[str, Any]:
        answer = await self.world.post("/draft", {"action": action, **more})
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def hand_over(self, shown: dict[str, Any], *, by: Sequence[FastKey] = (), code: str = "") -> Any:
        touches = [await self.touch(shown, key) for key in by]
        return await self.world.post("/hand-over", {"draft": shown["draft"], "touches": touches, "code": code})

    async def touch(self, shown: dict[str, Any], key: FastKey) -> dict[str, str]:
        """Do what a browser does: it knows the challenge, never the bytes."""
        told = {"type": "webauthn.get", "challenge": shown["challenge"], "origin": ORIGIN, "crossOrigin": False}
        given = key.touch(b"", client=told)
        names = ("credential_id", "authenticator_data", "client_data", "signature")
        return {name: url(getattr(given, name)) for name in names}

    def opened(self, service: Any, path: str) -> SignedWarrant:
        """Verify what a service was handed, as it does itself."""
        (content,) = service.told(path)
        return open_warrant(canonical(content), ring=self.ring)


def canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@pytest.fixture
async def ceremony(tmp_path: Path) -> AsyncIterator[Ceremony]:
    made = Ceremony(tmp_path, ring_of(load_private_key(new_private_key()), origins=ORIGINS))
    await made.begin()
    yield made
    await made.world.client.aclose()


@pytest.fixture
async def unenrolled(tmp_path: Path) -> AsyncIterator[Ceremony]:
    ring = ring_of(
        load_private_key(new_private_key()),
        origins=ORIGINS,
        credentials=(),
        bootstrap_key=public_text(printed_key(CODE, purpose="bootstrap")),
        bootstrap_expires_at_ms=1_700_000_600_000,
    )
    made = Ceremony(tmp_path, ring)
    await made.begin()
    yield made
    await made.world.client.aclose()


@pytest.mark.parametrize("purpose", ["kill", "drill"])
async def test_touch_over_what_was_shown_is_a_warrant_that_the_executor_takes(ceremony: Ceremony, purpose: str) -> None:
    ceremony.drafts(purpose)
    shown = await ceremony.draft(purpose)
    assert shown["words"] == "KILL account 1002: everything stops"
    assert shown["keys"] == 1
    assert [raw(identifier) for identifier in shown["allow"]] == [key.identifier for key in KEYS]
    answer = await ceremony.hand_over(shown, by=KEYS[:1])
    gateway = "; the gateway: it is KILLED" if purpose == "kill" else ""
    assert answer.json()["said"] == f"begun: kill {'0' * 16}; its progress is shown here{gateway}"
    assert ceremony.world.gateway.told("/kill") == (ceremony.world.executor.told("/kill") if gateway else [])
    signed = ceremony.opened(ceremony.world.executor, "/kill")
    check_order(signed, purpose=WarrantPurpose(purpose), audience="executor", subject=SUBJECT)
    check_in_time(signed.warrant, now_ms=ceremony.world.clock.wall_ns() // NS_PER_MS)
    assert signed.warrant.words == shown["words"]
    drafted, handed = ceremony.world.rows()
    assert (drafted["action"], drafted["shown"], drafted["result"]) == (f"draft_{purpose}", shown["words"], "shown")
    assert (handed["action"], handed["shown"]) == (purpose, shown["words"])


@pytest.mark.parametrize(("days", "lifetime_ms"), [(1, 86_400_000), (89, 89 * 86_400_000)])
async def test_automatic_kill_is_armed_for_so_many_days_and_disarmed(
    ceremony: Ceremony, days: int, lifetime_ms: int
) -> None:
    ceremony.world.executor.answers["/arm"] = {"armed": {"is_armed": True}}
    ceremony.world.executor.answers["/disarm"] = {"armed": {"is_armed": False}}
    ceremony.drafts("arm", subject="arm:x", words="ARM an automatic KILL.")
    shown = await ceremony.draft("arm", days=days)
    assert shown["words"].startswith("ARM an automatic KILL. It lapses on 20")
    assert (await ceremony.hand_over(shown, by=KEYS[:1])).json()["said"] == "the kill executor: armed"
    signed = ceremony.opened(ceremony.world.executor, "/arm")
    check_order(signed, purpose=WarrantPurpose.ARM, audience="executor", subject="arm:x")
    now_ms = ceremony.world.clock.wall_ns() // NS_PER_MS
    check_in_time(signed.warrant, now_ms=now_ms)
    assert signed.warrant.expires_at_ms - now_ms == lifetime_ms
    ceremony.drafts("disarm", subject="disarm", words="DISARM.")
    answer = await ceremony.hand_over(await ceremony.draft("disarm"), by=KEYS[1:])
    assert answer.json()["said"] == "the kill executor: not armed"
    signed = ceremony.opened(ceremony.world.executor, "/disarm")
    assert signed.warrant.expires_at_ms - now_ms <= 300_000


@pytest.mark.parametrize("days", [0, 90, -1, 1.5, "30"])
async def test_automatic_kill_of_no_or_too_many_days_is_not_drafted(ceremony: Ceremony, days: Any) -> None:
    assert (await ceremony.world.post("/draft", {"action": "arm", "days": days})).status_code == 422


async def test_kill_goes_on_with_whoever_answers(ceremony: Ceremony) -> None:
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    ceremony.world.gateway.is_up = False
    answer = await ceremony.hand_over(shown, by=KEYS[:1])
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith("begun: kill")
    assert "the gateway does not answer" in answer.json()["detail"]
    shown = await ceremony.draft("kill")
    ceremony.world.gateway.is_up, ceremony.world.executor.is_up = True, False
    answer = await ceremony.hand_over(shown, by=KEYS[:1])
    assert answer.status_code == 502
    assert "the kill executor does not answer" in answer.json()["detail"]
    assert "the gateway: it is KILLED" in answer.json()["detail"]


async def test_challenge_is_the_hash_of_the_bytes_that_are_handed_in(ceremony: Ceremony) -> None:
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    await ceremony.hand_over(shown, by=KEYS[:1])
    (content,) = ceremony.world.executor.told("/kill")
    assert url(challenge_of(base64.b64decode(content["warrant"]))) == shown["challenge"]


async def test_release_of_a_halt_names_the_latch_and_the_rungs_by_one_key(ceremony: Ceremony) -> None:
    state = held("HALTED", "the monthly rung fired")
    ceremony.world.gateway.answers["/state"] = {**state, "latch_subject": "latch:41"}
    shown = await ceremony.draft("release", cause="a bad feed, replaced", rungs=["monthly"])
    assert shown["words"] == (
        "release HALTED and re-base the rungs monthly (held because: the monthly rung fired); "
        "cause: a bad feed, replaced"
    )
    answer = await ceremony.hand_over(shown, by=KEYS[:1])
    assert answer.json()["said"] == "the gateway: announced, takes effect in 60 s"
    signed = ceremony.opened(ceremony.world.gateway, "/release")
    check_order(signed, purpose=WarrantPurpose.RELEASE, audience="gateway", subject="latch:41+monthly")


SAID = {"cause": "found", "decision": "stays as it is", "drill": "d1"}


async def test_release_after_a_kill_takes_everything_on_the_list_and_two_keys(ceremony: Ceremony) -> None:
    ceremony.world.gateway.answers["/state"] = killed()
    confirmed = ["exit_key", "keys_new"]
    for left_out, why in (("exit_key", "not yet: "), ("keys_new", "not yet: ")):
        named = [name for name in confirmed if name != left_out]
        answer = await ceremony.world.post("/draft", {"action": "release", **SAID, "confirmed": named})
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith(why)
    for empty in ("decision", "drill"):
        said = {**SAID, empty: " ", "confirmed": confirmed}
        answer = await ceremony.world.post("/draft", {"action": "release", **said})
        assert (answer.status_code, answer.json()["detail"][: len(empty)]) == (409, empty)
    shown = await ceremony.draft("release", **SAID, confirmed=confirmed)
    assert shown["keys"] == 2
    await ceremony.hand_over(shown, by=KEYS)
    signed = ceremony.opened(ceremony.world.gateway, "/release")
    require_two_keys(signed)
    assert signed.warrant.words.endswith(
        "; cause: found; decision: stays as it is; drill: d1; order key: order2; exit key: exit2"
    )
    assert "confirmed: exit_key, keys_new" in ceremony.world.rows()[-2]["shown"]


@pytest.mark.parametrize(
    ("gateway", "executor", "why"),
    [
        (killed(order_key="order1"), executor_status(), "not yet: the gateway uses a new order key"),
        (killed(), executor_status(exit_key="not verified"), "not yet: the executor's exit key is new and verified"),
        (killed(), executor_status(exit_key_id="order1"), "not yet: the executor's exit key is new and verified"),
    ],
)
async def test_condition_that_is_known_to_be_unmet_cannot_be_confirmed(
    ceremony: Ceremony, gateway: dict[str, Any], executor: dict[str, Any], why: str
) -> None:
    ceremony.world.gateway.answers["/state"] = gateway
    ceremony.world.executor.answers["/status"] = executor
    await ceremony.world.watch.look()
    everything = ["order_key", "exit_key", "keys_new"]
    answer = await ceremony.world.post("/draft", {"action": "release", **SAID, "confirmed": everything})
    assert answer.json()["detail"] == why


async def test_drill_that_was_proved_since_needs_no_name(ceremony: Ceremony) -> None:
    ceremony.world.gateway.answers["/state"] = killed()
    last = {
        "kill_id": "0123456789abcdef",
        "is_drill": True,
        "verdict": "complete",
        "in_words": "the kill drill is complete",
        "steps": [{"step": "prove", "evidence": {"exit1": "33004"}}],
    }
    ceremony.world.executor.answers["/status"] = executor_status(kill={"running": None, "last": last})
    await ceremony.world.watch.look()
    shown = await ceremony.draft("release", cause="found", decision="stays as it is", confirmed=["keys_new"])
    assert "; drill: 0123456789abcdef; " in shown["words"]


async def test_decision_and_drill_are_said_of_a_kill_alone(ceremony: Ceremony) -> None:
    ceremony.world.gateway.answers["/state"] = {**held("HALTED", "x"), "latch_subject": "latch:7"}
    answer = await ceremony.world.post("/draft", {"action": "release", **SAID})
    assert answer.status_code == 409
    assert "nothing is killed" in answer.json()["detail"]


async def test_kill_that_is_not_over_can_be_taken_up_again(ceremony: Ceremony) -> None:
    ceremony.world.executor.answers["/resume"] = {"kill": "taken up again", "kill_id": "0" * 16}
    answer = await ceremony.world.post("/act/resume", {})
    assert answer.json()["said"] == f"kill {'0' * 16} is taken up again"
    assert ceremony.world.rows()[-1]["action"] == "resume"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"action": "release", "cause": "found it"}, "nothing to release: the gateway is ACTIVE"),
        ({"action": "release", "cause": "  "}, "say the cause"),
        ({"action": "ring"}, "no key was added or removed"),
        ({"action": "ring_cancel"}, "no key ring waits"),
        ({"action": "ring", "remove": [KEYS[0].credential.credential_id]}, "at least 2"),
    ],
)
async def test_what_cannot_be_signed_now_is_said(ceremony: Ceremony, asked: dict[str, Any], why: str) -> None:
    answer = await ceremony.world.post("/draft", asked)
    assert answer.status_code == 409
    assert why in answer.json()["detail"]


@pytest.mark.parametrize("changed", [{"ring_hash": "f" * 64}, {"subject": 5}, {"words": None}, {"purpose": "drill"}])
async def test_executor_that_does_not_fit_the_ring_or_the_question_gets_no_draft(
    ceremony: Ceremony, changed: dict[str, Any]
) -> None:
    ceremony.drafts("kill", **changed)
    assert (await ceremony.world.post("/draft", {"action": "kill"})).status_code == 409


async def test_words_with_hostile_characters_are_signed_as_they_are_shown(ceremony: Ceremony) -> None:
    state = held("HALTED", "\u202e<script>\x1b[0m" * 40)
    ceremony.world.gateway.answers["/state"] = {**state, "latch_subject": "latch:1"}
    shown = await ceremony.draft("release", cause="c" * 120)
    assert shown["words"].isprintable()
    assert len(shown["words"]) <= 400
    await ceremony.hand_over(shown, by=KEYS[:1])
    assert ceremony.opened(ceremony.world.gateway, "/release").warrant.words == shown["words"]


async def test_draft_is_handed_in_once_by_its_own_session_in_its_time(ceremony: Ceremony) -> None:
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    world = ceremony.world
    mine = dict(world.client.cookies)
    await world.sign_in()
    assert (await ceremony.hand_over(shown, by=KEYS[:1])).status_code == 409
    world.client.cookies.update(mine)
    assert (await ceremony.hand_over(shown, by=KEYS[:1])).status_code == 200
    assert (await ceremony.hand_over(shown, by=KEYS[:1])).status_code == 409
    assert len(world.executor.told("/kill")) == 1
    late = await ceremony.draft("kill")
    world.clock.advance(LIFETIME_MS * NS_PER_MS)
    assert (await ceremony.hand_over(late, by=KEYS[:1])).status_code == 409


@pytest.mark.parametrize(
    "touches", [[], [{"credential_id": "_", "authenticator_data": "A", "client_data": "A", "signature": "A"}]]
)
async def test_nothing_signed_is_nothing_handed_in(ceremony: Ceremony, touches: list[Any]) -> None:
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    answer = await ceremony.world.post("/hand-over", {"draft": shown["draft"], "touches": touches})
    assert answer.status_code == 422
    assert ceremony.world.executor.told("/kill") == []


async def test_refusal_of_the_verifier_is_told_and_written_down(ceremony: Ceremony) -> None:
    refusal = Answer(status=403, body=b'{"detail":"no kill: assertion: no security key of the key ring made it"}')
    ceremony.world.executor.answers["/kill"] = ceremony.world.gateway.answers["/kill"] = refusal
    ceremony.drafts("kill")
    answer = await ceremony.hand_over(await ceremony.draft("kill"), by=[FastKey("stranger")])
    assert answer.status_code == 409
    assert "no security key of the key ring made it" in answer.json()["detail"]
    assert "refuses" in ceremony.world.rows()[-1]["result"]


async def test_what_loosens_is_not_drafted_when_nothing_can_be_written_down_but_a_kill_is(ceremony: Ceremony) -> None:
    ceremony.world.gateway.answers["/state"] = {**held("HALTED", "x"), "latch_subject": "latch:1"}
    ceremony.world.executor.answers["/console/rows"] = Answer(status=503, body=b"{}")
    answer = await ceremony.world.post("/draft", {"action": "release", "cause": "found"})
    assert answer.status_code == 503
    ceremony.drafts("kill")
    assert (await ceremony.draft("kill"))["keys"] == 1


async def enrol(ceremony: Ceremony, label: str) -> None:
    """Make a key with the real client of python-fido2, as a browser would."""
    asked = (await ceremony.world.post("/enrol/begin", {})).json()
    assert asked["rp_id"] == RP_ID
    device = SoftwareKey(memory=Memory(pin_hash=pin_hash("1234")), maker=MAKER)
    made = make_credential(device, rp_id=RP_ID, origin=ORIGIN, challenge=raw(asked["challenge"]), pin="1234")
    content = {
        "label": label,
        "credential_id": url(made.credential_id),
        "attestation_object": url(made.attestation_object),
        "client_data": url(made.client_data),
    }
    answer = await ceremony.world.post("/enrol/key", content)
    assert answer.status_code == 200, answer.text


async def test_first_two_keys_are_enrolled_with_the_bootstrap_code_everywhere(unenrolled: Ceremony) -> None:
    world = unenrolled.world
    assert "No security key is enrolled" in (await world.client.get("/")).text
    await enrol(unenrolled, "blue")
    await enrol(unenrolled, "drawer")
    shown = await unenrolled.draft("ring")
    assert (shown["needs_code"], shown["keys"]) == (True, 0)
    assert shown["words"] == "key ring version 2; add blue, drawer; its keys are then blue, drawer"
    answer = await unenrolled.hand_over(shown, code=CODE.lower())
    assert answer.json()["said"] == "the gateway: taken; the watchdog: taken; the kill executor: taken"
    now_ms = world.clock.wall_ns() // NS_PER_MS
    for service in (world.gateway, world.watchdog, world.executor):
        (content,) = service.told("/ring")
        offer = open_ring_offer(canonical(content), pinned=unenrolled.ring, now_ms=now_ms, is_clock_trusted=True)
        assert [one.label for one in offer.ring.credentials] == ["blue", "drawer"]
        assert offer.wait_ms == 0
    assert world.watch.ring == offer.ring
    again = World(world.folder)
    again.ring_file.write_bytes(ring_bytes(unenrolled.ring))
    again.watch.chain.begin()
    assert again.watch.ring == offer.ring
    assert CODE not in json.dumps(world.rows())


@pytest.mark.parametrize("code", ["", "0000", new_code()], ids=["none", "short", "another"])
async def test_wrong_bootstrap_code_enrols_nothing(unenrolled: Ceremony, code: str) -> None:
    refusal = Answer(status=409, body=b'{"detail":"signature does not fit"}')
    for service in (unenrolled.world.gateway, unenrolled.world.watchdog, unenrolled.world.executor):
        service.answers["/ring"] = refusal
    await enrol(unenrolled, "blue")
    await enrol(unenrolled, "drawer")
    answer = await unenrolled.hand_over(await unenrolled.draft("ring"), code=code)
    assert answer.status_code in {409, 422}
    assert unenrolled.world.watch.ring == unenrolled.ring


async def test_ring_that_one_service_refuses_is_told_and_still_followed(ceremony: Ceremony) -> None:
    ceremony.world.watchdog.answers["/ring"] = Answer(status=409, body=b'{"detail":"it has another ring"}')
    await enrol(ceremony, "third")
    answer = await ceremony.hand_over(await ceremony.draft("ring"), by=KEYS)
    assert answer.status_code == 409
    assert "the watchdog refuses: it has another ring" in answer.json()["detail"]
    assert ceremony.world.watch.ring is not None
    assert ceremony.world.watch.ring.version == 2


async def test_key_is_added_by_two_keys_at_once_or_by_one_in_three_days(ceremony: Ceremony) -> None:
    now_ms = ceremony.world.clock.wall_ns() // NS_PER_MS
    for count, wait_ms in ((1, RING_WAIT_MS), (2, 0)):
        await enrol(ceremony, "third")
        shown = await ceremony.draft("ring", keys=count)
        assert shown["keys"] == count
        assert ("72 hours" in shown["words"]) == (count == 1)
        await ceremony.hand_over(shown, by=KEYS[:count])
        content = ceremony.world.gateway.told("/ring")[-1]
        offer = open_ring_offer(canonical(content), pinned=ceremony.ring, now_ms=now_ms, is_clock_trusted=True)
        assert (offer.wait_ms, len(offer.ring.credentials)) == (wait_ms, 3)
        assert (ceremony.world.watch.ring == offer.ring) == (count == 2)


async def test_ring_that_waits_is_shown_and_cancelled_by_one_key(ceremony: Ceremony) -> None:
    await enrol(ceremony, "thief's")
    shown = await ceremony.draft("ring", keys=1)
    await ceremony.hand_over(shown, by=KEYS[:1])
    content = ceremony.world.gateway.told("/ring")[0]
    waiting = {"change": content["change"], "in_s": 259_000, "hash": "x"}
    ceremony.world.gateway.answers["/state"] = gateway_state(ring={"waiting": waiting})
    await ceremony.world.watch.look()
    page = (await ceremony.world.client.get("/")).text
    assert "Another key ring counts in 2 days unless a security key cancels it." in page
    cancel = await ceremony.draft("ring_cancel")
    assert "thief's" in cancel["words"]
    await ceremony.hand_over(cancel, by=KEYS[1:])
    signed = open_warrant(canonical(ceremony.world.gateway.told("/ring")[1]), ring=ceremony.ring)
    now_ms = ceremony.world.clock.wall_ns() // NS_PER_MS
    offered = open_ring_offer(canonical(content), pinned=ceremony.ring, now_ms=now_ms, is_clock_trusted=True).ring
    assert signed.warrant.subject == cancel_subject(ceremony.ring, offered)


async def test_ring_that_others_changed_is_followed_from_the_gateway_s_journal(
    ceremony: Ceremony, tmp_path: Path
) -> None:
    await enrol(ceremony, "third")
    await ceremony.hand_over(await ceremony.draft("ring"), by=KEYS)
    content = ceremony.world.gateway.told("/ring")[0]
    newer = ceremony.world.watch.ring
    assert newer is not None
    (tmp_path / "another").mkdir()
    other = World(tmp_path / "another")
    other.ring_file.write_bytes(ring_bytes(ceremony.ring))
    parts = {name: [content[name][:500], content[name][500:]] for name in ("change", "warrant")}
    other.gateway.rows = [row(0, "ring:changed", **parts), row(1, "ring:changed", change=["!"], warrant=["!"])]
    state = gateway_state(ring_hash=ring_hash(newer))
    other.gateway.answers["/state"] = {**state, "journal": {**state["journal"], "size": 2}}
    await other.watch.look()
    assert other.watch.ring == newer


async def test_what_is_no_new_key_is_refused(ceremony: Ceremony) -> None:
    content = {"label": "x", "credential_id": "AAAA", "attestation_object": "AAAA", "client_data": "AAAA"}
    assert (await ceremony.world.post("/enrol/key", content)).status_code == 422
    assert (await ceremony.world.post("/enrol/key", {**content, "label": ""})).status_code == 422
    await enrol(ceremony, "x")
    await ceremony.world.post("/enrol/forget", {})
    assert (await ceremony.world.post("/draft", {"action": "ring"})).status_code == 409


async def test_keys_that_are_made_refused_or_forgotten_are_written_down(ceremony: Ceremony) -> None:
    content = {"label": "x", "credential_id": "AAAA", "attestation_object": "AAAA", "client_data": "AAAA"}
    await ceremony.world.post("/enrol/key", content)
    await enrol(ceremony, "blue")
    await ceremony.world.post("/enrol/forget", {})
    told = [(one["action"], one["shown"], one["result"].partition(":")[0]) for one in ceremony.world.rows()]
    assert told == [
        ("enrol_key", "x", "that is no new security key"),
        ("enrol_begin", "Trade simulated 1002", "a new key was asked for"),
        ("enrol_key", "blue", "blue was made; 1 new in all"),
        ("enrol_forget", "blue", "forgotten"),
    ]
    assert all(one["session"].startswith("session-") for one in ceremony.world.rows())


async def test_more_new_keys_than_a_ring_holds_are_refused_and_written_down(ceremony: Ceremony) -> None:
    for number in range(NEW_KEYS_MAX):
        await enrol(ceremony, f"k{number}")
    content = {"label": "one more", "credential_id": "AAAA", "attestation_object": "AAAA", "client_data": "AAAA"}
    assert (await ceremony.world.post("/enrol/key", content)).status_code == 409
    assert ceremony.world.rows()[-1]["result"] == "enough new keys wait already"


async def test_what_is_not_drafted_or_not_handed_in_is_written_down(ceremony: Ceremony) -> None:
    await ceremony.world.post("/draft", {"action": "ring"})
    await ceremony.world.post("/hand-over", {"draft": "0" * 32})
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    await ceremony.world.post("/hand-over", {"draft": shown["draft"]})
    told = [(one["action"], one["shown"], one["result"]) for one in ceremony.world.rows()]
    assert told == [
        ("draft_ring", "none", "not drafted: no key was added or removed"),
        ("hand_over", "none", "that was handed in already or has lapsed; begin again"),
        ("draft_kill", shown["words"], "shown"),
        ("kill", shown["words"], "not handed in: no security key was touched"),
    ]


async def test_stranger_gets_no_draft_and_hands_nothing_in(ceremony: Ceremony) -> None:
    ceremony.drafts("kill")
    shown = await ceremony.draft("kill")
    ceremony.world.client.cookies.clear()
    assert (await ceremony.world.post("/draft", {"action": "kill"})).status_code == 401
    assert (await ceremony.hand_over(shown, by=KEYS[:1])).status_code == 401
    for path in ("/enrol/begin", "/enrol/forget"):
        assert (await ceremony.world.post(path, {})).status_code == 401


async def test_console_without_a_ring_drafts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ring_file.unlink()
    await world.watch.look()
    await world.sign_in()
    answer = await world.post("/draft", {"action": "kill"})
    assert answer.status_code == 409
    assert "nobody can say which keys to touch" in answer.json()["detail"]


async def test_console_that_the_ring_does_not_name_drafts_nothing(tmp_path: Path) -> None:
    made = Ceremony(tmp_path, ring_of(load_private_key(new_private_key())))
    await made.begin()
    answer = await made.world.post("/draft", {"action": "kill"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"the key ring does not name {CONSOLE}, so no touch here would count"


async def test_kill_under_way_is_the_headline_with_its_steps(ceremony: Ceremony) -> None:
    running = {
        "kill_id": "0123456789abcdef",
        "is_drill": False,
        "in_words": "the kill is PENDING after 2.0 s: revoke; the rest is done",
        "verdict": "pending",
        "began_at_ns": 1_700_000_098_000_000_000,
        "reason": "by a touch",
        "steps": [
            {"words": "the gateway refuses", "status": "done", "status_words": "done", "ended_s": 0.21, "why": ""},
            {"words": "keys are gone", "status": "failed", "status_words": "tried again", "evidence": {"deleted": 1}},
        ],
    }
    ceremony.world.executor.answers["/status"] = executor_status(kill={"running": running, "last": None})
    ceremony.world.executor.answers["/report"] = Answer(status=200, body="Kill \u202e1\n  line\n".encode())
    await ceremony.world.watch.look()
    shown = (await ceremony.world.client.get("/")).text
    assert "The kill is PENDING after 2.0 s: revoke; the rest is done." in shown
    assert 'class="state">KILL<' in shown
    assert "0.21 s" in shown
    assert "deleted 1" in shown
    assert '<li class="failed"><b>keys are gone</b><span class="mark">tried again</span>' in shown
    assert (await ceremony.world.client.get("/report")).text == "Kill \\u202e1\n  line\n"
    assert (await ceremony.world.client.get("/report.json")).json()["kill"]["running"]["kill_id"] == running["kill_id"]
