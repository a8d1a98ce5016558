"""Keys are shown once, told apart exactly, and end when they are revoked or expire."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from policy_engine.core.request import Agent
from policy_engine.ledger.credentials import REMEMBERED_SECONDS
from policy_engine.ledger.errors import UnknownCredentialError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.ledger.tables import OUTBOX, RECORD
from tests.ledger.test_privacy import all_bytes

PLUG_IN = CredentialTerms(
    "help-desk",
    frozenset({"decide", "grant"}),
    ceiling="supervisor",
    roster={"A-1": "agent", "A-2": "supervisor"},
    owner="P-1",
    expires_at=datetime(2199, 1, 1, tzinfo=UTC),
)
PERSON = CredentialTerms("desk", frozenset({"approve"}), person=Agent("P-2", "supervisor"))
READER = CredentialTerms("finance", frozenset({"audit"}))


@pytest.mark.parametrize("terms", [PLUG_IN, PERSON, READER])
def test_a_new_key_is_known_by_what_it_may_do(ledger: Ledger, terms: CredentialTerms) -> None:
    made = ledger.credentials.create(terms, by="root")

    assert re.fullmatch(r"pe_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", made.key)
    assert ledger.credentials.verify(made.key) == made.credential
    assert made.credential.terms == terms
    assert ledger.credentials.list() == (made.credential,)


def test_the_key_itself_is_stored_and_shown_nowhere(ledger: Ledger) -> None:
    made = ledger.credentials.create(PLUG_IN, by="root")
    secret = made.key.split("_", 2)[2]
    assert secret.encode() not in all_bytes(ledger)
    assert secret not in repr(made)


def test_what_is_not_the_key_opens_nothing(ledger: Ledger) -> None:
    key = ledger.credentials.create(PLUG_IN, by="root").key
    other = ledger.credentials.create(PLUG_IN, by="root").key
    prefix, key_id, secret = key.split("_", 2)
    for wrong in (
        "",
        "pe",
        "pe__",
        key[:-1],
        key + "A",
        key.upper(),
        f"{prefix}_{key_id}_{other.split('_', 2)[2]}",
        f"{prefix}_{'0' * 16}_{secret}",
        f"{prefix}_{key_id}",
        f"{prefix}_{key_id[:-1]}\0_{secret}",
        f"{key}\n",
        "pe_" + "券" * 16 + "_" + secret,
        "x" * 100_000,
    ):
        assert ledger.credentials.verify(wrong) is None, wrong
    assert ledger.credentials.verify(key) is not None


def test_a_revoked_key_ends_at_once(ledger: Ledger) -> None:
    made = ledger.credentials.create(PERSON, by="root")
    assert ledger.credentials.verify(made.key) is not None

    revoked = ledger.credentials.revoke(made.credential.id, by="root")

    assert ledger.credentials.verify(made.key) is None
    assert revoked.revoked_at is not None
    assert ledger.credentials.list() == (revoked,)
    assert ledger.credentials.revoke(made.credential.id, by="someone else") == revoked


def test_another_node_learns_of_a_revocation_within_two_seconds(
    ledger: Ledger, open_ledger: Callable[..., Ledger]
) -> None:
    other = open_ledger()
    made = ledger.credentials.create(PERSON, by="root")
    assert other.credentials.verify(made.key) is not None
    ledger.credentials.revoke(made.credential.id, by="root")
    give_up_at = time.monotonic() + 2
    while other.credentials.verify(made.key) is not None:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert REMEMBERED_SECONDS < 2


def test_an_expired_key_ends_even_while_it_is_remembered(ledger: Ledger) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=3)
    terms = CredentialTerms("desk", frozenset({"decide"}), expires_at=expires_at)
    key = ledger.credentials.create(terms, by="root").key
    assert ledger.credentials.verify(key) is not None
    time.sleep(max(0.0, (expires_at - datetime.now(UTC)).total_seconds()) + 0.01)
    assert ledger.credentials.verify(key) is None


def test_an_unknown_credential_can_not_be_revoked(ledger: Ledger) -> None:
    with pytest.raises(UnknownCredentialError, match="`nobody`"):
        ledger.credentials.revoke("nobody", by="root")


def test_keys_made_and_revoked_are_records_of_the_log(ledger: Ledger) -> None:
    made = ledger.credentials.create(PLUG_IN, by="root")
    ledger.credentials.revoke(made.credential.id, by="second")
    with ledger._database.engine.connect() as connection:
        contents = connection.execute(
            select(RECORD.c.content)
            .join(OUTBOX, OUTBOX.c.record_id == RECORD.c.id)
            .order_by(RECORD.c.id)
        ).scalars()
        created, revoked = (json.loads(content) for content in contents)
    assert (created["kind"], created["by"]) == ("credential_created", "root")
    assert created["credential"] == revoked["credential"] == made.credential.id
    assert (created["ceiling"], created["scopes"]) == ("supervisor", ["decide", "grant"])
    assert (revoked["kind"], revoked["by"]) == ("credential_revoked", "second")


def test_a_credential_is_a_person_or_acts_for_others_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        CredentialTerms("x", frozenset(), person=Agent("P-1", "agent"), ceiling="agent")
    with pytest.raises(ValueError, match="ceiling"):
        CredentialTerms("x", frozenset(), roster={})
