"""What holds of every decision, and a second, plainer reading of §4 (9) to compare with."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from policy_engine.core.caps import Cap, Measure, Scope
from policy_engine.core.decision import (
    AuthorityStatus,
    Decision,
    DecisionOutcome,
    OfferedPlan,
    RemedyStatus,
)
from policy_engine.core.money import Money
from policy_engine.core.policy import (
    MONEY_BACK,
    WHOLE_ONLY,
    FixedAmount,
    Floor,
    Pack,
    Plan,
    RemedyKind,
    RemedyRule,
    Role,
)
from policy_engine.core.request import DecisionRequest
from tests.core.making import Past, decide, is_, pack, policy, request

PAID = 50
"""The one line's price in minor units; the order has nothing else."""
KINDS = ("refund", "discount", "coupon", "store_credit", "gift", "keep_item")
POLICIES = ("early", "late")


def yuan(minor: int) -> dict[str, Money]:
    return {"CNY": Money(minor, "CNY")}


@dataclass(frozen=True)
class Situation:
    pack: Pack
    request: DecisionRequest
    past: Past

    def decide(self) -> Decision:
        return decide(self.pack, self.request, self.past)


class Dice(Random):
    """Small packs, dense with caps that meet. Drawn by seed: a strategy for each choice would
    take ten times as long as the decision."""

    def some(self, names: Iterable[str]) -> frozenset[str] | None:
        """A filter: mostly everything, else a few."""
        if self.random() < 0.5:
            return None
        return frozenset(self.sample(sorted(names), self.randint(1, 2)))

    def remedy(self) -> RemedyRule:
        kind = RemedyKind(self.choice(KINDS))
        act = kind is RemedyKind.KEEP_ITEM
        return RemedyRule(kind, None if act else FixedAmount(yuan(self.randint(0, 60))))

    def plan(self, name: str) -> Plan:
        return Plan(
            name,
            {},
            tuple(self.remedy() for _ in range(self.randint(1, 4))),
            when=self.choice([None, None, is_("customer.tier", "gold")]),
            rank=self.choice([0, 0, 1]),
            fallback=self.random() < 0.2,
            floor=self.choice([None, None, None, *Floor]),
        )

    def cap(self, name: str) -> Cap:
        counts = self.random() < 0.3
        return Cap(
            name,
            self.choice([Scope.ORDER, Scope.CUSTOMER, Scope.AGENT, Scope.CLAIM]),
            Measure.COUNT if counts else Measure.VALUE,
            self.randint(0, 2) if counts else yuan(self.randint(0, 60)),
            roles=self.some("abc"),
            kinds=self.some(KINDS),
            policies=self.some(POLICIES),
        )

    def situation(self) -> Situation:
        made = [
            policy(name, *(self.plan(f"p{i}") for i in range(self.randint(1, 3))))
            for name in POLICIES
        ]
        caps = [self.cap(f"cap{i}") for i in range(self.randint(0, 5))]
        roles = [
            Role("a", self.some(KINDS), approver="b"),
            Role("b", self.some(KINDS), approver="c"),
            Role("c", self.some(KINDS)),
        ]
        tier = self.choice([{}, {"customer__tier": "gold"}, {"customer__tier": "none"}])
        past = Past(
            tuple((of, self.randint(0, 2 if isinstance(of.limit, int) else 30)) for of in caps),
            money_back={"line:1": self.choice([0, 0, 20, 50])},
            policy=self.choice(POLICIES),
        )
        asked = request("0.50", role=self.choice("aab"), **tier)
        return Situation(pack(*made, caps=caps, roles=roles), asked, past)


situations = st.integers(0, 2**32).map(lambda seed: Dice(seed).situation())


# --- the plainer reading -----------------------------------------------------------------------

Given = list[tuple[int, bool]]
"""For each remedy: minor units, and whether it is given at all."""


