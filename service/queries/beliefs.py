"""What is believed of claims, how that came about, and what it changed, on both axes of time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from service.domain import belief
from service.domain.belief import Ruling, Standing
from service.domain.errors import BadArgument, TooBroad
from service.domain.policies import Policy, Reason, State, Tally, Verdict
from service.queries.driver import Row, fetched, text_array
from service.queries.paging import By, Listing, Page, Slice, cut
from service.queries.snapshot import AsOf, View
from service.queries.statements import spans, stands_on, told_on

#: How many claims may be folded for one answer.
FOLDED_MAX: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Transition(NamedTuple):
    """One event changing the state or reason of one claim under one policy."""

    policy: str
    claim: str
    position: int
    before: Verdict | None  #: None where the claim begins.
    after: Verdict | None  #: None where it is merged away.
    effective_at: datetime | None
    retroactive: bool
    recorded_at: datetime
    said: bool = False  #: it is of the moment when it was said, not of its position.


class Belief(NamedTuple):
    """What a policy makes of one claim."""

    policy: str
    claim: str
    state: State
    reason: Reason
    asserting: int
    denying: int
    withholding: int
    unruled: Verdict  #: what the policy says alone.
    since: Transition

    @property
    def verdict(self) -> Verdict:
        """State and reason."""
        return Verdict(self.state, self.reason)


def microseconds(since: Transition) -> int:
    """When the words moved it, since 1970."""
    assert since.effective_at is not None
    # Never by a float, which has no room for microseconds.
    return (since.effective_at - _EPOCH) // timedelta(microseconds=1)


_TRANSITION: Final = "t.policy, t.claim, t.position, t.from_state, t.from_reason, t.to_state, t.to_reason"
_TRANSITION_SHOWN: Final = {
    "effective_at": "t.effective_at",
    "retroactive": "t.retroactive",
    "recorded_at": "(SELECT e.recorded_at FROM onrecord.event e WHERE e.position = t.position)",
}

#: Every verdict that can be, to look them up; there is none where the state is null.
_VERDICTS: Final = {
    (None, None): None,
    **{(state.value, reason.value): Verdict(state, reason) for state in State for reason in Reason},
}


def _transition(row: Row) -> Transition:
    policy, claim, position, from_state, from_reason, to_state, to_reason, *told = row
    before, after = _VERDICTS[from_state, from_reason], _VERDICTS[to_state, to_reason]
    return Transition(policy, claim, position, before, after, *told)


_BELIEFS: Final = """
    SELECT y.asserting, y.denying, y.withholding, {columns}
      FROM unnest(%(claims)s::text[]) AS p(claim),
           LATERAL (SELECT * FROM transition t
                     WHERE t.policy = %(policy)s AND t.claim = p.claim AND t.position <= %(position)s
                     ORDER BY t.position DESC LIMIT 1) t,
           LATERAL (SELECT * FROM tally y
                     WHERE y.claim = p.claim AND y.position <= %(position)s
                     ORDER BY y.position DESC LIMIT 1) y
     WHERE t.to_state IS NOT NULL
