"""Outcomes as bit sets: one integer says what is known, one what is true.

Hundreds of comparisons or rules are combined, compared and remembered in one step each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class Truth(Mapping[int, bool]):
    """Comparison number → outcome; a number whose bit is not in `known` is unknown."""

    __slots__ = ("known", "true")

    def __init__(self, true: int, known: int) -> None:
        self.true = true
        self.known = known

    @classmethod
    def of(cls, outcomes: Mapping[int, bool]) -> Truth:
        if isinstance(outcomes, cls):
            return outcomes
        true = sum(1 << number for number, outcome in outcomes.items() if outcome)
        return cls(true, sum(1 << number for number in outcomes))

    def __getitem__(self, number: int) -> bool:
        outcome = self.outcome(number)
        if outcome is None:
            raise KeyError(number)
        return outcome

    def outcome(self, number: int) -> bool | None:
        """None for a comparison that is unknown."""
        return bool(self.true >> number & 1) if self.known >> number & 1 else None

    def __iter__(self) -> Iterator[int]:
        return set_bits(self.known)

    def __len__(self) -> int:
        return self.known.bit_count()


class RuleOutcomes(Mapping[str, bool]):
    """Rule id → outcome, by the position of the rule in its book; unknown ones are left out."""

    __slots__ = ("_rules", "known", "true")

    def __init__(self, rules: Sequence[str], true: int, known: int) -> None:
        self._rules = rules
        self.true = true
        self.known = known

    @classmethod
    def of(cls, rules: Sequence[str], outcomes: Mapping[str, bool]) -> RuleOutcomes:
        if isinstance(outcomes, cls):
            return outcomes
        true = known = 0
        for position, rule in enumerate(rules):
            outcome = outcomes.get(rule)
            if outcome is not None:
                known |= 1 << position
                true |= outcome << position
        return cls(rules, true, known)

    def __getitem__(self, rule: str) -> bool:
        position = self._rules.index(rule) if rule in self._rules else -1
        if position < 0 or not self.known >> position & 1:
            raise KeyError(rule)
        return bool(self.true >> position & 1)

    def __iter__(self) -> Iterator[str]:
        return (self._rules[position] for position in set_bits(self.known))

    def __len__(self) -> int:
        return self.known.bit_count()


def set_bits(of: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while of:
        lowest = of & -of
        yield lowest.bit_length() - 1
        of ^= lowest
