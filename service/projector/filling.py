"""Filling: the read tables of a new generation from the whole log at once.

The tables stand without indexes meanwhile, and rows are copied into them as soon as
nothing can change them any more; the indexes are built at the end. What the rows say is
made by the fold and by `Batch`, as when the log is projected batch by batch.

No claim has anything to do with another, unless they were merged. So the log is folded
in parts, each of some claims, with all that a claim was ever merged with in the same one.
Each part goes through the whole log, and takes in the statements on its claims alone. What
is held in memory is what holds at one moment of one part, and parts are made the smaller
the longer the log is. Several processes share the parts.
"""

import gc
import multiprocessing
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, Final

import orjson
import psycopg
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import IntegrityError

from service import tables
from service.database import engine as engines
from service.domain.belief import Fold
from service.domain.events import (
    TYPES,
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    Event,
    MergeUndone,
    RulingLifted,
    SpeakersMerged,
    decode,
    encode,
)
from service.domain.policies import policy
from service.log import Stored
from service.projector.generations import Generation
from service.projector.loading import Known, driver
from service.projector.rows import Batch, Row, Spans
from service.projector.writing import copy, insert, take_census

#: A log of no more entries is filled in this process alone, before others would have started.
_ALONE_MAX: Final = 3_000
#: Of how many bytes of events the claims of one part make up about as much as its share.
_PART_BYTES: Final = 256 * 1024 * 1024
_PROCESSES_MAX: Final = 4
_INDEX_MEMORY: Final = "256MB"
_ARTICLES: Final = ("ArticleRecorded", "ArticleRevised")


class UnfollowableError(Exception):
    """The log holds something that cannot be taken in."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the log up to a position is taken apart."""

    schema_name: str
    policies: list[str]
    to: int
    parts: int
    #: Of each claim that was ever merged with another, the one that all of them go with.
    families: dict[str, str]
    merged: dict[int, str]  #: by the position of a merge of claims: the claim that was merged away.
    again: frozenset[str]  #: the URLs of which more is told after they were recorded.

    def part_of(self, id: str) -> int:
        """In which part a claim is, or what is said of an article as a whole."""
        return zlib.crc32(self.families.get(id, id).encode()) % self.parts


def fill(engine: Engine, generation: Generation, *, to: int, batch: int, told: Callable[[int, int], object]) -> bool:
    """Fill the empty tables of a generation with what the log comes to up to position `to`.

    `batch` entries are held at a time. `told` hears how many are done, of how many. When it
    returns, the projector can go on after `to`, with indexes and statistics in place. Returns
    False where the log holds something that cannot be projected: then the tables are
    of no use, and it is for a `Projector` to find out what it is.
    """
    processes = 1 if to <= _ALONE_MAX else min(_PROCESSES_MAX, os.cpu_count() or 1)
    with engine.begin() as conn:
        plan = _plan(conn, generation, to, processes)
        indexes = _take_indexes_away(conn, plan.schema_name)
    more = _counting(told, plan)
    try:
        if processes == 1:
            for part in range(plan.parts):
                with engine.begin() as conn:
                    _fill_part(conn, plan, part, batch, more)
        else:
            _share(engine.url, plan, processes, batch, more)
        with engine.begin() as conn:
            _finish(conn, plan)
            take_census(driver(conn), generation.generation, to)
        _put_indexes_back(engine, plan.schema_name, indexes, processes)
    except (UnfollowableError, IntegrityError):
        return False
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE onrecord.generation SET position = %s WHERE generation = %s", (to, generation.generation)
        )
    return True


