"""Moving a grant: locked, looked at, moved by the rules of the core, written as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from policy_engine import __version__
from policy_engine.core.decision import CapReading
from policy_engine.core.grant_moves import ImpossibleMoveError, due
from policy_engine.core.grants import Entry, GrantState, fold
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.counting import Place, classes_of
from policy_engine.ledger.grant_shapes import GrantView, Happened, Move, StoredGrant
from policy_engine.ledger.granting import changes_of
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.transaction import Transaction
from policy_engine.usecases.cap_states import CapStates, GrantUsage, stored_changes
from policy_engine.usecases.errors import ConflictError, NotFoundError, UseCaseError
from policy_engine.usecases.grant_bodies import (
    cap_records,
    entry_records,
    grant_body,
)
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.revisions import PacksAtHand, with_packs
from policy_engine.usecases.services import Services
from policy_engine.wire.problems import InvalidInputError
from policy_engine.wire.records import canonical, leaf_digest
from policy_engine.wire.replay import ReplayError, recorded_request

EVERYTHING: Final = GrantView(everything=True)


@dataclass(frozen=True, slots=True)
class Said:
    """Who moves a grant and what they say of it. `texts` are sealed under the customer's key."""

    actor: str
    client: str
    credential: str
    texts: Mapping[str, str]
    role: str | None = None
    references: tuple[str, ...] = ()
    """Those among the texts that the grant can be found by."""

    @property
    def actor_record(self) -> dict[str, str | None]:
        """Who it was, as a record says it."""
        return {
            "id": self.actor,
            "role": self.role,
            "client": self.client,
            "credential": self.credential,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """What a move has come to."""

    stored: StoredGrant
    caps: tuple[CapReading, ...] | None
    record_id: str


class Moving:
    """One grant inside one transaction: everything that it touches is locked."""

    def __init__(
        self,
        services: Services,
        transaction: Transaction,
        packs: PacksAtHand,
        stored: StoredGrant,
        request: DecisionRequest | None,
    ) -> None:
        self.services = services
        self.transaction = transaction
        self.packs = packs
        self.stored = stored
        self.grant = stored.grant
        self.state: GrantState = stored.state
        self.request = request
        """Of its decision; None once the customer has been erased."""

    @classmethod
    def begin(
        cls,
        services: Services,
        transaction: Transaction,
        packs: PacksAtHand,
        grant_id: str,
        view: GrantView,
        *,
        holds: bool = True,
        blindly: bool = False,
    ) -> Moving:
        """Locks the grant, its order and its counters, and then looks. NotFoundError.

        Without `holds` the move changes no cap, and only the grant is locked. `blindly`: without
        looking at caps, for where they can't be told.
        """
        ledger = transaction.grants
        ledger.hold_activation()
        stored = transaction.grant(grant_id, view) if ledger.lock_grant(grant_id) else None
        if stored is None:
            raise no_such_grant()
        if holds:
            ledger.lock_known_order(stored.grant.order_id)
            ledger.lock_counters(stored.grant.holder.keys(classes_of(packs.active)))
        transaction.look_at_the_clock()
        packs.expect(ledger.active_revision())
        request = None if blindly else request_of(stored, packs)
        return cls(services, transaction, packs, stored, request)

    @property
    def now(self) -> datetime:
        return self.transaction.now

    def expect_nothing_due(self) -> None:
        """Time moves before people do: what has run out is written down first."""
        if due(self.state, self.now):
            raise RunOutError

    def write(
        self,
        move: str,
        added: tuple[Entry, ...],
        said: Said | None = None,
        usage: GrantUsage | None = None,
    ) -> Written:
        """Writes entries with their record and all that they move."""
        grant, before, ledger = self.grant, self.state, self.transaction.grants
        classes = ledger.classes(self.packs.active, grant.id)
        changes = changes_of(grant, before, added, classes, self.now)
        caps_before, caps_after, expected = self._caps(changes, usage)
        ledger.apply(stored_changes(changes), expected)
        record_id = self.services.new_id()
        after = fold(grant.remedies, (*before.entries, *added), grant.pending_until)
        found_by = ledger.new_references(grant.id, () if said is None else said.references)
        record = {
            **self._record(record_id, move, added, after, said),
            "caps": {
                "before": None if caps_before is None else cap_records(caps_before),
                "after": None if caps_after is None else cap_records(caps_after),
            },
            "found_by": list(found_by),
        }
        content = canonical(record)
        self.transaction.add_record(record_id, "grant_move", content)
        actor = None if said is None else said.actor
        ledger.add(Move(record_id, grant, before, added, actor, found_by))
        happened = Happened(record_id, actor, {} if said is None else said.texts)
        stored = replace(
            self.stored,
            state=after,
            happened=(*self.stored.happened, *([happened] * len(added))),
            digests={**self.stored.digests, record_id: leaf_digest(content)},
        )
        return Written(stored, caps_after, record_id)

    def _record(
        self,
        record_id: str,
        move: str,
        added: tuple[Entry, ...],
        after: GrantState,
        said: Said | None,
    ) -> dict[str, Any]:
        return {
            "kind": "grant_move",
            "id": record_id,
            "grant": self.grant.id,
            "move": move,
            "at": format_timestamp(self.now),
            "actor": None if said is None else said.actor_record,
            "customer": self.grant.customer,
            "pack_revision": self.packs.active.revision,
            "engine": __version__,
            "status": {"before": self.state.status.value, "after": after.status.value},
            "entries": entry_records(added, len(self.state.entries)),
            "sealed": self._sealed(record_id, said),
        }

    def _caps(
        self, changes: Mapping[Place, int], usage: GrantUsage | None
    ) -> tuple[tuple[CapReading, ...] | None, tuple[CapReading, ...] | None, dict[Place, int]]:
        """The caps before and after, and what the counters behind them must come to."""
        if self.request is None:
            return None, None, {}
        kinds = self.grant.holder.remedies.values()
        states = CapStates.of(self.packs.active, self.request, self.now, kinds)
        if usage is None:
            usage = GrantUsage(self.transaction.usage(self.now))
            usage.read(states.question())
        after = usage.ledger.after(usage.found, changes)
        return (
            states.readings(usage.found),
            states.readings(after),
            usage.ledger.expected(after, changes),
        )

    def _sealed(self, record_id: str, said: Said | None) -> dict[str, str] | None:
        if said is None or not said.texts:
            return None
        personal = canonical(dict(said.texts))
        sealed = self.transaction.seal_for(self.grant.customer, record_id, personal)
        return {"subject": sealed.subject, "sealed": sealed.sealed}


class RunOutError(Exception):
    """Time has moved the grant, and nobody has written that down yet."""


def move(
    services: Services,
    caller: Principal,
    key: IdempotencyKey,
    grant_id: str,
    act: Callable[[Moving], Written],
    *,
    holds: bool = True,
) -> Answer:
    """Runs one move of one grant as one call. What `act` raises undoes all of it.

    `holds`: the move changes what the grant holds of its caps. Raises NotFoundError,
    ConflictError, ForbiddenError, GoneError, InvalidInputError, NoPackError and what
    `Ledger.decide` does.
    """
    view = view_of(services, caller)

    def work(transaction: Transaction, packs: PacksAtHand) -> Answer:
        moving = Moving.begin(services, transaction, packs, grant_id, view, holds=holds)
        moving.expect_nothing_due()
        try:
            written = act(moving)
        except ImpossibleMoveError as error:
            raise _impossible(error, moving) from None
        body = orjson.dumps(body_for(caller, written))
        transaction.keep_answer(written.record_id, moving.grant.customer, body)
        return Answer(201, body, (("Location", f"/v1/grants/{grant_id}"),))

    return settled_first(
        services,
        grant_id,
        lambda: with_packs(
            services,
            lambda packs: services.ledger.decide(key, lambda found: work(found, packs)),
        ),
    )


def settled_first(services: Services, grant_id: str, call: Callable[[], Answer]) -> Answer:
    """Runs a call again after what had run out of its grant was written down."""
    for _ in range(_ATTEMPTS):
        try:
            return call()
        except RunOutError:
            settle(services, grant_id)
    return call()


_ATTEMPTS: Final = 3


def settle(services: Services, grant_id: str) -> bool:
    """Writes down what has run out of one grant; False when nothing has (any more)."""
    try:
        return _settle(services, grant_id, blindly=False)
    except (UseCaseError, InvalidInputError, ReplayError):
        # A decision that this release can't read any more must not keep its caps held for ever.
        return _settle(services, grant_id, blindly=True)


def _settle(services: Services, grant_id: str, *, blindly: bool) -> bool:
    def work(transaction: Transaction, packs: PacksAtHand) -> Answer:
        moving = Moving.begin(services, transaction, packs, grant_id, EVERYTHING, blindly=blindly)
        added = due(moving.state, moving.now)
        if added:
            moving.write("due", added)
        return Answer(200 if added else 204, b"")

    answer = with_packs(
        services,
        lambda packs: services.ledger.decide(None, lambda found: work(found, packs)),
    )
    return answer.status == 200


def body_for(caller: Principal, written: Written) -> dict[str, Any]:
    """What a caller gets to see of a grant that was just moved."""
    stored = written.stored
    customer = None if stored.personal is None else stored.personal.get("/customer/id")
    return grant_body(
        stored.grant,
        stored.state,
        stored.happened,
        customer_id=customer,
        digests=stored.digests,
        caps=written.caps,
        show_pack_caps=caller.may(Scope.AUDIT),
    )


def request_of(stored: StoredGrant, packs: PacksAtHand) -> DecisionRequest | None:
    """The request of the decision behind a grant; None once the customer has been erased."""
    if stored.personal is None:
        return None
    record = orjson.loads(stored.decision.record)
    pack = packs.get(stored.decision.pack_revision)
    return recorded_request(record, stored.personal, pack).request


def view_of(services: Services, caller: Principal) -> GrantView:
    """What a caller may see: everything with `audit` or `settle`; else what its client asked for,
    and with `approve` what waits, or waited, for a role that its person reaches."""
    if caller.may(Scope.AUDIT, Scope.SETTLE):
        return EVERYTHING
    approves: frozenset[str] = frozenset()
    if caller.may(Scope.APPROVE) and caller.person is not None:
        with services.packs.use() as (pack, _):
            role = caller.person.role
            approves = frozenset(each for each in pack.roles if role in pack.approver_chain(each))
    return GrantView(client=caller.client, approves=approves)


def _impossible(error: ImpossibleMoveError, moving: Moving) -> ConflictError:
    detail = error.told(moving.grant.currency)
    return ConflictError(error.code, detail, {"state": moving.state.status.value})


def no_such_grant() -> NotFoundError:
    return NotFoundError("NO_SUCH_GRANT", "there is no grant with this id")
