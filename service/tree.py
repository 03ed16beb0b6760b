"""The Merkle tree over the log: integrate, sign, prove.

It grows after the append, with a cursor of its own, so that nobody who records
waits for it. One transaction hashes the leaves that are new, stores the tiles they
change and signs a checkpoint; killed anywhere, it goes on as if it had not been. What
was signed is never contradicted: before it goes on, the stored tree must have
the root of the newest checkpoint, and the log must reach that far.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select, text, update

from service import log, tables
from service.domain import merkle
from service.domain.errors import (
    BadArgument,
    CheckpointInvalid,
    LogForked,
    LogShorter,
    NothingLost,
    NotInTree,
    OriginDiffers,
    OriginUsed,
    SigningKeyDiffers,
    SigningKeyInvalid,
    TreeDamaged,
)
from service.domain.merkle import HASH_SIZE, Node, Tile, TiledTree, Tree
from service.proof import FORMAT, Checkpoint, ProofInvalid, TlogProof, VerifierKey, encoded, is_key_name, signature_line

#: How many entries one transaction integrates at most.
LIMIT: Final = 65_536
_BATCH: Final = 4_096
_SEED_SIZE: Final = 32


# --- who signs ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """What this program signs with, and as whom it was told to."""

    private: Ed25519PrivateKey = field(repr=False)
    origin: str | None = None  #: None: whichever the log has, a random one for a log without.

    @classmethod
    def of(cls, seed: str, *, origin: str | None = None, where: str) -> Self:
        """The signer whose Ed25519 seed is written in base64; `where`, for messages. Raises SigningKeyInvalid."""
        try:
            data = base64.b64decode(seed.strip(), validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != _SEED_SIZE:
            raise SigningKeyInvalid(where)
        if origin is not None and not is_key_name(origin):
            raise BadArgument(
                f"{origin!r} cannot be an origin: it needs to be without spaces, + and control characters"
            )
        return cls(Ed25519PrivateKey.from_private_bytes(data), origin)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a note that is signed under its origin."""
        body = checkpoint.text()
        key = VerifierKey(checkpoint.origin, self.public)
        return f"{body}\n{signature_line(key, self.private.sign(body.encode()))}"


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom the log signs, from a size on."""

    number: int
    origin: str
    public_key: bytes
    since_size: int
    begun_at: datetime
    reason: str | None  #: why another was given up for it.
    given_up: str | None  #: the checkpoint that the log could no longer answer for.

    @property
    def key(self) -> VerifierKey:
        """What others verify with."""
        return VerifierKey(self.origin, self.public_key)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was signed."""

    origin: str
    size: int
    root: bytes
    note: str
    signed_at: datetime


def identities(conn: Connection) -> list[Identity]:
    """All of them, oldest first; the last holds. More than one: losses were accepted."""
    found = conn.execute(select(tables.log_identity).order_by(tables.log_identity.c.number))
    return [Identity(*row) for row in found]


def identity(conn: Connection) -> Identity | None:
    """As whom the log signs; None before it has signed anything."""
    found = conn.execute(select(tables.log_identity).order_by(tables.log_identity.c.number.desc()).limit(1)).first()
    return None if found is None else Identity(*found)


def newest(conn: Connection) -> SignedCheckpoint | None:
    """The newest checkpoint; None before anything was signed."""
    row = tables.checkpoint
    origin = select(tables.log_identity.c.origin).order_by(tables.log_identity.c.number.desc()).limit(1)
    found = conn.execute(
        select(row).where(row.c.origin == origin.scalar_subquery()).order_by(row.c.size.desc()).limit(1)
    ).first()
    return None if found is None else SignedCheckpoint(*found)


# --- growing --------------------------------------------------------------------------


def integrate(conn: Connection, signer: Signer, *, limit: int = LIMIT) -> SignedCheckpoint:
    """Take the next entries of the log into the tree, at most `limit`, and sign; returns the newest checkpoint.

    With nothing new it changes nothing. Whoever comes at the same time waits for
    its turn, and finds nothing left to do. The caller owns the transaction, at
    READ COMMITTED; the checkpoint may be handed out once it is committed.

    Raises LogShorter, TreeDamaged, SigningKeyDiffers, OriginDiffers.
    """
    size = _take_turn(conn)
    known = _agreed(identity(conn), signer) or _begin(conn, signer)
    grown, last = _resumed(conn, size)
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
        _compare(last, size=made.size, root=made.root(), where=_NEWEST)
    return made.size


