"""How plans are called: by the title in the version of their policy that decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from policy_engine.core.decision import Decision, OfferedPlan
from policy_engine.core.facts import ABSENT, Value
from policy_engine.core.policy import DateBy, Pack, Policy
from policy_engine.core.request import DecisionRequest
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.texts import localised


def plan_title(
    pack: Pack, decision: Decision, request: DecisionRequest, plan: OfferedPlan, locale: str
) -> str:
    """The title in the locale that serves this one; the plan's name if it has none."""
    name = plan.plan.partition("/")[2]
    version = _in_force(_versions_of(pack).get(plan.policy, ()), request, decision.as_of)
    titles = (each.title for each in version.plans if each.name == name) if version else ()
    return localised(next(iter(titles), {}), locale, pack.settings.default_locale) or name


def _index(pack: Pack) -> dict[str, list[Policy]]:
    versions: dict[str, list[Policy]] = {}
    for policy in pack.policies:
        versions.setdefault(policy.id, []).append(policy)
    return versions


_versions_of = PerPack(_index)


def _in_force(
    versions: Sequence[Policy], request: DecisionRequest, as_of: datetime
) -> Policy | None:
    for policy in versions:
        instant: Value = as_of
        if policy.date_by is DateBy.INCIDENT:
            instant = request.fields.get("incident.reported_at", ABSENT)
        if isinstance(instant, datetime) and policy.effective_at(instant):
            return policy
    return None
