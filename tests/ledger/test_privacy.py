"""What is stored names nobody, and erasing a subject's key erases what it sealed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from policy_engine.ledger.errors import ErasedError, SecretError, TamperedError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import DecisionFilter, Sealed
from policy_engine.ledger.tables import METADATA, SUBJECT
from tests.ledger.given import a_call, deciding, decision_id_of

CUSTOMER, NAME, TICKET = "customer-4711-zoe", "Zoë Quennell", "ticket-990-zq"


def all_bytes(ledger: Ledger) -> bytes:
    """Every stored value of every table, one after the other."""
    found = bytearray()
    with ledger._database.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(text(f"SELECT * FROM {table.name}")):
                for value in row:
                    found += bytes(value) if isinstance(value, bytes) else str(value).encode()
    return bytes(found)


def erase(ledger: Ledger, customer_id: str) -> None:
    with ledger._database.engine.begin() as connection:
        subject = ledger.decisions.customer(customer_id)
        connection.execute(delete(SUBJECT).where(SUBJECT.c.subject == subject))


def personal_of(ledger: Ledger, decision_id: str) -> bytes | None:
    stored = ledger.decisions.get(decision_id)
    assert stored is not None
    record = json.loads(stored.record)
    return ledger.decisions.open_personal(
        decision_id, Sealed(record["subject"], record["personal"])
    )


def test_no_stored_byte_names_the_customer(ledger: Ledger, database_url: str) -> None:
    work = deciding(customer=CUSTOMER, name=NAME, references=(TICKET,))
    ledger.decide(a_call("key-of-" + CUSTOMER, CUSTOMER.encode()), work)
    stored = all_bytes(ledger)
    ledger.close()
    if database_url.startswith("sqlite"):
        for file in Path(database_url.removeprefix("sqlite:///")).parent.iterdir():
            stored += file.read_bytes()

    assert b"shipping_delay" in stored
    for personal in (CUSTOMER, NAME, TICKET, "Quennell", json.dumps(NAME)[1:-1]):
        assert personal.encode() not in stored
        assert hashlib.sha256(personal.encode()).hexdigest().encode() not in stored


def test_the_customer_is_still_found_by_id(ledger: Ledger) -> None:
    answer = ledger.decide(None, deciding(customer=CUSTOMER, name=NAME))
    found = ledger.decisions.list(DecisionFilter(customer_id=CUSTOMER)).decisions
    assert [each.id for each in found] == [decision_id_of(answer)]
    assert found[0].answer == answer.body


def test_the_personal_part_of_a_record_opens_again(ledger: Ledger) -> None:
    decision_id = decision_id_of(ledger.decide(None, deciding(customer=CUSTOMER, name=NAME)))
    personal = personal_of(ledger, decision_id)
    assert personal is not None
    assert json.loads(personal) == {"customer": CUSTOMER, "name": NAME}


def test_erasing_leaves_the_record_and_takes_the_person(ledger: Ledger) -> None:
    gone = decision_id_of(ledger.decide(a_call("k1"), deciding(customer=CUSTOMER, name=NAME)))
    kept = decision_id_of(ledger.decide(a_call("k2"), deciding(customer="C-2")))
    before = ledger.decisions.get(gone)

    erase(ledger, CUSTOMER)

    after = ledger.decisions.get(gone)
    assert before is not None
    assert after is not None
    assert (after.record, after.digest, after.answer) == (before.record, before.digest, None)
    assert personal_of(ledger, gone) is None
    assert personal_of(ledger, kept) is not None
    with pytest.raises(ErasedError):
        ledger.decide(a_call("k1"), deciding(customer=CUSTOMER, name=NAME))


def test_a_customer_who_comes_back_does_not_bring_the_past_back(ledger: Ledger) -> None:
    before = decision_id_of(ledger.decide(None, deciding(customer=CUSTOMER, name=NAME)))
    erase(ledger, CUSTOMER)
    after = decision_id_of(ledger.decide(None, deciding(customer=CUSTOMER, name=NAME)))

    answers = [ledger.decisions.get(each) for each in (before, after)]

    assert [each is not None and each.answer is not None for each in answers] == [False, True]
    assert personal_of(ledger, before) is None
    assert personal_of(ledger, after) is not None


def test_sealed_bytes_do_not_open_in_another_place(ledger: Ledger) -> None:
    first, second = (decision_id_of(ledger.decide(None, deciding())) for _ in range(2))
    stored = ledger.decisions.get(first)
    assert stored is not None
    record = json.loads(stored.record)
    with pytest.raises(TamperedError):
        ledger.decisions.open_personal(second, Sealed(record["subject"], record["personal"]))


def test_another_secret_opens_nothing(
    ledger: Ledger, open_ledger: Callable[..., Ledger], database_url: str
) -> None:
    decision_id = decision_id_of(ledger.decide(None, deciding(customer=CUSTOMER)))
    other = Ledger.open(database_url, InstanceSecret("another secret key of forty characters!"))
    with pytest.raises(TamperedError):
        other.decisions.get(decision_id)
    assert other.decisions.list(DecisionFilter(customer_id=CUSTOMER)).decisions == ()
    other.close()


def test_two_subjects_have_two_keys(ledger: Ledger) -> None:
    for number in range(3):
        ledger.decide(None, deciding(customer=f"C-{number}"))
        ledger.decide(None, deciding(customer=f"C-{number}"))
    with ledger._database.engine.connect() as connection:
        sealed = connection.execute(select(SUBJECT.c.key_sealed)).scalars().all()
    assert len(sealed) == len(set(sealed)) == 3


def test_a_new_secret_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "secret"
    made = InstanceSecret.from_file(file, create=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["secret"]
    assert InstanceSecret.from_file(file, create=True).fingerprint == made.fingerprint
    assert InstanceSecret.from_file(file).pseudonym("customer", "C-1") == made.pseudonym(
        "customer", "C-1"
    )


@pytest.mark.parametrize("content", [b"", b"short", "密".encode() * 40])
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretError):
        InstanceSecret.from_file(file, create=True)


def test_a_missing_secret_is_not_made_up_silently(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="restore it"):
        InstanceSecret.from_file(tmp_path / "secret")


def test_the_secret_is_printed_nowhere(secret: InstanceSecret) -> None:
    assert "tests" not in f"{secret!r} {secret} {vars(secret)!r}"
