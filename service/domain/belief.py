"""From statements to beliefs: what is live, what stands, what follows.

All reasoning about belief is here, pure, and everything uses it: the projector,
the replay, `verify`, the reads as of a point in time. So they cannot disagree.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from sys import intern
from typing import Final, NamedTuple, TypeVar, assert_never

from service.domain import brief, moment
from service.domain.article import Article, Stance
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
from service.domain.merges import Kind, Merge, Merges, opposite_of
from service.domain.policies import Policy, Reason, State, Tally, Verdict

#: The fields of a `RecordedStatement`; who goes through a whole log makes do with these, which cost a quarter of it.
Told = tuple[str, str, Stance, str | None, datetime, datetime, int, int, int]
_Statement = TypeVar("_Statement", bound=Told)

#: Of one speaker's live statements on one claim the one with the greatest key stands:
#: (effective_at, published_end, first_position, ordinal).
#:
#: What was said later stands, whenever it reached us. Arrival decides only
#: between articles that their dates cannot order, and by the URL's first
#: arrival, so that mending a typo never overtakes a newer article.
key_of: Final[Callable[[Told], tuple[datetime, datetime, int, int]]] = itemgetter(4, 5, 6, 8)


class RecordedStatement(NamedTuple):
    """A statement with its place in the log and all that decides whether it stands."""

    claim: str
    speaker: str
    stance: Stance
    bloc: str | None
    effective_at: datetime  #: the latest moment at which it can have been said, in UTC.
    published_end: datetime  #: the end of its article's publication moment.
    first_position: int  #: where its article's URL was first recorded.
    position: int  #: the event that holds it.
    ordinal: int  #: its place in that event's document, from 0.

    key = property(key_of)

    @property
    def decisive(self) -> bool:
        """Whether it takes a side."""
        return self.stance is not Stance.WITHHOLDS


def statements_of(article: Article, *, position: int, first_position: int) -> list[RecordedStatement]:
    """The statements of an article recorded at `position`, whose URL came first at `first_position`."""
    return list(map(RecordedStatement._make, told_by(article, position=position, first_position=first_position)))


def told_by(article: Article | brief.Article, *, position: int, first_position: int) -> list[Told]:
    """The same by their fields, of all that is known of the article or of it in brief.

    Ids are interned: who keeps many statements keeps each id once, which halves what a statement takes.
    """
    published_end = moment.end(article.published_at)
    latest = published_end if article.revised_at is None else moment.end(article.revised_at)
    itself = intern(f"outlet:{article.outlet.id}")
    told: list[Told] = []
    ordinal = 0
    for claim in article.claims:
        slug = intern(claim.claim)
        for statement in claim.statements:
            who, said_at = statement.speaker, statement.said_at
            speaker, bloc, effective_at = itself, None, published_end
            if who is not None:
                speaker, bloc = intern(who.id), who.bloc
                if bloc is not None:
                    bloc = intern(bloc)
            if said_at is not None:
                effective_at = moment.end(said_at)
                if effective_at > latest:
                    effective_at = latest
            told.append(
                (slug, speaker, statement.stance, bloc, effective_at, published_end, first_position, position, ordinal)
            )
            ordinal += 1
    return told


def standing(live: Iterable[_Statement]) -> dict[str, _Statement]:
    """Of each speaker's live statements on one claim, the one that counts."""
    stands: dict[str, _Statement] = {}
    for told in live:
        rival = stands.get(told[1])
        if rival is None or key_of(told) > key_of(rival):
            stands[told[1]] = told
    return stands


def tally_of(stands: Collection[Told]) -> Tally:
    """What policies decide on, counted at once of the statements that stand on one claim."""
    asserts, denies = Stance.ASSERTS, Stance.DENIES
    asserting = [each for each in stands if each[2] is asserts]
    denying = [each for each in stands if each[2] is denies]
    latest = max(asserting + denying, key=key_of, default=None)
    return Tally(
        len(asserting),
        len(denying),
        len(stands) - len(asserting) - len(denying),
        len({each[3] for each in asserting} - {None}),
        len({each[3] for each in denying} - {None}),
        None if latest is None else latest[2],
    )


