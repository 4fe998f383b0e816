"""Halts and releases a saturated gateway many times: `python loadtests/halts.py --flips 1000`.

Ends with 1 when an order was sent after an acknowledged halt that did not name it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measures.halt_flips import Flips, flip_often
from rig.bench_policy import SYMBOLS
from rig.children import LoadTestFailed
from rig.deployment import Deployment
from rig.signed_orders import read_ladders

QUICK_RELEASE = Path(__file__).parent / "rig" / "quick_release.py"
_SHOWN_EVERY = 20


def run(*, flips: int, folder: Path) -> Flips:
    """Start a gateway, flip it, and end it. Raises LoadTestFailed."""
    deployment = Deployment(folder / "halts", launcher=QUICK_RELEASE)
    try:
        ladders = read_ladders(deployment.exchange_url, SYMBOLS)
        return flip_often(deployment, ladders, count=flips, folder=folder, advance=_show)
    finally:
        deployment.stop()


def described(found: Flips) -> str:
    """Say in one line what was found."""
    return (
        f"{found.count} halts, {len(found.late)} orders after an acknowledgement that did not name them; "
        f"effective after {found.effective_p50_ms:.2f} ms (median), {max(found.effective_ms):.2f} ms (longest); "
        f"{found.orders} orders arrived after a halt was asked for, {found.in_flight} were named as in flight"
    )


def _show(found: Flips) -> None:
    if found.count % _SHOWN_EVERY == 0:
        print(described(found), flush=True)


def main() -> int:
    """Run the flips and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000, help="how many halts (1000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run(flips=arguments.flips, folder=Path(folder))
        except LoadTestFailed as error:
            print(f"halts.py: {error}", file=sys.stderr)
            return 1
    print(described(found))
    return 1 if found.late else 0


if __name__ == "__main__":
    sys.exit(main())
