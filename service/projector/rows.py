"""Rows: what a batch of events comes to in the read tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, assert_never

from service import tables
from service.domain import moment
from service.domain.article import Article, Claim
from service.domain.belief import Change, RecordedStatement, Standing
from service.domain.events import (
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    Event,
    MergeUndone,
    PolicyAdopted,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.projector.loading import Known
from service.tables import OPEN

#: The text-search dictionary for a language, by its primary BCP 47 subtag.
_DICTIONARIES: Final[Mapping[str, str]] = {
    "ar": "arabic",
    "hy": "armenian",
    "eu": "basque",
    "ca": "catalan",
    "da": "danish",
    "nl": "dutch",
    "en": "english",
    "fi": "finnish",
    "fr": "french",
    "de": "german",
    "el": "greek",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "ga": "irish",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "no": "norwegian",
    "nb": "norwegian",
    "nn": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "es": "spanish",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}


@lru_cache(maxsize=1024)
def dictionary(language: str | None) -> str:
    """The name of PostgreSQL's dictionary for a language; `simple` where there is none.

    >>> dictionary("en-GB"), dictionary("uk"), dictionary(None)
    ('english', 'simple', 'simple')
    """
    return _DICTIONARIES.get((language or "").split("-")[0].lower(), "simple")


@lru_cache(maxsize=65536)
def _written(instant: datetime) -> str:
    """An instant as it is sent: articles share theirs, and what the driver makes of one costs more than the row."""
    return instant.isoformat()


Row = dict[str, Any]


def _placed(statement: RecordedStatement) -> Row:
    """What the rows of a statement and of its standing have in common."""
    row = statement._asdict()
    row["effective_at"], row["published_end"] = _written(statement.effective_at), _written(statement.published_end)
    return row


@dataclass(slots=True)
class Spans:
    """Rows of one table that hold from a position on, until another takes their place."""

    ended: list[Row] = field(default_factory=list[Row])
    open_by_key: dict[tuple[Any, ...], Row] = field(default_factory=dict[tuple[Any, ...], Row])
    closed: list[Row] = field(default_factory=list[Row])  #: key and end of rows that were there before.

    def open(self, key: tuple[Any, ...], row: Row) -> None:
        row["until_position"] = OPEN
        self.open_by_key[key] = row

    def close(self, key: tuple[Any, ...], names: tuple[str, ...], position: int) -> None:
        """End the row of this key that is open: one of this batch, or else one written before."""
        row = self.open_by_key.pop(key, None)
        if row is not None:
            row["until_position"] = position
            self.ended.append(row)
        else:
            self.closed.append({**dict(zip(names, key, strict=True)), "until_position": position})

    def opened(self) -> list[Row]:
        """The rows of this batch."""
        return [*self.ended, *self.open_by_key.values()]


class Batch:
    """The rows that a batch of events comes to."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.touched: Collection[str] = ()  #: the claims that the fold was told of or met.
        self.outlets: dict[str, Row] = {}
        self.speakers: dict[str, Row] = {}
        self.topics: dict[str, Row] = {}
        self.dictionaries: dict[str, Row] = {}
        self.claims: dict[str, Row] = {}
        self.named_topics: list[Row] = []
        self.wordings: list[Row] = []
        self.retractions: list[Row] = []
        self.articles = Spans()
        self.statements = Spans()
        self.standings = Spans()
        self.tallies = Spans()
        self.sums: list[Row] = []
        self.unsummed: list[Row] = []  #: the keys of sums that are not to be there, if they are.
        self._moved: dict[str, bool] = {}  # the claims on which somebody moved, and whether one left
        self.transitions = Spans()
        self.merges = Spans()
        self.rulings = Spans()
        self.relations: list[Row] = []
        self.adoptions: list[Row] = []

    def take(
        self,
        event: Event,
        change: Change,
        standings: Mapping[str, Standing],
        known: dict[str, Known],
        *,
        whole: bool = True,
    ) -> None:
        """Add what one event comes to; if not `whole`, only what it comes to for the claims in it."""
        position, before = change.position, change.before
        if whole and before is not None and before.position is not None:
            self.articles.close((before.position,), ("position",), position)
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                assert change.after is not None
                first_position = change.after.first_position
                if whole:
                    self._article(article, position, first_position, verified=event.quotes_verified is True)
                for claim in article.claims:
                    self._claim(claim, article, position, standings, known)
                self._statements(article, change.began, verified=event.quotes_verified is True)
            case ArticleRetracted(url=url, reason=reason):
                assert before is not None
                if whole:
                    row = {"position": position, "url": url, "revision": before.revision, "reason": reason}
                    self.retractions.append(row)
            case ClaimsMerged(reason=reason) | SpeakersMerged(reason=reason):
                merge = change.merge
                assert merge is not None
                if whole:
                    row = {"position": position, "kind": merge.kind, "merged": merge.merged, "survivor": merge.into}
                    self.merges.open((position,), {**row, "opposite": merge.opposite, "reason": reason})
            case MergeUndone(position=made):
                if whole:
                    self.merges.close((made,), ("position",), position)
            case ClaimRuled(claim=slug, state=state, reason=reason):
                self.rulings.close((slug,), ("claim",), position)
                row = {"claim": slug, "position": position, "state": state, "reason": reason}
                self.rulings.open((slug,), row)
            case RulingLifted(claim=slug):
                self.rulings.close((slug,), ("claim",), position)
            case ClaimsRelated(claim=slug, relation=relation, to=to, reason=reason):
                row = {"claim": slug, "relation": relation, "to_claim": to, "position": position, "reason": reason}
                self.relations.append(row)
            case PolicyAdopted(policy=adopted, reason=reason):
                self.adoptions.append({"position": position, "policy": adopted, "reason": reason})
            case TextErased():
                pass
            case _:
                assert_never(event)
        for each in change.ended:
            key = (each.claim, each.position, each.ordinal)
            self.statements.close(key, ("claim", "position", "ordinal"), position)
        for old, new in change.moves:
            moved = old or new
            assert moved is not None
            if old is not None:
                self.standings.close((old.claim, old.speaker), ("claim", "speaker"), position)
            self._moved[moved.claim] = new is None or self._moved.get(moved.claim, False)
            if new is not None:
                self.standings.open((new.claim, new.speaker), {**_placed(new), "since_position": position})
        for claim, tally in change.tallies.items():
            self.tallies.close((claim,), ("claim",), position)
            if tally is not None:
                counts = {"asserting": tally.asserting, "denying": tally.denying, "withholding": tally.withholding}
                self.tallies.open((claim,), {"claim": claim, "position": position, **counts})
        for each in change.transitions:
            key = (each.policy, each.claim)
            self.transitions.close(key, ("policy", "claim"), position)
            self.transitions.open(
                key,
                {
                    "policy": each.policy,
                    "claim": each.claim,
                    "position": position,
                    "from_state": None if each.before is None else each.before.state,
                    "from_reason": None if each.before is None else each.before.reason,
                    "to_state": None if each.after is None else each.after.state,
                    "to_reason": None if each.after is None else each.after.reason,
                    "effective_at": each.effective_at and _written(each.effective_at),
                    "retroactive": each.retroactive,
                },
            )

    def sum_up(self, standings: Mapping[str, Standing]) -> None:
        """Add the sums of the claims on which somebody moved, as they are in the end."""
        for claim, left in self._moved.items():
            standing = standings.get(claim)
            if standing is not None and standing.speakers > tables.SUMMED_ABOVE:
                self.sums.append({"claim": claim, **standing.sums()._asdict()})
            elif left:
                self.unsummed.append({"claim": claim})

    def _article(self, article: Article, position: int, first_position: int, *, verified: bool) -> None:
        read_by, words = article.read_by, dictionary(article.language)
        self.dictionaries.setdefault(words, {"dictionary": words})
        self.outlets.setdefault(article.outlet.id, {"outlet": article.outlet.id, "first_position": position})
        self.articles.open(
            (position,),
            {
                "position": position,
                "url": article.url,
                "revision": article.revision,
                "first_position": first_position,
                "outlet": article.outlet.id,
                "outlet_name": article.outlet.name,
                "headline": article.headline,
                "published_at": article.published_at,
                "published_end": _written(moment.end(article.published_at)),
                "language": article.language,
                "revised_at": article.revised_at,
                "change": article.change,
                "read_by_kind": read_by and read_by.kind,
                "read_by_id": read_by and read_by.id,
                "read_by_version": read_by and read_by.version,
                "text_sha256": article.text_sha256,
                "quotes_verified": verified,
            },
        )

    def _claim(
        self,
        claim: Claim,
        article: Article,
        position: int,
        standings: Mapping[str, Standing],
        known: dict[str, Known],
    ) -> None:
        slug, topic = claim.claim, claim.topic
        if topic is not None:
            self.topics.setdefault(topic, {"topic": topic, "first_position": position})
        wording = {
            "claim": slug,
            "position": position,
            "proposition": claim.proposition,
            "language": article.language,
            "dictionary": dictionary(article.language),
        }
        named = {"claim": slug, "topic": topic, "topic_position": None if topic is None else position}
        before = known.get(slug)
        if before is None:
            if claim.proposition is None:
                raise ValueError(f"{slug} is named for the first time without a proposition")
            known[slug] = Known(standings[slug], claim.proposition, topic)
            self.claims[slug] = {**named, "first_position": position}
            self.wordings.append(wording)
            return
        if claim.proposition is not None and claim.proposition != before.proposition:
            self.wordings.append(wording)
        if topic is not None and before.topic is None:
            before.topic = topic
            if slug in self.claims:
                self.claims[slug].update(named)
            else:
                self.named_topics.append(named)

    def _statements(self, article: Article, recorded: Sequence[RecordedStatement], *, verified: bool) -> None:
        words, outlet = dictionary(article.language), article.outlet
        for (_, _, said), placed in zip(article.statements(), recorded, strict=True):
            person = said.speaker
            first = {"speaker": placed.speaker, "first_position": placed.position}
            self.speakers.setdefault(placed.speaker, first)
            self.statements.open(
                (placed.claim, placed.position, placed.ordinal),
                {
                    **_placed(placed),
                    "speaker_name": outlet.name if person is None else person.name,
                    "role": person and person.role,
                    "organisation": person and person.organisation,
                    "own_voice": person is None,
                    "outlet": outlet.id,
                    "certainty": said.certainty,
                    "form": said.form,
                    "said_at": said.said_at,
                    "quote": said.quote,
                    "start": said.start,
                    "quote_verified": verified,
                    "dictionary": words,
                },
            )
