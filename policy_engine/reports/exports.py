"""An export as files in a folder, or as one ZIP archive on its way to a caller."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from policy_engine.reports.files import FileFormat
from policy_engine.usecases.export_rows import DECISIONS, MOVEMENTS, Row, TableShape
from policy_engine.usecases.exporting import Export

MANIFEST: Final = "manifest.json"
_AT_ONCE: Final = 500


def write_folder(export: Export, output: FileFormat, folder: Path) -> Iterator[int]:
    """Writes the files into `folder`, and the manifest last: where it is, all is there.

    Yields how many rows were written so far, for showing progress. MissingExtraError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    done = 0
    files: list[Mapping[str, Any]] = []
    for shape, rows in _tables(export):
        with (folder / _name(shape, output)).open("wb") as file:
            measured = Measured(file)
            for written in _write(shape, rows, output, measured):
                yield done + written
            done += measured.rows
            files.append(measured.described(_name(shape, output)))
    (folder / MANIFEST).write_bytes(_manifest(export, files))


def stream_zip(export: Export, output: FileFormat) -> Iterator[bytes]:
    """The same files as the bytes of a ZIP archive, as they come. MissingExtraError."""
    pipe = _Pipe()
    made_at = export.entry.recorded_at.timetuple()[:6]
    files: list[Mapping[str, Any]] = []
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        for shape, rows in _tables(export):
            place = ZipInfo(_name(shape, output), made_at)
            place.compress_type = ZIP_DEFLATED
            with archive.open(place, "w", force_zip64=True) as member:
                measured = Measured(member)
                for _ in _write(shape, rows, output, measured):
                    yield pipe.drain()
            files.append(measured.described(place.filename))
        place = ZipInfo(MANIFEST, made_at)
        archive.writestr(place, _manifest(export, files), ZIP_DEFLATED)
    yield pipe.drain()


class Measured(io.RawIOBase):
    """A file that is only written to, and knows its own size and SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._bytes = 0
        self.rows = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._file.write(taken)
        self._hash.update(taken)
        self._bytes += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._bytes

    def close(self) -> None:
        # Libraries close what they wrote to; whoever opened the file does that here.
        if not self._file.closed:
            self._file.flush()

    def described(self, name: str) -> Mapping[str, Any]:
        return {
            "name": name,
            "rows": self.rows,
            "bytes": self._bytes,
            "sha256": self._hash.hexdigest(),
        }


class _Pipe(io.RawIOBase):
    """Takes bytes at one end, and gives them at the other."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._taken = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        return self._taken + len(self._waiting)

    def drain(self) -> bytes:
        given = bytes(self._waiting)
        self._taken += len(given)
        self._waiting.clear()
        return given


def _tables(export: Export) -> Iterator[tuple[TableShape, Iterator[Row]]]:
    yield DECISIONS, export.decisions()
    yield MOVEMENTS, export.movements()


def _name(shape: TableShape, output: FileFormat) -> str:
    return f"{shape.name}.{output.suffix}"


def _write(
    shape: TableShape, rows: Iterable[Row], output: FileFormat, file: Measured
) -> Iterator[int]:
    """Yields the number of rows so far after each batch, and at the end."""
    writer = output.open(shape, cast("IO[bytes]", file))
    for batch in _batches(rows):
        writer.write(batch)
        file.rows += len(batch)
        yield file.rows
    writer.close()
    yield file.rows


def _batches(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    at = iter(rows)
    while batch := list(islice(at, _AT_ONCE)):
        yield batch


def _manifest(export: Export, files: list[Mapping[str, Any]]) -> bytes:
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(export.manifest(files), option=option)