def give(of: Situation, decision: Decision, plan: OfferedPlan, role: Role) -> Given:
    left = {id(each): each.headroom for each in decision.caps}
    room = PAID - of.past.money_back["line:1"]
    found: Given = []
    for remedy in plan.remedies:
        kind = remedy.rule.kind
        if role.may is not None and kind not in role.may:
            break
        holding = [
            each
            for each in decision.caps
            if (each.cap.roles is None or role.name in each.cap.roles)
            and (each.cap.kinds is None or kind in each.cap.kinds)
            and (each.cap.policies is None or plan.policy in each.cap.policies)
            and (each.policy is None or each.policy == plan.policy)
        ]
        limits = [] if remedy.floor else holding
        full = any(left[id(e)] == 0 for e in limits if e.cap.measure is Measure.COUNT)
        value = [left[id(e)] for e in holding if e.cap.measure is Measure.VALUE]
        most = min([remedy.entitled, *([] if remedy.floor else value)])
        if kind in MONEY_BACK:
            most = min(most, room)
        if full:
            most = 0
        if kind in WHOLE_ONLY and (full or most < remedy.entitled):
            break
        found.append((most, kind in WHOLE_ONLY or most > 0))
        for each in holding:
            if each.cap.measure is Measure.VALUE:
                left[id(each)] = max(0, left[id(each)] - most)
        if kind in MONEY_BACK:
            room -= most
    return found + [(0, False)] * (len(plan.remedies) - len(found))


def chain(of: Situation) -> list[Role]:
    return [of.pack.roles[name] for name in of.pack.approver_chain(of.request.agent.role)]


@given(situations)
def test_allowed_pending_and_approver_are_those_of_the_plainer_reading(of: Situation) -> None:
    decision = of.decide()
    for plan in decision.plans:
        gives = [give(of, decision, plan, role) for role in chain(of)]
        own = gives[0]
        covering = [
            each for each in gives if all(one >= mine for one, mine in zip(each, own, strict=True))
        ]
        wanted = max(covering, key=lambda each: (sum(m for m, _ in each), sum(g for _, g in each)))
        assert [one.allowed for one in plan.remedies] == [minor for minor, _ in own]
        assert [one.allowed + one.pending for one in plan.remedies] == [m for m, _ in wanted]
        approver = None if wanted == own else chain(of)[gives.index(wanted)].name
        assert plan.approver == approver
        assert any(given for _, given in wanted)


# --- what holds of every decision --------------------------------------------------------------


@given(situations)
def test_entitled_is_allowed_and_pending_and_uncovered(of: Situation) -> None:
    for plan in of.decide().plans:
        for each in (plan, *plan.remedies):
            assert each.entitled == each.allowed + each.pending + each.uncovered
            assert min(each.allowed, each.pending, each.uncovered) >= 0
        for name in ("entitled", "allowed", "pending", "uncovered"):
            assert getattr(plan, name) == sum(getattr(each, name) for each in plan.remedies)


@given(situations)
def test_no_cap_is_exceeded_by_what_is_allowed_or_waits(of: Situation) -> None:
    decision = of.decide()
    for plan in decision.plans:
        for reading in decision.caps:
            own, asked = of.request.agent.role, plan.approver or of.request.agent.role
            for role, waits in ((own, False), (asked, True)):
                bound = [
                    each
                    for each in plan.remedies
                    if each.floor is None
                    and reading.cap.holds_for(role, each.rule.kind, each.policy)
                    and reading.policy in (None, each.policy)
                ]
                if reading.cap.measure is Measure.VALUE:
                    total = sum(each.allowed + (each.pending if waits else 0) for each in bound)
                    assert total <= reading.headroom
                elif reading.headroom == 0:
                    assert not any(each.allowed or (waits and each.pending) for each in bound)


@given(situations)
def test_money_back_is_never_more_than_what_is_left_of_the_payment(of: Situation) -> None:
    for plan in of.decide().plans:
        back = [each for each in plan.remedies if each.rule.kind in MONEY_BACK]
        total = sum(each.allowed + each.pending for each in back)
        assert total <= PAID - of.past.money_back["line:1"]