def accept_loss(conn: Connection, signer: Signer, *, reason: str, kept: str | None) -> SignedCheckpoint:
    """Go on with the log as it is, under a new origin, since the old one cannot answer for what it signed.

    `kept` is the checkpoint that is kept outside the database, if there is one. It
    stays on record with the reason. Raises NothingLost where the log is what was
    signed, by this key and under this origin; it looks at every entry.
    """
    _take_turn(conn)
    known = identities(conn)
    if not _lost(conn, signer, known, kept):
        raise NothingLost
    origin = signer.origin or _random_origin()
    if origin in {each.origin for each in known}:
        raise OriginUsed(origin)
    last = newest(conn)
    given_up = kept or (last.note if last else None)
    made = _regrown(conn, until=None)
    begun = _begin(conn, Signer(signer.private, origin), since_size=made.size, reason=reason, given_up=given_up)
    return _sign(conn, signer, begun.origin, made)


_NEWEST: Final = "that is stored in the database"
_TURN: Final = text("SELECT size, set_config('synchronous_commit', 'on', true) FROM onrecord.tree FOR UPDATE")
_WRITE: Final = """
    INSERT INTO onrecord.tile (level, index, hashes)
    SELECT * FROM unnest(%(levels)s::int[], %(indexes)s::bigint[], %(hashes)b::bytea[])
    ON CONFLICT (level, index) DO UPDATE SET hashes = EXCLUDED.hashes
"""


def _take_turn(conn: Connection) -> int:
    """Hold the tree until the transaction ends; returns its size. What is signed is durable once committed."""
    isolation = conn.scalar(text("SELECT current_setting('transaction_isolation')"))
    if isolation != "read committed":
        # Under REPEATABLE READ the log would be seen as it was before the turn came.
        raise AssertionError(f"the tree grows under READ COMMITTED, not {isolation}")
    return conn.execute(_TURN).one().size


def _agreed(known: Identity | None, signer: Signer) -> Identity | None:
    """`known`, if the signer may sign for it."""
    if known is not None:
        if known.public_key != signer.public:
            raise SigningKeyDiffers(known.origin)
        if signer.origin not in (None, known.origin):
            raise OriginDiffers(known.origin, wanted=signer.origin)
    return known


def _begin(
    conn: Connection, signer: Signer, *, since_size: int = 0, reason: str | None = None, given_up: str | None = None
) -> Identity:
    row = tables.log_identity
    number = conn.execute(select(func.coalesce(func.max(row.c.number), 0) + 1)).scalar_one()
    values = {
        "number": number,
        "origin": signer.origin or _random_origin(),
        "public_key": signer.public,
        "since_size": since_size,
        "begun_at": func.clock_timestamp(),
        "reason": reason,
        "given_up": given_up,
    }
    return Identity(*conn.execute(insert(row).values(values).returning(*row.c)).one())


def _random_origin() -> str:
    return f"onrecord/{uuid4().hex}"


def _resumed(conn: Connection, size: int) -> tuple[TiledTree, SignedCheckpoint | None]:
    """The tree as it is stored, which must be the one that was signed last, and not ahead of the log."""
    grown = _stored(conn, size)
    last = newest(conn)
    signed_size = 0 if last is None else last.size
    if last is not None and (head := log.head(conn)) < last.size:
        raise LogShorter(size=head, signed_size=last.size, origin=last.origin, where=_NEWEST)
    if size != signed_size or (last is not None and last.root != grown.root()):
        raise TreeDamaged(f"it does not have the root that was signed for {signed_size} entries")
    return grown, last


def _stored(conn: Connection, size: int) -> TiledTree:
    """The tree of `size` leaves, as its tiles have it. Raises TreeDamaged."""
    try:
        return TiledTree(size, _tiles(conn, merkle.edge_tiles(size)))
    except ValueError as error:
        raise TreeDamaged(str(error)) from None


def _grow(conn: Connection, grown: TiledTree, *, until: int | None) -> None:
    """Add the leaves of the log after those that the tree has, and store the tiles that they change."""
    for leaves in _leaves(conn, after=grown.size, until=until):
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


def _leaves(conn: Connection, *, after: int, until: int | None) -> Iterator[list[bytes]]:
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


# --- comparing ------------------------------------------------------------------------


def check(conn: Connection, signer: Signer, *, kept: str | None, where: str) -> None:
    """See that this log can be gone on with: signed by this key, the stored tree whole, and nothing lost.

    `kept` is the checkpoint that is kept outside the database, at `where`. It looks
    at a few tiles; only what is not in the tree yet is hashed.

    Raises SigningKeyDiffers, OriginDiffers, TreeDamaged, LogShorter, LogForked, CheckpointInvalid.
    """
    _agreed(identity(conn), signer)
    _resumed(conn, _size(conn))
    if kept is not None:
        check_kept(conn, kept, signer, where=where)


