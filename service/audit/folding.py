"""Folding the log from scratch, and reading of the read tables what it should come to."""

import gc
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from service import log, projector
from service.domain import brief, events, policies
from service.domain.article import Stance
from service.domain.belief import RecordedStatement, Ruling, Told, tally_of, verdict_of
from service.domain.errors import BadArgument, EventUndecodable, EventUnfoldable, NothingProjected, NotYetProjected
from service.domain.policies import Policy, State, Verdict, policy
from service.domain.recount import Outline, Said
from service.log import Stored
from service.projector import Generation

#: Of the types of events the one that makes up the most of a log, and that an outline does without.
FIRST = "ArticleRecorded"


def outline_of(entries: Iterable[Stored]) -> Outline:
    """What a log comes to but for what its articles say. Raises EventUnfoldable."""
    outline, position = Outline(), 0
    try:
        for position, type, version, payload in entries:
            if type in brief.ARTICLES:
                outline.revise(brief.read(type, version, payload))
            else:
                outline.take(events.decode(type, version, payload), position)
    except (EventUndecodable, ValueError, KeyError) as error:
        raise _unfoldable(position, error) from None
    return outline


def said_in(entries: Iterable[Stored], outline: Outline) -> Iterator[Said]:
    """What each article says, revision by revision, in order of the log. Raises EventUnfoldable."""
    position = 0
    try:
        for position, type, version, payload in entries:
            if type in brief.ARTICLES:
                yield outline.place(brief.read(type, version, payload), position)
    except (EventUndecodable, ValueError, KeyError) as error:
        raise _unfoldable(position, error) from None


def _unfoldable(position: int, error: Exception) -> EventUnfoldable:
    told = str(error) if isinstance(error, EventUndecodable) else f"{type(error).__name__}: {error}"
    return EventUnfoldable(position, told)


@contextmanager
def uncollected() -> Generator[None]:
    """Without the garbage collector, which would search all that is kept again and again, and find no cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def last_position(conn: Connection, to: int | None) -> int:
    """The position up to which the log is to be read: `to`, or its head. Raises BadArgument for one beyond it."""
    head = log.head(conn)
    if to is not None and not 0 <= to <= head:
        raise BadArgument(f"position {to} is not on record; the log goes from 0 to {head}")
    return head if to is None else to


def policy_in_force(conn: Connection, position: int) -> Policy:
    """The policy that is meant at a position where none is named, by the log's register."""
    adopted = conn.exec_driver_sql(
        "SELECT policy FROM onrecord.register_adoption WHERE position <= %s ORDER BY position DESC LIMIT 1",
        (position,),
    ).scalar_one_or_none()
    return policy(adopted or policies.DEFAULT)


# --- what is stored -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Believed:
    """What is believed of one claim, and what stands on it, by speaker in byte order."""

    claim: str
    verdict: Verdict | None  #: None: the read tables hold none, which only damage can be.
    counts: tuple[int, int, int]  #: how many speakers assert, deny, withhold.
    standing: Sequence[RecordedStatement]


def believed(
    standing: Iterable[tuple[str, Iterable[Told]]], rulings: Mapping[str, Ruling], under: Policy
) -> Iterator[Believed]:
    """What is believed of claims, in the order in which they come, each with what stands on it."""
    for claim, stands in standing:
        by_speaker = sorted(map(RecordedStatement._make, stands), key=lambda each: each.speaker)
        tally = tally_of(by_speaker)
        yield Believed(claim, verdict_of(under, tally, rulings.get(claim)), tally[:3], by_speaker)


def live_generation(conn: Connection) -> Generation:
    """The generation that readers are answered from. Raises NothingProjected."""
    for each in projector.generations(conn):
        if each.live:
            return each
    raise NothingProjected


def believed_stored(conn: Connection, generation: Generation, under: Policy, position: int) -> Iterator[Believed]:
    """The same from the read tables, as of a position, row by row.

    A policy that is projected has its verdicts stored; for any other they follow
    from what is stored of the standing statements and rulings. Raises NotYetProjected.
    """
    if position > generation.position:
        raise NotYetProjected(wanted=position, projected=generation.position)
    projected = under.id in generation.policies
    stream = {"stream_results": True}
    at = {"at": position, "policy": under.id}
    with (
        conn.exec_driver_sql(_CLAIMS.format(schema=generation.schema_name), at, execution_options=stream) as claims,
        conn.exec_driver_sql(_STANDING.format(schema=generation.schema_name), at, execution_options=stream) as stands,
    ):
        grouped = itertools.groupby(stands, key=lambda row: row[0])
        of, rows = next(grouped, (None, ()))
        for claim, asserting, denying, withholding, state, reason, ruled, ruled_at in claims:
            while of is not None and of < claim:
                # Of a claim that is not there; only damage leaves such rows.
                of, rows = next(grouped, (None, ()))
            standing: list[RecordedStatement] = []
            if of == claim:
                standing = [_statement(row) for row in rows]
                of, rows = next(grouped, (None, ()))
            if projected:
                verdict = None if state is None else Verdict(state, reason)
            else:
                ruling = None if ruled is None else Ruling(claim, State(ruled), ruled_at)
                verdict = verdict_of(under, tally_of(standing), ruling)
            yield Believed(claim, verdict, (asserting, denying, withholding), standing)


def _statement(row: Sequence[Any]) -> RecordedStatement:
    return RecordedStatement(row[0], row[1], Stance(row[2]), *row[3:])


_CLAIMS = """
    SELECT t.claim, t.asserting, t.denying, t.withholding, x.to_state, x.to_reason, r.state, r.position
      FROM {schema}.tally t
      LEFT JOIN {schema}.transition x ON x.policy = %(policy)s AND x.claim = t.claim
           AND x.position <= %(at)s AND x.until_position > %(at)s
      LEFT JOIN {schema}.ruling r ON r.claim = t.claim AND r.position <= %(at)s AND r.until_position > %(at)s
     WHERE t.position <= %(at)s AND t.until_position > %(at)s
     ORDER BY t.claim
"""
_STANDING = """
    SELECT s.claim, s.speaker, s.stance, s.bloc, s.effective_at, s.published_end, s.first_position,
           s.position, s.ordinal
      FROM {schema}.standing s
     WHERE s.since_position <= %(at)s AND s.until_position > %(at)s
     ORDER BY s.claim, s.speaker
"""
