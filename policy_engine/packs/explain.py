"""Why a decision is what it is, for a person: every plan with its condition, what was observed
and required, entitled → caps → allowed, and what would change the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from policy_engine.core.conditions import (
    All,
    Comparison,
    Condition,
    Not,
    Outcome,
    comparisons,
    evaluate,
    formula,
)
from policy_engine.core.decision import (
    CapReading,
    Decision,
    NotOffered,
    OfferedPlan,
    OfferedRemedy,
    Refusal,
)
from policy_engine.core.facts import ABSENT, UNKNOWN, value_text
from policy_engine.core.money import format_minor
from policy_engine.core.policy import AddOn, DerivedFact, Pack, Plan, Policy, Text
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_timestamp
from policy_engine.wire.texts import ask_text, localised

WORDS = {True: "true", False: "false", None: "unknown"}


@dataclass(frozen=True, slots=True)
class Node:
    """One comparison (`fact` set) or a group (`all of`, `any of`, `not`) of a condition."""

    outcome: str
    """true, false or unknown."""
    text: str
    fact: str | None = None
    observed: str | None = None
    required: str | None = None
    parts: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedRemedy:
    """Amounts with currency, such as `40.00 CNY`."""

    kind: str
    source: str
    entitled: str
    allowed: str
    pending: str
    uncovered: str
    status: str


@dataclass(frozen=True, slots=True)
class ExplainedPlan:
    plan: str
    title: str
    verdict: str
    """`offered`, or the code of the refusal."""
    recommended: bool
    condition: Node | None
    """None: the plan has none, so it always holds."""
    remedies: tuple[ExplainedRemedy, ...]
    binding_cap: str | None
    approver: str | None
    would_change: tuple[str, ...]
    """What would have to be different for this plan to be had, or to be had in full."""


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A derived fact's rule, an add-on or an action with its condition and what came of it."""

    name: str
    verdict: str
    condition: Node | None


@dataclass(frozen=True, slots=True)
class ExplainedFact:
    """A derived fact and its rules: the first that holds decides, an unknown one stops."""

    fact: str
    value: str
    rules: tuple[ExplainedRule, ...]


@dataclass(frozen=True, slots=True)
class ExplainedCap:
    cap: str
    scope: str
    limit: str
    used: str
    headroom: str
    resets_at: str


@dataclass(frozen=True, slots=True)
class Explanation:
    outcome: str
    as_of: str
    order: str
    agent: str
    plans: tuple[ExplainedPlan, ...]
    add_ons: tuple[ExplainedRule, ...]
    derived: tuple[ExplainedFact, ...]
    """Those that the shown conditions use, themselves or through others."""
    actions: tuple[ExplainedRule, ...]
    caps: tuple[ExplainedCap, ...]
    facts_needed: tuple[tuple[str, str], ...]
    """(fact, the question to ask for it)."""


def explain(pack: Pack, decision: Decision, request: DecisionRequest, locale: str) -> Explanation:
    """Explain a decision that `pack` made for `request`. Texts of the pack are in `locale`."""
    return _Explaining(pack, decision, request, locale).explanation()


