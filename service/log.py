"""The log: append and read. The only writer of the log and its register."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID, uuid4

import orjson
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from service import tables, texts
from service.domain import article as documents
from service.domain import events
from service.domain.article import Article
from service.domain.errors import (
    ArticleChanged,
    ArticleUnknown,
    Busy,
    OnrecordError,
    PropositionMissing,
    RevisionSkipped,
)
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Envelope, Event, sha256

#: The advisory lock on which appends take turns.
APPEND_LOCK: Final = 0x0D_EC_0D_ED
#: Where readers of the log are told that there is more to read.
CHANNEL: Final = "onrecord_log"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event ready to be appended: encoded and hashed before anybody waits for it."""

    event: Event
    actor: str
    payload: bytes = field(repr=False)
    payload_sha256: bytes = field(repr=False)
    text: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, event: Event, *, actor: str, text: str | None = None) -> Self:
        """`event` as sent by `actor`, with the article's text if there is one."""
        payload = events.encode(event)
        type = events.type_of(event)
        # With the projector's own code: what it could not read must not get into the log.
        if events.decode(type, events.TYPES[type][1], payload) != event:
            raise AssertionError(f"{type} does not read back as it was written")
        return cls(event, actor, payload, sha256(payload), text)

    @classmethod
    def of_article(cls, article: Article, *, actor: str) -> Self:
        """The event that records `article`."""
        return cls.of(events.of_article(article), actor=actor, text=article.text)


@dataclass(frozen=True, slots=True)
class Appended:
    """The event is in the log."""

    position: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Repeated:
    """The log had it already; nothing changed."""

    position: int  #: where it was first recorded.
    retracted_at: int | None = None  #: where its article is retracted, if it is: sending it again does not undo that.


@dataclass(frozen=True, slots=True)
class Refused:
    """It contradicts the log; nothing of it was recorded."""

    error: OnrecordError


Outcome = Appended | Repeated | Refused


def append(conn: Connection, new: Sequence[NewEvent], *, wait_s_max: float = 5.0) -> list[Outcome]:
    """Put `new` at the end of the log, in order, and say what became of each.

    Positions count 1, 2, 3, ... with no gaps, and become visible in that
    order: whoever sees position n can already see everything before it. A
    sequence cannot promise this, because it hands numbers out before commit
    and a slower transaction may commit a lower number later. So appends take
    turns: each holds one lock until its transaction ends.

    Sending the same article twice is normal (publishers retry): the second
    call changes nothing and answers with the place of the first. One that is
    refused leaves the others standing, so strangers may share a batch.

    The caller owns the transaction, at READ COMMITTED. Until it commits,
    nothing is in the log and every other append waits, so keep it short.
    Raises Busy when no turn came within `wait_s_max` seconds; then the
    transaction is over.
    """
    if not new:
        return []
    _take_turn(conn, wait_s_max)
    register = _register(conn, new)
    outcomes: list[Outcome] = []
    kept: dict[bytes, str] = {}
    for each in new:
        outcome = register.admit(each)
        outcomes.append(outcome)
        if each.text is not None and not isinstance(outcome, Refused):
            digest = sha256(each.text.encode())
            if isinstance(outcome, Appended) or register.text_recorded_at(each, outcome) == digest:
                kept[digest] = each.text
    if register.added:
        _insert(conn, register)
    texts.keep(conn, kept)
    return outcomes


def append_all(conn: Connection, new: Sequence[NewEvent]) -> list[Appended | Repeated]:
    """Append, where a refusal is an error of the caller's. Raises the first refusal's error."""
    outcomes = append(conn, new)
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            raise outcome.error
    return [outcome for outcome in outcomes if not isinstance(outcome, Refused)]


def announce(conn: Connection) -> None:
    """Wake those who wait for the log to grow. To be called after the commit, in a transaction of its own.

    Only a hint: NOTIFY takes a lock on the whole instance when it commits, so it
    stays out of the append's transaction, and readers go by position anyway.
    """
    conn.exec_driver_sql(f"NOTIFY {CHANNEL}")


