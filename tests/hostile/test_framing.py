"""Requests that two readers could cut differently, and heads that are too large."""

# ruff: noqa: E501 -- tables: one case a line, whatever its length

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.api.conftest import late_order
from tests.hostile.conftest import Fortress, order_bytes
from tests.hostile.raw import LIVE, chunked

# (what it is, header lines, the body as it is sent, statuses, problem code, does the server close)
# LIVE follows each of them: an answer to it shows that the server took its bytes for a request.
SHAPES: list[tuple[str, list[str], bytes, list[int], str, bool]] = [
    ("both lengths, chunked is true", ["Content-Length: 5", "Transfer-Encoding: chunked"], b"chunked", [201], "", True),
    ("both lengths, the first is shorter", ["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("two lengths that differ", ["Content-Length: 5", "Content-Length: 6"], b"hello", [400], "", True),
    ("a list of lengths", ["Content-Length: 5, 5"], b"hello", [400], "", True),
    ("a length with a sign", ["Content-Length: +5"], b"hello", [400], "", True),
    ("a negative length", ["Content-Length: -1"], b"hello", [400], "", True),
    ("a hexadecimal length", ["Content-Length: 0x5"], b"hello", [400], "", True),
    ("an empty length", ["Content-Length:"], b"hello", [400], "", True),
    ("a length beyond counting", ["Content-Length: 99999999999999999999999"], b"hello", [400], "", True),
    ("another coding", ["Transfer-Encoding: gzip"], b"chunked", [400], "", True),
    ("a coding before chunked", ["Transfer-Encoding: gzip, chunked"], b"chunked", [400], "BAD_FRAMING", True),
    ("a coding after chunked", ["Transfer-Encoding: chunked, gzip"], b"chunked", [400], "", True),
    ("chunked twice", ["Transfer-Encoding: chunked, chunked"], b"chunked", [400], "BAD_FRAMING", True),
    ("two codings, chunked last", ["Transfer-Encoding: x", "Transfer-Encoding: chunked"], b"chunked", [400], "BAD_FRAMING", True),
    ("two codings, chunked first", ["Transfer-Encoding: chunked", "Transfer-Encoding: x"], b"chunked", [400], "", True),
    ("a coding that looks like chunked", ["Transfer-Encoding: xchunked"], b"chunked", [400], "", True),
    ("a vertical tab before chunked", ["Transfer-Encoding: \x0bchunked"], b"chunked", [400], "", True),
    ("a space before the colon", ["Transfer-Encoding : chunked"], b"chunked", [400], "", True),
    ("a folded header", ["X-Note: a", " Transfer-Encoding: chunked"], b"chunked", [400], "", True),
    ("a NUL in a header", ["X-Note: a\0b"], b"", [400], "", True),
    ("a bare CR in a header", ["X-Note: a\rTransfer-Encoding: chunked"], b"", [400], "", True),
    ("a chunk with a sign", ["Transfer-Encoding: chunked"], b"+5\r\nhello\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("a chunk in C's hexadecimal", ["Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("a chunk size beyond counting", ["Transfer-Encoding: chunked"], b"10000000000000000\r\nhello\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("a chunk longer than it says", ["Transfer-Encoding: chunked"], b"5\r\nhello!\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("a chunk size ended by a bare LF", ["Transfer-Encoding: chunked"], b"5\nhello\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("20,000 bytes of chunk extension", ["Transfer-Encoding: chunked"], b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n", [400], "MALFORMED_JSON", True),
    ("two hosts", ["Host: other"], b"", [400], "BAD_FRAMING", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "body", "statuses", "code", "closed"),
    [row[1:] for row in SHAPES],
    ids=[row[0] for row in SHAPES],
)
def test_a_request_that_could_be_cut_differently(
    fortress: Fortress,
    lines: list[str],
    body: bytes,
    statuses: list[int],
    code: str,
    closed: bool,
) -> None:
    if body == b"chunked":
        body = chunked(order_bytes())
    said = fortress.talk(fortress.head(*lines) + body + LIVE)
    assert (said.statuses, said.code, said.closed) == (statuses, code, closed)


def test_equal_lengths_and_good_chunks_are_one_request_each(fortress: Fortress) -> None:
    body = order_bytes()
    twice = fortress.head(f"Content-Length: {len(body)}", body=body) + body
    assert fortress.talk(twice + LIVE).statuses == [201, 200]
    parts = chunked(*[body[at : at + 7] for at in range(0, len(body), 7)])
    for name in ("chunked", "CHUNKED"):
        sent = fortress.head(f"Transfer-Encoding: {name}") + parts
        assert fortress.talk(sent + LIVE).statuses == [201, 200]


def test_headers_after_the_body_are_not_headers(fortress: Fortress) -> None:
    body = order_bytes()
    trailer = f"Authorization: Bearer {fortress.key('decide')}\r\n\r\n".encode()
    head = fortress.head("Transfer-Encoding: chunked").replace(b"Authorization", b"X-Other")
    said = fortress.talk(head + b"%x\r\n%b\r\n0\r\n" % (len(body), body) + trailer)
    assert said.statuses == [401]


def test_pipelined_requests_are_answered_in_order(fortress: Fortress) -> None:
    bodies = [order_bytes(order__id=f"pipelined-{number}") for number in range(20)]
    sent = b"".join(fortress.head(body=body) + body + LIVE for body in bodies)
    said = fortress.talk(sent)
    assert said.statuses == [201, 200] * 20
    listed = fortress.send("GET", "/v1/decisions?limit=20", fortress.key("decide")).json
    assert len(listed["decisions"]) == 20


def test_a_refused_body_is_not_read_as_the_next_request(fortress: Fortress) -> None:
    body = LIVE * 2000
    said = fortress.talk(fortress.head(body=body) + body)
    assert (said.statuses, said.code, said.closed) == ([413], "BODY_TOO_LARGE", True)
    head = fortress.head(body=LIVE).replace(b"Bearer ", b"Bearer no")
    said = fortress.talk(head + LIVE + LIVE)
    assert (said.statuses, said.closed) == ([401], True)
    hidden = f"GET /livez HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(LIVE)}\r\n\r\n".encode()
    assert fortress.talk(hidden + LIVE).statuses == [200]


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "in chunks"])
def test_a_body_that_is_cut_short_takes_no_key(fortress: Fortress, length: bool) -> None:
    body = json.dumps(late_order(order__id=str(uuid4()))).encode()
    lines = [] if length else ["Transfer-Encoding: chunked"]
    head = fortress.head(*lines, body=body if length else None)
    whole = body if length else chunked(body)
    cut = fortress.talk(head + whole[:-40], half_close=True)
    assert cut.statuses == [400]
    assert cut.code == ("BODY_INCOMPLETE" if length else "MALFORMED_JSON")
    again = fortress.talk(head + whole)
    assert again.statuses == [201], "the same key is still there for the whole of it"


def test_a_header_that_comes_twice_is_not_read_as_one_of_the_two(fortress: Fortress) -> None:
    body = order_bytes()
    key = fortress.key("decide")
    for line, status, code in (
        (f"Authorization: Bearer {key}", 401, "UNAUTHENTICATED"),
        (f"Idempotency-Key: {uuid4()}", 400, "IDEMPOTENCY_KEY_INVALID"),
        ("Content-Encoding: identity\r\nContent-Encoding: gzip", 415, "UNSUPPORTED_ENCODING"),
    ):
        said = fortress.talk(fortress.head(line, body=body) + body)
        assert (said.statuses, said.code) == ([status], code), line


def test_a_head_is_bounded(fortress: Fortress) -> None:
    def asked(path: str, *lines: str) -> tuple[list[int], bool]:
        head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: shop", *lines, "", ""])
        said = fortress.talk(head.encode())
        return said.statuses, said.closed

    assert asked("/livez", *[f"X-{n}: y" for n in range(90)]) == ([200], False)
    assert asked("/livez", *[f"X-{n}: y" for n in range(100)]) == ([431], True)
    assert asked("/livez", *["X-Same: y"] * 1000) == ([431], True)
    assert asked("/livez", f"X-Long: {'y' * 12_000}") == ([200], False)
    for size in (20_000, 70_000, 1_000_000):
        assert asked("/livez", f"X-Long: {'y' * size}") == ([431], True), size
        assert asked(f"/livez?{'y' * size}") == ([431], True), size


def test_other_protocols_are_not_spoken(fortress: Fortress) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    said = fortress.talk(preface)
    assert (said.statuses, said.closed) == ([], True)
    upgrade = "GET /livez HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    for line in ("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", "Upgrade: x\r\n"):
        assert fortress.talk(f"{upgrade}{line}\r\n".encode()).statuses == [200]
    assert fortress.talk(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").statuses == [400]
    for line, status in (
        ("GET /livez HTTP/3.0", 400),
        ("CONNECT evil.example:443 HTTP/1.1", 404),
        ("TRACE /livez HTTP/1.1", 405),
        ("GET http://evil.example/livez HTTP/1.1", 200),
        ("OPTIONS * HTTP/1.1", 404),
        ("GET /v1/../livez HTTP/1.1", 404),
        ("GET /livez%00 HTTP/1.1", 404),
        ("GET /%ff%fe HTTP/1.1", 400),
    ):
        assert fortress.talk(f"{line}\r\nHost: shop\r\n\r\n".encode()).statuses == [status], line
