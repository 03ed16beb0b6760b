"""Waiting for the database to say that there is something new, and looking now and then in case it does not."""

import os
import select
from types import TracebackType
from typing import Any, Final, Self, cast

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from service.domain.errors import OnrecordError

#: A hint may be lost (with a connection, or in a pooler that forwards none), so nobody waits for longer.
POLL_S: Final = 1.0


class Listener:
    """Hears the notifications of one channel, on a connection of its own.

    Without a connection it waits all the same, and tries for one each time: a
    notification is only a hint, and whoever waits looks at the log anyway.
    """

    def __init__(self, engine: Engine, channel: str) -> None:
        self._engine = engine
        self._channel = channel
        self._conn: Connection | None = None
        self._raw: psycopg.Connection[Any] | None = None
        self._woken, self._wake = os.pipe()

    def wait(self, timeout_s: float = POLL_S) -> None:
        """Return after a notification or `wake`, at the latest after `timeout_s` seconds."""
        # What was said before there was anyone to hear it is lost, so the caller must look once more.
        if self._conn is None and self._connect():
            return
        heard: list[Any] = [self._woken] if self._raw is None else [self._woken, self._raw]
        ready, _, _ = select.select(heard, [], [], timeout_s)
        if self._raw in ready:
            self._drain()

    def wake(self) -> None:
        """End the present or the next `wait`, and all after it. From any thread."""
        os.write(self._wake, b".")

    def close(self) -> None:
        self._hang_up()
        os.close(self._woken)
        os.close(self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> bool:
        try:
            conn = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            raw = cast("psycopg.Connection[Any]", conn.connection.driver_connection)
            # Out of the pool: nobody else shall be told what we listen for.
            conn.detach()
            self._conn, self._raw = conn, raw
            conn.exec_driver_sql(f"LISTEN {self._channel}")
        except (SQLAlchemyError, OnrecordError):
            self._hang_up()
            return False
        return True

    def _drain(self) -> None:
        assert self._raw is not None
        try:
            for _ in self._raw.notifies(timeout=0):
                pass
        except psycopg.Error:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._conn is not None and self._raw is not None:
            self._raw.close()
            self._conn.invalidate()
            self._conn.close()
        self._conn = self._raw = None
