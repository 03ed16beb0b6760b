"""GraphQL over HTTP, by the specification of September 2026: requests as they come, and answers as they go.

https://http-spec.graphql.org/September2026/. Who accepts `application/graphql-response+json`
is told by the status what became of a request. Under `application/json`, which older
clients take, the status is 200 for all that is a GraphQL request, unless the service
could not do its part; such clients read no other.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, cast

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from service.api.plans import Invalid, Sent
from service.api.schema import encoded, refused
from service.domain.errors import (
    BadArgument,
    BodyTooLarge,
    BodyTooSlow,
    Busy,
    DatabaseExhausted,
    DatabaseUnreachable,
    Forbidden,
    MethodNotAllowed,
    NotAcceptable,
    NothingProjected,
    NotYetProjected,
    OriginRefused,
    RequestMalformed,
    RequestUnreadable,
    TimedOut,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)

#: The position that a request must at least be answered from.
MIN_POSITION: Final = "Onrecord-Min-Position"

Headers = list[tuple[bytes, bytes]]


class Media(Enum):
    """What an answer is sent as. Of two that a client takes alike it gets the first."""

    JSON = b"application/json"
    GRAPHQL = b"application/graphql-response+json"
    EVENTS = b"text/event-stream"


#: What a code is told by, but for requests that are well-formed and invalid; 400 for all others.
_STATUS: Final = {
    Unauthenticated.code: 401,
    Forbidden.code: 403,
    RequestMalformed.code: 422,
    OriginRefused.code: 403,
    MethodNotAllowed.code: 405,
    NotAcceptable.code: 406,
    BodyTooSlow.code: 408,
    BodyTooLarge.code: 413,
    UnsupportedMediaType.code: 415,
    TooManyRequests.code: 429,
    "INTERNAL": 500,
    Busy.code: 503,
    DatabaseExhausted.code: 503,
    DatabaseUnreachable.code: 503,
    NothingProjected.code: 503,
    NotYetProjected.code: 503,
    TimedOut.code: 503,
}
_PARTIAL: Final = 294
#: When to try again, where it is not known better.
_AGAIN_S: Final = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to `/graphql`, before anybody has looked into it."""

    get: bool
    raw: bytes  #: the query string, or the body.
    media: Media
    streams: bool  #: it may be answered by server-sent events.
    min_position: int
    known: str  #: the entity tags of what the client has.

    @property
    def key(self) -> bytes:
        """What tells the request from others, by what it asks and what it is answered as."""
        return sha256(b"?" * self.get + self.media.value + self.raw).digest()

    def sent(self) -> Sent:
        """The operation that it asks for. Raises RequestUnreadable and RequestMalformed."""
        given = _queried(self.raw) if self.get else _json(self.raw, "the body")
        match given:
            case {"query": str(text)}:
                pass
            case list():
                raise RequestMalformed("this is a list of requests, and there are no batches here; send one at a time")
            case _:
                raise RequestMalformed("this is no GraphQL request; send an object whose `query` is a document")
        others = cast("dict[str, Any]", given)
        for name, kind in (("operationName", str), ("variables", dict), ("extensions", dict)):
            if not isinstance(others.get(name), kind | None):
                raise RequestMalformed(f"`{name}` must be {'a string' if kind is str else 'an object'}, or left out")
        return Sent(text, others.get("variables"), others.get("operationName"), reads_only=self.get)


def _queried(raw: bytes) -> dict[str, Any]:
    """The parameters of a query string; one that is empty is left out."""
    given: dict[str, Any] = {name: value for name, value in QueryParams(raw).items() if value}
    for each in ("variables", "extensions"):
        if each in given:
            given[each] = _json(given[each].encode(errors="surrogatepass"), f"`{each}`")
    return given


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise RequestUnreadable(what) from None


async def asked(scope: Scope, receive: Receive) -> Asked | None:
    """The request; None if a browser asks for a page. Raises what is wrong with it."""
    method, content_type, accept, wanted, known = scope["method"], None, None, "0", ""
    for name, value in scope["headers"]:
        match name:
            case b"content-type":
                content_type = value
            case b"accept":
                accept = value if accept is None else accept + b"," + value
            case b"onrecord-min-position":
                wanted = value.decode("latin-1")
            case b"if-none-match":
                known = value.decode("latin-1")
            case _:
                pass
    if method not in ("GET", "POST"):
        raise MethodNotAllowed("ask by POST, or by GET what changes nothing", allowed="GET, POST")
    get = method == "GET"
    if get and accept and b"text/html" in accept and b"query=" not in scope["query_string"]:
        return None
    media, streams = accepted(accept or b"*/*")
    if media is None:
        raise NotAcceptable
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
        raise BadArgument(f"{MIN_POSITION} is {wanted!r}; send a position, a whole number from 0")
    if not get and not _is_json(content_type or b""):
        raise UnsupportedMediaType
    raw = scope["query_string"] if get else await _body(receive)
    return Asked(get, raw, media, streams, int(wanted), known if get else "")


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            # Who sent it is gone, and hears of nothing.
            raise RequestUnreadable("what there is of the body")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


