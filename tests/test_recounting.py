"""What is counted of a log is held in bounded memory, and the rest on disk, where nothing of it stays."""

import random
import resource
import tempfile
import tracemalloc
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit.folding import FIRST
from service.audit.recounting import NOTHING, BoundedRecount, Recounted, recounted
from service.domain.article import Stance
from service.domain.belief import Fold, Told
from service.domain.errors import EventUnfoldable, NoRoomToCount
from service.domain.merges import Merges
from service.log import Stored
from tests import curated as building
from tests.builders import article, asserts, retraction
from tests.test_audit_replay import entries


@contextmanager
def _recounted(known: Sequence[Stored], held_max: int) -> Generator[Recounted]:
    later = [each for each in known if each.type != FIRST]
    with recounted(iter(later), iter(known), [NOTHING], held_max=held_max) as made:
        yield made


def _told(number: int) -> Told:
    """What somebody says whom nobody has heard before, on one claim of many."""
    said = datetime(2022, 2, 15, tzinfo=UTC) + timedelta(microseconds=number)
    return f"claim-{number * 7919 % 10_000}", f"speaker-{number}", Stance.ASSERTS, None, said, said, number, number, 0


@contextmanager
def _counted(told: Iterable[Told], held_max: int) -> Generator[BoundedRecount]:
    with closing(BoundedRecount(Merges(), held_max=held_max)) as recount:
        for each in told:
            recount.take([each], live=True)
        yield recount


# --- the same as in memory ------------------------------------------------------------------------


@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_what_is_put_by_counts_as_what_is_held(random: random.Random, held_max: int):
    happened = building.some_log(random.choice, 14)
    fold = Fold(())
    for position, event in enumerate(happened, 1):
        fold.apply(event, position)
    with _recounted(entries(happened), held_max) as made:
        for _ in range(2):
            found = [(claim, {told[1]: told for told in stands}) for claim, stands in made.standing(NOTHING)]
            assert found == [(claim, fold.claims[claim].by_speaker) for claim in sorted(fold.claims)]


def test_a_claim_on_which_nothing_is_live_is_put_by_too():
    with _recounted(entries((article("1", nato=asserts("a")), retraction("1"))), held_max=0) as made:
        assert [(claim, list(stands)) for claim, stands in made.standing(NOTHING)] == [("a", [])]


def test_what_is_put_by_comes_back_to_the_last_digit():
    moments = [
        datetime(1000, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    told: list[Told] = [
        (f"claim-{number}", "nato", stance, bloc, at, at, 2**53 + 1, 2**62, 999)
        for number, (at, stance, bloc) in enumerate(zip(moments, Stance, (None, "west", "east"), strict=True))
    ]
    with _counted(told, held_max=0) as recount:
        found = [each for _, stands in recount.standing() for each in stands]
    assert found == told
    assert [type(value) for each in found for value in each] == [type(value) for each in told for value in each]


# --- its memory and its file ----------------------------------------------------------------------


def _peak(count: int, held_max: int) -> int:
    """The most bytes that it takes to count so many statements and to read what stands."""
    tracemalloc.start()
    try:
        with _counted(map(_told, range(count)), held_max) as recount:
            assert sum(len(stands) for _, stands in recount.standing()) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_what_is_counted():
    """But for a block of each part, when parts are read side by side; all of it would take ten times as much."""
    assert _peak(30_000, held_max=3_000) < 3 * _peak(3_000, held_max=3_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_what_is_put_by_has_no_name_and_is_gone_in_the_end(folder: Path):
    before, known = _open_files(), entries(article(f"{number}", nato=asserts("a")) for number in range(4))
    with _recounted(known, held_max=0):
        assert _open_files() == before + 1
        assert list(folder.iterdir()) == []
    assert _open_files() == before
    with pytest.raises(EventUnfoldable), _recounted([*known, known[0]._replace(payload=b"{}")], held_max=0):
        pass
    with pytest.raises(RuntimeError), _recounted(known, held_max=0):
        raise RuntimeError
    assert _open_files() == before


def test_what_can_be_held_touches_no_disk(folder: Path):
    folder.rmdir()
    with _counted(map(_told, range(50)), held_max=100) as recount:
        assert len(list(recount.standing())) == 50
    with pytest.raises(NoRoomToCount, match="TMPDIR"), _counted(map(_told, range(51)), held_max=100):
        pass


def test_a_disk_that_is_full_is_told():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with (
            pytest.raises(NoRoomToCount, match="File too large; make room") as caught,
            _counted(map(_told, range(1_000)), held_max=100),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "NO_ROOM_TO_COUNT"
