"""The layer that says of each request who sends it, and lets none further that may not read."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from service.api import http, site
from service.api.access import SENDER, Access
from service.api.probes import PATHS
from service.domain import scopes
from service.domain.errors import DatabaseUnreachable, Unauthenticated


class Authenticating:
    """A layer: says who sends a request. Lines of the log that are written meanwhile name them.

    Whoever may not read still gets the explorer's own files, which hold nothing of the record: there
    a person can say a token. A WebSocket may bring its token with `connection_init`. Who keeps the service
    running asks without one.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._closed = scopes.Scope.READ not in access.without_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        sent: list[bytes] = []
        host = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                sent.append(value)
            elif name == b"host":
                host = value
        found = self._access.nobody(host)
        client = scope.get("client")
        bind_contextvars(actor=found.actor, address=client and client[0])
        try:
            if sent:
                found = await self._access.sender(b",".join(sent).decode("latin-1"))
                bind_contextvars(actor=found.actor)
            elif self._closed and scope["type"] == "http" and not _is_open(scope):
                found.must(scopes.Scope.READ)
        except (Unauthenticated, DatabaseUnreachable) as error:
            await http.refuse(scope, send, error)
            return
        scope[SENDER] = found
        await self._app(scope, receive, _for_this_one(send) if self._closed else send)


def _is_open(scope: Scope) -> bool:
    """Whether a request is for a file of the explorer, or a probe; GraphQL's address without a query is a page too."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (
        path in PATHS or site.is_page(path) or (path == "/graphql" and not scope["query_string"])
    )


def _for_this_one(send: Send) -> Send:
    """What is answered is for who sent this token: nobody between may keep it for others."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, value.replace(b"public", b"private") if name == b"cache-control" else value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": [*headers, (b"vary", b"authorization")]}
        await send(message)

    return sent
