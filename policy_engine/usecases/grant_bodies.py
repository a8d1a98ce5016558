"""A grant as answers and records show it. The shape never varies: what does not apply is null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from policy_engine import __version__
from policy_engine.core.caps import Measure
from policy_engine.core.caps import Scope as CapScope
from policy_engine.core.decision import CapReading
from policy_engine.core.grant_moves import EXPIRY_GRACE
from policy_engine.core.grants import (
    REDEEMED_LATER,
    Entry,
    GrantState,
    Movement,
    RemedyState,
    settled_minor,
)
from policy_engine.core.times import format_duration, format_timestamp
from policy_engine.ledger.grant_shapes import Grant, Happened, StoredGrant
from policy_engine.ledger.orders import OrderPin
from policy_engine.wire.decisions import money_body

Json = dict[str, Any]

_FULFILMENT = {Movement.FULFIL: "done", Movement.FAIL: "failed"}


def grant_body(
    grant: Grant,
    state: GrantState,
    happened: Sequence[Happened],
    *,
    customer_id: str | None,
    digests: Mapping[str, str],
    caps: Sequence[CapReading] | None,
    show_pack_caps: bool,
) -> Json:
    """The whole answer. `caps`: None where they were not looked at (in lists)."""
    audit_id = happened[-1].record_id if happened else grant.id

    def money(minor: int) -> Json:
        return money_body(minor, grant.currency)

    remedies = list(state.remedies.values())
    return {
        "grant_id": grant.id,
        "decision_id": grant.decision_id,
        "status": state.status.value,
        "plan": grant.plan,
        "order": grant.order_id,
        "customer": customer_id,
        "agent": {"id": grant.agent.id, "role": grant.agent.role},
        "requested_by": grant.client,
        "granted_at": format_timestamp(grant.granted_at),
        "approver": grant.approver,
        "pending_until": _time(grant.pending_until if state.open_reserves() else None),
        "remedies": [_remedy(each, state, happened, grant.currency) for each in remedies],
        "granted": money(sum(each.granted for each in remedies)),
        "pending": money(sum(each.pending for each in remedies)),
        "redeemed": money(sum(redeemed_minor(each) for each in remedies)),
        "reversed": money(sum(each.reversed for each in remedies)),
        "expired": money(sum(each.expired for each in remedies)),
        "caps": None
        if caps is None
        else [
            cap_body(each, grant.currency)
            for each in caps
            if show_pack_caps or each.cap.scope is not CapScope.PACK
        ],
        "entries": [
            _entry(entry, settled_minor(entry, state.entries), by, grant.currency)
            for entry, by in zip(state.entries, happened, strict=True)
        ],
        "audit": {"record": audit_id, "digest": digests[audit_id]},
    }


def stored_body(
    stored: StoredGrant, caps: Sequence[CapReading] | None, *, show_pack_caps: bool
) -> Json:
    """A grant as it lies in the ledger."""
    return grant_body(
        stored.grant,
        stored.state,
        stored.happened,
        customer_id=None if stored.personal is None else stored.personal.get("/customer/id"),
        digests=stored.digests,
        caps=caps,
        show_pack_caps=show_pack_caps,
    )


def redeemed_minor(state: RemedyState) -> int:
    """What can't be taken back any more; all but coupons and credit is redeemed when granted."""
    if state.remedy.kind in REDEEMED_LATER:
        return state.redeemed
    return state.granted - state.reversed - state.usable


def cap_body(reading: CapReading, currency: str) -> Json:
    """A cap as answers show it."""

    def measured(quantity: int | None) -> object:
        if quantity is None or reading.cap.measure is Measure.COUNT:
            return quantity
        return money_body(quantity, currency)

    return {
        "cap": reading.cap.name,
        "scope": reading.cap.scope.value,
        "policy": reading.policy,
        "limit": measured(reading.limit),
        "used": measured(reading.used),
        "headroom": measured(reading.headroom),
        "resets_at": _time(reading.resets_at),
    }


def cap_records(readings: Iterable[CapReading]) -> list[Json]:
    """Caps as records hold them: whole minor units."""
    return [
        {
            "cap": each.cap.name,
            "scope": each.cap.scope.value,
            "measure": each.cap.measure.value,
            "policy": each.policy,
            "limit": each.limit,
            "used": each.used,
            "headroom": each.headroom,
            "resets_at": _time(each.resets_at),
        }
        for each in readings
    ]


