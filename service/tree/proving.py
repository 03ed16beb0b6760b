"""Proving: that an entry is in the tree, and that the tree extends an older one."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from service import tables
from service.domain import merkle
from service.domain.errors import BadArgument, CheckpointInvalid, LogForked, LogShorter, NotInTree, TreeDamaged
from service.proof import FORMAT, Checkpoint, ProofInvalid, TlogProof, encoded
from service.tree import storing
from service.tree.signing import Identity, SignedCheckpoint, identity, newest


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
    stored = storing.size(conn)
    size = stored if tree_size is None else tree_size
    if size > stored:
        raise NotInTree(size, size=stored)
    for position in positions:
        if position > size and tree_size is None:
            raise NotInTree(position, size=size)
        if not 1 <= position <= size:
            raise BadArgument(f"position {position} is not in a tree of {size} entries; ask for a greater tree")
    proofs = merkle.inclusion_proofs([position - 1 for position in positions], size, storing.hashes(conn))
    return {
        position: InclusionProof(position, size, tuple(proof))
        for position, proof in zip(positions, proofs, strict=True)
    }


def consistency_proof(conn: Connection, first: int, second: int) -> list[bytes]:
    """That the tree of `second` entries begins with those of the tree of `first`. Raises NotInTree, BadArgument."""
    stored = storing.size(conn)
    if second > stored:
        raise NotInTree(second, size=stored)
    if not 0 <= first <= second:
        raise BadArgument(f"a tree of {second} entries does not extend one of {first}")
    return merkle.consistency_proof(first, second, storing.hashes(conn))


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