def head(conn: Connection) -> int:
    """The last position of the log; 0 before the first event."""
    return conn.execute(select(func.coalesce(func.max(tables.event.c.position), 0))).scalar_one()


_ENVELOPE = (
    tables.event.c.position,
    tables.event.c.event_id,
    tables.event.c.type,
    tables.event.c.schema_version,
    tables.event.c.recorded_at,
    tables.event.c.actor,
    tables.event.c.payload,
)


def read(conn: Connection, *, after: int, limit: int) -> list[Envelope]:
    """The first `limit` entries after position `after`, in order."""
    found = conn.execute(
        select(*_ENVELOPE).where(tables.event.c.position > after).order_by(tables.event.c.position).limit(limit)
    )
    return [Envelope(*row) for row in found]


def stream(conn: Connection, *, after: int = 0, batch: int = 1000) -> Iterator[Envelope]:
    """Every entry after position `after`, in order, at most `batch` of them in memory."""
    while entries := read(conn, after=after, limit=batch):
        yield from entries
        after = entries[-1].position


# --- taking turns -----------------------------------------------------------------

_BEGIN = """
    SELECT set_config('lock_timeout', %(wait)s, true),
           set_config('statement_timeout', '60s', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('synchronous_commit', 'on', true),
           current_setting('transaction_isolation')
"""


def _take_turn(conn: Connection, wait_s_max: float) -> None:
    """Hold the append lock. A statement of its own: one that waits still sees the log from before its wait."""
    # At least 1 ms: 0 would mean to wait for ever.
    wait_ms = max(1, int(wait_s_max * 1000))
    isolation = conn.exec_driver_sql(_BEGIN, {"wait": f"{wait_ms}ms"}).one()[-1]
    if isolation != "read committed":
        # Under REPEATABLE READ the snapshot is older than the turn, and positions would be handed out twice.
        raise AssertionError(f"append needs READ COMMITTED, not {isolation}")
    try:
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            conn.rollback()
            raise Busy from error
        raise


# --- what is known ----------------------------------------------------------------

_REGISTER = """
    SELECT 'head' AS kind, '' AS key, 0 AS revision, coalesce(max(e.position), 0) AS position,
           (SELECT l.recorded_at FROM onrecord.event l ORDER BY l.position DESC LIMIT 1) AS recorded_at,
           clock_timestamp() AS now, '' AS type, 0 AS schema_version, NULL::bytea AS payload
      FROM onrecord.event e
    UNION ALL
    SELECT 'revision', r.url, r.revision, r.position, NULL, NULL, e.type, e.schema_version, e.payload
      FROM unnest(%(urls)s::text[], %(revisions)s::int[]) AS s(url, revision)
      JOIN onrecord.register_revision r ON r.url = s.url AND r.revision IN (s.revision, s.revision - 1)
      JOIN onrecord.event e ON e.position = r.position
    UNION ALL
    SELECT 'newest', n.url, n.revision, n.position, NULL, NULL, '', 0, NULL
      FROM unnest(%(urls)s::text[]) AS s(url),
           LATERAL (SELECT * FROM onrecord.register_revision r
                     WHERE r.url = s.url ORDER BY r.revision DESC LIMIT 1) n
    UNION ALL
    SELECT 'retraction', r.url, r.revision, r.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_retraction r WHERE r.url = ANY(%(urls)s::text[])
    UNION ALL
    SELECT 'claim', c.claim, 0, c.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_claim c WHERE c.claim = ANY(%(claims)s::text[])
    UNION ALL
    SELECT 'speaker', p.speaker, 0, p.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_speaker p WHERE p.speaker = ANY(%(speakers)s::text[])
"""


@dataclass(slots=True)
class _Added:
    """An event that was admitted, with its place."""

    position: int
    event_id: UUID
    recorded_at: datetime
    new: NewEvent


