"""Growth: a decision under 3,000 rules against one under 100.

Ten rules a policy; ten policies apply to the incident either way.
"""

from __future__ import annotations

from functools import partial

from bench import made
from bench.measuring import Bench, Row, Sample, at_most, interleaved, per_second
from policy_engine.rete import MatcherSetting, available

_SMALL, _LARGE = 100, 3_000
_TARGET = 1.3


def measure(bench: Bench) -> list[Row]:
    matchers: tuple[MatcherSetting, ...] = (
        ("rete", "interpreter") if available() else ("interpreter",)
    )
    rows: list[Row] = []
    for matcher in matchers:
        subjects = {}
        for rules in (_SMALL, _LARGE):
            case = made.case(made.pack_of(made.many_policies(rules)), made.delay_bodies(), matcher)
            subjects[f"{rules}"] = partial(per_second, case.decide, bench.seconds)
        found = interleaved(bench.rounds, subjects)
        small, large = (_microseconds(found[f"{rules}"]) for rules in (_SMALL, _LARGE))
        what = f"{_LARGE:,} rules, {matcher}"
        rows.append(at_most(what, large, f"{_SMALL} rules", small, _TARGET, "µs"))
    return rows


def _microseconds(rates: Sample) -> Sample:
    return Sample(tuple(1e6 / rate for rate in rates.values))
