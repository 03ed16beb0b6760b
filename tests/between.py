"""Somebody between a client and PostgreSQL, who may stop listening and go."""

import select
import socket
import tempfile
import threading
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self

from sqlalchemy import URL

_LOOK_S: Final = 0.01
#: Of a message of PostgreSQL's the type and how long it would be.
_BEGUN: Final = b"N\0\0\0\x40"


class Between:
    """Passes on, at a Unix socket of its own, what is said with a server that is reached by another."""

    def __init__(self, server: URL) -> None:
        self._server = f"{server.query['host']}/.s.PGSQL.5432"
        self._opened = ExitStack()
        # A path that is short enough for a socket.
        folder = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="between-"))
        self._listener = self._opened.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen()
        self._connections: list[tuple[socket.socket, socket.socket]] = []
        self._deaf = threading.Event()
        self.url = server.update_query_dict({"host": folder, "port": "5432"})
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.go()
        self._opened.close()

    def turn_deaf(self) -> None:
        """Leave unread what clients say from now on."""
        self._deaf.set()

    def go(self) -> None:
        """Begin to say something, and close all connections with what is unread in them; who comes then is heard."""
        while self._connections:
            client, server = self._connections.pop()
            with suppress(OSError):
                client.send(_BEGUN)
            client.close()
            server.close()
        self._deaf.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._connections.append((client, server))
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        # Closed sockets are no longer listened to.
        with suppress(OSError, ValueError):
            while True:
                for each in select.select([server, client], [], [], _LOOK_S)[0]:
                    if each is client and self._deaf.wait(0):
                        continue
                    said = each.recv(65536)
                    if not said:
                        return
                    (server if each is client else client).sendall(said)
