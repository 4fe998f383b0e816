"""The list of the pure core is complete, and each module of it has tests of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from proof.modules import PURE_CORE, WHOLE_FOLDERS, all_tests

ROOT = Path(__file__).parents[2]
REACHING_OUT = {
    *("aiohttp", "httpx", "socket", "ssl", "urllib", "websockets"),
    *("os", "sqlalchemy", "sqlite3", "subprocess"),
    *("asyncio", "threading", "time"),
    *("random", "secrets"),
}
MAKES_KEYS = "core/trade_core/trust/printed_key.py"


@pytest.mark.parametrize("folder", WHOLE_FOLDERS)
def test_pure_core_lists_every_module_of_its_folders(folder: str) -> None:
    written = {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"}
    assert {module for module in PURE_CORE if module.rpartition("/")[0] == folder} == written


def test_pure_core_lists_only_files_that_are_there() -> None:
    assert [path for path in (*PURE_CORE, *all_tests()) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("module", PURE_CORE)
def test_pure_core_module_is_proved_by_its_mirrored_file_when_it_has_one(module: str) -> None:
    _, _, within = module.split("/", 2)
    folder = module.partition("/")[0]
    mirrored = Path("tests", folder, within)
    mirrored = mirrored.with_name(f"test_{mirrored.name}")
    assert PURE_CORE[module]
    if (ROOT / mirrored).is_file():
        assert str(mirrored) in PURE_CORE[module]


@pytest.mark.parametrize("module", PURE_CORE)
def test_pure_core_module_imports_no_clock_no_network_no_disk_and_no_chance(module: str) -> None:
    allowed = {"secrets"} if module == MAKES_KEYS else set()
    assert _imported(ROOT / module) & REACHING_OUT <= allowed


def _imported(path: Path) -> set[str]:
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name.name for node in imports if isinstance(node, ast.Import) for name in node.names]
    names += [str(node.module) for node in imports if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}
