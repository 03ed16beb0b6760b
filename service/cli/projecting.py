"""Keeping the read tables up with the log: the loop around the projector."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import psycopg
from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError

from service import projector, tables
from service.cli.listening import Listener
from service.database import schema
from service.domain.errors import OnrecordError
from service.projector import Generation, Progress, Projector

_BATCH: Final = 500
_BACK_OFF_S_MAX: Final = 10.0
#: How soon an event that stopped the projector is tried again: what is wrong may be put right outside.
_RETRY_S: Final = 30.0
#: No request on the old read tables takes longer, so they may go then.
_REQUEST_S_MAX: Final = 60.0

#: Where the log ends, which read tables are live, and whose schema it is: all that is to be known before a batch.
_LOOK: Final = """
    SELECT coalesce(max(e.position), 0), (SELECT g.generation FROM onrecord.generation g WHERE g.live),
           (SELECT v.version_num FROM onrecord.alembic_version v)
      FROM onrecord.event e
"""

_logger = logging.getLogger("onrecord.projector")


class Superseded(Exception):
    """Another process made other read tables, and these are gone."""


def prepared(engine: Engine, policies: Sequence[str]) -> Generation:
    """The generation for this program and these policies, made if it is not there."""
    with engine.begin() as conn:
        return projector.prepare(conn, policies)


def current(engine: Engine, policies: Sequence[str]) -> Generation | None:
    """The live generation, if it is what this program and these policies want; made if there is none at all.

    For a command that should not bring about a rebuild, nor take readers away
    from the generation that a running service projects into.
    """
    with engine.connect() as conn:
        known = projector.generations(conn)
        wanted = projector.wanted_here(conn, policies)
    if not known:
        return prepared(engine, policies)
    return next((each for each in known if each.live and (each.shape, each.policies) == wanted), None)


class Projecting:
    """Projects the log into the generation for these policies, for as long as wanted. One thread at a time."""

    def __init__(self, engine: Engine, generation: Generation) -> None:
        self._engine = engine
        # For single statements. A rollback, which ends a transaction that only read, would
        # also have the connection forget all that it prepared, the batch's statements too.
        self._by_statement = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._revision = schema.revision()
        self._failure: Exception | None = None  # where `stopped` was raised, for the service's own log
        self._use(generation)

    def _use(self, generation: Generation) -> None:
        self._generation = generation
        self._projector = Projector(generation)
        self._limit = _BATCH
        self._superseded_since = time.monotonic() if generation.live else None
        self.position = generation.position  #: projected up to here, as far as this process knows.
        self.stopped: Progress | None = None  #: the event that cannot be projected, and why.

    def _follow(self) -> bool:
        """Go on in the live generation, where another took the place of this one; returns whether.

        Of the same shape, since no other can be projected into; its policies are its own.
        """
        if not self._generation.live:
            return False
        with self._engine.connect() as conn:
            live = next((each for each in projector.generations(conn) if each.live), None)
        mine = self._generation
        if live is None or live.generation == mine.generation:
            return False
        if live.shape != mine.shape:
            return False
        _logger.info("other read tables are live: %s", live.schema_name)
        self._use(live)
        return True

    def catch_up(self) -> Iterator[Progress]:
        """Project what the log holds, batch by batch, until there is no more of it or an event stops it.

        What the database has refused is tried again in smaller batches, so that
        all before the one event at fault is projected. Raises what a lost
        connection raises, `Superseded`, and what `schema.check` raises of a database that
        was migrated meanwhile; then it may be called again.
        """
        while True:
            with self._by_statement.connect() as conn:
                head, live, revision = conn.exec_driver_sql(_LOOK).one()
                if revision != self._revision:
                    # It was migrated meanwhile: another program's tables are not written to.
                    schema.check(conn)
            if live != self._generation.generation:
                self._follow()
            if head <= self.position:
                break
            progress = self._advanced()
            if progress is None:
                continue
            self.position = progress.position
            self.stopped = None if progress.stopped_at is None else progress
            self._announce()
            yield progress
            if progress.stopped_at is not None:
                return
        if not self._generation.live:
            self._promote()

    def run(self, listener: Listener, stopping: threading.Event) -> None:
        """Catch up whenever there is something new, until `stopping` is set and the listener woken.

        Outlives a database that goes away and comes back.
        """
        back_off_s = 0.0
        told: str | None = None
        while not stopping.is_set():
            try:
                for _ in self.catch_up():
                    if stopping.is_set():
                        return
                self._drop_superseded()
                back_off_s = 0.0
                if self.stopped is None:
                    told = None
                    listener.wait()
                    continue
                if self.stopped.because != told:
                    told = self.stopped.because
                    at = {"position": self.stopped.stopped_at}
                    _logger.error("the projector stopped: %s", told, exc_info=self._failure, extra=at)
                stopping.wait(_RETRY_S)
            except Superseded:
                _logger.warning("the projector ended: another onrecord projects into other read tables")
                return
            except Exception as error:
                # Whatever it is: a service that answers and silently no longer projects would be worse.
                self._projector.forget()
                back_off_s = min(max(0.1, back_off_s * 2), _BACK_OFF_S_MAX)
                trace = None if _of_the_connection(error) else error
                _logger.error("projecting failed, again in %.1f s: %s", back_off_s, error, exc_info=trace)
                stopping.wait(back_off_s)

    def _advanced(self) -> Progress | None:
        """The next batch; None where it failed and a smaller one is to be tried."""
        try:
            with self._engine.begin() as conn:
                progress = self._projector.advance(conn, limit=self._limit)
        except Exception as error:
            self._projector.forget()
            if _of_the_connection(error):
                raise
            if self._limit > 1:
                self._limit = 1
                return None
            return self._stop(error)
        self._limit = min(self._limit * 2, _BATCH)
        return progress

    def _stop(self, error: Exception) -> Progress | None:
        """Record that the event after the cursor cannot be projected; None if the cursor was moved meanwhile."""
        stopped_at = self.position + 1
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        because = f"event {stopped_at} cannot be projected: {type(error).__name__}: {said}"
        row = tables.generation
        here = (row.c.generation == self._generation.generation) & (row.c.position == self.position)
        with self._engine.begin() as conn:
            changed = conn.execute(update(row).where(here).values(stopped_at=stopped_at, because=because))
            if changed.rowcount:
                self._failure = error
                return Progress(self.position, 0, stopped_at, because)
            known = {each.generation: each for each in projector.generations(conn)}
        if self._generation.generation not in known:
            # It may have gone between the look and the batch.
            if self._follow():
                return None
            raise Superseded
        self.position = known[self._generation.generation].position
        return None

    def _announce(self) -> None:
        # After the commit and by itself, as with the log: only a hint, and it takes a lock of the server.
        with self._by_statement.connect() as conn:
            conn.exec_driver_sql(f"NOTIFY {projector.CHANNEL}")

    def _promote(self) -> None:
        with self._engine.begin() as conn:
            projector.promote(conn, self._generation.generation)
        self._generation = replace(self._generation, live=True)
        self._superseded_since = time.monotonic()
        _logger.info("the new read tables are live: %s", self._generation.schema_name)
        self._announce()

    def _drop_superseded(self) -> None:
        since = self._superseded_since
        if since is None or time.monotonic() - since < _REQUEST_S_MAX:
            return
        self._superseded_since = None
        with self._engine.begin() as conn:
            # Rather later than to hold up everybody behind one long reader.
            conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            try:
                gone = projector.drop_superseded(conn, self._generation.generation)
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                self._superseded_since = time.monotonic()
                conn.rollback()
                return
        if gone:
            _logger.info("the old read tables are gone: %s", ", ".join(gone))


def _of_the_connection(error: Exception) -> bool:
    """Whether it is the connection's or the server's fault, so that trying the same again may work."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | OnrecordError)
