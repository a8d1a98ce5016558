"""Everything that was committed gets one place, in a dense order, whoever gives it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from policy_engine import bootstrap
from policy_engine.ledger.errors import SecretError, UnavailableError
from policy_engine.ledger.log.reading import LogFilter
from policy_engine.ledger.log.tree import check_consistency, check_inclusion
from policy_engine.usecases import packs
from policy_engine.usecases.keeping import LogState
from policy_engine.usecases.services import Services
from tests.log.given import begin, decide_one, sequence

LEAVES = text("SELECT leaf_index, record_id FROM log_leaf ORDER BY leaf_index")
RECORD = text(
    "INSERT INTO record (id, kind, recorded_at_us, content, leaf_hash) "
    "VALUES (:id, 'test', 0, :bytes, :bytes)"
)


def places(services: Services) -> list[tuple[int, str]]:
    with services.ledger._database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(LEAVES)]


def ids_on_record(services: Services) -> set[str]:
    with services.ledger._database.engine.connect() as connection:
        return set(connection.execute(text("SELECT id FROM record")).scalars())


def test_what_waits_gets_the_next_places_under_a_signed_checkpoint(services: Services) -> None:
    first = sequence(services)
    decided = [decide_one(services, number) for number in range(5)]
    assert services.ledger.log.status().waiting == 5

    assert sequence(services) == 5

    assert places(services)[first:] == list(enumerate(decided, first))
    status, latest = services.ledger.log.status(), services.ledger.log.checkpoint()
    assert (status.size, status.waiting, status.delay) == (first + 5, 0, timedelta(0))
    assert latest is not None
    key = services.ledger.log.key()
    assert key is not None
    signed = key.open(latest.note)
    assert (signed.size, signed.root) == (first + 5, latest.root)


def test_nothing_waiting_signs_nothing(services: Services) -> None:
    sequence(services)
    before = services.ledger.log.checkpoint()
    assert sequence(services) == 0
    assert services.ledger.log.checkpoint() == before


def test_every_proof_of_a_log_of_several_tiles_holds(services: Services) -> None:
    with services.ledger._database.engine.begin() as connection:
        # Cheap records: 700 leaves are three tiles, and 256 of them make a stored node.
        for number in range(700):
            values = {"id": f"r{number:04}", "bytes": f"{number}".encode()}
            connection.execute(RECORD, values)
            connection.execute(text("INSERT INTO outbox VALUES (:id)"), {"id": values["id"]})
    key = bootstrap.open_log(services.settings, services.ledger, by="tests")
    sequencer = services.ledger.log.sequencer(key)
    sequencer._batch = 300
    while sequencer.run_once().moved:
        pass
    log = services.ledger.log
    size = log.status().size
    for index in (0, 255, 256, 511, 512, 600, size - 1):
        for end in (index + 1, 513, size):
            if index < end <= size:
                proof = log.inclusion(index=index, size=end)
                assert proof is not None
                leaf = proof.entry.leaf_hash
                check_inclusion(leaf, index, end, proof.hashes, proof.root)
    latest = log.checkpoint()
    assert latest is not None
    for first in (0, 1, 255, 256, 257, 512, size):
        both = log.consistency(first)
        check_consistency(first, size, both.first_root, both.second_root, both.hashes)
        assert both.second_root == latest.root


def test_a_record_committed_late_is_not_lost(
    postgres_url: str, make_services: Callable[..., Services]
) -> None:
    services = make_services(postgres_url)
    begin(services)
    sequence(services)
    engine = services.ledger._database.engine
    with engine.begin() as late:
        # An id that sorts before everything, in a transaction that ends after the others.
        late.execute(RECORD, {"id": "0-late", "bytes": b"x"})
        late.execute(text("INSERT INTO outbox VALUES ('0-late')"))
        decided = decide_one(services, 1)
        sequence(services)
    sequence(services)
    assert [record for _, record in places(services)][-2:] == [decided, "0-late"]


class RolledBackError(Exception):
    """A writer gives up."""


def write(node: Services, seed: int, count: int) -> None:
    """Decides; every tenth time gives up after having written."""
    chance = random.Random(seed)
    for number in range(count):
        try:
            if chance.random() < 0.1:
                with pytest.raises(RolledBackError):
                    node.ledger._database.write(partial(abandon, f"abandoned-{seed}-{number}"))
            else:
                decide_one(node, number)
        except UnavailableError:
            continue


def abandon(record_id: str, connection: Connection) -> None:
    values = {"id": record_id, "bytes": b"x"}
    connection.execute(RECORD, values)
    connection.execute(text("INSERT INTO outbox VALUES (:id)"), values)
    raise RolledBackError


def keep_until(stop: threading.Event, node: Services, failures: list[Exception]) -> None:
    while not stop.is_set():
        try:
            sequence(node)
        except UnavailableError:
            continue
        except Exception as error:  # noqa: BLE001 -- shown in the test
            failures.append(error)
            return


def test_two_sequencers_and_writers_that_roll_back_leave_no_gap_and_nothing_twice(
    services: Services, make_services: Callable[..., Services]
) -> None:
    nodes = [services, make_services(services.settings.database_url)]
    packs.follow(nodes[1])
    stop, failures = threading.Event(), list[Exception]()
    writers = [
        threading.Thread(target=write, args=(nodes[seed % 2], seed, 40)) for seed in range(4)
    ]
    keepers = [threading.Thread(target=keep_until, args=(stop, each, failures)) for each in nodes]
    for thread in (*writers, *keepers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in keepers:
        thread.join()
    sequence(services)

    assert failures == []
    taken = places(services)
    assert [index for index, _ in taken] == list(range(len(taken)))
    assert sorted(record for _, record in taken) == sorted(ids_on_record(services))
    assert not any("abandoned" in record for _, record in taken)
    assert len(taken) > 100


def test_another_process_goes_on_within_a_second_when_one_ends(
    services: Services, make_services: Callable[..., Services]
) -> None:
    other = make_services(services.settings.database_url)
    keepers = [bootstrap.log_keeper(each.settings, each.ledger) for each in (services, other)]
    for keeper in keepers:
        keeper.start()
    try:
        keepers[0].stop()
        decide_one(services, 1)
        _wait_until(lambda: services.ledger.log.status().waiting == 0)
    finally:
        keepers[1].stop()


def test_the_keeper_tells_how_far_it_is(services: Services) -> None:
    told: list[LogState] = []
    keeper = bootstrap.log_keeper(services.settings, services.ledger, told.append)
    keeper.start()
    decide_one(services, 1)
    _wait_until(lambda: told[-1].size == 3)
    keeper.stop()
    assert told[-1] == LogState(size=3, waiting=0, sequenced=3)


def test_the_outbox_is_emptied_by_the_sequencer_alone(services: Services) -> None:
    decide_one(services, 1)
    with (
        pytest.raises(DBAPIError, match="go when they are in the log"),
        services.ledger._database.engine.begin() as connection,
    ):
        connection.execute(text("DELETE FROM outbox"))


@pytest.mark.parametrize("table", ["log_key", "log_leaf", "log_node", "checkpoint"])
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_the_log_is_only_ever_added_to(services: Services, table: str, verb: str) -> None:
    sequence(services)
    with services.ledger._database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO log_node (level, position, hash) VALUES (0, 0, :hash)"),
            {"hash": b"x"},
        )
    column = {"log_key": "record_id", "log_leaf": "leaf_hash", "checkpoint": "note"}
    change = f"SET {column.get(table, 'hash')} = {column.get(table, 'hash')}"
    statement = f"UPDATE {table} {change}" if verb == "UPDATE" else f"DELETE FROM {table}"
    with (
        pytest.raises(DBAPIError, match="only ever added"),
        services.ledger._database.engine.begin() as connection,
    ):
        connection.execute(text(statement))


def test_another_key_is_refused(
    services: Services, make_services: Callable[..., Services], tmp_path: Path
) -> None:
    file = tmp_path / "other.log-key"
    other = make_services(services.settings.database_url, log_key_file=file)
    file.write_text("f" * 64)
    with pytest.raises(SecretError, match="another key"):
        bootstrap.open_log(other.settings, other.ledger, by="tests")
    file.unlink()
    with pytest.raises(SecretError, match="there is no log"):
        bootstrap.open_log(other.settings, other.ledger, by="tests")


def test_the_key_file_is_for_its_owner_alone(
    sqlite_url: str, make_services: Callable[..., Services], tmp_path: Path
) -> None:
    file = tmp_path / "log-key"
    services = make_services(sqlite_url, log_key_file=file)
    bootstrap.open_log(services.settings, services.ledger, by="tests")
    assert file.stat().st_mode & 0o777 == 0o600
    sequence(services)
    entry = services.ledger.log.list(LogFilter(kind="log_opened")).entries[0]
    assert services.ledger.log.record(entry.record_id) == entry
    assert str(services.ledger.log.key()).encode() in entry.content


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end, "it didn't happen within five seconds"
        time.sleep(0.02)
