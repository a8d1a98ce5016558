"""Why a decision is what it is, for a person: every plan with its condition, what was observed
and required, entitled → caps → allowed, and what would change the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policy_engine.core.conditions import All, Comparison, Condition, Not, comparisons
from policy_engine.core.decision import CapReading, NotOffered, OfferedPlan, OfferedRemedy
from policy_engine.core.facts import ABSENT, UNKNOWN, value_text
from policy_engine.core.policy import AddOn, DerivedFact, EvidenceNeed, Pack, Plan
from policy_engine.core.times import format_timestamp
from policy_engine.packs.explanation import (
    ALWAYS,
    ExplainedCap,
    ExplainedFact,
    ExplainedPlan,
    ExplainedRemedy,
    ExplainedRule,
    Explanation,
    Node,
)
from policy_engine.packs.offline import Answer
from policy_engine.packs.reasons import Reasons
from policy_engine.packs.retold import Retold, evidence_name, scope_text

WORDS = {True: "true", False: "false", None: "unknown"}


def explain(pack: Pack, answer: Answer, locale: str | None = None) -> Explanation:
    """Explain an answer that `pack` gave. Texts of the pack are in `locale`, or the answer's."""
    return _Explaining(Retold(pack, answer, locale or answer.locale)).explanation()


class _Explaining:
    def __init__(self, retold: Retold) -> None:
        self._retold = retold
        self._reasons = Reasons(retold)
        self._pack = retold.pack
        self._decision = retold.decision

    def explanation(self) -> Explanation:
        decision, request = self._decision, self._retold.request
        return Explanation(
            outcome=decision.outcome.value,
            as_of=format_timestamp(decision.as_of),
            order=request.order_id,
            agent=f"{request.agent.id} ({request.agent.role})",
            plans=(
                *(self._offered(plan) for plan in decision.plans),
                *(self._refused(each) for each in decision.not_offered),
            ),
            add_ons=tuple(self._add_ons()),
            derived=tuple(self._derived()),
            actions=tuple(self._actions()),
            caps=tuple(self._cap(reading) for reading in decision.caps),
            facts_needed=tuple((fact, self._retold.ask(fact)) for fact in decision.facts_needed),
        )

    def _condition(self, condition: Condition | None) -> Node:
        return ALWAYS if condition is None else self._node(condition)

    def _node(self, condition: Condition) -> Node:
        outcome = WORDS[self._retold.outcome(condition)]
        if isinstance(condition, Comparison):
            observed = self._retold.observed(condition)
            required = condition.required(self._retold.request.currency)
            return Node(outcome, f"{condition.fact} {required}", condition.fact, observed, required)
        if isinstance(condition, Not):
            return Node(outcome, "not", parts=(self._node(condition.part),))
        text = "all of" if isinstance(condition, All) else "any of"
        return Node(outcome, text, parts=tuple(self._node(part) for part in condition.parts))

    def _evidence(self, *needs: EvidenceNeed) -> tuple[Node, ...]:
        return tuple(self._proof(need) for need in needs)

    def _proof(self, need: EvidenceNeed) -> Node:
        filled = "".join(f" with {each}" for each in need.needs)
        return Node(
            WORDS[self._retold.proves(need)],
            f"evidence {need.kind}{filled}",
            evidence_name(need),
            "sent" if self._retold.sends(need.kind) else "not sent",
            f"sent{filled}",
        )

    def _offered(self, plan: OfferedPlan) -> ExplainedPlan:
        policy, of = self._retold.plans[plan.plan]
        return ExplainedPlan(
            plan=plan.plan,
            title=self._retold.text(of.title),
            verdict="offered",
            recommended=plan.recommended,
            condition=self._condition(of.when),
            evidence=self._evidence(*policy.evidence, *of.evidence),
            remedies=tuple(self._remedy(each) for each in plan.remedies),
            binding_cap=plan.binding_cap,
            approver=plan.approver,
            would_change=tuple(self._reasons.for_more(plan)),
        )

    def _remedy(self, remedy: OfferedRemedy) -> ExplainedRemedy:
        money = self._retold.money
        return ExplainedRemedy(
            kind=remedy.rule.kind.value,
            source=remedy.source,
            entitled=money(remedy.entitled),
            allowed=money(remedy.allowed),
            pending=money(remedy.pending),
            uncovered=money(remedy.uncovered),
            status=remedy.status.value,
        )

    def _refused(self, refused: NotOffered) -> ExplainedPlan:
        policy, of = self._retold.plans[refused.plan]
        decided = self._retold.decided(policy)
        return ExplainedPlan(
            plan=refused.plan,
            title=self._retold.text(of.title),
            verdict=refused.code.value,
            recommended=False,
            condition=self._condition(of.when) if decided else None,
            evidence=self._evidence(*policy.evidence, *of.evidence) if decided else (),
            remedies=(),
            binding_cap=None,
            approver=None,
            would_change=tuple(self._reasons.for_refused(refused)),
        )

    def _add_ons(self) -> Iterator[ExplainedRule]:
        appended = {remedy.source for plan in self._decision.plans for remedy in plan.remedies}
        for policy in self._retold.deciding():
            for add_on in policy.add_ons:
                name = f"{policy.id}/{add_on.name}"
                joined = name in appended
                yield ExplainedRule(
                    name,
                    "appended" if joined else "not appended",
                    self._condition(add_on.when),
                    self._evidence(*policy.evidence, *add_on.evidence),
                    () if joined else tuple(self._reasons.for_add_on(policy, add_on)),
                )

    def _derived(self) -> Iterator[ExplainedFact]:
        concerned = self._concerned()
        for layer in self._pack.derived:
            for derived in layer:
                if derived.fact in concerned:
                    value = self._decision.derived.get(derived.fact, UNKNOWN)
                    shown = value_text(value) or ("null" if value is ABSENT else "unknown")
                    yield ExplainedFact(derived.fact, shown, tuple(self._rules(derived)))

    def _rules(self, derived: DerivedFact) -> Iterator[ExplainedRule]:
        settled = False
        for rule in derived.rules:
            outcome = self._retold.outcome(rule.when)
            if settled:
                verdict = "not reached"
            else:
                verdict = {True: "decides", False: "does not hold", None: "unknown"}[outcome]
            settled = settled or outcome is not False
            name = f"is {value_text(rule.value) or 'null'}"
            yield ExplainedRule(name, verdict, self._condition(rule.when))

    def _concerned(self) -> set[str]:
        """Facts named by the conditions and remedies of what decided, and what derives those."""
        named: set[str] = set()
        for policy in self._retold.deciding():
            given: list[Plan | AddOn] = [*policy.plans, *policy.add_ons]
            named |= _named(each.when for each in (*given, *policy.actions))
            remedies = [remedy for each in given for remedy in each.remedies]
            named |= {remedy.per.fact for remedy in remedies if remedy.per is not None}
        for layer in reversed(self._pack.derived):
            for derived in layer:
                if derived.fact in named:
                    named |= _named(rule.when for rule in derived.rules)
        return named

    def _actions(self) -> Iterator[ExplainedRule]:
        due = {(each.policy, each.what.name): each.due_at for each in self._decision.actions}
        for policy in self._retold.deciding():
            for action in policy.actions:
                known = (policy.id, action.name)
                verdict = "due" if known in due else "not due"
                at = due.get(known)
                if at is not None:
                    verdict = f"due by {format_timestamp(at)}"
                yield ExplainedRule("/".join(known), verdict, self._condition(action.when))

    def _cap(self, reading: CapReading) -> ExplainedCap:
        amount = self._retold.amount
        return ExplainedCap(
            reading.cap.name,
            scope_text(reading),
            "none" if reading.limit is None else amount(reading, reading.limit),
            amount(reading, reading.used),
            amount(reading, reading.headroom),
            "" if reading.resets_at is None else format_timestamp(reading.resets_at),
        )


def _named(conditions: Iterable[Condition | None]) -> set[str]:
    return {leaf.fact for condition in conditions for leaf in comparisons(condition)}
