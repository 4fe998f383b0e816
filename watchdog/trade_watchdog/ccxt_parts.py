"""ccxt without the exchanges that nobody here reads.

`import ccxt` imports every exchange that it knows, two hundred modules: half a second of each start of the watchdog,
before its first lease. The module of one exchange needs none of the others; it needs the packages around it to be
there and to name the errors and the base class. Such packages stand in while a module is imported, and go again:
whoever imports ccxt afterwards gets all of it, with the classes that were imported here.

Worst case: a ccxt that needs more of its packages cannot be imported, and the watchdog does not start.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

_ROOT: Final = "ccxt"
_CLIENTS: Final = "ccxt.async_support"
_STREAMS: Final = "ccxt.pro"


def exchange_class(name: str) -> Any:
    """Return ccxt's asynchronous client class of an exchange. Raises ImportError when it has none of that name."""
    with _bare_packages():
        return getattr(importlib.import_module(f"{_CLIENTS}.{name}"), name)


def streaming_class(name: str) -> Any:
    """Return ccxt's client class of an exchange with its streams. Raises ImportError when it has none of that name."""
    client = exchange_class(name)
    with _bare_packages():
        # Its module looks for the class that it is made from in the packages around it.
        if not isinstance(getattr(sys.modules[_CLIENTS], name, None), type):
            vars(sys.modules[_CLIENTS])[name] = client
        vars(sys.modules[_ROOT])["async_support"] = sys.modules[_CLIENTS]
        return getattr(importlib.import_module(f"{_STREAMS}.{name}"), name)


@contextmanager
def _bare_packages() -> Iterator[None]:
    made = [package for package in (_ROOT, _CLIENTS, _STREAMS) if package not in sys.modules]
    try:
        for package in made:
            sys.modules[package] = _bare(package)
        if _ROOT in made:
            _name_the_base(sys.modules[_ROOT])
        yield
    finally:
        for package in made:
            sys.modules.pop(package, None)


def _name_the_base(root: ModuleType) -> None:
    """Give the package what its own modules import from it: the errors and the class above all clients."""
    vars(root).update(
        {name: value for name, value in vars(importlib.import_module(f"{_ROOT}.base.errors")).items() if name[0] != "_"}
    )
    vars(root)["Exchange"] = importlib.import_module(f"{_ROOT}.base.exchange").Exchange


def _bare(package: str) -> ModuleType:
    """Make a package that finds its modules and was not run."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ImportError(f"{package} is not installed")
    return importlib.util.module_from_spec(spec)


with _bare_packages():
    errors: Any = importlib.import_module(f"{_ROOT}.base.errors")
    """ccxt's own tree of errors."""
