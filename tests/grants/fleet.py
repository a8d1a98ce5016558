"""Several real server processes over one database, and many clients that don't give up."""

from __future__ import annotations

import json
import random
import re
import shutil
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

from tests.api.serving import Reply, Server
from tests.grants.conftest import COUPON, PACK, Shop

HOST = "127.0.0.1"


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
        self._connections: list[HTTPConnection] = []

    def __enter__(self) -> Fleet:
        self.servers[0].__enter__()
        for server in self.servers[1:]:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for server in self.servers:
            server.kill()

    def kill_one(self, which: int) -> None:
        """SIGKILL, and up again."""
        server = self.servers[which % len(self.servers)]
        server.kill()
        server.start()

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
            self.refusals[told] += 1
            assert time.monotonic() < give_up_at, f"nobody answered: {told}"
            time.sleep(random.uniform(0.01, 0.1))

    def _once(self, path: str, credential: str, data: bytes, key: str) -> Reply | None:
        """None: the connection broke. Connections are kept, as clients do."""
        port = random.choice(self.servers).port
        kept: dict[str, HTTPConnection] = self._own.__dict__
        connection = kept.get(str(port)) or HTTPConnection(HOST, port, timeout=60)
        if str(port) not in kept:
            kept[str(port)] = connection
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
            return f"503 {reply.json['code']}"
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


def at_once(calls: Iterable[Callable[[], Any]], clients: int) -> list[Any]:
    """What the calls answer, made by so many clients."""
    with ThreadPoolExecutor(clients) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def offers(shop: Shop, many: int, prefix: str = "SO") -> list[tuple[str, int]]:
    """(decision id, minor units) of coupons between 0.50 and 5.49 on as many orders."""
    found = []
    for number in range(many):
        paid = f"{10 + number * 37 % 100}.00"
        decided = shop.decide(
            shop.agent,
            order__id=f"{prefix}-{number}",
            customer__id=f"{prefix}-C-{number}",
            order__lines=[{"id": "1", "paid": paid}],
        )
        minor = int(decided["plans"][0]["allowed"]["amount"].replace(".", ""))
        found.append((decided["decision_id"], minor))
    return found


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
