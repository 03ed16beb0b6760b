"""The subscriptions: streams that go on where the log does."""

import re
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Final, NamedTuple, cast

import strawberry

from service.api import lookups
from service.api.fields import STREAM, Arguments, arg, reads
from service.api.scalars import Position
from service.api.types import Event, Transition
from service.domain.article import SLUG_PATTERN, shown
from service.domain.errors import BadCursor
from service.domain.policies import State
from service.queries.paging import Key
from service.queries.snapshot import View
from service.queries.streams import Events, Moved, Stream, Transitions

_CURSOR: Final = re.compile(rf"([0-9]{{1,18}})(?::({SLUG_PATTERN}))?")


class Begun(NamedTuple):
    """A stream, and where in it somebody begins."""

    stream: Stream
    after: Key


def _transitions(view: View, arguments: Arguments) -> Begun:
    policy, claim = lookups.policy_of(view, arguments), arguments.get("claim")
    stream = Transitions(
        policy.id,
        claim=None if claim is None else view.merges.claim(claim).id,
        topic=arguments.get("topic"),
        state=arguments.get("state"),
    )
    view.expect_projected(policy.id)
    return _begun(view, stream, arguments.get("after"))


def _events(view: View, arguments: Arguments) -> Begun:
    after = arguments.get("after")
    return _begun(view, Events(), None if after is None else str(after))


def _begun(view: View, stream: Stream, after: str | None) -> Begun:
    """The stream from a cursor on; without one, from now on. Raises BadCursor."""
    if after is None:
        return Begun(stream, stream.end(view.position))
    read = _CURSOR.fullmatch(after)
    if read is None or (read[2] is not None and isinstance(stream, Events)):
        raise BadCursor(f"{shown(after)} is none of this stream")
    position = int(read[1])
    if position > view.snapshot.head:
        raise BadCursor(f"is of position {position}, which this service has not reached")
    return Begun(stream, stream.end(position) if read[2] is None else (position, read[2]))


def cursor(stream: Stream, key: Key) -> str:
    """The cursor of a key, as `after` takes it."""
    return f"{key[0]}" if key == stream.end(key[0]) else f"{key[0]}:{key[1]}"


def _streamed(begin: Callable[[View, Arguments], Begun], description: str) -> Any:
    def declare(stub: Any) -> Any:
        # The stub is never called: `live` reads the stream, and plans write its items.
        return cast(Any, strawberry.subscription)(resolver=stub, description=description, metadata={STREAM: begin})

    return declare


def _row(row: Any) -> Any:
    return row.transition if isinstance(row, Moved) else row


@reads(transitions=_row, events=_row)
@strawberry.type(
    description="What goes on as the log does: caught up from any cursor, then live, without gaps or repeats. "
    "Each item is answered at a projected position that is not before it."
)
class Subscription:
    @_streamed(
        _transitions,
        "the transitions under one policy, in order of the log and by slug within a position",
    )
    async def transitions(
        self,
        after: Annotated[
            str | None,
            arg(
                "the cursor to go on after: 42:slug, or 42 for all of position 42; 0 is the beginning, left out is now"
            ),
        ] = strawberry.UNSET,
        claim: Annotated[
            str | None, arg("only of the claim with this slug; where it is merged away, of its survivor")
        ] = strawberry.UNSET,
        topic: Annotated[str | None, arg("only of claims that were of this topic by then")] = strawberry.UNSET,
        policy: Annotated[
            strawberry.ID | None, arg("the policy, which must be projected; the one in force when the stream begins")
        ] = strawberry.UNSET,
        state: Annotated[State | None, arg("only those that move to this state")] = strawberry.UNSET,
    ) -> AsyncGenerator[Transition, None]:
        raise NotImplementedError
        yield

    @_streamed(_events, "the entries of the log, in order, each as soon as it is projected")
    async def events(
        self,
        after: Annotated[
            Position | None, arg("the position to go on after; 0 is the beginning, left out is now")
        ] = strawberry.UNSET,
    ) -> AsyncGenerator[Event, None]:
        raise NotImplementedError
        yield
