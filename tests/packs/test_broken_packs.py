"""Every error of a pack: where it is reported, under which code, and what an editor can see."""

from __future__ import annotations

import jsonschema
import pytest

from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load
from policy_engine.packs.nodes import plain
from policy_engine.packs.problems import Code, ProblemList, Severity
from policy_engine.packs.reading import read_yaml
from policy_engine.packs.schema import json_schemas
from tests.packs.broken import (
    BROKEN,
    CAPS,
    CONDITIONS,
    FACT_ERRORS,
    FACTS,
    PARAMETERS,
    POLICY,
    ROLES_AND_CAPS,
    SHAPES,
    WORTH,
    Files,
    cap,
    policy,
    remedy,
    when,
)
from tests.packs.made import WHOLE, found, in_plan, loaded

SCHEMAS = json_schemas()
NEEDS_THE_PACK = frozenset(
    {
        "MISSING_FILE", "FILE_TWICE", "UNKNOWN_FACT", "OP_NOT_FOR_TYPE", "VALUE_NOT_DECLARED",
        "WRONG_FACT_TYPE", "BAD_NARROWING", "DERIVED_CYCLE", "UNREACHABLE_RULE", "BAD_WORTH",
        "MIN_ABOVE_MAX", "BAD_INTERVAL", "OVERLAPPING_VERSIONS", "DATE_BY_DIFFERS", "BAD_AMOUNT",
        "UNKNOWN_INCIDENT_TYPE", "UNKNOWN_MESSAGE", "UNKNOWN_ROLE", "UNKNOWN_POLICY",
        "APPROVER_CYCLE", "BAD_LIMIT", "UNKNOWN_ZONE", "UNKNOWN_CURRENCY", "TEMPLATE_SYNTAX",
        "TEMPLATE_FORBIDDEN", "UNKNOWN_SLOT", "DUPLICATE_NAME", "UNKNOWN_PARAMETER",
        "PARAMETER_IN_PARAMETER", "TOO_MANY", "TOO_DEEP", "BAD_TIMESTAMP", "BAD_DURATION",
        "FACT_WITHOUT_SOURCE", "SEVERAL_SOURCES", "BAD_DECLARATION",
    }
)  # fmt: skip
"""What a schema can't see, because it takes a second place, a calendar or a fact's type."""


def case_id(case: tuple[Files, str | None, int, int, str]) -> str:
    return f"{case[4]}-{case[2]}-{case[3]}"


@pytest.mark.parametrize("case", BROKEN, ids=case_id)
def test_the_error_is_reported_where_it_stands(
    case: tuple[Files, str | None, int, int, str],
) -> None:
    changed, file, line, column, code = case
    result = loaded(changed)
    assert result.pack is None
    assert (file or "shipping_delay.yaml", line, column, code) in found(result), "\n".join(
        map(str, result.problems)
    )
    assert result.problems == tuple(
        sorted(result.problems, key=lambda each: (each.file, each.line, each.column, each.code))
    )


@pytest.mark.parametrize("case", BROKEN, ids=case_id)
def test_the_only_errors_are_those_of_the_one_mistake(
    case: tuple[Files, str | None, int, int, str],
) -> None:
    changed, file, *_ = case
    errors = [each for each in loaded(changed).problems if each.severity is Severity.ERROR]
    assert {each.file for each in errors} == {file or "shipping_delay.yaml"}
    assert len(errors) <= 3, "\n".join(map(str, errors))


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in [*SHAPES, *PARAMETERS, *FACT_ERRORS, *WORTH, *CONDITIONS, *ROLES_AND_CAPS]
        if case[4] not in NEEDS_THE_PACK
    ],
    ids=case_id,
)
def test_an_editor_sees_what_a_schema_can_see(
    case: tuple[Files, str | None, int, int, str],
) -> None:
    changed, file, _, _, _ = case
    name = file or "shipping_delay.yaml"
    text = changed[name]
    assert text is not None
    tree = read_yaml(name, text.encode(), ProblemList())
    assert tree is not None
    kind = name.removesuffix(".yaml") if name.removesuffix(".yaml") in SCHEMAS else "policy"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain(tree), SCHEMAS[kind])


def test_every_error_has_an_example_here_or_among_the_files() -> None:
    elsewhere = {
        "UNREADABLE_FILE", "OUTSIDE_LINK", "MISPLACED_FILE", "FILE_TOO_LARGE", "PACK_TOO_LARGE",
        "TOO_MANY_FILES", "NOT_UTF8",
    }  # fmt: skip
    warnings = {code.value for code in list(Code)[list(Code).index(Code.UNCONFIRMED_PARAMETER) :]}
    assert {code.value for code in Code} - warnings - elsewhere <= {case[4] for case in BROKEN}


def test_all_problems_of_all_files_come_at_once() -> None:
    result = loaded(
        {
            "roles.yaml": "roles: {agent: {may: al}}",
            "caps.yaml": CAPS.replace("300.00", "300"),
            "shipping_delay.yaml": POLICY.replace("P5D", "5 days").replace(
                "gift, amount", "gft, amount"
            ),
        }
    )
    assert [(each.file, each.line) for each in result.problems] == [
        ("caps.yaml", 2),
        ("roles.yaml", 1),
        ("shipping_delay.yaml", 8),
        ("shipping_delay.yaml", 12),
    ]


