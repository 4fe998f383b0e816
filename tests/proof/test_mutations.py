"""Each way to break a line, and what is left alone."""

from __future__ import annotations

import pytest
from proof.modules import PURE_CORE
from proof.mutate import ROOT
from proof.mutations import mutants_of


def changes(source: str) -> list[str]:
    made = mutants_of(source.encode())
    for mutant in made:
        compile(mutant.source, "mutant", "exec")
        assert mutant.source.count(b"\n") == source.count("\n")
    return [mutant.after for mutant in made]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["pass", "a <= b", "a >= b"]),
        ("x = a >= b", ["x = a > b", "x = a < b"]),
        ("x = a == b", ["x = a != b"]),
        ("x = a is  not b", ["x = a is b"]),
        ("x = (a) not in (b)", ["x = (a) in (b)"]),
        ("x = 0 <= a", ["x = 0 < a", "x = 0 > a", "x = 1 <= a", "x = (-1) <= a"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a // b", ["x = a * b"]),
        ("x += a", ["pass", "x -= a"]),
        ("x = a and b", ["x = True and b", "x = a and True"]),
        ("x = a or b", ["x = None or b", "x = a or None"]),
        ("x = a if b else c", ["x = a if True else c", "x = a if False else c"]),
        ("x = not a", ["x = a"]),
        ("x = -a", ["x = a"]),
        ("x = True", ["x = False"]),
        ("x = max(a, b)", ["x = min(a, b)"]),
        ("x = any(a)", ["x = all(a)"]),
        ("x = E.add(a, b)", ["x = E.subtract(a, b)"]),
        ("x = a.add(b)", []),
        ('x = Decimal("0.05")', ['x = Decimal("0.06")', 'x = Decimal("0.04")']),
        ('x = Decimal("1e-12")', ['x = Decimal("2e-12")', 'x = Decimal("0e-12")']),
        ("a.b = c", ["pass"]),
        ("a[b] = c", ["pass"]),
        ("a = b", []),
        ("raise a", ["pass"]),
        ("del a", ["pass"]),
        ("for x in a: f", ["for x in (): f", "for x in a: pass"]),
        ("while a: f", ["while False: f", "while a: pass"]),
        ("x = [y for y in a if b]", ["x = [y for y in a if True]", "x = [y for y in a if False]"]),
        ("try: a = b\nexcept A: c = d", ["except ImportWarning: c = d"]),
        ("try: a = b\nexcept (A, B): c = d", ["except (ImportWarning, B): c = d", "except (A, ImportWarning): c = d"]),
        ("for x in a:\n    break", ["for x in ():", "continue"]),
    ],
)
def test_mutants_of_a_line_are_exactly_these(source: str, expected: list[str]) -> None:
    assert sorted(changes(source)) == sorted(expected)


@pytest.mark.parametrize(
    "source",
    [
        '"""A page."""',
        "x = 'text'",
        "x = f'{a + 1} {b:.2f}'",
        "x: int | None = a",
        "def f(x: A | None) -> B | None: return x",
        "@dataclass(frozen=True)\nclass A: x: int",
        "assert_never(x + 1)",
        'x = Decimal("NaN")',
    ],
)
def test_mutants_leave_alone_what_nothing_hangs_on(source: str) -> None:
    assert changes(source) == []


def test_mutant_of_several_lines_moves_no_line() -> None:
    source = "if (\n    a\n    and b\n):\n    f(\n        x,\n    )\nelse:\n    c = 1\n"
    assert len(changes(source)) == 7


def test_mutant_knows_the_outermost_function_that_it_is_in() -> None:
    source = "A = 1\ndef f(x=2):\n    def g():\n        return 3\n    return g\n"
    source += "class C:\n    B = 4\n    def h(self):\n        return 5\n"
    functions = {mutant.line: mutant.function for mutant in mutants_of(source.encode())}
    assert functions == {1: None, 2: None, 4: "f", 7: None, 9: "C.h"}


@pytest.mark.slow  # compiles each module some hundred times; who changes a module judges it anew with `make mutate`
@pytest.mark.parametrize("module", PURE_CORE)
def test_mutants_of_the_pure_core_are_programs(module: str) -> None:
    raw = (ROOT / module).read_bytes()
    for mutant in mutants_of(raw):
        compile(mutant.source, module, "exec")
        assert mutant.source != raw
        assert mutant.before != mutant.after