class Sums(NamedTuple):
    """How many stand on one claim, and who spoke last: enough to decide on it for as long as that one stands."""

    asserting: int
    denying: int
    withholding: int
    asserting_blocs: dict[str, int]  #: how many are of which bloc.
    denying_blocs: dict[str, int]
    latest: str | None  #: whose standing statement is the latest that takes a side.
    last_effective_at: datetime | None


class Standing:
    """The standing statements of one claim, by speaker, counted as they change.

    Of a claim on which many stand it is enough to know their sums and the speakers who move: see `summed`.
    """

    __slots__ = (
        "_asserting",
        "_asserting_blocs",
        "_denying",
        "_denying_blocs",
        "_last",
        "_latest",
        "_met",
        "_stale_last",
        "_stale_latest",
        "_tally",
        "_withholding",
        "all_stored",
        "by_speaker",
    )

    def __init__(self, statements: Iterable[RecordedStatement] = ()) -> None:
        self.by_speaker: dict[str, RecordedStatement] = {}
        self._asserting = self._denying = self._withholding = 0
        self._asserting_blocs: dict[str, int] = {}
        self._denying_blocs: dict[str, int] = {}
        self._latest: RecordedStatement | None = None
        self._last: datetime | None = None
        # The greatest of many is kept while statements come, and searched anew
        # only after it has gone: so one more statement does not cost the whole claim.
        self._stale_latest = self._stale_last = False
        self._tally: Tally | None = None  #: None: to be made anew.
        self._met: set[str] | None = None  #: None: all who stand are in `by_speaker`.
        #: All that stood when it was summed, for when the greatest is gone and another must be sought.
        self.all_stored: Callable[[], Iterable[RecordedStatement]] = tuple
        for statement in statements:
            self.move(self.by_speaker.get(statement.speaker), statement)

    @classmethod
    def summed(cls, sums: Sums, latest: RecordedStatement | None) -> "Standing":
        """The same of the sums and the latest statement alone.

        Each speaker must be met before it moves, and `all_stored` must be set before any does.
        """
        standing = cls()
        standing._asserting, standing._denying, standing._withholding = sums[:3]
        standing._asserting_blocs, standing._denying_blocs = dict(sums.asserting_blocs), dict(sums.denying_blocs)
        standing._latest, standing._last, standing._met = latest, sums.last_effective_at, set()
        return standing

    def sums(self) -> Sums:
        latest = self.latest()
        return Sums(
            self._asserting,
            self._denying,
            self._withholding,
            dict(self._asserting_blocs),
            dict(self._denying_blocs),
            None if latest is None else latest.speaker,
            self.last_effective_at(),
        )

    @property
    def speakers(self) -> int:
        """How many stand."""
        return self._asserting + self._denying + self._withholding

    @property
    def whole(self) -> bool:
        """Whether `by_speaker` holds all who stand."""
        return self._met is None

    def met(self, speaker: str) -> bool:
        """Whether it is known what stands of a speaker, if anything does."""
        return self._met is None or speaker in self._met

    def meet(self, speaker: str, stands: RecordedStatement | None) -> None:
        """Get to know what stands of a speaker, who is in the sums already."""
        assert self._met is not None
        self._met.add(speaker)
        if stands is not None:
            self.by_speaker[speaker] = stands

    def move(self, old: RecordedStatement | None, new: RecordedStatement | None) -> None:
        """One speaker's standing statement gives way to another; None: there was or will be none."""
        self._tally = None
        if old is not None:
            self._count(old, -1)
            del self.by_speaker[old.speaker]
        if new is not None:
            self._count(new, 1)
            self.by_speaker[new.speaker] = new
            if self._last is None or new.effective_at >= self._last:
                self._last, self._stale_last = new.effective_at, False
            if new.decisive and (self._latest is None or new.key > self._latest.key):
                self._latest, self._stale_latest = new, False
        if old is not None and (new is None or new.effective_at < old.effective_at):
            self._stale_last = self._stale_last or old.effective_at == self._last
        if old is not None and old == self._latest:
            self._stale_latest = True

    def tally(self) -> Tally:
        """The counts that policies decide on."""
        tally = self._tally
        if tally is None:
            if self._stale_latest:
                decisive = (each for each in self._all() if each.decisive)
                self._latest = max(decisive, key=key_of, default=None)
                self._stale_latest = False
            tally = self._tally = Tally(
                self._asserting,
                self._denying,
                self._withholding,
                len(self._asserting_blocs),
                len(self._denying_blocs),
                None if self._latest is None else self._latest.stance,
            )
        return tally

    def latest(self) -> RecordedStatement | None:
        """Of the standing statements that take a side, the one with the greatest key."""
        self.tally()
        return self._latest

    def last_effective_at(self) -> datetime | None:
        """The greatest `effective_at` among the claim's live statements; None if there is none.

        A speaker's standing statement has the greatest of that speaker's, so the
        standing statements are enough to know it.
        """
        if self._stale_last:
            self._last = max((each.effective_at for each in self._all()), default=None)
            self._stale_last = False
        return self._last

    def _all(self) -> Collection[RecordedStatement]:
        """All that stands; who was not met until now is met by it."""
        if self._met is not None:
            for statement in self.all_stored():
                if statement.speaker not in self._met:
                    self.by_speaker[statement.speaker] = statement
            self._met = None
        return self.by_speaker.values()

    def _count(self, statement: RecordedStatement, by: int) -> None:
        if statement.stance is Stance.WITHHOLDS:
            self._withholding += by
            return
        if statement.stance is Stance.ASSERTS:
            self._asserting += by
            blocs = self._asserting_blocs
        else:
            self._denying += by
            blocs = self._denying_blocs
        if statement.bloc is not None:
            left = blocs.get(statement.bloc, 0) + by
            if left:
                blocs[statement.bloc] = left
            else:
                del blocs[statement.bloc]


