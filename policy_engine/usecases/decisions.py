"""Reading decisions. Without `audit` a client sees its own; another's looks like none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from policy_engine.core.caps import Measure
from policy_engine.core.caps import Scope as CapScope
from policy_engine.ledger.shapes import DecisionFilter, StoredDecision
from policy_engine.usecases.errors import GoneError, NotFoundError
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.wire.decisions import money_body

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Page:
    decisions: tuple[bytes, ...]
    next_cursor: str | None


def stored(services: Services, caller: Principal, decision_id: str) -> StoredDecision:
    """The decision as it lies in the ledger; NotFoundError when there is none for this caller."""
    client = None if caller.may(Scope.AUDIT) else caller.client
    found = services.ledger.decisions.get(decision_id, client)
    if found is None:
        raise NotFoundError("NO_SUCH_DECISION", "there is no decision with this id")
    return found


def show(services: Services, caller: Principal, decision_id: str) -> bytes:
    """The answer as it was given; GoneError once the customer has been erased."""
    found = stored(services, caller, decision_id)
    if found.answer is None:
        raise GoneError("ERASED", "the customer of this decision has been erased")
    return _for(caller, found, found.answer)


def listed(
    services: Services,
    caller: Principal,
    wanted: DecisionFilter,
    limit: int,
    cursor: str | None,
) -> Page:
    """A page, newest first; answers of erased customers are left out. CursorError."""
    client = None if caller.may(Scope.AUDIT) else caller.client
    page = services.ledger.decisions.list(replace(wanted, client=client), limit, cursor)
    answers = tuple(
        _for(caller, each, each.answer) for each in page.decisions if each.answer is not None
    )
    return Page(answers, page.next_cursor)


def _for(caller: Principal, found: StoredDecision, answer: bytes) -> bytes:
    """The stored answer with the caps of scope pack shown to auditors and to nobody else.

    Whoever asked for the decision may have been allowed more, or less, than this caller.
    """
    record = orjson.loads(found.record)["evaluation"]
    if all(cap["scope"] != CapScope.PACK for cap in record["caps"]):
        return answer
    body: dict[str, Any] = orjson.loads(answer)
    body["caps"] = [
        _cap(cap, record["currency"])
        for cap in record["caps"]
        if cap["scope"] != CapScope.PACK or caller.may(Scope.AUDIT)
    ]
    return orjson.dumps(body)


def _cap(cap: dict[str, Any], currency: str) -> dict[str, Any]:
    """A cap of a record as an answer shows it."""

    def measured(quantity: int | None) -> object:
        if quantity is None or cap["measure"] == Measure.COUNT:
            return quantity
        return money_body(quantity, currency)

    return {
        "cap": cap["cap"],
        "scope": cap["scope"],
        "policy": cap["policy"],
        "limit": measured(cap["limit"]),
        "used": measured(cap["used"]),
        "headroom": measured(cap["headroom"]),
        "resets_at": cap["resets_at"],
    }
