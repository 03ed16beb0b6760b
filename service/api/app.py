"""The ASGI app."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial, reduce
from typing import Any, Final, cast

from graphql import OperationType
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.api import http, racing, site, sse, tiles, watching, websocket
from service.api.access import Access, Sender, sender
from service.api.admission import Admission, Clients
from service.api.answers import Answer, Answers, Moment, Now
from service.api.authenticating import Authenticating
from service.api.context import Context, Projected, reads_snapshots
from service.api.fields import Kept
from service.api.headers import SecurityHeaders
from service.api.http import Asked, Media
from service.api.limits import DEFAULTS, Limits
from service.api.live import Live
from service.api.plans import Invalid, Request, Unwritten
from service.api.probes import Probes, Readiness
from service.api.schema import answered, encoded, graphql_schema, interpreted, printed, refused
from service.database.engine import passing
from service.domain.errors import BadArgument, OnrecordError
from service.log.grouping import Grouping

#: How long what was taken on may take to be recorded when the service stops; then it is rolled back.
_GRACE_S: Final = 10.0
#: What pages of other origins may do, where they may do anything: what those of this one do.
_SHARED: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["Authorization", "Content-Type", "Last-Event-ID", "X-Request-Id", http.MIN_POSITION],
    "expose_headers": ["ETag", "Retry-After", "X-Request-Id"],
    "max_age": 86_400,
}

#: What stands around the app, and sees every request before it.
Layer = Callable[[ASGIApp], ASGIApp]


class App(Starlette):
    """Answers what is asked of `/graphql`, and hands on what is asked of other paths.

    Queries are answered with what is known already, else by compiled plans, and where
    those cannot by the interpreter. Requests pass its layers first, of which the first is the outermost.
    """

    def __init__(
        self,
        context: Callable[..., Context],
        answers: Answers,
        now: Now,
        live: Live,
        *,
        compiled: bool,
        slow_s: float,
        limits: Limits,
        clients: Clients,
        origins: Sequence[str],
        layers: Sequence[Layer],
        metrics: ASGIApp,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.metrics = metrics  #: what it measures, for an address of its own.
        self._outermost = reduce(lambda within, layer: layer(within), reversed(layers), cast(ASGIApp, self._answer))
        self._context, self._answers, self._now, self._live = context, answers, now, live
        self.compiled = compiled  #: whether there is any other way than the interpreter's.
        self._limits, self._clients, self._origins = limits, clients, origins
        self._slow_s = slow_s
        self._page = site.graphiql()

    def end_streams(self) -> None:
        """Let streams end now, before the service does: their readers go on at its next start."""
        self._live.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outermost(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/graphql":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/graphql":
            try:
                await self._graphql(scope, receive, send)
            except (OnrecordError, Invalid) as error:
                await http.refuse(scope, send, error)
        else:
            await super().__call__(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await websocket.serve(
            self._live,
            self._context,
            scope,
            receive,
            send,
            origins=self._origins,
            # Over one connection a client asks as often as over many.
            admit=partial(self._clients.admit, scope),
            operations_max=self._limits.subscriptions_max,
            slow_s=self._slow_s,
        )

    async def _graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what refuses the request as a whole."""
        asked = await http.asked(scope, receive)
        if asked is None:
            await self._page(HttpRequest(scope))(scope, receive, send)
            return
        if self.compiled and (known := await self._known(asked)):
            (watching.not_modified if known.etag in asked.known else watching.known)()
            await _give(send, asked, known)
            return
        sent, context = asked.sent(), self._context(sender(scope), asked.min_position)
        if asked.media is not Media.EVENTS:
            request = Request.of(graphql_schema, sent, self._limits)
            if request.operation.operation is not OperationType.SUBSCRIPTION:
                answer = await self._answered(asked, request, context, receive)
                if answer is not None:
                    await _give(send, asked, answer)
                return
            if not asked.streams:
                raise BadArgument("a subscription is a stream: accept text/event-stream, or open a WebSocket")
        watching.streamed()
        await sse.respond(self._live, sent, context, scope, receive, send, slow_s=self._slow_s)

    async def _answered(
        self, asked: Asked, request: Request, context: Context, receive: Receive
    ) -> Answer | dict[str, Any] | None:
        """What a query or mutation is answered; None where nobody waits for it any longer."""
        context.request = request
        if request.operation.operation is OperationType.MUTATION:
            # What was taken on is done, whoever leaves meanwhile.
            return await interpreted(context)
        return await racing.unless(self._read(asked, request, context), racing.gone(receive))

    async def _known(self, asked: Asked) -> Answer | None:
        """What was answered before, if the record stands where it stood then."""
        key = asked.key
        kept = self._answers.get(key)
        forever = kept.moment is None if kept else self._answers.tag(key, None) in asked.known
        if asked.min_position == 0 and forever:
            return kept or Answer(b"", self._answers.tag(key, None), None)
        if kept is None and not asked.known:
            return None
        moment = await self._now.moment()
        if moment is None or moment.position < asked.min_position:
            return None
        if kept is not None and kept.moment in (None, moment):
            return kept
        tag = self._answers.tag(key, moment)
        # The client has it, though it is not kept here.
        return Answer(b"", tag, moment) if tag in asked.known else None

    async def _read(self, asked: Asked, request: Request, context: Context) -> Answer | dict[str, Any]:
        """The answer to a query; as it is kept, if it may be."""
        if not self.compiled or request.document.introspects:
            return await interpreted(context)
        try:
            with watching.timed(request.operation):
                data = await context.answer(request, compiled=True)
        except Unwritten:
            return await interpreted(context)
        except Exception as error:  # noqa: BLE001 - told and logged as the interpreter's way does
            return refused(error)
        watching.compiled()
        answer = answered(data, None, context)
        if context.snapshot is None or request.document.kept is Kept.NOT:
            return answer
        forever = "head" not in context.seen and request.document.kept is Kept.FOR_EVER
        return self._answers.put(asked.key, None if forever else Moment.of(context.snapshot), encoded(answer))


