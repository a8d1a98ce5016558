"""`evaluate` offline: orders a second of one process.

The verb as a user runs it, from lines to lines. What it takes to start (and to load the pack) is
measured on an empty file and taken off.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench import made, real_orders
from bench.measuring import Bench, Row, Sample, interleaved
from policy_engine.rete import available

_TARGET = 5_000
_ORDERS = 10_000
_REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "olist-orders.jsonl"
_REAL_PACK = Path(__file__).parent.parent / "tests" / "data" / "delay-pack"


def measure(bench: Bench) -> list[Row]:
    empty = bench.folder / "empty.jsonl"
    empty.write_text("")
    sample = bench.folder / "orders.jsonl"
    with sample.open("w") as out:
        for each in made.orders(_ORDERS):
            out.write(json.dumps(each, ensure_ascii=False) + "\n")
    samples = {"the shipped pack": (made.SHIPPED, sample, _ORDERS)}
    if _REAL.exists():
        real = bench.folder / "real.jsonl"
        samples["real orders, one policy"] = (_REAL_PACK, real, _write_real(real))
    matchers = ("rete", "interpreter") if available() else ("interpreter",)
    subjects = {}
    for what, (pack, lines, _) in samples.items():
        for matcher in matchers:
            subjects[f"{what}, {matcher}"] = partial(_seconds, pack, matcher, lines)
            subjects[f"{what}, {matcher}, start"] = partial(_seconds, pack, matcher, empty)
    found = interleaved(bench.rounds, subjects)
    rows: list[Row] = []
    for what, (_, _, count) in samples.items():
        for matcher in matchers:
            name = f"{what}, {matcher}"
            rows.append(_row(name, count, found[name], found[f"{name}, start"]))
    return rows


def _row(name: str, count: int, whole: Sample, start: Sample) -> Row:
    rates = Sample(tuple(count / (each - start.median) for each in whole.values))
    return Row(
        f"orders a second, {name}",
        f"{rates} /s",
        f"{count:,} orders; {start} s to start taken off",
        rates.median / _TARGET,
        f"≥ {_TARGET:,} /s",
        rates.median >= _TARGET,
    )


def _write_real(path: Path) -> int:
    count = 0
    with _REAL.open(encoding="utf-8") as lines, path.open("w") as out:
        for each in real_orders.requests(lines):
            out.write(json.dumps(each) + "\n")
            count += 1
    return count


def _seconds(pack: Path, matcher: str, lines: Path) -> float:
    command = [sys.executable, "-m", "policy_engine", "evaluate"]
    began = time.perf_counter()
    with lines.open("rb") as given:
        subprocess.run(
            [*command, "--pack", str(pack), "--matcher", matcher],
            stdin=given,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=600,
        )
    return time.perf_counter() - began
