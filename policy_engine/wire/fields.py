"""Strict marshmallow fields for single values; `containers` has those for arrays and objects.

What a field refuses it refuses with a `Fault`, a stable code and a sentence; `problems_in`
turns a whole refusal into problems by JSON Pointer. A JSON null becomes ABSENT, and a key
that is not there stays out of the result, so omitted and null never mix.

The marshmallow methods overridden here (`Schema.load`, `Field.deserialize`) are its public
ones; their own implementations cost several times as much and accept `"yes"` for true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from marshmallow import ValidationError, fields

from policy_engine.core.currencies import DECIMALS
from policy_engine.core.facts import ABSENT
from policy_engine.core.money import (
    MAX_MINOR,
    Money,
    MoneyError,
    parse_decimal,
    parse_money,
    shortened,
)
from policy_engine.core.times import (
    TimeFormatError,
    parse_duration,
    parse_timestamp,
)
from policy_engine.wire.problems import InputProblem, pointer_to

ORDER_CURRENCY: Final[ContextVar[str | None]] = ContextVar("order_currency", default=None)
"""The currency of the order that is being read; None while it is not known to be a good one."""


class Fault(NamedTuple):
    """Why a field refuses: the code and message of an InputProblem, its place not known yet."""

    code: str
    message: str


def refusal(code: str, message: str) -> ValidationError:
    return ValidationError([Fault(code, message)])


def wrong_type(value: object, wanted: str) -> ValidationError:
    return refusal("WRONG_TYPE", f"expected {wanted}, not {json_kind(value)}")


def json_kind(value: object) -> str:
    """What a JSON value is, for messages; what a caller wrote is never shown at length."""
    match value:
        case None:
            return "null"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"the number `{shortened(str(value))}`"


def problems_in(messages: object, steps: tuple[str | int, ...] = ()) -> Iterator[InputProblem]:
    """The messages of a ValidationError → problems, each with its place.

    A message of marshmallow's own, which has no code, becomes INVALID.
    """
    if isinstance(messages, dict):
        for step, inner in messages.items():
            yield from problems_in(inner, (*steps, step))
    elif isinstance(messages, list):
        for fault in messages:
            code, message = fault if isinstance(fault, Fault) else ("INVALID", str(fault))
            yield InputProblem(pointer_to(*steps), code, message)


class StrictField(fields.Field[Any]):
    """A field that takes exactly one JSON type and never converts.

    Subclasses say what in `read`; null is ABSENT where `allow_none` is set.
    """

    wanted = "a value"

    def read(self, value: Any) -> Any:
        """A value that is not null → its typed form; ValidationError with Faults otherwise."""
        raise NotImplementedError

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,  # noqa: ARG002 - marshmallow's signature
        data: Mapping[str, Any] | None = None,  # noqa: ARG002
        **_kwargs: Any,
    ) -> Any:
        if value is None:
            if self.allow_none:
                return ABSENT
            raise wrong_type(value, self.wanted)
        return self.read(value)


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class TextField(StrictField, fields.String):
    """A string without control characters, bounded in characters."""

    wanted = "a string"

    def __init__(self, *, longest: int = 256, shortest: int = 0, **kwargs: Any) -> None:
        self.longest = longest
        self.shortest = shortest
        lengths = {"maxLength": longest} | ({"minLength": shortest} if shortest else {})
        super().__init__(metadata=lengths | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if not self.shortest <= len(value) <= self.longest:
            raise self.out_of_bounds(value)
        if not value.isprintable() and (found := _CONTROL.search(value)):
            name = f"U+{ord(found.group()):04X}"
            raise refusal("CONTROL_CHARACTER", f"`{name}` is a control character; leave it out")
        return value

    def out_of_bounds(self, value: str) -> ValidationError:
        if len(value) < self.shortest:
            return refusal("EMPTY", "an empty string; leave the field out if it is not known")
        return refusal("TOO_LONG", f"{len(value)} characters, of at most {self.longest}")


class IdField(TextField):
    """1–128 bytes of UTF-8 without control characters, compared bytewise."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(longest=128, shortest=1, **kwargs)

    def read(self, value: Any) -> str:
        text = super().read(value)
        if not text.isascii() and (size := len(text.encode())) > self.longest:
            raise refusal("TOO_LONG", f"{size} bytes in UTF-8, of at most {self.longest}")
        return text


class EnumField(StrictField, fields.String):
    """One of the values that the active pack declares."""

    wanted = "a string"

    def __init__(self, values: tuple[str, ...], **kwargs: Any) -> None:
        self.values = frozenset(values)
        shown = [*values, None] if kwargs.get("allow_none") else list(values)
        super().__init__(metadata={**kwargs.pop("metadata", {}), "enum": shown}, **kwargs)
        self._choice = ", ".join(f"`{each}`" for each in values)

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if value not in self.values:
            raise refusal(
                "NOT_IN_VALUES",
                f"`{shortened(value)}` is not a value of this pack; use one of {self._choice}",
            )
        return value


class PatternField(StrictField, fields.String):
    """A string of one written form."""

    wanted = "a string"

    def __init__(self, pattern: str, code: str, expected: str, **kwargs: Any) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._fault = (code, expected)
        metadata = {**kwargs.pop("metadata", {}), "pattern": f"^{pattern}$"}
        super().__init__(metadata=metadata, **kwargs)

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if self._pattern.fullmatch(value) is None:
            code, expected = self._fault
            raise refusal(code, f"`{shortened(value)}` is not {expected}")
        return value


class CurrencyField(StrictField, fields.String):
    """An ISO 4217 code that the engine knows the decimals of."""

    wanted = "a string"

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if value not in DECIMALS:
            raise refusal(
                "UNKNOWN_CURRENCY",
                f"unknown currency `{shortened(value)}`; use an ISO 4217 code such as `CNY`",
            )
        return value


