"""Statements: what was said, by whom, on what, and which of it stands."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from service.domain.article import Stance
from service.domain.belief import RecordedStatement, Span, counted, grounds, standing
from service.domain.merges import Kind, opposite_of
from service.domain.policies import Reason
from service.queries.driver import Row, fetched
from service.queries.paging import By, Listing, Page, Slice, cut
from service.queries.snapshot import View

#: Where a statement is: its position and its ordinal there.
Place = tuple[int, int]

KNOWN = "s.position <= %(position)s"
LIVE = f"{KNOWN} AND s.until_position > %(position)s"
STANDING = "t.since_position <= %(position)s AND t.until_position > %(position)s"


def known(view: View) -> list[str]:
    """The conditions that a statement `s` is known at a moment."""
    return [KNOWN] if view.said_by is None else [KNOWN, "s.effective_at <= %(said_by)s"]


class Statement(NamedTuple):
    """One speaker's stance on one claim, as one article reports it, with its place in the log."""

    claim: str  #: as the article names it.
    position: int
    ordinal: int
    speaker: str  #: as the article names them.
    stance: str  #: the value of a Stance, as are those of enums below: most are only shown.
    counts_as: str  #: its stance on the claim that its own counts for.
    # The rest is null where it is not shown, whatever its type says.
    speaker_name: str
    role: str | None
    organisation: str | None
    bloc: str | None
    own_voice: bool
    certainty: str | None
    form: str | None
    said_at: str | None
    effective_at: datetime
    quote: str
    start: int | None
    quote_verified: bool
    live: bool

    @property
    def place(self) -> Place:
        """What tells it from every other statement."""
        return (self.position, self.ordinal)


def _counting(view: View, slices: list[Slice[Statement]]) -> list[Slice[Statement]]:
    """The same statements, each with the stance that it counts as under the merges in force."""
    if not view.merges:
        return slices
    return [each._replace(items=[_count(view, item) for item in each.items]) for each in slices]


def _count(view: View, said: Statement) -> Statement:
    if not view.merges.claim(said.claim).opposite:
        return said
    return said._replace(counts_as=opposite_of(Stance(said.stance)))


_COLUMNS: Final = "s.claim, s.position, s.ordinal, s.speaker, s.stance, s.stance"
_SHOWN: Final = {
    **{name: f"s.{name}" for name in Statement._fields[6:]},
    "live": "s.until_position > %(position)s",
}
_NEWEST = (By("s.position", descending=True), By("s.ordinal", "smallint", descending=True))
_SAID = (
    By("s.effective_at", "timestamptz"),
    By("s.published_end", "timestamptz"),
    By("s.first_position"),
    By("s.ordinal", "smallint"),
)

STATEMENTS = Listing(_COLUMNS, "statement s", _NEWEST, Statement._make, shown=_SHOWN)
STANCES = Listing(_COLUMNS, "statement s", _SAID, Statement._make, shown=_SHOWN)
IN_DOCUMENT = Listing(
    _COLUMNS, "statement s", (By("s.position"), By("s.ordinal", "smallint")), Statement._make, shown=_SHOWN
)
_STANDING = Listing(
    _COLUMNS,
    "standing t JOIN statement s ON s.position = t.position AND s.ordinal = t.ordinal",
    _NEWEST,
    Statement._make,
    shown=_SHOWN,
)


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """Which statements of a list are wanted; None: does not matter."""

    stance: Stance | None = None
    speaker: str | None = None
    claim: str | None = None
    live: bool | None = None
    standing: bool | None = None

    def conditions(self, view: View) -> tuple[list[str], dict[str, Any]]:
        """What a statement `s` must meet, but for whether it stands."""
        found, parameters = known(view), view.parameters
        if self.stance is not None:
            flipped = [merge.merged for merge in view.merges if view.merges.claim(merge.merged).opposite]
            if flipped:
                found.append(
                    "s.stance = CASE WHEN s.claim = ANY(%(flipped)s) THEN %(opposite)s ELSE %(stance)s::text END"
                )
                parameters |= {"flipped": flipped, "opposite": opposite_of(self.stance)}
            else:
                found.append("s.stance = %(stance)s")
            parameters["stance"] = self.stance
        if self.speaker is not None:
            found.append("s.speaker = ANY(%(speakers)s)")
            parameters["speakers"] = _all_of(view, Kind.SPEAKER, self.speaker)
        if self.claim is not None:
            found.append("s.claim = ANY(%(claims)s)")
            parameters["claims"] = _all_of(view, Kind.CLAIM, self.claim)
        if self.live is not None:
            found.append(f"s.until_position {'>' if self.live else '<='} %(position)s")
        return found, parameters


