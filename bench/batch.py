"""Batches of 100 decisions against single calls."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench import made, service
from bench.load import load
from bench.measuring import Bench, Row, Sample, at_least, interleaved

_SIZE = 100
_CONNECTIONS = 2
"""Of both: sixteen batches at once would be a queue and nothing else."""
_TARGET = 3


def measure(bench: Bench) -> list[Row]:
    pack = service.pack_folder(bench.folder / "pack", made.fifty_questions())
    ours = service.set_up(bench.folder / "service", pack)
    single = made.question_body()
    many = {"decisions": [_numbered(single, number) for number in range(_SIZE)]}
    with ours.serving() as up:
        address = f"http://127.0.0.1:{up.port}/v1/decisions"

        def rate(url: str, body: dict[str, Any]) -> float:
            return load(url, body, ours.headers(), bench.seconds, bench.folder, _CONNECTIONS).rate

        subjects = {
            "single": partial(rate, address, single),
            "batch": partial(rate, f"{address}/batch", many),
        }
        for call in subjects.values():
            call()
        found = interleaved(bench.rounds, subjects)
    batches = Sample(tuple(each * _SIZE for each in found["batch"].values))
    what = f"decisions in batches of {_SIZE}"
    return [at_least(what, batches, "single calls", found["single"], _TARGET, "/s")]


def _numbered(body: dict[str, Any], number: int) -> dict[str, Any]:
    order = body["order"] | {"id": f"SO-@ID@-{number}"}
    return body | {"order": order, "customer": body["customer"] | {"id": f"C-@ID@-{number}"}}
