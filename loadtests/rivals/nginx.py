"""nginx twice: as an exchange that answers every order the same, and as a proxy that checks nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rig.children import HOST, Child, LoadTestFailed

# Debian keeps it where only root looks.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_ANSWER = (
    '{"retCode":0,"retMsg":"OK","result":{"orderId":"1321003749386327552","orderLinkId":""},'
    '"retExtInfo":{},"time":1672211918471}'
)
_COMMON = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {content}
}}
"""
_EXCHANGE = """
    server {{
        listen {host}:{port} backlog=512;
        location = /v5/order/create {{
            default_type application/json;
            add_header X-Trade-Environment SIMULATED;
            return 200 '{answer}';
        }}
        location = /status {{ stub_status; }}
    }}
"""
_PROXY = """
    upstream exchange {{ server {host}:{exchange_port}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {host}:{port} backlog=512;
        location / {{
            proxy_pass http://exchange;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""


def start_exchange(folder: Path, *, port: int) -> Child:
    """Start the exchange that answers every order the same."""
    return _start("nginx as the exchange", folder, port, _EXCHANGE.format(host=HOST, port=port, answer=_ANSWER))


def start_proxy(folder: Path, *, port: int, exchange_port: int) -> Child:
    """Start the proxy that passes everything."""
    return _start("nginx", folder, port, _PROXY.format(host=HOST, port=port, exchange_port=exchange_port))


def _start(name: str, folder: Path, port: int, content: str) -> Child:
    program = shutil.which("nginx", path=_PLACES)
    if program is None:
        raise LoadTestFailed("nginx is not installed: `make bench` installs it")
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_COMMON.format(folder=folder, content=content))
    child = Child(name, [program, "-c", str(config), "-e", str(folder / "error.log")], log=folder / "output.log")
    child.wait_for_port(port)
    return child
