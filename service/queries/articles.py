"""Articles with their revisions, outlets, speakers, topics."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from service.domain.article import ChangeOf, Reader
from service.domain.merges import Kind
from service.queries.driver import Row, fetched
from service.queries.paging import By, Listing, Page, Slice
from service.queries.snapshot import View


class Article(NamedTuple):
    """One revision of an article."""

    position: int
    url: str
    revision: int
    first_position: int
    outlet: str
    outlet_name: str
    headline: str | None
    published_at: str
    language: str | None
    revised_at: str | None
    change: ChangeOf | None
    read_by_kind: Reader | None
    read_by_id: str | None
    read_by_version: str | None
    text_sha256: str | None
    quotes_verified: bool
    live: bool


class Retraction(NamedTuple):
    """An article withdrawn, at one of its revisions."""

    url: str
    revision: int
    position: int
    reason: str
    recorded_at: datetime


class Outlet(NamedTuple):
    """Who publishes, under the name that its latest article gives."""

    outlet: str
    first_position: int
    name: str


class Speaker(NamedTuple):
    """Whose stance is reported, as the live statement with the greatest key describes them."""

    speaker: str
    first_position: int
    name: str
    role: str | None
    organisation: str | None
    bloc: str | None
    own_voice: bool


class Topic(NamedTuple):
    """What claims are about."""

    topic: str
    first_position: int


# --- articles ---------------------------------------------------------------------

_ARTICLE = (
    "a.position, a.url, a.revision, a.first_position, a.outlet, a.outlet_name, a.headline, a.published_at, "
    "a.language, a.revised_at, a.change, a.read_by_kind, a.read_by_id, a.read_by_version, a.text_sha256, "
    "a.quotes_verified, a.until_position > %(position)s"
)
_KNOWN = "a.position <= %(position)s"
_NEWEST_REVISION = (
    "NOT EXISTS (SELECT FROM article n WHERE n.url = a.url AND n.revision > a.revision AND n.position <= %(position)s)"
)


def _article(row: Row) -> Article:
    change, kind = row[10], row[11]
    changed, read = None if change is None else ChangeOf(change), None if kind is None else Reader(kind)
    return Article._make((*row[:10], changed, read, *row[12:]))


ARTICLES = Listing(_ARTICLE, "article a", (By("a.position", descending=True),), _article)
REVISIONS = Listing(_ARTICLE, "article a", (By("a.revision", "int"),), _article)


def articles(view: View, page: Page, *, outlet: str | None = None, live: bool | None = None) -> Slice[Article]:
    """The newest revision of each article, newest in the log first."""
    conditions = [_KNOWN, _NEWEST_REVISION]
    if outlet is not None:
        conditions.append("a.outlet = %(outlet)s")
    if live is not None:
        conditions.append(f"a.until_position {'>' if live else '<='} %(position)s")
    return ARTICLES.page(view, page, conditions, {**view.parameters, "outlet": outlet})


def articles_of_outlets(view: View, outlets: Sequence[str], page: Page) -> list[Slice[Article]]:
    """The newest revision of each article of each outlet, newest in the log first."""
    return ARTICLES.pages(
        view,
        page,
        ["a.outlet = p.outlet", _KNOWN, _NEWEST_REVISION],
        view.parameters,
        parents={"outlet": ("text", outlets)},
    )


def articles_by_url(view: View, urls: Collection[str]) -> dict[str, Article]:
    """The newest revision of each of these articles, live or retracted."""
    found = fetched(
        view.conn,
        f"SELECT {_ARTICLE} FROM article a WHERE a.url = ANY(%(urls)s) AND {_KNOWN} AND {_NEWEST_REVISION}",
        {"urls": list(urls), **view.parameters},
    )
    return {row[1]: _article(row) for row in found}


def articles_by_position(view: View, at: Collection[int]) -> dict[int, Article]:
    """The article revisions recorded at these positions."""
    found = fetched(
        view.conn,
        f"SELECT {_ARTICLE} FROM article a WHERE a.position = ANY(%(at)s) AND {_KNOWN}",
        {"at": list(set(at)), **view.parameters},
    )
    return {row[0]: _article(row) for row in found}


def articles_by_event(view: View, at: Collection[int]) -> dict[int, Article]:
    """The article revisions that the events at these positions recorded or retracted, by the event's position."""
    found = fetched(
        view.conn,
        f"SELECT p.event, {_ARTICLE} FROM unnest(%(at)s::bigint[]) AS p(event) "
        "LEFT JOIN retraction r ON r.position = p.event "
        "JOIN article a ON a.position = p.event OR (a.url = r.url AND a.revision = r.revision) "
        f"WHERE {_KNOWN}",
        {"at": list(set(at)), **view.parameters},
    )
    return {row[0]: _article(row[1:]) for row in found}


def revisions(view: View, urls: Sequence[str], page: Page) -> list[Slice[Article]]:
    """The revisions of each article, first to last."""
    return REVISIONS.pages(view, page, ["a.url = p.url", _KNOWN], view.parameters, parents={"url": ("text", urls)})


def retractions(view: View, urls: Collection[str]) -> dict[tuple[str, int], Retraction]:
    """The retractions of these articles, by URL and revision."""
    found = fetched(
        view.conn,
        "SELECT r.url, r.revision, r.position, r.reason, e.recorded_at FROM retraction r "
        "JOIN onrecord.event e ON e.position = r.position "
        "WHERE r.url = ANY(%(urls)s) AND r.position <= %(position)s",
        {"urls": list(set(urls)), **view.parameters},
    )
    return {(row[0], row[1]): Retraction(*row) for row in found}


# --- outlets, speakers, topics ------------------------------------------------------

