"""A proxy before two nodes: nginx where it is installed, and a small one of our own anywhere."""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
KINDS = ("own", "nginx") if shutil.which("nginx") else ("own",)
_LOOK_EVERY_SECONDS = 0.1

# As docs/operations.md advises it. `non_idempotent`: a call that got no answer is sent to another
# node; its Idempotency-Key keeps it from being carried out twice.
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream policy_engine {{
    {servers}
    keepalive 32;
  }}
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://policy_engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_connect_timeout 2s;
      proxy_read_timeout 20s;
      proxy_next_upstream error timeout non_idempotent;
    }}
  }}
}}
"""


@contextmanager
def proxied(kind: str, port: int, nodes: Sequence[int], folder: Path) -> Iterator[None]:
    """A proxy of that kind on the port, before the nodes' ports."""
    with _nginx(port, nodes, folder) if kind == "nginx" else _own(port, nodes):
        _wait_for(port)
        yield


@contextmanager
def _nginx(port: int, nodes: Sequence[int], folder: Path) -> Iterator[None]:
    servers = "\n    ".join(f"server {HOST}:{node} max_fails=1 fail_timeout=1s;" for node in nodes)
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, user=user, servers=servers, host=HOST, port=port))
    process = subprocess.Popen(["nginx", "-c", str(file), "-e", str(folder / "error.log")])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


class _Own:
    """TCP: each connection goes to the next node that said lately that it is ready."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = nodes
        self._ready = frozenset(nodes)
        self._turn = itertools.count()
        self.ended = threading.Event()

    def look(self) -> None:
        while not self.ended.wait(_LOOK_EVERY_SECONDS):
            self._ready = frozenset(node for node in self._nodes if _is_ready(node))

    def accept(self, listener: socket.socket) -> None:
        while not self.ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, suppress(OSError), self._connected() as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()

    def _connected(self) -> socket.socket:
        ready = sorted(self._ready) or list(self._nodes)
        first = next(self._turn)
        for place in range(len(ready)):
            node = ready[(first + place) % len(ready)]
            with suppress(OSError):
                server = socket.create_connection((HOST, node), timeout=2)
                server.settimeout(None)
                return server
        raise ConnectionRefusedError


@contextmanager
def _own(port: int, nodes: Sequence[int]) -> Iterator[None]:
    own = _Own(nodes)
    with socket.create_server((HOST, port)) as listener:
        threading.Thread(target=own.look, daemon=True).start()
        threading.Thread(target=own.accept, args=(listener,), daemon=True).start()
        try:
            yield
        finally:
            own.ended.set()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Hands on what comes, and then the end of it."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _is_ready(node: int) -> bool:
    connection = http.client.HTTPConnection(HOST, node, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait_for(port: int) -> None:
    give_up_at = time.monotonic() + 20
    while not _is_ready(port):
        assert time.monotonic() < give_up_at, "the proxy doesn't come up"
        time.sleep(0.05)
