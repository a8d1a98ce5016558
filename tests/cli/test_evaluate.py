"""`policy-engine evaluate`: one line in, one line out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from policy_engine.packs.offline import Answer, OfflineEngine
from tests.cli.conftest import Run
from tests.cli.test_pack_verbs import BROKEN, REQUEST


def evaluate(run: Run, pack: Path, *lines: str | bytes) -> tuple[Result, list[dict[str, object]]]:
    data = b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines)
    result = run("evaluate", "--pack", pack, given=data)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def request(**change: object) -> str:
    return json.dumps({**REQUEST, **change})


def test_each_line_gives_the_body_that_http_gives(run: Run, pack: Path) -> None:
    result, (first, second) = evaluate(run, pack, request(), request(customer={"id": "C2"}))
    assert result.exit_code == 0
    assert first["outcome"] == second["outcome"] == "offer"
    assert (first["decision_id"], first["grantable"], first["audit"]) == (None, False, None)


def test_blank_lines_are_skipped_and_count_as_lines(run: Run, pack: Path) -> None:
    result, answers = evaluate(run, pack, "", request(), "   ", "{")
    assert result.exit_code == 1
    assert [answer.get("line") for answer in answers] == [None, 4]


def test_a_bad_line_gives_an_error_object_and_the_rest_goes_on(run: Run, pack: Path) -> None:
    order = {**REQUEST["order"], "lines": []}  # type: ignore[dict-item]
    huge = b'{"x": "' + b"x" * 70_000 + b'"}\n'
    result, answers = evaluate(
        run,
        pack,
        request(),
        "not json",
        b"\xff\xfe\n",
        huge,
        request(order=order),
        request(agent=None),
        '{"a": 1, "a": 2}',
        request(),
    )
    assert result.exit_code == 1
    assert [answer.get("outcome", answer.get("code")) for answer in answers] == [
        "offer",
        "MALFORMED_JSON",
        "NOT_UTF8",
        "BODY_TOO_LARGE",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "DUPLICATE_KEY",
        "offer",
    ]
    assert [answer["line"] for answer in answers[1:-1]] == [2, 3, 4, 5, 6, 7]
    assert [error["pointer"] for error in answers[4]["errors"]] == ["/order/lines"]  # type: ignore[attr-defined]
    (no_agent,) = answers[5]["errors"]  # type: ignore[misc]
    assert (no_agent["pointer"], no_agent["code"]) == ("/agent", "MISSING_FIELD")


def test_the_last_line_needs_no_end(run: Run, pack: Path) -> None:
    _, answers = evaluate(run, pack, request().encode())
    assert len(answers) == 1


def test_nothing_in_nothing_out(run: Run, pack: Path) -> None:
    result, answers = evaluate(run, pack)
    assert (result.exit_code, answers) == (0, [])


def test_without_an_as_of_a_request_is_decided_now(run: Run, pack: Path) -> None:
    _, (answer,) = evaluate(
        run, pack, json.dumps({name: value for name, value in REQUEST.items() if name != "as_of"})
    )
    assert str(answer["as_of"]) > "2026-06-07"
    assert answer["outcome"] == "offer"


def test_a_line_that_makes_the_engine_fail_is_a_bad_line(
    run: Run, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = OfflineEngine.decide

    def failing(self: OfflineEngine, data: object, *rest: Any) -> Answer:
        if isinstance(data, dict) and data["order"]["id"] == "bad":
            raise ZeroDivisionError("of the test")
        return decide(self, data, *rest)

    monkeypatch.setattr(OfflineEngine, "decide", failing)
    bad = request(order={**REQUEST["order"], "id": "bad"})  # type: ignore[dict-item]
    result, answers = evaluate(run, pack, request(), bad, request())
    assert result.exit_code == 1
    assert [each.get("code") for each in answers] == [None, "INTERNAL_ERROR", None]
    assert "of the test" not in str(answers[1])


def test_an_amount_beyond_counting_is_a_bad_line(run: Run, pack: Path) -> None:
    order = {
        **REQUEST["order"],  # type: ignore[dict-item]
        "lines": [
            {"id": "1", "quantity": 1, "paid": "9" * 13 + ".00"},
            {"id": "2", "paid": "9" * 13 + ".00"},
        ],
    }
    result, (answer,) = evaluate(run, pack, request(order=order))
    assert result.exit_code == 1
    assert answer["code"] == "INVALID_REQUEST"


def test_a_pack_with_errors_leaves_the_stream_of_decisions_empty(
    run: Run, write_pack: Callable[..., Path]
) -> None:
    words = ("evaluate", "--pack", write_pack(BROKEN), "--format", "json")
    result = run(*words, given=request())
    assert (result.exit_code, result.stdout) == (3, "")
    assert "[UNQUOTED_DECIMAL]" in result.stderr
