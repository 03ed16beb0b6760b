"""Claims: looked up, listed by what is believed of them, and counted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, NamedTuple

from service.domain.errors import TooBroad
from service.domain.merges import Kind, Merges
from service.domain.policies import Policy, State
from service.queries.beliefs import FOLDED_MAX, Belief, beliefs, microseconds
from service.queries.driver import Row, fetched
from service.queries.paging import By, Key, Listing, Page, Slice, cut
from service.queries.snapshot import View
from service.queries.statements import known
from service.tables import CENSUS_EVERY


class Claim(NamedTuple):
    """A proposition that may be so."""

    claim: str
    topic: str | None
    first_position: int
    proposition: str  #: null where it is not shown, whatever its type says.


class Wording(NamedTuple):
    """How an article puts a claim into words."""

    claim: str
    position: int
    proposition: str
    language: str | None


class Related(NamedTuple):
    """How a claim bears on another, or the other on it."""

    relation: str
    claim: str  #: what bears.
    to_claim: str  #: on what.
    position: int
    reason: str


class Ruled(NamedTuple):
    """A ruling in force, and why it was made."""

    position: int
    state: State
    reason: str


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


_CLAIM: Final = "c.claim, CASE WHEN c.topic_position <= %(position)s THEN c.topic END, c.first_position"
# The wording is looked up and not joined: a join on two columns that go together looks far
# more selective than it is, and whole lists were joined before their first page was taken.
_SHOWN: Final = {
    "proposition": "(SELECT w.proposition FROM wording w WHERE w.claim = c.claim AND w.position = c.first_position)"
}


def claims_by_slug(view: View, slugs: Collection[str]) -> dict[str, Claim]:
    """Those of the claims that exist, by the slug that was asked for; of a merged one, its survivor."""
    survivors = {slug: view.merges.claim(slug).id for slug in slugs}
    conditions = ["c.claim = ANY(%(slugs)s)", *_existing(view, "c.claim", "c.first_position")]
    found = fetched(
        view.conn,
        f"SELECT {view.columns(_CLAIM, _SHOWN)} FROM claim c WHERE {' AND '.join(conditions)}",
        {**view.parameters, "slugs": list(set(survivors.values()))},
    )
    claims = {row[0]: Claim(*row) for row in found}
    return {slug: claims[survivor] for slug, survivor in survivors.items() if survivor in claims}


def _existing(view: View, claim: str, first_position: str) -> list[str]:
    """The conditions that a claim exists: some statement on it, live or not, is known."""
    conditions = [f"{first_position} <= %(position)s"]
    if view.said_by is not None:
        named = f"s.claim = {claim}"
        if view.merges:
            named = (
                f"s.claim IN (WITH RECURSIVE m(claim) AS (VALUES ({claim}) UNION SELECT g.merged FROM merge g "
                "JOIN m ON g.survivor = m.claim WHERE g.kind = 'claim' AND g.position <= %(position)s "
                "AND g.until_position > %(position)s) SELECT m.claim FROM m)"
            )
        conditions.append(f"EXISTS (SELECT FROM statement s WHERE {named} AND {' AND '.join(known(view))})")
    return conditions


# --- lists ------------------------------------------------------------------------

_TOLD = "LATERAL (SELECT * FROM claim c WHERE c.claim = t.claim LIMIT 1) c"
_ALL = "transition t"
# From the claims on: without the limit, PostgreSQL could turn it round, and go through all transitions instead.
_AMONG = (
    "({claims}) AS f(claim), LATERAL (SELECT * FROM transition t WHERE t.policy = %(policy)s "
    "AND t.claim = f.claim AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1) t"
)
LISTINGS: Final = {
    ClaimOrder.NEWEST: Listing(
        _CLAIM, _ALL, (By("t.position", descending=True), By("t.claim", "text")), Claim._make, _TOLD, _SHOWN
    ),
    ClaimOrder.SLUG: Listing(_CLAIM, _ALL, (By("t.claim", "text"),), Claim._make, _TOLD, _SHOWN),
}
OF_TOPIC = Listing(_CLAIM, "claim c", (By("c.claim", "text"),), Claim._make, shown=_SHOWN)
_OF_ARTICLE = (
    "(SELECT s.claim, min(s.ordinal) AS ordinal FROM statement s "
    "WHERE s.position = p.article AND s.position <= %(position)s "
    "AND (%(said_by)s::timestamptz IS NULL OR s.effective_at <= %(said_by)s) GROUP BY s.claim) s"
)
OF_ARTICLE = Listing(
    _CLAIM,
    f"{_OF_ARTICLE} JOIN claim c ON c.claim = s.claim",
    (By("s.ordinal", "int"),),
    Claim._make,
    shown=_SHOWN,
)
_TALLY = (
    "(SELECT {condition} FROM tally y WHERE y.claim = t.claim AND y.position <= %(position)s "
    "ORDER BY y.position DESC LIMIT 1)"
)
_FLAGS: Final = {
    "contested": "y.asserting > 0 AND y.denying > 0",
    "single_speaker": "y.asserting + y.denying = 1",
}


def claims(view: View, wanted: ClaimFilter, policy: Policy, order: ClaimOrder, page: Page) -> Slice[Claim]:
    """A page of the claims that the filter lets through.

    Raises PolicyNotProjected, and TooBroad where more than FOLDED_MAX claims would have to be folded.
    """
    if view.said_by is None:
        source, conditions, parameters = _sought(view, wanted, policy, one_by_one=True)
        return replace(LISTINGS[order], source=source).page(view, page, conditions, parameters)
    folded = _folded(view, wanted, policy)
    if order is ClaimOrder.SLUG:
        keyed: list[tuple[Key, str]] = [((slug,), slug) for slug in folded]
    else:
        # What changed last is what was said last; the order's key is a position at the head and a moment here.
        keyed = [((microseconds(each.since), slug), slug) for slug, each in folded.items()]
    found = cut(keyed, LISTINGS[order].order, page)
    told = claims_by_slug(view, found.items)
    return Slice([told[slug] for slug in found.items], found.keys, found.has_next, found.has_previous)


def count_by_state(view: View, wanted: ClaimFilter, policy: Policy) -> dict[State, int]:
    """How many claims the filter lets through, by their state. Raises as `claims` does."""
    counts = dict.fromkeys(State, 0)
    if view.said_by is not None:
        for each in _folded(view, wanted, policy).values():
            counts[each.state] += 1
        return counts
    if wanted == ClaimFilter(state=wanted.state):
        for state, count in _census(view, policy):
            if wanted.state in (None, state):
                counts[State(state)] = count
        return counts
    source, conditions, parameters = _sought(view, wanted, policy)
    found = fetched(
        view.conn,
        f"SELECT t.to_state, count(*) FROM {source} WHERE {' AND '.join(conditions)} GROUP BY t.to_state",
        parameters,
    )
    counts.update((State(state), count) for state, count in found)
    return counts


# What was counted last, and what came and went since.
_CENSUS = """
    SELECT m.state, sum(m.claims)::bigint
      FROM (SELECT c.* FROM unnest(%(states)s::text[]) AS s(state),
                   LATERAL (SELECT c.state, c.claims FROM census c
                             WHERE c.policy = %(policy)s AND c.state = s.state AND c.position <= %(counted)s
                             ORDER BY c.position DESC LIMIT 1) c
            UNION ALL
            SELECT s.state, s.more FROM transition t,
                   LATERAL (VALUES (t.to_state, 1), (t.from_state, -1)) AS s(state, more)
             WHERE t.policy = %(policy)s AND t.position > %(counted)s AND t.position <= %(position)s
               AND s.state IS NOT NULL) m
     GROUP BY m.state
