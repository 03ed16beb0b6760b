"""Connections as `serve` takes them: so many, and none that only keeps its place."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.headers import ALWAYS
from service.api.limits import Limits
from service.api.schema import encoded, refused
from service.domain.errors import HeadTooLarge, OnrecordError, RequestMalformed, TooManyConnections

#: How much of a request may come before its body: method, address and headers.
_HEAD_BYTES_MAX: Final = 64 * 1024


def limited(limits: Limits) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP, but for connections that are too many, heads that are too large, and those that never end."""

    class Limited(HttpToolsProtocol):
        _head_due: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _in_head = True
        _head_ended = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections_max:
                self._refuse(503, TooManyConnections(limit=limits.connections_max))
            else:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_has_come()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            in_head, self._head_ended = self._in_head, False
            super().data_received(data)
            # With the end of a head came what is no part of it, and maybe the whole request.
            is_of_head = in_head and self._in_head and not self._head_ended
            self._head_bytes = self._head_bytes + len(data) if is_of_head else 0
            if self._head_bytes > _HEAD_BYTES_MAX and not self.transport.is_closing():
                self._refuse(431, HeadTooLarge(limit=_HEAD_BYTES_MAX))

        def on_message_begin(self) -> None:
            self._await_head()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._head_has_come()
            self._head_ended = True
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_head = True
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, RequestMalformed("this is no HTTP request"))

        def _await_head(self) -> None:
            self._head_has_come()
            self._in_head = True
            self._head_due = self.loop.call_later(limits.request_s_max, self.transport.close)

        def _head_has_come(self) -> None:
            self._in_head = False
            if self._head_due is not None:
                self._head_due.cancel()
                self._head_due = None

        def _refuse(self, status: int, error: OnrecordError) -> None:
            """Answer before there is a request, and close."""
            body = encoded(refused(error))
            headers = (
                (b"content-type", b"application/json; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
                (b"connection", b"close"),
                *((b"retry-after", b"1") for _ in range(status == 503)),
                *ALWAYS,
            )
            head = b"".join(b"%s: %s\r\n" % header for header in headers)
            self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
            self.transport.close()

    return Limited
