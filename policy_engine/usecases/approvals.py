"""What became of what waited for approval, and how long that took."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any, Final

from policy_engine.core.grants import Movement
from policy_engine.ledger.history import RecordedGrant

_ENDS: Final = {
    Movement.POST: "approved",
    Movement.REJECT: "rejected",
    Movement.LAPSE: "lapsed",
}
_SECOND: Final = timedelta(seconds=1)


class Approvals:
    """Grants that waited for somebody at `since` or later. A grant waits once, whatever of it."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._asked = 0
        self._waiting = 0
        self._ended: Counter[str] = Counter()
        self._took: list[timedelta] = []
        self._approvers: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, grant: RecordedGrant) -> None:
        entries = [each.entry for each in grant.entries]
        reserved = [each for each in entries if each.movement is Movement.RESERVE]
        if not reserved:
            return
        if reserved[0].at >= self._since:
            self._asked += 1
        ends = [
            each
            for each in grant.entries
            if each.entry.movement in _ENDS and each.entry.against is not None
        ]
        if not ends:
            self._waiting += 1
            return
        # One answer settles all that waits; where it gives a part, the rest is rejected with it.
        approved = [each for each in ends if each.entry.movement is Movement.POST]
        end = (approved or ends)[0]
        if end.entry.at < self._since:
            return
        self._ended[_ENDS[end.entry.movement]] += 1
        if end.entry.movement is not Movement.LAPSE:
            self._took.append(end.entry.at - reserved[0].at)
            self._approvers[end.actor or ""][_ENDS[end.entry.movement]] += 1

    def as_json(self) -> dict[str, Any]:
        """Counts of grants, and seconds from the asking to the answer of a person."""
        took = sorted(each // _SECOND for each in self._took)
        return {
            "asked": self._asked,
            **{name: self._ended[name] for name in _ENDS.values()},
            "waiting": self._waiting,
            "seconds": {
                "median": _quantile(took, 50),
                "most_within": _quantile(took, 90),
                "longest": took[-1] if took else None,
            },
            "approvers": [
                {"approver": who, "approved": counted["approved"], "rejected": counted["rejected"]}
                for who, counted in sorted(
                    self._approvers.items(), key=lambda each: (-each[1].total(), each[0])
                )
            ],
        }


def _quantile(ordered: list[int], percent: int) -> int | None:
    """The smallest value that at least `percent` of them don't exceed."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
