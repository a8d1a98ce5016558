"""Every set of rules that decisions were made by, by its number.

A record says by which number it was decided. A change of what any decision comes to takes the next
number: the new `Engine` is made current here, and the one before it stays, as it is, so that what
it once decided evaluates to the same bytes for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from policy_engine.core.evaluation import Engine
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Matcher

Evaluators = Mapping[int, Callable[[Pack, Matcher], Engine]]
"""Semantics number → what makes its engine. That engine's `semantics` is the number."""

EVALUATORS: Final[Evaluators] = MappingProxyType({Engine.semantics: Engine})


def current_engine(pack: Pack, matcher: Matcher, evaluators: Evaluators = EVALUATORS) -> Engine:
    """The engine that new decisions are made by: that of the highest number."""
    return evaluators[max(evaluators)](pack, matcher)
