"""The dashboard and the alerts ask for metrics and labels that a running service really has."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import late_order
from tests.api.serving import Server
from tests.conftest import ROOT

ALERTS = ROOT / "ops" / "prometheus" / "alerts.yaml"
BOARD = json.loads((ROOT / "ops" / "grafana" / "policy-engine.json").read_text("utf-8"))
DOCS = (ROOT / "docs" / "operations.md").read_text("utf-8")

# What Prometheus itself adds to every series.
OF_PROMETHEUS = {"job", "instance"}
_TEXT = re.compile(r'"[^"]*"')
_NAME = re.compile(r"\b((?:policy_engine_\w+)|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"\s*(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Every query of the alerts, the panels, the annotations and the variables, by where it is."""
    found = {f"alert {name}": rule["expr"] for name, rule in alerts().items()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for each in BOARD["annotations"]["list"]:
        found[f"annotation {each['name']}"] = each["expr"]
    for each in BOARD["templating"]["list"]:
        if each["type"] == "query":
            found[f"variable {each['name']}"] = each["query"]["query"]
    return found


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series of a service that has decided, granted and refused, with its labels."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Server(f"sqlite:///{folder / 'engine.db'}", port, folder) as server:
        key = server.key("decide", "grant", "audit")
        sent = {"Idempotency-Key": "k"}
        for _ in range(2):
            decided = server.send("POST", "/v1/decisions", key, late_order(), sent).json
        bot = late_order(order__id="SO-2", agent={"id": "B", "role": "bot"})
        server.send("POST", "/v1/decisions", key, bot)
        server.send("POST", "/v1/decisions?dry_run=true", key, late_order())
        body = {"decision_id": decided["decision_id"], "plan": decided["plans"][0]["plan"]}
        body["agent"] = {"id": "A-7", "role": "agent"}
        assert server.send("POST", "/v1/grants", key, body).status == 201
        assert server.send("POST", "/v1/grants", key, body).status == 409
        # As Prometheus asks.
        accepted = {"Accept": "application/openmetrics-text;q=0.75,text/plain;q=0.5,*/*;q=0.1"}
        answer = server.send("GET", "/metrics", key, headers=accepted)
        assert answer.status == 200
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def ours(exposed: dict[str, set[str]]) -> set[str]:
    """Families of the service itself: without the series that Python and its client add."""
    names = {name for name in exposed if name.startswith("policy_engine_")}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def asked(query: str) -> Iterator[tuple[str, set[str]]]:
    """(series, labels) that a query names; what it groups by has to be in each of its series."""
    bare = _TEXT.sub('""', query)
    grouped = {
        label.strip() for match in _GROUPED.finditer(bare) for label in match[1].split(",")
    } - {""}
    for match in _NAME.finditer(_GROUPED.sub("", bare)):
        yield match[1], {label[1] for label in _MATCHER.finditer(match[2] or "")} | grouped


def test_every_query_asks_for_series_and_labels_that_are_there(
    exposed: dict[str, set[str]],
) -> None:
    for place, query in queries().items():
        found = list(asked(query))
        assert found, f"{place} asks for nothing"
        for name, labels in found:
            assert name in exposed, f"{place} asks for `{name}`"
            missing = labels - exposed[name] - OF_PROMETHEUS
            assert not missing, f"{place} asks `{name}` for {missing}"


def test_codes_and_routes_in_queries_are_real(exposed: dict[str, set[str]]) -> None:
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
    source = "".join(
        path.read_text("utf-8") for path in (ROOT / "policy_engine" / "api").glob("*.py")
    )
    for query in queries().values():
        assert set(re.findall(r'route="([^"]*)"', query)) <= set(document["paths"])
        for code in re.findall(r'code="(\w+)"', query):
            assert f'"{code}"' in source, code


def test_every_metric_is_on_the_dashboard_and_in_the_docs(exposed: dict[str, set[str]]) -> None:
    drawn = {name for query in queries().values() for name, _ in asked(query)}
    drawn = {re.sub(r"_(bucket|sum|count)$", "", name) for name in drawn}
    for name in ours(exposed):
        assert name in drawn, f"nobody would see `{name}`"
        assert f"`{name}`" in DOCS, f"`{name}` is not in docs/operations.md"


def test_a_misspelt_metric_or_label_would_be_found(exposed: dict[str, set[str]]) -> None:
    ((name, _),) = asked("rate(policy_engine_decision_total[5m])")
    assert name not in exposed
    ((name, labels),) = asked('sum by (outcomes) (policy_engine_decisions_total{status="x"})')
    assert labels - exposed[name] == {"outcomes", "status"}


@pytest.mark.parametrize("name", alerts())
def test_each_alert_says_how_grave_it_is_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    place, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert place == "docs/operations.md"
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", DOCS, re.MULTILINE)
    }
    assert anchor in headings


def test_each_alert_is_tried_and_the_service_that_is_well_rings_none() -> None:
    trials = yaml.safe_load(ALERTS.with_name("alerts.test.yaml").read_text("utf-8"))["tests"]
    rings = {
        case["alertname"]
        for trial in trials
        for case in trial["alert_rule_test"]
        if case.get("exp_alerts")
    }
    quiet = {case["alertname"] for case in trials[0]["alert_rule_test"]}
    assert rings == quiet == set(alerts())


def test_promtool_agrees_where_it_is_installed(tmp_path: Path) -> None:
    """`apt install prometheus` brings it. Without it the tests above still read every query."""
    promtool = shutil.which("promtool")
    if promtool is None:
        return
    board = tmp_path / "board.yaml"
    rules = [
        {
            "record": f"query_{number}",
            "expr": query.replace("$job", "policy-engine").replace("$__rate_interval", "5m"),
        }
        for number, (place, query) in enumerate(queries().items())
        if not place.startswith("variable")
    ]
    board.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    for words in (
        ("check", "rules", str(ALERTS), str(board)),
        ("test", "rules", str(ALERTS.with_name("alerts.test.yaml"))),
    ):
        told = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


def test_the_panels_of_the_dashboard_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_the_dashboard_works_with_any_data_source() -> None:
    for panel in panels():
        for each in (panel, *panel["targets"]):
            assert each["datasource"]["uid"] == "${datasource}"
