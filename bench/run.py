"""`make bench`: every figure as a ratio to something measured in the same run, into RESULTS.md.

    python -m bench.run                     all figures, some ten minutes
    python -m bench.run offline growth      some of them; RESULTS.md is not written
    python -m bench.run --rounds 5 --seconds 6 --decisions 1000000
    python -m bench.run --help              what the figures are

Nothing here is part of the tests. What can't be measured (a peer can't be installed, a request
failed) has a row that says why. Close what else runs on the machine first: the figures are ratios,
but a busy machine makes even those jump.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    batch,
    grants,
    growth,
    in_process,
    log_cost,
    machine,
    memory,
    offline,
    over_http,
    reload,
    start,
)
from bench.load import FailedRequestsError
from bench.measuring import Bench, Figure, Row
from bench.peers import PeerMissingError, Peers
from bench.service import ServerFailedError

FIGURES: dict[str, Figure] = {
    "in_process": in_process,
    "growth": growth,
    "offline": offline,
    "over_http": over_http,
    "batch": batch,
    "grants": grants,
    "log_cost": log_cost,
    "start": start,
    "reload": reload,
    "memory": memory,
}
"""Name → module. A new figure is a module with `measure`, and a line here."""

RESULTS = Path(__file__).parent / "RESULTS.md"
_PREFACE = (
    "Written by `make bench`; don't edit it. A figure is the median of its rounds, with the "
    "lowest and the highest in brackets. Read the ratios: both sides of each were measured in "
    "turns on the same machine, and absolute figures of another machine will differ. What a missed "
    "target is due to, and what was tried, is in [NOTES.md](NOTES.md)."
)
_HEAD = ("what", "measured", "against", "ratio", "target", "met")


def main() -> None:
    chosen = _arguments()
    names = chosen.figures or list(FIGURES)
    before = machine.described()
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="policy-engine-bench-") as scratch:
        peers = Peers(chosen.peers or Path(scratch) / "peers")
        for name in names:
            folder = Path(scratch) / name
            folder.mkdir()
            bench = Bench(chosen.rounds, chosen.seconds, chosen.decisions, folder, peers)
            print(f"{name} …", file=sys.stderr, flush=True)
            rows[name] = _measured(FIGURES[name], bench)
            print("\n".join(_lines(rows[name])), flush=True)
    if chosen.figures:
        return
    text = _document(before, chosen, peers, rows)
    chosen.output.write_text(text, encoding="utf-8")
    print(f"written to {chosen.output}", file=sys.stderr)


def _measured(figure: Figure, bench: Bench) -> list[Row]:
    try:
        return figure.measure(bench)
    except (PeerMissingError, FailedRequestsError, ServerFailedError) as error:
        return [Row(_title(figure), note=f"not measured: {error}")]


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<12}{_title(figure)}" for name, figure in FIGURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        epilog=f"figures:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "figures", nargs="*", choices=[[], *FIGURES], metavar="FIGURE", help="see below [all]"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds [3]")
    parser.add_argument("--seconds", type=float, default=3, help="each measurement [3]")
    parser.add_argument(
        "--decisions", type=int, default=100_000, help="of the memory figure [100000]"
    )
    parser.add_argument("--peers", type=Path, help="a folder that keeps the peers for next time")
    parser.add_argument("--output", type=Path, default=RESULTS, help="[bench/RESULTS.md]")
    return parser.parse_args()


def _document(
    before: Sequence[str], chosen: argparse.Namespace, peers: Peers, rows: dict[str, list[Row]]
) -> str:
    found = ", ".join(f"{name} {version}" for name, version in peers.versions.items())
    parts = [
        "# What the bench measured",
        "",
        _PREFACE,
        "",
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {chosen.rounds} rounds of {chosen.seconds:g} s",
        *(f"- {line}" for line in before),
        f"- compared with {found or 'no peer: none could be installed'}",
    ]
    for name, found_rows in rows.items():
        parts += ["", f"## {_title(FIGURES[name])}", "", *_lines(found_rows)]
    return "\n".join(parts) + "\n"


def _title(figure: Figure) -> str:
    return (figure.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _lines(rows: Sequence[Row]) -> list[str]:
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        measured = row.measured or row.note
        cells = (row.what, measured, row.against, ratio, row.target, met)
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note and row.measured]
    return [*lines, *([""] if notes else []), *notes]


if __name__ == "__main__":
    main()
