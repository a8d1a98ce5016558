"""Rules of the house that the import contracts can't say."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted((ROOT / "policy_engine").rglob("*.py"))
CORE = [path for path in MODULES if "core" in path.relative_to(ROOT).parts]


def imported(path: Path) -> Iterator[str]:
    """The top-level package of every import in a module, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def declared() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    requirements = [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]
    return {normalized(re.split(r"[\[<>=!~; ]", each)[0]) for each in requirements}


def readable(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=readable)
def test_the_core_imports_only_the_standard_library_and_itself(path: Path) -> None:
    assert set(imported(path)) <= sys.stdlib_module_names | {"policy_engine"}


@pytest.mark.parametrize("path", CORE, ids=readable)
def test_the_core_asks_nobody_for_the_time(path: Path) -> None:
    calls = re.findall(r"\b(?:datetime|date)\.(?:now|today|utcnow)\b", path.read_text())
    assert calls == []


def test_every_imported_package_is_declared_as_a_dependency() -> None:
    """A package that only the tests install would be missing where the service runs."""
    distributions = packages_distributions()
    foreign = {name for path in MODULES for name in imported(path)}
    foreign -= sys.stdlib_module_names | {"policy_engine"}
    undeclared = {
        name
        for name in foreign
        if not {normalized(each) for each in distributions.get(name, [])} & declared()
    }
    # Where durable_rules can't be installed, it has no metadata to look up.
    undeclared -= {"durable", "durable_rules_engine"}
    assert undeclared == set()
