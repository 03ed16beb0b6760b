"""Streams as subscribers get them: read once for all who wait for the same, written a batch at a time.

A subscriber holds a key of the log and nothing else: it asks for the batch after that
key, is sent it, and asks on, so that it is read no faster than it takes. What it gets
depends on the key alone. So those who ask for the same share a batch; those who are
near the end of the log share what was read there, whatever they filter; and a lost
connection, to the database or to the subscriber, costs another asking.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, TypeVar, cast

import orjson
from graphql import ExecutionResult, OperationType
from sqlalchemy import Engine

from service.api.access import Access, Sender
from service.api.context import Context, Projected, in_snapshot
from service.api.limits import Limits
from service.api.plans import Field, Request, Sent, Unwritten
from service.api.schema import encoded, executed, formatted, graphql_schema, interpreted, log_unforeseen, refused
from service.api.subscription import Begun, cursor
from service.database.engine import passing
from service.domain.errors import BadArgument, DatabaseUnreachable, NotYetProjected
from service.queries import streams
from service.queries.paging import Key
from service.queries.snapshot import View

Result = TypeVar("Result")

#: Who is not further behind than this shares what is read with all others of the same stream.
_NEAR: Final = streams.STRETCH_MAX
#: How many batches and stretches are kept for those who ask for them next.
_KEPT_MAX: Final = 64
_AGAIN_S: Final = 0.1
#: About how much is handed to a connection at once.
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Batch:
    """Answers of a stream, each with its cursor; and the key up to which nothing else is in the stream."""

    answers: Sequence[tuple[str, bytes]]
    to: Key

    @cached_property
    def events(self) -> Sequence[bytes]:
        """The same as server-sent events, in chunks; made once for all who get them."""
        chunks: list[bytes] = []
        chunk = bytearray()
        for at, answer in self.answers:
            chunk += b"event: next\nid: %s\ndata: %s\n\n" % (at.encode(), answer)
            if len(chunk) >= _CHUNK_BYTES:
                chunks.append(bytes(chunk))
                chunk.clear()
        return [*chunks, bytes(chunk)] if chunk else chunks


@dataclass(frozen=True, slots=True)
class _Feed:
    """What one subscription asks for, wherever its subscribers are."""

    request: Request
    stream: streams.Stream
    key: Hashable  #: the same for all to whom the same is sent.

    def written(self, view: View, stretch: streams.Stretch) -> Batch:
        """The answers of a stretch, all of one snapshot."""
        log = {"position": view.position, "head": view.snapshot.head}
        extensions = {"extensions": {"cost": self.request.cost, "log": log}}
        answers = [encoded({**each, **extensions}) for each in self._answers(view, stretch.rows)]
        cursors = [cursor(self.stream, key) for key in stretch.keys]
        return Batch(list(zip(cursors, answers, strict=True)), stretch.to)

    def _answers(self, view: View, rows: Sequence[Any]) -> list[dict[str, Any]]:
        of = self.request
        try:
            return [{"data": each} for each in of.plan(compiled=True).write(view, of.variables, rows)]
        except Unwritten:
            return [self._interpreted(each) for each in of.plan(compiled=False).write(view, of.variables, rows)]

    def _interpreted(self, root: Any) -> dict[str, Any]:
        result = executed(self.request, root)
        assert isinstance(result, ExecutionResult)
        log_unforeseen(result.errors or ())
        answer: dict[str, Any] = {"data": result.data}
        return {**answer, "errors": [formatted(each) for each in result.errors]} if result.errors else answer


class Stream:
    """A subscriber's place in a stream."""

    def __init__(self, live: "Live", feed: _Feed, after: Key, sender: Sender) -> None:
        self._live, self._feed, self.after, self._sender = live, feed, after, sender

    @property
    def cursor(self) -> str:
        """What to go on after."""
        return cursor(self._feed.stream, self.after)

    async def next(self) -> Batch:
        """What follows, as soon as there is something. May be cancelled, and asked again.

        Raises Unauthenticated once the token that it was asked for with is in force no longer.
        """
        while True:
            if self.after == self._feed.stream.end(self.after[0]):
                await self._live.projected.beyond(self.after[0])
            batch = await self._live.batch(self._feed, self.after)
            if batch.to != self.after and await self._may_go_on():
                self.after = batch.to
                return batch
            await asyncio.sleep(_AGAIN_S)

    async def _may_go_on(self) -> bool:
        """Whether the token still lets it; not as long as nobody can say."""
        try:
            await self._live.access.still(self._sender)
        except DatabaseUnreachable:
            return False
        return True


