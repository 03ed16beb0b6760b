"""Writing: the rows of a batch into the read tables, set-based."""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Final

import orjson
import psycopg
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Table

from service import tables
from service.domain.policies import State
from service.projector.loading import driver
from service.projector.rows import Batch, Row
from service.tables import CENSUS_EVERY, OPEN


@cache
def _insert(table: Table, *, conflict: str = "") -> str:
    listed = ", ".join(table.columns.keys())
    return f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {tables.recordset(table, '%s')} {conflict}"


#: The first to name an outlet, speaker or topic is what counts; later ones say nothing new.
_REPEATABLE: Final = "ON CONFLICT DO NOTHING"
_SUMS: Final = ", ".join(f"{name} = excluded.{name}" for name in tables.standing_sums.columns.keys()[1:])


def _close(table: Table, key: Sequence[str], *, newest: str | None = None) -> str:
    """End what is open under a key, if anything is; of several rows the newest by `newest` can be."""
    record = tables.recordset(table, "%s", [*key, "until_position"])
    same = " AND ".join(f"t.{name} = r.{name}" for name in key)
    if newest is not None:
        inner = " AND ".join(f"o.{name} = r.{name}" for name in key)
        same += f" AND t.{newest} = (SELECT max(o.{newest}) FROM {table.name} o WHERE {inner})"
    same += f" AND t.until_position = {OPEN}"
    return f"UPDATE {table.name} t SET until_position = r.until_position FROM {record} WHERE {same}"


#: What is written, in this order and before what may be copied, and the rows of a batch for it.
_WRITES: Final[tuple[tuple[str, Callable[[Batch], Collection[Row]]], ...]] = (
    (_insert(tables.outlet, conflict=_REPEATABLE), lambda b: list(b.outlets.values())),
    (_insert(tables.speaker, conflict=_REPEATABLE), lambda b: list(b.speakers.values())),
    (_insert(tables.topic, conflict=_REPEATABLE), lambda b: list(b.topics.values())),
    (_insert(tables.dictionary, conflict=_REPEATABLE), lambda b: list(b.dictionaries.values())),
    (
        (
            "UPDATE claim t SET topic = r.topic, topic_position = r.topic_position "
            f"FROM {tables.recordset(tables.claim, '%s', ['claim', 'topic', 'topic_position'])} WHERE t.claim = r.claim"
        ),
        lambda b: b.named_topics,
    ),
    (_close(tables.article, ["position"]), lambda b: b.articles.closed),
    (_insert(tables.retraction), lambda b: b.retractions),
    (_close(tables.statement, ["claim", "position", "ordinal"]), lambda b: b.statements.closed),
    (_close(tables.standing, ["claim", "speaker"], newest="since_position"), lambda b: b.standings.closed),
    (_close(tables.tally, ["claim"], newest="position"), lambda b: b.tallies.closed),
    (
        (
            "DELETE FROM standing_sums t "
            f"USING {tables.recordset(tables.standing_sums, '%s', ['claim'])} WHERE t.claim = r.claim"
        ),
        lambda b: b.unsummed,
    ),
    (_insert(tables.standing_sums, conflict=f"ON CONFLICT (claim) DO UPDATE SET {_SUMS}"), lambda b: b.sums),
    (_close(tables.transition, ["policy", "claim"], newest="position"), lambda b: b.transitions.closed),
    (_close(tables.merge, ["position"]), lambda b: b.merges.closed),
    (_insert(tables.merge), lambda b: b.merges.opened()),
    (_close(tables.ruling, ["claim"], newest="position"), lambda b: b.rulings.closed),
    (_insert(tables.ruling), lambda b: b.rulings.opened()),
    (_insert(tables.relation), lambda b: b.relations),
    (_insert(tables.adoption), lambda b: b.adoptions),
)


#: The tables that a large batch has many rows for, and those rows.
_COPIED: Final[tuple[tuple[Table, Callable[[Batch], Collection[Row]]], ...]] = (
    (tables.claim, lambda b: b.claims.values()),
    (tables.wording, lambda b: b.wordings),
    (tables.article, lambda b: b.articles.opened()),
    (tables.statement, lambda b: b.statements.opened()),
    (tables.standing, lambda b: b.standings.opened()),
    (tables.tally, lambda b: b.tallies.opened()),
    (tables.transition, lambda b: b.transitions.opened()),
)
#: From how many rows on copying them costs less than it takes to go there and back once more.
_COPIED_MIN: Final = 300

