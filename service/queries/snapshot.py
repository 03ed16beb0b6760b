"""One moment of the record: what every read is answered from, and as of when."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.domain import moment, policies
from service.domain.errors import AsOfInvalid, NotYetProjected, PolicyNotProjected
from service.domain.merges import Kind, Merge, Merges
from service.domain.policies import Policy
from service.queries.driver import Row, begun, fetched


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the log and the projection stood when the reading began."""

    position: int  #: projected up to here.
    head: int  #: the log's last position.
    head_recorded_at: datetime | None  #: None while the log is empty.
    generation: int
    policies: tuple[str, ...]  #: those projected.
    stopped_at: int | None
    because: str | None


class AsOf(NamedTuple):
    """A moment of the record, on both axes."""

    position: int  #: what was recorded up to here is known.
    said_by: str | None = None  #: of that, only what was said by this moment counts; None: all of it.

    def __str__(self) -> str:
        return f"{self.position}" if self.said_by is None else f"{self.position}~{self.said_by}"


@dataclass(frozen=True, slots=True)
class View:
    """What reads are told: a connection in a snapshot, and the moment they answer for."""

    conn: Connection
    snapshot: Snapshot
    as_of: AsOf
    #: Whether the moment was asked for, so that what is read is marked with it.
    named: bool = False
    #: The fields of rows that somebody is going to look at, whatever rows they are of; None: all.
    shown: frozenset[str] | None = None
    _known: dict[int, tuple[Merges, str]] = field(default_factory=dict[int, tuple[Merges, str]])

    @property
    def position(self) -> int:
        """What was recorded up to here is known."""
        return self.as_of.position

    @property
    def said_by(self) -> datetime | None:
        """Only what was said by then counts; None: all of it."""
        return None if self.as_of.said_by is None else moment.end(self.as_of.said_by)

    def expect_projected(self, policy: str) -> None:
        """Raises PolicyNotProjected where the read tables hold nothing under the policy with this id."""
        if policy not in self.snapshot.policies:
            raise PolicyNotProjected(policy, projected=self.snapshot.policies)

    def columns(self, always: str, shown: Mapping[str, str]) -> str:
        """Columns to read: some always, and after them others, by field, which are null where nobody looks at them."""
        if self.shown is None:
            return ", ".join([always, *shown.values()])
        return ", ".join([always, *(sql if name in self.shown else "NULL" for name, sql in shown.items())])

    @property
    def parameters(self) -> dict[str, Any]:
        """The moment, as statements name it."""
        return {"position": self.position, "said_by": self.said_by}

    @property
    def merges(self) -> Merges:
        """The merges in force at this position."""
        return self._curation()[0]

    @property
    def policy(self) -> Policy:
        """The policy in force at this position: what is meant where none is named."""
        return policies.policy(self._curation()[1])

    def at(self, as_of: AsOf, *, named: bool | None = None) -> "View":
        """The same snapshot, read as of another moment."""
        named = self.named if named is None else named
        return self if (as_of, named) == (self.as_of, self.named) else replace(self, as_of=as_of, named=named)

    def _curation(self) -> tuple[Merges, str]:
        known = self._known.get(self.position)
        if known is None:
            found = fetched(self.conn, _CURATION.format(position="%(position)s::bigint"), self.parameters)
            known = self._known[self.position] = _curated(found)
        return known


def _curated(found: list[Row]) -> tuple[Merges, str]:
    merges = sorted(Merge(row[0], Kind(row[1]), *row[2:]) for row in found if row[1] != "policy")
    adopted = [row[2] for row in found if row[1] == "policy"]
    return Merges(merges), adopted[0] if adopted else policies.DEFAULT


_CURATION: Final = """
    SELECT m.position, m.kind, m.merged, m.survivor, m.opposite
      FROM merge m WHERE m.position <= {position} AND m.until_position > {position}
    UNION ALL
    (SELECT a.position, 'policy', a.policy, '', false
       FROM adoption a WHERE a.position <= {position} ORDER BY a.position DESC LIMIT 1)
"""

_LIVE = """
      FROM onrecord.generation g
      LEFT JOIN LATERAL (
          SELECT e.position, e.recorded_at FROM onrecord.event e ORDER BY e.position DESC LIMIT 1
      ) h ON true
     WHERE g.live
"""
_BEGIN: Final = f"""
    SELECT set_config('search_path', g.schema_name, true), g.position, h.position, h.recorded_at,
           g.generation, g.policies, g.stopped_at, g.because {_LIVE}
"""
_CURATION_BEGUN: Final = _CURATION.format(position="(SELECT position FROM onrecord.generation WHERE live)")
#: Where the record stands: generation, position, head, and when that was recorded.
MOMENT: Final = f"SELECT g.generation, g.position, h.position, h.recorded_at {_LIVE}"


def view(conn: Connection) -> View | None:
    """Begin to read: the first statement of a transaction, REPEATABLE READ so that it stays one moment.

    Reads as of the last position that is projected. None where nothing was ever
    projected: no generation is there yet.
    """
    try:
        (row,), curation = begun(conn, (_BEGIN, _CURATION_BEGUN))
    except DBAPIError as error:
        # Where no generation is, neither are its tables.
        if isinstance(error.orig, psycopg.errors.UndefinedTable) and not fetched(conn, _BEGIN):
            return None
        raise
    _, position, head, head_recorded_at, generation, names, stopped_at, because = row
    snapshot = Snapshot(position, head or 0, head_recorded_at, generation, tuple(names), stopped_at, because)
    return View(conn, snapshot, AsOf(position), _known={position: _curated(curation)})


def as_of(reading: View, *, position: int | None, recorded_at: datetime | None, said_by: str | None) -> AsOf:
    """The moment that is asked for; what is left out is as it is read now.

    `recorded_at` means the last position recorded at or before it. Raises
    AsOfInvalid or NotYetProjected.
    """
    if position is not None and recorded_at is not None:
        raise AsOfInvalid("names both a position and a recording time; name one of them")
    if recorded_at is not None:
        position = reading.conn.exec_driver_sql(
            "SELECT coalesce(max(position), 0) FROM onrecord.event WHERE recorded_at <= %s", (recorded_at,)
        ).scalar_one()
    if position is None:
        position = reading.position
    if position > reading.snapshot.head:
        raise AsOfInvalid(f"position {position} is not recorded yet; the last is {reading.snapshot.head}")
    if position > reading.snapshot.position:
        raise NotYetProjected(wanted=position, projected=reading.snapshot.position)
    if said_by is None:
        return AsOf(position, reading.as_of.said_by)
    try:
        return AsOf(position, moment.canonical(said_by))
    except ValueError as error:
        raise AsOfInvalid(f"saidBy {error}") from None
