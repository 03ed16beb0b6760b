"""The state digest: all beliefs under one policy at one position, in 32 bytes (design, section 7).

Two installations compare in one line, and a belief can be proven against a
digest by the same code as an event against a checkpoint: it is an RFC 6962 root
over one leaf for each claim. Rows, clocks and generations do not enter.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection

from service.audit.folding import (
    Believed,
    believed,
    believed_stored,
    last_position,
    live_generation,
    policy_in_force,
)
from service.audit.recounting import NOTHING, recounted_log
from service.domain import merkle
from service.domain.canonical import canonical_json
from service.domain.policies import Policy, Verdict


@dataclass(frozen=True, slots=True)
class Digest:
    """The root over all beliefs."""

    policy: str
    position: int
    claims: int  #: how many there are.
    root: bytes


def leaf(belief: Believed) -> bytes:
    """The canonical JSON of `[slug, state, reason, [[speaker, stance, position, ordinal], ...]]`, by speaker.

    The statements as they count: of the surviving speaker, with the stance on the surviving claim.
    """
    (only,) = leaves(belief, [belief.verdict])
    return only


def leaves(belief: Believed, verdicts: Iterable[Verdict | None]) -> Iterator[bytes]:
    """The leaf under each of several verdicts: what stands is the same for all of them, and is written once."""
    standing = [[each.speaker, each.stance, each.position, each.ordinal] for each in belief.standing]
    written = orjson.Fragment(canonical_json(standing))
    for verdict in verdicts:
        yield canonical_json([belief.claim, *(verdict or (None, None)), written])


def digest_of(beliefs: Iterable[Believed], *, policy: str, position: int) -> Digest:
    """The digest of beliefs, which come in byte order of their slugs."""
    tree = merkle.Tree()
    for each in beliefs:
        tree.append(merkle.leaf_hash(leaf(each)))
    return Digest(policy, position, tree.size, tree.root())


def digest_stored(conn: Connection, policy: Policy | None = None, *, position: int | None = None) -> Digest:
    """The digest from the read tables, at a position that is projected, or else the last that is.

    Without a policy it is that of the one in force there. Raises NothingProjected, NotYetProjected.
    """
    generation = live_generation(conn)
    at = generation.position if position is None else position
    under = policy or policy_in_force(conn, at)
    return digest_of(believed_stored(conn, generation, under, at), policy=under.id, position=at)


def digest_of_log(conn: Connection, policy: Policy | None = None, *, position: int | None = None) -> Digest:
    """The same from the log alone: it is folded from its beginning up to a position, or else to its head.

    Raises BadArgument, EventUnfoldable, NoRoomToCount.
    """
    at = last_position(conn, position)
    under = policy or policy_in_force(conn, at)
    with recounted_log(conn, [NOTHING], to=at) as made:
        told = believed(made.standing(NOTHING), made.rulings(NOTHING), under)
        return digest_of(told, policy=under.id, position=at)