#: Under which reason a belief rests on which stances, for those who ask because of what.
_GROUNDS: Final[dict[Reason, frozenset[Stance]]] = {
    Reason.RETRACTED: frozenset(),
    Reason.ONLY_WITHHELD: frozenset({Stance.WITHHOLDS}),
    Reason.CONFLICT: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.TOO_FEW_SPEAKERS: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.OUTWEIGHED_BY_DOUBT: frozenset(Stance),
    Reason.UNCORROBORATED: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.UNCONTRADICTED: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.TIED: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.OUTVOTED: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.LATEST_WORD: frozenset({Stance.ASSERTS, Stance.DENIES}),
    Reason.DENIED_BY_ANY: frozenset({Stance.DENIES}),
    Reason.RULED: frozenset(),
}


def grounds(reason: Reason) -> frozenset[Stance]:
    """The stances of the standing statements on which a belief with this reason rests."""
    return _GROUNDS[reason]


class Transition(NamedTuple):
    """One event changing the verdict on one claim under one policy."""

    policy: str
    claim: str
    position: int
    before: Verdict | None  #: None where the claim begins.
    after: Verdict | None  #: None where it is merged away.
    effective_at: datetime | None  #: the earliest among the statements that began or ceased to stand.
    retroactive: bool  #: it tells of a time before the latest that was known of.


class Move(NamedTuple):
    """One speaker's standing statement on one claim giving way to another."""

    old: RecordedStatement | None
    new: RecordedStatement | None


