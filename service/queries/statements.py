"""Statements: what was said, by whom, on what, and which of it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection

from service.domain.article import Certainty, Form, Stance
from service.domain.belief import RecordedStatement, grounds
from service.domain.policies import Reason
from service.queries.paging import By, Listing, Page, Slice

LIVE = "s.position <= %(position)s AND s.until_position > %(position)s"
STANDING = "t.since_position <= %(position)s AND t.until_position > %(position)s"


@dataclass(frozen=True, slots=True)
class Statement:
    """One speaker's stance on one claim, as one article reports it, with its place in the log."""

    claim: str
    position: int
    ordinal: int
    speaker: str
    speaker_name: str
    role: str | None
    organisation: str | None
    bloc: str | None
    own_voice: bool
    stance: Stance
    certainty: Certainty | None
    form: Form | None
    said_at: str | None
    effective_at: datetime
    quote: str
    start: int | None
    quote_verified: bool
    live: bool

    @property
    def place(self) -> tuple[str, int, int]:
        """What tells it from every other statement."""
        return (self.claim, self.position, self.ordinal)


def _statement(*row: Any) -> Statement:
    stance, certainty, form = row[9], row[10], row[11]
    return cast(Any, Statement)(
        *row[:9],
        Stance(stance),
        None if certainty is None else Certainty(certainty),
        None if form is None else Form(form),
        *row[12:],
    )


_COLUMNS = (
    "s.claim, s.position, s.ordinal, s.speaker, s.speaker_name, s.role, s.organisation, s.bloc, s.own_voice, "
    "s.stance, s.certainty, s.form, s.said_at, s.effective_at, s.quote, s.start, s.quote_verified, "
    "s.until_position > %(position)s"
)
_NEWEST = (By("s.position", descending=True), By("s.ordinal", "smallint", descending=True))

STATEMENTS = Listing(_COLUMNS, "statement s", _NEWEST, _statement)
_STANDING = Listing(
    _COLUMNS,
    "standing t JOIN statement s ON s.claim = t.claim AND s.position = t.position AND s.ordinal = t.ordinal",
    _NEWEST,
    _statement,
)
IN_DOCUMENT = Listing(_COLUMNS, "statement s", (By("s.position"), By("s.ordinal", "smallint")), _statement)


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """Which statements of a list are wanted; None: does not matter."""

    stance: Stance | None = None
    speaker: str | None = None
    claim: str | None = None
    live: bool | None = None
    standing: bool | None = None

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        found = ["s.position <= %(position)s"]
        if self.stance is not None:
            found.append("s.stance = %(stance)s")
        if self.speaker is not None:
            found.append("s.speaker = %(speaker)s")
        if self.claim is not None:
            found.append("s.claim = %(claim)s")
        if self.live is not None:
            found.append(f"s.until_position {'>' if self.live else '<='} %(position)s")
        if self.standing is not None:
            exists = (
                "EXISTS (SELECT FROM standing t WHERE t.claim = s.claim AND t.speaker = s.speaker "
                f"AND t.position = s.position AND t.ordinal = s.ordinal AND {STANDING})"
            )
            found.append(exists if self.standing else f"NOT {exists}")
        return found, {"stance": self.stance, "speaker": self.speaker, "claim": self.claim}


def of_claims(
    conn: Connection, position: int, claims: Sequence[str], wanted: StatementFilter, page: Page
) -> list[Slice[Statement]]:
    """The statements on each claim, newest in the log first."""
    conditions, parameters = wanted.conditions()
    if wanted.standing:
        # Few of a claim's statements stand, so they are read from their own table.
        conditions = [each for each in conditions if "EXISTS" not in each]
        listing, on = _STANDING, ["t.claim = p.claim", STANDING]
    else:
        listing, on = STATEMENTS, ["s.claim = p.claim"]
    return listing.pages(
        conn, page, [*on, *conditions], {**parameters, "position": position}, parents={"claim": ("text", claims)}
    )


