"""The API as its users meet it: requests by HTTP to the app in this process, and a projector to keep up."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import httpx
import psycopg
import pytest
from starlette.types import ASGIApp

from service import log, projector
from service.api.access import Access
from service.api.app import create
from service.api.context import reads_snapshots
from service.api.limits import Limits
from service.cli.listening import Listener
from service.cli.projecting import Projecting
from service.database import engine as engines
from service.domain import article as documents
from service.domain.article import Article
from service.domain.events import Event
from service.domain.policies import NAMES
from service.domain.scopes import Scope
from service.log import NewEvent
from service.projector import Generation, Projector
from service.queries.snapshot import View, view
from tests.conftest import Database

#: The five seed articles, in the order in which tests record them: at positions 1 to 5.
SEEDS = [documents.read(path.read_bytes()) for path in sorted(Path(__file__).parents[1].glob("seeds/*.json"))]


#: How a query can be answered: by GraphQL's interpreter, by a compiled plan, and by what is known already.
WAYS = ("interpreted", "compiled", "known")


#: Those by default, but for how often a test may ask, for how much at once, and how busy the machine may be.
LIMITS = Limits(
    requests_per_s_max=0,
    tokens_max=20_000,
    aliases_max=1_000,
    root_fields_max=1_000,
    cost_max=10**9,
    request_s_max=60,
)


def samples(exposed: str) -> dict[str, float]:
    """What Prometheus reads off `/metrics`: values by name and labels."""
    lines = (line.rsplit(" ", 1) for line in exposed.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


class Api:
    """The service on a test's own database. It projects when it is told to, and between requests nothing moves.

    Each query is asked in every one of `ways`, and has to be answered the same.
    """

    def __init__(
        self,
        database: Database,
        *,
        listening: bool = True,
        without_token: frozenset[Scope] = frozenset(Scope),
        limits: Limits = LIMITS,
        origins: Sequence[str] = (),
    ) -> None:
        self._service_url = database.service_url
        self.engine = engines.create(database.service_url)
        self._writing = engines.create_async(database.service_url)
        self._reading = engines.create(database.service_url)
        self.without_token = without_token
        self._listening, self._limits, self._origins = listening, limits, origins
        self._projector: Projector | None = None
        self.ways: Sequence[str] = WAYS

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.engine.dispose)
            self._runner = stack.enter_context(asyncio.Runner())
            stack.callback(lambda: self._runner.run(self._writing.dispose()))
            stack.callback(self._reading.dispose)
            self._app = app = create(
                engine=self._writing,
                reading=self._reading,
                access=Access(self._writing, without_token=self.without_token),
                limits=self._limits,
                origins=self._origins,
            )
            if self._listening:
                lifespan = app.router.lifespan_context(app)
                self._runner.run(lifespan.__aenter__())
                stack.callback(lambda: self._runner.run(lifespan.__aexit__(None, None, None)))
            self._client, self._measuring = self._asking(stack, app), self._asking(stack, app.metrics)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # --- asking ---------------------------------------------------------------------

    def send(
        self, method: str = "POST", way: str = "compiled", *, path: str = "/graphql", **request: Any
    ) -> httpx.Response:
        """One request as it is, and its response."""
        self._app.compiled = way != "interpreted"
        return self._runner.run(self._client.request(method, path, **request))

    def _asking(self, stack: contextlib.ExitStack, app: ASGIApp) -> httpx.AsyncClient:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        stack.callback(lambda: self._runner.run(client.aclose()))
        return client

    def measured(self) -> dict[str, float]:
        """Every sample of `/metrics`, as it is written there."""
        told = self._runner.run(self._measuring.get("/metrics")).text
        return samples(told)

    def answer(self, query: str, *, headers: Mapping[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        """The whole answer to a document; lone surrogates in it or its variables are sent as JSON escapes."""
        body = json.dumps({"query": query, "variables": variables})
        sent = {"content-type": "application/json", **(headers or {})}
        # What is recorded, is recorded once.
        ways = ("interpreted",) if re.search(r"\bmutation\b", query) else self.ways
        told = [self.send(way=way, content=body, headers=sent) for way in ways]
        for response in told:
            # What the caller got wrong is told by the answer, what the service could not do by the status too.
            assert response.status_code == 200 or response.status_code >= 500, response.text
        answers = [response.json() for response in told]
        for answer in answers[1:]:
            # Who projects in the background may move it on meanwhile.
            if answer.get("extensions") == answers[0].get("extensions"):
                assert answer == answers[0]
        return answers[-1]

    def ask(self, query: str, **variables: Any) -> Any:
        """What is answered, where nothing may go wrong."""
        answer = self.answer(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def errors(self, query: str, **variables: Any) -> list[tuple[str, str]]:
        """The code and message of each error."""
        answer = self.answer(query, **variables)
        return [(each["extensions"]["code"], each["message"]) for each in answer.get("errors", [])]

    def codes(self, query: str, **variables: Any) -> list[str]:
        """The code of each error."""
        return [code for code, _ in self.errors(query, **variables)]

    # --- recording and projecting ---------------------------------------------------

    def append(self, *happened: Article | Event) -> None:
        """Put what happened into the log, and no further."""
        new = [
            NewEvent.of_article(each, actor="cli:test")
            if isinstance(each, Article)
            else NewEvent.of(each, actor="cli:test")
            for each in happened
        ]
        with self.engine.begin() as conn:
            log.append_all(conn, new)

    def project(self, policies: Sequence[str] = NAMES, *, limit: int = 100_000) -> None:
        """Bring the beliefs up to the head of the log, in batches of so many events."""
        if self._projector is None:
            self._projector = Projector(self.prepare(policies))
        while True:
            with self.engine.begin() as conn:
                progress = self._projector.advance(conn, limit=limit)
            assert progress.stopped_at is None, progress.because
            # Decisions end a batch early.
            if progress.events == 0:
                break

    def record(self, *happened: Article | Event) -> None:
        """Append, and project."""
        self.append(*happened)
        self.project()

    def prepare(self, policies: Sequence[str] = NAMES) -> Generation:
        """Make the read tables, with nothing in them."""
        with self.engine.begin() as conn:
            return projector.prepare(conn, policies)

    @contextlib.contextmanager
    def projecting(self) -> Generator[None]:
        """The loop of the service's projector runs meanwhile, in a thread."""
        stopping = threading.Event()
        projecting = Projecting(self.engine, self.prepare())
        with Listener(self.engine, log.CHANNEL) as listener:
            thread = threading.Thread(target=projecting.run, args=(listener, stopping))
            thread.start()
            try:
                yield
            finally:
                stopping.set()
                listener.wake()
                thread.join()

    def renew(self) -> None:
        """Project into what is live by now, after a rebuild."""
        self._projector = None

    @contextlib.contextmanager
    def snapshot(self) -> Generator[View]:
        """What queries read from."""
        reading = engines.create(self._service_url)
        reads_snapshots(reading)
        with contextlib.closing(reading.connect()) as conn:
            begun = view(conn)
            assert begun is not None
            yield begun
        reading.dispose()

    def recorded(self) -> list[tuple[int, Event]]:
        """The events of the log with their positions."""
        with self.engine.begin() as conn:
            return [(entry.position, entry.event()) for entry in log.stream(conn)]

    def head(self) -> int:
        """How many events the log holds."""
        with self.engine.begin() as conn:
            return log.head(conn)

    @contextlib.contextmanager
    def statements(self) -> Generator[list[str]]:
        """The SQL that requests cause meanwhile, as it is handed to the driver."""
        seen: list[str] = []

        def noting(execute: Callable[..., Any]) -> Callable[..., Any]:
            def noted(cursor: object, statement: Any, *of: Any, **how: Any) -> Any:
                seen.append(statement)
                return execute(cursor, statement, *of, **how)

            return noted

        with contextlib.ExitStack() as stack:
            for kind in (psycopg.Cursor, psycopg.AsyncCursor):
                stack.enter_context(patch.object(kind, "execute", noting(kind.execute)))
            yield seen


@pytest.fixture(name="api")
def served(database: Database) -> Iterator[Api]:
    """The service on a database of this test's own, in which nothing is recorded."""
    with Api(database) as api:
        yield api


@pytest.fixture(params=WAYS)
def one_way(seeded: Api, request: pytest.FixtureRequest) -> Api:
    """The service with the seeds, and each query asked once, in each of the ways."""
    seeded.ways = (request.param,)
    return seeded


@pytest.fixture(name="seeded")
def seeded(api: Api) -> Api:
    """The service with the five seed articles recorded and projected."""
    api.record(*SEEDS)
    return api
