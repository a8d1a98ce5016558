"""The record of a decision: everything needed to prove it and to decide it again.

Texts are codes and arguments, amounts are integer minor units, times are UTC. What says who
the customer is stands apart from the rest: `split_personal` takes it out, the ledger seals
it, and wherever the record would show it again it shows PERSONAL instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from policy_engine.core.decision import (
    Because,
    CapReading,
    Decision,
    NotOffered,
    OfferedPlan,
    OfferedRemedy,
)
from policy_engine.core.facts import Missing, Source, Value
from policy_engine.core.policy import Pack
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_duration, format_timestamp
from policy_engine.wire.decisions import value_body
from policy_engine.wire.personal import PERSONAL, personal_facts

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a record says of a decision besides the decision: who, when, and with what."""

    id: str
    at: datetime
    """The ledger's clock."""
    client: str
    role_from: str
    """Where the agent's role came from: `credential`, `roster`, `claim`, `body`, …"""
    matcher: str
    semantics: int
    """The number of the rules that it was evaluated by."""
    engine: str
    """The version of this package."""
    time_zone_data: str
    settings: Mapping[str, object]


def decision_record(
    decision: Decision,
    request: DecisionRequest,
    pack: Pack,
    *,
    public: Json,
    usage: Json,
    circumstances: Circumstances,
) -> Json:
    """The record, as JSON. `public` is what `split_personal` leaves of the request's body, `usage`
    what `NotedUsage.as_json` says. `sealed` is None: the ledger fills it."""
    return {
        "kind": "decision",
        "id": circumstances.id,
        "at": format_timestamp(circumstances.at),
        "client": circumstances.client,
        "agent": {
            "id": request.agent.id,
            "role": request.agent.role,
            "role_from": circumstances.role_from,
        },
        "as_of": format_timestamp(decision.as_of),
        "pack_revision": pack.revision,
        "versions": {
            "engine": circumstances.engine,
            "matcher": circumstances.matcher,
            "semantics": circumstances.semantics,
            "time_zone_data": circumstances.time_zone_data,
        },
        "settings": dict(circumstances.settings),
        "request": public,
        "registered": sorted(request.registered),
        "sealed": None,
        "usage": usage,
        "reason_codes": dict(decision.reason_codes),
        "evaluation": evaluation(decision, pack),
    }


def evaluation(decision: Decision, pack: Pack) -> Json:
    """The part of a record that evaluating again must give, byte for byte and for ever."""
    hidden = personal_facts(pack)
    return {
        "outcome": decision.outcome.value,
        "currency": decision.currency,
        "as_of": format_timestamp(decision.as_of),
        "expires_at": _time(decision.expires_at),
        "policies": list(decision.policies),
        "facts": [
            _fact(name, value, source, hidden) for name, (value, source) in decision.facts.items()
        ],
        "derived": {name: _shown(name, value, hidden) for name, value in decision.derived.items()},
        "trace": [_because(each, decision.currency, hidden) for each in decision.trace],
        "plans": [_plan(plan, decision.currency, hidden) for plan in decision.plans],
        "not_offered": [_refused(plan, decision.currency, hidden) for plan in decision.not_offered],
        "facts_needed": list(decision.facts_needed),
        "caps": [_cap(reading) for reading in decision.caps],
        "actions": [
            {"action": due.what.name, "policy": due.policy, "due_at": _time(due.due_at)}
            for due in decision.actions
        ],
        "milestones": [
            {"milestone": due.what.name, "due_at": _time(due.due_at)} for due in decision.milestones
        ],
        "follow_ups": [{"of": of, "follow_up": what.name} for of, what in decision.follow_ups],
        "message": None
        if decision.message is None
        else {"message": decision.message[0], "outcome": decision.message[1].value},
    }


def evaluation_bytes(decision: Decision, pack: Pack) -> bytes:
    """`evaluation`, canonical: what two evaluations are compared by."""
    return canonical(evaluation(decision, pack))


