"""What a log line may hold: whatever a text is, the line stays one line of plain characters."""

import json

import pytest

from policy_engine.api import logs


@pytest.mark.parametrize(
    "text", ["plain", "café 电话", "a\u2028b", "a\x9b2Jb", "a\nb", "half a pair: \ud800"]
)
def test_a_line_is_ascii_and_reads_back_as_it_was(text: str) -> None:
    line = logs._json({"because": text}, str)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"because": text}
