"""The commands that README and pages print: out of blocks marked `sh`, and out of running text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)  # in a list it stands further right
_INLINE = re.compile(r"`([^`]+)`")
_PREFIXES = re.compile(r"(?:\.venv|/opt/trade)/[a-z-]+/bin/")


@dataclass(frozen=True, slots=True)
class Printed:
    """One line that a person would paste, as it is printed, and the page where it stands."""

    page: str
    line: str

    def words(self) -> list[str]:
        """Cut it as a shell does, without what is redirected, and call a command by its name alone."""
        words = shlex.split(_PREFIXES.sub("", self.line), comments=True)
        return words[: words.index(">")] if ">" in words else words


def language_blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Give each code block of a page with the language it is marked by."""
    yield from _BLOCK.findall(page.read_text(encoding="utf-8"))


def printed_lines(page: Path) -> Iterator[Printed]:
    """Give each command of the page's shell blocks; lines that end with a backslash go on, comments are none."""
    for language, text in language_blocks(page):
        if language != "sh":
            continue
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield Printed(str(page.relative_to(ROOT)), line.strip())


def inline_commands(page: Path) -> Iterator[Printed]:
    """Give each `trade-...` command that stands in the text with at least one word behind it."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for found in _INLINE.findall(text):
        one = _PREFIXES.sub("", " ".join(found.split()))
        if re.match(r"(?:sudo -u \S+ )?trade-[a-z-]+ \S", one):
            yield Printed(str(page.relative_to(ROOT)), re.sub(r"^sudo -u \S+ ", "", one))
