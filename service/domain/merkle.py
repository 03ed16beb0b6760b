"""The Merkle tree over the log: its hashes, its root, and proofs about it (RFC 6962, section 2).

    MTH([])       = SHA-256()
    MTH([d])      = SHA-256(0x00 || d)
    MTH(D[0:n])   = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])), k the greatest power of two below n

A *node* is a perfect subtree, named (level, index): the MTH of the leaves
[index * 2**level, (index + 1) * 2**level). Once all of them are there it never
changes, whatever is appended. Every proof and every root is made of a few nodes,
so whoever can look nodes up (in memory, in tiles) can prove. Checking a proof
follows RFC 9162, sections 2.1.3.2 and 2.1.4.2, and needs no tree.

Nodes are stored in *tiles* of 256 (C2SP tlog-tiles): tile (level, index) holds
the nodes of the level 8 * level, from 256 * index on; those between two tile levels
are hashed again from the 256 below.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

#: SHA-256, in bytes.
HASH_SIZE: Final = 32
#: The root of no leaves.
EMPTY_ROOT: Final = hashlib.sha256().digest()

#: How many levels of nodes a tile spans.
TILE_HEIGHT: Final = 8
#: How many hashes a full tile holds.
TILE_WIDTH: Final = 2**TILE_HEIGHT

#: (level, index) of a perfect subtree.
Node: TypeAlias = tuple[int, int]
#: (level, index) of a tile.
Tile: TypeAlias = tuple[int, int]
#: The hashes of nodes, in their order; asked for all at once, so that they can be read together.
Hashes: TypeAlias = Callable[[Sequence[Node]], Sequence[bytes]]


class ProofInvalid(ValueError):
    """A proof that does not show what it is said to show."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf.

    >>> leaf_hash(b"").hex()[:16]
    '6e340b9cffb37a98'
    """
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbouring subtrees. The prefix keeps a node from passing for a leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


# --- the root -------------------------------------------------------------------------


class Tree:
    """A growing tree, of which only the right edge is kept: the roots of O(log n) perfect subtrees.

    They stand for the binary digits of the size, greatest first.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """A tree of `size` leaves; `edge` are the hashes of `edge_of(size)`."""
        if len(edge) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has an edge of {size.bit_count()} hashes, not {len(edge)}")
        self.size = size
        self._edge = list(edge)

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf, by its hash; returns the hashes of the nodes complete with it, of levels 0, 1, 2, ..."""
        complete = [leaf]
        edge, left = self._edge, self.size
        while left & 1:
            leaf = node_hash(edge.pop(), leaf)
            complete.append(leaf)
            left >>= 1
        edge.append(leaf)
        self.size += 1
        return complete

    def root(self) -> bytes:
        """The root of all leaves so far."""
        return _folded(self._edge) if self._edge else EMPTY_ROOT


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over `leaves`, the bytes themselves; in O(log n) memory.

    >>> root([]).hex()[:16], root([b"", b"\\0"]).hex()[:16]
    ('e3b0c44298fc1c14', 'fac54203e7cc696c')
    """
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree.root()


def edge_of(size: int) -> list[Node]:
    """The perfect subtrees that a tree of `size` leaves falls into, greatest first.

    >>> edge_of(6)
    [(2, 0), (1, 2)]
    """
    return _nodes(0, size)


def root_of(size: int, hashes: Hashes) -> bytes:
    """The root of the first `size` leaves of a tree."""
    return _folded(hashes(edge_of(size))) if size else EMPTY_ROOT