def _all_of(view: View, kind: Kind, id: str) -> list[str]:
    """All ids that count for the same as this one."""
    return view.merges.members(kind, view.merges.survivor(kind, id).id)


#: What a listing is told of its parents: for each of their columns its type and values.
_Parents = Mapping[str, tuple[str, Sequence[Any]]]


def _members(view: View, kind: Kind, column: str, ids: Sequence[str]) -> tuple[str, _Parents]:
    """The condition that a statement counts for its parent, and the parents."""
    merges = view.merges
    if merges and any(len(merges.members(kind, id)) > 1 for id in ids):
        named = [" ".join(merges.members(kind, id)) for id in ids]
        return f"s.{column} = ANY(string_to_array(p.named, ' '))", {"named": ("text", named)}
    return f"s.{column} = p.{column}", {column: ("text", ids)}


def _which_stand_filter(
    view: View, wanted: StatementFilter, claims: Callable[[], Sequence[str]]
) -> tuple[list[str], dict[str, Any]]:
    """The condition that a statement stands, or does not, where that is asked for."""
    if wanted.standing is None:
        return [], {}
    if view.said_by is None:
        # Where nothing is merged, a statement stands on the claim that it names, for whom it names.
        # It is asked of each, by `OFFSET 0`: or else all that stands would be gathered first.
        on = "t.claim = ANY(%(roots)s)" if view.merges else "t.claim = s.claim AND t.speaker = s.speaker"
        exists = (
            "EXISTS (SELECT FROM standing t WHERE t.position = s.position AND t.ordinal = s.ordinal "
            f"AND {on} AND {STANDING}{'' if view.merges else ' OFFSET 0'})"
        )
        parameters: dict[str, Any] = {"roots": list(claims())} if view.merges else {}
    else:
        exists = (
            "EXISTS (SELECT FROM unnest(%(at)s::bigint[], %(ordinals)s::int[]) AS u(position, ordinal) "
            "WHERE u.position = s.position AND u.ordinal = s.ordinal)"
        )
        places = [(each.position, each.ordinal) for of in stands_on(view, claims()).values() for each in of]
        parameters = {"at": [position for position, _ in places], "ordinals": [ordinal for _, ordinal in places]}
    return [exists if wanted.standing else f"NOT {exists}"], parameters


def of_claims(view: View, claims: Sequence[str], wanted: StatementFilter, page: Page) -> list[Slice[Statement]]:
    """The statements that count for each claim, newest in the log first."""
    conditions, parameters = wanted.conditions(view)
    if wanted.standing and view.said_by is None:
        # Few of a claim's statements stand, so they are read from their own table.
        found = _STANDING.pages(
            view,
            page,
            ["t.claim = p.claim", STANDING, *conditions],
            parameters,
            parents={"claim": ("text", claims)},
        )
        return _counting(view, found)
    stand, more = _which_stand_filter(view, wanted, lambda: claims)
    on, parents = _members(view, Kind.CLAIM, "claim", claims)
    found = STATEMENTS.pages(view, page, [on, *conditions, *stand], {**parameters, **more}, parents=parents)
    return _counting(view, found)


