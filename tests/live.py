"""Subscribers to a service that really listens: uvicorn on a port of this machine, as `onrecord serve` runs it."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from service.api.access import Access
from service.api.app import create
from service.api.limits import Limits
from service.database import engine as engines
from service.domain.scopes import Scope
from tests.api import LIMITS
from tests.conftest import Database

WAIT_S_MAX = 30
NAME = "served"
TRANSITIONS = "subscription ($after: String) { transitions(after: $after) { cursor slug from to } }"
EVENTS = "subscription ($after: Position) { events(after: $after) { position type } }"


class Service:
    """The service, in threads of this process."""

    def __init__(
        self,
        database: Database,
        *,
        port: int = 0,
        slow_s: float = 10,
        buffer_bytes: int | None = None,
        without_token: frozenset[Scope] = frozenset(Scope),
        limits: Limits = LIMITS,
        **options: Any,
    ) -> None:
        self._without_token = without_token
        self._database, self._slow_s, self._options = database, slow_s, {"limits": limits, **options}
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer_bytes is not None:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self._listening.bind(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._answers = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._answers.wait(WAIT_S_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop as `onrecord serve` does; nothing, if it has stopped."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # By its name its connections are told from those of others.
        named = {"connect_args": {"application_name": NAME}}
        writing = engines.create_async(self._database.service_url, **named)
        reading = engines.create(self._database.service_url, **named)
        access = Access(writing, without_token=self._without_token)
        app = create(engine=writing, reading=reading, access=access, slow_s=self._slow_s, **self._options)
        config = uvicorn.Config(app, log_config=None, ws_per_message_deflate=False, timeout_graceful_shutdown=5)
        self._server, self._app = _Server(config, self._answers), app
        await self._server.serve([self._listening])
        await writing.dispose()
        reading.dispose()

    def _end(self) -> None:
        self._app.end_streams()
        self._server.should_exit = True

    # --- subscribing ----------------------------------------------------------------

    def url(self, query: str, **variables: Any) -> str:
        """Where a query is asked by GET."""
        asked = urlencode({"query": query, "variables": json.dumps(variables)})
        return f"http://127.0.0.1:{self.port}/graphql?{asked}"

    @contextlib.contextmanager
    def sse(
        self, query: str, *, headers: dict[str, str] | None = None, **variables: Any
    ) -> Generator[Iterator["Told"]]:
        """What comes by server-sent events."""
        sent = {"accept": "text/event-stream", **(headers or {})}
        with httpx.stream("GET", self.url(query, **variables), headers=sent, timeout=WAIT_S_MAX) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield told(response.iter_lines())

    @contextlib.contextmanager
    def socket(self, *, introduce: bool = True, **how: Any) -> Generator["Socket"]:
        """A WebSocket, introduced."""
        options = {"subprotocols": ["graphql-transport-ws"], **how}
        with connect(f"ws://127.0.0.1:{self.port}/graphql", compression=None, **options) as connection:
            made = Socket(connection)
            if introduce:
                made.send(type="connection_init")
                assert made.receive() == {"type": "connection_ack"}
            yield made


class _Server(uvicorn.Server):
    """Uvicorn that says when it answers."""

    def __init__(self, config: uvicorn.Config, answers: threading.Event) -> None:
        super().__init__(config)
        self._answers = answers

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._answers.set()


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    kind: str
    id: str | None
    data: Any


def told(lines: Iterator[str]) -> Iterator[Told]:
    """The events that a browser would tell: those with data. Signs of life alone are not waited through for ever."""
    event: dict[str, str] = {}
    end = time.monotonic() + WAIT_S_MAX
    for line in lines:
        assert time.monotonic() < end, f"nothing was told for {WAIT_S_MAX} s"
        if line:
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")
        else:
            if "data" in event:
                yield Told(event["event"], event.get("id"), json.loads(event["data"] or "null"))
                end = time.monotonic() + WAIT_S_MAX
            event = {}


@dataclass(frozen=True)
class Socket:
    """One side of `graphql-transport-ws`."""

    connection: ClientConnection

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def receive(self) -> Any:
        return json.loads(self.connection.recv(WAIT_S_MAX))

    def subscribe(self, query: str, *, id: str = "1", **variables: Any) -> None:
        self.send(type="subscribe", id=id, payload={"query": query, "variables": variables})

    def rest(self) -> tuple[list[Any], int]:
        """All that comes until the other side closes, and its code."""
        messages: list[Any] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                messages.append(self.receive())
        assert self.connection.close_code is not None
        return messages, self.connection.close_code

    def next(self) -> Any:
        """The data of the next item."""
        message = self.receive()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]
