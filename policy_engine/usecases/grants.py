"""Taking an offer, and reading grants."""

from __future__ import annotations

from typing import Any, Final

from policy_engine.core.decision import CapReading
from policy_engine.core.grant_moves import due
from policy_engine.ledger.grant_shapes import GrantFilter, StoredGrant
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.transaction import Snapshot, Transaction
from policy_engine.usecases.cap_states import CapStates
from policy_engine.usecases.due import DueError, with_due_settled
from policy_engine.usecases.grant_bodies import stored_body
from policy_engine.usecases.moving import no_such_grant, request_of, view_of
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.revisions import PacksAtHand, with_packs
from policy_engine.usecases.services import Services
from policy_engine.usecases.taking import OfferTaking, Wanted

__all__ = ["DEFAULT_PAGE", "MAX_PAGE", "Wanted", "grant", "listed", "show"]

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 50


def grant(services: Services, caller: Principal, wanted: Wanted, key: IdempotencyKey) -> Answer:
    """Take an offer: all that is asked of it, or nothing.

    Raises NotFoundError, ConflictError, ForbiddenError, GoneError, InvalidInputError, NoPackError
    and what `Ledger.decide` does.
    """

    def grant_once(settled: bool) -> Answer:
        def work(transaction: Transaction, packs: PacksAtHand) -> Answer:
            return OfferTaking(services, caller, wanted, transaction, packs).grant(settled)

        return with_packs(
            services,
            lambda packs: services.ledger.decide(key, lambda found: work(found, packs)),
        )

    return with_due_settled(services, grant_once)


def show(services: Services, caller: Principal, grant_id: str) -> dict[str, Any]:
    """A grant as it stands, with what each cap holds now. NotFoundError."""
    view = view_of(services, caller)

    def look(settled: bool) -> dict[str, Any]:
        def read(snapshot: Snapshot, packs: PacksAtHand) -> dict[str, Any]:
            stored = snapshot.grant(grant_id, view)
            if stored is None:
                raise no_such_grant()
            if due(stored.state, snapshot.now) and not settled:
                raise DueError
            caps = _caps_of(stored, snapshot, packs)
            return stored_body(stored, caps, show_pack_caps=caller.may(Scope.AUDIT))

        return with_packs(
            services,
            lambda packs: services.ledger.preview(lambda snapshot: read(snapshot, packs)),
        )

    return with_due_settled(services, look)


def listed(
    services: Services,
    caller: Principal,
    wanted: GrantFilter,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """A page, oldest first; caps are left out. CursorError."""
    view = view_of(services, caller)

    def look(settled: bool) -> dict[str, Any]:
        if not settled and services.ledger.grants.due(1):
            raise DueError
        page = services.ledger.grants.list(wanted, view, limit, cursor)
        return {
            "grants": [stored_body(each, None, show_pack_caps=False) for each in page.grants],
            "next_cursor": page.next_cursor,
        }

    return with_due_settled(services, look)


def _caps_of(
    stored: StoredGrant, snapshot: Snapshot, packs: PacksAtHand
) -> tuple[CapReading, ...] | None:
    request = request_of(stored, packs)
    if request is None:
        return None
    kinds = stored.grant.holder.remedies.values()
    states = CapStates.of(packs.active, request, snapshot.now, kinds)
    return states.readings(snapshot.usage().read(states.question()))
