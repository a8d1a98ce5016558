"""Strict YAML → nodes.

YAML 1.2 scalars, and of its grammar only what needs no explanation: one document of maps,
lists and scalars, no tags, anchors, aliases, merge keys or duplicate keys. PyYAML's event
stream is read instead of its objects, because it tells style and position of each scalar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from policy_engine.packs.nodes import BadNode, ListNode, MapNode, Node, ScalarNode
from policy_engine.packs.problems import Code, Position, ProblemList, shown

DEPTH_AT_MOST = 32

# libyaml reads twenty times as fast; the Python parser of the same library stands in for it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Line separators count as line ends in some parsers only; direction marks make a reviewer
# see another text than the engine reads.
_MISLEADING = re.compile("[\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER_LIKE = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE
)
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_RADIX = re.compile(r"[-+]?0[xob][0-9a-f_]+", re.IGNORECASE)
_DIGITS_AT_MOST = 18
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_UNUSUAL = frozenset("0123456789+-.nNtTfF")
"""How a scalar begins that may be something else than text."""


def read_yaml(file: str, data: bytes, problems: ProblemList) -> Node | None:
    """The one document of a file; None when it can't be read, and then the problem is listed."""
    text = _decoded(file, data, problems)
    if text is None:
        return None
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        problems.error(_error_position(file, error), Code.YAML_SYNTAX, _error_text(error))
        return None
    except (yaml.YAMLError, ValueError, RecursionError):
        problems.error(Position(file), Code.YAML_SYNTAX, "not readable as YAML")
        return None
    except _UnreadableError:
        return None
    if builder.root is None:
        problems.error(
            Position(file), Code.EMPTY_FILE, "an empty file; fill it in, or take it out of the pack"
        )
    return builder.root


class _UnreadableError(Exception):
    """Reading this file goes no further; the problem is listed."""


def _decoded(file: str, data: bytes, problems: ProblemList) -> str | None:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        problems.error(
            Position(file), Code.BYTE_ORDER_MARK, "starts with a byte order mark; save as UTF-8"
        )
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        problems.error(_position_after(file, before), Code.NOT_UTF8, "not UTF-8; save as UTF-8")
        return None
    bad = _invisible(text)
    if bad is not None:
        problems.error(_position_after(file, text[: bad.start()]), Code.BAD_CHARACTER, _delete(bad))
        return None
    return text


def _invisible(text: str) -> re.Match[str] | None:
    return _UNPRINTABLE.search(text) or _MISLEADING.search(text)


def _delete(bad: re.Match[str]) -> str:
    return f"the invisible character U+{ord(bad.group()):04X}; delete it"


def _position_after(file: str, before: str) -> Position:
    lines = re.split("\r\n|\r|\n", before)
    return Position(file, len(lines), len(lines[-1]) + 1)


def _error_position(file: str, error: yaml.MarkedYAMLError) -> Position:
    mark = error.problem_mark or error.context_mark
    return Position(file) if mark is None else Position(file, mark.line + 1, mark.column + 1)


def _error_text(error: yaml.MarkedYAMLError) -> str:
    text = shown(str(error.problem or "not readable as YAML"))
    mark = error.context_mark
    if error.context and mark is not None:
        text += f", {shown(str(error.context))} that starts at line {mark.line + 1}"
    return text


@dataclass
class _Open:
    """A map or list that is still being read."""

    node: MapNode | None
    items: list[Node]
    at: Position
    key: str | None = None
    awaits_key: bool = True
    dropped: bool = False
    """The value that follows has no place: its key was refused."""
    lost: bool = False
    """Some key was refused, so that a map without entries isn't an empty one."""


