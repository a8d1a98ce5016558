"""Packs with one mistake each: the changed files, and where the error must be found.

A case is (changed files, file or None for the policy of the whole pack, line, column, code).
"""

from __future__ import annotations

from tests.packs.made import WHOLE, in_plan

FACTS = WHOLE["facts.yaml"]
POLICY = WHOLE["shipping_delay.yaml"]
CAPS = WHOLE["caps.yaml"]
HEAD = "policy: p\nreason_code: P\napplies_to: [shipping_delay]\n"
MESSAGES = "scripts:\n  hello:\n    offer:\n      opening: "

Files = dict[str, "str | None"]


def fact(declaration: str) -> Files:
    """One more fact, on line 4; its declaration begins at column 6."""
    return {"facts.yaml": f"{FACTS}  x: {declaration}\n"}


def when(condition: str) -> Files:
    """One more plan whose condition begins at line 13, column 24."""
    return in_plan(f"when: {condition}, remedies: [{{kind: keep_item}}]")


def remedy(text: str) -> Files:
    """One more plan whose remedy begins at line 13, column 29."""
    return in_plan(f"remedies: [{text}]")


def cap(row: str) -> Files:
    """One more cap, on line 3, from column 5 on."""
    return {"caps.yaml": f"{CAPS}  - {row}\n"}


def policy(text: str) -> Files:
    """One more policy, p.yaml, whose fourth line is the text."""
    return {"p.yaml": HEAD + text + "\n"}


def script(text: str) -> Files:
    """messages/en.yaml whose fourth line ends with the text, from column 16 on."""
    return {"messages/en.yaml": MESSAGES + text + "\n"}


