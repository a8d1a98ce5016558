"""Formulas flattened into rules that a durable_rules network of safe size can hold.

A flat rule is plain alternatives of conjunctions, one list that holds where the formula is
true and one where it is false (Kleene logic distributes, so nothing is lost, unknowns
included). A formula too large for that is cut, and its pieces are matched one layer
earlier: forward chaining in as many steps as the cuts need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from policy_engine.core.conditions import Both, Either, Formula, Leaf, negated

MAX_RULES = 48
"""Durable rules a network. Its match stack holds 64 entries; at 65 it reports error 303, or
crashes."""
MAX_PROPERTIES = 64
"""Distinct comparisons a network. 255 properties fit in a fact; 512 conditions hang it."""
MAX_TERMS = 16
"""Durable rules a formula, before it is cut."""
MAX_TESTS = 15
"""Tests a durable rule. Every test is a node of 2 KiB."""

Term = tuple[tuple[int, bool], ...]
"""Slots and what each must be, all of them."""


@dataclass(frozen=True, slots=True)
class FlatRule:
    """A rule for a network: `slot` is true where one of `true` holds, false where one of `false`
    does, and unknown otherwise."""

    slot: int
    true: tuple[Term, ...]
    false: tuple[Term, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        return self.true + self.false

    @property
    def slots(self) -> frozenset[int]:
        """The slots that the rule reads."""
        return frozenset(slot for term in self.terms for slot, _ in term)


class Flattening:
    """Formulas cut into flat rules, in layers: a rule reads only slots of layers before its own.

    A slot holds the outcome of a comparison (layer 0) or of a flat rule.
    """

    def __init__(self) -> None:
        self.comparisons: dict[int, int] = {}
        """Comparison number → slot."""
        self.layers: list[list[FlatRule]] = []
        self._slots: dict[Formula, int] = {}
        self._layer_of: list[int] = []

    def slot(self, of: Formula) -> int:
        """The slot that will hold the outcome of a formula."""
        return self._slot_of(self._cut(of))

    def _cut(self, of: Formula) -> Formula:
        """The same formula over slots, small enough for one flat rule."""
        if isinstance(of, Leaf):
            return Leaf(self._comparison(of.index), of.wanted)
        kind = type(of)
        parts: list[Formula] = []
        for part in of.parts:
            small = self._cut(part)
            parts.extend(small.parts if isinstance(small, kind) else (small,))
        parts = list(dict.fromkeys(parts))
        while not _fits(_joined(kind, parts)):
            if all(isinstance(part, Leaf) for part in parts):
                starts = range(0, len(parts), MAX_TERMS // 2)
                parts = [_joined(kind, parts[at : at + MAX_TERMS // 2]) for at in starts]
            parts = [
                part if isinstance(part, Leaf) else Leaf(self._slot_of(part)) for part in parts
            ]
        return _joined(kind, parts)

    def _comparison(self, index: int) -> int:
        if index not in self.comparisons:
            self.comparisons[index] = self._new_slot(0)
        return self.comparisons[index]

    def _slot_of(self, small: Formula) -> int:
        if small not in self._slots:
            true, false = _terms(small), _terms(negated(small))
            layer = 1 + max(self._layer_of[leaf.index] for leaf in _leaves(small))
            self._slots[small] = slot = self._new_slot(layer)
            while len(self.layers) < layer:
                self.layers.append([])
            self.layers[layer - 1].append(FlatRule(slot, true, false))
        return self._slots[small]

    def _new_slot(self, layer: int) -> int:
        self._layer_of.append(layer)
        return len(self._layer_of) - 1


def _joined(kind: type[Both] | type[Either], parts: Sequence[Formula]) -> Formula:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _leaves(of: Formula) -> list[Leaf]:
    if isinstance(of, Leaf):
        return [of]
    return [leaf for part in of.parts for leaf in _leaves(part)]


def _fits(of: Formula) -> bool:
    """Small enough for one flat rule, seen without writing its terms out."""
    holds, holds_width = _size(of, Both)
    fails, fails_width = _size(of, Either)
    return holds + fails <= MAX_TERMS and max(holds_width, fails_width) <= MAX_TESTS


def _size(of: Formula, multiplies: type[Both] | type[Either]) -> tuple[int, int]:
    """Number of terms and tests of the longest, of a formula (`multiplies` Both) or its negation
    (Either). Counting stops beyond MAX_TERMS."""
    if isinstance(of, Leaf):
        return 1, 1
    terms, tests = _size(of.parts[0], multiplies)
    for part in of.parts[1:]:
        more_terms, more_tests = _size(part, multiplies)
        if isinstance(of, multiplies):
            terms, tests = terms * more_terms, tests + more_tests
        else:
            terms, tests = terms + more_terms, max(tests, more_tests)
        if terms > MAX_TERMS:
            break
    return terms, tests


def _terms(of: Formula) -> tuple[Term, ...]:
    """The formula as alternatives of conjunctions; what contradicts itself is left out."""
    return tuple(dict.fromkeys(tuple(sorted(term.items())) for term in _alternatives(of)))


def _alternatives(of: Formula) -> list[dict[int, bool]]:
    if isinstance(of, Leaf):
        return [{of.index: of.wanted}]
    parts = [_alternatives(part) for part in of.parts]
    if isinstance(of, Either):
        return [term for part in parts for term in part]
    found = []
    for chosen in product(*parts):
        tests = {test for term in chosen for test in term.items()}
        merged = dict(tests)
        if len(merged) == len(tests):
            found.append(merged)
    return found


def grouped(rules: Iterable[FlatRule]) -> list[list[FlatRule]]:
    """Rules of one layer, put into as many networks as the limits ask for."""
    groups: list[list[FlatRule]] = []
    size = 0
    properties: frozenset[int] = frozenset()
    for rule in rules:
        size += len(rule.terms)
        properties |= rule.slots
        if not groups or size > MAX_RULES or len(properties) > MAX_PROPERTIES:
            groups.append([])
            size, properties = len(rule.terms), rule.slots
        groups[-1].append(rule)
    return groups
