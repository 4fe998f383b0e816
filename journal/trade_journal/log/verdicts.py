"""How the verdict on a whole journal is told: to people in four lines, to machines as one JSON object. Pure."""

from __future__ import annotations

from trade_journal.log.rendering import time_text
from trade_journal.log.verify import PublicKeys, Verdict


def verdict_text(verdict: Verdict, keys: PublicKeys) -> str:
    """Tell a verdict without a fault to people."""
    if not verdict.is_good:
        return (
            f"UNSIGNED  {keys.log.name}\n"
            f"  {verdict.rows} rows, root {verdict.root.hex()}\n"
            f"  no checkpoint vouches for any of them: nothing is proven"
        )
    witness = "no witness's key was given" if keys.witness is None else f"witnessed by {keys.witness.name}"
    when = "" if verdict.witnessed_at_s is None else f", last at {time_text(verdict.witnessed_at_s * 10**9)}"
    return (
        f"GOOD  {keys.log.name}\n"
        f"  {verdict.rows} rows, root {verdict.root.hex()}\n"
        f"  {verdict.signed_rows} signed by the log, in {verdict.checkpoints} checkpoints\n"
        f"  {verdict.witnessed_rows} {witness}{when}; {verdict.rows - verdict.witnessed_rows} unwitnessed"
        f"{_clock_text(verdict)}"
    )


def _clock_text(verdict: Verdict) -> str:
    if verdict.clock_back is None:
        return ""
    row, seconds = verdict.clock_back
    return (
        f"\n  note: row {row} is {seconds} s older than a row before it: a clock that went back, or a row that waited"
    )


def verdict_values(verdict: Verdict, keys: PublicKeys) -> dict[str, object]:
    """Tell a verdict to machines."""
    fault = verdict.fault
    return {
        "origin": keys.log.name,
        "is_good": verdict.is_good,
        "rows": verdict.rows,
        "root": verdict.root.hex(),
        "signed_rows": verdict.signed_rows,
        "witnessed_rows": verdict.witnessed_rows,
        "witnessed_at_s": verdict.witnessed_at_s,
        "checkpoints": verdict.checkpoints,
        "clock_back_row": None if verdict.clock_back is None else verdict.clock_back[0],
        "fault": None if fault is None else {"what": fault.what, "first": fault.first, "last": fault.last},
    }
