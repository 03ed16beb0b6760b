"""What the log knows of all that events name, for them to be checked against."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

import orjson
from sqlalchemy import Connection

from service.domain import events
from service.domain.events import (
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    Event,
    MergeUndone,
    PolicyAdopted,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.domain.merges import Kind, Merge
from service.domain.register import Register

# Each of a side is looked up by its key, whatever the planner thinks of the sizes of young tables: a plan that
# reads one whole would be kept while the table grows.
_REGISTER: Final = """
    WITH article AS (SELECT * FROM json_to_recordset(%(articles)s::json) AS named(url text, revision int)),
         claim AS (SELECT json_array_elements_text(%(claims)s::json) AS id),
         speaker AS (SELECT json_array_elements_text(%(speakers)s::json) AS id)
    SELECT 'head' AS kind, '' AS key, 0 AS revision, coalesce(max(e.position), 0) AS position,
           (SELECT l.recorded_at FROM onrecord.event l ORDER BY l.position DESC LIMIT 1) AS recorded_at,
           clock_timestamp() AS now, '' AS type, 0 AS schema_version, NULL::bytea AS payload
      FROM onrecord.event e
    UNION ALL
    SELECT 'revision', r.url, r.revision, r.position, NULL, NULL, r.type, r.schema_version, r.payload
      FROM article,
           LATERAL (SELECT * FROM onrecord.register_revision r JOIN onrecord.event USING (position)
                     WHERE r.url = article.url AND r.revision IN (article.revision, article.revision - 1) OFFSET 0) r
    UNION ALL
    SELECT 'newest', r.url, r.revision, r.position, NULL, NULL, '', 0, NULL
      FROM article,
           LATERAL (SELECT * FROM onrecord.register_revision r
                     WHERE r.url = article.url ORDER BY r.revision DESC LIMIT 1) r
    UNION ALL
    SELECT 'retraction', r.url, r.revision, r.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_retraction r WHERE r.url = ANY(ARRAY(SELECT url FROM article))
    UNION ALL
    SELECT 'claims', json_agg(c.claim)::text, 0, 0, NULL, NULL, '', 0, NULL
      FROM onrecord.register_claim c WHERE c.claim = ANY(ARRAY(SELECT id FROM claim))
    UNION ALL
    SELECT 'speakers', json_agg(p.speaker)::text, 0, 0, NULL, NULL, '', 0, NULL
      FROM onrecord.register_speaker p WHERE p.speaker = ANY(ARRAY(SELECT id FROM speaker))
    UNION ALL
    SELECT 'erasure', encode(r.sha256, 'hex'), 0, r.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_erasure r
     WHERE r.sha256 = ANY(ARRAY(SELECT decode(json_array_elements_text(%(hashes)s::json), 'hex')))