# Of an outlet's articles the last published names it; where none is live, the last of all.
_LAST_PUBLISHED = "ORDER BY a.published_end DESC, a.first_position DESC, a.revision DESC LIMIT 1"
_OUTLET = (
    "outlet o, LATERAL ((SELECT a.outlet_name, 0 AS rank FROM article a WHERE a.outlet = o.outlet "
    f"AND a.position <= %(position)s AND a.until_position > %(position)s {_LAST_PUBLISHED}) UNION ALL "
    "(SELECT a.outlet_name, 1 FROM article a WHERE a.outlet = o.outlet AND a.position <= %(position)s "
    f"{_LAST_PUBLISHED}) ORDER BY rank LIMIT 1) n"
)
_OUTLET_COLUMNS = "o.outlet, o.first_position, n.outlet_name"
OUTLETS = Listing(
    _OUTLET_COLUMNS, _OUTLET, (By("o.first_position", descending=True), By("o.outlet", "text")), Outlet._make
)

# Role, organisation and bloc belong to a statement; a speaker shows those of the live
# one with the greatest key. It stands on its claim, so it is found among the standing.
# Where none is live, the last that was recorded still names the speaker.
_SPEAKER_COLUMNS = "k.speaker, k.first_position, n.speaker_name, n.role, n.organisation, n.bloc, n.own_voice"
_SPEAKER = """speaker k, LATERAL (
    (SELECT s.speaker_name, s.role, s.organisation, s.bloc, s.own_voice, 0 AS rank
       FROM (SELECT t.position, t.ordinal FROM standing t
              WHERE t.speaker = k.speaker AND t.since_position <= %(position)s AND t.until_position > %(position)s
              ORDER BY t.effective_at DESC, t.published_end DESC, t.first_position DESC, t.ordinal DESC LIMIT 1) t
       JOIN statement s ON s.position = t.position AND s.ordinal = t.ordinal)
    UNION ALL
    (SELECT s.speaker_name, s.role, s.organisation, s.bloc, s.own_voice, 1
       FROM statement s WHERE s.speaker = k.speaker AND s.position <= %(position)s
      ORDER BY s.position DESC, s.ordinal DESC LIMIT 1)
    ORDER BY rank LIMIT 1) n"""
# Of what was said by some moment, what stands is not stored, so the live statements are sought through.
_SPEAKER_THEN = """speaker k, LATERAL (
    SELECT s.speaker_name, s.role, s.organisation, s.bloc, s.own_voice FROM statement s
     WHERE s.speaker IN (WITH RECURSIVE m(speaker) AS (VALUES (k.speaker) UNION SELECT g.merged FROM merge g
                             JOIN m ON g.survivor = m.speaker WHERE g.kind = 'speaker'
                              AND g.position <= %(position)s AND g.until_position > %(position)s)
                         SELECT m.speaker FROM m)
       AND s.position <= %(position)s AND s.effective_at <= %(said_by)s
     ORDER BY s.until_position > %(position)s DESC, s.effective_at DESC, s.published_end DESC,
              s.first_position DESC, s.ordinal DESC LIMIT 1) n"""
_SPEAKER_ORDER = (By("k.first_position", descending=True), By("k.speaker", "text"))
SPEAKERS = Listing(_SPEAKER_COLUMNS, _SPEAKER, _SPEAKER_ORDER, Speaker._make)
_SPEAKERS_THEN = Listing(_SPEAKER_COLUMNS, _SPEAKER_THEN, _SPEAKER_ORDER, Speaker._make)
TOPICS = Listing(
    "o.topic, o.first_position",
    "topic o",
    (By("o.first_position", descending=True), By("o.topic", "text")),
    Topic._make,
)


def outlets(view: View, page: Page) -> Slice[Outlet]:
    """The outlets, last to appear first."""
    return OUTLETS.page(view, page, ["o.first_position <= %(position)s"], view.parameters)


def outlets_by_slug(view: View, slugs: Collection[str]) -> dict[str, Outlet]:
    """Those of the outlets that are known."""
    found = fetched(
        view.conn,
        f"SELECT {_OUTLET_COLUMNS} FROM {_OUTLET} WHERE o.outlet = ANY(%(slugs)s) AND o.first_position <= %(position)s",
        {"slugs": list(set(slugs)), **view.parameters},
    )
    return {row[0]: Outlet(*row) for row in found}


def speakers(view: View, page: Page) -> Slice[Speaker]:
    """The speakers, last to appear first; of merged ones, the survivor."""
    merged = [merge.merged for merge in view.merges if merge.kind is Kind.SPEAKER]
    return _speakers(view).page(
        view,
        page,
        ["k.first_position <= %(position)s", "k.speaker <> ALL(%(merged)s)"],
        {**view.parameters, "merged": merged},
    )


def speakers_by_slug(view: View, slugs: Collection[str]) -> dict[str, Speaker]:
    """Those of the speakers that are known, by the id that was asked for; of a merged one, the survivor."""
    survivors = {slug: view.merges.speaker(slug) for slug in slugs}
    found = fetched(
        view.conn,
        f"SELECT {_SPEAKER_COLUMNS} FROM {_speakers(view).source} "
        "WHERE k.speaker = ANY(%(slugs)s) AND k.first_position <= %(position)s",
        {**view.parameters, "slugs": list(set(survivors.values()))},
    )
    told = {row[0]: Speaker(*row) for row in found}
    return {slug: told[survivor] for slug, survivor in survivors.items() if survivor in told}


def _speakers(view: View) -> Listing[Speaker]:
    return SPEAKERS if view.said_by is None else _SPEAKERS_THEN


def topics(view: View, page: Page) -> Slice[Topic]:
    """The topics, last to appear first."""
    return TOPICS.page(view, page, ["o.first_position <= %(position)s"], view.parameters)
