"""Frozen values that are made by the dozen for every order.

`@record(frozen=True, slots=True, kw_only=True)` is `@dataclass(...)` to the type checker, which refuses assignments
to fields. `kw_only=False` is for what one place makes: a name for each of a dozen fields costs a microsecond. At run
time the class is not frozen, because making a frozen dataclass costs four times as much: each field is set through a
call. Equality, hash, `replace` and `match` are those of a frozen dataclass.

For values of the order path only; everywhere else a plain frozen dataclass costs nothing that anybody would notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool, kw_only: bool):
        """Make a class as `dataclass` does. Raises TypeError unless it is asked to be frozen and slotted."""
        if not (frozen and slots):
            raise TypeError("a record is frozen and slotted")
        return dataclass(slots=True, kw_only=kw_only, unsafe_hash=True)


__all__ = ["record"]
