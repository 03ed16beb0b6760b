"""Reading: what the log holds, in order."""

from collections.abc import Generator
from typing import Any, Final, NamedTuple, cast

import psycopg
from sqlalchemy import Connection, func, select

from service import tables
from service.domain import events
from service.domain.events import Envelope, Event


def head(conn: Connection) -> int:
    """The last position of the log; 0 before the first event."""
    return conn.execute(select(func.coalesce(func.max(tables.event.c.position), 0))).scalar_one()


_ENVELOPE = (
    tables.event.c.position,
    tables.event.c.event_id,
    tables.event.c.type,
    tables.event.c.schema_version,
    tables.event.c.recorded_at,
    tables.event.c.actor,
    tables.event.c.payload,
)


def read(conn: Connection, *, after: int, limit: int) -> list[Envelope]:
    """The first `limit` entries after position `after`, in order."""
    found = conn.execute(
        select(*_ENVELOPE).where(tables.event.c.position > after).order_by(tables.event.c.position).limit(limit)
    )
    return [Envelope(*row) for row in found]


class Stored(NamedTuple):
    """What an entry holds: of its envelope what it takes to read the event."""

    position: int
    type: str
    schema_version: int
    payload: bytes

    def event(self) -> Event:
        """What happened. Raises EventUndecodable."""
        return events.decode(self.type, self.schema_version, self.payload)


def stream(conn: Connection, *, to: int = tables.OPEN, without: str | None = None) -> Generator[Stored]:
    """What every entry up to position `to` holds, in order, but for those of one type.

    It takes the same memory however long the log is. Until it has ended, nothing else can be
    asked of the connection, which would wait for ever; so who may stop before must close it.
    """
    asked = {"to": to, "without": without}
    driver = cast(psycopg.Connection[Any] | psycopg.AsyncConnection[Any], conn.connection.driver_connection)
    if isinstance(driver, psycopg.Connection):
        # The server reads ahead while we decode, and nothing is made of a row but its values.
        # Should the reader stop, the copying is cancelled, which a savepoint keeps from the rest.
        with driver.transaction(), driver.cursor() as cursor, cursor.copy(_COPIED, asked) as rows:
            rows.set_types(("int8", "text", "int4", "bytea"))
            yield from map(Stored._make, rows.rows())
    else:
        # A coroutine's connection, on which rows cannot be waited for one by one.
        with conn.exec_driver_sql(_STREAMED, asked, execution_options={"stream_results": True}) as found:
            yield from map(Stored._make, found)


_STREAMED: Final = """
    SELECT position, type, schema_version, payload FROM onrecord.event
     WHERE position <= %(to)s AND (%(without)s::text IS NULL OR type <> %(without)s)
     ORDER BY position
"""
_COPIED: Final = f"COPY ({_STREAMED}) TO STDOUT (FORMAT BINARY)"
