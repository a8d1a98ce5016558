"""A pack's own tests: run under matchers, with what they reach."""

from __future__ import annotations

import pytest

from policy_engine.core.policy import Pack
from policy_engine.packs.suites import Suite
from policy_engine.packs.testing import TestReport, run_suites
from policy_engine.rete import best_matcher
from tests.packs.made import WHOLE, loaded

GIVEN = """{order: {id: O1, currency: CNY, promised_delivery_by: "2026-06-01T00:00:00Z",
      shipping_paid: "0.00", lines: [{id: "1", quantity: 1, paid: "100.00"}]},
      incident: {types: [shipping_delay]}, customer: {id: C1}, agent: {id: A1, role: agent},
      as_of: "2026-06-%sT00:00:00Z"}"""
LATE = GIVEN % "07"
IN_TIME = GIVEN % "02"
UNKNOWN = LATE.replace('promised_delivery_by: "2026-06-01T00:00:00Z",', "")
COUPON = (
    "{plans: [{plan: shipping_delay/gift},"
    ' {plan: shipping_delay/coupon, allowed: {amount: "5.00", currency: CNY}}]}'
)


EARLIER = '[{customer: C1, order: O1, at: "2026-06-06T00:00:00Z", value: "297.00", currency: CNY}]'


def suite(*cases: str, name: str = "made") -> str:
    return f"suite: {name}\ncases:{''.join(cases) or ' []'}\n"


def case(name: str, given: str, expect: str, grants: str = "") -> str:
    more = f"\n    grants: {grants}" if grants else ""
    return f"\n  - name: {name}\n    given: {given}{more}\n    expect: {expect}"


def packed(tests: str | None) -> tuple[Pack, tuple[Suite, ...]]:
    found = loaded({"tests/made.yaml": tests})
    assert found.pack is not None, [str(each) for each in found.problems]
    return found.pack, found.suites


def run(*cases: str) -> TestReport:
    return run_suites(*packed(suite(*cases)), [best_matcher("interpreter")])


def test_a_case_that_is_as_expected_passes() -> None:
    report = run(case("late", LATE, COUPON))
    assert report.passed
    assert [result.case for result in report.results] == ["late"]


def test_a_case_that_is_not_says_what_came_instead() -> None:
    report = run(case("late", LATE, COUPON.replace("5.00", "6.00")))
    assert not report.passed
    (failure,) = report.failures
    assert (failure.file, failure.line) == ("tests/made.yaml", 3)
    (difference,) = failure.differences
    assert difference.path == "plans[1].allowed.amount"
    assert (difference.expected, difference.got) == ('"6.00"', '"5.00"')


def test_every_case_runs_under_every_matcher() -> None:
    pack, suites = packed(suite(case("late", LATE, COUPON), case("in time", IN_TIME, "{}")))
    matchers = [best_matcher("auto"), best_matcher("interpreter")]
    report = run_suites(pack, suites, matchers)
    assert report.passed
    assert [(each.matcher, each.case) for each in report.results] == [
        (matcher.name, name) for matcher in matchers for name in ("late", "in time")
    ]


def test_earlier_grants_count_towards_caps() -> None:
    expect = (
        '{plans: [{plan: shipping_delay/coupon, allowed: {amount: "3.00"}}],'
        ' caps: [{cap: order_total, used: {amount: "297.00"}}]}'
    )
    report = run(case("used", LATE, expect, EARLIER))
    assert report.passed, report.failures


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (LATE.replace(", paid: ", ", payed: "), "given/order/lines/0/payed"),
        (LATE.replace(", agent: {id: A1, role: agent}", ""), "given/agent"),
        (LATE.replace(',\n      as_of: "2026-06-07T00:00:00Z"', ""), "given.as_of"),
    ],
)
def test_a_request_that_is_not_in_order_fails_its_case(given: str, path: str) -> None:
    report = run(case("bad", given, "{}"))
    assert [each.path for each in report.failures[0].differences] == [path]


@pytest.mark.parametrize(
    ("change", "column", "code"),
    [
        (("C1, ", "C1, policy: shiping_delay, "), 37, "UNKNOWN_POLICY"),
        (("C1, ", "C1, role: agnt, "), 35, "UNKNOWN_ROLE"),
        (("C1, ", "C1, kind: cupon, "), 35, "UNKNOWN_VALUE"),
        (('"297.00"', '"297.0"'), 75, "BAD_AMOUNT"),
        (('"297.00"', "297.00"), 75, "UNQUOTED_DECIMAL"),
        (('"297.00"', "297"), 75, "UNQUOTED_DECIMAL"),
        (("CNY", "CNX"), 95, "UNKNOWN_CURRENCY"),
        (("T00:00:00Z", ""), 44, "BAD_TIMESTAMP"),
        (("order: O1, ", ""), 14, "MISSING_KEY"),
        (("order:", "ordr:"), 29, "UNKNOWN_KEY"),
    ],
)
def test_a_bad_earlier_grant_is_a_problem_of_the_pack(
    change: tuple[str, str], column: int, code: str
) -> None:
    tests = suite(case("bad", "{}", "{}", EARLIER.replace(*change)))
    problems = loaded({"tests/made.yaml": tests}).problems
    assert ("tests/made.yaml", 5, column, code) in [
        (each.file, each.line, each.column, each.code) for each in problems
    ]


