"""The benchmarks run, in their short form: what they measure on a busy machine is not judged, but that halts hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "loadtests/bench.py"
CANDIDATES = {"gateway", "nginx", "naive", "loader alone", "stub alone", "bare fdatasync"}
MEASURES = {
    "p50 at 1 connection / (nginx + bare fdatasync)",
    "orders/s at 64 / naive",
    "orders/s at 64 / nginx",
    "loader alone / nginx",
    "gateway's exchange stub alone / gateway",
    "WebSocket relay, added p50",
    "verify a journal",
    "watchdog dead to refusing, after the lease's end",
    "orders after an acknowledged halt",
    "halt effective, p50",
    "halt effective, longest",
    "halt acknowledged, p50",
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_bench_in_its_short_form_measures_everything_and_finds_halts_airtight(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    # mitmproxy is installed by `make bench` only.
    command = [sys.executable, BENCH, "--quick", "--without-mitmproxy", "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    measured = {item["name"]: item for item in report["measures"]}
    assert measured.keys() == MEASURES
    assert measured["orders after an acknowledged halt"]["value"] == 0
    assert report["candidates"].keys() == CANDIDATES
    assert all(row["p50_us"] > 0 for row in report["candidates"].values())
    assert {"cpu", "cores", "kernel", "file_system"} <= report["machine"].keys()
    assert "max_open_orders = 500" in report["policy"]