YAML = [
    (policy("title: {en: A, en: B}"), "p.yaml", 4, 16, "DUPLICATE_KEY"),
    (policy("title: &a {en: A}"), "p.yaml", 4, 8, "YAML_ANCHOR"),
    (policy("title: *a"), "p.yaml", 4, 8, "YAML_ALIAS"),
    (policy("title: !!map {en: A}"), "p.yaml", 4, 8, "YAML_TAG"),
    (policy("<<: {title: {en: A}}"), "p.yaml", 4, 1, "MERGE_KEY"),
    (policy("5: x"), "p.yaml", 4, 1, "KEY_NOT_TEXT"),
    (policy("? [a]\n: b"), "p.yaml", 4, 3, "KEY_NOT_TEXT"),
    (policy("---\na: b"), "p.yaml", 4, 1, "SEVERAL_DOCUMENTS"),
    ({"p.yaml": "%YAML 1.1\n---\n" + HEAD}, "p.yaml", 1, 1, "YAML_DIRECTIVE"),
    (policy("title: [a"), "p.yaml", 5, 1, "YAML_SYNTAX"),
    (policy("title: " + "[" * 40), "p.yaml", 4, 39, "TOO_DEEP"),
    (policy("title: {en: a\u0007b}"), "p.yaml", 4, 14, "BAD_CHARACTER"),
    (policy("title: {en: a\u202eb}"), "p.yaml", 4, 14, "BAD_CHARACTER"),
    (policy('title: {en: "a\\u202eb"}'), "p.yaml", 4, 13, "BAD_CHARACTER"),
    (policy('title: {en: "a\\0b"}'), "p.yaml", 4, 13, "BAD_CHARACTER"),
    (in_plan('remedies: [{kind: gift, amount: {1: "1.00"}}]'), None, 13, 51, "KEY_NOT_TEXT"),
    ({"p.yaml": "\ufeff" + HEAD}, "p.yaml", 1, 1, "BYTE_ORDER_MARK"),
    ({"p.yaml": "# nothing\n"}, "p.yaml", 1, 1, "EMPTY_FILE"),
    (remedy("{kind: coupon, amount: {CNY: 12.10}}"), None, 13, 58, "UNQUOTED_DECIMAL"),
    (remedy("{kind: coupon, amount: {CNY: 1e3}}"), None, 13, 58, "UNQUOTED_DECIMAL"),
    (remedy("{kind: coupon, amount: {CNY: 007}}"), None, 13, 58, "UNQUOTED_DECIMAL"),
    (remedy("{kind: coupon, amount: {CNY: .inf}}"), None, 13, 58, "UNQUOTED_DECIMAL"),
    (remedy("{kind: gift, amount: {JPY: 200}}"), None, 13, 56, "UNQUOTED_DECIMAL"),
    (remedy("{kind: gift, percent: 5, of: order.goods_paid}"), None, 13, 51, "UNQUOTED_DECIMAL"),
    (in_plan("fallback: True, remedies: [{kind: keep_item}]"), None, 13, 28, "AMBIGUOUS_SCALAR"),
    (in_plan("rank: 0x10, remedies: [{kind: keep_item}]"), None, 13, 24, "AMBIGUOUS_SCALAR"),
]
SHAPES = [
    (policy("titel: {en: A}"), "p.yaml", 4, 1, "UNKNOWN_KEY"),
    ({"p.yaml": "reason_code: P\napplies_to: [shipping_delay]\n"}, "p.yaml", 1, 1, "MISSING_KEY"),
    (policy("plans: coupon"), "p.yaml", 4, 8, "WRONG_TYPE"),
    (policy("title: A"), "p.yaml", 4, 8, "WRONG_TYPE"),
    (policy("title: {en: 5}"), "p.yaml", 4, 13, "WRONG_TYPE"),
    (policy("title:"), "p.yaml", 4, 7, "WRONG_TYPE"),
    ({"p.yaml": "- a\n"}, "p.yaml", 1, 1, "WRONG_TYPE"),
    (policy('title: {en: " "}'), "p.yaml", 4, 13, "EMPTY_VALUE"),
    (in_plan("remedies: []"), None, 13, 28, "EMPTY_VALUE"),
    (policy(f"title: {{en: {'a' * 2001}}}"), "p.yaml", 4, 13, "BAD_TEXT"),
    (policy("message: a/b"), "p.yaml", 4, 10, "BAD_NAME"),
    (policy("title: {EN: A}"), "p.yaml", 4, 9, "BAD_LOCALE"),
    (in_plan("rank: 99999999, remedies: [{kind: keep_item}]"), None, 13, 24, "BAD_NUMBER"),
    (
        in_plan("rank: 9999999999999999999, remedies: [{kind: keep_item}]"),
        None,
        13,
        24,
        "BAD_NUMBER",
    ),
    (remedy('{kind: gift, percent: "five", of: order.goods_paid}'), None, 13, 51, "BAD_NUMBER"),
    (remedy('{kind: gift, amount: {CNY: "12.1"}}'), None, 13, 56, "BAD_AMOUNT"),
    (remedy('{kind: gift, amount: {JPY: "12.10"}}'), None, 13, 56, "BAD_AMOUNT"),
    (remedy('{kind: gift, amount: {CNY: "-1.00"}}'), None, 13, 56, "BAD_AMOUNT"),
    (
        remedy('{kind: gift, amount: {CNY: "1.00"}, round_to: {CNY: "0.00"}}'),
        None,
        13,
        81,
        "BAD_AMOUNT",
    ),
    (remedy('{kind: gift, amount: {CNX: "1.00"}}'), None, 13, 51, "UNKNOWN_CURRENCY"),
    (remedy("{kind: keep_item, within: P1M}"), None, 13, 55, "BAD_DURATION"),
    (remedy("{kind: keep_item, within: PT0S}"), None, 13, 55, "BAD_DURATION"),
    (remedy("{kind: keep_item, within: -P1D}"), None, 13, 55, "BAD_DURATION"),
    (policy('effective: {from: "2026-01-01T00:00:00"}'), "p.yaml", 4, 19, "BAD_TIMESTAMP"),
    (policy('effective: {from: "2026-02-30T00:00:00Z"}'), "p.yaml", 4, 19, "BAD_TIMESTAMP"),
    (remedy("{kind: cupon}"), None, 13, 36, "UNKNOWN_VALUE"),
    (in_plan("floor: legal, remedies: [{kind: keep_item}]"), None, 13, 25, "UNKNOWN_VALUE"),
    (policy("actions: [" + "{action: a}, " * 1001 + "]"), "p.yaml", 4, 13011, "TOO_MANY"),
]
PARAMETERS = [
    (policy("message: $no"), "p.yaml", 4, 10, "UNKNOWN_PARAMETER"),
    (policy("unconfirmed: [no]"), "p.yaml", 4, 14, "UNKNOWN_PARAMETER"),
    (policy("parameters: {a: $b, b: x}\nmessage: $b"), "p.yaml", 4, 17, "PARAMETER_IN_PARAMETER"),
    (
        policy(
            'parameters: {cost: {CNY: "5"}}\nplans: [{plan: a, remedies: '
            "[{kind: gift, amount: $cost}]}]"
        ),
        "p.yaml",
        4,
        26,
        "BAD_AMOUNT",
    ),
]
CONDITIONS = [
    (when("{fact: shipping.dely, over: P5D}"), None, 13, 31, "UNKNOWN_FACT"),
    (when("{fact: shipping.delay, above: P5D}"), None, 13, 47, "UNKNOWN_OP"),
    (when("{fact: shipping.delay}"), None, 13, 24, "BAD_CONDITION"),
    (when("{over: P5D}"), None, 13, 24, "BAD_CONDITION"),
    (when("{fact: shipping.delay, over: P5D, under: P9D}"), None, 13, 58, "BAD_CONDITION"),
    (when("{fact: shipping.delay, present: false}"), None, 13, 56, "BAD_CONDITION"),
    (when("{all: [{fact: channel, is: a}], fact: channel}"), None, 13, 56, "BAD_CONDITION"),
    (when("{all: []}"), None, 13, 30, "EMPTY_VALUE"),
    (when("{any: {fact: channel, is: a}}"), None, 13, 30, "WRONG_TYPE"),
    (when("true"), None, 13, 24, "WRONG_TYPE"),
    (when("{fact: shipping.delay, contains: P5D}"), None, 13, 47, "OP_NOT_FOR_TYPE"),
    (when("{fact: customer.tier, over: gold}"), None, 13, 46, "OP_NOT_FOR_TYPE"),
    (when("{fact: incident.types, is: shipping_delay}"), None, 13, 47, "OP_NOT_FOR_TYPE"),
    (when("{fact: channel, in: whatsapp}"), None, 13, 44, "WRONG_TYPE"),
    (when("{fact: channel, in: []}"), None, 13, 44, "EMPTY_VALUE"),
    (when("{fact: customer.tier, is: golden}"), None, 13, 50, "VALUE_NOT_DECLARED"),
    (when("{fact: customer.tier, in: [gold, golden]}"), None, 13, 57, "VALUE_NOT_DECLARED"),
    (when("{fact: incident.types, contains: delay}"), None, 13, 57, "VALUE_NOT_DECLARED"),
    (when("{not: " * 16 + "{fact: channel, is: a}" + "}" * 16), None, 13, 120, "TOO_DEEP"),
    (when("{any: [" + "{fact: channel, is: a}, " * 201 + "]}"), None, 13, 24, "TOO_MANY"),
]
FACT_ERRORS = [
    (fact("{type: boolean}"), "facts.yaml", 4, 3, "FACT_WITHOUT_SOURCE"),
    (
        fact("{type: duration, from: request, since: order.paid_at}"),
        "facts.yaml",
        4,
        45,
        "SEVERAL_SOURCES",
    ),
    (fact("{type: bool, from: request}"), "facts.yaml", 4, 13, "UNKNOWN_VALUE"),
    (fact("{type: enum, from: request}"), "facts.yaml", 4, 6, "MISSING_KEY"),
    (fact("{type: boolean, from: caller}"), "facts.yaml", 4, 28, "BAD_NAME"),
    (
        fact("{type: enum, values: [a], from: request, default: b}"),
        "facts.yaml",
        4,
        56,
        "VALUE_NOT_DECLARED",
    ),
    (
        fact('{type: money, from: request, default: "5.00"}'),
        "facts.yaml",
        4,
        44,
        "WRONG_TYPE",
    ),
    (
        fact('{type: money, from: request, default: {CNY: "5.0"}}'),
        "facts.yaml",
        4,
        50,
        "BAD_AMOUNT",
    ),
    (
        fact("{type: set, from: request, default: a}"),
        "facts.yaml",
        4,
        42,
        "WRONG_TYPE",
    ),
    (
        fact("{type: set, values: [a], from: request, default: [a, b]}"),
        "facts.yaml",
        4,
        59,
        "VALUE_NOT_DECLARED",
    ),
    (
        fact("{type: duration, since: order.paid_at, default: P1D}"),
        "facts.yaml",
        4,
        54,
        "BAD_DECLARATION",
    ),
    (
        fact("{type: boolean, values: [a], from: request}"),
        "facts.yaml",
        4,
        30,
        "BAD_DECLARATION",
    ),
    (fact("{type: integer, since: order.paid_at}"), "facts.yaml", 4, 13, "BAD_DECLARATION"),
    (fact("{type: money, derive: [{is: a}]}"), "facts.yaml", 4, 13, "BAD_DECLARATION"),
    (fact("{type: duration, since: order.id}"), "facts.yaml", 4, 30, "WRONG_FACT_TYPE"),
    (fact("{type: duration, since: order.payd_at}"), "facts.yaml", 4, 30, "UNKNOWN_FACT"),
    (fact("{type: set, values: [a, a], from: request}"), "facts.yaml", 4, 26, "DUPLICATE_NAME"),
    (
        fact("{type: boolean, derive: [{is: true}, {is: false}]}"),
        "facts.yaml",
        4,
        43,
        "UNREACHABLE_RULE",
    ),
    (
        fact("{type: boolean, derive: [{is: true, when: {fact: x, is: true}}]}"),
        "facts.yaml",
        4,
        3,
        "DERIVED_CYCLE",
    ),
    (
        {"facts.yaml": "facts:\n  order.age: {type: duration}\n"},
        "facts.yaml",
        2,
        3,
        "BAD_NARROWING",
    ),
    (
        {"facts.yaml": "facts:\n  order.paid_at: {type: string}\n"},
        "facts.yaml",
        2,
        3,
        "BAD_NARROWING",
    ),
    (
        {"facts.yaml": "facts:\n  channel: {type: enum, values: [a], from: request}\n"},
        "facts.yaml",
        2,
        3,
        "BAD_NARROWING",
    ),
]
WORTH = [
    (remedy('{kind: keep_item, amount: {CNY: "1.00"}}'), None, 13, 29, "BAD_WORTH"),
    (remedy("{kind: gift}"), None, 13, 29, "BAD_WORTH"),
    (remedy('{kind: gift, percent: "5"}'), None, 13, 29, "BAD_WORTH"),
    (
        remedy('{kind: gift, percent: "5", of: order.goods_paid, amount: {CNY: "1.00"}}'),
        None,
        13,
        29,
        "BAD_WORTH",
    ),
    (
        remedy('{kind: gift, amount: {CNY: "1.00"}, min: {CNY: "3.00"}, max: {CNY: "2.00"}}'),
        None,
        13,
        70,
        "MIN_ABOVE_MAX",
    ),
    (remedy('{kind: gift, percent: "5", of: order.age}'), None, 13, 60, "WRONG_FACT_TYPE"),
    (remedy("{kind: gift, amount: customer.tier}"), None, 13, 50, "WRONG_FACT_TYPE"),
    (remedy("{kind: gift, amount: order.express_cst}"), None, 13, 50, "UNKNOWN_FACT"),
    (
        remedy('{kind: gift, amount: {CNY: "1.00"}, per: {fact: channel, every: P1D}}'),
        None,
        13,
        77,
        "WRONG_FACT_TYPE",
    ),
]
POLICIES = [
    (
        policy('effective: {from: "2026-01-02T00:00:00Z", until: "2026-01-02T00:00:00Z"}'),
        "p.yaml",
        4,
        12,
        "BAD_INTERVAL",
    ),
    (
        {"zz.yaml": POLICY},
        "zz.yaml",
        1,
        9,
        "OVERLAPPING_VERSIONS",
    ),
    (
        {
            "shipping_delay.yaml": POLICY + 'effective: {until: "2026-01-01T00:00:01Z"}\n',
            "zz.yaml": POLICY + 'effective: {from: "2026-01-01T00:00:00Z"}\n',
        },
        "zz.yaml",
        1,
        9,
        "OVERLAPPING_VERSIONS",
    ),
    (
        {
            "shipping_delay.yaml": POLICY + 'effective: {until: "2026-01-01T00:00:00Z"}\n',
            "zz.yaml": POLICY + 'date_by: incident\neffective: {from: "2026-01-01T00:00:00Z"}\n',
        },
        "zz.yaml",
        1,
        9,
        "DATE_BY_DIFFERS",
    ),
    (
        {"p.yaml": "policy: p\nreason_code: P\napplies_to: [shipping_dely]\n"},
        "p.yaml",
        3,
        13,
        "UNKNOWN_INCIDENT_TYPE",
    ),
    (policy("message: hello"), "p.yaml", 4, 10, "UNKNOWN_MESSAGE"),
    (in_plan("plan: coupon"), None, 13, 18, "DUPLICATE_KEY"),
    (
        {
            "shipping_delay.yaml": POLICY
            + "add_ons: [{add_on: gift, remedies: [{kind: keep_item}]}]\n"
        },
        None,
        13,
        20,
        "DUPLICATE_NAME",
    ),
    (policy("actions: [{action: a}, {action: a}]"), "p.yaml", 4, 33, "DUPLICATE_NAME"),
    (
        policy("evidence: [{kind: proof, needs: [sent]}]"),
        "p.yaml",
        4,
        34,
        "UNKNOWN_VALUE",
    ),
]
ROLES_AND_CAPS = [
    ({"roles.yaml": None}, "roles.yaml", 1, 1, "MISSING_FILE"),
    ({"roles.yaml": "roles: {a: {may: some}}"}, "roles.yaml", 1, 18, "BAD_NAME"),
    ({"roles.yaml": "roles: {a: {may: [cupon]}}"}, "roles.yaml", 1, 19, "UNKNOWN_VALUE"),
    ({"roles.yaml": "roles: {a: {may: all, approver: bos}}"}, "roles.yaml", 1, 33, "UNKNOWN_ROLE"),
    (
        {"roles.yaml": "roles:\n  a: {may: all, approver: b}\n  b: {may: all, approver: a}\n"},
        "roles.yaml",
        2,
        27,
        "APPROVER_CYCLE",
    ),
    ({"roles.yaml": "roles: {a: {may: all, approver: a}}"}, "roles.yaml", 1, 33, "APPROVER_CYCLE"),
    (
        cap('{cap: a, scope: order, measure: count, limit: {CNY: "1.00"}}'),
        "caps.yaml",
        3,
        51,
        "BAD_LIMIT",
    ),
    (cap("{cap: a, scope: order, measure: value, limit: 3}"), "caps.yaml", 3, 51, "BAD_LIMIT"),
    (
        cap(
            '{cap: a, scope: customer, measure: value, limit: {percent: "5", of: order.goods_paid}}'
        ),
        "caps.yaml",
        3,
        54,
        "BAD_LIMIT",
    ),
    (
        cap('{cap: a, scope: order, measure: value, limit: {percent: "5", of: order.age}}'),
        "caps.yaml",
        3,
        70,
        "WRONG_FACT_TYPE",
    ),
    (cap("{cap: a, scope: order, measure: count, limit: -1}"), "caps.yaml", 3, 51, "BAD_NUMBER"),
    (
        cap("{cap: order_total, scope: order, measure: count, limit: 1}"),
        "caps.yaml",
        3,
        11,
        "DUPLICATE_NAME",
    ),
    (
        cap("{cap: a, scope: order, measure: count, limit: 1, roles: [agnt]}"),
        "caps.yaml",
        3,
        61,
        "UNKNOWN_ROLE",
    ),
    (
        cap("{cap: a, scope: order, measure: count, limit: 1, policies: [shiping_delay]}"),
        "caps.yaml",
        3,
        64,
        "UNKNOWN_POLICY",
    ),
    (
        cap(
            "{cap: a, scope: order, measure: count, limit: 1, "
            "window: {calendar: day, zone: Asia/Shangai}}"
        ),
        "caps.yaml",
        3,
        84,
        "UNKNOWN_ZONE",
    ),
    (cap("{cap: a, scope: shop, measure: count, limit: 1}"), "caps.yaml", 3, 21, "UNKNOWN_VALUE"),
    ({"caps.yml": CAPS}, "caps.yml", 1, 1, "FILE_TWICE"),
]
TEXTS = [
    (script('"{% if %}"'), "messages/en.yaml", 4, 16, "TEMPLATE_SYNTAX"),
    (script('"{{ plans|nofilter }}"'), "messages/en.yaml", 4, 16, "TEMPLATE_FORBIDDEN"),
    (script('"{{ plans is notest }}"'), "messages/en.yaml", 4, 16, "TEMPLATE_SYNTAX"),
    (script('"{{ ' + "(" * 3000 + '1"'), "messages/en.yaml", 4, 16, "TEMPLATE_SYNTAX"),
    (script("|\n        a\n        {{ b }"), "messages/en.yaml", 6, 1, "TEMPLATE_SYNTAX"),
    (script("\"{% include 'a' %}\""), "messages/en.yaml", 4, 16, "TEMPLATE_FORBIDDEN"),
    (script('"{{ 9 ** 9 ** 9 }}"'), "messages/en.yaml", 4, 16, "TEMPLATE_FORBIDDEN"),
    (script("\"{{ 'a' | center(999999999) }}\""), "messages/en.yaml", 4, 16, "TEMPLATE_FORBIDDEN"),
    (
        script("\"{% set a = 'x' %}{% set b = a ~ a %}\""),
        "messages/en.yaml",
        4,
        16,
        "TEMPLATE_FORBIDDEN",
    ),
    (
        script('"' + "{% for a in plans %}" * 4 + "{% endfor %}" * 4 + '"'),
        "messages/en.yaml",
        4,
        16,
        "TEMPLATE_FORBIDDEN",
    ),
    (
        script("\"{{ plans | join('a') | join('b') }}\""),
        "messages/en.yaml",
        4,
        16,
        "TEMPLATE_FORBIDDEN",
    ),
    (script('"{% macro a() %}{% endmacro %}"'), "messages/en.yaml", 4, 16, "TEMPLATE_FORBIDDEN"),
    (script('"{{ custmer_name }}"'), "messages/en.yaml", 4, 16, "UNKNOWN_SLOT"),
    (script("|\n        a\n        {{ price }}"), "messages/en.yaml", 6, 1, "UNKNOWN_SLOT"),
    ({"messages/english.yaml": "scripts: {}"}, "messages/english.yaml", 1, 1, "BAD_LOCALE"),
    (
        {"never_say.yaml": "- {phrase: a, locale: en, family: b}"},
        "never_say.yaml",
        1,
        3,
        "MISSING_KEY",
    ),
    (
        {"tests/a.yaml": "suite: a\ncases:\n" + "  - {name: b, given: {}, expect: {}}\n" * 2},
        "tests/a.yaml",
        4,
        12,
        "DUPLICATE_NAME",
    ),
    (
        {"tests/a.yaml": "suite: a\ncases: [{name: b, given: [], expect: {}}]\n"},
        "tests/a.yaml",
        2,
        26,
        "WRONG_TYPE",
    ),
    ({"pack.yaml": "offer_at_most: 0\n"}, "pack.yaml", 1, 16, "BAD_NUMBER"),
    (
        {"pack.yaml": "milestones: [{milestone: a, within: P1D}, {milestone: a, within: P2D}]\n"},
        "pack.yaml",
        1,
        55,
        "DUPLICATE_NAME",
    ),
]

