"""Comparisons of one rule book by the fact they look at, evaluated together as bit sets.

A decision table asks the same few facts over and over. Each fact is looked up once; which of a
thousand thresholds lie below it, or which of a thousand equalities hold, is one search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from policy_engine.core.conditions import ORDERED_TYPES, Comparison, Op
from policy_engine.core.facts import ABSENT, UNKNOWN, FactType, Value

_Search = Callable[[Any], int]
"""A value → the bits of the comparisons that it makes true."""

_ORDERED = (Op.OVER, Op.AT_LEAST, Op.UNDER, Op.AT_MOST)
_EQUALITIES = (Op.IS, Op.IS_NOT, Op.IN, Op.NOT_IN)


def arranged(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Each comparison once, so that the thresholds of one fact and operator stand together, the
    lowest first: this is the order in which a book's comparisons are numbered."""
    groups: dict[tuple[str, Op], dict[Comparison, None]] = {}
    for each in comparisons:
        groups.setdefault((each.fact, each.op), {})[each] = None
    found: list[Comparison] = []
    for group in groups.values():
        ordered = all(_has_thresholds(each) for each in group)
        found += sorted(group, key=_threshold) if ordered else group
    return found


class Column:
    """The comparisons of one fact, known by their bits."""

    def __init__(self, fact: str, numbered: Sequence[tuple[int, Comparison]]) -> None:
        self.fact = fact
        self._every = _bits(number for number, _ in numbered)
        self._absent = _bits(number for number, of in numbered if of.outcome(ABSENT))
        self._present = _bits(number for number, of in numbered if of.op is Op.PRESENT)
        self._searches: list[_Search] = []
        self._others: list[tuple[int, Comparison]] = []
        for op in Op:
            group = [(number, of) for number, of in numbered if of.op is op]
            if group and op not in (Op.PRESENT, Op.ABSENT):
                self._add(op, group)

    def outcomes(self, value: Value) -> tuple[int, int]:
        """Which comparisons are true, and which are known to be true or false."""
        if value is UNKNOWN:
            return 0, 0
        if value is ABSENT:
            return self._absent, self._every
        true, known = self._present, self._every
        for search in self._searches:
            true |= search(value)
        for bit, comparison in self._others:
            outcome = comparison.outcome(value)
            if outcome is None:
                known ^= bit
            elif outcome:
                true |= bit
        return true, known

    def _add(self, op: Op, group: Sequence[tuple[int, Comparison]]) -> None:
        if op in _ORDERED and all(_has_thresholds(of) for _, of in group):
            self._searches.append(_thresholds(op, group))
        elif op in _EQUALITIES and all(_is_plain(of) for _, of in group):
            self._searches.append(_equalities(op, group))
        else:
            # Money may lack a literal in the order's currency, and sets have no equality.
            self._others += [(1 << number, of) for number, of in group]


def columns(comparisons: Sequence[Comparison]) -> tuple[Column, ...]:
    """The columns of an `arranged` sequence; a comparison's bit is its position in it."""
    by_fact: dict[str, list[tuple[int, Comparison]]] = {}
    for number, each in enumerate(comparisons):
        by_fact.setdefault(each.fact, []).append((number, each))
    return tuple(Column(fact, numbered) for fact, numbered in by_fact.items())


def exclusive(comparisons: Sequence[Comparison]) -> tuple[int, ...]:
    """Bits of comparisons of which at most one is true: a fact `is` only one thing."""
    by_fact: dict[str, int] = {}
    for number, each in enumerate(comparisons):
        if each.op is Op.IS:
            by_fact[each.fact] = by_fact.get(each.fact, 0) | 1 << number
    return tuple(by_fact.values())


def _has_thresholds(of: Comparison) -> bool:
    return of.op in _ORDERED and of.type in ORDERED_TYPES and of.type is not FactType.MONEY


def _threshold(of: Comparison) -> Any:
    """One of ORDERED_TYPES."""
    return of.literal


def _is_plain(of: Comparison) -> bool:
    return of.type not in (FactType.MONEY, FactType.SET)


def _thresholds(op: Op, group: Sequence[tuple[int, Comparison]]) -> _Search:
    first = group[0][0]
    limits = [_threshold(of) for _, of in group]
    assert [number for number, _ in group] == list(range(first, first + len(group)))
    every = (1 << len(group)) - 1
    # `over` a limit that equals the value is false, as is `under`.
    below = bisect_left if op in (Op.OVER, Op.AT_MOST) else bisect_right
    if op in (Op.OVER, Op.AT_LEAST):
        return lambda value: ((1 << below(limits, value)) - 1) << first
    return lambda value: (every >> (at := below(limits, value)) << at) << first


def _equalities(op: Op, group: Sequence[tuple[int, Comparison]]) -> _Search:
    bits: dict[object, int] = {}
    for number, of in group:
        literals = of.literal if op in (Op.IN, Op.NOT_IN) else (of.literal,)
        assert isinstance(literals, tuple)
        for literal in literals:
            bits[literal] = bits.get(literal, 0) | 1 << number
    if op in (Op.IS, Op.IN):
        return lambda value: bits.get(value, 0)
    every = _bits(number for number, _ in group)
    return lambda value: every & ~bits.get(value, 0)


def _bits(numbers: Iterable[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits
