"""What the benchmark asks of onrecord: every call into `service` stands here, by its public functions."""

import asyncio
import contextlib
import itertools
import json
import os
import pwd
import re
import select
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from sqlalchemy import Connection, Engine

from benchmarks.generator import Document, Retraction
from benchmarks.server import Database
from service import log, projector
from service.audit.rebuild import rebuild
from service.audit.replaying import replay
from service.database import engine as engines
from service.domain import article as documents
from service.domain.events import ArticleRetracted
from service.domain.policies import NAMES, policy
from service.log import Appended, NewEvent
from service.log.grouping import Grouping
from service.projector import Projector

ROOT: Final = Path(__file__).parents[1]
_ACTOR: Final = "cli:benchmark"
_BATCH: Final = 500
#: How often the memory of a command is looked at.
_LOOK_S: Final = 0.02


def ready(item: Document | Retraction) -> NewEvent:
    """An article as it was decoded from JSON, or a retraction: checked, encoded, hashed."""
    if isinstance(item, Retraction):
        return NewEvent.of(ArticleRetracted(url=item.url, reason=item.reason), actor=_ACTOR)
    return NewEvent.of_article(documents.parse(item), actor=_ACTOR)


@contextlib.contextmanager
def engine_of(database: Database, connections: int = 4) -> Generator[Engine]:
    engine = engines.create(database.url(), pool_size=connections)
    try:
        yield engine
    finally:
        engine.dispose()


def head(database: Database) -> int:
    """The last position of the log."""
    with engine_of(database, 1) as engine, engine.connect() as conn:
        return log.head(conn)


# --- appending and projecting -----------------------------------------------------


def append_batch(engine: Engine, batch: Sequence[NewEvent]) -> None:
    """Append, all of it; whoever refuses one has found a fault of the generator's."""
    with engine.begin() as conn:
        for outcome in log.append(conn, batch):
            if not isinstance(outcome, Appended):
                raise AssertionError(outcome)


def fill(engine: Engine, items: Iterable[Document | Retraction], *, batch: int = _BATCH) -> tuple[int, float]:
    """Append everything in large batches; returns how many events, and the seconds it took."""
    events, begun = 0, time.perf_counter()
    stream = iter(items)
    while new := [ready(item) for item in itertools.islice(stream, batch)]:
        append_batch(engine, new)
        events += len(new)
    return events, time.perf_counter() - begun


def project(engine: Engine, *, told_every: int = 2**62) -> Iterator[tuple[int, int, float]]:
    """Project what the log holds; tells every so many events the position, the events, and the seconds they took.

    A log that nothing was projected of yet is filled in at once, as a rebuild does.
    """
    with engine.begin() as conn:
        generation = projector.prepare(conn, NAMES)
        head = log.head(conn)
    begun = time.perf_counter()
    if generation.position == 0 and head > told_every:
        projector.fill(engine, generation, to=head, batch=_BATCH, told=lambda done, of: None)
        yield head, head, time.perf_counter() - begun
    projecting, events, begun = Projector(generation), 0, time.perf_counter()
    while True:
        with engine.begin() as conn:
            progress = projecting.advance(conn)
        if progress.stopped_at is not None:
            raise AssertionError(progress.because)
        events += progress.events
        if events and (events >= told_every or not progress.events):
            yield progress.position, events, time.perf_counter() - begun
            events, begun = 0, time.perf_counter()
        if not progress.events:
            break
    if not generation.live:
        with engine.begin() as conn:
            projector.promote(conn, generation.generation)


def projected(engine: Engine) -> float:
    """Project what the log holds; returns events a second."""
    done = list(project(engine))
    return sum(events for _, events, _ in done) / (sum(took for _, _, took in done) or 1)


class Appending:
    """Appends articles one at a time from clients of this process, as the API does for its requests.

    With a folder, a process of its own projects them meanwhile, and they count when it has.
    """

    def __init__(self, database: Database, folder: Path | None = None) -> None:
        self._database, self._folder = database, folder

    def __enter__(self) -> "Appending":
        self._stack = contextlib.ExitStack()
        self._runner = self._stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        engine = engines.create_async(self._database.url(), pool_size=4)
        self._stack.callback(lambda: self._runner.run(engine.dispose()))
        self._grouping = Grouping(engine)
        if self._folder is not None:
            with engine_of(self._database) as synchronous:
                projected(synchronous)
            self._stack.enter_context(_running(self._database, self._folder, "project"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, articles: Sequence[Document], clients: int) -> float:
        """Append them by so many clients, each of which waits until one is durable; returns events a second."""
        begun = time.perf_counter()
        self._runner.run(self._append(articles, clients))
        if self._folder is not None:
            wait_until_projected(self._database)
        return len(articles) / (time.perf_counter() - begun)

    async def _append(self, articles: Sequence[Document], clients: int) -> None:
        waiting = iter(articles)

        async def client() -> None:
            for article in waiting:
                (outcome,) = await self._grouping.append([ready(article)])
                assert isinstance(outcome, Appended), outcome

        await asyncio.gather(*(client() for _ in range(clients)))
        await self._grouping.close()


def append_one(where: Engine | Connection, article: Document) -> int:
    """Append an article by itself, and wake who waits for it; returns its position."""
    if isinstance(where, Engine):
        with where.connect() as conn:
            return append_one(conn, article)
    new = ready(article)
    with where.begin():
        (outcome,) = log.append(where, [new])
    assert isinstance(outcome, Appended), outcome
    with where.begin():
        log.announce(where)
    return outcome.position


_PROGRESS: Final = """
    SELECT (SELECT max(position) FROM onrecord.event), (SELECT position FROM onrecord.generation WHERE live)
"""


def wait_until_projected(database: Database, *, wait_s_max: float = 120) -> int:
    """Until all of the log is projected; returns its head."""
    end = time.monotonic() + wait_s_max
    with database.connect() as conn:
        while True:
            row = conn.execute(_PROGRESS).fetchone()
            assert row is not None
            if row[0] == row[1]:
                return row[0]
            if time.monotonic() > end:
                raise TimeoutError(f"projected up to {row[1]} of {row[0]}")
            time.sleep(0.001)


# --- reading the whole log --------------------------------------------------------


def replayed(engine: Engine) -> int:
    """Fold the whole log under one policy; returns how many events."""
    with engine.connect() as conn:
        with replay(conn, policy("unanimous")) as outcomes:
            for _ in outcomes:
                pass
        return log.head(conn)


def rebuilt(engine: Engine) -> int:
    """Make all read tables anew; returns how many events."""
    made = rebuild(engine)
    assert made.same
    return made.position


def schema_of_live(database: Database) -> str:
    """The PostgreSQL schema of the read tables that are live."""
    with database.connect() as conn:
        row = conn.execute("SELECT schema_name FROM onrecord.generation WHERE live").fetchone()
    assert row is not None
    return row[0]


# --- the service and its commands, as processes of their own ------------------------


@dataclass(frozen=True)
class Service:
    """A running `onrecord serve`."""

    port: int
    pid: int


@contextlib.contextmanager
def serving(database: Database, folder: Path) -> Generator[Service]:
    """`onrecord serve` on a database and a free port."""
    with _running(database, folder, "serve", "--port", "0") as process:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], 60)[0]:
            raise TimeoutError("onrecord serve does not start")
        said = process.stdout.readline()
        port = re.search(r":(\d+)/graphql", said)
        if port is None:
            raise RuntimeError(f"onrecord serve said {said!r}; see {folder}/serve.log")
        yield Service(int(port[1]), process.pid)


@dataclass(frozen=True)
class Ran:
    """A command that came to its end."""

    seconds: float
    memory_mib: float  #: the most that it held.


def run(database: Database, folder: Path, *arguments: str) -> Ran:
    """An `onrecord` command, from start to end."""
    begun, memory = time.perf_counter(), 0.0
    process = _start(database, folder, *arguments)
    # Looked at meanwhile: what the system tells at the end includes us, as we were when we started it.
    while process.poll() is None:
        memory = max(memory, memory_mib(process.pid))
        time.sleep(_LOOK_S)
    if process.returncode:
        raise RuntimeError(f"onrecord {arguments[0]} ended with {process.returncode}; see {folder}/{arguments[0]}.log")
    return Ran(time.perf_counter() - begun, memory)


