"""What the short tests and the long ones try on real servers, with what they count."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.api.conftest import PACK, late_order
from tests.api.serving import Server
from tests.pressure.clients import Call, sending
from tests.pressure.flood import Flood, Outcome, flooded
from tests.pressure.outage import OwnPostgres
from tests.pressure.proxy import proxied

_PROXY_LOOKS_AGAIN_SECONDS = 1.5


def database_away(
    server: Server, database: OwnPostgres, how: str, *, away_seconds: float, timeout_seconds: float
) -> dict[str, Any]:
    """Takes the database away under load and brings it back; asserts what is promised."""
    key = server.key("decide", "audit")
    with sending(server.port, key, 24) as clients:
        clients.wait_for(100)
        threads_before = threads_of(server)
        lost_at = time.monotonic()
        database.stop() if how == "stopped" else database.hang()
        # Calls that were under way wait for as long as a statement may take, no longer.
        time.sleep(timeout_seconds + 2)
        first, settled_at = len(clients.calls), time.monotonic()
        time.sleep(max(0.0, away_seconds - timeout_seconds - 2))
        threads = threads_of(server)
        ready = server.send("GET", "/readyz").status
        alive = server.send("GET", "/livez").status
        away = [call for call in clients.calls[first:] if call.ended_at > settled_at]
        back_at = time.monotonic()
        database.start() if how == "stopped" else database.go_on()
        clients.wait_for(100)
    assert (ready, alive) == (503, 200)
    assert all(answered_well(call) for call in clients.calls), clients.statuses()
    assert away, "nobody was told"
    assert {call.status for call in away} == {503}
    # One call at a time finds out whether the database is back; the others don't wait for it.
    waited = sorted(call.seconds for call in away)
    assert waited[int(len(waited) * 0.9)] < 0.5 + timeout_seconds
    # Also of those that were under way when the database went.
    longest = max(call.seconds for call in clients.calls)
    assert longest < min(away_seconds, timeout_seconds + 5)
    assert threads < threads_before + 24 + 16
    good = [call.ended_at for call in clients.calls if call.status == 201]
    every = all_decisions(server, key)
    assert set(clients.acknowledged.values()) <= every, "an acknowledged decision is lost"
    return {
        "away, s": round(back_at - lost_at, 1),
        "told while away": len(away),
        "told within, ms (median, 99 %)": [
            round(waited[int(len(waited) * part)] * 1000) for part in (0.5, 0.99)
        ],
        "longest call, s": round(longest, 1),
        "back after, s": round(min(at for at in good if at > back_at) - back_at, 2),
        "threads before, meanwhile": [threads_before, threads],
        "answers": dict(clients.statuses()),
        "acknowledged": len(clients.acknowledged),
    }


@dataclass(frozen=True)
class Nodes:
    """Servers on one database, and the port of the proxy before them."""

    servers: Sequence[Server]
    port: int
    key: str


@contextmanager
def two_nodes(kind: str, url: str, free_port: Callable[[], int], folder: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        servers = []
        for number in range(2):
            home = folder / f"node-{number}"
            home.mkdir()
            server = Server(url, free_port(), home, variables={"DRAIN": "PT2S"})
            servers.append(stack.enter_context(server))
        port = free_port()
        home = folder / "proxy"
        home.mkdir()
        stack.enter_context(proxied(kind, port, [each.port for each in servers], home))
        yield Nodes(servers, port, servers[0].key("decide", "audit"))


def stopped_in_turn(nodes: Nodes, rounds: int) -> dict[str, Any]:
    """SIGTERM to one node after the other under load: no request fails."""
    took = []
    with sending(nodes.port, nodes.key, 8) as clients:
        clients.wait_for(50)
        for server in list(nodes.servers) * rounds:
            took.append(stop(server))
            clients.wait_for(50)
            server.start()
            clients.wait_for(50)
    assert set(clients.statuses()) == {"201"}, clients.statuses()
    assert set(clients.acknowledged.values()) <= all_decisions(nodes.servers[0], nodes.key)
    return {"stops": len(took), "longest, s": round(max(took), 1), **clients.statuses()}


def stop(server: Server) -> float:
    """SIGTERM: unready at once, gone soon, with a good exit. How long it took."""
    assert server.process is not None
    began = time.monotonic()
    server.process.terminate()
    give_up_at = began + 5
    while (ready := server.send("GET", "/readyz")).status != 503:
        assert time.monotonic() < give_up_at
    assert ready.json["stopping"] is True
    assert server.send("GET", "/livez").headers["connection"] == "close"
    assert server.process.wait(30) == 0
    server.process = None
    return time.monotonic() - began


def killed_in_turn(nodes: Nodes, rounds: int) -> dict[str, Any]:
    """SIGKILL to one node after the other under load: what was acknowledged is on record, once."""
    before = all_decisions(nodes.servers[0], nodes.key)
    with sending(nodes.port, nodes.key, 8, patient=True) as clients:
        clients.wait_for(50)
        for number in range(rounds):
            server = nodes.servers[number % 2]
            server.kill()
            clients.wait_for(50)
            server.start()
            # The proxy tries a node again only a while after it has failed.
            time.sleep(_PROXY_LOOKS_AGAIN_SECONDS)
            clients.wait_for(20)
    keys = {call.key for call in clients.calls}
    assert clients.acknowledged.keys() == keys, "each was decided in the end"
    ids = set(clients.acknowledged.values())
    assert len(ids) == len(keys)
    after = all_decisions(nodes.servers[0], nodes.key)
    assert after - before == ids, "each key decided once"
    return {"kills": rounds, "decisions": len(ids), "answers": dict(clients.statuses())}


def reloaded(server: Server, times: int) -> dict[str, Any]:
    """Activates one new pack after the other under load: no request fails."""
    key = server.key("decide", "packs", "audit")
    texts = {path.name: path.read_text() for path in PACK.glob("*.yaml")}
    with sending(server.port, key, 8) as clients:
        clients.wait_for(100)
        before = [call.seconds for call in clients.calls]
        first = len(clients.calls)
        for number in range(times):
            texts["pack.yaml"] = f"offer_at_most: {number + 2}\n"
            answer = server.send("POST", "/v1/packs/activate", key, {"files": texts})
            assert answer.status == 200, answer.body
            clients.wait_for(50)
    assert set(clients.statuses()) == {"201"}, clients.statuses()
    ready = server.send("GET", "/readyz").json
    assert ready["pack"]["revision"] == answer.json["revision"]
    meanwhile = [call.seconds for call in clients.calls[first:]]
    return {
        "activations": times,
        "99 % within, ms (before, meanwhile)": [late(before), late(meanwhile)],
        **clients.statuses(),
    }


def late(seconds: Sequence[float]) -> float:
    """The 99th percentile, in ms."""
    return round(sorted(seconds)[int(len(seconds) * 0.99)] * 1000, 1)


def finishes_a_batch(server: Server) -> None:
    """SIGTERM in the middle of a long call, without a drain: it is answered, whole."""
    key = server.key("decide", "audit")
    body = {"decisions": [late_order(order__id=f"SO-{each}") for each in range(200)]}
    assert server.process is not None
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.send, "POST", "/v1/decisions/batch", key, body)
        while not server.send("GET", "/v1/decisions?limit=1", key).json["decisions"]:
            assert not running.done()
        server.process.terminate()
        answer = running.result(30)
    assert answer.status == 200
    assert [each["status"] for each in answer.json["results"]] == [201] * 200
    assert server.process.wait(30) == 0
    server.process = None


def answered_well(call: Call) -> bool:
    """Decided, or told when to come back."""
    return call.status == 201 or (call.status == 503 and call.retry_after is not None)


def threads_of(server: Server) -> int:
    """Of the worker that has most."""
    return max(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in server.workers())


def all_decisions(server: Server, credential: str) -> set[str]:
    """Every decision that is on record."""
    found: set[str] = set()
    path = "/v1/decisions?limit=100"
    while True:
        page = server.send("GET", path, credential).json
        found |= {each["decision_id"] for each in page["decisions"]}
        if page["next_cursor"] is None:
            return found
        path = f"/v1/decisions?limit=100&cursor={page['next_cursor']}"


def overloaded(
    server: Server, *, seconds: float, times: Sequence[float], rounds: int = 1
) -> dict[str, Any]:
    """Finds out how much is served at most, and then sends so many times as much; again and again,
    since a machine that others use is not as fast in one minute as in the next."""
    key = server.key("decide", "audit")
    body = json.dumps(late_order(order__id="@ID@"))
    acknowledged: set[str] = set()

    def flood(rate: float, name: str, connections: int = 800) -> Outcome:
        outcome = flooded(Flood(server.port, key, body, rate, seconds, name, connections))
        acknowledged.update(outcome.acknowledged)
        return outcome

    flood(200, "warm")
    sustained: list[float] = []
    found: dict[float, list[Outcome]] = {factor: [] for factor in times}
    parts: dict[float, list[float]] = {factor: [] for factor in times}
    for number in range(rounds):
        # Over so many connections, each of which sends as soon as it has been answered.
        closed = [flood(100_000, f"closed-{many}-{number}", many) for many in (16, 64)]
        sustained.append(max(each.goodput for each in closed))
        for factor in times:
            outcome = flood(sustained[-1] * factor, f"times-{factor}-{number}")
            assert outcome.broken == outcome.unanswered == outcome.without_retry_after == 0, outcome
            assert set(outcome.statuses) <= {"201", "503"}, outcome.statuses
            assert set(outcome.codes) <= {"OVERLOADED"}, outcome.codes
            found[factor].append(outcome)
        most = max(sustained[-1], *(each[-1].goodput for each in found.values()))
        for factor in times:
            parts[factor].append(found[factor][-1].goodput / most)
    assert acknowledged <= all_decisions(server, key), "an acknowledged decision is lost"
    return {
        "sustainable, decisions a second": round(median(sustained)),
        **{
            f"{factor} x": {
                "sent a second": round(median(each.sent / seconds for each in found[factor])),
                "goodput a second": round(median(each.goodput for each in found[factor])),
                "acknowledged, ms (median, 99 %)": found[factor][-1].good_ms,
                "refused, ms (median, 99 %)": found[factor][-1].refused_ms,
                "goodput, part of the most seen in its round": round(median(parts[factor]), 2),
                "of each round": [round(part, 2) for part in parts[factor]],
            }
            for factor in times
        },
    }


def stops_without_database(server: Server, database: OwnPostgres) -> float:
    """SIGTERM while calls wait for a database that hangs: how long until it is gone."""
    key = server.key("decide")
    with sending(server.port, key, 24) as clients:
        clients.wait_for(50)
        database.hang()
        time.sleep(0.5)
        assert server.process is not None
        began = time.monotonic()
        server.process.terminate()
        server.process.wait(30)
        took = time.monotonic() - began
        server.process = None
        database.go_on()
    return round(took, 1)