def check_kept(conn: Connection, note: str, signer: Signer, *, where: str) -> None:
    """See that the log still begins with the entries that the kept checkpoint was signed for.

    Raises LogShorter, LogForked, CheckpointInvalid, TreeDamaged.
    """
    kept = _opened(conn, note, where=where, others=[signer.public])
    size = log.head(conn)
    root = root_at(conn, kept.size) if size >= kept.size else b""
    _compare(kept, size=size, root=root, where=where)


def opened(conn: Connection, note: str, *, where: str = "that was given") -> Checkpoint:
    """The checkpoint in a note that this log signed, under any origin it ever had. Raises CheckpointInvalid."""
    return _opened(conn, note, where=where)


def extends(conn: Connection, checkpoint: Checkpoint) -> bool:
    """Whether the log begins with the entries that the checkpoint was signed for.

    It trusts no stored hash: every leaf up to there is hashed again.
    """
    made = Tree()
    for leaves in _leaves(conn, after=0, until=checkpoint.size):
        for leaf in leaves:
            made.append(merkle.leaf_hash(leaf))
    return (made.size, made.root()) == (checkpoint.size, checkpoint.root)


def root_at(conn: Connection, size: int) -> bytes:
    """The root of the first `size` entries, from the tiles as far as they go. Raises TreeDamaged, NotInTree."""
    stored = _size(conn)
    if size <= stored:
        return merkle.root_of(size, _hashes(conn))
    grown = _stored(conn, stored)
    for leaves in _leaves(conn, after=stored, until=size):
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
    size, head, known = _size(conn), log.head(conn), identity(conn)
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
    for leaves in _leaves(conn, after=0, until=size):
        for leaf in leaves:
            made.append(merkle.leaf_hash(leaf))
            if made.size in due:
                yield from _root_problems(due.pop(made.size), made.root())
        changed = made.taken()
        stored = _tiles(conn, list(changed))
        for tile, hashes in changed.items():
            # What is partial here may have become fuller since.
            if not stored.get(tile, b"").startswith(hashes) and tile not in damaged:
                damaged.add(tile)
                yield f"Tile {tile[0]}/{tile[1]} is not what the log's entries hash to."
    for each in due.values():
        yield f"A checkpoint was signed for {each.size} entries, which the log does not have."
    for level, index in _too_wide(conn, size):
        yield f"Tile {level}/{index} holds more than a tree of {size} entries has."


def _lost(conn: Connection, signer: Signer, known: Sequence[Identity], kept: str | None) -> bool:
    """Whether something of what was signed cannot be answered for."""
    if known:
        try:
            _agreed(known[-1], signer)
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


def _compare(signed: Checkpoint | SignedCheckpoint, *, size: int, root: bytes, where: str) -> None:
    """See that a log of `size` entries, whose first ones have this root, is what was signed."""
    if size < signed.size:
        raise LogShorter(size=size, signed_size=signed.size, origin=signed.origin, where=where)
    if root != signed.root:
        raise LogForked(signed_size=signed.size, origin=signed.origin, where=where)


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


# --- reading --------------------------------------------------------------------------


def _size(conn: Connection) -> int:
    return conn.execute(select(tables.tree.c.size)).scalar_one()


