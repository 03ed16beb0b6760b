"""Streams as server-sent events: one request for each operation, as the client `graphql-sse` speaks it.

`id:` is the cursor. A browser's EventSource sends the last one as `Last-Event-ID`
when it comes back, and goes on there. A stream that ends without `complete` is to be
resumed: the service stopped, or the reader was too slow.
"""

import asyncio
import contextlib
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from service.api import watching
from service.api.context import Context
from service.api.live import Live, Stream
from service.api.plans import Sent
from service.api.racing import first_of, gone
from service.api.schema import encoded, refused
from service.domain.errors import TooSlow

#: How long nothing is sent, so that who is in between does not take the connection for dead.
_KEEP_ALIVE_S: Final = 15.0
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept"),
    # A proxy is to pass on each event, not to collect them.
    (b"x-accel-buffering", b"no"),
]
# Without data a browser would not hear of it.
_COMPLETE: Final = b"event: complete\ndata:\n\n"


async def respond(
    live: Live, sent: Sent, context: Context, scope: Scope, receive: Receive, send: Send, *, slow_s: float
) -> None:
    """Answer an operation, until its stream ends or who asked is gone."""
    after = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    answering = _Answering(live, sent, context, send, slow_s)
    # One that does not even take why it is cut off is left by closing the connection.
    with contextlib.suppress(TooSlow):
        await first_of(answering.run(after or None), gone(receive), live.ended())
        await answering.send(b"", last=True)


class _Answering:
    def __init__(self, live: Live, sent: Sent, context: Context, send: Send, slow_s: float) -> None:
        self._live, self._sent, self._context, self._send, self._slow_s = live, sent, context, send, slow_s

    async def run(self, after: str | None) -> None:
        opened = await self._live.open(self._sent, self._context, after=after)
        if not isinstance(opened, Stream):
            await self.send(_next(opened) + _COMPLETE)
            return
        try:
            with watching.streaming("sse"):
                await self._follow(opened)
        except TooSlow as error:
            await self.send(_next(refused(error)))
        except Exception as error:  # noqa: BLE001 - told and logged as any other request's is
            await self.send(_next(refused(error)) + _COMPLETE)

    async def _follow(self, stream: Stream) -> None:
        # Whoever is cut off before the first item goes on here as well.
        await self.send(_place(stream))
        clock = asyncio.get_running_loop().time
        due = clock() + _KEEP_ALIVE_S
        while True:
            try:
                async with asyncio.timeout_at(due):
                    events = (await stream.next()).events
            except TimeoutError:
                events = [_place(stream)]
            for each in events:
                await self.send(each)
                due = clock() + _KEEP_ALIVE_S

    async def send(self, body: bytes, *, last: bool = False) -> None:
        """Hand on, once what was handed on before is taken. Raises TooSlow."""
        try:
            async with asyncio.timeout(self._slow_s):
                await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        except TimeoutError:
            raise TooSlow(wait_s=self._slow_s) from None


def _next(answer: dict[str, Any]) -> bytes:
    return b"event: next\ndata: %s\n\n" % encoded(answer)


def _place(stream: Stream) -> bytes:
    """Where the reader stands, as an event that nobody hears of."""
    return b": here\nid: %s\n\n" % stream.cursor.encode()
