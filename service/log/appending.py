"""Appending: what becomes of events that are sent, and the only writer of the log and its register."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Self
from uuid import UUID, uuid4

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service import tables, texts
from service.domain import events
from service.domain.article import Article
from service.domain.errors import Busy, EntryRefused, EventUndecodable
from service.domain.events import ArticleRecorded, ArticleRevised, Envelope, Event, TextErased, sha256
from service.domain.register import Entry, Refused, Register, Repeated
from service.log.known import End, known_of

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
        # As the projector will read it, with its own code: what it could not read must not get into the log, and
        # what is checked against the register is what will be there.
        stored = events.decode(type, events.TYPES[type][1], payload)
        return cls(stored, actor, payload, sha256(payload), text)

    @classmethod
    def of_article(cls, article: Article, *, actor: str) -> Self:
        """The event that records `article`."""
        return cls.of(events.of_article(article), actor=actor, text=article.text)


@dataclass(frozen=True, slots=True)
class Appended:
    """The event is in the log."""

    position: int
    recorded_at: datetime
    event_id: UUID


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
    take_turn(conn, wait_s_max=wait_s_max)
    end, register = known_of(conn, [each.event for each in new])
    outcomes: list[Outcome] = []
    added: list[_Added] = []
    kept: dict[bytes, str] = {}
    erased: list[bytes] = []
    for each in new:
        outcome = register.check(each.event)
        if outcome is None:
            position, recorded_at = end.next()
            end = End(position, recorded_at, end.now)
            type = events.type_of(each.event)
            rows = register.enter(each.event, position)
            event_id = uuid4()
            added.append(
                _Added(
                    *(position, event_id, type, events.TYPES[type][1], recorded_at, each.actor),
                    *(each.payload, each.payload_sha256, rows),
                )
            )
            outcome = Appended(position, recorded_at, event_id)
            if isinstance(each.event, TextErased):
                erased.append(bytes.fromhex(each.event.text_sha256))
        outcomes.append(outcome)
        if each.text is not None and not isinstance(outcome, Refused):
            digest = sha256(each.text.encode())
            if _may_be_kept(each, outcome, digest, register):
                kept[digest] = each.text
    if added:
        _insert(conn, added)
    texts.keep(conn, kept)
    texts.erase(conn, erased)
    return outcomes


def check(conn: Connection, new: Sequence[NewEvent]) -> list[Repeated | Refused | None]:
    """What `append` would answer to each alone, as things are; None: it would be appended. Changes nothing."""
    _, register = known_of(conn, [each.event for each in new])
    return [register.check(each.event) for each in new]


def append_all(conn: Connection, new: Sequence[NewEvent]) -> list[Appended | Repeated]:
    """Append, where a refusal is an error of the caller's. Raises the first refusal's error."""
    outcomes = append(conn, new)
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            raise outcome.error
    return [outcome for outcome in outcomes if not isinstance(outcome, Refused)]


def adopt(conn: Connection, entries: Sequence[Envelope]) -> None:
    """Put the entries of an exported log at the end of this one as they are, in their place and time.

    They keep position, event id, recording time and actor, so that leaves and root
    are what they were. What `append` would not have put there in this place is refused: a
    position that does not follow, a time that does not increase, bytes that are not canonical, an event
    that contradicts the log before it. The register is derived as `append` does it.

    All or nothing: the caller owns the transaction, has its turn in it (`take_turn`),
    and rolls back where this raises. Raises EntryRefused.
    """
    if not entries:
        return
    decoded = [_decoded(entry) for entry in entries]
    end, register = known_of(conn, decoded)
    added: list[_Added] = []
    for entry, event in zip(entries, decoded, strict=True):
        if entry.position != end.position + 1:
            raise EntryRefused(entry.position, f"position {end.position + 1} comes next")
        if end.recorded_at is not None and entry.recorded_at <= end.recorded_at:
            raise EntryRefused(entry.position, "it was not recorded after the entry before it")
        against = register.check(event)
        if against is not None:
            why = str(against.error) if isinstance(against, Refused) else f"it repeats position {against.position}"
            raise EntryRefused(entry.position, why)
        rows = register.enter(event, entry.position)
        end = End(entry.position, entry.recorded_at, end.now)
        digest = sha256(entry.payload)
        added.append(
            _Added(
                *(entry.position, entry.event_id, entry.type, entry.schema_version, entry.recorded_at, entry.actor),
                *(entry.payload, digest, rows),
            )
        )
    _insert(conn, added)
    texts.erase(conn, [bytes.fromhex(each.text_sha256) for each in decoded if isinstance(each, TextErased)])


def _decoded(entry: Envelope) -> Event:
    try:
        event = entry.event()
    except EventUndecodable as error:
        raise EntryRefused(entry.position, str(error)) from None
    if not events.is_canonical(entry, event):
        raise EntryRefused(entry.position, "its payload is not in canonical form")
    return event


def announce(conn: Connection) -> None:
    """Wake those who wait for the log to grow. To be called after the commit, in a transaction of its own.

    Only a hint: NOTIFY takes a lock on the whole instance when it commits, so it
    stays out of the append's transaction, and readers go by position anyway.
    """
    conn.exec_driver_sql(f"NOTIFY {CHANNEL}")


# --- taking turns -----------------------------------------------------------------

# The settings first: the fence keeps them in a query of their own, and the lock waits by them.
_TAKE_TURN: Final = """
    SELECT begun.isolation, pg_advisory_xact_lock(%(lock)s)
      FROM (SELECT set_config('lock_timeout', %(wait)s, true),
                   set_config('statement_timeout', '60s', true),
                   set_config('idle_in_transaction_session_timeout', '60s', true),
                   set_config('synchronous_commit', 'on', true),
                   current_setting('transaction_isolation') AS isolation
            OFFSET 0) AS begun
