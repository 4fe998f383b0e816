"""How many connections the system's limit of open files leaves room for.

Where the limit is lower than what a listener admits, idle connections would use up every file, and then neither the
exchange could be reached nor a file be opened.
"""

from __future__ import annotations

import resource

# For everything but the listeners' connections: journal, exchange, streams.
RESERVED_FILES = 256
FEWEST_CONNECTIONS = 16


def connections_within_limit(wanted: int) -> int:
    """Raise this process's limit of open files as far as it is needed, and return how many connections it permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + RESERVED_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(FEWEST_CONNECTIONS, min(wanted, soft - RESERVED_FILES))
