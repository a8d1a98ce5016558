"""Writing grants: inside one transaction, after everything it depends on is locked.

The order of the locks is the same for everybody: the active pack (shared), the grant, its order,
then the counters by rank and id. Rows that are not there yet are inserted in the same order
before any is locked. Time and usage are read in statements after the locks: what such a
statement sees, nobody can change before this transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, String, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from policy_engine.core.caps import CounterKey
from policy_engine.core.grant_moves import next_due
from policy_engine.core.grants import Effect, Entry, GrantState, effects, fold, money_back
from policy_engine.core.headroom import line_key
from policy_engine.ledger.counting import (
    FOR_EVER,
    CounterClass,
    Place,
    contributions,
    counter_id,
    difference,
    rank,
)
from policy_engine.ledger.errors import UnavailableError
from policy_engine.ledger.grant_shapes import Grant, Move
from policy_engine.ledger.grant_tables import (
    CAP_MOVEMENT,
    EVIDENCE_USE,
    GRANT,
    GRANT_ENTRY,
    GRANT_REFERENCE,
    GRANT_REMEDY,
    GRANT_STATE,
    LIMIT_COUNTER,
    LINE_MOVEMENT,
)
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
from policy_engine.ledger.rebuilding import counter_row
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import ACTIVATION
from policy_engine.ledger.usage import evidence_id
from policy_engine.ledger.writing import Row, insert_absent

_MICROSECOND = timedelta(microseconds=1)
_ACTIVE = select(ACTIVATION.c.revision).order_by(ACTIVATION.c.sequence.desc()).limit(1)
_GRANTED = select(GRANT.c.id).where(GRANT.c.decision_id == bindparam("decision_id", type_=String))
_TAKEN = select(
    _ACTIVE.scalar_subquery().label("active"), _GRANTED.scalar_subquery().label("granted")
)
_SHARE_ACTIVATION = select(func.pg_advisory_xact_lock_shared(ACTIVATION_LOCK))


class GrantWriting:
    """What one transaction does to grants. Everything is locked before anything is read."""

    def __init__(self, connection: Connection, secret: InstanceSecret) -> None:
        self._connection = connection
        self._secret = secret
        self._moves: list[Move] = []
        self._registrations: list[Registration] = []
        self._postgres = connection.dialect.name == "postgresql"

    def hold_activation(self) -> None:
        """No other pack becomes the active one before this transaction ends."""
        if self._postgres:
            self._connection.execute(_SHARE_ACTIVATION)

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
        wanted = sorted({(rank(key), counter_id(key)): key for key in keys}.items())
        if not wanted:
            return
        rows = [counter_row(Place(key), 0) for _, key in wanted]
        insert_absent(self._connection, LIMIT_COUNTER, rows)
        query = (
            select(LIMIT_COUNTER.c.counter)
            .where(
                LIMIT_COUNTER.c.counter.in_([counter for (_, counter), _ in wanted]),
                LIMIT_COUNTER.c.period_us == FOR_EVER,
            )
            .order_by(LIMIT_COUNTER.c.rank, LIMIT_COUNTER.c.counter)
            .with_for_update()
        )
        self._connection.execute(query).all()

    def active_revision(self) -> str | None:
        """The active pack. Reliable while the activation is held."""
        return self.taken("")[0]

    def taken(self, decision_id: str) -> tuple[str | None, str | None]:
        """The active pack, and the grant that took an offer of this decision.

        Reliable while the activation is held and the order is locked.
        """
        row = self._connection.execute(_TAKEN, {"decision_id": decision_id}).one()
        return row.active, row.granted

    def spend(self, evidence: Iterable[tuple[str, str]], order_id: str, now: datetime) -> None:
        """References that serve this order from now on, unless they serve another already."""
        ids = sorted({evidence_id(self._secret, kind, text) for kind, text in evidence})
        insert_absent(
            self._connection,
            EVIDENCE_USE,
            [{"evidence": each, "order_id": order_id, "used_at_us": now} for each in ids],
        )

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
        if not changes:
            return
        places = sorted(
            changes, key=lambda each: (rank(each.key), counter_id(each.key), each.period_us)
        )
        rows = [counter_row(each, changes[each]) for each in places]
        found = {
            (row.counter, row.period_us): row.amount
            for row in self._connection.execute(_added(self._connection), rows)
        }
        for place in places:
            amount = found[counter_id(place.key), place.period_us]
            if amount < 0 or amount != expected.get(place, amount):
                raise UnavailableError("a counter changed under its lock; try again")

    def add(self, move: Move) -> None:
        """Collects what a move writes besides its counters."""
        self._moves.append(move)

    def rows(self) -> list[Row]:
        """All that the moves add besides their records, referenced tables first."""
        opened = [move for move in self._moves if move.opens]
        return [
            *(registration_row(each) for each in self._registrations),
            *((GRANT, _grant_row(move.grant)) for move in opened),
            *(row for move in opened for row in _remedy_rows(move.grant)),
            *((GRANT_STATE, _state_row(move)) for move in opened),
            *(row for move in self._moves for row in _entry_rows(move)),
            *(row for move in self._moves for row in self._reference_rows(move)),
            *(row for move in self._moves for row in _cap_rows(move)),
            *(row for move in self._moves for row in _line_rows(move)),
        ]

    def update_states(self) -> None:
        """The states of the grants that were there before."""
        for move in self._moves:
            if not move.opens:
                row = _state_row(move)
                self._connection.execute(
                    update(GRANT_STATE).where(GRANT_STATE.c.grant_id == row.pop("grant_id")), row
                )

    def _reference_rows(self, move: Move) -> list[Row]:
        ids = {self._secret.pseudonym(EXTERNAL_REFERENCE, each) for each in move.references}
        known = select(GRANT_REFERENCE.c.value).where(GRANT_REFERENCE.c.grant_id == move.grant.id)
        ids -= set(self._connection.execute(known).scalars()) if ids else set()
        return [
            (GRANT_REFERENCE, {"value": each, "grant_id": move.grant.id}) for each in sorted(ids)
        ]


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


def _added(connection: Connection) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(LIMIT_COUNTER)
    return statement.on_conflict_do_update(
        index_elements=[LIMIT_COUNTER.c.counter, LIMIT_COUNTER.c.period_us],
        set_={"amount": LIMIT_COUNTER.c.amount + statement.excluded.amount},
    ).returning(LIMIT_COUNTER.c.counter, LIMIT_COUNTER.c.period_us, LIMIT_COUNTER.c.amount)


def _grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "decision_id": grant.decision_id,
        "granted_at_us": grant.granted_at,
        "client": grant.client,
        "credential": grant.credential,
        "owner": grant.owner,
        "order_id": grant.order_id,
        "customer": grant.customer,
        "agent_id": grant.agent.id,
        "role": grant.agent.role,
        "plan": grant.plan,
        "currency": grant.currency,
        "approver": grant.approver,
        "pending_until_us": grant.pending_until,
        "pack_revision": grant.pack_revision,
    }


def _remedy_rows(grant: Grant) -> list[Row]:
    return [
        (
            GRANT_REMEDY,
            {
                "grant_id": grant.id,
                "position": position,
                "remedy": each.id,
                "kind": each.kind.value,
                "policy": each.policy,
                "source": each.source,
                "valid_for_us": None if each.valid_for is None else each.valid_for // _MICROSECOND,
            },
        )
        for position, each in enumerate(grant.remedies)
    ]


def _state_row(move: Move) -> dict[str, Any]:
    grant = move.grant
    state = fold(grant.remedies, (*move.before.entries, *move.added), grant.pending_until)
    return {
        "grant_id": grant.id,
        "status": state.status.value,
        "due_at_us": next_due(state),
    }


def _entry_rows(move: Move) -> list[Row]:
    return [
        (
            GRANT_ENTRY,
            {
                "grant_id": move.grant.id,
                "position": position,
                "record_id": move.record_id,
                "remedy": entry.remedy,
                "movement": entry.movement.value,
                "minor": entry.minor,
                "shares": [[share.line, share.minor] for share in entry.shares],
                "at_us": entry.at,
                "counted_at_us": entry.counted_at,
                "against": entry.against,
                "actor": move.actor,
            },
        )
        for position, entry in enumerate(move.added, len(move.before.entries))
    ]


def _cap_rows(move: Move) -> list[Row]:
    return [
        (CAP_MOVEMENT, _cap_row(move, position, effect))
        for position, effect in enumerate(effects(move.before, move.added))
    ]


def _cap_row(move: Move, position: int, effect: Effect) -> dict[str, Any]:
    holder = move.grant.holder
    kind, policy = holder.remedies[effect.remedy]
    return {
        "record_id": move.record_id,
        "position": position,
        "grant_id": move.grant.id,
        "remedy": effect.remedy,
        "order_id": holder.order,
        "customer": holder.customer,
        "agent_id": holder.agent,
        "policy": policy,
        "kind": kind,
        "currency": holder.currency,
        "minor": effect.minor,
        "presence": effect.presence,
        "counted_at_us": effect.counted_at,
    }


def _line_rows(move: Move) -> list[Row]:
    return [
        (
            LINE_MOVEMENT,
            {
                "record_id": move.record_id,
                "position": position,
                "grant_id": move.grant.id,
                "remedy": remedy,
                "order_id": move.grant.order_id,
                "line": line_key(share.line),
                "minor": share.minor,
            },
        )
        for position, (remedy, share) in enumerate(money_back(move.before, move.added))
    ]
