"""Drives the service and the model of it together, and compares them after every step.

The service runs on a database file of its own, through its use cases, under a clock that the
machine sets.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from traceback import walk_stack
from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policy_engine import bootstrap
from policy_engine.core.money import Money
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import IdempotencyKey
from policy_engine.packs.files import PackFiles
from policy_engine.settings import Settings
from policy_engine.usecases import approving, deciding, grants, packs, settling, verifying
from policy_engine.usecases.caps import Whose, caps
from policy_engine.usecases.errors import UseCaseError
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from tests.api.conftest import SECRET
from tests.grants.model import CAPS, ORDERS, PLANS, START, Model

MICROSECOND = timedelta(microseconds=1)
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the databases are put: thousands of short runs that no crash has to survive."""


def money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


def pack_files(name: str) -> PackFiles:
    """The model's plans and caps as a pack."""
    files = {
        "pack.yaml": "offer_valid_for: {default: PT6H}\npending_for: P3D\n",
        "roles.yaml": "roles:\n  bot: {approver: agent, may: [coupon, gift]}\n"
        "  agent: {approver: supervisor, may: all}\n  supervisor: {may: all}\n",
        "facts.yaml": "facts:\n  incident.types: {type: set, values: [late, broken, sorry]}\n",
        "caps.yaml": "caps:\n" + "".join(f"  - {_cap(each)}\n" for each in CAPS[name]),
    }
    for plan, remedies in PLANS.items():
        policy, _, plan_id = plan.partition("/")
        rows = "".join(f"      - {_remedy(each)}\n" for each in remedies)
        files[f"{policy}.yaml"] = (
            f"policy: {policy}\ntitle: {{en: {policy}}}\nreason_code: {policy.upper()}\n"
            f"applies_to: [{policy}]\nplans:\n  - plan: {plan_id}\n    title: {{en: {plan_id}}}\n"
            f"    remedies:\n{rows}"
        )
    return PackFiles({file: text.encode() for file, text in files.items()})


def _cap(row: dict[str, Any]) -> str:
    limit: Any = row["limit"]
    if row["percent"]:
        limit = f'{{percent: "{limit}", of: order.total_paid}}'
    elif row["measure"] == "value":
        limit = f'{{CNY: "{money(limit)}"}}'
    parts = [f"cap: {row['name'].replace(' ', '_')}", f"scope: {row['scope']}"]
    parts += [f"measure: {row['measure']}", f"limit: {limit}"]
    window = row["window"]
    if isinstance(window, timedelta):
        parts.append(f"window: P{window.days}D")
    elif window:
        parts.append(f"window: {{calendar: {window}, zone: Asia/Shanghai}}")
    for name in ("roles", "kinds", "policies"):
        if row[name]:
            parts.append(f"{name}: [{', '.join(row[name])}]")
    return f"{{{', '.join(parts)}}}"


def _remedy(each: dict[str, Any]) -> str:
    kind = each["kind"]
    if "percent" in each:
        return f'{{kind: {kind}, percent: "{each["percent"]}", of: order.goods_paid{_end(kind)}}}'
    if each["fixed"]:
        return f'{{kind: {kind}, amount: {{CNY: "{money(each["fixed"])}"}}{_end(kind)}}}'
    return f"{{kind: {kind}}}"


def _end(kind: str) -> str:
    return ", valid_for: P2D" if kind in ("coupon", "store_credit") else ""


class Clock:
    """Ledger time as the machine says."""

    def __init__(self) -> None:
        self.at = START

    def now(self, _connection: object = None) -> datetime:
        return self.at


@cache
def template() -> Path:
    """A database with every pack stored and the first one active; copied for each run."""
    folder = Path(tempfile.mkdtemp(prefix="grant-model-", dir=IN_MEMORY))
    atexit.register(shutil.rmtree, folder)
    services = _open(folder / "ledger.db", Clock())
    services.ledger.upgrade()
    for name in reversed(CAPS):
        packs.activate_files(services, pack_files(name), by="tests")
    services.packs.close()
    services.ledger.close()
    return folder / "ledger.db"


def _open(file: Path, clock: Clock) -> Services:
    settings = Settings(database_url=f"sqlite:///{file}", secret_key=SECRET, matcher="interpreter")
    services = bootstrap.build(settings)
    services.ledger._database._clock = clock  # type: ignore[attr-defined]
    object.__setattr__(services, "clock", clock.now)
    return services


PEOPLE = {"bot": "B", "agent": "A", "supervisor": "S"}
EVERYTHING = frozenset(Scope)
AUDITOR = Principal("finance", EVERYTHING)
steps = st.sampled_from(
    [timedelta(), timedelta(hours=1), timedelta(days=1), timedelta(days=2), timedelta(days=20)]
)
amounts = st.one_of(st.none(), st.integers(1, 900), st.integers(1, 6000))
pick = st.integers(0, 10**6)
asked = st.tuples(
    st.sampled_from(sorted(ORDERS)), st.sampled_from(sorted(PEOPLE)), st.sampled_from(sorted(PLANS))
)
"""(order, role, plan)"""


def person(name: str, role: str) -> Principal:
    return Principal("desk", EVERYTHING, Agent(name, role), credential=f"key-{name}", owner=name)


class GrantMachine(RuleBasedStateMachine):
    """What can happen to offers and grants, one thing after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.clock = Clock()
        self.folder = Path(tempfile.mkdtemp(prefix="grant-run-", dir=IN_MEMORY))
        shutil.copy(template(), self.folder / "ledger.db")
        self.services = _open(self.folder / "ledger.db", self.clock)
        packs.follow(self.services)
        self.keys = count()
        self.offers: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[str] = []

    def teardown(self) -> None:
        try:
            # Counters against the entries are a part of it, and each grant against its caps.
            report = verifying.verify(self.services, (), None, replaying=False)
            assert report.findings == []
        finally:
            self.services.packs.close()
            self.services.ledger.close()
            shutil.rmtree(self.folder)

    def key(self) -> IdempotencyKey:
        return IdempotencyKey("desk", str(next(self.keys)), "POST", "/", "", "", b"")

    def call(self, act: Callable[[], Any]) -> Any:
        """The JSON of the answer, or the code of the refusal."""
        names = (frame.f_code.co_name for frame, _ in walk_stack(None))
        name = next(each for each in names if each not in ("call", "moved"))
        try:
            answered = json.loads(act().body)
        except UseCaseError as error:
            event(f"{name}: {error.code}")
            return error.code
        event(f"{name}: done")
        return answered

    # --- rules ---

    @initialize(hours=st.integers(0, 40), first=st.lists(asked, min_size=2, max_size=6))
    def begin(self, hours: int, first: list[tuple[str, str, str]]) -> None:
        """Not from nothing: hypothesis leaves rules out of a run, and without a grant most of
        them have nothing to do."""
        self.move_clock(timedelta(hours=hours))
        for each in first:
            self.decide(each)
            self.grant(0, None)

    @rule(step=steps)
    def move_clock(self, step: timedelta) -> None:
        self.clock.at = self.model.now = self.clock.at + step + MICROSECOND
        self.model.settle()

    @rule(name=st.sampled_from(sorted(CAPS)))
    def change_pack(self, name: str) -> None:
        packs.activate_files(self.services, pack_files(name), by="tests")
        self.model.caps = CAPS[name]

    @rule(what=asked, amount=amounts)
    def decide_and_grant(self, what: tuple[str, str, str], amount: int | None) -> None:
        self.decide(what)
        self.grant(0, amount)

    @rule(what=asked)
    def decide(self, what: tuple[str, str, str]) -> None:
        order, role, plan = what
        customer, lines = ORDERS[order]
        body = {
            "order": {
                "id": order,
                "currency": "CNY",
                "shipping_paid": "0.00",
                "lines": [{"id": str(i), "paid": money(each)} for i, each in enumerate(lines)],
            },
            "incident": {"types": [plan.partition("/")[0]]},
            "customer": {"id": customer},
        }
        caller = person(PEOPLE[role], role)
        decided = self.call(lambda: deciding.decide(self.services, caller, body, self.key()).answer)
        expected = self.model.offer(order, PEOPLE[role], role, plan)
        if expected is None:
            assert decided["plans"] == [], decided
            return
        (found,) = decided["plans"]
        assert [
            (each["kind"], each["allowed"]["amount"], each["pending"]["amount"])
            for each in found["remedies"]
        ] == [(e["kind"], money(e["allowed"]), money(e["pending"])) for e in expected["parts"]]
        assert found["authority"]["approver"] == expected["approver"]
        self.offers.append((decided["decision_id"], expected))

    @rule(which=pick, amount=amounts)
    def grant(self, which: int, amount: int | None) -> None:
        if not self.offers:
            return
        # Mostly a recent offer: the others have run out.
        decision, offer = self.offers[-1 - which % min(4, len(self.offers))]
        if len(offer["parts"]) > 1:
            amount = None
        wanted = grants.Wanted(
            decision, offer["plan"], None if amount is None else Money(amount, "CNY")
        )
        caller = person(offer["agent"], offer["role"])
        answered = self.call(lambda: grants.grant(self.services, caller, wanted, self.key()))
        expected = self.model.take(offer, amount)
        if isinstance(expected, str):
            assert answered == expected
            return
        self.ids.append(answered["grant_id"])
        self.same(answered, expected)

    @rule(which=pick, role=st.sampled_from(["agent", "supervisor"]), amount=amounts)
    def approve(self, which: int, role: str, amount: int | None) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(which, lambda each: self.model.waiting(each) > 0)
        if len(grant["remedies"]) > 1:
            amount = None
        self.moved(
            lambda: approving.approve(
                self.services,
                person(f"{role}-2", role),
                grant_id,
                self.key(),
                amount=None if amount is None else Money(amount, "CNY"),
                note=None,
            ),
            grant,
            self.model.approve(grant, role, amount),
        )

    @rule(which=pick, role=st.sampled_from(["agent", "supervisor"]))
    def reject(self, which: int, role: str) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(which, lambda each: self.model.waiting(each) > 0)
        self.moved(
            lambda: approving.reject(
                self.services, person(f"{role}-2", role), grant_id, self.key(), reason="no"
            ),
            grant,
            self.model.reject(grant, role),
        )

    @rule(which=pick, remedy=st.sampled_from(["coupon", "store_credit", "refund"]), amount=amounts)
    def redeem(self, which: int, remedy: str, amount: int | None) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(which)
        amount = amount or 1
        if which % 3:
            remedy = grant["remedies"][-1]["kind"]
        self.moved(
            lambda: settling.redeem(
                self.services,
                AUDITOR,
                grant_id,
                self.key(),
                remedy=remedy,
                amount=Money(amount, "CNY"),
                reference=None,
            ),
            grant,
            self.model.redeem(grant, remedy, amount),
        )

    @rule(
        which=pick,
        remedy=st.sampled_from(["coupon", "refund", "gift", "keep_item"]),
        done=st.booleans(),
    )
    def report(self, which: int, remedy: str, done: bool) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(which)
        if which % 3:
            remedy = grant["remedies"][which % len(grant["remedies"])]["kind"]
        self.moved(
            lambda: settling.report_fulfilment(
                self.services,
                AUDITOR,
                grant_id,
                self.key(),
                remedy=remedy,
                done=done,
                external_ref=None,
            ),
            grant,
            self.model.report(grant, remedy, done),
        )

    @rule(which=pick, amount=amounts)
    def reverse(self, which: int, amount: int | None) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(which)
        if len(grant["remedies"]) > 1:
            amount = None
        self.moved(
            lambda: settling.reverse(
                self.services,
                AUDITOR,
                grant_id,
                self.key(),
                remedy=None,
                amount=None if amount is None else Money(amount, "CNY"),
                reason="no",
            ),
            grant,
            self.model.reverse(grant, amount),
        )

    # --- comparing ---

    def picked(
        self, which: int, liked: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> tuple[str, dict[str, Any]]:
        pairs = list(zip(self.ids, self.model.grants, strict=True))
        best = [each for each in pairs if liked(each[1])] if which % 4 else pairs
        return (best or pairs)[which % len(best or pairs)]

    def moved(self, act: Callable[[], Any], grant: dict[str, Any], expected: str | None) -> None:
        answered = self.call(act)
        if expected is not None:
            assert answered == expected
        else:
            assert not isinstance(answered, str), answered
            self.same(answered, grant)

    def same(self, shown: dict[str, Any], grant: dict[str, Any]) -> None:
        assert shown["status"] == self.model.status(grant)
        for found, each in zip(shown["remedies"], grant["remedies"], strict=True):
            reserve = each["reserve"]
            assert found["granted"]["amount"] == money(each["granted"])
            assert found["pending"]["amount"] == money(reserve["left"] if reserve else 0)
            assert found["reversed"]["amount"] == money(each["reversed"])
            assert found["expired"]["amount"] == money(each["expired"])
            if each["kind"] in ("coupon", "store_credit"):
                assert found["redeemed"]["amount"] == money(each["redeemed"])

    @invariant()
    def caps_hold_the_same(self) -> None:
        order = sorted(ORDERS)[next(self.keys) % len(ORDERS)]
        agent = sorted(PEOPLE.values())[next(self.keys) % len(PEOPLE)]
        customer = ORDERS[order][0]
        found = caps(self.services, AUDITOR, Whose(order, customer, agent))
        ids = {"order": order, "customer": customer, "agent": agent}
        rows = {each["name"].replace(" ", "_"): each for each in self.model.caps}
        for shown in found["caps"]:
            row = rows[shown["cap"]]
            used = self.model.used(row, ids, shown["policy"] or "")
            expected: Any = used if row["measure"] == "count" else money(used)
            value = shown["used"]
            assert (value if isinstance(value, int) else value["amount"]) == expected, shown

    @invariant()
    def states_are_the_same(self) -> None:
        if not self.ids:
            return
        grant_id, grant = self.picked(next(self.keys))
        self.same(grants.show(self.services, AUDITOR, grant_id), grant)
