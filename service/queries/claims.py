"""Claims with what is believed of them, now and along the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from service.domain.belief import Standing, retrace
from service.domain.errors import PolicyNotProjected
from service.domain.policies import Policy, Reason, State
from service.queries.paging import By, Listing, Page, Slice
from service.queries.snapshot import Snapshot
from service.queries.statements import spans, standing_now


@dataclass(frozen=True, slots=True)
class Claim:
    """A proposition that may be so."""

    claim: str
    proposition: str
    topic: str | None
    first_position: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One event changing the state or reason of one claim under one policy."""

    policy: str
    claim: str
    position: int
    from_state: State | None  #: None where the claim begins.
    to_state: State
    reason: Reason
    effective_at: datetime | None
    retroactive: bool
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Belief:
    """What a policy makes of one claim."""

    policy: str
    claim: str
    state: State
    reason: Reason
    asserting: int
    denying: int
    withholding: int
    since: Transition


@dataclass(frozen=True, slots=True)
class Wording:
    """How an article puts a claim into words."""

    claim: str
    position: int
    proposition: str
    language: str | None


class ClaimOrder(Enum):
    """How a list of claims is ordered."""

    NEWEST = "newest"  #: the last change of state or reason first, ties by slug.
    SLUG = "slug"


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """Which claims are wanted; None: does not matter."""

    state: State | None = None
    topic: str | None = None
    speaker: str | None = None
    outlet: str | None = None
    contested: bool | None = None
    single_speaker: bool | None = None
    changed_after: int | None = None
    article: int | None = None  #: of which the article revision recorded at this position speaks.
    text: str | None = None


_CLAIM = "c.claim, w.proposition, CASE WHEN c.topic_position <= %(position)s THEN c.topic END, c.first_position"
_WORDED = "wording w ON w.claim = c.claim AND w.position = c.first_position"


def claims_by_slug(conn: Connection, position: int, slugs: Sequence[str]) -> dict[str, Claim]:
    """Those of the claims that exist at `position`, by their slug."""
    found = conn.exec_driver_sql(
        f"SELECT {_CLAIM} FROM claim c JOIN {_WORDED} "
        "WHERE c.claim = ANY(%(slugs)s) AND c.first_position <= %(position)s",
        {"slugs": list(set(slugs)), "position": position},
    )
    return {row[0]: Claim(*row) for row in found}


# --- lists ------------------------------------------------------------------------

_BELIEVED = f"transition t JOIN claim c ON c.claim = t.claim JOIN {_WORDED}"
LISTINGS = {
    ClaimOrder.NEWEST: Listing(_CLAIM, _BELIEVED, (By("t.position", descending=True), By("t.claim", "text")), Claim),
    ClaimOrder.SLUG: Listing(_CLAIM, _BELIEVED, (By("t.claim", "text"),), Claim),
}
OF_TOPIC = Listing(_CLAIM, f"claim c JOIN {_WORDED}", (By("c.claim", "text"),), Claim)
OF_ARTICLE = Listing(
    _CLAIM,
    "(SELECT s.claim, min(s.ordinal) AS ordinal FROM statement s "
    f"WHERE s.position = p.article GROUP BY s.claim) s JOIN claim c ON c.claim = s.claim JOIN {_WORDED}",
    (By("s.ordinal", "int"),),
    Claim,
)
_TALLY = (
    "EXISTS (SELECT FROM tally y WHERE y.claim = t.claim AND y.position <= %(position)s "
    "AND y.until_position > %(position)s AND {condition})"
)


def claims(
    conn: Connection, view: Snapshot, wanted: ClaimFilter, policy: Policy, order: ClaimOrder, page: Page
) -> Slice[Claim]:
    """A page of the claims that the filter lets through. Raises PolicyNotProjected."""
    conditions, parameters = _conditions(view, wanted, policy)
    return LISTINGS[order].page(conn, page, conditions, parameters)


def claims_of_topics(conn: Connection, position: int, topics: Sequence[str], page: Page) -> list[Slice[Claim]]:
    """The claims of each topic, by slug."""
    return OF_TOPIC.pages(
        conn,
        page,
        ["c.topic = p.topic", "c.topic_position <= %(position)s"],
        {"position": position},
        parents={"topic": ("text", topics)},
    )


def claims_of_articles(conn: Connection, position: int, articles: Sequence[int], page: Page) -> list[Slice[Claim]]:
    """The claims that each article revision speaks of, in the order of its document."""
    return OF_ARTICLE.pages(conn, page, [], {"position": position}, parents={"article": ("bigint", articles)})


