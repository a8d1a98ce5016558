"""Lists, maps and tables of a policy file.

A `Table` is a map with known keys. The reader and the published JSON Schemas are made from
the same tables, so that they can't drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode, plain
from policy_engine.packs.problems import Code, Position, ProblemList
from policy_engine.packs.scalars import LOCALE, Name, Schema, Shape, Text, wrong_type

T = TypeVar("T")

ITEMS_AT_MOST = 5_000


@dataclass(frozen=True)
class Translations:
    """`{en: …, zh-CN: …}`."""

    expected: str = "a text by locale such as `{en: …, zh-CN: …}`"

    def read(self, node: Node, problems: ProblemList) -> Mapping[str, str] | None:
        named = MapOf(LOCALE, Text(), self.expected).read(node, problems)
        return None if named is None else {each.name: each.value for each in named}

    def schema(self) -> Schema:
        return {**MapOf(LOCALE, Text(), self.expected).schema(), "minProperties": 1}


@dataclass(frozen=True)
class Anything:
    """Read later, when its type is known: the node itself."""

    expected: str
    described_by: Schema = field(default_factory=dict)

    def read(self, node: Node, problems: ProblemList) -> Node | None:
        del problems
        return None if isinstance(node, BadNode) else node

    def schema(self) -> Schema:
        return self.described_by


@dataclass(frozen=True)
class Raw:
    """A map or list taken as it is, as plain data."""

    kind: type[MapNode] | type[ListNode]

    @property
    def expected(self) -> str:
        return "a map" if self.kind is MapNode else "a list"

    def read(self, node: Node, problems: ProblemList) -> Any:
        if not isinstance(node, self.kind):
            wrong_type(node, self.expected, problems)
            return None
        return plain(node)

    def schema(self) -> Schema:
        return {"type": "object" if self.kind is MapNode else "array"}


@dataclass(frozen=True)
class ListOf(Generic[T]):
    items: Shape[T]
    expected: str
    may_be_empty: bool = False
    at_most: int = ITEMS_AT_MOST

    def read(self, node: Node, problems: ProblemList) -> tuple[T, ...] | None:
        if not isinstance(node, ListNode):
            wrong_type(node, self.expected, problems)
            return None
        if not node.items and not self.may_be_empty:
            problems.error(node.at, Code.EMPTY_VALUE, f"expected {self.expected}, found none")
            return None
        if len(node.items) > self.at_most:
            problems.error(
                node.items[self.at_most].at, Code.TOO_MANY, f"more than {self.at_most} entries"
            )
            return None
        read = (self.items.read(item, problems) for item in node.items)
        return tuple(item for item in read if item is not None)

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.items.schema()}
        return schema if self.may_be_empty else {**schema, "minItems": 1}


@dataclass(frozen=True)
class Named(Generic[T]):
    """An entry of a map whose keys are free; `at` is where the key stands."""

    name: str
    at: Position
    value: T


@dataclass(frozen=True)
class MapOf(Generic[T]):
    """A map with free keys, each of the form `names`."""

    names: Name
    values: Shape[T]
    expected: str
    may_be_empty: bool = False

    def read(self, node: Node, problems: ProblemList) -> tuple[Named[T], ...] | None:
        if not isinstance(node, MapNode):
            wrong_type(node, self.expected, problems)
            return None
        if not node.entries and not self.may_be_empty:
            problems.error(node.at, Code.EMPTY_VALUE, f"expected {self.expected}, found none")
            return None
        return tuple(self._entries(node, problems))

    def _entries(self, node: MapNode, problems: ProblemList) -> Iterator[Named[T]]:
        for key, value_node in node.entries.items():
            at = node.keys[key]
            name = self.names.read(ScalarNode(key, at), problems)
            value = self.values.read(value_node, problems)
            if name is not None and value is not None:
                yield Named(name, at, value)

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{self.names.pattern}$"},
            "additionalProperties": self.values.schema(),
        }


@dataclass(frozen=True)
class OneOf(Generic[T]):
    """One shape or another, by what stands there; `None` where that can't stand at all."""

    expected: str
    text: Shape[T] | None = None
    whole: Shape[T] | None = None
    mapping: Shape[T] | None = None
    sequence: Shape[T] | None = None

    def read(self, node: Node, problems: ProblemList) -> T | None:
        shape = self._shape(node)
        if shape is None:
            wrong_type(node, self.expected, problems)
            return None
        return shape.read(node, problems)

    def _shape(self, node: Node) -> Shape[T] | None:
        if isinstance(node, MapNode):
            return self.mapping
        if isinstance(node, ListNode):
            return self.sequence
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, str):
            return self.text
        return self.whole if type(value) is int else None

    def schema(self) -> Schema:
        shapes = (self.text, self.whole, self.mapping, self.sequence)
        return {"anyOf": [shape.schema() for shape in shapes if shape is not None]}


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """One key of a table; `doc` is what an editor shows beside it."""

    name: str
    shape: Shape[T]
    doc: str
    required: bool = False
    example: object = None

    def schema(self) -> Schema:
        schema = {**self.shape.schema(), "description": self.doc}
        return schema if self.example is None else {**schema, "examples": [self.example]}


@dataclass(frozen=True, eq=False)
class Fields:
    """A table as read. What was malformed reads as absent; its problem is listed."""

    node: MapNode
    _values: Mapping[str, Any]

    def get(self, key: Key[T]) -> T | None:
        return cast("T | None", self._values.get(key.name))

    def all(self, key: Key[tuple[T, ...]]) -> tuple[T, ...]:
        """The entries of a list or map; none when it is not there."""
        return cast("tuple[T, ...]", self._values.get(key.name) or ())

    def written(self, key: Key[Any]) -> bool:
        """Does it stand in the file, malformed or not?"""
        return key.name in self.node.entries

    def at(self, key: Key[Any]) -> Position:
        """Where its value stands, or the table if it does not."""
        node = self.node.entries.get(key.name)
        return self.node.at if node is None else node.at


@dataclass(frozen=True, eq=False)
class Table:
    """A map with known keys. `check` refuses what keys alone can't say."""

    expected: str
    keys: tuple[Key[Any], ...]
    doc: str = ""
    check: Callable[[Fields, ProblemList], None] | None = None
    extra_schema: Schema = field(default_factory=dict)

    def read(self, node: Node, problems: ProblemList) -> Fields | None:
        if not isinstance(node, MapNode):
            wrong_type(node, self.expected, problems)
            return None
        known = {key.name: key for key in self.keys}
        for name, at in node.keys.items():
            if name not in known:
                problems.unknown(at, Code.UNKNOWN_KEY, "key", name, known)
        for key in self.keys:
            if key.required and key.name not in node.keys:
                problems.error(
                    node.at,
                    Code.MISSING_KEY,
                    f"`{key.name}` is missing; expected {key.shape.expected}",
                )
        values = {
            name: known[name].shape.read(value, problems)
            for name, value in node.entries.items()
            if name in known
        }
        fields = Fields(node, {name: value for name, value in values.items() if value is not None})
        if self.check is not None:
            self.check(fields, problems)
        return fields

    def schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "properties": {key.name: key.schema() for key in self.keys},
            "additionalProperties": False,
            **self.extra_schema,
        }
        required = [key.name for key in self.keys if key.required]
        if required:
            schema["required"] = required
        if self.doc:
            schema["description"] = self.doc
        return schema
