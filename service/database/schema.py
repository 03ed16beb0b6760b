"""The schema: migrating it, granting what the service may do, and checking that it fits this program.

Alembic keeps the log's side, in the schema `onrecord`, which also holds its
version table. The read tables are made by the projector, not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import psycopg.errors
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from service.domain.errors import RoleUnfit, SchemaAhead, SchemaBehind, SchemaBusy

SCHEMA: Final = "onrecord"
VERSION_TABLE: Final = "alembic_version"

_LOCK = 0x6F6E_7265_636F_7264  # "onrecord"; of all advisory locks in the database, this one is the migrations'.
_LOCK_WAIT_S = 60


@dataclass(frozen=True, slots=True)
class Migrated:
    """From where to where a database was brought; the same twice if there was nothing to do."""

    before: str | None  #: None: it was empty.
    after: str


def migrate(owner_engine: Engine, *, metadata: MetaData, service_role: str) -> Migrated:
    """Bring the database up to this program, and let `service_role` do what it may, and no more.

    `metadata` holds the tables of the log's side; what the service may do with
    one is its `info["service_may"]`, such as "SELECT, INSERT". Beyond that the
    service may read the version, and create schemas for the read tables. If
    `service_role` is who migrates, it owns everything, and nothing is granted.

    All of it happens or nothing does. Calls at the same time take turns, and a
    second call changes nothing.

    Raises `SchemaAhead`, `SchemaBusy`, `RoleUnfit`.
    """
    try:
        with owner_engine.begin() as conn:
            # A table that somebody reads for hours would otherwise be waited for, and all others behind us.
            conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
            conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            before = _revision(conn) if _version_table(conn) is not None else None
            wanted = revision()
            if before is not None and before not in _known():
                raise SchemaAhead(found=before, wanted=wanted)
            if not conn.dialect.has_schema(conn, SCHEMA):
                conn.execute(CreateSchema(SCHEMA))
            config = Config()
            config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
            config.attributes.update(connection=conn, metadata=metadata)
            command.upgrade(config, "head")
            _grant(conn, metadata.tables.values(), service_role)
            return Migrated(before, wanted)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise SchemaBusy from error
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise RoleUnfit(
                owner_engine.url.username or "that migrates",
                reason=f"may not do that: {error.orig.diag.message_primary}",
                advice="migrate as the role that owns the tables (ONRECORD_OWNER_URL)",
            ) from error
        raise


def check(conn: Connection) -> None:
    """Raise `SchemaBehind` or `SchemaAhead` unless the database is what this program was written for."""
    wanted = revision()
    found = _revision(conn) if _version_table(conn) else None
    if found == wanted:
        return
    if found is None or found in _known():
        raise SchemaBehind(found=found, wanted=wanted)
    raise SchemaAhead(found=found, wanted=wanted)


def _migrations() -> Path:
    """In a wheel the migrations stand in the package `service`, in a checkout beside it."""
    service = Path(__file__).resolve().parents[1]
    inside = service / "migrations"
    return inside if inside.is_dir() else service.with_name("migrations")


@lru_cache
def _scripts(migrations: Path) -> ScriptDirectory:
    # Read once: a program asks now and then, and its migrations are those it was started with.
    return ScriptDirectory(str(migrations))


def revision() -> str:
    """The revision that this program was written for."""
    wanted = _scripts(_migrations()).get_current_head()
    assert wanted is not None
    return wanted


def _known() -> set[str]:
    return {script.revision for script in _scripts(_migrations()).walk_revisions()}


def _version_table(conn: Connection) -> bool | None:
    """Whether this role may read the version table; None if there is none."""
    # From the catalogue, since to name what one may not see is an error, and ends the transaction.
    return conn.scalar(
        text(
            "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND c.relname = :table"
        ),
        {"schema": SCHEMA, "table": VERSION_TABLE},
    )


def _revision(conn: Connection) -> str | None:
    return conn.scalar(text(f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}"))


def _grant(conn: Connection, tables: Iterable[Table], service_role: str) -> None:
    """Grant the service what it may do, and take from it and from everybody whatever else was granted."""
    known = conn.scalar(
        text("SELECT rolname = current_user FROM pg_roles WHERE rolname = :role"), {"role": service_role}
    )
    if known is None:
        raise RoleUnfit(service_role, reason="does not exist", advice="create it, with LOGIN, and migrate again")
    if known:
        return
    quote = conn.dialect.identifier_preparer.quote
    role = quote(service_role)
    database = quote(conn.scalar(text("SELECT current_database()")))
    for statement in (
        f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC, {role}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM PUBLIC, {role}",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} FROM PUBLIC, {role}",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}",
        f"GRANT SELECT ON {SCHEMA}.{VERSION_TABLE} TO {role}",
        *(f"GRANT {table.info['service_may']} ON {SCHEMA}.{quote(table.name)} TO {role}" for table in tables),
    ):
        conn.execute(text(statement))
    may_create = text("SELECT has_database_privilege(:role, current_database(), 'CREATE')")
    if not conn.scalar(may_create, {"role": service_role}):
        conn.execute(text(f"GRANT CREATE ON DATABASE {database} TO {role}"))
    # Who does not own the database can have granted nothing, and was only warned.
    if not conn.scalar(may_create, {"role": service_role}):
        raise RoleUnfit(
            service_role,
            reason="may not create schemas in the database, and who migrates may not grant that",
            advice=f"as the owner of the database: GRANT CREATE ON DATABASE {database} TO {role}",
        )
