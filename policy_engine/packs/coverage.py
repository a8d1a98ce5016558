"""What a pack's tests reach: every plan and add-on, and every possible outcome of a condition.

Counted per condition (a whole `when`), not per comparison, for plans, add-ons, actions and
rules of derived facts. Which outcomes a condition can have is worked out in `possible`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from policy_engine.core.conditions import Condition, Outcome, comparisons, evaluate, formula
from policy_engine.core.decision import Decision
from policy_engine.core.policy import DateBy, Pack, Policy
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_timestamp
from policy_engine.packs.possible import Possible

_WORDS = {True: "true", False: "false", None: "unknown"}
_ORDER = (True, False, None)


@dataclass(frozen=True, slots=True)
class Target:
    """Something a test can reach. `outcome` is `true`, `false`, `unknown`, `offered` or
    `appended`."""

    what: str
    """`plan shipping_delay/delay_coupon`, `derived case.severity rule 1`."""
    outcome: str

    def __str__(self) -> str:
        if self.outcome in ("offered", "appended"):
            return f"{self.what} is never {self.outcome}"
        return f"the condition of {self.what} is never {self.outcome}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many targets were reached, and which were not, in the pack's order."""

    reached: int
    total: int
    missed: tuple[Target, ...]

    @property
    def percent(self) -> int:
        """Whole percent, rounded down: 100 only when nothing is missed."""
        return 100 if self.total == 0 else self.reached * 100 // self.total


class CoverageCounter:
    """Collects what the decisions of one pack's tests reach."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._versions: dict[str, list[Policy]] = {}
        for policy in pack.policies:
            self._versions.setdefault(policy.id, []).append(policy)
        self._targets = dict.fromkeys(self._all_targets(), False)

    def count(self, decision: Decision, request: DecisionRequest) -> None:
        """Mark what this decision reaches."""
        seen = {each.comparison: each.outcome for each in decision.trace}
        in_force = self._in_force(decision, request)
        for what, condition in self._conditions(in_force):
            leaves = list(dict.fromkeys(comparisons(condition)))
            numbers = {leaf: number for number, leaf in enumerate(leaves)}
            truth = {
                numbers[leaf]: outcome for leaf in leaves if (outcome := seen.get(leaf)) is not None
            }
            self._mark(what, _WORDS[evaluate(formula(condition, numbers.__getitem__), truth)])
        names = {policy.id: self._name(policy) for policy in in_force}
        for plan in decision.plans:
            self._mark(f"plan {names[plan.policy]}/{plan.plan.partition('/')[2]}", "offered")
            for remedy in plan.remedies:
                name = remedy.source.partition("/")[2]
                self._mark(f"add-on {names[remedy.policy]}/{name}", "appended")

    def coverage(self) -> Coverage:
        missed = tuple(target for target, reached in self._targets.items() if not reached)
        return Coverage(len(self._targets) - len(missed), len(self._targets), missed)

    def _mark(self, what: str, outcome: str) -> None:
        target = Target(what, outcome)
        if target in self._targets:
            self._targets[target] = True

    def _in_force(self, decision: Decision, request: DecisionRequest) -> list[Policy]:
        """The versions that decided."""
        found: list[Policy] = []
        for policy_id in decision.policies:
            versions = self._versions[policy_id]
            at: object = decision.as_of
            if versions[0].date_by is DateBy.INCIDENT:
                at = request.fields.get("incident.reported_at")
            if isinstance(at, datetime):
                found += [policy for policy in versions if policy.effective_at(at)]
        return found

    def _all_targets(self) -> Iterator[Target]:
        possible = Possible(self._pack)
        for what, condition in self._derived():
            yield from _outcomes(what, possible.outcomes(condition))
        for policy in self._pack.policies:
            for plan in policy.plans:
                yield Target(f"plan {self._name(policy)}/{plan.name}", "offered")
            for add_on in policy.add_ons:
                yield Target(f"add-on {self._name(policy)}/{add_on.name}", "appended")
            for what, condition in self._of_policy(policy):
                yield from _outcomes(what, possible.outcomes(condition, policy.applies_to))

    def _conditions(self, in_force: list[Policy]) -> Iterator[tuple[str, Condition]]:
        yield from self._derived()
        for policy in in_force:
            yield from self._of_policy(policy)

    def _derived(self) -> Iterator[tuple[str, Condition]]:
        for layer in self._pack.derived:
            for derived in layer:
                for number, rule in enumerate(derived.rules, start=1):
                    if rule.when is not None:
                        yield f"derived {derived.fact} rule {number}", rule.when

    def _of_policy(self, policy: Policy) -> Iterator[tuple[str, Condition]]:
        name = self._name(policy)
        for plan in policy.plans:
            if plan.when is not None:
                yield f"plan {name}/{plan.name}", plan.when
        for add_on in policy.add_ons:
            if add_on.when is not None:
                yield f"add-on {name}/{add_on.name}", add_on.when
        for action in policy.actions:
            if action.when is not None:
                yield f"action {name}/{action.name}", action.when

    def _name(self, policy: Policy) -> str:
        if len(self._versions[policy.id]) == 1 or policy.effective_from is None:
            return policy.id
        return f"{policy.id}@{format_timestamp(policy.effective_from)}"


def _outcomes(what: str, possible: frozenset[Outcome]) -> Iterator[Target]:
    for outcome in _ORDER:
        if outcome in possible:
            yield Target(what, _WORDS[outcome])
