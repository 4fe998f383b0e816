"""docs/listeners.md against the routes of the three listeners."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from trade_core.secrets import Secret
from trade_gateway.admin import admin_app as gateway_app
from trade_killswitch.socket_app import socket_app
from trade_watchdog.admin import admin_app as watchdog_app

NOTHING: Any = None
PAGE = Path(__file__).parents[2] / "docs/listeners.md"


def gateway() -> FastAPI:
    return gateway_app(NOTHING, tokens={}, registry=CollectorRegistry())


def watchdog() -> FastAPI:
    keeper: Any = SimpleNamespace(history=SimpleNamespace(journal=None, incidents=None))
    return watchdog_app(
        status=NOTHING,
        keeper=keeper,
        auditor=NOTHING,
        rings=NOTHING,
        gateway=NOTHING,
        token=Secret("x"),
        announce_token=None,
        registry=CollectorRegistry(),
        clock=NOTHING,
    )


def executor() -> FastAPI:
    return socket_app(NOTHING, registry=CollectorRegistry(), roles={}, on_refusal=lambda _code: None)


def routes(app: FastAPI) -> set[str]:
    found = set()
    for route in app.routes:
        methods: Any = getattr(route, "methods", None) or ()
        found |= {f"{method} {getattr(route, 'path', '')}" for method in methods if method != "HEAD"}
    return found


def listed(column: int) -> set[str]:
    lines = PAGE.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`") for row in rows if row[column]}


@pytest.mark.parametrize(("column", "app"), [(1, gateway()), (2, watchdog()), (3, executor())])
def test_table_lists_every_request_that_a_listener_takes(column: int, app: FastAPI) -> None:
    assert listed(column) == routes(app)


ADMIN = {"/healthz", "/readyz", "/state", "/metrics", "/journal/checkpoint", "/journal/rows", "/halt"}
PROMISED = {
    "gateway": ADMIN | {"/lease", "/release"},
    "watchdog": ADMIN | {"/ack"},
    "executor": {"/kill", "/sweep", "/release", "/status", "/resume", "/journal/checkpoint", "/journal/rows"},
}


@pytest.mark.parametrize(("name", "app"), [("gateway", gateway()), ("watchdog", watchdog()), ("executor", executor())])
def test_listener_takes_what_others_rely_on(name: str, app: FastAPI) -> None:
    assert {route.partition(" ")[2] for route in routes(app)} >= PROMISED[name]
