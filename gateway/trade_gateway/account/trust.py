"""May the account view be believed? Pure bookkeeping: every time is passed in, monotonic, in ns.

Guarantees
- Untrusted until a complete REST reading, begun after the stream was up and after the last cause for distrust,
  agreed with the view.
- What REST shows and the stream has not told within SETTLE_NS is a gap in the stream: untrusted, and read again.
- A reading older than STALE_AFTER_NS is no ground for trust.
- An order whose outcome is unknown makes the view untrusted for as long as it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from trade_core.clock import NS_PER_S

STALE_AFTER_NS = 10 * NS_PER_S
# A message that is later than this behind an answer by REST counts as lost.
SETTLE_NS = NS_PER_S
MAX_SURPRISES = 1_000
NEVER_READ = "the account has not been read yet"
STREAM_DOWN = "the private stream is not up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The view is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """Why it is not."""

    reason: str


Trust = Trusted | Untrusted


class TrustKeeper:
    """Weighs stream and readings against each other."""

    def __init__(self) -> None:
        self._stream_up_at_ns: int | None = None
        self._distrusted_at_ns: int | None = 0
        self._reason = NEVER_READ
        self._read_at_ns: int | None = None
        self._surprises: dict[str, int] = {}

    @property
    def read_at_ns(self) -> int | None:
        """When the last complete reading began."""
        return self._read_at_ns

    @property
    def has_baseline(self) -> bool:
        """Whether there is anything that a reading could disagree with."""
        return self._read_at_ns is not None

    def stream_up(self, *, at_ns: int) -> None:
        """Note that the private stream has confirmed every subscription."""
        self._stream_up_at_ns = at_ns
        self.distrust("the private stream is up, and no reading was made since", at_ns=at_ns)

    def stream_down(self, reason: str, *, at_ns: int) -> None:
        """Note that the stream is lost."""
        self._stream_up_at_ns = None
        self.distrust(f"{STREAM_DOWN}: {reason}", at_ns=at_ns)

    def distrust(self, reason: str, *, at_ns: int) -> None:
        """Distrust the view until a reading begun later agrees with it."""
        self._distrusted_at_ns = at_ns
        self._reason = reason
        self._surprises.clear()

    def surprise(self, what: str, *, at_ns: int) -> None:
        """Note what REST showed and the stream has not told yet; while untrusted there is no trust to lose."""
        if self._distrusted_at_ns is not None:
            return
        if len(self._surprises) >= MAX_SURPRISES:
            self.distrust("too much of what was read is unknown to the stream", at_ns=at_ns)
        else:
            self._surprises.setdefault(what, at_ns)

    def explained(self, what: str) -> None:
        """Note that the stream has told it."""
        self._surprises.pop(what, None)

    def reading_completed(self, *, began_ns: int, has_differed: bool) -> None:
        """Note a complete reading, and whether it had anything otherwise than the view; the first one has nothing."""
        self._read_at_ns = began_ns
        if self._distrusted_at_ns is None or self._stream_up_at_ns is None or has_differed:
            return
        if began_ns >= self._distrusted_at_ns and began_ns >= self._stream_up_at_ns:
            self._distrusted_at_ns = None

    def judge(self, *, now_ns: int, has_unknown_outcome: bool) -> Trust:
        """Tell whether the view may be believed now. Surprises that became too old turn into distrust."""
        for what, since_ns in self._surprises.items():
            if now_ns - since_ns > SETTLE_NS:
                self.distrust(f"the private stream did not tell of {what}", at_ns=now_ns)
                break
        if self._distrusted_at_ns is not None:
            return Untrusted(reason=self._reason)
        if self._read_at_ns is None or now_ns - self._read_at_ns > STALE_AFTER_NS:
            return Untrusted(reason="the account at the exchange has not been read recently")
        if has_unknown_outcome:
            return Untrusted(reason="the outcome of an order is unknown")
        return Trusted()
