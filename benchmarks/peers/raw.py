"""The raw peers: the page's rows by psycopg alone, and COPY of the read tables. They need nothing but psycopg."""

import io
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg

Rows = list[tuple[Any, ...]]

_BEGIN: Final = "SELECT schema_name, position FROM onrecord.generation WHERE live"
# Looked up and not joined, as ours does: a join on two columns that go together makes PostgreSQL join all claims first.
_CLAIMS: Final = """
    SELECT t.claim,
           (SELECT w.proposition FROM {schema}.wording w WHERE w.claim = c.claim AND w.position = c.first_position),
           c.first_position, t.to_state, t.to_reason,
           y.asserting, y.denying, y.withholding, y.asserting > 0 AND y.denying > 0
      FROM {schema}.transition t,
           LATERAL (SELECT * FROM {schema}.claim c WHERE c.claim = t.claim LIMIT 1) c,
           LATERAL (SELECT * FROM {schema}.tally y
                     WHERE y.claim = t.claim AND y.position <= %(at)s AND y.until_position > %(at)s LIMIT 1) y
     WHERE t.policy = 'unanimous@1' AND t.position <= %(at)s AND t.until_position > %(at)s AND t.position > %(after)s
     ORDER BY t.position DESC, t.claim
     LIMIT 100
"""
_STATEMENTS: Final = """
    SELECT s.claim, s.stance, s.speaker_name, s.quote, s.effective_at, s.position
      FROM unnest(%(claims)s::text[]) AS p(claim)
     CROSS JOIN LATERAL (
           SELECT * FROM {schema}.statement s WHERE s.claim = p.claim AND s.position <= %(at)s
            ORDER BY s.position DESC, s.ordinal DESC LIMIT 5) s
"""


@dataclass(frozen=True)
class Page:
    """A client's work: the page of 100 claims by raw psycopg, each time after another position."""

    conninfo: str
    distinct: int

    @contextmanager
    def open(self) -> Generator[Callable[[int], Any]]:
        with connect(self.conninfo) as conn:
            yield lambda n: page(conn, n % self.distinct)


def connect(conninfo: str) -> psycopg.Connection:
    """A connection of the kind of snapshot that the service reads in."""
    conn = psycopg.connect(conninfo)
    conn.isolation_level, conn.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    # Planned for its values each time: the plan for any two positions sorts all claims.
    conn.prepare_threshold = None
    return conn


def page(conn: psycopg.Connection, after: int, at: int | None = None) -> tuple[Rows, Rows]:
    """Claims and their statements: what changed last, as long as it was after a position."""
    with conn.transaction():
        schema, position = conn.execute(_BEGIN).fetchone() or ("", 0)
        at = position if at is None else at
        claims = conn.execute(_in(schema, _CLAIMS), {"at": at, "after": after}).fetchall()
        told = {"at": at, "claims": [row[0] for row in claims]}
        return claims, conn.execute(_in(schema, _STATEMENTS), told).fetchall()


def before_page(conn: psycopg.Connection, at: int | None = None) -> tuple[int, int]:
    """The position of which the page is, and the last one before all that it shows."""
    with conn.transaction():
        schema, position = conn.execute(_BEGIN).fetchone() or ("", 0)
        of = position if at is None else at
        changed = conn.execute(_in(schema, _CHANGED), {"at": of}).fetchall()
    return of, min((row[0] for row in changed), default=1) - 1


_CHANGED: Final = """
    SELECT t.position FROM {schema}.transition t
     WHERE t.policy = 'unanimous@1' AND t.position <= %(at)s AND t.until_position > %(at)s
     ORDER BY t.position DESC LIMIT 100
"""


def rows_of(read: tuple[Rows, Rows]) -> Rows:
    """Each claim with its statements, as `rows_of` of an answer over HTTP gives them."""
    claims, statements = read
    said: dict[str, list[Any]] = {row[0]: [] for row in claims}
    for claim, stance, name, quote, _, position in statements:
        said[claim].append((stance, name, quote, position))
    return [(*row, tuple(said[row[0]])) for row in claims]


@lru_cache
def _in(schema: str, statement: str) -> bytes:
    return statement.format(schema=schema).encode()


# --- COPY -------------------------------------------------------------------------


class Copy:
    """The rows of a schema's tables by COPY, held in memory, and put into tables of the same indexes."""

    def __init__(self, conn: psycopg.Connection, schema: str) -> None:
        self._conn = conn
        conn.execute("CREATE SCHEMA shape")
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        self._rows: dict[str, bytes] = {}
        for (name,) in tables:
            # Ours may be made anew meanwhile, and the old ones dropped.
            conn.execute(f"CREATE TABLE shape.{name} (LIKE {schema}.{name})".encode())
            self._rows[name] = self._out(f"{schema}.{name}")
        self._indexes = [
            row[0].replace(f" ON {schema}.", " ON copied.")
            for row in conn.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = %s", (schema,)).fetchall()
        ]

    def run(self) -> float:
        """Put them in, indexes last; returns the seconds it took, until it is durable."""
        self._conn.execute("DROP SCHEMA IF EXISTS copied CASCADE")
        self._conn.execute("CHECKPOINT")
        begun = time.perf_counter()
        with self._conn.transaction():
            self._conn.execute("CREATE SCHEMA copied")
            for name, rows in self._rows.items():
                self._conn.execute(f"CREATE TABLE copied.{name} (LIKE shape.{name})".encode())
                with self._conn.cursor().copy(f"COPY copied.{name} FROM STDIN (FORMAT binary)".encode()) as copy:
                    copy.write(rows)
            for index in self._indexes:
                self._conn.execute(index.encode())
        return time.perf_counter() - begun

    def close(self) -> None:
        self._conn.execute("DROP SCHEMA IF EXISTS copied, shape CASCADE")

    def _out(self, name: str) -> bytes:
        held = io.BytesIO()
        with self._conn.cursor().copy(f"COPY {name} TO STDOUT (FORMAT binary)".encode()) as copy:
            for part in copy:
                held.write(part)
        return held.getvalue()