def _nodes(start: int, end: int) -> list[Node]:
    """The perfect subtrees that [start, end) falls into; `start` is aligned to the greatest of them."""
    nodes: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _folded(edge: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees of falling size."""
    *left, folded = edge
    for each in reversed(left):
        folded = node_hash(each, folded)
    return folded


# --- making proofs --------------------------------------------------------------------


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """PATH(index, D[0:size]) of RFC 6962, 2.1.1: the hashes from the leaf's sibling up to the root's child."""
    (proof,) = inclusion_proofs([index], size, hashes)
    return proof


def inclusion_proofs(indexes: Iterable[int], size: int, hashes: Hashes) -> list[list[bytes]]:
    """The proofs of several leaves of one tree, whose nodes are asked for together."""
    return _proofs([_inclusion_ranges(index, size) for index in indexes], hashes)


def consistency_proof(first: int, second: int, hashes: Hashes) -> list[bytes]:
    """PROOF(first, D[0:second]) of RFC 6962, 2.1.2: that the first leaves of both trees are the same.

    From or to nothing there is nothing to prove: then it is empty.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {second} leaves does not extend one of {first}")
    (proof,) = _proofs([_consistency_ranges(first, second)], hashes)
    return proof


def _inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The leaves under each hash of an inclusion proof."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """The leaves under each hash of a consistency proof: SUBPROOF, from the root down and then turned round."""
    if first in (0, second):
        return []
    ranges: list[tuple[int, int]] = []
    start, end = 0, second
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:
        # Otherwise it is the older root itself, which who verifies has.
        ranges.append((start, end))
    return ranges[::-1]


def _split(size: int) -> int:
    """The greatest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _proofs(wanted: Sequence[Sequence[tuple[int, int]]], hashes: Hashes) -> list[list[bytes]]:
    nodes = [[_nodes(*each) for each in ranges] for ranges in wanted]
    distinct = list(dict.fromkeys(node for ranges in nodes for each in ranges for node in each))
    found = dict(zip(distinct, hashes(distinct), strict=True)) if distinct else {}
    return [[_folded([found[node] for node in each]) for each in ranges] for ranges in nodes]


# --- checking proofs ------------------------------------------------------------------


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """See that the leaf with the hash `leaf` is the one at `index` of the tree with `size` leaves and this root.

    RFC 9162, 2.1.3.2. Raises ProofInvalid.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"there is no leaf {index} in a tree of {size}")
    _check_sizes([leaf, root, *proof])
    at, last, computed = index, size - 1, leaf
    for each in proof:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if at & 1 or at == last:
            computed = node_hash(each, computed)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            computed = node_hash(computed, each)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofInvalid("the proof is too short")
    if computed != root:
        raise ProofInvalid("leaf and proof do not lead to the root")


def verify_consistency(
    *, first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """See that the tree with `second` leaves begins with all leaves of the one with `first`.

    RFC 9162, 2.1.4.2. Raises ProofInvalid.
    """
    if not 0 <= first <= second:
        raise ProofInvalid(f"a tree of {second} leaves does not extend one of {first}")
    _check_sizes([first_root, second_root, *proof])
    if first in (0, second):
        if proof:
            raise ProofInvalid("the proof is too long")
        if first_root != (second_root if first else EMPTY_ROOT):
            raise ProofInvalid("two trees of the same size have different roots")
        return
    # A perfect older tree is a node of the newer one, and left out of the proof.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid("the proof is too short")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for each in path[1:]:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if at & 1 or at == last:
            older, newer = node_hash(each, older), node_hash(each, newer)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, each)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofInvalid("the proof is too short")
    if older != first_root:
        raise ProofInvalid("the proof does not lead to the older root")
    if newer != second_root:
        raise ProofInvalid("the proof does not lead to the newer root")


def _check_sizes(hashes: Iterable[bytes]) -> None:
    # A hash of another length could stand for other bytes on its other side.
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofInvalid(f"a hash is not {HASH_SIZE} bytes long")


# --- tiles ----------------------------------------------------------------------------


def tile_width(tile: Tile, size: int) -> int:
    """How many hashes the tile holds in a tree of `size` leaves: 256 if it is full, 0 if it is not there.

    >>> tile_width((0, 273), 70_000), tile_width((1, 1), 70_000), tile_width((2, 0), 70_000)
    (112, 17, 1)
    """
    level, index = tile
    return min(max((size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH, 0), TILE_WIDTH)


def edge_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree of `size` leaves, lowest first: what it takes to go on."""
    levels = range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)
    tiles = [(level, size >> (TILE_HEIGHT * (level + 1))) for level in levels]
    return [tile for tile in tiles if tile_width(tile, size)]


def tile_of(node: Node) -> Tile:
    """The tile in which the node is, or from which it is hashed."""
    level, index = node
    tile_level, height = divmod(level, TILE_HEIGHT)
    return tile_level, (index << height) // TILE_WIDTH


def in_tile(node: Node, hashes: bytes) -> bytes:
    """The node's hash, from those of its tile. Raises ValueError where the tile does not hold it."""
    level, index = node
    height = level % TILE_HEIGHT
    start = (index << height) % TILE_WIDTH * HASH_SIZE
    end = start + (HASH_SIZE << height)
    if len(hashes) < end:
        raise ValueError(f"the tile {tile_of(node)} has {len(hashes)} bytes and needs {end}")
    row = [hashes[at : at + HASH_SIZE] for at in range(start, end, HASH_SIZE)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


class TiledTree:
    """A growing tree that also keeps the tiles which change, until they are taken away to be stored."""

    __slots__ = ("_changed", "_partial", "_tree")

    def __init__(self, size: int = 0, tiles: Mapping[Tile, bytes] | None = None) -> None:
        """A tree of `size` leaves, from `edge_tiles(size)`. Raises ValueError where they are too short."""
        found = tiles or {}
        self._tree = Tree(size, [in_tile(node, found.get(tile_of(node), b"")) for node in edge_of(size)])
        # What a tile may hold beyond this size is not of this tree.
        self._partial = {
            tile[0]: bytearray(found[tile][: tile_width(tile, size) * HASH_SIZE]) for tile in edge_tiles(size)
        }
        self._changed: dict[Tile, bytearray] = {}

    @property
    def size(self) -> int:
        return self._tree.size

    def append(self, leaf: bytes) -> None:
        """Add a leaf, by its hash."""
        index = self._tree.size
        for level, node in enumerate(self._tree.append(leaf)[::TILE_HEIGHT]):
            hashes = self._partial.get(level)
            if hashes is None:
                hashes = self._partial[level] = bytearray()
            hashes += node
            self._changed[level, index >> (TILE_HEIGHT * (level + 1))] = hashes
            if len(hashes) == TILE_WIDTH * HASH_SIZE:
                del self._partial[level]

    def root(self) -> bytes:
        """The root of all leaves so far."""
        return self._tree.root()

    def taken(self) -> dict[Tile, bytes]:
        """The tiles that were begun, went on or were filled since this was last called."""
        changed = {tile: bytes(hashes) for tile, hashes in self._changed.items()}
        self._changed.clear()
        return changed
