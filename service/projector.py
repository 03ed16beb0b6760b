"""The projector: folds the log into the read tables, and is their only writer.

A batch is one transaction: it takes the generation's row (the cursor, and the
right to write), loads what the next events touch, folds them in memory, writes
set-based, and moves the cursor. Killed anywhere, it goes on as if it had not been.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never, cast

import orjson
import psycopg
from sqlalchemy import Connection, Table, insert, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from service import log, tables
from service.domain import moment
from service.domain.article import Article, Claim, Stance
from service.domain.belief import ArticleLife, Change, Fold, RecordedStatement, Standing
from service.domain.errors import EventUndecodable
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Event
from service.domain.policies import policy
from service.tables import OPEN

#: Where readers are told that more of the log is projected.
CHANNEL: Final = "onrecord_projected"
#: Raised when the same log must give other rows, so that a new generation is made.
_RULES_VERSION: Final = 1
#: How many standing statements are kept in memory between batches.
_REMEMBERED_MAX: Final = 500_000

#: The text-search dictionary for a language, by its primary BCP 47 subtag.
_DICTIONARIES: Final[Mapping[str, str]] = {
    "ar": "arabic",
    "hy": "armenian",
    "eu": "basque",
    "ca": "catalan",
    "da": "danish",
    "nl": "dutch",
    "en": "english",
    "fi": "finnish",
    "fr": "french",
    "de": "german",
    "el": "greek",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "ga": "irish",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "no": "norwegian",
    "nb": "norwegian",
    "nn": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "es": "spanish",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
DICTIONARIES: Final = ("simple", *sorted(set(_DICTIONARIES.values())))


def dictionary(language: str | None) -> str:
    """The name of PostgreSQL's dictionary for a language; `simple` where there is none.

    >>> dictionary("en-GB"), dictionary("uk"), dictionary(None)
    ('english', 'simple', 'simple')
    """
    return _DICTIONARIES.get((language or "").split("-")[0].lower(), "simple")


# --- generations ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generation:
    """One complete set of read tables."""

    generation: int
    schema_name: str
    shape: str
    policies: list[str]
    position: int  #: everything up to here is projected.
    live: bool  #: readers are answered from it.
    stopped_at: int | None  #: the event that could not be projected; None: it runs.
    because: str | None


_generation = tables.generation


def generations(conn: Connection) -> list[Generation]:
    """All of them, oldest first."""
    found = conn.execute(select(_generation).order_by(_generation.c.generation))
    return [Generation(*row) for row in found]


def shape() -> str:
    """A fingerprint of the read tables and of the rules that fill them."""
    dialect = postgresql.dialect()
    ddl = [str(_RULES_VERSION)]
    for table in tables.read_metadata.sorted_tables:
        ddl.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        ddl += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return hashlib.sha256("\n".join(ddl).encode()).hexdigest()


def prepare(conn: Connection, policies: Sequence[str]) -> Generation:
    """The generation that holds what is wanted today; made, empty, where there is none yet.

    The first is live at once. A later one, wanted because the read tables have
    another shape or other policies are projected, goes live by `promote` when it
    has caught up; until then readers are answered from the old one.
    """
    wanted = (shape(), sorted(policy(each).id for each in policies))
    # Two that start together must not make two.
    conn.execute(text("LOCK TABLE onrecord.generation IN SHARE ROW EXCLUSIVE MODE"))
    known = generations(conn)
    for each in reversed(known):
        if (each.shape, each.policies) == wanted:
            return each
    number = conn.execute(
        insert(_generation)
        .values(
            schema_name="",
            shape=wanted[0],
            policies=wanted[1],
            position=0,
            live=not any(each.live for each in known),
        )
        .returning(_generation.c.generation)
    ).scalar_one()
    schema_name = f"onrecord_{number}"
    conn.execute(update(_generation).where(_generation.c.generation == number).values(schema_name=schema_name))
    conn.execute(text(f"CREATE SCHEMA {schema_name}"))
    conn.execute(text(f"SET LOCAL search_path TO {schema_name}"))
    tables.read_metadata.create_all(conn, checkfirst=False)
    (made,) = (each for each in generations(conn) if each.generation == number)
    return made


def promote(conn: Connection, generation: int) -> None:
    """Answer readers from this generation from now on, if they are not already."""
    conn.execute(update(_generation).where(_generation.c.live).values(live=False))
    conn.execute(update(_generation).where(_generation.c.generation == generation).values(live=True))


def drop_superseded(conn: Connection, generation: int) -> list[str]:
    """Remove the generations before `generation`, which must be live, and their tables.

    Not before every request that may have begun on one of them has ended.
    Returns the names of the schemas that are gone.
    """
    old = [each for each in generations(conn) if each.generation < generation and not each.live]
    for each in old:
        conn.execute(text(f"DROP SCHEMA {each.schema_name} CASCADE"))
        conn.execute(_generation.delete().where(_generation.c.generation == each.generation))
    return [each.schema_name for each in old]


# --- projecting -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Progress:
    """What a batch came to."""

    position: int  #: projected up to here.
    events: int  #: projected by this batch.
    stopped_at: int | None = None
    because: str | None = None


@dataclass(slots=True)
class _Known:
    """What is remembered of a claim between batches."""

    standing: Standing
    proposition: str
    topic: str | None
    size: int = 0  #: what it counts for in what the projector remembers.


class Projector:
    """Projects the log into one generation, batch by batch.

    Keeps the standing of claims in memory between batches, for as long as nobody
    else moves the cursor. Only one thread may use it.
    """

    def __init__(self, generation: Generation, *, remembered_max: int = _REMEMBERED_MAX) -> None:
        self._generation = generation
        self._policies = [policy(each) for each in generation.policies]
        self._remembered_max = remembered_max
        self._claims: dict[str, _Known] = {}  # least recently used first
        self._remembered = 0  # the sum of their sizes
        self._position: int | None = None

    def forget(self) -> None:
        """Drop what is remembered; the next batch reads anew what it touches."""
        self._claims, self._remembered, self._position = {}, 0, None

    def advance(self, conn: Connection, *, limit: int = 500) -> Progress:
        """Project the next events, at most `limit`, in the caller's transaction.

        Waits while another projector holds the generation. Stops before an event
        that cannot be read or folded, and says so in the generation's row: never a
        guess, never a skip. On any error the caller rolls back, and may go on with this
        projector: it remembers only what it knows to be as it is stored.
        """
        position = self._take(conn)
        if position != self._position:
            self.forget()
        # Until all is written, what is remembered may be ahead of what is stored.
        self._position = None
        entries = log.read(conn, after=position, limit=limit)
        decoded: list[tuple[int, Event]] = []
        stopped_at, because = None, None
        for entry in entries:
            try:
                decoded.append((entry.position, entry.event()))
            except EventUndecodable as error:
                stopped_at, because = entry.position, str(error)
                break
        batch, failure = self._batch(conn, position, decoded)
        if failure is not None:
            # What it left half done is thrown away, and the events before it are folded anew.
            stopped_at, because = failure
            self.forget()
            good = [(at, event) for at, event in decoded if at < stopped_at]
            batch, failure = self._batch(conn, position, good)
            assert failure is None
        _write(conn, batch, self._generation.generation, stopped_at=stopped_at, because=because)
        if stopped_at is None:
            self._position = batch.position
            self._trim(batch.touched)
        else:
            self.forget()
        return Progress(batch.position, batch.position - position, stopped_at, because)

    def _batch(
        self, conn: Connection, position: int, decoded: Sequence[tuple[int, Event]]
    ) -> tuple["_Batch", tuple[int, str] | None]:
        """What the events come to, and the first that cannot be folded with the reason, if there is one."""
        batch = _Batch(position)
        fold = self._fold(conn, decoded) if decoded else Fold(self._policies)
        batch.touched = fold.claims.keys()
        for at, event in decoded:
            try:
                batch.take(event, fold.apply(event, at), fold.claims, self._claims)
            except Exception as error:  # noqa: BLE001 - whatever it is, the event is not skipped
                return batch, (at, f"event {at} cannot be folded: {type(error).__name__}: {error}")
            batch.position = at
        return batch, None

    def _take(self, conn: Connection) -> int:
        """Take the generation's row, and with it the right to write; returns the cursor."""
        return conn.exec_driver_sql(
            "SELECT set_config('search_path', schema_name, true), position "
            "FROM onrecord.generation WHERE generation = %s FOR UPDATE",
            (self._generation.generation,),
        ).one()[1]

    def _fold(self, conn: Connection, decoded: Sequence[tuple[int, Event]]) -> Fold:
        """A fold that knows of the past what these events touch."""
        fold = Fold(self._policies)
        urls: dict[str, None] = {}
        fold_urls: dict[str, None] = {}
        claims: dict[str, None] = {}
        for _, event in decoded:
            match event:
                case ArticleRecorded(article=article):
                    urls[article.url] = None
                    claims.update((claim.claim, None) for claim in article.claims)
                case ArticleRevised(article=article):
                    fold_urls[article.url] = None
                    claims.update((claim.claim, None) for claim in article.claims)
                case ArticleRetracted(url=url):
                    fold_urls[url] = None
        pairs: dict[tuple[str, str], None] = {}
        # A recorded one is there only if the log is damaged; the fold must know that to stop.
        fold.articles = _articles(conn, [*urls, *fold_urls])
        if fold_urls:
            for known in fold.articles.values():
                pairs.update(((each.claim, each.speaker), None) for each in known.statements)
            for _, event in decoded:
                if isinstance(event, ArticleRecorded | ArticleRevised) and event.article.url in fold_urls:
                    article = event.article
                    pairs.update(
                        ((claim.claim, article.speaker_of(each)), None) for _, claim, each in article.statements()
                    )
            claims.update((claim, None) for claim, _ in pairs)
            fold.live = _live(conn, pairs)
        unknown = [claim for claim in claims if claim not in self._claims]
        if unknown:
            self._claims.update(_known(conn, unknown))
        for claim in claims:
            if claim in self._claims:
                known_claim = self._claims[claim] = self._claims.pop(claim)  # most recently used
                fold.claims[claim] = known_claim.standing
        return fold

    def _trim(self, touched: Iterable[str]) -> None:
        """Forget the claims not used for longest, so that memory stays bounded; looks only at the touched."""
        for claim in touched:
            known = self._claims[claim]
            # A claim on which nothing stands takes room too.
            size = 1 + len(known.standing.by_speaker)
            self._remembered += size - known.size
            known.size = size
        while self._remembered > self._remembered_max:
            self._remembered -= self._claims.pop(next(iter(self._claims))).size


# --- loading ----------------------------------------------------------------------

_STATEMENT = (
    "s.claim, s.speaker, s.stance, s.bloc, s.effective_at, s.published_end, s.first_position, s.position, s.ordinal"
)


def _statement(row: Sequence[Any]) -> RecordedStatement:
    return RecordedStatement(row[0], row[1], Stance(row[2]), *row[3:9])


def _articles(conn: Connection, urls: list[str]) -> dict[str, ArticleLife]:
    newest = conn.exec_driver_sql(
        "SELECT DISTINCT ON (url) url, first_position, revision, position, until_position "
        "FROM article WHERE url = ANY(%s) ORDER BY url, revision DESC",
        (urls,),
    ).all()
    articles = {
        url: ArticleLife(first_position, revision, position if until == OPEN else None, [])
        for url, first_position, revision, position, until in newest
    }
    if not articles:
        return {}
    live = conn.exec_driver_sql(
        f"SELECT {_STATEMENT}, a.url FROM article a JOIN statement s ON s.position = a.position "
        "WHERE a.url = ANY(%s) AND a.until_position = %s ORDER BY s.ordinal",
        (urls, OPEN),
    )
    for row in live:
        articles[row[-1]].statements.append(_statement(row))
    return articles


def _live(conn: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[RecordedStatement]]:
    live: dict[tuple[str, str], list[RecordedStatement]] = {pair: [] for pair in pairs}
    found = conn.exec_driver_sql(
        f"SELECT {_STATEMENT} FROM unnest(%s::text[], %s::text[]) AS p(claim, speaker) "
        "JOIN statement s ON s.claim = p.claim AND s.speaker = p.speaker WHERE s.until_position = %s",
        ([claim for claim, _ in live], [speaker for _, speaker in live], OPEN),
    )
    for row in found:
        live[row[0], row[1]].append(_statement(row))
    return live


