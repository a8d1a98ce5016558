"""Pack revisions are kept for ever; the last activation says which one is active."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from sqlalchemy import func, select

from policy_engine.ledger.errors import TamperedError, UnknownRevisionError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.tables import ACTIVATION, OUTBOX, RECORD
from tests.ledger.given import REVISION

SECOND = "sha256:" + "2" * 64


def test_the_bytes_of_a_revision_come_back(ledger: Ledger) -> None:
    assert ledger.packs.store(SECOND, b"\0\xff bytes")
    assert not ledger.packs.store(SECOND, b"\0\xff bytes")
    assert ledger.packs.archive(SECOND) == b"\0\xff bytes"


def test_a_revision_never_gets_other_bytes(ledger: Ledger) -> None:
    with pytest.raises(TamperedError, match=REVISION):
        ledger.packs.store(REVISION, b"other bytes")


def test_nothing_is_active_before_the_first_activation(ledger: Ledger) -> None:
    assert ledger.packs.active() is None
    assert [each.active for each in ledger.packs.revisions()] == [False]


def test_the_last_activation_counts_also_when_it_goes_back(ledger: Ledger) -> None:
    ledger.packs.store(SECOND, b"")
    for revision in (REVISION, SECOND, REVISION):
        ledger.packs.activate(revision, by="ops")
    active = ledger.packs.active()
    assert active is not None
    assert (active.revision, active.activated_by) == (REVISION, "ops")
    listed = {each.revision: each for each in ledger.packs.revisions()}
    assert (listed[REVISION].active, listed[SECOND].active) == (True, False)
    assert listed[REVISION].activated_at == active.activated_at
    assert listed[SECOND].activated_at is not None


def test_another_node_sees_the_change(ledger: Ledger, open_ledger: Callable[..., Ledger]) -> None:
    other = open_ledger()
    first = ledger.packs.activate(REVISION, by="ops")
    assert other.packs.active() == first
    ledger.packs.store(SECOND, b"")
    second = ledger.packs.activate(SECOND, by="ops")
    assert other.packs.active() == second
    assert second.sequence > first.sequence


def test_activating_the_active_one_again_changes_nothing(ledger: Ledger) -> None:
    first = ledger.packs.activate(REVISION, by="ops")
    assert ledger.packs.activate(REVISION, by="someone else") == first
    with ledger._database.engine.connect() as connection:
        count = select(func.count()).select_from(ACTIVATION)
        assert connection.execute(count).scalar_one() == 1


def test_an_unknown_revision_is_not_activated(ledger: Ledger) -> None:
    with pytest.raises(UnknownRevisionError, match="sha256:none"):
        ledger.packs.activate("sha256:none", by="ops")
    with pytest.raises(UnknownRevisionError):
        ledger.packs.archive("sha256:none")
    assert ledger.packs.active() is None


def test_an_activation_is_a_record_of_the_log(ledger: Ledger) -> None:
    ledger.packs.store(SECOND, b"")
    ledger.packs.activate(REVISION, by="ops")
    ledger.packs.activate(SECOND, by="ops")
    with ledger._database.engine.connect() as connection:
        contents = connection.execute(
            select(RECORD.c.content)
            .join(OUTBOX, OUTBOX.c.record_id == RECORD.c.id)
            .join(ACTIVATION, ACTIVATION.c.record_id == RECORD.c.id)
            .order_by(ACTIVATION.c.sequence)
        ).scalars()
        records = [json.loads(content) for content in contents]
    assert [(each["revision"], each["previous"]) for each in records] == [
        (REVISION, None),
        (SECOND, REVISION),
    ]


def test_activations_at_once_take_turns(ledger: Ledger, open_ledger: Callable[..., Ledger]) -> None:
    ledger.packs.store(SECOND, b"")
    nodes = [ledger, open_ledger()]

    def activate(number: int) -> None:
        nodes[number % 2].packs.activate((REVISION, SECOND)[number % 2], by=f"ops-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(activate, range(24)))

    with ledger._database.engine.connect() as connection:
        history = connection.execute(select(ACTIVATION).order_by(ACTIVATION.c.sequence)).all()
    assert all(
        before.revision != after.revision and before.activated_at_us <= after.activated_at_us
        for before, after in pairwise(history)
    )
