"""The register: what the log says of everything that a new event may contradict.

It is derived from the log alone. `append` checks new events against it and keeps
it in step; `verify` derives it anew and compares.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, assert_never

from service.domain import article as documents
from service.domain.article import Article
from service.domain.errors import (
    ArticleChanged,
    ArticleUnknown,
    ClaimUnknown,
    MergedAway,
    MergeInvalid,
    MergeUnknown,
    NotRuled,
    OnrecordError,
    PropositionMissing,
    RelationInvalid,
    RevisionSkipped,
    SpeakerUnknown,
)
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
from service.domain.merges import Kind, Merge, Merges


@dataclass(frozen=True, slots=True)
class Repeated:
    """The log had it already; nothing changed."""

    position: int  #: where it was first recorded.
    retracted_at: int | None = None  #: where its article is retracted, if it is: sending it again does not undo that.


@dataclass(frozen=True, slots=True)
class Refused:
    """It contradicts the log; nothing of it was recorded."""

    error: OnrecordError


#: A table of the register without its prefix, and a row that an event adds to it.
Entry = tuple[str, dict[str, Any]]


class Register:
    """What is known, of the whole log or of all that some events name.

    The attributes are filled by whoever read them from where they are stored.
    """

    def __init__(self) -> None:
        #: By URL and revision: the position, and the article where its content may be compared.
        self.revisions: dict[tuple[str, int], tuple[int, Article | None]] = {}
        self.newest: dict[str, int] = {}
        self.retractions: dict[tuple[str, int], int] = {}
        self.claims: set[str] = set()
        self.speakers: set[str] = set()
        self.merges = Merges()
        self.undone: dict[int, int] = {}  #: the position of a merge -> where it was undone.
        self.rulings: dict[str, tuple[int, ClaimRuled]] = {}  #: those in force.
        self.relations: dict[tuple[str, str, str], int] = {}
        self.adoption: tuple[int, str] | None = None  #: the last.
        self.erasures: dict[str, int] = {}

    def check(self, event: Event) -> Repeated | Refused | None:
        """What speaks against adding an event; None: nothing, it may be entered."""
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                return self._check_article(article)
            case ArticleRetracted(url=url):
                newest = self.newest.get(url)
                if newest is None:
                    return Refused(ArticleUnknown(url))
                known = self.retractions.get((url, newest))
                return None if known is None else Repeated(known, known)
            case TextErased(text_sha256=digest):
                return self._repeated(self.erasures.get(digest))
            case ClaimsMerged(claim=claim, into=into):
                return self._check_merge(Kind.CLAIM, claim, into)
            case SpeakersMerged(speaker=speaker, into=into):
                return self._check_merge(Kind.SPEAKER, speaker, into)
            case MergeUndone(position=position):
                if self.merges.at(position) is None:
                    return Refused(MergeUnknown(position, undone_at=self.undone.get(position)))
                return None
            case ClaimsRelated(claim=claim, relation=relation, to=to):
                if claim == to:
                    return Refused(RelationInvalid(claim))
                return self._unknown(Kind.CLAIM, claim, to) or self._repeated(self.relations.get((claim, relation, to)))
            case ClaimRuled(claim=claim):
                known = self.rulings.get(claim)
                if known is not None and known[1] == event:
                    return Repeated(known[0])
                return self._unknown(Kind.CLAIM, claim) or self._merged_away(Kind.CLAIM, claim)
            case RulingLifted(claim=claim):
                return (
                    self._unknown(Kind.CLAIM, claim)
                    or self._merged_away(Kind.CLAIM, claim)
                    or (None if claim in self.rulings else Refused(NotRuled(claim)))
                )
            case PolicyAdopted(policy=policy):
                last = self.adoption
                return Repeated(last[0]) if last is not None and last[1] == policy else None
            case _:
                assert_never(event)

    def enter(self, event: Event, position: int, *, with_article: bool = True) -> list[Entry]:
        """Take in the event that was added at `position`; returns the rows it adds to the register."""
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                return self._enter_article(article, position, with_article=with_article)
            case ArticleRetracted(url=url):
                revision = self.newest[url]
                self.retractions[url, revision] = position
                return [("retraction", {"url": url, "revision": revision, "position": position})]
            case TextErased(text_sha256=digest):
                known = digest in self.erasures
                self.erasures.setdefault(digest, position)
                return [] if known else [("erasure", {"sha256": f"\\x{digest}", "position": position})]
            case ClaimsMerged(claim=claim, into=into, opposite=opposite):
                return self._enter_merge(Merge(position, Kind.CLAIM, claim, into, opposite is True))
            case SpeakersMerged(speaker=speaker, into=into):
                return self._enter_merge(Merge(position, Kind.SPEAKER, speaker, into, False))
            case MergeUndone(position=made):
                merge = self.merges.at(made)
                assert merge is not None
                self.merges.remove(merge)
                self.undone[made] = position
                return [("undoing", {"merge_position": made, "position": position})]
            case ClaimsRelated(claim=claim, relation=relation, to=to):
                self.relations[claim, relation, to] = position
                row = {"claim": claim, "relation": relation, "to_claim": to, "position": position}
                return [("relation", row)]
            case ClaimRuled(claim=claim, state=state):
                self.rulings[claim] = (position, event)
                return [("ruling", {"claim": claim, "position": position, "state": state})]
            case RulingLifted(claim=claim):
                del self.rulings[claim]
                return [("ruling", {"claim": claim, "position": position, "state": None})]
            case PolicyAdopted(policy=policy):
                self.adoption = (position, policy)
                return [("adoption", {"position": position, "policy": policy})]
            case _:
                assert_never(event)

    # --- articles -----------------------------------------------------------------------

    def _check_article(self, article: Article) -> Repeated | Refused | None:
        url, revision = article.url, article.revision
        newest = self.newest.get(url, 0)
        retracted_at = self.retractions.get((url, newest))
        known = self.revisions.get((url, revision))
        if known is not None:
            position, recorded = known
            if recorded is not None and documents.same_revision(article, recorded):
                return Repeated(position, retracted_at)
            return Refused(ArticleChanged(url, revision=revision, position=position, next_revision=newest + 1))
        if revision != newest + 1:
            return Refused(RevisionSkipped(url, revision=revision, next_revision=newest + 1))
        position, recorded = self.revisions.get((url, newest), (0, None))
        if recorded is not None and retracted_at is None and documents.same_content(article, recorded):
            return Repeated(position)
        for i, claim in enumerate(article.claims):
            if claim.proposition is None and claim.claim not in self.claims:
                return Refused(PropositionMissing(claim.claim, path=f"claims[{i}].proposition"))
        return None

    def _enter_article(self, article: Article, position: int, *, with_article: bool) -> list[Entry]:
        url, revision = article.url, article.revision
        self.revisions[url, revision] = (position, article if with_article else None)
        self.newest[url] = revision
        rows: list[Entry] = [("revision", {"url": url, "revision": revision, "position": position})]
        for slug in dict.fromkeys(claim.claim for claim in article.claims):
            if slug not in self.claims:
                self.claims.add(slug)
                rows.append(("claim", {"claim": slug, "position": position}))
        for speaker in dict.fromkeys(article.speaker_of(statement) for _, _, statement in article.statements()):
            if speaker not in self.speakers:
                self.speakers.add(speaker)
                rows.append(("speaker", {"speaker": speaker, "position": position}))
        return rows

    # --- curation -----------------------------------------------------------------------

    def _check_merge(self, kind: Kind, merged: str, into: str) -> Refused | None:
        if merged == into:
            return Refused(MergeInvalid(merged))
        return self._unknown(kind, merged, into) or self._merged_away(kind, merged, into)

    def _enter_merge(self, merge: Merge) -> list[Entry]:
        self.merges.add(merge)
        row = {"kind": merge.kind, "merged": merge.merged, "survivor": merge.into, "opposite": merge.opposite}
        return [("merge", {"position": merge.position, **row})]

    def _unknown(self, kind: Kind, *ids: str) -> Refused | None:
        known, error = (self.claims, ClaimUnknown) if kind is Kind.CLAIM else (self.speakers, SpeakerUnknown)
        return next((Refused(error(id)) for id in ids if id not in known), None)

    def _merged_away(self, kind: Kind, *ids: str) -> Refused | None:
        merges: Iterable[Merge | None] = (self.merges.of(kind, id) for id in ids)
        return next(
            (
                Refused(MergedAway(merge.merged, into=merge.into, position=merge.position))
                for merge in merges
                if merge is not None
            ),
            None,
        )

    @staticmethod
    def _repeated(position: int | None) -> Repeated | None:
        return None if position is None else Repeated(position)