class BooleanField(StrictField, fields.Boolean):
    """true or false; neither 1 nor "yes"."""

    wanted = "true or false"

    def read(self, value: Any) -> bool:
        if type(value) is not bool:
            raise wrong_type(value, self.wanted)
        return value


class IntegerField(StrictField, fields.Integer):
    """A JSON integer; neither 1.0 nor true nor "1"."""

    wanted = "an integer"

    def __init__(self, *, least: int = -MAX_MINOR, most: int = MAX_MINOR, **kwargs: Any) -> None:
        self._least = least
        self._most = most
        bounds = {"minimum": least, "maximum": most}
        super().__init__(metadata=bounds | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> int:
        if type(value) is not int:
            raise wrong_type(value, self.wanted)
        if not self._least <= value <= self._most:
            raise refusal("OUT_OF_RANGE", f"must lie between {self._least} and {self._most}")
        return value


class DecimalField(StrictField, fields.String):
    """Plain digits in a string: "13" or "12.5"; no exponent, a minus only where `signed`."""

    wanted = 'a decimal in a string, such as "12.5"'

    def __init__(self, *, most: int | None = None, signed: bool = False, **kwargs: Any) -> None:
        self._most = most
        self._signed = signed
        sign = "-?" if signed else ""
        form = {"pattern": rf"^{sign}(0|[1-9][0-9]{{0,29}})(\.[0-9]{{1,20}})?$"}
        super().__init__(metadata=form | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> Decimal:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        try:
            number = parse_decimal(value, signed=self._signed)
        except MoneyError as error:
            raise refusal("NOT_A_DECIMAL", str(error)) from None
        if self._most is not None and number > self._most:
            raise refusal("OUT_OF_RANGE", f"must lie between 0 and {self._most}")
        return number


AMOUNT_PATTERN: Final = r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?$"
"""Of every currency; how many decimals an amount has exactly, its own currency says."""


class OrderMoneyField(StrictField, fields.String):
    """An amount in the order's currency: "168.00", or the same as a money object."""

    wanted = 'an amount in a string, such as "40.00"'

    def __init__(self, **kwargs: Any) -> None:
        form = {
            "type": ["string", "object"],
            "pattern": AMOUNT_PATTERN,
            "properties": {
                "amount": {"type": "string", "pattern": AMOUNT_PATTERN},
                "currency": {"type": "string", "description": "The order's."},
            },
            "required": ["amount", "currency"],
            "additionalProperties": False,
        }
        super().__init__(metadata=form | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> Money | None:
        """None where the order's currency is itself a problem; then only the form is checked."""
        currency = ORDER_CURRENCY.get()
        if type(value) is dict:
            return _read_object(value, currency)
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if currency is None:
            read_amount_form(value)
            return None
        return read_amount(value, currency)


def _read_object(value: dict[str, Any], order_currency: str | None) -> Money | None:
    """`{"amount", "currency"}` inside the order, where it can only be the order's currency."""
    faults: dict[str, object] = {
        name: [Fault("UNKNOWN_FIELD", "not a field of money; take it out")]
        for name in value
        if name not in _MONEY_NAMES
    }
    for name in _MONEY_NAMES:
        if name not in value:
            faults[name] = [Fault("MISSING_FIELD", f"`{name}` is required")]
        elif type(value[name]) is not str:
            faults[name] = wrong_type(value[name], "a string").messages
    if faults:
        raise ValidationError(faults)
    if order_currency is None:
        read_amount_form(value["amount"])
        return None
    if value["currency"] != order_currency:
        written = shortened(value["currency"])
        fault = Fault("WRONG_CURRENCY", f"the order is in `{order_currency}`, not `{written}`")
        raise ValidationError({"currency": [fault]})
    try:
        return read_amount(value["amount"], order_currency)
    except ValidationError as error:
        raise ValidationError({"amount": error.messages}) from None


_MONEY_NAMES: Final = ("amount", "currency")


def read_amount(text: str, currency: str) -> Money:
    """Exactly the currency's decimals, not negative, at most 10^15 minor units."""
    try:
        return parse_money(text, currency)
    except MoneyError as error:
        read_amount_form(text)
        decimals = len(text.partition(".")[2])
        code = "AMOUNT_TOO_LARGE" if decimals == DECIMALS[currency] else "WRONG_DECIMALS"
        raise refusal(code, str(error)) from None


def read_amount_form(text: str) -> None:
    try:
        parse_decimal(text)
    except MoneyError:
        raise refusal(
            "NOT_AN_AMOUNT",
            f'not an amount: `{shortened(text)}`; write plain digits, such as "40.00"',
        ) from None


class TimestampField(StrictField, fields.String):
    """RFC 3339 with an offset → an aware datetime in UTC."""

    wanted = "a timestamp in a string"

    def __init__(self, **kwargs: Any) -> None:
        form = {"format": "date-time", "example": "2026-06-01T00:00:00+08:00"}
        super().__init__(metadata=form | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> datetime:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        try:
            return parse_timestamp(value)
        except TimeFormatError as error:
            raise refusal("NOT_A_TIMESTAMP", f"`{shortened(value)}`: {error}") from None


class DurationField(StrictField, fields.String):
    """ISO 8601 without months or years."""

    wanted = "a duration in a string"

    def __init__(self, **kwargs: Any) -> None:
        form = {"format": "duration", "example": "PT36H"}
        super().__init__(metadata=form | dict(kwargs.pop("metadata", {})), **kwargs)

    def read(self, value: Any) -> timedelta:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        try:
            return parse_duration(value)
        except TimeFormatError as error:
            raise refusal("NOT_A_DURATION", f"`{shortened(value)}`: {error}") from None
