"""Loading: what is stored of the past that the next events touch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from sqlalchemy import Connection

from service.domain.article import Stance
from service.domain.belief import ArticleLife, RecordedStatement, Ruling, Standing, Sums
from service.domain.merges import Kind, Merge, Merges
from service.domain.policies import State
from service.log import Stored
from service.tables import OPEN


@dataclass(slots=True)
class Known:
    """What is remembered of a claim between batches."""

    standing: Standing
    proposition: str
    topic: str | None
    ruling: Ruling | None = None
    size: int = 0  #: what it counts for in what the projector remembers.


#: Live statements by claim and speaker as their articles name them.
Live = dict[str, dict[str, list[RecordedStatement]]]

_STATEMENT = (
    "s.claim, s.speaker, s.stance, s.bloc, s.effective_at, s.published_end, s.first_position, s.position, s.ordinal"
)


def _statement(row: Sequence[Any]) -> RecordedStatement:
    return RecordedStatement(row[0], row[1], Stance(row[2]), *row[3:9])


def driver(conn: Connection) -> psycopg.Connection[Any]:
    """The driver's own connection, in the transaction of `conn`; it sends many statements in one round trip."""
    if not conn.in_transaction():
        conn.begin()
    return cast("psycopg.Connection[Any]", conn.connection.driver_connection)


def _ask(conn: Connection, *questions: tuple[str, Sequence[Any]]) -> list[Sequence[Sequence[Any]]]:
    """The answers to several questions, in one round trip; one by one for coroutines, which only preview."""
    if not isinstance(conn.connection.driver_connection, psycopg.Connection):
        return [conn.exec_driver_sql(sql, tuple(parameters)).all() for sql, parameters in questions]
    raw = driver(conn)
    with raw.pipeline():
        asked = [raw.execute(sql.encode(), parameters) for sql, parameters in questions]
    return [each.fetchall() for each in asked]


#: Statements are planned once, for tables that grow: by their indexes, whatever is known of their size.
_PLANS: Final = {"plan_cache_mode": "force_generic_plan"} | dict.fromkeys(
    ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off"
)
_TAKE: Final = (
    "SELECT set_config('search_path', schema_name, true), "
    + "".join(f"set_config('{name}', '{value}', true), " for name, value in _PLANS.items())
    + "position FROM onrecord.generation WHERE generation = %s FOR UPDATE"
)
_NEXT: Final = (
    "SELECT position, type, schema_version, payload FROM onrecord.event "
    "WHERE position > (SELECT position FROM onrecord.generation WHERE generation = %s) ORDER BY position LIMIT %s"
)


def take(conn: Connection, generation: int, *, limit: int) -> tuple[int, list[Stored]]:
    """Take the generation's row, and with it the right to write; returns the cursor and the entries after it.

    Waits while another holds it, and then reads what that one left.
    """
    raw = driver(conn)
    with raw.pipeline():
        taken = raw.execute(_TAKE.encode(), (generation,))
        found = raw.execute(_NEXT, (generation, limit), binary=True)
    row = taken.fetchone()
    if row is None:
        raise LookupError(f"generation {generation} is gone")
    return row[-1], [Stored(*each) for each in found]


_ARTICLES: Final = (
    "SELECT DISTINCT ON (url) url, first_position, revision, position, until_position "
    "FROM article WHERE url = ANY(%s) ORDER BY url, revision DESC"
)
_OF_ARTICLES: Final = (
    f"SELECT {_STATEMENT}, a.url FROM article a JOIN statement s ON s.position = a.position "
    "WHERE a.url = ANY(%s) AND a.until_position = %s ORDER BY s.ordinal"
)


def articles_by_url(conn: Connection, urls: list[str]) -> dict[str, ArticleLife]:
    newest, live = _ask(conn, (_ARTICLES, (urls,)), (_OF_ARTICLES, (urls, OPEN)))
    articles = {
        url: ArticleLife(first_position, revision, position if until == OPEN else None, [])
        for url, first_position, revision, position, until in newest
    }
    for row in live:
        articles[row[-1]].statements.append(_statement(row))
    return articles


def with_members(pairs: Iterable[tuple[str, str]], merges: Merges) -> Iterable[tuple[str, str]]:
    """The pairs with all those that count for the same claim and speaker."""
    if not merges:
        return pairs
    return {
        (member, voice): None
        for claim, speaker in pairs
        for member in merges.members(Kind.CLAIM, merges.claim(claim).id)
        for voice in merges.members(Kind.SPEAKER, merges.speaker(speaker))
    }


def live_on(conn: Connection, claims: Sequence[str], speakers: Sequence[str] | None) -> Live:
    """What is live on these claims, as they are named, of these speakers or of all."""
    of = "" if speakers is None else " AND s.speaker = ANY(%(speakers)s)"
    found = conn.exec_driver_sql(
        f"SELECT {_STATEMENT} FROM statement s WHERE s.claim = ANY(%(claims)s){of} AND s.until_position = %(open)s",
        {"claims": list(claims), "speakers": speakers, "open": OPEN},
    )
    live: Live = {}
    for row in found:
        live.setdefault(row[0], {}).setdefault(row[1], []).append(_statement(row))
    return live


