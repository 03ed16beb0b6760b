"""Opening the database: the one that is configured, else the embedded one in the data folder."""

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool

from service import tables
from service.cli import terminal
from service.config import Settings
from service.database import engine as engines
from service.database import roles, schema
from service.domain.errors import SchemaBehind


@dataclass(frozen=True, slots=True)
class Place:
    """Where the database is, before anything is asked of it."""

    url: URL
    owner_url: URL  #: as who may migrate it.
    where: str  #: in words, without a password.
    embedded: bool


@contextlib.contextmanager
def found(settings: Settings) -> Generator[Place]:
    """The database's place; the embedded server runs meanwhile. Nothing is migrated yet."""
    if settings.database_url is not None:
        url = _url(settings.database_url.get_secret_value())
        owner = settings.owner_url
        owner_url = url if owner is None else _url(owner.get_secret_value())
        yield Place(url, owner_url, f"the database {_where(url)}", embedded=False)
        return
    # Imported here, since who has a database never needs it.
    from service.database.embedded import DATABASE, OWNER_ROLE, SERVICE_ROLE, EmbeddedServer

    folder = made(settings.data_dir) / "postgres"
    with terminal.waiting("Starting the database ..."):
        server = EmbeddedServer.start(folder, binaries=settings.postgres_bin, user=settings.postgres_user)
    with server:
        where = f"embedded PostgreSQL {server.version} in {folder}"
        yield Place(server.url(SERVICE_ROLE, DATABASE), server.url(OWNER_ROLE, DATABASE), where, embedded=True)


@contextlib.contextmanager
def opened(place: Place) -> Generator[Engine]:
    """The database, ready for this program.

    The embedded one is brought up to date; any other is the operator's to migrate.
    Raises `SchemaBehind`, `SchemaAhead` and what connecting raises.
    """
    engine = engines.create(place.url, pool_size=4)
    try:
        try:
            with engine.connect() as conn:
                schema.check(conn)
        except SchemaBehind:
            if not place.embedded:
                raise
            migrate(place)
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def open_database(settings: Settings) -> Generator[Engine]:
    """The database that the settings name, ready for this program."""
    with found(settings) as place, opened(place) as engine:
        yield engine


def migrate(place: Place) -> schema.Migrated:
    """Bring the database up to this program."""
    owner = engines.create(place.owner_url, poolclass=NullPool)
    try:
        return schema.migrate(owner, metadata=tables.log_metadata, service_role=_role(place.url))
    finally:
        owner.dispose()


def warnings_of_role(conn: Connection) -> list[str]:
    """What to say where the service's role may do more than it must."""
    role, found = roles.excess(conn, tables.log_metadata.tables.values())
    return [
        f"The service's role {role} {each}, so a fault or an intruder in the service could get round the log's "
        "guards. Name a plain role in ONRECORD_DATABASE_URL and the owner of the tables in ONRECORD_OWNER_URL; "
        "`onrecord migrate` then grants what is needed, and takes back what is not."
        for each in found
    ]


def _role(url: URL) -> str:
    """The role that a connection to `url` is made as."""
    if url.username:
        return url.username
    engine = engines.create(url, poolclass=NullPool)
    try:
        with engine.connect() as conn:
            # What libpq made of it, from the environment or the operating system's user.
            driver = conn.connection.driver_connection
            assert driver is not None
            return str(driver.info.user)
    finally:
        engine.dispose()


def _url(text: str) -> URL:
    """The URL as an engine reads it. Raises `DatabaseUrlInvalid`."""
    return engines.create(text, poolclass=NullPool).url


def _where(url: URL) -> str:
    socket = url.query.get("host")
    host = url.host or (", ".join(socket) if isinstance(socket, tuple) else socket) or "the local socket"
    return f"{url.database} at {host}" + (f", port {url.port}" if url.port else "")


def made(folder: Path) -> Path:
    """The data folder, made if it is not there; the embedded server's user can pass through root's."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Of two that start together, one makes it.
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder
