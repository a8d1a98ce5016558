"""Turn the Olist sample of real orders into decision requests, one JSON object a line.

    python bench/real_orders.py olist-orders.jsonl > requests.jsonl
    policy-engine evaluate --pack PACK < requests.jsonl > decisions.jsonl

Only delivered orders with lines become requests; times are read as UTC, the decision is
made at the delivery, goods are the item prices and shipping the freight (BRL).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any


def requests(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """A decision request for each delivered order with lines and a promised delivery."""
    for line in lines:
        order = json.loads(line)
        if order["status"] == "delivered" and order["delivered_at"] and order["items"]:
            yield request(order)


def request(order: dict[str, Any]) -> dict[str, Any]:
    """One order of the sample as a decision request for a delayed delivery."""
    delivered_at = _instant(order["delivered_at"])
    return {
        "order": {
            "id": order["order_id"],
            "currency": "BRL",
            "placed_at": _instant(order["purchased_at"]),
            "paid_at": _instant(order["approved_at"]),
            "dispatched_at": _instant(order["handed_to_carrier_at"]),
            "promised_delivery_by": _instant(order["promised_delivery_by"]),
            "delivered_at": delivered_at,
            "shipping_paid": _amount(sum(Decimal(item["freight"]) for item in order["items"])),
            "lines": [
                {
                    "id": str(item["item"]),
                    "sku": item["product_id"],
                    "quantity": 1,
                    "paid": _amount(Decimal(item["price"])),
                }
                for item in order["items"]
            ],
        },
        "incident": {"types": ["shipping_delay"]},
        "customer": {"id": order["customer_id"]},
        "agent": {"id": "desk", "role": "agent"},
        "as_of": delivered_at,
    }


def _instant(text: str | None) -> str | None:
    return None if not text else text.replace(" ", "T") + "Z"


def _amount(value: Decimal | int) -> str:
    return f"{Decimal(value):.2f}"


def main() -> None:
    with Path(sys.argv[1]).open(encoding="utf-8") as sample:
        for each in requests(sample):
            print(json.dumps(each, separators=(",", ":")))


if __name__ == "__main__":
    main()
