"""Several files may hold versions of one policy: they must not overlap, and should not gap."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

from policy_engine.core.policy import Policy
from policy_engine.core.times import format_timestamp
from policy_engine.packs.problems import Code, Position, ProblemList

_ALWAYS = datetime.min.replace(tzinfo=UTC)


def in_order(
    written: Iterable[tuple[Position, Policy]], problems: ProblemList
) -> tuple[Policy, ...]:
    """All policies by id and start; what is wrong between versions is listed."""
    versions: dict[str, list[tuple[Position, Policy]]] = {}
    for at, policy in written:
        versions.setdefault(policy.id, []).append((at, policy))
    ordered: list[Policy] = []
    for _, of_one in sorted(versions.items()):
        of_one.sort(key=lambda each: (each[1].effective_from or _ALWAYS, each[0].file))
        for before, after in pairwise(of_one):
            _check(before, after, problems)
        ordered += [policy for _, policy in of_one]
    return tuple(ordered)


def _check(
    before: tuple[Position, Policy], after: tuple[Position, Policy], problems: ProblemList
) -> None:
    (where, earlier), (at, later) = before, after
    if earlier.date_by is not later.date_by:
        problems.error(
            at,
            Code.DATE_BY_DIFFERS,
            f"`date_by: {later.date_by}`, but the version in {where.file} has "
            f"`date_by: {earlier.date_by}`; let all versions of `{later.id}` agree",
        )
    end, start = earlier.effective_until, later.effective_from
    if end is None or start is None or start < end:
        problems.error(
            at,
            Code.OVERLAPPING_VERSIONS,
            f"overlaps the version of `{later.id}` in {where.file}; "
            "let that one end with `effective: {until: …}` where this one begins",
        )
    elif end < start:
        problems.warning(
            at,
            Code.GAP_BETWEEN_VERSIONS,
            f"no version of `{later.id}` holds from {format_timestamp(end)} "
            f"until {format_timestamp(start)}",
        )
