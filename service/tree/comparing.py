"""Comparing: what is stored, what was signed and what the log says, with one another."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from service import log, tables
from service.domain import merkle
from service.domain.errors import (
    CheckpointInvalid,
    LogForked,
    LogShorter,
    NotInTree,
    OriginDiffers,
    SigningKeyDiffers,
    TreeDamaged,
)
from service.domain.merkle import HASH_SIZE, Tile, TiledTree, Tree
from service.proof import Checkpoint, ProofInvalid, VerifierKey
from service.tree import storing
from service.tree.signing import Identity, SignedCheckpoint, Signer, agreed, identities, identity, newest

NEWEST: Final = "that is stored in the database"


def check(conn: Connection, signer: Signer, *, kept: str | None, where: str) -> None:
    """See that this log can be gone on with: signed by this key, the stored tree whole, and nothing lost.

    `kept` is the checkpoint that is kept outside the database, at `where`. It looks
    at a few tiles; only what is not in the tree yet is hashed.

    Raises SigningKeyDiffers, OriginDiffers, TreeDamaged, LogShorter, LogForked, CheckpointInvalid.
    """
    agreed(identity(conn), signer)
    resumed(conn, storing.size(conn))
    if kept is not None:
        check_kept(conn, kept, signer, where=where)


def check_kept(conn: Connection, note: str, signer: Signer, *, where: str) -> None:
    """See that the log still begins with the entries that the kept checkpoint was signed for.

    Raises LogShorter, LogForked, CheckpointInvalid, TreeDamaged.
    """
    kept = _opened(conn, note, where=where, others=[signer.public])
    size = log.head(conn)
    root = root_at(conn, kept.size) if size >= kept.size else b""
    compare(kept, size=size, root=root, where=where)


def opened(conn: Connection, note: str, *, where: str = "that was given") -> Checkpoint:
    """The checkpoint in a note that this log signed, under any origin it ever had. Raises CheckpointInvalid."""
    return _opened(conn, note, where=where)


def extends(conn: Connection, checkpoint: Checkpoint) -> bool:
    """Whether the log begins with the entries that the checkpoint was signed for.

    It trusts no stored hash: every leaf up to there is hashed again.
    """
    made = Tree()
    for leaves in storing.leaves(conn, after=0, until=checkpoint.size):
        for leaf in leaves:
            made.append(merkle.leaf_hash(leaf))
    return (made.size, made.root()) == (checkpoint.size, checkpoint.root)


def root_at(conn: Connection, size: int) -> bytes:
    """The root of the first `size` entries, from the tiles as far as they go. Raises TreeDamaged, NotInTree."""
    stored = storing.size(conn)
    if size <= stored:
        return merkle.root_of(size, storing.hashes(conn))
    grown = storing.tree(conn, stored)
    for leaves in storing.leaves(conn, after=stored, until=size):
        for leaf in leaves:
            grown.append(merkle.leaf_hash(leaf))
    if grown.size != size:
        raise NotInTree(size, size=grown.size)
    return grown.root()


def mismatches(conn: Connection) -> Iterator[str]:
    """Every way in which tiles and checkpoints differ from what the log's leaves hash to, as sentences.

    Every leaf is hashed again; whether the leaves fit their entries is not looked
    at. In one snapshot, so that nothing grows meanwhile.
    """
    size, head, known = storing.size(conn), log.head(conn), identity(conn)
    signed = [] if known is None else _signed(conn, known.origin)
    if known is not None and signed:
        try:
            Checkpoint.opened(signed[-1].note, known.key)
        except ProofInvalid as error:
            yield f"The newest checkpoint is not signed as it should be: {error}."
    if size != (signed[-1].size if signed else 0):
        yield f"The tree has {size} entries, and {signed[-1].size if signed else 0} are signed."
    if head < size:
        yield f"The tree has {size} entries, and the log only {head}."
    made, damaged = TiledTree(), set[Tile]()
    due = {each.size: each for each in signed}
    if 0 in due:
        yield from _root_problems(due.pop(0), merkle.EMPTY_ROOT)
    for leaves in storing.leaves(conn, after=0, until=size):
        for leaf in leaves:
            made.append(merkle.leaf_hash(leaf))
            if made.size in due:
                yield from _root_problems(due.pop(made.size), made.root())
        changed = made.taken()
        stored = storing.tiles(conn, list(changed))
        for tile, hashes in changed.items():
            # What is partial here may have become fuller since.
            if not stored.get(tile, b"").startswith(hashes) and tile not in damaged:
                damaged.add(tile)
                yield f"Tile {tile[0]}/{tile[1]} is not what the log's entries hash to."
    for each in due.values():
        yield f"A checkpoint was signed for {each.size} entries, which the log does not have."
    for level, index in _too_wide(conn, size):
        yield f"Tile {level}/{index} holds more than a tree of {size} entries has."


def resumed(conn: Connection, size: int) -> tuple[TiledTree, SignedCheckpoint | None]:
    """The tree as it is stored, which must be the one that was signed last, and not ahead of the log."""
    grown = storing.tree(conn, size)
    last = newest(conn)
    signed_size = 0 if last is None else last.size
    if last is not None and (head := log.head(conn)) < last.size:
        raise LogShorter(size=head, signed_size=last.size, origin=last.origin, where=NEWEST)
    if size != signed_size or (last is not None and last.root != grown.root()):
        raise TreeDamaged(f"it does not have the root that was signed for {signed_size} entries")
    return grown, last


def compare(signed: Checkpoint | SignedCheckpoint, *, size: int, root: bytes, where: str) -> None:
    """See that a log of `size` entries, whose first ones have this root, is what was signed."""
    if size < signed.size:
        raise LogShorter(size=size, signed_size=signed.size, origin=signed.origin, where=where)
    if root != signed.root:
        raise LogForked(signed_size=signed.size, origin=signed.origin, where=where)


def is_lost(conn: Connection, signer: Signer, known: Sequence[Identity], kept: str | None) -> bool:
    """Whether something of what was signed cannot be answered for."""
    if known:
        try:
            agreed(known[-1], signer)
        except (SigningKeyDiffers, OriginDiffers):
            return True
    last = newest(conn)
    if last is not None and not extends(conn, Checkpoint(last.origin, last.size, last.root)):
        return True
    return kept is not None and not extends(conn, _opened(conn, kept, where="that is kept", others=[signer.public]))


def _opened(conn: Connection, note: str, *, where: str, others: Sequence[bytes] = ()) -> Checkpoint:
    try:
        origin = Checkpoint.unverified(note).origin
    except ProofInvalid as error:
        raise CheckpointInvalid(where, str(error)) from None
    keys = [*others, *(each.public_key for each in identities(conn))]
    for public in dict.fromkeys(keys):
        try:
            return Checkpoint.opened(note, VerifierKey(origin, public))
        except ProofInvalid:
            continue
    raise CheckpointInvalid(where, f"it is of the log {origin}, and not signed with a key that is known here")


def _signed(conn: Connection, origin: str) -> list[SignedCheckpoint]:
    row = tables.checkpoint
    found = conn.execute(select(row).where(row.c.origin == origin).order_by(row.c.size))
    return [SignedCheckpoint(*each) for each in found]


def _root_problems(signed: SignedCheckpoint, root: bytes) -> Iterator[str]:
    try:
        says = Checkpoint.unverified(signed.note)
    except ProofInvalid as error:
        yield f"The checkpoint of {signed.size} entries cannot be read: {error}."
        return
    if says != Checkpoint(signed.origin, signed.size, signed.root):
        yield f"The checkpoint of {signed.size} entries is not the one that its row describes."
    if says.root != root:
        yield f"The checkpoint of {signed.size} entries has another root than the log's entries."


def _too_wide(conn: Connection, size: int) -> list[Tile]:
    """Tiles that are wider than a tree of this size has them, or not in it at all."""
    row = tables.tile.c
    found = conn.execute(select(row.level, row.index, func.octet_length(row.hashes)).order_by(row.level, row.index))
    return [
        (level, index) for level, index, length in found if length > merkle.tile_width((level, index), size) * HASH_SIZE
    ]
