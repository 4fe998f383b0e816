"""What the page explains, and which modules a name means."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from proof.modules import PURE_CORE
from proof.mutate import (
    PAGE,
    ROOT,
    Judged,
    chosen,
    explained,
    note_sources,
    noted_sources,
    report,
    source_hash,
)
from proof.mutations import mutants_of

MODULE = "gateway/trade_gateway/policy/collar.py"
LINE = "- `{}`: `if a < 1:` → `if a <= 1:`: a is never 1.\n"


def judged(*, survived: int) -> Judged:
    survivors = mutants_of(b"if a < 1:\n    pass\n")[:survived]
    return Judged(module=MODULE, verdicts={"killed": 3, "survived": survived}, survivors=tuple(survivors))


def test_names_mean_modules_and_no_name_means_all() -> None:
    assert chosen(["collar", "wire/render", "canonical.py"]) == [
        MODULE,
        "gateway/trade_gateway/wire/render.py",
        "core/trade_core/canonical.py",
    ]
    assert chosen([]) == list(PURE_CORE)


@pytest.mark.parametrize("name", ["nothing", "llar", "policy"])
def test_name_of_no_module_is_refused(name: str) -> None:
    with pytest.raises(SystemExit, match=name):
        chosen([name])


def test_page_explains_a_survivor_by_its_module_and_both_lines() -> None:
    assert explained(f"Some text.\n{LINE.format(MODULE)}") == {(MODULE, "if a < 1:", "if a <= 1:"): 1}


def test_page_explains_nothing_without_a_reason() -> None:
    assert explained(f"- `{MODULE}`: `if a < 1:` → `if a <= 1:`: \n") == {}


@pytest.mark.parametrize("name", ["gateway/trade_gateway/policy/stops.py", MODULE])
def test_report_fails_for_a_survivor_that_the_page_does_not_explain(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "mutation.md"
    page.write_text(LINE.format(name) + f"- `{name}`: `if a < 1:` → `if True:`: always so.\n")
    monkeypatch.setattr("proof.mutate.PAGE", page)
    assert report([judged(survived=1)], seconds=1) == (name != MODULE)
    assert report([judged(survived=0)], seconds=1) == 0
    assert f"| {MODULE} | 4 | 3 | 0 | 1 |" in capsys.readouterr().out


def test_page_has_the_figures_of_every_module_but_the_open_ones_and_explains_each_survivor() -> None:
    page = PAGE.read_text()
    rows = re.findall(r"^\| (\S+\.py) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    still_open = re.findall(r"^- (\S+\.py)$", page, re.M)
    assert sorted([*(module for module, *_ in rows), *still_open]) == sorted(PURE_CORE)
    assert re.search(r"^Last run, \d{4}-\d\d-\d\d", page, re.M)
    reasons = Counter[str]()
    for (module, _, _), count in explained(page).items():
        reasons[module] += count
    for module, mutants, killed, timed_out, survived in rows:
        assert int(mutants) == int(killed) + int(timed_out) + int(survived)
        assert int(survived) == reasons[module], module


def table() -> dict[str, tuple[int, ...]]:
    rows = re.findall(r"^\| (\S+\.py) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.M)
    assert len(rows) == len({module for module, *_ in rows})
    return {module: tuple(map(int, figures)) for module, *figures in rows}


def test_page_adds_its_figures_up() -> None:
    sentence = r"(\d+) mutants of (\d+) modules: (\d+) killed, (\d+) timed out, and\s+(\d+) survived"
    (said,) = re.findall(sentence, PAGE.read_text())
    mutants, killed, timed_out, survived = map(sum, zip(*table().values(), strict=True))
    assert tuple(map(int, said)) == (mutants, len(table()), killed, timed_out, survived)


def test_page_has_figures_of_the_sources_of_today_and_names_the_modules_that_changed_since() -> None:
    noted, figures = noted_sources(), table()
    assert figures.keys() <= noted.keys(), "judge them, or name them as changed"
    stale = [module for module in figures if source_hash(ROOT / module) != noted[module]]
    assert stale == [], "changed since they were judged: run `make mutate` on them, or move them to the list of those"
    counted = {module: len(mutants_of((ROOT / module).read_bytes())) for module in figures}
    assert {module: count for module, count in counted.items() if count != figures[module][0]} == {}


def test_sources_that_were_judged_are_noted_beside_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = tmp_path / "mutation.sha256"
    monkeypatch.setattr("proof.mutate.SOURCES", sources)
    first, second, old, new = *sorted(PURE_CORE)[:2], "0" * 64, "1" * 64
    sources.write_text(f"{old}  {second}\n{old}  gone.py\n")
    note_sources({first: new})
    assert sources.read_text() == f"{new}  {first}\n{old}  {second}\n"
    note_sources({second: new})
    assert noted_sources() == {first: new, second: new}