def of_speakers(
    conn: Connection, position: int, speakers: Sequence[str], wanted: StatementFilter, page: Page
) -> list[Slice[Statement]]:
    """The statements of each speaker, newest in the log first."""
    conditions, parameters = wanted.conditions()
    return STATEMENTS.pages(
        conn,
        page,
        ["s.speaker = p.speaker", *conditions],
        {**parameters, "position": position},
        parents={"speaker": ("text", speakers)},
    )


def of_articles(
    conn: Connection,
    position: int,
    articles: Sequence[int],
    wanted: StatementFilter,
    page: Page,
) -> list[Slice[Statement]]:
    """The statements that each article revision holds, in the order of its document."""
    conditions, parameters = wanted.conditions()
    return IN_DOCUMENT.pages(
        conn,
        page,
        ["s.position = p.article", *conditions],
        {**parameters, "position": position},
        parents={"article": ("bigint", articles)},
    )


_LATEST_WORD = (
    "(NOT p.latest OR (t.position, t.ordinal) = (SELECT l.position, l.ordinal FROM standing l "
    "WHERE l.claim = t.claim AND l.stance <> 'withholds' AND l.since_position <= %(position)s "
    "AND l.until_position > %(position)s ORDER BY l.effective_at DESC, l.published_end DESC, "
    "l.first_position DESC, l.ordinal DESC LIMIT 1))"
)


def grounds_of(
    conn: Connection, position: int, claims: Sequence[tuple[str, Reason]], page: Page
) -> list[Slice[Statement]]:
    """The standing statements on which each belief rests, given its reason, newest in the log first."""
    pages = _STANDING.pages(
        conn,
        page,
        [
            "t.claim = p.claim",
            "s.stance = ANY(string_to_array(p.stances, ' '))",
            STANDING,
            # Where the latest word decides, that one statement is the ground.
            _LATEST_WORD,
        ],
        {"position": position},
        parents={
            "claim": ("text", [claim for claim, _ in claims]),
            "stances": ("text", [" ".join(sorted(grounds(reason))) for _, reason in claims]),
            "latest": ("boolean", [reason is Reason.LATEST_WORD for _, reason in claims]),
        },
    )
    return pages


def by_ordinal(conn: Connection, position: int, at: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Statement]:
    """The statements of these events, by position and ordinal, as of `position`."""
    found = conn.exec_driver_sql(
        f"SELECT {_COLUMNS} FROM unnest(%(positions)s::bigint[], %(ordinals)s::int[]) AS p(position, ordinal) "
        "JOIN statement s ON s.position = p.position AND s.ordinal = p.ordinal WHERE s.position <= %(position)s",
        {
            "positions": [place for place, _ in at],
            "ordinals": [ordinal for _, ordinal in at],
            "position": position,
        },
    )
    statements = [_statement(*row) for row in found]
    return {(statement.position, statement.ordinal): statement for statement in statements}


def by_place(
    conn: Connection, position: int, places: Sequence[tuple[str, int, int]]
) -> dict[tuple[str, int, int], Statement]:
    """The statements at these places (claim, position, ordinal), as of `position`."""
    found = conn.exec_driver_sql(
        f"SELECT {_COLUMNS} FROM unnest(%(claims)s::text[], %(positions)s::bigint[], %(ordinals)s::int[]) "
        "AS p(claim, position, ordinal) JOIN statement s "
        "ON s.claim = p.claim AND s.position = p.position AND s.ordinal = p.ordinal "
        "WHERE s.position <= %(position)s",
        {
            "claims": [claim for claim, _, _ in places],
            "positions": [place for _, place, _ in places],
            "ordinals": [ordinal for _, _, ordinal in places],
            "position": position,
        },
    )
    statements = [_statement(*row) for row in found]
    return {statement.place: statement for statement in statements}


