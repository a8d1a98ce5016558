"""Memory of a worker: resident after a warm-up, and after many more decisions.

`--decisions 1000000` is the run that the target is about. It takes as long as so many decisions
do, and 12 GB of the folder for temporary files (`TMPDIR`), all of which is thrown away.
"""

from __future__ import annotations

import shutil

from bench import made, service
from bench.load import FailedRequestsError, send
from bench.measuring import Bench, Row

_TARGET_MIB = 150
_GROWTH = 0.05
_WARM_SHARE = 0.2
_BURST_SECONDS = 5
_BYTES = 12_000
"""That a decision takes on disk, log lines and all."""


def measure(bench: Bench) -> list[Row]:
    needed, free = bench.decisions * _BYTES, shutil.disk_usage(bench.folder).free
    if needed > free:
        why = (
            f"{needed / 1e9:.1f} GB are needed in {bench.folder.parent}, {free / 1e9:.1f} are free"
        )
        return [Row("memory of a worker", note=f"not measured: {why}")]
    pack = service.pack_folder(bench.folder / "pack", made.fifty_questions())
    ours = service.set_up(bench.folder / "service", pack)
    with ours.serving() as up:
        address = f"http://127.0.0.1:{up.port}/v1/decisions"

        def decided(wanted: float) -> int:
            """Decide in bursts until there are so many; how many there are in all."""
            done = 0
            while done < wanted:
                # A refusal now and then, in an hour of bursts, says nothing of memory.
                send(address, made.question_body(), ours.headers(), _BURST_SECONDS, bench.folder)
                last, done = done, ours.ask("SELECT count(*) FROM decision")
                if done == last:
                    raise FailedRequestsError(f"no request to {address} was answered with a 2xx")
            return done

        warm = decided(bench.decisions * _WARM_SHARE)
        before = up.worker_kib() / 1024
        after_all = decided(bench.decisions)
        after = up.worker_kib() / 1024
    growth = after / before - 1
    return [
        Row(
            f"resident after {after_all:,} decisions",
            f"{after:.0f} MiB",
            "",
            after / _TARGET_MIB,
            f"< {_TARGET_MIB} MiB",
            after < _TARGET_MIB,
        ),
        Row(
            "growth since the warm-up",
            f"{growth:+.1%}",
            f"{before:.0f} MiB after {warm:,} decisions",
            after / before,
            f"< {_GROWTH:.0%}",
            growth < _GROWTH,
        ),
    ]