def claims_with(conn: Connection, speaker: str) -> list[str]:
    """The claims on which a speaker stands."""
    found = conn.exec_driver_sql(
        "SELECT DISTINCT claim FROM standing WHERE speaker = %s AND until_position = %s", (speaker, OPEN)
    )
    return list(found.scalars())


def merges_in_force(conn: Connection) -> Merges:
    """The merges in force at the end of what is projected."""
    found = conn.exec_driver_sql(
        "SELECT position, kind, merged, survivor, opposite FROM merge WHERE until_position = %s ORDER BY position",
        (OPEN,),
    )
    return Merges(Merge(row[0], Kind(row[1]), *row[2:]) for row in found)


def live_of(conn: Connection, pairs: Iterable[tuple[str, str]]) -> Live:
    """What is live of these claims and speakers, as they are named."""
    live: Live = {}
    for claim, speaker in pairs:
        live.setdefault(claim, {})[speaker] = []
    named = [(claim, speaker) for claim, of in live.items() for speaker in of]
    found = conn.exec_driver_sql(
        f"SELECT {_STATEMENT} FROM unnest(%s::text[], %s::text[]) AS p(claim, speaker) "
        "JOIN statement s ON s.claim = p.claim AND s.speaker = p.speaker WHERE s.until_position = %s",
        ([claim for claim, _ in named], [speaker for _, speaker in named], OPEN),
    )
    for row in found:
        live[row[0]][row[1]].append(_statement(row))
    return live


_CLAIMS: Final = (
    "SELECT c.claim, w.proposition, c.topic, r.state, r.position FROM claim c "
    "JOIN wording w ON w.claim = c.claim AND w.position = c.first_position "
    "LEFT JOIN ruling r ON r.claim = c.claim AND r.until_position = %s WHERE c.claim = ANY(%s)"
)
_STANDING: Final = f"SELECT {_STATEMENT} FROM standing s WHERE s.claim = ANY(%s) AND s.until_position = %s"
#: The claims first, so that of those with sums no row is read.
_STANDING_UNSUMMED: Final = (
    "WITH few AS MATERIALIZED (SELECT p.claim FROM unnest(%s::text[]) AS p(claim) "
    "WHERE NOT EXISTS (SELECT FROM standing_sums m WHERE m.claim = p.claim)) "
    f"SELECT {_STATEMENT} FROM few JOIN standing s ON s.claim = few.claim WHERE s.until_position = %s"
)


def _newest(claim: str, speaker: str) -> str:
    """A speaker's newest row on a claim, as `s`; by its key, as those that are open are many."""
    return (
        f"LATERAL (SELECT * FROM standing s WHERE s.claim = {claim} AND s.speaker = {speaker} "
        "ORDER BY s.since_position DESC LIMIT 1) s"
    )


_SUMS: Final = (
    f"SELECT m.claim, {', '.join(f'm.{name}' for name in Sums._fields)}, {_STATEMENT} FROM standing_sums m "
    f"LEFT JOIN {_newest('m.claim', 'm.latest')} ON true WHERE m.claim = ANY(%s)"
)
_STANDING_OF: Final = (
    f"SELECT {_STATEMENT} FROM unnest(%s::text[], %s::text[]) AS p(claim, speaker), "
    f"{_newest('p.claim', 'p.speaker')} WHERE s.until_position = %s"
)


def known_of(conn: Connection, claims: list[str], *, whole: bool) -> dict[str, Known]:
    """What is known of these claims; if not `whole`, only the sums of those on which many stand."""
    named, stands, summed = _ask(
        conn,
        (_CLAIMS, (OPEN, claims)),
        (_STANDING if whole else _STANDING_UNSUMMED, (claims, OPEN)),
        (_SUMS, ([] if whole else claims,)),
    )
    known = {
        claim: Known(Standing(), proposition, topic, None if state is None else Ruling(claim, State(state), position))
        for claim, proposition, topic, state, position in named
    }
    for row in stands:
        known[row[0]].standing.move(None, _statement(row))
    for claim, *row in summed:
        sums, latest = Sums(*row[:7]), row[7:]
        known[claim].standing = Standing.summed(sums, None if sums.latest is None else _statement(latest))
    return known


def standing_on(conn: Connection, claim: str) -> list[RecordedStatement]:
    """All that stands on a claim, as it is stored."""
    (found,) = _ask(conn, (_STANDING, ([claim], OPEN)))
    return [_statement(row) for row in found]


def standing_of(conn: Connection, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RecordedStatement]:
    """What stands of these claims and speakers, as it is stored."""
    (found,) = _ask(conn, (_STANDING_OF, ([claim for claim, _ in pairs], [speaker for _, speaker in pairs], OPEN)))
    return {(row[0], row[1]): _statement(row) for row in found}
