"""Runs a pack's own tests under one or more matchers, and counts what they reach.

A case is answered as a caller over HTTP would be: its `given` is read strictly, decided at its
own as_of after the earlier `grants`, and `expect` is compared with the answer's body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from policy_engine.core.policy import Pack
from policy_engine.core.ports import Matcher
from policy_engine.packs.coverage import Coverage, CoverageCounter
from policy_engine.packs.expectations import Difference, differences
from policy_engine.packs.offline import OfflineEngine
from policy_engine.packs.suites import Case, Suite
from policy_engine.wire.problems import InvalidInputError

_NEVER = datetime.min.replace(tzinfo=UTC)
"""Stands for the clock, which no case may depend on: `as_of` is required."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case under one matcher. It passed when there are no differences."""

    file: str
    line: int
    suite: str
    case: str
    matcher: str
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class TestReport:
    """All cases under all matchers, in the order of files, and the coverage of the whole."""

    __test__ = False  # pytest: no test class, whatever its name

    results: tuple[CaseResult, ...]
    empty: tuple[str, ...]
    """Suites without a case, or `the pack` when it has no suite: an empty suite fails."""
    coverage: Coverage

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if not result.passed)

    @property
    def passed(self) -> bool:
        return not self.failures and not self.empty


def run_suites(pack: Pack, suites: Iterable[Suite], matchers: Iterable[Matcher]) -> TestReport:
    """Run every case under every matcher. Nothing is recorded."""
    listed = tuple(suites)
    counter = CoverageCounter(pack)
    results: list[CaseResult] = []
    for matcher in matchers:
        with OfflineEngine(pack, matcher) as engine:
            for suite in listed:
                for case in suite.cases:
                    found = tuple(_run(engine, case, counter))
                    results.append(
                        CaseResult(
                            suite.file, case.line, suite.name, case.name, matcher.name, found
                        )
                    )
    empty = tuple(suite.name for suite in listed if not suite.cases) if listed else ("the pack",)
    return TestReport(tuple(results), empty, counter.coverage())


def _run(engine: OfflineEngine, case: Case, counter: CoverageCounter) -> list[Difference]:
    if case.given.get("as_of") is None:
        return [Difference("given.as_of", "an instant", "nothing there")]
    try:
        answer = engine.decide(case.given, _NEVER, case.grants)
    except InvalidInputError as error:
        return [
            Difference(f"given{each.pointer}", "a decision request", each.message)
            for each in error.problems
        ]
    counter.count(answer.decision, answer.request)
    return differences(case.expect, engine.body(answer))
