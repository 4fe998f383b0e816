"""Frozen values that are made by the dozen for every order.

`@record(frozen=True, slots=True, kw_only=True)` is `@dataclass(...)` to the type checker, which refuses assignments to
fields. At run time the class is not frozen, because making a frozen dataclass costs four times as much: each field is
set through a call. Equality, hash, `replace` and `match` are those of a frozen dataclass.

For values of the order path only; everywhere else a plain frozen dataclass costs nothing that anybody would notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool, kw_only: bool):
        """Make a class as `dataclass` does. Raises TypeError unless all three are asked for."""
        if not (frozen and slots and kw_only):
            raise TypeError("a record is frozen, slotted and keyword-only")
        return dataclass(slots=True, kw_only=True, unsafe_hash=True)


__all__ = ["record"]
