"""What the service tells of its work: metrics of this process for Prometheus, and lines of its own log.

Nothing that a stranger chooses becomes a label: fields are those of the schema, codes those of
`docs/errors.md`. So there are only so many series, whatever is sent.
"""

import contextlib
import logging
import random
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import lru_cache
from time import perf_counter
from typing import ClassVar, Final

from graphql import FieldNode, OperationDefinitionNode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from service.api.documents import remembered
from service.domain import events
from service.domain.errors import OnrecordError
from service.log import Appended, NewEvent, Outcome, Refused

_logger = logging.getLogger("onrecord.api")

# When each series was begun would be one series more for each.
disable_created_metrics()
REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: A message may quote what was sent.
_QUOTED_MAX: Final = 300
_REQUEST_ID: Final = re.compile(rb"[\w.-]{1,64}", re.ASCII)
_TRACEPARENT: Final = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_APPEND_S: Final = Histogram(
    "onrecord_append_seconds",
    "From handing events over until they are durable in the log, the wait for a turn included.",
    buckets=_S,
    registry=REGISTRY,
)
PROJECTION_S: Final = Histogram(
    "onrecord_projection_seconds",
    "From an event's recorded_at until this process saw it projected: the oldest event of each advance that it saw.",
    buckets=_S,
    registry=REGISTRY,
)
_GRAPHQL_S: Final = Histogram(
    "onrecord_graphql_seconds",
    "Answering an operation that was not known already, by its type and its one field at the root.",
    ["type", "field"],
    buckets=_S,
    registry=REGISTRY,
)
_ANSWERS: Final = Counter(
    "onrecord_answers",
    "Requests to /graphql by how they were answered: known, not_modified, compiled, interpreted or streamed.",
    ["way"],
    registry=REGISTRY,
)
_REFUSALS: Final = Counter("onrecord_refusals", "What was refused or failed, by code.", ["code"], registry=REGISTRY)
_RESPONSES: Final = Counter("onrecord_http_responses", "Responses by status.", ["status"], registry=REGISTRY)
_IN_FLIGHT: Final = Gauge(
    "onrecord_requests_in_flight",
    "Requests that are being answered, with streams and connections by WebSocket.",
    registry=REGISTRY,
)
_STREAMS: Final = Gauge("onrecord_streams", "Subscriptions that are followed.", ["transport"], registry=REGISTRY)


class _Documents(Collector):
    """How often a document was known, as the cache itself counts."""

    def collect(self) -> Iterable[CounterMetricFamily]:
        counted = remembered.cache_info()
        family = CounterMetricFamily(
            "onrecord_documents", "Documents by whether they had been parsed and validated before.", labels=["known"]
        )
        family.add_metric(["yes"], counted.hits)
        family.add_metric(["no"], counted.misses)
        yield family


REGISTRY.register(_Documents())
# From the beginning, or Prometheus would not see that the first of a code is one more than before.
for _code in ("BAD_QUERY", "INTERNAL", *(each.code for each in OnrecordError.__subclasses__())):
    _REFUSALS.labels(_code)

# --- what is counted --------------------------------------------------------------

#: Counts an answer that was given in this way.
known, not_modified, compiled, interpreted, streamed = (
    _ANSWERS.labels(way).inc for way in ("known", "not_modified", "compiled", "interpreted", "streamed")
)


def refused(code: str, because: str) -> None:
    """Count a refusal or failure under its code, one of the closed list, and write it down."""
    _REFUSALS.labels(code).inc()
    _logger.info("refused", extra={"code": code, "because": because[:_QUOTED_MAX]})


def appended(new: Sequence[NewEvent], outcomes: Sequence[Outcome], duration_s: float) -> None:
    """Count an append that took so long, and write down what became of each of its events."""
    _APPEND_S.observe(duration_s)
    for each, outcome in zip(new, outcomes, strict=True):
        match outcome:
            case Appended(position, _, event_id):
                told = {
                    "position": position,
                    "event_id": str(event_id),
                    "type": events.type_of(each.event),
                    "actor": each.actor,
                    "duration_s": round(duration_s, 6),
                }
                _logger.info("appended", extra=told)
            case Refused(error):
                refused(error.code, str(error))
            case _:
                pass


@contextlib.contextmanager
def timed(operation: OperationDefinitionNode) -> Generator[None]:
    """Measure how long answering an operation of a valid document takes; lines written meanwhile name it."""
    field = _field(operation)
    bind_contextvars(operation=field)
    began = perf_counter()
    try:
        yield
    finally:
        _GRAPHQL_S.labels(operation.operation.value, field).observe(perf_counter() - began)


def streaming(transport: str) -> contextlib.AbstractContextManager[None]:
    """A subscription is followed meanwhile."""
    return _STREAMS.labels(transport).track_inprogress()  # pyright: ignore[reportReturnType]


def _field(operation: OperationDefinitionNode) -> str:
    """The operation's field at the root; `several` where there are more, or where a fragment names them."""
    match operation.selection_set.selections:
        case (FieldNode(name=name),):
            return name.value
        case _:
            return "several"


# --- around each request ----------------------------------------------------------


class Watching:
    """Counts requests, and gives each an id, which its answer and the lines of the log carry.

    The id is that of `X-Request-Id` or the trace of `traceparent`, where one is sent that can be
    such, and else a random one.
    """

    #: Of all apps of the process; a plain number, for one event loop, since every request changes it twice.
    _in_flight: ClassVar[int] = 0
    _IN_FLIGHT.set_function(lambda: Watching._in_flight)

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        bind_contextvars(request_id=request_id.decode())

        async def told(message: Message) -> None:
            if message["type"] in _BEGINNINGS:
                if "status" in message:
                    _responded(message["status"])()
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        Watching._in_flight += 1
        try:
            await self._app(scope, receive, told)
        finally:
            Watching._in_flight -= 1


_BEGINNINGS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


@lru_cache
def _responded(status: int) -> Callable[[], None]:
    """Counts a response of this status."""
    return _RESPONSES.labels(status).inc


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    traced = None
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
        if name == b"traceparent" and (found := _TRACEPARENT.fullmatch(value)):
            traced = found[1]
    # It tells requests apart, and guards nothing.
    return traced or b"%032x" % random.getrandbits(128)
