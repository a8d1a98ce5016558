"""The decision request's schema narrowed to one pack: its declared facts and its own values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from marshmallow import fields

from policy_engine.core.currencies import DECIMALS
from policy_engine.core.facts import FactSpec, FactType
from policy_engine.core.policy import Pack
from policy_engine.wire.containers import PartField, RowsField, SetField, StrictSchema
from policy_engine.wire.fields import (
    BooleanField,
    CurrencyField,
    DecimalField,
    DurationField,
    EnumField,
    IdField,
    IntegerField,
    PatternField,
    TextField,
    TimestampField,
)
from policy_engine.wire.schemas import (
    MAX_EVIDENCE,
    MAX_VALUES,
    CustomerSchema,
    DecisionRequestSchema,
    EvidenceSchema,
    FactMoneySchema,
    FactsSchema,
    IncidentSchema,
    OrderSchema,
)

Strict = TypeVar("Strict", bound=StrictSchema)


def decision_schema(pack: Pack) -> StrictSchema:
    """DecisionRequestSchema with the pack's facts and values. Build it once a pack."""
    schema = _narrowed(DecisionRequestSchema, "", pack)
    parts = {
        "order": PartField(_narrowed(OrderSchema, "order.", pack), required=True),
        "incident": PartField(_narrowed(IncidentSchema, "incident.", pack), required=True),
        "customer": PartField(_narrowed(CustomerSchema, "customer.", pack), required=True),
        "facts": PartField(_facts_schema(pack), allow_none=True),
    }
    return _with(schema, parts)()


def _with(schema: type[Strict], own: Mapping[str, fields.Field[Any]]) -> type[Strict]:
    built = schema.from_dict(dict(own))
    assert issubclass(built, schema)
    return built


def _narrowed(schema: type[Strict], prefix: str, pack: Pack) -> type[Strict]:
    """The schema with only the pack's values wherever the pack narrows a field of it."""
    narrowed: dict[str, fields.Field[Any]] = {}
    for name, field in schema().fields.items():
        spec = pack.facts.get(prefix + name)
        if spec is not None and spec.values is not None:
            own = _narrowed_field(field, spec.values)
            if own is not None:
                narrowed[name] = own
    return _with(schema, narrowed) if narrowed else schema


def _narrowed_field(field: fields.Field[Any], values: tuple[str, ...]) -> fields.Field[Any] | None:
    null = field.allow_none
    match field:
        case SetField():
            least = 1 if field.required else 0
            return SetField(
                EnumField(values),
                required=field.required,
                allow_none=null,
                least=least,
                most=MAX_VALUES,
            )
        case RowsField() if isinstance(field.inner, PartField) and field.name == "evidence":
            kinds = {"kind": EnumField(values, required=True)}
            rows = PartField(_with(EvidenceSchema, kinds))
            return RowsField(rows, allow_none=null, most=MAX_EVIDENCE)
        case CurrencyField():
            return EnumField(tuple(each for each in values if each in DECIMALS), required=True)
        case TextField() | PatternField():
            return EnumField(values, required=field.required, allow_none=null)
        case _:
            return None


def _facts_schema(pack: Pack) -> type[StrictSchema]:
    taken = {name: fact_field(spec) for name, spec in pack.facts.items() if spec.from_request}
    schema = _with(FactsSchema, taken)
    schema.declared = frozenset(pack.facts)
    return schema


def fact_field(spec: FactSpec) -> fields.Field[Any]:
    """The strict field that reads a fact of the spec's type."""
    if spec.type is FactType.ENUM:
        return EnumField(spec.values or (), allow_none=True)
    if spec.type is FactType.SET:
        values = EnumField(spec.values) if spec.values is not None else IdField()
        return SetField(values, allow_none=True, most=MAX_VALUES)
    if spec.type is FactType.MONEY:
        return PartField(FactMoneySchema, allow_none=True)
    return _PLAIN_FACTS[spec.type](allow_none=True)


_PLAIN_FACTS: Final[Mapping[FactType, Callable[..., fields.Field[Any]]]] = {
    FactType.BOOLEAN: BooleanField,
    FactType.INTEGER: IntegerField,
    FactType.DECIMAL: partial(DecimalField, signed=True),
    FactType.DURATION: DurationField,
    FactType.TIMESTAMP: TimestampField,
    FactType.STRING: TextField,
}
