"""Templates made into pages. Whatever they print is neutralised and escaped; no template can leave that out.

Control characters, terminal codes, direction marks and invisible characters are shown as escapes (see `neutralise`);
markup is escaped by Jinja; a text is cut at TEXT_CHARACTERS_MAX. Attributes are always quoted, and none holds a script
or a style.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trade_core.logs import neutralise
from trade_killswitch.console.curve import PathText

TEXT_CHARACTERS_MAX: Final = 600
_PATH: Final = re.compile(r"[MLZ0-9. -]*", re.ASCII)
STATIC: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def _printed(value: Any) -> Any:
    if isinstance(value, PathText):
        return Markup(value) if _PATH.fullmatch(value) else ""  # noqa: S704 - nothing but letters, digits, signs
    # Markup is what Jinja made itself, of parts that came through here before.
    return value if isinstance(value, Markup) else neutralise(str(value), limit=TEXT_CHARACTERS_MAX)


_TEMPLATES: Final = Environment(
    loader=PackageLoader("trade_killswitch.console"),
    autoescape=True,
    finalize=_printed,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def rendered(template: str, **content: Any) -> str:
    """Print a template, compiled at its first use."""
    return _TEMPLATES.get_template(template).render(**content)


def static_file(name: str) -> tuple[bytes, str] | None:
    """Return a file of `static/` with its media type; None for any other name."""
    media_type = STATIC.get(name)
    if media_type is None:
        return None
    return resources.files("trade_killswitch.console").joinpath("static", name).read_bytes(), media_type
