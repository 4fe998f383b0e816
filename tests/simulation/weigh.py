"""How much memory the services hold: the sizes of everything that can be reached from them, but not from the world.

What the exchange remembers and what lies on the disks is not the services' own; it is left out by name.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Final

_SHARED: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, FrameType)


def weigh(roots: Iterable[object], *, beyond: Iterable[object]) -> int:
    """Return the bytes of all that can be reached from the roots; what is `beyond` is neither counted nor entered."""
    gc.collect()
    seen = {id(one) for one in beyond}
    waiting = [one for one in roots if id(one) not in seen]
    seen.update(id(one) for one in waiting)
    total = 0
    while waiting:
        one = waiting.pop()
        total += sys.getsizeof(one)
        for held in gc.get_referents(one):
            if id(held) not in seen and not isinstance(held, _SHARED):
                seen.add(id(held))
                waiting.append(held)
    return total
