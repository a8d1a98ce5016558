"""What whoever runs the service sees: readiness, metrics, log lines, headers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from policy_engine.api import gauges, logs, metrics
from policy_engine.ledger.errors import UnavailableError
from policy_engine.packs.holder import PackState
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


def test_metrics_count_grants_and_the_caps_that_cut_or_refuse(api: Api) -> None:
    key = api.key("decide", "grant", "audit")
    before = samples(api, key)

    def take(order: str, idempotency_key: str) -> int:
        offer = api.decide(key, late_order(order__id=order)).json
        body = {"decision_id": offer["decision_id"], "plan": "shipping_delay/delay_coupon"}
        body["agent"] = {"id": "A-7", "role": "agent"}
        sent = api.send("POST", "/v1/grants", key, json=body, idempotency_key=idempotency_key)
        return sent.status_code

    first = api.decide(key, late_order()).json["decision_id"]
    assert take("SO-1", "g1") == 201
    # The claim has been met since: the cap refuses the offer of the first decision.
    body = {"decision_id": first, "plan": "shipping_delay/delay_coupon"}
    body["agent"] = {"id": "A-7", "role": "agent"}
    for _ in range(2):  # the second answer is the first one again
        refused = api.send("POST", "/v1/grants", key, json=body, idempotency_key="g2")
        assert (refused.status_code, refused.json["code"]) == (409, "CAP_EXHAUSTED")
    api.decide(key, late_order(order__id="SO-2", agent={"id": "B", "role": "bot"}))
    after = samples(api, key)

    def grown(name: str, **labels: str) -> float:
        at = (name, tuple(sorted(labels.items())))
        return after.get(at, 0) - before.get(at, 0)

    plan = "shipping_delay/delay_coupon"
    assert grown("policy_engine_grants_total", plan=plan, status="granted") == 1
    assert grown("policy_engine_binding_caps_total", cap="once", at="grant") == 1
    assert grown("policy_engine_binding_caps_total", cap="bot_order", at="decision") == 1


def test_metrics_say_how_full_the_pool_is(api_on_both: Api) -> None:
    key, ledger = api_on_both.key("audit"), api_on_both.services.ledger
    load = gauges.LoadGauges(ledger, api_on_both.app.extensions["policy_engine.turns"])

    def shown() -> tuple[float, ...]:
        load.show()
        found = samples(api_on_both, key)
        names = ("connections_in_use", "connections_limit", "calls")
        return tuple(found[f"policy_engine_database_{name}", ()] for name in names)

    at_rest, limit, calls = shown()
    assert (at_rest, calls) == (0, 0)
    assert limit >= 8
    in_use = ledger.preview(lambda _snapshot: (ledger.load().connections, ledger.load().calls))
    assert in_use == (1, 1)


def test_names_out_of_packs_make_a_bounded_number_of_series(api: Api) -> None:
    names = metrics._Names()
    labels = {names.label(f"policy_{number}/plan") for number in range(5000)}
    assert len(labels) == metrics._MOST_NAMES + 1
    assert names.label("policy_1/plan") == "policy_1/plan"
    assert names.label("policy_4999/plan") == "other"


def test_a_pack_that_nobody_uses_any_more_leaves_no_series(api: Api) -> None:
    shown = gauges.PackGauges()
    for number in range(5):
        shown.show(PackState(revision=f"sha256:{number}"))
    text = api.send("GET", "/metrics", api.key("audit")).text
    assert text.count("policy_engine_pack_info{") == 1
    assert 'policy_engine_pack_info{revision="sha256:4"} 1.0' in text


COUNTING = """
import os, sys
from policy_engine.api import gauges, metrics
from policy_engine.packs.holder import PackState
metrics.DECISIONS.labels("offer").inc(int(sys.argv[1]))
gauges.PackGauges().show(PackState(revision=sys.argv[2]))
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
def log_lines(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[dict[str, Any]]]:
    structlog.reset_defaults()
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setattr(logging.root, "level", logging.root.level)
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


def test_the_line_of_a_batch_names_its_decisions_and_that_of_a_grant_the_grant(
    api: Api, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    key = api.key("decide", "grant")
    batch = {"decisions": [late_order(order__id=f"SO-{number}") for number in range(3)]}
    results = api.send("POST", "/v1/decisions/batch", key, json=batch).json["results"]
    decision_ids = [each["body"]["decision_id"] for each in results]
    body = {"decision_id": decision_ids[0], "plan": "shipping_delay/delay_coupon"}
    body["agent"] = {"id": "A-7", "role": "agent"}
    grant = api.send("POST", "/v1/grants", key, json=body).json
    api.send("GET", f"/v1/grants/{grant['grant_id']}", key)
    batch_line, grant_line, read_line = log_lines()
    assert batch_line["decision_ids"] == decision_ids
    assert "decision_id" not in batch_line
    assert (grant_line["route"], grant_line["grant_id"]) == ("/v1/grants", grant["grant_id"])
    assert read_line["route"] == "/v1/grants/{grant_id}"


def test_no_word_that_a_caller_makes_up_reaches_the_log(
    api: Api, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    api.send("LIHUA", "/v1/pack", headers={"User-Agent": "Li Hua", "Referer": "http://Li-Hua/"})
    (line,) = log_lines()
    assert line["method"] == "other"
    assert "hua" not in json.dumps(line).lower()


def test_what_libraries_say_is_a_json_line_without_values_or_traceback(
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    try:
        int("customer Li Hua")
    except ValueError:
        logging.getLogger("sqlalchemy.pool").exception("reset of %s failed", "Li Hua")
    logging.getLogger("somewhere").info("not worth a line")
    (line,) = log_lines()
    assert line["event"] == "reset of %s failed"
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert line["logger"] == "sqlalchemy.pool"
    assert "Li Hua" not in json.dumps(line)


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


def test_a_new_key_of_a_client_takes_over_what_the_old_one_began(api: Api) -> None:
    old = api.key("decide", "grant")
    decided = api.decide(old).json
    new = api.key("decide", "grant")
    api.services.ledger.credentials.revoke(old.split("_")[1], "ops")
    assert api.decide(old).status_code == 401
    body = {"decision_id": decided["decision_id"], "plan": decided["plans"][0]["plan"]}
    body["agent"] = {"id": "A-7", "role": "agent"}
    granted = api.send("POST", "/v1/grants", new, json=body)
    assert granted.status_code == 201
    # By another client's key it can't even be seen.
    other = api.key("grant", client="another")
    assert api.send("POST", "/v1/grants", other, json=body).status_code == 404
