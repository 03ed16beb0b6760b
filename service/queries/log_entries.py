"""Entries of the log, for reading."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from service.domain.events import Envelope
from service.queries.driver import Row, fetched
from service.queries.paging import By, Listing, Page, Slice
from service.queries.snapshot import View

_COLUMNS = "e.position, e.event_id, e.type, e.schema_version, e.recorded_at, e.actor, e.payload"


def _envelope(row: Row) -> Envelope:
    *told, payload = row
    return cast(Any, Envelope)(*told, bytes(payload))


EVENTS = Listing(_COLUMNS, "onrecord.event e", (By("e.position"),), _envelope)


def events(view: View, page: Page, *, from_position: int = 1, types: Sequence[str] | None = None) -> Slice[Envelope]:
    """The entries from `from_position` up to `position`, oldest first, of these types if any are named."""
    conditions = ["e.position >= %(from)s", "e.position <= %(position)s"]
    if types is not None:
        conditions.append("e.type = ANY(%(types)s)")
    parameters = {"from": from_position, **view.parameters, "types": types}
    return EVENTS.page(view, page, conditions, parameters)


def events_by_position(view: View, at: Collection[int]) -> dict[int, Envelope]:
    """The entries at these positions, as far as they are not after `position`."""
    found = fetched(
        view.conn,
        f"SELECT {_COLUMNS} FROM onrecord.event e WHERE e.position = ANY(%(at)s) AND e.position <= %(position)s",
        {"at": list(set(at)), **view.parameters},
    )
    return {row[0]: _envelope(row) for row in found}


def erasures(view: View, hashes: Collection[bytes]) -> dict[bytes, Envelope]:
    """The entries by which the texts with these hashes were erased. Like texts, they are not of the past."""
    found = fetched(
        view.conn,
        f"SELECT r.sha256, {_COLUMNS} FROM onrecord.register_erasure r JOIN onrecord.event e USING (position) "
        "WHERE r.sha256 = ANY(%(hashes)s)",
        {"hashes": list(hashes)},
    )
    return {bytes(row[0]): _envelope(row[1:]) for row in found}
