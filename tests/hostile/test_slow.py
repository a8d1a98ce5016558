"""Clients that take their time, and clients that only come to stay."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.api.conftest import PACK
from tests.api.serving import Server
from tests.hostile.conftest import SECONDS, Fortress, order_bytes
from tests.hostile.raw import HOST, LIVE, Said, listen

GRACE = 3.0
"""How much later than promised something may come, on a machine that has other work."""


@contextmanager
def connected(port: int, count: int = 1) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((HOST, port), timeout=30))
            for _ in range(count)
        ]


def dripped(
    connection: socket.socket, data: bytes, every: float, most: float
) -> tuple[Said, float]:
    """Sends byte after byte until the server answers or closes: what it said, and when."""
    began = time.monotonic()
    connection.settimeout(every)
    for at in range(len(data)):
        try:
            connection.sendall(data[at : at + 1])
        except OSError:
            break
        said = listen(connection)
        if said.data or said.closed:
            seconds = time.monotonic() - began
            connection.settimeout(GRACE)
            rest = Said(b"", closed=True) if said.closed else listen(connection)
            return Said(said.data + rest.data, rest.closed), seconds
        if time.monotonic() - began > most:
            break
    connection.settimeout(GRACE)
    return listen(connection), time.monotonic() - began


def test_headers_that_are_dripped_are_cut_off(fortress: Fortress) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: shop\r\n" + b"X-Note: a\r\n" * 90 + b"\r\n"
    with connected(fortress.port) as (connection,):
        said, seconds = dripped(connection, head, 0.1, SECONDS + GRACE)
    assert (said.statuses, said.closed) == ([], True)
    assert SECONDS - 0.2 < seconds < SECONDS + GRACE


def test_a_body_that_is_dripped_is_answered_with_408_and_takes_no_key(fortress: Fortress) -> None:
    body = order_bytes()
    head = fortress.head(body=body)
    with connected(fortress.port) as (connection,):
        connection.sendall(head)
        said, seconds = dripped(connection, body, 0.1, SECONDS + GRACE)
    assert (said.statuses, said.code, said.closed) == ([408], "BODY_TOO_SLOW", True)
    assert SECONDS - 0.2 < seconds < SECONDS + GRACE
    assert fortress.talk(head + body).statuses == [201]


@pytest.mark.parametrize(
    "start",
    [b"5\r\nhel", b"ffffffffffff\r\n{", b"7\r\n"],
    ids=["the rest of a chunk", "a chunk without end", "a chunk"],
)
def test_a_chunk_that_never_comes_is_waited_for_no_longer(fortress: Fortress, start: bytes) -> None:
    with connected(fortress.port) as (connection,):
        connection.sendall(fortress.head("Transfer-Encoding: chunked") + start)
        said = listen(connection)
    assert (said.statuses, said.code, said.closed) == ([408], "BODY_TOO_SLOW", True)


def test_a_body_that_is_whole_but_never_ends_decides_nothing(fortress: Fortress) -> None:
    order = str(uuid4())
    body = order_bytes(order__id=order)
    with connected(fortress.port) as (connection,):
        head = fortress.head("Transfer-Encoding: chunked")
        connection.sendall(head + b"%x\r\n%b\r\n" % (len(body), body))
        assert listen(connection).statuses == [408]
    time.sleep(1)  # by then whoever was let go on would have decided
    listed = fortress.send("GET", f"/v1/decisions?order={order}", fortress.key("decide")).json
    assert listed["decisions"] == []


def test_a_body_without_a_credential_is_not_waited_for(fortress: Fortress) -> None:
    head = fortress.head(body=b"x" * 1000).replace(b"Bearer ", b"Bearer no")
    began = time.monotonic()
    with connected(fortress.port) as (connection,):
        connection.sendall(head)
        assert listen(connection).statuses == [401]
    assert time.monotonic() - began < SECONDS


def test_while_bodies_are_dripped_everybody_else_is_served(fortress: Fortress) -> None:
    """Four times as many as there are threads, again and again. Who is told to come again is
    served before the slow ones have had their time: those hold half of the threads at most."""
    waits: list[float] = []
    with ExitStack() as stack:
        for _ in range(3):
            for slow in stack.enter_context(connected(fortress.port, 32)):
                slow.sendall(fortress.head(body=b" " * 1000) + b"{")
            waits += [seconds_until_decided(fortress) for _ in range(20)]
    assert max(waits) < SECONDS + GRACE
    assert sorted(waits)[54] < 1, "nine of ten don't notice"


def seconds_until_decided(fortress: Fortress) -> float:
    began = time.monotonic()
    order = str(uuid4())
    while (reply := fortress.decide(order__id=order)).status != 201:
        assert (reply.status, reply.json["code"]) == (503, "OVERLOADED")
        assert "retry-after" in reply.headers
        time.sleep(0.1)
    return time.monotonic() - began


def test_an_idle_connection_is_closed_and_one_in_use_is_kept(fortress: Fortress) -> None:
    with connected(fortress.port, 2) as (silent, used):
        silent.settimeout(SECONDS + GRACE)
        for _ in range(6):
            used.sendall(LIVE)
            said = b""
            while not said.endswith(b"}"):  # head and body may come one after the other
                more = used.recv(4096)
                assert more, "the connection in use was closed"
                said += more
            assert said.startswith(b"HTTP/1.1 200")
            time.sleep(SECONDS / 4)
        assert listen(silent) == Said(b"", closed=True)


IDLE = 10_000
IDLE_SECONDS = 10.0


@pytest.mark.slow
def test_ten_thousand_idle_connections_are_refused_while_real_clients_are_served(
    free_port: Callable[[], int], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= IDLE + 500, "this test needs `ulimit -Hn` of 10500 or more"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    variables = {"IDLE_TIMEOUT": f"PT{IDLE_SECONDS}S", "RATE_LIMIT": "0"}
    try:
        with one_of_their_own(free_port(), tmp_path, variables) as server, ExitStack() as stack:
            key = server.key("decide")
            began = time.monotonic()
            idle = []
            waits = []
            for _ in range(20):
                idle += stack.enter_context(connected(server.port, IDLE // 20))
                waits.append(seconds_of_a_decision(server, key))
            assert time.monotonic() - began < IDLE_SECONDS, "all of them were open at once"
            waits += [seconds_of_a_decision(server, key) for _ in range(20)]
            assert max(waits) < IDLE_SECONDS / 2
            assert sorted(waits)[len(waits) // 2] < 0.5
            assert all(closed_by_server(each, IDLE_SECONDS) for each in idle)
            seconds_of_a_decision(server, key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def one_of_their_own(port: int, folder: Path, variables: dict[str, str]) -> Server:
    """A server with bounds of its own, for attacks that would be in the way of the others."""
    url = f"sqlite:///{folder / 'policy-engine.db'}"
    return Server(url, port, folder, pack=PACK, variables=variables)


def seconds_of_a_decision(server: Server, key: str) -> float:
    began = time.monotonic()
    reply = server.send("POST", "/v1/decisions", key, order_bytes())
    assert reply.status == 201, reply.body
    return time.monotonic() - began


def closed_by_server(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds + GRACE)
    return listen(connection) == Said(b"", closed=True)


def test_beyond_its_bound_connections_wait_and_nothing_is_lost(
    free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Sixteen connections are held: the seventeenth is served when one of them has gone."""
    variables = {"CONNECTIONS": "16", "IDLE_TIMEOUT": "PT1S", "RATE_LIMIT_ANONYMOUS": "0"}
    with (
        one_of_their_own(free_port(), tmp_path, variables) as server,
        connected(server.port, 100),
    ):
        key = server.key("decide")
        waits = [seconds_of_a_decision(server, key) for _ in range(3)]
    assert max(waits) > 0.5, "the bound holds"


def test_a_server_that_may_open_few_files_holds_fewer_connections() -> None:
    told = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 400))
from policy_engine.cli.connections import bounds
from policy_engine.settings import Settings
print(bounds(Settings())["backpressure"], *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    printed = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True).stdout
    connections, soft, hard = map(int, printed.split())
    assert (soft, hard) == (400, 400)
    assert 16 <= connections < 400 - 200
