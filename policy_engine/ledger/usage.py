"""What has been used: read in one statement, for a decision or, after locking, for a grant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from policy_engine.core.caps import CounterKey, Measure, Rolling, Scope
from policy_engine.core.ports import Usage, UsageQuestion, Used
from policy_engine.ledger.counting import CounterClass, Place, class_of, counter_id, period_of
from policy_engine.ledger.grant_tables import (
    CAP_MOVEMENT,
    EVIDENCE_USE,
    GRANT_STATE,
    LIMIT_COUNTER,
    LINE_MOVEMENT,
    ORDER_PIN,
)
from policy_engine.ledger.names import CUSTOMER, EVIDENCE
from policy_engine.ledger.orders import OrderPin, pin_now
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import instant


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger knows besides: how the order is pinned, and whether anything is due."""

    pin: OrderPin | None = None
    due: bool = False
    """A reserve or a coupon has run out and nobody has written that down yet."""


class LedgerUsage:
    """A UsagePort over the tables, as of `now`. `standing` is there once it was asked; `pin` is
    that of the order, where it is known already."""

    def __init__(
        self,
        connection: Connection,
        secret: InstanceSecret,
        now: datetime,
        pin: OrderPin | None = None,
    ) -> None:
        self._connection = connection
        self._secret = secret
        self._now = now
        self._pin = pin
        self.standing = Standing()

    def read(self, question: UsageQuestion) -> Usage:
        asked = {self.stored(key): key for key in question.counters}
        rolling = tuple(key for key in asked if isinstance(key.window, Rolling))
        evidence: dict[str, list[tuple[str, str]]] = {}
        for kind, text in question.evidence:
            evidence.setdefault(evidence_id(self._secret, text), []).append((kind, text))
        places = [
            (counter_id(key), period_of(key.window, self._now))
            for key in asked
            if key not in rolling
        ]
        statement = _statement(
            tuple([class_of(key) for key in rolling]), len(places), len(evidence)
        )
        parameters = self._parameters(question.order_id, places, rolling, evidence)
        found = _Found()
        for tag, name, amount, at in statement.run(self._connection, parameters):
            found.add(tag, name, amount, at)
        pin = self._pin
        if found.pinned and pin is None:
            pin = pin_now(self._connection, question.order_id)
        self.standing = Standing(pin, found.due)
        used = {
            asked[key]: found.rolling.get(str(rolling.index(key)), Used())
            if key in rolling
            else Used(found.counters.get(counter_id(key), 0))
            for key in asked
        }
        spent = frozenset(pair for each in found.spent for pair in evidence[each])
        return Usage(used, found.lines, spent)

    def after(self, usage: Usage, changes: Mapping[Place, int]) -> Usage:
        """What `usage`, read here, comes to once these changes are written."""
        stored = {self.stored(key): key for key in usage.used}
        used = dict(usage.used)
        for place, change in changes.items():
            key = stored.get(place.key)
            if key is None or place.period_us != period_of(key.window, self._now):
                continue
            oldest = used[key].oldest_at
            if oldest is None and isinstance(key.window, Rolling):
                oldest = self._now
            used[key] = Used(used[key].amount + change, oldest)
        return replace(usage, used=used)

    def expected(self, usage: Usage, changes: Mapping[Place, int]) -> dict[Place, int]:
        """What the counters behind `usage` hold, as far as these changes touch them now."""
        stored = {self.stored(key): used.amount for key, used in usage.used.items()}
        return {
            place: stored[place.key]
            for place in changes
            if place.key in stored and place.period_us == period_of(place.key.window, self._now)
        }

    def stored(self, key: CounterKey) -> CounterKey:
        """With the customer's pseudonym, as the tables know it."""
        if key.scope is not Scope.CUSTOMER:
            return key
        pseudonym = self._secret.pseudonym(CUSTOMER, key.key[0])
        return CounterKey(
            key.scope,
            (pseudonym,),
            key.window,
            key.measure,
            key.kinds,
            key.policies,
            key.currency,
        )

    def _parameters(
        self,
        order_id: str,
        places: list[tuple[str, int]],
        rolling: tuple[CounterKey, ...],
        evidence: Mapping[str, object],
    ) -> dict[str, Any]:
        parameters: dict[str, Any] = {"order": order_id, "now": self._now}
        for number, (counter, period_us) in enumerate(places):
            parameters[f"counter_{number}"] = counter
            parameters[f"period_{number}"] = period_us
        for number, spent in enumerate(evidence):
            parameters[f"evidence_{number}"] = spent
        for number, key in enumerate(rolling):
            assert isinstance(key.window, Rolling)
            parameters[f"since_{number}"] = self._now - key.window.length
            parameters |= {f"key_{number}_{i}": part for i, part in enumerate(key.key)}
            if key.currency is not None:
                parameters[f"currency_{number}"] = key.currency
        return parameters


def evidence_id(secret: InstanceSecret, reference: str) -> str:
    """The pseudonym of an evidence's reference, whatever kind of evidence it is said to be."""
    return secret.pseudonym(EVIDENCE, reference)