def _known(conn: Connection, claims: list[str]) -> dict[str, _Known]:
    named = conn.exec_driver_sql(
        "SELECT c.claim, w.proposition, c.topic FROM claim c "
        "JOIN wording w ON w.claim = c.claim AND w.position = c.first_position WHERE c.claim = ANY(%s)",
        (claims,),
    )
    known = {claim: _Known(Standing(), proposition, topic) for claim, proposition, topic in named}
    if known:
        stands = conn.exec_driver_sql(
            f"SELECT {_STATEMENT} FROM standing s WHERE s.claim = ANY(%s) AND s.until_position = %s",
            (list(known), OPEN),
        )
        for row in stands:
            known[row[0]].standing.move(None, _statement(row))
    return known


# --- what to write ----------------------------------------------------------------

_Row = dict[str, Any]


@dataclass(slots=True)
class _Spans:
    """Rows of one table that hold from a position on, until another takes their place."""

    opened: list[_Row] = field(default_factory=list[_Row])
    closed: list[_Row] = field(default_factory=list[_Row])  #: key and end of rows that were there before.
    _open: dict[tuple[Any, ...], _Row] = field(default_factory=dict[tuple[Any, ...], _Row])

    def open(self, key: tuple[Any, ...], row: _Row) -> None:
        row["until_position"] = OPEN
        self.opened.append(row)
        self._open[key] = row

    def close(self, key: tuple[Any, ...], names: tuple[str, ...], position: int) -> None:
        """End the row of this key that is open: one of this batch, or else one written before."""
        row = self._open.pop(key, None)
        if row is not None:
            row["until_position"] = position
        else:
            self.closed.append({**dict(zip(names, key, strict=True)), "until_position": position})


