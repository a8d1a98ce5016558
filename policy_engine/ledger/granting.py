"""Writing grants: inside one transaction, after everything it depends on is locked.

The order of the locks is the same for everybody: the active pack (shared), the grant, its order,
then the counters by rank and id. Rows that are not there yet are inserted in the same order
before any is locked. Time and usage are read in statements after the locks: what such a
statement sees, nobody can change before this transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, String, bindparam, func, select, update

from policy_engine.core.caps import CounterKey
from policy_engine.core.grants import Entry, GrantState, effects, fold
from policy_engine.core.policy import Pack
from policy_engine.ledger import counters
from policy_engine.ledger.building import ANY_BUILDING, built_past
from policy_engine.ledger.counting import (
    CounterClass,
    Place,
    classes_of,
    contributions,
    difference,
)
from policy_engine.ledger.errors import UnavailableError
from policy_engine.ledger.grant_rows import grant_rows, state_row
from policy_engine.ledger.grant_shapes import Grant, Move
from policy_engine.ledger.grant_tables import EVIDENCE_USE, GRANT, GRANT_REFERENCE, GRANT_STATE
from policy_engine.ledger.names import EXTERNAL_REFERENCE
from policy_engine.ledger.orders import (
    OrderPin,
    Registration,
    existing_pin,
    lock_pin,
    registration_row,
    write_pin,
)
from policy_engine.ledger.packs import ACTIVATION_LOCK
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import ACTIVATION
from policy_engine.ledger.usage import evidence_id
from policy_engine.ledger.writing import Row, insert_into

_ACTIVE = select(ACTIVATION.c.revision).order_by(ACTIVATION.c.sequence.desc()).limit(1)
_GRANTED = select(GRANT.c.id).where(GRANT.c.decision_id == bindparam("decision_id", type_=String))
_TAKEN = Prepared(
    select(
        _ACTIVE.scalar_subquery().label("active"),
        _GRANTED.scalar_subquery().label("granted"),
        ANY_BUILDING.label("building"),
    )
)
_SHARE_ACTIVATION = Prepared(select(func.pg_advisory_xact_lock_shared(ACTIVATION_LOCK)))


class GrantWriting:
    """What one transaction does to grants. Everything is locked before anything is read."""

    def __init__(self, connection: Connection, secret: InstanceSecret) -> None:
        self._connection = connection
        self._secret = secret
        self._moves: list[Move] = []
        self._registrations: list[Registration] = []
        self._postgres = connection.dialect.name == "postgresql"
        self._building = False

    def hold_activation(self) -> None:
        """No other pack becomes the active one before this transaction ends."""
        if self._postgres:
            _SHARE_ACTIVATION.run(self._connection, {})

    def lock_grant(self, grant_id: str) -> bool:
        """From now on this grant is moved by this transaction alone; False if there is none."""
        query = select(GRANT_STATE.c.grant_id).where(GRANT_STATE.c.grant_id == grant_id)
        return self._connection.execute(query.with_for_update()).one_or_none() is not None

    def lock_order(self, pin: OrderPin) -> OrderPin:
        """The order's pin as it stands, locked; `pin` itself where there was none."""
        return lock_pin(self._connection, pin)

    def lock_known_order(self, order_id: str) -> None:
        """The pin of an order that something was granted on."""
        existing_pin(self._connection, order_id)

    def lock_counters(self, keys: Iterable[CounterKey]) -> None:
        """Locks counters; `keys` hold pseudonyms of customers."""
        counters.lock(self._connection, keys)

    def active_revision(self) -> str | None:
        """The active pack. Reliable while the activation is held."""
        return self.taken("")[0]

    def taken(self, decision_id: str) -> tuple[str | None, str | None]:
        """The active pack, and the grant that took an offer of this decision.

        Reliable while the activation is held and the order is locked.
        """
        ((active, granted, building),) = _TAKEN.run(self._connection, {"decision_id": decision_id})
        self._building = bool(building)
        return active, granted

    def classes(self, pack: Pack, grant_id: str) -> tuple[CounterClass, ...]:
        """What the grant adds to: what the active pack's caps count, and counters that are built
        for another one and have got to this grant. To be asked after `taken`."""
        too = built_past(self._connection, grant_id) if self._building else ()
        return (*classes_of(pack), *too)

    def spend(self, evidence: Iterable[str], order_id: str, now: datetime) -> tuple[str, ...]:
        """References that serve this order from now on, unless they serve another already.

        Returns the pseudonyms of those that served none before.
        """
        ids = sorted({evidence_id(self._secret, each) for each in evidence})
        if not ids:
            return ()
        new = insert_into(self._connection.dialect.name, EVIDENCE_USE).on_conflict_do_nothing()
        statement = new.returning(EVIDENCE_USE.c.evidence)
        rows = [{"evidence": each, "order_id": order_id, "used_at_us": now} for each in ids]
        return tuple(sorted(self._connection.execute(statement, rows).scalars()))

    def register(self, registration: Registration, pin: OrderPin) -> None:
        """Adds a version of an order that is locked, and what it is pinned to from now on."""
        self._registrations.append(registration)
        write_pin(self._connection, pin)

    def pin(self, pin: OrderPin) -> None:
        """Changes the pin of an order that is locked."""
        write_pin(self._connection, pin)

    def apply(self, changes: Mapping[Place, int], expected: Mapping[Place, int]) -> None:
        """Adds to counters that are locked.

        `expected` is what those that were read must come to. A sum that comes to something else
        means that somebody got past the lock: then nothing happens.
        """
        for place, amount in counters.add(self._connection, changes).items():
            if amount < 0 or amount != expected.get(place, amount):
                raise UnavailableError("a counter changed under its lock; try again")

    def add(self, move: Move) -> None:
        """Collects what a move writes besides its counters."""
        self._moves.append(move)

    def rows(self) -> list[Row]:
        """All that the moves add besides their records, referenced tables first."""
        return [*(registration_row(each) for each in self._registrations), *grant_rows(self._moves)]

    def update_states(self) -> None:
        """The states of the grants that were there before."""
        for move in self._moves:
            if not move.opens:
                row = state_row(move)
                self._connection.execute(
                    update(GRANT_STATE).where(GRANT_STATE.c.grant_id == row.pop("grant_id")), row
                )

    def new_references(self, grant_id: str, references: Iterable[str]) -> tuple[str, ...]:
        """The pseudonyms of those that this grant, which is locked, can't be found by yet."""
        ids = {self._secret.pseudonym(EXTERNAL_REFERENCE, each) for each in references}
        if not ids:
            return ()
        known = select(GRANT_REFERENCE.c.value).where(GRANT_REFERENCE.c.grant_id == grant_id)
        return tuple(sorted(ids.difference(self._connection.execute(known).scalars())))


def changes_of(
    grant: Grant,
    before: GrantState,
    added: Sequence[Entry],
    classes: Iterable[CounterClass],
    now: datetime,
) -> dict[Place, int]:
    """What entries change in the counters of the classes, rolling ones included."""
    known = tuple(classes)
    past = effects(fold(grant.remedies, (), before.pending_until), before.entries)
    present = (*past, *effects(before, added))
    holder = grant.holder
    return difference(
        contributions(holder, present, known, now), contributions(holder, past, known, now)
    )
