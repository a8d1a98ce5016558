"""The Rete matcher: the only importer of durable_rules.

durable_rules 2.0.28 is old C that trusts its input. What it may see is therefore small and
made here: comparison numbers renamed `c0`, `c1`, … with the value 0 or 1. A rule book is
flattened into rules that are plain alternatives of conjunctions (Kleene logic distributes,
so nothing is lost, unknowns included), one that fires where a formula is true and one where
it is false. A formula too large for that is cut, and its pieces are matched one layer
earlier: forward chaining in as many steps as the cuts need.

The limits below are the library's, with room to spare; tests/core/test_matchers.py holds
them. Its hazards are listed beside the lines that answer them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, product
from types import ModuleType
from typing import Any, Literal, cast

from policy_engine.core.conditions import Both, Either, Formula, Leaf, negated
from policy_engine.core.interpreter import Interpreter
from policy_engine.core.ports import Matcher, Network, RuleBook

MAX_RULES = 48
"""Durable rules a network. Its match stack holds 64 entries; at 65 it reports error 303, or
crashes."""
MAX_PROPERTIES = 64
"""Distinct comparisons a network. 255 properties fit in a fact; 512 conditions hang it."""
MAX_TERMS = 16
"""Durable rules a formula, before it is cut."""
MAX_TESTS = 15
"""Tests a durable rule. Every test is a node of 2 KiB."""

_SID = "0"
"""One state, deleted after every match: states are otherwise kept for ever, 1,024 at most."""

_READY = (-1, True)
"""What the rule records that only the first match of a network fires."""

_numbers = count()

MatcherSetting = Literal["auto", "rete", "interpreter"]


class MatcherError(RuntimeError):
    """The network did not give a trustworthy answer, so there is none."""


Term = tuple[tuple[int, bool], ...]
"""Slots and what each must be, all of them."""


@dataclass(frozen=True, slots=True)
class _Flat:
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


class _Flattening:
    """Formulas cut into flat rules, in layers: a rule reads only slots of layers before its own.

    A slot holds the outcome of a comparison (layer 0) or of a flat rule.
    """

    def __init__(self) -> None:
        self.comparisons: dict[int, int] = {}
        """Comparison number → slot."""
        self.layers: list[list[_Flat]] = []
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
            self.layers[layer - 1].append(_Flat(slot, true, false))
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


def _grouped(rules: Iterable[_Flat]) -> list[list[_Flat]]:
    """Rules of one layer, put into as many networks as the limits ask for."""
    groups: list[list[_Flat]] = []
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


class _Box:
    """One small durable_rules network, used by one thread at a time.

    No Host (it starts timer threads that may run actions, and eight threads on one crash).
    """

    def __init__(self, rules: Sequence[_Flat]) -> None:
        engine = _durable()
        slots = sorted(frozenset[int]().union(*(rule.slots for rule in rules)))
        self._properties = {slot: f"c{number}" for number, slot in enumerate(slots)}
        self._fired: list[tuple[int, bool]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._errors = (engine.durable_rules_engine.error, engine.MessageObservedException)
        self._nothing_matched = engine.MessageNotHandledException
        self._ruleset = engine.Ruleset(
            f"policy_engine_{next(_numbers)}", None, self._definition(rules)
        )
        # A network that nobody closes goes with its object: the library keeps 100 KiB of each.
        handle = self._ruleset._handle  # noqa: SLF001 - the library offers no other way to it
        self._delete = weakref.finalize(self, engine.durable_rules_engine.delete_ruleset, handle)
        self._delete.atexit = False
        # `delete_state` frees two pointers that nothing sets before a state's first action, so
        # a first match in which no rule fires would free whatever the memory held before.
        if self._run({"ready": 1}) != {_READY}:
            raise MatcherError("durable_rules did not match a network's first fact")

    def match(self, values: Mapping[int, bool]) -> dict[int, bool]:
        """Slot → outcome in, slots of this network's rules → outcome out."""
        fact = {name: int(values[s]) for s, name in self._properties.items() if s in values}
        if not fact:
            return {}
        with self._lock:
            if not self._delete.alive:
                raise MatcherError("the network is closed; prepare the rule book again")
            if os.getpid() != self._process:
                raise MatcherError(
                    "the network was made before this process was forked; "
                    "prepare rule books in the process that uses them"
                )
            try:
                fired = self._run(fact)
            except self._errors as error:
                raise MatcherError(f"durable_rules failed: {error}") from error
        outcomes = dict(fired)
        if len(outcomes) != len(fired):
            raise MatcherError("durable_rules found a condition both true and false")
        return outcomes

    def close(self) -> None:
        with self._lock:
            self._delete()

    def _run(self, fact: Mapping[str, int]) -> set[tuple[int, bool]]:
        self._fired.clear()
        ends: list[tuple[BaseException | None, Mapping[str, object] | None]] = []
        try:
            # A fact, not an event: of several rules that match an event, one fires.
            state = self._ruleset.assert_fact({"sid": _SID, **fact})
            self._ruleset.do_actions(state, lambda error, state: ends.append((error, state)))
        except self._nothing_matched:
            return set()
        finally:
            self._ruleset.delete_state(_SID)
        # The library swallows what an action raises, and may drop the end of a slow one.
        if len(ends) != 1:
            raise MatcherError("durable_rules did not finish the match")
        ((error, left),) = ends
        if error is not None or left is None or "exception" in left:
            raise MatcherError("durable_rules did not complete the match") from error
        return set(self._fired)

    def _definition(self, rules: Sequence[_Flat]) -> dict[str, Any]:
        definition: dict[str, Any] = {
            "ready": {"all": [{"m": {"ready": 1}}], "run": _recording(self._fired, _READY)}
        }
        for rule in rules:
            for outcome, terms in ((True, rule.true), (False, rule.false)):
                for number, term in enumerate(terms):
                    # No `$or`: it fires once a path, so one rule could overrun the stack.
                    tests = [{self._properties[slot]: int(wanted)} for slot, wanted in term]
                    definition[f"r{rule.slot}_{outcome:d}_{number}"] = {
                        "all": [{"m": tests[0] if len(tests) == 1 else {"$and": tests}}],
                        "run": _recording(self._fired, (rule.slot, outcome)),
                    }
        return definition


