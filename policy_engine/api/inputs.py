"""What calls take besides a decision request: queries and small bodies, read strictly."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import ValidationError, fields

from policy_engine.core.decision import DecisionOutcome
from policy_engine.usecases.decisions import DEFAULT_PAGE, MAX_PAGE
from policy_engine.wire.containers import RowsField, StrictSchema
from policy_engine.wire.fields import (
    Fault,
    IdField,
    PatternField,
    StrictField,
    TextField,
    TimestampField,
    refusal,
    wrong_type,
)

MAX_BATCH: Final = 500
MAX_FILES: Final = 1000
_REVISION: Final = ("sha256:[0-9a-f]{64}", "NOT_A_REVISION", "a revision, `sha256:` and 64 digits")


def _about(text: str) -> dict[str, Any]:
    return {"description": text}


class FlagField(StrictField, fields.Boolean):
    """`true` or `false` in a query."""

    def read(self, value: Any) -> bool:
        if value not in ("true", "false"):
            raise refusal("NOT_A_FLAG", "write `true` or `false`")
        return bool(value == "true")


class CountField(StrictField, fields.Integer):
    """Digits in a query, between 1 and a bound."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        self._most = most
        bounds = {"minimum": 1, "maximum": most, **kwargs.pop("metadata", {})}
        super().__init__(metadata=bounds, **kwargs)

    def read(self, value: Any) -> int:
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise refusal("NOT_A_NUMBER", "write plain digits")
        if not 1 <= int(text) <= self._most:
            raise refusal("OUT_OF_RANGE", f"must lie between 1 and {self._most}")
        return int(text)


class OutcomeField(StrictField, fields.String):
    """An outcome of a decision."""

    def __init__(self, **kwargs: Any) -> None:
        words = {"enum": [each.value for each in DecisionOutcome]}
        super().__init__(metadata=words | kwargs.pop("metadata", {}), **kwargs)

    def read(self, value: Any) -> str:
        words = [each.value for each in DecisionOutcome]
        if value not in words:
            raise refusal("NOT_IN_VALUES", f"write one of {', '.join(f'`{w}`' for w in words)}")
        return str(value)


class FilesField(StrictField, fields.Dict):
    """Names of a pack's files and their text."""

    wanted = "an object of file names and texts"

    def read(self, value: Any) -> dict[str, str]:
        if type(value) is not dict:
            raise wrong_type(value, self.wanted)
        if not value:
            raise refusal("EMPTY", "a pack has at least one file")
        if len(value) > MAX_FILES:
            raise refusal("TOO_MANY_ITEMS", f"{len(value)} files, of at most {MAX_FILES}")
        faults = {
            name: [Fault("WRONG_TYPE", "expected a file's text in a string")]
            for name, text in value.items()
            if type(text) is not str
        }
        if faults:
            raise ValidationError(faults)
        return value


class AnyObjectField(StrictField, fields.Dict):
    """An object that is read later, on its own."""

    wanted = "an object"

    def read(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type(value, self.wanted)
        return value


class NoQuerySchema(StrictSchema):
    """A call without parameters."""

    unknown_code = "UNKNOWN_PARAMETER"


class TimeQuerySchema(NoQuerySchema):
    """A call about what happened between `from` and `to`."""

    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if "from" in read and "to" in read and read["to"] <= read["from"]:
            raise ValidationError({"to": [Fault("EMPTY_TIME", "must lie after `from`")]})
        return read


class DecideQuerySchema(NoQuerySchema):
    dry_run = FlagField(metadata=_about("`true`: decide, and record nothing."))


# `from` can't be written as a class attribute.
ListQuerySchema = TimeQuerySchema.from_dict(
    {
        "order": IdField(metadata=_about("Of this order.")),
        "customer": IdField(metadata=_about("Of this customer.")),
        "agent": IdField(metadata=_about("Asked for by this agent.")),
        "policy": IdField(metadata=_about("To which this policy applied.")),
        "outcome": OutcomeField(metadata=_about("With this outcome.")),
        "reference": TextField(
            shortest=1, metadata=_about("With this text among the caller's references.")
        ),
        "from": TimestampField(metadata=_about("Decided at this instant or later.")),
        "to": TimestampField(metadata=_about("Decided before this instant.")),
        "limit": CountField(
            most=MAX_PAGE, metadata=_about(f"At most as many; {DEFAULT_PAGE} unless told.")
        ),
        "cursor": TextField(
            longest=512, shortest=1, metadata=_about("`next_cursor` of the page before.")
        ),
    },
    name="ListQuery",
)


class BatchRequestSchema(StrictSchema):
    decisions = RowsField(
        AnyObjectField(),
        required=True,
        least=1,
        most=MAX_BATCH,
        metadata=_about("Decision requests, answered one by one, in order."),
    )


class ReplayRequestSchema(StrictSchema):
    revision = PatternField(
        *_REVISION, metadata=_about("Under which pack; left out: the one that decided.")
    )


class CandidateSchema(StrictSchema):
    files = FilesField(
        required=True,
        keys=fields.String(),
        values=fields.String(),
        metadata=_about("Names and texts of the pack's files."),
    )


class ActivateRequestSchema(StrictSchema):
    """A stored revision, or files; one of them."""

    revision = PatternField(*_REVISION, metadata=_about("A stored revision."))
    files = FilesField(
        keys=fields.String(),
        values=fields.String(),
        metadata=_about("Names and texts of the pack's files."),
    )

    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if len(read) != 1:
            raise refusal("ONE_OF", "send either `revision` or `files`")
        return read
