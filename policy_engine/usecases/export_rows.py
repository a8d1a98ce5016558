"""The rows of an export: one a decision, one an entry of a grant, in named and typed columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from policy_engine.core.money import format_minor
from policy_engine.core.times import parse_timestamp
from policy_engine.ledger.history import Place
from policy_engine.usecases.accounts import Decided, Step
from policy_engine.usecases.wordings import Wordings

Value = str | int | bool | datetime | None
Row = tuple[Value, ...]


class ColumnType(StrEnum):
    TEXT = "text"
    JSON = "json"
    """Text that is JSON."""
    NUMBER = "number"
    """A whole number; minor units where the name ends in `_minor`."""
    AMOUNT = "amount"
    """Decimal digits, for people; the same as the `_minor` beside it."""
    FLAG = "flag"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table of an export: its name and its columns, which only ever grow at the end."""

    name: str
    columns: tuple[Column, ...]


def _columns(**named: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, ColumnType(kind)) for kind, names in named.items() for name in names.split()
    )


def _text(names: str) -> tuple[Column, ...]:
    return _columns(text=names)


_PLACE: Final = (*_columns(number="log_index"), *_text("record digest"))

DECISIONS: Final = TableShape(
    "decisions",
    (
        *_PLACE,
        *_columns(time="decided_at as_of"),
        *_text("client agent role role_from order customer channel outcome currency"),
        *_columns(json="incident_types policies reason_codes"),
        *_text("plan authority approver binding_cap"),
        *_columns(
            amount="entitled allowed pending uncovered tax net",
            number="entitled_minor allowed_minor pending_minor uncovered_minor tax_minor net_minor",
            json="plans not_offered because facts caps",
            flag="grantable",
            time="expires_at",
        ),
        *_text("pack_revision engine matcher"),
        *_columns(number="semantics"),
        *_text("time_zone_data"),
    ),
)

MOVEMENTS: Final = TableShape(
    "grant_movements",
    (
        *_PLACE,
        *_columns(time="at counted_at"),
        *_text("movement grant"),
        *_columns(number="position"),
        *_text("remedy kind from policy reason_code plan decision order customer client agent"),
        *_text("role role_from channel actor actor_role approver currency"),
        *_columns(amount="amount tax net", number="minor tax_minor net_minor", json="shares"),
        *_columns(number="against"),
        *_text("grant_status"),
        *_columns(
            number="granted_minor pending_minor redeemed_minor reversed_minor expired_minor "
            "outstanding_minor",
            json="caps_before caps_after",
        ),
        *_text("decision_digest pack_revision grant_pack_revision"),
    ),
)

_OF_PLANS: Final = ("entitled", "allowed", "pending", "uncovered")
_PLAN_AMOUNTS: Final = (*(f"{name}_minor" for name in _OF_PLANS), "tax_minor", "net_minor")


def _row(shape: TableShape, values: Mapping[str, Value]) -> Row:
    return tuple(values[column.name] for column in shape.columns)


def decision_row(decided: Decided, wordings: Wordings) -> Row:
    """A decision; amounts are those of the recommended plan, `plans` has all of them."""
    record, evaluation, decision = decided.record, decided.evaluation, decided.decision
    plan = decided.recommended
    versions = record["versions"]
    reasons = {name: wordings.reason_code(decided, name) for name in evaluation["policies"]}
    return _row(
        DECISIONS,
        {
            **_place(decision.place),
            "decided_at": decision.place.recorded_at,
            "as_of": parse_timestamp(record["as_of"]),
            "client": decision.client,
            "agent": record["agent"]["id"],
            "role": record["agent"]["role"],
            "role_from": record["agent"]["role_from"],
            "order": decision.order_id,
            "customer": decision.customer,
            "channel": decided.channel,
            "outcome": evaluation["outcome"],
            "currency": decided.currency,
            "incident_types": _json(record["request"]["incident"]["types"]),
            "policies": _json(evaluation["policies"]),
            "reason_codes": _json(reasons),
            "plan": None if plan is None else plan["plan"],
            "authority": None if plan is None else plan["authority"]["status"],
            "approver": None if plan is None else plan["authority"]["approver"],
            "binding_cap": None if plan is None else plan["binding_cap"],
            **_plan_amounts(plan, decided.currency),
            "plans": _json(evaluation["plans"]),
            "not_offered": _json(evaluation["not_offered"]),
            "because": _json(evaluation["trace"]),
            "facts": _json(evaluation["facts"]),
            "caps": _json(evaluation["caps"]),
            "grantable": decision.grantable,
            "expires_at": decision.expires_at,
            "pack_revision": record["pack_revision"],
            "engine": versions["engine"],
            "matcher": versions["matcher"],
            "semantics": versions["semantics"],
            "time_zone_data": versions["time_zone_data"],
        },
    )


