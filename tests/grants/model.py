"""Grants as plain dictionaries: a second, naive implementation of the rules to compare with.

Nothing of the service is used here. `machine.py` drives both and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

START = datetime(2026, 6, 10, 3, tzinfo=UTC)
DAY = timedelta(days=1)
ZONE = ZoneInfo("Asia/Shanghai")

ORDERS: dict[str, tuple[str, list[int]]] = {
    "o1": ("c1", [30000, 10001]),
    "o2": ("c1", [9999, 50]),
    "o3": ("c2", [40000]),
}
CHAINS = {
    "bot": ["bot", "agent", "supervisor"],
    "agent": ["agent", "supervisor"],
    "supervisor": ["supervisor"],
}
MAY = {"bot": {"coupon", "gift"}}
IN_KIND = {"gift", "keep_item"}
LATER = {"coupon", "store_credit"}
VALID, GRACE, PENDING_FOR, OFFER_FOR = 2 * DAY, 3 * DAY, 3 * DAY, 6 * timedelta(hours=1)

PLANS: dict[str, list[dict[str, Any]]] = {
    "late/coupon": [{"kind": "coupon", "percent": 10}],
    "broken/half": [{"kind": "refund", "percent": 50}],
    "sorry/goodies": [
        {"kind": "keep_item", "fixed": 0},
        {"kind": "gift", "fixed": 1500},
        {"kind": "store_credit", "fixed": 1000},
    ],
}


def cap(name: str, scope: str, limit: int, **filters: Any) -> dict[str, Any]:
    """A limit of value in minor units, or of count; `percent` of what was paid for the order."""
    row = {"name": name, "scope": scope, "limit": limit, "measure": "value", "window": None}
    return {**row, "roles": None, "kinds": None, "policies": None, "percent": False, **filters}


WHOLE = cap("order_total", "order", 100, percent=True)
BOT = cap("bot_order", "order", 1000, roles=["bot"])
CAPS = {
    "first": [
        WHOLE,
        BOT,
        cap("agent_order", "order", 3000, roles=["agent"]),
        cap("boss_order", "order", 25000, roles=["supervisor"]),
        cap("twice", "claim", 2, measure="count", policies=["late"]),
        cap("coupons_7d", "customer", 9000, window=7 * DAY, kinds=["coupon"]),
        cap("agent_day", "agent", 3, measure="count", window="day"),
        cap("budget", "pack", 20000, window="month", policies=["late"]),
    ],
    "renamed and tighter": [
        WHOLE,
        BOT,
        cap("clerk_order", "order", 2000, roles=["agent"]),
        cap("chief_order", "order", 21000, roles=["supervisor"]),
        cap("coupons_weekly", "customer", 5000, window=7 * DAY, kinds=["coupon"]),
        cap("busy", "customer", 4, measure="count", window=3 * DAY),
        cap("purse", "pack", 9000, window="month", policies=["late"]),
    ],
    "wide": [
        WHOLE,
        cap("once", "claim", 1, measure="count", policies=["sorry"]),
        cap("gifts", "pack", 2, measure="count", kinds=["gift"]),
        cap("given", "customer", 3000, kinds=["gift", "store_credit"], window="day"),
    ],
}

Grant = dict[str, Any]
Remedies = list[dict[str, Any]]


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder, the earlier first."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    exact = [Fraction(total * weight, whole) for weight in weights]
    parts = [floor(each) for each in exact]
    for index in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i)):
        if sum(parts) < total:
            parts[index] += 1
    return parts


class Model:
    """What should be so. `grants` and `offers` are dictionaries; money is in minor units."""

    def __init__(self) -> None:
        self.now = START
        self.caps = CAPS["first"]
        self.grants: list[Grant] = []

    # --- time ---

    def settle(self) -> None:
        """What has run out by now is gone."""
        for grant in self.grants:
            if grant["pending_until"] is not None and self.now >= grant["pending_until"]:
                self.drop_reserves(grant, "lapse")
            for each in grant["remedies"]:
                until = self.usable_until(each)
                if each["kind"] in LATER and until is not None and self.now >= until + GRACE:
                    expired = self.usable(each)
                    each["expired"] += expired
                    self.take_from_posts(each, expired, leaves=True)

    def usable_until(self, each: dict[str, Any]) -> datetime | None:
        return each["posts"][-1]["at"] + VALID if each["posts"] else None

    def since(self, window: Any) -> tuple[datetime, bool]:
        """(where a window starts, whether that instant is part of it)"""
        if window is None:
            return datetime.min.replace(tzinfo=UTC), True
        if isinstance(window, timedelta):
            return self.now - window, False
        local = self.now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        return (local if window == "day" else local.replace(day=1)), True

    # --- what is used ---

    def held(self, row: dict[str, Any], without: Grant | None) -> list[tuple[Grant, int, bool]]:
        """(grant, minor units, present) for everything that a cap counts in its window."""
        start, included = self.since(row["window"])
        found = []
        for grant in self.grants:
            for each in grant["remedies"]:
                if row["kinds"] and each["kind"] not in row["kinds"]:
                    continue
                pieces = list(each["posts"])
                if each["reserve"] is not None:
                    own = grant is without and row["measure"] == "value"
                    pieces += [] if own else [each["reserve"]]
                for piece in pieces:
                    inside = piece["at"] > start or (included and piece["at"] == start)
                    if inside:
                        found.append((grant, piece["left"], piece["present"]))
        return found

    def used(
        self, row: dict[str, Any], ids: dict[str, str], policy: str, without: Grant | None = None
    ) -> int:
        def matches(grant: Grant) -> bool:
            scope = row["scope"]
            if row["policies"] and grant["policy"] not in row["policies"]:
                return False
            if scope == "claim":
                return bool(grant["order"] == ids["order"] and grant["policy"] == policy)
            return bool(scope == "pack" or grant[scope] == ids[scope])

        found = [each for each in self.held(row, without) if matches(each[0])]
        if row["measure"] == "value":
            return sum(minor for _, minor, _ in found)
        return len({id(g) for g, _, present in found if present and g is not without})

    def headroom(
        self, ids: dict[str, str], policy: str, without: Grant | None = None
    ) -> list[tuple[dict[str, Any], int]]:
        rows = [each for each in self.caps if not each["policies"] or policy in each["policies"]]
        return [
            (row, max(0, self.limit(row, ids["order"]) - self.used(row, ids, policy, without)))
            for row in rows
        ]

    def limit(self, row: dict[str, Any], order: str) -> int:
        return sum(ORDERS[order][1]) * row["limit"] // 100 if row["percent"] else row["limit"]

    def room(self, order: str, without: Grant | None = None) -> list[int]:
        """What is left of each line."""
        left = list(ORDERS[order][1])
        for grant in self.grants:
            for each in grant["remedies"] if grant["order"] == order else []:
                reserve = each["reserve"] if grant is not without else None
                for piece in (each["lines"], reserve["lines"] if reserve else []):
                    for index, minor in enumerate(piece):
                        left[index] -= minor
        return left

    # --- what may be given ---

    def give(
        self,
        role: str,
        remedies: Remedies,
        rows: list[tuple[dict[str, Any], int]],
        room: list[int],
    ) -> list[tuple[int, bool, list[int]]]:
        """(minor units, given, lines) for each remedy."""
        left = [headroom for _, headroom in rows]
        room = list(room)
        found: list[tuple[int, bool, list[int]]] = []
        for each in remedies:
            kind = each["kind"]
            if role in MAY and kind not in MAY[role]:
                break
            holds = [
                i
                for i, (row, _) in enumerate(rows)
                if (not row["roles"] or role in row["roles"])
                and (not row["kinds"] or kind in row["kinds"])
            ]
            value = [i for i in holds if rows[i][0]["measure"] == "value"]
            full = any(left[i] == 0 for i in holds if rows[i][0]["measure"] == "count")
            lines = each["lines"]
            if kind == "refund":
                lines = [min(a, b) for a, b in zip(lines, room, strict=True)]
            most = sum(lines) if kind == "refund" else each["minor"]
            minor = 0 if full else min([most, *(left[i] for i in value)])
            if kind in IN_KIND and (full or minor < each["minor"]):
                break
            fallen = split(minor, lines)
            for i in value:
                left[i] -= minor
            if kind == "refund":
                room = [a - b for a, b in zip(room, fallen, strict=True)]
            found.append((minor, kind in IN_KIND or minor > 0, fallen))
        none = [0] * len(room)
        return found + [(0, False, none)] * (len(remedies) - len(found))

    def gives(
        self, order: str, agent: str, role: str, policy: str, remedies: Remedies
    ) -> list[tuple[str, list[tuple[int, bool, list[int]]]]]:
        """By each role of the chain, the actor first."""
        ids = {"order": order, "customer": ORDERS[order][0], "agent": agent}
        rows, room = self.headroom(ids, policy), self.room(order)
        return [(each, self.give(each, remedies, rows, room)) for each in CHAINS[role]]

    def offer(self, order: str, agent: str, role: str, plan: str) -> dict[str, Any] | None:
        """What a decision should offer of a plan."""
        policy = plan.partition("/")[0]
        remedies = [self.remedy(each, order) for each in PLANS[plan]]
        gives = self.gives(order, agent, role, policy, remedies)
        mine = gives[0][1]
        covering = [
            (name, give)
            for name, give in gives
            if all(g[0] >= m[0] and g[1] >= m[1] for g, m in zip(give, mine, strict=True))
        ]

        def size(give: list[tuple[int, bool, list[int]]]) -> tuple[int, int]:
            return sum(each[0] for each in give), sum(each[1] for each in give)

        most = max(size(give) for _, give in covering)
        name, want = next(each for each in covering if size(each[1]) == most)
        if not any(given for _, given, _ in want):
            return None
        parts = [
            {
                **remedy,
                "allowed": a,
                "pending": w - a,
                "gives": a_given,
                "waits": w > a or (w_given and not a_given),
                "lines": lines,
            }
            for remedy, (a, a_given, _), (w, w_given, lines) in zip(
                remedies, mine, want, strict=True
            )
        ]
        waits = any(each["waits"] for each in parts)
        return {
            "order": order,
            "agent": agent,
            "role": role,
            "policy": policy,
            "plan": plan,
            "parts": parts,
            "approver": name if waits else None,
            "expires": self.now + OFFER_FOR,
        }

    def remedy(self, rule: dict[str, Any], order: str) -> dict[str, Any]:
        paid = ORDERS[order][1]
        if "fixed" in rule:
            return {"kind": rule["kind"], "minor": rule["fixed"], "lines": [0] * len(paid)}
        minor = floor(Fraction(sum(paid) * rule["percent"], 100) + Fraction(1, 2))
        return {"kind": rule["kind"], "minor": minor, "lines": split(minor, paid)}

    # --- grants ---

    def take(self, offer: dict[str, Any], amount: int | None) -> Grant | str:
        """The grant, or the code of the refusal."""
        if offer.get("taken"):
            return "ALREADY_GRANTED"
        parts = self.cut(offer["parts"], amount)
        if parts is None:
            return "AMOUNT_ABOVE_OFFER"
        if self.now >= offer["expires"]:
            return "OFFER_EXPIRED"
        at_once = [
            {**each, "minor": each["allowed"], "lines": each["given_lines"]}
            for each in parts
            if each["gives"]
        ]
        whole = [{**each, "minor": each["allowed"] + each["pending"]} for each in parts]
        where = (offer["order"], offer["agent"], offer["role"], offer["policy"])
        ((_, mine), *_) = self.gives(*where, at_once)
        approvers = [
            name
            for name, give in self.gives(*where, whole)[1:]
            if all(g[0] == w["minor"] and g[1] for g, w in zip(give, whole, strict=True))
        ]
        waits = any(each["waits"] for each in parts)
        fits = all(g[0] == w["minor"] and g[1] for g, w in zip(mine, at_once, strict=True))
        if not fits or (waits and not approvers):
            return "CAP_EXHAUSTED"
        offer["taken"] = True
        grant = self.opened(offer, parts, approvers[0] if waits else None)
        self.grants.append(grant)
        return grant

    def cut(self, parts: list[dict[str, Any]], amount: int | None) -> list[dict[str, Any]] | None:
        """Only for plans of one remedy that is money."""
        if amount is not None:
            (each,) = parts
            if amount > each["allowed"] + each["pending"]:
                return None
            allowed = min(amount, each["allowed"])
            pending = amount - allowed
            lines = split(amount, each["lines"])
            changes = {"gives": allowed > 0, "waits": pending > 0, "lines": lines}
            parts = [{**each, "allowed": allowed, "pending": pending, **changes}]
        return [
            {**each, "given_lines": split(each["allowed"], each["lines"])}
            for each in parts
            if each["gives"] or each["waits"]
        ]

    def opened(
        self, offer: dict[str, Any], parts: list[dict[str, Any]], approver: str | None
    ) -> Grant:
        remedies = []
        for each in parts:
            left_lines = [a - b for a, b in zip(each["lines"], each["given_lines"], strict=True)]
            money_back = each["kind"] == "refund"
            given = {"at": self.now, "left": each["allowed"], "present": True}
            reserve = {
                "at": self.now,
                "left": each["pending"],
                "present": True,
                "lines": left_lines if money_back else [],
            }
            remedies.append(
                {
                    "kind": each["kind"],
                    "posts": [given] if each["gives"] else [],
                    "reserve": reserve if each["waits"] else None,
                    "lines": each["given_lines"] if money_back and each["gives"] else [],
                    "granted": each["allowed"],
                    "redeemed": 0,
                    "reversed": 0,
                    "expired": 0,
                    "failed": False,
                }
            )
        return {
            **{name: offer[name] for name in ("order", "agent", "role", "policy", "plan")},
            "customer": ORDERS[offer["order"]][0],
            "remedies": remedies,
            "approver": approver,
            "pending_until": self.now + PENDING_FOR if approver else None,
            "refused": None,
        }

    def drop_reserves(self, grant: Grant, how: str) -> None:
        for each in grant["remedies"]:
            if each["reserve"] is not None:
                each["reserve"] = None
                grant["refused"] = "lapse" if "lapse" in (how, grant["refused"]) else how

    def status(self, grant: Grant) -> str:
        waits = any(each["reserve"] for each in grant["remedies"])
        stands = any(p["present"] for each in grant["remedies"] for p in each["posts"])
        if waits:
            return "partly_pending" if stands else "pending"
        if stands:
            return "granted"
        if any(each["posts"] for each in grant["remedies"]):
            return "reversed"
        return "lapsed" if grant["refused"] == "lapse" else "rejected"

    def waiting(self, grant: Grant) -> int:
        return sum(each["reserve"]["left"] for each in grant["remedies"] if each["reserve"])

    def decide_on(self, grant: Grant, role: str) -> str | None:
        """Why this role can't approve or reject; None when it can."""
        if grant["approver"] is None:
            return "NOT_PENDING"
        if role not in CHAINS[grant["approver"]]:
            return "ROLE_TOO_LOW"
        return None if any(each["reserve"] for each in grant["remedies"]) else "NOT_PENDING"

    def approve(self, grant: Grant, role: str, amount: int | None) -> str | None:
        refusal = self.decide_on(grant, role)
        if refusal is not None:
            return refusal
        if amount is not None and not 1 <= amount <= self.waiting(grant):
            return "AMOUNT_ABOVE_PENDING"
        waiting = [each for each in grant["remedies"] if each["reserve"]]
        asked: Remedies = []
        for each in waiting:
            minor = each["reserve"]["left"] if amount is None else amount
            whole = each["reserve"]["lines"] or [0] * len(ORDERS[grant["order"]][1])
            asked.append({"kind": each["kind"], "minor": minor, "lines": split(minor, whole)})
        ids = {name: grant[name] for name in ("order", "customer", "agent")}
        rows = self.headroom(ids, grant["policy"], without=grant)
        given = self.give(role, asked, rows, self.room(grant["order"], without=grant))
        if not all(g[0] == a["minor"] and g[1] for g, a in zip(given, asked, strict=True)):
            return "CAP_EXHAUSTED"
        for each, what in zip(waiting, asked, strict=True):
            each["reserve"] = None
            each["posts"].append({"at": self.now, "left": what["minor"], "present": True})
            each["granted"] += what["minor"]
            if each["kind"] == "refund":
                before = each["lines"] or [0] * len(what["lines"])
                each["lines"] = [a + b for a, b in zip(before, what["lines"], strict=True)]
        return None

    def reject(self, grant: Grant, role: str) -> str | None:
        refusal = self.decide_on(grant, role)
        if refusal is None:
            self.drop_reserves(grant, "reject")
        return refusal

    def usable(self, each: dict[str, Any]) -> int:
        left = each["granted"] - each["reversed"] - each["expired"]
        if each["kind"] in LATER:
            return int(left - each["redeemed"])
        return int(left) if each["failed"] else 0

    def stands(self, each: dict[str, Any]) -> bool:
        return any(post["present"] for post in each["posts"])

    def redeem(self, grant: Grant, remedy: str, amount: int) -> str | None:
        each = next((one for one in grant["remedies"] if one["kind"] == remedy), None)
        if each is None:
            return "UNKNOWN_REMEDY"
        if remedy not in LATER:
            return "NOT_REDEEMABLE"
        if not 0 < amount <= self.usable(each):
            return "AMOUNT_ABOVE_LEFT"
        each["redeemed"] += amount
        return None

    def report(self, grant: Grant, remedy: str, done: bool) -> str | None:
        each = next((one for one in grant["remedies"] if one["kind"] == remedy), None)
        if each is None:
            return "UNKNOWN_REMEDY"
        if not self.stands(each):
            return "NOT_GRANTED"
        if not done and each["redeemed"]:
            return "ALREADY_REDEEMED"
        each["failed"] = not done
        return None

    def reverse(self, grant: Grant, amount: int | None) -> str | None:
        """Of all remedies; an amount only where there is one, so that no choice is left."""
        able = [
            each
            for each in grant["remedies"]
            if self.stands(each) and (self.usable(each) or (each["failed"] and not each["granted"]))
        ]
        if not able or (amount is not None and amount > sum(self.usable(each) for each in able)):
            return "NOT_REVERSIBLE"
        for each in able:
            minor = self.usable(each) if amount is None else amount
            each["reversed"] += minor
            self.take_from_posts(each, minor, leaves=False)
            if each["kind"] == "refund":
                back = split(minor, each["lines"])
                each["lines"] = [a - b for a, b in zip(each["lines"], back, strict=True)]
        return None

    def take_from_posts(self, each: dict[str, Any], minor: int, *, leaves: bool) -> None:
        """The newest first. What is taken back whole is no longer there; what expired still is."""
        left = minor
        for post in reversed(each["posts"]):
            taken = min(left, post["left"])
            post["left"] -= taken
            left -= taken
            if not leaves and post["left"] == 0 and (taken or each["granted"] == 0):
                post["present"] = False
