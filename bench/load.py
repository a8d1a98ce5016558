"""Load on a server of this machine: wrk where it is installed, else `loader`.

`@ID@` in a body stands for a number that no other request has; every request has an
Idempotency-Key of its own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import loader

CONNECTIONS = 16


@dataclass(frozen=True)
class Load:
    """What came of it. A request that wasn't answered with a 2xx counts as failed."""

    rate: float
    """Answers a second."""
    p99_ms: float
    failed: int


class FailedRequestsError(Exception):
    """Some requests weren't answered with a 2xx, or none was at all: the rate says nothing."""


def load(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    seconds: float,
    folder: Path,
    connections: int = CONNECTIONS,
) -> Load:
    """POST the body over so many connections for `seconds`."""
    text = json.dumps(body, ensure_ascii=False)
    sent = {"Content-Type": "application/json", **headers}
    run = secrets.token_hex(4)
    if shutil.which("wrk"):
        measured = _wrk(url, seconds, _script(folder, run, text, sent), connections)
    else:
        rate, p99_ms, failed = asyncio.run(loader.run(url, text, sent, seconds, connections, run))
        measured = Load(rate, p99_ms, failed)
    if measured.failed or not measured.rate:
        raise FailedRequestsError(f"{measured.failed} requests to {url} failed, or none was done")
    return measured


def _script(folder: Path, run: str, body: str, headers: Mapping[str, str]) -> Path:
    script = folder / f"{run}.lua"
    parts = ", ".join(_lua(part) for part in body.split("@ID@"))
    lines = "\n".join(f"wrk.headers[{_lua(k)}] = {_lua(v)}" for k, v in headers.items())
    script.write_text(_SCRIPT % {"headers": lines, "parts": parts, "run": run}, encoding="utf-8")
    return script


def _wrk(url: str, seconds: float, script: Path, connections: int) -> Load:
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(ran.stdout.rpartition("RESULT ")[2])
    return Load(found["rate"], found["p99"] / 1000, found["failed"])


def _lua(text: str) -> str:
    """A Lua string of any text."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


_SCRIPT = """
wrk.method = "POST"
%(headers)s
local parts = { %(parts)s }
local number = 0
request = function()
  number = number + 1
  local id = "%(run)s-" .. number
  wrk.headers["Idempotency-Key"] = id
  return wrk.format(nil, nil, nil, table.concat(parts, id))
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"rate": %%f, "p99": %%f, "failed": %%d}',
    summary.requests / summary.duration * 1e6, latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