def _tiles(conn: Connection, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
    """Those of the tiles that are stored."""
    found = conn.exec_driver_sql(
        "SELECT t.level, t.index, t.hashes FROM unnest(%(levels)s::int[], %(indexes)s::bigint[]) AS w(level, index) "
        "JOIN onrecord.tile t ON t.level = w.level AND t.index = w.index",
        {"levels": [level for level, _ in wanted], "indexes": [index for _, index in wanted]},
    )
    return {(level, index): hashes for level, index, hashes in found}


def _hashes(conn: Connection) -> Callable[[Sequence[Node]], list[bytes]]:
    """Looks nodes up in the stored tiles, all in one query."""

    def hashes(nodes: Sequence[Node]) -> list[bytes]:
        stored = _tiles(conn, list(dict.fromkeys(map(merkle.tile_of, nodes))))
        try:
            return [merkle.in_tile(node, stored.get(merkle.tile_of(node), b"")) for node in nodes]
        except ValueError as error:
            raise TreeDamaged(str(error)) from None

    return hashes


# --- proving --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That the entry at a position is in the tree of a size."""

    position: int
    tree_size: int
    hashes: tuple[bytes, ...]  #: from the leaf's sibling up to the root's child.

    @property
    def index(self) -> int:
        """The leaf's place in the tree, from 0."""
        return self.position - 1


def inclusion_proof(conn: Connection, position: int, tree_size: int | None = None) -> InclusionProof:
    """That the entry at `position` is in the tree of `tree_size`, by default the newest. Raises NotInTree, BadArgument.

    Made from a few tiles, in one query.
    """
    return inclusion_proofs(conn, [position], tree_size)[position]


def inclusion_proofs(
    conn: Connection, positions: Sequence[int], tree_size: int | None = None
) -> dict[int, InclusionProof]:
    """The proofs of several entries in one tree, made from tiles that are read together.

    With a `tree_size`, raises NotInTree where the tree has not come so far, and
    BadArgument for a position after it; without, NotInTree for one after the newest.
    """
    stored = _size(conn)
    size = stored if tree_size is None else tree_size
    if size > stored:
        raise NotInTree(size, size=stored)
    for position in positions:
        if position > size and tree_size is None:
            raise NotInTree(position, size=size)
        if not 1 <= position <= size:
            raise BadArgument(f"position {position} is not in a tree of {size} entries; ask for a greater tree")
    proofs = merkle.inclusion_proofs([position - 1 for position in positions], size, _hashes(conn))
    return {
        position: InclusionProof(position, size, tuple(proof))
        for position, proof in zip(positions, proofs, strict=True)
    }


def consistency_proof(conn: Connection, first: int, second: int) -> list[bytes]:
    """That the tree of `second` entries begins with those of the tree of `first`. Raises NotInTree, BadArgument."""
    stored = _size(conn)
    if second > stored:
        raise NotInTree(second, size=stored)
    if not 0 <= first <= second:
        raise BadArgument(f"a tree of {second} entries does not extend one of {first}")
    return merkle.consistency_proof(first, second, _hashes(conn))


def evidence(conn: Connection, positions: Sequence[int], *, since: Sequence[str] = ()) -> dict[str, Any]:
    """All that is needed to see offline that the entries at `positions` are in the log, as `service.proof` reads it.

    With `since`, older checkpoints of this log, also that it still begins as they say.
    Each proof is checked before it is given away. Raises NotInTree, TreeDamaged,
    CheckpointInvalid, LogForked.
    """
    signed, known = newest(conn), identity(conn)
    if signed is None or known is None:
        raise NotInTree(max(positions, default=0), size=0)
    proofs = inclusion_proofs(conn, positions, signed.size) if max(positions, default=0) <= signed.size else None
    if proofs is None:
        raise NotInTree(max(positions), size=signed.size)
    row = tables.event.c
    found = {
        position: (leaf, payload)
        for position, leaf, payload in conn.execute(
            select(row.position, row.leaf, row.payload).where(row.position.in_(positions))
        )
    }
    made: dict[str, Any] = {
        "format": FORMAT,
        "key": str(known.key),
        "checkpoint": signed.note,
        "entries": [_entry(signed, proofs[position], *found[position]) for position in positions],
    }
    if since:
        made["consistency"] = [_since(conn, signed, known, note) for note in since]
    return made


def tlog_proof(conn: Connection, position: int) -> TlogProof:
    """The same for one entry in the form of C2SP tlog-proof, with the leaf as extra data."""
    (entry,) = (made := evidence(conn, [position]))["entries"]
    hashes = tuple(base64.b64decode(each) for each in entry["proof"])
    return TlogProof(entry["index"], hashes, made["checkpoint"], entry["leaf"].encode())


def _entry(signed: SignedCheckpoint, proof: InclusionProof, leaf: bytes, payload: bytes) -> dict[str, Any]:
    try:
        merkle.verify_inclusion(
            leaf=merkle.leaf_hash(leaf),
            index=proof.index,
            size=proof.tree_size,
            proof=proof.hashes,
            root=signed.root,
        )
        return {
            "position": proof.position,
            "index": proof.index,
            "leaf": leaf.decode(),
            "proof": [encoded(each) for each in proof.hashes],
            "payload": payload.decode(),
        }
    except (merkle.ProofInvalid, UnicodeDecodeError) as error:
        raise TreeDamaged(f"entry {proof.position} cannot be proven from it, or was changed: {error}") from None


def _since(conn: Connection, signed: SignedCheckpoint, known: Identity, note: str) -> dict[str, Any]:
    try:
        older = Checkpoint.opened(note, known.key)
    except ProofInvalid as error:
        raise CheckpointInvalid("to be compared with", str(error)) from None
    if older.size > signed.size:
        raise LogShorter(size=signed.size, signed_size=older.size, origin=older.origin, where="to be compared with")
    proof = consistency_proof(conn, older.size, signed.size)
    try:
        merkle.verify_consistency(
            first=older.size,
            first_root=older.root,
            second=signed.size,
            second_root=signed.root,
            proof=proof,
        )
    except merkle.ProofInvalid:
        raise LogForked(signed_size=older.size, origin=older.origin, where="to be compared with") from None
    return {"checkpoint": note, "proof": [encoded(each) for each in proof]}


# --- serving --------------------------------------------------------------------------


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
    if first + width > _size(conn):
        return None
    return [leaf for leaves in _leaves(conn, after=first, until=first + width) for leaf in leaves]
