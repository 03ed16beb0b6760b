"""Replay: what would be believed under another policy, or had somebody not been heard, and what of it differs."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from service import log
from service.audit.folding import (
    FIRST,
    believed_stored,
    last_position,
    live_generation,
    outline_of,
    policy_in_force,
    said_in,
    uncollected,
)
from service.domain import policies
from service.domain.belief import tally_of, verdict_of
from service.domain.errors import BadArgument, SpeakerUnknown, TooBroad
from service.domain.policies import Policy, Reason, State
from service.domain.recount import Recount
from service.log import Stored


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


# --- the log, read once -------------------------------------------------------------------

#: A policy, None being the one in force, with what does not count.
Wanted = tuple[Policy | None, LeftOut]


def replay(
    entries: Iterable[Stored],
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


def replays(entries: Iterable[Stored], wanted: Sequence[Wanted], *, to: int | None = None) -> list[Replay]:
    """Several outcomes of one reading of a log, which is held in memory; `compare` reads that of a database."""
    held = [each for each in entries if to is None or each.position <= to]
    later = [each for each in held if each.type != FIRST]
    return _replays(later, held, wanted, at=held[-1].position if held else 0)


def _replays(later: Iterable[Stored], entries: Iterable[Stored], wanted: Sequence[Wanted], *, at: int) -> list[Replay]:
    """Several outcomes of all entries up to a position, of which those that are no first revisions come before."""
    with uncollected():
        outline = outline_of(later)
        merges = outline.merges
        recounts = {
            left_out: Recount(merges, {merges.speaker(id) for id in left_out.speakers}) for _, left_out in wanted
        }
        speakers = {id for left_out in recounts for id in left_out.speakers}
        outlets = {id for left_out in recounts for id in left_out.outlets}
        for said in said_in(entries, outline):
            for left_out, recount in recounts.items():
                if said.outlet not in left_out.outlets:
                    recount.take(said.statements, live=said.live)
            # What is left of them was never named.
            if outlets:
                outlets.discard(said.outlet)
            if speakers:
                speakers.difference_update([told[1] for told in said.statements])
        for id in sorted(speakers):
            raise SpeakerUnknown(id)
        for id in sorted(outlets):
            raise BadArgument(f"no article on record is by the outlet {id}; check the id")
        made: list[Replay] = []
        for policy, left_out in wanted:
            under = policy or policies.policy(outline.adopted)
            rulings = {} if left_out.rulings else outline.rulings
            found: dict[str, Outcome] = {}
            for claim, stands in recounts[left_out].standing():
                tally = tally_of(stands)
                found[claim] = Outcome(*verdict_of(under, tally, rulings.get(claim)), *tally[:3])
            made.append(Replay(under.id, at, left_out, found))
        return made


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
    wanted: list[Wanted] = [(policy, leave_out)]
    if not isinstance(against, str):
        wanted.append((against, NOTHING))
    with closing(log.stream(conn, to=at, without=FIRST)) as later, closing(log.stream(conn, to=at)) as entries:
        made = _replays(later, entries, wanted, at=at)
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
