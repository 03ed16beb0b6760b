"""The ASGI app."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from graphql import OperationType, get_operation_ast
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.http.base import BaseRequestProtocol
from strawberry.types import ExecutionResult

from service.api import site, sse, tiles, websocket
from service.api.answers import Answer, Answers, Moment, Now
from service.api.context import Context, Projected, reads_snapshots
from service.api.documents import document
from service.api.fields import Kept
from service.api.live import Live, Sent
from service.api.plans import Request, Unwritten
from service.api.schema import answered, encoded, failed, graphql_schema, printed, schema, told
from service.domain.errors import BadArgument
from service.log.grouping import Grouping

#: The position that a request must at least be answered from.
MIN_POSITION = "Onrecord-Min-Position"


class _View(GraphQL[Context, None]):
    """Strawberry's own way: any request, by the interpreter."""

    def __init__(
        self, *, engine: AsyncEngine, reading: Engine, projected: Projected, appending: Grouping, actor: str
    ) -> None:
        super().__init__(schema, subscription_protocols=())
        self._engine, self._reading, self._actor = engine, reading, actor
        self._projected, self._appending = projected, appending
        self._graphiql = site.graphiql()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except BadArgument as error:
            told = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            await JSONResponse(told, status_code=400)(scope, receive, send)

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        # Programs take anything (`*/*`), and get what GraphQL says of a request without a query.
        return super().should_render_graphql_ide(request) and "text/html" in request.headers.get("accept", "")

    async def render_graphql_ide(self, request: HttpRequest) -> Response:
        return self._graphiql(request)

    async def get_context(self, request: HttpRequest | WebSocket, response: Response | WebSocket) -> Context:
        wanted = request.headers.get(MIN_POSITION, "0")
        return self.context(_min_position(wanted))

    def context(self, min_position: int) -> Context:
        """What a request carries that must see this position."""
        return Context(
            self._engine, self._reading, self._projected, self._appending, self._actor, min_position=min_position
        )

    async def process_result(self, request: HttpRequest, result: ExecutionResult) -> GraphQLHTTPResponse:
        return told(result)  # pyright: ignore[reportReturnType]

    def encode_json(self, data: object) -> bytes:
        return encoded(data)

    def create_response(self, response_data: Any, sub_response: Response) -> Response:
        response = super().create_response(response_data, sub_response)
        response.headers["cache-control"] = "no-store"
        return response


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request that may be answered without Strawberry: a query by GET, or by POST as JSON."""

    get: bool
    raw: bytes  #: the query string, or the body.
    min_position: int
    known: str  #: the entity tags of what the client has.
    streamed: bool  #: it is to be answered by server-sent events.

    @property
    def key(self) -> bytes:
        """What tells the request from others."""
        return sha256(b"?" * self.get + self.raw).digest()


class App(Starlette):
    """Answers queries by compiled plans, or with what is known already, and streams; all else goes Strawberry's way."""

    def __init__(
        self, view: _View, answers: Answers, now: Now, live: Live, *, compiled: bool, slow_s: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._view, self._answers, self._now, self._compiled = view, answers, now, compiled
        self._live, self._slow_s = live, slow_s

    def end_streams(self) -> None:
        """Let streams end now, before the service does: their readers go on at its next start."""
        self._live.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/graphql":
            await websocket.serve(self._live, self._view.context, scope, receive, send, slow_s=self._slow_s)
            return
        if scope["type"] != "http" or scope["path"] != "/graphql":
            await super().__call__(scope, receive, send)
            return
        sent, receive = await _sent(scope, receive)
        if sent is not None and sent.streamed and (operation := _operation(sent)) is not None:
            context = self._view.context(sent.min_position)
            await sse.respond(self._live, operation, context, scope, receive, send, slow_s=self._slow_s)
            return
        answer = sent and self._compiled and (await self._known(sent) or await self._read(sent))
        match answer:
            case None | False:
                await super().__call__(scope, receive, send)
            case Answer(body, tag, moment):
                held = b"max-age=31536000, immutable" if moment is None else b"no-cache"
                headers = [(b"etag", tag.encode()), (b"cache-control", held)]
                assert sent is not None
                if sent.get and tag in sent.known:
                    await _send(send, 304, headers, b"")
                else:
                    await _send(send, 200, headers, body)
            case bytes(body):
                await _send(send, 200, [(b"cache-control", b"no-store")], body)

    async def _known(self, sent: _Sent) -> Answer | None:
        """What was answered before, if the record stands where it stood then."""
        key = sent.key
        kept = self._answers.get(key)
        forever = kept.moment is None if kept else self._answers.tag(key, None) in sent.known
        if sent.min_position == 0 and forever:
            return kept or Answer(b"", self._answers.tag(key, None), None)
        if kept is None and not sent.known:
            return None
        moment = await self._now.moment()
        if moment is None or moment.position < sent.min_position:
            return None
        if kept is not None and kept.moment in (None, moment):
            return kept
        tag = self._answers.tag(key, moment)
        # The client has it, though it is not kept here.
        return Answer(b"", tag, moment) if sent.get and tag in sent.known else None

    async def _read(self, sent: _Sent) -> Answer | bytes | None:
        """The answer by a compiled plan; None where there is none, and the interpreter has the word."""
        request = _request(sent)
        if request is None:
            return None
        context = self._view.context(sent.min_position)
        try:
            data = await context.answer(request, compiled=True)
        except Unwritten:
            return None
        except Exception as error:  # noqa: BLE001 - told and logged as the interpreter's way does
            return encoded(failed(error, context))
        body = encoded(answered(data, None, context))
        if context.snapshot is None or request.document.kept is Kept.NOT:
            return body
        forever = "head" not in context.seen and request.document.kept is Kept.FOR_EVER
        return self._answers.put(sent.key, None if forever else Moment.of(context.snapshot), body)


async def _sent(scope: Scope, receive: Receive) -> tuple[_Sent | None, Receive]:
    """The request, if it may be answered without Strawberry, and how it is received from its beginning."""
    method, content_type, wanted, known, streamed = scope["method"], b"", "0", "", False
    for name, value in scope["headers"]:
        match name:
            case b"content-type":
                content_type = value
            case b"onrecord-min-position":
                wanted = value.decode("latin-1")
            case b"if-none-match":
                known = value.decode("latin-1")
            case b"accept":
                streamed = sse.wants(value)
            case _:
                pass
    try:
        min_position = _min_position(wanted)
    except BadArgument:
        return None, receive
    if method == "GET":
        return _Sent(True, scope["query_string"], min_position, known, streamed), receive
    if method != "POST" or b"application/json" not in content_type:
        return None, receive
    messages: list[Message] = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    if messages[-1]["type"] != "http.request":
        return None, _again(messages, receive)
    raw = b"".join(message.get("body", b"") for message in messages)
    return _Sent(False, raw, min_position, "", streamed), _again(messages, receive)


def _again(messages: list[Message], receive: Receive) -> Receive:
    """As if nothing had been received yet."""
    coming = iter(messages)

    async def received() -> Message:
        return next(coming, None) or await receive()

    return received


def _operation(sent: _Sent) -> Sent | None:
    """The operation that is sent; None where there is none to be read."""
    try:
        if sent.get:
            given: Any = dict(QueryParams(sent.raw))
            if given.get("variables"):
                given["variables"] = json.loads(given["variables"])
        else:
            given = json.loads(sent.raw)
        text, variables, name = (given.get(each) for each in ("query", "variables", "operationName"))
    except Exception:  # noqa: BLE001 - whatever it is, it is told by who parses it once more
        return None
    fits = isinstance(text, str) and isinstance(variables, dict | None) and isinstance(name, str | None)
    if not fits or "extensions" in given:
        return None
    return Sent(text, cast("dict[str, Any] | None", variables), name, reads_only=sent.get)


def _request(sent: _Sent) -> Request | None:
    """The query that is sent; None for anything else, and for what somebody else refuses."""
    operation = _operation(sent)
    if operation is None:
        return None
    try:
        known = document(graphql_schema, operation.query)
        asked = get_operation_ast(known.node, operation.name)
        if known.errors or known.introspects or asked is None or asked.operation is not OperationType.QUERY:
            return None
        return Request.of(graphql_schema, known, operation.name, operation.variables)
    except Exception:  # noqa: BLE001 - the same
        return None


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    told = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")] if body else []
    await send({"type": "http.response.start", "status": status, "headers": told + headers})
    await send({"type": "http.response.body", "body": body})


def _min_position(wanted: str) -> int:
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
        raise BadArgument(f"{MIN_POSITION} is {wanted!r}; send a position, a whole number from 0")
    return int(wanted)


def create(
    *,
    engine: AsyncEngine,
    reading: Engine,
    actor: str,
    compiled: bool = True,
    answers_bytes: int = 64 * 1024 * 1024,
    slow_s: float = 10,
    debug: bool = False,
) -> App:
    """The service's app. Its events are sent by `actor`, through `engine`; queries read through `reading`, in threads.

    Queries are answered by compiled plans, unless `compiled` is switched off, and what
    they answered is kept in `answers_bytes`. Both change how long it takes, and nothing else.
    Subscribers that take nothing for `slow_s` seconds are cut off.
    """
    reads_snapshots(reading)
    projected = Projected(engine)
    appending = Grouping(engine)
    view = _View(engine=engine, reading=reading, projected=projected, appending=appending, actor=actor)
    now = Now(engine)
    live = Live(reading, projected)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        listening = asyncio.create_task(projected.listen())
        try:
            yield
        finally:
            await appending.close()
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await now.close()
            await live.close()

    return App(
        view,
        Answers(printed(), answers_bytes),
        now,
        live,
        compiled=compiled,
        slow_s=slow_s,
        debug=debug,
        routes=[Route("/graphql", view), *tiles.routes(engine), *site.routes()],
        lifespan=lifespan,
    )
