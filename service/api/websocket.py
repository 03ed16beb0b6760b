"""Operations over a WebSocket, by the protocol `graphql-transport-ws` and no other.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md: each `subscribe` is
an operation of its own, a stream or a single answer, and many go on side by side.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection
from typing import Any, Final, cast

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.http.websocket_origin import is_same_origin

from service.api import access, http, watching
from service.api.access import Sender
from service.api.context import Context
from service.api.live import Live, Stream
from service.api.plans import Sent
from service.api.racing import first_of
from service.api.schema import encoded, refused
from service.domain import scopes
from service.domain.errors import (
    BadArgument,
    DatabaseUnreachable,
    OnrecordError,
    OriginRefused,
    TooManySubscriptions,
    TooSlow,
    Unauthenticated,
)

_PROTOCOL: Final = "graphql-transport-ws"
#: How long a client may take to introduce itself.
_INIT_S: Final = 10.0
#: By which code a connection is closed on which this happens.
_CODES: Final[dict[type[OnrecordError], int]] = {TooSlow: 4413, Unauthenticated: 4401, DatabaseUnreachable: 1013}


class _Close(Exception):
    """The connection is to be closed, with a code of the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def serve(
    live: Live,
    context: Callable[[Sender], Context],
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    origins: Collection[str],
    admit: Callable[[], None],
    operations_max: int,
    slow_s: float,
) -> None:
    """Answer operations until either side closes; each that `admit` lets in, and so many at once.

    `admit` raises TooManyRequests. Pages of `origins` may connect as those of this host may.
    """
    socket = WebSocket(scope, receive, send)
    origin = socket.headers.get("origin")
    try:
        # A browser lets any page open a socket to anywhere, and this one may write.
        if origin is not None and origin not in origins and not is_same_origin(origin, socket.headers.get("host")):
            raise OriginRefused
        if _PROTOCOL not in scope["subprotocols"]:
            raise BadArgument(f"the subprotocol must be {_PROTOCOL}")
    except OnrecordError as error:
        await http.refuse(scope, send, error)
        return
    await socket.accept(_PROTOCOL)
    await _Connection(live, context, socket, admit, operations_max, slow_s).run()


class _Connection:
    def __init__(
        self,
        live: Live,
        context: Callable[[Sender], Context],
        socket: WebSocket,
        admit: Callable[[], None],
        operations_max: int,
        slow_s: float,
    ) -> None:
        self._live, self._context, self._socket, self._slow_s = live, context, socket, slow_s
        self._admit, self._operations_max = admit, operations_max
        self._sender = access.sender(socket.scope)
        self._introduced = asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        code, reason = 1012, "the service stops"
        try:
            await first_of(self._listen(), self._until_failed(), self._introduction_missed(), self._live.ended())
        except _Close as close:
            code, reason = close.code, close.reason
        except (TooSlow, Unauthenticated, DatabaseUnreachable) as error:
            code, reason = _CODES[type(error)], error.code
            watching.refused(error.code, str(error))
        except (WebSocketDisconnect, OSError):
            return
        finally:
            operations = list(self._operations.values())
            for each in operations:
                each.cancel()
            await asyncio.gather(*operations, return_exceptions=True)
        # Who does not even take that is left by closing the connection beneath.
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
            async with asyncio.timeout(self._slow_s):
                await self._socket.close(code, reason)

    async def _until_failed(self) -> None:
        await self._failed

    async def _introduction_missed(self) -> None:
        try:
            async with asyncio.timeout(_INIT_S):
                await self._introduced.wait()
        except TimeoutError:
            raise _Close(4408, "Connection initialisation timeout") from None
        await asyncio.Event().wait()

    # --- what comes -----------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1000))
            try:
                message: Any = json.loads(received.get("text") or "")
            except ValueError:
                raise _Close(4400, "Invalid message: no JSON text") from None
            await self._heard(message)

    async def _heard(self, message: Any) -> None:
        match message:
            case {"type": "connection_init"}:
                if self._introduced.is_set():
                    raise _Close(4429, "Too many initialisation requests")
                await self._identify(message.get("payload"))
                self._introduced.set()
                await self._send({"type": "connection_ack"})
            case {"type": "ping"}:
                await self._send({**message, "type": "pong"})
            case {"type": "pong"}:
                pass
            case {"type": "subscribe", "id": str(id), "payload": payload} if (sent := _sent(payload)) is not None:
                await self._subscribe(id, sent)
            case {"type": "complete", "id": str(id)}:
                if (operation := self._operations.pop(id, None)) is not None:
                    operation.cancel()
            case _:
                raise _Close(4400, "Invalid message")

    async def _identify(self, payload: Any) -> None:
        """Say who sends all that follows: browsers can send a token with what introduces them, and in no header."""
        match payload:
            case {"authorization": str(authorization)} | {"Authorization": str(authorization)}:
                self._sender = await self._live.access.sender(authorization)
            case _:
                pass
        self._sender.must(scopes.Scope.READ)

    async def _subscribe(self, id: str, sent: Sent) -> None:
        if not self._introduced.is_set():
            raise _Close(4401, "Unauthorized")
        if id in self._operations:
            raise _Close(4409, f"Subscriber for {id[:64]} already exists")
        try:
            self._admit()
            if len(self._operations) >= self._operations_max:
                raise TooManySubscriptions(limit=self._operations_max)
        except OnrecordError as error:
            await self._send({"id": id, "type": "error", "payload": refused(error)["errors"]})
            return
        operation = self._operations[id] = asyncio.create_task(self._operate(id, sent))
        operation.add_done_callback(self._over)

    def _over(self, operation: asyncio.Task[None]) -> None:
        if not operation.cancelled() and (error := operation.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    # --- what goes ------------------------------------------------------------------

    async def _operate(self, id: str, sent: Sent) -> None:
        context = self._context(self._sender)
        opened = await self._live.open(sent, context)
        if isinstance(opened, Stream):
            with watching.streaming("websocket"):
                refused = await self._follow(id, opened)
        elif "data" in opened:
            refused = None
            await self._send({"id": id, "type": "next", "payload": opened})
        else:
            refused = opened["errors"]
        # The client may use the id again as soon as it hears of the end.
        del self._operations[id]
        if refused is None:
            await self._send({"id": id, "type": "complete"})
        else:
            await self._send({"id": id, "type": "error", "payload": refused})

    async def _follow(self, id: str, stream: Stream) -> list[Any]:
        """Send what the stream holds; returns what ended it."""
        named = json.dumps(id)
        while True:
            try:
                batch = await stream.next()
            except Exception as error:  # noqa: BLE001 - told and logged as any other request's is
                return refused(error)["errors"]
            for _, answer in batch.answers:
                await self._send_text(f'{{"id":{named},"type":"next","payload":{answer.decode()}}}')

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(encoded(message).decode())

    async def _send_text(self, text: str) -> None:
        """Hand on, once what was handed on before is taken. Raises TooSlow."""
        try:
            async with asyncio.timeout(self._slow_s):
                await self._socket.send_text(text)
        except TimeoutError:
            raise TooSlow(wait_s=self._slow_s) from None


def _sent(payload: Any) -> Sent | None:
    match payload:
        case {"query": str(query)}:
            given = cast("dict[str, Any]", payload)
            variables, name = given.get("variables"), given.get("operationName")
            fits = isinstance(variables, dict | None) and isinstance(name, str | None)
            return Sent(query, cast("dict[str, Any] | None", variables), name) if fits else None
        case _:
            return None
