"""Whole samples of orders through `evaluate`, as a shop would run them, to the cent.

The sample in `tests/data` is made up and small: m1 is one second over five days late (5 % of
89.90 is 4.495, so 4.50), m2 exactly five days, m3 ten days late (5 % of 100.30 is 5.015, so
5.02), m4 was never delivered and m5 came early.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from bench.real_orders import requests
from policy_engine.rete import available

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"


MATCHERS = ["interpreter", *(["rete"] if available() else [])]
COMMAND = [sys.executable, "-m", "policy_engine", "evaluate"]


@dataclass(frozen=True)
class Sample:
    orders: Path
    pack: Path
    requests: int
    coupons: int
    total: Decimal


SAMPLES = {
    "made up": Sample(
        HERE / "data" / "made-up-orders.jsonl",
        HERE / "data" / "delay-pack",
        4,
        2,
        Decimal("9.52"),
    ),
}
if SHARED.is_dir():
    SAMPLES["olist"] = Sample(
        SHARED / "data" / "olist-orders.jsonl",
        SHARED / "cases" / "pack",
        3879,
        164,
        Decimal("1394.43"),
    )


def evaluate(pack: Path, lines: list[str], matcher: str) -> list[dict[str, object]]:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "policy_engine",
            "evaluate",
            "--pack",
            str(pack),
            "--matcher",
            matcher,
        ],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_late_order_gets_its_coupon_to_the_cent(name: str, matcher: str) -> None:
    sample = SAMPLES[name]
    with sample.orders.open(encoding="utf-8") as orders:
        lines = [json.dumps(each) for each in requests(orders)]
    assert len(lines) == sample.requests
    decisions = evaluate(sample.pack, lines, matcher)
    coupons = [
        Decimal(plan["allowed"]["amount"])
        for decision in decisions
        for plan in decision["plans"]  # type: ignore[attr-defined]
        if plan["plan"] == "shipping_delay/delay_coupon"
    ]
    assert len(decisions) == sample.requests
    assert (len(coupons), sum(coupons)) == (sample.coupons, sample.total)


def test_a_bad_line_gets_an_error_on_its_own_line_and_the_rest_goes_on() -> None:
    sample = SAMPLES["made up"]
    with sample.orders.open(encoding="utf-8") as orders:
        good = [json.dumps(each) for each in requests(orders)]
    no_lines = json.loads(good[0])
    no_lines["order"]["lines"] = []
    strange = json.loads(good[0])
    strange["order"]["currency"] = "XXQ"
    mixed = [
        good[0],
        json.dumps(no_lines),
        good[1],
        "this is no JSON",
        json.dumps(strange),
        good[2],
    ]
    answers = evaluate(sample.pack, mixed, "interpreter")
    assert [answer.get("outcome", answer.get("code")) for answer in answers] == [
        "offer",
        "INVALID_REQUEST",
        "nothing_due",
        "MALFORMED_JSON",
        "INVALID_REQUEST",
        "offer",
    ]
    pointers = [
        error["pointer"]
        for answer in answers
        for error in answer.get("errors", [])  # type: ignore[attr-defined]
    ]
    assert pointers == ["/order/lines", "/order/currency"]
    assert Counter(answer.get("line") for answer in answers if "code" in answer) == {
        2: 1,
        4: 1,
        5: 1,
    }
