"""A pack activated every second, under the load of decisions.

16 connections ask for decisions, without a break; in every other measurement one of two packs of
100 rules is made the active one each second, by turns, over HTTP on the same server. Each time the
worker that decides reads the pack from the database, checks it and builds its engine anew, beside
its other work. SQLite with full sync, one worker.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from uuid import uuid4

from bench import made, service
from bench.load import Load, send
from bench.measuring import Bench, Row, Sample, interleaved

_EVERY_SECONDS = 1
_TARGET = 2


def measure(bench: Bench) -> list[Row]:
    first = made.fifty_questions()
    second = first | {"pack.yaml": "offer_at_most: 2\n"}
    folders = [
        service.pack_folder(bench.folder / name, files)
        for name, files in (("second", second), ("first", first))
    ]
    ours = service.set_up(bench.folder / "service", folders[0], scopes=("decide", "packs"))
    told = [ours.command("pack", "activate", str(each), "--format", "json") for each in folders]
    revisions = [json.loads(each)["revision"] for each in told]
    with ours.serving() as up:
        trial = _Trial(bench, ours, up.port, cycle(revisions))
        trial.alone()
        trial.with_activations()
        trial.loads.clear()
        trial.activated = 0
        found = interleaved(
            bench.rounds, {"alone": trial.alone, "reloading": trial.with_activations}
        )
    return [_failed(trial), _late(found["reloading"], found["alone"])]


@dataclass
class _Trial:
    """Loads on one server, and what came of them."""

    bench: Bench
    service: service.Service
    port: int
    revisions: Iterator[str]
    loads: list[Load] = field(default_factory=list)
    """Those with activations."""
    activated: int = 0
    refused: int = 0

    def alone(self) -> float:
        """The 99th percentile in ms."""
        return self._load().p99_ms

    def with_activations(self) -> float:
        """The same, while packs are activated."""
        with self._activating():
            self.loads.append(self._load())
        return self.loads[-1].p99_ms

    def _load(self) -> Load:
        address = f"http://127.0.0.1:{self.port}/v1/decisions"
        seconds, folder = self.bench.seconds, self.bench.folder
        return send(address, made.question_body(), self.service.headers(), seconds, folder)

    @contextmanager
    def _activating(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=partial(self._activate, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _activate(self, stop: threading.Event) -> None:
        # The first one half a second after the load began, so that a second is enough for one.
        pause = _EVERY_SECONDS / 2
        while not stop.wait(pause):
            pause = _EVERY_SECONDS
            if self._activated(next(self.revisions)):
                self.activated += 1
            else:
                self.refused += 1

    def _activated(self, revision: str) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
        body = json.dumps({"revision": revision})
        try:
            connection.request("POST", "/v1/packs/activate", body, headers | self.service.headers())
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _failed(trial: _Trial) -> Row:
    failed = sum(each.failed for each in trial.loads) + trial.refused
    rate = Sample(tuple(each.rate for each in trial.loads))
    return Row(
        "failed while packs were activated",
        f"{failed}",
        f"{trial.activated} activations, {rate} decisions/s",
        target="0",
        met=failed == 0 and trial.activated > 0,
    )


def _late(reloading: Sample, alone: Sample) -> Row:
    ratio = reloading.median / alone.median
    target = f"< {_TARGET} ×"
    return Row("p99", f"{reloading} ms", f"alone: {alone} ms", ratio, target, ratio < _TARGET)
