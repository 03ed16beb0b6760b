"""Answers that are known already: an answer is a pure function of the request and the moment of the record.

So what was answered once may be given again as long as the record stands where it
stood, byte by byte. Whether it does is asked of the database, once for all requests
that wait for it, and never guessed from notices.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from psycopg import pq
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.queries.snapshot import MOMENT, Snapshot

#: What an answer costs beside its bytes.
_OVERHEAD_BYTES: Final = 1_000
_NAME: Final = b"onrecord_now"
#: How long who waits for an answer waits until they look themselves, whether there is one or never will be.
_LOOK_S: Final = 0.1


class Moment(NamedTuple):
    """Where the record stands: everything but the request that an answer depends on."""

    generation: int
    position: int
    head: int
    #: Tells the log from one that was restored from a backup and went on another way.
    head_recorded_at: datetime | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Moment":
        """The moment of a snapshot."""
        return cls(snapshot.generation, snapshot.position, snapshot.head, snapshot.head_recorded_at)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what is said about it in its headers."""

    body: bytes
    etag: str
    moment: Moment | None  #: for which it holds; None: for ever, since it is of a position alone.


class Answers:
    """The last answer to each of the requests that were sent last, in at most so many bytes.

    `schema` is printed into each tag, so that another schema has other tags.
    """

    def __init__(self, schema: str, bytes_max: int) -> None:
        self._salt = sha256(schema.encode()).digest()
        self._bytes_max, self._bytes = bytes_max, 0
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()

    def get(self, request: bytes) -> Answer | None:
        """The last answer to a request, if it is still kept; its moment may have passed."""
        found = self._kept.get(request)
        if found is not None:
            self._kept.move_to_end(request)
        return found

    def put(self, request: bytes, moment: Moment | None, body: bytes) -> Answer:
        """Keep an answer, in place of the one before; those that were asked for least recently go."""
        answer = Answer(body, self.tag(request, moment), moment)
        self._drop(request)
        if _size(answer) <= self._bytes_max:
            self._kept[request] = answer
            self._bytes += _size(answer)
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._kept)))
        return answer

    def tag(self, request: bytes, moment: Moment | None) -> str:
        """The entity tag of the answer to a request at a moment, whether it is known or not."""
        return f'"{sha256(self._salt + request + repr(moment).encode()).hexdigest()[:32]}"'

    def _drop(self, request: bytes) -> None:
        dropped = self._kept.pop(request, None)
        if dropped is not None:
            self._bytes -= _size(dropped)


def _size(answer: Answer) -> int:
    return len(answer.body) + _OVERHEAD_BYTES


class Now:
    """Where the record stands now.

    Who asks gets what a statement says that was sent afterwards, so nothing that was
    committed before is missed. Those who come while one is under way share the next.
    It is put to libpq as it is: a driver's cursor would cost several times as much.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._conn: AsyncConnection | None = None
        self._libpq: pq.abc.PGconn | None = None
        self._socket = -1  #: of libpq's, which no longer tells once the connection is lost.
        self._asked: list[asyncio.Future[Moment | None]] = []  #: to be answered by the next statement.
        self._asking: list[asyncio.Future[Moment | None]] = []  #: by the one under way.
        self._under_way: asyncio.TimerHandle | None = None  #: when to look for its answer unasked.
        self._connecting: asyncio.Task[None] | None = None

    async def moment(self) -> Moment | None:
        """Where the record stands; None where nothing is projected, or the database does not say."""
        future = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        if self._libpq is None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
        elif self._under_way is None:
            self._ask()
        return await future

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._conn is not None:
            conn = self._conn
            self._forget()
            await _let_go(conn)

    async def _connect(self) -> None:
        conn: AsyncConnection | None = None
        try:
            conn = await (await self._engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
            await conn.exec_driver_sql(f"PREPARE {_NAME.decode()} AS {MOMENT}")
            raw: Any = (await conn.get_raw_connection()).driver_connection
            self._socket = raw.pgconn.socket
            asyncio.get_running_loop().add_reader(self._socket, self._heard)
            self._conn, self._libpq = conn, raw.pgconn
        except Exception:  # noqa: BLE001 - without an answer nothing that is kept is given, and reading says why
            if conn is not None:
                await _let_go(conn)
            self._answer(self._asked, None)
            self._asked = []
        finally:
            self._connecting = None
        if self._asked:
            self._ask()

    def _ask(self) -> None:
        assert self._libpq is not None
        self._asking, self._asked = self._asked, []
        self._look_later()
        try:
            self._libpq.send_query_prepared(_NAME, None)
            self._libpq.flush()
        except Exception:  # noqa: BLE001 - the connection is lost; the next who asks makes another
            self._lost()

    def _look_later(self) -> None:
        # Of a socket with an error uvloop tells once and never again, though there may be more to hear by then.
        self._under_way = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._look_later()
        self._heard()

    def _heard(self) -> None:
        assert self._libpq is not None
        try:
            self._libpq.consume_input()
            while not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    break
                self._answer(self._asking, _moment(result))
                self._asking = []
            else:
                return
        except Exception:  # noqa: BLE001 - the same
            self._lost()
            return
        self._over()
        if self._asked:
            self._ask()

    def _over(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None

    def _lost(self) -> None:
        conn = self._conn
        self._forget()
        self._answer([*self._asking, *self._asked], None)
        self._asking, self._asked = [], []
        if conn is not None:
            self._connecting = asyncio.create_task(self._reconnect(conn))

    async def _reconnect(self, lost: AsyncConnection) -> None:
        await _let_go(lost)
        await self._connect()

    def _forget(self) -> None:
        # Also where libpq has closed it: the next connection may well have a socket of the same number.
        asyncio.get_running_loop().remove_reader(self._socket)
        self._conn = self._libpq = None
        self._over()

    @staticmethod
    def _answer(asked: Sequence[asyncio.Future[Moment | None]], moment: Moment | None) -> None:
        for future in asked:
            if not future.done():
                future.set_result(moment)


async def _let_go(conn: AsyncConnection) -> None:
    """Close a connection that may be lost; no other request is to find it in the pool."""
    with contextlib.suppress(Exception):
        await conn.invalidate()
        await conn.close()


def _moment(result: pq.abc.PGresult) -> Moment | None:
    if result.status != pq.ExecStatus.TUPLES_OK or result.ntuples == 0:
        return None
    generation, position, head, recorded_at = (result.get_value(0, i) for i in range(4))
    assert generation is not None
    assert position is not None
    return Moment(
        int(generation),
        int(position),
        int(head or 0),
        None if recorded_at is None else datetime.fromisoformat(recorded_at.decode()),
    )
