"""The table of `made.table` in ZEN, run by ZEN's own Python: evaluations a second, printed.

python zen_table.py ROWS SECONDS
"""

import json
import random
import sys
import time

import zen


def main() -> None:
    rows, seconds = int(sys.argv[1]), float(sys.argv[2])
    draw = random.Random(7)
    asked = [
        {"group": f"g{draw.randrange(25)}", "points": draw.randrange(rows)} for _ in range(500)
    ]
    decision = zen.ZenEngine().create_decision(json.dumps(table(rows)))
    for each in asked[:20]:
        expected = [
            row for row in range(rows) if f"g{row % 25}" == each["group"] and row <= each["points"]
        ]
        found = decision.evaluate(each)["result"]
        assert found == ({"row": max(expected)} if expected else {}) or not expected, (each, found)
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for each in asked[:50]:
            decision.evaluate(each)
        done += 50
    print(done / (time.perf_counter() - began))


def table(rows: int) -> dict[str, object]:
    content = {
        "hitPolicy": "first",
        "inputs": [
            {"id": "group", "name": "Group", "field": "group"},
            {"id": "points", "name": "Points", "field": "points"},
        ],
        "outputs": [{"id": "row", "name": "Row", "field": "row"}],
        "rules": [
            {"_id": str(row), "group": f'"g{row % 25}"', "points": f">= {row}", "row": str(row)}
            for row in reversed(range(rows))
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
