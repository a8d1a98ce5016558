"""Evaluation in process, against ZEN on the same table.

A table of four columns (a group, a tier, at least so many points and days), first hit, in both.
As plans of one policy, all rows that hold are found and the best are offered. The
engine's answer has the plan, its amount under caps and authority, and every reason at hand; ZEN
gives the row. Both take requests that were read before.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import made
from bench.measuring import Bench, Row, at_least, interleaved, per_second
from bench.peers import PeerMissingError
from bench.zen_rows import first_row
from policy_engine.core.facts import ABSENT
from policy_engine.rete import MatcherSetting, available

_ROWS = (100, 1_000)
_CHECKED = 20
_ZEN = {"ZEN by key": "key", "ZEN prepared": "prepared"}
"""Asked through its loader by the table's name, as its introduction shows; and with the table made
ready once."""


def measure(bench: Bench) -> list[Row]:
    try:
        zen = bench.peers.zen()
    except PeerMissingError as error:
        return [Row("evaluation in process", note=f"not measured: {error}")]
    rows: list[Row] = []
    for size in _ROWS:
        rows += _against_zen(bench, zen, size)
    return rows


def _against_zen(bench: Bench, zen: Path, size: int) -> list[Row]:
    subjects: dict[str, Callable[[], float]] = {
        name: partial(_zen, zen, size, bench.seconds, how) for name, how in _ZEN.items()
    }
    ours: dict[str, Callable[[], float]] = {}
    table, plans = made.pack_of(made.table(size)), made.pack_of(made.plans_table(size))
    for matcher in _matchers():
        case = made.case(table, made.table_bodies(size), matcher)
        _check(case, size)
        ours[matcher] = partial(per_second, case.decide, bench.seconds)
        case = made.case(plans, made.table_bodies(size), matcher)
        ours[f"as plans, {matcher}"] = partial(per_second, case.decide, bench.seconds)
    found = interleaved(bench.rounds, {**subjects, **ours})
    return [
        at_least(f"{size:,} rules in one table, {name}", found[name], zen, found[zen], 10, "/s")
        for name in ours
        for zen in _ZEN
    ]


def _matchers() -> tuple[MatcherSetting, ...]:
    return ("interpreter", "rete") if available() else ("interpreter",)


def _check(case: made.Case, size: int) -> None:
    """The derived row is the one that ZEN must find as well."""
    for request in case.requests[:_CHECKED]:
        asked = {name.removeprefix("order."): value for name, value in request.facts.items()}
        row = first_row(size, asked)
        decision = case.engine.evaluate(request, made.AS_OF, made.NothingGranted())
        assert decision.derived["order.row"] == (ABSENT if row is None else row)
        assert bool(decision.plans) is (row is not None)


def _zen(python: Path, rows: int, seconds: float, how: str) -> float:
    script = Path(__file__).with_name("zen_table.py")
    ran = subprocess.run(
        [str(python), str(script), str(rows), str(seconds), how],
        capture_output=True,
        text=True,
        check=True,
        timeout=60 + seconds * 5,
    )
    return float(ran.stdout)