def count_by_state(conn: Connection, view: Snapshot, wanted: ClaimFilter, policy: Policy) -> dict[State, int]:
    """How many claims the filter lets through, by their state. Raises PolicyNotProjected."""
    conditions, parameters = _conditions(view, wanted, policy)
    found = conn.exec_driver_sql(
        f"SELECT t.to_state, count(*) FROM transition t WHERE {' AND '.join(conditions)} GROUP BY t.to_state",
        parameters,
    )
    counts = dict.fromkeys(State, 0)
    counts.update((State(state), count) for state, count in found)
    return counts


def _conditions(view: Snapshot, wanted: ClaimFilter, policy: Policy) -> tuple[list[str], dict[str, Any]]:
    if policy.id not in view.policies:
        raise PolicyNotProjected(policy.id, projected=view.policies)
    conditions = [
        "t.policy = %(policy)s",
        "t.position <= %(position)s",
        "t.until_position > %(position)s",
    ]
    parameters: dict[str, Any] = {"policy": policy.id, "position": view.position}
    if wanted.state is not None:
        conditions.append("t.to_state = %(state)s")
        parameters["state"] = wanted.state
    if wanted.changed_after is not None:
        conditions.append("t.position > %(changed_after)s")
        parameters["changed_after"] = wanted.changed_after
    if wanted.topic is not None:
        conditions.append(
            "EXISTS (SELECT FROM claim c WHERE c.claim = t.claim "
            "AND c.topic = %(topic)s AND c.topic_position <= %(position)s)"
        )
        parameters["topic"] = wanted.topic
    if wanted.speaker is not None:
        conditions.append(
            "EXISTS (SELECT FROM standing d WHERE d.claim = t.claim AND d.speaker = %(speaker)s "
            "AND d.since_position <= %(position)s AND d.until_position > %(position)s)"
        )
        parameters["speaker"] = wanted.speaker
    if wanted.outlet is not None:
        conditions.append(
            "EXISTS (SELECT FROM statement s WHERE s.claim = t.claim AND s.outlet = %(outlet)s "
            "AND s.position <= %(position)s AND s.until_position > %(position)s)"
        )
        parameters["outlet"] = wanted.outlet
    if wanted.article is not None:
        conditions.append("EXISTS (SELECT FROM statement s WHERE s.claim = t.claim AND s.position = %(article)s)")
        parameters["article"] = wanted.article
    for flag, condition in (
        (wanted.contested, "y.asserting > 0 AND y.denying > 0"),
        (wanted.single_speaker, "y.asserting + y.denying = 1"),
    ):
        if flag is not None:
            exists = _TALLY.format(condition=condition)
            conditions.append(exists if flag else f"NOT {exists}")
    if wanted.text is not None:
        conditions.append(f"t.claim IN ({_found_in('wording', 'proposition')} UNION {_found_in('statement', 'quote')})")
        parameters["words"] = wanted.text
    return conditions, parameters


def _found_in(table: str, column: str) -> str:
    """The claims whose words match, each text searched with the dictionary of its own language."""
    live = " AND x.until_position > %(position)s" if table == "statement" else ""
    return (
        f"SELECT x.claim FROM dictionary d CROSS JOIN LATERAL websearch_to_tsquery(d.dictionary, %(words)s) AS q "
        f"JOIN {table} x ON x.dictionary = d.dictionary AND to_tsvector(x.dictionary, x.{column}) @@ q "
        f"WHERE x.position <= %(position)s{live}"
    )


WORDINGS = Listing("w.claim, w.position, w.proposition, w.language", "wording w", (By("w.position"),), Wording)


def wordings(conn: Connection, position: int, claims: Sequence[str], page: Page) -> list[Slice[Wording]]:
    """How each claim was put into words, first the proposition that is the claim's own."""
    return WORDINGS.pages(
        conn,
        page,
        ["w.claim = p.claim", "w.position <= %(position)s"],
        {"position": position},
        parents={"claim": ("text", claims)},
    )


# --- beliefs ----------------------------------------------------------------------

_TRANSITION = (
    "t.policy, t.claim, t.position, t.from_state, t.to_state, t.to_reason, t.effective_at, t.retroactive, e.recorded_at"
)