"""


def _census(view: View, policy: Policy) -> list[Row]:
    """How many claims have each state, where any has."""
    view.expect_projected(policy.id)
    return fetched(
        view.conn,
        _CENSUS,
        {
            "policy": policy.id,
            "states": list(State),
            "counted": view.position // CENSUS_EVERY * CENSUS_EVERY,
            "position": view.position,
        },
    )


def _folded(view: View, wanted: ClaimFilter, policy: Policy) -> dict[str, Belief]:
    """The beliefs of the claims that the filter lets through, of what was said by the view's moment."""
    conditions, parameters = _candidates(view, wanted, "c.claim")
    conditions += _existing(view, "c.claim", "c.first_position")
    merged = [merge.merged for merge in view.merges if merge.kind is Kind.CLAIM]
    found = fetched(
        view.conn,
        f"SELECT c.claim FROM claim c WHERE c.claim <> ALL(%(merged)s) AND {' AND '.join(conditions)} "
        "LIMIT %(folded_max)s",
        {**parameters, "merged": merged, "folded_max": FOLDED_MAX + 1},
    )
    slugs = [slug for (slug,) in found]
    if len(slugs) > FOLDED_MAX:
        raise TooBroad(found=len(slugs), limit=FOLDED_MAX)

    def passes(each: Belief) -> bool:
        contested = each.asserting > 0 and each.denying > 0
        return (
            (wanted.state is None or each.state is wanted.state)
            and (wanted.contested is None or contested is wanted.contested)
            and (wanted.single_speaker is None or (each.asserting + each.denying == 1) is wanted.single_speaker)
            and (wanted.changed_after is None or each.since.position > wanted.changed_after)
        )

    return {slug: each for slug, each in beliefs(view, slugs, policy).items() if passes(each)}


