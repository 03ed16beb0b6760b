"""What is let in: how often a client asks, and how much of a request is taken, for how long."""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import http
from service.api.limits import Limits
from service.api.probes import PATHS
from service.domain.errors import BodyTooLarge, BodyTooSlow, OnrecordError, TooManyRequests

#: Of how many clients it is known how often they asked. Those who did not for the longest time are forgotten.
_CLIENTS_MAX: Final = 10_000
#: Who has one address of the new kind has as many: a client is the network of this prefix.
_PREFIX: Final = 64


class Clients:
    """How often each client asks: by the tokens left in its bucket, which fills again as time goes by."""

    def __init__(self, per_s: float, burst: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._now = per_s, burst, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  #: what was left, and when.

    def admit(self, scope: Scope) -> None:
        """Take one request of who sent it. Raises TooManyRequests; never, where no limit is set."""
        if self._per_s == 0:
            return
        address, now = _client(scope), self._now()
        left, then = self._buckets.get(address, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_s)
        if left < 1:
            raise TooManyRequests(wait_s=(1 - left) / self._per_s)
        self._buckets[address] = (left - 1, now)
        self._buckets.move_to_end(address)
        if len(self._buckets) > _CLIENTS_MAX:
            self._buckets.popitem(last=False)


def _client(scope: Scope) -> str:
    address = (scope.get("client") or ("",))[0]
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], _PREFIX), strict=False))
    except ValueError:
        return address


class Admission:
    """A layer: lets in what is within the limits, and hands on no more of its body than it may have."""

    def __init__(self, app: ASGIApp, limits: Limits, clients: Clients) -> None:
        self._app, self._limits, self._clients = app, limits, clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"] not in PATHS:
                self._clients.admit(scope)
            if scope["type"] == "http":
                receive = self._bounded(scope, receive)
        except OnrecordError as error:
            await http.refuse(scope, send, error)
            return
        await self._app(scope, receive, send)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receives the body, which raises BodyTooLarge and BodyTooSlow. Raises BodyTooLarge if it is said to be."""
        limit, limit_s = self._limits.body_bytes_max, self._limits.request_s_max
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared[:20]) > limit:
            raise BodyTooLarge(limit=limit)
        due = asyncio.get_running_loop().time() + limit_s
        received, whole = 0, False

        async def bounded() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(due):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(limit_s=limit_s) from None
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit=limit)
            whole = not message.get("more_body", False)
            return message

        return bounded
