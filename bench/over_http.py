"""Decisions over HTTP, each durable before it is answered.

A pack of 100 rules: 50 plans of 25 policies, two rules each. Cerbos holds the same hundred rules
as 50 actions. A caller of Cerbos who knows which plans may concern an incident asks about two
actions; one who doesn't asks about all fifty. The service is asked once, finds the two plans by
itself, works out amounts, caps and authority, and commits the decision with its record before it
answers. Cerbos writes its decision log to a file, behind the answer. 16 connections; SQLite with
full sync.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from bench import made, service
from bench.load import Load, load
from bench.measuring import Bench, Row, Sample, at_least, at_most, interleaved
from bench.peers import PeerMissingError


def measure(bench: Bench) -> list[Row]:
    pack = service.pack_folder(bench.folder / "pack", made.fifty_questions())
    ours = service.set_up(bench.folder / "service", pack)
    p99: dict[str, list[float]] = {}
    rows: list[Row] = []
    with ExitStack() as servers:

        def subject(name: str, url: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
            p99[name] = []
            return partial(_rate, bench, p99[name], url, body, headers)

        port = servers.enter_context(ours.serving()).port
        address = f"http://127.0.0.1:{port}/v1/decisions"
        subjects = {"ours": subject("ours", address, made.question_body(), ours.headers())}
        subjects["all"] = subject("all", address, made.question_body(made.TYPES), ours.headers())
        port = servers.enter_context(service.echo(bench.folder / "echo")).port
        address = f"http://127.0.0.1:{port}/v1/decisions"
        subjects["echo"] = subject("echo", address, made.question_body(), ours.headers())
        try:
            binary = bench.peers.cerbos()
            port = servers.enter_context(service.cerbos(binary, bench.folder / "cerbos")).port
            address = f"http://127.0.0.1:{port}/api/check/resources"
            for actions in (2, made.QUESTIONS):
                name = f"Cerbos, {actions} actions"
                subjects[name] = subject(name, address, made.cerbos_body(actions), {})
        except PeerMissingError as error:
            rows.append(Row("decisions against Cerbos", note=f"not measured: {error}"))
        for call in subjects.values():
            call()  # a first round that doesn't count: caches fill, code warms up
        for each in p99.values():
            each.clear()
        found = interleaved(bench.rounds, subjects)
    late = {name: Sample(tuple(each)) for name, each in p99.items()}
    return [*rows, *_rows(found, late)]


def _rows(found: dict[str, Sample], late: dict[str, Sample]) -> list[Row]:
    rows = [at_least("decisions", found["ours"], "bare echo", found["echo"], 0.45, "/s")]
    for actions, target in ((2, 1.0), (made.QUESTIONS, 2.0)):
        name = f"Cerbos, {actions} actions"
        if name in found:
            rows.append(at_least("decisions", found["ours"], name, found[name], target, "/s"))
            rows.append(at_most("p99", late["ours"], name, late[name], 1.0, "ms"))
    fifty = f"Cerbos, {made.QUESTIONS} actions"
    if fifty in found:
        what = "decisions with all fifty plans in the answer"
        ratio = found["all"].median / found[fifty].median
        rows.append(Row(what, f"{found['all']} /s", f"{fifty}: {found[fifty]} /s", ratio))
    return rows


def _rate(
    bench: Bench, late: list[float], url: str, body: dict[str, Any], headers: dict[str, str]
) -> float:
    measured: Load = load(url, body, headers, bench.seconds, bench.folder)
    late.append(measured.p99_ms)
    return measured.rate
