"""The roles of the database: the service's owns nothing but the read tables, and cannot change what it adds."""

from collections.abc import Sequence

import psycopg
import pytest
from sqlalchemy import Engine

from service import tables
from service.database import engine as engines
from service.database import roles
from tests.conftest import Database
from tests.test_cli import Run, address
from tests.test_cli import run as run
from tests.test_cli import run_anywhere as run_anywhere
from tests.test_guards import refusal

DENIED = psycopg.errors.InsufficientPrivilege
LOG_SIDE = [table.name for table in tables.log_metadata.tables.values()]

#: What a privilege lets be done to a table, and what only its owner may do.
WITH_PRIVILEGE = {
    "SELECT": "SELECT * FROM onrecord.{table}",
    "INSERT": "INSERT INTO onrecord.{table} DEFAULT VALUES",
    "UPDATE": "UPDATE onrecord.{table} SET {column} = NULL WHERE false",
    "DELETE": "DELETE FROM onrecord.{table} WHERE false",
    "TRUNCATE": "TRUNCATE onrecord.{table}",
    "TRIGGER": "CREATE TRIGGER t BEFORE INSERT ON onrecord.{table} EXECUTE FUNCTION onrecord.refuse_change()",
}
BY_OWNER = (
    "ALTER TABLE onrecord.{table} ADD COLUMN more text",
    "ALTER TABLE onrecord.{table} DISABLE TRIGGER ALL",
    "ALTER TABLE onrecord.{table} OWNER TO onrecord",
    "ALTER TABLE onrecord.{table} SET SCHEMA public",
    "GRANT ALL ON onrecord.{table} TO onrecord",
    "CREATE INDEX ON onrecord.{table} ({column})",
    "COMMENT ON TABLE onrecord.{table} IS ''",
    "DROP TABLE onrecord.{table} CASCADE",
)


@pytest.mark.parametrize("table", LOG_SIDE)
def test_the_service_may_do_with_a_table_what_it_must_and_nothing_else(
    engine: Engine, owner_engine: Engine, table: str
) -> None:
    of = tables.log_metadata.tables[f"onrecord.{table}"]
    names = {"table": table, "column": next(column.name for column in of.columns if not column.identity)}
    may = set(of.info["service_may"].split(", "))
    for privilege, sql in WITH_PRIVILEGE.items():
        refused = refusal(engine, sql.format(**names)) is DENIED
        assert refused == (privilege not in may), privilege
    for sql in BY_OWNER:
        # A grant of what one may not grant is no error, but a warning.
        assert refusal(engine, sql.format(**names)) is (None if sql.startswith("GRANT") else DENIED), sql
    assert may <= {"SELECT", "INSERT", "UPDATE", "DELETE"}
    with engine.connect() as conn:
        assert roles.excess(conn, tables.log_metadata.tables.values()) == ("onrecord", [])


def test_the_service_owns_no_more_than_its_schemas(engine: Engine) -> None:
    for sql in (
        "CREATE TABLE onrecord.t ()",
        "CREATE FUNCTION onrecord.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP SCHEMA onrecord CASCADE",
        "ALTER SCHEMA onrecord RENAME TO other",
        "CREATE ROLE other",
        "SET ROLE onrecord_owner",
        "COPY onrecord.event TO PROGRAM 'cat'",
    ):
        assert refusal(engine, sql) is DENIED, sql


OWNER = "owns the log, and "


@pytest.mark.parametrize(
    ("done", "said"),
    [
        pytest.param([], [], id="as migrated"),
        pytest.param(["ALTER ROLE onrecord SUPERUSER"], ["is a superuser"], id="superuser"),
        pytest.param(["ALTER ROLE onrecord CREATEROLE"], ["may create roles"], id="who creates roles"),
        pytest.param(["GRANT onrecord_owner TO onrecord"], [OWNER], id="member"),
        pytest.param(
            ["ALTER ROLE onrecord NOINHERIT", "GRANT onrecord_owner TO onrecord"], [OWNER], id="can become it"
        ),
        pytest.param(["ALTER TABLE onrecord.event OWNER TO onrecord"], ["owns the log"], id="the log's owner"),
        pytest.param(["ALTER TABLE onrecord.token OWNER TO onrecord"], ["owns the table token"], id="a table's"),
        pytest.param(["ALTER SCHEMA onrecord OWNER TO onrecord"], ["owns the schema onrecord"], id="the schema's"),
        pytest.param(
            ["ALTER FUNCTION onrecord.refuse_change() OWNER TO onrecord"],
            ["owns the function refuse_change"],
            id="a guard's",
        ),
        pytest.param(
            ["GRANT UPDATE ON onrecord.event TO onrecord"], ["has the privilege UPDATE on event"], id="by grant"
        ),
        pytest.param(
            ["GRANT UPDATE (actor) ON onrecord.event TO onrecord"],
            ["has the privilege UPDATE on event"],
            id="on a column",
        ),
        pytest.param(
            ["GRANT DELETE, TRUNCATE ON onrecord.checkpoint TO PUBLIC"],
            ["has the privilege DELETE on checkpoint", "has the privilege TRUNCATE on checkpoint"],
            id="as everybody",
        ),
        pytest.param(
            ["GRANT INSERT ON onrecord.token TO onrecord"], ["has the privilege INSERT on token"], id="makes tokens"
        ),
        pytest.param(
            ["GRANT CREATE ON SCHEMA onrecord TO onrecord"], ["may create in the schema onrecord"], id="makes tables"
        ),
    ],
)
def test_whatever_the_service_should_not_be_able_to_do_is_told(
    database: Database, done: Sequence[str], said: Sequence[str]
) -> None:
    superuser = engines.create(database.superuser_url)
    with superuser.connect() as conn:
        for sql in (*done, "SET LOCAL ROLE onrecord"):
            conn.exec_driver_sql(sql)
        role, found = roles.excess(conn, tables.log_metadata.tables.values())
        # The roles are everybody's on this server.
        conn.rollback()
    superuser.dispose()
    assert role == "onrecord"
    assert len(found) == len(said)
    assert all(each.startswith(begin) for each, begin in zip(found, said, strict=True)), found


def test_status_warns_of_it_and_migrating_takes_it_back(run: Run, database: Database, owner_engine: Engine) -> None:
    with owner_engine.begin() as conn:
        conn.exec_driver_sql("GRANT UPDATE (actor) ON onrecord.event TO onrecord")
    warned = run("status")
    assert warned.status == 0
    assert "The service's role onrecord has the privilege UPDATE on event, so a fault or an intruder" in warned.err
    assert "`onrecord migrate`" in warned.err
    assert run("migrate", owner_url=address(database.owner_url)).err == ""
    assert run("status").err == ""
    assert "postgres is a superuser" in run("status", database_url=address(database.superuser_url)).err
