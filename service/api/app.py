"""The ASGI app."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.types import ExecutionResult

from service.api import tiles
from service.api.context import Context, Projected
from service.api.schema import formatted, schema
from service.domain.errors import BadArgument
from service.log.grouping import Grouping

#: The position that a request must at least be answered from.
MIN_POSITION = "Onrecord-Min-Position"


class _View(GraphQL[Context, None]):
    def __init__(self, *, engine: AsyncEngine, projected: Projected, appending: Grouping, actor: str) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())
        self._engine, self._projected, self._appending, self._actor = engine, projected, appending, actor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except BadArgument as error:
            told = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            await JSONResponse(told, status_code=400)(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        wanted = request.headers.get(MIN_POSITION, "0")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
            raise BadArgument(f"{MIN_POSITION} is {wanted!r}; send a position, a whole number from 0")
        return Context(self._engine, self._projected, self._appending, self._actor, min_position=int(wanted))

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [formatted(error) for error in result.errors]
        if result.extensions:
            answer["extensions"] = result.extensions
        return answer  # pyright: ignore[reportReturnType]

    def encode_json(self, data: object) -> bytes:
        try:
            return orjson.dumps(data)
        except TypeError:
            # Half a surrogate pair that a message quotes from the request has no UTF-8.
            return json.dumps(data).encode()


def create(*, engine: AsyncEngine, actor: str, debug: bool = False) -> Starlette:
    """The service's app. Its events are sent by `actor`; it reads and writes through `engine`."""
    projected = Projected(engine)
    appending = Grouping(engine)
    view = _View(engine=engine, projected=projected, appending=appending, actor=actor)

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

    return Starlette(debug=debug, routes=[Route("/graphql", view), *tiles.routes(engine)], lifespan=lifespan)