"""


def beliefs(view: View, claims: Collection[str], policy: Policy) -> dict[str, Belief]:
    """What `policy` makes of each of the claims that exist, by slug: read where it is projected, else folded."""
    if not claims:
        return {}
    if view.said_by is not None or policy.id not in view.snapshot.policies:
        return _beliefs_folded(view, claims, policy)
    found = fetched(
        view.conn,
        _BELIEFS.format(columns=view.columns(_TRANSITION, _TRANSITION_SHOWN)),
        {**view.parameters, "claims": text_array(list(set(claims))), "policy": policy.id},
    )
    began = [(_transition(row[3:]), row) for row in found]
    ruled = [since.claim for since, _ in began if since.after is not None and since.after.reason is Reason.RULED]
    # A ruling hides what the policy says alone, so that is folded.
    alone = {claim: policy.decide(tally) for claim, tally in _tallies(view, ruled).items()} if ruled else {}
    read: dict[str, Belief] = {}
    for since, row in began:
        assert since.after is not None
        unruled = alone.get(since.claim, since.after)
        read[since.claim] = Belief(
            policy.id, since.claim, since.after.state, since.after.reason, row[0], row[1], row[2], unruled, since
        )
    return read


def _tallies(view: View, claims: Collection[str]) -> dict[str, Tally]:
    return {claim: Standing(of).tally() for claim, of in stands_on(view, claims).items()}


def _beliefs_folded(view: View, claims: Collection[str], policy: Policy) -> dict[str, Belief]:
    chains = _chains(view, claims, policy, said=view.said_by is not None)
    tallies = _tallies(view, chains)
    folded: dict[str, Belief] = {}
    for claim, chain in chains.items():
        if chain and chain[-1].after is not None:
            verdict, tally = chain[-1].after, tallies[claim]
            folded[claim] = Belief(
                policy.id,
                claim,
                verdict.state,
                verdict.reason,
                tally.asserting,
                tally.denying,
                tally.withholding,
                policy.decide(tally),
                chain[-1],
            )
    return folded


# --- histories --------------------------------------------------------------------

HISTORY = Listing(
    _TRANSITION,
    "transition t",
    (By("t.position"),),
    _transition,
    shown=_TRANSITION_SHOWN,
)
#: The order of a history along what was said: by the moment, in microseconds.
SAID: Final = (By("said"),)


def histories(view: View, claims: Sequence[str], policy: Policy, page: Page) -> list[Slice[Transition]]:
    """The chain of transitions of each claim, in order of the log."""
    if policy.id in view.snapshot.policies:
        return HISTORY.pages(
            view,
            page,
            ["t.policy = %(policy)s", "t.claim = p.claim", "t.position <= %(position)s"],
            {**view.parameters, "policy": policy.id},
            parents={"claim": ("text", claims)},
        )
    chains = _chains(view, claims, policy, said=False)
    return [cut((((each.position,), each) for each in chains[claim]), HISTORY.order, page) for claim in claims]


def histories_said(view: View, claims: Sequence[str], policy: Policy, page: Page) -> list[Slice[Transition]]:
    """The chain of states of each claim as time runs along what was said, of all that is known."""
    chains = _chains(view, claims, policy, said=True)
    return [cut((((microseconds(each),), each) for each in chains[claim]), SAID, page) for claim in claims]


_LIVES = """
    SELECT t.claim, t.position, t.until_position, t.to_state IS NOT NULL
      FROM transition t WHERE t.policy = %(any)s AND t.claim = ANY(%(claims)s) AND t.position <= %(position)s
     ORDER BY t.position
"""
_RULINGS = """
    SELECT r.claim, r.position, r.until_position, r.state
      FROM ruling r WHERE r.claim = ANY(%(claims)s) AND r.position <= %(position)s
"""


def _chains(view: View, claims: Collection[str], policy: Policy, *, said: bool) -> dict[str, list[Transition]]:
    """The transitions of each claim, folded: along what was said, or along the log."""
    slugs = list(dict.fromkeys(claims))
    chains: dict[str, list[belief.Transition]]
    if said:
        told = told_on(view, slugs)
        chains = {claim: belief.retold(policy, claim, told[claim], said_by=view.said_by) for claim in slugs}
    else:
        stood = spans(view, slugs)
        parameters = {**view.parameters, "claims": slugs, "any": next(iter(view.snapshot.policies), "")}
        lives: dict[str, list[tuple[int, int]]] = {claim: [] for claim in slugs}
        for claim, since, until, there in fetched(view.conn, _LIVES, parameters):
            if there:
                lives[claim].append((since, until))
        rulings: dict[str, list[tuple[int, int, Ruling]]] = {claim: [] for claim in slugs}
        for claim, since, until, state in fetched(view.conn, _RULINGS, parameters):
            rulings[claim].append((since, until, Ruling(claim, State(state), since)))
        chains = {
            claim: belief.retrace(
                policy, claim, stood[claim], lives=lives[claim], rulings=rulings[claim], until=view.position
            )
            for claim in slugs
        }
    positions = sorted({each.position for chain in chains.values() for each in chain})
    recording = "SELECT position, recorded_at FROM onrecord.event WHERE position = ANY(%s)"
    recorded: dict[int, datetime] = dict(cast(Any, fetched(view.conn, recording, (positions,))))
    return {
        claim: [Transition(*each, recorded[each.position], said) for each in chain] for claim, chain in chains.items()
    }


# --- changes ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BeliefChange:
    """A claim whose belief differs between two positions."""

    claim: str
    before: Belief | None  #: None where it was not there, or was merged away.
    after: Belief | None


CHANGES: Final = (By("claim", "text"),)

_CHANGED = """
    SELECT DISTINCT t.claim FROM transition t
     WHERE t.policy = %(policy)s AND t.position > %(from)s AND t.position <= %(to)s
     LIMIT %(folded_max)s
