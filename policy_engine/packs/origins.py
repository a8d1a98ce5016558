"""Where the parts of a pack were written, kept while it is read for the checks of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from policy_engine.core.caps import Cap
from policy_engine.core.conditions import Condition
from policy_engine.core.policy import AddOn, Plan, Policy, Role, Text
from policy_engine.packs.problems import Position

NOT_OFFERED = "orders in it get nothing here"
NO_MINIMUM = "coupons in it have no minimum"
NO_DEFAULT = "left out, the fact is unknown for orders in it"


class WrittenAmounts(NamedTuple):
    at: Position
    currencies: frozenset[str]
    otherwise: str
    """What becomes of an order in another currency."""


@dataclass
class Origins:
    conditions: list[tuple[Position, Condition, frozenset[str] | None]] = field(
        default_factory=list
    )
    """With the incident types its policy applies to; None for a derived fact."""
    amounts: list[WrittenAmounts] = field(default_factory=list)
    """Amounts that are needed in the order's currency, but for those in conditions."""
    texts: list[tuple[Position, str, Text]] = field(default_factory=list)
    """Translated texts, with what each of them is."""
    plans: list[tuple[Position, Policy, Plan | AddOn]] = field(default_factory=list)
    policies: list[tuple[Position, Policy]] = field(default_factory=list)
    roles: list[tuple[Position, Role]] = field(default_factory=list)
    caps: list[tuple[Position, Cap]] = field(default_factory=list)
    messages: list[tuple[Position, str]] = field(default_factory=list)
    """`message:` of a policy."""