@lru_cache(256)
def accepted(accept: bytes) -> tuple[Media | None, bool]:
    """What a client would rather have, None if nothing of it is here, and whether it takes server-sent events."""
    ranges = _ranges(accept.decode("latin-1").lower())
    streams = ranges.get(Media.EVENTS.value.decode(), 0) > 0

    def wanted(media: Media) -> tuple[float, bool, bool]:
        name = media.value.decode()
        # The most specific range decides (RFC 9110, 12.5.1).
        weight = next((ranges[each] for each in (name, f"{name.partition('/')[0]}/*", "*/*") if each in ranges), 0)
        named = name in ranges
        return weight, named, media is (Media.GRAPHQL if named else Media.JSON)

    # Who takes anything does not mean a stream.
    best = max((each for each in Media if streams or each is not Media.EVENTS), key=wanted)
    return (best if wanted(best)[0] > 0 else None), streams


def _ranges(accept: str) -> dict[str, float]:
    """The ranges of media types that are accepted, each with its weight; one that cannot be read has none."""
    found: dict[str, float] = {}
    for each in accept.split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part.removeprefix("q=") for part in parameters if part.startswith("q=")), "1")
        found[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight, re.ASCII) else 0
    return found


@lru_cache(64)
def _is_json(content_type: bytes) -> bool:
    """Whether a body is JSON in UTF-8, and said to be nothing else.

    A type that only mentions JSON would do for a page of any origin, by a form.
    """
    media_type, *parameters = (part.strip() for part in content_type.decode("latin-1").lower().split(";"))
    charsets = [part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")]
    return media_type == "application/json" and all(each in ("utf-8", "utf8") for each in charsets)


# --- answers --------------------------------------------------------------------------


def status_of(answer: dict[str, Any], media: Media) -> int:
    """What an answer is told by that the service gave to a well-formed request."""
    statuses = [_STATUS.get(each["extensions"]["code"], 400) for each in answer.get("errors", ())]
    if answer.get("data") is None and max(statuses) >= 500:
        return max(statuses)
    if media is not Media.GRAPHQL or not statuses:
        return 200
    return _PARTIAL if "data" in answer else statuses[0]


async def respond(send: Send, status: int, media: Media, headers: Headers, body: bytes, *, kind: str = "http") -> None:
    """Send an answer; `kind` is what of messages."""
    content_type = [] if status == 304 else [(b"content-type", media.value + b"; charset=utf-8")]
    told = [*content_type, (b"vary", b"Accept"), *headers]
    if status != 304:
        told.append((b"content-length", str(len(body)).encode()))
    if status == 503:
        told.append((b"retry-after", b"%d" % _AGAIN_S))
    await send({"type": f"{kind}.response.start", "status": status, "headers": told})
    await send({"type": f"{kind}.response.body", "body": body})


async def refuse(scope: Scope, send: Send, error: Exception) -> None:
    """Tell that a request is not answered, and why, in a media type that its client takes."""
    told = refused(error)
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    preferred, _ = accepted(accept or b"*/*")
    media = Media.GRAPHQL if preferred is Media.GRAPHQL else Media.JSON
    headers: Headers = [(b"cache-control", b"no-store")]
    match error:
        case Invalid():
            status = (422 if error.parsed else 400) if media is Media.GRAPHQL else 200
        case _:
            status = _STATUS.get(told["errors"][0]["extensions"]["code"], 400)
    match error:
        case MethodNotAllowed():
            headers.append((b"allow", error.allowed.encode()))
        case Unauthenticated():
            headers.append((b"www-authenticate", b'Bearer realm="onrecord"'))
        case TooManyRequests():
            headers.append((b"retry-after", b"%d" % max(1, -(-error.wait_s // 1))))
        case BodyTooLarge() | BodyTooSlow():
            # What is still to come is not waited for.
            headers.append((b"connection", b"close"))
        case _:
            pass
    # Before it is accepted, a WebSocket is still a request that can be answered.
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    await respond(send, status, media, headers, encoded(told), kind=kind)
