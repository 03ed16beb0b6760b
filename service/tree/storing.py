"""The tree as it is stored: its tiles, and the leaves of the log under them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from service import tables
from service.domain import merkle
from service.domain.errors import TreeDamaged
from service.domain.merkle import HASH_SIZE, Node, Tile, TiledTree

_BATCH: Final = 4_096


def size(conn: Connection) -> int:
    return conn.execute(select(tables.tree.c.size)).scalar_one()


def tree(conn: Connection, size: int) -> TiledTree:
    """The tree of `size` leaves, as its tiles have it. Raises TreeDamaged."""
    try:
        return TiledTree(size, tiles(conn, merkle.edge_tiles(size)))
    except ValueError as error:
        raise TreeDamaged(str(error)) from None


def tiles(conn: Connection, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
    """Those of the tiles that are stored."""
    found = conn.exec_driver_sql(
        "SELECT t.level, t.index, t.hashes FROM unnest(%(levels)s::int[], %(indexes)s::bigint[]) AS w(level, index) "
        "JOIN onrecord.tile t ON t.level = w.level AND t.index = w.index",
        {"levels": [level for level, _ in wanted], "indexes": [index for _, index in wanted]},
    )
    return {(level, index): hashes for level, index, hashes in found}


def hashes(conn: Connection) -> Callable[[Sequence[Node]], list[bytes]]:
    """Looks nodes up in the stored tiles, all in one query."""

    def found(nodes: Sequence[Node]) -> list[bytes]:
        stored = tiles(conn, list(dict.fromkeys(map(merkle.tile_of, nodes))))
        try:
            return [merkle.in_tile(node, stored.get(merkle.tile_of(node), b"")) for node in nodes]
        except ValueError as error:
            raise TreeDamaged(str(error)) from None

    return found


def leaves(conn: Connection, *, after: int, until: int | None) -> Iterator[list[bytes]]:
    """The leaves of the entries after `after`, up to `until` or the head, in order, a batch at a time."""
    row = tables.event.c
    while until is None or after < until:
        batch = _BATCH if until is None else min(_BATCH, until - after)
        found = conn.execute(
            select(row.position, row.leaf).where(row.position > after).order_by(row.position).limit(batch)
        ).all()
        if not found:
            return
        for position, (found_position, _) in enumerate(found, after + 1):
            if position != found_position:
                raise AssertionError(f"the log has no entry at position {position}")
        after += len(found)
        yield [leaf for _, leaf in found]


def tile(conn: Connection, level: int, index: int, width: int) -> bytes | None:
    """The first `width` hashes of a tile; None if it has not that many."""
    row = tables.tile.c
    length = width * HASH_SIZE
    return conn.execute(
        select(func.substring(row.hashes, 1, length)).where(
            row.level == level, row.index == index, func.octet_length(row.hashes) >= length
        )
    ).scalar_one_or_none()


def entries(conn: Connection, index: int, width: int) -> list[bytes] | None:
    """The leaves under the first `width` hashes of the tile (0, index); None if the tree has not that many."""
    first = index * merkle.TILE_WIDTH
    if first + width > size(conn):
        return None
    return [leaf for batch in leaves(conn, after=first, until=first + width) for leaf in batch]