def _counting(told: Callable[[int, int], object], plan: Plan) -> Callable[[int], object]:
    """Takes how many entries more were gone through by some part, and tells of how much of the log that is."""
    done = 0

    def more(entries: int) -> None:
        nonlocal done
        done += entries
        # All is done only when the indexes are built, which is for the caller to tell.
        told(min(done // plan.parts, plan.to - 1), plan.to)

    return more


def _plan(conn: Connection, generation: Generation, to: int, processes: int) -> Plan:
    size = conn.exec_driver_sql(
        "SELECT coalesce(sum(octet_length(payload)), 0)::bigint FROM onrecord.event WHERE position <= %s", (to,)
    ).scalar_one()
    again: set[str] = set()
    merges: list[tuple[int, str, str]] = []
    found = conn.exec_driver_sql(
        "SELECT position, type, payload FROM onrecord.event WHERE position <= %s "
        "AND type IN ('ArticleRevised', 'ArticleRetracted', 'ClaimsMerged')",
        (to,),
        execution_options={"stream_results": True},
    )
    for position, type, payload in found:
        try:
            said = orjson.loads(payload)
            if type == "ClaimsMerged":
                merges.append((position, said["claim"], said["into"]))
            else:
                again.add(said["article"]["url"] if type == "ArticleRevised" else said["url"])
        except (ValueError, KeyError, TypeError):
            # Who folds it will find out.
            continue
    return Plan(
        generation.schema_name,
        generation.policies,
        to,
        # As many for each process.
        parts=processes * max(1, -(-size // (_PART_BYTES * processes))),
        families=_families((claim, into) for _, claim, into in merges),
        merged={position: claim for position, claim, _ in merges},
        again=frozenset(again),
    )


def _families(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of each that is in a pair, one that is the same for all that pairs connect.

    >>> families = _families([("a", "b"), ("c", "d"), ("b", "c"), ("x", "y")])
    >>> len({families[each] for each in "abcd"}), families["x"] == families["y"], families["x"] == families["a"]
    (1, True, False)
    """
    members: dict[str, list[str]] = {}
    for pair in pairs:
        one, other = (members.setdefault(each, [each]) for each in pair)
        if one is not other:
            one += other
            members.update(dict.fromkeys(other, one))
    return {each: family[0] for each, family in members.items()}


# --- one part ---------------------------------------------------------------------


def _fill_part(conn: Connection, plan: Plan, part: int, batch: int, more: Callable[[int], object]) -> None:
    """Write the rows of one part. Raises UnfollowableError."""
    raw = driver(conn)
    raw.execute(f"SET LOCAL search_path TO {plan.schema_name}".encode())
    folding, after = _Part(plan, part), 0
    while after < plan.to:
        entries = raw.execute(
            "SELECT position, type, schema_version, payload FROM onrecord.event "
            "WHERE position > %s AND position <= %s ORDER BY position LIMIT %s",
            (after, plan.to, batch),
            binary=True,
        ).fetchall()
        for entry in entries:
            try:
                folding.take(Stored(*entry))
            except Exception as error:
                raise UnfollowableError from error
        after = entries[-1][0]
        folding.write(raw, last=after == plan.to)
        more(len(entries))


class _Part:
    """The fold of some claims, and the rows that it came to and that are not written yet."""

    def __init__(self, plan: Plan, part: int) -> None:
        self._plan = plan
        self._part = part
        self._fold = Fold([policy(each) for each in plan.policies])
        self._known: dict[str, Known] = {}
        self._batch = Batch(0)
        self._again: set[int] = set()  # where articles were recorded of which more is told later

    def take(self, entry: Stored) -> None:
        """Fold what an entry says of the claims of this part. Raises whatever speaks against it."""
        if entry.type in _ARTICLES:
            self._take_article(entry)
            return
        event = entry.event()
        here, whole = self._concerned(event)
        if here:
            change = self._fold.apply(event, entry.position)
            self._batch.take(event, change, self._fold.claims, self._known, whole=whole)

    def _concerned(self, event: Event) -> tuple[bool, bool]:
        """Whether an event is for this part, and whether what it says as a whole is this part's to write."""
        plan, first = self._plan, self._part == 0
        match event:
            case ArticleRetracted(url=url):
                return True, self._here(url)
            case ClaimsMerged(claim=claim) | ClaimRuled(claim=claim) | RulingLifted(claim=claim):
                return self._here(claim), True
            case MergeUndone(position=position) if position in plan.merged:
                return self._here(plan.merged[position]), True
            case SpeakersMerged() | MergeUndone():
                return True, first
            case _:
                return first, True

    def _take_article(self, entry: Stored) -> None:
        current = entry.schema_version == TYPES[entry.type][1]
        document = orjson.loads(entry.payload if current else encode(entry.event()))
        article = document["article"]
        url, claims, ordinals, ordinal = article["url"], list[Any](), list[int](), 0
        for claim in article["claims"]:
            after = ordinal + len(claim["statements"])
            if self._here(claim["claim"]):
                claims.append(claim)
                ordinals += range(ordinal, after)
            ordinal = after
        whole, again = self._here(url), url in self._plan.again
        if not (claims or whole or again):
            return
        # What is left out is another part's to read.
        article["claims"] = claims
        event = decode(entry.type, TYPES[entry.type][1], orjson.dumps(document))
        assert isinstance(event, ArticleRecorded | ArticleRevised)
        change = self._fold.apply(event, entry.position, ordinals=ordinals)
        self._batch.take(event, change, self._fold.claims, self._known, whole=whole)
        if again:
            self._again.add(entry.position)
        else:
            # Nothing will ask for it again, and there are as many as the log is long.
            del self._fold.articles[url]

    def _here(self, id: str) -> bool:
        return self._plan.part_of(id) == self._part

    def write(self, raw: psycopg.Connection[Any], *, last: bool) -> None:
        """Write what will not change any more, and forget it; at the end all that is left."""
        batch = self._batch
        for table, spans in (
            (tables.article, batch.articles),
            (tables.statement, batch.statements),
        ):
            copy(raw, table, _settled(spans, lambda row: last or row["position"] not in self._again))
        for table, spans in (
            (tables.standing, batch.standings),
            (tables.tally, batch.tallies),
            (tables.transition, batch.transitions),
            (tables.merge, batch.merges),
            (tables.ruling, batch.rulings),
        ):
            copy(raw, table, spans.opened() if last else spans.ended)
            spans.ended, spans.closed = [], []
        for table, rows in (
            (tables.wording, batch.wordings),
            (tables.retraction, batch.retractions),
            (tables.relation, batch.relations),
            (tables.adoption, batch.adoptions),
        ):
            copy(raw, table, rows)
            rows.clear()
        if last:
            for table, by_id in (
                (tables.outlet, batch.outlets),
                (tables.speaker, batch.speakers),
                (tables.topic, batch.topics),
                (tables.dictionary, batch.dictionaries),
                (tables.claim, batch.claims),
            ):
                copy(raw, table, by_id.values())
            batch.sum_up(self._fold.claims)
            insert(raw, tables.standing_sums, batch.sums)


def _settled(spans: Spans, settled: Callable[[Row], bool]) -> list[Row]:
    """The rows that ended, and those that are open and stay so; they are not kept."""
    if spans.closed:
        raise UnfollowableError("a row ends that was to stay open")
    rows, spans.ended = spans.ended, []
    stay: dict[tuple[Any, ...], Row] = {}
    for key, row in spans.open_by_key.items():
        if settled(row):
            rows.append(row)
        else:
            stay[key] = row
    spans.open_by_key = stay
    return rows


# --- several processes ------------------------------------------------------------


def _share(url: URL, plan: Plan, processes: int, batch: int, more: Callable[[int], object]) -> None:
    """Fill all parts, in processes that end with this one. Raises UnfollowableError."""
    # Not a fork of this process, which may have threads and holds connections.
    context = multiprocessing.get_context("spawn")
    workers: dict[Pipe, Any] = {}
    try:
        for number in range(processes):
            told, telling = context.Pipe(duplex=False)
            parts = range(number, plan.parts, processes)
            worker = context.Process(target=_work, args=(url, plan, parts, batch, telling), daemon=True)
            workers[told] = worker
            worker.start()
            telling.close()
        left = list(workers)
        while left:
            for told in wait(left):
                assert isinstance(told, Pipe)
                match told.recv():
                    case int(entries):
                        more(entries)
                    case None:
                        left.remove(told)
                    case error:
                        raise error
    finally:
        for worker in workers.values():
            if worker.pid is not None:
                worker.terminate()
                worker.join()


def _work(url: URL, plan: Plan, parts: Sequence[int], batch: int, telling: Pipe) -> None:
    """Fill some parts; tells of entries gone through, of an exception, and at the end None."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C is for the parent, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is folded has no cycles, and there is much of it to look through for some.
    gc.disable()
    engine = engines.create(url)
    try:
        for part in parts:
            with engine.begin() as conn:
                _fill_part(conn, plan, part, batch, telling.send)
        telling.send(None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the parent's to raise
        telling.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# --- around it --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Index:
    """An index that is to be built, and the constraint that it is of, if it is of one."""

    table: str
    name: str
    made_by: str
    constraint: str | None


def _take_indexes_away(conn: Connection, schema_name: str) -> list[_Index]:
    found = conn.exec_driver_sql(
        "SELECT t.relname, i.relname, pg_get_indexdef(i.oid), "
        "       CASE c.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' END "
        "  FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
        "  LEFT JOIN pg_constraint c ON c.conindid = i.oid "
        " WHERE t.relnamespace = %s::regnamespace",
        (schema_name,),
    )
    indexes = [_Index(*row) for row in found]
    for each in indexes:
        if each.constraint is None:
            conn.exec_driver_sql(f"DROP INDEX {schema_name}.{each.name}")
        else:
            conn.exec_driver_sql(f"ALTER TABLE {schema_name}.{each.table} DROP CONSTRAINT {each.name}")
    return indexes


def _finish(conn: Connection, plan: Plan) -> None:
    """Leave of each outlet, speaker, topic and dictionary the row of the part that met it first."""
    conn.exec_driver_sql(f"SET LOCAL search_path TO {plan.schema_name}")
    for name in ("outlet", "speaker", "topic"):
        conn.exec_driver_sql(
            f"DELETE FROM {name} t USING {name} o WHERE o.{name} = t.{name} AND o.first_position < t.first_position"
        )
    for name in ("outlet", "speaker", "topic", "dictionary"):
        conn.exec_driver_sql(f"DELETE FROM {name} t USING {name} o WHERE o.{name} = t.{name} AND o.ctid < t.ctid")


def _put_indexes_back(engine: Engine, schema_name: str, indexes: Sequence[_Index], processes: int) -> None:
    """Build the indexes, several at a time, the largest tables' first; and count what the planner goes by."""

    def run(statement: str) -> None:
        with engine.begin() as conn:
            conn.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{_INDEX_MEMORY}'")
            conn.exec_driver_sql("SET LOCAL max_parallel_maintenance_workers = 0")
            conn.exec_driver_sql(statement)

    with engine.begin() as conn:
        found = conn.exec_driver_sql(
            "SELECT relname, pg_table_size(oid) FROM pg_class WHERE relnamespace = %s::regnamespace", (schema_name,)
        )
        size: dict[str, int] = dict(row for row in found)  # pyright: ignore[reportArgumentType]
    largest = sorted(indexes, key=lambda each: (-size[each.table], "USING gin" not in each.made_by))
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(run, [each.made_by for each in largest]))
        with engine.begin() as conn:
            for each in indexes:
                if each.constraint is not None:
                    table, of = f"{schema_name}.{each.table}", f"{each.constraint} USING INDEX {each.name}"
                    conn.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {each.name} {of}")
        list(pool.map(run, [f"ANALYZE {schema_name}.{name}" for name in tables.read_metadata.tables]))
