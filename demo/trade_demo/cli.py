"""The command `trade-demo`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence

from trade_core.errors import ConfigurationError
from trade_core.logs import configure_logging
from trade_demo.options import parse_options
from trade_demo.run import run

USAGE_REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0 when it showed what it should, 1 when not, 2 when it was asked for nonsense."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    configure_logging("trade-demo", level="WARNING")
    try:
        return asyncio.run(run(options))
    except ConfigurationError as error:
        logging.getLogger(__name__).error("%s", error)
        return USAGE_REFUSED


if __name__ == "__main__":
    sys.exit(main())
