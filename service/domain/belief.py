"""From statements to beliefs: what is live, what stands, what follows.

All reasoning about belief is here, pure, and everything uses it: the projector,
the replay, `verify`, the reads as of a point in time. So they cannot disagree.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, assert_never

from service.domain import moment
from service.domain.article import Article, Stance
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Event
from service.domain.policies import Policy, Reason, Tally, Verdict


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

    @property
    def key(self) -> tuple[datetime, datetime, int, int]:
        """Of one speaker's live statements on one claim the one with the greatest key stands.

        What was said later stands, whenever it reached us. Arrival decides only
        between articles that their dates cannot order, and by the URL's first
        arrival, so that mending a typo never overtakes a newer article.
        """
        return (self.effective_at, self.published_end, self.first_position, self.ordinal)

    @property
    def decisive(self) -> bool:
        """Whether it takes a side."""
        return self.stance is not Stance.WITHHOLDS


def statements_of(article: Article, *, position: int, first_position: int) -> list[RecordedStatement]:
    """The statements of an article recorded at `position`, whose URL came first at `first_position`."""
    published_end = moment.end(article.published_at)
    return [
        RecordedStatement(
            claim.claim,
            article.speaker_of(statement),
            statement.stance,
            statement.speaker.bloc if statement.speaker is not None else None,
            article.effective_at(statement),
            published_end,
            first_position,
            position,
            ordinal,
        )
        for ordinal, claim, statement in article.statements()
    ]


def standing(live: Iterable[RecordedStatement]) -> dict[str, RecordedStatement]:
    """Of each speaker's live statements on one claim, the one that counts."""
    stands: dict[str, RecordedStatement] = {}
    for statement in live:
        rival = stands.get(statement.speaker)
        if rival is None or statement.key > rival.key:
            stands[statement.speaker] = statement
    return stands


class Standing:
    """The standing statements of one claim, by speaker, counted as they change."""

    __slots__ = ("_blocs", "_counts", "_last", "_latest", "_stale_last", "_stale_latest", "by_speaker")

    def __init__(self, statements: Iterable[RecordedStatement] = ()) -> None:
        self.by_speaker: dict[str, RecordedStatement] = {}
        self._counts: dict[Stance, int] = dict.fromkeys(Stance, 0)
        self._blocs: dict[Stance, dict[str, int]] = {Stance.ASSERTS: {}, Stance.DENIES: {}}
        self._latest: RecordedStatement | None = None
        self._last: datetime | None = None
        # The greatest of many is kept while statements come, and searched anew
        # only after it has gone: so one more statement does not cost the whole claim.
        self._stale_latest = self._stale_last = False
        for statement in statements:
            self.move(self.by_speaker.get(statement.speaker), statement)

    def move(self, old: RecordedStatement | None, new: RecordedStatement | None) -> None:
        """One speaker's standing statement gives way to another; None: there was or will be none."""
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
        if self._stale_latest:
            decisive = (each for each in self.by_speaker.values() if each.decisive)
            self._latest = max(decisive, key=lambda each: each.key, default=None)
            self._stale_latest = False
        return Tally(
            self._counts[Stance.ASSERTS],
            self._counts[Stance.DENIES],
            self._counts[Stance.WITHHOLDS],
            len(self._blocs[Stance.ASSERTS]),
            len(self._blocs[Stance.DENIES]),
            None if self._latest is None else self._latest.stance,
        )

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
            self._last = max((each.effective_at for each in self.by_speaker.values()), default=None)
            self._stale_last = False
        return self._last

    def _count(self, statement: RecordedStatement, by: int) -> None:
        self._counts[statement.stance] += by
        if statement.bloc is not None and statement.decisive:
            blocs = self._blocs[statement.stance]
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
    after: Verdict
    effective_at: datetime  #: the earliest among the statements that began or ceased to stand.
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


def _transitions(
    policies: Iterable[Policy], claim: str, position: int, stands: Standing, moves: Sequence[Move], *, begins: bool
) -> list[Transition]:
    """Let `stands` take in the moves of one event, and say which verdicts that changed."""
    if not moves:
        return []
    before, last_before = stands.tally(), stands.last_effective_at()
    for move in moves:
        stands.move(move.old, move.new)
    after = stands.tally()
    if after == before and not begins:
        return []
    effective_at = min(each.effective_at for move in moves for each in move if each is not None)
    retroactive = last_before is not None and effective_at < last_before
    transitions: list[Transition] = []
    for policy in policies:
        was = None if begins else policy.decide(before)
        now = policy.decide(after)
        if was != now:
            transitions.append(Transition(policy.id, claim, position, was, now, effective_at, retroactive))
    return transitions


