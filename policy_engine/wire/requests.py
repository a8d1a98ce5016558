"""JSON → a typed decision request, in one pass, with every problem of it named at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import ValidationError

from policy_engine.core.currencies import DECIMALS
from policy_engine.core.facts import ABSENT, Missing, Value
from policy_engine.core.money import MAX_MINOR, Money, shortened
from policy_engine.core.policy import Pack
from policy_engine.core.request import Agent, DecisionRequest, Evidence, Line
from policy_engine.wire.containers import StrictSchema
from policy_engine.wire.fields import ORDER_CURRENCY, problems_in
from policy_engine.wire.pack_schemas import decision_schema
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.problems import InputProblem, InvalidInputError, pointer_to
from policy_engine.wire.schemas import (
    CustomerSchema,
    IncidentSchema,
    OrderSchema,
)


@dataclass(frozen=True, slots=True)
class AgentClaim:
    """`agent` as the body names it; what it may be, the credential decides."""

    id: str
    role: str


ResolveAgent = Callable[[AgentClaim | None], Agent]
"""The body's agent, or None, → the one that counts. May raise an error of its own."""


@dataclass(frozen=True, slots=True)
class RegisteredOrder:
    """What the shop's back end registered: an `order` object, as it was sent and accepted.

    It stands in for every field of the order that a decision request leaves out.
    """

    order: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request that is in order. `as_of` is None where the caller did not choose one.

    `body` is the JSON that the request was read from, registered fields filled in; reading it
    again gives the same request.
    """

    request: DecisionRequest
    as_of: datetime | None
    locale: str
    body: Mapping[str, Any]


def read_decision(
    data: object,
    pack: Pack,
    *,
    resolve_agent: ResolveAgent,
    now: datetime,
    registered: RegisteredOrder | None = None,
) -> ReadRequest:
    """A parsed body of `POST /v1/decisions` → request.

    `now` bounds `reported_at`, unless the body has an as_of of its own. Raises
    InvalidInputError with all problems, and whatever `resolve_agent` raises.
    """
    reader = _reader_of(pack)
    return reader.read(data, resolve_agent=resolve_agent, now=now, registered=registered)


class DecisionReader:
    """The schemas of one pack, made ready. Safe to use from several threads."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._schema: StrictSchema = decision_schema(pack)

    def read(
        self,
        data: object,
        *,
        resolve_agent: ResolveAgent,
        now: datetime,
        registered: RegisteredOrder | None = None,
    ) -> ReadRequest:
        """See `read_decision`."""
        names: frozenset[str] = frozenset()
        if registered is not None:
            data, names = _completed(data, registered)
        parts, problems = self._load(data)
        problems.extend(_contradictions(data, parts, now))
        agent = self._agent(parts, resolve_agent, problems)
        if problems or agent is None or not isinstance(data, dict):
            raise InvalidInputError(problems)
        locale = parts["customer"].get("locale")
        return ReadRequest(
            _request(parts, agent, names),
            _given(parts.get("as_of")),
            _given(locale) or self.pack.settings.default_locale,
            data,
        )

    def _load(self, data: object) -> tuple[dict[str, Any], list[InputProblem]]:
        currency = ORDER_CURRENCY.set(_currency(data))
        try:
            return self._schema.load(data), []
        except ValidationError as error:
            parts = error.valid_data if isinstance(error.valid_data, dict) else {}
            return parts, list(problems_in(error.messages))
        finally:
            ORDER_CURRENCY.reset(currency)

    def _agent(
        self, parts: dict[str, Any], resolve: ResolveAgent, problems: list[InputProblem]
    ) -> Agent | None:
        """The effective agent, in a role of the pack; None with a problem added."""
        if any(each.pointer.split("/")[1:2] in ([], ["agent"]) for each in problems):
            return None
        claim = _given(parts.get("agent"))
        try:
            agent = resolve(AgentClaim(**claim) if claim else None)
        except InvalidInputError as error:
            problems.extend(error.problems)
            return None
        if agent.role not in self.pack.roles:
            known = ", ".join(f"`{role}`" for role in self.pack.roles)
            problems.append(
                InputProblem(
                    "/agent/role",
                    "UNKNOWN_ROLE",
                    f"`{shortened(agent.role)}` is not a role of this pack; use one of {known}",
                )
            )
            return None
        problems.extend(self._not_of_the_pack(agent))
        return agent

    def _not_of_the_pack(self, agent: Agent) -> Iterator[InputProblem]:
        """What the pack narrows of an agent, whoever names it: the body or a credential."""
        for field, value in (("id", agent.id), ("role", agent.role)):
            values = self.pack.facts[f"agent.{field}"].values
            if values is not None and value not in values:
                known = ", ".join(f"`{each}`" for each in values)
                text = f"`{shortened(value)}` is not a value of this pack; use one of {known}"
                yield InputProblem(f"/agent/{field}", "NOT_IN_VALUES", text)


_reader_of = PerPack(DecisionReader)