def _fact(name: str, value: Value, source: Source, hidden: frozenset[str]) -> Json:
    return {"fact": name, "value": _shown(name, value, hidden), "source": source.value}


def _shown(name: str, value: Value, hidden: frozenset[str]) -> object:
    # Unlike an answer, a record tells the two ways of being missing apart.
    if isinstance(value, Missing):
        return {"missing": value.value}
    return dict(PERSONAL) if name in hidden else value_body(value)


def _because(because: Because, currency: str, hidden: frozenset[str]) -> Json:
    fact = because.comparison.fact
    return {
        "fact": fact,
        "observed": _shown(fact, because.observed, hidden),
        "required": because.comparison.required(currency),
        "outcome": because.outcome,
    }


def _plan(plan: OfferedPlan, currency: str, hidden: frozenset[str]) -> Json:
    return {
        "plan": plan.plan,
        "rank": plan.rank,
        "recommended": plan.recommended,
        "remedies": [_remedy(remedy) for remedy in plan.remedies],
        "entitled": plan.entitled,
        "allowed": plan.allowed,
        "pending": plan.pending,
        "uncovered": plan.uncovered,
        "binding_cap": plan.binding_cap,
        "authority": {"status": plan.status.value, "approver": plan.approver},
        "because": [_because(each, currency, hidden) for each in plan.because],
    }


def _remedy(remedy: OfferedRemedy) -> Json:
    valid_for = remedy.rule.valid_for
    return {
        "kind": remedy.rule.kind.value,
        "from": remedy.source,
        "policy": remedy.policy,
        "floor": None if remedy.floor is None else remedy.floor.value,
        "status": remedy.status.value,
        "entitled": remedy.entitled,
        "allowed": remedy.allowed,
        "pending": remedy.pending,
        "uncovered": remedy.uncovered,
        "tax": remedy.tax,
        "net": remedy.net,
        "shares": [{"line": share.line, "minor": share.minor} for share in remedy.shares],
        "valid_for": None if valid_for is None else format_duration(valid_for),
        "due_at": _time(remedy.due_at),
    }


def _refused(plan: NotOffered, currency: str, hidden: frozenset[str]) -> Json:
    return {
        "plan": plan.plan,
        "code": plan.code.value,
        "lacks": list(plan.lacks),
        "because": [_because(each, currency, hidden) for each in plan.because],
    }


def _cap(reading: CapReading) -> Json:
    return {
        "cap": reading.cap.name,
        "scope": reading.cap.scope.value,
        "measure": reading.cap.measure.value,
        "policy": reading.policy,
        "limit": reading.limit,
        "used": reading.used,
        "headroom": reading.headroom,
        "resets_at": _time(reading.resets_at),
    }


def canonical(data: object) -> bytes:
    """RFC 8785 bytes of JSON made of objects, arrays, strings, booleans, nulls and integers
    within ±(2^53 − 1).

    Raises TypeError for other integers and types. There are no floats in anything that is
    recorded; orjson would write some of them otherwise than the RFC does.
    """
    written = orjson.dumps(data, option=_CANONICAL)
    if not written.isascii() and _BEYOND_BMP.search(written):
        # orjson sorts keys by code point, the RFC by UTF-16 unit. They differ only here.
        return orjson.dumps(_sorted_by_utf16(data), option=orjson.OPT_STRICT_INTEGER)
    return written


_CANONICAL: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")


def _sorted_by_utf16(data: object) -> object:
    if isinstance(data, Mapping):
        keys = sorted(data, key=lambda key: key.encode("utf-16-be"))
        return {key: _sorted_by_utf16(data[key]) for key in keys}
    if isinstance(data, list | tuple):
        return [_sorted_by_utf16(each) for each in data]
    return data


def leaf_digest(record: bytes) -> str:
    """A record's bytes → `sha256:…`, the hash of its leaf in the log (RFC 9162: over 0x00 ‖ it)."""
    return "sha256:" + hashlib.sha256(b"\x00" + record).hexdigest()


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
