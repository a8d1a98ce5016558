"""Offers as the records of their decisions hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_engine.core.decision import Share
from policy_engine.core.granting import (
    OfferPart,
)
from policy_engine.core.policy import Floor, RemedyKind
from policy_engine.core.times import parse_duration


def parts_of(plan: Mapping[str, Any]) -> tuple[OfferPart, ...]:
    """The remedies of a recorded plan, named for the grant (see `granting.offer_parts`)."""
    seen: dict[str, int] = {}
    parts: list[OfferPart] = []
    for each in plan["remedies"]:
        kind = each["kind"]
        seen[kind] = seen.get(kind, 0) + 1
        parts.append(
            OfferPart(
                id=kind if seen[kind] == 1 else f"{kind}-{seen[kind]}",
                kind=RemedyKind(kind),
                source=each["from"],
                policy=each["policy"],
                floor=None if each["floor"] is None else Floor(each["floor"]),
                allowed=each["allowed"],
                pending=each["pending"],
                gives=each["status"] in ("allowed", "partial"),
                waits=each["pending"] > 0 or each["status"] == "pending",
                shares=tuple(Share(share["line"], share["minor"]) for share in each["shares"]),
                valid_for=None if each["valid_for"] is None else parse_duration(each["valid_for"]),
            )
        )
    return tuple(parts)
