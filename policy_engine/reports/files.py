"""Tables as files: JSON lines, CSV, Parquet, Excel. Written a few rows at a time.

Parquet and Excel need the libraries of the extra `reports`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from typing import IO, Any, Final, Protocol

import orjson

from policy_engine.core.times import format_timestamp
from policy_engine.usecases.export_rows import Column, ColumnType, Row, TableShape, Value

_SHEET_ROWS: Final = 1_048_575
"""Rows that an Excel sheet holds below its heading; the rest goes on the next sheet."""
_CELL_CHARACTERS: Final = 32_767
_CUT: Final = "… (cut: a cell holds no more; the other formats have it whole)"
_EXACT_IN_EXCEL: Final = 10**15
_FORMULA_STARTS: Final = tuple("=+-@\t\r\n＝＋－＠")
_FORMULA_INSIDE: Final = re.compile(rf"([;|\t])( *[{re.escape(''.join(_FORMULA_STARTS))}])")
_BOM: Final = b"\xef\xbb\xbf"


class MissingExtraError(Exception):
    """What was asked for needs a library that is not installed."""


@contextmanager
def from_extra(what: str) -> Iterator[None]:
    """Names the extra where a library of it can't be imported."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs `{error.name}`; install the extra: pip install 'policy-engine[reports]'"
        ) from error


class TableWriter(Protocol):
    """Writes the rows of one table to the file that it was opened on."""

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None:
        """Writes what is left. The file itself stays open."""
        ...


@dataclass(frozen=True, slots=True)
class FileFormat:
    name: str
    suffix: str
    open: Callable[[TableShape, IO[bytes]], TableWriter]
    library: str | None = None
    """What it needs of the extra `reports`."""

    def check(self) -> None:
        """MissingExtraError unless files of this format can be written here."""
        if self.library is not None:
            with from_extra(f"the format `{self.name}`"):
                import_module(self.library)


class _JsonLines:
    """An object a line, members in the order of the columns; JSON columns as they are."""

    def __init__(self, shape: TableShape, file: IO[bytes]) -> None:
        self._columns = shape.columns
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            line = {
                column.name: _json_value(column, value)
                for column, value in zip(self._columns, row, strict=True)
            }
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        pass


def _json_value(column: Column, value: Value) -> object:
    if column.type is ColumnType.JSON and isinstance(value, str):
        return orjson.Fragment(value)
    return format_timestamp(value) if isinstance(value, datetime) else value


class _Csv:
    """RFC 4180, UTF-8 with the mark that spreadsheets know it by."""

    def __init__(self, shape: TableShape, file: IO[bytes]) -> None:
        self._columns = shape.columns
        self._file = file
        self._file.write(_BOM)
        self._put([[column.name for column in shape.columns]])

    def write(self, rows: Sequence[Row]) -> None:
        self._put(
            [
                [
                    _csv_value(column, value)
                    for column, value in zip(self._columns, row, strict=True)
                ]
                for row in rows
            ]
        )

    def close(self) -> None:
        pass

    def _put(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


def _csv_value(column: Column, value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return format_timestamp(value)
        case str() if column.type is not ColumnType.AMOUNT:
            return harmless(value)
        case _:
            return str(value)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before what looks like
    one, also behind what separates cells in some places of the world."""
    words = text.lstrip()
    inside = text[: len(text) - len(words)] + _FORMULA_INSIDE.sub(r"\1'\2", words)
    return f"'{inside}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else inside


class _Parquet:
    """Amounts are decimals, times are instants in UTC."""

    def __init__(self, shape: TableShape, file: IO[bytes]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._arrow = pa
        types = {
            ColumnType.NUMBER: pa.int64(),
            ColumnType.AMOUNT: pa.decimal128(24, 4),
            ColumnType.FLAG: pa.bool_(),
            ColumnType.TIME: pa.timestamp("us", tz="UTC"),
        }
        self._columns = shape.columns
        self._schema = pa.schema(
            [(column.name, types.get(column.type, pa.string())) for column in shape.columns]
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        columns = [
            [
                Decimal(value)
                if column.type is ColumnType.AMOUNT and isinstance(value, str)
                else value
                for value in values
            ]
            for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)
        ]
        arrays = [
            self._arrow.array(values, type=field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Excel:
    """Texts are written as texts: nothing in a cell is ever a formula or a link."""

    def __init__(self, shape: TableShape, file: IO[bytes]) -> None:
        import xlsxwriter

        self._shape = shape
        # Rows go to a temporary file as they come, not into memory.
        self._book = xlsxwriter.Workbook(
            file,
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "default_date_format": "yyyy-mm-dd hh:mm:ss",
                "remove_timezone": True,
            },
        )
        self._bold = self._book.add_format({"bold": True})
        self._by_places: dict[int, Any] = {}
        self._sheets = 0
        self._begin_sheet()

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._row > _SHEET_ROWS:
                self._begin_sheet()
            for number, (column, value) in enumerate(zip(self._shape.columns, row, strict=True)):
                self._cell(number, column, value)
            self._row += 1

    def close(self) -> None:
        self._book.close()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        number = "" if self._sheets == 1 else f" {self._sheets}"
        self._sheet: Any = self._book.add_worksheet(f"{self._shape.name}{number}")
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(self._shape.columns):
            self._sheet.write_string(0, place, column.name, self._bold)
        self._row = 1

    def _cell(self, place: int, column: Column, value: Value) -> None:
        match value:
            case None:
                pass
            case bool():
                self._sheet.write_boolean(self._row, place, value)
            case int() if abs(value) < _EXACT_IN_EXCEL:
                self._sheet.write_number(self._row, place, value)
            case datetime():
                self._sheet.write_datetime(self._row, place, value)
            case str() if column.type is ColumnType.AMOUNT and len(value) <= 15:
                self._sheet.write_number(self._row, place, float(value), self._decimals(value))
            case _:
                self._sheet.write_string(self._row, place, _fitting(str(value)))

    def _decimals(self, amount: str) -> Any:
        """The cell format that shows as many decimals as the amount has."""
        places = len(amount.partition(".")[2])
        if places not in self._by_places:
            pattern = "0." + "0" * places if places else "0"
            self._by_places[places] = self._book.add_format({"num_format": pattern})
        return self._by_places[places]


def _fitting(text: str) -> str:
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - len(_CUT)] + _CUT


FORMATS: Final = {
    each.name: each
    for each in (
        FileFormat("jsonl", "jsonl", _JsonLines),
        FileFormat("csv", "csv", _Csv),
        FileFormat("parquet", "parquet", _Parquet, "pyarrow.parquet"),
        FileFormat("xlsx", "xlsx", _Excel, "xlsxwriter"),
    )
}
