"""Whatever stands in the files, loading answers with problems and never raises."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load
from policy_engine.packs.problems import Severity
from tests.packs.made import WHOLE, found, loaded

FILES = {
    **WHOLE,
    "pack.yaml": "offer_valid_for: {default: PT15M}\nmilestones: [{milestone: a, within: PT5M}]\n",
    "never_say.yaml": "- {phrase: a, locale: en, family: b, instead: c, unless: [d]}\n",
    "messages/en.yaml": 'scripts: {hi: {offer: {opening: "Hi {{ customer_name }}"}}}\n',
    "tests/a.yaml": "suite: a\ncases: [{name: b, given: {a: [null, true, 1]}, expect: {}}]\n",
}
NAMES = sorted(FILES)

PIECES = [
    "{", "}", "[", "]", ":", ": ", "- ", "\n", "\n  ", '"', "'", "&a ", "*a", "!!x ", "<<: ",
    "|\n", "$a", "~", "null", "true", "12.10", "-1", "9" * 30, "P5D", "?", "#", "%", "---\n",
    "\t", "\u0000", "\ufeff", "\u2028", "😀", "{{ x", "{% for %}", "fact", "all", "any", "not",
    "derive", "policy", "parameters", "kind", "of", "limit", "percent", "is",
]  # fmt: skip


def survives(files: dict[str, bytes]) -> None:
    result = load(PackFiles(files))
    errors = [each for each in result.problems if each.severity is Severity.ERROR]
    assert (result.pack is None) is bool(errors)
    assert all(each.line >= 1 and each.column >= 1 for each in result.problems)
    assert all(each.file in files or each.file in ("roles.yaml", ".") for each in result.problems)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_random_bytes_as_a_file(name: str, data: bytes) -> None:
    survives({each: text.encode() for each, text in FILES.items()} | {name: data})


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_real_file_with_pieces_put_in_or_cut_out(
    name: str, edits: list[tuple[float, int, str]]
) -> None:
    text = FILES[name]
    for where, cut, piece in edits:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + cut :]
    survives({each: of.encode() for each, of in FILES.items()} | {name: text.encode()})


values = st.recursive(
    st.sampled_from(["a", '"5"', "5", "true", "null", "P5D", '{CNY: "1.00"}', "$x", "[]", "{}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["fact", "is", "over", "all", "any", "not", "kind", "of", "percent", "amount"]
                ),
                inner,
            ),
            max_size=3,
            unique_by=lambda pair: pair[0],
        ).map(lambda parts: "{" + ", ".join(f"{key}: {value}" for key, value in parts) + "}"),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["when", "remedies", "title", "evidence", "rank", "floor"]), values)
def test_any_value_under_any_key_of_a_plan(key: str, value: str) -> None:
    plan = f"  - {{plan: more, remedies: [{{kind: keep_item}}], {key}: {value}}}\n"
    if key == "remedies":
        plan = f"  - {{plan: more, remedies: {value}}}\n"
    policy = WHOLE["shipping_delay.yaml"] + plan
    survives({n: t.encode() for n, t in WHOLE.items()} | {"shipping_delay.yaml": policy.encode()})


def test_the_laughs_of_a_million_parameters_stay_small() -> None:
    """A large value in many places would otherwise take memory that the file does not suggest."""
    big = "[" + ", ".join("a" for _ in range(20_000)) + "]"
    uses = "".join(f"  - {{action: a{n}, title: $big}}\n" for n in range(900))
    text = f"policy: p\nreason_code: P\napplies_to: [shipping_delay]\nparameters: {{big: {big}}}\n"
    begun = time.process_time()
    result = loaded({"p.yaml": text + "actions:\n" + uses})
    assert time.process_time() - begun < 10
    assert "TOO_MANY" in {each[3] for each in found(result)}


def test_thousands_of_mistakes_are_reported_in_seconds() -> None:
    conditions = ", ".join(f"{{fact: shipping.dely{n}, over: P5D}}" for n in range(150))
    plans = "".join(
        f"  - {{plan: p{n}, when: {{any: [{conditions}]}}, remedies: [{{kind: keep_item}}]}}\n"
        for n in range(30)
    )
    begun = time.process_time()
    result = loaded({"shipping_delay.yaml": WHOLE["shipping_delay.yaml"] + plans})
    assert time.process_time() - begun < 15
    assert len(result.problems) == 150 * 30


def test_a_pack_of_three_thousand_rules_loads_in_seconds() -> None:
    plan = (
        "  - {plan: p%d, title: {en: P}, when: {all: [{fact: shipping.delay, over: P%dD}, "
        "{any: [{fact: customer.tier, is: gold}, {fact: order.age, over: P%dD}]}]}, "
        'remedies: [{kind: coupon, percent: "5", of: order.goods_paid}]}\n'
    )
    head = "reason_code: R\ntitle: {en: P}\napplies_to: [shipping_delay]\nplans:\n"
    files = {
        f"rules{n}.yaml": f"policy: rules{n}\n{head}"
        + "".join(plan % (m, m + 1, m + 1) for m in range(10))
        for n in range(300)
    }
    begun = time.process_time()
    result = loaded(dict(files))
    assert time.process_time() - begun < 10
    assert result.pack is not None
    assert sum(len(each.plans) for each in result.pack.policies) == 3_002
