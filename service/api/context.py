"""What a request carries: its snapshot, its writes, and what it waits for."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Final, TypeVar, cast

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from service.api import watching
from service.api.access import Sender
from service.api.plans import Request
from service.domain.errors import NothingProjected, NotYetProjected, TimedOut
from service.log import NewEvent, Outcome
from service.log.grouping import Grouping
from service.projector import CHANNEL
from service.queries.driver import committed
from service.queries.snapshot import Snapshot, View, view

Result = TypeVar("Result")

#: How long a request waits for the position that it must see.
WAIT_S: Final = 5.0
_POLL_S: Final = 0.25
_CANCEL_AGAIN_S: Final = 0.05


def reads_snapshots(reading: Engine) -> None:
    """Let each transaction of an engine be a snapshot: its connections are told so once, when they are made."""
    event.listen(reading, "connect", _reads_snapshots)


def _reads_snapshots(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    raw = cast("psycopg.Connection", entry.driver_connection)
    raw.isolation_level, raw.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True


async def in_snapshot(reading: Engine, work: Callable[[View], Result], *, s_max: float) -> Result:
    """Do `work` in one snapshot: one READ ONLY, REPEATABLE READ transaction on one connection.

    Whoever stops waiting stops the reading: its statement is cancelled. Raises
    NothingProjected, and TimedOut after `s_max` seconds.
    """
    under_way = _Reading(reading)
    try:
        async with asyncio.timeout(s_max):
            # In a thread, which waits for the database at no cost: a large page comes in dozens of
            # pieces, and the event loop would have to be woken for each.
            return await asyncio.to_thread(under_way.run, work)
    except TimeoutError:
        under_way.give_up()
        raise TimedOut(limit_s=s_max) from None
    except asyncio.CancelledError:
        under_way.give_up()
        raise


class _Reading:
    """A read in a thread, which can be given up from outside."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Held while it is cancelled, so that nobody has its connection by then.
        self._cancelling = threading.Lock()
        self._raw: psycopg.Connection | None = None
        self._given_up = False

    def run(self, work: Callable[[View], Result]) -> Result:
        """Do it. Raises NothingProjected."""
        with self._engine.connect() as conn:
            with self._cancelling:
                self._raw = cast("psycopg.Connection", conn.connection.driver_connection)
            try:
                if self._given_up:
                    raise asyncio.CancelledError
                begun = view(conn)
                if begun is None:
                    raise NothingProjected
                result = work(begun)
                committed(conn)
                return result
            finally:
                with self._cancelling:
                    self._raw = None
                if self._given_up:
                    # Its place is taken by another: what was to cancel it may come late.
                    conn.invalidate()

    def give_up(self) -> None:
        """End it soon. Nobody waits for that, as the database may not answer."""
        self._given_up = True
        if self._raw is not None:
            threading.Thread(target=self._cancel, name="onrecord-cancel", daemon=True).start()

    def _cancel(self) -> None:
        while True:
            with self._cancelling:
                if self._raw is None:
                    return
                with contextlib.suppress(psycopg.Error):
                    self._raw.cancel()
            # It may have been between two statements.
            time.sleep(_CANCEL_AGAIN_S)


#: How far the log is projected, and since when the first entry waited that was not seen projected before.
_FOLLOW: Final = """
    SELECT g.position, extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 AS waited_s
      FROM onrecord.generation g
      LEFT JOIN onrecord.event e ON e.position = %(seen)s::bigint + 1 AND e.position <= g.position
     WHERE g.live
"""