"""


def take_turn(conn: Connection, *, wait_s_max: float = 5.0) -> None:
    """Hold the append lock until the transaction ends: nobody else appends meanwhile. Raises Busy.

    A statement of its own: one that waits for it still sees the log from before its wait.
    """
    # At least 1 ms: 0 would mean to wait for ever.
    wait_ms = max(1, int(wait_s_max * 1000))
    try:
        isolation = conn.exec_driver_sql(_TAKE_TURN, {"lock": APPEND_LOCK, "wait": f"{wait_ms}ms"}).one()[0]
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            conn.rollback()
            raise Busy from error
        raise
    if isolation != "read committed":
        # Under REPEATABLE READ the snapshot is older than the turn, and positions would be handed out twice.
        raise AssertionError(f"append needs READ COMMITTED, not {isolation}")


def _may_be_kept(new: NewEvent, outcome: Appended | Repeated, digest: bytes, register: Register) -> bool:
    """Whether a text is the one that the log names, and was never erased."""
    if digest.hex() in register.erasures:
        return False
    if isinstance(outcome, Appended):
        return True
    assert isinstance(new.event, ArticleRecorded | ArticleRevised)
    url = new.event.article.url
    return any(
        known == url and position == outcome.position and article is not None and article.text_sha256 == digest.hex()
        for (known, _), (position, article) in register.revisions.items()
    )


# --- writing ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Added:
    """An event that was admitted, with its place and what it adds to the register."""

    position: int
    event_id: UUID
    type: str
    schema_version: int
    recorded_at: datetime
    actor: str
    payload: bytes
    payload_sha256: bytes
    entries: list[Entry]


@lru_cache
def _insertion(kinds: tuple[str, ...]) -> str:
    """The statement that adds events, and rows to these tables of the register, and counts them all."""
    parts = [
        """added AS (
        INSERT INTO onrecord.event
            (position, event_id, type, schema_version, recorded_at, actor, payload, payload_sha256, leaf)
        SELECT * FROM ROWS FROM (
            json_to_recordset(%(added)s::json) AS (
                position bigint, event_id uuid, type text, schema_version int, recorded_at timestamptz, actor text),
            unnest(%(payloads)b::bytea[], %(payload_sha256s)b::bytea[], %(leaves)b::bytea[]))
        RETURNING 1)"""
    ]
    for kind in kinds:
        table = tables.log_metadata.tables[f"onrecord.register_{kind}"]
        names = ", ".join(column.name for column in table.columns)
        parts.append(
            f"{kind} AS (INSERT INTO {table.fullname} ({names}) "
            f"SELECT {names} FROM {tables.recordset(table, f'%({kind})s')} RETURNING 1)"
        )
    counts = ", ".join(f"(SELECT count(*) FROM {kind})" for kind in ("added", *kinds))
    return f"WITH {', '.join(parts)} SELECT {counts}"


def _insert(conn: Connection, added: Sequence[_Added]) -> None:
    """Write what was admitted, in one statement; what was written is counted and compared."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in added:
        for kind, row in each.entries:
            rows.setdefault(kind, []).append(row)
    kinds = tuple(sorted(rows))
    envelopes = [
        {
            "position": each.position,
            "event_id": each.event_id,
            "type": each.type,
            "schema_version": each.schema_version,
            "recorded_at": each.recorded_at,
            "actor": each.actor,
        }
        for each in added
    ]
    leaves = [
        events.leaf(
            event_id=each.event_id,
            type=each.type,
            schema_version=each.schema_version,
            recorded_at=each.recorded_at,
            actor=each.actor,
            payload_sha256=each.payload_sha256,
        )
        for each in added
    ]
    counts = conn.exec_driver_sql(
        _insertion(kinds),
        {
            "added": _json(envelopes),
            "payloads": [each.payload for each in added],
            "payload_sha256s": [each.payload_sha256 for each in added],
            "leaves": leaves,
            **{kind: _json(rows[kind]) for kind in kinds},
        },
    ).one()
    expected = (len(added), *(len(rows[kind]) for kind in kinds))
    if tuple(counts) != expected:
        raise AssertionError(f"the log took {tuple(counts)} rows of {expected}")


def _json(value: object) -> str:
    """A value as the statements take it: one string is quicker to send than an array of them."""
    return orjson.dumps(value).decode()
