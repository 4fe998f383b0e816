"""Whatever happens to file, journal and process, the policy in force is never looser than what a person authorised.

A state machine edits the file, signs warrants (right, wrong, used ones), halts, lets time pass, lets rows fail or land
without a word, and restarts from the journal. The model knows only which warrants took their minute undisturbed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.policy.parts import POLICY
from gateway.policy_parts import RING, changed, policy_toml, policy_warrant, recorded
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.keys import NotTrusted
from trade_gateway.metrics import Metrics
from trade_gateway.policy.comparison import compare
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy_history import InForce, PolicyHistory
from trade_gateway.policy_keeper import PolicyKeeper
from trade_gateway.recorder import Recorder
from trade_gateway.state_keeper import RELEASE_DELAY_S
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, Row, RowKind, draft

POLICIES = [
    POLICY,
    *(
        replace(POLICY, max_open_orders=orders, collar=Decimal(collar), duplicate_window_s=window)
        for orders in (3, 5)
        for collar in ("0.002", "0.003")
        for window in (9, 10)
    ),
    replace(POLICY, symbols=dict(list(POLICY.symbols.items())[:2])),
]
BROKEN = ["", "collar = ", policy_toml(POLICY)[:250], policy_toml(replace(POLICY, stress_gap=Decimal("0.9")))]


_FAILURES = st.lists(st.sampled_from(["", "lost", "doubtful"]), max_size=3)


class MemoryJournal:
    """Stands where a journal stands, at the edge of the process; fails as a disk fails."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self.halts: list[Callable[[], None]] = []  # each is called when one more awaited row has been written

    async def append(self, entry: Entry) -> int:
        draft(entry)
        await asyncio.sleep(0)
        failure = self.failures.pop() if self.failures else ""
        if failure != "lost":
            self.append_later(entry)
        if self.halts:
            self.halts.pop()()
        if failure:
            raise JournalUnavailable(failure, cause=failure)
        return len(self.rows) - 1

    def append_later(self, entry: Entry) -> None:
        draft(entry)
        row = Row(
            seq=len(self.rows),
            at_ns=entry.at_ns,
            kind=entry.kind,
            actor=entry.actor,
            fields=entry.fields,
            policy_hash=entry.policy_hash,
        )
        self.rows.append(row)