class ArticleLife(NamedTuple):
    """Where a URL stands: its newest revision, and whether that is live."""

    first_position: int  #: where the URL was first recorded.
    revision: int  #: the newest.
    position: int | None  #: where that was recorded; None once it is retracted.
    statements: list[RecordedStatement]  #: those live now; none once it is retracted.


class Ruling(NamedTuple):
    """The state that an editor set."""

    claim: str
    state: State
    position: int  #: of the event that set it.


def verdict_of(policy: Policy, tally: Tally, ruling: Ruling | None) -> Verdict:
    """What a policy makes of a claim, unless an editor ruled on it."""
    return policy.decide(tally) if ruling is None else Verdict(ruling.state, Reason.RULED)


#: All that decides what is believed of a claim at one position.
Standpoint = tuple[Tally, Ruling | None]


def _transitions(
    policies: Sequence[Policy],
    claim: str,
    position: int,
    before: Standpoint | None,
    after: Standpoint | None,
    *,
    moves: Sequence[Move],
    last_before: datetime | None,
) -> list[Transition]:
    """What an event that moved `moves` on a claim changed; None: the claim is not there before, or after."""
    if before == after:
        return []
    verdicts = zip(policies, _verdicts(policies, before), _verdicts(policies, after), strict=True)
    changed = [(policy.id, was, now) for policy, was, now in verdicts if was != now]
    if not changed:
        return []
    told = [each.effective_at for move in moves for each in move if each is not None]
    effective_at = min(told, default=None)
    retroactive = effective_at is not None and last_before is not None and effective_at < last_before
    return [Transition(id, claim, position, was, now, effective_at, retroactive) for id, was, now in changed]


def _verdicts(policies: Sequence[Policy], at: Standpoint | None) -> Sequence[Verdict | None]:
    if at is None:
        return [None] * len(policies)
    tally, ruling = at
    if ruling is not None:
        return [verdict_of(policy, tally, ruling) for policy in policies]
    return [policy.decide(tally) for policy in policies]


class Span(NamedTuple):
    """A statement that stands on a claim from one position until another."""

    since: int
    until: int
    statement: RecordedStatement


def retrace(
    policy: Policy,
    claim: str,
    spans: Iterable[Span],
    *,
    lives: Iterable[tuple[int, int]],
    rulings: Iterable[tuple[int, int, Ruling]],
    until: int,
) -> list[Transition]:
    """The transitions of one claim up to position `until`, from what stood on it when.

    `lives` says from which position until which the claim is there (it is not
    while it is merged away), `rulings` when which ruling is in force. Gives what
    the fold gave when it made them.
    """
    moves: dict[int, dict[str, Move]] = {}
    for since, to, statement in spans:
        for position, old, new in ((since, None, statement), (to, statement, None)):
            if position <= until:
                at = moves.setdefault(position, {})
                move = at.get(statement.speaker, Move(None, None))
                at[statement.speaker] = Move(move.old or old, move.new or new)
    lives, rulings = list(lives), list(rulings)
    turns = {turn for span in lives for turn in span} | {turn for span in rulings for turn in span[:2]}
    stands = Standing()
    before: Standpoint | None = None
    chain: list[Transition] = []
    for position in sorted(moves.keys() | {turn for turn in turns if turn <= until}):
        of_event = list(moves.get(position, {}).values())
        last_before = stands.last_effective_at()
        for move in of_event:
            stands.move(move.old, move.new)
        there = any(since <= position < to for since, to in lives)
        ruling = next((each for since, to, each in rulings if since <= position < to), None)
        after = (stands.tally(), ruling) if there else None
        chain += _transitions(
            [policy],
            claim,
            position,
            before,
            after,
            moves=of_event,
            last_before=None if before is None else last_before,
        )
        before = after
    return chain


