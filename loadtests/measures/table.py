"""The table of `make bench`: each measure beside what is to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from rig.candidates import GATEWAY, LOADER_ALONE, MITMPROXY, NAIVE, NGINX, STUB_ALONE

from measures.halt_flips import Flips
from measures.lapsed_lease import Lapse
from measures.side_by_side import Comparison
from measures.verify_speed import Verified

AIRTIGHT = "orders after an acknowledged halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure and its bound: at most `highest`, or at least `lowest`. `note` is what it was measured on."""

    name: str
    value: float
    unit: str = ""
    highest: float | None = None
    lowest: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether the bound is kept."""
        is_low_enough = self.highest is None or self.value <= self.highest
        return is_low_enough and (self.lowest is None or self.value >= self.lowest)

    def line(self) -> str:
        """Say it in one line of the table."""
        bound = f"<= {self.highest:g}" if self.highest is not None else ""
        bound = f">= {self.lowest:,g}" if self.lowest is not None else bound
        return f"{self.name:58}{self.value:12,.2f} {self.unit:7}{bound:>11}  {'' if self.holds else 'FALLS SHORT'}"

    def content(self) -> dict[str, object]:
        """Return what is written of it."""
        bounds = {"highest": self.highest, "lowest": self.lowest}
        kept = {key: value for key, value in bounds.items() if value is not None}
        return {"name": self.name, "value": round(self.value, 4), "unit": self.unit, **kept, "holds": self.holds} | (
            {"note": self.note} if self.note else {}
        )


def compared(found: Comparison) -> list[Measure]:
    """Return the ratios of one interleaved run."""
    ours_us, ours_per_s = found.p50_us(GATEWAY), found.orders_per_s(GATEWAY)
    bare_us = found.p50_us(NGINX) + statistics.median(found.fdatasync_us)
    measures = [Measure(name="p50 at 1 connection / (nginx + bare fdatasync)", value=ours_us / bare_us, highest=2.0)]
    if MITMPROXY in found.found:
        of_p50, of_orders = ours_us / found.p50_us(MITMPROXY), ours_per_s / found.orders_per_s(MITMPROXY)
        measures.append(Measure(name="p50 at 1 connection / mitmproxy", value=of_p50, highest=0.4))
        measures.append(Measure(name="orders/s at 64 / mitmproxy", value=of_orders, lowest=20))
    return [
        *measures,
        Measure(name="orders/s at 64 / naive", value=ours_per_s / found.orders_per_s(NAIVE), lowest=60),
        Measure(name="orders/s at 64 / nginx", value=ours_per_s / found.orders_per_s(NGINX), lowest=0.3),
        Measure(name="loader alone / nginx", value=found.orders_per_s(LOADER_ALONE) / found.orders_per_s(NGINX)),
        Measure(name="gateway's exchange stub alone / gateway", value=found.orders_per_s(STUB_ALONE) / ours_per_s),
    ]


def relayed(added_us: list[float]) -> Measure:
    """Return what the relay adds to a frame."""
    added_ms = statistics.median(added_us) / 1000
    return Measure(
        name="WebSocket relay, added p50", value=added_ms, unit="ms", highest=0.5, note=f"{len(added_us)} frames"
    )


def verified(found: Verified) -> Measure:
    """Return how fast a journal is verified."""
    note = f"{found.rows} rows"
    return Measure(name="verify a journal", value=found.rows_per_s, unit="rows/s", lowest=200_000, note=note)


def lapsed(found: Lapse) -> Measure:
    """Return how long a dead watchdog's lease is outlived."""
    return Measure(
        name="watchdog dead to refusing, after the lease's end",
        value=found.late_ms,
        unit="ms",
        highest=1.0,
        note=f"{found.orders} orders until then, known to {found.uncertainty_ms:.1f} ms",
    )


def halted(found: Flips) -> list[Measure]:
    """Return whether a halt is airtight, and how fast."""
    note = f"{found.count} halts at 64 connections"
    return [
        Measure(name=AIRTIGHT, value=len(found.late), highest=0, note=note),
        Measure(name="halt effective, p50", value=found.effective_p50_ms, unit="ms", highest=1.0, note=note),
        Measure(name="halt effective, longest", value=max(found.effective_ms), unit="ms", highest=25.0, note=note),
        Measure(name="halt acknowledged, p50", value=statistics.median(found.acknowledged_ms), unit="ms", note=note),
    ]


def candidate_lines(found: Comparison) -> Iterable[str]:
    """Yield a line for each candidate, and one for the disk."""
    yield f"{'':16}{'p50 us at 1':>14}{'p99 us at 1':>14}{'orders/s at 64':>17}{'CPU s per 1000':>17}{'orders':>10}"
    for name, turns in found.found.items():
        processor_s = statistics.median(turns.processor_s_per_1000)
        p99_us = statistics.median(turns.p99_us)
        yield (
            f"{name:16}{found.p50_us(name):14,.0f}{p99_us:14,.0f}{found.orders_per_s(name):17,.0f}"
            f"{processor_s:17.3f}{turns.orders:10,}"
        )
    yield f"{'bare fdatasync':16}{statistics.median(found.fdatasync_us):14,.0f}"


def candidate_content(found: Comparison) -> dict[str, dict[str, float]]:
    """Return what is written of each candidate."""
    rows: dict[str, dict[str, float]] = {
        name: {
            "p50_us": found.p50_us(name),
            "p99_us": statistics.median(turns.p99_us),
            "orders_per_s": round(found.orders_per_s(name), 1),
            "p50_us_at_64": statistics.median(turns.p50_at_many_us),
            "processor_s_per_1000_orders": round(statistics.median(turns.processor_s_per_1000), 4),
            "orders": turns.orders,
        }
        for name, turns in found.found.items()
    }
    return {**rows, "bare fdatasync": {"p50_us": round(statistics.median(found.fdatasync_us), 1)}}
