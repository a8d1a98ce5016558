"""From the command `serve` to a server that says it is ready, with the shipped pack."""

from __future__ import annotations

from bench import made, service
from bench.measuring import Bench, Row, interleaved

_TARGET_SECONDS = 2


def measure(bench: Bench) -> list[Row]:
    ours = service.set_up(bench.folder / "service", made.SHIPPED)

    def start() -> float:
        with ours.serving() as up:
            return up.ready_seconds

    found = interleaved(bench.rounds, {"start": start})["start"]
    ratio = found.median / _TARGET_SECONDS
    target = f"< {_TARGET_SECONDS} s"
    return [Row("start to ready", f"{found} s", "", ratio, target, ratio < 1)]