class Live:
    """All that is streamed."""

    def __init__(self, reading: Engine, projected: Projected, access: Access, limits: Limits) -> None:
        self._reading, self.projected, self.access, self._limits = reading, projected, access, limits
        self._kept: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Let every connection end, so that who was there goes on elsewhere."""
        self._ending.set()

    async def ended(self) -> None:
        """Wait until all is to end."""
        await self._ending.wait()

    async def close(self) -> None:
        """Stop reading."""
        reading = list(self._kept.values())
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    # --- operations -----------------------------------------------------------------

    async def open(self, sent: Sent, context: Context, *, after: str | None = None) -> Stream | dict[str, Any]:
        """The stream of a subscription, after the cursor `after` if one is given; of anything else, its answer.

        So is what refuses a subscription: an answer with `errors`, and without `data`.
        """
        try:
            # Over a WebSocket it may have come long ago.
            await self.access.still(context.sender)
            context.request = request = Request.of(graphql_schema, sent, self._limits)
            if request.operation.operation is not OperationType.SUBSCRIPTION:
                return await interpreted(context)
            return await self._begin(request, sent.variables or {}, context, after)
        except Exception as error:  # noqa: BLE001 - told and logged as any other request's is
            return refused(error)

    async def _begin(self, request: Request, given: Mapping[str, Any], context: Context, after: str | None) -> Stream:
        field = next(iter(request.plan(compiled=False).fields.values()), None)
        if field is None or field.begin is None:
            raise BadArgument("the subscription selects nothing; leave its directives out")
        arguments = field.asked(request.variables)
        if after is not None:
            arguments = {**arguments, "after": after}
        begin = field.begin
        await context.caught_up()
        stream, key = cast(Begun, await self._read(lambda view: begin(view, arguments)))
        feed = _Feed(request, stream, _key(request, field, given, stream))
        return Stream(self, feed, key, context.sender)

    # --- batches --------------------------------------------------------------------

    async def batch(self, feed: _Feed, after: Key) -> Batch:
        """What follows a key in a feed, in a bounded batch; nothing up to the same key, where no more is projected."""
        return await self._shared((feed.key, after), partial(self._batch, feed, after))

    async def _batch(self, feed: _Feed, after: Key) -> Batch:
        if self.projected.position - after[0] > _NEAR:
            return await self._read(lambda view: feed.written(view, feed.stream.read(view, after)), after[0])
        of = feed.stream.unfiltered
        stretch = await self._shared((of, after), lambda: self._read(lambda view: of.read(view, after)))
        wanted = streams.chosen(stretch, feed.stream)
        if not wanted.rows:
            return Batch([], wanted.to)
        return await self._read(lambda view: feed.written(view, wanted), wanted.to[0])

    async def _shared(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """What `make` gives, made once for all who ask for it meanwhile or soon."""
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = asyncio.ensure_future(make())
            known.add_done_callback(partial(self._made, key))
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        # One who leaves does not take it from the others.
        return await asyncio.shield(known)

    def _made(self, key: Any, made: asyncio.Future[Any]) -> None:
        failed = made.cancelled() or made.exception() is not None
        # What ends where it began holds no longer than until more is projected.
        if (failed or made.result().to == key[1]) and self._kept.get(key) is made:
            del self._kept[key]

    async def _read(self, work: Callable[[View], Result], position: int = 0) -> Result:
        """Do `work` in one snapshot, in which `position` is projected; as often as the database does not answer."""

        def at_least(view: View) -> Result:
            if view.position < position:
                raise NotYetProjected(wanted=position, projected=view.position)
            return work(view)

        while True:
            try:
                return await in_snapshot(self._reading, at_least, s_max=self._limits.request_s_max)
            except Exception as error:
                # Another generation may be live by now that is not as far yet.
                if passing(error) is None and not isinstance(error, NotYetProjected):
                    raise
            await asyncio.sleep(_AGAIN_S)


def _key(request: Request, field: Field, given: Mapping[str, Any], stream: streams.Stream) -> Hashable:
    """What tells a feed from others; where its subscribers begin does not."""
    begins = field.variable("after")
    if begins is not None and request.document.uses[begins] == 2:
        # It is defined, and used there alone.
        given = {name: value for name, value in given.items() if name != begins}
    return request.document, id(request.operation), stream, orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
