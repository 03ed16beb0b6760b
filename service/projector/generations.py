"""Generations: complete sets of read tables, each in a schema of its own, and which of them is live."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from service import tables
from service.domain.errors import NothingProjected
from service.domain.policies import DEFAULT, policy
from service.projector.loading import driver

#: Raised when the same log must give other rows, so that a new generation is made.
_RULES_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Generation:
    """One complete set of read tables."""

    generation: int
    schema_name: str
    shape: str
    policies: list[str]
    position: int  #: everything up to here is projected.
    live: bool  #: readers are answered from it.
    rebuild: bool  #: it is being filled by a rebuild, which alone projects into it.
    stopped_at: int | None  #: the event that could not be projected; None: it runs.
    because: str | None


_generation = tables.generation


def generations(conn: Connection) -> list[Generation]:
    """All of them, oldest first."""
    found = conn.execute(select(_generation).order_by(_generation.c.generation))
    return [Generation(*row) for row in found]


@cache
def _ddl() -> list[str]:
    """What makes the read tables."""
    dialect = postgresql.dialect()
    ddl: list[str] = []
    for table in tables.read_metadata.sorted_tables:
        ddl.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        ddl += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return ddl


def shape() -> str:
    """A fingerprint of the read tables and of the rules that fill them."""
    return hashlib.sha256("\n".join([str(_RULES_VERSION), *_ddl()]).encode()).hexdigest()


def prepare(conn: Connection, policies: Sequence[str]) -> Generation:
    """The generation that holds what is wanted today; made, empty, where there is none yet.

    The first is live at once. A later one, wanted because the read tables have
    another shape or other policies are projected, goes live by `promote` when it
    has caught up; until then readers are answered from the old one.
    """
    # Of the policy in force too: lists are by it where none is named.
    wanted = wanted_here(conn, policies)
    # Two that start together must not make two.
    conn.execute(text("LOCK TABLE onrecord.generation IN SHARE ROW EXCLUSIVE MODE"))
    known = generations(conn)
    for each in reversed(known):
        if (each.shape, each.policies) == wanted and not each.rebuild:
            return each
    return _make(conn, *wanted, live=not any(each.live for each in known), rebuild=False)


def wanted_here(conn: Connection, policies: Sequence[str]) -> tuple[str, list[str]]:
    """What a generation must be to be used today: its shape, and these policies with the one in force."""
    adopted = conn.exec_driver_sql(
        "SELECT policy FROM onrecord.register_adoption ORDER BY position DESC LIMIT 1"
    ).scalar_one_or_none()
    return shape(), sorted({policy(each).id for each in (*policies, adopted or DEFAULT)})


def begin_rebuild(conn: Connection) -> tuple[Generation, Generation]:
    """The live generation, and a new empty one like it; what an earlier rebuild left unfinished is gone.

    Only for who holds the right to rebuild. Raises NothingProjected where nothing is live.
    """
    conn.execute(text("LOCK TABLE onrecord.generation IN SHARE ROW EXCLUSIVE MODE"))
    live = next((each for each in generations(conn) if each.live), None)
    if live is None:
        raise NothingProjected
    drop_unfinished(conn)
    return live, _make(conn, shape(), live.policies, live=False, rebuild=True)


def drop_unfinished(conn: Connection) -> None:
    """Remove what a rebuild left unfinished. Only for who holds the right to rebuild."""
    for each in generations(conn):
        if each.rebuild:
            _drop(conn, each)


def _make(conn: Connection, shape: str, policies: Sequence[str], *, live: bool, rebuild: bool) -> Generation:
    number = conn.execute(
        insert(_generation)
        .values(
            schema_name="",
            shape=shape,
            policies=list(policies),
            position=0,
            live=live,
            rebuild=rebuild,
        )
        .returning(_generation.c.generation)
    ).scalar_one()
    schema_name = f"onrecord_{number}"
    conn.execute(update(_generation).where(_generation.c.generation == number).values(schema_name=schema_name))
    conn.execute(text(f"CREATE SCHEMA {schema_name}"))
    conn.execute(text(f"SET LOCAL search_path TO {schema_name}"))
    driver(conn).execute(";".join(_ddl()).encode())
    (made,) = (each for each in generations(conn) if each.generation == number)
    return made


def promote(conn: Connection, generation: int) -> None:
    """Answer readers from this generation from now on, if they are not already."""
    conn.execute(update(_generation).where(_generation.c.live).values(live=False))
    conn.execute(update(_generation).where(_generation.c.generation == generation).values(live=True, rebuild=False))


def drop_superseded(conn: Connection, generation: int) -> list[str]:
    """Remove the generations before `generation`, which must be live, and their tables.

    Not before every request that may have begun on one of them has ended.
    Returns the names of the schemas that are gone.
    """
    old = [each for each in generations(conn) if each.generation < generation and not each.live and not each.rebuild]
    for each in old:
        _drop(conn, each)
    return [each.schema_name for each in old]


def _drop(conn: Connection, generation: Generation) -> None:
    conn.execute(text(f"DROP SCHEMA {generation.schema_name} CASCADE"))
    conn.execute(_generation.delete().where(_generation.c.generation == generation.generation))
