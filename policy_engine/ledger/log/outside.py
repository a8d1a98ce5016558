"""The file outside the database that checkpoints are appended to.

It is what a restored backup of the database can't take back; keep it on another disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from policy_engine.ledger.errors import LedgerError
from policy_engine.ledger.log.notes import NOTE, notes_in

_TAIL_BYTES = 16 * 1024


class CheckpointFileError(LedgerError):
    """The file of checkpoints can't be read or written."""


class CheckpointFile:
    """Signed notes, one after another, the newest last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> str | None:
        """The newest note; None when there is none yet. Half a note at the end is passed over."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointFileError(f"can't read `{self.path}`: {error.strerror}") from error
        notes = list(notes_in(tail.decode("utf-8", "replace")))
        return notes[-1] if notes else None

    def notes(self, passed_over: Callable[[], None] = lambda: None) -> Iterator[str]:
        """Every whole note, oldest first, one at a time however long the file is. `passed_over`
        is told of text that is none, such as the half that a crash has left."""
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                rest = ""
                while piece := file.read(_TAIL_BYTES):
                    rest += piece
                    *whole, rest = _cut(rest)
                    for part in whole:
                        yield from _told(part, passed_over)
                yield from _told(rest, passed_over)
        except OSError as error:
            raise CheckpointFileError(f"can't read `{self.path}`: {error.strerror}") from error

    def append(self, note: str) -> None:
        """Durable when it returns."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, _apart(descriptor) + note.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CheckpointFileError(f"can't write `{self.path}`: {error.strerror}") from error


def _told(text: str, passed_over: Callable[[], None]) -> Iterator[str]:
    if NOTE.sub("", text).strip():
        passed_over()
    return notes_in(text)


def _cut(text: str) -> list[str]:
    """The text up to the end of its last whole note, and what is left."""
    end = max((match.end() for match in NOTE.finditer(text)), default=0)
    return [text[:end], text[end:]]


def _apart(descriptor: int) -> bytes:
    """What keeps a new note apart from half a note that a crash or a full disk has left."""
    size = os.fstat(descriptor).st_size
    return b"" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
