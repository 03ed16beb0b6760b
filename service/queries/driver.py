"""Statements handed to psycopg as they are: SQLAlchemy's results cost more than most pages do."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, cast

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]
Parameters = Mapping[str, Any] | tuple[Any, ...]


def fetched(conn: Connection, statement: str, parameters: Parameters | None = None) -> list[Row]:
    """What a statement gives. Raises DBAPIError, as the connection does."""
    raw = _raw(conn)
    try:
        return raw.execute(cast("LiteralString", statement), parameters).fetchall()
    except psycopg.Error as error:
        raise _failed(conn, statement, error) from error


def begun(conn: Connection, statements: Sequence[str]) -> list[list[Row]]:
    """What each statement gives, BEGIN and all of them in one round trip.

    Raises DBAPIError, and then nothing is begun.
    """
    raw = _raw(conn)
    try:
        with raw.pipeline():
            cursors = [raw.execute(cast("LiteralString", each)) for each in statements]
        return [cursor.fetchall() for cursor in cursors]
    except psycopg.Error as error:
        if not raw.closed:
            raw.rollback()
        raise _failed(conn, "; ".join(statements), error) from error


_QUOTED: Final = re.compile(r'["\\]')


def text_array(values: Sequence[str]) -> str:
    """A parameter for `::text[]`: the driver takes as long for each of its values as for a statement.

    >>> print(text_array(["a b", "c, d"]))
    {"a b","c, d"}
    """
    if not values:
        return "{}"
    told = '","'.join(values)
    if told.count('"') > 2 * (len(values) - 1) or "\\" in told:
        told = '","'.join(_QUOTED.sub(r"\\\g<0>", value) for value in values)
    return f'{{"{told}"}}'


def committed(conn: Connection) -> None:
    """End the transaction; not by a rollback, at which the driver forgets all that it has prepared.

    Raises DBAPIError.
    """
    try:
        conn.connection.commit()
    except psycopg.Error as error:
        raise _failed(conn, "COMMIT", error) from error


def _raw(conn: Connection) -> psycopg.Connection:
    return cast("psycopg.Connection", conn.connection.driver_connection)


def _failed(conn: Connection, statement: str, error: psycopg.Error) -> DBAPIError:
    raw = _raw(conn)
    lost = raw.closed
    if lost:
        # So that nobody finds it in the pool.
        conn.invalidate(error)
    return DBAPIError(statement, None, error, connection_invalidated=lost)
