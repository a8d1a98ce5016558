"""Bytes that are JSON to everybody are read; whatever two readers could take differently is not."""

import io
import json
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policy_engine.wire.problems import BadBodyError
from policy_engine.wire.strict_json import JsonLine, JsonNumber, read_json, read_json_lines

_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17) + 1, 10**18 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=30,
)


def _refusal(body: bytes, **bounds: int) -> tuple[int, str, str]:
    with pytest.raises(BadBodyError) as caught:
        read_json(body, **bounds)
    return caught.value.status, caught.value.code, caught.value.pointer


@given(_JSON, st.booleans(), st.sampled_from([None, 2]))
@example(["\\", '"[[[', {'\\"]': "[" * 40}], False, None)
def test_valid_documents_read_as_json_loads_reads_them(
    data: object, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(data, ensure_ascii=ascii_only, indent=indent).encode()

    assert read_json(body, max_depth=200) == json.loads(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_the_one_error(body: bytes) -> None:
    with suppress(BadBodyError):
        read_json(body)


@given(st.text('[]{}",:\\u0d8e1.-NaI \n', max_size=60))
def test_scraps_of_json_are_read_or_refused_with_the_one_error(text: str) -> None:
    with suppress(BadBodyError):
        read_json(text.encode())


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"", "MALFORMED_JSON", ""),
        (b"{", "MALFORMED_JSON", ""),
        (b"{} {}", "MALFORMED_JSON", ""),
        (b'{"a": NaN}', "MALFORMED_JSON", ""),
        (b'{"a": Infinity}', "MALFORMED_JSON", ""),
        (b'{"a": -Infinity}', "MALFORMED_JSON", ""),
        (b'{"a": 01}', "MALFORMED_JSON", ""),
        (b'{"a": "\x01"}', "MALFORMED_JSON", ""),
        (b"\xef\xbb\xbf{}", "MALFORMED_JSON", ""),
        ("{}".encode("utf-16"), "NOT_UTF8", ""),
        ('{"a": 1}'.encode("utf-16-le"), "MALFORMED_JSON", ""),
        (b'{"a": "\xff"}', "NOT_UTF8", ""),
        (b'{"a": "\xed\xa0\x80"}', "NOT_UTF8", ""),
        (b'{"a": {"b": 1, "b": 1}}', "DUPLICATE_KEY", "/a/b"),
        (b'[0, {"x/y": 1, "x/y": null}]', "DUPLICATE_KEY", "/1/x~1y"),
        (b'{"a": 1, "\\u0061": 2}', "DUPLICATE_KEY", "/a"),
        (b'{"a": 1, "a": 2, "b": [NaN]}', "MALFORMED_JSON", ""),
        (b'{"a": 1, "a": 2', "MALFORMED_JSON", ""),
        (b'{"a": ["x", "\\u0000"]}', "FORBIDDEN_CHARACTER", "/a/1"),
        (b'{"a": "\\ud800"}', "FORBIDDEN_CHARACTER", "/a"),
        (b'{"a": "\\udc00\\ud800"}', "FORBIDDEN_CHARACTER", "/a"),
        (b'{"a": {"\\ud800": 1}}', "FORBIDDEN_CHARACTER", "/a"),
        (b"[" * 17 + b"]" * 17, "TOO_DEEP", ""),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "TOO_DEEP", ""),
    ],
)  # fmt: skip
def test_what_is_not_plain_json_is_refused(body: bytes, code: str, pointer: str) -> None:
    assert _refusal(body, max_bytes=1_000_000) == (400, code, pointer)


def test_a_surrogate_pair_is_a_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "😀"


def test_sixteen_levels_are_read() -> None:
    read_json(b"[" * 16 + b"]" * 16)


@pytest.mark.parametrize(
    "texts",
    [["[{" * 50], ['"', "[" * 50], ["\\", "[" * 50], ['\\"', "[" * 50, '"\\"'], ["\\[" * 50]],
)
def test_brackets_in_strings_are_no_nesting(texts: list[str]) -> None:
    body = json.dumps(texts).encode()

    assert read_json(body) == texts


@pytest.mark.parametrize("text", ["\\", '"', '\\"', '"\\'])
def test_an_escape_hides_no_nesting(text: str) -> None:
    body = b"[" + json.dumps(text).encode() + b"," + b"[" * 16 + b"]" * 16 + b"]"

    assert _refusal(body) == (400, "TOO_DEEP", "")


def test_deep_nesting_is_refused_before_it_costs_anything() -> None:
    body = b"[" * 4_000_000
    started = time.perf_counter()

    assert _refusal(body, max_bytes=len(body)) == (400, "TOO_DEEP", "")
    assert time.perf_counter() - started < 1


def test_a_body_over_the_bound_is_refused_by_its_size() -> None:
    assert read_json(b'"' + b"x" * 65_534 + b'"')
    assert _refusal(b'"' + b"x" * 65_535 + b'"') == (413, "BODY_TOO_LARGE", "")


@pytest.mark.parametrize("text", ["1.0", "1e3", "-0.5", "1E400", "9" * 19, "-" + "9" * 5_000])
def test_a_number_that_is_no_short_integer_stays_as_it_was_written(text: str) -> None:
    assert read_json(f"[{text}]".encode()) == [JsonNumber(text)]


def test_a_bad_line_is_reported_and_the_rest_goes_on() -> None:
    stream = io.BytesIO(b'{"a": 1}\r\n\nnot json\n' + b"9" * 50 + b"\n[2]")

    lines = list(read_json_lines(stream, max_bytes=20))

    assert [(line.number, line.data) for line in lines] == [
        (1, {"a": 1}), (3, None), (4, None), (5, [2]),
    ]  # fmt: skip
    assert [line.error and line.error.code for line in lines] == [
        None, "MALFORMED_JSON", "BODY_TOO_LARGE", None,
    ]  # fmt: skip


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line)), st.integers(1, 8))
def test_every_line_that_is_not_blank_is_answered_once(lines: list[bytes], most: int) -> None:
    answered: list[JsonLine] = list(read_json_lines(io.BytesIO(b"\n".join(lines)), max_bytes=most))

    numbers = [line.number for line in answered]
    assert numbers == sorted(set(numbers))
    assert {number for number, line in enumerate(lines, 1) if line.strip()} <= set(numbers)
    assert set(numbers) <= set(range(1, len(lines) + 1))
