"""The facts of one decision, each looked up once: sent, computed, derived or defaulted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from policy_engine.core.facts import ABSENT, UNKNOWN, FactSpec, Missing, Source, Value
from policy_engine.core.money import Money
from policy_engine.core.request import DecisionRequest, Line


class Seen(Mapping[str, tuple[Value, Source]]):
    """The facts that were looked at by some moment, in order of name."""

    def __init__(self, base: FactBase) -> None:
        self._base = base
        self._values = base.values()

    def __getitem__(self, name: str) -> tuple[Value, Source]:
        return self._values[name], self._base.source(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)


class FactBase:
    """Resolves names of declared facts to values for one request at one instant."""

    def __init__(
        self, specs: Mapping[str, FactSpec], request: DecisionRequest, as_of: datetime
    ) -> None:
        self.request = request
        self.as_of = as_of
        self._specs = specs
        self._values: dict[str, Value] = {}
        self._lacking: dict[str, tuple[str, ...]] = {}

    def value(self, name: str) -> Value:
        """The value of a declared fact, UNKNOWN when a derived one has not been derived."""
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = self._resolve(self._specs[name])
        return found

    def values(self) -> dict[str, Value]:
        """What was looked at until now."""
        return dict(self._values)

    def money_minor(self, name: str) -> int | Missing:
        """A money fact in minor units of the order's currency; null money is zero."""
        value = self.value(name)
        if value is ABSENT:
            return 0
        if isinstance(value, Money) and value.currency == self.request.currency:
            return value.minor
        return UNKNOWN

    def derive(self, name: str, value: Value, lacking: Iterable[str] = ()) -> None:
        """Set a derived fact; `lacking` names what a caller could send when it is unknown."""
        self._values[name] = value
        self._lacking[name] = tuple(lacking)

    def lacking(self, name: str) -> tuple[str, ...]:
        """What a caller can send to make an unknown fact known, by the names of request fields."""
        if self.value(name) is not UNKNOWN:
            return ()
        spec = self._specs[name]
        if spec.derived:
            return self._lacking.get(name, ())
        if spec.since is not None:
            return self.lacking(spec.since)
        if spec.needs:
            return tuple(need for need in spec.needs if self._is_missing(need))
        return (name,)

    def seen(self) -> Mapping[str, tuple[Value, Source]]:
        """Every fact that was looked at until now, by name, with its source."""
        return Seen(self)

    def source(self, name: str) -> Source:
        spec = self._specs[name]
        if spec.derived:
            return Source.DERIVED
        if spec.from_request:
            return Source.ASSERTED if name in self.request.facts else Source.DEFAULTED
        if not spec.sent:
            return Source.COMPUTED
        return Source.REGISTERED if name in self.request.registered else Source.ASSERTED

    def _resolve(self, spec: FactSpec) -> Value:
        if spec.derived:
            return UNKNOWN
        if spec.from_request:
            return self.request.facts.get(spec.name, spec.default_in(self.request.currency))
        if spec.since is not None:
            return self._elapsed(spec.since, spec.until)
        own = _OWN.get(spec.name)
        if own is not None:
            return own(self)
        return self.request.fields.get(spec.name, UNKNOWN)

    def _elapsed(self, since: str, until: str | None) -> Value:
        start = self.value(since)
        if not isinstance(start, datetime):
            return ABSENT if start is ABSENT else UNKNOWN
        end = self.value(until) if until is not None else UNKNOWN
        return (end if isinstance(end, datetime) else self.as_of) - start

    def _is_missing(self, need: str) -> bool:
        if need == "order.lines.paid":
            return any(line.paid is UNKNOWN for line in self.request.lines)
        return self.value(need) is UNKNOWN

    def incident_lines(self) -> tuple[Line, ...]:
        """The lines that the incident is about: those named, or all."""
        named = self.request.incident_lines
        return tuple(line for line in self.request.lines if not named or line.id in named)

    def evidence_kinds(self) -> Value:
        """The kinds provided; whether none was sent or none there is, the field itself says."""
        kinds = frozenset(item.kind for item in self.request.evidence)
        return kinds or self.request.fields.get("incident.evidence", UNKNOWN)

    def sum_paid(self, lines: Iterable[Line], *, shipping: bool = False) -> Value:
        """Money over lines; UNKNOWN when a price (or the shipping asked for) is unknown."""
        total = 0
        for line in lines:
            if line.paid is UNKNOWN:
                return UNKNOWN
            total += line.paid.minor if isinstance(line.paid, Money) else 0
        if shipping:
            paid = self.money_minor("order.shipping_paid")
            if isinstance(paid, Missing):
                return UNKNOWN
            total += paid
        return Money(total, self.request.currency)

    def due_in(self) -> Value:
        """How long until the promised dispatch; negative once it has passed."""
        due = self.value("order.promised_dispatch_by")
        if not isinstance(due, datetime):
            return ABSENT if due is ABSENT else UNKNOWN
        return due - self.as_of


_OWN: dict[str, Callable[[FactBase], Value]] = {
    "order.id": lambda base: base.request.order_id,
    "order.currency": lambda base: base.request.currency,
    "order.lines": lambda base: frozenset(line.id for line in base.request.lines),
    "customer.id": lambda base: base.request.customer_id,
    "agent.id": lambda base: base.request.agent.id,
    "agent.role": lambda base: base.request.agent.role,
    "incident.types": lambda base: base.request.incident_types,
    "incident.lines": lambda base: frozenset(line.id for line in base.incident_lines()),
    "incident.evidence": lambda base: base.evidence_kinds(),
    "order.goods_paid": lambda base: base.sum_paid(base.request.lines),
    "order.total_paid": lambda base: base.sum_paid(base.request.lines, shipping=True),
    "incident.lines_paid": lambda base: base.sum_paid(base.incident_lines()),
    "dispatch.due_in": lambda base: base.due_in(),
}
"""Facts that are not simply a field of the request."""
