"""caps.yaml: what may be given at most, one row a cap."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Mapping
from datetime import timedelta

from policy_engine.core.caps import (
    Calendar,
    CalendarUnit,
    Cap,
    Limit,
    Measure,
    PercentLimit,
    Rolling,
    Scope,
    Window,
)
from policy_engine.core.facts import FactType
from policy_engine.core.money import Money
from policy_engine.packs.amounts import PERCENT, AmountMap
from policy_engine.packs.conditions import FactTable
from policy_engine.packs.nodes import MapNode, Node, ScalarNode
from policy_engine.packs.origins import Origins
from policy_engine.packs.problems import Code, ProblemList, shown
from policy_engine.packs.roles import KIND_CHOICE, ROLE_NAME
from policy_engine.packs.scalars import (
    FACT_NAME,
    Choice,
    Duration,
    Name,
    Schema,
    Text,
    Whole,
    wrong_type,
)
from policy_engine.packs.shapes import Fields, Key, ListOf, OneOf, Table

POLICY_NAME = Name("the name of a policy")


class Zone(Text):
    """A name of the IANA time zone database."""

    def read(self, node: Node, problems: ProblemList) -> str | None:
        name = super().read(node, problems)
        if name is not None and name not in _zones():
            problems.unknown(node.at, Code.UNKNOWN_ZONE, "time zone", name, _zones())
            return None
        return name


@functools.cache
def _zones() -> frozenset[str]:
    # `localtime` and the like mean another zone on every machine.
    return frozenset(
        name for name in zoneinfo.available_timezones() if "/" in name or name == "UTC"
    )


CALENDAR = Key(
    "calendar", Choice(CalendarUnit, "calendar window"), "A calendar day or month.", required=True
)
ZONE = Key(
    "zone",
    Zone("a time zone such as `Asia/Shanghai`"),
    "The time zone of that calendar.",
    required=True,
    example="Asia/Shanghai",
)
CALENDAR_WINDOW = Table("a window such as `{calendar: day, zone: Asia/Shanghai}`", (CALENDAR, ZONE))

LIMIT_PERCENT = Key("percent", PERCENT, "How many percent.", required=True, example="100")
LIMIT_OF = Key("of", FACT_NAME, "Of which money fact.", required=True, example="order.total_paid")
PERCENT_LIMIT = Table(
    'a limit such as `{percent: "100", of: order.total_paid}`', (LIMIT_PERCENT, LIMIT_OF)
)


class LimitShape:
    """A number of grants, amounts by currency, or a percentage of a money fact."""

    of_value = '`{CNY: "30.00"}` or `{percent: "100", of: order.total_paid}`'
    expected = f"a limit such as {of_value} or `3`"

    def read(self, node: Node, problems: ProblemList) -> int | Fields | Mapping[str, Money] | None:
        if isinstance(node, MapNode):
            if "percent" in node.keys or "of" in node.keys:
                return PERCENT_LIMIT.read(node, problems)
            return AmountMap().read(node, problems)
        if isinstance(node, ScalarNode) and type(node.value) is int:
            return Whole(0).read(node, problems)
        wrong_type(node, self.expected, problems)
        return None

    def schema(self) -> Schema:
        return {"anyOf": [Whole(0).schema(), PERCENT_LIMIT.schema(), AmountMap().schema()]}


CAP_NAME = Key("cap", Name("the name of a cap"), "Its name, shown in decisions.", required=True)
SCOPE = Key(
    "scope",
    Choice(Scope, "scope"),
    "What is counted together: an order, a claim (an order and a policy), a customer, an agent, "
    "or everything (pack).",
    required=True,
)
MEASURE = Key(
    "measure", Choice(Measure, "measure"), "The value of grants, or their number.", required=True
)
WINDOW: Key[timedelta | Fields] = Key(
    "window",
    OneOf(
        "a duration such as `P30D`, or a calendar day or month",
        text=Duration(),
        mapping=CALENDAR_WINDOW,
    ),
    "How far back grants count: a duration, or a calendar day or month. Without it, for ever.",
    example="P30D",
)
ROLES = Key(
    "roles", ListOf(ROLE_NAME, "a list of roles"), "Only for these roles.", example=["agent"]
)
KINDS = Key(
    "kinds", ListOf(KIND_CHOICE, "a list of kinds"), "Only for these kinds.", example=["coupon"]
)
POLICIES = Key(
    "policies",
    ListOf(POLICY_NAME, "a list of policies"),
    "Only for these policies.",
    example=["shipping_delay"],
)
LIMIT: Key[int | Fields | Mapping[str, Money]] = Key(
    "limit", LimitShape(), "How much, or how many.", required=True, example={"CNY": "30.00"}
)
CAP = Table(
    "a cap such as `{cap: once, scope: claim, measure: count, limit: 1}`",
    (CAP_NAME, SCOPE, MEASURE, WINDOW, ROLES, KINDS, POLICIES, LIMIT),
    "At most `limit` is given in the scope and window.",
)
CAPS = Key("caps", ListOf(CAP, "a list of caps", may_be_empty=True), "The caps.", required=True)
CAPS_FILE = Table("`caps:` with a list of caps", (CAPS,))


def read_caps(
    node: Node | None,
    facts: FactTable,
    roles: Mapping[str, object] | None,
    policies: frozenset[str] | None,
    origins: Origins,
    problems: ProblemList,
) -> tuple[Cap, ...]:
    """`roles` and `policies` that exist; None where that is not known."""
    fields = None if node is None else CAPS_FILE.read(node, problems)
    if fields is None:
        return ()
    caps: dict[str, Cap] = {}
    for row in fields.all(CAPS):
        _check_names(row, roles, policies, problems)
        cap = _cap(row, facts, problems)
        name = row.get(CAP_NAME)
        if name is not None and name in caps:
            problems.error(
                row.at(CAP_NAME), Code.DUPLICATE_NAME, f"a second cap `{name}`; rename one"
            )
        elif cap is not None:
            caps[cap.name] = cap
            origins.caps.append((row.at(CAP_NAME), cap))
    return tuple(caps.values())


def _check_names(
    row: Fields,
    roles: Mapping[str, object] | None,
    policies: frozenset[str] | None,
    problems: ProblemList,
) -> None:
    for role in row.all(ROLES):
        if roles is not None and role not in roles:
            problems.unknown(row.at(ROLES), Code.UNKNOWN_ROLE, "role", role, roles)
    for policy in row.all(POLICIES):
        if policies is not None and policy not in policies:
            problems.unknown(row.at(POLICIES), Code.UNKNOWN_POLICY, "policy", policy, policies)


def _cap(row: Fields, facts: FactTable, problems: ProblemList) -> Cap | None:
    name, scope, measure = row.get(CAP_NAME), row.get(SCOPE), row.get(MEASURE)
    limit = _limit(row, scope, measure, facts, problems)
    if name is None or scope is None or measure is None or limit is None:
        return None
    kinds = frozenset(kind.value for kind in row.all(KINDS))
    return Cap(
        name,
        scope,
        measure,
        limit,
        _window(row),
        frozenset(row.all(ROLES)) or None,
        kinds or None,
        frozenset(row.all(POLICIES)) or None,
    )


def _window(row: Fields) -> Window:
    window = row.get(WINDOW)
    if isinstance(window, timedelta):
        return Rolling(window)
    if window is None:
        return None
    unit, zone = window.get(CALENDAR), window.get(ZONE)
    return None if unit is None or zone is None else Calendar(unit, zone)


def _limit(
    row: Fields,
    scope: Scope | None,
    measure: Measure | None,
    facts: FactTable,
    problems: ProblemList,
) -> Limit | None:
    limit = row.get(LIMIT)
    if limit is None:
        return None
    is_count = isinstance(limit, int)
    if measure is not None and is_count is not (measure is Measure.COUNT):
        expected = "a bare number such as `3`" if measure is Measure.COUNT else LimitShape.of_value
        problems.error(
            row.at(LIMIT), Code.BAD_LIMIT, f"`measure: {measure}` needs {expected} as its limit"
        )
        return None
    if isinstance(limit, Fields):
        return _percent_limit(limit, row, scope, facts, problems)
    return limit


def _percent_limit(
    limit: Fields,
    row: Fields,
    scope: Scope | None,
    facts: FactTable,
    problems: ProblemList,
) -> PercentLimit | None:
    percent, of = limit.get(LIMIT_PERCENT), limit.get(LIMIT_OF)
    if scope not in (None, Scope.ORDER, Scope.CLAIM):
        problems.error(
            row.at(LIMIT),
            Code.BAD_LIMIT,
            f"a percentage with scope {scope}; it needs scope order or claim",
        )
    spec = None if of is None else facts.find(of, limit.at(LIMIT_OF), problems)
    if spec is None or percent is None:
        return None
    if spec.type is not FactType.MONEY:
        problems.error(
            limit.at(LIMIT_OF),
            Code.WRONG_FACT_TYPE,
            f"`{shown(spec.name)}` is of type {spec.type}; a percentage needs a money fact",
        )
        return None
    return PercentLimit(percent, spec.name)
