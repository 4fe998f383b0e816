"""The ways to break a line of the pure core, as splices into its source. Pure: source text in, mutants out.

A mutant changes one thing that a decision could be wrong by: a limit by one, a comparison at its edge, a guard that is
never or always taken, one condition of several, a call or an assignment left out, the greater for the smaller.

Left alone, because no behaviour that these tests are for hangs on them
- annotations, which are never evaluated; docstrings; the options of decorators (`frozen`, `slots`), which the type
  checker and the linter watch;
- the text of messages: strings, and whatever stands in an f-string;
- `assert_never`, which cannot be reached.
A mutant never moves a line, so that the code of every function that it does not touch stays the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "is": ("is not",),
    "is not": ("is",),
    "in": ("not in",),
    "not in": ("in",),
}
_ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "//": ("*",),
    "%": ("*",),
    "**": ("*",),
    "|": ("&",),
    "&": ("|",),
    "<<": (">>",),
    ">>": ("<<",),
}
_NAMES = {"max": "min", "min": "max", "any": "all", "all": "any"}
_METHODS = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
_COMPARISON = re.compile(rb"\bis\s+not\b|\bnot\s+in\b|<=|>=|==|!=|<|>|\bis\b|\bin\b")
_OPERATOR = re.compile(rb"//|\*\*|<<|>>|[-+*/%|&]")
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change. `function` is the qualified name of the outermost function around it, None at module level."""

    kind: str
    line: int
    function: str | None
    before: str
    after: str
    source: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splice:
    kind: str
    start: int
    end: int
    text: bytes


class _Source:
    """Source text with the byte offsets of its nodes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.tree = ast.parse(raw)
        self._line_starts = [0]
        for line in raw.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def replace(self, node: ast.AST, kind: str, text: str) -> _Splice:
        """Put an expression in another's place, over as many lines."""
        lines = node.end_lineno - node.lineno  # type: ignore[attr-defined]
        return _Splice(
            kind=kind,
            start=self.start(node),
            end=self.end(node),
            text=(f"({text}" + "\n" * lines + ")" if lines else text).encode(),
        )

    def between(self, left: ast.AST, right: ast.AST, token: re.Pattern[bytes]) -> tuple[int, int, str]:
        """Find the operator that stands between two operands."""
        found = token.search(self.raw, self.end(left), self.start(right))
        assert found is not None, ast.dump(left)
        return found.start(), found.end(), " ".join(found[0].decode().split())

    def line_of(self, offset: int) -> int:
        return self.raw.count(b"\n", 0, offset) + 1


def mutants_of(raw: bytes) -> list[Mutant]:
    """Return every mutant of a module's source, in the order of its lines."""
    source = _Source(raw)
    made = [
        _mutant(source, splice, function) for node, function in _nodes(source.tree) for splice in _splices(source, node)
    ]
    return sorted(made, key=lambda mutant: mutant.line)


def _mutant(source: _Source, splice: _Splice, function: str | None) -> Mutant:
    mutated = source.raw[: splice.start] + splice.text + source.raw[splice.end :]
    first, last = source.line_of(splice.start), source.line_of(splice.end)
    return Mutant(
        kind=splice.kind,
        line=first,
        function=function,
        before=_lines(source.raw, first, last),
        after=_lines(mutated, first, last),
        source=mutated,
    )


def _lines(raw: bytes, first: int, last: int) -> str:
    return " ".join(" ".join(raw.decode().splitlines()[first - 1 : last]).split())


def _nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, str | None]]:
    """Walk everything that runs, each with the function that it runs in."""
    waiting: list[tuple[ast.AST, str, str | None]] = [(tree, "", None)]
    while waiting:
        node, prefix, function = waiting.pop()
        yield node, function
        for name, child in _children(node):
            if isinstance(node, _FunctionNode) and function is None and name == "body":
                waiting.append((child, prefix, f"{prefix}{node.name}"))
            elif isinstance(node, ast.ClassDef) and function is None:
                waiting.append((child, f"{prefix}{node.name}.", function))
            else:
                waiting.append((child, prefix, function))


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    skipped = {"annotation", "returns", "decorator_list"}
    if isinstance(node, ast.JoinedStr) or _is_assert_never(node):
        return
    for name, value in ast.iter_fields(node):
        if name in skipped:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


