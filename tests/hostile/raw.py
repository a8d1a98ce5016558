"""Bytes on a socket: what no HTTP client would send, and what the server makes of it."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

HOST = "127.0.0.1"
SILENT_SECONDS = 0.7
"""A server that says nothing for so long waits for more."""

LIVE = b"GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [^\r\n]*\r\n")


@dataclass(frozen=True)
class Said:
    """The answers on one connection, and whether the server closed it."""

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        return [int(each) for each in _STATUS.findall(self.data)]

    @property
    def code(self) -> str:
        found = re.search(rb'"code":"([A-Z_]+)"', self.data)
        return found[1].decode() if found else ""


def conversation(
    port: int,
    *pieces: bytes,
    silent_seconds: float = SILENT_SECONDS,
    half_close: bool = False,
    pause_seconds: float = 0.0,
) -> Said:
    """Sends the pieces on one connection, then listens until it is closed or stays silent."""
    with socket.create_connection((HOST, port), timeout=silent_seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_seconds)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before all of it was sent: the answer is read below
        return listen(connection)


def listen(connection: socket.socket) -> Said:
    """Reads until the server closes, or says nothing for the connection's timeout."""
    data = b""
    while True:
        try:
            more = connection.recv(65_536)
        except TimeoutError:
            return Said(data, closed=False)
        except ConnectionResetError:
            return Said(data, closed=True)
        if not more:
            return Said(data, closed=True)
        data += more


def chunked(*parts: bytes) -> bytes:
    """A body in the form that says the length of each part."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