def movement_row(step: Step, decided: Decided, wordings: Wordings) -> Row:
    """An entry of a grant, with where its remedy stands afterwards."""
    grant, entry, recorded = step.grant, step.entry, step.recorded
    moved = orjson.loads(recorded.content)
    tax = decided.tax(step)
    minors = {
        "minor": entry.minor,
        "tax_minor": tax,
        "net_minor": None if tax is None else entry.minor - tax,
    }
    return _row(
        MOVEMENTS,
        {
            **_place(recorded.place),
            "at": entry.at,
            "counted_at": entry.counted_at,
            "movement": entry.movement.value,
            "grant": grant.id,
            "position": step.position,
            "remedy": entry.remedy,
            "kind": step.remedy.kind.value,
            "from": step.remedy.source,
            "policy": step.remedy.policy,
            "reason_code": wordings.reason_code(decided, step.remedy.policy),
            "plan": grant.plan,
            "decision": step.of.decision.place.record_id,
            "order": grant.order_id,
            "customer": grant.customer,
            "client": grant.client,
            "agent": grant.agent.id,
            "role": grant.agent.role,
            "role_from": decided.record["agent"]["role_from"],
            "channel": decided.channel,
            "actor": recorded.actor,
            "actor_role": _role_of(moved),
            "approver": grant.approver,
            "currency": grant.currency,
            **_named_amounts(minors, grant.currency),
            **minors,
            "shares": _json([{"line": s.line, "minor": s.minor} for s in entry.shares]),
            "against": entry.against,
            "grant_status": step.status.value,
            "granted_minor": step.after.granted,
            "pending_minor": step.after.pending,
            "redeemed_minor": step.after.redeemed,
            "reversed_minor": step.after.reversed,
            "expired_minor": step.after.expired,
            "outstanding_minor": step.after.outstanding,
            "caps_before": _json(moved["caps"]["before"]),
            "caps_after": _json(moved["caps"]["after"]),
            "decision_digest": step.of.decision.place.digest,
            "pack_revision": decided.record["pack_revision"],
            "grant_pack_revision": grant.pack_revision,
        },
    )


def _plan_amounts(plan: Mapping[str, Any] | None, currency: str) -> dict[str, Value]:
    minors: dict[str, int | None] = dict.fromkeys(_PLAN_AMOUNTS)
    if plan is not None:
        minors |= {f"{name}_minor": plan[name] for name in _OF_PLANS}
        taxed = [(each["tax"], each["net"]) for each in plan["remedies"]]
        if taxed and None not in (tax for tax, _ in taxed):
            minors["tax_minor"] = sum(tax for tax, _ in taxed)
            minors["net_minor"] = sum(net for _, net in taxed)
    return {**_named_amounts(minors, currency), **minors}


def _named_amounts(minors: Mapping[str, int | None], currency: str) -> dict[str, Value]:
    """`tax_minor` → `tax` in the decimals of the currency; `minor` itself is the `amount`."""
    return {
        name.removesuffix("_minor").replace("minor", "amount"): None
        if minor is None
        else format_minor(minor, currency)
        for name, minor in minors.items()
    }


def _role_of(moved: Mapping[str, Any]) -> str | None:
    """The role of whoever moved a grant: of its agent, where it was taken; None for time alone."""
    who = moved["agent"] if "agent" in moved else moved["actor"]
    return None if who is None else who["role"]


def _place(place: Place) -> dict[str, Value]:
    return {"log_index": place.index, "record": place.record_id, "digest": place.digest}


def _json(data: object) -> str:
    return orjson.dumps(data).decode()
