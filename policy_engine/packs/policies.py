"""<policy>.yaml: one version of one policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policy_engine.core.conditions import Condition
from policy_engine.core.policy import (
    Action,
    AddOn,
    DateBy,
    EvidenceNeed,
    FollowUp,
    Plan,
    Policy,
    RemedyRule,
)
from policy_engine.packs import policy_tables as table
from policy_engine.packs.conditions import WHEN, FactTable, read_condition
from policy_engine.packs.nodes import MapNode, Node, plain
from policy_engine.packs.origins import Origins
from policy_engine.packs.parameters import fill_in
from policy_engine.packs.problems import Code, Position, ProblemList
from policy_engine.packs.remedies import RemedyReader
from policy_engine.packs.scalars import wrong_type
from policy_engine.packs.shapes import Fields, Key


@dataclass(frozen=True)
class PolicyReader:
    facts: FactTable
    origins: Origins
    problems: ProblemList
    strict: bool = False

    def read(self, node: Node) -> Policy | None:
        """The policy of one file; None when something that it can't do without is wrong."""
        if not isinstance(node, MapNode):
            wrong_type(node, table.POLICY_FILE.expected, self.problems)
            return None
        fields = table.POLICY_FILE.read(fill_in(node, self.problems), self.problems)
        if fields is None:
            return None
        self._check_unconfirmed(fields)
        self._check_incident_types(fields)
        self._check_names(
            fields, (table.PLANS, table.PLAN_NAME), (table.ADD_ONS, table.ADD_ON_NAME)
        )
        self._check_names(fields, (table.ACTIONS, table.ACTION_NAME))
        policy = self._policy(fields)
        if policy is not None:
            self._remember(fields, policy)
        return policy

    def _policy(self, fields: Fields) -> Policy | None:
        name, reason_code = fields.get(table.POLICY), fields.get(table.REASON_CODE)
        applies_to = frozenset(fields.all(table.APPLIES_TO))
        effective = fields.get(table.EFFECTIVE)
        start = None if effective is None else effective.get(table.START)
        end = None if effective is None else effective.get(table.END)
        if start is not None and end is not None and start >= end:
            self.problems.error(
                fields.at(table.EFFECTIVE), Code.BAD_INTERVAL, "`from` is not before `until`"
            )
        plans = tuple(self._plans(fields, applies_to))
        add_ons = tuple(self._add_ons(fields, applies_to))
        actions = tuple(self._actions(fields, applies_to))
        if name is None or reason_code is None or not applies_to:
            return None
        return Policy(
            name,
            fields.get(table.TITLE) or {},
            reason_code,
            applies_to,
            plans,
            add_ons,
            actions,
            _evidence(fields),
            _follow_ups(fields),
            start,
            end,
            fields.get(table.DATE_BY) or DateBy.DECISION,
            fields.get(table.MESSAGE),
            {named.name: plain(named.value) for named in fields.all(table.PARAMETERS)},
            fields.all(table.UNCONFIRMED),
        )

    def _plans(self, fields: Fields, applies_to: frozenset[str]) -> Iterator[Plan]:
        for row in fields.all(table.PLANS):
            remedies, when = self._remedies(row), self._condition(row, applies_to)
            name = row.get(table.PLAN_NAME)
            if name is not None:
                yield Plan(
                    name,
                    row.get(table.TITLE) or {},
                    remedies,
                    when,
                    _evidence(row),
                    _follow_ups(row),
                    row.get(table.RANK) or 0,
                    row.get(table.TAKES_ADD_ONS) is not False,
                    row.get(table.FALLBACK) is True,
                    row.get(table.FLOOR),
                )

    def _add_ons(self, fields: Fields, applies_to: frozenset[str]) -> Iterator[AddOn]:
        for row in fields.all(table.ADD_ONS):
            remedies, when = self._remedies(row), self._condition(row, applies_to)
            name = row.get(table.ADD_ON_NAME)
            if name is not None:
                yield AddOn(name, row.get(table.TITLE) or {}, remedies, when, _evidence(row))

    def _actions(self, fields: Fields, applies_to: frozenset[str]) -> Iterator[Action]:
        for row in fields.all(table.ACTIONS):
            when = self._condition(row, applies_to)
            name = row.get(table.ACTION_NAME)
            if name is not None:
                yield Action(name, row.get(table.TITLE) or {}, when, row.get(table.WITHIN))

    def _remedies(self, row: Fields) -> tuple[RemedyRule, ...]:
        reader = RemedyReader(self.facts, self.origins, self.problems)
        read = [reader.read(fields) for fields in row.all(table.REMEDIES)]
        return tuple(remedy for remedy in read if remedy is not None)

    def _condition(self, row: Fields, applies_to: frozenset[str]) -> Condition | None:
        node = row.get(WHEN)
        condition = None if node is None else read_condition(node, self.facts, self.problems)
        if condition is not None and applies_to:
            self.origins.conditions.append((row.at(WHEN), condition, applies_to))
        return condition

    def _remember(self, fields: Fields, policy: Policy) -> None:
        self.origins.policies.append((fields.at(table.POLICY), policy))
        self.origins.texts.append(
            (fields.at(table.TITLE), f"the title of policy `{policy.id}`", policy.title)
        )
        if policy.message is not None:
            self.origins.messages.append((fields.at(table.MESSAGE), policy.message))
        plans = _named(fields, table.PLANS, table.PLAN_NAME)
        add_ons = _named(fields, table.ADD_ONS, table.ADD_ON_NAME)
        actions = _named(fields, table.ACTIONS, table.ACTION_NAME)
        for plan, (_, at, _) in zip(policy.plans, plans, strict=True):
            self.origins.plans.append((at, policy, plan))
        for add_on, (_, at, _) in zip(policy.add_ons, add_ons, strict=True):
            self.origins.plans.append((at, policy, add_on))
        for name, _, row in (*plans, *add_ons, *actions):
            title = row.get(table.TITLE) or {}
            self.origins.texts.append((row.at(table.TITLE), f"the title of `{name}`", title))

    def _check_names(
        self, fields: Fields, *kinds: tuple[Key[tuple[Fields, ...]], Key[str]]
    ) -> None:
        """Plans and add-ons share names, because both are known as `policy/name`."""
        seen: dict[str, int] = {}
        for key, name_key in kinds:
            for name, at, _ in _named(fields, key, name_key):
                if name in seen:
                    self.problems.error(
                        at,
                        Code.DUPLICATE_NAME,
                        f"`{name}` again; it is already at line {seen[name]}, so rename one",
                    )
                seen.setdefault(name, at.line)

    def _check_unconfirmed(self, fields: Fields) -> None:
        declared = {named.name: named.at for named in fields.all(table.PARAMETERS)}
        for name in fields.all(table.UNCONFIRMED):
            at = declared.get(name)
            if at is None:
                self.problems.unknown(
                    fields.at(table.UNCONFIRMED),
                    Code.UNKNOWN_PARAMETER,
                    "parameter",
                    name,
                    declared,
                )
                continue
            report = self.problems.error if self.strict else self.problems.warning
            report(
                at,
                Code.UNCONFIRMED_PARAMETER,
                f"`{name}` holds an example value; set it, and take it out of `unconfirmed`",
            )

    def _check_incident_types(self, fields: Fields) -> None:
        known = self.facts.specs["incident.types"].values
        if known is None or "incident.types" in self.facts.broken:
            return
        for word in fields.all(table.APPLIES_TO):
            if word not in known:
                self.problems.unknown(
                    fields.at(table.APPLIES_TO),
                    Code.UNKNOWN_INCIDENT_TYPE,
                    "incident type",
                    word,
                    known,
                )


def _named(
    fields: Fields, key: Key[tuple[Fields, ...]], name_key: Key[str]
) -> list[tuple[str, Position, Fields]]:
    """(name, where it stands, row) of every row that has a name."""
    return [
        (name, row.at(name_key), row)
        for row in fields.all(key)
        if (name := row.get(name_key)) is not None
    ]


def _evidence(fields: Fields) -> tuple[EvidenceNeed, ...]:
    return tuple(
        EvidenceNeed(kind, tuple(dict.fromkeys(need.value for need in row.all(table.NEEDS))))
        for row in fields.all(table.EVIDENCE)
        if (kind := row.get(table.EVIDENCE_KIND)) is not None
    )


def _follow_ups(fields: Fields) -> tuple[FollowUp, ...]:
    return tuple(
        FollowUp(name, on, row.get(table.AFTER))
        for row in fields.all(table.FOLLOW_UPS)
        if (name := row.get(table.FOLLOW_UP)) is not None and (on := row.get(table.ON)) is not None
    )
