"""Replay: what would be believed under another policy, or had somebody not been heard, and what of it differs."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from service.audit.folding import believed_stored, last_position, live_generation
from service.audit.recounting import NOTHING, LeftOut, Recounted, recounted_log
from service.domain import policies
from service.domain.belief import tally_of, verdict_of
from service.domain.errors import TooBroad
from service.domain.policies import Policy, Reason, State


class Outcome(NamedTuple):
    """What a replay makes of one claim."""

    state: State
    reason: Reason
    asserting: int
    denying: int
    withholding: int


#: Claims that are there, in byte order of slug, with what is made of them.
Outcomes = Iterator[tuple[str, Outcome]]


def outcomes(made: Recounted, under: Policy, left_out: LeftOut = NOTHING) -> Outcomes:
    """What a policy makes of what was counted."""
    rulings = made.rulings(left_out)
    for claim, stands in made.standing(left_out):
        tally = tally_of(stands)
        yield claim, Outcome(*verdict_of(under, tally, rulings.get(claim)), *tally[:3])


def outcomes_stored(conn: Connection, under: Policy, position: int) -> Outcomes:
    """The same as the read tables have it. Raises NothingProjected, NotYetProjected.

    A claim that has counts and no verdict, which only damage can leave, is left out.
    """
    for each in believed_stored(conn, live_generation(conn), under, position):
        if each.verdict is not None:
            yield each.claim, Outcome(*each.verdict, *each.counts)


@contextmanager
def replay(
    conn: Connection, policy: Policy, *, to: int | None = None, leave_out: LeftOut = NOTHING
) -> Generator[Outcomes]:
    """What is believed after the log, or up to position `to`, with something left out: to be read in the block.

    Raises BadArgument, SpeakerUnknown, EventUnfoldable, NoRoomToCount.
    """
    with recounted_log(conn, [leave_out], to=last_position(conn, to)) as made:
        yield outcomes(made, policy, leave_out)


# --- compared -----------------------------------------------------------------------------


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


def side_by_side(before: Outcomes, after: Outcomes) -> Iterator[tuple[str, Outcome | None, Outcome | None]]:
    """Every claim that is there before or after, in byte order of slug, with what is made of it; None: it is not."""
    was, now = next(before, None), next(after, None)
    while was is not None or now is not None:
        if now is None or (was is not None and was[0] < now[0]):
            assert was is not None
            yield *was, None
            was = next(before, None)
        elif was is None or now[0] < was[0]:
            yield now[0], None, now[1]
            now = next(after, None)
        else:
            yield *was, now[1]
            was, now = next(before, None), next(after, None)


#: What a replay is compared with where it is not another policy.
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Replay:
    """The log up to a position, under one policy, with something left out."""

    policy: str
    position: int
    left_out: LeftOut
    claims: int  #: how many are there.


@dataclass(frozen=True, slots=True)
class Comparison:
    """A replay, what it was compared with, and where they differ: `before` is what it was compared with."""

    replay: Replay
    against: Replay
    stored: bool  #: whether that is from the read tables.
    claims: int  #: how many are there in either.
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
    "stored". Both outcomes go by claim by claim, and the differences alone are kept.

    Raises TooBroad where more than `events_max` events would have to be folded, BadArgument, SpeakerUnknown,
    EventUnfoldable, NoRoomToCount; and of the read tables NothingProjected, NotYetProjected.
    """
    at = last_position(conn, to)
    if events_max is not None and at > events_max:
        raise TooBroad(found=at, limit=events_max, of="events", advice="ask for an earlier position")
    if against is None:
        against = policy if leave_out else None if policy else STORED
    stored = isinstance(against, str)
    with recounted_log(conn, [leave_out] if stored else [leave_out, NOTHING], to=at) as made:
        in_force = policies.policy(made.outline.adopted)
        under = policy or in_force
        other = under if isinstance(against, str) else against or in_force
        before = outcomes_stored(conn, other, at) if stored else outcomes(made, other)
        claims = claims_before = claims_after = 0
        differences: list[Difference] = []
        for claim, was, now in side_by_side(before, outcomes(made, under, leave_out)):
            claims += 1
            claims_before += was is not None
            claims_after += now is not None
            if was != now:
                differences.append(Difference(claim, was, now))
    return Comparison(
        replay=Replay(under.id, at, leave_out, claims_after),
        against=Replay(other.id, at, NOTHING, claims_before),
        stored=stored,
        claims=claims,
        differences=differences,
    )
