"""The fixtures that everything else stands on."""

import socket
from collections.abc import Callable

import sqlalchemy as sa


def test_a_database_of_each_kind_is_empty_and_can_be_written(empty_database_url: str) -> None:
    engine = sa.create_engine(empty_database_url)
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        connection.execute(sa.text("CREATE TABLE mark (id INTEGER)"))
    engine.dispose()


def test_every_test_gets_a_database_of_its_own(empty_database_url: str) -> None:
    engine = sa.create_engine(empty_database_url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_a_postgresql_database_is_a_real_one(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        version = connection.execute(sa.text("SHOW server_version_num")).scalar_one()
    engine.dispose()
    assert int(version) >= 160000


def test_a_free_port_can_be_bound(free_port: Callable[[], int]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
