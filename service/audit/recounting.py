"""Counting the whole log once, in memory that does not grow with it.

What a recount holds beyond a bound is put by on disk, sorted by claim, and forgotten. In the end all
that was put by is read side by side, claim by claim: an external merge sort. A log that stays within
the bound never touches the disk.
"""

import os
import tempfile
from array import array
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import islice, pairwise
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from service import log
from service.audit.folding import FIRST, outline_of, said_in, uncollected
from service.domain.belief import Ruling, Told
from service.domain.errors import BadArgument, NoRoomToCount, SpeakerUnknown
from service.domain.merges import Merges
from service.domain.recount import Outline, Recount, Stands, merged
from service.log import Stored

#: How many claims and standing statements one recount holds, of about 200 bytes each.
HELD_MAX: Final = 200_000
#: How many claims are written and read at once.
_BLOCK: Final = 20

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[tuple[str, list[Told]]]).decode


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What does not count in a replay.

    A speaker by any id that counts for the same one at that position; an outlet by
    all that its articles say, whoever says it.
    """

    speakers: frozenset[str] = frozenset()
    outlets: frozenset[str] = frozenset()
    rulings: bool = False

    def __bool__(self) -> bool:
        return bool(self.speakers or self.outlets or self.rulings)


NOTHING: Final = LeftOut()


class BoundedRecount:
    """A `Recount` of whatever size that holds at most about `held_max` claims and standing statements.

    The others are in a temporary file, which has no name: so it is gone with the process, however
    that ends. To be closed.
    """

    def __init__(self, merges: Merges, silent: Collection[str] = (), *, held_max: int = HELD_MAX) -> None:
        self._recount = Recount(merges, silent)
        self._held_max = held_max
        self._opened = ExitStack()
        self._file: FileIO | None = None  #: None: all of it is held.
        #: Of each part that was put by where its blocks begin in the file, and where the last one ends.
        self._parts: list[array[int]] = []

    def take(self, said: Iterable[Told], *, live: bool) -> None:
        """Take in what one article says, in whatever order articles come. Raises NoRoomToCount."""
        self._recount.take(said, live=live)
        if self._recount.held > self._held_max:
            try:
                self._put_by()
            except OSError as error:
                raise NoRoomToCount(error.strerror or str(error)) from None

    def standing(self) -> Iterator[Stands]:
        """Every claim that is there, in byte order of slug, with what stands on it; may be asked for again."""
        if not self._parts:
            return self._recount.standing()
        return merged([*map(self._read, self._parts), self._recount.standing()])

    def close(self) -> None:
        """Nothing can be asked of it any more."""
        self._opened.close()

    def _put_by(self) -> None:
        if self._file is None:
            self._file = self._opened.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - it is closed by `close`
        standing = self._recount.standing()
        part = array("Q", [self._file.tell()])
        while block := [(claim, list(stands)) for claim, stands in islice(standing, _BLOCK)]:
            left = memoryview(_encode(block))
            while left:
                left = left[self._file.write(left) :]
            part.append(self._file.tell())
        self._parts.append(part)
        self._recount.forget()

    def _read(self, part: "array[int]") -> Iterator[Stands]:
        assert self._file is not None
        for begin, end in pairwise(part):
            yield from _decode(os.pread(self._file.fileno(), end - begin, begin))


class Recounted(NamedTuple):
    """What one reading of a log comes to, with one thing or another left out."""

    outline: Outline
    by_left_out: Mapping[LeftOut, BoundedRecount]

    def standing(self, left_out: LeftOut) -> Iterator[Stands]:
        """Every claim that is there, in byte order of slug, with what stands on it."""
        return self.by_left_out[left_out].standing()

    def rulings(self, left_out: LeftOut) -> Mapping[str, Ruling]:
        """The rulings that count."""
        return {} if left_out.rulings else self.outline.rulings


@contextmanager
def recounted(
    later: Iterable[Stored], entries: Iterable[Stored], wanted: Iterable[LeftOut], *, held_max: int = HELD_MAX
) -> Generator[Recounted]:
    """All of `entries` counted, with each of `wanted` left out, for as long as the block lasts.

    `later` are those of them that are no first revisions. Each of both is read once, and to its end.
    Raises EventUnfoldable, NoRoomToCount, and SpeakerUnknown or BadArgument where something is to be
    left out that the log does not name.
    """
    with ExitStack() as stack:
        stack.enter_context(uncollected())
        outline = outline_of(later)
        merges = outline.merges
        recounts = {
            left_out: BoundedRecount(merges, {merges.speaker(id) for id in left_out.speakers}, held_max=held_max)
            for left_out in wanted
        }
        for recount in recounts.values():
            stack.callback(recount.close)
        speakers = {id for left_out in recounts for id in left_out.speakers}
        outlets = {id for left_out in recounts for id in left_out.outlets}
        for said in said_in(entries, outline):
            for left_out, recount in recounts.items():
                if said.outlet not in left_out.outlets:
                    recount.take(said.statements, live=said.live)
            # What is left of them was never named.
            if outlets:
                outlets.discard(said.outlet)
            if speakers:
                speakers.difference_update([told[1] for told in said.statements])
        for id in sorted(speakers):
            raise SpeakerUnknown(id)
        for id in sorted(outlets):
            raise BadArgument(f"no article on record is by the outlet {id}; check the id")
        yield Recounted(outline, recounts)


@contextmanager
def recounted_log(conn: Connection, wanted: Iterable[LeftOut], *, to: int) -> Generator[Recounted]:
    """The same of the log of a database, up to position `to`. In the block other things can be asked of it."""
    with (
        closing(log.stream(conn, to=to, without=FIRST)) as later,
        closing(log.stream(conn, to=to)) as entries,
        recounted(later, entries, wanted) as made,
    ):
        yield made
