"""A service that answers something else than a journal is named, and never ends in a traceback or without an end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from journal.writing import KEYS, SIGNER

from trade_journal import listener_source
from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, main
from trade_journal.errors import JournalRefused, JournalUnavailable
from trade_journal.listener_source import ListenerSource
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.tree import Frontier

ROWS = [
    Row(seq=seq, at_ns=seq, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"sent_at_ns": seq}) for seq in range(5)
]
NOTE = SIGNER.sign(Frontier().extended(leaf_hash(row_bytes(row)) for row in ROWS)).rendered().encode()
ITEMS = [rendered_row(row) for row in ROWS]
STATE = {"journal": {"size": 5}}
PAGED = {"rows": "as asked"}
GOOD: dict[str, Any] = {
    "/state": STATE,
    "/journal/rows": PAGED,
    "/journal/checkpoint": NOTE,
    "/journal/cosigned": b"",
}


FAILED = (404, 500)


class Service(ThreadingHTTPServer):
    """Answers each path with what a test puts there: bytes, a status, or what is rendered as JSON."""

    answers: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        answer = self.server.answers.get(path, 404)
        first = int(query.partition("from=")[2].partition("&")[0] or 0)
        limit = int(query.partition("limit=")[2] or 0)
        if answer is PAGED:
            answer = {"rows": ITEMS[first : first + limit]}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(answer if answer in FAILED else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Handler)
    server.answers = dict(GOOD)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "operator.json"
    path.write_text(json.dumps({"admin_token": "t"}))
    path.chmod(0o600)
    (tmp_path / "keys").write_text(KEYS.log.text())
    return path


def run(service: Service, token: Path, *command: str) -> int:
    return main([*command, "--journal", service.url, "--token-file", str(token)])


def commands(token: Path) -> list[list[str]]:
    keys = ["--keys", str(token.with_name("keys"))]
    return [
        ["verify", *keys],
        ["prove", "2", *keys],
        ["export", *keys, "--out", str(token.with_name("out.zip"))],
        ["tail"],
        ["stats"],
    ]


def test_journal_of_a_service_is_read(service: Service, token: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run(service, token, *command) for command in commands(token)] == [EXIT_GOOD] * 5
    assert "5 signed by the log" in capsys.readouterr().out


def test_tail_shows_the_last_rows_though_few_are_given_at_once(
    service: Service, token: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listener_source, "LISTENER_ROWS_MAX", 2)
    service.answers["/journal/rows"] = PAGED
    assert run(service, token, "tail", "--rows", "2", "--json") == EXIT_GOOD
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [3, 4]


FOREIGN: list[Any] = [
    b"",
    b"<html>",
    b"[" * 100_000,
    [],
    "text",
    7,
    None,
    {},
    {"journal": None, "rows": None},
    {"journal": [], "rows": {}},
    {"journal": {"size": -1}, "rows": [None]},
    {"journal": {"size": "5"}, "rows": ["text"]},
    {"journal": {"size": 1.5}, "rows": [{}]},
    {"journal": {"size": True}, "rows": [{**ITEMS[0], "seq": "0"}]},
    {"journal": {"size": 10**30}, "rows": [{**ITEMS[0], "kind": "order:eaten"}]},
    {"rows": [{**ITEMS[0], "fields": []}]},
    {"rows": [{**ITEMS[0], "fields": {"a": {"b": {"c": 1}}}}]},
    {"rows": [{**ITEMS[0], "at_ns": "0"}]},
    {"rows": [{**ITEMS[0], "actor": None}]},
    {"rows": [{**ITEMS[0], "leaf_hash": "xyz"}]},
    {"rows": ITEMS * 200},
]


@pytest.mark.parametrize("answer", [*FOREIGN, 500], ids=lambda answer: repr(answer)[:40])
def test_foreign_answers_are_named_with_their_path(
    service: Service, token: Path, capsys: pytest.CaptureFixture[str], answer: Any
) -> None:
    for path in ("/state", "/journal/rows"):
        service.answers = {**GOOD, path: answer}
        for command in commands(token):
            if path == "/state" and command[0] == "prove":
                continue  # does not ask
            assert run(service, token, *command) == EXIT_UNREADABLE, (path, command)
            assert f"trade-journal: {path}: " in capsys.readouterr().err


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"text", {}, 500])
def test_foreign_checkpoint_is_no_journal_of_the_keys(
    service: Service, token: Path, capsys: pytest.CaptureFixture[str], note: Any
) -> None:
    service.answers["/journal/checkpoint"] = note
    for command in commands(token)[:3]:
        assert run(service, token, *command) == EXIT_UNREADABLE
        assert "Traceback" not in capsys.readouterr().err


def test_same_rows_for_ever_are_not_read_for_ever(
    service: Service, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers["/journal/rows"] = {"rows": list(ITEMS)}
    assert run(service, token, "stats") == EXIT_UNREADABLE
    assert "rows that nobody asked for, or twice, when asked from row 5" in capsys.readouterr().err


def test_rows_that_are_said_to_be_there_and_are_not_end_the_search(
    service: Service, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers |= {"/state": {"journal": {"size": 2**53 - 1}}, "/journal/rows": {"rows": []}}
    assert run(service, token, "tail") == EXIT_TAMPERED
    assert "are missing" in capsys.readouterr().err


def test_answer_beyond_all_bounds_is_not_held(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_source, "ANSWER_BYTES_MAX", len(NOTE) - 1)
    source = ListenerSource(service.url, token="t")
    with pytest.raises(JournalRefused, match=f"/journal/checkpoint: answered more than {len(NOTE) - 1} bytes"):
        source.checkpoints()
    source.close()


@pytest.mark.parametrize(
    ("url", "token"), [("http://[::1", "t"), ("http://127.0.0.1:99999", "t"), ("http://127.0.0.1:1", "t\n\u20ac")]
)
def test_url_or_token_that_is_none_is_said(url: str, token: str) -> None:
    with pytest.raises((JournalRefused, JournalUnavailable)):
        ListenerSource(url, token=token).size()
