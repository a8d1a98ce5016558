"""The plain matcher: formulas as bit masks. It must agree with the Rete network on everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from policy_engine.core.bits import RuleOutcomes, Truth, set_bits
from policy_engine.core.conditions import Both, Either, Formula, Leaf, Outcome
from policy_engine.core.ports import Network, RuleBook

_Rule = Callable[[int, int], Outcome]
"""Bits of the comparisons that are true, and of those that are false → outcome."""


class _Walk:
    """A rule that can only hold where one of a book's exclusive comparisons does is looked at
    only where that one isn't false; so of a decision table's rows, few are."""

    def __init__(self, book: RuleBook) -> None:
        self._names = tuple(book.rules)
        self._always: list[tuple[int, _Rule]] = []
        self._guarded: dict[int, list[tuple[int, _Rule]]] = {}
        for position, of in enumerate(book.rules.values()):
            guard = guard_of(of, book.exclusive)
            rules = self._always if guard is None else self._guarded.setdefault(guard, [])
            rules.append((1 << position, _masked(of)))
        self._every = (1 << len(self._names)) - 1
        self._guards = sum(1 << guard for guard in self._guarded)

    def match(self, truth: Mapping[int, bool]) -> Mapping[str, bool]:
        bits = Truth.of(truth)
        true = bits.true
        false = bits.known & ~true
        holding, known = 0, self._every
        looked_at = [self._always]
        looked_at += [self._guarded[guard] for guard in set_bits(self._guards & ~false)]
        for rules in looked_at:
            for bit, rule in rules:
                outcome = rule(true, false)
                if outcome:
                    holding |= bit
                elif outcome is None:
                    known ^= bit
        return RuleOutcomes(self._names, holding, known)

    def close(self) -> None:
        """Nothing is held."""


class Interpreter:
    """`matcher: interpreter`; serves wherever durable_rules cannot be imported."""

    name = "interpreter"

    def prepare(self, book: RuleBook) -> Network:
        return _Walk(book)


def guard_of(of: Formula, exclusive: Sequence[int]) -> int | None:
    """A comparison without which the formula is false, out of the largest exclusive group."""
    parts = of.parts if isinstance(of, Both) else (of,)
    needed = [part.index for part in parts if isinstance(part, Leaf) and part.wanted]
    sizes = {
        number: group.bit_count() for group in exclusive for number in needed if group >> number & 1
    }
    return max(sizes, key=lambda number: sizes[number], default=None)


def _masked(of: Formula) -> _Rule:
    """Kleene evaluation (`conditions.evaluate`) on bits."""
    kind = Both if isinstance(of, Leaf) else type(of)
    parts = (of,) if isinstance(of, Leaf) else of.parts
    wanted = unwanted = 0
    nested: list[_Rule] = []
    for part in parts:
        if not isinstance(part, Leaf):
            nested.append(_masked(part))
        elif part.wanted:
            wanted |= 1 << part.index
        else:
            unwanted |= 1 << part.index
    plain = _all_of(wanted, unwanted) if kind is Both else _any_of(wanted, unwanted)
    if not nested:
        return plain
    return _joined([plain, *nested] if wanted or unwanted else nested, deciding=kind is Either)


def _all_of(wanted: int, unwanted: int) -> _Rule:
    def rule(true: int, false: int) -> Outcome:
        if false & wanted or true & unwanted:
            return False
        if true & wanted == wanted and false & unwanted == unwanted:
            return True
        return None

    return rule


def _any_of(wanted: int, unwanted: int) -> _Rule:
    def rule(true: int, false: int) -> Outcome:
        if true & wanted or false & unwanted:
            return True
        if false & wanted == wanted and true & unwanted == unwanted:
            return False
        return None

    return rule


def _joined(parts: Sequence[_Rule], *, deciding: bool) -> _Rule:
    """The first part that comes out as `deciding` decides; without one, an unknown part does."""

    def rule(true: int, false: int) -> Outcome:
        unknown = False
        for part in parts:
            outcome = part(true, false)
            if outcome is deciding:
                return deciding
            unknown = unknown or outcome is None
        return None if unknown else not deciding

    return rule
