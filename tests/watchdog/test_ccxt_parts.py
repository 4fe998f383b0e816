"""What of ccxt is imported, seen in a process of its own; and that it is ccxt's own all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trade_watchdog.ccxt_parts import exchange_class

SEEN = """
import sys
from trade_watchdog.ccxt_parts import errors, exchange_class

client = exchange_class("bybit")
assert exchange_class("bybit") is client
known = {name.split(".")[2] for name in sys.modules if name.startswith("ccxt.async_support.")}
assert known == {"base", "bybit"}, known
assert "ccxt" not in sys.modules

import ccxt.async_support

assert ccxt.async_support.bybit is client
assert ccxt.NetworkError is errors.NetworkError
assert issubclass(ccxt.async_support.bybit, ccxt.async_support.Exchange)
assert exchange_class("kraken") is ccxt.async_support.kraken
"""


def test_only_what_is_read_is_imported_and_the_rest_of_ccxt_can_follow() -> None:
    done = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


STREAMS = """
import sys
from trade_watchdog.ccxt_parts import exchange_class, streaming_class

client = streaming_class("bybit")
assert issubclass(client, exchange_class("bybit"))
known = {name for name in sys.modules if name.startswith("ccxt.pro") or name.startswith("ccxt.async_support.")}
assert {name for name in known if ".base" not in name} == {"ccxt.pro.bybit", "ccxt.async_support.bybit"}, known

import ccxt.pro

assert ccxt.pro.bybit is client is streaming_class("bybit")
assert issubclass(streaming_class("kraken"), ccxt.async_support.kraken)
"""


def test_streams_of_one_exchange_bring_none_of_the_others() -> None:
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_exchange_that_ccxt_does_not_know_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="no_such_exchange"):
        exchange_class("no_such_exchange")