def test_a_policy_that_cannot_be_read_is_no_fault_of_an_earlier_grant() -> None:
    grants = EARLIER.replace("C1, ", "C1, policy: lost, role: king, ")
    tests = suite(case("bad", "{}", "{}", grants))
    broken: dict[str, str | None] = {"lost.yaml": "policy: [", "roles.yaml": "roles: ["}
    problems = loaded({**broken, "tests/made.yaml": tests}).problems
    assert {each.file for each in problems} == {"lost.yaml", "roles.yaml"}


def test_an_empty_suite_fails() -> None:
    report = run()
    assert not report.passed
    assert report.empty == ("made",)


def test_a_pack_without_tests_fails() -> None:
    report = run_suites(*packed(None), [best_matcher("interpreter")])
    assert not report.passed
    assert report.empty == ("the pack",)


def test_coverage_names_what_no_test_reaches() -> None:
    coverage = run(case("in time", IN_TIME, "{}")).coverage
    assert [str(target) for target in coverage.missed] == [
        "plan shipping_delay/coupon is never offered",
        "the condition of plan shipping_delay/coupon is never true",
        "the condition of plan shipping_delay/coupon is never unknown",
    ]
    assert (coverage.reached, coverage.total, coverage.percent) == (2, 5, 40)


def test_coverage_is_whole_when_every_outcome_is_reached() -> None:
    report = run(
        case("late", LATE, "{}"), case("in time", IN_TIME, "{}"), case("unknown", UNKNOWN, "{}")
    )
    assert report.passed
    assert (report.coverage.missed, report.coverage.percent) == ((), 100)


def test_an_outcome_that_no_request_can_give_is_not_asked_for() -> None:
    facts = """facts:
  incident.types: {type: set, values: [shipping_delay]}
  shop.campaign: {type: boolean, from: request, default: false}
"""
    policy = WHOLE["shipping_delay.yaml"].replace(
        "{fact: shipping.delay, over: P5D}", "{fact: shop.campaign, is: true}"
    )
    campaign = LATE.replace("as_of:", "facts: {shop.campaign: true}, as_of:")
    tests = suite(case("campaign", campaign, "{}"), case("none", LATE, "{}"))
    found = loaded({"facts.yaml": facts, "shipping_delay.yaml": policy, "tests/made.yaml": tests})
    assert found.pack is not None, found.problems
    coverage = run_suites(found.pack, found.suites, [best_matcher("interpreter")]).coverage
    assert (coverage.missed, coverage.total) == ((), 4)


def test_a_policy_that_does_not_apply_is_not_covered() -> None:
    other = """policy: oversold
title: {en: Oversold}
reason_code: OVERSOLD
applies_to: [oversold]
plans:
  - plan: refund
    title: {en: Refund}
    when: {fact: shipping.delay, over: P5D}
    remedies: [{kind: refund, percent: "100", of: order.goods_paid}]
"""
    facts = "facts:\n  incident.types: {type: set, values: [shipping_delay, oversold]}\n"
    tests = suite(case("late", LATE, "{}"))
    found = loaded({"facts.yaml": facts, "oversold.yaml": other, "tests/made.yaml": tests})
    assert found.pack is not None
    report = run_suites(found.pack, found.suites, [best_matcher("interpreter")])
    missed = [target.what for target in report.coverage.missed]
    assert missed.count("plan oversold/refund") == 4


def test_versions_of_a_policy_are_covered_one_by_one() -> None:
    policy = """policy: shipping_delay
title: {en: Shipping delay}
reason_code: SHIPPING_DELAY
applies_to: [shipping_delay]
effective: {%s}
plans:
  - plan: gift
    title: {en: Gift}
    remedies: [{kind: gift, amount: {CNY: "15.00"}}]
"""
    found = loaded(
        {
            "shipping_delay.yaml": policy
            % 'from: "2025-01-01T00:00:00Z", until: "2026-01-01T00:00:00Z"',
            "shipping_delay_2026.yaml": policy % 'from: "2026-01-01T00:00:00Z"',
            "tests/made.yaml": suite(case("now", LATE, "{}")),
        }
    )
    assert found.pack is not None, found.problems
    report = run_suites(found.pack, found.suites, [best_matcher("interpreter")])
    assert [str(each) for each in report.coverage.missed] == [
        "plan shipping_delay@2025-01-01T00:00:00Z/gift is never offered"
    ]
