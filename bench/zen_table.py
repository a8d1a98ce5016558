"""The table of `made.table` in ZEN, run by ZEN's own Python: evaluations a second, printed.

python zen_table.py ROWS SECONDS key|prepared
"""

import json
import random
import sys
import time
from functools import partial

import zen
from zen_rows import DAYS, GROUPS, TIERS, first_row


def main() -> None:
    rows, seconds = int(sys.argv[1]), float(sys.argv[2])
    draw = random.Random(7)
    asked = [
        {
            "group": f"g{draw.randrange(GROUPS)}",
            "tier": f"t{draw.randrange(TIERS)}",
            "points": draw.randrange(rows),
            "days": draw.randrange(DAYS),
        }
        for _ in range(2_000)
    ]
    content = json.dumps(table(rows))
    if sys.argv[3] == "key":
        engine = zen.ZenEngine({"loader": lambda _key: content})
        evaluate = partial(engine.evaluate, "table")
    else:
        evaluate = zen.ZenEngine().create_decision(content).evaluate
    for each in asked[:50]:
        found = evaluate(each)["result"]
        assert ((found or {}).get("row") or None) == first_row(rows, each), (each, found)
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number in range(done, done + 50):
            evaluate(asked[number % len(asked)])
        done += 50
    print(done / (time.perf_counter() - began))


def table(rows: int) -> dict[str, object]:
    names = ("group", "tier", "points", "days")
    content = {
        "hitPolicy": "first",
        "inputs": [{"id": name, "name": name, "field": name} for name in names],
        "outputs": [{"id": "row", "name": "Row", "field": "row"}],
        "rules": [
            {
                "_id": str(row),
                "group": f'"g{row % GROUPS}"',
                "tier": f'"t{row % TIERS}"',
                "points": f">= {row}",
                "days": f">= {row % DAYS}",
                "row": str(row),
            }
            for row in reversed(range(1, rows + 1))
        ],
    }
    return {
        "contentType": "application/vnd.gorules.decision",
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in"},
            {"id": "table", "type": "decisionTableNode", "name": "table", "content": content},
            {"id": "out", "type": "outputNode", "name": "out"},
        ],
        "edges": [
            {"id": "1", "sourceId": "in", "targetId": "table", "type": "edge"},
            {"id": "2", "sourceId": "table", "targetId": "out", "type": "edge"},
        ],
    }


if __name__ == "__main__":
    main()
