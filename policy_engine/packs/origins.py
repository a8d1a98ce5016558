"""Where the parts of a pack were written, kept while it is read for the checks of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from policy_engine.core.caps import Cap
from policy_engine.core.conditions import Condition
from policy_engine.core.policy import AddOn, Amounts, Plan, Policy, Role, Text
from policy_engine.packs.problems import Position


@dataclass
class Origins:
    conditions: list[tuple[Position, Condition, frozenset[str] | None]] = field(
        default_factory=list
    )
    """With the incident types its policy applies to; None for a derived fact."""
    amounts: list[tuple[Position, Amounts]] = field(default_factory=list)
    """Amounts that a remedy or a comparison needs in the order's currency."""
    texts: list[tuple[Position, str, Text]] = field(default_factory=list)
    """Translated texts, with what each of them is."""
    plans: list[tuple[Position, Policy, Plan | AddOn]] = field(default_factory=list)
    policies: list[tuple[Position, Policy]] = field(default_factory=list)
    roles: list[tuple[Position, Role]] = field(default_factory=list)
    caps: list[tuple[Position, Cap]] = field(default_factory=list)
    messages: list[tuple[Position, str]] = field(default_factory=list)
    """`message:` of a policy."""