"""
_MOVED = """
    SELECT claim FROM (
        SELECT d.claim FROM standing d
         WHERE d.since_position > %(from)s AND d.since_position <= %(to)s
            OR d.until_position > %(from)s AND d.until_position <= %(to)s
        UNION
        SELECT t.claim FROM transition t WHERE t.position > %(from)s AND t.position <= %(to)s
    ) moved LIMIT %(folded_max)s
"""


def changes(view: View, policy: Policy, *, start: int, to: int, page: Page) -> Slice[BeliefChange]:
    """The claims whose state or reason differs between two positions, by slug. Raises TooBroad."""
    projected = policy.id in view.snapshot.policies
    found = fetched(
        view.conn,
        _CHANGED if projected else _MOVED,
        {
            "policy": policy.id,
            "from": start,
            "to": to,
            "folded_max": FOLDED_MAX + 1,
        },
    )
    slugs = [slug for (slug,) in found]
    if len(slugs) > FOLDED_MAX:
        raise TooBroad(found=len(slugs), limit=FOLDED_MAX)
    old = beliefs(view.at(AsOf(start)), slugs, policy)
    new = beliefs(view.at(AsOf(to)), slugs, policy)
    differing = [
        BeliefChange(slug, old.get(slug), new.get(slug))
        for slug in slugs
        if _verdict(old.get(slug)) != _verdict(new.get(slug))
    ]
    return cut((((each.claim,), each) for each in differing), CHANGES, page)


def _verdict(of: Belief | None) -> Verdict | None:
    return None if of is None else of.verdict


OF_EVENT = Listing(
    _TRANSITION,
    "transition t",
    (By("t.claim", "text"),),
    _transition,
    shown=_TRANSITION_SHOWN,
)


def transitions_of_events(view: View, at: Sequence[int], policy: Policy, page: Page) -> list[Slice[Transition]]:
    """The transitions that each event made, by slug. Raises BadArgument and PolicyNotProjected."""
    if view.said_by is not None:
        raise BadArgument("what an event changed is of the log, so saidBy does not apply; leave it out")
    view.expect_projected(policy.id)
    return OF_EVENT.pages(
        view,
        page,
        ["t.policy = %(policy)s", "t.position = p.position", "t.position <= %(at_most)s"],
        {"policy": policy.id, "at_most": view.position},
        parents={"position": ("bigint", at)},
    )


def transitions_between(
    view: View, policy: Policy, *, start: int, to: int, claims: Sequence[str], page: Page
) -> list[Slice[Transition]]:
    """The transitions of each claim after position `start`, up to `to`, in order of the log."""
    if policy.id in view.snapshot.policies:
        return HISTORY.pages(
            view,
            page,
            ["t.policy = %(policy)s", "t.claim = p.claim", "t.position > %(from)s", "t.position <= %(to)s"],
            {"policy": policy.id, "from": start, "to": to},
            parents={"claim": ("text", claims)},
        )
    chains = _chains(view.at(AsOf(to)), claims, policy, said=False)
    return [
        cut((((each.position,), each) for each in chains[claim] if each.position > start), HISTORY.order, page)
        for claim in claims
    ]
