"""Several real server processes over one database, and many clients that don't give up."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.api.conftest import late_order
from tests.api.serving import Reply, Server
from tests.grants.conftest import COUPON, PACK, Shop

HOST = "127.0.0.1"
_BATCH = 100


def wide_pack(folder: Path, *rows: str, pending_for: str = "P3D") -> Path:
    """The pack of these tests with offers that last, agents who may grant a lot, and more caps."""
    shutil.copytree(PACK, folder)
    caps = (folder / "caps.yaml").read_text()
    text, changed = re.subn(r"(cap: agent_day, .* limit: )\d+", r"\g<1>1000000", caps)
    assert changed == 1
    (folder / "caps.yaml").write_text(text + "".join(f"  - {row}\n" for row in rows))
    (folder / "pack.yaml").write_text(
        f"offer_valid_for: {{default: PT10H}}\npending_for: {pending_for}\n"
    )
    return folder


class Fleet:
    """Server processes on one database. Use it as a context manager."""

    def __init__(self, url: str, folder: Path, ports: Sequence[int], pack: Path) -> None:
        self.servers = []
        for number, port in enumerate(ports):
            home = folder / f"node-{number}"
            home.mkdir()
            self.servers.append(Server(url, port, home, pack=pack))
        self.refusals: Counter[str] = Counter()
        """What clients were told before they asked again."""
        self._own = threading.local()
        self._lock = threading.Lock()
        self._connections: list[HTTPConnection] = []

    def __enter__(self) -> Fleet:
        self.servers[0].__enter__()
        for server in self.servers[1:]:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        for server in self.servers:
            server.kill()

    def kill_one(self, which: int) -> str:
        """SIGKILL to any node, which is started again as whoever supervises it would; or, every
        other time, to its worker alone, which comes back by itself. Returns which it was."""
        server = random.choice(self.servers)
        if which % 2 == 0:
            server.kill()
            server.start()
            return "node"
        for process in server.workers():
            os.kill(process, signal.SIGKILL)
        return "worker" if server.comes_back() else "worker, too often"

    def at_once(self, calls: Iterable[Callable[[], Any]], clients: int) -> list[Any]:
        """What the calls answer, made by so many clients that come and go."""
        try:
            with ThreadPoolExecutor(clients) as pool:
                return [each.result() for each in [pool.submit(call) for call in calls]]
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Ends connections that were kept, as clients do when they leave."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def post(
        self, path: str, credential: str, body: Any, key: str | None = None, patience: float = 120
    ) -> Reply:
        """The final answer: what is busy, down or told to wait is asked again under one key."""
        key = key or str(uuid4())
        data = json.dumps(body).encode()
        give_up_at = time.monotonic() + patience
        while True:
            reply = self._once(path, credential, data, key)
            told = self._again(reply)
            if told is None:
                assert reply is not None
                return reply
            with self._lock:
                self.refusals[told] += 1
            assert time.monotonic() < give_up_at, f"nobody answered: {told}"
            time.sleep(random.uniform(0.02, 0.2))

    def _once(self, path: str, credential: str, data: bytes, key: str) -> Reply | None:
        """None: the connection broke. Connections are kept, as clients do."""
        port = random.choice(self.servers).port
        kept: dict[str, HTTPConnection] = self._own.__dict__
        connection = kept.get(str(port)) or HTTPConnection(HOST, port, timeout=60)
        if str(port) not in kept:
            kept[str(port)] = connection
            with self._lock:
                self._connections.append(connection)
        headers = {
            "Idempotency-Key": key,
            "Authorization": f"Bearer {credential}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", path, data, headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, answer.read())
        except (OSError, HTTPException):
            connection.close()
            return None

    def _again(self, reply: Reply | None) -> str | None:
        if reply is None:
            return "connection broken"
        if reply.status == 503:
            assert "retry-after" in reply.headers, reply.body
            assert "under its lock" not in reply.json["detail"], "somebody got past a lock"
            return f"503 {reply.json['code']}: {reply.json['detail']}"
        if reply.status == 409 and reply.json["code"] == "IDEMPOTENCY_KEY_RUNNING":
            return "409 IDEMPOTENCY_KEY_RUNNING"
        return None

    def cut(self, path: str, credential: str, body: Any, key: str, wait: float) -> None:
        """Sends a whole request and hangs up without reading an answer."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {credential}\r\n"
            f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        port = random.choice(self.servers).port
        with socket.create_connection((HOST, port), timeout=30) as connection:
            connection.sendall(head.encode() + data)
            time.sleep(wait)
            # RST instead of FIN: as if the client's machine were gone.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def offers(
    fleet: Fleet, credential: str, many: int, prefix: str = "SO", paid: str | None = None
) -> list[tuple[str, int]]:
    """(decision id, minor units) of coupons on as many orders: 5 % of `paid`, or 0.50 to 5.45."""
    numbers = [range(first, min(first + _BATCH, many)) for first in range(0, many, _BATCH)]

    def decide(some: range) -> list[tuple[str, int]]:
        asked = {"decisions": [a_late_order(prefix, number, paid) for number in some]}
        answered = fleet.post("/v1/decisions/batch", credential, asked)
        assert answered.status == 200, answered.body
        return [_offer(each["body"]) for each in answered.json["results"]]

    batches = fleet.at_once([lambda some=some: decide(some) for some in numbers], clients=4)
    return [offer for batch in batches for offer in batch]


def a_late_order(prefix: str, number: int, paid: str | None = None) -> dict[str, Any]:
    """A request for a decision, on an order and a customer of its own."""
    paid = paid or f"{10 + number * 37 % 100}.00"
    body = late_order(
        order__id=f"{prefix}-{number}",
        customer__id=f"{prefix}-C-{number}",
        order__lines=[{"id": "1", "paid": paid}],
    )
    del body["agent"]
    return body


def _offer(decided: dict[str, Any]) -> tuple[str, int]:
    plan = decided["plans"][0]
    minor = sum(int(plan[each]["amount"].replace(".", "")) for each in ("allowed", "pending"))
    return decided["decision_id"], minor


def grant_body(decision_id: str) -> dict[str, Any]:
    return {"decision_id": decision_id, "plan": COUPON}


def tight(limit_minor: int) -> str:
    """A row of caps.yaml: one budget for everybody."""
    return (
        "{cap: tight, scope: pack, measure: value, policies: [shipping_delay], "
        f'limit: {{CNY: "{limit_minor // 100}.{limit_minor % 100:02}"}}}}'
    )


@contextmanager
def running(
    shop_of: Callable[..., Shop], url: str, folder: Path, *rows: str, nodes: int, **options: str
) -> Iterator[tuple[Fleet, Shop]]:
    """A fleet over a database, and the shop opened beside it."""
    pack = wide_pack(folder / "pack", *rows, **options)
    shop = shop_of(url, pack)
    with Fleet(url, folder, [free_port() for _ in range(nodes)], pack) as fleet:
        yield fleet, shop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