class _Explaining:
    def __init__(
        self, pack: Pack, decision: Decision, request: DecisionRequest, locale: str
    ) -> None:
        self._pack = pack
        self._decision = decision
        self._request = request
        self._locale = locale
        self._seen = {each.comparison: each for each in decision.trace}
        self._plans: dict[str, tuple[Policy, Plan]] = {
            f"{policy.id}/{plan.name}": (policy, plan)
            for policy in self._versions()
            for plan in policy.plans
        }

    def explanation(self) -> Explanation:
        decision = self._decision
        agent = self._request.agent
        return Explanation(
            outcome=decision.outcome.value,
            as_of=format_timestamp(decision.as_of),
            order=self._request.order_id,
            agent=f"{agent.id} ({agent.role})",
            plans=(
                *(self._offered(plan) for plan in decision.plans),
                *(self._refused(each) for each in decision.not_offered),
            ),
            add_ons=tuple(self._add_ons()),
            derived=tuple(self._derived()),
            actions=tuple(self._actions()),
            caps=tuple(self._cap(reading) for reading in decision.caps),
            facts_needed=tuple((fact, self._ask(fact)) for fact in decision.facts_needed),
        )

    def _versions(self) -> Iterator[Policy]:
        """Of each policy the version that decided; of the others, any that applies."""
        for policy in self._pack.policies:
            if policy.applies_to & self._request.incident_types and policy.id not in (
                self._decision.policies
            ):
                yield policy
        reported = self._request.fields.get("incident.reported_at")
        for policy in self._pack.policies:
            at = reported if policy.date_by.value == "incident" else self._decision.as_of
            decided = policy.id in self._decision.policies
            if decided and isinstance(at, datetime) and policy.effective_at(at):
                yield policy

    def _deciding(self) -> list[Policy]:
        return [policy for policy in self._versions() if policy.id in self._decision.policies]

    def _node(self, condition: Condition) -> Node:
        outcome = WORDS[self._outcome(condition)]
        if isinstance(condition, Comparison):
            observed = self._observed(condition)
            required = condition.required(self._request.currency)
            return Node(outcome, f"{condition.fact} {required}", condition.fact, observed, required)
        if isinstance(condition, Not):
            return Node(outcome, "not", parts=(self._node(condition.part),))
        text = "all of" if isinstance(condition, All) else "any of"
        return Node(outcome, text, parts=tuple(self._node(part) for part in condition.parts))

    def _observed(self, comparison: Comparison) -> str | None:
        because = self._seen.get(comparison)
        if because is None:
            return None
        if because.observed is ABSENT:
            return "null"
        if because.observed is UNKNOWN:
            spec = self._pack.facts[comparison.fact]
            return "not sent" if spec.sent or spec.from_request else "unknown"
        return value_text(because.observed)

    def _outcome(self, condition: Condition) -> Outcome:
        leaves = list(dict.fromkeys(comparisons(condition)))
        numbers = {leaf: number for number, leaf in enumerate(leaves)}
        truth = {
            numbers[leaf]: because.outcome
            for leaf in leaves
            if (because := self._seen.get(leaf)) is not None and because.outcome is not None
        }
        return evaluate(formula(condition, numbers.__getitem__), truth)

    def _condition(self, condition: Condition | None) -> Node | None:
        return None if condition is None else self._node(condition)

    def _offered(self, plan: OfferedPlan) -> ExplainedPlan:
        of = self._plans[plan.plan][1]
        return ExplainedPlan(
            plan=plan.plan,
            title=self._text(of.title),
            verdict="offered",
            recommended=plan.recommended,
            condition=self._condition(of.when),
            remedies=tuple(self._remedy(each) for each in plan.remedies),
            binding_cap=plan.binding_cap,
            approver=plan.approver,
            would_change=tuple(self._more_of(plan)),
        )

    def _remedy(self, remedy: OfferedRemedy) -> ExplainedRemedy:
        return ExplainedRemedy(
            kind=remedy.rule.kind.value,
            source=remedy.source,
            entitled=self._money(remedy.entitled),
            allowed=self._money(remedy.allowed),
            pending=self._money(remedy.pending),
            uncovered=self._money(remedy.uncovered),
            status=remedy.status.value,
        )

    def _refused(self, refused: NotOffered) -> ExplainedPlan:
        found = self._plans.get(refused.plan)
        decided = found is not None and found[0].id in self._decision.policies
        return ExplainedPlan(
            plan=refused.plan,
            title=self._text(found[1].title) if found else "",
            verdict=refused.code.value,
            recommended=False,
            condition=self._condition(found[1].when) if found and decided else None,
            remedies=(),
            binding_cap=None,
            approver=None,
            would_change=tuple(self._remedy_for(refused)),
        )

    def _more_of(self, plan: OfferedPlan) -> Iterator[str]:
        """What would let the agent give all of an offered plan."""
        if plan.binding_cap is not None:
            yield from self._cap_texts(plan.binding_cap)
        if plan.status.value != "allowed" and plan.approver is not None:
            what = self._money(plan.pending) if plan.pending else "what is pending"
            yield f"`{plan.approver}` can approve {what} more"
        if plan.uncovered:
            yield f"nobody up the approver chain can give the other {self._money(plan.uncovered)}"

    def _remedy_for(self, refused: NotOffered) -> Iterator[str]:
        match refused.code:
            case Refusal.CONDITION_FALSE:
                for because in refused.because:
                    fact, observed = because.comparison.fact, value_text(because.observed) or "null"
                    required = because.comparison.required(self._request.currency)
                    negation = "not " if because.outcome else ""
                    yield f"`{fact}` is {observed}; required: {negation}{required}"
            case Refusal.FACTS_MISSING | Refusal.EVIDENCE_MISSING:
                for lacking in refused.lacks:
                    yield f"send `{lacking}`: {self._ask(lacking)}"
            case Refusal.CAP_EXHAUSTED | Refusal.NO_LIMIT_FOR_CURRENCY:
                for reading in self._decision.caps:
                    if not reading.headroom:
                        yield from self._cap_texts(reading.cap.name)
            case _:
                yield self._plainly(refused.code)

    def _plainly(self, code: Refusal) -> str:
        currency = self._request.currency
        return {
            Refusal.NOT_EFFECTIVE: "no version of the policy is in force at that time",
            Refusal.NO_AMOUNT_FOR_CURRENCY: f"the policy names no amount in {currency}",
            Refusal.NOTHING_LEFT: "it comes to zero, or all that was paid is already given back",
            Refusal.ROLE_FORBIDDEN: "no role up the approver chain may issue its first remedy",
            Refusal.FALLBACK_NOT_NEEDED: "it is kept for when no other plan can be had",
            Refusal.BEYOND_OFFER_AT_MOST: "better plans already fill `offer_at_most`",
        }.get(code, code.value)

    def _cap_texts(self, name: str) -> Iterator[str]:
        for reading in self._decision.caps:
            if reading.cap.name != name:
                continue
            cap = self._cap(reading)
            if reading.limit is None:
                yield f"cap `{name}` has no limit in {self._request.currency}, so it allows nothing"
                continue
            resets = f", eases at {cap.resets_at}" if cap.resets_at else ""
            yield (
                f"cap `{name}` ({cap.scope}) leaves {cap.headroom} of {cap.limit}, "
                f"{cap.used} used{resets}"
            )

    def _add_ons(self) -> Iterator[ExplainedRule]:
        appended = {remedy.source for plan in self._decision.plans for remedy in plan.remedies}
        for policy in self._deciding():
            for add_on in policy.add_ons:
                name = f"{policy.id}/{add_on.name}"
                verdict = "appended" if name in appended else "not appended"
                yield ExplainedRule(name, verdict, self._condition(add_on.when))

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
            outcome = True if rule.when is None else self._outcome(rule.when)
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
        for policy in self._deciding():
            given: list[Plan | AddOn] = [*policy.plans, *policy.add_ons]
            conditions = [each.when for each in given] + [each.when for each in policy.actions]
            named |= {leaf.fact for condition in conditions for leaf in comparisons(condition)}
            remedies = [remedy for each in given for remedy in each.remedies]
            named |= {remedy.per.fact for remedy in remedies if remedy.per is not None}
        for layer in reversed(self._pack.derived):
            for derived in layer:
                if derived.fact in named:
                    for rule in derived.rules:
                        named |= {leaf.fact for leaf in comparisons(rule.when)}
        return named

    def _actions(self) -> Iterator[ExplainedRule]:
        due = {each.what.name: each.due_at for each in self._decision.actions}
        for policy in self._deciding():
            for action in policy.actions:
                at = due.get(action.name)
                verdict = "due" if action.name in due else "not due"
                if at is not None:
                    verdict = f"due by {format_timestamp(at)}"
                yield ExplainedRule(
                    f"{policy.id}/{action.name}", verdict, self._condition(action.when)
                )

    def _cap(self, reading: CapReading) -> ExplainedCap:
        cap = reading.cap
        counts = cap.measure.value == "count"

        def shown(amount: int) -> str:
            return str(amount) if counts else self._money(amount)

        scope = cap.scope.value if reading.policy is None else f"{cap.scope.value} {reading.policy}"
        return ExplainedCap(
            cap.name,
            scope if cap.window is None else f"{scope}, {cap.window}",
            "none" if reading.limit is None else shown(reading.limit),
            shown(reading.used),
            shown(reading.headroom),
            "" if reading.resets_at is None else format_timestamp(reading.resets_at),
        )

    def _ask(self, fact: str) -> str:
        default = self._pack.settings.default_locale
        return ask_text(fact, self._pack.facts.get(fact), self._locale, default)

    def _text(self, text: Text) -> str:
        return localised(text, self._locale, self._pack.settings.default_locale)

    def _money(self, minor: int) -> str:
        currency = self._request.currency
        return f"{format_minor(minor, currency)} {currency}"
