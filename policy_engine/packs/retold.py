"""A decision looked at again: its outcomes, facts and worths, as an explanation needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from policy_engine.core.candidates import REPORTED_AT, EvidenceAtHand
from policy_engine.core.conditions import (
    Comparison,
    Condition,
    Outcome,
    comparisons,
    evaluate,
    formula,
)
from policy_engine.core.decision import CapReading
from policy_engine.core.entitlement import Entitlement, RemedySource
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import ABSENT, UNKNOWN, value_text
from policy_engine.core.money import format_minor
from policy_engine.core.policy import DateBy, EvidenceNeed, Pack, Plan, Policy, Text
from policy_engine.packs.offline import Answer
from policy_engine.wire.texts import EVIDENCE_PREFIX, ask_text, localised


class Retold:
    """An answer with the pack that gave it. Texts of the pack are in `locale`."""

    def __init__(self, pack: Pack, answer: Answer, locale: str) -> None:
        self.pack = pack
        self.decision = answer.decision
        self.request = answer.request
        self.money_back = answer.money_back
        self._locale = locale
        self._seen = {each.comparison: each for each in answer.decision.trace}
        self.facts = FactBase(pack.facts, answer.request, answer.decision.as_of)
        self._settle_derived()
        self._evidence = EvidenceAtHand(self.facts, frozenset())
        self.plans: dict[str, tuple[Policy, Plan]] = {
            f"{policy.id}/{plan.name}": (policy, plan)
            for policy in self._versions()
            for plan in policy.plans
        }

    def _settle_derived(self) -> None:
        for layer in self.pack.derived:
            for derived in layer:
                value = self.decision.derived.get(derived.fact, UNKNOWN)
                open_ = (
                    each.when for each in derived.rules if self.outcome(each.when) is not False
                )
                lacking = self.lacking(next(open_, None)) if value is UNKNOWN else ()
                self.facts.derive(derived.fact, value, lacking)

    def _versions(self) -> Iterator[Policy]:
        """Of each policy the version that decided; of the others, any that applies."""
        for policy in self.pack.policies:
            if policy.applies_to & self.request.incident_types and not self.decided(policy):
                yield policy
        yield from self.deciding()

    def deciding(self) -> Iterator[Policy]:
        """The versions that decided, in the pack's order."""
        reported = self.request.fields.get(REPORTED_AT)
        for policy in self.pack.policies:
            at = reported if policy.date_by is DateBy.INCIDENT else self.decision.as_of
            if self.decided(policy) and isinstance(at, datetime) and policy.effective_at(at):
                yield policy

    def decided(self, policy: Policy) -> bool:
        """Did a version of this policy decide?"""
        return policy.id in self.decision.policies

    def outcome(self, condition: Condition | None) -> Outcome:
        """What the condition came to; one that is not there holds."""
        if condition is None:
            return True
        leaves = list(dict.fromkeys(comparisons(condition)))
        numbers = {leaf: number for number, leaf in enumerate(leaves)}
        truth = {
            numbers[leaf]: because.outcome
            for leaf in leaves
            if (because := self._seen.get(leaf)) is not None and because.outcome is not None
        }
        return evaluate(formula(condition, numbers.__getitem__), truth)

    def observed(self, comparison: Comparison) -> str | None:
        """The value that was compared, in words; None where nobody looked."""
        because = self._seen.get(comparison)
        if because is None:
            return None
        if because.observed is ABSENT:
            return "null"
        if because.observed is UNKNOWN:
            spec = self.pack.facts[comparison.fact]
            return "not sent" if spec.sent or spec.from_request else "unknown"
        return value_text(because.observed)

    def lacking(self, condition: Condition | None) -> tuple[str, ...]:
        """What a caller could send to settle the comparisons that are unknown."""
        leaves = comparisons(condition) if condition is not None else ()
        return tuple(
            dict.fromkeys(
                name
                for leaf in leaves
                if (because := self._seen.get(leaf)) is not None and because.outcome is None
                for name in self.facts.lacking(leaf.fact)
            )
        )

    def proves(self, need: EvidenceNeed) -> bool:
        return not self._evidence.missing((need,))

    def sends(self, kind: str) -> bool:
        """Was any evidence of this kind sent, sufficient or not?"""
        return any(item.kind == kind for item in self.request.evidence)

    def worth(self, sources: Iterable[RemedySource]) -> Entitlement:
        """What remedies come to before any limit."""
        worked = Entitlement(self.facts)
        worked.add(sources)
        return worked

    def money(self, minor: int) -> str:
        return f"{format_minor(minor, self.decision.currency)} {self.decision.currency}"

    def amount(self, reading: CapReading, amount: int) -> str:
        """A number of grants, or money, as the cap measures."""
        return str(amount) if reading.cap.measure.value == "count" else self.money(amount)

    def text(self, text: Text) -> str:
        return localised(text, self._locale, self.pack.settings.default_locale)

    def ask(self, fact: str) -> str:
        default = self.pack.settings.default_locale
        return ask_text(fact, self.pack.facts.get(fact), self._locale, default)


def evidence_name(need: EvidenceNeed) -> str:
    """How a caller is asked for it."""
    return EVIDENCE_PREFIX + need.kind


def scope_text(reading: CapReading) -> str:
    """`customer, P30D`; of a claim with its policy."""
    cap = reading.cap
    scope = cap.scope.value if reading.policy is None else f"{cap.scope.value} {reading.policy}"
    return scope if cap.window is None else f"{scope}, {cap.window}"
