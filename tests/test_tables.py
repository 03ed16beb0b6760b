"""The migrations build exactly the log's side of `tables`, under the names given there, and its guards."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine
from sqlalchemy.schema import CreateSchema

from service import projector, tables
from service.database import engine as engines
from service.database.schema import VERSION_TABLE
from service.domain.policies import NAMES
from tests.conftest import Database

#: Everything that a table is made of, by name, as the server itself describes it.
_CATALOGUE = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND c.relname <> %(version)s
    """,
    "constraints": """
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
          FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
         WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname <> %(version)s
    """,
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
         WHERE schemaname = %(schema)s AND tablename <> %(version)s
    """,
    "sequences": """
        SELECT relname FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relkind = 'S'
    """,
}


def catalogue(conn: Connection, schema: str) -> dict[str, list[Any]]:
    parameters = {"schema": schema, "version": VERSION_TABLE}
    return {
        kind: sorted((tuple(row) for row in conn.exec_driver_sql(sql, parameters)), key=repr)
        for kind, sql in _CATALOGUE.items()
    }


@pytest.fixture
def from_tables(empty_database: Database) -> Iterator[Connection]:
    """A database in which the log's side was made from `tables` alone."""
    made = engines.create(empty_database.owner_url)
    with made.begin() as conn:
        conn.execute(CreateSchema(tables.SCHEMA))
        tables.log_metadata.create_all(conn)
        yield conn
    made.dispose()


def test_the_migrations_build_what_tables_says(owner_engine: Engine) -> None:
    options = {"include_schemas": True, "compare_type": True, "compare_server_default": True}

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        return name == tables.SCHEMA if kind == "schema" else name != VERSION_TABLE

    with owner_engine.begin() as conn:
        context = MigrationContext.configure(conn, opts={**options, "include_name": ours})
        assert compare_metadata(context, tables.log_metadata) == []


def test_the_migrations_give_every_constraint_and_index_its_name(owner_engine: Engine, from_tables: Connection) -> None:
    with owner_engine.begin() as conn:
        migrated = catalogue(conn, tables.SCHEMA)
    assert migrated == catalogue(from_tables, tables.SCHEMA)
    assert {name for name, *_ in migrated["columns"]} == {table.name for table in tables.log_metadata.tables.values()}


def test_every_table_of_the_log_is_guarded_always(owner_engine: Engine) -> None:
    with owner_engine.begin() as conn:
        found = conn.exec_driver_sql(
            "SELECT c.relname, t.tgname, t.tgenabled::text, p.proname, t.tgtype::int "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal",
            (tables.SCHEMA,),
        )
        triggers = {tuple(row) for row in found}
    before, on_insert, on_delete, on_update, on_truncate = 2, 4, 8, 16, 32
    expected = {("event", "event_continue", "A", "continue_log", on_insert)}
    for table in (*tables.GUARDED, *tables.GUARDED_TREE):
        for name, kind in (("update", on_update), ("delete", on_delete), ("truncate", on_truncate)):
            expected.add((table.name, f"{table.name}_refuse_{name}", "A", "refuse_change", before + kind))
    assert triggers == expected


def test_the_service_may_do_with_each_table_what_tables_says(owner_engine: Engine) -> None:
    with owner_engine.begin() as conn:
        found = conn.exec_driver_sql(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
            "WHERE table_schema = %s AND grantee = 'onrecord'",
            (tables.SCHEMA,),
        )
        granted: dict[str, set[str]] = {}
        for table, privilege in found:
            granted.setdefault(table, set()).add(privilege)
    expected = {table.name: set(table.info["service_may"].split(", ")) for table in tables.log_metadata.tables.values()}
    assert granted == {**expected, VERSION_TABLE: {"SELECT"}}
    for table in (*tables.GUARDED, *tables.GUARDED_TREE):
        assert expected[table.name] == {"SELECT", "INSERT"}


def test_a_generation_holds_the_read_tables_and_nothing_else(engine: Engine) -> None:
    with engine.begin() as conn:
        made = projector.prepare(conn, NAMES)
        found = catalogue(conn, made.schema_name)
    ours = tables.read_metadata.tables.values()
    columns = {(table, column) for table, column, *_ in found["columns"]}
    assert columns == {(table.name, column.name) for table in ours for column in table.columns}
    named = {index for _, index, _ in found["indexes"]}
    for table in ours:
        assert {engine.dialect.identifier_preparer.format_index(index) for index in table.indexes} <= named
        assert f"{table.name}_pkey" in named
