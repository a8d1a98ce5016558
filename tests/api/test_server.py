"""The service as a process: over real HTTP, on each database, and killed in the middle."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from policy_engine.packs.expectations import differences
from tests.api.conftest import late_order
from tests.api.serving import Reply, Server


@pytest.fixture
def server(database_url: str, free_port: Callable[[], int], tmp_path: Path) -> Iterator[Server]:
    with Server(database_url, free_port(), tmp_path) as running:
        yield running


def test_decides_records_and_repeats_over_real_http(server: Server) -> None:
    key = server.key("decide")
    sent = {"Idempotency-Key": "k"}
    first = server.send("POST", "/v1/decisions", key, late_order(), sent)
    assert first.status == 201
    assert first.json["plans"][0]["allowed"] == {"amount": "40.00", "currency": "CNY"}
    again = server.send("POST", "/v1/decisions", key, late_order(), sent)
    assert (again.status, again.body) == (201, first.body)
    assert {name.lower() for name in again.headers} >= {"idempotent-replayed", "location"}
    assert server.send("GET", f"/v1/decisions/{first.json['decision_id']}", key).body == first.body


def test_refuses_over_real_http_what_a_test_client_may_not_send(
    sqlite_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with Server(sqlite_url, free_port(), tmp_path) as server:
        key = server.key("decide")
        text = json.dumps(late_order()).encode()

        def refused(body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
            answer = server.send("POST", "/v1/decisions", key, body, headers)
            assert answer.headers["content-type"] == "application/problem+json"
            return answer.status, answer.json["code"]

        assert refused(b" " * 70_000) == (413, "BODY_TOO_LARGE")
        assert refused(gzip.compress(text), {"Content-Encoding": "gzip"})[0] == 415
        assert refused(text, {"Content-Type": "text/plain"})[0] == 415
        assert refused(b"[" * 20_000) == (400, "TOO_DEEP")
        assert refused(text, {"Idempotency-Key": "a b"}) == (400, "IDEMPOTENCY_KEY_INVALID")
        assert server.send("GET", "/v1/decisions").status == 401
        assert chunked(server, key, [b" " * 8192] * 8 + [b" "]) == 413
        assert chunked(server, key, [text]) == 201
        # A field of the answer that a caller has a hand in is never a header of its own.
        assert server.send("GET", "/livez", headers={"X-Request-Id": "a%0d%0ab"}).status == 200


def chunked(server: Server, key: str, parts: list[bytes]) -> int:
    """Sends a body without saying how long it is; the status of the answer."""
    head = (
        "POST /v1/decisions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nIdempotency-Key: chunked\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        # At once: who is refused halfway finds the connection closed when it sends the rest.
        connection.sendall(head.encode() + chunks + b"0\r\n\r\n")
        answer = connection.recv(65536)
    return int(answer.split(b" ")[1])


def test_workers_count_together_and_share_keys(
    postgres_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with Server(postgres_url, free_port(), tmp_path, workers=2) as server:
        key = server.key("decide", "audit")
        with ThreadPoolExecutor(8) as pool:
            orders = [late_order(order__id=f"SO-{index}") for index in range(40)]
            statuses = list(
                pool.map(lambda order: server.send("POST", "/v1/decisions", key, order), orders)
            )
        assert {each.status for each in statuses} == {201}
        for _ in range(6):  # whichever worker answers
            text = server.send("GET", "/metrics", key).body.decode()
            assert counted(text, "policy_engine_decisions_total") == 40


def counted(text: str, name: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )


class Stream:
    """Clients that send numbered decisions until each is acknowledged, whatever happens."""

    def __init__(self, server: Server, key: str, decisions: int) -> None:
        self._server = server
        self._key = key
        self._left = iter(range(decisions))
        self._changed = threading.Condition()
        self.acknowledged: dict[int, Reply] = {}
        self._threads = [threading.Thread(target=self._client) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= count, 60)

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _client(self) -> None:
        while True:
            with self._changed:
                number = next(self._left, None)
            if number is None:
                return
            answer = self._send_until_acknowledged(number)
            with self._changed:
                self.acknowledged[number] = answer
                self._changed.notify_all()

    def _send_until_acknowledged(self, number: int) -> Reply:
        sent = {"Idempotency-Key": f"decision-{number}"}
        order = late_order(order__id=f"SO-{number}", customer__name=f"N {number}")
        while True:
            try:
                answer = self._server.send("POST", "/v1/decisions", self._key, order, sent)
            except (OSError, HTTPException):
                time.sleep(0.02)
                continue
            if answer.status == 201:
                return answer
            assert answer.status in (409, 503), answer.body


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_decision(server: Server) -> None:
    """500 decisions from four clients, the server killed four times in between."""
    key = server.key("decide", "audit")
    stream = Stream(server, key, 500)
    for count in (100, 200, 300, 400):
        stream.wait_for(count)
        server.kill()
        server.start()
    stream.finish()
    answers = {answer.json["decision_id"]: answer for answer in stream.acknowledged.values()}
    assert len(stream.acknowledged) == len(answers) == 500
    assert all_ids(server, key) == answers.keys(), "each key decided once, whatever was lost"
    for decision_id, answer in answers.items():
        assert server.send("GET", f"/v1/decisions/{decision_id}", key).body == answer.body
    for decision_id in random.Random(5).sample(sorted(answers), 60):
        replayed = server.send("POST", f"/v1/decisions/{decision_id}/replay", key)
        assert replayed.json["equal"] is True


def all_ids(server: Server, key: str) -> set[str]:
    ids: set[str] = set()
    path = "/v1/decisions?limit=100"
    while True:
        page = server.send("GET", path, key).json
        ids |= {each["decision_id"] for each in page["decisions"]}
        if page["next_cursor"] is None:
            return ids
        path = f"/v1/decisions?limit=100&cursor={page['next_cursor']}"


def test_the_golden_cases_over_http(
    database_url: str, free_port: Callable[[], int], tmp_path: Path, shared: Path | None
) -> None:
    """Those with earlier grants wait for grants; the packs' own tests run them offline."""
    folder = shared / "cases" / "pack" if shared else None
    if folder is None:
        return  # a clone by itself: test_server decides the pack of these tests instead
    with Server(database_url, free_port(), tmp_path, pack=folder) as server:
        key = server.key("decide", "simulate", "audit")
        decided = 0
        for file in sorted((folder / "tests").glob("*.yaml")):
            for case in yaml.safe_load(file.read_text())["cases"]:
                if case.get("grants"):
                    continue
                answer = server.send("POST", "/v1/decisions", key, plain(case["given"]))
                assert answer.status == 201, (case["name"], answer.body)
                assert differences(plain(case["expect"]), answer.json) == [], case["name"]
                decided += 1
        assert decided > 10


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
