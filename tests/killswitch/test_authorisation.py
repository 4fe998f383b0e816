"""Who may order a kill, as the executor judges it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import Signer, printed_envelope, touched_envelope
from trade_core.trust.warrant import Warrant, WarrantPurpose, warrant_bytes
from trade_killswitch.authorisation import COUNTERS_FILE, Authorisation, kill_id_of
from trade_killswitch.kill_order import Authority, Ending, KillRefused
from trade_killswitch.working_orders import Category

PRIVATE = load_private_key(new_private_key())
RING = ring_of(PRIVATE, recovery_key=public_text(PRIVATE))
SUBJECT = "kill:spot=hold,linear=flatten,inverse=hold"
START_MS = 1_700_000_000_000


def warrant(**changed: Any) -> Warrant:
    values: dict[str, Any] = {
        "purpose": "kill",
        "version": 1,
        "deployment": "d1",
        "environment": "simulated",
        "audience": "executor",
        "account": "1002",
        "ring_hash": ring_hash(RING),
        "subject": SUBJECT,
        "nonce": "n1",
        "words": "KILL account 1002",
        "expires_at_ms": START_MS + 60_000,
    }
    return Warrant(**{**values, **changed})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=START_MS * NS_PER_MS)


@pytest.fixture
def judge(tmp_path: Path, clock: ManualClock) -> Authorisation:
    return Authorisation(ring=lambda: RING, clock=clock, state_dir=tmp_path)


def test_touch_orders_the_kill_that_its_subject_says(judge: Authorisation) -> None:
    made = warrant()
    raw = touch(made)
    allowed = judge.kill(raw)
    assert allowed.order.kill_id == kill_id_of(made)
    assert allowed.order.authority is Authority.TOUCH
    assert allowed.order.reason == "KILL account 1002"
    assert allowed.order.endings == {
        Category.SPOT: Ending.HOLD,
        Category.LINEAR: Ending.FLATTEN,
        Category.INVERSE: Ending.HOLD,
    }
    assert allowed.order.is_drill is False
    assert allowed.alarms == ()
    pieces = allowed.fields["warrant"]
    assert isinstance(pieces, list)
    assert "".join(str(piece) for piece in pieces).encode() == raw
    assert all(len(str(piece)) <= 512 for piece in pieces)
    assert allowed.fields["security_keys"] == ["first"]


def test_drill_is_a_kill_that_is_marked(judge: Authorisation) -> None:
    assert judge.kill(touch(warrant(purpose="drill"))).order.is_drill is True


def test_recovery_key_kills_and_drills_nothing(judge: Authorisation) -> None:
    payload = warrant_bytes(warrant())
    allowed = judge.kill(printed_envelope(payload, PRIVATE, signer=Signer.RECOVERY_KEY))
    assert allowed.order.authority is Authority.RECOVERY_KEY
    assert allowed.fields["security_keys"] == []
    payload = warrant_bytes(warrant(purpose="drill"))
    with pytest.raises(NotTrusted):
        judge.kill(printed_envelope(payload, PRIVATE, signer=Signer.RECOVERY_KEY))


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "release"},
        {"purpose": "arm"},
        {"purpose": "disarm"},
        {"audience": "gateway"},
        {"audience": "deployment"},
        {"account": "1003"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"ring_hash": "b" * 64},
        {"expires_at_ms": START_MS},
        {"expires_at_ms": START_MS - 1},
        {"expires_at_ms": START_MS + 300_001},
        {"version": 2},
    ],
)
def test_warrant_for_something_else_is_refused(judge: Authorisation, changed: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted):
        judge.kill(touch(warrant(**changed)))


@pytest.mark.parametrize("subject", ["kill", "kill:spot=hold", SUBJECT + " ", "latch:7", ""])
def test_kill_that_does_not_say_what_becomes_of_positions_is_refused(judge: Authorisation, subject: str) -> None:
    with pytest.raises((KillRefused, NotTrusted)):
        judge.kill(touch(warrant(subject=subject)))


def test_key_that_is_not_in_the_ring_is_refused(judge: Authorisation) -> None:
    with pytest.raises(NotTrusted):
        judge.kill(touch(warrant(), by=[FastKey("stranger")]))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"warrant":"","assertions":[]}', b"x" * 5000])
def test_bytes_that_are_no_envelope_are_refused(judge: Authorisation, raw: bytes) -> None:
    with pytest.raises(NotTrusted):
        judge.kill(raw)


def test_any_changed_byte_of_a_touch_is_refused(judge: Authorisation) -> None:
    raw = touch(warrant())
    for position in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[position] ^= 1
        with pytest.raises((NotTrusted, KillRefused)):
            judge.kill(bytes(changed))


def test_kill_passes_with_a_clock_that_is_not_trusted_and_a_drill_does_not(tmp_path: Path, clock: ManualClock) -> None:
    judge = Authorisation(ring=lambda: RING, clock=clock, state_dir=tmp_path, is_clock_trusted=lambda: False)
    clock.advance(3600 * NS_PER_S)
    assert judge.kill(touch(warrant())).order
    with pytest.raises(NotTrusted, match="clock"):
        judge.kill(touch(warrant(purpose="drill", expires_at_ms=START_MS + 3_600_000 + 60_000)))


def stale(**changed: Any) -> bytes:
    payload = warrant_bytes(warrant(**changed))
    return touched_envelope(payload, [KEYS[0].touch(payload, counter=1)])


def test_counter_that_does_not_rise_alarms_of_a_kill_and_refuses_a_drill(judge: Authorisation) -> None:
    judge.kill(touch(warrant()))
    allowed = judge.kill(stale(nonce="n2"))
    assert allowed.alarms == ("the counter of the security key 'first' did not rise: was it copied?",)
    with pytest.raises(NotTrusted, match="counter"):
        judge.kill(stale(purpose="drill"))


def test_same_touch_of_a_kill_that_is_known_alarms_nobody(judge: Authorisation) -> None:
    raw = touch(warrant())
    judge.kill(raw)
    assert judge.kill(raw).alarms
    judge.is_known = lambda kill_id: kill_id == kill_id_of(warrant())
    assert judge.kill(raw).alarms == ()


def test_counters_outlive_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    def new() -> Authorisation:
        return Authorisation(ring=lambda: RING, clock=clock, state_dir=tmp_path)

    new().kill(touch(warrant()))
    assert new().kill(stale(nonce="n2")).alarms
    file = tmp_path / COUNTERS_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert base64.b64encode(KEYS[0].identifier).decode() in json.loads(file.read_text())
    file.write_text('{"a": "b"}')
    with pytest.raises(ConfigurationError, match=COUNTERS_FILE):
        new()


def test_counters_that_cannot_be_kept_hold_up_no_kill_but_all_else(
    judge: Authorisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trade_killswitch.authorisation.write_atomically", full)
    assert judge.kill(touch(warrant())).order
    with pytest.raises(NotTrusted, match="cannot be written"):
        judge.kill(touch(warrant(purpose="drill")))


@pytest.mark.parametrize("purpose", [WarrantPurpose.ARM, WarrantPurpose.DISARM])
def test_other_orders_are_taken_for_exactly_what_they_say(judge: Authorisation, purpose: WarrantPurpose) -> None:
    made = warrant(purpose=purpose.value, subject="s1")
    assert judge.order(touch(made), purpose=purpose, subject="s1").warrant == made
    for wrong in ({"subject": "s2"}, {"audience": "gateway"}, {"purpose": "kill"}):
        with pytest.raises(NotTrusted):
            judge.order(
                touch(warrant(**{"purpose": purpose.value, "subject": "s1", **wrong})), purpose=purpose, subject="s1"
            )


def test_kept_warrant_is_verified_again_until_it_lapses(judge: Authorisation, clock: ManualClock) -> None:
    day_ms = 24 * 3600 * 1000
    raw = touch(warrant(purpose="arm", subject="arm:x", expires_at_ms=START_MS + 90 * day_ms))
    verify: Callable[[bytes], Any] = judge.standing
    assert verify(raw).warrant.subject == "arm:x"
    assert verify(raw)
    clock.advance(90 * day_ms * NS_PER_MS)
    with pytest.raises(NotTrusted, match="expired"):
        verify(raw)
    with pytest.raises(NotTrusted):
        verify(touch(warrant()))


def releasing(**changed: Any) -> bytes:
    """Sign a release that re-bases the highest point."""
    values = {"purpose": "release", "audience": "gateway", "subject": "latch:7+high_water", "words": "release"}
    by = changed.pop("by", KEYS)
    return touch(warrant(**{**values, **changed}), by=by)


DAY_MS = 24 * 3600 * 1000


@pytest.mark.parametrize("expires_at_ms", [START_MS + 300_000, START_MS, START_MS - DAY_MS + 1])
def test_release_by_two_keys_rebases_within_a_day(judge: Authorisation, expires_at_ms: int) -> None:
    signed = judge.rebasing(releasing(expires_at_ms=expires_at_ms))
    assert signed.warrant.subject == "latch:7+high_water"
    assert len(signed.touches) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"by": KEYS[:1]},
        {"by": (KEYS[0], FastKey("stranger"))},
        {"by": (KEYS[0], KEYS[0])},
        {"subject": "latch:7+daily"},
        {"subject": "latch:7"},
        {"subject": "latch:7+high_water+daily"},
        {"purpose": "kill"},
        {"purpose": "policy"},
        {"audience": "executor"},
        {"account": "1003"},
        {"ring_hash": "b" * 64},
        {"expires_at_ms": START_MS + 300_001},
        {"expires_at_ms": START_MS - DAY_MS},
    ],
)
def test_release_that_rebases_nothing_here_is_refused(judge: Authorisation, changed: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted):
        judge.rebasing(releasing(**changed))


def test_release_is_refused_by_a_clock_that_is_not_trusted(tmp_path: Path, clock: ManualClock) -> None:
    judge = Authorisation(ring=lambda: RING, clock=clock, state_dir=tmp_path, is_clock_trusted=lambda: False)
    with pytest.raises(NotTrusted, match="clock is not trusted"):
        judge.rebasing(releasing())