#: A transition takes a claim from one state to another, so what came and went since the last census tells the next.
_TAKE_CENSUS: Final = f"""
    INSERT INTO census (policy, state, position, claims)
    WITH g AS MATERIALIZED (SELECT policies, position, position / {CENSUS_EVERY} * {CENSUS_EVERY} AS done
                              FROM onrecord.generation WHERE generation = %(generation)s AND position < %(to)s)
    SELECT n.policy, n.state, n.position, n.claims
      FROM (SELECT m.policy, m.state, m.position,
                   sum(sum(m.claims)) OVER (PARTITION BY m.policy, m.state ORDER BY m.position) AS claims
              FROM (SELECT c.*
                      FROM g, unnest(g.policies) AS p(policy), unnest(%(states)s::text[]) AS s(state),
                           LATERAL (SELECT c.policy, c.state, c.position, c.claims FROM census c
                                     WHERE c.policy = p.policy AND c.state = s.state
                                     ORDER BY c.position DESC LIMIT 1) c
                    UNION ALL
                    SELECT t.policy, s.state,
                           (t.position + {CENSUS_EVERY - 1}) / {CENSUS_EVERY} * {CENSUS_EVERY}, s.more
                      FROM g
                      JOIN transition t ON t.policy = ANY(g.policies) AND t.position > g.done
                     CROSS JOIN LATERAL (VALUES (t.to_state, 1), (t.from_state, -1)) AS s(state, more)
                     WHERE t.position <= %(to)s AND t.from_state IS DISTINCT FROM t.to_state
                       AND s.state IS NOT NULL) m
             GROUP BY m.policy, m.state, m.position HAVING sum(m.claims) <> 0) n
      JOIN g ON n.position > g.done
"""


def take_census(raw: psycopg.Connection[Any], generation: int, position: int) -> None:
    """Count the claims by their state wherever that is due after the cursor of a generation, up to a position.

    The rows depend on the transitions alone, not on where the cursor stopped.
    """
    to = position // CENSUS_EVERY * CENSUS_EVERY
    raw.execute(_TAKE_CENSUS.encode(), {"generation": generation, "states": list(State), "to": to}, prepare=True)


def write(conn: Connection, batch: Batch, generation: int, *, stopped_at: int | None, because: str | None) -> None:
    """Write a batch and move the cursor, all sent at once and answered at once, but for what is copied.

    Raises UniqueViolation for what is there already; then nothing is written.
    """
    raw = driver(conn)
    inserted: list[tuple[str, Collection[Row]]] = [(statement, rows_of(batch)) for statement, rows_of in _WRITES]
    copied: list[tuple[Table, Collection[Row]]] = []
    for table, rows_of in _COPIED:
        rows = rows_of(batch)
        if len(rows) < _COPIED_MIN:
            inserted.append((_insert(table), rows))
        else:
            copied.append((table, rows))
    # Each is prepared at once: of one that the driver would only then prepare, it does not notice that it failed.
    try:
        with raw.pipeline():
            raw.execute("SAVEPOINT batch", prepare=True)
            for statement, rows in inserted:
                if rows:
                    _send(raw, statement, rows)
            if not copied:
                _finish(raw, batch.position, generation, stopped_at=stopped_at, because=because)
        if copied:
            for table, rows in copied:
                copy(raw, table, rows)
            with raw.pipeline():
                _finish(raw, batch.position, generation, stopped_at=stopped_at, because=because)
    except UniqueViolation:
        raw.execute("ROLLBACK TO batch")
        raise


def _finish(
    raw: psycopg.Connection[Any], position: int, generation: int, *, stopped_at: int | None, because: str | None
) -> None:
    """Count what is due, now that all rows are there, and move the cursor."""
    take_census(raw, generation, position)
    raw.execute(
        "UPDATE onrecord.generation SET position = %s, stopped_at = %s, because = %s WHERE generation = %s",
        (position, stopped_at, because, generation),
        prepare=True,
    )


def insert(raw: psycopg.Connection[Any], table: Table, rows: Collection[Row]) -> None:
    """Write rows of one table, where few are to be written."""
    _send(raw, _insert(table), rows)


def _send(raw: psycopg.Connection[Any], statement: str, rows: Collection[Row]) -> None:
    raw.execute(statement.encode(), (orjson.dumps(list(rows)).decode(),), prepare=True)


def copy(raw: psycopg.Connection[Any], table: Table, rows: Collection[Row]) -> None:
    """Write rows of one table, which all have their columns in the same order, where many are to be written."""
    if not rows:
        return
    columns = ", ".join(next(iter(rows)))
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN".encode()) as copied:
        for row in rows:
            copied.write_row(tuple(row.values()))
