"""`policy-engine pack …` on folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TESTS, Run
from tests.packs.made import WHOLE

REQUEST = {
    "order": {
        "id": "SO-1",
        "currency": "CNY",
        "promised_delivery_by": "2026-06-01T00:00:00Z",
        "shipping_paid": "0.00",
        "lines": [{"id": "1", "quantity": 1, "paid": "800.00"}],
    },
    "incident": {"types": ["shipping_delay"]},
    "customer": {"id": "C1", "name": "[red]Li[/red]"},
    "agent": {"id": "A1", "role": "agent"},
    "as_of": "2026-06-07T00:00:00Z",
}
UNCONFIRMED = (
    WHOLE["shipping_delay.yaml"]
    .replace("plans:", 'parameters: {percent: "5"}\nunconfirmed: [percent]\nplans:', 1)
    .replace('percent: "5", of', "percent: $percent, of")
)
BROKEN = {"caps.yaml": "caps:\n  - {cap: a, scope: order, measure: value, limit: 5.00}\n"}


def test_check_passes_a_good_pack(run: Run, pack: Path) -> None:
    result = run("pack", "check", pack)
    assert (result.exit_code, result.stdout) == (0, f"{pack}: no errors, no warnings\n")


def test_check_says_where_what_and_which_code(run: Run, write_pack: Callable[..., Path]) -> None:
    folder = write_pack(BROKEN)
    result = run("pack", "check", folder)
    assert result.exit_code == 3
    first, *_, last = result.stdout.splitlines()
    assert first.startswith(f"{folder}/caps.yaml:2:51: error: ")
    assert first.endswith("[UNQUOTED_DECIMAL]")
    assert last == f"{folder}: 1 error, no warnings"


def test_check_as_json(run: Run, write_pack: Callable[..., Path]) -> None:
    result = run("pack", "check", write_pack(BROKEN), "--format", "json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert (told["passed"], told["errors"], told["warnings"]) == (False, 1, 0)
    assert told["problems"][0] | {"message": ""} == {
        "file": "caps.yaml",
        "line": 2,
        "column": 51,
        "severity": "error",
        "code": "UNQUOTED_DECIMAL",
        "message": "",
    }


def test_a_warning_fails_only_when_strict(run: Run, write_pack: Callable[..., Path]) -> None:
    folder = write_pack({"shipping_delay.yaml": UNCONFIRMED})
    assert run("pack", "check", folder).exit_code == 0
    assert run("pack", "check", folder, "--strict").exit_code == 3


def test_test_passes_and_says_what_is_not_covered(run: Run, pack: Path) -> None:
    result = run("pack", "test", pack)
    assert result.exit_code == 0
    assert "not covered: the condition of plan shipping_delay/coupon is never false" in (
        result.stdout
    )
    assert "coverage: 60 % (3/5)" in result.stdout


@pytest.mark.parametrize(("least", "code"), [(60, 0), (61, 4)])
def test_test_fails_below_the_coverage_asked_for(
    run: Run, pack: Path, least: int, code: int
) -> None:
    assert run("pack", "test", pack, "--min-coverage", least).exit_code == code


def test_test_shows_a_failure_with_its_place_and_difference(
    run: Run, write_pack: Callable[..., Path]
) -> None:
    wrong = TESTS.replace("{plan: shipping_delay/coupon}", "{plan: shipping_delay/cuopon}")
    result = run("pack", "test", write_pack({"tests/made.yaml": wrong}), "--matcher", "interpreter")
    assert result.exit_code == 4
    assert "FAILED tests/made.yaml:3: late (interpreter)" in result.stdout
    assert "plans[1].plan" in result.stdout
    assert 'expected "shipping_delay/cuopon"' in result.stdout
    assert 'got      "shipping_delay/coupon"' in result.stdout


def test_test_as_json(run: Run, pack: Path) -> None:
    result = run("pack", "test", pack, "--matcher", "interpreter", "--format", "json")
    told = json.loads(result.stdout)
    assert told["passed"] is True
    assert [case["case"] for case in told["cases"]] == ["late"]
    assert told["coverage"]["percent"] == 60


def test_an_empty_suite_fails(run: Run, write_pack: Callable[..., Path]) -> None:
    folder = write_pack({"tests/made.yaml": "suite: made\ncases: []\n"})
    result = run("pack", "test", folder)
    assert result.exit_code == 4
    assert "empty: made has no test" in result.stdout
    assert result.stdout.splitlines()[-1] == "no runs: nothing is tested"


def test_an_empty_suite_beside_another_is_no_success(
    run: Run, write_pack: Callable[..., Path]
) -> None:
    folder = write_pack({"tests/none.yaml": "suite: none\ncases: []\n"})
    result = run("pack", "test", folder, "--matcher", "interpreter")
    assert result.exit_code == 4
    assert result.stdout.splitlines()[-1] == "1 run, all passed, but a suite is empty"


@pytest.mark.parametrize("verb", ["test", "show"])
def test_a_pack_with_errors_exits_3(run: Run, write_pack: Callable[..., Path], verb: str) -> None:
    result = run("pack", verb, write_pack(BROKEN))
    assert result.exit_code == 3
    assert "[UNQUOTED_DECIMAL]" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "words", [("test",), ("show",), ("explain", "--request", "-")], ids=lambda words: words[0]
)
def test_a_pack_with_errors_is_told_to_programs_as_check_tells_it(
    run: Run, write_pack: Callable[..., Path], words: tuple[str, ...]
) -> None:
    folder = write_pack(BROKEN)
    verb, *rest = words
    checked = run("pack", "check", folder, "--format", "json")
    result = run("pack", verb, folder, *rest, "--format", "json", given=json.dumps(REQUEST))
    assert result.exit_code == 3
    assert json.loads(result.stdout) == json.loads(checked.stdout)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("show", "lost"), 2, "the pack has no policy `lost`"),
        (("explain", "--request", "bad.json"), 1, "`bad.json` is no JSON request"),
        (("explain", "--request", "empty.json"), 1, "the request is not in order"),
    ],
)
def test_a_failure_is_told_to_programs_in_json(
    run: Run, pack: Path, tmp_path: Path, words: tuple[str, ...], code: int, error: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.json").write_text("{}")
    verb, *rest = words
    result = run("pack", verb, pack, *rest, "--format", "json")
    assert result.exit_code == code
    told = json.loads(result.stdout)
    assert told["error"].startswith(error)
    assert set(told) >= {"error", "help"}
    assert f"error: {error}" in result.stderr


def test_a_bad_request_is_told_to_programs_with_pointers(run: Run, pack: Path) -> None:
    words = ("pack", "explain", pack, "--request", "-", "--format", "json")
    result = run(*words, given=json.dumps({**REQUEST, "surprise": 1}))
    (problem,) = json.loads(result.stdout)["errors"]
    assert (problem["pointer"], problem["code"]) == ("/surprise", "UNKNOWN_FIELD")


def test_show_marks_what_ops_must_confirm(run: Run, write_pack: Callable[..., Path]) -> None:
    result = run("pack", "show", write_pack({"shipping_delay.yaml": UNCONFIRMED}))
    assert result.exit_code == 0
    for text in (
        "when shipping.delay over P5D",
        "gives coupon: 5 % of order.goods_paid",
        "parameter percent = 5  UNCONFIRMED: ops must set it",
        "order_total",
    ):
        assert text in result.stdout


def test_show_of_an_unknown_policy_names_those_there_are(run: Run, pack: Path) -> None:
    result = run("pack", "show", pack, "lost")
    assert result.exit_code == 2
    assert "`shipping_delay`" in result.stderr


def test_show_as_json(run: Run, pack: Path) -> None:
    shown = json.loads(run("pack", "show", pack, "--format", "json").stdout)
    assert [policy["policy"] for policy in shown["policies"]] == ["shipping_delay"]


def test_explain_shows_plans_conditions_and_caps(run: Run, pack: Path) -> None:
    result = run("pack", "explain", pack, "--request", "-", given=json.dumps(REQUEST))
    assert result.exit_code == 0, result.stderr
    for text in (
        "offer for order SO-1, agent A1 (agent), as of 2026-06-07T00:00:00Z",
        "shipping_delay/coupon: Coupon - offered",
        "✓ shipping.delay over P5D  (P6D)",
        "40.00 CNY",
        "order_total",
    ):
        assert text in result.stdout


def test_explain_says_what_is_missing(run: Run, pack: Path) -> None:
    order = {name: value for name, value in REQUEST["order"].items() if "promised" not in name}  # type: ignore[attr-defined]
    result = run(
        "pack", "explain", pack, "--request", "-", given=json.dumps({**REQUEST, "order": order})
    )
    assert "? shipping.delay over P5D  (unknown)" in result.stdout
    assert "send `order.promised_delivery_by`" in result.stdout


def test_explain_shows_the_evidence_that_a_plan_and_an_add_on_lack(
    run: Run, write_pack: Callable[..., Path]
) -> None:
    more = """  - {plan: proof, evidence: [{kind: photo}], remedies: [{kind: keep_item}]}
