"""A person's telephone: a webhook of alerts that takes nothing until it is switched on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Pager:
    """What it was told, and the switch."""

    def __init__(self) -> None:
        self.is_on = threading.Event()
        self.was_called = threading.Event()
        self.told: list[dict[str, Any]] = []
        self.url = ""

    def write_alerts_file(self, path: Path) -> Path:
        """Write the file that names this channel alone."""
        path.write_text(json.dumps({"channels": [{"kind": "webhook", "url": self.url}]}))
        path.chmod(0o600)
        return path


@contextmanager
def pager() -> Iterator[Pager]:
    """Listen on loopback; whoever calls while it is off hangs until he gives up, or until it is on."""
    made = Pager()

    class Call(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            made.was_called.set()
            made.is_on.wait()
            made.told.append(said)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Call)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.is_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
