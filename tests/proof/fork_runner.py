"""Judges mutants of one module, each in a forked copy of a process in which everything is imported already.

Run in a scratch copy, never in the work tree: `python -m proof.fork_runner MODULE RESULTS TEST...`, with the copy's
components on PYTHONPATH. A mutant inside a function takes its place after the tests are collected, and meets only the
tests that enter the function. A mutant at module level, and every mutant that survived the quick way, is judged the
slow way: collected anew with the mutated source, against all tests of its module. So only the slow way lets a mutant
survive, and what the quick way cannot see (code that runs while modules are imported) is not missed.

A mutant is killed by a failed test or error, or times out; it survives when every test passes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import inspect
import json
import os
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest
from proof.mutations import Mutant, mutants_of

EXAMPLES = 60
"""Examples of each random test, with the seed that the test's name gives (derandomised); no shrinking of failures."""
CPU_S = 20
SLOWER = 10
"""A mutant whose tests need this many times the processor time they need otherwise, and CPU_S at most, times out."""
BASELINE_S = 120
WALL_S = 300
MEMORY_BYTES = 3 * 1024**3
PASSED, FAILED, BROKEN = 0, 1, 2
_PYTEST = (
    *("-q", "-x", "--tb=no", "--capture=no", "-m", "not slow"),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # what a fork has inherited is imported already
)


