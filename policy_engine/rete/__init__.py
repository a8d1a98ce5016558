"""The Rete matcher, and the only importer of durable_rules.

A rule book is flattened into rules of safe size, spread over small networks, and matched
layer by layer. The networks never see a caller's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from policy_engine.core.bits import Truth
from policy_engine.core.conditions import Formula
from policy_engine.core.interpreter import Interpreter, guard_of
from policy_engine.core.ports import Matcher, Network, RuleBook
from policy_engine.rete.box import Box, MatcherError, durable_engine
from policy_engine.rete.flattening import Flattening, grouped

__all__ = ["MatcherError", "MatcherSetting", "Rete", "available", "best_matcher"]

MatcherSetting = Literal["auto", "rete", "interpreter"]


_TOGETHER = 8
"""Rules, at least, that are left out together: about as many of a table's as a network holds."""


class _Layers:
    """Rules as networks, in an order in which each finds what it reads."""

    def __init__(self, rules: Mapping[str, Formula]) -> None:
        flat = Flattening()
        self._rules = {rule: flat.slot(of) for rule, of in rules.items()}
        self._comparisons = flat.comparisons
        self._boxes: list[Box] = []
        for layer in flat.layers:
            self._boxes.extend(Box(group) for group in grouped(layer))

    def match(self, truth: Mapping[int, bool]) -> dict[str, bool]:
        values = {slot: truth[at] for at, slot in self._comparisons.items() if at in truth}
        for box in self._boxes:
            values.update(box.match(values))
        return {rule: values[slot] for rule, slot in self._rules.items() if slot in values}

    def close(self) -> None:
        for box in self._boxes:
            box.close()


class _Guarded:
    """A rule book whose rules are left out, being false, where what each of them needs is false:
    of a decision table's rows, few are matched."""

    def __init__(self, book: RuleBook) -> None:
        by_guard: dict[int | None, dict[str, Formula]] = {}
        for rule, of in book.rules.items():
            by_guard.setdefault(guard_of(of, book.exclusive), {})[rule] = of
        self._always = _Layers(by_guard.pop(None, {}))
        self._guarded: list[tuple[int, tuple[str, ...], _Layers]] = []
        guards, rules = 0, dict[str, Formula]()
        for guard, guarded in by_guard.items():
            guards |= 1 << (guard or 0)
            rules |= guarded
            if len(rules) >= _TOGETHER:
                self._guarded.append((guards, tuple(rules), _Layers(rules)))
                guards, rules = 0, {}
        if rules:
            self._guarded.append((guards, tuple(rules), _Layers(rules)))

    def match(self, truth: Mapping[int, bool]) -> Mapping[str, bool]:
        bits = Truth.of(truth)
        possible = bits.true | ~bits.known
        found = self._always.match(bits)
        for guards, rules, layers in self._guarded:
            found |= layers.match(bits) if possible & guards else dict.fromkeys(rules, False)
        return found

    def close(self) -> None:
        self._always.close()
        for _, _, layers in self._guarded:
            layers.close()


class Rete:
    """`matcher: rete`. Networks belong to the process that prepared them."""

    name = "rete"

    def prepare(self, book: RuleBook) -> Network:
        """Networks for a rule book. MatcherError where durable_rules cannot be imported."""
        return _Guarded(book)


def available() -> bool:
    """Can durable_rules be imported here? On Python 3.13 it cannot."""
    try:
        durable_engine()
    except MatcherError:
        return False
    return True


def best_matcher(setting: MatcherSetting) -> Matcher:
    """The matcher of a setting; `auto` is rete where durable_rules is there, else interpreter.

    MatcherError for `rete` where it is not.
    """
    if setting == "interpreter" or (setting == "auto" and not available()):
        return Interpreter()
    durable_engine()
    return Rete()
