"""What is tortured: a PostgreSQL of its own, a database in it, and `onrecord serve` as a process on both."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from sqlalchemy import Connection, Engine

from service import log, tree
from service.audit import verifying
from service.database import engine as engines
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer
from tests.conftest import Database
from tests.processes import Process, beside
from tests.torture.people import HANGS_S, Broken

#: The transactions of `onrecord serve` in which the tree grows; they hold its one row.
_INTEGRATES: Final = """
    SELECT count(*) FROM pg_locks WHERE relation = 'onrecord.tree'::regclass AND mode = 'RowShareLock' AND granted
"""
_REBUILDS: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 233573870"  # 0x0DEC0DEE


class Server:
    """A PostgreSQL of this process's own, that can be stopped in immediate mode and started again."""

    def __init__(self, folder: Path, *, binaries: Path | None = None) -> None:
        self._folder, self._binaries = folder, binaries
        self._start()

    def _start(self) -> None:
        self._embedded = EmbeddedServer.start(self._folder, binaries=self._binaries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._embedded.close()

    def stop(self) -> None:
        """Stop in immediate mode, as `pg_ctl stop -m immediate` does: nothing is written that is not written yet."""
        os.kill(self._embedded.pid, signal.SIGQUIT)
        self._embedded.close()

    def start(self) -> None:
        """Start again; it recovers."""
        self._start()

    def database(self, name: str, *, tablespace: str = "pg_default") -> Database:
        """A new database, migrated."""
        with self.connect("postgres") as conn:
            conn.execute(f'CREATE DATABASE "{name}" OWNER {OWNER_ROLE} TABLESPACE {tablespace}'.encode())
            conn.execute(f'GRANT CREATE ON DATABASE "{name}" TO {SERVICE_ROLE}'.encode())
        made = Database(*(self._embedded.url(role, name) for role in (SERVICE_ROLE, OWNER_ROLE, SUPERUSER)))
        migrated(made)
        return made

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """As the superuser."""
        return psycopg.connect(
            host=str(self._embedded.socket_dir), port=5432, user=SUPERUSER, dbname=name, autocommit=True
        )


def migrated(database: Database) -> None:
    """Bring a database up to this program, as its owner, for the service's role."""
    from service import tables
    from service.database import schema

    owner = engines.create(database.owner_url)
    schema.migrate(owner, metadata=tables.log_metadata, service_role=SERVICE_ROLE)
    owner.dispose()


class World:
    """`onrecord serve` on a database, at one port whatever happens."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._settings = {
            "database_url": database.service_url.render_as_string(hide_password=False),
            "data_dir": str(data_dir),
        }
        self.engine: Engine = engines.create(database.service_url)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._said: list[str] = []
        self.service = self.started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.close()
        self.engine.dispose()

    # --- processes ------------------------------------------------------------------

    def onrecord(self, *args: str) -> Process:
        """A command on this database."""
        return Process(*args, **self._settings)

    def started(self) -> Process:
        """The service, once it answers."""
        self.service = self.onrecord("serve", "--port", str(self.port))
        self.service.line("answers at")
        return self.service

    def kill_service(self) -> None:
        self.service.ends(signal.SIGKILL)
        self._hear()
        self.service.close()

    def stop_service(self) -> None:
        """As an operator does. Raises where it does not end well."""
        status = self.service.ends(signal.SIGTERM)
        self._hear()
        self.service.close()
        if status != 0:
            raise Broken(f"the service ended with {status}: {self._said[-5:]}")

    def projector(self) -> int | None:
        """The process beside the service, if it is there."""
        return next(iter(beside(self.service)), None)

    def unforeseen(self) -> list[str]:
        """What the services' own logs hold that nobody foresaw."""
        self._hear()
        # That a connection which is lost cannot be given back in good order is no surprise.
        said = [line for line in self._said if "sqlalchemy.pool" not in line]
        return [line for line in said if "Traceback" in line or "unforeseen" in line]

    def _hear(self) -> None:
        while not self.service.err.empty():
            self._said.append(self.service.err.get())

    # --- looking --------------------------------------------------------------------

    def superuser(self) -> psycopg.Connection[Any]:
        url = self._database.superuser_url
        return psycopg.connect(
            host=str(url.query["host"]), port=5432, user=url.username, dbname=url.database, autocommit=True
        )

    def integrates(self) -> None:
        """Wait for a transaction in which the tree grows."""
        self._until(_INTEGRATES)

    def rebuilds(self, process: Process) -> bool:
        """Wait for a rebuild to begin; false if it is over already."""
        with self.superuser() as conn:
            while process.process.poll() is None:
                if conn.execute(_REBUILDS).fetchone() != (0,):
                    return True
        return False

    def _until(self, query: str) -> None:
        until = time.monotonic() + HANGS_S
        with self.superuser() as conn:
            while conn.execute(query.encode()).fetchone() == (0,):
                if time.monotonic() > until:
                    raise Broken(f"never: {query}")

    @contextlib.contextmanager
    def snapshot(self) -> Generator[Connection]:
        """One moment of all that is stored."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as conn:
            yield conn

    def verify(self) -> None:
        """`onrecord verify`. Raises Broken."""
        found: list[verifying.Mismatch] = []
        with self.snapshot() as conn:
            verifying.verify(conn, found.append)
        if found:
            raise Broken("; ".join(map(str, found)))

    def holds(self, note: str) -> None:
        """See that the log begins with what a checkpoint was signed for. Raises Broken."""
        with self.snapshot() as conn:
            if not tree.extends(conn, tree.opened(conn, note)):
                raise Broken(f"the log contradicts {note}")

    def events(self) -> dict[tuple[str, str, int], list[int]]:
        """Where each article's event is in the log: by type, URL and revision."""
        found: dict[tuple[str, str, int], list[int]] = {}
        with self.snapshot() as conn:
            for entry in log.stream(conn):
                event: Any = entry.event()
                article = getattr(event, "article", None)
                url, revision = (event.url, 0) if article is None else (article.url, article.revision)
                found.setdefault((entry.type, url, revision), []).append(entry.position)
        return found

    def transitions(self) -> list[str]:
        """The cursors of all transitions under the policy in force, in order."""
        with self.snapshot() as conn:
            (name,) = conn.exec_driver_sql("SELECT schema_name FROM onrecord.generation WHERE live").scalars()
            rows = conn.exec_driver_sql(
                f"SELECT position, claim FROM {name}.transition WHERE policy = 'unanimous@1' ORDER BY position, claim"
            )
            return [f"{position}:{claim}" for position, claim in rows]

    def head(self) -> int:
        with self.engine.connect() as conn:
            return log.head(conn)

    def projected(self) -> int:
        with self.engine.connect() as conn:
            return conn.exec_driver_sql("SELECT position FROM onrecord.generation WHERE live").scalar_one()


def eventually(true: Callable[[], bool], what: str) -> None:
    """Wait until it is so. Raises Broken."""
    until = time.monotonic() + HANGS_S
    while not true():
        if time.monotonic() > until:
            raise Broken(f"{what}: it never came to be")
        time.sleep(0.02)
