"""JSON Schemas (2020-12) of a pack's files, made from the tables that read them."""

from __future__ import annotations

import json
from typing import Any

from policy_engine.packs.caps import CAPS_FILE
from policy_engine.packs.conditions import condition_schema
from policy_engine.packs.facts import FACTS_FILE
from policy_engine.packs.messages import MESSAGES_FILE, NEVER_SAY_FILE
from policy_engine.packs.parameters import LITERALLY, PARAMETER_PATTERN
from policy_engine.packs.policy_tables import POLICY_FILE
from policy_engine.packs.roles import ROLES_FILE
from policy_engine.packs.scalars import Schema
from policy_engine.packs.settings import PACK_FILE
from policy_engine.packs.suites import TESTS_FILE

_TITLES = {
    "policy": "One version of a policy",
    "facts": "What conditions may name",
    "roles": "Who may issue what",
    "caps": "What may be given at most",
    "pack": "Settings of the whole pack",
    "messages": "Scripts of one locale",
    "never_say": "Phrases that are never said",
    "tests": "Tests of the pack",
}


def json_schemas() -> dict[str, Schema]:
    """File kind → schema; `docs/schema/<kind>.schema.json` holds each of them."""
    condition = {"condition": condition_schema()}
    return {
        "policy": _policy(),
        "facts": _schema("facts", FACTS_FILE.schema(), condition),
        "roles": _schema("roles", ROLES_FILE.schema()),
        "caps": _schema("caps", CAPS_FILE.schema()),
        "pack": _schema("pack", PACK_FILE.schema()),
        "messages": _schema("messages", MESSAGES_FILE.schema()),
        "never_say": _schema("never_say", NEVER_SAY_FILE.schema()),
        "tests": _schema("tests", TESTS_FILE.schema()),
    }


def schema_files() -> dict[str, str]:
    """File name → text, as checked in under `docs/schema/`."""
    return {
        f"{kind}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for kind, schema in json_schemas().items()
    }


def _schema(kind: str, body: Schema, definitions: Schema | None = None) -> Schema:
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{kind}.schema.json",
        "title": _TITLES[kind],
        **body,
    }
    return schema if definitions is None else {**schema, "$defs": definitions}


def _policy() -> Schema:
    body = POLICY_FILE.schema()
    body["properties"] = {
        name: value if name in LITERALLY else _or_parameter(value)
        for name, value in body["properties"].items()
    }
    definitions: Schema = {
        "condition": _fillable(condition_schema()),
        "parameter": {
            "type": "string",
            "pattern": f"^{PARAMETER_PATTERN}$",
            "description": "Stands for the value of this parameter.",
        },
    }
    return _schema("policy", body, definitions)


def _or_parameter(schema: Schema) -> Schema:
    """The value itself or `$name`; what an editor shows stays outside."""
    shown = ("description", "examples")
    outside: Schema = {key: value for key, value in schema.items() if key in shown}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {**outside, "anyOf": [_fillable(inside), {"$ref": "#/$defs/parameter"}]}


def _fillable(schema: Schema) -> Schema:
    """A schema in which a parameter may stand for every value inside."""
    filled: dict[str, Any] = dict(schema)
    if "properties" in schema:
        filled["properties"] = {
            name: _or_parameter(value) for name, value in schema["properties"].items()
        }
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            filled[word] = _or_parameter(schema[word])
    if "anyOf" in schema:
        filled["anyOf"] = [_fillable(each) for each in schema["anyOf"]]
    return filled
