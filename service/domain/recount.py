"""Beliefs at one position, without the way there.

What stands at a position depends on nothing but the statements that are live there and
the merges in force. So who asks for no history need not fold event by event: the outline of
the log is taken in first, and then each article once, of whose statements the greatest of each
speaker on each claim is kept. What that gives is what `Fold` gives.

Of which articles is no matter, nor in what order: what parts of a log come to is `merged`.
"""

import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple, assert_never

from service.domain import brief, policies
from service.domain.article import Article
from service.domain.belief import RecordedStatement, Ruling, Told, counted, key_of, standing, told_by
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


class Said(NamedTuple):
    """What an article says, in its place in the log."""

    outlet: str
    statements: list[Told]
    live: bool  #: whether they still are where the outline ends.


class Outline:
    """A log but for what its articles say: which of them are live at its end, and what was decided.

    To be taken in from all events that are no first revisions, in order, up to the
    position that is asked for; from the others nothing follows.
    """

    def __init__(self) -> None:
        self.merges = Merges()
        self.rulings: dict[str, Ruling] = {}  #: as `Fold` has them.
        self.adopted = policies.DEFAULT
        self._newest: dict[str, int] = {}  # by URL, where it is not the first
        self._retracted: set[str] = set()
        self._first_positions: dict[str, int] = {}  # by URL, where it is revised

    def take(self, event: Event, position: int) -> None:
        """Take in the event at `position`. Raises ValueError or KeyError where no log goes on like this."""
        match event:
            case ArticleRecorded():
                pass
            case ArticleRevised(article=article):
                self.revise(article)
            case ArticleRetracted(url=url):
                if url in self._retracted:
                    raise ValueError(f"{url} is retracted, and was not live")
                self._retracted.add(url)
            case ClaimsMerged(claim=claim, into=into, opposite=opposite):
                self._merge(Merge(position, Kind.CLAIM, claim, into, opposite is True))
            case SpeakersMerged(speaker=speaker, into=into):
                self._merge(Merge(position, Kind.SPEAKER, speaker, into, False))
            case MergeUndone(position=made):
                self.merges.remove(self.merges.in_force(made))
            case ClaimRuled(claim=claim, state=state):
                self.rulings[claim] = Ruling(claim, state, position)
            case RulingLifted(claim=claim):
                del self.rulings[claim]
            case PolicyAdopted(policy=policy):
                self.adopted = policy
            case ClaimsRelated() | TextErased():
                pass
            case _:
                assert_never(event)

    def revise(self, article: Article | brief.Article) -> None:
        """Take in that an article is revised. Raises ValueError where another revision follows."""
        newest = self._newest.get(article.url, 1)
        if article.revision != newest + 1:
            raise ValueError(f"revision {article.revision} of {article.url} follows revision {newest}")
        self._newest[article.url] = article.revision
        self._retracted.discard(article.url)

    def place(self, article: Article | brief.Article, position: int) -> Said:
        """What an article says that was recorded or revised at `position`; they come in order.

        Raises ValueError where a URL that is revised is not recorded once, and first. Of the others
        nothing is kept, so that one which is recorded again passes, and `verify` tells of it.
        """
        url, revision = article.url, article.revision
        newest = self._newest.get(url, 1)
        first_position = position if newest == 1 else self._first_positions.setdefault(url, position)
        if (first_position == position) != (revision == 1):
            raise ValueError(f"revision {revision} of {url} is not the next")
        live = newest == revision and url not in self._retracted
        return Said(article.outlet.id, told_by(article, position=position, first_position=first_position), live)

    def _merge(self, merge: Merge) -> None:
        self.merges.check(merge)
        self.merges.add(merge)


#: A claim that anybody was ever heard on, with what stands on it.
Stands = tuple[str, Collection[Told]]
_claim_of = itemgetter(0)


class Recount:
    """Who stands on which claim, counted once of all that was said.

    Counts as under `merges`, and nothing of the speakers in `silent`, who are named by the ids
    that survive.
    """

    def __init__(self, merges: Merges, silent: Collection[str] = ()) -> None:
        self._merges = merges
        self._merged = {merge.merged for merge in merges}
        self._silent = frozenset(silent)
        #: By claim that anybody was ever heard on, and by speaker, the greatest of what is live.
        self._standing: dict[str, dict[str, Told]] = {}
        self.held = 0  #: how many claims, and statements that stand: what its memory grows with.

    def take(self, said: Iterable[Told], *, live: bool) -> None:
        """Take in what one article says, in whatever order articles come."""
        if self._merged or self._silent:
            said = self._counting(said)
        by_claim, more = self._standing, 0
        for told in said:
            claim, speaker = told[0], told[1]
            by_speaker = by_claim.get(claim)
            if by_speaker is None:
                by_speaker = by_claim[claim] = {}
                more += 1
            if live:
                rival = by_speaker.get(speaker)
                if rival is None:
                    by_speaker[speaker] = told
                    more += 1
                elif key_of(told) > key_of(rival):
                    by_speaker[speaker] = told
        self.held += more

    def _counting(self, said: Iterable[Told]) -> Iterator[Told]:
        """Of what is said what counts, as it counts."""
        merged = self._merged
        for told in said:
            if told[0] in merged or told[1] in merged:
                told = counted(RecordedStatement._make(told), self._merges)
            if told[1] not in self._silent:
                yield told

    def standing(self) -> Iterator[Stands]:
        """Every claim that is there, in byte order of slug, with what stands on it."""
        for claim, by_speaker in sorted(self._standing.items(), key=_claim_of):
            yield claim, by_speaker.values()

    def forget(self) -> None:
        """Begin again, as if nothing had been said."""
        self._standing, self.held = {}, 0


def merged(parts: Iterable[Iterator[Stands]]) -> Iterator[Stands]:
    """What recounts of parts of a log, each as `Recount.standing` has it, come to together: the same of all of it."""
    for claim, found in itertools.groupby(heapq.merge(*parts, key=_claim_of), key=_claim_of):
        yield claim, standing(itertools.chain.from_iterable(stands for _, stands in found)).values()
