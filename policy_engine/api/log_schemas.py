"""What the calls of the log take and answer."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import ValidationError, fields

from policy_engine.api.answers import Answer
from policy_engine.api.inputs import CountField, FlagField, NoQuerySchema, TimeQuerySchema
from policy_engine.usecases.decisions import DEFAULT_PAGE, MAX_PAGE
from policy_engine.wire.fields import (
    Fault,
    IdField,
    StrictField,
    TextField,
    TimestampField,
    refusal,
)

_HASH: Final = {"pattern": "^[A-Za-z0-9+/]{43}=$"}
MAX_INDEX: Final = 2**53 - 1


def _about(text: str) -> dict[str, Any]:
    return {"description": text}


def _text(description: str, **more: Any) -> fields.String:
    return fields.String(required=True, metadata={"description": description, **more})


def _number(description: str, *, null: bool = False) -> fields.Integer:
    return fields.Integer(
        required=True, allow_none=null, metadata={"description": description, "minimum": 0}
    )


def _hash(description: str) -> fields.String:
    return _text(f"{description}; SHA-256, base64.", **_HASH)


def _hashes() -> fields.List[Any]:
    return fields.List(
        fields.String(metadata=_HASH),
        required=True,
        metadata={"description": "The proof, in the order of RFC 9162; base64."},
    )


class IndexField(StrictField, fields.Integer):
    """Digits in a query: an index or a size."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = {"minimum": 0, "maximum": MAX_INDEX, **kwargs.pop("metadata", {})}
        super().__init__(metadata=bounds, **kwargs)

    def read(self, value: Any) -> int:
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) <= 16):
            raise refusal("NOT_A_NUMBER", "write plain digits")
        if int(text) > MAX_INDEX:
            raise refusal("OUT_OF_RANGE", f"must lie between 0 and {MAX_INDEX}")
        return int(text)


LogQuerySchema = TimeQuerySchema.from_dict(
    {
        "kind": IdField(metadata=_about("Of this kind, such as `decision` or `activation`.")),
        "from": TimestampField(metadata=_about("Recorded at this instant or later.")),
        "to": TimestampField(metadata=_about("Recorded before this instant.")),
        "after": IndexField(metadata=_about("Behind this index; to follow the log.")),
        "content": FlagField(metadata=_about("`true`: with the records themselves.")),
        "limit": CountField(
            most=MAX_PAGE, metadata=_about(f"At most as many; {DEFAULT_PAGE} unless told.")
        ),
        "cursor": TextField(
            longest=512, shortest=1, metadata=_about("`next_cursor` of the page before.")
        ),
    },
    name="LogQuery",
)


class InclusionQuerySchema(NoQuerySchema):
    """One of `record` and `index`."""

    record = IdField(metadata=_about("Of this record."))
    index = IndexField(metadata=_about("Of the entry at this index."))
    size = IndexField(metadata=_about("In the log as it had so many entries; left out: now."))

    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if ("record" in read) == ("index" in read):
            raise refusal("ONE_OF", "send either `record` or `index`")
        return read


class _SizesSchema(NoQuerySchema):
    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if read.get("to", read["from"]) < read["from"]:
            raise ValidationError({"to": [Fault("OUT_OF_RANGE", "must not be below `from`")]})
        return read


ConsistencyQuerySchema = _SizesSchema.from_dict(
    {
        "from": IndexField(required=True, metadata=_about("The size of the earlier log.")),
        "to": IndexField(metadata=_about("The size of the later log; left out: now.")),
    },
    name="ConsistencyQuery",
)


class LogEntrySchema(Answer):
    """`digest` is the hash of the entry's leaf: SHA-256 over a zero byte and the bytes of
    `content`, which are its canonical JSON (RFC 8785)."""

    index = _number("Its place in the log; null while it waits for one.", null=True)
    record = _text("The id of the record.")
    kind = _text("What was recorded.", example="decision")
    recorded_at = _text("When.", format="date-time")
    digest = _text("Of its leaf.", pattern="^sha256:[0-9a-f]{64}$")
    content = fields.Dict(
        metadata={"description": "The record; in lists only with `content=true`."}
    )


class LogListSchema(Answer):
    entries = fields.List(
        fields.Nested(LogEntrySchema),
        required=True,
        metadata={"description": "In the order of the log."},
    )
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Of the next page; null on the last one."},
    )


class CheckpointSchema(Answer):
    origin = _text("Which log this is.")
    size = _number("How many entries it has.")
    root = _hash("The root over them")
    note = _text("The same, signed: C2SP tlog-checkpoint text. This is what to keep.")


class LogKeySchema(Answer):
    name = _text("The key's name, which is the log's origin.")
    algorithm = _text("Always `Ed25519`.")
    key = _text("Name, key id and key, as the tools of transparency logs take it.")
    public_key = _text("The 32 bytes alone; base64.")


class InclusionProofSchema(Answer):
    index = _number("Of the entry.")
    size = _number("Of the log that it is in.")
    record = _text("The id of the record.")
    leaf_hash = _hash("Of the entry's leaf")
    root = _hash("Of the log of that size")
    hashes = _hashes()


class ConsistencyProofSchema(Answer):
    from_size = fields.Integer(
        required=True, data_key="from", metadata={"description": "The earlier size.", "minimum": 0}
    )
    to_size = fields.Integer(
        required=True, data_key="to", metadata={"description": "The later size.", "minimum": 0}
    )
    from_root = _hash("Of the earlier log")
    to_root = _hash("Of the later log")
    hashes = _hashes()
