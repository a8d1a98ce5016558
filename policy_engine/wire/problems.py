"""What is wrong with what a caller sent: problems by JSON Pointer, each with a stable code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_PROBLEMS: Final = 100
"""No answer lists more; whoever sends that many has one mistake a hundred times."""


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One thing that is wrong. `pointer` is a JSON Pointer (RFC 6901) into the body, `""` for
    the whole; `code` is stable and UPPER_SNAKE; `message` is for people."""

    pointer: str
    code: str
    message: str


class InvalidInputError(Exception):
    """JSON that is well-formed and says something impossible (422 INVALID_REQUEST).

    `problems` is sorted by pointer and bounded to MAX_PROBLEMS.
    """

    def __init__(self, problems: Iterable[InputProblem]) -> None:
        self.problems = tuple(sorted(problems, key=_place)[:MAX_PROBLEMS])
        super().__init__("; ".join(f"{each.pointer}: {each.message}" for each in self.problems))


class BadBodyError(Exception):
    """Bytes that are no body this service reads.

    400 NOT_UTF8, MALFORMED_JSON, DUPLICATE_KEY, TOO_DEEP or FORBIDDEN_CHARACTER;
    413 BODY_TOO_LARGE. `pointer` says where, as far as that is known.
    """

    def __init__(self, status: int, code: str, pointer: str, message: str) -> None:
        self.status = status
        self.code = code
        self.pointer = pointer
        self.message = message
        super().__init__(message)


def pointer_to(*steps: str | int) -> str:
    """Keys and indexes → JSON Pointer: ("order", "lines", 0) → `/order/lines/0`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def steps_of(pointer: str) -> tuple[str, ...]:
    """JSON Pointer → its steps, as text: the inverse of `pointer_to`."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _place(problem: InputProblem) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    # Line 10 comes after line 2: steps that are numbers sort as numbers.
    return (
        tuple(
            (False, int(step), "") if step.isdecimal() and len(step) < 10 else (True, 0, step)
            for step in problem.pointer.split("/")
        ),
        problem.code,
    )