def retold(
    policy: Policy, claim: str, known: Iterable[tuple[RecordedStatement, bool]], *, said_by: datetime | None
) -> list[Transition]:
    """The chain of states of one claim as time runs along what was said, of all that is known.

    `known` are its statements as they count, each with whether it is live; those
    that are not only tell since when the claim exists. A transition here is of the
    moment when it was said; its position is that of the last event that tells of
    that moment. Rulings were not said, so they do not count.
    """
    told = [each for each in known if said_by is None or each[0].effective_at <= said_by]
    told.sort(key=lambda each: each[0].effective_at)
    stands = Standing()
    before: Standpoint | None = None
    chain: list[Transition] = []
    for effective_at, of_moment in itertools.groupby(told, key=lambda each: each[0].effective_at):
        position = 0
        for statement, live in of_moment:
            position = max(position, statement.position)
            old = stands.by_speaker.get(statement.speaker)
            if live and (old is None or statement.key > old.key):
                stands.move(old, statement)
        after = (stands.tally(), None)
        was = None if before is None else verdict_of(policy, *before)
        now = verdict_of(policy, *after)
        if was != now:
            chain.append(Transition(policy.id, claim, position, was, now, effective_at, False))
        before = after
    return chain


@dataclass(slots=True)
class Change:
    """What one event did: statements begun and ended, standing moved, tallies and verdicts changed."""

    position: int
    #: The event's article as it was and as it is; None: it has none, or it was not recorded yet.
    before: ArticleLife | None = None
    after: ArticleLife | None = None
    began: list[RecordedStatement] = field(default_factory=list[RecordedStatement])
    ended: list[RecordedStatement] = field(default_factory=list[RecordedStatement])
    moves: list[Move] = field(default_factory=list[Move])
    #: The new tally of each claim whose counts changed; None where it is merged away.
    tallies: dict[str, Tally | None] = field(default_factory=dict[str, Tally | None])
    transitions: list[Transition] = field(default_factory=list[Transition])
    merge: Merge | None = None  #: made or undone by the event.