def entry_records(entries: Iterable[Entry], first: int) -> list[Json]:
    """Entries as records hold them; `first` is the position of the first one in its grant."""
    return [
        {
            "position": position,
            "remedy": entry.remedy,
            "movement": entry.movement.value,
            "minor": entry.minor,
            "shares": [{"line": share.line, "minor": share.minor} for share in entry.shares],
            "at": format_timestamp(entry.at),
            "counted_at": format_timestamp(entry.counted_at),
            "against": entry.against,
        }
        for position, entry in enumerate(entries, first)
    ]


def grant_record(
    new: Grant,
    added: Sequence[Entry],
    *,
    asked: int | None,
    role_from: str,
    before: Sequence[CapReading],
    after: Sequence[CapReading],
    spends: Sequence[str],
    pin: OrderPin | None,
) -> Json:
    """The record of a new grant. `asked` in minor units; None: all that was offered. Caps as they
    stood before it and stand after. `spends`: pseudonyms of the evidence that serves this order
    from now on; `pin`: what the order is pinned to now, None where nothing changed."""
    return {
        "kind": "grant",
        "id": new.id,
        "at": format_timestamp(new.granted_at),
        "decision": new.decision_id,
        "plan": new.plan,
        "asked": asked,
        "client": new.client,
        "credential": new.credential,
        "owner": new.owner,
        "agent": {
            "id": new.agent.id,
            "role": new.agent.role,
            "role_from": role_from,
        },
        "order": new.order_id,
        "customer": new.customer,
        "currency": new.currency,
        "approver": new.approver,
        "pending_until": None if new.pending_until is None else format_timestamp(new.pending_until),
        "pack_revision": new.pack_revision,
        "engine": __version__,
        "remedies": [
            {
                "remedy": each.id,
                "kind": each.kind.value,
                "policy": each.policy,
                "from": each.source,
                "valid_for": None if each.valid_for is None else format_duration(each.valid_for),
            }
            for each in new.remedies
        ],
        "entries": entry_records(added, 0),
        "caps": {"before": cap_records(before), "after": cap_records(after)},
        "spends": list(spends),
        "pin": None if pin is None else pin.as_json(),
        "sealed": None,
    }


def _remedy(
    each: RemedyState, state: GrantState, happened: Sequence[Happened], currency: str
) -> Json:
    until = each.usable_until
    return {
        "remedy": each.remedy.id,
        "kind": each.remedy.kind.value,
        "from": each.remedy.source,
        "status": _status(each),
        "granted": money_body(each.granted, currency),
        "pending": money_body(each.pending, currency),
        "redeemed": money_body(redeemed_minor(each), currency),
        "reversed": money_body(each.reversed, currency),
        "expired": money_body(each.expired, currency),
        "valid_until": _time(until),
        "expires_at": _time(None if until is None else until + EXPIRY_GRACE),
        "fulfilment": _fulfilment(each, state, happened),
    }


def _status(each: RemedyState) -> str:
    """What there is to say of one remedy; the same words as of a grant, and `expired`."""
    stands = each.given and not each.taken_back
    if each.waits:
        return "partly_pending" if stands else "pending"
    if stands:
        used_up = each.expired and each.usable == 0 and each.redeemed == 0
        return "expired" if used_up else "granted"
    if each.given:
        return "reversed"
    return "lapsed" if each.refused is Movement.LAPSE else "rejected"


def _fulfilment(each: RemedyState, state: GrantState, happened: Sequence[Happened]) -> Json | None:
    reported = [
        (entry.movement, by.said.get("external_ref"))
        for entry, by in zip(state.entries, happened, strict=True)
        if entry.remedy == each.remedy.id and entry.movement in _FULFILMENT
    ]
    if not reported:
        return None
    movement, external_ref = reported[-1]
    return {"status": _FULFILMENT[movement], "external_ref": external_ref}


def _entry(entry: Entry, settled: int | None, by: Happened, currency: str) -> Json:
    return {
        "movement": entry.movement.value,
        "remedy": entry.remedy,
        "amount": money_body(entry.minor, currency),
        "settles": None if settled is None else money_body(settled, currency),
        "at": format_timestamp(entry.at),
        "actor": by.actor,
        "note": by.said.get("note") or by.said.get("reason"),
        "reference": by.said.get("reference") or by.said.get("external_ref"),
        "record": by.record_id,
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
