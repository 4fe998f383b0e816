"""Strict reading of parameters: query strings and JSON bodies become typed values, or a 10001 that names the field.

Unknown parameters are ignored, as the exchange does; a known one of the wrong type or form never is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_simulator.instruments import Category
from trade_simulator.rejections import parameter_error

# Categories of the exchange in which this one lists nothing.
UNLISTED_CATEGORIES = frozenset({"inverse", "option"})
MAX_QUERY_FIELDS = 64
MAX_TEXT_CHARACTERS = 4096
# A batch of twenty orders has 22 objects and lists.
MAX_JSON_CONTAINERS = 200
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
E = TypeVar("E", bound=StrEnum)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise parameter_error("duplicate key in the request body")
    return fields


def _no_constant(text: str) -> None:
    raise parameter_error(f"{text} is not a number")


def parse_json(raw: bytes) -> dict[str, Any]:
    """Parse a request body or frame: one JSON object, nothing nested without end. Raises Rejected 10001."""
    if raw.count(b"[") + raw.count(b"{") > MAX_JSON_CONTAINERS:
        raise parameter_error("the request body holds too many objects and lists")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise parameter_error("the request body is not JSON") from error
    if not isinstance(value, dict):
        raise parameter_error("the request body is not a JSON object")
    return cast("dict[str, Any]", value)


def parse_query(raw: bytes) -> dict[str, Any]:
    """Parse a query string; blank values count as absent. Raises Rejected 10001."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS, errors="strict")
    except ValueError as error:
        raise parameter_error("the query string is malformed") from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise parameter_error("duplicate parameter in the query string")
    return {name: value for name, value in pairs if value}


class Fields:
    """The parameters of one request. Each reader raises Rejected 10001 that names the parameter."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> Any:
        """Give the value as it came, None when absent."""
        return self._values.get(name)

    def text(self, name: str, *, default: str = "") -> str:
        """Read an optional text."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
            raise parameter_error(f"{name} invalid")
        return value or default

    def required(self, name: str) -> str:
        """Read a text that must be there."""
        value = self.text(name)
        if not value:
            raise parameter_error(f"{name} is required")
        return value

    def decimal(self, name: str) -> Decimal | None:
        """Read an optional number given as text; the empty text is absence."""
        value = self.text(name)
        if not value:
            return None
        try:
            return parse_decimal(value)
        except InvalidNumber as error:
            raise parameter_error(f"{name} invalid") from error

    def required_decimal(self, name: str) -> Decimal:
        """Read a number given as text that must be there."""
        value = self.decimal(name)
        if value is None:
            raise parameter_error(f"{name} is required")
        return value

    def integer(self, name: str, *, default: int = 0) -> int:
        """Read an optional integer, as a JSON number or as text."""
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
            return value
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        raise parameter_error(f"{name} invalid")

    def optional_integer(self, name: str) -> int | None:
        """Read an optional integer; None when absent."""
        if self._values.get(name) in (None, ""):
            return None
        return self.integer(name)

    def limit(self, *, default: int, most: int) -> int:
        """Read `limit`: 1 up to the most that the endpoint gives."""
        value = self.integer("limit", default=default)
        if value < 1 or value > most:
            raise parameter_error("limit invalid")
        return value

    def boolean(self, name: str) -> bool:
        """Read an optional boolean: JSON true or false, nothing like it."""
        value = self._values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise parameter_error(f"{name} invalid")
        return value

    def choice(self, name: str, choices: type[E], *, default: E) -> E:
        """Read an optional member of a closed list."""
        return self.optional_choice(name, choices) or default

    def optional_choice(self, name: str, choices: type[E]) -> E | None:
        """Read an optional member of a closed list; None when absent."""
        value = self.text(name)
        if not value:
            return None
        try:
            return choices(value)
        except ValueError as error:
            raise parameter_error(f"{name} invalid") from error

    def required_choice(self, name: str, choices: type[E]) -> E:
        """Read a member of a closed list that must be there."""
        value = self.optional_choice(name, choices)
        if value is None:
            raise parameter_error(f"{name} is required")
        return value

    def category(self) -> Category:
        """Read `category`: this exchange lists spot and linear."""
        if not self.text("category"):
            raise parameter_error("category is required")
        return self.required_choice("category", Category)

    def symbol(self) -> str:
        """Read a symbol that must be there."""
        return self.required("symbol")

    def objects(self, name: str, *, most: int) -> list[Fields]:
        """Read a list of objects with at least one member and at most as many as given."""
        value = self._values.get(name)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise parameter_error(f"{name} invalid")
        if not all(isinstance(item, dict) for item in value):
            raise parameter_error(f"{name} invalid")
        return [Fields(item) for item in value]