class Fold:
    """The beliefs that follow from events, one event at a time, in order of the log.

    Starts empty, or with what was stored of the past: a caller that has that
    hands in the part that the coming events touch. That is

    - all merges in force;
    - for each URL they name, its article;
    - for each claim they name, or that those articles' live statements name, the
      standing of the claim that it counts for, in which at least the speakers are met
      who are named with it there, and its ruling;
    - for a merge of speakers and its undoing, the same for each claim on which either stands;
    - for each (claim, speaker) that may lose a statement, or that an undone merge
      takes apart, the live statements of all ids that count for the same two.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.articles: dict[str, ArticleLife] = {}
        #: By claim, of those that are not merged away, as they count.
        self.claims: dict[str, Standing] = {}
        #: By claim and speaker as their articles name them.
        self.live: dict[str, dict[str, list[RecordedStatement]]] = {}
        self.merges = Merges()
        #: By the claim that was ruled on; one sleeps while its claim is merged away.
        self.rulings: dict[str, Ruling] = {}

    def apply(self, event: Event, position: int, *, ordinals: Sequence[int] | None = None) -> Change:
        """Take in the event at `position`, and say what it changed.

        Of an article that is here without some of its claims, `ordinals` are the
        places that its statements have in the whole.

        Raises ValueError where no log that `append` wrote goes on like this; then
        nothing was taken in.
        """
        change = Change(position)
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                before = change.before = self.articles.get(article.url)
                newest = 0 if before is None else before.revision
                if article.revision != newest + 1:
                    raise ValueError(f"revision {article.revision} of {article.url} follows revision {newest}")
                first_position = position if before is None else before.first_position
                change.began = statements_of(article, position=position, first_position=first_position)
                if ordinals is not None:
                    placed = zip(change.began, ordinals, strict=True)
                    change.began = [each._replace(ordinal=ordinal) for each, ordinal in placed]
                after = ArticleLife(first_position, article.revision, position, change.began)
                change.after = self.articles[article.url] = after
                self._replace(change)
            case ArticleRetracted(url=url):
                before = change.before = self.articles.get(url)
                if before is None or before.position is None:
                    raise ValueError(f"{url} is retracted, and was not live")
                change.after = self.articles[url] = before._replace(position=None, statements=[])
                self._replace(change)
            case ClaimsMerged(claim=claim, into=into, opposite=opposite):
                self._merge(change, Merge(position, Kind.CLAIM, claim, into, opposite is True))
            case SpeakersMerged(speaker=speaker, into=into):
                self._merge(change, Merge(position, Kind.SPEAKER, speaker, into, False))
            case MergeUndone(position=made):
                self._undo(change, self.merges.in_force(made))
            case ClaimRuled(claim=claim, state=state):
                self._rule(change, claim, Ruling(claim, state, position))
            case RulingLifted(claim=claim):
                if claim not in self.rulings:
                    raise ValueError(f"{claim} is not ruled on")
                self._rule(change, claim, None)
            case ClaimsRelated() | PolicyAdopted() | TextErased():
                pass
            case _:
                assert_never(event)
        return change

    # --- articles: statements begin and end ---------------------------------------------

    def _replace(self, change: Change) -> None:
        if change.before is not None:
            change.ended = change.before.statements
        #: By claim and speaker, as they count, the greatest that began; None where some only ended.
        touched: dict[str, dict[str, RecordedStatement | None]] = {}
        lessened: set[tuple[str, str]] = set()
        for statement in change.ended:
            self.live[statement.claim][statement.speaker].remove(statement)
            as_counted = counted(statement, self.merges)
            lessened.add((as_counted.claim, as_counted.speaker))
            touched.setdefault(as_counted.claim, {})[as_counted.speaker] = None
        for statement in change.began:
            self.live.setdefault(statement.claim, {}).setdefault(statement.speaker, []).append(statement)
            as_counted = counted(statement, self.merges)
            greatest = touched.setdefault(as_counted.claim, {})
            rival = greatest.get(as_counted.speaker)
            if rival is None or as_counted.key > rival.key:
                greatest[as_counted.speaker] = as_counted
        for claim in sorted(touched):
            stands = self.claims.get(claim)
            moves: list[Move] = []
            for speaker, new in touched[claim].items():
                old = None if stands is None else stands.by_speaker.get(speaker)
                if (claim, speaker) in lessened:
                    moves.append(Move(old, self._greatest(claim, speaker)))
                elif new is not None:
                    moves.append(_greater(old, new))
            self._move(change, claim, moves)

    # --- merges: statements count for others ----------------------------------------------

    def _merge(self, change: Change, merge: Merge) -> None:
        self.merges.check(merge)
        for id in (merge.merged, merge.into):
            if merge.kind is Kind.CLAIM and id not in self.claims:
                raise ValueError(f"{id} was never named")
        change.merge = merge
        if merge.kind is Kind.CLAIM:
            gone, stays = self.claims[merge.merged], self.claims[merge.into]
            joined = [
                each._replace(claim=merge.into, stance=opposite_of(each.stance) if merge.opposite else each.stance)
                for each in gone.by_speaker.values()
            ]
            self.merges.add(merge)
            self._move(change, merge.merged, [Move(each, None) for each in gone.by_speaker.values()], ends=True)
            self._move(change, merge.into, [_greater(stays.by_speaker.get(each.speaker), each) for each in joined])
            return
        self.merges.add(merge)
        for claim in sorted(self.claims):
            stands = self.claims[claim].by_speaker
            old = stands.get(merge.merged)
            if old is not None:
                joined = old._replace(speaker=merge.into)
                self._move(change, claim, [Move(old, None), _greater(stands.get(merge.into), joined)])

    def _undo(self, change: Change, merge: Merge) -> None:
        """Take a merge apart: what it joined is sought anew among what is live."""
        change.merge = merge
        survivor = self.merges.survivor(merge.kind, merge.into).id
        self.merges.remove(merge)
        if merge.kind is Kind.CLAIM:
            speakers = {
                self.merges.speaker(speaker)
                for member in self.merges.members(Kind.CLAIM, merge.merged)
                for speaker in self.live.get(member, ())
            }
            stands = self.claims[survivor].by_speaker
            left = [Move(stands.get(speaker), self._greatest(survivor, speaker)) for speaker in sorted(speakers)]
            back = [Move(None, self._greatest(merge.merged, speaker)) for speaker in sorted(speakers)]
            self._move(change, survivor, left)
            self._move(change, merge.merged, back)
            return
        for claim in sorted(self.claims):
            old = self.claims[claim].by_speaker.get(survivor)
            if old is not None:
                stays = Move(old, self._greatest(claim, survivor))
                self._move(change, claim, [stays, Move(None, self._greatest(claim, merge.merged))])

    def _greatest(self, claim: str, speaker: str) -> RecordedStatement | None:
        """Of all live statements that count for a claim and a speaker, the one that stands."""
        said = (
            counted(each, self.merges)
            for member in self.merges.members(Kind.CLAIM, claim)
            for voice in self.merges.members(Kind.SPEAKER, speaker)
            for each in self.live.get(member, {}).get(voice, ())
        )
        return max(said, key=key_of, default=None)

    # --- what follows -----------------------------------------------------------------------

    def _rule(self, change: Change, claim: str, ruling: Ruling | None) -> None:
        if self.merges.claim(claim).id != claim:
            raise ValueError(f"{claim} is merged away")
        if claim not in self.claims:
            raise ValueError(f"{claim} was never named")
        tally = self.claims[claim].tally()
        before, after = (tally, self.rulings.get(claim)), (tally, ruling)
        if ruling is None:
            del self.rulings[claim]
        else:
            self.rulings[claim] = ruling
        change.transitions += _transitions(
            self.policies, claim, change.position, before, after, moves=(), last_before=None
        )

    def _move(self, change: Change, claim: str, moves: Sequence[Move], *, ends: bool = False) -> None:
        """Let a claim take in moves: begin with them if it is not there, and end with them if it `ends`."""
        moves = [move for move in moves if move.old != move.new]
        stands = self.claims.get(claim)
        ruling = self.rulings.get(claim)
        before = None if stands is None else (stands.tally(), ruling)
        last_before = None if stands is None else stands.last_effective_at()
        if stands is None:
            stands = self.claims[claim] = Standing()
        for move in moves:
            stands.move(move.old, move.new)
        after = None if ends else (stands.tally(), ruling)
        if ends:
            del self.claims[claim]
        if after is None or before is None or after[0][:3] != before[0][:3]:
            change.tallies[claim] = None if after is None else after[0]
        change.moves += moves
        change.transitions += _transitions(
            self.policies, claim, change.position, before, after, moves=moves, last_before=last_before
        )

    def verdicts(self, policy: Policy) -> Iterator[tuple[str, Verdict]]:
        """Every claim with its verdict under `policy`, in byte order of slug."""
        for claim in sorted(self.claims):
            yield claim, verdict_of(policy, self.claims[claim].tally(), self.rulings.get(claim))


def counted(statement: RecordedStatement, merges: Merges) -> RecordedStatement:
    """A statement as it counts under `merges`: for the survivors of its claim and speaker."""
    if merges.of(Kind.CLAIM, statement.claim) is None and merges.of(Kind.SPEAKER, statement.speaker) is None:
        return statement
    claim, speaker = merges.claim(statement.claim), merges.speaker(statement.speaker)
    stance = opposite_of(statement.stance) if claim.opposite else statement.stance
    return statement._replace(claim=claim.id, speaker=speaker, stance=stance)


def _greater(old: RecordedStatement | None, rival: RecordedStatement) -> Move:
    """What a rival does to the statement that stands."""
    return Move(old, rival if old is None or rival.key > old.key else old)
