"""What the API must answer, worked out from the log alone, each time from nothing.

The slowest and plainest way: no fold, no table, nothing remembered from one position to the next.
Only the rules of policies, of dates and of documents are the service's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain import moment
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
)
from service.domain.policies import Reason, Tally, Verdict, policy

OTHER_SIDE = {Stance.ASSERTS: Stance.DENIES, Stance.DENIES: Stance.ASSERTS, Stance.WITHHOLDS: Stance.WITHHOLDS}
#: Which stances a reason rests on, as the API promises it for `because`.
RESTS_ON = {
    "RETRACTED": "",
    "ONLY_WITHHELD": "W",
    "OUTWEIGHED_BY_DOUBT": "ADW",
    "DENIED_BY_ANY": "D",
    "RULED": "",
}


def text(value: datetime | None) -> str | None:
    """An instant as answers write it."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Said:
    """A statement with all that decides what it does at some moment."""

    position: int
    ordinal: int
    named: str  #: the claim, as its article names it.
    voice: str  #: the speaker, likewise.
    stance: Stance
    bloc: str | None
    outlet: str
    effective_at: datetime
    published_end: datetime
    first_position: int
    live: bool
    claim: str  #: for which it counts.
    speaker: str  #: as whose word.
    counts_as: Stance

    @property
    def rank(self) -> tuple[datetime, datetime, int, int]:
        return (self.effective_at, self.published_end, self.first_position, self.ordinal)

    @property
    def place(self) -> tuple[int, int]:
        return (self.position, self.ordinal)

    @property
    def id(self) -> str:
        return f"Statement:{self.position}.{self.ordinal}"

    @property
    def as_it_counts(self) -> tuple[Any, ...]:
        """What makes it another one in the place where it stands."""
        return (self.position, self.ordinal, self.claim, self.speaker, self.counts_as)


@dataclass(frozen=True)
class Step:
    """A change of state or reason."""

    position: int
    before: Verdict | None
    after: Verdict | None
    effective_at: datetime | None
    retroactive: bool
    moves: tuple[tuple[str, Said | None, Said | None], ...]  #: by speaker: what stood, what stands.


class Then:
    """What is known at one position, of it only what was said by some moment if one is given."""

    def __init__(self, log: Sequence[Event], position: int, said_by: datetime | None) -> None:
        self.position, self.said_by = position, said_by
        self.into: dict[tuple[str, str], tuple[int, str, bool]] = {}
        self.rulings: dict[str, Verdict] = {}
        self.topics: dict[str, str] = {}
        self.relations: list[tuple[int, ClaimsRelated]] = []
        self.policy = policy("unanimous")
        newest: dict[str, int | None] = {}
        first: dict[str, int] = {}
        held: list[tuple[int, Article]] = []
        for at, event in enumerate(log[:position], 1):
            match event:
                case ArticleRecorded(article=article) | ArticleRevised(article=article):
                    first.setdefault(article.url, at)
                    newest[article.url] = at
                    held.append((at, article))
                    for claim in article.claims:
                        if claim.topic is not None:
                            self.topics.setdefault(claim.claim, claim.topic)
                case ArticleRetracted(url=url):
                    newest[url] = None
                case ClaimsMerged(claim=claim, into=into, opposite=opposite):
                    self.into["claim", claim] = (at, into, bool(opposite))
                case SpeakersMerged(speaker=speaker, into=into):
                    self.into["speaker", speaker] = (at, into, False)
                case MergeUndone(position=made):
                    self.into = {key: merge for key, merge in self.into.items() if merge[0] != made}
                case ClaimRuled(claim=claim, state=state):
                    self.rulings[claim] = Verdict(state, Reason.RULED)
                case RulingLifted(claim=claim):
                    del self.rulings[claim]
                case ClaimsRelated():
                    self.relations.append((at, event))
                case PolicyAdopted(policy=adopted):
                    self.policy = policy(adopted)
                case _:
                    pass
        if said_by is not None:
            self.rulings = {}
        self.said: list[Said] = []
        for at, article in held:
            for ordinal, claim, statement in article.statements():
                voice = statement.speaker.id if statement.speaker else f"outlet:{article.outlet.id}"
                root, opposite = self.root("claim", claim.claim)
                each = Said(
                    at,
                    ordinal,
                    claim.claim,
                    voice,
                    statement.stance,
                    statement.speaker.bloc if statement.speaker else None,
                    article.outlet.id,
                    article.effective_at(statement),
                    moment.end(article.published_at),
                    first[article.url],
                    newest[article.url] == at,
                    root,
                    self.root("speaker", voice)[0],
                    OTHER_SIDE[statement.stance] if opposite else statement.stance,
                )
                if said_by is None or each.effective_at <= said_by:
                    self.said.append(each)
        self.claims: dict[str, list[Said]] = {}
        for each in self.said:
            self.claims.setdefault(each.claim, []).append(each)

    def root(self, kind: str, id: str) -> tuple[str, bool]:
        """For whom an id counts, and whether as its opposite."""
        opposite = False
        while (kind, id) in self.into:
            _, id, turned = self.into[kind, id]
            opposite ^= turned
        return id, opposite

    def merged_into(self, kind: str, id: str) -> set[str]:
        """All ids that count for this one, but itself."""
        return {merged for of, merged in self.into if of == kind and self.root(kind, merged)[0] == id}

    def stands(self, claim: str) -> dict[str, Said]:
        found: dict[str, Said] = {}
        for each in self.claims.get(claim, ()):
            if each.live and (each.speaker not in found or each.rank > found[each.speaker].rank):
                found[each.speaker] = each
        return found

    def tally(self, claim: str) -> Tally:
        stands = list(self.stands(claim).values())
        by = {stance: [each for each in stands if each.counts_as is stance] for stance in Stance}
        blocs = {stance: {each.bloc for each in by[stance] if each.bloc} for stance in Stance}
        decisive = by[Stance.ASSERTS] + by[Stance.DENIES]
        return Tally(
            len(by[Stance.ASSERTS]),
            len(by[Stance.DENIES]),
            len(by[Stance.WITHHOLDS]),
            len(blocs[Stance.ASSERTS]),
            len(blocs[Stance.DENIES]),
            max(decisive, key=lambda each: each.rank).counts_as if decisive else None,
        )

    def verdict(self, claim: str, under: str) -> Verdict | None:
        """None where the claim is not there."""
        if claim not in self.claims:
            return None
        return self.rulings.get(claim) or policy(under).decide(self.tally(claim))

    def because(self, claim: str, reason: str) -> list[Said]:
        """The statements that a reason rests on, newest in the log first."""
        stances = {name[0].upper(): stance for name, stance in ((stance.value, stance) for stance in Stance)}
        wanted = {stances[letter] for letter in RESTS_ON.get(reason, "AD")}
        found = [each for each in self.stands(claim).values() if each.counts_as in wanted]
        if reason == "LATEST_WORD":
            found = [max(found, key=lambda each: each.rank)]
        return sorted(found, key=lambda each: each.place, reverse=True)


