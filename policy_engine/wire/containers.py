"""Strict arrays and objects: every fault of every element, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields

from policy_engine.core.money import shortened
from policy_engine.wire.fields import Fault, StrictField, refusal, wrong_type


class RowsField(StrictField, fields.List[Any]):
    """An array, bounded; the places of bad elements are their indexes."""

    wanted = "an array"

    def __init__(
        self,
        inner: fields.Field[Any],
        *,
        most: int,
        least: int = 0,
        too_many: str = "TOO_MANY_ITEMS",
        **kwargs: Any,
    ) -> None:
        self._most = most
        self._least = least
        self._too_many = too_many
        bounds: dict[str, Any] = {"maxItems": most} | ({"minItems": least} if least else {})
        super().__init__(inner, metadata=bounds | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> Any:
        if type(value) is not list:
            raise wrong_type(value, self.wanted)
        if len(value) > self._most:
            raise refusal(self._too_many, f"{len(value)} of them, of at most {self._most}")
        if len(value) < self._least:
            raise refusal("EMPTY", f"an empty array; at least {self._least} is needed")
        read = self.inner.deserialize
        rows: list[Any] = []
        faults: dict[int, Any] = {}
        for index, each in enumerate(value):
            try:
                rows.append(read(each))
            except ValidationError as error:
                faults[index] = error.messages
                if error.valid_data:
                    rows.append(error.valid_data)
        faults |= self.together(value, faults)
        if faults:
            raise ValidationError(faults, valid_data=rows)
        return rows

    def together(self, value: list[Any], faults: Mapping[int, Any]) -> dict[int, Any]:  # noqa: ARG002
        """More faults, by index, that only show when the elements are looked at together."""
        return {}


class SetField(RowsField):
    """An array of strings, each there once → frozenset."""

    def __init__(self, inner: fields.Field[Any], **kwargs: Any) -> None:
        metadata = {"uniqueItems": True, **kwargs.pop("metadata", {})}
        super().__init__(inner, metadata=metadata, **kwargs)

    def read(self, value: Any) -> frozenset[str]:
        return frozenset(super().read(value))

    def together(self, value: list[Any], faults: Mapping[int, Any]) -> dict[int, Any]:
        return repeated(value, faults, "DUPLICATE_VALUE")


def repeated(
    keys: list[Any], faults: Mapping[int, Any], code: str, step: str | None = None
) -> dict[int, Any]:
    """A fault for each key that an earlier index has already (at `step` below the index)."""
    seen: set[str] = set()
    found: dict[int, Any] = {}
    for index, key in enumerate(keys):
        if index in faults or type(key) is not str:
            continue
        if key in seen:
            fault = [Fault(code, f"`{shortened(key)}` is there twice; keep one")]
            found[index] = fault if step is None else {step: fault}
        seen.add(key)
    return found


class PartField(StrictField, fields.Nested):
    """An object with a schema of its own."""

    wanted = "an object"

    def read(self, value: Any) -> Any:
        return self.schema.load(value)


class StrictSchema(marshmallow.Schema):
    """An object of known fields. Unknown, missing and bad ones are all reported at once.

    Keys that are not sent are not in the result.
    """

    unknown_code = "UNKNOWN_FIELD"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._readers: dict[str, Callable[[Any], Any]] = {
            name: field.deserialize for name, field in self.load_fields.items()
        }
        self._required = tuple(name for name, field in self.load_fields.items() if field.required)

    def load(self, data: Any, **_options: Any) -> Any:
        if type(data) is not dict:
            raise wrong_type(data, "an object")
        result: dict[str, Any] = {}
        faults: dict[str, Any] = {}
        readers = self._readers
        for name, value in data.items():
            read = readers.get(name)
            if read is None:
                faults[name] = [self.unknown_key(name)]
                continue
            try:
                result[name] = read(value)
            except ValidationError as error:
                faults[name] = error.messages
                if error.valid_data:
                    result[name] = error.valid_data
        for name in self._required:
            if name not in data:
                faults[name] = [Fault("MISSING_FIELD", f"`{name}` is required")]
        if faults:
            raise ValidationError(faults, valid_data=result)
        return result

    def unknown_key(self, name: str) -> Fault:
        return Fault(self.unknown_code, f"there is no field `{shortened(name)}` here")
