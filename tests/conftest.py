"""Fixtures: a real PostgreSQL for the run, and a database of its own for each test.

The server is embedded, in a temporary folder, one for each worker of pytest-xdist.
Databases are cloned from a template that was migrated once. Set
ONRECORD_TEST_POSTGRES_BIN to a folder with initdb and postgres to try another version.
"""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from pytest_postgresql import factories
from sqlalchemy import URL, Engine

from service import tables
from service.database import engine as engines
from service.database import schema
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer


@pytest.fixture(scope="session")
def postgres_bin() -> Path | None:
    """The programs that the embedded server is tried with; None for its own choice."""
    configured = os.environ.get("ONRECORD_TEST_POSTGRES_BIN")
    return Path(configured) if configured else None


@contextlib.contextmanager
def _server_folder() -> Iterator[Path]:
    """A temporary folder, in memory if there is such a place, that the server's user may pass through."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="onrecord-test-", dir=memory if os.access(memory, os.W_OK) else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server_folders() -> Iterator[Path]:
    """Where tests make data folders: the run's own temporary folder is closed to the server's user."""
    with _server_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def server(server_folders: Path, postgres_bin: Path | None) -> Iterator[EmbeddedServer]:
    """The run's server. A kill by SIGTERM ends the run as Ctrl-C does, so that it stops then too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with EmbeddedServer.start(server_folders / "server", binaries=postgres_bin) as started:
            yield started
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def _postgres(server: EmbeddedServer) -> SimpleNamespace:
    """The server as pytest-postgresql wants it described."""
    return SimpleNamespace(
        host=str(server.socket_dir),
        port=5432,
        user=SUPERUSER,
        password="",
        options="",
        maintenance_dbname="postgres",
        template_dbname=None,
    )


@dataclass(frozen=True)
class Database:
    """Where to find one test's own database, as each role."""

    service_url: URL
    owner_url: URL
    superuser_url: URL


def _database(server: EmbeddedServer, made: psycopg.Connection) -> Database:
    """The database that pytest-postgresql made, given to the owner, as `EmbeddedServer` does with its own."""
    name = made.info.dbname
    # A clone has the grants in its template, but not those on it.
    made.execute(f'ALTER DATABASE "{name}" OWNER TO {OWNER_ROLE}'.encode())
    made.execute(f'GRANT CREATE ON DATABASE "{name}" TO {SERVICE_ROLE}'.encode())
    made.commit()
    return Database(*(server.url(role, name) for role in (SERVICE_ROLE, OWNER_ROLE, SUPERUSER)))


def _migrate(*, host: str, user: str, dbname: str, **_: object) -> None:
    """Fill the template."""
    with psycopg.connect(host=host, user=user, dbname=dbname) as conn:
        conn.execute(f'ALTER DATABASE "{dbname}" OWNER TO {OWNER_ROLE}'.encode())
    url = URL.create("postgresql", username=OWNER_ROLE, database=dbname, query={"host": host})
    owner = engines.create(url)
    schema.migrate(owner, metadata=tables.log_metadata, service_role=SERVICE_ROLE)
    owner.dispose()


_template = factories.postgresql_noproc(depends_on="_postgres", dbname="migrated", load=[_migrate])
_blank = factories.postgresql_noproc(depends_on="_postgres", dbname="blank")
_cloned = factories.postgresql("_template", dbname="test")
_made_empty = factories.postgresql("_blank", dbname="empty")


@pytest.fixture
def database(server: EmbeddedServer, _cloned: psycopg.Connection) -> Database:
    """A migrated database of this test's own."""
    return _database(server, _cloned)


@pytest.fixture
def empty_database(server: EmbeddedServer, _made_empty: psycopg.Connection) -> Database:
    """A database of this test's own in which nothing is."""
    return _database(server, _made_empty)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """The test's database as the service sees it."""
    made = engines.create(database.service_url)
    yield made
    made.dispose()


@pytest.fixture
def owner_engine(database: Database) -> Iterator[Engine]:
    """The test's database as the owner of its tables sees it."""
    made = engines.create(database.owner_url)
    yield made
    made.dispose()
