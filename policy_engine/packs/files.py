"""The bytes of a pack: which files belong to it, its revision, and its archive.

Everything that belongs to a pack counts towards its revision, tests included: a revision
says exactly what was checked, and nothing can be slipped in beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from policy_engine.packs.problems import Code, Problem, Severity

FILE_BYTES_AT_MOST = 256 * 1024
PACK_BYTES_AT_MOST = 4 * 1024 * 1024
FILES_AT_MOST = 1_000

SUBFOLDERS = ("messages", "tests")
"""Folders of a pack beside its top level; files anywhere else belong to no pack."""

_NAME = re.compile(
    rf"(?:(?:{'|'.join(SUBFOLDERS)})/)?[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{{0,119}}\.ya?ml",
    re.IGNORECASE,
)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ARCHIVE_BYTES_AT_MOST = PACK_BYTES_AT_MOST + FILES_AT_MOST * 1024


class PackFilesError(ValueError):
    """A folder that is none, or bytes that are no archive of a pack."""


@dataclass(frozen=True)
class PackFiles:
    """`files`: relative POSIX name → bytes. Sorted and unchangeable once made.

    `refused` are files that lie in the folder and can't be taken in; loading reports them.
    """

    files: Mapping[str, bytes]
    refused: tuple[Problem, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in self.files:
            if not belongs(name):
                raise PackFilesError(f"`{name}` is not the name of a pack's file")
        ordered = {name: self.files[name] for name in sorted(self.files)}
        object.__setattr__(self, "files", MappingProxyType(ordered))

    @classmethod
    def from_folder(cls, folder: Path) -> PackFiles:
        """Reads `*.yaml` and `*.yml` of the folder, its `messages` and its `tests`.

        Reading stops at the bounds, so that loading can report what is beyond them.
        Raises PackFilesError if there is no such folder.
        """
        if not folder.is_dir():
            raise PackFilesError(f"`{folder}` is not a folder")
        files: dict[str, bytes] = {}
        refused: list[Problem] = []
        total = 0
        for path, name in _candidates(folder, refused):
            if len(files) > FILES_AT_MOST or total > PACK_BYTES_AT_MOST:
                break
            data = _bytes_of(path, name, folder, refused)
            if data is not None:
                files[name] = data
                total += len(data)
        return cls(files, tuple(refused))

    @classmethod
    def from_archive(cls, archive: bytes) -> PackFiles:
        """The files of `archive()`. Raises PackFilesError for anything else."""
        if len(archive) > _ARCHIVE_BYTES_AT_MOST:
            raise PackFilesError(f"an archive of a pack has at most {_ARCHIVE_BYTES_AT_MOST} bytes")
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as stored:
                return cls(_unpacked(stored))
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, OSError) as error:
            raise PackFilesError(f"not an archive of a pack: {error}") from None
        except (EOFError, UnicodeError, RuntimeError, ValueError) as error:
            raise PackFilesError(f"not an archive of a pack: {error}") from None

    @property
    def revision(self) -> str:
        """`sha256:<hex>` over lines of `<sha256 of the bytes>  <name>`, in order of name.

        What `sha256sum` prints for the pack's files is what is hashed, so anyone can check it.
        """
        manifest = "".join(
            f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in self.files.items()
        )
        return "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()

    def archive(self) -> bytes:
        """A ZIP file with the same bytes for the same pack: stored, sorted, without times."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as stored:
            for name, data in self.files.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.create_system = 3
                entry.external_attr = 0o644 << 16
                stored.writestr(entry, data)
        return buffer.getvalue()


def belongs(name: str) -> bool:
    """Is this relative POSIX name one of a pack's files? Hidden files never are."""
    return _NAME.fullmatch(name) is not None and name.isprintable()


def _candidates(folder: Path, refused: list[Problem]) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name in SUBFOLDERS:
            if _leads_out(path, folder):
                refused.append(_outside(path.name))
                continue
            yield from _inside(path, path.name + "/", refused)
        elif path.is_dir():
            refused += _misplaced(path)
        elif belongs(path.name):
            yield path, path.name


def _inside(folder: Path, prefix: str, refused: list[Problem]) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            refused += _misplaced(path, prefix)
        elif belongs(prefix + path.name):
            yield path, prefix + path.name


def _misplaced(folder: Path, prefix: str = "") -> Iterator[Problem]:
    """A policy in a folder of its own would silently never hold, so it is an error."""
    for path in sorted(folder.glob("*.y*ml")):
        name = f"{prefix}{folder.name}/{path.name}"
        yield _refusal(
            name, Code.MISPLACED_FILE, "is in a folder that no pack has; move it to the top level"
        )


def _bytes_of(path: Path, name: str, folder: Path, refused: list[Problem]) -> bytes | None:
    if _leads_out(path, folder):
        refused.append(_outside(name))
        return None
    if not path.is_file():
        refused.append(_refusal(name, Code.UNREADABLE_FILE, "is no regular file"))
        return None
    try:
        with path.open("rb") as stream:
            return stream.read(FILE_BYTES_AT_MOST + 1)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        refused.append(_refusal(name, Code.UNREADABLE_FILE, f"can't be read: {reason}"))
        return None


def _leads_out(path: Path, folder: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True


def _outside(name: str) -> Problem:
    return _refusal(name, Code.OUTSIDE_LINK, "leads out of the pack; put a copy in its place")


def _refusal(name: str, code: Code, text: str) -> Problem:
    printable = name.encode("utf-8", "replace").decode()
    return Problem(printable, 1, 1, Severity.ERROR, code, f"`{printable}` {text}")


def _unpacked(stored: zipfile.ZipFile) -> dict[str, bytes]:
    entries = stored.infolist()
    if len(entries) > FILES_AT_MOST:
        raise PackFilesError(f"more than {FILES_AT_MOST} files")
    # Stored entries only: what can't be compressed can't be a bomb.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise PackFilesError("a compressed entry; store entries without compression")
    if sum(entry.file_size for entry in entries) > PACK_BYTES_AT_MOST:
        raise PackFilesError(f"more than {PACK_BYTES_AT_MOST} bytes")
    if len({entry.filename for entry in entries}) != len(entries):
        raise PackFilesError("two entries of one name")
    return {PurePosixPath(entry.filename).as_posix(): stored.read(entry) for entry in entries}
