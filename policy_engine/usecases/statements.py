"""The statement of a customer: what they got, by which rule, on which facts, and who allowed it.

Looking is recorded. Everything comes from the records of the time: rules are worded as they were
then, caps stand as they stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import orjson

from policy_engine.core.grants import Movement, fold, settled_minor
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.history import Place, RecordedEntry, RecordedGrant
from policy_engine.ledger.shapes import Sealed
from policy_engine.usecases.accounts import (
    FIGURES,
    NOTHING,
    Balance,
    Decided,
    balance,
    steps,
)
from policy_engine.usecases.errors import UseCaseError
from policy_engine.usecases.services import Services
from policy_engine.usecases.wordings import Rule, Wordings
from policy_engine.wire.decisions import money_body

Json = dict[str, Any]

MOST: Final = 500
"""Grants that one statement shows."""


def statement(
    services: Services,
    customer_id: str,
    *,
    since: datetime,
    until: datetime,
    by: str,
    locale: str | None = None,
) -> Json:
    """What happened to the grants of a customer in [since, until), with all that led there.

    A customer of whom nothing is known has an empty statement. UseCaseError for an empty time
    and for one with more grants than MOST.
    """
    if until <= since:
        raise UseCaseError("EMPTY_TIME", "`to` must lie after `from`")
    history = services.ledger.history
    customer = history.customer(customer_id)
    time = {"from": format_timestamp(since), "to": format_timestamp(until)}
    record_id = history.note("statement", by, {"customer": customer, **time})
    writing = _Writing(services, since, locale)
    grants: list[Json] = []
    for each in history.grants(until, since=since, customer=customer):
        if len(grants) == MOST:
            raise UseCaseError(
                "TOO_MANY_GRANTS", f"there are more than {MOST} grants; ask for less time at once"
            )
        grants.append(writing.grant(each))
    return {
        "customer": customer,
        **time,
        "record": record_id,
        "totals": writing.totals(),
        "grants": grants,
    }


class _Writing:
    """Writes one statement, and adds up what it has written."""

    def __init__(self, services: Services, since: datetime, locale: str | None) -> None:
        self._services = services
        self._since = since
        self._locale = locale
        self._wordings = Wordings(services.library)
        self._changes: dict[str, Balance] = {}

    def totals(self) -> list[Json]:
        """What happened in the time, currency by currency."""
        return [
            {name: money_body(getattr(change, name), currency) for name in FIGURES}
            for currency, change in sorted(self._changes.items())
        ]

    def grant(self, of: RecordedGrant) -> Json:
        grant, decided = of.grant, Decided(of.decision)
        entries = [each.entry for each in of.entries]
        state = fold(grant.remedies, entries, grant.pending_until)
        for step in steps(of):
            if step.entry.at >= self._since:
                before = self._changes.get(grant.currency, NOTHING)
                self._changes[grant.currency] = before + step.change
        rules = [
            self._wordings.rule(decided, *source, self._locale) for source in self._sources(of)
        ]
        return {
            "grant_id": grant.id,
            "status": state.status.value,
            "order": grant.order_id,
            "plan": grant.plan,
            "granted_at": format_timestamp(grant.granted_at),
            "remedies": [
                {
                    "remedy": each.remedy.id,
                    "kind": each.remedy.kind.value,
                    "from": each.remedy.source,
                    **_figures(balance(each), grant.currency),
                }
                for each in state.remedies.values()
            ],
            "requested": {
                "agent": grant.agent.id,
                "role": grant.agent.role,
                "role_from": decided.record["agent"]["role_from"],
                "client": grant.client,
                "owner": grant.owner,
                "channel": decided.channel,
            },
            "allowed_by": list(self._allowed_by(of)),
            "rules": [rule.body for rule in rules],
            "facts": _facts(decided, grant.plan, rules),
            "decision": _decision(decided, grant.plan),
            "moves": [self._move(of, moved) for moved in _by_record(of.entries)],
        }

    def _sources(self, of: RecordedGrant) -> list[tuple[str, str]]:
        """(policy, `policy/plan` or `policy/add_on`) of the remedies, each once, in order."""
        return list(dict.fromkeys((each.policy, each.source) for each in of.grant.remedies))

    def _allowed_by(self, of: RecordedGrant) -> Iterator[Json]:
        """Who gave what: the agent within the caps of the role, and whoever approved the rest."""
        for moved in _by_record(of.entries):
            posted = [each.entry for each in moved if each.entry.movement is Movement.POST]
            if not posted:
                continue
            record = orjson.loads(moved[0].content)
            approved = any(entry.against is not None for entry in posted)
            who = record["actor"] if "actor" in record else record["agent"]
            yield {
                "who": moved[0].actor,
                "role": who["role"],
                "as": "approver" if approved else "agent",
                "at": format_timestamp(posted[0].at),
                "amount": money_body(sum(each.minor for each in posted), of.grant.currency),
                "record": moved[0].place.record_id,
            }

    def _move(self, of: RecordedGrant, moved: Sequence[RecordedEntry]) -> Json:
        record = orjson.loads(moved[0].content)
        currency = of.grant.currency
        entries = [each.entry for each in of.entries]
        return {
            "at": format_timestamp(moved[0].entry.at),
            "by": moved[0].actor,
            "said": self._said(record, moved[0].place),
            "entries": [
                {
                    "movement": each.entry.movement.value,
                    "remedy": each.entry.remedy,
                    "amount": money_body(each.entry.minor, currency),
                    "settles": None if settled is None else money_body(settled, currency),
                }
                for each in moved
                for settled in [settled_minor(each.entry, entries)]
            ],
            "caps": _caps(record["caps"], currency),
            "proof": _proof(moved[0].place),
        }

    def _said(self, record: Mapping[str, Any], place: Place) -> Json | None:
        """Notes, reasons and references; None once the customer has been erased."""
        sealed = record.get("sealed")
        if sealed is None:
            return {}
        opened = self._services.ledger.decisions.open_personal(
            place.record_id, Sealed(sealed["subject"], sealed["sealed"])
        )
        said: Json | None = None if opened is None else orjson.loads(opened)
        return said


def _by_record(entries: Sequence[RecordedEntry]) -> list[list[RecordedEntry]]:
    """Entries that were made at once."""
    return [list(moved) for _, moved in groupby(entries, lambda each: each.place.record_id)]


def _figures(balance: Balance, currency: str) -> Json:
    return {name: money_body(getattr(balance, name), currency) for name in FIGURES}


def _facts(decided: Decided, plan: str, rules: Iterable[Rule]) -> list[Json]:
    """What the conditions of the plan and its add-ons saw and what their amounts come from, with
    where that came from."""
    required: dict[str, list[str]] = {}
    own = [(each["fact"], each["required"]) for each in _plan(decided, plan)["because"]]
    for fact, asked in (*own, *(each for rule in rules for each in rule.seen)):
        texts = required.setdefault(fact, [])
        if asked not in texts:
            texts.append(asked)
    wanted = required.keys() | {name for rule in rules for name in rule.facts}
    return [
        {
            "fact": each["fact"],
            "value": each["value"],
            "source": each["source"],
            "required": ", ".join(required[each["fact"]]) if each["fact"] in required else None,
        }
        for each in decided.evaluation["facts"]
        if each["fact"] in wanted
    ]


def _plan(decided: Decided, plan: str) -> Mapping[str, Any]:
    return next(each for each in decided.evaluation["plans"] if each["plan"] == plan)


def _decision(decided: Decided, plan: str) -> Json:
    offered = _plan(decided, plan)
    amounts = ("entitled", "allowed", "pending", "uncovered")
    return {
        "decision_id": decided.decision.place.record_id,
        "decided_at": format_timestamp(decided.decision.place.recorded_at),
        **{name: money_body(offered[name], decided.currency) for name in amounts},
        "binding_cap": offered["binding_cap"],
        "authority": offered["authority"],
        "pack_revision": decided.record["pack_revision"],
        "proof": _proof(decided.decision.place),
    }


def _caps(caps: Mapping[str, Any], currency: str) -> list[Json] | None:
    """Each cap before and after; None where the customer had been erased by then."""
    if caps["before"] is None or caps["after"] is None:
        return None

    def measured(cap: Mapping[str, Any], name: str) -> object:
        quantity = cap[name]
        if quantity is None or cap["measure"] == "count":
            return quantity
        return money_body(quantity, currency)

    return [
        {
            "cap": before["cap"],
            "scope": before["scope"],
            "limit": measured(before, "limit"),
            "used_before": measured(before, "used"),
            "used_after": measured(after, "used"),
            "headroom_after": measured(after, "headroom"),
        }
        for before, after in zip(caps["before"], caps["after"], strict=True)
    ]


def _proof(place: Place) -> Json:
    return {"record": place.record_id, "digest": place.digest, "log_index": place.index}