def _sought(
    view: View, wanted: ClaimFilter, policy: Policy, *, one_by_one: bool = False
) -> tuple[str, list[str], dict[str, Any]]:
    """Where the claims that the filter lets through are sought, and what they must meet.

    With `one_by_one`, whoever stops after a page has looked at no more claims than it takes to fill one.
    """
    view.expect_projected(policy.id)
    more, parameters = _candidates(view, replace(wanted, text=None), "t.claim", one_by_one=one_by_one)
    parameters["policy"] = policy.id
    conditions = [
        "t.policy = %(policy)s",
        "t.position <= %(position)s",
        "t.until_position > %(position)s",
    ]
    if wanted.state is not None:
        conditions.append("t.to_state = %(state)s")
        parameters["state"] = wanted.state
    elif view.merges:
        conditions.append("t.to_state IS NOT NULL")
    if wanted.changed_after is not None:
        conditions.append("t.position > %(changed_after)s")
        parameters["changed_after"] = wanted.changed_after
    for name, condition in _FLAGS.items():
        flag = getattr(wanted, name)
        if flag is not None:
            told = _TALLY.format(condition=condition)
            conditions.append(told if flag else f"NOT {told}")
    conditions += more
    if wanted.text is None:
        return _source(view, wanted, parameters), conditions, parameters
    parameters["words"] = wanted.text
    found = _found(view)
    survivors = _or_merged(view, parameters, found, "text", "t.claim")
    if one_by_one and _are_common(view, parameters):
        conditions.append(f"({_SPOKEN.format(live=_live(view))}{survivors})")
        return _source(view, wanted, parameters), conditions, parameters
    if survivors:
        found += " UNION SELECT unnest(%(text_survivors)s::text[])"
    return _AMONG.format(claims=found), conditions, parameters


#: Of no more rows, the claims that they are of are looked up one by one; among more, a page is soon come by.
_FEW: Final = 1_000
# By an index each, which the order makes sure of: it is that of the index.
_PARTS: Final = {
    "article": "SELECT s.claim FROM statement s WHERE s.position = %(article)s ORDER BY s.ordinal",
    "speaker": "SELECT d.claim FROM standing d WHERE d.speaker = %(speaker)s ORDER BY d.effective_at",
    "outlet": (
        "SELECT s.claim FROM article a JOIN statement s ON s.position = a.position WHERE a.outlet = %(outlet)s "
        "ORDER BY a.published_end, a.first_position"
    ),
    "topic": "SELECT o.claim FROM claim o WHERE o.topic = %(topic)s ORDER BY o.claim",
}


def _source(view: View, wanted: ClaimFilter, parameters: dict[str, Any]) -> str:
    """All claims, or, where a part of the filter lets few through, those and maybe some more."""
    for name, part in _PARTS.items():
        if getattr(wanted, name) is not None:
            # At whatever moment: to look for those of this one could take long.
            found = fetched(view.conn, f"{part} LIMIT {_FEW + 1}", parameters)
            if len(found) <= _FEW:
                parameters["few"] = list({view.merges.claim(slug).id for (slug,) in found})
                return _AMONG.format(claims="SELECT unnest(%(few)s::text[])")
    return _ALL


