"""A pack made ready to match: comparisons numbered, rule books prepared, policies indexed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from policy_engine.core.conditions import (
    Comparison,
    Condition,
    Formula,
    Outcome,
    comparisons,
    formula,
    reasons,
)
from policy_engine.core.decision import Because
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import ABSENT, UNKNOWN, Value
from policy_engine.core.policy import DerivedFact, Pack, Policy
from policy_engine.core.ports import Matcher, Network, RuleBook


class Comparisons:
    """Gives each distinct comparison of a pack one number."""

    def __init__(self) -> None:
        self.listed: list[Comparison] = []
        self._numbers: dict[Comparison, int] = {}

    def number(self, comparison: Comparison) -> int:
        if comparison not in self._numbers:
            self._numbers[comparison] = len(self.listed)
            self.listed.append(comparison)
        return self._numbers[comparison]


@dataclass(frozen=True, slots=True)
class Section:
    """Rules that are matched together: those of one policy, or of one layer of derived facts."""

    formulas: Mapping[str, Formula]
    network: Network
    leaves: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    policy: Policy
    section: Section


@dataclass(frozen=True, slots=True)
class CompiledLayer:
    facts: tuple[DerivedFact, ...]
    section: Section


def plan_rule(name: str) -> str:
    return f"plan:{name}"


def add_on_rule(name: str) -> str:
    return f"add_on:{name}"


def action_rule(name: str) -> str:
    return f"action:{name}"


def derived_rule(fact: str, position: int) -> str:
    return f"derived:{fact}:{position}"


class CompiledPack:
    """Built once when a pack becomes active; read by every evaluation, from any thread."""

    def __init__(self, pack: Pack, matcher: Matcher) -> None:
        self.pack = pack
        self.matcher_name = matcher.name
        self._matcher = matcher
        self._numbering = Comparisons()
        self.layers = tuple(
            CompiledLayer(layer, self._section(f"derived {depth}", _derived_conditions(layer)))
            for depth, layer in enumerate(pack.derived)
        )
        policies = tuple(
            CompiledPolicy(policy, self._section(policy.id, _policy_conditions(policy)))
            for policy in pack.policies
        )
        self.comparisons: tuple[Comparison, ...] = tuple(self._numbering.listed)
        self._sections = [*(each.section for each in self.layers)]
        self._sections += [each.section for each in policies]
        self._versions: dict[str, list[CompiledPolicy]] = {}
        self._by_type: dict[str, set[str]] = {}
        for each in policies:
            self._versions.setdefault(each.policy.id, []).append(each)
            for incident in each.policy.applies_to:
                self._by_type.setdefault(incident, set()).add(each.policy.id)

    def concerning(self, incident_types: Iterable[str]) -> list[list[CompiledPolicy]]:
        """All versions of each policy of which any version applies to any of the types, by id."""
        none: set[str] = set()
        ids = none.union(*(self._by_type.get(incident, none) for incident in incident_types))
        return [self._versions[policy] for policy in sorted(ids)]

    def close(self) -> None:
        for section in self._sections:
            section.network.close()

    def _section(self, name: str, conditions: Iterator[tuple[str, Condition]]) -> Section:
        formulas: dict[str, Formula] = {}
        leaves: dict[int, None] = {}
        for rule, condition in conditions:
            formulas[rule] = formula(condition, self._numbering.number)
            leaves |= {self._numbering.number(each): None for each in comparisons(condition)}
        network = self._matcher.prepare(RuleBook(name, formulas))
        return Section(formulas, network, tuple(leaves))


def _derived_conditions(layer: Iterable[DerivedFact]) -> Iterator[tuple[str, Condition]]:
    for derived in layer:
        for position, rule in enumerate(derived.rules):
            if rule.when is not None:
                yield derived_rule(derived.fact, position), rule.when


def _policy_conditions(policy: Policy) -> Iterator[tuple[str, Condition]]:
    for plan in policy.plans:
        if plan.when is not None:
            yield plan_rule(plan.name), plan.when
    for add_on in policy.add_ons:
        if add_on.when is not None:
            yield add_on_rule(add_on.name), add_on.when
    for action in policy.actions:
        if action.when is not None:
            yield action_rule(action.name), action.when


class Matching:
    """The comparisons and rules of one evaluation, each evaluated once."""

    def __init__(self, compiled: CompiledPack, facts: FactBase) -> None:
        self._comparisons = compiled.comparisons
        self._facts = facts
        self._outcomes: dict[int, Outcome] = {}
        self._truth: dict[int, bool] = {}

    def match(self, section: Section) -> Mapping[str, bool]:
        """Rule → outcome; a rule that is unknown is left out."""
        if not section.formulas:
            return {}
        for leaf in section.leaves:
            if leaf not in self._outcomes:
                comparison = self._comparisons[leaf]
                outcome = comparison.outcome(self._facts.value(comparison.fact))
                self._outcomes[leaf] = outcome
                if outcome is not None:
                    self._truth[leaf] = outcome
        truth = {leaf: self._truth[leaf] for leaf in section.leaves if leaf in self._truth}
        return section.network.match(truth)

    def because(self, section: Section, rule: str) -> tuple[Because, ...]:
        """The comparisons that make a rule's outcome what it is; () for a rule without one."""
        of = section.formulas.get(rule)
        if of is None:
            return ()
        return tuple(self._because(leaf) for leaf in reasons(of, self._truth))

    def trace(self) -> tuple[Because, ...]:
        """Every comparison evaluated, in the pack's order."""
        return tuple(self._because(leaf) for leaf in sorted(self._outcomes))

    def _because(self, leaf: int) -> Because:
        comparison = self._comparisons[leaf]
        return Because(comparison, self._facts.value(comparison.fact), self._outcomes[leaf])


def lacking(because: Iterable[Because], facts: FactBase) -> set[str]:
    """What a caller could send to settle unknown comparisons."""
    return {
        name
        for each in because
        if each.outcome is None and each.observed is UNKNOWN
        for name in facts.lacking(each.comparison.fact)
    }


def derive(compiled: CompiledPack, facts: FactBase, matching: Matching) -> dict[str, Value]:
    """Forward chaining, layer by layer, until every derived fact is settled (CONTRACT §4 (7))."""
    settled: dict[str, Value] = {}
    for layer in compiled.layers:
        outcomes = matching.match(layer.section)
        for derived in layer.facts:
            settled[derived.fact] = _settle(derived, layer.section, outcomes, facts, matching)
    return settled


def _settle(
    derived: DerivedFact,
    section: Section,
    outcomes: Mapping[str, bool],
    facts: FactBase,
    matching: Matching,
) -> Value:
    for position, rule in enumerate(derived.rules):
        name = derived_rule(derived.fact, position)
        outcome = True if rule.when is None else outcomes.get(name)
        if outcome is None:
            facts.derive(derived.fact, UNKNOWN, lacking(matching.because(section, name), facts))
            return UNKNOWN
        if outcome:
            facts.derive(derived.fact, rule.value)
            return rule.value
    facts.derive(derived.fact, ABSENT)
    return ABSENT
