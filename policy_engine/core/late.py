"""Explanations that are written out when somebody reads them.

A decision says why for every comparison and every plan. Most of that is only read for a record,
so it is kept as what it follows from until then; it never follows from anything that can change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

Item_co = TypeVar("Item_co", covariant=True)


class Late(Sequence[Item_co]):
    """A tuple that is built when it is first looked at; equal to whatever has the same items."""

    __slots__ = ("_build", "_built")

    def __init__(self, build: Callable[[], tuple[Item_co, ...]]) -> None:
        self._build = build
        self._built: tuple[Item_co, ...] | None = None

    @property
    def items(self) -> tuple[Item_co, ...]:
        if self._built is None:
            self._built = self._build()
        return self._built

    @overload
    def __getitem__(self, at: int) -> Item_co: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Item_co]: ...
    def __getitem__(self, at: int | slice) -> Item_co | Sequence[Item_co]:
        return self.items[at]

    def __iter__(self) -> Iterator[Item_co]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Late):
            return self.items == other.items
        return self.items == other

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return repr(self.items)