class _Batch:
    """The rows that a batch of events comes to."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.touched: Collection[str] = ()  #: the claims that the fold was told of or met.
        self.outlets: dict[str, _Row] = {}
        self.speakers: dict[str, _Row] = {}
        self.topics: dict[str, _Row] = {}
        self.dictionaries: dict[str, _Row] = {}
        self.claims: dict[str, _Row] = {}
        self.named_topics: list[_Row] = []
        self.wordings: list[_Row] = []
        self.retractions: list[_Row] = []
        self.articles = _Spans()
        self.statements = _Spans()
        self.standings = _Spans()
        self.tallies = _Spans()
        self.transitions = _Spans()

    def take(self, event: Event, change: Change, standings: Mapping[str, Standing], known: dict[str, _Known]) -> None:
        """Add what one event comes to."""
        position, before = change.position, change.before
        if before is not None and before.position is not None:
            self.articles.close((before.position,), ("position",), position)
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                assert change.after is not None
                first_position = change.after.first_position
                self._article(article, position, first_position, verified=event.quotes_verified is True)
                for claim in article.claims:
                    self._claim(claim, article, position, standings[claim.claim], known)
                self._statements(article, change.began, verified=event.quotes_verified is True)
            case ArticleRetracted(url=url, reason=reason):
                assert before is not None
                row = {"position": position, "url": url, "revision": before.revision, "reason": reason}
                self.retractions.append(row)
            case _:
                assert_never(event)
        for each in change.ended:
            key = (each.claim, each.position, each.ordinal)
            self.statements.close(key, ("claim", "position", "ordinal"), position)
        for old, new in change.moves:
            moved = old or new
            assert moved is not None
            if old is not None:
                self.standings.close((old.claim, old.speaker), ("claim", "speaker"), position)
            if new is not None:
                row = new._asdict()
                self.standings.open((new.claim, new.speaker), {**row, "since_position": position})
        for claim, tally in change.tallies.items():
            if claim not in self.claims or self.claims[claim]["first_position"] != position:
                self.tallies.close((claim,), ("claim",), position)
            counts = {"asserting": tally.asserting, "denying": tally.denying, "withholding": tally.withholding}
            self.tallies.open((claim,), {"claim": claim, "position": position, **counts})
        for each in change.transitions:
            key = (each.policy, each.claim)
            if each.before is not None:
                self.transitions.close(key, ("policy", "claim"), position)
            self.transitions.open(
                key,
                {
                    "policy": each.policy,
                    "claim": each.claim,
                    "position": position,
                    "from_state": None if each.before is None else each.before.state,
                    "from_reason": None if each.before is None else each.before.reason,
                    "to_state": each.after.state,
                    "to_reason": each.after.reason,
                    "effective_at": each.effective_at,
                    "retroactive": each.retroactive,
                },
            )

    def _article(self, article: Article, position: int, first_position: int, *, verified: bool) -> None:
        read_by, words = article.read_by, dictionary(article.language)
        self.dictionaries.setdefault(words, {"dictionary": words})
        self.outlets.setdefault(article.outlet.id, {"outlet": article.outlet.id, "first_position": position})
        self.articles.open(
            (position,),
            {
                "position": position,
                "url": article.url,
                "revision": article.revision,
                "first_position": first_position,
                "outlet": article.outlet.id,
                "outlet_name": article.outlet.name,
                "headline": article.headline,
                "published_at": article.published_at,
                "published_end": moment.end(article.published_at),
                "language": article.language,
                "revised_at": article.revised_at,
                "change": article.change,
                "read_by_kind": read_by and read_by.kind,
                "read_by_id": read_by and read_by.id,
                "read_by_version": read_by and read_by.version,
                "text_sha256": article.text_sha256,
                "quotes_verified": verified,
            },
        )

    def _claim(
        self, claim: Claim, article: Article, position: int, standing: Standing, known: dict[str, _Known]
    ) -> None:
        slug, topic = claim.claim, claim.topic
        if topic is not None:
            self.topics.setdefault(topic, {"topic": topic, "first_position": position})
        wording = {
            "claim": slug,
            "position": position,
            "proposition": claim.proposition,
            "language": article.language,
            "dictionary": dictionary(article.language),
        }
        named = {"claim": slug, "topic": topic, "topic_position": None if topic is None else position}
        before = known.get(slug)
        if before is None:
            if claim.proposition is None:
                raise ValueError(f"{slug} is named for the first time without a proposition")
            known[slug] = _Known(standing, claim.proposition, topic)
            self.claims[slug] = {**named, "first_position": position}
            self.wordings.append(wording)
            return
        if claim.proposition is not None and claim.proposition != before.proposition:
            self.wordings.append(wording)
        if topic is not None and before.topic is None:
            before.topic = topic
            if slug in self.claims:
                self.claims[slug].update(named)
            else:
                self.named_topics.append(named)

    def _statements(self, article: Article, recorded: Sequence[RecordedStatement], *, verified: bool) -> None:
        words = dictionary(article.language)
        for (_, _, said), placed in zip(article.statements(), recorded, strict=True):
            speaker = said.speaker
            first = {"speaker": placed.speaker, "first_position": placed.position}
            self.speakers.setdefault(placed.speaker, first)
            self.statements.open(
                (placed.claim, placed.position, placed.ordinal),
                {
                    **placed._asdict(),
                    "speaker_name": article.outlet.name if speaker is None else speaker.name,
                    "role": speaker and speaker.role,
                    "organisation": speaker and speaker.organisation,
                    "own_voice": speaker is None,
                    "outlet": article.outlet.id,
                    "certainty": said.certainty,
                    "form": said.form,
                    "said_at": said.said_at,
                    "quote": said.quote,
                    "start": said.start,
                    "quote_verified": verified,
                    "dictionary": words,
                },
            )


# --- writing ----------------------------------------------------------------------


def _record(table: Table, columns: Sequence[str]) -> str:
    dialect = postgresql.dialect()
    typed = ", ".join(f"{name} {table.c[name].type.compile(dialect=dialect)}" for name in columns)
    return f"json_to_recordset(%s::json) AS r({typed})"


def _insert(table: Table, *, repeatable: bool = False) -> str:
    names = [column.name for column in table.columns]
    listed = ", ".join(names)
    # The first to name an outlet, speaker or topic is what counts; later ones say nothing new.
    conflict = " ON CONFLICT DO NOTHING" if repeatable else ""
    return f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {_record(table, names)}{conflict}"


def _close(table: Table, key: Sequence[str], *, newest: str | None = None) -> str:
    """End rows by their key; where the key names several, the newest by `newest` is the open one."""
    record = _record(table, [*key, "until_position"])
    same = " AND ".join(f"t.{name} = r.{name}" for name in key)
    if newest is not None:
        inner = " AND ".join(f"o.{name} = r.{name}" for name in key)
        same += f" AND t.{newest} = (SELECT max(o.{newest}) FROM {table.name} o WHERE {inner})"
    return f"UPDATE {table.name} t SET until_position = r.until_position FROM {record} WHERE {same}"


#: What is written, in this order, and the rows of a batch for it.
_WRITES: Final[tuple[tuple[str, Callable[[_Batch], Collection[_Row]]], ...]] = (
    (_insert(tables.outlet, repeatable=True), lambda b: list(b.outlets.values())),
    (_insert(tables.speaker, repeatable=True), lambda b: list(b.speakers.values())),
    (_insert(tables.topic, repeatable=True), lambda b: list(b.topics.values())),
    (_insert(tables.dictionary, repeatable=True), lambda b: list(b.dictionaries.values())),
    (_insert(tables.claim), lambda b: list(b.claims.values())),
    (
        (
            "UPDATE claim t SET topic = r.topic, topic_position = r.topic_position "
            f"FROM {_record(tables.claim, ['claim', 'topic', 'topic_position'])} WHERE t.claim = r.claim"
        ),
        lambda b: b.named_topics,
    ),
    (_insert(tables.wording), lambda b: b.wordings),
    (_close(tables.article, ["position"]), lambda b: b.articles.closed),
    (_insert(tables.article), lambda b: b.articles.opened),
    (_insert(tables.retraction), lambda b: b.retractions),
    (_close(tables.statement, ["claim", "position", "ordinal"]), lambda b: b.statements.closed),
    (_insert(tables.statement), lambda b: b.statements.opened),
    (_close(tables.standing, ["claim", "speaker"], newest="since_position"), lambda b: b.standings.closed),
    (_insert(tables.standing), lambda b: b.standings.opened),
    (_close(tables.tally, ["claim"], newest="position"), lambda b: b.tallies.closed),
    (_insert(tables.tally), lambda b: b.tallies.opened),
    (_close(tables.transition, ["policy", "claim"], newest="position"), lambda b: b.transitions.closed),
    (_insert(tables.transition), lambda b: b.transitions.opened),
)


def _write(conn: Connection, batch: _Batch, generation: int, *, stopped_at: int | None, because: str | None) -> None:
    """Write a batch and move the cursor, all sent at once and answered at once."""
    raw = cast("psycopg.Connection[Any]", conn.connection.driver_connection)
    with raw.pipeline():
        for statement, rows_of in _WRITES:
            if rows := rows_of(batch):
                raw.execute(statement, (orjson.dumps(list(rows)).decode(),))  # pyright: ignore[reportArgumentType]
        raw.execute(
            "UPDATE onrecord.generation SET position = %s, stopped_at = %s, because = %s WHERE generation = %s",
            (batch.position, stopped_at, because, generation),
        )
