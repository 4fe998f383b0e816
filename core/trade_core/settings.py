"""Settings files: TOML, one typed class a service, and a refusal that names every key that is wrong."""

from __future__ import annotations

import hashlib
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trade_core.errors import ConfigurationError

MAX_SETTINGS_BYTES = 256 * 1024
_SHOWN_CHARACTERS = 80
_FINGERPRINT_DIGITS = 16
_URL_PASSWORD = re.compile(r"(://[^:/@]*):.*@")

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """The base of every settings class: frozen, strict types, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def load_settings(path: Path, model: type[S]) -> S:
    """Read a TOML file into a settings class; relative paths in it are taken from the file's own folder.

    Raises ConfigurationError that names the file and each unknown, missing or absurd key with the value found.
    """
    content = _read_toml(path)
    try:
        return model.model_validate(content, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise ConfigurationError(f"{path}: " + "; ".join(_complaints(error))) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_SETTINGS_BYTES:
        raise ConfigurationError(f"{path}: {len(raw)} bytes is more than the {MAX_SETTINGS_BYTES} allowed")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error


def _complaints(error: ValidationError) -> list[str]:
    complaints = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "(file)"
        match item["type"]:
            case "missing":
                complaints.append(f"{key}: is missing")
            case "extra_forbidden":
                complaints.append(f"{key}: is not a known setting")
            case _:
                found = _URL_PASSWORD.sub(r"\1:***@", ascii(item.get("input")))[:_SHOWN_CHARACTERS]
                complaints.append(f"{key}: {item['msg']} (found {found})")
    return complaints


def shown_settings(settings: Settings) -> dict[str, str]:
    """Say each setting as text for a row of the journal, so that a change is seen.

    Paths and URLs stand as a fingerprint (the first 16 hexadecimal digits of their SHA-256): rows tell nobody where
    things are. Secrets are no settings; their files are, and stand as paths do.
    """
    return {name: _shown(getattr(settings, name)) for name in type(settings).model_fields}


def _shown(value: object) -> str:
    text = str(value)
    if isinstance(value, str | bool | int | Decimal | None) and "://" not in text and "/" not in text:
        return "none" if value is None else text[:_SHOWN_CHARACTERS]
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_DIGITS]}"


def resolve_path(value: object, folder: Path) -> Path:
    """Turn a settings value into an absolute path, relative ones taken from the settings file's folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    return (folder / value).resolve()