def memory_mib(pid: int) -> float:
    """The most that a process and those it started have held so far, added up. Only where there is a /proc."""
    total, waiting = 0, [pid]
    while waiting:
        each = Path(f"/proc/{waiting.pop()}")
        with contextlib.suppress(OSError):  # It may end just now.
            most = re.search(r"VmHWM:\s+(\d+)", (each / "status").read_text())
            total += int(most[1]) if most else 0
            for task in (each / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total / 1024


@contextlib.contextmanager
def _running(database: Database, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    # It waits for its end, too.
    with _start(database, folder, *arguments, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


def _start(database: Database, folder: Path, *arguments: str, stdout: int | None = None) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
        "PATH": os.defpath,
        "ONRECORD_DATABASE_URL": database.url().render_as_string(hide_password=False),
        "ONRECORD_DATA_DIR": str(folder),
        # It is asked as often as it can answer.
        "ONRECORD_REQUESTS_PER_S_MAX": "0",
    }
    with (folder / f"{arguments[0]}.log").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=errors if stdout is None else stdout,
            stderr=errors,
            text=True,
        )


# --- GraphQL ----------------------------------------------------------------------

_RECORD: Final = """
mutation Record($input: ArticleInput!) {
  recordArticle(input: $input, waitSeconds: 0) { __typename ... on ArticleAccepted { position } }
}
"""
_ENUMS: Final = {"stance", "certainty", "form", "change", "kind"}


def recording(document: Document) -> bytes:
    """The request that records an article."""
    return json.dumps({"query": _RECORD, "variables": {"input": _input(document)}}).encode()


def _input(value: Any, name: str = "") -> Any:
    """The document as GraphQL takes it: names in camelCase, enum values in capitals."""
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda m: m[1].upper(), key): _input(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_input(each) for each in value]
    return value.upper() if name in _ENUMS else value


_CLAIM: Final = """
  id slug proposition firstPosition
  belief { state reason asserting denying withholding contested }
  statements(first: 5) { nodes { stance name quote effectiveAt position } }
"""
#: A page of 100 claims with 10 fields and 5 statements each. `after` is before all of them: it only
#: makes each request another one, which no answer to an earlier request answers.
PAGE: Final = f"""
query Page($after: Position!) {{
  claims(first: 100, where: {{changedAfter: $after}}) {{ nodes {{ {_CLAIM} }} }}
}}
"""
PAGE_AS_OF: Final = f"""
query PageAsOf($after: Position!, $position: Position!) {{
  claims(first: 100, where: {{changedAfter: $after}}, asOf: {{position: $position}}) {{ nodes {{ {_CLAIM} }} }}
}}
"""


CLAIM: Final = """
query Claim($slug: String!) {
  claim(slug: $slug) {
    slug proposition belief { state reason asserting denying withholding since { position recordedAt } }
    history(first: 100) { nodes { position recordedAt effectiveAt retroactive from to reason } }
  }
}
"""
FILTERED: Final = """
query Filtered($after: Position!, $topic: String!) {
  claims(first: 25, where: {state: UNVERIFIED, contested: true, topic: $topic, changedAfter: $after}) {
    nodes { slug proposition belief { state reason asserting denying withholding } } }
}
"""
COUNTED: Final = """
query Counted($position: Position!) {
  claims(first: 25, asOf: {position: $position}) {
    totalCount byState { asserted denied unverified } nodes { slug proposition belief { state reason } } }
}
"""
SEARCH: Final = """
query Search($text: String!, $after: Position!) {
  claims(first: 25, where: {text: $text, changedAfter: $after}) {
    nodes { slug proposition belief { state reason asserting denying withholding } } }
}
"""
DEEP: Final = f"""
query Deep($first: Int!, $after: String) {{
  claims(first: $first, after: $after) {{ pageInfo {{ endCursor hasNextPage }} nodes {{ {_CLAIM} }} }}
}}
"""
CURSORS: Final = """
query Cursors($after: String) {
  claims(first: 100, after: $after) { pageInfo { endCursor hasNextPage } }
}
"""
CHANGES: Final = """
query Changes($from: Position!, $to: Position!) {
  changes(from: $from, to: $to, first: 100) {
    nodes { slug before { state reason } after { state reason asserting denying withholding } } }
}
"""
#: Answered as soon as the position is projected that the request must at least see.
VISIBLE: Final = "{ log { projected } }"


def at_least(position: int) -> str:
    """The header that says which."""
    return f"Onrecord-Min-Position: {position}\r\n"


def asking(query: str, **variables: Any) -> bytes:
    """A request; what shall vary in it is "%d" (see `Asking`)."""
    return json.dumps({"query": query, "variables": variables}).encode()
