"""What a load test ran on: figures without it say nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from rig.bare_disk import file_system

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("uvicorn", "uvloop", "httptools", "httpx", "fastapi", "sqlalchemy", "websockets", "msgspec")


def machine(folder: Path) -> dict[str, str | int]:
    """Return processor, cores, memory, kernel and the file system of a folder."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
        "file_system": file_system(folder),
        "load_average_before": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """Return the versions of what was measured; an empty text where a program does not tell."""
    found = {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
    found["nginx"] = _first_match(r"nginx/(\S+)", [nginx, "-v"])
    found["wrk"] = _first_match(r"wrk (\S+)", ["wrk", "-v"])
    found["mitmproxy"] = _first_match(r"Mitmproxy: (\S+)", [str(ROOT / ".venv/mitmproxy/bin/mitmdump"), "--version"])
    found["commit"] = _first_match(r"(\w+)", ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    return found


def _first_match(pattern: str, command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1] if match else ""
