"""A run: its size, its databases and processes, and the rows of its table so far."""

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import generator, ours
from benchmarks.clients import Clients, Job
from benchmarks.generator import Document, Retraction
from benchmarks.measure import Missing, Pair, Round, Row, table
from benchmarks.peers import EventSourcing
from benchmarks.report import cells
from benchmarks.server import Database, Server

#: After how many events it is said how fast a database is filled.
_FILL = 50_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    claims: int  #: in the database that is read, with ten statements each.
    rounds: int
    seconds: float  #: of a round of requests.
    one_by_one: int  #: articles in a round that appends them one at a time.
    in_bulk: int  #: articles in a round that imports them.
    growth: tuple[int, ...]  #: claims in the databases by which growth is measured.


class Bench:
    """What works share. Databases, processes and files are made when first asked for, and go at the end."""

    def __init__(self, server: Server, size: Size, told: Callable[[str], object]) -> None:
        self.server, self.size, self.told = server, size, told
        self.rows: list[Row] = []
        self.filled_databases: list[Database] = []
        self.stack = contextlib.ExitStack()
        self.folder = server.folder / "run"
        self.folder.mkdir(exist_ok=True)
        self.clients = self.stack.enter_context(Clients())
        self._fresh = generator.articles(seed=2)
        self._asked: Counter[Job] = Counter()

    def close(self) -> None:
        self.stack.close()

    # --- rows -------------------------------------------------------------------

    def compare(
        self,
        unit: str,
        measures: Mapping[str, Round | Missing],
        pairs: Sequence[Pair],
    ) -> None:
        """Measure in turns, and add a row for each of the pairs."""
        for row in table(self.size.rounds, unit, measures, pairs):
            self.add(row)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.told("  " + "  ".join(cell for cell in cells(row) if cell))

    # --- what is measured ---------------------------------------------------------

    @cached_property
    def filled(self) -> Database:
        """The database that is read: so many claims, projected."""
        return self.filled_with(self.size.claims)

    def filled_with(self, claims: int) -> Database:
        """A database with so many claims. Goes on where an earlier run has left it."""
        database = self.server.database(f"filled_{claims}", migrated=True)
        wanted = generator.articles_for(claims)
        with ours.engine_of(database) as engine:
            news = itertools.islice(generator.news(), ours.head(database), wanted)
            while (begun := ours.head(database)) < wanted:
                events, took = ours.fill(engine, itertools.islice(news, _FILL))
                self.told(f"  {database.name}: {begun + events:,} events appended, {events / took:,.0f}/s")
            for position, events, took in ours.project(engine, told_every=_FILL):
                self.told(f"  {database.name}: {position:,} events projected, {events / took:,.0f}/s")
        with database.connect() as conn:
            conn.execute("VACUUM ANALYZE")
        self.filled_databases.append(database)
        return database

    def news(self) -> Iterator[Document | Retraction]:
        """What is in it."""
        return itertools.islice(generator.news(), generator.articles_for(self.size.claims))

    @cached_property
    def service(self) -> ours.Service:
        """`onrecord serve` on it."""
        return self.stack.enter_context(ours.serving(self.filled, self.folder / self.filled.name))

    def ask(self, job: Job, clients: int) -> Round:
        """A round of requests that follow on those before; it gives the requests a second of all clients."""

        def round() -> float:
            done = self.clients.run(job, clients, seconds=self.size.seconds, first=self._asked[job])
            self._asked[job] = done.following
            return done.rate

        return round

    # --- what is written ------------------------------------------------------------

    def fresh(self, count: int) -> list[Document]:
        """Articles that nobody had yet."""
        return list(itertools.islice(self._fresh, count))

    def written(self, name: str, documents: Sequence[Document]) -> Path:
        """A JSONL file of them."""
        file = self.folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in documents))
        return file

    def eventsourcing(self, name: str, documents: Sequence[Document]) -> EventSourcing | Missing:
        """The peer on a database of its own, with these documents in memory."""
        try:
            database = self.server.database(f"eventsourcing_{name}")
            peer = self.stack.enter_context(EventSourcing(database, self.folder / f"eventsourcing_{name}.log"))
        except Missing as missing:
            return missing
        peer.load(self.written(f"eventsourcing_{name}", documents))
        return peer
