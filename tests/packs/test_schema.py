"""The published schemas are those of the reader, and fit every real pack."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from policy_engine.packs.nodes import plain
from policy_engine.packs.problems import Code, ProblemList
from policy_engine.packs.reading import read_yaml
from policy_engine.packs.schema import json_schemas, schema_files
from tests.packs.made import WHOLE

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = json_schemas()


def kind_of(name: str) -> str:
    folder, _, stem = name.removesuffix(".yaml").rpartition("/")
    return folder or (stem if stem in SCHEMAS else "policy")


def assert_fits(name: str, data: bytes) -> None:
    tree = read_yaml(name, data, ProblemList())
    assert tree is not None
    jsonschema.Draft202012Validator(SCHEMAS[kind_of(name)]).validate(plain(tree))


def test_the_checked_in_schemas_are_the_generated_ones() -> None:
    """After a change: `policy-engine pack schema --out docs/schema`."""
    checked_in = {path.name: path.read_text() for path in (ROOT / "docs/schema").iterdir()}
    assert checked_in == schema_files()


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_each_is_a_schema_and_explains_every_key(kind: str) -> None:
    schema = SCHEMAS[kind]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    undescribed = [
        path
        for path, properties in tables(schema, kind)
        for name, value in properties.items()
        if "description" not in value
    ]
    assert undescribed == []


def tables(schema: object, path: str) -> list[tuple[str, dict[str, dict[str, object]]]]:
    found = []
    if isinstance(schema, dict):
        # The `if` of a schema has properties too, and they are no keys of a file.
        if isinstance(schema.get("properties"), dict) and "type" in schema:
            found.append((path, schema["properties"]))
        for key, value in schema.items():
            if key not in ("if", "examples"):
                found += tables(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            found += tables(value, path)
    return found


def test_examples_of_a_key_fit_the_key() -> None:
    for kind, schema in SCHEMAS.items():
        for path, properties in tables(schema, kind):
            for name, value in properties.items():
                for example in value.get("examples", []):  # type: ignore[attr-defined]
                    whole = {"$defs": schema.get("$defs", {}), **value}
                    assert jsonschema.Draft202012Validator(whole).is_valid(example), (path, name)


def test_the_whole_pack_fits() -> None:
    for name, text in WHOLE.items():
        assert_fits(name, text.encode())


def test_the_golden_pack_fits(shared: Path | None) -> None:
    folder = shared / "cases" / "pack" if shared else None
    for path in sorted(folder.rglob("*.yaml")) if folder else []:
        assert_fits(path.relative_to(folder).as_posix(), path.read_bytes())  # type: ignore[arg-type]


def test_the_shipped_pack_fits() -> None:
    folder = ROOT / "policies"
    paths = sorted(folder.rglob("*.yaml"))
    assert len(paths) > 5
    for path in paths:
        assert_fits(path.relative_to(folder).as_posix(), path.read_bytes())


def test_a_parameter_fits_wherever_a_value_does() -> None:
    text = """policy: p
reason_code: P
applies_to: $types
title: $title
plans:
  - plan: a
    when: {fact: shipping.delay, over: $after}
    rank: $rank
    remedies: [{kind: $kind, amount: {CNY: $cost}, valid_for: $long}]
"""
    assert_fits("p.yaml", text.encode())


def test_the_reference_names_every_problem_every_operator_and_every_key() -> None:
    page = (ROOT / "docs/policy-language.md").read_text()
    words = set(re.findall(r"`([^`\n]+)`", page))
    assert {code.value for code in Code} - words == set()
    keys = {
        name
        for kind, schema in SCHEMAS.items()
        for _, properties in tables(schema, kind)
        for name in properties
    }
    assert keys - words == set()


def test_schemas_are_json() -> None:
    for text in schema_files().values():
        assert json.loads(text)
