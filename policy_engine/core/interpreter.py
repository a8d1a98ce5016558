"""The plain matcher: walks the formulas. It must agree with the Rete network on everything."""

from __future__ import annotations

from collections.abc import Mapping

from policy_engine.core.conditions import evaluate
from policy_engine.core.ports import Network, RuleBook


class _Walk:
    def __init__(self, book: RuleBook) -> None:
        self._rules = tuple(book.rules.items())

    def match(self, truth: Mapping[int, bool]) -> Mapping[str, bool]:
        outcomes: dict[str, bool] = {}
        for rule, of in self._rules:
            outcome = evaluate(of, truth)
            if outcome is not None:
                outcomes[rule] = outcome
        return outcomes

    def close(self) -> None:
        """Nothing is held."""


class Interpreter:
    """`matcher: interpreter`; serves wherever durable_rules cannot be imported."""

    name = "interpreter"

    def prepare(self, book: RuleBook) -> Network:
        return _Walk(book)
