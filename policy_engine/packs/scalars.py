"""Single values of a policy file: one object both reads a value and describes it.

A `Shape` turns a node into a typed value, or lists what is wrong and returns None; its
`schema` is the same promise for editors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from policy_engine.core.times import TimeFormatError, parse_duration, parse_timestamp
from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode
from policy_engine.packs.problems import Code, ProblemList, listed, shown

T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound=StrEnum)

Schema = dict[str, Any]


class Shape(Protocol[T_co]):
    """`expected` completes "expected …": `a duration such as `P5D``."""

    @property
    def expected(self) -> str: ...

    def read(self, node: Node, problems: ProblemList) -> T_co | None: ...

    def schema(self) -> Schema: ...


def described(node: Node) -> str:
    """What was found instead: `the number 5`, `a map`, `nothing`."""
    if isinstance(node, MapNode):
        return "a map"
    if isinstance(node, ListNode):
        return "a list"
    value = node.value if isinstance(node, ScalarNode) else None
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"the number {value}" if isinstance(value, int) else f"`{shown(value)}`"


def wrong_type(node: Node, expected: str, problems: ProblemList) -> None:
    if isinstance(node, BadNode):
        return
    problems.error(node.at, Code.WRONG_TYPE, f"expected {expected}, found {described(node)}")


def text_of(node: Node, expected: str, problems: ProblemList, *, free: bool = False) -> str | None:
    """`free`: any text may stand here, so that a word or a number only needs quotes."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return node.value
    if free and isinstance(node, ScalarNode) and isinstance(node.value, int):
        word = str(node.value).lower()
        problems.error(
            node.at,
            Code.WRONG_TYPE,
            f'expected {expected}, found {described(node)}; quote it: "{word}"',
        )
        return None
    wrong_type(node, expected, problems)
    return None


@dataclass(frozen=True)
class Text:
    """Text for people."""

    expected: str = "text"
    at_most: int = 2_000

    def read(self, node: Node, problems: ProblemList) -> str | None:
        text = text_of(node, self.expected, problems, free=True)
        if text is None:
            return None
        if not text.strip():
            problems.error(node.at, Code.EMPTY_VALUE, f"expected {self.expected}, found nothing")
            return None
        if len(text) > self.at_most:
            problems.error(
                node.at, Code.BAD_TEXT, f"longer than {self.at_most} characters; shorten it"
            )
            return None
        return text

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"\S", "maxLength": self.at_most}


@dataclass(frozen=True)
class Name:
    """A name that is matched by a pattern and means something only inside the pack."""

    expected: str
    pattern: str = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
    hint: str = "use letters, digits, `_`, `-` and `.`, at most 64"
    code: Code = Code.BAD_NAME

    def read(self, node: Node, problems: ProblemList) -> str | None:
        text = text_of(node, self.expected, problems, free=True)
        if text is not None and re.fullmatch(self.pattern, text) is None:
            problems.error(
                node.at, self.code, f"`{shown(text)}` is not {self.expected}; {self.hint}"
            )
            return None
        return text

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{self.pattern}$"}


FACT_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,3}"
LOCALE_PATTERN = r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}"
VALUE_PATTERN = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,126}[^\s\x00-\x1f\x7f])?"

FACT_NAME = Name(
    "the name of a fact", FACT_PATTERN, "write words joined by dots, such as `shop.campaign`"
)
VALUE_NAME = Name("a value", VALUE_PATTERN, "use 1 to 128 characters without spaces at the ends")
LOCALE = Name(
    "a locale",
    LOCALE_PATTERN,
    "write it like `en` or `zh-CN`, and quote texts with commas",
    Code.BAD_LOCALE,
)


@dataclass(frozen=True)
class Choice(Generic[K]):
    """One of the words of an enumeration."""

    words: type[K]
    what: str
    code: Code = Code.UNKNOWN_VALUE

    @property
    def expected(self) -> str:
        return f"a {self.what}: {listed(self.words)}"

    def read(self, node: Node, problems: ProblemList) -> K | None:
        text = text_of(node, self.expected, problems)
        if text is None:
            return None
        try:
            return self.words(text)
        except ValueError:
            problems.unknown(node.at, self.code, self.what, text, self.words)
            return None

    def schema(self) -> Schema:
        return {"enum": [word.value for word in self.words]}


@dataclass(frozen=True)
class Flag:
    expected: str = "`true` or `false`"

    def read(self, node: Node, problems: ProblemList) -> bool | None:
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        wrong_type(node, self.expected, problems)
        return None

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Whole:
    """A bare integer."""

    at_least: int
    at_most: int = 10**15
    expected: str = "a whole number"

    def read(self, node: Node, problems: ProblemList) -> int | None:
        value = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(value, int) or isinstance(value, bool):
            wrong_type(node, f"{self.expected} without quotes", problems)
            return None
        if not self.at_least <= value <= self.at_most:
            problems.error(
                node.at,
                Code.BAD_NUMBER,
                f"`{value}` must lie between {self.at_least} and {self.at_most}",
            )
            return None
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.at_least, "maximum": self.at_most}


@dataclass(frozen=True)
class Duration:
    """ISO 8601; longer than nothing, unless `any_sign`."""

    any_sign: bool = False
    expected: str = "a duration such as `P5D` or `PT15M`"

    def read(self, node: Node, problems: ProblemList) -> timedelta | None:
        text = text_of(node, self.expected, problems)
        if text is None:
            return None
        try:
            duration = parse_duration(text)
        except TimeFormatError as error:
            problems.error(node.at, Code.BAD_DURATION, f"`{shown(text)}`: {error}")
            return None
        if not self.any_sign and not timedelta(0) < duration <= timedelta(days=36_525):
            problems.error(
                node.at,
                Code.BAD_DURATION,
                f"`{shown(text)}` must be longer than nothing and at most a hundred years",
            )
            return None
        return duration

    def schema(self) -> Schema:
        return {
            "type": "string",
            "pattern": r"^-?P(?=[0-9T])([0-9]+W)?([0-9]+D)?"
            r"(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]{1,6})?S)?)?$",
        }


@dataclass(frozen=True)
class Timestamp:
    expected: str = "a time with an offset such as `2026-06-01T00:00:00+08:00`"

    def read(self, node: Node, problems: ProblemList) -> datetime | None:
        text = text_of(node, self.expected, problems)
        if text is None:
            return None
        try:
            return parse_timestamp(text)
        except TimeFormatError as error:
            problems.error(node.at, Code.BAD_TIMESTAMP, f"`{shown(text)}`: {error}")
            return None

    def schema(self) -> Schema:
        return {"type": "string", "format": "date-time"}
