"""Every rule of the handbooks is carried by something in the shipped pack.

Reads `docs/domain-map.md` and the YAML of `policies/` as they stand, without the engine: what
the pack decides is the business of its own tests in `policies/tests/`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
PACK = ROOT / "policies"
MAP = ROOT / "docs" / "domain-map.md"
CHAPTERS = {"A": 5, "B": 5, "C": 4, "D": 4, "E": 4, "F": 9, "G": 7}
ROWS = [f"{chapter}{n}" for chapter, count in CHAPTERS.items() for n in range(1, count + 1)]
LOCALES = ("zh-CN", "en")
OUTCOMES = ("offer", "approval_required", "facts_needed", "nothing_due")
PARTS = ["opening", "empathy", "explanation", "solution", "compensation"]
NOT_POLICIES = {"pack.yaml", "facts.yaml", "roles.yaml", "caps.yaml", "never_say.yaml"}

CARRIER = re.compile(r"(?P<kind>[a-z][a-z-]*) `(?P<id>[^`]+)`")
PERCENT_THE_HANDBOOKS_GIVE = {
    ("shipping_delay", "delay_coupon_percent"): "5",
    ("shipping_delay", "next_order_percent"): "10",
    ("oversold", "discount_percent"): "20",
}
"""The only parameters that ops need not confirm."""


@functools.cache
def load(path: Path) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    return yaml.load(path.read_text(encoding="utf-8"))


def policies() -> dict[str, Mapping[str, Any]]:
    files = (path for path in sorted(PACK.glob("*.yaml")) if path.name not in NOT_POLICIES)
    return {policy["policy"]: policy for policy in map(load, files)}


def table_rows() -> list[tuple[str, str, str]]:
    """(row id, carriers, where) of every line of the map's tables."""
    found = []
    for line in MAP.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"[A-Z]\d+", cells[0]):
            found.append((cells[0], cells[2], cells[3]))
    return found


def carriers() -> set[tuple[str, str]]:
    """Everything in the pack that can carry a rule, as (kind, id)."""
    found: set[tuple[str, str]] = set()
    pack = load(PACK / "pack.yaml")
    found |= {("setting", name) for name in pack}
    for each in pack["milestones"]:
        channel = f"@{each['channel']}" if "channel" in each else ""
        found.add(("milestone", each["milestone"] + channel))
    found |= {("fact", name) for name in load(PACK / "facts.yaml")["facts"]}
    found |= {("role", name) for name in load(PACK / "roles.yaml")["roles"]}
    found |= {("cap", each["cap"]) for each in load(PACK / "caps.yaml")["caps"]}
    found |= {("phrase", each["phrase"]) for each in load(PACK / "never_say.yaml")}
    for message in load(PACK / "messages" / "zh-CN.yaml")["scripts"]:
        found.add(("message", message))
    for policy, body in policies().items():
        found.add(("policy", policy))
        lists = [
            ("plan", "plans", "plan"),
            ("add-on", "add_ons", "add_on"),
            ("action", "actions", "action"),
            ("follow-up", "follow_ups", "follow_up"),
            ("evidence", "evidence", "kind"),
        ]
        for kind, key, name in lists:
            found |= {(kind, f"{policy}/{each[name]}") for each in body.get(key, [])}
        found |= {("parameter", f"{policy}/{name}") for name in body.get("parameters", {})}
    return found


def scripts(locale: str) -> Mapping[str, Any]:
    return load(PACK / "messages" / f"{locale}.yaml")["scripts"]  # type: ignore[no-any-return]


def texts(locale: str) -> Iterator[tuple[str, str]]:
    """(where, template) of every part of every script."""
    for message, outcomes in scripts(locale).items():
        for outcome, script in outcomes.items():
            for part, template in script.items():
                yield f"{message}.{outcome}.{part}", template


