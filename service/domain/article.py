"""The article document: what a client sends, what the log stores, what a file holds.

One strict model serves all three. `read` takes bytes as sent, `parse` what a
decoder made of them; both refuse with every problem found, each with its path
and what to do about it.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from service.domain import moment
from service.domain.errors import DocumentInvalid, Problem

DOCUMENT_BYTES_MAX: Final = 4 * 1024 * 1024
TEXT_BYTES_MAX: Final = 1024 * 1024
STATEMENTS_MAX: Final = 1000
#: Faults told of one document. Each costs time and memory, and 4 MiB can hold a million.
FAULTS_MAX: Final = 100
SLUG_PATTERN: Final = r"[a-z0-9]+(-[a-z0-9]+)*"


class Stance(StrEnum):
    """What a speaker does with a claim."""

    ASSERTS = "asserts"  #: says that it is so.
    DENIES = "denies"  #: says that it is not so.
    WITHHOLDS = "withholds"  #: takes no side: not verified, no sign seen, reportedly.


class Certainty(StrEnum):
    """How sure the speaker sounds."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"


class Form(StrEnum):
    """How the article gives the words."""

    DIRECT = "direct"
    INDIRECT = "indirect"
    HEADLINE = "headline"


class Reader(StrEnum):
    """Who read statements out of an article."""

    PERSON = "person"
    MODEL = "model"


class ChangeOf(StrEnum):
    """What a later revision mends: the article itself, or our reading of it."""

    OUTLET = "outlet"
    READING = "reading"


def _written(value: str) -> str:
    # PostgreSQL cannot keep NUL in text, and nobody means to write it.
    if "\x00" in value:
        raise PydanticCustomError("text", "holds a NUL character; remove it")
    if not value or value.isspace():
        raise PydanticCustomError("text", "must not be empty")
    return value


def _moment(value: str) -> str:
    try:
        return moment.canonical(value)
    except ValueError as error:
        raise PydanticCustomError("moment", "{why}", {"why": str(error)}) from None


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")


def _url(value: str) -> str:
    if "#" in value:
        raise PydanticCustomError("url", "has a fragment; send it without the part from # on")
    if not _URL.fullmatch(value) or re.match(r"https?:(?!//[^/?])", value, re.IGNORECASE):
        raise PydanticCustomError(
            "url", "is not an absolute URL; send it whole, such as https://example.org/a, percent-encoded"
        )
    return value


Model = TypeVar("Model", bound=BaseModel)

Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG_PATTERN}$", max_length=128)]
#: A speaker: a slug, or an outlet in its own voice.
SpeakerId = Annotated[str, StringConstraints(pattern=f"^(outlet:)?{SLUG_PATTERN}$", max_length=135)]
Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
Moment = Annotated[str, AfterValidator(_moment)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_written)]
Sentence = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_written)]
Quote = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_written)]
Language = Annotated[str, StringConstraints(pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=64)]


class _Part(BaseModel):
    """Frozen, strict, and without fields that the format does not name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Outlet(_Part):
    """Who published the article."""

    id: Slug
    name: Label


class ReadBy(_Part):
    """Who read the statements out of the article."""

    kind: Reader = Field(strict=False)
    id: Label
    version: Label | None = None

    def problems(self) -> Iterator[Problem]:
        if self.kind is Reader.MODEL and self.version is None:
            yield Problem("read_by.version", "is required of a model; say which version read the article")
        if self.kind is Reader.PERSON and self.version is not None:
            yield Problem("read_by.version", "is for models; leave it out for a person")


class Speaker(_Part):
    """Whose stance is reported, as this article gives their name and part."""

    id: Slug
    name: Label
    role: Label | None = None
    organisation: Label | None = None
    bloc: Slug | None = None


class Statement(_Part):
    """One speaker's stance on one claim, as one article reports it."""

    speaker: Speaker | None = None  #: None: the outlet speaks in its own voice.
    stance: Stance = Field(strict=False)
    certainty: Certainty | None = Field(None, strict=False)
    form: Form | None = Field(None, strict=False)
    said_at: Moment | None = None
    #: The words the stance was read from, so that a person can disagree.
    quote: Quote
    #: Where the quote begins in the text, in code points from 0.
    start: int | None = Field(None, ge=0, le=TEXT_BYTES_MAX)


