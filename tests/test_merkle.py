"""The Merkle tree: RFC 6962's vectors, every small size against its definitions, and the borders of tiles."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import merkle
from service.domain.merkle import HASH_SIZE, TILE_WIDTH, Node, ProofInvalid, Tile, TiledTree, Tree

# The profile with fixed examples is set there.
from tests import builders as builders

# --- the definitions of RFC 6962, word by word ----------------------------------------


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def below(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves: Sequence[bytes]) -> bytes:
    """2.1: the Merkle Tree Hash."""
    if not leaves:
        return digest(b"")
    if len(leaves) == 1:
        return digest(b"\x00" + leaves[0])
    k = below(len(leaves))
    return digest(b"\x01" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """2.1.1: the audit path."""
    if len(leaves) == 1:
        return []
    k = below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """2.1.2: the consistency proof."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


LEAVES = [b"leaf %d" % i for i in range(71)]
ROOTS = [mth(LEAVES[:n]) for n in range(len(LEAVES) + 1)]


def hashes_of(leaves: Sequence[bytes]) -> merkle.Hashes:
    """Looks nodes up by computing them from their leaves."""

    def hashes(nodes: Sequence[Node]) -> list[bytes]:
        for level, index in nodes:
            assert (index + 1) << level <= len(leaves)
        return [mth(leaves[index << level : (index + 1) << level]) for level, index in nodes]

    return hashes


# --- published vectors ----------------------------------------------------------------

#: Leaves, roots and proofs of the tests of certificate-transparency and of its successors.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert merkle.root(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    proof = merkle.inclusion_proof(index, size, hashes_of(CT_LEAVES))
    assert [each.hex() for each in proof] == CT_INCLUSION[index, size]


@pytest.mark.parametrize(("first", "second"), CT_CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(first: int, second: int) -> None:
    proof = merkle.consistency_proof(first, second, hashes_of(CT_LEAVES))
    assert [each.hex() for each in proof] == CT_CONSISTENCY[first, second]


# --- every small size -----------------------------------------------------------------


def test_roots_of_every_small_size_are_those_of_the_definition() -> None:
    tree = Tree()
    for size, leaf in enumerate(LEAVES):
        assert tree.root() == merkle.root(LEAVES[:size]) == ROOTS[size]
        assert merkle.root_of(size, hashes_of(LEAVES)) == ROOTS[size]
        complete = tree.append(merkle.leaf_hash(leaf))
        for level, node in enumerate(complete):
            assert node == mth(LEAVES[size + 1 - (1 << level) : size + 1])


def test_a_tree_goes_on_from_its_edge() -> None:
    for size in range(len(LEAVES) + 1):
        tree = Tree(size, hashes_of(LEAVES)(merkle.edge_of(size)))
        for leaf in LEAVES[size:]:
            tree.append(merkle.leaf_hash(leaf))
        assert tree.root() == ROOTS[-1]


def test_an_edge_that_does_not_fit_the_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a tree of 6 leaves has an edge of 2 hashes, not 1"):
        Tree(6, [bytes(32)])


def test_every_leaf_of_every_small_tree_can_be_proven() -> None:
    for size in range(1, len(LEAVES) + 1):
        proofs = merkle.inclusion_proofs(range(size), size, hashes_of(LEAVES))
        for index, proof in enumerate(proofs):
            assert proof == path(index, LEAVES[:size])
            merkle.verify_inclusion(
                leaf=merkle.leaf_hash(LEAVES[index]), index=index, size=size, proof=proof, root=ROOTS[size]
            )


def test_every_small_tree_can_be_proven_to_extend_every_smaller_one() -> None:
    for second in range(len(LEAVES) + 1):
        for first in range(second + 1):
            proof = merkle.consistency_proof(first, second, hashes_of(LEAVES))
            assert proof == (subproof(first, LEAVES[:second]) if first else [])
            merkle.verify_consistency(
                first=first, first_root=ROOTS[first], second=second, second_root=ROOTS[second], proof=proof
            )


def test_there_is_no_proof_of_what_is_not_there() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(ValueError, match=f"a tree of {size} leaves has none at {index}"):
            merkle.inclusion_proof(index, size, hashes_of(LEAVES))
    for first, second in ((6, 5), (-1, 5)):
        with pytest.raises(ValueError, match=f"a tree of {second} leaves does not extend one of {first}"):
            merkle.consistency_proof(first, second, hashes_of(LEAVES))


# --- proofs that were tampered with ---------------------------------------------------


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    try:
        merkle.verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)
    except ProofInvalid:
        return False
    return True


