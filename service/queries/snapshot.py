"""One moment of the record: what every read of a request is answered from."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the log and the projection stood when the reading began."""

    position: int  #: projected up to here: what is answered holds at this position.
    head: int  #: the log's last position.
    head_recorded_at: datetime | None  #: None while the log is empty.
    generation: int
    policies: tuple[str, ...]  #: those projected.
    stopped_at: int | None
    because: str | None


_BEGIN = """
    SELECT set_config('search_path', g.schema_name, true), g.position, h.position, h.recorded_at,
           g.generation, g.policies, g.stopped_at, g.because
      FROM onrecord.generation g
      LEFT JOIN LATERAL (
          SELECT e.position, e.recorded_at FROM onrecord.event e ORDER BY e.position DESC LIMIT 1
      ) h ON true
     WHERE g.live
"""


def snapshot(conn: Connection) -> Snapshot | None:
    """Begin to read: the first statement of a transaction, REPEATABLE READ so that it stays one moment.

    None where nothing was ever projected: no generation is there yet.
    """
    row = conn.exec_driver_sql(_BEGIN).one_or_none()
    if row is None:
        return None
    _, position, head, head_recorded_at, generation, policies, stopped_at, because = row
    return Snapshot(position, head or 0, head_recorded_at, generation, tuple(policies), stopped_at, because)
