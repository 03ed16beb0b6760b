"""How the record is, for who looks after the service."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from service import tree

_CONDITION: Final = """
    SELECT coalesce(h.position, 0), g.position, g.stopped_at,
           coalesce(extract(epoch FROM clock_timestamp() - unprojected.recorded_at), 0)::float8,
           coalesce(extract(epoch FROM clock_timestamp() - unsigned.recorded_at), 0)::float8
      FROM (SELECT max(position) AS position FROM onrecord.event) h
      LEFT JOIN onrecord.generation g ON g.live
      LEFT JOIN onrecord.event unprojected ON unprojected.position = coalesce(g.position, 0) + 1
      LEFT JOIN onrecord.event unsigned ON unsigned.position = %(signed)s::bigint + 1
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """How far the log, the projection and the signing have come."""

    head: int
    position: int | None  #: projected up to here; None where nothing ever was.
    stopped_at: int | None  #: the event that the projector stopped before.
    signed: int  #: so many entries has the newest checkpoint.
    unprojected_s: float  #: for how long the oldest entry has waited that is not projected; 0: none waits.
    unsigned_s: float  #: the same for the oldest that no checkpoint holds.

    @property
    def lag(self) -> int:
        """How many entries are not projected."""
        return self.head - (self.position or 0)


def condition(conn: Connection) -> Condition:
    """The condition as it is now, by the database's clock."""
    newest = tree.newest(conn)
    signed = 0 if newest is None else newest.size
    head, position, stopped_at, unprojected_s, unsigned_s = conn.exec_driver_sql(_CONDITION, {"signed": signed}).one()
    # `recorded_at` may be ahead of a clock that was set back.
    return Condition(head, position, stopped_at, signed, max(0.0, unprojected_s), max(0.0, unsigned_s))
