"""What a use case refuses, told apart by type: the door turns each into one answer."""

from __future__ import annotations

from collections.abc import Mapping


class UseCaseError(Exception):
    """A call that can't be carried out: a stable `code`, a `detail` for people, and what a
    program may want to know `more`, as JSON."""

    def __init__(self, code: str, detail: str, more: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.more = more or {}


class ForbiddenError(UseCaseError):
    """The caller is known and may not do this."""


class NotFoundError(UseCaseError):
    """There is no such thing, or it isn't the caller's: the two look the same."""


class GoneError(UseCaseError):
    """It was there, and has been erased for good."""


class ConflictError(UseCaseError):
    """What is there by now doesn't allow it."""


class NotReadyError(UseCaseError):
    """Nothing can be decided at the moment; worth trying again."""
