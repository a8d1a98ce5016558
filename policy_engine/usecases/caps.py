"""What is left of the caps of an order, a customer or an agent, without deciding anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy_engine.core.caps import Cap, Measure, ScopeIds, counter_key
from policy_engine.core.caps import Scope as CapScope
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import UNKNOWN
from policy_engine.core.grants import GrantStatus, effects, fold
from policy_engine.core.headroom import cap_readings, counters_of
from policy_engine.core.money import Money
from policy_engine.core.policy import Pack
from policy_engine.core.ports import UsageQuestion
from policy_engine.core.request import Agent, DecisionRequest, Line
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.counting import Place, classes_of, contributions, period_of
from policy_engine.ledger.grant_shapes import WaitingGrant
from policy_engine.ledger.orders import SHIPPING, OrderPin
from policy_engine.ledger.transaction import Snapshot
from policy_engine.usecases.due import DueError, with_due_settled
from policy_engine.usecases.grant_bodies import cap_body
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.wire.decisions import money_body

_LINE = "line:"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose caps are asked for; None: not of any."""

    order: str | None = None
    customer: str | None = None
    agent: str | None = None

    def covers(self, scope: CapScope) -> bool:
        match scope:
            case CapScope.ORDER | CapScope.CLAIM:
                return self.order is not None
            case CapScope.CUSTOMER:
                return self.customer is not None
            case CapScope.AGENT:
                return self.agent is not None
            case CapScope.PACK:
                return True

    @property
    def ids(self) -> ScopeIds:
        return ScopeIds(self.order or "", self.customer or "", self.agent or "")


def caps(services: Services, caller: Principal, whose: Whose) -> dict[str, Any]:
    """The caps of the active pack, each with its limit, what is used and what waits. NoPackError.

    Those of scope pack only with `audit`.
    """
    with services.packs.use() as (pack, _):

        def look(settled: bool) -> dict[str, Any]:
            return services.ledger.preview(
                lambda snapshot: _read(pack, snapshot, whose, caller.may(Scope.AUDIT), settled)
            )

        return with_due_settled(services, look)


def _read(
    pack: Pack, snapshot: Snapshot, whose: Whose, audit: bool, settled: bool
) -> dict[str, Any]:
    pin = None if whose.order is None else snapshot.pin(whose.order)
    shown = [
        cap
        for cap in pack.caps
        if whose.covers(cap.scope) and (audit or cap.scope is not CapScope.PACK)
    ]
    customer = None if whose.customer is None else snapshot.customer(whose.customer)
    waiting = snapshot.waiting(whose.order, customer, whose.agent, every=audit)
    rows: list[dict[str, Any]] = []
    for currency, some in _by_currency(pack, shown, pin).items():
        rows += _rows(pack, snapshot, whose, currency, some, pin, waiting, settled)
    rows.sort(key=lambda row: [cap.name for cap in pack.caps].index(row["cap"]))
    return {
        "as_of": format_timestamp(snapshot.now),
        "pack_revision": pack.revision,
        "caps": rows,
    }


def _by_currency(pack: Pack, shown: Iterable[Cap], pin: OrderPin | None) -> dict[str, list[Cap]]:
    """Caps by the currency they are read in; "" for those that count grants.

    The caps of an order are read in its own currency once that is known. Until then a share of
    what was paid has no limit that could be told.
    """
    named = sorted(
        {code for cap in pack.caps if isinstance(cap.limit, Mapping) for code in cap.limit}
    )
    found: dict[str, list[Cap]] = {}
    for cap in shown:
        of_order = cap.scope in (CapScope.ORDER, CapScope.CLAIM)
        if cap.measure is Measure.COUNT:
            currencies = [""]
        elif of_order and pin is not None:
            currencies = [pin.currency]
        else:
            currencies = sorted(cap.limit) if isinstance(cap.limit, Mapping) else named
        for currency in currencies:
            found.setdefault(currency, []).append(cap)
    return found


def _rows(
    pack: Pack,
    snapshot: Snapshot,
    whose: Whose,
    currency: str,
    some: Iterable[Cap],
    pin: OrderPin | None,
    waiting: Iterable[WaitingGrant],
    settled: bool,
) -> Iterator[dict[str, Any]]:
    policies = sorted({policy.id for policy in pack.policies})
    scoped: list[tuple[Cap, str | None]] = []
    for cap in some:
        under = [each for each in policies if cap.policies is None or each in cap.policies]
        scoped += [(cap, each) for each in under] if cap.scope is CapScope.CLAIM else [(cap, None)]
    usage_port = snapshot.usage()
    usage = usage_port.read(
        UsageQuestion(counters_of(scoped, whose.ids, currency), whose.order or "", ())
    )
    if usage_port.standing.due and not settled:
        raise DueError
    facts = FactBase(pack.facts, _request(whose, currency, pin), snapshot.now)
    held = _held(pack, snapshot, waiting)
    for reading in cap_readings(scoped, whose.ids, facts, usage):
        key = usage_port.stored(counter_key(reading.cap, whose.ids, reading.policy or "", currency))
        pending = held.get(Place(key, period_of(key.window, snapshot.now)), 0)
        body = cap_body(reading, currency)
        roles = reading.cap.roles
        yield {
            **body,
            "currency": currency or None,
            "roles": None if roles is None else sorted(roles),
            "pending": pending if not currency else money_body(pending, currency),
        }


def _held(pack: Pack, snapshot: Snapshot, waiting: Iterable[WaitingGrant]) -> dict[Place, int]:
    """What open reserves hold of each counter, and how many grants wait as a whole."""
    classes = classes_of(pack)
    by_value = [each for each in classes if each.measure is Measure.VALUE]
    by_count = [each for each in classes if each.measure is Measure.COUNT]
    held: dict[Place, int] = {}
    for each in waiting:
        nothing = fold(each.remedies, (), each.state.pending_until)
        reserves = tuple(entry for _, entry in each.state.open_reserves())
        found = effects(nothing, reserves)
        counted = by_value
        if each.state.status is GrantStatus.PENDING:
            counted = [*by_value, *by_count]
        for place, amount in contributions(each.holder, found, counted, snapshot.now).items():
            held[place] = held.get(place, 0) + amount
    return held


def _request(whose: Whose, currency: str, pin: OrderPin | None) -> DecisionRequest:
    """As much of a request as percentage limits need: what was paid for the order."""
    amounts = {} if pin is None else pin.amounts

    def paid(minor: int | None) -> Any:
        return UNKNOWN if minor is None else Money(minor, currency)

    lines = tuple(
        Line(place.removeprefix(_LINE), paid(minor))
        for place, minor in amounts.items()
        if place.startswith(_LINE)
    )
    return DecisionRequest(
        order_id=whose.order or "",
        currency=currency,
        customer_id=whose.customer or "",
        incident_types=frozenset(),
        lines=lines,
        agent=Agent(whose.agent or "", ""),
        fields={"order.shipping_paid": paid(amounts.get(SHIPPING))},
    )