class Projected:
    """How far the log is projected, as far as this process has heard, for those who wait."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.position = 0
        self._seen: int | None = None  # the same, but for what was projected before anybody looked.
        self._moved = asyncio.Condition()
        self._waiting = 0

    async def listen(self) -> None:
        """Follow the projector until cancelled. Its notices only hasten; the position is always read."""
        while True:
            try:
                await self._listen()
            except Exception:  # noqa: BLE001 - whatever ended the connection, another is made
                await asyncio.sleep(_POLL_S)

    async def _listen(self) -> None:
        async with self._engine.connect() as conn:
            conn = await conn.execution_options(isolation_level="AUTOCOMMIT")
            await conn.exec_driver_sql(f"LISTEN {CHANNEL}")
            raw: Any = (await conn.get_raw_connection()).driver_connection
            while True:
                # By the driver itself: it is asked after every batch of the projector.
                found = await (await raw.execute(_FOLLOW, {"seen": self._seen})).fetchone()
                seen, waited_s = found or (0, None)
                self._seen = seen
                if waited_s is not None:
                    watching.PROJECTION_S.observe(waited_s)
                await self._move(seen)
                async for _ in raw.notifies(timeout=_POLL_S if self._waiting else 1.0, stop_after=1):
                    pass

    async def _move(self, position: int) -> None:
        if position != self.position:
            async with self._moved:
                self.position = position
                self._moved.notify_all()

    async def beyond(self, position: int) -> None:
        """Wait until more than `position` is projected."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.position > position)

    async def wait_for(self, position: int, wait_s_max: float) -> bool:
        """Whether `position` is projected, waiting for it at most so long."""
        if self.position >= position:
            return True
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s_max), self._moved:
                await self._moved.wait_for(lambda: self.position >= position)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


@dataclass(slots=True)
class Context:
    """One request."""

    engine: AsyncEngine  #: what it writes through.
    reading: Engine
    projected: Projected
    appending: Grouping
    sender: Sender
    read_s_max: float  #: how long it may read.
    min_position: int = 0  #: what the request must at least see.
    request: Request | None = None  #: its operation, once it is known.
    seen: dict[str, int] = field(default_factory=dict[str, int])  #: what it was answered from: position and head.
    snapshot: Snapshot | None = None  #: the same, in full.

    async def read(self, work: Callable[[View], Result]) -> Result:
        """Do `work` in one snapshot.

        Raises NothingProjected, TimedOut, and NotYetProjected where the request must see more than is projected in
        time.
        """
        await self.caught_up()
        begun = time.monotonic()
        try:
            return await in_snapshot(self.reading, partial(self._seen, work), s_max=self.read_s_max)
        finally:
            self.read_s_max -= time.monotonic() - begun

    async def answer(self, request: Request, *, compiled: bool) -> dict[str, Any]:
        """What is selected of the root, all of it of one snapshot. Raises as `read` and plans do."""
        plan = request.plan(compiled=compiled)
        loaded = [field for field in plan.fields.values() if field.loader is not None]
        if not loaded:
            return plan.write(None, request.variables, [None])[0]
        (root,) = await self.read(lambda view: plan.write(view, request.variables, [None]))
        asked = {field.position_asked(request.variables) for field in loaded}
        if len(asked) == 1 and (position := asked.pop()) is not None and position <= self.seen["position"]:
            # Of a position alone the answer never changes, wherever the head is; once it is there.
            self.seen = {"position": position}
        return root

    async def caught_up(self) -> None:
        """Wait for what the request must see. Raises NotYetProjected."""
        if self.min_position and not await self.projected.wait_for(self.min_position, WAIT_S):
            raise NotYetProjected(wanted=self.min_position, projected=self.projected.position)

    def _seen(self, work: Callable[[View], Result], begun: View) -> Result:
        self.snapshot = begun.snapshot
        self.seen = {"position": begun.position, "head": begun.snapshot.head}
        return work(begun)

    async def append(self, new: Sequence[NewEvent]) -> list[Outcome]:
        """Append, together with what other requests bring meanwhile, and wake those who wait for the log.

        Raises NotYetProjected as `read` does, and before anything is recorded.
        """
        await self.caught_up()
        began = perf_counter()
        outcomes = await self.appending.append(new)
        watching.appended(new, outcomes, perf_counter() - began)
        return outcomes