class _Found:
    """The rows of the statement, sorted by what they tell."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.rolling: dict[str, Used] = {}
        self.lines: dict[str, int] = {}
        self.spent: set[str] = set()
        self.due = False
        self.pinned = False

    def add(self, tag: str, name: str, amount: int | None, at: int | None) -> None:
        match tag:
            case "counter":
                self.counters[name] = int(amount or 0)
            case "rolling":
                oldest = None if at is None else instant(at)
                self.rolling[name] = Used(int(amount or 0), oldest)
            case "line":
                self.lines[name] = int(amount or 0)
            case "spent":
                self.spent.add(name)
            case "pinned":
                self.pinned = True
            case _:
                self.due = True


@lru_cache(maxsize=256)
def _statement(rolling: tuple[CounterClass, ...], places: int, evidence: int) -> Prepared:
    parts = [_lines(), _pinned(), _due()]
    if places:
        parts.append(_counters(places))
    if evidence:
        parts.append(_spent(evidence))
    parts += [
        (_value if each.measure is Measure.VALUE else _count)(number, each)
        for number, each in enumerate(rolling)
    ]
    return Prepared(union_all(*parts))


def _row(tag: str, name: Any, amount: Any, at: Any = None) -> tuple[Any, ...]:
    at = cast(null(), BigInteger) if at is None else at
    return (
        literal(tag, String).label("tag"),
        cast(name, String).label("name"),
        cast(amount, BigInteger).label("amount"),
        at.label("at"),
    )


def _counters(places: int) -> Select[Any]:
    table = LIMIT_COUNTER.c
    wanted = or_(
        *(
            and_(
                table.counter == bindparam(f"counter_{number}", type_=String),
                table.period_us == bindparam(f"period_{number}", type_=BigInteger),
            )
            for number in range(places)
        )
    )
    return select(*_row("counter", table.counter, table.amount)).where(wanted)


def _lines() -> Select[Any]:
    table = LINE_MOVEMENT.c
    return (
        select(*_row("line", table.line, func.sum(table.minor)))
        .where(table.order_id == bindparam("order", type_=String))
        .group_by(table.line)
    )


def _pinned() -> Select[Any]:
    table = ORDER_PIN.c
    return select(*_row("pinned", table.order_id, literal(1))).where(
        table.order_id == bindparam("order", type_=String)
    )


def _due() -> Select[Any]:
    table = GRANT_STATE.c
    first = (
        select(table.grant_id)
        .where(table.due_at_us <= bindparam("now", type_=table.due_at_us.type))
        .limit(1)
        .subquery("due")
    )
    return select(*_row("due", first.c.grant_id, literal(1)))


def _spent(evidence: int) -> Select[Any]:
    table = EVIDENCE_USE.c
    asked = [bindparam(f"evidence_{number}", type_=String) for number in range(evidence)]
    return select(*_row("spent", table.evidence, literal(1))).where(
        table.evidence.in_(asked),
        table.order_id != bindparam("order", type_=String),
    )


def _in_window(number: int, of: CounterClass) -> list[Any]:
    """The movements that a rolling counter sums."""
    table = CAP_MOVEMENT.c
    columns = {
        Scope.ORDER: (table.order_id,),
        Scope.CLAIM: (table.order_id, table.policy),
        Scope.CUSTOMER: (table.customer,),
        Scope.AGENT: (table.agent_id,),
        Scope.PACK: (),
    }[of.scope]
    since = bindparam(f"since_{number}", type_=table.counted_at_us.type)
    wanted: list[Any] = [
        table.counted_at_us > since,
        *(
            column == bindparam(f"key_{number}_{i}", type_=String)
            for i, column in enumerate(columns)
        ),
    ]
    if of.measure is Measure.VALUE:
        wanted.append(table.currency == bindparam(f"currency_{number}", type_=String))
    if of.kinds is not None:
        wanted.append(table.kind.in_([literal(each, String) for each in of.kinds]))
    if of.policies is not None:
        wanted.append(table.policy.in_([literal(each, String) for each in of.policies]))
    return wanted


def _value(number: int, of: CounterClass) -> Select[Any]:
    """The sum, and the oldest instant at which something still counts."""
    table = CAP_MOVEMENT.c
    minor = func.sum(table.minor)
    held = (
        select(table.counted_at_us.label("at"), minor.label("minor"))
        .where(*_in_window(number, of))
        .group_by(table.grant_id, table.counted_at_us)
        .having(minor != 0)
        .subquery(f"held_{number}")
    )
    at = cast(func.min(held.c.at), BigInteger)
    amount = func.coalesce(func.sum(held.c.minor), 0)
    return select(*_row("rolling", literal(str(number), String), amount, at))


def _count(number: int, of: CounterClass) -> Select[Any]:
    """How many grants are present, and when the first of them leaves the window."""
    table = CAP_MOVEMENT.c
    moment = (
        select(
            table.grant_id,
            table.counted_at_us.label("at"),
            func.sum(table.presence).label("presence"),
        )
        .where(*_in_window(number, of))
        .group_by(table.grant_id, table.counted_at_us)
        .subquery(f"moment_{number}")
    )
    present = (
        select(func.max(case((moment.c.presence > 0, moment.c.at))).label("at"))
        .group_by(moment.c.grant_id)
        .having(func.sum(moment.c.presence) > 0)
        .subquery(f"present_{number}")
    )
    at = cast(func.min(present.c.at), BigInteger)
    return select(*_row("rolling", literal(str(number), String), func.count(), at)).select_from(
        present
    )
