"""Rebuild: all read tables anew from the log, beside the live ones, then in their place."""

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from service import log, projector
from service.audit.digests import leaves
from service.audit.folding import believed_stored
from service.domain import merkle, policies
from service.domain.errors import EventUnfoldable, RebuildRunning
from service.domain.policies import Verdict
from service.projector import Generation, Progress, Projector

#: The advisory lock that a rebuild holds from beginning to end.
_LOCK: Final = 0x0D_EC_0D_EE
_BATCH: Final = 2_000
#: How long the old read tables wait for those who may be reading them.
_READERS_S_MAX: Final = 10.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to."""

    generation: Generation  #: the new one, live now.
    position: int  #: where the digests were taken, before the swap.
    before: Mapping[str, str | None]  #: the state digest of each policy, from the old read tables; None: unreadable.
    after: dict[str, str]  #: the same from the new ones.
    removed: bool  #: whether the old read tables are gone; if not, somebody may be reading them still.

    @property
    def same(self) -> bool:
        """Whether the old read tables said what the log says."""
        return self.before == self.after


def rebuild(
    engine: Engine,
    *,
    told: Callable[[int, int], object] = lambda done, of: None,
    readers_s_max: float = _READERS_S_MAX,
) -> Rebuilt:
    """Fill a new generation, compare it with the live one, and let it take its place.

    Readers are answered from the old one until the swap, which is one short
    transaction that brings the new one up to the old one's position first: so no
    reader ever sees less than before. Events recorded meanwhile are in the result.
    Killed anywhere, it leaves a generation that nobody reads, and the next
    rebuild removes it. Where the digests differ, the old read tables did not say
    what the log says; the new ones take their place all the same. The old ones go
    once everybody is done who may be reading them, at most `readers_s_max` seconds
    later, or else with the next rebuild.

    `told` hears how many events are projected, of how many. Raises RebuildRunning,
    NothingProjected where there is nothing to take the place of, and EventUnfoldable
    where the log cannot be followed as far as the old read tables go: they stay.
    """
    with engine.connect() as holder:
        if not holder.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).scalar_one():
            raise RebuildRunning
        holder.commit()
        try:
            return _rebuild(engine, told, readers_s_max)
        except BaseException:
            # Whatever ended it may have ended the connection too; then the next rebuild removes it.
            with contextlib.suppress(Exception), engine.begin() as conn:
                projector.drop_unfinished(conn)
            raise
        finally:
            holder.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
            holder.commit()


def _rebuild(engine: Engine, told: Callable[[int, int], object], readers_s_max: float) -> Rebuilt:
    with engine.begin() as conn:
        old, new = projector.begin_rebuild(conn)
        head = log.head(conn)
    if not projector.fill(engine, new, to=head, batch=_BATCH, told=told):
        # Something is wrong with the log. To project it in the ordinary way says where and what.
        with engine.begin() as conn:
            old, new = projector.begin_rebuild(conn)
    filling = Projector(new)
    while True:
        with engine.begin() as conn:
            head = log.head(conn)
            progress = filling.advance(conn, limit=_BATCH)
        told(progress.position, head)
        if progress.position >= head or progress.stopped_at is not None:
            break
    with engine.connect() as conn:
        reached = {each.generation: each for each in projector.generations(conn)}
    # Rows carry the positions for which they hold, so that both can be asked for the same one.
    at = min(progress.position, reached[old.generation].position)
    before = _digests_if_readable(engine, reached[old.generation], at)
    after = _digests(engine, reached[new.generation], at)
    with engine.begin() as conn:
        _swap(conn, old, new, filling)
    with engine.begin() as conn:
        conn.exec_driver_sql(f"NOTIFY {projector.CHANNEL}")
    return Rebuilt(new, at, before, after, _remove(engine, old, readers_s_max))


def _digests(engine: Engine, generation: Generation, position: int) -> dict[str, str]:
    """The state digest of each policy. What stands is the same under all of them, so it is read once."""
    trees = {each: merkle.Tree() for each in generation.policies}
    with (
        engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn,
        conn.exec_driver_sql(
            f"SELECT claim, policy, to_state, to_reason FROM {generation.schema_name}.transition "
            "WHERE position <= %(at)s AND until_position > %(at)s ORDER BY claim",
            {"at": position},
            execution_options={"stream_results": True},
        ) as found,
    ):
        grouped = itertools.groupby(found, key=lambda row: row[0])
        of, rows = next(grouped, (None, ()))
        for believed in believed_stored(conn, generation, policies.policy(generation.policies[0]), position):
            while of is not None and of < believed.claim:
                # Of a claim that is not there, as is one that is merged away.
                of, rows = next(grouped, (None, ()))
            verdicts: dict[str, Verdict] = {}
            if of == believed.claim:
                verdicts = {policy: Verdict(state, reason) for _, policy, state, reason in rows if state is not None}
                of, rows = next(grouped, (None, ()))
            for tree, leaf in zip(trees.values(), leaves(believed, map(verdicts.get, trees)), strict=True):
                tree.append(merkle.leaf_hash(leaf))
    return {policy: tree.root().hex() for policy, tree in trees.items()}


def _digests_if_readable(engine: Engine, generation: Generation, position: int) -> Mapping[str, str | None]:
    """None for tables of another shape, or with a table or a word in them that cannot be: so damaged, or so old."""
    unreadable = dict.fromkeys(generation.policies)
    try:
        return _digests(engine, generation, position)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.ProgrammingError | psycopg.DataError):
            raise
        return unreadable
    except ValueError:
        return unreadable


def _swap(conn: Connection, old: Generation, new: Generation, filling: Projector) -> None:
    """Let readers be answered from the new generation, once it is where the old one is."""
    # While this is held, the old one does not move.
    reached = conn.exec_driver_sql(
        "SELECT position FROM onrecord.generation WHERE generation = %s FOR UPDATE", (old.generation,)
    ).scalar_one()
    while True:
        progress = filling.advance(conn, limit=_BATCH)
        if progress.position >= reached:
            break
        if progress.stopped_at is not None:
            raise _unfoldable(progress.stopped_at, progress)
    projector.promote(conn, new.generation)


def _unfoldable(position: int, progress: Progress) -> EventUnfoldable:
    because = progress.because or ""
    return EventUnfoldable(position, because.removeprefix(f"event {position} cannot be folded: "))


def _remove(engine: Engine, old: Generation, readers_s_max: float) -> bool:
    """Remove the old read tables, and those before them, once nobody can be reading them; returns whether."""
    until = time.monotonic() + readers_s_max
    # Who begins from now on reads the new ones.
    with engine.connect() as conn:
        readers = _running(conn)
    while readers:
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
        with engine.connect() as conn:
            readers &= _running(conn)
    with engine.begin() as conn:
        # Rather later than to hold up everybody behind one who does not end.
        conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        try:
            projector.drop_superseded(conn, old.generation + 1)
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise
            conn.rollback()
            return False
    return True


def _running(conn: Connection) -> set[str]:
    """The transactions of others on this database that are running."""
    found = conn.exec_driver_sql(
        "SELECT l.virtualxid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'virtualxid' AND a.datname = current_database() AND l.pid <> pg_backend_pid()"
    )
    return set(found.scalars())