def _is_assert_never(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "assert_never"


def _splices(source: _Source, node: ast.AST) -> Iterator[_Splice]:
    for kind, make in _MAKERS.items():
        if isinstance(node, kind):
            yield from make(source, node)


def _comparison(source: _Source, node: ast.Compare) -> Iterator[_Splice]:
    operands = [node.left, *node.comparators]
    for left, right in pairwise(operands):
        start, end, token = source.between(left, right, _COMPARISON)
        for other in _COMPARISONS[token]:
            yield _Splice(kind="comparison", start=start, end=end, text=other.encode())


def _binary(source: _Source, node: ast.BinOp | ast.AugAssign) -> Iterator[_Splice]:
    left, right = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
    start, end, token = source.between(left, right, _OPERATOR)
    for other in _ARITHMETIC[token]:
        yield _Splice(kind="arithmetic", start=start, end=end, text=other.encode())


def _operands(source: _Source, node: ast.BoolOp) -> Iterator[_Splice]:
    neutral = "True" if isinstance(node.op, ast.And) else "None"
    for operand in node.values:
        yield source.replace(operand, "operand", neutral)


def _condition(source: _Source, node: ast.If | ast.IfExp) -> Iterator[_Splice]:
    yield source.replace(node.test, "condition", "True")
    yield source.replace(node.test, "condition", "False")


def _loop(source: _Source, node: ast.While) -> Iterator[_Splice]:
    yield source.replace(node.test, "condition", "False")


def _filters(source: _Source, node: ast.comprehension) -> Iterator[_Splice]:
    for test in node.ifs:
        yield source.replace(test, "condition", "True")
        yield source.replace(test, "condition", "False")


def _guard(source: _Source, node: ast.match_case) -> Iterator[_Splice]:
    if node.guard is not None:
        yield source.replace(node.guard, "condition", "True")
        yield source.replace(node.guard, "condition", "False")


def _iteration(source: _Source, node: ast.For) -> Iterator[_Splice]:
    yield source.replace(node.iter, "no iteration", "()")


def _unary(source: _Source, node: ast.UnaryOp) -> Iterator[_Splice]:
    if isinstance(node.op, ast.Not | ast.USub):
        length = 3 if isinstance(node.op, ast.Not) else 1
        yield _Splice(kind="unary", start=source.start(node), end=source.start(node) + length, text=b" " * length)


def _constant(source: _Source, node: ast.Constant) -> Iterator[_Splice]:
    if isinstance(node.value, bool):
        yield source.replace(node, "boolean", str(not node.value))
    elif isinstance(node.value, int):
        yield source.replace(node, "number", str(node.value + 1))
        yield source.replace(node, "number", f"({node.value - 1})")


def _call(source: _Source, node: ast.Call) -> Iterator[_Splice]:
    match node:
        case ast.Call(func=ast.Name(id="Decimal"), args=[ast.Constant(value=str(text)) as number]):
            for other in _neighbours(text):
                yield source.replace(number, "number", f'"{other}"')
        case ast.Call(func=ast.Name(id=name) as called) if name in _NAMES:
            yield source.replace(called, "name", _NAMES[name])
        case ast.Call(func=ast.Attribute(attr=name) as called, args=[_, _]) if name in _METHODS:
            end = source.end(called)
            yield _Splice(kind="arithmetic", start=end - len(name), end=end, text=_METHODS[name].encode())


def _neighbours(text: str) -> tuple[str, ...]:
    """Return a number as text with its last digit before any exponent one up and one down."""
    found = re.fullmatch(r"([0-9]+)(?:(\.)([0-9]+))?(e.*)?", text)
    if found is None:
        return ()
    whole, point, fraction, exponent = (part or "" for part in found.groups())
    digits = len(whole + fraction)
    moved = (str(max(int(whole + fraction) + by, 0)).zfill(digits) for by in (1, -1))
    return tuple(
        f"{new[: len(new) - len(fraction)]}{point}{new[len(new) - len(fraction) :]}{exponent}" for new in moved
    )


def _statement(source: _Source, node: ast.stmt) -> Iterator[_Splice]:
    if _is_removable(node):
        lines = (node.end_lineno or node.lineno) - node.lineno
        yield _Splice(kind="left out", start=source.start(node), end=source.end(node), text=b"pass" + b"\n" * lines)


def _is_removable(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr():
            return not _is_assert_never(node)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign():
            return True
    return isinstance(node, ast.Raise | ast.Delete)


def _jump(source: _Source, node: ast.Break | ast.Continue) -> Iterator[_Splice]:
    yield source.replace(node, "jump", "continue" if isinstance(node, ast.Break) else "break")


def _handler(source: _Source, node: ast.ExceptHandler) -> Iterator[_Splice]:
    """Let an exception pass by its handler; a tuple loses one kind at a time."""
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    for kind in kinds:
        if kind is not None:
            yield source.replace(kind, "handler", "ImportWarning")


_MAKERS: dict[type[ast.AST], Callable[[_Source, Any], Iterator[_Splice]]] = {
    ast.Compare: _comparison,
    ast.BinOp: _binary,
    ast.AugAssign: _binary,
    ast.BoolOp: _operands,
    ast.If: _condition,
    ast.IfExp: _condition,
    ast.While: _loop,
    ast.comprehension: _filters,
    ast.match_case: _guard,
    ast.For: _iteration,
    ast.UnaryOp: _unary,
    ast.Constant: _constant,
    ast.Call: _call,
    ast.stmt: _statement,
    ast.Break: _jump,
    ast.Continue: _jump,
    ast.ExceptHandler: _handler,
}
