"""Works that write: append, import, project; and those that read the whole log: replay, rebuild."""

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable

from benchmarks import ours
from benchmarks.bench import Bench
from benchmarks.clients import Http, Sending, post
from benchmarks.measure import Budget, Figure, Missing, Round, Row
from benchmarks.peers import EventSourcing
from benchmarks.peers.raw import Copy
from benchmarks.reading import questions

_EVENTS = "events/s"
_CLIENTS = (1, 8, 32)


def _rounds(of: int) -> Callable[[], int]:
    """Where each round begins in what was made for all of them."""
    starts = itertools.count(0, of)
    return lambda: next(starts)


def append(bench: Bench) -> None:
    """One article at a time, in process: durable, and projected too."""
    count = bench.size.one_by_one
    articles = bench.fresh(count * (bench.size.rounds + 1) * 4)
    peer = bench.eventsourcing("append", articles)
    begin, theirs = _rounds(count), _rounds(count)

    def ours_by(appending: ours.Appending, clients: int) -> Round:
        def round() -> float:
            first = begin()
            return appending.run(articles[first : first + count], clients)

        return round

    with (
        ours.Appending(bench.server.database("projected", migrated=True), bench.folder / "projected") as projected,
        ours.Appending(bench.server.database("appended", migrated=True)) as durable,
    ):
        name = "eventsourcing, append alone, 8 threads"
        measures: dict[str, Round | Missing] = {
            "projected": ours_by(projected, 8),
            **{f"{clients}": ours_by(durable, clients) for clients in _CLIENTS},
            name: peer if isinstance(peer, Missing) else lambda: peer.append(theirs(), count, threads=8),
        }
        work = "append one at a time, in process"
        bench.compare(
            _EVENTS,
            measures,
            [
                ("append + project, one at a time, 8 clients, in process", "projected", name, Budget("at least", 3)),
                *[(f"{work}, {clients} clients", f"{clients}", name, None) for clients in _CLIENTS],
            ],
        )


def append_http(bench: Bench) -> None:
    """One article at a time, over HTTP, answered once it is durable."""
    database = bench.server.database("append_http", migrated=True)
    with ours.serving(database, bench.folder / "append_http") as service:

        def by(clients: int) -> Round:
            def round() -> float:
                each = bench.size.one_by_one // clients
                job = Sending.of(service.port, [ours.recording(one) for one in bench.fresh(each * clients)])
                done = bench.clients.run(job, clients, most=each)
                ours.wait_until_projected(database)
                return done.rate

            return round

        pairs = [(f"append one at a time, over HTTP, {clients} clients", f"{clients}") for clients in _CLIENTS]
        measures = {f"{clients}": by(clients) for clients in _CLIENTS}
        bench.compare(_EVENTS, measures, [(work, name, name, None) for work, name in pairs])


def imports(bench: Bench) -> None:
    """A JSONL file by `onrecord import`: parse, validate, hash, append, project."""
    count = bench.size.in_bulk
    articles = bench.fresh(count * (bench.size.rounds + 1))
    peer = bench.eventsourcing("import", articles)
    database = bench.server.database("import", migrated=True)
    folder = bench.folder / "import"
    begin, theirs = _rounds(count), _rounds(count)
    memory: list[float] = []

    def ours_by() -> float:
        first = begin()
        file = bench.written("import", articles[first : first + count])
        # What it takes to start, and for one article, is of the command and not of the import.
        idle = ours.run(database, folder, "import", str(bench.written("one", articles[first : first + 1])))
        ran = ours.run(database, folder, "import", str(file))
        memory.append(ran.memory_mib)
        return (count - 1) / (ran.seconds - idle.seconds)

    name = "eventsourcing, append alone, batches of 50"
    bench.compare(
        _EVENTS,
        {"ours": ours_by, name: peer if isinstance(peer, Missing) else lambda: peer.append(theirs(), count, batch=50)},
        [("import of JSONL", "ours", name, Budget("at least", 1.5))],
    )