def _completed(data: object, registered: RegisteredOrder) -> tuple[object, frozenset[str]]:
    """The body with what it leaves out of the order; the names of the fields so filled in."""
    order = data.get("order") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(order, dict):
        return data, frozenset()
    filled = {name: value for name, value in registered.order.items() if name not in order}
    names = frozenset(f"order.{name}" for name in filled)
    return {**data, "order": {**order, **filled}}, names


def _currency(data: object) -> str | None:
    order = data.get("order") if isinstance(data, dict) else None
    currency = order.get("currency") if isinstance(order, dict) else None
    return currency if isinstance(currency, str) and currency in DECIMALS else None


def _contradictions(data: object, parts: dict[str, Any], now: datetime) -> Iterator[InputProblem]:
    """What only shows when parts are looked at together, as far as they could be read."""
    order = parts.get("order") or {}
    incident = parts.get("incident") or {}
    yield from _out_of_reach(_given(parts.get("as_of")))
    yield from _beyond_counting(order)
    yield from _unknown_lines(data, incident)
    yield from _impossible_report(order, incident, _given(parts.get("as_of")) or now)


def _out_of_reach(as_of: datetime | None) -> Iterator[InputProblem]:
    """Windows reach back from it by up to a hundred years, due times ahead: within a calendar."""
    if as_of is not None and not _EARLIEST <= as_of < _LATEST:
        yield InputProblem("/as_of", "OUT_OF_RANGE", "must lie in the years 1900 to 2999")


_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)


def _beyond_counting(order: dict[str, Any]) -> Iterator[InputProblem]:
    paid = [line.get("paid") for line in order.get("lines", ())]
    paid.append(order.get("shipping_paid"))
    if sum(each.minor for each in paid if isinstance(each, Money)) > MAX_MINOR:
        yield InputProblem(
            "/order", "AMOUNT_TOO_LARGE", "the order's amounts add up to more than is counted"
        )


def _unknown_lines(data: object, incident: dict[str, Any]) -> Iterator[InputProblem]:
    if not incident.get("lines") or not isinstance(data, dict):
        return
    order = data.get("order")
    rows = order.get("lines") if isinstance(order, dict) else None
    if not isinstance(rows, list):
        return
    # As sent: a line with some other fault is there all the same. Where an id is itself a
    # problem, which lines there are is not known.
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    if not ids or not all(isinstance(each, str) for each in ids):
        return
    for index, wanted in enumerate(data["incident"]["lines"]):
        if isinstance(wanted, str) and wanted not in ids:
            yield InputProblem(
                pointer_to("incident", "lines", index),
                "UNKNOWN_LINE",
                f"the order has no line `{shortened(wanted)}`; name one of its lines' ids",
            )


def _impossible_report(
    order: dict[str, Any], incident: dict[str, Any], now: datetime
) -> Iterator[InputProblem]:
    reported = incident.get("reported_at")
    placed = order.get("placed_at")
    if not isinstance(reported, datetime):
        return
    if isinstance(placed, datetime) and reported < placed:
        yield InputProblem(
            "/incident/reported_at", "REPORTED_BEFORE_PLACED", "lies before order.placed_at"
        )
    if reported > now:
        yield InputProblem("/incident/reported_at", "IN_THE_FUTURE", "lies in the future")


def _given(value: Any) -> Any:
    """None for what is missing, whichever way."""
    return None if isinstance(value, Missing) else value


_APART: Final = {
    "order": {"id", "currency", "lines"},
    "incident": {"types", "lines", "evidence"},
    "customer": {"id"},
}
"""Fields that DecisionRequest has attributes of its own for."""

_FIELD_NAMES: Final = {
    part: {name: f"{part}.{name}" for name in schema().fields if name not in _APART[part]}
    for part, schema in (
        ("order", OrderSchema),
        ("incident", IncidentSchema),
        ("customer", CustomerSchema),
    )
}


def _request(parts: dict[str, Any], agent: Agent, registered: frozenset[str]) -> DecisionRequest:
    order, incident, customer = parts["order"], parts["incident"], parts["customer"]
    fields: dict[str, Value] = {}
    for part, names in _FIELD_NAMES.items():
        for key, value in parts[part].items():
            if key in names:
                fields[names[key]] = value
    if "channel" in parts:
        fields["channel"] = parts["channel"]
    if "evidence" in incident:
        items = incident["evidence"]
        kinds = items if items is ABSENT else frozenset(item["kind"] for item in items)
        fields["incident.evidence"] = kinds
    return DecisionRequest(
        order_id=order["id"],
        currency=order["currency"],
        customer_id=customer["id"],
        incident_types=incident["types"],
        lines=tuple([Line(**line) for line in order["lines"]]),
        agent=agent,
        incident_lines=_given(incident.get("lines")) or frozenset(),
        evidence=tuple(
            [
                Evidence(item["kind"], _given(item.get("reference")), item.get("verified") is True)
                for item in _given(incident.get("evidence")) or ()
            ]
        ),
        fields=fields,
        facts=_given(parts.get("facts")) or {},
        reference=_given(parts.get("reference")) or {},
        registered=registered,
    )
