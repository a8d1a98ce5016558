"""A pack made ready to match: comparisons numbered, rule books prepared, policies indexed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from policy_engine.core.bits import RuleOutcomes, Truth, set_bits
from policy_engine.core.columns import arranged, columns, exclusive
from policy_engine.core.conditions import (
    Comparison,
    Condition,
    Formula,
    Outcome,
    comparisons,
    could_hold,
    formula,
    reasons,
)
from policy_engine.core.decision import Because
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import ABSENT, UNKNOWN, Value
from policy_engine.core.headroom import ScopedCaps
from policy_engine.core.policy import DerivedFact, Pack, Policy, Role
from policy_engine.core.ports import Matcher, RuleBook


class Comparisons:
    """Gives each distinct comparison of a pack one number."""

    def __init__(self) -> None:
        self._numbers: dict[Comparison, int] = {}

    def number(self, comparison: Comparison) -> int:
        return self._numbers.setdefault(comparison, len(self._numbers))


class Matched:
    """What a section's rules come to where its comparisons come to this; the same for every
    request of which that is true, so it is kept and shared."""

    __slots__ = ("_reasons", "_section", "rules", "truth")

    def __init__(self, section: Section, truth: Truth) -> None:
        self._section = section
        self.truth = truth
        self._reasons: dict[str, tuple[int, ...]] = {}
        self.rules = RuleOutcomes.of(section.rules, section.network.match(truth))

    def outcome(self, rule: str) -> Outcome:
        """None for a rule that is unknown."""
        position = self._section.positions[rule]
        if not self.rules.known >> position & 1:
            return None
        return bool(self.rules.true >> position & 1)

    def reasons(self, rule: str) -> tuple[int, ...]:
        """The comparisons (of the section) that make a rule's outcome what it is."""
        found = self._reasons.get(rule)
        if found is None:
            found = tuple(reasons(self._section.formulas[rule], self.truth))
            self._reasons[rule] = found
        return found


_COMBINATIONS = 512
"""Of a role and policies whose caps a pack keeps ready."""

_KEPT = 65_536
"""Rules and comparisons whose outcomes a section keeps, over all that it remembers."""


