"""An article in brief: of what the log holds of it, only what decides what stands.

`events.decode` reads all of an event and checks it against the format; that is for
what arrives, and for `verify`. Who folds the whole log reads bytes that were checked when
they were appended, most of which (quotes, names, headlines) decide nothing.
"""

from typing import Any, Final

import msgspec
import orjson
from msgspec import Struct

from service.domain.article import Stance
from service.domain.errors import EventUndecodable
from service.domain.events import TYPES, upcast


class Outlet(Struct, gc=False):
    """Who published the article."""

    id: str


class Speaker(Struct, gc=False):
    """Whose stance is reported."""

    id: str
    bloc: str | None = None


class Statement(Struct, gc=False):
    """One speaker's stance on one claim."""

    stance: Stance
    speaker: Speaker | None = None
    said_at: str | None = None


class Claim(Struct, gc=False):
    """A claim, with what the article reports of it."""

    claim: str
    statements: list[Statement]


class Article(Struct, gc=False):
    """The fields of `article.Article` that decide what stands, by the same names."""

    url: str
    outlet: Outlet
    published_at: str
    claims: list[Claim]
    revision: int = 1
    revised_at: str | None = None


class _Event(Struct, gc=False):
    article: Article


#: The types of events that hold an article.
ARTICLES: Final = frozenset({"ArticleRecorded", "ArticleRevised"})

_decode: Final = msgspec.json.Decoder(_Event).decode


def read(type: str, version: int, payload: bytes) -> Article:
    """The article in an event that was stored, lifted to today's shape.

    What `events.decode` gives, where that accepts the bytes; what is not read is not checked.
    Raises EventUndecodable where the version is not known or the bytes hold no article.
    """
    try:
        if version == TYPES[type][1]:
            return _decode(payload).article
        lifted: dict[str, Any] = upcast(type, version, orjson.loads(payload))
        return msgspec.convert(lifted, _Event).article
    except (msgspec.MsgspecError, orjson.JSONDecodeError, UnicodeDecodeError) as error:
        raise EventUndecodable(type, version, f"its payload is damaged: {error}") from None
