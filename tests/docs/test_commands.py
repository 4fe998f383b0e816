"""Every command that README and pages print is one that there is, with options that it has."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from docs.pages import PAGES, ROOT, Printed, inline_commands, language_blocks, printed_lines

from trade_demo import options as demo
from trade_gateway import cli as gateway
from trade_journal import cli as journal
from trade_journal.writer import writer_cli as journal_writer
from trade_killswitch import cli as executor
from trade_killswitch import seal_command
from trade_killswitch.command import cli as kill
from trade_killswitch.console import cli as console
from trade_simulator import cli as simulator
from trade_simulator.security_key import command as security_key
from trade_watchdog import cli as watchdog

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "trade-console": console._parser,
    "trade-demo": demo._parser,
    "trade-gateway": gateway._parser,
    "trade-journal": journal._parser,
    "trade-journal-writer": journal_writer._parser,
    "trade-kill": kill._parser,
    "trade-kill-executor": executor._parser,
    "trade-security-key": security_key._parser,
    "trade-simulator": simulator._parser,
    "trade-watchdog": watchdog._parser,
}
OTHERS = {
    "make": "the Makefile's targets",
    "curl": "speaks to the executor's socket",
    "ls": "looks at files",
    "install": "sets a machine up",
    "systemd-sysusers": "sets a machine up",
    "systemd-tmpfiles": "sets a machine up",
    "systemctl": "sets a machine up",
    "ln": "sets a machine up",
    "locust": "a load test's own command, run by tests/loadtests",
}


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """Find the parser that judges a command line."""
    assert words[0] in PARSERS, f"there is no command {words[0]}"
    if words[:2] == ["trade-kill-executor", "seal"]:
        return seal_command._parser()
    return PARSERS[words[0]]()


def arguments_of(words: list[str]) -> list[str]:
    return words[2:] if words[:2] == ["trade-kill-executor", "seal"] else words[1:]


def named_options(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """List the options that a command has where the words lead to: its own and its subcommand's."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = next((word for word in words if not word.startswith("-")), "")
            if re.fullmatch(r"[a-z][a-z-]*", chosen):
                assert chosen in action.choices, f"{parser.prog} has no {chosen}"
                options |= named_options(action.choices[chosen], words[words.index(chosen) + 1 :])
    return options


def test_commands_are_those_that_are_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert PARSERS.keys() == scripts.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_block_with_a_command_is_marked_as_one(page: Path) -> None:
    for language, text in language_blocks(page):
        if language != "sh":
            assert not re.search(r"^(?:trade-[a-z-]+|curl|make|sudo) ", text, re.M), f"mark it sh: {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_line_of_a_block_is_a_command_that_there_is(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for printed in printed_lines(page):
        for part in printed.line.split(" && "):
            words = Printed(printed.page, part).words()
            name = words[0].rsplit("/", 1)[-1]
            if name in OTHERS:
                continue
            try:
                parser_of(words).parse_args(arguments_of(words))
            except SystemExit:
                pytest.fail(f"{printed.page}: {part}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_in_running_text_has_what_it_names(page: Path) -> None:
    for printed in inline_commands(page):
        words = shlex.split(printed.line)
        known = named_options(parser_of(words), arguments_of(words))
        for word in words[1:]:
            for option in word.split("/"):
                if option.startswith("--"):
                    assert option.partition("=")[0] in known, f"{printed.page}: {printed.line}: {option}"


def test_target_that_is_named_is_one_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= targets, f"{page.name}: {named - targets}"


def test_page_that_names_what_there_is_not_is_noticed() -> None:
    wrong = [["trade-gateway", "relese", "--draft"], ["trade-kil", "--status"]]
    for words in wrong:
        with pytest.raises(AssertionError):
            named_options(parser_of(words), arguments_of(words))
    assert "--revok" not in named_options(parser_of(["trade-kill"]), [])
    assert "--follow" not in named_options(parser_of(["trade-journal"]), ["verify"])