def of_speakers(view: View, speakers: Sequence[str], wanted: StatementFilter, page: Page) -> list[Slice[Statement]]:
    """The statements of each speaker, newest in the log first."""
    conditions, parameters = wanted.conditions(view)
    stand, more = _which_stand_filter(view, wanted, lambda: _claims_of_speakers(view, speakers))
    on, parents = _members(view, Kind.SPEAKER, "speaker", speakers)
    found = STATEMENTS.pages(view, page, [on, *conditions, *stand], {**parameters, **more}, parents=parents)
    return _counting(view, found)


def stances_of_speakers(view: View, speakers: Sequence[str], claim: str | None, page: Page) -> list[Slice[Statement]]:
    """The live statements of each speaker, on one claim or on all, in order of when they were said."""
    conditions, parameters = StatementFilter(claim=claim, live=True).conditions(view)
    on, parents = _members(view, Kind.SPEAKER, "speaker", speakers)
    return _counting(view, STANCES.pages(view, page, [on, *conditions], parameters, parents=parents))


def stances_on_claims(view: View, pairs: Sequence[tuple[str, str]], page: Page) -> list[Slice[Statement]]:
    """The live statements of each (claim, speaker), in order of when they were said."""
    conditions, parameters = StatementFilter(live=True).conditions(view)
    merges = view.merges
    on = ["s.claim = ANY(string_to_array(p.claims, ' '))", "s.speaker = ANY(string_to_array(p.speakers, ' '))"]
    found = STANCES.pages(
        view,
        page,
        [*on, *conditions],
        parameters,
        parents={
            "claims": ("text", [" ".join(merges.members(Kind.CLAIM, claim)) for claim, _ in pairs]),
            "speakers": ("text", [" ".join(merges.members(Kind.SPEAKER, speaker)) for _, speaker in pairs]),
        },
    )
    return _counting(view, found)


def of_articles(view: View, articles: Sequence[int], wanted: StatementFilter, page: Page) -> list[Slice[Statement]]:
    """The statements that each article revision holds, in the order of its document."""
    conditions, parameters = wanted.conditions(view)
    found = IN_DOCUMENT.pages(
        view,
        page,
        ["s.position = p.article", *conditions],
        parameters,
        parents={"article": ("bigint", articles)},
    )
    return _counting(view, found)


def grounds_of(view: View, beliefs: Sequence[tuple[str, Reason]], page: Page) -> list[Slice[Statement]]:
    """The standing statements on which each belief rests, given its reason, newest in the log first."""
    stands = stands_on(view, [claim for claim, _ in beliefs])
    wanted: list[list[Place]] = []
    for claim, reason in beliefs:
        deciding = [each for each in stands[claim] if each.stance in grounds(reason)]
        if reason is Reason.LATEST_WORD:
            # Where the latest word decides, that one statement is the ground.
            deciding = [max(deciding, key=lambda each: each.key)]
        wanted.append([(each.position, each.ordinal) for each in deciding])
    found = by_place(view, [place for places in wanted for place in places])
    return [cut((((*place,), found[place]) for place in places), _NEWEST, page) for places in wanted]


def by_place(view: View, places: Collection[Place]) -> dict[Place, Statement]:
    """The statements at these places that are known."""
    found = fetched(
        view.conn,
        f"SELECT {view.columns(_COLUMNS, _SHOWN)} "
        "FROM unnest(%(at)s::bigint[], %(ordinals)s::int[]) AS p(position, ordinal) "
        "JOIN statement s ON s.position = p.position AND s.ordinal = p.ordinal "
        f"WHERE {' AND '.join(known(view))}",
        {
            **view.parameters,
            "at": [position for position, _ in places],
            "ordinals": [ordinal for _, ordinal in places],
        },
    )
    statements = [_count(view, Statement._make(row)) for row in found]
    return {statement.place: statement for statement in statements}


# --- standing ---------------------------------------------------------------------

_STANDS = (
    "t.claim, t.speaker, t.stance, t.bloc, t.effective_at, t.published_end, t.first_position, t.position, t.ordinal"
)
_SAYS = "s.claim, s.speaker, s.stance, s.bloc, s.effective_at, s.published_end, s.first_position, s.position, s.ordinal"


