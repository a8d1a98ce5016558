"""OpenTelemetry: spans of a request, its evaluation and its commit, where they are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from policy_engine import tracing
from policy_engine.api import traces
from tests.api.conftest import Api, late_order


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """Spans by name, as they end; the last of a name."""
    exporter = InMemorySpanExporter()
    tracing.start(exporter)
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    tracing.stop()


def test_a_decision_has_spans_for_request_evaluation_and_commit(
    api_on_both: Api, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    traces.install(api_on_both.app)
    decided = api_on_both.decide(api_on_both.key())
    found = spans()
    request, transaction = found["POST /v1/decisions"], found["transaction"]
    assert request.attributes is not None
    assert request.attributes["policy_engine.decision_id"] == decided.json["decision_id"]
    assert request.attributes["policy_engine.request_id"] == decided.headers["X-Request-Id"]
    assert request.attributes["http.route"] == "/v1/decisions"
    assert request.attributes["http.response.status_code"] == 201
    evaluation, commit = found["evaluation"], found["commit"]
    assert evaluation.attributes is not None
    assert evaluation.attributes["policy_engine.outcome"] == "offer"
    assert evaluation.attributes["policy_engine.pack"] == api_on_both.services.packs.revision
    parents = {
        name: None if span.parent is None else span.parent.span_id for name, span in found.items()
    }
    assert parents["POST /v1/decisions"] is None
    assert parents["transaction"] == request.context.span_id
    assert parents["evaluation"] == parents["commit"] == transaction.context.span_id
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert evaluation.end_time is not None
    assert commit.start_time is not None
    assert commit.end_time is not None
    assert evaluation.end_time <= commit.start_time <= commit.end_time


def test_a_trace_that_a_caller_began_goes_on(
    api: Api, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    traces.install(api.app)
    sent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    api.send("GET", "/v1/pack", api.key("decide"), headers=sent)
    request = spans()["GET /v1/pack"]
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"


def test_no_span_says_anything_personal(
    api: Api, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    traces.install(api.app)
    key = api.key("decide", "audit")
    body = late_order(customer__id="Cust-4711", customer__name="Li Hua", reference={"t": "ZD-88"})
    api.decide(key, body)
    api.decide(key, late_order(customer__id="Cust-4711", order__currency="Li Hua"))
    api.send("GET", "/v1/decisions?customer=Cust-4711", key)
    api.send("GET", "/v1/nothing/Cust-4711", key)
    told = [span.to_json() for span in spans().values()]
    assert any('"GET"' in text for text in told), "an unknown address has a span as well"
    for personal in ("Cust-4711", "Li Hua", "ZD-88", key):
        assert not any(personal in text for text in told)


def test_without_a_start_nothing_is_traced(api: Api) -> None:
    assert tracing.span("anything") is tracing.span("anything else")
    assert tracing.trace_id() is None
    assert api.decide(api.key()).status_code == 201


WITHOUT_THE_PACKAGES = """
import sys
sys.modules["opentelemetry"] = None
from policy_engine.cli import main
main(sys.argv[1:])
"""


def without_the_packages(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if "POLICY_ENGINE_" not in name},
        "POLICY_ENGINE_DATABASE_URL": "sqlite:///engine.db",
        "POLICY_ENGINE_TRACING": "true",
    }
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGES, *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_packages_all_works_but_tracing_which_says_what_to_install(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    assert without_the_packages(tmp_path, "db", "upgrade").returncode == 0
    served = without_the_packages(tmp_path, "serve", "--port", str(free_port()))
    assert served.returncode == 1
    assert "pip install 'policy-engine[otel]'" in served.stderr
    assert "Traceback" not in served.stderr
    found = json.loads(without_the_packages(tmp_path, "doctor", "--format", "json").stdout)
    (finding,) = [each for each in found if each["check"] == "tracing"]
    assert finding["state"] == "wrong"
    assert "policy-engine[otel]" in finding["advice"]


def test_spans_that_nobody_takes_keep_no_process_from_ending(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    tracing.start()
    with tracing.span("lost"):
        pass
    began = monotonic()
    tracing.stop()
    assert monotonic() - began < 5


def test_spans_are_sent_where_opentelemetrys_own_variables_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-a")
    tracing.start()
    with tracing.span("sent"):
        pass
    tracing.stop()
    server.shutdown()
    server.server_close()
    ((path, body),) = taken
    assert path == "/v1/traces"
    assert b"sent" in body
    assert b"shop-a" in body
