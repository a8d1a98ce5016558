"""Statements rendered once and handed to the driver: those that every decision runs.

SQLAlchemy builds a statement and knows how each type is stored. What it does on every run beyond
that (finding the statement in its cache, expanding lists, making a result) costs several times
what SQLite needs to answer, so it is done once here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ClauseElement, Connection, Dialect, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Rendered:
    """One statement in the words of one dialect."""

    text: str
    places: tuple[tuple[str, Convert | None], ...]
    """The parameters in order, and how their types are stored, where that is not as they are."""
    constants: Mapping[str, Any]
    """Values that the statement brings along."""
    reads: tuple[tuple[str, Convert | None], ...]
    """The columns of a select, and how the driver's values of their types are read."""

    def parameters(self, given: Mapping[str, Any]) -> list[Any]:
        values = {**self.constants, **given} if self.constants else given
        return [
            values[name] if convert is None else convert(values[name])
            for name, convert in self.places
        ]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that says itself how many parameters it has: an `IN` holds expressions, as a
    list of plain values would be expanded on every run.

    `run` gives the columns of its rows as the driver does: an instant is whole microseconds.
    """

    statement: ClauseElement
    _rendered: dict[str, _Rendered] = field(default_factory=dict)

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Runs once → its rows. Raises as `Connection.execute` does."""
        rendered = self._in(connection.dialect)
        cursor = _cursor(connection)
        try:
            cursor.execute(rendered.text, rendered.parameters(parameters))
            return list(cursor.fetchall()) if cursor.description else []
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, cursor, rendered, error) from error
        finally:
            cursor.close()

    def typed(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """As `run`, for a select: its rows with a name and the value of its type for each column,
        as `Connection.execute` gives them."""
        reads = self._in(connection.dialect).reads
        return [
            SimpleNamespace(
                **{
                    name: value if read is None else read(value)
                    for (name, read), value in zip(reads, row, strict=True)
                }
            )
            for row in self.run(connection, parameters)
        ]

    def run_all(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs for each of the rows."""
        rendered = self._in(connection.dialect)
        cursor = _cursor(connection)
        try:
            for row in rows:
                cursor.execute(rendered.text, rendered.parameters(row))
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, cursor, rendered, error) from error
        finally:
            cursor.close()

    def _in(self, dialect: Dialect) -> _Rendered:
        found = self._rendered.get(dialect.name)
        if found is None:
            found = self._rendered[dialect.name] = _render(self.statement, dialect)
        return found


def _cursor(connection: Connection) -> Any:
    beneath, dialect = connection.connection, connection.dialect
    if dialect.name == "postgresql":
        # Takes the server's own `$1`. The usual one translates a statement anew each time it
        # runs, if it has more than 50 parameters or 4,096 characters.
        return dialect.loaded_dbapi.RawCursor(beneath.dbapi_connection)
    return beneath.cursor()


def _told(connection: Connection, cursor: Any, rendered: _Rendered, error: Any) -> Exception:
    """What the driver raised as SQLAlchemy would tell it."""
    dialect = connection.dialect
    gone = dialect.is_disconnect(error, connection.connection, cursor)
    if gone:
        connection.invalidate(error)
    told: Exception = DBAPIError.instance(
        rendered.text,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )
    return told


def _render(statement: ClauseElement, dialect: Dialect) -> _Rendered:
    if dialect.name == "postgresql":
        dialect = type(dialect)(paramstyle="numeric_dollar")  # type: ignore[call-arg]
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    values = compiled.params
    converts: dict[str, Convert] = {}
    for name, parameter in compiled.binds.items():
        convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            converts[name] = convert
    assert compiled.positiontup is not None  # `?` and `$1` both stand for a place
    places = tuple((name, converts.get(name)) for name in compiled.positiontup)
    constants = {name: value for name, value in values.items() if value is not None}
    reads = tuple(
        (str(column.key), column.type.dialect_impl(dialect).result_processor(dialect, None))
        for column in (statement.selected_columns if isinstance(statement, Select) else ())
    )
    return _Rendered(str(compiled), places, constants, reads)
