"""What whoever runs the service sees: readiness, metrics, log lines, headers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from policy_engine.api import logs
from policy_engine.ledger.errors import UnavailableError
from tests.api.conftest import Api, late_order


def test_readyz_names_pack_matcher_and_database(api_on_both: Api) -> None:
    ready = api_on_both.send("GET", "/readyz")
    assert ready.status_code == 200
    body = ready.json
    assert body["status"] == "ready"
    assert body["pack"]["revision"] == api_on_both.services.packs.revision
    assert body["matcher"] == api_on_both.services.matcher_name
    assert body["database"]["answers"] is True
    assert body["database"]["kind"] in ("sqlite", "postgresql")


def test_without_its_database_it_is_alive_but_not_ready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise UnavailableError("away")

    monkeypatch.setattr(api.services.ledger, "ping", away)
    assert api.send("GET", "/livez").json == {"status": "live"}
    ready = api.send("GET", "/readyz")
    assert (ready.status_code, ready.json["status"]) == (503, "unready")
    assert ready.json["database"]["answers"] is False


def samples(api: Api, key: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = api.send("GET", "/metrics", key).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_decisions_plans_problems_and_time(api: Api) -> None:
    key = api.key("decide", "audit")
    before = samples(api, key)
    api.decide(key, idempotency_key="k")
    api.decide(key, idempotency_key="k")
    api.decide(key, late_order(order__currency="XXX"))
    after = samples(api, key)

    def grown(name: str, **labels: str) -> float:
        at = (name, tuple(sorted(labels.items())))
        return after.get(at, 0) - before.get(at, 0)

    assert grown("policy_engine_decisions_total", outcome="offer") == 1
    assert (
        grown(
            "policy_engine_plans_offered_total",
            plan="shipping_delay/delay_coupon",
            authority="allowed",
        )
        == 1
    )
    assert grown("policy_engine_idempotent_replays_total") == 1
    assert grown("policy_engine_problems_total", status="422", code="INVALID_REQUEST") == 1
    assert (
        grown(
            "policy_engine_request_seconds_count",
            route="/v1/decisions",
            method="POST",
            status="201",
        )
        == 2
    )


def test_unknown_addresses_and_methods_make_no_new_series(api: Api) -> None:
    key = api.key("audit")
    for name in ("a", "b"):
        api.send("GET", f"/{name}")
        api.send(f"X{name}", "/v1/pack")
    text = api.send("GET", "/metrics", key).text
    assert 'route="none"' in text
    assert 'method="other"' in text
    assert 'route="/a"' not in text


COUNTING = """
import os, sys
from policy_engine.api import metrics
from policy_engine.packs.holder import PackState
metrics.DECISIONS.labels("offer").inc(int(sys.argv[1]))
metrics.PackGauges().show(PackState(revision=sys.argv[2]))
sys.stdout.write(metrics.exposition()[0].decode())
"""


def test_metrics_of_several_processes_add_up(tmp_path: Path) -> None:
    def process(count: int, revision: str) -> str:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", COUNTING, str(count), revision],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    process(3, "sha256:old")
    text = process(4, "sha256:new")
    assert 'policy_engine_decisions_total{outcome="offer"} 7.0' in text
    # Counts outlive a process; what it was at the time it ended does not.
    assert 'revision="sha256:new"' in text
    assert 'revision="sha256:old"' not in text


@pytest.fixture
def log_lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    import structlog

    structlog.reset_defaults()
    logs.configure("info", as_json=True)

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line]

    return read


def test_a_log_line_says_who_what_and_how_but_nothing_personal(
    api: Api, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    body = late_order(customer__id="Cust-4711", customer__name="Li Hua", reference={"t": "ZD-88"})
    decided = api.decide(api.key(), body)
    api.send("GET", "/v1/decisions?customer=Cust-4711", api.key())
    api.send("GET", "/v1/nothing/Cust-4711", api.key())
    api.decide(api.key(), late_order(customer__id="Cust-4711\n"))
    lines = log_lines()
    told = next(line for line in lines if line.get("decision_id"))
    assert told["decision_id"] == decided.json["decision_id"]
    assert told["request_id"] == decided.headers["X-Request-Id"]
    assert (told["route"], told["status"], told["client"]) == ("/v1/decisions", 201, "helpdesk")
    for personal in ("Cust-4711", "Li Hua", "ZD-88"):
        assert personal not in json.dumps(lines)


def test_a_callers_request_id_is_kept_if_it_is_a_sane_one(
    api: Api, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    sane = api.send("GET", "/v1/nothing", headers={"X-Request-Id": "ab-12.c_D"})
    assert sane.headers["X-Request-Id"] == sane.json["request_id"] == "ab-12.c_D"
    for strange in ('a"b', "a b", "x" * 65, "{}", "é"):
        answer = api.send("GET", "/v1/nothing", headers={"X-Request-Id": strange})
        assert answer.headers["X-Request-Id"] != strange
        assert len(answer.headers["X-Request-Id"]) == 16


def test_answers_carry_headers_that_keep_browsers_out(api: Api) -> None:
    for answer in (api.decide(api.key()), api.send("GET", "/v1/nothing"), api.send("GET", "/docs")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in answer.headers