def _candidates(
    view: View, wanted: ClaimFilter, claim: str, *, one_by_one: bool = False
) -> tuple[list[str], dict[str, Any]]:
    """What a claim must meet that no policy decides on."""
    conditions: list[str] = []
    parameters = view.parameters
    # So it is asked of each claim, and PostgreSQL cannot begin by gathering all that meet it.
    fence = " OFFSET 0" if one_by_one else ""
    if wanted.topic is not None:
        conditions.append(
            f"EXISTS (SELECT FROM claim o WHERE o.claim = {claim} "
            f"AND o.topic = %(topic)s AND o.topic_position <= %(position)s{fence})"
        )
        parameters["topic"] = wanted.topic
    told = " AND ".join(known(view))
    if wanted.speaker is not None:
        speaker = view.merges.speaker(wanted.speaker)
        parameters["speaker"] = speaker
        if view.said_by is None:
            conditions.append(
                f"EXISTS (SELECT FROM standing d WHERE d.claim = {claim} AND d.speaker = %(speaker)s "
                f"AND d.since_position <= %(position)s AND d.until_position > %(position)s{fence})"
            )
        else:
            parameters["speakers"] = view.merges.members(Kind.SPEAKER, speaker)
            live = f"s.speaker = ANY(%(speakers)s) AND {told} AND s.until_position > %(position)s"
            conditions.append(_said(view, claim, live, parameters, "speaker"))
    if wanted.outlet is not None:
        live = f"s.outlet = %(outlet)s AND {told} AND s.until_position > %(position)s"
        parameters["outlet"] = wanted.outlet
        conditions.append(_said(view, claim, live, parameters, "outlet", fence))
    if wanted.article is not None:
        parameters["article"] = wanted.article
        conditions.append(_said(view, claim, f"s.position = %(article)s AND {told}", parameters, "article", fence))
    if wanted.text is not None:
        parameters["words"] = wanted.text
        found = _found(view)
        conditions.append(f"({claim} IN ({found}){_or_merged(view, parameters, found, 'text', claim)})")
    return conditions, parameters


def _said(view: View, claim: str, condition: str, parameters: dict[str, Any], name: str, fence: str = "") -> str:
    """The condition that some statement which counts for a claim meets one."""
    own = f"EXISTS (SELECT FROM statement s WHERE s.claim = {claim} AND {condition}{fence})"
    merged = _or_merged(view, parameters, f"SELECT s.claim FROM statement s WHERE {condition}", name, claim)
    return f"({own}{merged})"


def _or_merged(view: View, parameters: dict[str, Any], found: str, name: str, claim: str) -> str:
    """`OR` the claim survives one of the merged away that `found` selects; nothing where none is merged."""
    merged = [merge.merged for merge in view.merges if merge.kind is Kind.CLAIM]
    if not merged:
        return ""
    rows = fetched(
        view.conn,
        f"SELECT f.claim FROM ({found}) f(claim) WHERE f.claim = ANY(%(merged)s)",
        {**parameters, "merged": merged},
    )
    parameters[f"{name}_survivors"] = list({view.merges.claim(slug).id for (slug,) in rows})
    return f" OR {claim} = ANY(%({name}_survivors)s)"


#: Words that no more wordings and quotes hold are sought by the index; among more, a page is soon come by.
_FEW_FOUND: Final = 10_000
# The claim's own rows first, whatever the planner thinks of the index of words, which would be gone through for each.
_SPOKEN: Final = (
    "(EXISTS (SELECT FROM (SELECT * FROM wording s WHERE s.claim = t.claim AND s.position <= %(position)s OFFSET 0) s "
    "WHERE to_tsvector(s.dictionary, s.proposition) @@ websearch_to_tsquery(s.dictionary, %(words)s)) "
    "OR EXISTS (SELECT FROM (SELECT * FROM statement s WHERE s.claim = t.claim AND {live} OFFSET 0) s "
    "WHERE to_tsvector(s.dictionary, s.quote) @@ websearch_to_tsquery(s.dictionary, %(words)s)))"
)


def _live(view: View) -> str:
    return f"{' AND '.join(known(view))} AND s.until_position > %(position)s"


def _found(view: View, union: str = "UNION") -> str:
    """The claims with the words in a proposition or a live quote."""
    return (
        f"{_found_in('wording', 'proposition', 's.position <= %(position)s')} "
        f"{union} {_found_in('statement', 'quote', _live(view))}"
    )


def _are_common(view: View, parameters: dict[str, Any]) -> bool:
    """Whether more wordings and quotes hold the words than are to be gathered for a page."""
    found = f"SELECT FROM ({_found(view, 'UNION ALL')} LIMIT {_FEW_FOUND + 1}) f"
    (counted,) = fetched(view.conn, f"SELECT count(*) FROM ({found}) c", parameters)
    return counted[0] > _FEW_FOUND


def _found_in(table: str, column: str, conditions: str) -> str:
    """The claims whose words match, each text searched with the dictionary of its own language."""
    return (
        "SELECT s.claim FROM dictionary d CROSS JOIN LATERAL websearch_to_tsquery(d.dictionary, %(words)s) AS q "
        f"JOIN {table} s ON s.dictionary = d.dictionary AND to_tsvector(s.dictionary, s.{column}) @@ q "
        f"WHERE {conditions}"
    )