def _recording(fired: list[tuple[int, bool]], what: tuple[int, bool]) -> Any:
    # Exactly one parameter: with two, even a default, the library takes it for asynchronous
    # and never completes it.
    def record(c: object) -> None:  # noqa: ARG001 - the library passes its closure
        fired.append(what)

    return record


class _Layers:
    """A rule book as networks, in an order in which each finds what it reads."""

    def __init__(self, book: RuleBook) -> None:
        flat = _Flattening()
        self._rules = {rule: flat.slot(of) for rule, of in book.rules.items()}
        self._comparisons = flat.comparisons
        self._boxes: list[_Box] = []
        for layer in flat.layers:
            self._boxes.extend(_Box(group) for group in _grouped(layer))

    def match(self, truth: Mapping[int, bool]) -> Mapping[str, bool]:
        values = {slot: truth[at] for at, slot in self._comparisons.items() if at in truth}
        for box in self._boxes:
            values.update(box.match(values))
        return {rule: values[slot] for rule, slot in self._rules.items() if slot in values}

    def close(self) -> None:
        for box in self._boxes:
            box.close()


class Rete:
    """`matcher: rete`. Networks belong to the process that prepared them."""

    name = "rete"

    def prepare(self, book: RuleBook) -> Network:
        """Networks for a rule book. MatcherError where durable_rules cannot be imported."""
        return _Layers(book)


def available() -> bool:
    """Can durable_rules be imported here? On Python 3.13 it cannot."""
    try:
        _durable()
    except MatcherError:
        return False
    return True


def best_matcher(setting: MatcherSetting) -> Matcher:
    """The matcher of a setting; `auto` is rete where durable_rules is there, else interpreter.

    MatcherError for `rete` where it is not.
    """
    if setting == "interpreter" or (setting == "auto" and not available()):
        return Interpreter()
    _durable()
    return Rete()


@cache
def _durable() -> ModuleType:
    try:
        from durable import engine
    except Exception as error:  # a missing C symbol is no ImportError everywhere
        raise MatcherError(
            f"durable_rules cannot be imported ({error}); "
            "set the matcher to `interpreter` or `auto`, or use Python 3.11 or 3.12"
        ) from error
    # The library's own clock is the wall clock, which may be set while an action runs, and it
    # asks for it in a way that warns from Python 3.12 on. It only measures how long one took.
    engine._unix_now = time.monotonic  # noqa: SLF001 - see above
    return cast(ModuleType, engine)
