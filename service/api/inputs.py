"""The article document as GraphQL input: the same fields in camelCase, enum values in capitals."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
import strawberry

from service.api.scalars import Moment
from service.domain import article as documents
from service.domain.article import DOCUMENT_BYTES_MAX, Article, Certainty, ChangeOf, Form, Stance
from service.domain.article import Reader as ReaderKind
from service.domain.errors import DocumentInvalid, Problem

#: A document as it was sent, with the names that documents have.
Document = Mapping[str, Any]
_ABSENT: Any = strawberry.UNSET


def _part(description: str) -> Callable[[type], Any]:
    """An input of which nobody needs an object: graphql-core makes of it the part of a document that it stands for.

    Strawberry hands that on as it is. To make its objects of some two hundred values took longer than all else that
    is done with an article before it is appended.
    """

    def declare(cls: type) -> Any:
        made = cast(Any, strawberry.input)(cls, description=description)
        made.__strawberry_definition__.from_input = _as_it_is
        return made

    return declare


def _as_it_is(_type: type, given: Document, _context: object) -> Document:
    return given


@_part("Who published the article.")
class OutletInput:
    id: strawberry.ID = strawberry.field(description="the outlet's slug")
    name: str = strawberry.field(description="its name, as printed")


@_part("Whose stance is reported, as the article describes them.")
class SpeakerInput:
    id: strawberry.ID = strawberry.field(description="the speaker's slug")
    name: str = strawberry.field(description="the name, as printed")
    role: str | None = strawberry.field(default=_ABSENT, description="the role, such as Secretary-General")
    organisation: str | None = strawberry.field(default=_ABSENT, description="for whom the speaker speaks")
    bloc: str | None = strawberry.field(default=_ABSENT, description="slug of the side that the speaker is on")


@_part("One speaker's stance on the claim, as the article reports it.")
class StatementInput:
    speaker: SpeakerInput | None = strawberry.field(
        default=_ABSENT, description="whose stance it is; null: the outlet in its own voice"
    )
    stance: Stance = strawberry.field(description="what the speaker does with the claim")
    certainty: Certainty | None = strawberry.field(default=_ABSENT, description="how sure the speaker sounds")
    form: Form | None = strawberry.field(default=_ABSENT, description="how the article gives the words")
    said_at: Moment | None = strawberry.field(default=_ABSENT, description="when it was said")
    quote: str = strawberry.field(description="the words the stance is read from, verbatim, at most 1,000 characters")
    start: int | None = strawberry.field(
        default=_ABSENT, description="where the quote begins in the text, in code points from 0"
    )


@_part("A claim with what the article reports of it.")
class ClaimInput:
    claim: str = strawberry.field(description="the claim's slug; a slug occurs once in an article")
    proposition: str | None = strawberry.field(
        default=_ABSENT, description="what is claimed; required when the claim is first named"
    )
    topic: str | None = strawberry.field(default=_ABSENT, description="slug of what it is about")
    statements: list[StatementInput] = strawberry.field(description="at least one")


@_part("Who read the statements out of the article.")
class ReadByInput:
    kind: ReaderKind = strawberry.field(description="a person or a model")
    id: str = strawberry.field(description="which one")
    version: str | None = strawberry.field(default=_ABSENT, description="of a model: which version")


@_part("What an outlet published, identified by its URL, with the statements read out of it.")
class ArticleInput:
    url: str = strawberry.field(description="absolute URL without fragment, at most 2,048 characters; the identity")
    outlet: OutletInput = strawberry.field(description="who published it")
    headline: str | None = strawberry.field(default=_ABSENT, description="its headline")
    published_at: Moment = strawberry.field(description="when it was published")
    language: str | None = strawberry.field(default=_ABSENT, description="its language, as a BCP 47 tag")
    revision: int | None = strawberry.field(default=_ABSENT, description="which version this is; 1 by default")
    revised_at: Moment | None = strawberry.field(
        default=_ABSENT, description="from revision 2: when the outlet published this revision"
    )
    change: ChangeOf | None = strawberry.field(default=_ABSENT, description="from revision 2: what it mends")
    read_by: ReadByInput | None = strawberry.field(default=_ABSENT, description="who read the statements out of it")
    text: str | None = strawberry.field(
        default=_ABSENT, description="the full text, at most 1 MiB; every quote must then stand in it"
    )
    text_sha256: str | None = strawberry.field(
        name="textSha256", default=_ABSENT, description="SHA-256 of the text, in hexadecimal digits"
    )
    claims: list[ClaimInput] = strawberry.field(description="what it speaks of; may be empty")


def to_article(given: Document) -> Article:
    """The document that was sent. Raises DocumentInvalid, with paths as they were sent."""
    try:
        article = documents.parse(given)
        size = len(orjson.dumps(given))
        if size > DOCUMENT_BYTES_MAX:
            message = f"is {size:,} bytes; a document may have at most {DOCUMENT_BYTES_MAX:,} (4 MiB)"
            raise DocumentInvalid([Problem("", message)])
    except DocumentInvalid as error:
        raise DocumentInvalid([as_sent(problem) for problem in error.problems]) from None
    return article


def as_sent(problem: Problem) -> Problem:
    """A problem with its path in camelCase."""
    path = re.sub(r"_([a-z0-9])", lambda found: found.group(1).upper(), problem.path)
    return Problem(path, problem.message)
