"""Breaks the pure core on a scratch copy and sees whether its tests notice: `make mutate`.

For each module of `modules` (all, or those whose names are given) every mutant of `mutations` is judged by
`fork_runner`. Verdicts are kept in build/mutation, one file a module, and a run that was ended goes on where it was;
a module whose source or tests have changed since is judged anew. Ends with a table and the survivors, and with exit
code 1 when one of them is not explained in docs/mutation.md. When all are, the source of each module that was judged is
noted in docs/mutation.sha256, as `sha256sum` writes it: a module that is otherwise today was not judged as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from proof.modules import PURE_CORE
from proof.mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/mutation.md"
SOURCES = ROOT / "docs/mutation.sha256"
COMPONENTS = ("core", "journal", "gateway", "watchdog", "killswitch")
COPIED = (
    *COMPONENTS,
    "tests/gateway",
    "tests/core",
    "tests/proof",
    "tests/watchdog",
    "tests/killswitch",
    "tests/ports.py",
    "tests/http_double.py",
    "tests/trust_parts.py",
    "docs",
    "pyproject.toml",
)
VERDICTS = ("killed", "timed out", "survived")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of the mutants of one module."""

    module: str
    verdicts: dict[str, int]
    survivors: tuple[Mutant, ...]


def main() -> int:
    """Break each line of the pure core and see a test fail."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", help="modules, as in decision or wire/render; all when none is named")
    parser.add_argument("--afresh", action="store_true", help="forget earlier verdicts")
    arguments = parser.parse_args()
    kept = ROOT / "build/mutation"
    kept.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trade-mutation-") as folder:
        scratch = Path(folder)
        _copy(scratch)
        judged, failed = [], []
        for module in chosen(arguments.names):
            results = kept / f"{module.replace('/', '.')}.jsonl"
            digest = _digest(scratch, module)
            if arguments.afresh or not _is_of(results, digest):
                results.write_text(json.dumps({"number": -1, "digest": digest}) + "\n")
            if not _run(scratch, module, results):
                failed.append(module)
                continue
            judged.append(read_results(scratch, module, results))
            print(_row(judged[-1]), flush=True)
        code = report(judged, seconds=round(time.monotonic() - began))
        if code == 0:
            note_sources({one.module: source_hash(scratch / one.module) for one in judged})
    for module in failed:
        print(f"not judged (see above): {module}")
    return 1 if failed else code


def chosen(names: Iterable[str]) -> list[str]:
    """Return the modules that the names mean. Raises SystemExit for a name that means none."""
    picked = []
    for name in names:
        found = [module for module in PURE_CORE if f"/{module}".endswith(f"/{name.removesuffix('.py')}.py")]
        if not found:
            raise SystemExit(f"no module of the pure core is called {name}")
        picked += found
    return picked or list(PURE_CORE)


def _copy(scratch: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def _digest(scratch: Path, module: str) -> str:
    hashed = hashlib.sha256()
    for path in (module, *PURE_CORE[module], "tests/proof/mutations.py"):
        hashed.update((scratch / path).read_bytes())
    return hashed.hexdigest()


def _is_of(results: Path, digest: str) -> bool:
    if not results.exists():
        return False
    first = results.read_text().partition("\n")[0]
    return bool(json.loads(first).get("digest") == digest)


def source_hash(path: Path) -> str:
    """Return the hash of a file as it is."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def noted_sources() -> dict[str, str]:
    """Return the hash of each module's source as it was judged last."""
    return {module: digest for digest, module in re.findall(r"^([0-9a-f]{64})  (\S+)$", SOURCES.read_text(), re.M)}


def note_sources(judged: Mapping[str, str]) -> None:
    """Note which sources were judged; modules that are no longer in the list are forgotten."""
    noted = {module: digest for module, digest in {**noted_sources(), **judged}.items() if module in PURE_CORE}
    SOURCES.write_text("".join(f"{noted[module]}  {module}\n" for module in sorted(noted)))


def _run(scratch: Path, module: str, results: Path) -> bool:
    paths = [str(scratch / name) for name in (*COMPONENTS, "tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "proof.fork_runner", module, str(results), *PURE_CORE[module]]
    return subprocess.run(command, cwd=scratch, env=environment, check=False).returncode == 0


def read_results(scratch: Path, module: str, results: Path) -> Judged:
    """Put verdicts and mutants together. Raises SystemExit when a mutant has no verdict."""
    mutants = mutants_of((scratch / module).read_bytes())
    lines = (json.loads(line) for line in results.read_text().splitlines())
    verdicts = {line["number"]: line["verdict"] for line in lines if line["number"] >= 0}
    if sorted(verdicts) != list(range(len(mutants))):
        raise SystemExit(f"{module}: {len(mutants)} mutants and {len(verdicts)} verdicts")
    return Judged(
        module=module,
        verdicts=dict(Counter(verdicts.values())),
        survivors=tuple(mutant for number, mutant in enumerate(mutants) if verdicts[number] == "survived"),
    )


def explained(page: str) -> Counter[tuple[str, str, str]]:
    """Return the survivors that the page explains: module, line before, line after; how often."""
    return Counter(re.findall(r"^- `(.+?)`: `(.+)` → `(.+?)`: .+$", page, re.M))


def report(judged: list[Judged], *, seconds: int) -> int:
    """Print the table and the survivors; return 1 when one is not explained."""
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {seconds} s\n")
    print("| Module | Mutants | Killed | Timed out | Survived |\n|---|---|---|---|---|")
    for one in judged:
        print(_row(one))
    known = explained(PAGE.read_text())
    unexplained = 0
    for one in judged:
        for mutant in one.survivors:
            key = (one.module, mutant.before, mutant.after)
            known[key] -= 1
            if known[key] < 0:
                unexplained += 1
                print(f"{one.module}:{mutant.line}: {mutant.kind}")
                print(f"- `{one.module}`: `{mutant.before}` → `{mutant.after}`: ")
    for (module, before, after), more in known.items():
        if more > 0 and module in {one.module for one in judged}:
            print(f"explained, and no survivor: {module}: {before} → {after}")
    print(f"\n{sum(len(one.survivors) for one in judged)} survived, {unexplained} of them not explained in {PAGE.name}")
    return 1 if unexplained else 0


def _row(one: Judged) -> str:
    figures = " | ".join(str(one.verdicts.get(verdict, 0)) for verdict in VERDICTS)
    return f"| {one.module} | {sum(one.verdicts.values())} | {figures} |"


if __name__ == "__main__":
    sys.exit(main())
