"""A real Prometheus reads what the services expose."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest
from integration.stack import Stack, wait_until
from ports import free_port

pytestmark = pytest.mark.slow


def test_promtool_finds_no_fault_in_the_gateway_s_metrics(stack: Stack) -> None:
    text = stack.admin.get("/metrics").text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    faults = [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("trade_")]
    assert not faults


def test_prometheus_scrapes_the_gateway(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    target = httpx.URL(stack.gateway["admin"])
    config = {
        "scrape_configs": [
            {
                "job_name": "gateway",
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "authorization": {"credentials": stack.gateway["admin_token"]},
                "static_configs": [{"targets": [f"{target.host}:{target.port}"]}],
            }
        ]
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def scraped() -> list[str]:
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{port}/api/v1/query", params={"query": "trade_gateway_trading_state"}, timeout=2
            )
        except httpx.HTTPError:
            return []
        if answer.status_code != 200:  # it listens before it is ready
            return []
        return [item["value"][1] for item in answer.json()["data"]["result"]]

    try:
        assert wait_until(scraped, within_s=30, what="a scrape") == ["0"]
    finally:
        server.terminate()
        server.wait(timeout=10)
