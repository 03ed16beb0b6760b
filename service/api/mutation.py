"""The mutations. What becomes of an article is data, never an error."""

from dataclasses import field as own
from typing import Annotated, Any, cast

import strawberry
from strawberry.types import Info

from service.api.context import Context
from service.api.fields import arg, fresh
from service.api.inputs import ArticleInput, as_sent, to_article
from service.api.loading import Loaded, Reader
from service.api.scalars import Instant, Position
from service.api.types import Article, Problem
from service.domain import article as documents
from service.domain.errors import BadArgument, DocumentInvalid, NothingProjected, OnrecordError, PropositionMissing
from service.domain.errors import Problem as Fault
from service.domain.events import ArticleRetracted
from service.log import Appended, NewEvent, Outcome, Refused, Repeated
from service.queries.articles import articles_by_url

_WAIT = "how long to wait until it is projected, in seconds from 0 to 30; 5 by default"


@strawberry.type(description="It is in the log, for good.")
class ArticleAccepted:
    position: Position = strawberry.field(description="where it is recorded")
    recorded_at: Instant = strawberry.field(description="when it was recorded")
    projected: bool = strawberry.field(
        description="whether beliefs hold it already; if not they soon will, and it is recorded all the same"
    )
    article: Article | None = strawberry.field(description="the article as it is now; null until it is projected")
    warnings: list[Problem] = strawberry.field(description="what was kept as sent although it can hardly be meant")


@strawberry.type(description="The log had it already; nothing changed.")
class ArticleRepeated:
    position: Position = strawberry.field(description="where it was first recorded")
    retracted_at: Position | None = strawberry.field(
        description="where the article is retracted; sending a known revision again does not bring it back"
    )
    projected: bool = strawberry.field(description="whether beliefs hold it")
    article: Article | None = strawberry.field(description="the article as it is now; null until it is projected")


@strawberry.type(description="It cannot be recorded; nothing of it was.")
class ArticleRefused:
    code: str = strawberry.field(description="why, for programs")
    message: str = strawberry.field(description="why, and what to do")
    problems: list[Problem] = strawberry.field(description="each thing that is wrong, with its field as it was sent")


ArticleOutcome = Annotated[
    ArticleAccepted | ArticleRepeated | ArticleRefused,
    strawberry.union("ArticleOutcome", description="What became of an article that was sent."),
]


def _refused(error: OnrecordError) -> ArticleRefused:
    match error:
        case DocumentInvalid(problems=problems):
            faults = list(problems)
        case PropositionMissing(path=path):
            faults = [as_sent(Fault(path, str(error).partition(": ")[2]))]
        case _:
            faults = []
    return ArticleRefused(
        code=error.code,
        message=str(error),
        problems=[Problem(path=each.path, message=each.message) for each in faults],
    )


@strawberry.type(description="What can be recorded.")
class Mutation:
    loaded: strawberry.Private[Loaded] = own(default_factory=fresh)

    @strawberry.mutation(description="record an article, or its next revision")
    async def record_article(
        self,
        info: Info[Context, Any],
        input: Annotated[ArticleInput, arg("the article")],
        wait_seconds: Annotated[float, arg(_WAIT)] = 5.0,
    ) -> ArticleOutcome:
        return (await _record(info, [input], wait_seconds))[0]

    @strawberry.mutation(description="record up to 100 articles; one that is refused leaves the others standing")
    async def record_articles(
        self,
        info: Info[Context, Any],
        inputs: Annotated[list[ArticleInput], arg("the articles, at most 100")],
        wait_seconds: Annotated[float, arg(_WAIT)] = 5.0,
    ) -> list[ArticleOutcome]:
        if len(inputs) > 100:
            raise BadArgument(f"{len(inputs)} articles are sent; send at most 100 at once")
        return await _record(info, inputs, wait_seconds)

    @strawberry.mutation(description="withdraw an article: from here on its statements count no more")
    async def retract_article(
        self,
        info: Info[Context, Any],
        url: Annotated[str, arg("the URL that identifies it")],
        reason: Annotated[str, arg("why")],
        wait_seconds: Annotated[float, arg(_WAIT)] = 5.0,
    ) -> ArticleOutcome:
        try:
            event = documents.validated(ArticleRetracted, {"url": url, "reason": reason})
        except DocumentInvalid as error:
            return _refused(error)
        new = NewEvent.of(event, actor=info.context.actor)
        return (await _append(info, [new], [url], wait_seconds))[0]


async def _record(info: Info[Context, Any], inputs: list[ArticleInput], wait_s: float) -> list[Any]:
    articles: list[documents.Article | ArticleRefused] = []
    for given in inputs:
        try:
            articles.append(to_article(given))
        except DocumentInvalid as error:
            articles.append(_refused(error))
    good = [each for each in articles if isinstance(each, documents.Article)]
    new = [NewEvent.of_article(article, actor=info.context.actor) for article in good]
    recorded = await _append(info, new, [article.url for article in good], wait_s)
    for article, outcome in zip(good, recorded, strict=True):
        if isinstance(outcome, ArticleAccepted):
            outcome.warnings = [
                Problem(path=each.path, message=each.message) for each in map(as_sent, documents.warnings(article))
            ]
    outcomes = iter(recorded)
    return [each if isinstance(each, ArticleRefused) else next(outcomes) for each in articles]


async def _append(info: Info[Context, Any], new: list[NewEvent], urls: list[str], wait_s: float) -> list[Any]:
    """Append, wait until it is projected, and answer with what is selected of the articles."""
    if not 0 <= wait_s <= 30:
        raise BadArgument(f"waitSeconds is {wait_s}; wait 0 to 30 seconds")
    context = info.context
    outcomes = await context.append(new)
    last = max((each.position for each in outcomes if not isinstance(each, Refused)), default=0)
    projected = await context.projected.wait_for(last, wait_s)

    def answer(reader: Reader) -> list[Any]:
        if not projected:
            return [_outcome(each, None, projected=False) for each in outcomes]
        found = articles_by_url(reader.conn, reader.position, urls)
        articles = {url: Article.from_domain(article) for url, article in found.items()}
        answers = [_outcome(each, articles.get(url), projected=True) for each, url in zip(outcomes, urls, strict=True)]
        raw = cast(Any, info)._raw_info
        definition = raw.parent_type.fields[raw.field_name]
        below = [node.selection_set for node in raw.field_nodes if node.selection_set is not None]
        assert context.selection is not None
        context.selection.descend(reader, definition, answers, below)
        return answers

    try:
        return await context.read(answer)
    except NothingProjected:
        # It is in the log all the same; whoever projects first will find it there.
        return [_outcome(each, None, projected=False) for each in outcomes]


def _outcome(outcome: Outcome, article: Article | None, *, projected: bool) -> Any:
    match outcome:
        case Appended(position, recorded_at):
            return ArticleAccepted(
                position=Position(position),
                recorded_at=Instant(recorded_at),
                projected=projected,
                article=article,
                warnings=[],
            )
        case Repeated(position, retracted_at):
            return ArticleRepeated(
                position=Position(position),
                retracted_at=None if retracted_at is None else Position(retracted_at),
                projected=projected,
                article=article,
            )
        case Refused(error):
            return _refused(error)
