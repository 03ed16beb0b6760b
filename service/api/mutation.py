"""The mutations. What becomes of an article is data, never an error."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import strawberry
from strawberry.types import Info

from service import log, projector
from service.api import lookups, watching
from service.api.context import Context
from service.api.fields import NEEDS, arg, related
from service.api.inputs import ArticleInput, Document, as_sent, to_article
from service.api.scalars import Instant, Position
from service.api.types import Article, Event, PolicyArgument, Problem, Verdict
from service.domain import article as documents
from service.domain import policies
from service.domain.errors import BadArgument, DocumentInvalid, NothingProjected, OnrecordError, PropositionMissing
from service.domain.errors import Problem as Fault
from service.domain.events import (
    ArticleRetracted,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    MergeUndone,
    PolicyAdopted,
    Relation,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.domain.events import Event as Decision
from service.domain.policies import State
from service.domain.scopes import Scope
from service.log import Appended, NewEvent, Outcome, Refused, Repeated
from service.queries.articles import articles_by_url
from service.queries.snapshot import View

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


@strawberry.type(description="The decision is in the log, for good; another one can undo it.")
class CurationAccepted:
    position: Position = strawberry.field(description="where it is recorded")
    recorded_at: Instant = strawberry.field(description="when it was recorded")
    projected: bool = strawberry.field(description="whether beliefs hold it already; if not they soon will")

    @related(lookups.event_at, description="the event, with the beliefs that it changed")
    def event(self) -> Event | None: ...


@strawberry.type(description="The same was decided before; nothing changed.")
class CurationRepeated:
    position: Position = strawberry.field(description="where it was first recorded")
    projected: bool = strawberry.field(description="whether beliefs hold it")

    @related(lookups.event_at, description="the event, with the beliefs that it changed")
    def event(self) -> Event | None: ...


@strawberry.type(description="It cannot be decided so; nothing was recorded.")
class CurationRefused:
    code: str = strawberry.field(description="why, for programs")
    message: str = strawberry.field(description="why, and what to do")
    problems: list[Problem] = strawberry.field(description="each argument that is wrong")


CurationOutcome = Annotated[
    CurationAccepted | CurationRepeated | CurationRefused,
    strawberry.union("CurationOutcome", description="What became of a decision."),
]


@strawberry.type(description="What a document would do to one claim.")
class BeliefPreview:
    slug: str = strawberry.field(description="the claim's slug")
    before: Verdict | None = strawberry.field(description="state and reason now; null where the claim would begin")
    after: Verdict | None = strawberry.field(description="state and reason if it were recorded")
    retroactive: bool = strawberry.field(description="whether it tells of a time before the latest that is known of")


@strawberry.type(description="What recording a document would do. Nothing was recorded.")
class ArticlePreview:
    policy: strawberry.ID = strawberry.field(description="the policy that was asked")
    moves: list[BeliefPreview] = strawberry.field(description="the beliefs that it would move, by slug")
    warnings: list[Problem] = strawberry.field(description="what would be kept as sent although it can hardly be meant")


PreviewOutcome = Annotated[
    ArticlePreview | ArticleRepeated | ArticleRefused,
    strawberry.union("PreviewOutcome", description="What would become of an article."),
]


def _told(error: OnrecordError) -> dict[str, Any]:
    match error:
        case DocumentInvalid(problems=problems):
            faults = list(problems)
        case PropositionMissing(path=path):
            faults = [as_sent(Fault(path, str(error).partition(": ")[2]))]
        case _:
            faults = []
    problems = [Problem(path=each.path, message=each.message) for each in faults]
    return {"code": error.code, "message": str(error), "problems": problems}


def _refused(error: OnrecordError) -> ArticleRefused:
    return ArticleRefused(**_told(error))


Reason = Annotated[str, arg("why, for those who come after; at most 10,000 characters")]
Wait = Annotated[float, arg(_WAIT)]


def _mutation(needs: Scope, *, description: str) -> Any:
    """A mutation, and the scope that it needs: its description says so, and by it the schema refuses."""
    said = f"{description} (needs the scope `{needs}`)"
    return cast(Any, strawberry.mutation)(description=said, metadata={NEEDS: needs})


@strawberry.type(description="What can be recorded. Each says which scope a token must have for it.")
class Mutation:
    @_mutation(Scope.RECORD, description="record an article, or its next revision")
    async def record_article(
        self,
        info: Info[Context, Any],
        input: Annotated[Document, arg("the article", sent_as=ArticleInput)],
        wait_seconds: Wait = 5.0,
    ) -> ArticleOutcome:
        return (await _record(info, [input], wait_seconds))[0]

    @_mutation(Scope.RECORD, description="record up to 100 articles; one that is refused leaves the others standing")
    async def record_articles(
        self,
        info: Info[Context, Any],
        inputs: Annotated[list[Document], arg("the articles, at most 100", sent_as=list[ArticleInput])],
        wait_seconds: Wait = 5.0,
    ) -> list[ArticleOutcome]:
        if len(inputs) > 100:
            raise BadArgument(f"{len(inputs)} articles are sent; send at most 100 at once")
        return await _record(info, inputs, wait_seconds)

    @_mutation(Scope.RECORD, description="withdraw an article: from here on its statements count no more")
    async def retract_article(
        self,
        info: Info[Context, Any],
        url: Annotated[str, arg("the URL that identifies it")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> ArticleOutcome:
        try:
            event = documents.validated(ArticleRetracted, {"url": url, "reason": reason})
        except DocumentInvalid as error:
            return _refused(error)
        new = NewEvent.of(event, actor=info.context.sender.actor)
        return (await _append(info, [new], [url], [[]], wait_seconds))[0]

    @_mutation(Scope.RECORD, description="say what recording an article would do, and record nothing")
    async def preview_article(
        self,
        info: Info[Context, Any],
        input: Annotated[Document, arg("the article", sent_as=ArticleInput)],
        policy: PolicyArgument = strawberry.UNSET,
    ) -> PreviewOutcome:
        try:
            article = to_article(input)
        except DocumentInvalid as error:
            return _refused(error)
        asked = None if policy is None or policy is strawberry.UNSET else policies.policy(policy)
        new = NewEvent.of_article(article, actor=info.context.sender.actor)
        return await info.context.read(lambda view: _preview(view, article, new, asked))

    @_mutation(Scope.CURATE, description="let a claim count for another from here on, or for the one that it negates")
    async def merge_claims(
        self,
        info: Info[Context, Any],
        claim: Annotated[str, arg("slug of the claim that is merged away")],
        into: Annotated[str, arg("slug of the claim that survives")],
        reason: Reason,
        opposite: Annotated[bool, arg("whether the claim is what the survivor negates")] = False,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        given = {"claim": claim, "into": into, "opposite": opposite or None, "reason": reason}
        return await _decide(info, ClaimsMerged, given, wait_seconds)

    @_mutation(Scope.CURATE, description="let what one speaker says count as said by another from here on")
    async def merge_speakers(
        self,
        info: Info[Context, Any],
        speaker: Annotated[str, arg("id of the speaker who is merged away")],
        into: Annotated[str, arg("id of the speaker who survives")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        given = {"speaker": speaker, "into": into, "reason": reason}
        return await _decide(info, SpeakersMerged, given, wait_seconds)

    @_mutation(Scope.CURATE, description="undo a merge: from here on everything counts where its own id says")
    async def undo_merge(
        self,
        info: Info[Context, Any],
        position: Annotated[Position, arg("where the merge was recorded")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        return await _decide(info, MergeUndone, {"position": position, "reason": reason}, wait_seconds)

    @_mutation(Scope.CURATE, description="say how a claim bears on another: shown, never inferred from")
    async def relate_claims(
        self,
        info: Info[Context, Any],
        claim: Annotated[str, arg("slug of the claim that bears on the other")],
        relation: Annotated[Relation, arg("how it does")],
        to: Annotated[str, arg("slug of the claim that it bears on")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        given = {"claim": claim, "relation": relation, "to": to, "reason": reason}
        return await _decide(info, ClaimsRelated, given, wait_seconds)

    @_mutation(
        Scope.CURATE, description="set the state of a claim under every policy, until it is lifted or ruled again"
    )
    async def rule_claim(
        self,
        info: Info[Context, Any],
        claim: Annotated[str, arg("slug of the claim")],
        state: Annotated[State, arg("the state it is to have")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        return await _decide(info, ClaimRuled, {"claim": claim, "state": state, "reason": reason}, wait_seconds)

    @_mutation(Scope.CURATE, description="let the policies decide on a claim again")
    async def lift_ruling(
        self,
        info: Info[Context, Any],
        claim: Annotated[str, arg("slug of the claim")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        return await _decide(info, RulingLifted, {"claim": claim, "reason": reason}, wait_seconds)

    @_mutation(Scope.ADMIN, description="choose the policy that is meant where none is named; it moves no belief")
    async def adopt_policy(
        self,
        info: Info[Context, Any],
        policy: Annotated[strawberry.ID, arg("the policy, such as corroborated@1")],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        return await _decide(info, PolicyAdopted, {"policy": policy, "reason": reason}, wait_seconds)

    @_mutation(Scope.ADMIN, description="erase a text for good, whichever article or retry brings it again")
    async def erase_text(
        self,
        info: Info[Context, Any],
        text_sha256: Annotated[
            str, strawberry.argument(name="textSha256", description="SHA-256 of the text, in hexadecimal digits")
        ],
        reason: Reason,
        wait_seconds: Wait = 5.0,
    ) -> CurationOutcome:
        return await _decide(info, TextErased, {"text_sha256": text_sha256, "reason": reason}, wait_seconds)


async def _decide(info: Info[Context, Any], kind: type[Decision], given: dict[str, Any], wait_s: float) -> Any:
    """Append a decision, wait until it is projected, and answer with what is selected of it."""
    _check_wait(wait_s)
    try:
        event = documents.validated(kind, given)
    except DocumentInvalid as error:
        watching.refused(error.code, str(error))
        told = [as_sent(problem) for problem in error.problems]
        return CurationRefused(**_told(DocumentInvalid(told)))
    context = info.context
    (outcome,) = await context.append([NewEvent.of(event, actor=context.sender.actor)])
    if isinstance(outcome, Refused):
        return CurationRefused(**_told(outcome.error))
    projected = await context.projected.wait_for(outcome.position, wait_s)
    answer: CurationAccepted | CurationRepeated
    if isinstance(outcome, Appended):
        at, recorded_at = Position(outcome.position), Instant(outcome.recorded_at)
        answer = CurationAccepted(position=at, recorded_at=recorded_at, projected=projected)
    else:
        answer = CurationRepeated(position=Position(outcome.position), projected=projected)
    return (await _answered(info, lambda _: [answer], [answer]))[0]


def _preview(
    view: View, article: documents.Article, new: NewEvent, asked: policies.Policy | None
) -> ArticlePreview | ArticleRepeated | ArticleRefused:
    (known,) = log.check(view.conn, [new])
    if isinstance(known, Refused):
        return _refused(known.error)
    if isinstance(known, Repeated):
        retracted_at = None if known.retracted_at is None else Position(known.retracted_at)
        return ArticleRepeated(
            position=Position(known.position), retracted_at=retracted_at, projected=True, article=None
        )
    policy = asked or view.policy
    change = projector.preview(view.conn, new.event, position=view.snapshot.head + 1, policies=[policy.id])
    return ArticlePreview(
        policy=strawberry.ID(policy.id),
        moves=[
            BeliefPreview(
                slug=each.claim,
                before=None if each.before is None else Verdict(**each.before._asdict()),
                after=None if each.after is None else Verdict(**each.after._asdict()),
                retroactive=each.retroactive,
            )
            for each in change.transitions
        ],
        warnings=_warnings(article),
    )


def _warnings(article: documents.Article) -> list[Problem]:
    return [Problem(path=each.path, message=each.message) for each in map(as_sent, documents.warnings(article))]


def _check_wait(wait_s: float) -> None:
    if not 0 <= wait_s <= 30:
        raise BadArgument(f"waitSeconds is {wait_s}; wait 0 to 30 seconds")


async def _answered(info: Info[Context, Any], make: Callable[[View], list[Any]], otherwise: list[Any]) -> list[Any]:
    """What `make` answers in a snapshot, with all that is selected of it; `otherwise` where nothing is projected."""

    def answer(view: View) -> list[Any]:
        answers = make(view)
        request = info.context.request
        assert request is not None
        field = request.plan(compiled=False).fields[cast(str, info.path.key)]
        return field.write(view, request.variables, answers)

    try:
        return await info.context.read(answer)
    except NothingProjected:
        # It is in the log all the same; whoever projects first will find it there.
        return otherwise


async def _record(info: Info[Context, Any], inputs: list[Document], wait_s: float) -> list[Any]:
    articles: list[documents.Article | ArticleRefused] = []
    for given in inputs:
        try:
            articles.append(to_article(given))
        except DocumentInvalid as error:
            watching.refused(error.code, str(error))
            articles.append(_refused(error))
    good = [each for each in articles if isinstance(each, documents.Article)]
    new = [NewEvent.of_article(article, actor=info.context.sender.actor) for article in good]
    warnings = [_warnings(article) for article in good]
    outcomes = iter(await _append(info, new, [article.url for article in good], warnings, wait_s))
    return [each if isinstance(each, ArticleRefused) else next(outcomes) for each in articles]


async def _append(
    info: Info[Context, Any], new: list[NewEvent], urls: list[str], warnings: list[list[Problem]], wait_s: float
) -> list[Any]:
    """Append, wait until it is projected, and answer with what is selected of the articles."""
    _check_wait(wait_s)
    context = info.context
    outcomes = await context.append(new)
    last = max((each.position for each in outcomes if not isinstance(each, Refused)), default=0)
    projected = await context.projected.wait_for(last, wait_s)
    bare = [_outcome(each, None, told, projected=False) for each, told in zip(outcomes, warnings, strict=True)]

    def answer(view: View) -> list[Any]:
        if not projected:
            return bare
        articles = articles_by_url(view, urls)
        return [
            _outcome(each, articles.get(url), told, projected=True)
            for each, url, told in zip(outcomes, urls, warnings, strict=True)
        ]

    return await _answered(info, answer, bare)


def _outcome(outcome: Outcome, article: Any, warnings: list[Problem], *, projected: bool) -> Any:
    match outcome:
        case Appended(position, recorded_at, _):
            return ArticleAccepted(
                position=Position(position),
                recorded_at=Instant(recorded_at),
                projected=projected,
                article=article,
                warnings=warnings,
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