class Record:
    """A log, and what follows from it at each moment."""

    def __init__(self, log: Sequence[Event]) -> None:
        self.log = list(log)
        self._then: dict[tuple[int, datetime | None], Then] = {}

    def at(self, position: int, said_by: str | datetime | None = None) -> Then:
        by = moment.end(moment.canonical(said_by)) if isinstance(said_by, str) else said_by
        key = (position, by)
        if key not in self._then:
            self._then[key] = Then(self.log, *key)
        return self._then[key]

    def recorded(self, claim: str, under: str, until: int) -> list[Step]:
        """The history of a claim along the log."""
        steps: list[Step] = []
        for position in range(1, until + 1):
            old, new = self.at(position - 1), self.at(position)
            was, now = old.verdict(claim, under), new.verdict(claim, under)
            if was == now:
                continue
            moves = _moves(old.stands(claim), new.stands(claim))
            told = [each.effective_at for _, *pair in moves for each in pair if each is not None]
            effective_at = min(told, default=None)
            last = max((each.effective_at for each in old.stands(claim).values()), default=None)
            late = was is not None and effective_at is not None and last is not None and effective_at < last
            steps.append(Step(position, was, now, effective_at, late, moves))
        return steps

    def said(self, claim: str, under: str, until: int, said_by: str | None) -> list[Step]:
        """The history of a claim along what was said."""
        steps: list[Step] = []
        was, stood = None, dict[str, Said]()
        for instant in sorted({each.effective_at for each in self.at(until, said_by).claims.get(claim, ())}):
            then = self.at(until, instant)
            now, stands = then.verdict(claim, under), then.stands(claim)
            if now != was:
                of = max(each.position for each in then.claims[claim] if each.effective_at == instant)
                steps.append(Step(of, was, now, instant, False, _moves(stood, stands)))
            was, stood = now, stands
        return steps

    def since(self, claim: str, speaker: str, until: int) -> int:
        """From which position on a speaker's standing statement stands, as it counts."""
        stands = self.at(until).stands(claim)[speaker].as_it_counts
        position = until
        while position > 0:
            before = self.at(position - 1).stands(claim).get(speaker)
            if before is None or before.as_it_counts != stands:
                break
            position -= 1
        return position


def _moves(old: Mapping[str, Said], new: Mapping[str, Said]) -> tuple[tuple[str, Said | None, Said | None], ...]:
    def told(each: Said | None) -> Any:
        return None if each is None else each.as_it_counts

    return tuple(
        (speaker, old.get(speaker), new.get(speaker))
        for speaker in sorted(old.keys() | new.keys())
        if told(old.get(speaker)) != told(new.get(speaker))
    )