def which_stand(conn: Connection, position: int, places: Sequence[tuple[str, int, int]]) -> set[tuple[str, int, int]]:
    """Those of the statements at these places that stand at `position`."""
    found = conn.exec_driver_sql(
        "SELECT t.claim, t.position, t.ordinal "
        "FROM unnest(%(claims)s::text[], %(positions)s::bigint[], %(ordinals)s::int[]) AS p(claim, position, ordinal) "
        "JOIN statement s ON s.claim = p.claim AND s.position = p.position AND s.ordinal = p.ordinal "
        "JOIN standing t ON t.claim = s.claim AND t.speaker = s.speaker "
        f"AND t.position = s.position AND t.ordinal = s.ordinal WHERE {STANDING}",
        {
            "claims": [claim for claim, _, _ in places],
            "positions": [place for _, place, _ in places],
            "ordinals": [ordinal for _, _, ordinal in places],
            "position": position,
        },
    )
    return {(claim, place, ordinal) for claim, place, ordinal in found}


# --- standing ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A statement that stands from one position until another."""

    since: int
    until: int
    statement: RecordedStatement


def spans(conn: Connection, position: int, claims: Sequence[str]) -> dict[str, list[Span]]:
    """All that ever stood on each claim up to `position`, in order of the log."""
    found = conn.exec_driver_sql(
        "SELECT t.since_position, t.until_position, t.claim, t.speaker, t.stance, t.bloc, t.effective_at, "
        "t.published_end, t.first_position, t.position, t.ordinal FROM standing t "
        "WHERE t.claim = ANY(%(claims)s) AND t.since_position <= %(position)s ORDER BY t.since_position",
        {"claims": list(claims), "position": position},
    )
    return _spans(claims, found)


def standing_now(conn: Connection, position: int, claims: Sequence[str]) -> dict[str, list[Span]]:
    """What stands on each claim at `position`."""
    found = conn.exec_driver_sql(
        "SELECT t.since_position, t.until_position, t.claim, t.speaker, t.stance, t.bloc, t.effective_at, "
        "t.published_end, t.first_position, t.position, t.ordinal FROM standing t "
        f"WHERE t.claim = ANY(%(claims)s) AND {STANDING}",
        {"claims": list(claims), "position": position},
    )
    return _spans(claims, found)


def _spans(claims: Sequence[str], rows: Any) -> dict[str, list[Span]]:
    by_claim: dict[str, list[Span]] = {claim: [] for claim in claims}
    for row in rows:
        statement = RecordedStatement(row[2], row[3], Stance(row[4]), *row[5:])
        by_claim[row[2]].append(Span(row[0], row[1], statement))
    return by_claim


@dataclass(frozen=True, slots=True)
class ClaimSpeaker:
    """A speaker with what they stand at on one claim."""

    claim: str
    speaker: str
    since_position: int  #: from where on the log it stands.
    statement: tuple[str, int, int]  #: the place of the statement that stands.


def _claim_speaker(claim: str, speaker: str, since: int, position: int, ordinal: int) -> ClaimSpeaker:
    return ClaimSpeaker(claim, speaker, since, (claim, position, ordinal))


CLAIM_SPEAKERS = Listing(
    "t.claim, t.speaker, t.since_position, t.position, t.ordinal",
    "standing t",
    (By("t.since_position", descending=True), By("t.speaker", "text")),
    _claim_speaker,
)


def speakers_of_claims(
    conn: Connection, position: int, claims: Sequence[str], stance: Stance | None, page: Page
) -> list[Slice[ClaimSpeaker]]:
    """Who stands on each claim, at `stance` if one is named; who moved last comes first."""
    conditions = ["t.claim = p.claim", STANDING]
    if stance is not None:
        conditions.append("t.stance = %(stance)s")
    return CLAIM_SPEAKERS.pages(
        conn, page, conditions, {"position": position, "stance": stance}, parents={"claim": ("text", claims)}
    )