def plain(text: str) -> str:
    """Full-width and half-width, spaces and case make no difference to what is said."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()


def says(text: str, entry: Mapping[str, Any]) -> bool:
    """Is the forbidden phrase said anywhere but inside one of its harmless longer ones?"""
    left = plain(text)
    for harmless in entry.get("unless", []):
        left = left.replace(plain(harmless), "")
    return plain(entry["phrase"]) in left


SLOTS: dict[str, Any] = {
    "customer_name": "",
    "order_id": "SO-1",
    "agent_id": "A-1",
    "channel": "",
    "first_reply_by": "",
    "resolved_by": "",
    "plans": [],
    "facts_needed": [],
    "follow_ups": [],
    "facts": {},
}
PLAN = {
    "letter": "A",
    "id": "some/plan",
    "title": "Some plan",
    "has_allowed": True,
    "has_pending": True,
    "allowed": "¥40.00",
    "pending": "¥5.00",
    "entitled": "¥45.00",
    "status": "partial",
    "remedies": [
        {
            "kind": kind,
            "status": "partial",
            "allowed": "¥40.00",
            "pending": "¥5.00",
            "valid_for": "P90D",
            "valid_days": 90,
            "service": "",
            "due_at": "",
        }
        for kind in ("coupon", "keep_item", "return_label")
    ],
}


def said(template: str, **slots: object) -> str:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render({**SLOTS, **slots})


def test_the_map_has_every_row_once() -> None:
    assert [row for row, _, _ in table_rows()] == ROWS


def test_every_carrier_of_the_map_exists() -> None:
    known = carriers()
    for row, cell, _ in table_rows():
        named = [(match["kind"], match["id"]) for match in CARRIER.finditer(cell)]
        assert named, f"row {row} names no carrier"
        assert len(named) == cell.count("`") // 2, f"row {row} has a carrier of no kind"
        assert [each for each in named if each not in known] == [], f"row {row}"


def test_every_file_that_the_map_names_speaks_of_its_row() -> None:
    for row, _, where in table_rows():
        for name in re.findall(r"`([^`]+)`", where):
            path = PACK / name
            files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
            assert files, f"row {row}: `{name}` is not there"
            for file in files:
                commented = " ".join(re.findall(r"# rows: (.*)", file.read_text(encoding="utf-8")))
                named = set(re.findall(r"[A-Z]\d+", commented))
                assert row in named, f"row {row} is not in a `# rows:` comment of {file.name}"


@pytest.mark.parametrize("policy", sorted(policies()))
def test_what_the_handbooks_leave_open_must_be_confirmed(policy: str) -> None:
    body = policies()[policy]
    open_values = set(body["parameters"]) - {
        name for owner, name in PERCENT_THE_HANDBOOKS_GIVE if owner == policy
    }
    assert set(body["unconfirmed"]) == open_values
    used = set(re.findall(r"\$(\w+)", str(body)))
    assert used == set(body["parameters"]), "a parameter is used nowhere, or never set"


def test_percentages_of_the_handbooks_are_as_they_say() -> None:
    for (policy, name), percent in PERCENT_THE_HANDBOOKS_GIVE.items():
        assert policies()[policy]["parameters"][name] == percent


def test_no_amount_stands_outside_parameters_and_caps() -> None:
    """A value that ops must set is never hidden in a plan."""
    for policy, body in policies().items():
        for plan in [*body["plans"], *body.get("add_ons", [])]:
            for remedy in plan["remedies"]:
                for field in ("amount", "min", "max", "round_to", "min_spend"):
                    assert not isinstance(remedy.get(field), dict), f"{policy}: {remedy}"


def test_amounts_and_limits_name_the_same_currencies() -> None:
    caps = load(PACK / "caps.yaml")["caps"]
    maps = [each["limit"] for each in caps if isinstance(each["limit"], dict)]
    for body in policies().values():
        maps += [value for value in body["parameters"].values() if isinstance(value, dict)]
    named = {tuple(sorted(each)) for each in maps if "percent" not in each}
    assert named == {("CNY", "EUR", "JPY", "USD")}


@pytest.mark.parametrize("locale", LOCALES)
def test_every_policy_has_a_whole_script_for_every_outcome(locale: str) -> None:
    found = scripts(locale)
    assert set(found) == {body["message"] for body in policies().values()}
    for message, outcomes in found.items():
        assert list(outcomes) == list(OUTCOMES), message
        for outcome, script in outcomes.items():
            assert list(script) == PARTS, f"{message}.{outcome}"


@pytest.mark.parametrize("locale", LOCALES)
def test_every_part_says_something_with_every_slot_empty_and_with_plans(locale: str) -> None:
    for where, template in texts(locale):
        for plans in ([], [PLAN], [PLAN, {**PLAN, "letter": "B"}, {**PLAN, "letter": "C"}]):
            assert said(template, plans=plans).strip(), where


@pytest.mark.parametrize("locale", LOCALES)
def test_no_script_says_what_must_never_be_said(locale: str) -> None:
    forbidden = [each for each in load(PACK / "never_say.yaml") if each["locale"] == locale]
    assert len(forbidden) >= 15
    for where, template in texts(locale):
        assert [each["phrase"] for each in forbidden if says(template, each)] == [], where
    for each in forbidden:
        assert not any(says(each["instead"], other) for other in forbidden), each["phrase"]


@pytest.mark.parametrize("locale", LOCALES)
def test_no_script_promises_what_nobody_can_keep(locale: str) -> None:
    certain = re.compile(r"一定|肯定|绝对|definitely|certainly|guarantee|for sure", re.IGNORECASE)
    for where, template in texts(locale):
        assert certain.search(template) is None, where


@pytest.mark.parametrize("locale", LOCALES)
def test_the_opening_names_the_order_and_a_time_and_does_not_begin_with_an_apology(
    locale: str,
) -> None:
    apology = re.compile(r"抱歉|对不起|不好意思|sorry|apolog", re.IGNORECASE)
    name = "Li Wei"
    for where, template in texts(locale):
        if not where.endswith(".opening"):
            continue
        opening = said(template, customer_name=name, resolved_by="2026-06-06 13:00 UTC")
        assert opening.index(name) < 5, where
        assert "SO-1" in opening and "2026-06-06 13:00 UTC" in opening, where
        assert apology.search(opening) is None, where
        assert re.search(r"一小时|within the hour", said(template)), where


@pytest.mark.parametrize("locale", LOCALES)
def test_the_explanation_is_one_or_two_sentences(locale: str) -> None:
    everything_known = [
        {},
        {"shipment.state": "silent"},
        {"shipment.state": "no_notice"},
        {"dispatch.promise": "breached", "incident.cause": "campaign_surge"},
        {"incident.cause": "address_problem"},
        {"payment.status": "preauthorised"},
        {"case.recall_needed": "true"},
    ]
    for where, template in texts(locale):
        if where.endswith(".explanation"):
            for facts in everything_known:
                sentences = re.findall(r"[。.！!？?]", said(template, facts=facts))
                assert 1 <= len(sentences) <= 2, where


@pytest.mark.parametrize("locale", LOCALES)
def test_several_plans_are_put_as_a_choice(locale: str) -> None:
    plans = [{**PLAN, "letter": letter, "title": f"Plan {letter}"} for letter in "ABC"]
    for message, outcomes in scripts(locale).items():
        for outcome in ("offer", "approval_required"):
            solution = said(outcomes[outcome]["solution"], plans=plans)
            for letter in "ABC":
                assert f"{letter}. Plan {letter}" in solution, f"{message}.{outcome}"


def test_forbidden_phrases_have_a_better_reply_and_their_exceptions_contain_them() -> None:
    for each in load(PACK / "never_say.yaml"):
        assert each["locale"] in LOCALES and each["family"] and each["instead"]
        for harmless in each.get("unless", []):
            assert each["phrase"] in harmless


def test_a_longer_harmless_phrase_is_not_forbidden() -> None:
    forbidden = [each for each in load(PACK / "never_say.yaml") if each["locale"] == "zh-CN"]
    for harmless in ("我也在催促仓库", "我现在催了一次仓库", "预计今天发出"):
        assert not any(says(harmless, each) for each in forbidden), harmless
    for phrase in ("亲，在催了", "今天肯定发！", "快递太慢，跟我们没关系"):
        assert any(says(phrase, each) for each in forbidden), phrase