async def _give(send: Send, asked: Asked, answer: Answer | dict[str, Any]) -> None:
    """Send an answer. Of one that is kept, who has it is told so."""
    if not isinstance(answer, Answer):
        status, headers = http.status_of(answer, asked.media), [(b"cache-control", b"no-store")]
        await http.respond(send, status, asked.media, headers, encoded(answer))
        return
    held = b"max-age=31536000, immutable" if answer.moment is None else b"no-cache"
    headers = [(b"etag", answer.etag.encode()), (b"cache-control", held)]
    has_it = answer.etag in asked.known
    await http.respond(send, 304 if has_it else 200, asked.media, headers, b"" if has_it else answer.body)


async def _unanswered(_: HttpRequest, error: Exception) -> ASGIApp:
    """The answer, outside of GraphQL, where the database gave none and it may pass by itself."""
    if passing(error) is None:
        raise error

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await http.refuse(scope, send, error)

    return answer


def create(
    *,
    engine: AsyncEngine,
    reading: Engine,
    access: Access,
    compiled: bool = True,
    answers_bytes: int = 64 * 1024 * 1024,
    slow_s: float = 10,
    limits: Limits = DEFAULTS,
    origins: Sequence[str] = (),
    trusted_proxies: Sequence[str] = (),
    ready: Readiness = Readiness(),  # noqa: B008 - it is frozen
    debug: bool = False,
) -> App:
    """The service's app. It writes through `engine`; queries read through `reading`, in threads; `access` says who may.

    Queries are answered by compiled plans, unless `compiled` is switched off, and what
    they answered is kept in `answers_bytes`. Both change how long it takes, and nothing else.
    Subscribers that take nothing for `slow_s` seconds are cut off. Pages of `origins` may ask besides the explorer's
    own; `trusted_proxies` are believed for whom they ask. It says that it is ready for as long as `ready` holds.
    """
    reads_snapshots(reading)
    projected = Projected(engine)
    appending = Grouping(engine)
    now = Now(engine)
    live = Live(reading, projected, access, limits)
    clients = Clients(limits.requests_per_s_max, limits.requests_burst_max)
    probes = Probes(reading.url, ready)

    def context(sender: Sender, min_position: int = 0) -> Context:
        """What a request carries that must see this position."""
        return Context(engine, reading, projected, appending, sender, limits.request_s_max, min_position)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        listening = asyncio.create_task(projected.listen())
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await appending.close()
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await now.close()
            await live.close()
            probes.close()

    return App(
        context,
        Answers(printed(), answers_bytes),
        now,
        live,
        compiled=compiled,
        slow_s=slow_s,
        limits=limits,
        clients=clients,
        origins=origins,
        layers=[
            watching.Watching,
            *([cast(Layer, partial(ProxyHeadersMiddleware, trusted_hosts=[*trusted_proxies]))] * bool(trusted_proxies)),
            partial(SecurityHeaders, shared=bool(origins)),
            *([partial(CORSMiddleware, allow_origins=origins, **_SHARED)] * bool(origins)),
            partial(Admission, limits=limits, clients=clients),
            partial(Authenticating, access=access),
        ],
        metrics=probes.metrics(),
        debug=debug,
        exception_handlers={OnrecordError: _unanswered, SQLAlchemyError: _unanswered},
        routes=[*probes.routes(), *tiles.routes(engine), *site.routes()],
        lifespan=lifespan,
    )
