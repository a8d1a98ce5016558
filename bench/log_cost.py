"""Decisions over HTTP with the log kept against the same without (`bench.unkept`).

Keeping it means: giving each record its place, building the tree, signing checkpoints, appending
them to a file. Two servers that differ in nothing else are asked in turns over 16 connections: on
SQLite with one worker, then on PostgreSQL with two; everything waits for the disk. The log has to
catch up after each measurement. It may take as long as its keeper pauses between two rounds; what
it takes longer is added to the time of the decisions, so that no work is left out.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench import made, postgres, service
from bench.load import load
from bench.measuring import Bench, Row, at_least, interleaved

_TARGET = 0.85
_PAUSE_SECONDS = 0.5


def measure(bench: Bench) -> list[Row]:
    with postgres.running() as cluster:
        return [
            _row(bench, "SQLite", None, None),
            _row(bench, "PostgreSQL", cluster.database(), cluster.database()),
        ]


def _row(bench: Bench, name: str, kept: str | None, unkept: str | None) -> Row:
    pack = service.pack_folder(bench.folder / "pack", made.fifty_questions())
    with ExitStack() as stack:

        def server(database: str | None, module: str) -> _Server:
            ours = service.set_up(bench.folder / f"{name}-{module}", pack, database)
            return _Server(
                bench, ours, stack.enter_context(ours.serving(module, pinned=False)).port
            )

        with_log = server(kept, "policy_engine")
        without = server(unkept, "bench.unkept")
        subjects = {"kept": with_log.settled_rate, "not kept": without.rate}
        for each in subjects.values():
            each()
        assert without.service.waiting(), "something keeps the log after all"
        found = interleaved(bench.rounds, subjects)
    what = f"decisions with the log kept, {name}"
    return at_least(what, found["kept"], "not kept", found["not kept"], _TARGET, "/s")


@dataclass(frozen=True)
class _Server:
    bench: Bench
    service: service.Service
    port: int

    def rate(self) -> float:
        """Decisions a second."""
        return load(
            f"http://127.0.0.1:{self.port}/v1/decisions",
            made.question_body(),
            self.service.headers(),
            self.bench.seconds,
            self.bench.folder,
        ).rate

    def settled_rate(self) -> float:
        """Decisions a second of the time until their log was done."""
        rate = self.rate()
        began = time.perf_counter()
        self.service.settle()
        late = time.perf_counter() - began - _PAUSE_SECONDS
        return rate * self.bench.seconds / (self.bench.seconds + max(0.0, late))
