"""Packs, requests and usage made by hand, for the tests of the evaluation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from policy_engine.core.caps import Cap, Limit, Measure, Scope, ScopeIds, Window, counter_key
from policy_engine.core.conditions import Comparison, Op
from policy_engine.core.decision import Decision, NotOffered, OfferedPlan
from policy_engine.core.evaluation import Engine
from policy_engine.core.facts import ABSENT, BUILT_IN, FactSpec, FactType, Missing, Value
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.money import Money, parse_money
from policy_engine.core.policy import (
    Amounts,
    DerivedFact,
    FactAmount,
    FixedAmount,
    Pack,
    PackSettings,
    Per,
    PercentOf,
    Plan,
    Policy,
    RemedyKind,
    RemedyRule,
    Role,
    Worth,
)
from policy_engine.core.ports import Matcher, Usage, UsageQuestion, Used
from policy_engine.core.request import Agent, DecisionRequest, Evidence, Line
from policy_engine.rete import best_matcher

NOW = datetime(2026, 6, 7, tzinfo=UTC)
DAY = timedelta(days=1)

ROLES = (
    Role("bot", frozenset({"coupon", "gift"}), approver="agent"),
    Role("agent", approver="supervisor"),
    Role("supervisor"),
)

MATCHERS: tuple[Matcher, ...] = (Interpreter(), best_matcher("auto"))


def amounts(*texts: str) -> dict[str, Money]:
    """`"40.00 CNY"`, … → currency → money."""
    parsed = (parse_money(*text.split()) for text in texts)
    return {money.currency: money for money in parsed}


def percent(number: str, of: str = "order.goods_paid") -> PercentOf:
    return PercentOf(Decimal(number), of)


def fixed(*texts: str) -> FixedAmount:
    return FixedAmount(amounts(*texts))


def remedy(
    kind: str,
    worth: Worth | str | None = None,
    *,
    per: Per | None = None,
    round_to: Amounts | None = None,
    least: Amounts | None = None,
    most: Amounts | None = None,
    within: timedelta | None = None,
) -> RemedyRule:
    """A text worth is a fixed amount, such as `"40.00 CNY"`, or the name of a money fact."""
    if isinstance(worth, str):
        worth = fixed(worth) if " " in worth else FactAmount(worth)
    return RemedyRule(RemedyKind(kind), worth, per, round_to, min=least, max=most, within=within)


def plan(name: str, *remedies: RemedyRule, **options: object) -> Plan:
    return Plan(name, {"en": name}, remedies, **options)  # type: ignore[arg-type]


def policy(name: str, *plans: Plan, **options: object) -> Policy:
    applies = {"applies_to": frozenset({"late"})} | options
    return Policy(name, {"en": name}, name.upper(), plans=plans, **applies)  # type: ignore[arg-type]


def cap(
    name: str,
    limit: Limit | str,
    scope: Scope = Scope.CUSTOMER,
    *,
    window: Window = None,
    roles: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    policies: Iterable[str] | None = None,
) -> Cap:
    """A text limit is an amount; a number is a count."""
    measure = Measure.COUNT if isinstance(limit, int) else Measure.VALUE
    if isinstance(limit, str):
        limit = amounts(limit)
    roles, kinds, policies = (
        None if names is None else frozenset(names) for names in (roles, kinds, policies)
    )
    return Cap(name, scope, measure, limit, window, roles, kinds, policies)


def pack(
    *policies: Policy,
    caps: Iterable[Cap] = (),
    roles: Iterable[Role] = ROLES,
    facts: Iterable[FactSpec] = (),
    derived: tuple[tuple[DerivedFact, ...], ...] = (),
    settings: PackSettings | None = None,
) -> Pack:
    specs = {**BUILT_IN, **{spec.name: spec for spec in facts}}
    return Pack(
        "sha256:test",
        {role.name: role for role in roles},
        tuple(caps),
        policies,
        specs,
        derived,
        settings or PackSettings(),
    )


def is_(fact: str, value: str | bool) -> Comparison:
    type_ = FactType.BOOLEAN if isinstance(value, bool) else FactType.STRING
    return Comparison(fact, Op.IS, type_, value)


def over(fact: str, days: int) -> Comparison:
    return Comparison(fact, Op.OVER, FactType.DURATION, days * DAY)


def request(
    *paid: str | None,
    currency: str = "CNY",
    role: str = "agent",
    shipping: str | Missing | None = "",
    tax: tuple[str | None, ...] = (),
    lines: Iterable[str] = (),
    types: Iterable[str] = ("late",),
    evidence: tuple[Evidence, ...] = (),
    facts: Mapping[str, Value] | None = None,
    **fields: Value,
) -> DecisionRequest:
    """Lines "1", "2", … of these prices (None: null). `shipping`: "" is omitted, None null.

    Fields are named with two underscores for the dot: `customer__tier="gold"`.
    """
    rates = [*tax, *([None] * len(paid))]
    sent: dict[str, Value] = {name.replace("__", "."): value for name, value in fields.items()}
    if shipping is None:
        sent["order.shipping_paid"] = ABSENT
    elif isinstance(shipping, str) and shipping:
        sent["order.shipping_paid"] = parse_money(shipping, currency)
    return DecisionRequest(
        order_id="O1",
        currency=currency,
        customer_id="C1",
        incident_types=frozenset(types),
        lines=tuple(
            Line(
                str(number),
                ABSENT if text is None else parse_money(text, currency),
                *(() if rate is None else (Decimal(rate),)),
            )
            for number, (text, rate) in enumerate(zip(paid, rates, strict=False), start=1)
        ),
        agent=Agent("A1", role),
        incident_lines=frozenset(lines),
        evidence=evidence,
        fields=sent,
        facts=facts or {},
    )


@dataclass
class Past:
    """What was granted before; a UsagePort."""

    used: tuple[tuple[Cap, int | Used], ...] = ()
    """Cap → minor units, or a number of grants, on the counter that the cap is read from."""
    money_back: Mapping[str, int] = field(default_factory=dict)
    spent: frozenset[tuple[str, str]] = frozenset()
    currency: str = "CNY"
    policy: str = "late"
    asked: list[UsageQuestion] = field(default_factory=list)

    def read(self, question: UsageQuestion) -> Usage:
        self.asked.append(question)
        ids = ScopeIds("O1", "C1", "A1")
        used = {
            counter_key(of, ids, self.policy, self.currency): (
                amount if isinstance(amount, Used) else Used(amount)
            )
            for of, amount in self.used
        }
        return Usage(used, self.money_back, self.spent)


def decide(
    of: Pack, asked: DecisionRequest, past: Past | None = None, as_of: datetime = NOW
) -> Decision:
    """The decision, which must be the same under every matcher and a second time."""
    decisions = []
    for matcher in MATCHERS:
        engine = Engine(of, matcher)
        decisions += [engine.evaluate(asked, as_of, past or Past()) for _ in range(2)]
        engine.close()
    assert all(decision == decisions[0] for decision in decisions)
    return decisions[0]


def only_plan(decision: Decision) -> OfferedPlan:
    assert [*decision.not_offered] == []
    (found,) = decision.plans
    return found


def refused(decision: Decision) -> NotOffered:
    assert decision.plans == ()
    (found,) = decision.not_offered
    return found


def codes(decision: Decision) -> dict[str, str]:
    return {each.plan: each.code.value for each in decision.not_offered}


def split_of(offered: OfferedPlan) -> tuple[int, int, int, int]:
    """Entitled, allowed, pending, uncovered in minor units."""
    return offered.entitled, offered.allowed, offered.pending, offered.uncovered