def claims_of_topics(view: View, topics: Sequence[str], page: Page) -> list[Slice[Claim]]:
    """The claims of each topic, by slug."""
    conditions = [
        "c.topic = p.topic",
        "c.topic_position <= %(position)s",
        *_existing(view, "c.claim", "c.first_position"),
    ]
    parameters = {**view.parameters, **_merged_away(view.merges)}
    if view.merges:
        conditions.append("c.claim <> ALL(%(merged)s)")
    return OF_TOPIC.pages(view, page, conditions, parameters, parents={"topic": ("text", topics)})


def claims_of_articles(view: View, articles: Sequence[int], page: Page) -> list[Slice[Claim]]:
    """The claims that each article revision speaks of, in the order of its document; of merged ones, the survivors."""
    if not view.merges:
        return OF_ARTICLE.pages(view, page, [], view.parameters, parents={"article": ("bigint", articles)})
    rows = fetched(
        view.conn,
        "SELECT s.position, s.claim, min(s.ordinal) FROM statement s WHERE s.position = ANY(%(articles)s) "
        f"AND {' AND '.join(known(view))} GROUP BY s.position, s.claim",
        {**view.parameters, "articles": list(articles)},
    )
    named: dict[int, dict[str, int]] = {position: {} for position in articles}
    for position, claim, ordinal in rows:
        survivor = view.merges.claim(claim).id
        named[position][survivor] = min(ordinal, named[position].get(survivor, ordinal))
    told = claims_by_slug(view, {slug for of in named.values() for slug in of})
    return [
        cut((((ordinal,), told[slug]) for slug, ordinal in named[position].items()), OF_ARTICLE.order, page)
        for position in articles
    ]


def _merged_away(merges: Merges) -> dict[str, list[str]]:
    return {"merged": [merge.merged for merge in merges if merge.kind is Kind.CLAIM]} if merges else {}


WORDINGS = Listing(
    "w.claim, w.position, w.proposition, w.language",
    "wording w",
    (By("w.position"), By("w.claim", "text")),
    Wording._make,
)


def wordings(view: View, claims: Sequence[str], page: Page) -> list[Slice[Wording]]:
    """How each claim, and what is merged into it, was put into words, in order of the log."""
    on, parents = "w.claim = p.claim", {"claim": ("text", claims)}
    if view.merges and any(len(view.merges.members(Kind.CLAIM, claim)) > 1 for claim in claims):
        on = "w.claim = ANY(string_to_array(p.named, ' '))"
        parents = {"named": ("text", [" ".join(view.merges.members(Kind.CLAIM, claim)) for claim in claims])}
    conditions = [on, "w.position <= %(position)s"]
    return WORDINGS.pages(view, page, conditions, view.parameters, parents=parents)


def relations(view: View, claims: Sequence[str]) -> dict[str, list[Related]]:
    """How each claim bears on others and others on it, in order of the log."""
    named = {member: claim for claim in claims for member in view.merges.members(Kind.CLAIM, claim)}
    rows = fetched(
        view.conn,
        "SELECT r.relation, r.claim, r.to_claim, r.position, r.reason FROM relation r "
        "WHERE (r.claim = ANY(%(named)s) OR r.to_claim = ANY(%(named)s)) AND r.position <= %(position)s "
        "ORDER BY r.position",
        {**view.parameters, "named": list(named)},
    )
    found: dict[str, list[Related]] = {claim: [] for claim in claims}
    told = [Related(*row) for row in rows]
    if view.said_by is not None:
        # Of the two, one may not have been spoken of by then.
        there = claims_by_slug(view, {slug for each in told for slug in (each.claim, each.to_claim)})
        told = [each for each in told if each.claim in there and each.to_claim in there]
    for related in told:
        for claim in dict.fromkeys(named[slug] for slug in (related.claim, related.to_claim) if slug in named):
            found[claim].append(related)
    return found


def rulings_in_force(view: View, claims: Collection[str]) -> dict[str, Ruled]:
    """The ruling on each of the claims that are ruled on."""
    rows = fetched(
        view.conn,
        "SELECT r.claim, r.position, r.state, r.reason FROM ruling r WHERE r.claim = ANY(%(claims)s) "
        "AND r.position <= %(position)s AND r.until_position > %(position)s",
        {**view.parameters, "claims": list(claims)},
    )
    return {claim: Ruled(position, State(state), reason) for claim, position, state, reason in rows}
