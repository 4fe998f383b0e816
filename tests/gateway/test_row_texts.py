"""Long texts fit into rows piece by piece, and nothing of them is lost."""

from __future__ import annotations

import base64

import pytest

from trade_gateway.row_texts import row_parts, warrant_parts


def test_warrant_parts_fit_a_row_and_join_again() -> None:
    parts = warrant_parts(b"x" * 2000)
    assert all(0 < len(part) <= 512 for part in parts)
    assert base64.b64decode("".join(parts)) == b"x" * 2000


@pytest.mark.parametrize(("characters", "parts"), [(0, 0), (1, 1), (512, 1), (513, 2), (1024, 2)])
def test_row_parts_are_as_few_as_can_be(characters: int, parts: int) -> None:
    text = "é" * characters
    assert len(row_parts(text)) == parts
    assert "".join(row_parts(text)) == text
