"""Grouping: what arrives together from many small writers is one append."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service import log
from service.domain.errors import OnrecordError
from service.log import Appended, NewEvent, Outcome

#: A group holds no more events, nor more bytes, than this, but for the first of its members: others wait for its turn.
_EVENTS_MAX: Final = 200
_BYTES_MAX: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Member:
    """What one caller handed over, and where it waits for the outcomes."""

    new: Sequence[NewEvent]
    size: int
    outcomes: asyncio.Future[list[Outcome]]


class Grouping:
    """Appends what many callers hand over at once, one group after the other, each in one transaction.

    Who finds nobody appending is appended at once; what arrives meanwhile is the
    next group. So nobody waits for a timer, and the more there is to do the less
    each costs. Groups are made in order of arrival, and what one caller hands over stays together.

    Callers are strangers to each other. Each gets the outcomes of its own events, which are
    durable by then. Where a group fails by what is in it, its members are appended one by one,
    so that the fault is told to whom it belongs to alone. Where nobody gets a turn, or the database
    is gone, all who wait by then are told: nobody waits for longer than one turn takes to come, however
    many do. Who no longer waits hurts nobody, and is recorded all the same if its turn had come.

    For the coroutines of one event loop.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: deque[_Member] = deque()
        self._leader: asyncio.Task[None] | None = None
        self._announcer: asyncio.Task[None] | None = None
        self._unannounced = False

    async def append(self, new: Sequence[NewEvent]) -> list[Outcome]:
        """As `log.append`, in a transaction of its own or its group's; readers of the log are woken afterwards.

        Raises what `log.append` and the connection raise.
        """
        if not new:
            return []
        loop = asyncio.get_running_loop()
        size = sum(len(each.payload) + len(each.text or "") for each in new)
        member = _Member(new, size, loop.create_future())
        self._waiting.append(member)
        if self._leader is None:
            # A task, so that whoever else is ready to hand something over does so before it begins.
            self._leader = asyncio.create_task(self._lead())
        return await member.outcomes

    async def close(self) -> None:
        """Return when all that was handed over is appended and announced."""
        while task := self._leader or self._announcer:
            await task

    async def _lead(self) -> None:
        try:
            while group := self._next():
                await self._append(group)
        finally:
            self._leader = None

    def _next(self) -> list[_Member]:
        """The next group, in order of arrival; those who no longer wait are left out."""
        group: list[_Member] = []
        events = size = 0
        while self._waiting:
            member = self._waiting[0]
            events, size = events + len(member.new), size + member.size
            if group and (events > _EVENTS_MAX or size > _BYTES_MAX):
                break
            self._waiting.popleft()
            if member.outcomes.done():
                events, size = events - len(member.new), size - member.size
            else:
                group.append(member)
        return group

    async def _append(self, group: Sequence[_Member]) -> None:
        """Append a group, and tell each member what became of it."""
        try:
            async with self._engine.connect() as conn:
                outcomes = iter(await conn.run_sync(_appended, [each for member in group for each in member.new]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who wait
            concerned = list(group)
            if _concerns_all(error):
                concerned += self._waiting
                self._waiting.clear()
            elif len(group) > 1:
                for member in group:
                    await self._append([member])
                return
            for member in concerned:
                if not member.outcomes.done():
                    member.outcomes.set_exception(error)
            return
        for member in group:
            own = [next(outcomes) for _ in member.new]
            if not member.outcomes.done():
                member.outcomes.set_result(own)
            self._unannounced |= any(isinstance(outcome, Appended) for outcome in own)
        if self._unannounced and self._announcer is None:
            self._announcer = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        """Wake the readers of the log; one announcement serves all groups that ended before it."""
        try:
            async with self._engine.connect() as conn:
                conn = await conn.execution_options(isolation_level="AUTOCOMMIT")
                while self._unannounced:
                    self._unannounced = False
                    await conn.run_sync(log.announce)
        except Exception:  # noqa: BLE001 - only a hint, and what was recorded is recorded
            self._unannounced = False
        finally:
            self._announcer = None


def _appended(conn: Connection, new: Sequence[NewEvent]) -> list[Outcome]:
    with conn.begin():
        return log.append(conn, new)


def _concerns_all(error: Exception) -> bool:
    """Whether it is a fault of the turn, the connection or the server, and not of what was to be appended."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | OnrecordError)
