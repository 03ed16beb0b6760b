"""Replay: what would be believed under another policy, or had somebody not been heard, and what of it differs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from service import log
from service.audit.folding import (
    apply,
    believed_stored,
    events_of,
    last_position,
    live_generation,
    policy_in_force,
)
from service.domain import policies
from service.domain.belief import Fold, RecordedStatement, Standing, counted, standing, verdict_of
from service.domain.errors import BadArgument, SpeakerUnknown, TooBroad
from service.domain.events import ArticleRecorded, ArticleRevised, Envelope, Event, PolicyAdopted
from service.domain.merges import Kind
from service.domain.policies import Policy, Reason, State


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What does not count in a replay.

    A speaker by any id that counts for the same one at that position; an outlet by
    all that its articles say, whoever says it.
    """

    speakers: frozenset[str] = frozenset()
    outlets: frozenset[str] = frozenset()
    rulings: bool = False

    def __bool__(self) -> bool:
        return bool(self.speakers or self.outlets or self.rulings)


NOTHING = LeftOut()


class Outcome(NamedTuple):
    """What a replay makes of one claim."""

    state: State
    reason: Reason
    asserting: int
    denying: int
    withholding: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What is believed at a position, under one policy, of all claims that are there."""

    policy: str
    position: int
    left_out: LeftOut
    outcomes: dict[str, Outcome] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """A claim of which two outcomes differ; None: it is not there, for nobody who counts speaks of it."""

    claim: str
    before: Outcome | None
    after: Outcome | None

    @property
    def moved(self) -> bool:
        """Whether state or reason differ, and not only how many stand where."""
        return (self.before and self.before[:2]) != (self.after and self.after[:2])


def diff(before: Replay, after: Replay) -> list[Difference]:
    """The claims of which two replays differ, in byte order of slug."""
    claims = before.outcomes.keys() | after.outcomes.keys()
    pairs = ((claim, before.outcomes.get(claim), after.outcomes.get(claim)) for claim in sorted(claims))
    return [Difference(claim, was, now) for claim, was, now in pairs if was != now]


# --- the log, folded once -----------------------------------------------------------------


def replay(
    entries: Iterable[Envelope],
    policy: Policy | None = None,
    *,
    to: int | None = None,
    leave_out: LeftOut = NOTHING,
) -> Replay:
    """What is believed after `entries`, or those up to position `to`, with something left out.

    Without a policy, by the one in force then. Raises EventUnfoldable, and
    SpeakerUnknown or BadArgument where something is to be left out that the log does not name.
    """
    (made,) = replays(entries, [(policy, leave_out)], to=to)
    return made


def replays(
    entries: Iterable[Envelope], wanted: Sequence[tuple[Policy | None, LeftOut]], *, to: int | None = None
) -> list[Replay]:
    """Several outcomes of one reading of the log."""
    folded = _Folded(names=any(leave_out for _, leave_out in wanted))
    for position, event in events_of(entries, to=to):
        folded.take(event, position)
    return [folded.outcome(policy, leave_out) for policy, leave_out in wanted]


class _Folded:
    """What a log comes to, with what it takes to leave something out afterwards.

    Nothing has to be left out while folding: a speaker's standing statement
    depends on nobody else, and whoever is heard through an outlet that is left out is
    sought anew among what is live.
    """

    def __init__(self, *, names: bool) -> None:
        self.fold = Fold(())
        self.position = 0
        self.adopted = policies.DEFAULT
        self._names = names
        self._outlets: dict[int, str] = {}  # by position
        #: By claim as it is named: who was ever heard on it, and through whom.
        self._heard: dict[str, set[tuple[str, str]]] = {}

    def take(self, event: Event, position: int) -> None:
        apply(self.fold, event, position)
        self.position = position
        match event:
            case PolicyAdopted(policy=adopted):
                self.adopted = adopted
            case ArticleRecorded(article=article) | ArticleRevised(article=article) if self._names:
                outlet = self._outlets[position] = article.outlet.id
                for _, claim, statement in article.statements():
                    self._heard.setdefault(claim.claim, set()).add((article.speaker_of(statement), outlet))
            case _:
                pass

    def outcome(self, policy: Policy | None, leave_out: LeftOut) -> Replay:
        under = policy or policies.policy(self.adopted)
        found: dict[str, Outcome] = {}
        for claim, stands in self._claims(leave_out):
            tally = stands.tally()
            ruling = None if leave_out.rulings else self.fold.rulings.get(claim)
            found[claim] = Outcome(*verdict_of(under, tally, ruling), *tally[:3])
        return Replay(under.id, self.position, leave_out, found)

    def _claims(self, leave_out: LeftOut) -> Iterator[tuple[str, Standing]]:
        """The claims that are there, with what stands on them."""
        fold = self.fold
        if not leave_out.speakers and not leave_out.outlets:
            yield from sorted(fold.claims.items())
            return
        self._check(leave_out)
        silent = {fold.merges.speaker(id) for id in leave_out.speakers}
        for claim in sorted(fold.claims):
            if not self._is_named(claim, silent, leave_out.outlets):
                continue
            if leave_out.outlets:
                stands = standing(self._live(claim, leave_out.outlets)).values()
            else:
                stands = fold.claims[claim].by_speaker.values()
            yield claim, Standing(each for each in stands if each.speaker not in silent)

    def _check(self, leave_out: LeftOut) -> None:
        heard = {each for of_claim in self._heard.values() for each in of_claim}
        speakers, outlets = {speaker for speaker, _ in heard}, set(self._outlets.values())
        for id in sorted(leave_out.speakers - speakers):
            raise SpeakerUnknown(id)
        for id in sorted(leave_out.outlets - outlets):
            raise BadArgument(f"no article on record is by the outlet {id}; check the id")

    def _is_named(self, claim: str, silent: set[str], outlets: frozenset[str]) -> bool:
        """Whether anybody who counts was ever heard on a claim."""
        return any(
            outlet not in outlets and self.fold.merges.speaker(speaker) not in silent
            for member in self.fold.merges.members(Kind.CLAIM, claim)
            for speaker, outlet in self._heard.get(member, ())
        )

    def _live(self, claim: str, outlets: frozenset[str]) -> Iterator[RecordedStatement]:
        """The live statements that count for a claim, but for those of the articles of these outlets."""
        for member in self.fold.merges.members(Kind.CLAIM, claim):
            for said in self.fold.live.get(member, {}).values():
                for each in said:
                    if self._outlets[each.position] not in outlets:
                        yield counted(each, self.fold.merges)


# --- compared -----------------------------------------------------------------------------

#: What a replay is compared with where it is not another policy.
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A replay, what it was compared with, and where they differ: `before` is what it was compared with."""

    replay: Replay
    against: Replay
    stored: bool  #: whether that is from the read tables.
    differences: list[Difference]

    @property
    def moved(self) -> list[Difference]:
        """Those in which state or reason differ."""
        return [each for each in self.differences if each.moved]


