"""What stands in the files is what the engine gets, exactly and typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from policy_engine.core.caps import (
    Calendar,
    CalendarUnit,
    Cap,
    Measure,
    PercentLimit,
    Rolling,
    Scope,
)
from policy_engine.core.conditions import All, Any, Comparison, Not, Op
from policy_engine.core.facts import ABSENT, UNKNOWN, FactType
from policy_engine.core.money import Money
from policy_engine.core.policy import (
    DateBy,
    EvidenceNeed,
    FactAmount,
    FixedAmount,
    Floor,
    FollowUp,
    ForbiddenPhrase,
    Milestone,
    Pack,
    Per,
    PercentOf,
    Plan,
    RemedyKind,
    RemedyRule,
    Role,
)
from policy_engine.packs.earlier_grants import EarlierGrant
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import Loaded, load_folder
from policy_engine.packs.problems import Severity
from tests.packs.broken import cap, fact, policy, when
from tests.packs.made import WHOLE, loaded


def pack_of(result: Loaded) -> Pack:
    assert result.pack is not None, "\n".join(map(str, result.problems))
    return result.pack


def plan_of(result: Loaded, name: str) -> Plan:
    plans = [plan for each in pack_of(result).policies for plan in each.plans]
    return next(plan for plan in plans if plan.name == name)


def test_the_whole_pack_has_no_problem_and_its_revision() -> None:
    result = loaded()
    assert result.problems == ()
    data = {name: text.encode() for name, text in WHOLE.items()}
    assert pack_of(result).revision == PackFiles(data).revision


def test_a_policy_is_read_with_everything_it_says() -> None:
    result = loaded(
        policy(
            """title: {en: P, zh-CN: 策略}
effective: {from: "2026-01-01T00:00:00+08:00", until: "2027-01-01T00:00:00Z"}
date_by: incident
parameters: {cost: {CNY: "15.00"}, share: "12.5", kinds: [reference]}
plans:
  - plan: full
    title: {en: Full}
    when: {all: [{fact: shipping.delay, over: P5D}, {not: {fact: channel, in: [a, b]}}]}
    rank: -3
    takes_add_ons: false
    fallback: true
    floor: statutory
    evidence: [{kind: proof, needs: $kinds}]
    follow_ups: [{follow_up: call, on: redeemed, after: P2D}]
    remedies:
      - {kind: coupon, percent: $share, of: remaining, max: $cost, valid_for: P90D,
         min_spend: {CNY: "50.00"}}
      - {kind: gift, amount: $cost, per: {fact: shipping.delay, every: P1D}, min: {CNY: "1.00"},
         round_to: {CNY: "0.10"}, service: box, within: PT4H}
      - {kind: shipping_upgrade, amount: order.express_cost}
      - {kind: keep_item}
add_ons:
  - {add_on: extra, remedies: [{kind: gift, amount: {CNY: "1.00"}}]}
actions:
  - {action: trace, within: PT1H, title: {en: Trace}}