@dataclass(slots=True)
class _Register:
    """What the log says of everything a batch names, kept in step while the batch is admitted."""

    position: int
    recorded_at: datetime | None
    now: datetime
    revisions: dict[tuple[str, int], tuple[int, Article]] = field(
        default_factory=dict[tuple[str, int], tuple[int, Article]]
    )
    newest: dict[str, int] = field(default_factory=dict[str, int])
    retractions: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    claims: set[str] = field(default_factory=set[str])
    speakers: set[str] = field(default_factory=set[str])
    added: list[_Added] = field(default_factory=list[_Added])
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"revision": [], "retraction": [], "claim": [], "speaker": []}
    )

    def admit(self, new: NewEvent) -> Outcome:
        """What becomes of the next event of the batch."""
        event = new.event
        if isinstance(event, ArticleRetracted):
            return self._admit_retraction(event, new)
        return self._admit_article(event, new)

    def text_recorded_at(self, new: NewEvent, outcome: Repeated | Appended) -> bytes | None:
        """The hash of the text that the log names at the outcome's position, if it names one."""
        assert isinstance(new.event, ArticleRecorded | ArticleRevised)
        url = new.event.article.url
        for (known, _), (position, article) in self.revisions.items():
            if known == url and position == outcome.position and article.text_sha256 is not None:
                return bytes.fromhex(article.text_sha256)
        return None

    def _admit_article(self, event: ArticleRecorded | ArticleRevised, new: NewEvent) -> Outcome:
        article = event.article
        url, revision = article.url, article.revision
        newest = self.newest.get(url, 0)
        retracted_at = self.retractions.get((url, newest))
        known = self.revisions.get((url, revision))
        if known is not None:
            position, recorded = known
            if documents.same_revision(article, recorded):
                return Repeated(position, retracted_at)
            return Refused(ArticleChanged(url, revision=revision, position=position, next_revision=newest + 1))
        if revision != newest + 1:
            return Refused(RevisionSkipped(url, revision=revision, next_revision=newest + 1))
        before = self.revisions.get((url, newest))
        if before is not None and retracted_at is None and documents.same_content(article, before[1]):
            return Repeated(before[0])
        for i, claim in enumerate(article.claims):
            if claim.proposition is None and claim.claim not in self.claims:
                return Refused(PropositionMissing(claim.claim, path=f"claims[{i}].proposition"))
        appended = self._add(new)
        position = appended.position
        self.revisions[url, revision] = (position, article)
        self.newest[url] = revision
        self.rows["revision"].append({"url": url, "revision": revision, "position": position})
        for claim in article.claims:
            if claim.claim not in self.claims:
                self.claims.add(claim.claim)
                self.rows["claim"].append({"claim": claim.claim, "position": position})
        for _, _, statement in article.statements():
            speaker = article.speaker_of(statement)
            if speaker not in self.speakers:
                self.speakers.add(speaker)
                self.rows["speaker"].append({"speaker": speaker, "position": position})
        return appended

    def _admit_retraction(self, event: ArticleRetracted, new: NewEvent) -> Outcome:
        newest = self.newest.get(event.url)
        if newest is None:
            return Refused(ArticleUnknown(event.url))
        known = self.retractions.get((event.url, newest))
        if known is not None:
            return Repeated(known, known)
        appended = self._add(new)
        self.retractions[event.url, newest] = appended.position
        self.rows["retraction"].append({"url": event.url, "revision": newest, "position": appended.position})
        return appended

    def _add(self, new: NewEvent) -> Appended:
        # Never now(): it stands still within a transaction, and clocks are set back.
        after = self.now if self.recorded_at is None else self.recorded_at + timedelta(microseconds=1)
        self.recorded_at = max(self.now, after)
        self.position += 1
        self.added.append(_Added(self.position, uuid4(), self.recorded_at, new))
        return Appended(self.position, self.recorded_at)