def _transition(*row: Any) -> Transition:
    policy, claim, position, before, after, reason, effective_at, retroactive, recorded_at = row
    return Transition(
        policy,
        claim,
        position,
        None if before is None else State(before),
        State(after),
        Reason(reason),
        effective_at,
        retroactive,
        recorded_at,
    )


_BELIEFS = f"""
    SELECT {_TRANSITION}, y.asserting, y.denying, y.withholding
      FROM unnest(%(claims)s::text[]) AS p(claim),
           LATERAL (SELECT * FROM transition t
                     WHERE t.policy = %(policy)s AND t.claim = p.claim AND t.position <= %(position)s
                     ORDER BY t.position DESC LIMIT 1) t,
           LATERAL (SELECT * FROM tally y
                     WHERE y.claim = p.claim AND y.position <= %(position)s
                     ORDER BY y.position DESC LIMIT 1) y
      JOIN onrecord.event e ON true
     WHERE e.position = t.position
"""


def beliefs(conn: Connection, view: Snapshot, claims: Sequence[str], policy: Policy) -> dict[str, Belief]:
    """What `policy` makes of each of the claims that exist, by slug: read where it is projected, else folded."""
    if not claims:
        return {}
    if policy.id in view.policies:
        found = conn.exec_driver_sql(
            _BELIEFS, {"claims": list(set(claims)), "policy": policy.id, "position": view.position}
        )
        transitions = ((_transition(*row[:-3]), row[-3:]) for row in found)
        return {
            since.claim: Belief(
                since.policy, since.claim, since.to_state, since.reason, tally[0], tally[1], tally[2], since
            )
            for since, tally in transitions
        }
    folded: dict[str, Belief] = {}
    histories = _retraced(conn, view, claims, policy)
    standing = standing_now(conn, view.position, list(histories))
    for claim, history in histories.items():
        if history:
            tally = Standing(span.statement for span in standing[claim]).tally()
            verdict = policy.decide(tally)
            folded[claim] = Belief(
                policy.id,
                claim,
                verdict.state,
                verdict.reason,
                tally.asserting,
                tally.denying,
                tally.withholding,
                history[-1],
            )
    return folded


HISTORY = Listing(
    _TRANSITION,
    "transition t JOIN onrecord.event e ON e.position = t.position",
    (By("t.position"),),
    _transition,
)


def histories(
    conn: Connection, view: Snapshot, claims: Sequence[str], policy: Policy, page: Page
) -> list[Slice[Transition]]:
    """The chain of transitions of each claim, oldest first."""
    if policy.id in view.policies:
        return HISTORY.pages(
            conn,
            page,
            ["t.policy = %(policy)s", "t.claim = p.claim", "t.position <= %(position)s"],
            {"policy": policy.id, "position": view.position},
            parents={"claim": ("text", claims)},
        )
    retraced = _retraced(conn, view, claims, policy)
    return [_cut(retraced[claim], page) for claim in claims]


def _retraced(conn: Connection, view: Snapshot, claims: Sequence[str], policy: Policy) -> dict[str, list[Transition]]:
    """The transitions under a policy that is not projected, from what stood when."""
    moves = spans(conn, view.position, list(set(claims)))
    chains = {
        claim: retrace(policy, [(span.since, span.until, span.statement) for span in of], until=view.position)
        for claim, of in moves.items()
    }
    positions = sorted({each.position for chain in chains.values() for each in chain})
    found = conn.exec_driver_sql(
        "SELECT position, recorded_at FROM onrecord.event WHERE position = ANY(%s)", (positions,)
    )
    recorded = {row.position: row.recorded_at for row in found}
    return {
        claim: [
            Transition(
                each.policy,
                each.claim,
                each.position,
                None if each.before is None else each.before.state,
                each.after.state,
                each.after.reason,
                each.effective_at,
                each.retroactive,
                recorded[each.position],
            )
            for each in chain
        ]
        for claim, chain in chains.items()
    }


def _cut(chain: list[Transition], page: Page) -> Slice[Transition]:
    """A page of a chain that is in memory."""
    kept = [
        each
        for each in chain
        if (page.after is None or each.position > page.after[0])
        and (page.before is None or each.position < page.before[0])
    ]
    more = len(kept) > page.limit
    if page.backward:
        kept = kept[max(0, len(kept) - page.limit) :]
        has_next, has_previous = page.before is not None, more
    else:
        kept = kept[: page.limit]
        has_next, has_previous = more, page.after is not None
    return Slice(kept, [(each.position,) for each in kept], has_next, has_previous)