TYPED = [
    (remedy('{kind: gift, percent: "1001", of: order.goods_paid}'), None, 13, 51, "BAD_NUMBER"),
    (fact("{type: boolean, from: request, default: 1}"), "facts.yaml", 4, 46, "WRONG_TYPE"),
    (
        fact("{type: boolean, derive: [{is: yes}]}"),
        "facts.yaml",
        4,
        36,
        "WRONG_TYPE",
    ),
    (
        remedy('{kind: gift, amount: {CNY: "1.00"}, per: {fact: order.age, every: 1}}'),
        None,
        13,
        95,
        "WRONG_TYPE",
    ),
    (when("{fact: shipping.delay, over: 5}"), None, 13, 53, "WRONG_TYPE"),
    (when("{fact: channel, is: 5}"), None, 13, 44, "WRONG_TYPE"),
    (when('{fact: order.goods_paid, over: "5.00"}'), None, 13, 55, "WRONG_TYPE"),
]
"""What depends on the type of a fact, or on a number inside a text."""

BROKEN = [
    *TYPED,
    *YAML,
    *SHAPES,
    *PARAMETERS,
    *CONDITIONS,
    *FACT_ERRORS,
    *WORTH,
    *POLICIES,
    *ROLES_AND_CAPS,
    *TEXTS,
]