@dataclass
class _Builder:
    file: str
    problems: ProblemList
    root: Node | None = None
    _stack: list[_Open] = field(default_factory=list)
    _documents: int = 0

    def take(self, event: yaml.Event) -> None:
        """The parser's events in order. The frequent ones come first: loading spends its time
        here."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        at = self._at(event)
        name = shown(event.anchor or "")
        self.problems.error(at, Code.YAML_ALIAS, f"the alias `*{name}`; write the value out")
        self._place(BadNode(at))

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            self.problems.error(
                self._at(event), Code.SEVERAL_DOCUMENTS, "a second document; one document a file"
            )
            raise _UnreadableError
        if event.tags or event.version not in (None, (1, 2)):
            self.problems.error(
                self._at(event), Code.YAML_DIRECTIVE, "a YAML directive; delete the `%` line"
            )

    def _check_properties(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is None and event.tag is None:
            return
        if event.anchor is not None:
            self.problems.error(
                self._at(event),
                Code.YAML_ANCHOR,
                f"the anchor `&{shown(event.anchor)}`; delete it, and write values out",
            )
        if event.tag is not None:
            self.problems.error(
                self._at(event), Code.YAML_TAG, f"the tag `{shown(event.tag)}`; delete it"
            )

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._check_properties(event)
        at = self._at(event)
        if len(self._stack) >= DEPTH_AT_MOST:
            self.problems.error(at, Code.TOO_DEEP, f"nested more than {DEPTH_AT_MOST} deep")
            raise _UnreadableError
        if self._stack and self._stack[-1].node is not None and self._stack[-1].awaits_key:
            self.problems.error(at, Code.KEY_NOT_TEXT, "a key must be text, not a map or a list")
            raise _UnreadableError
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_Open(MapNode({}, {}, at) if is_map else None, [], at))

    def _close(self) -> None:
        done = self._stack.pop()
        if done.node is not None and not done.node.entries and done.lost:
            self._place(BadNode(done.at))
        else:
            self._place(done.node or ListNode(tuple(done.items), done.at))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_properties(event)
        at = self._at(event)
        # Elsewhere the file itself would hold it, and isn't read then.
        bad = _invisible(event.value) if event.style == '"' else None
        if bad is not None:
            self.problems.error(at, Code.BAD_CHARACTER, _delete(bad))
        top = self._stack[-1] if self._stack else None
        if top is not None and top.node is not None and top.awaits_key:
            self._key(event, at, top, top.node)
        elif event.implicit[0] and event.style in (None, ""):
            self._place(self._resolved(event.value, at))
        else:
            self._place(ScalarNode(event.value, at, block=event.style == "|"))

    def _key(self, event: yaml.ScalarEvent, at: Position, top: _Open, node: MapNode) -> None:
        key = event.value
        plain_style = event.style in (None, "")
        top.awaits_key = False
        top.dropped = True
        if plain_style and key == "<<":
            self.problems.error(at, Code.MERGE_KEY, "the merge key `<<`; write the values out")
        elif plain_style and not isinstance(_scalar_value(key), str):
            self.problems.error(
                at, Code.KEY_NOT_TEXT, f"the key `{shown(key)}` is not text; quote it"
            )
        elif key in node.keys:
            first = node.keys[key]
            self.problems.error(
                at, Code.DUPLICATE_KEY, f"`{shown(key)}` again; it is already at line {first.line}"
            )
        else:
            top.dropped = False
            top.key = key
            node.keys[key] = at
        top.lost = top.lost or top.dropped

    def _place(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if top.node is None:
            top.items.append(node)
            return
        if top.awaits_key:  # an alias where a key belongs
            top.awaits_key, top.dropped = False, True
            return
        top.awaits_key = True
        if not top.dropped and top.key is not None:
            top.node.entries[top.key] = node

    def _resolved(self, text: str, at: Position) -> Node:
        value = _scalar_value(text)
        if isinstance(value, _Refused):
            self.problems.error(at, value.code, value.message)
            return BadNode(at)
        return ScalarNode(value, at)

    def _at(self, event: yaml.Event) -> Position:
        mark = event.start_mark
        assert mark is not None
        return Position(self.file, mark.line + 1, mark.column + 1)


@dataclass(frozen=True, slots=True)
class _Refused:
    code: Code
    message: str


def _scalar_value(text: str) -> str | int | bool | _Refused | None:
    """What an unquoted scalar means in the core schema of YAML 1.2, or why it is refused."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _UNUSUAL:
        return text
    if _INTEGER.fullmatch(text) and text != "-0":
        if len(text) > _DIGITS_AT_MOST:
            return _Refused(Code.BAD_NUMBER, f"`{shown(text)}` is larger than the engine counts")
        return int(text)
    if _NUMBER_LIKE.fullmatch(text):
        return _Refused(Code.UNQUOTED_DECIMAL, f"`{shown(text)}` {_how_to_write(text)}")
    if text.lower() in ("null", "true", "false") or _RADIX.fullmatch(text):
        plain = f"`{text.lower()}`" if text.isalpha() else "the number in digits"
        return _Refused(
            Code.AMBIGUOUS_SCALAR,
            f"`{shown(text)}` may be text or not; write {plain}, or quote it",
        )
    return text


def _how_to_write(text: str) -> str:
    """What to do about an unquoted number that isn't a plain integer."""
    if _PLAIN_NUMBER.fullmatch(text):
        return f'must be quoted; write "{shown(text)}"'
    return "is no number as it is written here; write its digits, or quote it if it is text"
