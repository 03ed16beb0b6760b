"""Projecting: the next events of the log, batch by batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection

from service.domain.belief import Change, Fold, Standing
from service.domain.errors import EventUndecodable
from service.domain.events import (
    CURATION,
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    Event,
    MergeUndone,
    RulingLifted,
    SpeakersMerged,
)
from service.domain.merges import Kind, Merges
from service.domain.policies import policy
from service.log import Stored
from service.projector.generations import Generation
from service.projector.loading import (
    Known,
    articles_by_url,
    claims_with,
    known_of,
    live_of,
    live_on,
    merges_in_force,
    standing_of,
    standing_on,
    take,
    with_members,
)
from service.projector.rows import Batch
from service.projector.writing import write

#: Where readers are told that more of the log is projected.
CHANNEL: Final = "onrecord_projected"
#: How many standing statements are kept in memory between batches.
_REMEMBERED_MAX: Final = 500_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What a batch came to."""

    position: int  #: projected up to here.
    events: int  #: projected by this batch.
    stopped_at: int | None = None
    because: str | None = None


class Projector:
    """Projects the log into one generation, batch by batch.

    Keeps the standing of claims in memory between batches, for as long as nobody
    else moves the cursor. Only one thread may use it.
    """

    def __init__(self, generation: Generation, *, remembered_max: int = _REMEMBERED_MAX) -> None:
        self._generation = generation
        self._policies = [policy(each) for each in generation.policies]
        self._remembered_max = remembered_max
        self._claims: dict[str, Known] = {}  # least recently used first
        self._remembered = 0  # the sum of their sizes
        self._merges: Merges | None = None
        self._position: int | None = None
        self._ahead: list[Stored] = []  # what was read of the log and not projected yet

    def forget(self) -> None:
        """Drop what is remembered; the next batch reads anew what it touches."""
        self._claims, self._merges, self._remembered, self._position, self._ahead = {}, None, 0, None, []

    def advance(self, conn: Connection, *, limit: int = 500) -> Progress:
        """Project the next events, at most `limit`, in the caller's transaction.

        Waits while another projector holds the generation. Stops before an event
        that cannot be read or folded, and says so in the generation's row: never a
        guess, never a skip. On any error the caller rolls back, and may go on with this
        projector: it remembers only what it knows to be as it is stored.
        """
        position, entries = self._next(conn, limit)
        # Until all is written, what is remembered may be ahead of what is stored.
        self._position = None
        decoded: list[tuple[int, Event]] = []
        stopped_at, because = None, None
        for entry in entries[:limit]:
            try:
                event = entry.event()
            except EventUndecodable as error:
                stopped_at, because = entry.position, str(error)
                break
            # A decision may touch any claim, so it is a batch of its own.
            if decoded and isinstance(event, CURATION):
                break
            decoded.append((entry.position, event))
            if isinstance(event, CURATION):
                break
        ahead, self._ahead = entries[len(decoded) :], []
        batch, failure = self._batch(conn, position, decoded)
        if failure is None:
            try:
                write(conn, batch, self._generation.generation, stopped_at=stopped_at, because=because)
            except UniqueViolation:
                # Only damage makes an article come twice; so it is looked for when it shows, not in every batch.
                self.forget()
                batch, failure = self._batch(conn, position, decoded, looking_for_repeats=True)
                if failure is None:
                    raise
        if failure is not None:
            # What it left half done is thrown away, and the events before it are folded anew.
            stopped_at, because = failure
            self.forget()
            good = [(at, event) for at, event in decoded if at < stopped_at]
            batch, failure = self._batch(conn, position, good)
            assert failure is None
            write(conn, batch, self._generation.generation, stopped_at=stopped_at, because=because)
        if stopped_at is None:
            self._position, self._ahead = batch.position, ahead
            self._trim(batch.touched)
        else:
            self.forget()
        return Progress(batch.position, batch.position - position, stopped_at, because)

    def foresee(self, conn: Connection, event: Event, position: int) -> Change:
        """What an event would change, as far as is projected; see `preview`."""
        return self._fold(conn, [(position, event)]).apply(event, position)

    def _batch(
        self,
        conn: Connection,
        position: int,
        decoded: Sequence[tuple[int, Event]],
        *,
        looking_for_repeats: bool = False,
    ) -> tuple[Batch, tuple[int, str] | None]:
        """What the events come to, and the first that cannot be folded with the reason, if there is one."""
        batch = Batch(position)
        fold = self._fold(conn, decoded, looking_for_repeats=looking_for_repeats)
        batch.touched = fold.claims.keys()
        for at, event in decoded:
            try:
                batch.take(event, fold.apply(event, at), fold.claims, self._claims)
            except Exception as error:  # noqa: BLE001 - whatever it is, the event is not skipped
                return batch, (at, f"event {at} cannot be folded: {type(error).__name__}: {error}")
            batch.position = at
        batch.sum_up(fold.claims)
        return batch, None

    def _next(self, conn: Connection, limit: int) -> tuple[int, list[Stored]]:
        """Take the right to write; returns the cursor and the next entries, at most `limit`."""
        generation = self._generation.generation
        position, entries = take(conn, generation, limit=0 if self._ahead else limit)
        if position == self._position:
            return position, self._ahead or entries
        if self._ahead:
            _, entries = take(conn, generation, limit=limit)
        self.forget()
        return position, entries

    def _fold(
        self, conn: Connection, decoded: Sequence[tuple[int, Event]], *, looking_for_repeats: bool = False
    ) -> Fold:
        """A fold that knows of the past what these events touch."""
        fold = Fold(self._policies)
        if not decoded:
            return fold
        if self._merges is None:
            self._merges = merges_in_force(conn)
        fold.merges = self._merges
        if isinstance(decoded[0][1], CURATION):
            self._fold_curation(conn, fold, decoded[0][1])
            # What it changes is not kept up in what is remembered.
            self.forget()
        else:
            self._fold_articles(conn, fold, [event for _, event in decoded], looking_for_repeats=looking_for_repeats)
        return fold

    def _fold_articles(
        self, conn: Connection, fold: Fold, events: Sequence[Event], *, looking_for_repeats: bool
    ) -> None:
        urls: dict[str, None] = {}  # of articles that are known already
        claims: dict[str, None] = {}
        for event in events:
            match event:
                case ArticleRecorded(article=article) | ArticleRevised(article=article):
                    # A recorded one is known only where the log is damaged.
                    if isinstance(event, ArticleRevised) or looking_for_repeats:
                        urls[article.url] = None
                    claims.update((claim.claim, None) for claim in article.claims)
                case ArticleRetracted(url=url):
                    urls[url] = None
                case _:
                    raise AssertionError(event)
        if urls:
            fold.articles = articles_by_url(conn, list(urls))
            pairs: dict[tuple[str, str], None] = {}
            for life in fold.articles.values():
                pairs.update(((each.claim, each.speaker), None) for each in life.statements)
            for event in events:
                if isinstance(event, ArticleRecorded | ArticleRevised) and event.article.url in urls:
                    article = event.article
                    pairs.update(
                        ((claim.claim, article.speaker_of(each)), None) for _, claim, each in article.statements()
                    )
            claims.update((claim, None) for claim, _ in pairs)
            fold.live = live_of(conn, with_members(pairs, fold.merges))
        # What is said of a merged claim counts for its survivor; both must be known.
        claims.update((fold.merges.claim(claim).id, None) for claim in list(claims))
        self._know(conn, claims)
        self._meet(conn, fold, events)
        for claim in claims:
            if claim in self._claims:
                known = self._claims[claim] = self._claims.pop(claim)  # most recently used
                if not known.standing.whole:
                    known.standing.all_stored = partial(standing_on, conn, claim)
                if fold.merges.of(Kind.CLAIM, claim) is None:
                    fold.claims[claim] = known.standing
                    if known.ruling is not None:
                        fold.rulings[claim] = known.ruling

    def _fold_curation(self, conn: Connection, fold: Fold, event: Event) -> None:
        merges = fold.merges
        claims: list[str] = []
        match event:
            case ClaimsMerged(claim=claim, into=other):
                claims = [claim, other]
            case SpeakersMerged(speaker=speaker):
                claims = claims_with(conn, speaker)
            case MergeUndone(position=position):
                merge = merges.at(position)
                if merge is not None and merge.kind is Kind.CLAIM:
                    survivor = merges.claim(merge.into).id
                    claims = [survivor, merge.merged]
                    fold.live = live_on(conn, merges.members(Kind.CLAIM, survivor), None)
                elif merge is not None:
                    speaker = merges.speaker(merge.into)
                    claims = claims_with(conn, speaker)
                    named = [member for claim in claims for member in merges.members(Kind.CLAIM, claim)]
                    fold.live = live_on(conn, named, merges.members(Kind.SPEAKER, speaker))
            case ClaimRuled(claim=claim) | RulingLifted(claim=claim):
                claims = [claim]
            case _:
                pass
        for claim, known in known_of(conn, list(dict.fromkeys(claims)), whole=True).items():
            if merges.of(Kind.CLAIM, claim) is None:
                fold.claims[claim] = known.standing
            if known.ruling is not None:
                fold.rulings[claim] = known.ruling

    def _know(self, conn: Connection, claims: Iterable[str]) -> None:
        unknown = [claim for claim in claims if claim not in self._claims]
        if unknown:
            found = known_of(conn, unknown, whole=False)
            for known in found.values():
                # Counted from now on: one that is merged away is of no fold, so nobody looks at it again.
                known.size = 1
            self._remembered += len(found)
            self._claims.update(found)

    def _meet(self, conn: Connection, fold: Fold, events: Sequence[Event]) -> None:
        """Get to know what stands of the speakers that are named on claims of which the sums are known."""
        said = [(each.claim, each.speaker) for life in fold.articles.values() for each in life.statements]
        for event in events:
            if isinstance(event, ArticleRecorded | ArticleRevised):
                article = event.article
                said += [(claim.claim, article.speaker_of(each)) for _, claim, each in article.statements()]
        unmet: dict[tuple[str, str], Standing] = {}
        for claim, speaker in said:
            counted_for, voice = fold.merges.claim(claim).id, fold.merges.speaker(speaker)
            known = self._claims.get(counted_for)
            if known is not None and not known.standing.met(voice):
                unmet[counted_for, voice] = known.standing
        if unmet:
            stands = standing_of(conn, list(unmet))
            for (claim, speaker), standing in unmet.items():
                standing.meet(speaker, stands.get((claim, speaker)))

    def _trim(self, touched: Iterable[str]) -> None:
        """Forget the claims not used for longest, so that memory stays bounded; looks only at the touched."""
        for claim in touched:
            known = self._claims.get(claim)
            if known is None:
                continue
            # A claim on which nothing stands takes room too.
            size = 1 + len(known.standing.by_speaker)
            self._remembered += size - known.size
            known.size = size
        while self._remembered > self._remembered_max:
            self._remembered -= self._claims.pop(next(iter(self._claims))).size


def preview(conn: Connection, event: Event, *, position: int, policies: Sequence[str]) -> Change:
    """What an event at `position` would change, reading what is projected and writing nothing.

    The search path names the generation that is asked, as a snapshot for reading sets it.
    """
    asked = Generation(0, "", "", list(policies), 0, live=False, rebuild=False, stopped_at=None, because=None)
    return Projector(asked).foresee(conn, event, position)
