"""Files that are safe to open, whatever callers have put into ids."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import pytest

from policy_engine.reports import files
from policy_engine.reports.files import FORMATS, MissingExtraError, harmless
from policy_engine.usecases.export_rows import Column, ColumnType, TableShape, Value

SHAPE = TableShape(
    "made_up",
    (
        Column("order", ColumnType.TEXT),
        Column("minor", ColumnType.NUMBER),
        Column("amount", ColumnType.AMOUNT),
        Column("yes", ColumnType.FLAG),
        Column("at", ColumnType.TIME),
        Column("caps", ColumnType.JSON),
    ),
)
AT = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    '=HYPERLINK("http://evil","x")',
    " =1+1",
    "＝1+1",
    '=cmd|"/c calc"!A0',
]  # fmt: skip


def row(order: str) -> tuple[Value, ...]:
    return (order, 4000, "40.00", True, AT, '[{"cap":"a"}]')


def written(name: str, rows: list[tuple[Value, ...]], file: IO[bytes]) -> None:
    writer = FORMATS[name].open(SHAPE, file)
    writer.write(rows)
    writer.close()


def csv_rows(rows: list[tuple[Value, ...]]) -> list[list[str]]:
    file = io.BytesIO()
    written("csv", rows, file)
    return list(csv.reader(io.StringIO(file.getvalue().decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(formula: str) -> None:
    cell = csv_rows([row(formula)])[1][0]
    assert cell == f"'{formula}"
    assert cell[0] == "'"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("H1;=1+1;", "H1;'=1+1;"),
        ("H1; =1+1", "H1;' =1+1"),
        ("a\t@b", "a\t'@b"),
        ("a|-1;+2", "a|'-1;'+2"),
        ("=1;=1", "'=1;'=1"),
    ],
)
def test_no_part_of_a_cell_is_a_formula_where_other_signs_part_cells(text: str, cell: str) -> None:
    assert harmless(text) == cell


@pytest.mark.parametrize(
    "plain", ["SO-1", "订单-1", "1=1", "a@b", "", "'quoted", 'with "quotes", and more']
)
def test_other_text_is_left_as_it_is(plain: str) -> None:
    assert harmless(plain) == plain
    assert csv_rows([row(plain)])[1] == [
        plain, "4000", "40.00", "true", "2026-06-01T08:00:00Z", '[{"cap":"a"}]',
    ]  # fmt: skip


def test_what_is_missing_is_empty() -> None:
    assert csv_rows([(None,) * 6])[1] == [""] * 6


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_an_excel_file_is_a_formula_or_a_link(formula: str, tmp_path: Path) -> None:
    file = tmp_path / "made_up.xlsx"
    with file.open("wb") as opened:
        written("xlsx", [row(formula), row("https://example.test/x")], opened)
    with ZipFile(file) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert "<v>4000</v>" in sheet


def test_an_excel_sheet_that_is_full_goes_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SHEET_ROWS", 10)
    file = tmp_path / "made_up.xlsx"
    with file.open("wb") as opened:
        written("xlsx", [row(f"SO-{number}") for number in range(25)], opened)
    with ZipFile(file) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]
        texts = [archive.read(name).decode() for name in sorted(sheets)]
    assert len(sheets) == 3
    assert [sum(f">SO-{number}<" in text for text in texts) for number in range(25)] == [1] * 25


def test_a_cell_that_is_too_long_for_excel_says_that_it_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "made_up.xlsx"
    with file.open("wb") as opened:
        written("xlsx", [row("x" * 40_000)], opened)
    with ZipFile(file) as archive:
        assert "(cut: a cell holds no more" in archive.read("xl/worksheets/sheet1.xml").decode()


@pytest.mark.parametrize("name", ["parquet", "xlsx"])
def test_a_missing_library_is_told_by_the_name_of_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(library: str) -> None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(files, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'policy-engine\[reports\]'"):
        FORMATS[name].check()


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_plain_formats_need_no_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "import_module", lambda _: pytest.fail("nothing to import"))
    FORMATS[name].check()
