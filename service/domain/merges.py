"""Merges: which claims are one, and which speakers.

The log keeps the ids it was sent; a merge is an edge from one id to another that
is applied when folding. So nothing stored is rewritten, a later article may still
use the merged id, and undoing a merge puts everything back where its own id says.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from service.domain.article import Stance


class Kind(StrEnum):
    """What a merge is of."""

    CLAIM = "claim"
    SPEAKER = "speaker"


class Merge(NamedTuple):
    """An edge from the id that is merged away to the one that survives."""

    position: int  #: of the event that made it; what undoes it names this.
    kind: Kind
    merged: str
    into: str
    opposite: bool  #: the merged claim is what the survivor negates.


class Survivor(NamedTuple):
    """Whom an id counts for."""

    id: str
    opposite: bool


class Merges:
    """The merges in force at one point of the log."""

    __slots__ = ("_into", "_members")

    def __init__(self, merges: Iterable[Merge] = ()) -> None:
        self._into: dict[tuple[Kind, str], Merge] = {}
        self._members: dict[tuple[Kind, str], list[str]] = {}
        for merge in merges:
            self.add(merge)

    def __bool__(self) -> bool:
        return bool(self._into)

    def __iter__(self) -> Iterator[Merge]:
        return iter(self._into.values())

    def add(self, merge: Merge) -> None:
        """Let a merge come into force."""
        self._into[merge.kind, merge.merged] = merge
        self._members.setdefault((merge.kind, merge.into), []).append(merge.merged)

    def check(self, merge: Merge) -> None:
        """Raises ValueError where a merge cannot come into force: into itself, or of what is merged away."""
        if merge.merged == merge.into:
            # It would never be found out whom it counts for.
            raise ValueError(f"{merge.merged} is merged into itself")
        for id in (merge.merged, merge.into):
            if self.of(merge.kind, id) is not None:
                raise ValueError(f"{id} is merged away already")

    def remove(self, merge: Merge) -> None:
        """Let a merge be undone."""
        del self._into[merge.kind, merge.merged]
        self._members[merge.kind, merge.into].remove(merge.merged)

    def at(self, position: int) -> Merge | None:
        """The merge in force that was made at this position."""
        return next((merge for merge in self._into.values() if merge.position == position), None)

    def in_force(self, position: int) -> Merge:
        """The merge that was made at this position. Raises ValueError where none is in force."""
        merge = self.at(position)
        if merge is None:
            raise ValueError(f"no merge of position {position} is in force")
        return merge

    def of(self, kind: Kind, id: str) -> Merge | None:
        """The merge that merges an id away, if one does."""
        return self._into.get((kind, id))

    def survivor(self, kind: Kind, id: str) -> Survivor:
        """Whom an id counts for: itself, unless it is merged away."""
        opposite = False
        while (merge := self._into.get((kind, id))) is not None:
            id, opposite = merge.into, opposite != merge.opposite
        return Survivor(id, opposite)

    def members(self, kind: Kind, id: str) -> list[str]:
        """The ids that count for this one, itself first."""
        found = [id]
        for member in found:
            found += self._members.get((kind, member), ())
        return found

    def claim(self, slug: str) -> Survivor:
        """Which claim a slug counts for, and whether as its opposite."""
        return self.survivor(Kind.CLAIM, slug)

    def speaker(self, id: str) -> str:
        """Which speaker an id counts for."""
        return self.survivor(Kind.SPEAKER, id).id


def opposite_of(stance: Stance) -> Stance:
    """What a stance on a claim is on the claim that it negates.

    >>> opposite_of(Stance.ASSERTS)
    <Stance.DENIES: 'denies'>
    """
    match stance:
        case Stance.ASSERTS:
            return Stance.DENIES
        case Stance.DENIES:
            return Stance.ASSERTS
        case Stance.WITHHOLDS:
            return Stance.WITHHOLDS
