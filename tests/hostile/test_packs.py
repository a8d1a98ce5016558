"""Packs that are made to take the server down, sent to be checked."""

# ruff: noqa: E501 -- a table: one case a line, whatever its length

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.hostile.conftest import Fortress

HEAD = "policy: p\nreason_code: P\napplies_to: [shipping_delay]\n"
ROLES = "roles: {agent: {may: all}}\n"
SECONDS_AT_MOST = 5.0
"""For what takes seconds on a busy machine; a bomb that went off would take minutes."""

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def policy(text: str) -> dict[str, str]:
    return {"p.yaml": HEAD + text}


def plan(text: str) -> dict[str, str]:
    return policy(f"plans:\n  - {{plan: a, {text}}}\n")


def script(text: str) -> dict[str, str]:
    opening = text.replace('"', '\\"')
    return {"messages/en.yaml": f'scripts: {{hi: {{offer: {{opening: "{opening}"}}}}}}\n'}


def nested(inner: str, outer: str, depth: int) -> str:
    return outer * depth + inner + "}" * depth


BOMBS: list[tuple[str, dict[str, str], str]] = [
    ("a billion laughs", {"p.yaml": HEAD + LAUGHS}, "YAML_ANCHOR"),
    ("an alias to itself", policy("title: &a {en: *a}\n"), "YAML_ANCHOR"),
    ("a merge key", policy("<<: {title: {en: A}}\n"), "MERGE_KEY"),
    ("a tag that makes objects", policy('title: !!python/object/apply:os.system ["true"]\n'), "YAML_TAG"),
    ("10,000 brackets", policy(f"title: {'[' * 10_000}\n"), "TOO_DEEP"),
    ("10,000 braces", policy(f"title: {'{a: ' * 10_000}\n"), "TOO_DEEP"),
    ("300 indents", policy("".join(f"{' ' * n}a:\n" for n in range(300))), "TOO_DEEP"),
    ("a condition nested 500 deep", plan(f"when: {nested('{fact: order.age, over: P1D}', '{not: ', 500)}, remedies: [{{kind: keep_item}}]"), "TOO_DEEP"),
    ("10,000 actions", policy("actions: [" + "{action: a}, " * 10_000 + "]\n"), "TOO_MANY"),
    ("a number of 100,000 digits", plan(f"rank: {'9' * 100_000}, remedies: [{{kind: keep_item}}]"), "BAD_NUMBER"),
    ("a decimal of 100,000 digits", plan('remedies: [{kind: gift, percent: "' + "9" * 100_000 + '", of: order.goods_paid}]'), "BAD_NUMBER"),
    ("an amount of 100,000 digits", plan('remedies: [{kind: gift, amount: {CNY: "' + "9" * 100_000 + '.00"}}]'), "BAD_AMOUNT"),
    ("a duration of 100,000 digits", policy("actions: [{action: a, within: P" + "9" * 100_000 + "D}]\n"), "BAD_DURATION"),
    ("a file of 2 MiB", policy("# " + "x" * 2 * 1024 * 1024 + "\n"), "FILE_TOO_LARGE"),
    ("a name that a regular expression chokes on", policy(f"message: {'a_' * 900}!\n"), "BAD_NAME"),
    ("a locale that a regular expression chokes on", policy(f'title: {{"{"a-" * 90}!": A}}\n'), "BAD_LOCALE"),
    ("a parameter that a regular expression chokes on", policy(f"message: ${'a_' * 900}!\n"), "BAD_NAME"),
    ("a template that multiplies", script("{{ 'x' * 1000000000 }}"), "TEMPLATE_FORBIDDEN"),
    ("a template that raises to powers", script("{{ 9 ** 9 ** 9 }}"), "TEMPLATE_FORBIDDEN"),
    ("a template that pads", script("{{ 'x'|center(1000000000) }}"), "TEMPLATE_FORBIDDEN"),
    ("a template that formats", script("{{ '%1000000000d'|format(1) }}"), "TEMPLATE_FORBIDDEN"),
    ("a template that doubles", script("{% set a = plans %}{% set a = a ~ a %}"), "TEMPLATE_FORBIDDEN"),
    ("a template that loops in loops", script("{% for a in range(9) %}{% for b in range(9) %}{% for c in range(9) %}{% for d in range(9) %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}"), "TEMPLATE_FORBIDDEN"),
    ("a template that reads files", script("{% include '/etc/passwd' %}"), "TEMPLATE_FORBIDDEN"),
    ("a template nested 3,000 deep", script("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}"), "TEMPLATE_SYNTAX"),
]  # fmt: skip


def checked(fortress: Fortress, files: dict[str, str]) -> Any:
    body = {"files": {"roles.yaml": ROLES, **files}}
    began = time.monotonic()
    reply = fortress.send("POST", "/v1/packs/check", fortress.key("packs"), body=body)
    assert time.monotonic() - began < SECONDS_AT_MOST
    return reply


@pytest.mark.parametrize(
    ("files", "code"), [row[1:] for row in BOMBS], ids=[row[0] for row in BOMBS]
)
def test_a_bomb_in_a_pack_is_a_problem_with_its_place(
    fortress: Fortress, files: dict[str, str], code: str
) -> None:
    reply = checked(fortress, files)
    assert reply.status == 200, reply.body[:500]
    (name,) = files
    found = {(each["file"], each["code"]) for each in reply.json["problems"]}
    assert (name, code) in found, reply.json["problems"][:3]


def test_a_pack_beyond_four_mebibytes_is_not_even_read(fortress: Fortress) -> None:
    head = fortress.head("Content-Length: 5000000", key=fortress.key("packs"))
    head = head.replace(b"POST /v1/decisions ", b"POST /v1/packs/check ")
    said = fortress.talk(head + b'{"files": {')
    assert (said.statuses, said.code, said.closed) == ([413], "BODY_TOO_LARGE", True)


@pytest.mark.parametrize("name", ["../evil.yaml", "/etc/evil.yaml", "a/../b.yaml", "a\u0000.yaml"])
def test_a_file_outside_of_the_pack_is_no_file_of_it(fortress: Fortress, name: str) -> None:
    reply = checked(fortress, {name: HEAD})
    assert reply.status == (400 if "\0" in name else 422)
    assert reply.json["errors"][0]["code"] in ("NOT_A_PACK_FILE", "FORBIDDEN_CHARACTER")


def test_a_pack_of_very_many_files_is_refused(fortress: Fortress) -> None:
    reply = checked(fortress, {f"p{n}.yaml": HEAD for n in range(5000)})
    assert (reply.status, reply.json["errors"][0]["code"]) == (422, "TOO_MANY_ITEMS")


def test_a_bomb_is_not_activated_and_the_pack_stays(fortress: Fortress) -> None:
    key = fortress.key("packs")
    before = fortress.send("GET", "/v1/pack", key).json["revision"]
    body = {"files": {"roles.yaml": ROLES, "p.yaml": HEAD + LAUGHS}}
    reply = fortress.send("POST", "/v1/packs/activate", key, body=body)
    assert (reply.status, reply.json["code"]) == (422, "PACK_HAS_ERRORS")
    assert fortress.send("GET", "/v1/pack", key).json["revision"] == before
