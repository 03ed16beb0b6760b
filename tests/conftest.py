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
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, Engine, NullPool

from service import tables
from service.database import engine as engines
from service.database import schema
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: a test that started processes mostly waits for them."""
    return (os.cpu_count() or 1) + 1


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


@dataclass(frozen=True)
class Database:
    """Where to find one test's own database, as each role."""

    service_url: URL
    owner_url: URL
    superuser_url: URL


@contextlib.contextmanager
def _made(server: EmbeddedServer, *, template: str = "template1") -> Iterator[Database]:
    """A new database like `template`, given to the owner as `EmbeddedServer` does with its own, and dropped in the end.

    No other ever had its name: what a test leaves behind is nobody else's trouble.
    """
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname="postgres", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER_ROLE}".encode())
        try:
            # A clone has the grants in its template, but not those on it.
            conn.execute(f"GRANT CREATE ON DATABASE {name} TO {SERVICE_ROLE}".encode())
            yield Database(*(server.url(role, name) for role in (SERVICE_ROLE, OWNER_ROLE, SUPERUSER)))
        finally:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def _template(server: EmbeddedServer) -> Iterator[str]:
    """The name of a database that was migrated, and to which nobody is connected."""
    with _made(server) as made:
        owner = engines.create(made.owner_url, poolclass=NullPool)
        schema.migrate(owner, metadata=tables.log_metadata, service_role=SERVICE_ROLE)
        yield made.owner_url.database or ""


@pytest.fixture
def database(server: EmbeddedServer, _template: str) -> Iterator[Database]:
    """A migrated database of this test's own."""
    with _made(server, template=_template) as made:
        yield made


@pytest.fixture
def empty_database(server: EmbeddedServer) -> Iterator[Database]:
    """A database of this test's own in which nothing is."""
    with _made(server) as made:
        yield made


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
