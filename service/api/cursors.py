"""Cursors and the pages they lead to.

A cursor says at which position its list was read, after which key the page ended,
and of which list it is: so later pages go on in the same moment of the record,
and a cursor of another list, or one that was damaged, is refused.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, cast

import orjson

from service.domain.canonical import canonical_json
from service.domain.errors import BadCursor, BadPage
from service.domain.events import sha256
from service.domain.moment import canonical
from service.queries.paging import By, Key, Order, Page
from service.queries.snapshot import AsOf

PAGE_DEFAULT: Final = 25
PAGE_MAX: Final = 100
_VERSION: Final = 1


@dataclass(frozen=True)
class Scope:
    """Of which list a cursor is: its name, its parent, and the arguments that it is filtered and ordered by."""

    name: str
    parent: str
    arguments: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """What tells it from the scopes of other lists."""
        given = {key: value for key, value in self.arguments.items() if value is not None}
        return sha256(canonical_json([self.name, self.parent, _plain(given)])).hex()[:16]

    def cursor(self, read_at: AsOf, key: Key) -> str:
        """The cursor of the row with this key, in the list as of a moment."""
        body = orjson.dumps([_VERSION, *read_at, self.fingerprint, list(key)])
        return _text(body + sha256(body)[:6])

    def read(self, cursor: str, order: Order) -> tuple[AsOf, Key]:
        """The moment and key of a cursor of this list. Raises BadCursor."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadCursor("is damaged") from None
        body, check = raw[:-6], raw[-6:]
        # The second: base64 has bits to spare, and another cursor could decode to the same bytes.
        if sha256(body)[:6] != check or _text(raw) != cursor:
            raise BadCursor("is damaged")
        try:
            version, position, said_by, fingerprint, key = orjson.loads(body)
        except (ValueError, TypeError):
            raise BadCursor("is damaged") from None
        if version != _VERSION:
            raise BadCursor("is of another version of this service")
        if fingerprint != self.fingerprint:
            raise BadCursor("belongs to another list or to other arguments")
        # The checksum keeps accidents out, not somebody who makes up a cursor.
        if not _is_moment(position, said_by) or not _is_key(key, order):
            raise BadCursor("is damaged")
        return AsOf(position, said_by), tuple(key)


def _is_moment(position: Any, said_by: Any) -> bool:
    try:
        return type(position) is int and 0 <= position < 2**63 and (said_by is None or canonical(said_by) == said_by)
    except (TypeError, ValueError):
        return False


def _is_key(key: Any, order: Order) -> bool:
    if not isinstance(key, list) or len(cast("list[Any]", key)) != len(order):
        return False
    return all(_is_of(value, by) for value, by in zip(cast("list[Any]", key), order, strict=True))


def _is_of(value: Any, by: By) -> bool:
    match by.type:
        case "text":
            return isinstance(value, str) and "\x00" not in value
        case "timestamptz":
            try:
                return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
            except ValueError:
                return False
        case _:
            return type(value) is int and abs(value) < 2**63


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _plain(value: Any) -> Any:
    """Arguments as canonical JSON takes them."""
    match value:
        case dict():
            return {str(key): _plain(each) for key, each in cast("dict[Any, Any]", value).items() if each is not None}
        case list() | tuple():
            return [_plain(each) for each in cast("Iterable[Any]", value)]
        case bool() | None:
            return value
        case _:
            return str(value)


def page(
    *,
    scope: Scope,
    order: Order,
    as_of: AsOf,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> tuple[AsOf, Page]:
    """The moment to read at and the page that the arguments ask for. Raises BadPage or BadCursor."""
    if first is not None and last is not None:
        raise BadPage("give first or last, not both")
    backward = last is not None or (before is not None and first is None and after is None)
    limit = first if first is not None else last if last is not None else PAGE_DEFAULT
    if not 0 <= limit <= PAGE_MAX:
        name = "first" if first is not None else "last"
        raise BadPage(f"{name} is {limit}; a page holds 0 to {PAGE_MAX}, so ask for less and go on with a cursor")
    ends = [scope.read(cursor, order) if cursor is not None else None for cursor in (after, before)]
    moments = {end[0] for end in ends if end is not None}
    if len(moments) > 1:
        raise BadCursor("after is of another moment than the cursor before")
    for each in moments:
        if each.position > as_of.position:
            raise BadCursor(f"is of position {each.position}, which this service has not reached")
        if each.said_by != as_of.said_by:
            raise BadCursor("is of another moment than asOf")
        as_of = each
    keys = [None if end is None else end[1] for end in ends]
    return as_of, Page(limit, keys[0], keys[1], backward)