"""


# What only curation asks for; batches of articles alone do without.
_CURATION: Final = """
    UNION ALL
    SELECT 'merge', m.merged, CASE WHEN m.opposite THEN 1 ELSE 0 END, m.position, NULL, NULL,
           m.kind || ' ' || m.survivor, coalesce(u.position, 0), NULL
      FROM onrecord.register_merge m LEFT JOIN onrecord.register_undoing u ON u.merge_position = m.position
     WHERE m.position = ANY(%(merges)s::bigint[])
        OR (u.position IS NULL AND m.merged = ANY(ARRAY(TABLE claim UNION ALL TABLE speaker)))
    UNION ALL
    SELECT 'ruling', r.claim, 0, r.position, NULL, NULL, e.type, e.schema_version, e.payload
      FROM claim,
           LATERAL (SELECT * FROM onrecord.register_ruling r
                     WHERE r.claim = claim.id ORDER BY r.position DESC LIMIT 1) r
      JOIN onrecord.event e ON e.position = r.position
     WHERE r.state IS NOT NULL
    UNION ALL
    SELECT 'relation', r.claim || ' ' || r.relation || ' ' || r.to_claim, 0, r.position, NULL, NULL, '', 0, NULL
      FROM onrecord.register_relation r WHERE r.claim = ANY(ARRAY(TABLE claim))
    UNION ALL
    (SELECT 'adoption', a.policy, 0, a.position, NULL, NULL, '', 0, NULL
       FROM onrecord.register_adoption a ORDER BY a.position DESC LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class End:
    """Where the log ends, and since when."""

    position: int
    recorded_at: datetime | None  #: None while the log is empty.
    now: datetime

    def next(self) -> tuple[int, datetime]:
        """The place and time of an entry that is recorded now."""
        # Never now(): it stands still within a transaction, and clocks are set back.
        after = self.now if self.recorded_at is None else self.recorded_at + timedelta(microseconds=1)
        return self.position + 1, max(self.now, after)


def known_of(conn: Connection, new: Sequence[Event]) -> tuple[End, Register]:
    """The end of the log, and what is known of all that the events name, by one statement."""
    named = _Named()
    for each in new:
        named.take(each)
    lists = {
        "articles": named.articles,
        "claims": list(named.claims),
        "speakers": list(named.speakers),
        "hashes": named.hashes,
    }
    # One string of JSON is quicker to send than an array of many.
    sent: dict[str, Any] = {name: orjson.dumps(each).decode() for name, each in lists.items()}
    statement = _REGISTER
    if named.curation:
        statement += _CURATION
        sent["merges"] = named.merges
    register = Register()
    end: End | None = None
    for kind, key, number, position, recorded_at, now, type, version, payload in conn.exec_driver_sql(statement, sent):
        match kind:
            case "head":
                end = End(position, recorded_at, now)
            case "revision":
                # The projector's own code: what cannot be read here must not be built upon.
                stored = events.decode(type, version, bytes(payload))
                assert isinstance(stored, ArticleRecorded | ArticleRevised)
                register.revisions[key, number] = (position, stored.article)
            case "newest":
                register.newest[key] = number
            case "retraction":
                register.retractions[key, number] = position
            case "claims":
                register.claims.update(orjson.loads(key or "[]"))
            case "speakers":
                register.speakers.update(orjson.loads(key or "[]"))
            case "erasure":
                register.erasures[key] = position
            case "merge":
                of, _, into = type.partition(" ")
                if version:
                    register.undone[position] = version
                else:
                    register.merges.add(Merge(position, Kind(of), key, into, number == 1))
            case "ruling":
                ruling = events.decode(type, version, bytes(payload))
                assert isinstance(ruling, ClaimRuled)
                register.rulings[key] = (position, ruling)
            case "relation":
                claim, relation, to = key.split(" ")
                register.relations[claim, relation, to] = position
            case "adoption":
                register.adoption = (position, key)
            case _:
                raise AssertionError(kind)
    assert end is not None
    return end, register


class _Named:
    """What a batch of events names."""

    def __init__(self) -> None:
        self.articles: list[dict[str, Any]] = []
        self.claims: set[str] = set()
        self.speakers: set[str] = set()
        self.merges: list[int] = []
        self.hashes: list[str] = []
        self.curation = False

    def take(self, event: Event) -> None:
        match event:
            case ArticleRecorded(article=article) | ArticleRevised(article=article):
                self.articles.append({"url": article.url, "revision": article.revision})
                self.claims.update(claim.claim for claim in article.claims)
                self.speakers.update(article.speaker_of(statement) for _, _, statement in article.statements())
                if article.text_sha256 is not None:
                    self.hashes.append(article.text_sha256)
                return
            case ArticleRetracted(url=url):
                self.articles.append({"url": url, "revision": 0})
                return
            case TextErased(text_sha256=digest):
                self.hashes.append(digest)
            case ClaimsMerged(claim=claim, into=other) | ClaimsRelated(claim=claim, to=other):
                self.claims.update((claim, other))
            case SpeakersMerged(speaker=speaker, into=other):
                self.speakers.update((speaker, other))
            case MergeUndone(position=position):
                self.merges.append(position)
            case ClaimRuled(claim=claim) | RulingLifted(claim=claim):
                self.claims.add(claim)
            case PolicyAdopted():
                pass
            case _:
                assert_never(event)
        self.curation = True