def retrace(policy: Policy, spans: Iterable[tuple[int, int, RecordedStatement]], *, until: int) -> list[Transition]:
    """The transitions of one claim up to position `until`, from what stood on it when.

    `spans` says of each statement that ever stood from which position it did and
    from which it no longer did. Gives what the fold gave when it made them.
    """
    moves: dict[int, dict[str, Move]] = {}
    for since, to, statement in spans:
        for position, old, new in ((since, None, statement), (to, statement, None)):
            if position <= until:
                at = moves.setdefault(position, {})
                move = at.get(statement.speaker, Move(None, None))
                at[statement.speaker] = Move(move.old or old, move.new or new)
    stands = Standing()
    chain: list[Transition] = []
    for position in sorted(moves):
        of_event = list(moves[position].values())
        claim = next(each.claim for move in of_event for each in move if each is not None)
        chain += _transitions([policy], claim, position, stands, of_event, begins=position == min(moves))
    return chain


@dataclass(slots=True)
class Change:
    """What one event did: statements begun and ended, standing moved, tallies and verdicts changed."""

    position: int
    before: ArticleLife | None = None  #: the event's article as it was; None: not recorded yet.
    after: ArticleLife | None = None
    began: list[RecordedStatement] = field(default_factory=list[RecordedStatement])
    ended: list[RecordedStatement] = field(default_factory=list[RecordedStatement])
    moves: list[Move] = field(default_factory=list[Move])
    tallies: dict[str, Tally] = field(
        default_factory=dict[str, Tally]
    )  #: the new tally of each claim whose counts changed.
    transitions: list[Transition] = field(default_factory=list[Transition])


class Fold:
    """The beliefs that follow from events, one event at a time, in order of the log.

    Starts empty, or with what `articles`, `claims` and `live` say of the past: a
    caller that has that stored hands in the part that the coming events touch.
    What the events touch is, for each URL they name, its article; for each claim
    they name or that those articles' live statements name, its standing; for
    each (claim, speaker) that may lose a statement, all its live statements.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.articles: dict[str, ArticleLife] = {}
        self.claims: dict[str, Standing] = {}
        self.live: dict[tuple[str, str], list[RecordedStatement]] = {}

    def apply(self, event: Event, position: int) -> Change:
        """Take in the event at `position`, and say what it changed.

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
                after = ArticleLife(first_position, article.revision, position, change.began)
                change.after = self.articles[article.url] = after
            case ArticleRetracted(url=url):
                before = change.before = self.articles.get(url)
                if before is None or before.position is None:
                    raise ValueError(f"{url} is retracted, and was not live")
                change.after = self.articles[url] = before._replace(position=None, statements=[])
            case _:
                assert_never(event)
        if before is not None:
            change.ended = before.statements
        self._move(change)
        return change

    def _move(self, change: Change) -> None:
        touched: dict[str, dict[str, None]] = {}  # claim -> speakers, in order of first mention
        lessened: set[tuple[str, str]] = set()
        for statement in change.ended:
            pair = (statement.claim, statement.speaker)
            self.live[pair].remove(statement)
            lessened.add(pair)
            touched.setdefault(statement.claim, {})[statement.speaker] = None
        greatest: dict[tuple[str, str], RecordedStatement] = {}
        for statement in change.began:
            pair = (statement.claim, statement.speaker)
            self.live.setdefault(pair, []).append(statement)
            rival = greatest.get(pair)
            if rival is None or statement.key > rival.key:
                greatest[pair] = statement
            touched.setdefault(statement.claim, {})[statement.speaker] = None
        for claim in sorted(touched):
            self._move_claim(change, claim, touched[claim], lessened, greatest)

    def _move_claim(
        self,
        change: Change,
        claim: str,
        speakers: Iterable[str],
        lessened: set[tuple[str, str]],
        greatest: dict[tuple[str, str], RecordedStatement],
    ) -> None:
        stands = self.claims.get(claim)
        begins = stands is None
        if stands is None:
            stands = self.claims[claim] = Standing()
        moves: list[Move] = []
        for speaker in speakers:
            pair = (claim, speaker)
            old = stands.by_speaker.get(speaker)
            if pair in lessened:
                new = max(self.live[pair], key=lambda each: each.key, default=None)
            else:
                new = greatest[pair]
                if old is not None and old.key > new.key:
                    new = old
            if new != old:
                moves.append(Move(old, new))
        before = stands.tally()
        transitions = _transitions(self.policies, claim, change.position, stands, moves, begins=begins)
        after = stands.tally()
        if begins or after[:3] != before[:3]:
            change.tallies[claim] = after
        change.moves += moves
        change.transitions += transitions

    def verdicts(self, policy: Policy) -> Iterator[tuple[str, Verdict]]:
        """Every claim with its verdict under `policy`, in byte order of slug."""
        for claim in sorted(self.claims):
            yield claim, policy.decide(self.claims[claim].tally())
