"""Growth: what each work costs a unit on databases of several sizes, whose measures take turns.

`python -m benchmarks.growth 10000 1000000 --data DIR` keeps the databases, so that another run only measures.
"""

import argparse
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import generator, ours, plot
from benchmarks.bench import Bench, Size
from benchmarks.generator import Document
from benchmarks.measure import Budget, Figure, Round, Row, compared, interleaved
from benchmarks.reading import questions
from benchmarks.run import run
from benchmarks.server import Database

_WITHIN: Final = Budget("within", 2)
_COMMANDS: Final = ("serve", "import", "replay", "rebuild")
#: The works that are drawn.
_DRAWN: Final = ("append", "project", "page", "search, a rare word", "as of", "changes between two positions")


@dataclass
class _Sized:
    """A database of one size."""

    claims: int
    database: Database
    folder: Path
    articles: Iterator[Document]  #: that come next.
    memory_mib: dict[str, float] = field(default_factory=dict)

    def fresh(self, count: int) -> list[Document]:
        return list(itertools.islice(self.articles, count))


@dataclass
class Growth:
    """What each work costs, in milliseconds a unit, by the number of claims."""

    costs_ms: dict[str, dict[int, float]] = field(default_factory=dict)

    def drawn(self) -> str:
        """The costs of some works as a plot, in SVG."""
        return plot.svg({name: self.costs_ms[name] for name in _DRAWN if name in self.costs_ms})


def growth(bench: Bench, *, rebuilding: bool = True) -> Growth:
    """Measure on a database of each size, and add the rows."""
    found = Growth()
    sized = [_sized(bench, claims) for claims in bench.size.growth]
    commands = [each for each in _COMMANDS if each != "rebuild" or rebuilding]

    def measured(work: str, unit: str, rounds: dict[int, Round], *, times: int) -> None:
        samples = interleaved(times, {f"{claims}": each for claims, each in rounds.items()}, warm=times > 1)
        found.costs_ms[work] = {claims: 1000 / Figure.of(samples[f"{claims}"]).median for claims in rounds}
        least, *larger = rounds
        for claims in larger:
            name = f"{work}, at {claims:,} claims"
            bench.add(compared(name, unit, samples[f"{claims}"], f"at {least:,}", samples[f"{least}"], _WITHIN))

    with contextlib.ExitStack() as stack:
        appending = {at.claims: stack.enter_context(ours.Appending(at.database)) for at in sized}
        engines = {at.claims: stack.enter_context(ours.engine_of(at.database)) for at in sized}
        count, times = bench.size.one_by_one, bench.size.rounds

        def append(at: _Sized) -> float:
            return appending[at.claims].run(at.fresh(count), 8)

        def project(at: _Sized) -> float:
            ours.fill(engines[at.claims], at.fresh(count))
            return ours.projected(engines[at.claims])

        def replay(at: _Sized) -> float:
            begun = time.perf_counter()
            return ours.replayed(engines[at.claims]) / (time.perf_counter() - begun)

        for name, work in (("append", append), ("project", project)):
            measured(name, "events/s", {at.claims: lambda at=at, do=work: do(at) for at in sized}, times=times)
        for at in sized:
            ours.projected(engines[at.claims])
        for name, once in (("import", _import), ("rebuild", _rebuild))[: 1 + rebuilding]:
            measured(name, "events/s", {at.claims: lambda at=at, do=once: do(bench, at) for at in sized}, times=1)
        measured("replay", "events/s", {at.claims: lambda at=at: replay(at) for at in sized}, times=min(times, 3))
        for at in sized:
            at.memory_mib["replay"] = ours.run(at.database, at.folder, "replay").memory_mib
    for at in sized:
        with at.database.connect() as conn:
            conn.execute("VACUUM ANALYZE")
    with contextlib.ExitStack() as stack:
        services = {at.claims: stack.enter_context(ours.serving(at.database, at.folder)) for at in sized}
        asked = {at.claims: questions(services[at.claims].port, at.database) for at in sized}
        for name in asked[sized[0].claims]:
            asking = {claims: bench.ask(each[name], 1) for claims, each in asked.items()}
            measured(name, "requests/s", asking, times=times)
        for at in sized:
            at.memory_mib["serve"] = ours.memory_mib(services[at.claims].pid)
    for command, at in itertools.product(commands, sized):
        work = f"memory of {command} at its peak, {at.claims:,} claims"
        bench.add(Row(work, "MiB", Figure.of([at.memory_mib[command]])))
    return found


def _sized(bench: Bench, claims: int) -> _Sized:
    database = bench.filled_with(claims)
    # Other articles than those of an earlier run, which are in the log.
    articles = generator.articles(seed=2 + ours.head(database), begin=generator.articles_for(claims))
    return _Sized(claims, database, bench.folder / database.name, articles)


def _import(bench: Bench, at: _Sized) -> float:
    articles = at.fresh(bench.size.in_bulk)
    idle = ours.run(at.database, at.folder, "import", str(bench.written("one", articles[:1])))
    ran = ours.run(at.database, at.folder, "import", str(bench.written("import", articles)))
    at.memory_mib["import"] = ran.memory_mib
    return (len(articles) - 1) / (ran.seconds - idle.seconds)


def _rebuild(bench: Bench, at: _Sized) -> float:
    idle = ours.run(at.database, at.folder, "status")
    ran = ours.run(at.database, at.folder, "rebuild")
    at.memory_mib["rebuild"] = ran.memory_mib
    return ours.head(at.database) / (ran.seconds - idle.seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("claims", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--data", type=Path, help="a folder to keep the databases in, for another run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of a round of requests")
    parser.add_argument("--one-by-one", type=int, default=1_000, help="articles in a round that appends or projects")
    parser.add_argument("--in-bulk", type=int, default=5_000, help="articles that are imported")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "growth.json")
    parser.add_argument("--plot", type=Path, help="where to draw cost against size, as SVG")
    parser.add_argument("--no-rebuild", action="store_true", help="which takes longest; how a fill goes is told anyway")
    given = parser.parse_args(arguments)
    size = Size(
        0,
        given.rounds,
        given.seconds,
        one_by_one=given.one_by_one,
        in_bulk=given.in_bulk,
        growth=tuple(sorted(given.claims)),
    )
    run(lambda bench: _all(bench, given.plot, rebuilding=not given.no_rebuild), size, data=given.data, out=given.out)


def _all(bench: Bench, where: Path | None, *, rebuilding: bool) -> None:
    found = growth(bench, rebuilding=rebuilding)
    if where is not None:
        where.write_text(found.drawn())


if __name__ == "__main__":
    main()