evidence: [{kind: photo}]
follow_ups: [{follow_up: visit, on: delivered}]"""
        )
    )
    read = next(each for each in pack_of(result).policies if each.id == "p")
    assert read.title == {"en": "P", "zh-CN": "策略"}
    assert read.reason_code == "P"
    assert read.applies_to == {"shipping_delay"}
    assert read.effective_from == datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert read.effective_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert read.date_by is DateBy.INCIDENT
    assert read.parameters == {"cost": {"CNY": "15.00"}, "share": "12.5", "kinds": ["reference"]}
    assert read.evidence == (EvidenceNeed("photo"),)
    assert read.follow_ups == (FollowUp("visit", "delivered"),)
    assert [each.name for each in read.add_ons] == ["extra"]
    assert [(each.name, each.within) for each in read.actions] == [("trace", timedelta(hours=1))]
    fifteen = {"CNY": Money(1500, "CNY")}
    assert read.plans == (
        Plan(
            "full",
            {"en": "Full"},
            (
                RemedyRule(
                    RemedyKind.COUPON,
                    PercentOf(Decimal("12.5"), "remaining"),
                    max=fifteen,
                    valid_for=timedelta(days=90),
                    min_spend={"CNY": Money(5000, "CNY")},
                ),
                RemedyRule(
                    RemedyKind.GIFT,
                    FixedAmount(fifteen),
                    Per("shipping.delay", timedelta(days=1)),
                    {"CNY": Money(10, "CNY")},
                    {"CNY": Money(100, "CNY")},
                    service="box",
                    within=timedelta(hours=4),
                ),
                RemedyRule(RemedyKind.SHIPPING_UPGRADE, FactAmount("order.express_cost")),
                RemedyRule(RemedyKind.KEEP_ITEM),
            ),
            All(
                (
                    Comparison("shipping.delay", Op.OVER, FactType.DURATION, timedelta(days=5)),
                    Not(Comparison("channel", Op.IN, FactType.STRING, ("a", "b"))),
                )
            ),
            (EvidenceNeed("proof", ("reference",)),),
            (FollowUp("call", "redeemed", timedelta(days=2)),),
            -3,
            False,
            True,
            Floor.STATUTORY,
        ),
    )


@pytest.mark.parametrize(
    ("declared", "condition", "literal"),
    [
        ("{type: boolean, from: request}", "is: false", False),
        ("{type: integer, from: request}", "at_least: -3", -3),
        ("{type: integer, from: request}", "not_in: [1, 2, 1]", (1, 2)),
        ("{type: decimal, from: request}", 'under: "-0.5"', Decimal("-0.5")),
        ("{type: duration, from: request}", "at_most: -PT1H", -timedelta(hours=1)),
        (
            "{type: timestamp, from: request}",
            'over: "2026-06-01T08:00:00+08:00"',
            datetime(2026, 6, 1, tzinfo=UTC),
        ),
        (
            "{type: money, from: request}",
            'over: {USD: "1.00", CNY: "7.00"}',
            (Money(700, "CNY"), Money(100, "USD")),
        ),
        (
            "{type: money, from: request}",
            'in: [{USD: "1.00"}, {USD: "2.00"}]',
            ((Money(100, "USD"),), (Money(200, "USD"),)),
        ),
        ("{type: enum, values: [a, b], from: request}", "is_not: a", "a"),
        ("{type: set, values: [a, b], from: request}", "contains: b", "b"),
        ("{type: string, from: request}", 'is: "5"', "5"),
        ("{type: set, from: request}", "present: true", True),
    ],
)
def test_a_literal_is_read_as_its_facts_type(
    declared: str, condition: str, literal: object
) -> None:
    result = loaded({**fact(declared), **when(f"{{fact: x, {condition}}}")})
    read = plan_of(result, "more").when
    assert isinstance(read, Comparison)
    assert read.literal == literal
    assert type(read.literal) is type(literal)


def test_facts_have_their_one_source() -> None:
    result = loaded(
        {
            "facts.yaml": WHOLE["facts.yaml"]
            + """  channel: {type: enum, values: [web, mail], ask: {en: Which channel?}}
  asked: {type: boolean, from: request, ask: {en: Is it?}}
  given: {type: integer, from: request, default: 3}
  none: {type: money, from: request, default: null}
  deposit: {type: money, from: request, default: {CNY: "1.00", JPY: "3"}}
  marks: {type: set, values: [a, b, c], from: request, default: [b, a]}
  tags: {type: set, from: request, default: []}
  waited: {type: duration, since: order.paid_at, until: order.dispatched_at}
  second: {type: boolean, derive: [{is: true, when: {fact: first, is: high}}]}
  first: {type: enum, values: [low, high], derive: [
    {is: high, when: {any: [{fact: asked, is: true}, {fact: waited, over: P1D}]}}, {is: low}]}
  third: {type: integer, derive: [{is: 1, when: {fact: second, is: true}}, {is: 2}]}
