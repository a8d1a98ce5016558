"""Many grants at once, written as the ledger would, but without deciding any of them."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection, insert

from policy_engine.core.decision import Share
from policy_engine.core.grants import Entry, GrantRemedy, Movement, fold
from policy_engine.core.policy import RemedyKind
from policy_engine.core.request import Agent
from policy_engine.ledger import counters
from policy_engine.ledger.counting import classes_of
from policy_engine.ledger.grant_shapes import Grant, Move
from policy_engine.ledger.grant_tables import ORDER_PIN
from policy_engine.ledger.granting import GrantWriting, changes_of
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.tables import DECISION
from policy_engine.ledger.writing import Row, insert_all, record_rows
from policy_engine.usecases.cap_states import stored_changes
from tests.grants.conftest import Shop

_REMEDY = GrantRemedy("coupon", RemedyKind.COUPON, "shipping_delay", "shipping_delay/delay_coupon")
_AT_ONCE = 500


def fill(shop: Shop, many: int, first: int = 0) -> None:
    """So many coupons of 5.00, each with a reversal of 1.00: two entries, each on its own order,
    ten to a customer, a hundred to an agent. `first` numbers the first order."""
    database = shop.api.services.ledger._database
    numbers = count(first)
    for some in _batches(many):
        database.write(lambda connection, n=some: _fill(shop, connection, n, numbers))


def _batches(many: int) -> list[int]:
    return [min(_AT_ONCE, many - first) for first in range(0, many, _AT_ONCE)]


def _fill(shop: Shop, connection: Connection, many: int, numbers: Any) -> None:
    services = shop.api.services
    with services.packs.use() as (pack, _):
        classes, revision = classes_of(pack), pack.revision
    writing = GrantWriting(connection, services.ledger._secret)
    records: list[Row] = []
    decisions, pins = [], []
    sums: dict[Any, int] = {}
    now = services.ledger._database.now(connection) - timedelta(days=40)
    for _ in range(many):
        number = next(numbers)
        grant = _grant(number, now, revision)
        line = (Share("1", 500),)
        added = (
            Entry("coupon", Movement.POST, 500, line, now, now),
            Entry("coupon", Movement.REVERSE, 100, (Share("1", 100),), now, now, 0),
        )
        before = fold(grant.remedies, (), None)
        for place, change in stored_changes(changes_of(grant, before, added, classes, now)).items():
            sums[place] = sums.get(place, 0) + change
        writing.add(Move(grant.id, grant, before, added, grant.agent.id, opens=True))
        records += record_rows(grant.decision_id, "decision", now, b"{}")
        records += record_rows(grant.id, "grant", now, b"{}")
        decisions.append(_decision(grant))
        pins.append(_pin(grant))
    records.sort(key=lambda row: row[0].name, reverse=True)
    insert_all(connection, records)
    connection.execute(insert(DECISION), decisions)
    connection.execute(insert(ORDER_PIN), pins)
    insert_all(connection, writing.rows())
    counters.add(connection, sums)


def _grant(number: int, now: Any, revision: str) -> Grant:
    return Grant(
        id=new_id(),
        decision_id=new_id(),
        granted_at=now,
        client="desk",
        credential="filled",
        owner=None,
        order_id=f"FILLED-{number}",
        customer=f"{number // 10:064x}",
        agent=Agent(f"A-{number // 100}", "agent"),
        plan="shipping_delay/delay_coupon",
        currency="CNY",
        approver=None,
        pending_until=None,
        pack_revision=revision,
        remedies=(_REMEDY,),
    )


def _decision(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.decision_id,
        "decided_at_us": grant.granted_at,
        "client": grant.client,
        "order_id": grant.order_id,
        "customer": grant.customer,
        "agent_id": grant.agent.id,
        "role": grant.agent.role,
        "outcome": "offer",
        "pack_revision": grant.pack_revision,
        "grantable": True,
        "expires_at_us": grant.granted_at,
        "answer_sealed": b"",
    }


def _pin(grant: Grant) -> dict[str, Any]:
    return {
        "order_id": grant.order_id,
        "customer": grant.customer,
        "currency": grant.currency,
        "amounts": {"line:1": 80000, "shipping": 0},
        "version": 0,
        "first_grant_id": grant.id,
    }
