"""The rows that the read tables and the register must hold, worked out from the log alone.

It shares the fold with the projector, and nothing of how that writes: what is
expected is built row by row in memory, from the first event on. So it takes memory
as the log grows, about 2 KB a statement.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, assert_never

from sqlalchemy import Table

from service import tables
from service.domain import moment
from service.domain.article import Article
from service.domain.belief import Change, Fold
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
from service.domain.merges import Kind
from service.domain.policies import policy
from service.domain.register import Refused, Register
from service.projector import dictionary
from service.tables import OPEN

Row = dict[str, Any]
Key = tuple[Any, ...]


class Rows:
    """The rows of some tables, by their primary keys."""

    def __init__(self) -> None:
        self.by_table: dict[str, dict[Key, Row]] = {}
        self._open: dict[tuple[str, Key], Row] = {}

    def put(self, table: Table, row: Row) -> None:
        """A row that is there from now on."""
        key = tuple(row[column.name] for column in table.primary_key)
        self.by_table.setdefault(table.name, {})[key] = row

    def put_first(self, table: Table, row: Row) -> None:
        """A row that is there from now on, unless one of its key is."""
        key = tuple(row[column.name] for column in table.primary_key)
        self.by_table.setdefault(table.name, {}).setdefault(key, row)

    def remove(self, table: Table, key: Key) -> None:
        """A row that is not there from now on, if it was."""
        self.by_table.get(table.name, {}).pop(key, None)

    def begin(self, table: Table, of: Key, row: Row) -> None:
        """A row that holds from now on, as the only one `of` something."""
        row["until_position"] = OPEN
        self._open[table.name, of] = row
        self.put(table, row)

    def end(self, table: Table, of: Key, position: int) -> None:
        """It does not hold any more, if it did."""
        row = self._open.pop((table.name, of), None)
        if row is not None:
            row["until_position"] = position


class ExpectedRegister:
    """The register, as the log makes it."""

    def __init__(self) -> None:
        self._register = Register()
        self.rows = Rows()
        self.texts: set[bytes] = set()  #: the hashes of texts that some article names.
        self.erased: set[bytes] = set()

    def take(self, event: Event, position: int) -> str | None:
        """Take in an event; if the log could not go on with it, says why not and takes in nothing."""
        against = self._register.check(event)
        if isinstance(against, Refused):
            return str(against.error)
        if against is not None:
            return f"it repeats position {against.position}"
        for kind, row in self._register.enter(event, position, with_article=False):
            if kind == "erasure":
                assert isinstance(event, TextErased)
                row = {**row, "sha256": bytes.fromhex(event.text_sha256)}
            self.rows.put(_REGISTER[kind], row)
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                if article.text_sha256 is not None:
                    self.texts.add(bytes.fromhex(article.text_sha256))
            case TextErased(text_sha256=digest):
                self.erased.add(bytes.fromhex(digest))
            case _:
                pass
        return None


_REGISTER: Final[Mapping[str, Table]] = {table.name.removeprefix("register_"): table for table in tables.REGISTER}


class ExpectedReadTables:
    """The read tables of a generation with these policies, as the log makes them."""

    def __init__(self, policies: list[str]) -> None:
        self.rows = Rows()
        self._fold = Fold([policy(each) for each in policies])
        self._propositions: dict[str, str] = {}
        self._claims = Counter[tuple[str, str]]()  #: how many have a state under a policy.
        self._counted = Counter[tuple[str, str]]()  #: how many had it when they were counted last.

    def take(self, event: Event, position: int) -> None:
        """Take in an event. Raises ValueError or KeyError where no log goes on like this."""
        change = self._fold.apply(event, position)
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                self._article(article, change, verified=event.quotes_verified is True)
            case ArticleRetracted(url=url, reason=reason):
                revision = self._fold.articles[url].revision
                row = {"position": position, "url": url, "revision": revision, "reason": reason}
                self.rows.put(tables.retraction, row)
                self.rows.end(tables.article, (url,), position)
            case ClaimsMerged(claim=merged, into=into, reason=reason):
                self._merge(Kind.CLAIM, merged, into, position, opposite=event.opposite is True, reason=reason)
            case SpeakersMerged(speaker=merged, into=into, reason=reason):
                self._merge(Kind.SPEAKER, merged, into, position, opposite=False, reason=reason)
            case MergeUndone(position=made):
                self.rows.end(tables.merge, (made,), position)
            case ClaimRuled(claim=claim, state=state, reason=reason):
                self.rows.end(tables.ruling, (claim,), position)
                row = {"claim": claim, "position": position, "state": str(state), "reason": reason}
                self.rows.begin(tables.ruling, (claim,), row)
            case RulingLifted(claim=claim):
                self.rows.end(tables.ruling, (claim,), position)
            case ClaimsRelated(claim=claim, relation=relation, to=to, reason=reason):
                row = {"claim": claim, "relation": str(relation), "to_claim": to, "position": position}
                self.rows.put(tables.relation, {**row, "reason": reason})
            case PolicyAdopted(policy=adopted, reason=reason):
                self.rows.put(tables.adoption, {"position": position, "policy": adopted, "reason": reason})
            case TextErased():
                pass
            case _:
                assert_never(event)
        self._beliefs(change)
        if position % tables.CENSUS_EVERY == 0:
            self._take_census(position)

    def _merge(self, kind: Kind, merged: str, into: str, position: int, *, opposite: bool, reason: str) -> None:
        row: Row = {"position": position, "kind": str(kind), "merged": merged, "survivor": into}
        self.rows.begin(tables.merge, (position,), {**row, "opposite": opposite, "reason": reason})

    def _article(self, article: Article, change: Change, *, verified: bool) -> None:
        position, words = change.position, dictionary(article.language)
        first_position = self._fold.articles[article.url].first_position
        outlet, read_by = article.outlet, article.read_by
        self.rows.put_first(tables.dictionary, {"dictionary": words})
        self.rows.put_first(tables.outlet, {"outlet": outlet.id, "first_position": position})
        self.rows.end(tables.article, (article.url,), position)
        self.rows.begin(
            tables.article,
            (article.url,),
            {
                "position": position,
                "url": article.url,
                "revision": article.revision,
                "first_position": first_position,
                "outlet": outlet.id,
                "outlet_name": outlet.name,
                "headline": article.headline,
                "published_at": article.published_at,
                "published_end": moment.end(article.published_at),
                "language": article.language,
                "revised_at": article.revised_at,
                "change": None if article.change is None else str(article.change),
                "read_by_kind": None if read_by is None else str(read_by.kind),
                "read_by_id": None if read_by is None else read_by.id,
                "read_by_version": None if read_by is None else read_by.version,
                "text_sha256": article.text_sha256,
                "quotes_verified": verified,
            },
        )
        for claim in article.claims:
            self._claim(claim.claim, claim.proposition, claim.topic, article.language, position)
        for ordinal, claim, said in article.statements():
            speaker = said.speaker
            voice = article.speaker_of(said)
            self.rows.put_first(tables.speaker, {"speaker": voice, "first_position": position})
            self.rows.begin(
                tables.statement,
                (position, ordinal),
                {
                    "claim": claim.claim,
                    "position": position,
                    "ordinal": ordinal,
                    "speaker": voice,
                    "speaker_name": outlet.name if speaker is None else speaker.name,
                    "role": None if speaker is None else speaker.role,
                    "organisation": None if speaker is None else speaker.organisation,
                    "bloc": None if speaker is None else speaker.bloc,
                    "own_voice": speaker is None,
                    "outlet": outlet.id,
                    "stance": str(said.stance),
                    "certainty": None if said.certainty is None else str(said.certainty),
                    "form": None if said.form is None else str(said.form),
                    "said_at": said.said_at,
                    "effective_at": article.effective_at(said),
                    "published_end": moment.end(article.published_at),
                    "first_position": first_position,
                    "quote": said.quote,
                    "start": said.start,
                    "quote_verified": verified,
                    "dictionary": words,
                },
            )

    def _claim(
        self, slug: str, proposition: str | None, topic: str | None, language: str | None, position: int
    ) -> None:
        if topic is not None:
            self.rows.put_first(tables.topic, {"topic": topic, "first_position": position})
        row = {"claim": slug, "first_position": position, "topic": None, "topic_position": None}
        self.rows.put_first(tables.claim, row)
        known = self.rows.by_table[tables.claim.name][slug,]
        if topic is not None and known["topic"] is None:
            known.update(topic=topic, topic_position=position)
        first = self._propositions.get(slug)
        if proposition is None and first is None:
            raise ValueError(f"{slug} is named for the first time without a proposition")
        if proposition is not None and proposition != first:
            self._propositions.setdefault(slug, proposition)
            wording = {"claim": slug, "position": position, "proposition": proposition, "language": language}
            self.rows.put(tables.wording, {**wording, "dictionary": dictionary(language)})

    def _beliefs(self, change: Change) -> None:
        """What stands and what follows from it, as the fold says it changed."""
        rows, position = self.rows, change.position
        for each in change.ended:
            rows.end(tables.statement, (each.position, each.ordinal), position)
        for old, new in change.moves:
            if old is not None:
                rows.end(tables.standing, (old.claim, old.speaker), position)
            if new is not None:
                row = {**new._asdict(), "stance": str(new.stance), "since_position": position}
                rows.begin(tables.standing, (new.claim, new.speaker), row)
        for claim in {each.claim for move in change.moves for each in move if each is not None}:
            stands = self._fold.claims.get(claim)
            if stands is not None and stands.speakers > tables.SUMMED_ABOVE:
                rows.put(tables.standing_sums, {"claim": claim, **stands.sums()._asdict()})
            else:
                rows.remove(tables.standing_sums, (claim,))
        for claim, tally in change.tallies.items():
            rows.end(tables.tally, (claim,), position)
            if tally is not None:
                counts = dict(zip(("asserting", "denying", "withholding"), tally[:3], strict=True))
                rows.begin(tables.tally, (claim,), {"claim": claim, "position": position, **counts})
        for each in change.transitions:
            before, after = each.before or (None, None), each.after or (None, None)
            for state, more in ((before[0], -1), (after[0], 1)):
                if state is not None:
                    self._claims[each.policy, state] += more
            rows.end(tables.transition, (each.policy, each.claim), position)
            rows.begin(
                tables.transition,
                (each.policy, each.claim),
                {
                    "policy": each.policy,
                    "claim": each.claim,
                    "position": position,
                    "from_state": before[0],
                    "from_reason": before[1],
                    "to_state": after[0],
                    "to_reason": after[1],
                    "effective_at": each.effective_at,
                    "retroactive": each.retroactive,
                },
            )

    def _take_census(self, position: int) -> None:
        for (name, state), claims in self._claims.items():
            if claims != self._counted[name, state]:
                row = {"policy": name, "state": state, "position": position, "claims": claims}
                self.rows.put(tables.census, row)
        self._counted = self._claims.copy()
