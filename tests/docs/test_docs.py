"""The lists in docs/ and in the code are the same lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from watchdog.audit_world import AuditWorld
from watchdog.keepers import keeper_of

from trade_core.clock import ManualClock
from trade_core.money import format_decimal
from trade_core.settings import Settings
from trade_gateway.metrics import Metrics
from trade_gateway.policy import bounds
from trade_gateway.policy.limits import KEYS, parse_policy
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.settings import GatewaySettings
from trade_gateway.states import Fault, Holder
from trade_journal.log.rows import REQUEST_KINDS, RowKind
from trade_journal.tables import TABLES
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.writer.writer_settings import JournalWriterSettings
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.settings import ExecutorSettings
from trade_simulator.settings import SimulatorSettings
from trade_watchdog.actions.metrics import ActionMetrics
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.status import Status

ROOT = Path(__file__).resolve().parents[2]


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found is not None, f"no section {title}"
    return found[1]


def first_column(text: str) -> dict[str, list[str]]:
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.M)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Gateway", GatewaySettings),
        ("Journal writer", JournalWriterSettings),
        ("Journal shim", ShimSettings),
        ("Watchdog", WatchdogSettings),
        ("Kill executor", ExecutorSettings),
        ("Console", ConsoleSettings),
        ("Simulator", SimulatorSettings),
    ],
)
def test_settings_table_lists_every_setting_of_the_service(title: str, model: type[Settings]) -> None:
    table = first_column(section((ROOT / "docs/settings.md").read_text(), title))
    assert table.keys() == model.model_fields.keys()
    for name, field in model.model_fields.items():
        assert (table[name][0] == "required") == field.is_required(), name


def test_policy_example_in_the_docs_is_a_policy() -> None:
    example = re.search(r"```toml\n(.*?)```", section((ROOT / "docs/settings.md").read_text(), "Policy"), re.S)
    assert example is not None
    assert parse_policy(example[1].encode()).max_open_orders == 6


def test_policy_table_lists_every_key_with_its_bounds() -> None:
    table = first_column(section((ROOT / "docs/settings.md").read_text(), "Policy"))
    symbol_keys = {f"symbols.{key}" for key in ("category", "symbol", *bounds.SYMBOL_AMOUNTS)}
    plain = KEYS - {"symbols", "disaster_stop"}
    assert table.keys() == plain | symbol_keys | {"[[symbols]]", "[disaster_stop]", "disaster_stop.fraction"}
    amounts = {**bounds.MONEY, **bounds.MULTIPLES, **bounds.FRACTIONS}
    amounts |= {f"symbols.{key}": limits for key, limits in bounds.SYMBOL_AMOUNTS.items()}
    amounts["disaster_stop.fraction"] = bounds.DISASTER_STOP
    for key, (lowest, highest) in amounts.items():
        assert table[key][0] == f'`"{format_decimal(lowest)}"` to `"{format_decimal(highest)}"`', key
    for key, (least, most) in bounds.COUNTS.items():
        assert table[key][0] == f"{least} to {most}", key


def names_of(registry: CollectorRegistry) -> set[str]:
    names = set()
    for family in registry.collect():
        names.add(family.name + ("_total" if family.type == "counter" else ""))
    return names


def test_metrics_table_lists_every_metric_of_the_gateway() -> None:
    table = first_column(section((ROOT / "docs/metrics.md").read_text(), "Gateway"))
    assert table.keys() == names_of(Metrics().registry)


def test_metrics_table_lists_every_metric_of_the_watchdog() -> None:
    registry = CollectorRegistry()
    WatchdogMetrics(
        registry=registry,
        status=Status(),
        keeper=keeper_of(),
        auditor=AuditWorld().auditor,
        clock=ManualClock(),
    )
    ActionMetrics(registry)
    table = first_column(section((ROOT / "docs/metrics.md").read_text(), "Watchdog"))
    assert table.keys() == names_of(registry)


def test_metrics_table_lists_every_metric_of_the_executor() -> None:
    table = first_column(section((ROOT / "docs/metrics.md").read_text(), "Kill executor"))
    assert table.keys() == names_of(ExecutorMetrics().registry)


def test_metrics_table_lists_every_metric_of_the_console() -> None:
    table = first_column(section((ROOT / "docs/metrics.md").read_text(), "Console"))
    assert table.keys() == names_of(ConsoleMetrics().registry)


def test_states_page_lists_every_state_holder_and_fault() -> None:
    page = (ROOT / "docs/states.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \|", page, re.M)
    words = [name.strip("`") for name in rows if name not in {"state", "holder", "reason in `/state`"}]
    expected = [state.name for state in TradingState] + [holder.value for holder in Holder]
    assert words == expected + [fault.value for fault in Fault]


def test_decisions_index_lists_every_decision() -> None:
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\(([0-9]{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def links(page: Path) -> list[tuple[Path, str]]:
    """Give what a page links to in the repository: the file, and the heading in it or nothing."""
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in target]
    parts = [target.partition("#") for target in targets]
    return [((page.parent / file).resolve() if file else page, heading) for file, _, heading in parts]


def headings(page: Path) -> set[str]:
    """Give a page's headings as links name them: words in small letters, joined by hyphens, without signs."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=str)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target, heading in links(path):
        assert target.exists(), target
        assert not heading or heading in headings(target), f"{target}#{heading}"


def test_every_page_is_named_in_the_readme() -> None:
    named = {target for target, _ in links(ROOT / "README.md")}
    assert set((ROOT / "docs").glob("*.md")) <= named


def test_readme_commands_are_targets_of_the_makefile() -> None:
    commands = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert commands is not None
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert commands[1].split("\n")[:-1] == ["make demo", "make test"]
    assert {"demo", "test"} <= set(targets)


def test_journal_table_lists_every_kind_of_row_and_which_are_requests() -> None:
    table = first_column(section((ROOT / "docs/journal.md").read_text(), "Kinds"))
    assert table.keys() == {kind.value for kind in RowKind}
    assert {name for name, cells in table.items() if cells[0] == "yes"} == {kind.value for kind in REQUEST_KINDS}


def test_tables_for_people_are_listed_with_their_columns_and_kinds() -> None:
    table = first_column(section((ROOT / "docs/journal.md").read_text(), "Tables"))
    assert table.keys() == TABLES.keys()
    for name, (columns, made_of) in table.items():
        assert tuple(re.findall(r"`(\w+)`", columns)) == TABLES[name].columns, name
        named = set(re.findall(r"`([a-z_]+(?::[a-z_]+)?)`", made_of))
        assert all({kind.value, kind.value.split(":")[0]} & named for kind in TABLES[name].kinds), name