class Claim(_Part):
    """A proposition that may be so, with what the article reports of it."""

    claim: Slug
    proposition: Sentence | None = None  #: required when the claim is first named.
    topic: Slug | None = None
    statements: tuple[Statement, ...] = Field(min_length=1, strict=False)


class Article(_Part):
    """What an outlet published, identified by its URL, with the statements read out of it."""

    url: Url
    outlet: Outlet
    headline: Sentence | None = None
    published_at: Moment
    language: Language | None = None
    revision: int = Field(1, ge=1, le=1_000_000)
    revised_at: Moment | None = None
    change: ChangeOf | None = Field(None, strict=False)
    read_by: ReadBy | None = None
    text: str | None = Field(None, repr=False)
    text_sha256: Sha256 | None = None
    claims: tuple[Claim, ...] = Field(strict=False)

    @field_validator("revision", mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        return 1 if value is None else value

    def statements(self) -> Iterator[tuple[int, Claim, Statement]]:
        """Every statement with its ordinal, counted from 0 through the whole document."""
        ordinal = 0
        for claim in self.claims:
            for statement in claim.statements:
                yield ordinal, claim, statement
                ordinal += 1

    def speaker_of(self, statement: Statement) -> str:
        """The id of whose stance it is; an outlet in its own voice is `outlet:<outlet id>`."""
        return f"outlet:{self.outlet.id}" if statement.speaker is None else statement.speaker.id

    def effective_at(self, statement: Statement) -> datetime:
        """The latest moment at which the statement can have been said, in UTC."""
        published = moment.end(self.published_at)
        if statement.said_at is None:
            return published
        return min(moment.end(statement.said_at), moment.end(self.revised_at) if self.revised_at else published)

    def without_text(self) -> Self:
        """The document as the log keeps it: its text lies elsewhere, by its hash."""
        return self if self.text is None else self.model_copy(update={"text": None})


def read(raw: bytes) -> Article:
    """The document in `raw`: one JSON object in UTF-8, at most 4 MiB.

    Raises DocumentInvalid with every problem found.
    """
    return parse(decode(raw))


def decode(raw: bytes) -> object:
    """What `raw` holds as JSON. A key given twice is refused: one of the two would be lost.

    Raises DocumentInvalid.
    """
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise _invalid("", f"is {len(raw):,} bytes; a document may have at most {DOCUMENT_BYTES_MAX:,} (4 MiB)")
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _invalid("", f"is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid("", f"is not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _invalid("", "is nested too deeply to be an article document") from None
    except ValueError as error:
        raise _invalid("", f"is not usable JSON: {error}") from None


def parse(data: object) -> Article:
    """The document that `data` (as decoded from JSON) is, checked whole.

    Where `text` is sent, every quote has been found in it verbatim: `start` and
    `text_sha256` are filled in. Raises DocumentInvalid with every problem found.
    """
    # Before anything is checked one by one.
    if (count := _count(data)) > STATEMENTS_MAX:
        raise _invalid("claims", f"hold {count:,} statements; an article may have at most {STATEMENTS_MAX:,}")
    article = validated(Article, data)
    problems = list(_problems(article))
    if article.text is not None:
        article, misplaced = _anchored(article, article.text)
        problems += misplaced
    if problems:
        raise DocumentInvalid(problems)
    return article


def validated(model: type[Model], data: object) -> Model:
    """`data` as a model of ours. Raises DocumentInvalid, with each fault in words that say what to do."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DocumentInvalid(_told(error)) from None


def warnings(article: Article) -> list[Problem]:
    """What is kept as sent although it cannot be meant: a `said_at` after its article."""
    return [
        Problem(
            f"{path}.said_at", f"is after the article's own date; {article.effective_at(statement):%Y-%m-%d} counts"
        )
        for path, statement in _paths(article)
        if statement.said_at is not None and moment.end(statement.said_at) > article.effective_at(statement)
    ]


def same_content(one: Article, other: Article) -> bool:
    """Whether two documents say the same, whatever revision each calls itself.

    Their texts do not count; `start` and `text_sha256` count where both have
    them, since a retry may come without the text from which they were derived.
    `revised_at` and `change` tell of the revision, so they do not count either.
    """
    if one.text_sha256 and other.text_sha256 and one.text_sha256 != other.text_sha256:
        return False
    if _bare(one) != _bare(other):
        return False
    return all(
        mine.start is None or theirs.start is None or mine.start == theirs.start
        for (_, _, mine), (_, _, theirs) in zip(one.statements(), other.statements(), strict=True)
    )


def same_revision(one: Article, other: Article) -> bool:
    """Whether two documents are the same, sent twice."""
    return (one.revision, one.revised_at, one.change) == (
        other.revision,
        other.revised_at,
        other.change,
    ) and same_content(one, other)


def _bare(article: Article) -> Article:
    claims = tuple(
        claim.model_copy(
            update={
                "statements": tuple(
                    statement if statement.start is None else statement.model_copy(update={"start": None})
                    for statement in claim.statements
                )
            }
        )
        for claim in article.claims
    )
    without = {"text": None, "text_sha256": None, "revision": 1, "revised_at": None, "change": None}
    return article.model_copy(update={**without, "claims": claims})


def _paths(article: Article) -> Iterator[tuple[str, Statement]]:
    for i, claim in enumerate(article.claims):
        for j, statement in enumerate(claim.statements):
            yield f"claims[{i}].statements[{j}]", statement


def _problems(article: Article) -> Iterator[Problem]:
    """What no single field can see."""
    if article.revision == 1:
        for field in ("revised_at", "change"):
            if getattr(article, field) is not None:
                yield Problem(field, "is for revision 2 and later; leave it out of revision 1")
    if article.read_by is not None:
        yield from article.read_by.problems()
    first: dict[str, int] = {}
    for i, claim in enumerate(article.claims):
        if claim.claim in first:
            yield Problem(
                f"claims[{i}].claim",
                f"names {claim.claim} again; put its statements under claims[{first[claim.claim]}]",
            )
        first.setdefault(claim.claim, i)


def _count(data: object) -> int:
    """How many statements a document seems to hold, before it is known to be one; a claim holds at least one."""
    claims = cast("dict[Any, Any]", data).get("claims") if isinstance(data, dict) else None
    if not isinstance(claims, list):
        return 0
    count = 0
    for claim in cast("list[Any]", claims):
        held = cast("dict[Any, Any]", claim).get("statements") if isinstance(claim, dict) else None
        count += max(1, len(cast("list[Any]", held))) if isinstance(held, list) else 1
    return count


def _anchored(article: Article, text: str) -> tuple[Article, list[Problem]]:
    """The document with every quote at its place in `text`, and what could not be placed."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return article, [Problem("text", "holds half of a surrogate pair, which is no character; remove it")]
    if size > TEXT_BYTES_MAX:
        return article, [Problem("text", f"is {size:,} bytes; a text may have at most {TEXT_BYTES_MAX:,} (1 MiB)")]
    if "\x00" in text:
        return article, [Problem("text", "holds a NUL character; remove it")]
    problems: list[Problem] = []
    digest = hashlib.sha256(text.encode()).hexdigest()
    if article.text_sha256 is not None and article.text_sha256 != digest:
        problems.append(Problem("text_sha256", f"is not the hash of the text, which is {digest}"))
    starts: dict[str, int] = {}
    for path, statement in _paths(article):
        place = _place(statement, text)
        if isinstance(place, int):
            starts[path] = place
        else:
            problems.append(Problem(f"{path}.{place[0]}", place[1]))
    if problems:
        return article, problems
    claims = tuple(
        claim.model_copy(
            update={
                "statements": tuple(
                    statement.model_copy(update={"start": starts[f"claims[{i}].statements[{j}]"]})
                    for j, statement in enumerate(claim.statements)
                )
            }
        )
        for i, claim in enumerate(article.claims)
    )
    return article.model_copy(update={"text_sha256": digest, "claims": claims}), []


def _place(statement: Statement, text: str) -> int | tuple[str, str]:
    """Where the quote stands, or which field is wrong and why. Never a look-alike place."""
    quote = statement.quote
    found = text.find(quote)
    if found < 0:
        return "quote", "does not stand in the text; quote it verbatim, to the last character"
    if statement.start is not None:
        if text.startswith(quote, statement.start):
            return statement.start
        return "start", f"is not where the quote stands in the text; it first stands at {found}"
    again = text.find(quote, found + 1)
    if again >= 0:
        return "quote", f"stands in the text more than once (at {found} and {again}); say which with start"
    return found


# --- reading JSON ---------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {shown(twice)} stands twice in one object; keep one")
    return made


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


# --- sentences for problems ------------------------------------------------------


def shown(value: object) -> str:
    """A value as a message may show it: one short line that can be printed anywhere."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return text if len(text) <= 60 else text[:57] + "..."


def _invalid(path: str, message: str) -> DocumentInvalid:
    return DocumentInvalid([Problem(path, message)])


def path_text(location: Sequence[int | str]) -> str:
    """A place in a document as people write it.

    >>> path_text(("claims", 0, "statements", 2, "quote"))
    'claims[0].statements[2].quote'
    """
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if re.fullmatch(r"\w{1,60}", step, re.ASCII) else shown(step)
            path += f".{name}" if path else name
    return path


_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "": Article,
    "outlet": Outlet,
    "read_by": ReadBy,
    "claims": Claim,
    "statements": Statement,
    "speaker": Speaker,
}
_SLUGS: Final = frozenset({"claim", "topic", "id", "bloc", "into", "to", "speaker"})


def _told(error: ValidationError) -> list[Problem]:
    """Each fault once: a list is not also too short because what it holds is at fault."""
    faults = error.errors(include_url=False)
    told = [
        Problem(path_text(each["loc"]), _sentence(each, [step for step in each["loc"] if isinstance(step, str)]))
        for each in faults[:FAULTS_MAX]
        if each["type"] != "too_short" or each["input"] in ([], ())
    ]
    more = len(faults) - FAULTS_MAX
    return [*told, Problem("", f"has {more:,} more faults; mend these first")] if more > 0 else told


def _sentence(error: ErrorDetails, names: list[str]) -> str:
    context: Mapping[str, Any] = error.get("ctx") or {}
    value = error["input"]
    match error["type"]:
        case "missing":
            return "is required; add it"
        case "extra_forbidden":
            return _unknown(names)
        case "string_type":
            return f"must be a string, not {_kind(value)}"
        case "string_unicode":
            return "holds half of a surrogate pair, which is no character; remove it"
        case "int_type":
            return f"must be a whole number, not {_kind(value)}"
        case "tuple_type" | "list_type":
            return f"must be a list, not {_kind(value)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be an object, not {_kind(value)}"
        case "too_short":
            return "must hold at least one statement; leave the claim out if there is none"
        case "string_too_long":
            return f"is {len(value):,} characters long; at most {context['max_length']:,} are kept"
        case "enum":
            return f"is {shown(value)}; it must be one of {context['expected']}"
        case "greater_than_equal":
            return f"is {shown(value)}; it must be at least {context['ge']}"
        case "less_than_equal":
            return f"is {shown(value)}; it must be at most {context['le']:,}"
        case "string_pattern_mismatch" if names[-1] == "text_sha256":
            return "is not a SHA-256; send 64 lower-case hexadecimal digits"
        case "string_pattern_mismatch" if names[-1] == "language":
            return f"is {shown(value)}, which is no BCP 47 language tag; write en, de or pt-BR"
        case "string_pattern_mismatch" if names[-1] in _SLUGS:
            return f"is {shown(value)}, which is no slug; write lower-case words joined by hyphens: {_slug(value)}"
        case "text" | "moment" | "url":
            return error["msg"]
        case _:
            return f"is not valid: {error['msg']}"


def _unknown(names: list[str]) -> str:
    part = _PARTS.get(names[-2] if len(names) > 1 else "")
    known = list(part.model_fields) if part else []
    close = difflib.get_close_matches(names[-1], known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the fields here are {', '.join(known)}"
    return f"is not a field of the article document; {hint}"


def _slug(value: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:128].strip("-")
    return words or "troops-withdrawing"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__
