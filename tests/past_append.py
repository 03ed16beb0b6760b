"""Events put into the log by its owner, past `append`: what only damage or another program could do."""

from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine

from service.domain import events
from service.domain.events import Event


def put(
    owner_engine: Engine,
    event: Event | bytes,
    *,
    type_name: str = "ArticleRecorded",
    schema_version: int = 1,
    recorded_at: datetime | None = None,
) -> int:
    """Put one event, or bytes that say they are of `type_name`, at the end of the log; returns its position.

    It obeys the guards, which know nothing of what an event means. The register is left as it is.
    """
    if isinstance(event, bytes):
        payload = event
    else:
        type_name, payload = events.type_of(event), events.encode(event)
    with owner_engine.begin() as conn:
        position, last, now = conn.exec_driver_sql(
            "SELECT coalesce(max(position), 0), max(recorded_at), clock_timestamp() FROM onrecord.event"
        ).one()
        if recorded_at is None:
            recorded_at = now if last is None else max(now, last + timedelta(microseconds=1))
        envelope = {
            "event_id": uuid4(),
            "type": type_name,
            "schema_version": schema_version,
            "recorded_at": recorded_at,
            "actor": "cli:owner",
            "payload_sha256": events.sha256(payload),
        }
        row = {**envelope, "position": position + 1, "payload": payload, "leaf": events.leaf(**envelope)}
        names = ", ".join(row)
        values = ", ".join(f"%({name})s" for name in row)
        conn.exec_driver_sql(f"INSERT INTO onrecord.event ({names}) VALUES ({values})", row)
    return position + 1
