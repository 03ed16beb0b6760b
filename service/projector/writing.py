"""Writing: the rows of a batch into the read tables, set-based."""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Final

import orjson
import psycopg
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Table

from service import tables
from service.projector.loading import driver
from service.projector.rows import Batch, Row
from service.tables import OPEN


@cache
def _insert(table: Table, *, repeatable: bool = False) -> str:
    names = [column.name for column in table.columns]
    listed = ", ".join(names)
    # The first to name an outlet, speaker or topic is what counts; later ones say nothing new.
    conflict = " ON CONFLICT DO NOTHING" if repeatable else ""
    return f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {tables.recordset(table, '%s')}{conflict}"


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
    (_insert(tables.outlet, repeatable=True), lambda b: list(b.outlets.values())),
    (_insert(tables.speaker, repeatable=True), lambda b: list(b.speakers.values())),
    (_insert(tables.topic, repeatable=True), lambda b: list(b.topics.values())),
    (_insert(tables.dictionary, repeatable=True), lambda b: list(b.dictionaries.values())),
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
    try:
        with raw.pipeline():
            raw.execute("SAVEPOINT batch")
            for statement, rows in inserted:
                if rows:
                    raw.execute(statement.encode(), (orjson.dumps(list(rows)).decode(),))
            raw.execute(
                "UPDATE onrecord.generation SET position = %s, stopped_at = %s, because = %s WHERE generation = %s",
                (batch.position, stopped_at, because, generation),
            )
        for table, rows in copied:
            copy(raw, table, rows)
    except UniqueViolation:
        raw.execute("ROLLBACK TO batch")
        raise


def copy(raw: psycopg.Connection[Any], table: Table, rows: Collection[Row]) -> None:
    """Write rows of one table, which all have their columns in the same order, where many are to be written."""
    if not rows:
        return
    columns = ", ".join(next(iter(rows)))
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN".encode()) as copied:
        for row in rows:
            copied.write_row(tuple(row.values()))
