"""Bytes → JSON, with everything refused that two readers could understand differently.

UTF-8 only and without a byte order mark; no duplicate keys, no NaN or Infinity, no lone
surrogates, no U+0000, no nesting beyond a bound. A number that is not a plain integer of
reasonable length is kept as a `JsonNumber`, which no field accepts, so that the refusal can
name its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Final, NoReturn

from policy_engine.core.money import shortened
from policy_engine.wire.problems import BadBodyError, pointer_to

MAX_BYTES: Final = 65_536
MAX_DEPTH: Final = 16
_INTEGER_CHARACTERS: Final = 18
"""Longer integers are beyond every field, and parsing thousands of digits takes its time."""


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A number as it was written: `1.0`, `1e3`, or an integer of more than 18 characters."""

    text: str

    def __str__(self) -> str:
        return shortened(self.text)


def read_json(body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> object:
    """A JSON document; BadBodyError (with status, code and pointer) for anything else.

    Gives dicts, lists, str, bool, None, int and JsonNumber.
    """
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadBodyError(
            400, "NOT_UTF8", "", f"the body is not UTF-8: byte {error.start} fits no character"
        ) from None
    _check_depth(body, max_depth)
    try:
        data = _decode(text)
    except json.JSONDecodeError as error:
        raise BadBodyError(
            400,
            "MALFORMED_JSON",
            "",
            f"not JSON: {_lower(error.msg)} at line {error.lineno}, column {error.colno}",
        ) from None
    # Raw ones were refused above, so U+0000 and lone surrogates can only come out of an escape.
    if b"\\u" in body:
        _check_characters(data)
    return data


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One line of a JSON Lines file, counted from 1: its document, or what is wrong with it."""

    number: int
    data: object
    error: BadBodyError | None = None


def read_json_lines(
    stream: BinaryIO, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> Iterator[JsonLine]:
    """Every line that is not blank. A bad line is reported and the rest goes on."""
    number = 0
    while line := stream.readline(max_bytes + 2):
        number += 1
        if len(line) == max_bytes + 2 and not line.endswith(b"\n"):
            _skip_line(stream)
            yield JsonLine(number, None, _too_large(max_bytes))
            continue
        if line.endswith(b"\n"):
            line = line[:-1].removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            yield JsonLine(number, read_json(line, max_bytes=max_bytes, max_depth=max_depth))
        except BadBodyError as error:
            yield JsonLine(number, None, error)


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(MAX_BYTES)) and not rest.endswith(b"\n"):
        pass


class _DuplicateKeyError(Exception):
    pass


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _integer(text: str) -> int | JsonNumber:
    return int(text) if len(text) <= _INTEGER_CHARACTERS else JsonNumber(text)


def _constant(text: str) -> NoReturn:
    raise BadBodyError(400, "MALFORMED_JSON", "", f"not JSON: `{text}` is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=JsonNumber,
    parse_int=_integer,
    parse_constant=_constant,
)


class _Pairs(list[tuple[str, object]]):
    """An object with its duplicates kept, for finding where they are."""


_PAIRS_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_float=JsonNumber,
    parse_int=_integer,
    parse_constant=_constant,
)

_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEP)


def _check_depth(body: bytes, max_depth: int) -> None:
    """Refuse deep nesting before the parser, which recurses, meets it."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    if b"\\" in body:
        # An escaped backslash first, so that the quote after it is not taken for escaped.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(body.split(b'"')[::2])
    brackets = outside_strings.translate(None, _NOT_BRACKETS)
    for depth in accumulate(map(_STEP.__getitem__, brackets)):
        if depth > max_depth:
            raise BadBodyError(
                400, "TOO_DEEP", "", f"nested deeper than {max_depth} arrays and objects"
            )


_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


def _check_characters(data: object) -> None:
    for steps, value in _walk(data, ()):
        texts = value if isinstance(value, dict) else (value,)
        for text in texts:
            if isinstance(text, str) and (found := _FORBIDDEN.search(text)):
                name = f"U+{ord(found.group()):04X}"
                kind = "no text holds it" if name == "U+0000" else "half of a surrogate pair"
                # A key may not be shown as it is; the object that has it is pointed to.
                raise BadBodyError(
                    400, "FORBIDDEN_CHARACTER", pointer_to(*steps), f"`{name}`: {kind}"
                )


def _walk(
    data: object, steps: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], object]]:
    yield steps, data
    if isinstance(data, _Pairs):
        for key, value in data:
            yield from _walk(value, (*steps, key))
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _walk(value, (*steps, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _walk(value, (*steps, index))


def _decode(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except _DuplicateKeyError:
        raise _duplicate_key(_PAIRS_DECODER.decode(text)) from None


def _duplicate_key(tree: object) -> BadBodyError:
    for steps, value in _walk(tree, ()):
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, _ in value:
                if key in seen:
                    return BadBodyError(
                        400,
                        "DUPLICATE_KEY",
                        pointer_to(*steps, _printable(key)),
                        f"the key `{shortened(_printable(key))}` is there twice; keep one",
                    )
                seen.add(key)
    raise AssertionError("the first reading found a key twice")


def _printable(key: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", key)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _too_large(max_bytes: int) -> BadBodyError:
    return BadBodyError(
        413, "BODY_TOO_LARGE", "", f"the body is larger than {max_bytes} bytes; send less at once"
    )
