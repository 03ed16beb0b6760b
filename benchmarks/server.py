"""The PostgreSQL of a run: one embedded server, and a database for each who is measured."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import URL, NullPool

from service import tables
from service.database import engine as engines
from service.database import schema
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer


@dataclass(frozen=True)
class Database:
    """Where one of the databases is."""

    server: EmbeddedServer
    name: str

    def url(self, role: str = SERVICE_ROLE) -> URL:
        """As SQLAlchemy, and so the service, wants it."""
        return self.server.url(role, self.name)

    def conninfo(self, role: str = SERVICE_ROLE) -> str:
        """As libpq wants it."""
        return f"host='{self.server.socket_dir}' user={role} dbname={self.name}"

    def connect(self, role: str = SUPERUSER) -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(self.conninfo(role), autocommit=True)


class Server:
    """The run's server: fsync and synchronous_commit are on, all other settings are PostgreSQL's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.embedded = EmbeddedServer.start(folder / "postgres")

    def database(self, name: str, *, migrated: bool = False) -> Database:
        """The database of this name, made if it is not there; `migrated`: for onrecord."""
        made = Database(self.embedded, name)
        with Database(self.embedded, "postgres").connect() as conn:
            if conn.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                conn.execute(f"CREATE DATABASE {name} OWNER {OWNER_ROLE}".encode())
                conn.execute(f"GRANT CONNECT, CREATE ON DATABASE {name} TO {SERVICE_ROLE}".encode())
        if migrated:
            owner = engines.create(made.url(OWNER_ROLE), poolclass=NullPool)
            schema.migrate(owner, metadata=tables.log_metadata, service_role=SERVICE_ROLE)
        return made


@contextlib.contextmanager
def started(folder: Path | None = None) -> Generator[Server]:
    """A server in `folder`, which stays; without one, in a folder on disk that goes at the end."""
    kept = folder is not None
    # Not in memory, where a commit would cost nothing; and the server's user must be able to pass.
    folder = folder or Path(tempfile.mkdtemp(prefix="onrecord-bench-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        server = Server(folder)
        with server.embedded:
            yield server
    finally:
        if not kept:
            shutil.rmtree(folder)
