"""Reading rows for verification: as they are stored, whatever has become of them.

Nothing here trusts a type or an order: a changed row may hold text where a number belongs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, text

from policy_engine.core.times import TimeFormatError, parse_timestamp
from policy_engine.ledger.log.findings import Finding
from policy_engine.ledger.tables import micros

PAGE = 500
"""Rows that are held in memory at once."""


@contextmanager
def any_text(connection: Connection) -> Iterator[None]:
    """Text that is no UTF-8 any more is read all the same (SQLite; PostgreSQL has none)."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    before = driver.text_factory
    driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before


def count(connection: Connection, table: str) -> int:
    number: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 -- names of our own tables
    return number


def by_key(
    connection: Connection, table: str, key: str, values: Iterable[object]
) -> dict[Any, list[RowMapping]]:
    """The rows of `table` whose `key` is one of the values, by that key."""
    wanted = list(values)
    rows: dict[Any, list[RowMapping]] = {}
    if not wanted:
        return rows
    query = text(f"SELECT * FROM {table} WHERE {key} IN :wanted").bindparams(  # noqa: S608 -- names of our own tables
        bindparam("wanted", wanted, expanding=True)
    )
    for row in connection.execute(query).mappings():
        rows.setdefault(row[key], []).append(row)
    return rows


def pages(connection: Connection, table: str, *key: str) -> Iterator[list[RowMapping]]:
    """All rows of a table in the order of its unique `key`, a page at a time."""
    order, last = ", ".join(key), ", ".join(f":{name}" for name in key)
    first = text(f"SELECT * FROM {table} ORDER BY {order} LIMIT {PAGE}")  # noqa: S608 -- names of our own tables
    after = text(f"SELECT * FROM {table} WHERE ({order}) > ({last}) ORDER BY {order} LIMIT {PAGE}")  # noqa: S608 -- names of our own tables
    page = list(connection.execute(first).mappings())
    while page:
        yield page
        if len(page) < PAGE:
            return
        page = list(connection.execute(after, {name: page[-1][name] for name in key}).mappings())


def microseconds(stated: object) -> int | None:
    """A timestamp of a record as its column holds it."""
    if not isinstance(stated, str):
        return None
    try:
        instant: datetime = parse_timestamp(stated)
    except TimeFormatError:
        return None
    return micros(instant)


def differing(
    table: str, row: RowMapping, expected: Mapping[str, object], at: tuple[str, int | None]
) -> Iterator[Finding]:
    """A finding for every column that is not what the record `at` (its id and index) says."""
    for column, value in expected.items():
        stored = row[column]
        if stored != value or type(stored) is not type(value):
            message = f"`{column}` is not what the record says"
            yield Finding(table, at[0], message, at[1])


def json_value(stored: object) -> Any:
    """A JSON column as the value that it holds: SQLite gives it as text. ValueError."""
    return json.loads(stored) if isinstance(stored, str | bytes) else stored


def like(value: object, stored: object) -> object:
    """A JSON value as the database at hand gives it back, where `stored` holds that value."""
    if isinstance(value, list | dict) and isinstance(stored, str):
        try:
            return stored if json.loads(stored) == value else value
        except ValueError:
            return value
    return value


def miscounted(connection: Connection, table: str, expected: int) -> Iterator[Finding]:
    """A finding where a table has more or fewer rows than the records speak of."""
    stored = count(connection, table)
    if stored != expected:
        yield Finding(table, None, f"has {stored} rows; the records speak of {expected}")


def rows_without_record(
    connection: Connection, table: str, key: str, expected: int, record: str = "record_id"
) -> Iterator[Finding]:
    """Findings for rows that no record speaks of, where a table has more or less than it may."""
    stored = count(connection, table)
    if stored == expected:
        return
    query = text(
        f"SELECT {key} FROM {table} WHERE {record} NOT IN (SELECT id FROM record) LIMIT {PAGE}"  # noqa: S608 -- names of our own tables
    )
    for lost in connection.execute(query).scalars():
        yield Finding(table, str(lost), "no record speaks of this row")
    yield Finding(table, None, f"has {stored} rows; the records speak of {expected}")