def _recorded(row: Sequence[Any]) -> RecordedStatement:
    return RecordedStatement(row[0], row[1], Stance(row[2]), *row[3:9])


def stands_on(view: View, claims: Collection[str]) -> dict[str, list[RecordedStatement]]:
    """What stands on each claim, as it counts: read where all counts that is known, else folded."""
    by_claim: dict[str, list[RecordedStatement]] = {claim: [] for claim in claims}
    if view.said_by is None:
        rows = fetched(
            view.conn,
            f"SELECT {_STANDS} FROM standing t WHERE t.claim = ANY(%(claims)s) AND {STANDING}",
            {**view.parameters, "claims": list(by_claim)},
        )
        for row in rows:
            by_claim[row[0]].append(_recorded(row))
        return by_claim
    for claim, told in told_on(view, claims).items():
        by_claim[claim] = list(standing(each for each, live in told if live).values())
    return by_claim


def told_on(view: View, claims: Collection[str]) -> dict[str, list[tuple[RecordedStatement, bool]]]:
    """All that is known to have been said on each claim, as it counts, each with whether it is live."""
    by_claim: dict[str, list[tuple[RecordedStatement, bool]]] = {claim: [] for claim in claims}
    named = [member for claim in by_claim for member in view.merges.members(Kind.CLAIM, claim)]
    rows = fetched(
        view.conn,
        f"SELECT {_SAYS}, s.until_position > %(position)s FROM statement s "
        f"WHERE s.claim = ANY(%(claims)s) AND {' AND '.join(known(view))}",
        {**view.parameters, "claims": named},
    )
    for row in rows:
        statement = counted(_recorded(row), view.merges)
        by_claim[statement.claim].append((statement, row[-1]))
    return by_claim


def spans(view: View, claims: Collection[str]) -> dict[str, list[Span]]:
    """All that ever stood on each claim, in order of the log, as it counted then."""
    rows = fetched(
        view.conn,
        f"SELECT {_STANDS}, t.since_position, t.until_position FROM standing t "
        "WHERE t.claim = ANY(%(claims)s) AND t.since_position <= %(position)s ORDER BY t.since_position",
        {**view.parameters, "claims": list(claims)},
    )
    by_claim: dict[str, list[Span]] = {claim: [] for claim in claims}
    for row in rows:
        by_claim[row[0]].append(Span(row[-2], row[-1], _recorded(row)))
    return by_claim


def which_stand(view: View, statements: Sequence[tuple[str, Place]]) -> set[Place]:
    """Those of the statements, each given with its claim as named, that stand."""
    roots = {view.merges.claim(claim).id for claim, _ in statements}
    if view.said_by is not None:
        return {(each.position, each.ordinal) for of in stands_on(view, roots).values() for each in of}
    found = fetched(
        view.conn,
        "SELECT t.position, t.ordinal FROM unnest(%(at)s::bigint[], %(ordinals)s::int[]) AS p(position, ordinal) "
        "JOIN statement s ON s.position = p.position AND s.ordinal = p.ordinal "
        "JOIN standing t ON t.claim = ANY(%(roots)s) AND t.position = s.position AND t.ordinal = s.ordinal "
        f"WHERE {STANDING}",
        {
            **view.parameters,
            "roots": list(roots),
            "at": [position for _, (position, _) in statements],
            "ordinals": [ordinal for _, (_, ordinal) in statements],
        },
    )
    return {(position, ordinal) for position, ordinal in found}


def _claims_of_speakers(view: View, speakers: Sequence[str]) -> list[str]:
    """The claims on which these speakers ever said something, as they count."""
    named = [member for speaker in speakers for member in view.merges.members(Kind.SPEAKER, speaker)]
    found = fetched(view.conn, "SELECT DISTINCT claim FROM statement WHERE speaker = ANY(%s)", (named,))
    return list({view.merges.claim(claim).id for (claim,) in found})


