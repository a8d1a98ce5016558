"""Load on a server of this machine: wrk where it is installed, else `loader`.

`@ID@` in a body stands for a number that no other request has, `@LINE@` for the next of the lines
that are given; every request has an Idempotency-Key of its own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
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
    told: tuple[str, ...] = ()
    """Of each 2xx answer, the text in the field that was asked for."""


@dataclass(frozen=True)
class Given:
    """What is special about a load."""

    lines: Sequence[str] = ()
    """Each is sent once; there are more than can be sent, or what follows the last one fails."""
    field: str = ""
    """Of the answers, for `Load.told`: the first text of this name."""


NOTHING = Given()


class FailedRequestsError(Exception):
    """Some requests weren't answered with a 2xx, or none was at all: the rate says nothing."""


def load(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    seconds: float,
    folder: Path,
    connections: int = CONNECTIONS,
    given: Given = NOTHING,
) -> Load:
    """POST the body over so many connections for `seconds`. FailedRequestsError."""
    measured = send(url, body, headers, seconds, folder, connections, given)
    if measured.failed or not measured.rate:
        raise FailedRequestsError(f"{measured.failed} requests to {url} failed, or none was done")
    return measured


def send(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    seconds: float,
    folder: Path,
    connections: int = CONNECTIONS,
    given: Given = NOTHING,
) -> Load:
    """The same, whatever is answered."""
    text = json.dumps(body, ensure_ascii=False)
    sent = {"Content-Type": "application/json", **headers}
    run = secrets.token_hex(8)
    if shutil.which("wrk"):
        script = _Script(folder / run, run, given)
        script.write(text, sent)
        return _wrk(url, seconds, script, connections)
    rate, p99_ms, failed, told = asyncio.run(
        loader.run(url, text, sent, seconds, connections, run, iter(given.lines), given.field)
    )
    return Load(rate, p99_ms, failed, told)


@dataclass(frozen=True)
class _Script:
    """What wrk runs, in a folder with the lines that it reads and what it writes of answers."""

    folder: Path
    run: str
    given: Given

    @property
    def file(self) -> Path:
        return self.folder / "load.lua"

    @property
    def told(self) -> Path:
        return self.folder / "told"

    def write(self, body: str, headers: Mapping[str, str]) -> None:
        self.folder.mkdir()
        lines = self.folder / "lines"
        lines.write_text("".join(f"{line}\n" for line in self.given.lines))
        values = {
            "parts": ", ".join(_lua(part) for part in body.split("@ID@")),
            "headers": "\n".join(f"wrk.headers[{_lua(k)}] = {_lua(v)}" for k, v in headers.items()),
            "run": self.run,
            "lines": _lua(str(lines)),
            "told": _lua(str(self.told)),
            "pattern": _lua(f'"{self.given.field}":"([^"]*)"'),
        }
        text = _SCRIPT % values + (_TELLING % values if self.given.field else "")
        self.file.write_text(text, encoding="utf-8")

    def read(self) -> tuple[str, ...]:
        return tuple(self.told.read_text().splitlines()) if self.told.exists() else ()


def _wrk(url: str, seconds: float, script: _Script, connections: int) -> Load:
    times = f"-d{max(1, round(seconds))}s"
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", times, "-s", str(script.file), url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(ran.stdout.rpartition("RESULT ")[2])
    return Load(found["rate"], found["p99"] / 1000, found["failed"], script.read())


def _lua(text: str) -> str:
    """A Lua string of any text."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


_SCRIPT = """
wrk.method = "POST"
%(headers)s
local parts = { %(parts)s }
local lines = {}
local number = 0
init = function()
  for line in io.lines(%(lines)s) do table.insert(lines, line) end
end
request = function()
  number = number + 1
  local id = "%(run)s-" .. number
  wrk.headers["Idempotency-Key"] = id
  local body = table.concat(parts, id)
  if lines[number] then body = body:gsub("@LINE@", lines[number]) end
  return wrk.format(nil, nil, nil, body)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"rate": %%f, "p99": %%f, "failed": %%d}',
    summary.requests / summary.duration * 1e6, latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""

_TELLING = """
local told
response = function(status, _headers, body)
  told = told or io.open(%(told)s, "w")
  if status < 300 then told:write(body:match(%(pattern)s), "\\n") end
end
"""
