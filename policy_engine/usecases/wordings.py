"""Rules as they were worded when something was decided by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policy_engine.core.conditions import comparisons
from policy_engine.core.policy import (
    AddOn,
    DateBy,
    FactAmount,
    Pack,
    PercentOf,
    Plan,
    Policy,
    RemedyRule,
    Text,
)
from policy_engine.core.times import parse_timestamp
from policy_engine.ledger.errors import LedgerError
from policy_engine.packs.files import PackFilesError
from policy_engine.packs.show import condition_text, remedy_text
from policy_engine.usecases.accounts import Decided
from policy_engine.usecases.errors import NotReadyError
from policy_engine.usecases.library import Library
from policy_engine.wire.texts import localised


@dataclass(frozen=True, slots=True)
class Rule:
    """A plan or an add-on in words."""

    body: dict[str, Any]
    facts: frozenset[str]
    """What its amounts are computed from."""
    seen: tuple[tuple[str, str], ...] = ()
    """(fact, what is required of it) of an add-on's condition; a plan's stands in its record."""


class Wordings:
    """The policies as they were worded when something was decided."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def pack(self, revision: str) -> Pack | None:
        """None where this release can't read the stored revision any more."""
        try:
            return self._library.engine(revision).pack
        except (NotReadyError, LedgerError, PackFilesError):
            return None

    def policy(self, decided: Decided, policy_id: str) -> Policy | None:
        """The version of the policy that the decision went by."""
        pack = self.pack(decided.record["pack_revision"])
        versions = [] if pack is None else [p for p in pack.policies if p.id == policy_id]
        for version in versions:
            at = decided.record["as_of"]
            if version.date_by is DateBy.INCIDENT:
                at = decided.record["request"]["incident"].get("reported_at")
            if at is not None and version.effective_at(parse_timestamp(at)):
                return version
        return versions[0] if len(versions) == 1 else None

    def reason_code(self, decided: Decided, policy_id: str) -> str | None:
        policy = self.policy(decided, policy_id)
        return None if policy is None else policy.reason_code

    def rule(self, decided: Decided, policy_id: str, source: str, locale: str | None) -> Rule:
        """The plan or add-on `policy/name`; its name alone where this release can't read it."""
        revision = decided.record["pack_revision"]
        policy, pack = self.policy(decided, policy_id), self.pack(revision)
        found = None if policy is None else _plan_or_add_on(policy, source.partition("/")[2])
        if policy is None or pack is None or found is None:
            return Rule({"from": source, "revision": revision}, frozenset())
        default = pack.settings.default_locale

        def text(of: Text) -> str:
            return localised(of, locale or default, default)

        body = {
            "from": source,
            "policy": text(policy.title),
            "reason_code": policy.reason_code,
            "title": text(found.title),
            "when": condition_text(found.when),
            "gives": [remedy_text(each) for each in found.remedies],
            "revision": revision,
        }
        facts = (name for remedy in found.remedies for name in _facts_of(remedy))
        when = found.when if isinstance(found, AddOn) else None
        seen = ((each.fact, each.required(decided.currency)) for each in comparisons(when))
        return Rule(body, frozenset(facts), tuple(seen))


def _plan_or_add_on(policy: Policy, name: str) -> Plan | AddOn | None:
    for plan in policy.plans:
        if plan.name == name:
            return plan
    return next((each for each in policy.add_ons if each.name == name), None)


def _facts_of(remedy: RemedyRule) -> Iterator[str]:
    match remedy.worth:
        case PercentOf(_, of):
            yield of
        case FactAmount(fact):
            yield fact
        case _:
            pass
    if remedy.per is not None:
        yield remedy.per.fact