def consistent(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        merkle.verify_consistency(
            first=first, first_root=first_root, second=second, second_root=second_root, proof=proof
        )
    except ProofInvalid:
        return False
    return True


def altered(proof: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Every proof that is like this one but for one hash: changed, too much, missing, in another place, cut."""
    for at, each in enumerate(proof):
        for bit in (0, 255):
            changed = (int.from_bytes(each, "big") ^ (1 << bit)).to_bytes(HASH_SIZE, "big")
            yield [*proof[:at], changed, *proof[at + 1 :]]
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], each, *proof[at:]]
        yield [*proof[:at], each[:-1], *proof[at + 1 :]]
        yield [*proof[:at], each + b"\0", *proof[at + 1 :]]
    for at in range(len(proof) - 1):
        yield [*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]]
    yield [*proof, bytes(HASH_SIZE)]
    yield [bytes(HASH_SIZE), *proof]
    yield [*proof, b""]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 11, 16, 21])
def test_no_other_leaf_index_size_root_or_proof_passes_for_an_inclusion(size: int) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]
    for index in range(size):
        proof, root = path(index, LEAVES[:size]), ROOTS[size]
        assert included(hashes[index], index, size, proof, root)
        assert not any(included(hashes[index], index, size, each, root) for each in altered(proof))
        assert not any(
            included(hashes[index], other, size, proof, root) for other in range(-1, size + 1) if other != index
        )
        assert not any(included(each, index, size, proof, root) for at, each in enumerate(hashes) if at != index)
        assert not any(included(hashes[index], index, size, proof, each) for each in ROOTS if each != root)
        assert not included(hashes[index], index, size, proof, root[:-1])
        assert not included(LEAVES[index], index, size, proof, root)


@pytest.mark.parametrize("second", [1, 2, 3, 5, 8, 11, 16, 21])
def test_no_other_size_root_or_proof_passes_for_a_consistency(second: int) -> None:
    for first in range(1, second + 1):
        proof, roots = subproof(first, LEAVES[:second]), (ROOTS[first], ROOTS[second])
        assert consistent(first, roots[0], second, roots[1], proof)
        assert not any(consistent(first, roots[0], second, roots[1], each) for each in altered(proof))
        for other in ROOTS[1:]:
            assert other == roots[0] or not consistent(first, other, second, roots[1], proof)
            assert other == roots[1] or not consistent(first, roots[0], second, other, proof)
        assert not any(consistent(each, roots[0], second, roots[1], proof) for each in range(-1, 23) if each != first)


def test_an_empty_tree_is_extended_by_every_tree_and_by_no_other_root() -> None:
    assert consistent(0, merkle.EMPTY_ROOT, 5, ROOTS[5], [])
    assert not consistent(0, ROOTS[1], 5, ROOTS[5], [])
    assert not consistent(0, merkle.EMPTY_ROOT, 5, ROOTS[5], [bytes(32)])


@given(st.data())
def test_a_proof_holds_for_nothing_but_what_it_was_made_for(data: st.DataObject) -> None:
    """Whatever numbers and hashes one puts together: what is accepted is true."""
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    claimed_size = data.draw(st.sampled_from([size, *range(1, len(LEAVES) + 1)]))
    claimed_index = data.draw(st.sampled_from([index, *range(len(LEAVES))]))
    claimed_leaf = data.draw(st.sampled_from([LEAVES[index], *LEAVES]))
    proof = data.draw(st.sampled_from([path(index, LEAVES[:size]), *altered(path(index, LEAVES[:size]))]))
    accepted = included(merkle.leaf_hash(claimed_leaf), claimed_index, claimed_size, proof, ROOTS[claimed_size])
    if accepted:
        assert claimed_index < claimed_size
        assert LEAVES[claimed_index] == claimed_leaf
        assert proof == path(claimed_index, LEAVES[:claimed_size])


# --- tiles ----------------------------------------------------------------------------


class Store:
    """Tiles as they would be stored."""

    def __init__(self) -> None:
        self.tiles: dict[Tile, bytes] = {}

    def put(self, tiles: dict[Tile, bytes]) -> None:
        for tile, hashes in tiles.items():
            before = self.tiles.get(tile, b"")
            assert hashes.startswith(before)
            assert len(hashes) > len(before)
        self.tiles |= tiles

    def hashes(self, nodes: Sequence[Node]) -> list[bytes]:
        return [merkle.in_tile(node, self.tiles[merkle.tile_of(node)]) for node in nodes]


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(i.to_bytes(4, "big")) for i in range(count)]


BORDERS = [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 65_793, 70_000]
ALL = leaf_hashes(BORDERS[-1])


@pytest.fixture(scope="module")
def grown() -> tuple[Store, dict[int, bytes]]:
    """A tree of 70,000 leaves, its tiles as they came to be, stopped at every border; and the roots there."""
    store, roots = Store(), dict[int, bytes]()
    tree = TiledTree()
    for before, size in pairwise([0, *BORDERS]):
        for leaf in ALL[before:size]:
            tree.append(leaf)
        store.put(tree.taken())
        assert tree.taken() == {}
        roots[size] = tree.root()
        # From what is stored it goes on as if it had never stopped.
        tree = TiledTree(size, store.tiles)
        assert (tree.size, tree.root()) == (size, roots[size])
    return store, roots


def test_tiles_hold_the_nodes_of_every_eighth_level(grown: tuple[Store, dict[int, bytes]]) -> None:
    store, roots = grown
    level, expected = 0, ALL
    while expected:
        found = b"".join(store.tiles[level, index] for index in range((len(expected) + 255) // TILE_WIDTH))
        assert found == b"".join(expected)
        for _ in range(8):
            expected = [merkle.node_hash(expected[at], expected[at + 1]) for at in range(0, len(expected) - 1, 2)]
        level += 1
    assert level == 3
    tree = Tree()
    for size, leaf in enumerate(ALL, 1):
        tree.append(leaf)
        if size in roots:
            assert tree.root() == roots[size]


def test_the_example_of_the_specification_has_the_tiles_it_says(grown: tuple[Store, dict[int, bytes]]) -> None:
    """70,000 entries: 273 full tiles and one of 112; one full tile and one of 17; one of 1."""
    widths = {tile: len(hashes) // HASH_SIZE for tile, hashes in grown[0].tiles.items()}
    expected = {(0, i): 256 for i in range(273)} | {(0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert widths == expected
    assert {tile: merkle.tile_width(tile, 70_000) for tile in widths} == expected
    assert merkle.edge_tiles(70_000) == [(0, 273), (1, 1), (2, 0)]
    for absent in ((0, 274), (1, 2), (2, 1), (3, 0), (63, 0)):
        assert merkle.tile_width(absent, 70_000) == 0


def test_a_tree_of_one_full_tile_begins_the_next_level() -> None:
    assert merkle.edge_tiles(256) == [(1, 0)]
    assert [merkle.tile_width(tile, 256) for tile in ((0, 0), (0, 1), (1, 0))] == [256, 0, 1]
    assert merkle.edge_tiles(0) == []


@pytest.mark.parametrize("size", BORDERS)
def test_whatever_the_tiles_hold_by_now_older_trees_can_be_proven(
    grown: tuple[Store, dict[int, bytes]], size: int
) -> None:
    store, roots = grown
    assert merkle.root_of(size, store.hashes) == roots[size]
    for index in {0, 1, 127, 128, 254, 255, 256, 257, size // 2, size - 2, size - 1, 65_535, 65_536} & set(range(size)):
        proof = merkle.inclusion_proof(index, size, store.hashes)
        merkle.verify_inclusion(leaf=ALL[index], index=index, size=size, proof=proof, root=roots[size])
    for first in BORDERS:
        if first <= size:
            proof = merkle.consistency_proof(first, size, store.hashes)
            merkle.verify_consistency(
                first=first, first_root=roots[first], second=size, second_root=roots[size], proof=proof
            )


def test_a_proof_reads_few_tiles(grown: tuple[Store, dict[int, bytes]]) -> None:
    store, _ = grown
    asked: list[Tile] = []

    def hashes(nodes: Sequence[Node]) -> list[bytes]:
        asked.extend(map(merkle.tile_of, nodes))
        return store.hashes(nodes)

    merkle.inclusion_proof(12_345, 70_000, hashes)
    assert len(set(asked)) <= 5


def test_a_tile_that_is_too_short_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"the tile \(0, 0\) has 32 bytes and needs 64"):
        merkle.in_tile((1, 0), bytes(32))
    with pytest.raises(ValueError, match=r"the tile \(1, 0\)"):
        TiledTree(256, {(0, 0): bytes(8192)})


@given(st.lists(st.integers(0, 300), max_size=8))
def test_growing_in_any_steps_gives_the_same_tiles(steps: list[int]) -> None:
    store, size = Store(), 0
    for step in steps:
        tree = TiledTree(size, store.tiles)
        for leaf in ALL[size : size + step]:
            tree.append(leaf)
        store.put(tree.taken())
        size += step
    at_once = TiledTree()
    for leaf in ALL[:size]:
        at_once.append(leaf)
    assert store.tiles == at_once.taken()
    assert TiledTree(size, store.tiles).root() == at_once.root()