"""
        }
    )
    pack = pack_of(result)
    assert pack.facts["channel"].type is FactType.ENUM
    assert pack.facts["channel"].values == ("web", "mail")
    assert pack.facts["channel"].sent
    assert pack.facts["asked"].from_request
    assert pack.facts["asked"].default is UNKNOWN
    assert pack.facts["asked"].ask == {"en": "Is it?"}
    assert pack.facts["given"].default == 3
    assert pack.facts["none"].default is ABSENT
    assert pack.facts["deposit"].default == (Money(100, "CNY"), Money(3, "JPY"))
    assert pack.facts["marks"].default == frozenset({"a", "b"})
    assert pack.facts["tags"].default == frozenset()
    assert (pack.facts["waited"].since, pack.facts["waited"].until) == (
        "order.paid_at",
        "order.dispatched_at",
    )
    layers = [[each.fact for each in layer] for layer in pack.derived]
    assert layers == [["first"], ["second"], ["third"]]
    high, low = pack.derived[0][0].rules
    assert (high.value, low.value, low.when) == ("high", "low", None)
    assert isinstance(high.when, Any)
    assert pack.facts["first"].derived


def test_caps_are_read_in_file_order_with_their_windows_and_filters() -> None:
    pack = pack_of(
        loaded(
            {
                "caps.yaml": """caps:
  - {cap: total, scope: order, measure: value, limit: {percent: "100", of: order.total_paid}}
  - {cap: a, scope: agent, measure: count, window: {calendar: day, zone: Asia/Shanghai}, limit: 0}
  - {cap: b, scope: customer, measure: value, window: P30D, roles: [agent], kinds: [coupon],
     policies: [shipping_delay], limit: {JPY: "9000", CNY: "450.00"}}
"""
            }
        )
    )
    assert pack.caps == (
        Cap(
            "total",
            Scope.ORDER,
            Measure.VALUE,
            PercentLimit(Decimal(100), "order.total_paid"),
        ),
        Cap("a", Scope.AGENT, Measure.COUNT, 0, Calendar(CalendarUnit.DAY, "Asia/Shanghai")),
        Cap(
            "b",
            Scope.CUSTOMER,
            Measure.VALUE,
            {"JPY": Money(9000, "JPY"), "CNY": Money(45000, "CNY")},
            Rolling(timedelta(days=30)),
            frozenset({"agent"}),
            frozenset({"coupon"}),
            frozenset({"shipping_delay"}),
        ),
    )


def test_roles_know_what_they_may_issue_and_who_approves() -> None:
    roles = (
        "roles: {bot: {approver: agent, may: [coupon, gift]}, agent: {may: all}, eye: {may: []}}"
    )
    assert pack_of(loaded({"roles.yaml": roles})).roles == {
        "bot": Role("bot", frozenset({"coupon", "gift"}), "agent"),
        "agent": Role("agent"),
        "eye": Role("eye", frozenset()),
    }


def test_settings_are_defaults_where_nothing_is_said() -> None:
    defaults = pack_of(loaded()).settings
    assert defaults.offer_valid_for == {"default": timedelta(minutes=15)}
    assert defaults.pending_for == timedelta(days=3)
    assert (defaults.offer_at_most, defaults.default_locale) == (None, "en")
    assert defaults.milestones == (Milestone("first_reply", timedelta(minutes=5), "whatsapp"),)
    assert pack_of(loaded({"pack.yaml": "pending_for: P1D\n"})).settings.milestones != ()
    assert pack_of(loaded({"pack.yaml": "milestones: []\n"})).settings.milestones == ()
    said = pack_of(
        loaded(
            {
                "pack.yaml": """offer_valid_for: {whatsapp: PT4H}
pending_for: P1D
offer_at_most: 2
default_locale: zh-CN
milestones: [{milestone: reply, within: PT5M, channel: whatsapp}, {milestone: reply, within: P1D}]
"""
            }
        )
    ).settings
    assert said.offer_valid_for == {
        "default": timedelta(minutes=15),
        "whatsapp": timedelta(hours=4),
    }
    assert (said.pending_for, said.offer_at_most) == (timedelta(days=1), 2)
    assert said.default_locale == "zh-CN"
    assert said.milestones == (
        Milestone("reply", timedelta(minutes=5), "whatsapp"),
        Milestone("reply", timedelta(days=1)),
    )


def test_messages_and_forbidden_phrases_are_kept_by_locale() -> None:
    pack = pack_of(
        loaded(
            {
                "messages/zh-CN.yaml": "scripts:\n"
                '  hi: {offer: {opening: "{{ customer_name }}，您好"}}',
                "messages/en.yaml": "scripts: {hi: {nothing_due: {empathy: Sorry.}}}",
                "never_say.yaml": """- phrase: 在催了
  locale: zh-CN
  family: fob_off
  instead: 好
  unless: 我也在催