def compare(
    conn: Connection,
    *,
    policy: Policy | None = None,
    to: int | None = None,
    leave_out: LeftOut = NOTHING,
    against: Policy | str | None = None,
    events_max: int | None = None,
) -> Comparison:
    """Replay the log up to a position, and compare the outcome with another.

    It is compared with `against`, a policy with nothing left out, or "stored": the
    read tables at that position. Not told, it is compared with the same without what was
    left out; or, where only the policy is another, with the one in force; or else with
    what is stored.

    The log is read once, whatever is compared; nothing else is read but for
    "stored". Raises TooBroad where more than `events_max` events would have to be folded,
    BadArgument, SpeakerUnknown, EventUnfoldable; and of the read tables NothingProjected, NotYetProjected.
    """
    at = last_position(conn, to)
    if events_max is not None and at > events_max:
        raise TooBroad(found=at, limit=events_max, of="events", advice="ask for an earlier position")
    if against is None:
        against = policy if leave_out else None if policy else STORED
    wanted = [(policy, leave_out)]
    if not isinstance(against, str):
        wanted.append((against, NOTHING))
    made = replays(log.stream(conn), wanted, to=at)
    other = made[1] if len(made) > 1 else outcomes_stored(conn, policies.policy(made[0].policy), position=at)
    return Comparison(made[0], other, isinstance(against, str), diff(other, made[0]))


def outcomes_stored(conn: Connection, policy: Policy | None = None, *, position: int | None = None) -> Replay:
    """What the read tables say is believed, as a replay, to be compared with one.

    A claim that has counts and no verdict, which only damage can leave, is left out.
    Raises NothingProjected, NotYetProjected.
    """
    generation = live_generation(conn)
    at = generation.position if position is None else position
    under = policy or policy_in_force(conn, at)
    found = {
        each.claim: Outcome(*each.verdict, *each.counts)
        for each in believed_stored(conn, generation, under, at)
        if each.verdict is not None
    }
    return Replay(under.id, at, NOTHING, found)
