"""The types of the API: what is promised to others, each field with its meaning.

A type is never made: its fields are read off rows, which are the domain's own objects,
and `reads` says how where the names differ. A field that needs more of the database
names a loader: one of `lookups`, or made by `loaders` where no other field has it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import orjson
import strawberry

from service import tree
from service.api import lookups
from service.api.fields import Arguments, Connection, Dated, Kept, arg, reads, related
from service.api.loaders import many
from service.api.scalars import Axis, Instant, Json, Moment, Position
from service.domain import policies
from service.domain.article import Certainty, ChangeOf, Form, Stance
from service.domain.article import Reader as ReaderKind
from service.domain.errors import NotInTree
from service.domain.events import Envelope, EventType, Relation, leaf, sha256
from service.domain.policies import Reason, State
from service.proof import encoded
from service.queries import articles as stored_articles
from service.queries import beliefs as stored_beliefs
from service.queries import claims as stored_claims
from service.queries import statements as stored_statements
from service.queries.claims import ClaimFilter
from service.queries.paging import By, cut
from service.queries.snapshot import AsOf, View
from service.queries.statements import StatementFilter

PolicyArgument = Annotated[
    strawberry.ID | None,
    arg("the policy to believe under, such as unanimous@1:min_speakers=2; the one in force by default"),
]


@strawberry.interface(description="Something with an id that holds across the whole API.")
class Node:
    id: strawberry.ID = strawberry.field(description="names it to `node`; opaque")


@strawberry.type(description="One thing wrong with what was sent.")
class Problem:
    path: str = strawberry.field(description="the field, as it was sent; empty for the whole")
    message: str = strawberry.field(description="what is wrong, and what to do")


# --- claims -----------------------------------------------------------------------


@reads(stored_claims.Claim, id=lambda claim: f"Claim:{claim.claim}", slug="claim")
@strawberry.type(description="A proposition that may be so, the same one for all outlets.")
class Claim(Node):
    slug: str = strawberry.field(description="what names the claim across time")
    proposition: str = strawberry.field(description="what is claimed, in the words it was first put into")
    first_position: Position = strawberry.field(description="where the log first named it")

    @related(lookups.topic_of, description="what it is about; null where no article says")
    def topic(self) -> "Topic | None": ...

    @related(
        many(
            "wordings",
            stored_claims.WORDINGS.order,
            lambda claim: claim.claim,
            lambda view, slugs, _, page: stored_claims.wordings(view, slugs, page),
        ),
        paged=True,
        description="how articles put it into words: the proposition first, then each that differs",
    )
    def wordings(self) -> "Connection[Wording]": ...

    @related(lookups.believed, description="what a policy makes of it")
    def belief(self, policy: PolicyArgument = None) -> "Belief": ...

    @related(
        lookups.history,
        paged=True,
        description="how its state came about, oldest first",
    )
    def history(
        self,
        axis: Annotated[Axis | None, arg("along which time; RECORDED by default")] = None,
        policy: PolicyArgument = None,
    ) -> "Connection[Transition]": ...

    @related(
        lookups.also_known_as,
        description="the slugs of the claims that are merged into it",
    )
    def also_known_as(self) -> list[str]: ...

    @related(lookups.relations, description="how it bears on other claims, and they on it")
    def relations(self) -> "list[Related]": ...

    @related(
        many(
            "statements",
            stored_statements.STATEMENTS.order,
            lambda claim: claim.claim,
            lambda view, slugs, arguments, page: stored_statements.of_claims(
                view, slugs, StatementFilter(**lookups.filters_of(arguments)), page
            ),
        ),
        paged=True,
        description="what was said on it, newest in the log first",
    )
    def statements(
        self,
        stance: Annotated[Stance | None, arg("only with this stance")] = None,
        speaker: Annotated[str | None, arg("only of the speaker with this slug")] = None,
        standing: Annotated[bool | None, arg("only those that stand, or that do not")] = None,
        live: Annotated[bool | None, arg("only those that are live, or that are not")] = None,
    ) -> "Connection[Statement]": ...

    @related(
        many(
            "speakers",
            stored_statements.CLAIM_SPEAKERS.order,
            lambda claim: claim.claim,
            lambda view, slugs, arguments, page: stored_statements.speakers_of_claims(
                view, slugs, arguments.get("stance"), page
            ),
        ),
        paged=True,
        description="who stands on it, who moved last first",
    )
    def speakers(
        self, stance: Annotated[Stance | None, arg("only those who stand at this stance")] = None
    ) -> "Connection[ClaimSpeaker]": ...


@strawberry.type(description="How one claim bears on another: shown, never inferred from.")
class Related:
    relation: Relation = strawberry.field(description="refines or contradicts")
    position: Position = strawberry.field(description="where that was recorded")
    reason: str = strawberry.field(description="why")

    @related(lookups.claim_of, description="the claim that bears on the other")
    def claim(self) -> "Claim": ...

    @related(lookups.related_to, description="the claim that it bears on")
    def to(self) -> "Claim": ...


@strawberry.type(description="How an article puts a claim into words.")
class Wording:
    proposition: str = strawberry.field(description="the words")
    language: str | None = strawberry.field(description="their language, as a BCP 47 tag; null where not known")
    position: Position = strawberry.field(description="the event that holds them")

    @related(lookups.article_at, description="the article that words it so")
    def article(self) -> "Article": ...


@strawberry.type(description="A state and why.")
class Verdict:
    state: State = strawberry.field(description="asserted, denied or unverified")
    reason: Reason = strawberry.field(description="why")


@reads(
    contested=lambda belief: belief.asserting > 0 and belief.denying > 0,
    single_speaker=lambda belief: belief.asserting + belief.denying == 1,
)
@strawberry.type(description="What a policy makes of a claim. Never a truth: it tells what is said, and by whom.")
class Belief:
    state: State = strawberry.field(description="asserted, denied or unverified")
    reason: Reason = strawberry.field(description="why")
    policy: strawberry.ID = strawberry.field(description="the policy, in its canonical spelling")
    asserting: int = strawberry.field(description="how many speakers stand at asserts")
    denying: int = strawberry.field(description="how many speakers stand at denies")
    withholding: int = strawberry.field(description="how many speakers stand at withholds")
    contested: bool = strawberry.field(description="whether some assert it and some deny it")
    single_speaker: bool = strawberry.field(description="whether exactly one speaker takes a side")
    unruled: "Verdict" = strawberry.field(description="what the policy says alone, whatever an editor ruled")
    since: "Transition" = strawberry.field(description="the transition that set the present state and reason")

    @related(
        many(
            "because",
            stored_statements.STATEMENTS.order,
            lambda belief: (belief.claim, belief.reason),
            lambda view, keys, _, page: stored_statements.grounds_of(view, keys, page),
        ),
        paged=True,
        description="the standing statements on which the reason rests",
    )
    def because(self) -> "Connection[Statement]": ...


@reads(
    cursor=lookups.place_of,
    from_=lambda transition: transition.before and transition.before.state,
    to=lambda transition: transition.after and transition.after.state,
    reason=lambda transition: transition.after and transition.after.reason,
    slug="claim",
)
@strawberry.type(description="One event changing the state or reason of one claim under one policy.")
class Transition:
    cursor: str = strawberry.field(description="position and claim: its place in the stream of transitions")
    policy: strawberry.ID = strawberry.field(description="the policy")
    position: Position = strawberry.field(description="where it was recorded")
    recorded_at: Instant = strawberry.field(description="when it was recorded")
    effective_at: Instant | None = strawberry.field(
        description="when it was said: the earliest of the statements that began or ceased to stand"
    )
    retroactive: bool = strawberry.field(
        description="whether it tells of a time before the latest that was known of when it was recorded"
    )
    from_: State | None = strawberry.field(name="from", description="the state before; null where the claim begins")
    to: State | None = strawberry.field(description="the state after; null where the claim is merged away")
    reason: Reason | None = strawberry.field(description="why, after; null where the claim is merged away")
    slug: str = strawberry.field(description="the slug of the claim, as it was then")

    @related(lookups.claim_of, description="the claim")
    def claim(self) -> "Claim": ...

    @related(lookups.moves, paged=True, description="what decided: who moved on the claim, by speaker")
    def moves(self) -> "Connection[Move]": ...

    @related(lookups.event_at, description="the event that made it")
    def event(self) -> "Event": ...


@strawberry.type(description="One speaker's standing statement on a claim giving way to another.")
class Move:
    @related(lookups.speaker_of, description="who moved")
    def speaker(self) -> "Speaker": ...

    @related(lookups.old, name="from", description="what stood before; null: the speaker did not stand on the claim")
    def from_(self) -> "Statement | None": ...

    @related(lookups.new, description="what stands after; null: the speaker stands on the claim no more")
    def to(self) -> "Statement | None": ...


@strawberry.type(description="A speaker with what they stand at on one claim.")
class ClaimSpeaker:
    since_position: Position = strawberry.field(description="from which position on the statement stands")

    @related(lookups.speaker_of, description="the speaker")
    def speaker(self) -> "Speaker": ...

    @related(lookups.statement_at, description="the statement that stands")
    def statement(self) -> "Statement": ...

    @related(
        many(
            "stances",
            stored_statements.STANCES.order,
            lambda speaker: (speaker.claim, speaker.speaker),
            lambda view, pairs, _, page: stored_statements.stances_on_claims(view, pairs, page),
        ),
        paged=True,
        description="how the speaker's stance on the claim moved, in order of when it was said",
    )
    def stances(self) -> "Connection[Statement]": ...


class Changed(NamedTuple):
    """How the belief of a claim under a policy differs between two positions."""

    claim: str
    before: stored_beliefs.Belief | None
    after: stored_beliefs.Belief | None
    policy: policies.Policy
    start: int
    to: int


@reads(
    slug="claim",
    before=lambda change: change.before and Dated(AsOf(change.start), True, change.before),
    after=lambda change: change.after and Dated(AsOf(change.to), True, change.after),
)
@strawberry.type(description="A claim whose belief differs between two positions.")
class BeliefChange:
    slug: str = strawberry.field(description="the claim's slug")
    before: Belief | None = strawberry.field(description="what was believed at the first; null where it was not there")
    after: Belief | None = strawberry.field(description="what was believed at the second; null where it is not there")

    @related(lookups.claim_of, description="the claim")
    def claim(self) -> "Claim | None": ...

    @related(lookups.transitions, paged=True, description="what happened between the two")
    def transitions(self) -> "Connection[Transition]": ...


def _by_state(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    return [
        StateCounts(**{state.value: count for state, count in lookups.counts(view, page).items()}) for page in parents
    ]


@strawberry.type(description="How many claims have each state.")
class StateCounts:
    asserted: int = strawberry.field(description="how many are asserted")
    denied: int = strawberry.field(description="how many are denied")
    unverified: int = strawberry.field(description="how many are unverified")


@strawberry.type(description="A page of a list of claims.")
class ClaimConnection(Connection[Claim]):
    @related(lookups.total_count, description="how many claims the whole filter lets through")
    def total_count(self) -> int: ...

    @related(_by_state, description="how many of them have each state")
    def by_state(self) -> StateCounts: ...


# --- statements -------------------------------------------------------------------


@reads(
    stored_statements.Statement,
    id=lambda said: f"Statement:{said.position}.{said.ordinal}",
    name="speaker_name",
)
@strawberry.type(description="One speaker's stance on one claim, as one article reports it.")
class Statement(Node):
    stance: Stance = strawberry.field(description="what the speaker does with the claim that the article names")
    counts_as: Stance = strawberry.field(
        description="the same on the claim it counts for: the other side, where it is merged into its opposite"
    )
    certainty: Certainty | None = strawberry.field(description="how sure the speaker sounds")
    form: Form | None = strawberry.field(description="how the article gives the words")
    role: str | None = strawberry.field(description="the speaker's role, as this article gives it")
    organisation: str | None = strawberry.field(description="the speaker's organisation, as this article gives it")
    bloc: str | None = strawberry.field(description="the speaker's bloc, as this article gives it")
    name: str = strawberry.field(description="the speaker's name, as printed")
    quote: str = strawberry.field(description="the words the stance was read from, verbatim")
    start: int | None = strawberry.field(description="where the quote begins in the text, in code points from 0")
    quote_verified: bool = strawberry.field(description="whether the quote was found in the text when it was recorded")
    said_at: Moment | None = strawberry.field(description="when it was said, as sent")
    effective_at: Instant = strawberry.field(description="the latest moment at which it can have been said")
    position: Position = strawberry.field(description="the event that holds it")
    ordinal: int = strawberry.field(description="its place in that event's document, from 0")
    live: bool = strawberry.field(description="whether its article has neither dropped nor retracted it")

    @related(lookups.claim_of, description="the claim it is on")
    def claim(self) -> "Claim": ...

    @related(lookups.speaker_of, description="whose stance it is")
    def speaker(self) -> "Speaker": ...

    @related(lookups.article_at, description="the article revision that reports it")
    def article(self) -> "Article": ...

    @related(
        lookups.stands, description="whether, of this speaker's live statements on the claim, it is the one that counts"
    )
    def standing(self) -> bool: ...


@reads(kind="read_by_kind", id="read_by_id", version="read_by_version")
@strawberry.type(description="Who read the statements out of an article.")
class ReadBy:
    kind: ReaderKind = strawberry.field(description="a person or a model")
    id: str = strawberry.field(description="which one")
    version: str | None = strawberry.field(description="of a model: which version")


@strawberry.type(description="An article withdrawn: its statements count no more from this position on.")
class Retraction:
    position: Position = strawberry.field(description="where it was retracted")
    recorded_at: Instant = strawberry.field(description="when that was recorded")
    reason: str = strawberry.field(description="why")


@reads(
    stored_articles.Article,
    id=lambda article: f"Article:{article.position}",
    read_by=lambda article: None if article.read_by_kind is None or article.read_by_id is None else article,
)
@strawberry.type(description="What an outlet published, identified by its URL: one revision of it.")
class Article(Node):
    url: str = strawberry.field(description="what identifies it")
    headline: str | None = strawberry.field(description="its headline")
    published_at: Moment = strawberry.field(description="when it was published, as sent")
    language: str | None = strawberry.field(description="its language, as a BCP 47 tag")
    revision: int = strawberry.field(description="which version of the article this is, from 1")
    revised_at: Moment | None = strawberry.field(description="when the outlet published this revision")
    change: ChangeOf | None = strawberry.field(description="what this revision mends")
    read_by: ReadBy | None = strawberry.field(description="who read the statements out of it")
    text_sha256: str | None = strawberry.field(
        name="textSha256", description="SHA-256 of the text, in hexadecimal digits; null where no text is known"
    )
    quotes_verified: bool = strawberry.field(
        description="whether every quote was found in the text when it was recorded"
    )
    position: Position = strawberry.field(description="where this revision was recorded")
    first_position: Position = strawberry.field(description="where the article was first recorded")
    live: bool = strawberry.field(description="whether its statements count: neither revised nor retracted")

    @related(lookups.outlet_of, description="who published it")
    def outlet(self) -> "Outlet": ...

    @related(
        many(
            "revisions",
            stored_articles.REVISIONS.order,
            lambda article: article.url,
            lambda view, urls, _, page: stored_articles.revisions(view, urls, page),
        ),
        paged=True,
        description="all its revisions, first to last",
    )
    def revisions(self) -> "Connection[Article]": ...

    @related(lookups.retraction, description="how this revision was retracted; null if it was not")
    def retraction(self) -> Retraction | None: ...

    @related(
        lookups.text, kept=Kept.NOT, description="the full text, where it is held; never cached, since it can be erased"
    )
    def text(self) -> str | None: ...

    @related(
        lookups.erasure, kept=Kept.NOT, description="the event that erased its text, for good; null where none did"
    )
    def erasure(self) -> "Event | None": ...

    @related(
        many(
            "claims",
            stored_claims.OF_ARTICLE.order,
            lambda article: article.position,
            lambda view, at, _, page: stored_claims.claims_of_articles(view, at, page),
            where=lambda article: (ClaimFilter(article=article.position), None),
        ),
        paged=True,
        description="the claims it speaks of, in its own order",
    )
    def claims(self) -> "ClaimConnection": ...

    @related(
        many(
            "statements",
            stored_statements.IN_DOCUMENT.order,
            lambda article: article.position,
            lambda view, at, arguments, page: stored_statements.of_articles(
                view, at, StatementFilter(**lookups.filters_of(arguments)), page
            ),
        ),
        paged=True,
        description="the statements it reports, in its own order",
    )
    def statements(
        self,
        stance: Annotated[Stance | None, arg("only with this stance")] = None,
        claim: Annotated[str | None, arg("only on the claim with this slug")] = None,
        speaker: Annotated[str | None, arg("only of the speaker with this slug")] = None,
    ) -> "Connection[Statement]": ...

    @related(lookups.event_at, description="the event that recorded this revision")
    def event(self) -> "Event": ...


# --- outlets, speakers, topics ------------------------------------------------------


@reads(stored_articles.Outlet, id=lambda outlet: f"Outlet:{outlet.outlet}", slug="outlet")
@strawberry.type(description="Who publishes articles.")
class Outlet(Node):
    slug: str = strawberry.field(description="what names it")
    name: str = strawberry.field(description="its name, as its latest article gives it")
    first_position: Position = strawberry.field(description="where the log first named it")

    @related(
        many(
            "articles",
            stored_articles.ARTICLES.order,
            lambda outlet: outlet.outlet,
            lambda view, slugs, _, page: stored_articles.articles_of_outlets(view, slugs, page),
        ),
        paged=True,
        description="its articles, newest in the log first",
    )
    def articles(self) -> "Connection[Article]": ...


@reads(stored_articles.Speaker, id=lambda speaker: f"Speaker:{speaker.speaker}", slug="speaker")
@strawberry.type(description="Whose stance is reported: a person, a body, or an outlet in its own voice.")
class Speaker(Node):
    slug: str = strawberry.field(description="what names the speaker; `outlet:<slug>` is an outlet in its own voice")
    name: str = strawberry.field(description="the name, as the latest statement gives it")
    role: str | None = strawberry.field(description="the role, as the latest statement gives it")
    organisation: str | None = strawberry.field(description="the organisation, as the latest statement gives it")
    bloc: str | None = strawberry.field(description="the bloc, as the latest statement gives it")
    own_voice: bool = strawberry.field(description="whether this is an outlet speaking for itself")
    first_position: Position = strawberry.field(description="where the log first named the speaker")

    @related(
        many(
            "statements",
            stored_statements.STATEMENTS.order,
            lambda speaker: speaker.speaker,
            lambda view, slugs, arguments, page: stored_statements.of_speakers(
                view, slugs, StatementFilter(**lookups.filters_of(arguments)), page
            ),
        ),
        paged=True,
        description="what the speaker said, newest in the log first",
    )
    def statements(
        self,
        stance: Annotated[Stance | None, arg("only with this stance")] = None,
        claim: Annotated[str | None, arg("only on the claim with this slug")] = None,
        standing: Annotated[bool | None, arg("only those that stand, or that do not")] = None,
        live: Annotated[bool | None, arg("only those that are live, or that are not")] = None,
    ) -> "Connection[Statement]": ...

    @related(
        many(
            "stances",
            stored_statements.STANCES.order,
            lambda speaker: speaker.speaker,
            lambda view, slugs, arguments, page: stored_statements.stances_of_speakers(
                view, slugs, arguments.get("claim"), page
            ),
        ),
        paged=True,
        description="how the speaker's stances moved, in order of when it was said; live statements only",
    )
    def stances(
        self, claim: Annotated[str | None, arg("only on the claim with this slug")] = None
    ) -> "Connection[Statement]": ...

    @related(lookups.speaker_also_known_as, description="the ids of the speakers that are merged into this one")
    def also_known_as(self) -> list[str]: ...


@reads(slug=lambda slug: slug)
@strawberry.type(description="What claims are about.")
class Topic:
    slug: str = strawberry.field(description="what names it")

    @related(
        many(
            "claims",
            stored_claims.OF_TOPIC.order,
            lambda topic: topic,
            lambda view, slugs, _, page: stored_claims.claims_of_topics(view, slugs, page),
            where=lambda topic: (ClaimFilter(topic=topic), None),
        ),
        paged=True,
        description="its claims, by slug",
    )
    def claims(self) -> "ClaimConnection": ...


# --- the log ----------------------------------------------------------------------


def _checkpoint(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    signed = tree.newest(view.conn)
    told = signed and Checkpoint(
        origin=signed.origin,
        tree_size=signed.size,
        root=encoded(signed.root),
        note=signed.note,
        signed_at=Instant(signed.signed_at),
    )
    return [told for _ in parents]


def _inclusion_proof(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    asked = arguments.get("treeSize", arguments.get("tree_size"))
    signed = tree.newest(view.conn)
    size = asked if asked is not None else signed.size if signed is not None else 0
    covered = [event.position for event in parents if event.position <= size]
    try:
        proofs = tree.inclusion_proofs(view.conn, covered, size) if covered else {}
    except NotInTree:
        return [None for _ in parents]
    return [
        None
        if (made := proofs.get(event.position)) is None
        else InclusionProof(
            index=Position(made.index), tree_size=made.tree_size, hashes=[encoded(each) for each in made.hashes]
        )
        for event in parents
    ]


def _leaf(envelope: Envelope) -> str:
    return leaf(
        event_id=envelope.event_id,
        type=envelope.type,
        schema_version=envelope.schema_version,
        recorded_at=envelope.recorded_at,
        actor=envelope.actor,
        payload_sha256=sha256(envelope.payload),
    ).decode()


@reads(
    Envelope,
    id=lambda event: f"Event:{event.position}",
    event_id=lambda event: str(event.event_id),
    payload=lambda event: orjson.loads(event.payload),
    reason=lambda event: orjson.loads(event.payload).get("reason"),
    payload_sha256=lambda event: sha256(event.payload).hex(),
    leaf=_leaf,
)
@strawberry.type(description="An entry of the log.")
class Event(Node):
    position: Position = strawberry.field(description="its place in the log")
    type: EventType = strawberry.field(description="what happened")
    schema_version: int = strawberry.field(description="the version of the payload's shape")
    recorded_at: Instant = strawberry.field(description="when it was recorded; increases with the position")
    actor: str = strawberry.field(description="who really sent it")
    event_id: strawberry.ID = strawberry.field(description="what names it in every copy of the log")

    payload: Json = strawberry.field(description="what it holds, as stored")
    reason: str | None = strawberry.field(description="why it was decided; null of an article recorded or revised")
    payload_sha256: str = strawberry.field(
        name="payloadSha256", description="SHA-256 of the payload's canonical bytes, in hexadecimal digits"
    )
    leaf: str = strawberry.field(
        description="its leaf in the Merkle tree: the envelope in canonical JSON, the payload by its hash"
    )

    @related(
        many(
            "transitions",
            stored_beliefs.OF_EVENT.order,
            lambda event: event.position,
            lambda view, at, arguments, page: stored_beliefs.transitions_of_events(
                view, at, lookups.policy_of(view, arguments), page
            ),
        ),
        paged=True,
        description="the beliefs that it changed, by slug; under a policy that is projected",
    )
    def transitions(self, policy: PolicyArgument = None) -> "Connection[Transition]": ...

    @related(
        _inclusion_proof,
        kept=Kept.NOT,
        description="that it is in a tree of so many entries; null where that is not signed yet",
    )
    def inclusion_proof(
        self,
        tree_size: Annotated[int | None, arg("the size of the tree; the newest checkpoint's by default")] = None,
    ) -> "InclusionProof | None": ...

    @related(lookups.article_of_event, description="the article revision that it recorded or retracted")
    def article(self) -> Article | None: ...


@strawberry.type(description="The log, and how far it is projected.")
class Log:
    head: Position = strawberry.field(description="its last position")
    head_recorded_at: Instant | None = strawberry.field(description="when that was recorded; null while it is empty")
    projected: Position = strawberry.field(description="beliefs hold as of this position")
    stopped_at: Position | None = strawberry.field(
        description="the event that could not be projected; null as it should be"
    )
    because: str | None = strawberry.field(description="why projecting stopped")

    @related(lookups.origin, description="the name under which it is signed; null before it is signed")
    def origin(self) -> str | None: ...

    @related(lookups.key, description="what its signatures are verified with, as C2SP signed-note writes it")
    def verifier_key(self) -> str | None: ...

    @related(_checkpoint, description="the newest signed checkpoint; null before one is signed")
    def checkpoint(self) -> "Checkpoint | None": ...

    @related(
        lookups.state_digest,
        description="all that is believed under one policy, in one line by which two installations compare",
    )
    def state_digest(self, policy: PolicyArgument = None) -> str: ...


@strawberry.type(description="What the log signed for: so many entries with this root.")
class Checkpoint:
    origin: str = strawberry.field(description="the name under which it is signed")
    tree_size: int = strawberry.field(description="how many entries it covers")
    root: str = strawberry.field(description="the RFC 6962 root over their leaves, in base64")
    note: str = strawberry.field(description="the signed note, as C2SP tlog-checkpoint writes it")
    signed_at: Instant = strawberry.field(description="when it was signed")


@strawberry.type(description="That an entry is in the tree of a checkpoint.")
class InclusionProof:
    index: Position = strawberry.field(description="the leaf's place in the tree, from 0: its position less one")
    tree_size: int = strawberry.field(description="how many entries the tree has")
    hashes: list[str] = strawberry.field(description="the hashes that lead from the leaf to the root, in base64")


@strawberry.type(description="What a replay makes of one claim.")
class Outcome:
    state: State = strawberry.field(description="asserted, denied or unverified")
    reason: Reason = strawberry.field(description="why")
    asserting: int = strawberry.field(description="how many speakers stand at asserts")
    denying: int = strawberry.field(description="how many speakers stand at denies")
    withholding: int = strawberry.field(description="how many speakers stand at withholds")


@reads(slug="claim")
@strawberry.type(description="A claim of which two outcomes differ.")
class Difference:
    slug: str = strawberry.field(description="the claim's slug")
    before: Outcome | None = strawberry.field(description="what it is compared with; null: the claim is not there")
    after: Outcome | None = strawberry.field(description="what comes out; null: nobody who counts speaks of it")


@reads(
    policy="replay.policy",
    position="replay.position",
    against="against.policy",
    claims="replay.claims",
    moved=lambda made: len(made.moved),
)
@strawberry.type(description="The log folded anew, from its beginning, and what comes out differently.")
class Replay:
    policy: strawberry.ID = strawberry.field(description="the policy that was replayed")
    position: Position = strawberry.field(description="the position up to which it was")
    against: strawberry.ID = strawberry.field(description="the policy that it is compared with")
    stored: bool = strawberry.field(description="whether it is compared with what is stored, not with another replay")
    claims: int = strawberry.field(description="how many claims there are")
    moved: int = strawberry.field(description="of how many the state or the reason differs")

    @related(
        many(
            "differences",
            (By("claim", "text"),),
            lambda comparison: comparison,
            lambda _, made, __, page: [
                cut((((each.claim,), each) for each in of.differences), (By("claim", "text"),), page) for of in made
            ],
            name_of=lambda comparison: f"{comparison.replay.policy} {comparison.replay.position}",
        ),
        paged=True,
        description="the claims of which state, reason or counts differ, by slug",
    )
    def differences(self) -> "Connection[Difference]": ...


@strawberry.type(description="A named, versioned rule from standing statements to a state.")
class Policy:
    id: strawberry.ID = strawberry.field(description="its canonical spelling")
    name: str = strawberry.field(description="its name")
    version: int = strawberry.field(description="its version; the rule of a version never changes")
    description: str = strawberry.field(description="its rule, in a sentence")
    in_force: bool = strawberry.field(description="whether it is meant where none is named")
    projected: bool = strawberry.field(description="whether lists can be filtered and ordered by it")

    @classmethod
    def from_domain(cls, policy: policies.Policy, *, in_force: bool, projected: bool) -> "Policy":
        return cls(
            id=strawberry.ID(policy.id),
            name=policy.name,
            version=policy.version,
            description=policy.rule.__doc__ or "",
            in_force=in_force,
            projected=projected,
        )