class PolicyMachine(RuleBasedStateMachine):
    """The keeper beside a model that knows what was authorised."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "policy.toml"
        self.path.write_text(policy_toml(POLICY))
        self.clock = ManualClock()
        self.journal = MemoryJournal()
        self.authorised = POLICY
        self.announced: tuple[Policy, int] | None = None  # a policy and when its minute is over
        self.spent: list[bytes] = []
        self.put_in_force: list[InForce] = []

    @initialize()
    def begin(self) -> None:
        self.restart()

    @rule()
    def restart(self) -> None:
        """Begin again with what the journal holds; what was only announced is forgotten."""
        self.history = PolicyHistory(ring=RING)
        self.journal.failures.clear()
        for row in self.journal.rows:
            self.history.take(row)
        if self.history.current is None:
            assert self.history.begin(POLICY)
        recorder = Recorder(
            journal=self.journal,  # type: ignore[arg-type]
            clock=self.clock,
            metrics=Metrics(),
            policy_hash=RING.policy_hash,
        )
        self.keeper = PolicyKeeper(
            path=self.path,
            ring=RING,
            history=self.history,
            recorder=recorder,
            clock=self.clock,
            is_clock_trusted=lambda: True,
            on_fault=lambda _: None,
            on_change=self.put_in_force.append,
        )
        self.note()
        self.announced = None

    @rule(policy=st.sampled_from(POLICIES))
    def edit(self, policy: Policy) -> None:
        self.path.write_text(policy_toml(policy))

    @rule(text=st.sampled_from(BROKEN))
    def break_file(self, text: str) -> None:
        self.path.write_text(text)

    @rule()
    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    @rule(looks=st.integers(1, 3))
    def look(self, looks: int) -> None:
        for _ in range(looks):
            self.run(self.keeper.work())
            self.note()

    @rule(seconds=st.sampled_from([1, 30, RELEASE_DELAY_S]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds * NS_PER_S)
        self.look(2)

    @rule(new=st.sampled_from(POLICIES), is_fresh=st.booleans())
    def sign(self, new: Policy, is_fresh: bool) -> None:
        expires_at_ms = self.clock.wall_ns() // NS_PER_MS + (60_000 if is_fresh else -1)
        raw = policy_warrant(self.keeper.in_force.policy, new, expires_at_ms=expires_at_ms)
        self.hand_in(raw, new)

    @rule()
    def sign_what_the_file_says(self) -> None:
        policy = next((each for each in POLICIES if policy_toml(each) == self.file_text()), None)
        if policy is not None:
            self.sign(policy, is_fresh=True)

    @rule(data=st.data())
    def hand_in_again(self, data: st.DataObject) -> None:
        if self.spent:
            raw = data.draw(st.sampled_from(self.spent))
            try:
                self.run(self.keeper.accept(raw))
            except NotTrusted:
                return
            raise AssertionError("a warrant was announced twice")

    @rule()
    def halt(self) -> None:
        self.note()
        self.keeper.void(reason="a halt", by="operator")
        self.announced = None

    @rule(new=st.sampled_from(POLICIES))
    def ask_for(self, new: Policy) -> None:
        """Write the file and sign it, as a person does."""
        self.edit(new)
        self.sign(new, is_fresh=True)

    @rule(new=st.sampled_from(POLICIES))
    def ask_for_and_get(self, new: Policy) -> None:
        self.ask_for(new)
        self.wait(RELEASE_DELAY_S)

    @rule(new=st.sampled_from(POLICIES), row=st.integers(0, 2), failures=_FAILURES)
    def ask_for_and_halt_at_the_last_moment(self, new: Policy, row: int, failures: list[str]) -> None:
        self.ask_for(new)
        self.journal.failures = list(failures)
        self.journal.halts = [self.halt, *[lambda: None] * row]
        self.wait(RELEASE_DELAY_S)
        self.journal.halts.clear()

    @rule(new=st.sampled_from(POLICIES))
    def forge_a_row(self, new: Policy) -> None:
        """Write a change into the journal as if it had happened, and begin again."""
        if not self.history.is_anchored:
            return  # a journal that changes what it never recorded is refused whole; see test_policy_history
        for forged in (recorded(new), changed(self.keeper.in_force.policy, new)):
            self.journal.rows.append(replace(forged, seq=len(self.journal.rows)))
        self.restart()

    @rule(data=st.data())
    def copy_a_row(self, data: st.DataObject) -> None:
        """Repeat an old change, warrant and all, and begin again."""
        changes = [row for row in self.journal.rows if row.kind is RowKind.POLICY_CHANGED]
        if changes:
            copied = data.draw(st.sampled_from(changes))
            contents = [
                row
                for row in self.journal.rows
                if row.kind is RowKind.POLICY_RECORDED and row.fields["hash"] == copied.fields["new_hash"]
            ]
            self.journal.rows += [contents[-1], copied]
            self.restart()

    @rule(failures=_FAILURES)
    def let_rows_fail(self, failures: list[str]) -> None:
        self.journal.failures = list(failures)

    def hand_in(self, raw: bytes, new: Policy) -> None:
        try:
            self.run(self.keeper.accept(raw))
        except NotTrusted:
            return
        self.spent.append(raw)
        self.announced = (new, self.clock.monotonic_ns() + RELEASE_DELAY_S * NS_PER_S)

    def file_text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def note(self) -> None:
        """Let the model know that an announced policy, whose minute is over, is in force."""
        current = self.history.current
        if self.announced is None or current is None:
            return
        policy, due_at_ns = self.announced
        if current.authorised_hash == policy_hash(policy) and self.clock.monotonic_ns() >= due_at_ns:
            self.authorised, self.announced = policy, None

    def run(self, doing: Any) -> Any:
        return self.loop.run_until_complete(doing)

    @invariant()
    def never_looser_than_authorised(self) -> None:
        current = getattr(self, "history", None) and self.history.current
        if current:
            assert compare(self.authorised, current.policy).loosened == ()
            assert current.authorised_hash == policy_hash(self.authorised)

    @invariant()
    def parts_have_what_is_in_force(self) -> None:
        if self.put_in_force and self.history.current is not self.put_in_force[-1]:
            # Only a restart may know better than the parts, and it gives them what it knows.
            assert self.history.current is not None
            assert compare(self.authorised, self.history.current.policy).loosened == ()

    def teardown(self) -> None:
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()


PolicyMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPolicyMachine = PolicyMachine.TestCase
