"""Connecting and migrating: what is refused, what is said about it, and what a migration leaves."""

import asyncio
import shutil
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from service.database import engine as engines
from service.database import schema
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE
from service.domain.errors import (
    DatabaseTooOld,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    RoleUnfit,
    SchemaAhead,
    SchemaBehind,
    SchemaBusy,
)
from service.tables import log_metadata
from tests.conftest import Database


@pytest.fixture
def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def empty_engine(empty_database: Database):
    """The owner's engine for a database in which nothing is."""
    engine = engines.create(empty_database.owner_url)
    yield engine
    engine.dispose()


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this program one that is newer by one migration, which runs the statement it is given."""
    # Alembic's configuration would take a percent sign for the beginning of a variable.
    folder = tmp_path / "it's 100% (new)" / "migrations"

    def program(statement: str) -> None:
        shutil.copytree(schema._migrations(), folder)
        (folder / "versions/newer.py").write_text(
            f"from alembic import op\nrevision = 'newer'\ndown_revision = {schema.revision()!r}\n"
            f"def upgrade() -> None:\n    op.execute({statement!r})\n"
        )
        monkeypatch.setattr(schema, "_migrations", lambda: folder)

    return program


def migrate(engine: Engine, service_role: str = SERVICE_ROLE) -> schema.Migrated:
    return schema.migrate(engine, metadata=log_metadata, service_role=service_role)


def check(engine: Engine) -> None:
    with engine.connect() as conn:
        schema.check(conn)


# --- connecting ---------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_way_to_write_postgresql_is_understood(database: Database, scheme: str):
    url = database.service_url.set(drivername=scheme).render_as_string(hide_password=False)
    engine = engines.create(url, pool_size=1)
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT current_user")) == SERVICE_ROLE
    engine.dispose()


def test_sessions_are_in_utc_and_say_who_they_are(database: Database):
    for url in (
        database.service_url,
        database.service_url.update_query_dict({"options": "-c timezone=Asia/Tokyo"}),
    ):
        engine = engines.create(url)
        with engine.connect() as conn:
            assert conn.scalar(text("SELECT now()")).utcoffset() == timedelta(0)
            assert conn.scalar(text("SELECT current_setting('application_name')")) == "onrecord"
        engine.dispose()


def test_what_the_url_says_of_a_session_counts(database: Database):
    url = database.service_url.update_query_dict({"application_name": "desk-7", "options": "-c work_mem=5MB"})
    engine = engines.create(url)
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT current_setting('application_name')")) == "desk-7"
        assert conn.scalar(text("SELECT current_setting('work_mem')")) == "5MB"
    engine.dispose()


def test_of_several_hosts_the_first_that_answers_is_taken(database: Database, closed_port: int):
    there = f"{database.service_url.query['host']}:5432"
    url = database.service_url.difference_update_query(["port"])
    engine = engines.create(url.update_query_dict({"host": [f"127.0.0.1:{closed_port}", there]}))
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT current_user")) == SERVICE_ROLE
    engine.dispose()


def test_coroutines_connect_alike(database: Database):
    async def offset() -> timedelta | None:
        engine = engines.create_async(database.service_url)
        async with engine.connect() as conn:
            now = await conn.scalar(text("SELECT now()"))
        await engine.dispose()
        return now.utcoffset()

    assert asyncio.run(offset()) == timedelta(0)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://desk:s3cret@127.0.0.1/onrecord",
        "postgresql+asyncpg://desk:s3cret@127.0.0.1/onrecord",
        "postgresql+psycopg2://desk:s3cret@127.0.0.1/onrecord",
        "postgresql://desk:more@s3cret@127.0.0.1/onrecord",
        "postgresql://desk:s3cret@127.0.0.1:port/onrecord",
        "desk:s3cret@127.0.0.1/onrecord",
        "",
    ],
)
def test_what_is_no_url_of_postgresql_is_refused_without_repeating_a_password(url: str):
    with pytest.raises(DatabaseUrlInvalid, match="postgresql://") as refusal:
        engines.create(url)
    assert "s3cret" not in str(refusal.value)
    with pytest.raises(DatabaseUrlInvalid):
        engines.create_async(url)


def test_an_option_that_is_none_is_refused_when_connecting():
    with pytest.raises(DatabaseUrlInvalid, match="nonsense") as refusal:
        engines.create("postgresql://desk:s3cret@127.0.0.1/onrecord?nonsense=s3cret").connect()
    assert "s3cret" not in str(refusal.value)


def test_a_database_that_cannot_be_reached_is_named_without_the_password(closed_port: int):
    url = f"postgresql://desk:s3cret@127.0.0.1:{closed_port}/onrecord"
    with pytest.raises(DatabaseUnreachable) as told:
        engines.create(url).connect()
    assert told.value.where == f"the database onrecord at 127.0.0.1 port {closed_port}"
    assert "refused" in told.value.reason
    assert "ONRECORD_DATABASE_URL" in str(told.value)
    assert "s3cret" not in str(told.value)

    async def connect() -> None:
        async with engines.create_async(url).connect():
            pass

    with pytest.raises(DatabaseUnreachable, match="refused"):
        asyncio.run(connect())


def test_a_reason_that_quotes_the_password_is_told_without_it():
    # libpq repeats a value that it does not know.
    engine = engines.create("postgresql://desk:s3cret@127.0.0.1/onrecord?sslmode=s3cret")
    with pytest.raises(DatabaseUnreachable) as told:
        engine.connect()
    assert "s3cret" not in str(told.value)


def test_a_database_that_does_not_exist_is_to_be_created(database: Database):
    engine = engines.create(database.service_url.set(database="elsewhere"))
    with pytest.raises(DatabaseUnreachable, match="Create it"):
        engine.connect()


def test_a_server_that_is_too_old_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "OLDEST", 99)
    with pytest.raises(DatabaseTooOld, match="99 or later") as refusal:
        engines.create(database.service_url).connect()
    assert int(refusal.value.version.partition(".")[0]) >= 15

    async def connect() -> None:
        async with engines.create_async(database.service_url).connect():
            pass

    with pytest.raises(DatabaseTooOld):
        asyncio.run(connect())


def test_an_error_of_a_statement_is_not_taken_for_one_of_the_connection(engine: Engine):
    with engine.connect() as conn, pytest.raises(ProgrammingError, match="no_such_table"):
        conn.execute(text("SELECT * FROM no_such_table"))


# --- migrating ----------------------------------------------------------------------


def test_migrating_twice_is_migrating_once(empty_engine: Engine):
    first = migrate(empty_engine)
    assert first.before is None
    assert migrate(empty_engine) == schema.Migrated(first.after, first.after)
    check(empty_engine)


def test_migrations_at_the_same_time_take_turns(empty_engine: Engine):
    together = threading.Barrier(4)

    def one() -> str | None:
        together.wait(60)
        return migrate(empty_engine).before

    with ThreadPoolExecutor(4) as threads:
        before = [done.result() for done in [threads.submit(one) for _ in range(4)]]
    assert before.count(None) == 1


def test_a_migration_that_must_wait_too_long_gives_up(empty_engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schema, "_LOCK_WAIT_S", 0.05)
    with empty_engine.begin() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": schema._LOCK})
        with pytest.raises(SchemaBusy):
            migrate(empty_engine)
    migrate(empty_engine)


def test_a_migration_that_fails_leaves_nothing_behind(empty_engine: Engine, newer: Callable[[str], None]):
    newer("SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        migrate(empty_engine)
    with empty_engine.connect() as conn:
        assert not conn.dialect.has_schema(conn, "onrecord")


def test_a_database_that_was_never_migrated_is_behind(empty_engine: Engine):
    with pytest.raises(SchemaBehind, match="onrecord migrate") as behind:
        check(empty_engine)
    assert behind.value.found is None


def test_a_newer_program_finds_the_database_behind_and_migrates_it(
    engine: Engine, owner_engine: Engine, newer: Callable[[str], None]
):
    check(engine)
    before = migrate(owner_engine).after
    newer("CREATE TABLE onrecord.later ()")
    with pytest.raises(SchemaBehind, match="onrecord migrate") as behind:
        check(engine)
    assert (behind.value.found, behind.value.wanted) == (before, "newer")
    assert migrate(owner_engine) == schema.Migrated(before, "newer")
    check(engine)


def test_an_older_program_leaves_a_newer_database_alone(engine: Engine, owner_engine: Engine):
    with owner_engine.begin() as conn:
        conn.execute(text("UPDATE onrecord.alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaAhead, match="upgrade onrecord") as ahead:
        check(engine)
    assert ahead.value.found == "9999"
    with pytest.raises(SchemaAhead):
        migrate(owner_engine)


def test_a_role_that_was_granted_nothing_finds_the_database_behind(owner_engine: Engine, engine: Engine):
    with owner_engine.begin() as conn:
        conn.execute(text(f"REVOKE ALL ON SCHEMA onrecord FROM {SERVICE_ROLE}"))
    with pytest.raises(SchemaBehind):
        check(engine)
    migrate(owner_engine)
    check(engine)


def test_the_migrations_stand_beside_the_package_or_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert (schema._migrations() / "env.py").is_file()
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "service/database/schema.py"))
    assert schema._migrations() == tmp_path / "migrations"
    (tmp_path / "service/migrations").mkdir(parents=True)
    assert schema._migrations() == tmp_path / "service/migrations"


# --- grants -------------------------------------------------------------------------


def granted(engine: Engine) -> dict[str, set[str]]:
    """What the service may do with each table of the schema, and everybody with it."""
    with engine.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)"
                " WHERE relnamespace = 'onrecord'::regnamespace AND grantee <> relowner"
            )
        )
        grants: dict[str, set[str]] = {}
        for table, privilege in rows:
            grants.setdefault(table, set()).add(privilege)
        return grants


def test_the_service_may_do_what_its_tables_say_and_no_more(engine: Engine, owner_engine: Engine):
    expected = {table.name: set(table.info["service_may"].split(", ")) for table in log_metadata.tables.values()}
    assert granted(owner_engine) == {**expected, "alembic_version": {"SELECT"}}
    with engine.begin() as conn:
        conn.execute(text("CREATE SCHEMA generation_1"))
    with engine.connect() as conn, pytest.raises(ProgrammingError, match="permission denied"):
        conn.execute(text("DELETE FROM onrecord.event"))


def test_migrating_takes_back_what_was_granted_besides(owner_engine: Engine):
    before = granted(owner_engine)
    with owner_engine.begin() as conn:
        conn.execute(text(f"GRANT UPDATE, TRUNCATE ON onrecord.event TO {SERVICE_ROLE}"))
        conn.execute(text(f"GRANT UPDATE (version_num) ON onrecord.alembic_version TO {SERVICE_ROLE}"))
        conn.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA onrecord TO PUBLIC"))
        conn.execute(text(f"GRANT CREATE ON SCHEMA onrecord TO {SERVICE_ROLE}"))
    migrate(owner_engine)
    assert granted(owner_engine) == before
    may = text(
        "SELECT has_schema_privilege('onrecord', 'onrecord', 'CREATE')"
        " OR has_column_privilege('onrecord', 'onrecord.alembic_version', 'version_num', 'UPDATE')"
    )
    with owner_engine.connect() as conn:
        assert conn.scalar(may) is False


def test_who_migrates_for_itself_needs_no_grants(empty_engine: Engine):
    migrate(empty_engine, service_role=OWNER_ROLE)
    assert granted(empty_engine) == {}
    check(empty_engine)


def test_a_service_role_that_is_not_there_is_to_be_created(empty_engine: Engine):
    with pytest.raises(RoleUnfit, match="create it") as refusal:
        migrate(empty_engine, service_role="nobody here")
    assert refusal.value.role == "nobody here"


def test_who_may_not_migrate_is_told_who_may(database: Database, engine: Engine, newer: Callable[[str], None]):
    newer("CREATE TABLE onrecord.later ()")
    with pytest.raises(RoleUnfit, match="ONRECORD_OWNER_URL"):
        migrate(engine)


def test_an_owner_who_may_not_grant_is_told_what_to_grant(empty_database: Database, empty_engine: Engine):
    superuser = engines.create(empty_database.superuser_url)
    with superuser.begin() as conn:
        name = empty_database.owner_url.database
        conn.execute(text(f"ALTER DATABASE {name} OWNER TO postgres"))
        conn.execute(text(f"GRANT CREATE ON DATABASE {name} TO {OWNER_ROLE}"))
        conn.execute(text(f"REVOKE CREATE ON DATABASE {name} FROM {SERVICE_ROLE}"))
    superuser.dispose()
    with pytest.raises(RoleUnfit, match=f"GRANT CREATE ON DATABASE {name} TO {SERVICE_ROLE}"):
        migrate(empty_engine)