- {phrase: wait, locale: en, family: fob_off, instead: look, unless: [a, b]}
- {phrase: no, locale: en, family: blame, instead: "yes"}
""",
            }
        )
    )
    assert pack.scripts == {
        "zh-CN": {"hi": {"offer": {"opening": "{{ customer_name }}，您好"}}},
        "en": {"hi": {"nothing_due": {"empathy": "Sorry."}}},
    }
    assert pack.never_say == (
        ForbiddenPhrase("在催了", "zh-CN", "fob_off", "好", ("我也在催",)),
        ForbiddenPhrase("wait", "en", "fob_off", "look", ("a", "b")),
        ForbiddenPhrase("no", "en", "blame", "yes"),
    )


def test_tests_are_plain_data_and_say_where_they_stand() -> None:
    text = """suite: golden
cases:
  - name: first
    given: {"order": {"lines": [{"paid": "8.00", "quantity": 1}], "delivered_at": null}, "ok": true}
    grants: [{customer: C1, order: O1, at: "2026-06-01T00:00:00Z", value: "1.00", currency: CNY,
      kind: refund, policy: shipping_delay}]
    expect: {}
"""
    suite = loaded({"tests/golden.yaml": text}).suites[0]
    assert (suite.name, suite.file) == ("golden", "tests/golden.yaml")
    case = suite.cases[0]
    assert (case.name, case.line, case.column) == ("first", 3, 11)
    assert case.given == {
        "order": {"lines": [{"paid": "8.00", "quantity": 1}], "delivered_at": None},
        "ok": True,
    }
    at = datetime(2026, 6, 1, tzinfo=UTC)
    value = Money(100, "CNY")
    assert case.grants == (
        EarlierGrant("C1", "O1", at, value, policy="shipping_delay", kind=RemedyKind.REFUND),
    )
    assert case.expect == {}


def test_suites_can_be_read_while_the_pack_has_errors() -> None:
    result = loaded({"roles.yaml": None, "tests/a.yaml": "suite: a\ncases: []\n"})
    assert result.pack is None
    assert [suite.name for suite in result.suites] == ["a"]


def test_versions_of_a_policy_stand_together_by_their_start() -> None:
    def version(start: int, end: int) -> str:
        span = f'{{from: "{start}-01-01T00:00:00Z", until: "{end}-01-01T00:00:00Z"}}'
        return WHOLE["shipping_delay.yaml"] + f"effective: {span}\n"

    result = loaded(
        {
            "shipping_delay.yaml": version(2027, 2028),
            "a.yaml": "policy: a\nreason_code: A\napplies_to: [shipping_delay]\n",
            "z.yaml": version(2026, 2027),
        }
    )
    ordered = pack_of(result).policies
    assert [each.id for each in ordered] == ["a", "shipping_delay", "shipping_delay"]
    assert [each.effective_from and each.effective_from.year for each in ordered] == [
        None,
        2026,
        2027,
    ]
    assert result.problems == ()


def test_strict_makes_an_unconfirmed_parameter_an_error() -> None:
    changed = policy("message: $a\nparameters: {a: hi}\nunconfirmed: [a]")
    changed["messages/en.yaml"] = "scripts: {hi: {}}"
    assert loaded(changed).pack is not None
    strict = loaded(changed, strict=True)
    assert strict.pack is None
    assert [each.code for each in strict.problems if each.severity is Severity.ERROR] == [
        "UNCONFIRMED_PARAMETER"
    ]


def test_the_same_bytes_load_to_the_same_pack() -> None:
    changed = cap("{cap: b, scope: claim, measure: count, limit: 1}")
    assert loaded(changed) == loaded(changed)


def test_the_golden_pack_loads_without_an_error(shared: Path | None) -> None:
    if shared is None:
        return
    result = load_folder(shared / "cases" / "pack")
    assert pack_of(result).policies
    assert [len(suite.cases) for suite in result.suites] == [15]


def test_the_shipped_pack_loads_without_an_error() -> None:
    result = load_folder(Path(__file__).resolve().parents[2] / "policies")
    assert pack_of(result).policies
    assert result.suites