def _register(conn: Connection, new: Sequence[NewEvent]) -> _Register:
    urls: list[str] = []
    revisions: list[int] = []
    claims: set[str] = set()
    speakers: set[str] = set()
    for each in new:
        match each.event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                urls.append(article.url)
                revisions.append(article.revision)
                claims.update(claim.claim for claim in article.claims)
                speakers.update(article.speaker_of(statement) for _, _, statement in article.statements())
            case ArticleRetracted(url=url):
                urls.append(url)
                revisions.append(0)
    found = conn.exec_driver_sql(
        _REGISTER,
        {"urls": urls, "revisions": revisions, "claims": list(claims), "speakers": list(speakers)},
    ).all()
    (last,) = (row for row in found if row.kind == "head")
    register = _Register(last.position, last.recorded_at, last.now)
    for kind, key, revision, position, _, _, type, version, payload in found:
        match kind:
            case "head":
                pass
            case "revision":
                # The projector's own code: what cannot be read here must not be built upon.
                stored = events.decode(type, version, bytes(payload))
                assert isinstance(stored, ArticleRecorded | ArticleRevised)
                register.revisions[key, revision] = (position, stored.article)
            case "newest":
                register.newest[key] = revision
            case "retraction":
                register.retractions[key, revision] = position
            case "claim":
                register.claims.add(key)
            case _:
                register.speakers.add(key)
    return register


# --- writing ----------------------------------------------------------------------

_INSERT = """
    WITH added AS (
        INSERT INTO onrecord.event
            (position, event_id, type, schema_version, recorded_at, actor, payload, payload_sha256, leaf)
        SELECT * FROM unnest(
            %(positions)s::bigint[], %(event_ids)s::uuid[], %(types)s::text[], %(schema_versions)s::int[],
            %(recorded_ats)s::timestamptz[], %(actors)s::text[],
            %(payloads)b::bytea[], %(payload_sha256s)b::bytea[], %(leaves)b::bytea[])
        RETURNING 1
    ), revisions AS (
        INSERT INTO onrecord.register_revision (url, revision, position)
        SELECT url, revision, position FROM json_to_recordset(%(revision)s::json)
            AS r(url text, revision int, position bigint) RETURNING 1
    ), retractions AS (
        INSERT INTO onrecord.register_retraction (url, revision, position)
        SELECT url, revision, position FROM json_to_recordset(%(retraction)s::json)
            AS r(url text, revision int, position bigint) RETURNING 1
    ), claims AS (
        INSERT INTO onrecord.register_claim (claim, position)
        SELECT claim, position FROM json_to_recordset(%(claim)s::json)
            AS r(claim text, position bigint) RETURNING 1
    ), speakers AS (
        INSERT INTO onrecord.register_speaker (speaker, position)
        SELECT speaker, position FROM json_to_recordset(%(speaker)s::json)
            AS r(speaker text, position bigint) RETURNING 1
    )
    SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM revisions),
           (SELECT count(*) FROM retractions), (SELECT count(*) FROM claims), (SELECT count(*) FROM speakers)
"""


def _insert(conn: Connection, register: _Register) -> None:
    """Write what was admitted, in one statement; what was written is counted and compared."""
    added = register.added
    types = [events.type_of(each.new.event) for each in added]
    versions = [events.TYPES[type][1] for type in types]
    leaves = [
        events.leaf(
            event_id=each.event_id,
            type=type,
            schema_version=version,
            recorded_at=each.recorded_at,
            actor=each.new.actor,
            payload_sha256=each.new.payload_sha256,
        )
        for each, type, version in zip(added, types, versions, strict=True)
    ]
    counts = conn.exec_driver_sql(
        _INSERT,
        {
            "positions": [each.position for each in added],
            "event_ids": [each.event_id for each in added],
            "types": types,
            "schema_versions": versions,
            "recorded_ats": [each.recorded_at for each in added],
            "actors": [each.new.actor for each in added],
            "payloads": [each.new.payload for each in added],
            "payload_sha256s": [each.new.payload_sha256 for each in added],
            "leaves": leaves,
            **{kind: orjson.dumps(rows).decode() for kind, rows in register.rows.items()},
        },
    ).one()
    expected = (len(added), *(len(register.rows[kind]) for kind in ("revision", "retraction", "claim", "speaker")))
    if tuple(counts) != expected:
        raise AssertionError(f"the log took {tuple(counts)} rows of {expected}")