def test_who_uses_what_is_broken_elsewhere_is_not_blamed() -> None:
    uses = when("{fact: shop.campaign, is: true}")
    for facts in ("facts: [", "facts:\n  shop.campaign: {type: boolen, from: request}\n"):
        result = loaded({**uses, "facts.yaml": facts})
        assert {each.file for each in result.problems} == {"facts.yaml"}
    result = loaded(
        {
            "roles.yaml": "roles: [",
            **cap("{cap: a, scope: order, measure: count, limit: 1, roles: [agent]}"),
        }
    )
    assert {each.file for each in result.problems} == {"roles.yaml"}
    result = loaded(
        {
            "p.yaml": "policy: [",
            **cap("{cap: a, scope: order, measure: count, limit: 1, policies: [p]}"),
        }
    )
    assert {each.file for each in result.problems} == {"p.yaml"}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (when("{fact: shipping.dely, over: P5D}"), "did you mean `shipping.delay`?"),
        (when("{fact: shipping.delay, ovr: P5D}"), "unknown operator `ovr`; did you mean `over`?"),
        (remedy("{kind: cupon}"), "unknown kind of remedy `cupon`; did you mean `coupon`?"),
        (policy("titel: {en: A}"), "unknown key `titel`; did you mean `title`?"),
        (remedy('{kind: gift, amount: {CNX: "1.00"}}'), "currency `CNX`; did you mean `CNY`?"),
        (when("{fact: customer.tier, is: golden}"), "`golden`; did you mean `gold`?"),
        (
            cap("{cap: a, scope: order, measure: count, limit: 1, roles: [agnt]}"),
            "unknown role `agnt`; did you mean `agent`?",
        ),
        (remedy("{kind: gift, amount: {CNY: 12.10}}"), '`12.10` must be quoted; write "12.10"'),
        (remedy("{kind: gift, amount: {CNY: 1e3}}"), "write its digits, or quote it"),
        (in_plan("fallback: True, remedies: [{kind: keep_item}]"), "write `true`, or quote it"),
        (in_plan("rank: 0x1F, remedies: [{kind: keep_item}]"), "write the number in digits, or"),
        (when("{fact: shipping.delay, over: 5}"), "such as `P5D` or `PT15M`, found the number 5"),
    ],
)  # fmt: skip
def test_a_message_says_what_was_meant_or_what_to_write(changed: Files, text: str) -> None:
    assert any(text in each.message for each in loaded(changed).problems)


def test_no_message_ends_with_a_full_stop_or_begins_with_a_capital() -> None:
    messages = {each.message for case in BROKEN for each in loaded(case[0]).problems}
    assert [text for text in messages if text.endswith(".") or text[0].isupper()] == []


def test_a_problem_in_a_parameter_says_where_it_is_used() -> None:
    changed = policy(
        'parameters: {cost: {CNY: "5"}}\n'
        "plans: [{plan: a, remedies: [{kind: gift, amount: $cost}]}]"
    )
    texts = [str(each) for each in loaded(changed).problems]
    assert any("(parameter `cost`, used at line 5)" in text for text in texts)


def test_a_cycle_of_derived_facts_is_named() -> None:
    result = loaded(
        {
            "facts.yaml": FACTS
            + "  a: {type: boolean, derive: [{is: true, when: {fact: b, is: true}}]}\n"
            + "  b: {type: boolean, derive: [{is: true, when: {fact: c, is: true}}]}\n"
            + "  c: {type: boolean, derive: [{is: true, when: {fact: a, is: true}}]}\n"
        }
    )
    assert [each.message for each in result.problems] == [
        "derived from itself: `a` ← `b` ← `c` ← `a`; break the circle"
    ]


def test_each_circle_is_named_and_what_only_builds_on_one_is_not() -> None:
    rule = "{{type: boolean, derive: [{{is: true, when: {{fact: {}, is: true}}}}]}}\n"
    uses = {"a": "b", "b": "a", "c": "c", "d": "a"}
    declared = "".join(f"  {name}: {rule.format(used)}" for name, used in uses.items())
    result = loaded({"facts.yaml": FACTS + declared})
    assert [each.message for each in result.problems] == [
        "derived from itself: `a` ← `b` ← `a`; break the circle",
        "derived from itself: `c` ← `c`; break the circle",
    ]


def test_text_that_is_not_utf8_is_reported_where_it_begins() -> None:
    data = {name: text.encode() for name, text in WHOLE.items()} | {"p.yaml": b"a: 1\nb: \xff\n"}
    assert found(load(PackFiles(data))) == [("p.yaml", 2, 4, "NOT_UTF8")]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (
            "{fact: shipping.delay, over: 5 days, under: P1D}",
            [(53, "BAD_DURATION"), (61, "BAD_CONDITION")],
        ),
        (
            "{fact: shipping.delay, over: P5D, under: 1d, contains: x}",
            [(58, "BAD_CONDITION"), (65, "BAD_DURATION"), (69, "OP_NOT_FOR_TYPE")],
        ),
        (
            "{all: [{fact: chanel, is: a}], any: [{fact: channel, si: a}]}",
            [(38, "UNKNOWN_FACT"), (55, "BAD_CONDITION"), (77, "UNKNOWN_OP")],
        ),
    ],
)
def test_all_that_is_wrong_with_a_condition_is_told_at_once(
    condition: str, expected: list[tuple[int, str]]
) -> None:
    assert [each[2:] for each in found(loaded(when(condition)))] == expected
