"""Memory of a worker: resident after a warm-up, and after many more decisions."""

from __future__ import annotations

from bench import made, service
from bench.load import load
from bench.measuring import Bench, Row

_TARGET_MIB = 150
_GROWTH = 0.05
_WARM_SHARE = 0.2


def measure(bench: Bench) -> list[Row]:
    pack = service.pack_folder(bench.folder / "pack", made.fifty_questions())
    ours = service.set_up(bench.folder / "service", pack)
    with ours.serving() as up:
        address = f"http://127.0.0.1:{up.port}/v1/decisions"

        def decide(count: float) -> float:
            """At least so many decisions, in bursts of seconds; gives how many."""
            done = 0.0
            while done < count:
                done += (
                    load(address, made.question_body(), ours.headers(), 2, bench.folder).rate * 2
                )
            return done

        warm = decide(bench.decisions * _WARM_SHARE)
        before = up.worker_kib() / 1024
        more = decide(bench.decisions * (1 - _WARM_SHARE))
        after = up.worker_kib() / 1024
    growth = after / before - 1
    return [
        Row(
            f"resident after {warm + more:,.0f} decisions",
            f"{after:.0f} MiB",
            "",
            after / _TARGET_MIB,
            f"< {_TARGET_MIB} MiB",
            after < _TARGET_MIB,
        ),
        Row(
            "growth since the warm-up",
            f"{growth:+.1%}",
            f"{before:.0f} MiB after {warm:,.0f} decisions",
            after / before,
            f"< {_GROWTH:.0%}",
            growth < _GROWTH,
        ),
    ]