@dataclass(frozen=True, slots=True)
class Moved:
    """One speaker's standing statement on a claim giving way to another."""

    speaker: str
    old: Place | None  #: None: the speaker did not stand on it.
    new: Place | None  #: None: the speaker stands on it no more.


MOVES = (By("speaker", "text"),)


def moves_at(view: View, events: Sequence[tuple[str, int]]) -> list[list[Moved]]:
    """Who moved on each claim at a position of the log, by speaker."""
    rows = fetched(
        view.conn,
        "SELECT p.i, t.speaker, t.position, t.ordinal, t.since_position = p.position "
        "FROM unnest(%(claims)s::text[], %(at)s::bigint[]) WITH ORDINALITY AS p(claim, position, i) "
        "JOIN standing t ON t.claim = p.claim AND (t.since_position = p.position OR t.until_position = p.position)",
        {"claims": [claim for claim, _ in events], "at": [position for _, position in events]},
    )
    found: list[dict[str, Moved]] = [dict[str, Moved]() for _ in events]
    for row in rows:
        i, speaker, position, ordinal, begins = tuple[int, str, int, int, bool](row)
        of_event = found[i - 1]
        moved = of_event.get(speaker, Moved(speaker, None, None))
        place = (position, ordinal)
        of_event[speaker] = replace(moved, new=place) if begins else replace(moved, old=place)
    return [[of[speaker] for speaker in sorted(of)] for of in found]


def moves_said(view: View, moments: Sequence[tuple[str, datetime]]) -> list[list[Moved]]:
    """Who moved on each claim at a moment when something was said, of all that is known, by speaker."""
    told = told_on(view, {claim for claim, _ in moments})
    found: list[list[Moved]] = []
    for claim, moment in moments:
        live = [each for each, is_live in told[claim] if is_live and each.effective_at <= moment]
        before = standing(each for each in live if each.effective_at < moment)
        after = standing(live)
        found.append(
            [
                Moved(speaker, _place(before.get(speaker)), _place(after.get(speaker)))
                for speaker in sorted(before.keys() | after.keys())
                if before.get(speaker) != after.get(speaker)
            ]
        )
    return found


def _place(of: RecordedStatement | None) -> Place | None:
    return None if of is None else (of.position, of.ordinal)


@dataclass(frozen=True, slots=True)
class ClaimSpeaker:
    """A speaker with what they stand at on one claim."""

    claim: str
    speaker: str
    since_position: int  #: from where on the log it stands.
    statement: Place  #: the statement that stands.


def _claim_speaker(row: Row) -> ClaimSpeaker:
    claim, speaker, since, position, ordinal = row
    return ClaimSpeaker(claim, speaker, since, (position, ordinal))


CLAIM_SPEAKERS = Listing(
    "t.claim, t.speaker, t.since_position, t.position, t.ordinal",
    "standing t",
    (By("t.since_position", descending=True), By("t.speaker", "text")),
    _claim_speaker,
)


def speakers_of_claims(
    view: View, claims: Sequence[str], stance: Stance | None, page: Page
) -> list[Slice[ClaimSpeaker]]:
    """Who stands on each claim, at `stance` if one is named; who moved last comes first."""
    if view.said_by is None:
        conditions = ["t.claim = p.claim", STANDING]
        if stance is not None:
            conditions.append("t.stance = %(stance)s")
        return CLAIM_SPEAKERS.pages(
            view, page, conditions, {**view.parameters, "stance": stance}, parents={"claim": ("text", claims)}
        )
    stands = stands_on(view, claims)
    return [
        cut(
            (
                (
                    (each.position, each.speaker),
                    ClaimSpeaker(claim, each.speaker, each.position, (each.position, each.ordinal)),
                )
                for each in stands[claim]
                if stance is None or each.stance is stance
            ),
            CLAIM_SPEAKERS.order,
            page,
        )
        for claim in claims
    ]
