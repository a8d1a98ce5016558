"""One durable_rules network, boxed against what the library does with input it does not like.

durable_rules 2.0.28 is old C that trusts its input. What it may see is therefore small and
made here: comparison numbers renamed `c0`, `c1`, … with the value 0 or 1. Its hazards are
listed beside the lines that answer them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from types import ModuleType
from typing import Any, cast

from policy_engine.rete.flattening import FlatRule

_SID = "0"
"""One state, deleted after every match: states are otherwise kept for ever, 1,024 at most."""

_READY = (-1, True)
"""What the rule records that only the first match of a network fires."""

_numbers = count()


class MatcherError(RuntimeError):
    """The network did not give a trustworthy answer, so there is none."""


class Box:
    """One small durable_rules network, used by one thread at a time.

    No Host (it starts timer threads that may run actions, and eight threads on one crash).
    """

    def __init__(self, rules: Sequence[FlatRule]) -> None:
        engine = durable_engine()
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
        # A network that nobody closes goes with its object: the library keeps up to half a MiB.
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

    def _definition(self, rules: Sequence[FlatRule]) -> dict[str, Any]:
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


@cache
def durable_engine() -> ModuleType:
    """The library's engine; MatcherError where it cannot be imported."""
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