def in_child(work: Callable[[], int], *, cpu_s: int, wall_s: int = WALL_S) -> int | None:
    """Run work in a fork with bounded time, memory and no output. Returns its exit code, or None at a timeout."""
    process = os.fork()
    if process == 0:
        code = FAILED
        try:
            _confine(cpu_s)
            code = work()
        except BaseException:  # noqa: BLE001 - whatever a mutant raises is its end, and never the runner's
            code = FAILED
        finally:
            os._exit(code)
    handle = os.pidfd_open(process)
    try:
        is_over = bool(select.select([handle], [], [], wall_s)[0])
        if not is_over:
            os.killpg(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    finally:
        os.close(handle)
    if not is_over or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return None
    return os.waitstatus_to_exitcode(status)


def _confine(cpu_s: int) -> None:
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a mutant's source to whoever imports the module."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        self._name, self._path, self._source = name, path, source
        self.is_loaded = False

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self.is_loaded = True
        exec(compile(self._source, self._path, "exec"), module.__dict__)


class Verdict:
    """Pytest plugin: fewer random examples, and whether anything failed."""

    def __init__(self) -> None:
        self.has_failed = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            test = getattr(item, "obj", None)
            known = getattr(test, "_hypothesis_internal_use_settings", None)
            if known is not None:
                getattr(test, "__func__", test)._hypothesis_internal_use_settings = _calm(known)
            owner: Any = getattr(item, "cls", None)
            if isinstance(getattr(owner, "settings", None), hypothesis.settings):  # a stateful test
                owner.settings = _calm(owner.settings)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.has_failed = self.has_failed or report.failed


def _calm(known: hypothesis.settings) -> hypothesis.settings:
    """Let a random test try few examples, always the same, and not look for the smallest one that fails."""
    return hypothesis.settings(
        known,
        max_examples=min(known.max_examples, EXAMPLES),
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )


def run_all(tests: Sequence[str]) -> int:
    """Collect and run tests in this process."""
    verdict = Verdict()
    code = pytest.main([*_PYTEST, *tests], plugins=[verdict])
    return PASSED if code == pytest.ExitCode.OK and not verdict.has_failed else FAILED


class QuickWay(Verdict):
    """Pytest plugin that takes the place of the test loop: once as it is, then once a mutant."""

    def __init__(
        self,
        module: Path,
        mutants: list[tuple[int, Mutant]],
        tell: Callable[[int, str, str], None],
        *,
        cpu_s: int,
    ) -> None:
        super().__init__()
        self._cpu_s = cpu_s
        self._module = module.resolve()
        self._mutants = mutants
        self._tell = tell
        self._session: pytest.Session
        self._names = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise RuntimeError("the tests cannot be collected")
        self._session = session
        entered, seconds = self._baseline()
        functions = _live_functions(str(self._module))
        original = compile(self._module.read_bytes(), str(self._module), "exec")
        gc.freeze()  # a collection in a fork would copy all that is shared with this process
        order = sorted(range(len(session.items)), key=lambda index: seconds[index])
        for number, mutant in self._mutants:
            chosen = [index for index in order if mutant.function in entered[index]]
            changed = list(_changed(original, compile(mutant.source, str(self._module), "exec")))
            if not changed or any(_key(was) not in functions for was, _ in changed):
                continue
            cpu_s = min(self._cpu_s, 2 + int(SLOWER * sum(seconds[index] for index in chosen)))
            killer = self._judge(chosen, cpu_s, [(functions[_key(was)], now) for was, now in changed])
            if killer is None:
                continue  # survived so far: the slow way decides
            order = [killer, *(index for index in order if index != killer)] if killer >= 0 else order
            self._tell(number, "killed" if killer >= 0 else "timed out", "" if killer < 0 else self._name(killer))
        return True

    def _name(self, index: int) -> str:
        return self._session.items[index].nodeid

    def _judge(self, chosen: list[int], cpu_s: int, patches: list[tuple[list[FunctionType], CodeType]]) -> int | None:
        """Return the test that killed, -1 at a timeout, None when none did."""
        told, tell = os.pipe()

        def work() -> int:
            for live, code in patches:
                for function in live:
                    function.__code__ = code
            for index in chosen:
                os.write(tell, b"%d\n" % index)
                self._run(index)
                if self.has_failed:
                    return FAILED
            return PASSED

        code = in_child(work, cpu_s=cpu_s)
        os.close(tell)
        with os.fdopen(told) as names:
            last = names.read().split()
        if code == PASSED:
            return None
        return -1 if code is None or not last else int(last[-1])

    def _run(self, index: int) -> None:
        item = self._session.items[index]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _baseline(self) -> tuple[list[set[str]], list[float]]:
        """Run every test once; return which functions of the module each enters, and how long it takes."""
        path, entered = str(self._module), set[str]()

        def profile(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename == path:
                entered.add(frame.f_code.co_qualname.partition(".<locals>")[0])

        def work() -> int:
            with file.open("w") as out:
                for index in range(len(self._session.items)):
                    entered.clear()
                    began = time.process_time()
                    threading.setprofile(profile)
                    sys.setprofile(profile)
                    self._run(index)
                    sys.setprofile(None)
                    print(json.dumps([sorted(entered), time.process_time() - began]), file=out)
            return FAILED if self.has_failed else PASSED

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "baseline")
            if in_child(work, cpu_s=BASELINE_S, wall_s=2 * BASELINE_S) != PASSED:
                raise RuntimeError("the tests fail on the code as it is")
            said = [json.loads(line) for line in file.read_text().splitlines()]
        return [set(names) for names, _ in said], [seconds for _, seconds in said]


def _changed(original: CodeType, mutated: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield the outermost functions whose code differs, before and after."""
    befores, afters = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (original, mutated))
    for before, after in zip(befores, afters, strict=True):
        if before.co_flags & inspect.CO_OPTIMIZED == 0:  # the body of a class
            yield from _changed(before, after)
        elif before != after:
            yield before, after


def _live_functions(path: str) -> dict[tuple[str, int], list[FunctionType]]:
    found: dict[tuple[str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename == path:
            found.setdefault(_key(thing.__code__), []).append(thing)
    return found


def _key(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def judge_module(module: str, results: Path, tests: Sequence[str], *, cpu_s: int) -> None:
    """Judge every mutant of a module that has no verdict in `results` yet, and write one there."""
    raw = Path(module).read_bytes()
    known = {json.loads(line)["number"] for line in results.read_text().splitlines()} if results.exists() else set()

    def tell(number: int, verdict: str, by: str) -> None:
        known.add(number)
        with results.open("a") as out:
            print(json.dumps({"number": number, "verdict": verdict, "by": by}), file=out)

    mutants = list(enumerate(mutants_of(raw)))
    quick = [(n, m) for n, m in mutants if n not in known and m.function is not None]
    warm = _judge_quickly(module, quick, results, tests, cpu_s=cpu_s)
    known |= {json.loads(line)["number"] for line in results.read_text().splitlines()} if results.exists() else set()
    for name in warm:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if _judge_slowly(module, raw, tests, cpu_s=BASELINE_S) != "survived":
        raise SystemExit(f"{module}: its tests do not pass on the code as it is")
    for number, mutant in mutants:
        if number not in known:
            tell(number, _judge_slowly(module, mutant.source, tests, cpu_s=cpu_s), "")


def _judge_quickly(
    module: str, mutants: list[tuple[int, Mutant]], results: Path, tests: Sequence[str], *, cpu_s: int
) -> list[str]:
    """Judge in a process of its own; return the foreign modules that it had imported."""

    def tell(number: int, verdict: str, by: str) -> None:
        with results.open("a") as out:
            print(json.dumps({"number": number, "verdict": verdict, "by": by}), file=out)

    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder, "imported")

        def work() -> int:
            quick = QuickWay(Path(module), mutants, tell, cpu_s=cpu_s)
            code = pytest.main([*_PYTEST, *tests], plugins=[quick])
            imported.write_text("\n".join(name for name, module in sys.modules.items() if _is_foreign(module)))
            return PASSED if code == pytest.ExitCode.OK else FAILED

        process = os.fork()
        if process == 0:
            code = BROKEN
            try:
                os.dup2(os.open(os.devnull, os.O_RDWR), 1)
                code = work()
            except BaseException:  # noqa: BLE001 - said on stderr, and the exit code tells
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        if os.waitstatus_to_exitcode(status) != PASSED:
            raise SystemExit(f"{module}: its tests do not pass on the code as it is")
        return [name for name in imported.read_text().split() if "pytest" not in name]


def _is_foreign(module: ModuleType) -> bool:
    """Tell whether a module belongs to the interpreter or the environment: nothing that imports the mutant may stay."""
    file = getattr(module, "__file__", None)
    return file is not None and ("site-packages" in file or file.startswith(sys.base_prefix))


def _judge_slowly(module: str, source: bytes, tests: Sequence[str], *, cpu_s: int) -> str:
    name = module.partition("/")[2].removesuffix(".py").replace("/", ".")

    def work() -> int:
        sys.meta_path.insert(0, mutated := MutatedModule(name, str(Path(module).resolve()), source))
        verdict = run_all(tests)
        return verdict if mutated.is_loaded else BROKEN

    code = in_child(work, cpu_s=3 * cpu_s)
    if code == BROKEN:
        raise SystemExit(f"{module}: its tests do not import it")
    return {PASSED: "survived", None: "timed out"}.get(code, "killed")


def main() -> None:
    """Judge the mutants of one module of the scratch copy that is the working folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "module",
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--cpu-s", type=int, default=CPU_S, help="after this much processor time a mutant is timed out")
    arguments = parser.parse_args()
    judge_module(arguments.module, arguments.results, arguments.tests, cpu_s=arguments.cpu_s)


if __name__ == "__main__":
    main()
