"""The table of attacks in the docs and the tests that try them say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "security.md"


def named() -> list[tuple[Path, str, str]]:
    """(file, test, row) of each test that the table names; `the same` repeats the row before."""
    found: list[tuple[Path, str, str]] = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if (
            not line.startswith("| ")
            or len(cells) != 3
            or cells[2] in ("test |", "test", "beyond it")
        ):
            continue
        last = cells[2].removesuffix(" |")
        link = re.match(r"\[[a-z ]+\]\(\.\./([\w/]+\.py)\)", last)
        if last == "the same":
            found.append((*found[-1][:2], line))
        elif link is not None:
            found += [(ROOT / link[1], test, line) for test in re.findall(r"`(test_\w+)`", last)]
    return found


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_names_a_test_that_exists() -> None:
    rows = named()
    assert len(rows) > 60
    assert [(test, row) for file, test, row in rows if test not in names_in(file)] == []


def test_every_row_of_an_attack_names_a_test() -> None:
    text = PAGE.read_text("utf-8").split("## The attacks")[1].split("## What was run")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    attacks = [line for line in rows if not line.startswith("| attack |")]
    with_tests = {row for _, _, row in named()}
    assert [line for line in attacks if line not in with_tests] == []


def test_every_attack_that_is_tried_is_in_the_table() -> None:
    tried = {
        (file, test)
        for file in (ROOT / "tests" / "hostile").glob("test_*.py")
        if file != Path(__file__)
        for test in names_in(file)
    }
    assert tried - {(file, test) for file, test, _ in named()} == set()


def test_every_row_of_the_grants_misuse_is_in_the_table() -> None:
    text = PAGE.read_text("utf-8")
    misuse = ROOT / "tests" / "grants" / "test_misuse.py"
    assert len([test for test in names_in(misuse) if f"`{test}`" in text]) >= 14
