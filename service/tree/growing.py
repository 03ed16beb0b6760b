"""Growing: new entries are taken in and signed for; or all of them anew."""

from typing import Final

from sqlalchemy import Connection, func, insert, text, update

from service import tables
from service.domain import merkle
from service.domain.errors import NothingLost, OriginUsed
from service.domain.merkle import TiledTree
from service.proof import Checkpoint
from service.tree import storing
from service.tree.comparing import NEWEST, compare, is_lost, resumed
from service.tree.signing import SignedCheckpoint, Signer, agreed, begin, identities, identity, newest, random_origin

#: How many entries one transaction integrates at most.
LIMIT: Final = 65_536
#: Whoever else holds the tree, nobody waits for it for ever.
_SETTINGS: Final = text("SELECT current_setting('transaction_isolation'), set_config('lock_timeout', '5s', true)")
_TURN: Final = text("SELECT size, set_config('synchronous_commit', 'on', true) FROM onrecord.tree FOR UPDATE")
_WRITE: Final = """
    INSERT INTO onrecord.tile (level, index, hashes)
    SELECT * FROM unnest(%(levels)s::int[], %(indexes)s::bigint[], %(hashes)b::bytea[])
    ON CONFLICT (level, index) DO UPDATE SET hashes = EXCLUDED.hashes
"""


def integrate(conn: Connection, signer: Signer, *, limit: int = LIMIT) -> SignedCheckpoint:
    """Take the next entries of the log into the tree, at most `limit`, and sign; returns the newest checkpoint.

    With nothing new it changes nothing. Whoever comes at the same time waits for
    its turn, and finds nothing left to do. The caller owns the transaction, at
    READ COMMITTED; the checkpoint may be handed out once it is committed.

    Raises LogShorter, TreeDamaged, SigningKeyDiffers, OriginDiffers.
    """
    size = _take_turn(conn)
    known = agreed(identity(conn), signer) or begin(conn, signer)
    grown, last = resumed(conn, size)
    _grow(conn, grown, until=size + limit)
    if last is not None and grown.size == size:
        return last
    conn.execute(update(tables.tree).values(size=grown.size))
    return _sign(conn, signer, known.origin, grown)


def rebuild(conn: Connection) -> int:
    """Make the tiles anew from the log, as far as it is signed; returns how many entries that are.

    Raises LogShorter or LogForked where the log is no longer what was signed.
    """
    _take_turn(conn)
    last = newest(conn)
    made = _regrown(conn, until=0 if last is None else last.size)
    if last is not None:
        compare(last, size=made.size, root=made.root(), where=NEWEST)
    return made.size


def accept_loss(conn: Connection, signer: Signer, *, reason: str, kept: str | None) -> SignedCheckpoint:
    """Go on with the log as it is, under a new origin, since the old one cannot answer for what it signed.

    `kept` is the checkpoint that is kept outside the database, if there is one. It
    stays on record with the reason. Raises NothingLost where the log is what was
    signed, by this key and under this origin; it looks at every entry.
    """
    _take_turn(conn)
    known = identities(conn)
    if not is_lost(conn, signer, known, kept):
        raise NothingLost
    origin = signer.origin or random_origin()
    if origin in {each.origin for each in known}:
        raise OriginUsed(origin)
    last = newest(conn)
    given_up = kept or (last.note if last else None)
    made = _regrown(conn, until=None)
    begun = begin(conn, Signer(signer.private, origin), since_size=made.size, reason=reason, given_up=given_up)
    return _sign(conn, signer, begun.origin, made)


def _take_turn(conn: Connection) -> int:
    """Hold the tree until the transaction ends; returns its size. What is signed is durable once committed."""
    isolation, _ = conn.execute(_SETTINGS).one()
    if isolation != "read committed":
        # Under REPEATABLE READ the log would be seen as it was before the turn came.
        raise AssertionError(f"the tree grows under READ COMMITTED, not {isolation}")
    return conn.execute(_TURN).one().size


def _grow(conn: Connection, grown: TiledTree, *, until: int | None) -> None:
    """Add the leaves of the log after those that the tree has, and store the tiles that they change."""
    for leaves in storing.leaves(conn, after=grown.size, until=until):
        for leaf in leaves:
            grown.append(merkle.leaf_hash(leaf))
        changed = grown.taken()
        written = conn.exec_driver_sql(
            _WRITE,
            {
                "levels": [level for level, _ in changed],
                "indexes": [index for _, index in changed],
                "hashes": list(changed.values()),
            },
        ).rowcount
        if written != len(changed):
            raise AssertionError(f"{written} tiles were written of {len(changed)}")


def _regrown(conn: Connection, *, until: int | None) -> TiledTree:
    """The tree made and stored from nothing but the log."""
    made = TiledTree()
    conn.execute(tables.tile.delete())
    _grow(conn, made, until=until)
    conn.execute(update(tables.tree).values(size=made.size))
    return made


def _sign(conn: Connection, signer: Signer, origin: str, grown: TiledTree) -> SignedCheckpoint:
    signed = Checkpoint(origin, grown.size, grown.root())
    values = {
        "origin": origin,
        "size": signed.size,
        "root": signed.root,
        "note": signer.sign(signed),
        "signed_at": func.clock_timestamp(),
    }
    row = conn.execute(insert(tables.checkpoint).values(values).returning(*tables.checkpoint.c)).one()
    return SignedCheckpoint(*row)