class Section:
    """Rules that are matched together: those of one policy, or of one layer of derived facts.

    Comparisons have numbers of the section's own, so that their bits stand close together;
    `numbers` says which of the pack's each of them is.
    """

    def __init__(
        self,
        name: str,
        conditions: Iterable[tuple[str, Condition]],
        matcher: Matcher,
        numbering: Comparisons,
    ) -> None:
        written = tuple(conditions)
        in_order = [each for _, condition in written for each in comparisons(condition)]
        for each in in_order:
            numbering.number(each)
        self.comparisons = tuple(arranged(in_order))
        self.numbers = tuple(map(numbering.number, self.comparisons))
        own = {each: number for number, each in enumerate(self.comparisons)}
        self.formulas: Mapping[str, Formula] = {
            rule: formula(condition, own.__getitem__) for rule, condition in written
        }
        self.rules = tuple(self.formulas)
        self.positions = {rule: position for position, rule in enumerate(self.rules)}
        self.columns = columns(self.comparisons)
        book = RuleBook(name, self.formulas, exclusive(self.comparisons))
        self.network = matcher.prepare(book)
        self._known: dict[tuple[int, int], Matched] = {}
        self._most = max(16, min(1_024, _KEPT // (len(self.rules) + len(own) + 1)))

    def matched(self, true: int, known: int) -> Matched:
        """Safe from several threads: at worst, two match the same."""
        found = self._known.get((true, known))
        if found is None:
            found = Matched(self, Truth(true, known))
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[true, known] = found
        return found


class CompiledPolicy:
    """One version of a policy; its plans' rules are the first of its section."""

    def __init__(self, policy: Policy, section: Section) -> None:
        self.policy = policy
        self.section = section
        self.ids = tuple(f"{policy.id}/{plan.name}" for plan in policy.plans)
        """Of its plans."""
        conditional = [at for at, plan in enumerate(policy.plans) if plan.when is not None]
        self._plan_at = conditional
        self._always = [at for at, plan in enumerate(policy.plans) if plan.when is None]
        self._rules = (1 << len(conditional)) - 1

    def ruled_out(self, matched: Matched) -> Iterator[int]:
        """Positions of the plans whose condition is false."""
        rules = matched.rules
        false = rules.known & ~rules.true & self._rules
        return (self._plan_at[position] for position in set_bits(false))

    def left(self, matched: Matched) -> list[int]:
        """Positions of the other plans."""
        rules = matched.rules
        not_false = (rules.true | ~rules.known) & self._rules
        found = [self._plan_at[position] for position in set_bits(not_false)]
        return sorted(found + self._always) if self._always else found


@dataclass(frozen=True, slots=True)
class CompiledLayer:
    facts: tuple[CompiledDerived, ...]
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
        self._numbering = Comparisons()
        self._matcher = matcher
        self._sections: list[Section] = []
        self._scoped: dict[tuple[str, tuple[str, ...]], ScopedCaps] = {}
        self._chains = {
            role: tuple(pack.roles[name] for name in pack.approver_chain(role))
            for role in pack.roles
        }
        self.layers = tuple(
            self._layer(f"derived {depth}", layer) for depth, layer in enumerate(pack.derived)
        )
        policies = [
            CompiledPolicy(policy, self._section(policy.id, _policy_conditions(policy)))
            for policy in pack.policies
        ]
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

    def chain(self, role: str) -> tuple[Role, ...]:
        """The role and those up its approver chain, lowest first."""
        return self._chains[role]

    def scoped(self, role: str, policies: tuple[str, ...]) -> ScopedCaps:
        """The caps that may bound the role's chain under these policies."""
        found = self._scoped.get((role, policies))
        if found is None:
            found = ScopedCaps(self.pack, self._chains[role], policies)
            # Callers choose the incident's types, and so which policies come together.
            if len(self._scoped) >= _COMBINATIONS:
                self._scoped.clear()
            self._scoped[role, policies] = found
        return found

    def close(self) -> None:
        for section in self._sections:
            section.network.close()

    def _layer(self, name: str, layer: Iterable[DerivedFact]) -> CompiledLayer:
        section = self._section(name, _derived_conditions(layer))
        return CompiledLayer(tuple(CompiledDerived(each, section) for each in layer), section)

    def _section(self, name: str, conditions: Iterable[tuple[str, Condition]]) -> Section:
        section = Section(name, conditions, self._matcher, self._numbering)
        self._sections.append(section)
        return section


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

    def __init__(self, facts: FactBase) -> None:
        self._facts = facts
        self._sections: list[tuple[Section, Truth]] = []

    def match(self, section: Section) -> Matched:
        true = known = 0
        value = self._facts.value
        for column in section.columns:
            holding, decided = column.outcomes(value(column.fact))
            true |= holding
            known |= decided
        self._sections.append((section, Truth(true, known)))
        return section.matched(true, known)

    def because(self, section: Section, matched: Matched, rule: str) -> tuple[Because, ...]:
        """The comparisons that make a rule's outcome what it is; () for a rule without one."""
        if rule not in section.positions:
            return ()
        truth = matched.truth
        return tuple([self._because(section, truth, number) for number in matched.reasons(rule)])

    def could_hold(self, section: Section, matched: Matched, rule: str) -> bool:
        """Could the rule come to be true by facts that a caller can send?"""

        def is_open(number: int) -> bool:
            fact = section.comparisons[number].fact
            return self._facts.value(fact) is UNKNOWN and bool(self._facts.lacking(fact))

        return could_hold(section.formulas[rule], matched.truth, is_open)

    def trace(self) -> tuple[Because, ...]:
        """Every comparison evaluated, in the pack's order."""
        found: dict[int, Because] = {}
        for section, truth in self._sections:
            for number, of_pack in enumerate(section.numbers):
                if of_pack not in found:
                    found[of_pack] = self._because(section, truth, number)
        return tuple(found[number] for number in sorted(found))

    def _because(self, section: Section, truth: Truth, number: int) -> Because:
        comparison = section.comparisons[number]
        return Because(comparison, self._facts.value(comparison.fact), truth.outcome(number))


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
        matched = matching.match(layer.section)
        for derived in layer.facts:
            value, undecided = derived.settled(matched)
            settled[derived.fact] = value
            if undecided is None:
                facts.derive(derived.fact, value)
            else:
                because = matching.because(layer.section, matched, undecided)
                facts.derive(derived.fact, UNKNOWN, lacking(because, facts))
    return settled


class CompiledDerived:
    """A derived fact over the rules of its layer's section, of which its own stand together."""

    def __init__(self, derived: DerivedFact, section: Section) -> None:
        self.fact = derived.fact
        self._values: list[Value] = []
        self._rules: list[str] = []
        self._otherwise: Value = ABSENT
        for position, rule in enumerate(derived.rules):
            if rule.when is None:
                self._otherwise = rule.value
                break
            self._rules.append(derived_rule(derived.fact, position))
            self._values.append(rule.value)
        self._first = section.positions[self._rules[0]] if self._rules else 0
        self._mask = (1 << len(self._rules)) - 1

    def settled(self, matched: Matched) -> tuple[Value, str | None]:
        """The value of the first rule that isn't false; UNKNOWN and that rule if it isn't true."""
        rules = matched.rules
        not_false = (rules.true | ~rules.known) >> self._first & self._mask
        if not not_false:
            return self._otherwise, None
        position = (not_false & -not_false).bit_length() - 1
        if rules.true >> (self._first + position) & 1:
            return self._values[position], None
        return UNKNOWN, self._rules[position]
