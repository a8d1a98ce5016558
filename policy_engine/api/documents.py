"""The API document, and the page that shows it: both offline, both open to everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml
from flask import Response, current_app, render_template
from flask_smorest import Api

from policy_engine.api.reading import accepts
from policy_engine.api.spec import Blueprint

YAML_TYPE: Final = "application/yaml"
_METHODS = ("get", "put", "post", "delete", "patch")
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

blueprint = Blueprint("documents", __name__, description="What this API is.")


@blueprint.call("GET", "/openapi.yaml", answers={200: ("This document", YAML_TYPE)})
def openapi_yaml() -> Response:
    """This document."""
    accepts(YAML_TYPE)
    return Response(document_text(current_app.extensions["api"]), mimetype=YAML_TYPE)


@blueprint.call("GET", "/docs", answers={200: ("The page", "text/html")})
def docs() -> Response:
    """This document as a page that loads nothing from anywhere."""
    accepts("text/html")
    page = render_template("docs.html", **_page(current_app.extensions["api"].spec.to_dict()))
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _PAGE_POLICY
    return response


@cache
def document_text(api: Api) -> str:
    """The API document as YAML: what `openapi.yaml` at the top of the tree holds."""
    return yaml.safe_dump(
        _plain(api.spec.to_dict()), sort_keys=False, allow_unicode=True, width=100
    )


def _plain(value: Any) -> Any:
    """Without the mapping types of the libraries, which YAML would tag."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _page(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows: operations by tag, and the schemas they use."""
    operations = list(_operations(spec))
    return {
        "info": spec["info"],
        "tags": [
            {**tag, "operations": [each for each in operations if tag["name"] in each["tags"]]}
            for tag in spec["tags"]
        ],
        "schemas": {
            name: list(_rows(schema))
            for name, schema in sorted(spec["components"]["schemas"].items())
        },
        "responses": spec["components"].get("responses", {}),
    }


def _operations(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in spec["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                yield {
                    **operation,
                    "path": path,
                    "method": method.upper(),
                    "parameters": [
                        *item.get("parameters", []),
                        *operation.get("parameters", []),
                    ],
                    "anchor": f"{method}{path}".replace("/", "-").strip("{}"),
                }


def _rows(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _type(field),
            "required": name in required,
            "description": field.get("description", ""),
        }


def _type(field: Mapping[str, Any]) -> str:
    """A field's type in a few words: `array of Line`, `string (date-time) or null`."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    for word in ("allOf", "anyOf", "oneOf"):
        if word in field:
            return " or ".join(_type(each) for each in field[word])
    kind = field.get("type", "any")
    if kind == "array":
        return f"array of {_type(field.get('items', {}))}"
    names = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "enum" in field:
        return " | ".join(str(each) for each in field["enum"])
    return f"{names} ({field['format']})" if "format" in field else names