def project(bench: Bench) -> None:
    """The projector, with all of the log before it."""
    count = bench.size.in_bulk
    database = bench.server.database("project", migrated=True)
    with ours.engine_of(database) as engine:

        def round() -> float:
            ours.fill(engine, bench.fresh(count))
            return ours.projected(engine)

        bench.compare(_EVENTS, {"ours": round}, [("project, batches", "ours", "ours", None)])


def latency(bench: Bench) -> None:
    """From commit until a request over HTTP sees it, idle and with readers and writers beside it."""
    database = bench.server.database("latency", migrated=True)
    count = bench.size.one_by_one // 4
    with ours.engine_of(database) as engine:
        ours.fill(engine, bench.fresh(bench.size.in_bulk))
        ours.projected(engine)
        with ours.serving(database, bench.folder / "latency") as service:
            reading = questions(service.port, database)["page"]

            def latencies() -> list[float]:
                found: list[float] = []
                with Http(service.port) as connection:
                    for article in bench.fresh(count):
                        position = ours.append_one(engine, article)
                        begun = time.perf_counter()
                        request = post(ours.asking(ours.VISIBLE), ours.at_least(position))
                        if b'"errors"' in connection.send(request)[1]:
                            raise AssertionError("it was not visible in time")
                        found.append((time.perf_counter() - begun) * 1000)
                        time.sleep(0.005)
                return sorted(found)

            def under_load() -> list[float]:
                most = 5 * bench.size.one_by_one
                writing = Sending.of(service.port, [ours.recording(each) for each in bench.fresh(most)])
                # They stop by themselves, a little later than we do.
                took = max(1.0, count * 0.05)
                with (
                    bench.clients.running(reading, 4, seconds=took),
                    bench.clients.running(writing, 1, seconds=took, most=most, others=4),
                ):
                    return latencies()

            latencies()
            rounds = [(latencies(), under_load()) for _ in range(bench.size.rounds)]
    for name, which in (("idle", 0), ("under load", 1)):
        of = [each[which] for each in rounds]
        work = f"from commit to visible over HTTP, {name}"
        bench.add(Row(f"{work}, median", "ms", Figure.of([statistics.median(each) for each in of])))
        bench.add(Row(f"{work}, 99th percentile", "ms", Figure.of([each[int(len(each) * 0.99)] for each in of])))


def replay(bench: Bench) -> None:
    """Fold the whole log under one policy."""
    peer = bench.eventsourcing("replay", [each for each in bench.news() if isinstance(each, dict)])
    with ours.engine_of(bench.filled) as engine:
        if isinstance(peer, EventSourcing):
            peer.append(0, len(list(bench.news())), batch=50)

        def round() -> float:
            begun = time.perf_counter()
            events = ours.replayed(engine)
            return events / (time.perf_counter() - begun)

        name = "eventsourcing, read and decode, no fold"
        bench.compare(
            _EVENTS,
            {"ours": round, name: peer if isinstance(peer, Missing) else peer.read},
            [("replay of the whole log", "ours", name, Budget("at least", 2))],
        )


def rebuild(bench: Bench) -> None:
    """All read tables anew, and the same rows put into the same tables by COPY."""
    with (
        ours.engine_of(bench.filled) as engine,
        bench.filled.connect() as conn,
        contextlib.closing(Copy(conn, ours.schema_of_live(bench.filled))) as copy,
    ):
        events = ours.head(bench.filled)

        def round() -> float:
            begun = time.perf_counter()
            ours.rebuilt(engine)
            return events / (time.perf_counter() - begun)

        name = "COPY of the same rows, indexes included"
        bench.compare(
            _EVENTS,
            {"ours": round, name: lambda: events / copy.run()},
            [("rebuild of all read tables", "ours", name, Budget("at least", 0.3))],
        )
        # Autovacuum would do it a minute later; what reads the new tables next shall not depend on when it does.
        conn.execute("VACUUM ANALYZE")


WORKS = {
    "append": append,
    "append-http": append_http,
    "import": imports,
    "project": project,
    "latency": latency,
    "replay": replay,
    "rebuild": rebuild,
}
