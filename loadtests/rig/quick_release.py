"""Starts the gateway with the announcement of a release cut to nothing: `python quick_release.py --config FILE`.

A release takes effect a minute after it was announced, and no setting changes that. The load test of halts flips a
thousand times, so its gateway is started by this script. A halt goes its ordinary way.
"""

from __future__ import annotations

import sys

from trade_gateway import state_keeper
from trade_gateway.cli import main

if __name__ == "__main__":
    state_keeper.RELEASE_DELAY_S = 0
    sys.exit(main())
