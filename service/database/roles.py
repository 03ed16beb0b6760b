"""What the service's role may do beyond what it must: all that could change what was recorded."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, Table, text

_ROLE: Final = text("SELECT rolname, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
#: A member of the owning role can become it, even where it does not inherit.
_OWNED: Final = text("""
    SELECT CASE relname WHEN 'event' THEN 'the log' ELSE 'the table ' || relname END, relname <> 'event' AS is_less
      FROM pg_class WHERE relnamespace = 'onrecord'::regnamespace AND relkind = 'r' AND pg_has_role(relowner, 'MEMBER')
    UNION ALL
    SELECT 'the function ' || proname, true FROM pg_proc
     WHERE pronamespace = 'onrecord'::regnamespace AND pg_has_role(proowner, 'MEMBER')
    UNION ALL
    SELECT 'the schema ' || nspname, true FROM pg_namespace
     WHERE nspname = 'onrecord' AND pg_has_role(nspowner, 'MEMBER')
    UNION ALL
    SELECT 'the database', true FROM pg_database
     WHERE datname = current_database() AND pg_has_role(datdba, 'MEMBER')
     ORDER BY 2, 1
""")
_MAY: Final = text("""
    SELECT relname, privilege FROM pg_class,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
     WHERE relnamespace = 'onrecord'::regnamespace AND relkind = 'r'
       AND CASE WHEN privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN has_table_privilege(pg_class.oid, privilege)
                ELSE has_any_column_privilege(pg_class.oid, privilege) END
     ORDER BY 1, 2
""")
_MAY_CREATE: Final = text("SELECT has_schema_privilege('onrecord', 'CREATE')")


def excess(conn: Connection, tables: Iterable[Table]) -> tuple[str, list[str]]:
    """The role of this connection, and each thing that it is, owns or may do, and the service's must not.

    What it may do with a table is in the table's `info["service_may"]`. The read tables are its own.
    """
    role, is_superuser, may_create_roles = conn.execute(_ROLE).one()
    if is_superuser:
        return role, ["is a superuser"]
    found = ["may create roles"] if may_create_roles else []
    owned = list(conn.scalars(_OWNED))
    if owned:
        # Whoever owns a thing may do everything with it.
        return role, [*found, f"owns {owned[0]}" + (f", and {len(owned) - 1} more" if len(owned) > 1 else "")]
    if conn.scalar(_MAY_CREATE):
        found.append("may create in the schema onrecord")
    granted = {table.name: set(table.info["service_may"].split(", ")) for table in tables}
    for table, privilege in conn.execute(_MAY):
        if privilege not in granted.get(table, {"SELECT"}):
            found.append(f"has the privilege {privilege} on {table}")
    return role, found
