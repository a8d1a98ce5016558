"""`policy-engine pack test`: a pack's own tests, their differences, and what they reach."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from policy_engine.cli.frame import ExitCode, notes, plain, screen, show_json, show_table, verb
from policy_engine.cli.pack_folder import counted, pack_argument, usable_pack
from policy_engine.core.ports import Matcher
from policy_engine.packs.testing import CaseResult, TestReport, run_suites
from policy_engine.rete import MatcherError, best_matcher


@verb("policy-engine pack test policies --min-coverage 100")
@pack_argument
@click.option(
    "--min-coverage",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    metavar="N",
    help="Fail when the tests reach less than N percent.",
)
@click.option(
    "--matcher",
    type=click.Choice(["both", "rete", "interpreter"]),
    default="both",
    show_default=True,
    help="Which matcher the cases run under.",
)
@click.pass_context
def test(ctx: click.Context, folder: Path, min_coverage: int, matcher: str, output: str) -> None:
    """Run the tests in DIR/tests and show what they reach.

    Coverage counts every plan and add-on, and every outcome that a condition can have: true,
    false, unknown. Exits 4 when a case fails, a suite is empty or the coverage is below N,
    3 when the pack has errors.
    """
    pack, loaded = usable_pack(folder)
    report = run_suites(pack, loaded.suites, _matchers(matcher))
    enough = report.coverage.percent >= min_coverage
    if output == "json":
        show_json(_as_json(report, min_coverage))
    else:
        _show(report, min_coverage)
    if not (report.passed and enough):
        ctx.exit(ExitCode.TESTS_FAILED)


def _matchers(name: Any) -> list[Matcher]:
    if name != "both":
        return [best_matcher(name)]
    try:
        return [best_matcher("rete"), best_matcher("interpreter")]
    except MatcherError as error:
        notes().print(plain(f"note: only the interpreter runs: {error}", "yellow"))
        return [best_matcher("interpreter")]


def _show(report: TestReport, min_coverage: int) -> None:
    for failure in report.failures:
        _show_failure(failure)
    rows: dict[tuple[str, str, str], list[bool]] = {}
    for result in report.results:
        key = (result.suite, result.file, result.matcher)
        rows.setdefault(key, []).append(result.passed)
    show_table(
        ("suite", "file", "matcher", "passed", "failed"),
        [(*key, str(passed.count(True)), str(passed.count(False))) for key, passed in rows.items()],
    )
    for name in report.empty:
        screen().print(plain(f"empty: {name} has no test", "red"))
    coverage = report.coverage
    for target in coverage.missed:
        screen().print(plain(f"not covered: {target}", "yellow"))
    screen().print(plain(f"coverage: {coverage.percent} % ({coverage.reached}/{coverage.total})"))
    if coverage.percent < min_coverage:
        screen().print(plain(f"the coverage is below {min_coverage} %", "red"))
    screen().print(plain(_verdict(report), "green" if report.passed else "red"))


def _verdict(report: TestReport) -> str:
    runs = counted(len(report.results), "run")
    if not report.results:
        return f"{runs}: nothing is tested"
    if report.failures:
        return f"{runs}, {len(report.failures)} failed"
    return f"{runs}, all passed" + (", but a suite is empty" if report.empty else "")


def _show_failure(failure: CaseResult) -> None:
    place = f"{failure.file}:{failure.line}"
    screen().print(plain(f"FAILED {place}: {failure.case} ({failure.matcher})", "red"))
    for difference in failure.differences:
        screen().print(plain(f"  {difference.path}"))
        screen().print(plain(f"    expected {difference.expected}", "green"))
        screen().print(plain(f"    got      {difference.got}", "red"))


def _as_json(report: TestReport, min_coverage: int) -> dict[str, object]:
    coverage = report.coverage
    return {
        "passed": report.passed and coverage.percent >= min_coverage,
        "cases": [{"passed": result.passed, **asdict(result)} for result in report.results],
        "empty": list(report.empty),
        "coverage": {
            "percent": coverage.percent,
            "reached": coverage.reached,
            "total": coverage.total,
            "missed": [{**asdict(target), "text": str(target)} for target in coverage.missed],
        },
    }
