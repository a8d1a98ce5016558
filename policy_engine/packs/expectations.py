"""Compares a decision's body with what a pack test expects, only in what the test names.

`plans` and `facts_needed` are whole lists in order. Entries of `not_offered` and `caps` must
be found. Any other list has the same length and order. Elements are compared as maps are:
in what is named, at every depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_FOUND = ("not_offered", "caps")
_NAMES = ("plan", "cap", "fact", "add_on", "kind")
"""What an entry is known by, for naming the one that was meant."""
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the answer is not as expected. `expected` and `got` are JSON texts."""

    path: str
    """`plans[0].allowed.amount`."""
    expected: str
    got: str


def differences(expected: Mapping[str, object], body: Mapping[str, object]) -> list[Difference]:
    """Every difference between an `expect` and a decision's body, in the order written."""
    found: list[Difference] = []
    for name, wanted in expected.items():
        got = body.get(name, _NOTHING)
        if name in _FOUND and isinstance(wanted, list) and isinstance(got, list):
            found += _not_found(name, wanted, got)
        else:
            found += _compare(name, wanted, got)
    return found


def _compare(path: str, expected: object, got: object) -> Iterator[Difference]:
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for name, wanted in expected.items():
            yield from _compare(f"{path}.{name}", wanted, got.get(name, _NOTHING))
    elif isinstance(expected, list) and isinstance(got, list):
        yield from _compare_lists(path, expected, got)
    # `1 == True` in Python; a test that expects one and gets the other has failed.
    elif type(expected) is not type(got) or expected != got:
        yield Difference(path, _text(expected), _text(got))


def _compare_lists(
    path: str, expected: Sequence[object], got: Sequence[object]
) -> Iterator[Difference]:
    if len(expected) != len(got):
        yield Difference(path, _entries(expected), _entries(got))
        return
    for index, (wanted, element) in enumerate(zip(expected, got, strict=True)):
        yield from _compare(f"{path}[{index}]", wanted, element)


def _not_found(
    path: str, expected: Sequence[object], got: Sequence[object]
) -> Iterator[Difference]:
    for wanted in expected:
        attempts = [list(_compare(path, wanted, element)) for element in got]
        if not all(attempts):
            continue
        name = _name(wanted)
        meant = [
            list(_compare(f"{path}[{name}]", wanted, element))
            for element in got
            if name is not None and _name(element) == name
        ]
        if meant:
            yield from min(meant, key=len)
        else:
            yield Difference(path, _text(wanted), f"not found among {_entries(got)}")


def _name(entry: object) -> str | None:
    if isinstance(entry, Mapping):
        for key in _NAMES:
            if key in entry:
                return str(entry[key])
    return None


def _entries(entries: Sequence[object]) -> str:
    """A list short enough to read: the names of its entries where they have names."""
    names = [_name(entry) for entry in entries]
    shown = ", ".join(
        _text(entry) if name is None else name for entry, name in zip(entries, names, strict=True)
    )
    return f"{len(entries)}: {shown}" if entries else "none"


def _text(value: object) -> str:
    return "nothing there" if value is _NOTHING else json.dumps(value, ensure_ascii=False)