add_ons: [{add_on: extra, remedies: [{kind: gift, amount: {USD: "1.00"}}]}]
"""
    folder = write_pack({"shipping_delay.yaml": WHOLE["shipping_delay.yaml"] + more})
    result = run("pack", "explain", folder, "--request", "-", given=json.dumps(REQUEST))
    proof = result.stdout.partition("proof - EVIDENCE_MISSING")[2].splitlines()
    condition, evidence, change = proof[1:4]
    assert condition.endswith("✓ no condition: it always holds")
    assert evidence.endswith("✗ evidence photo  (not sent)")
    assert change.endswith("what would change this")
    extra = result.stdout.partition("extra: not appended")[2]
    assert "the policy names no amount in CNY" in extra


def test_explain_tells_which_earlier_grant_is_none(run: Run, pack: Path, tmp_path: Path) -> None:
    grant = {"customer": "C1", "order": "SO-1", "at": "2026-06-06T00:00:00Z", "value": "1.00"}
    listed = [{**grant, "currency": "CNY"}, {**grant, "currency": "CNY", "policy": "lost"}]
    (tmp_path / "grants.json").write_text(json.dumps(listed))
    words = ("pack", "explain", pack, "--request", "-", "--grants", "grants.json")
    result = run(*words, given=json.dumps(REQUEST))
    assert result.exit_code == 1
    assert "unknown policy `lost`" in result.stderr
    assert "(entry 2) [UNKNOWN_POLICY]" in result.stderr


def test_explain_counts_earlier_grants(run: Run, pack: Path, tmp_path: Path) -> None:
    grant = {
        "customer": "C1",
        "order": "SO-1",
        "at": "2026-06-06T00:00:00Z",
        "value": "290.00",
        "currency": "CNY",
    }
    (tmp_path / "grants.json").write_text(json.dumps([grant]))
    words = ("pack", "explain", pack, "--request", "-", "--grants", "grants.json")
    result = run(*words, "--format", "json", given=json.dumps(REQUEST))
    (cap,) = json.loads(result.stdout)["caps"]
    assert (cap["used"], cap["headroom"]) == ("290.00 CNY", "10.00 CNY")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "is no JSON request"),
        ("{}", "/order: "),
        (json.dumps({**REQUEST, "agent": {"id": "A", "role": "king"}}), "`king` is not a role"),
        (json.dumps({**REQUEST, "surprise": 1}), "/surprise: "),
    ],
)
def test_explain_tells_what_is_wrong_with_a_request(
    run: Run, pack: Path, given: str, told: str
) -> None:
    result = run("pack", "explain", pack, "--request", "-", given=given)
    assert result.exit_code == 1
    assert told in result.stderr


def test_schema_is_shown_or_written(run: Run, tmp_path: Path) -> None:
    assert "policy" in json.loads(run("pack", "schema").stdout)
    assert run("pack", "schema", "out").exit_code == 0
    assert (tmp_path / "out" / "policy.schema.json").is_file()