@given(situations)
def test_nobody_is_allowed_what_the_role_may_not_issue(of: Situation) -> None:
    decision = of.decide()
    actor = chain(of)[0]
    for plan in decision.plans:
        for each in plan.remedies:
            if each.allowed or each.status in (RemedyStatus.ALLOWED, RemedyStatus.PARTIAL):
                assert actor.may_issue(each.rule.kind)
            if each.pending or each.status is RemedyStatus.PENDING:
                assert plan.approver is not None
                assert of.pack.roles[plan.approver].may_issue(each.rule.kind)


@given(situations)
def test_what_is_in_kind_is_whole(of: Situation) -> None:
    for plan in of.decide().plans:
        for each in plan.remedies:
            if each.rule.kind in WHOLE_ONLY:
                parts = (each.allowed, each.pending, each.uncovered)
                assert each.entitled in parts
                assert sum(part > 0 for part in parts) <= 1


@given(situations)
def test_status_says_what_the_amounts_say(of: Situation) -> None:
    decision = of.decide()
    for plan in decision.plans:
        waits = any(each.pending or each.status is RemedyStatus.PENDING for each in plan.remedies)
        now = any(
            each.status in (RemedyStatus.ALLOWED, RemedyStatus.PARTIAL) for each in plan.remedies
        )
        wanted = {
            (True, False): AuthorityStatus.ALLOWED,
            (True, True): AuthorityStatus.PARTIAL,
            (False, True): AuthorityStatus.APPROVAL_REQUIRED,
        }[now, waits]
        assert plan.status is wanted
        assert (plan.approver is not None) is waits
    offer = any(each.status is not AuthorityStatus.APPROVAL_REQUIRED for each in decision.plans)
    assert (decision.outcome is DecisionOutcome.OFFER) is offer


@given(situations)
def test_every_plan_is_offered_in_order_or_refused_with_a_code(of: Situation) -> None:
    decision = of.decide()
    keys = [(-each.rank, -each.allowed, -each.pending, each.plan) for each in decision.plans]
    assert keys == sorted(keys)
    assert [each.recommended for each in decision.plans] == [i == 0 for i in range(len(keys))]
    written = [f"{each.id}/{plan.name}" for each in of.pack.policies for plan in each.plans]
    shown = [each.plan for each in (*decision.plans, *decision.not_offered)]
    assert sorted(shown) == sorted(written)


@given(situations)
def test_nothing_is_offered_on_a_condition_that_is_unknown_or_false(of: Situation) -> None:
    decision = of.decide()
    tier = of.request.fields.get("customer.tier")
    conditional = {
        f"{each.id}/{plan.name}"
        for each in of.pack.policies
        for plan in each.plans
        if plan.when is not None
    }
    if tier != "gold":
        code = "CONDITION_FALSE" if tier else "FACTS_MISSING"
        assert {each.plan for each in decision.not_offered if each.code == code} == conditional
        assert not conditional & {each.plan for each in decision.plans}
    assert decision.facts_needed == (("customer.tier",) if conditional and not tier else ())


@given(situations, st.integers(0, 4), st.integers(0, 60))
def test_more_headroom_in_a_cap_over_everything_never_gives_less(
    of: Situation, which: int, more: int
) -> None:
    """With money given only, and caps that bind every kind alike."""
    policies = [
        replace(each, plans=tuple(_as_coupons(plan) for plan in each.plans))
        for each in of.pack.policies
    ]
    caps = [replace(each, kinds=None) for each in of.pack.caps]
    raised = [
        replace(each, limit=yuan(each.limit["CNY"].minor + more))
        if i == which and isinstance(each.limit, dict)
        else each
        for i, each in enumerate(caps)
    ]
    before, after = (
        replace(of, pack=pack(*policies, caps=each, roles=of.pack.roles.values())).decide()
        for each in (caps, raised)
    )
    now = {plan.plan: plan.allowed for plan in after.plans}
    needless = {each.plan for each in after.not_offered if each.code == "FALLBACK_NOT_NEEDED"}
    for plan in before.plans:
        assert plan.plan in needless or now[plan.plan] >= plan.allowed


def _as_coupons(plan: Plan) -> Plan:
    rules = tuple(replace(rule, kind=RemedyKind.COUPON) for rule in plan.remedies if rule.worth)
    return replace(plan, remedies=rules)
