from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from trade_core.errors import ConfigurationError
from trade_core.settings import MAX_SETTINGS_BYTES, Settings, load_settings, resolve_path, shown_settings


class Sample(Settings):
    name: str
    port: Annotated[int, Field(ge=1, le=65535)]


def load(folder: Path, text: str) -> Sample:
    path = folder / "sample.toml"
    path.write_text(text)
    return load_settings(path, Sample)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    return str(caught.value)


def test_settings_complete_file_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, 'name = "a"\nport = 1\n') == Sample(name="a", port=1)


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load(tmp_path, 'name = "a"\nport = 1\n')
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 2


def test_settings_unknown_key_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'name = "a"\nport = 1\nprot = 2\n')
    assert "sample.toml" in message
    assert "prot: is not a known setting" in message


def test_settings_missing_key_is_named(tmp_path: Path) -> None:
    assert "port: is missing" in refusal(tmp_path, 'name = "a"\n')


@pytest.mark.parametrize("value", ["0", "65536", "-1", '"80"', "1.0", "true", "nan"])
def test_settings_absurd_value_is_named_with_what_was_found(tmp_path: Path, value: str) -> None:
    message = refusal(tmp_path, f'name = "a"\nport = {value}\n')
    assert "port: " in message
    assert "found" in message


def test_settings_every_fault_is_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "port = 0\nprot = 1\n")
    assert all(part in message for part in ("name: is missing", "port: ", "prot: is not a known setting"))


def test_settings_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, f'name = "a"\nport = "{"x" * 5000}"\n')) < 500


@pytest.mark.parametrize("raw", [b"name = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_settings_that_are_not_toml_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "sample.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load_settings(path, Sample)


def test_settings_nested_too_deep_are_refused(tmp_path: Path) -> None:
    assert "is not TOML" in refusal(tmp_path, "a = " + "[" * 50_000)


def test_settings_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read"):
        load_settings(tmp_path / "nowhere.toml", Sample)


def test_settings_too_large_a_file_is_refused(tmp_path: Path) -> None:
    assert str(MAX_SETTINGS_BYTES) in refusal(tmp_path, "#" * (MAX_SETTINGS_BYTES + 1))


def test_resolve_path_takes_relative_paths_from_the_folder(tmp_path: Path) -> None:
    assert resolve_path("a/b", tmp_path) == tmp_path.resolve() / "a/b"


def test_resolve_path_keeps_absolute_paths(tmp_path: Path) -> None:
    assert resolve_path("/x/y", tmp_path) == Path("/x/y")


@pytest.mark.parametrize("value", ["", 1, None, "a\0b"])
def test_resolve_path_of_no_path_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="must be a path"):
        resolve_path(value, tmp_path)


class Shown(Settings):
    file: Path
    url: str
    port: int
    switch: bool
    share: Decimal
    user: int | None
    names: list[str]


def test_settings_shown_have_values_but_no_paths_or_addresses() -> None:
    values = {"file": Path("/home/me/secrets.json"), "url": "http://127.0.0.1:1", "port": 1, "switch": True}
    shown = shown_settings(Shown(**values, share=Decimal("0.5"), user=None, names=["a"]))
    assert (shown["port"], shown["switch"], shown["share"], shown["user"]) == ("1", "True", "0.5", "none")
    for name in ("file", "url", "names"):
        assert re.fullmatch(r"sha256:[0-9a-f]{16}", shown[name]), name
    assert shown["file"] != shown["url"]
    changed = shown_settings(Shown(**{**values, "port": 2}, share=Decimal("0.5"), user=None, names=["a"]))
    assert {name for name in shown if shown[name] != changed[name]} == {"port"}


def test_settings_shown_text_is_cut() -> None:
    assert len(shown_settings(Sample(name="a" * 500, port=1))["name"]) == 80
