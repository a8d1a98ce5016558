"""Schemathesis over real HTTP: requests made from the API document, good and bad ones.

This module is also what Schemathesis loads as its hooks: it puts ids that exist into half of the
good requests, since made-up ones would only ever be told that there is no such thing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import schemathesis
import yaml

from tests.hostile.conftest import Fortress

IDS = "FUZZING_IDS"
SCOPES = ("decide", "grant", "approve", "orders", "settle", "audit", "packs", "simulate", "admin")

CONFIGURATION = """
[checks]
# What a schema can't say (a line that the order lacks, an id that is unknown, a U+0000) is refused
# with one of the documented answers all the same.
positive_data_acceptance.expected-statuses = [
  "2xx", "400", "401", "403", "404", "406", "409", "410", "415", "422", "503",
]

[[operations]]
# `GET` at this address asks for the decision with the id `batch`.
include-path = "/v1/decisions/batch"
checks.allow_header_conformance.enabled = false
"""


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `told`: what Schemathesis printed."""

    passed: bool
    cases: int
    told: str


def operations(document: Path) -> list[str]:
    """The ids of all operations of an API document."""
    paths = yaml.load(document.read_text(), yaml.CSafeLoader)["paths"]
    return [
        operation["operationId"]
        for item in paths.values()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete")
    ]


def fuzz(fortress: Fortress, folder: Path, cases: int, *options: str) -> Outcome:
    """So many cases an operation, with every check on."""
    document, configuration = folder / "openapi.yaml", folder / "schemathesis.toml"
    document.write_bytes(fortress.send("GET", "/openapi.yaml").body)
    configuration.write_text(CONFIGURATION)
    report = folder / "report.json"
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(configuration)),
        *("run", str(document), "--url", f"http://127.0.0.1:{fortress.port}"),
        *("--header", f"Authorization: Bearer {fortress.key(*SCOPES)}"),
        *("--checks", "all", "--max-examples", str(cases), "--continue-on-failure", "--no-shrink"),
        *("--suppress-health-check", "all", "--generation-database", "none", "--no-color"),
        *("--warnings", "off", "--report", "json", "--report-json-path", str(report)),
        *options,
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": __name__,
        "PYTHONPATH": os.pathsep.join(sys.path),
        IDS: json.dumps(ids_of(fortress)),
    }
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    told = ended.stdout + ended.stderr
    return Outcome(ended.returncode == 0, count(report), told)


def count(report: Path) -> int:
    """How many cases were sent."""
    if not report.exists():
        return 0
    found = json.loads(report.read_text())
    return int(found["test_cases"]["generated"])


def ids_of(fortress: Fortress) -> dict[str, str]:
    """Things that are there to be asked for, by the names of path parameters."""
    key = fortress.key(*SCOPES)
    agent = {"id": "A-7", "role": "agent"}
    order, customer = str(uuid4()), str(uuid4())
    grant = fortress.granted(key, agent=agent, order__id=order, customer__id=customer)
    decision = fortress.decided(key, agent=agent)
    return {
        "decision_id": decision["decision_id"],
        "grant_id": grant["grant_id"],
        "order_id": order,
        "customer_id": customer,
        "policy_id": "shipping_delay",
        "record_id": decision["audit"]["record"],
        "index": "0",
    }


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Ids that exist, in half of the requests that are meant to be good."""
    if IDS not in os.environ or case.meta is None:
        return
    if case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    known = json.loads(os.environ[IDS])
    for name, value in (case.path_parameters or {}).items():
        if name in known and crc32(str(value).encode()) % 2:
            case.path_parameters[name] = known[name]
