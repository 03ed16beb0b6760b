"""Filling all at once: the same rows as batch by batch, in however many parts and processes, with little in memory."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service import projector, tables
from service.audit.rebuild import rebuild
from service.database import engine as engines
from service.domain.events import Event
from service.domain.policies import NAMES, State
from service.projector import Generation, Projector, filling
from service.projector.rows import Spans
from tests import curated as building
from tests import test_projector
from tests.builders import article, asserts, denies, retraction
from tests.conftest import Database
from tests.curated import merged, related, ruled, undone
from tests.past_append import put
from tests.test_cli_processes import eventually
from tests.test_projector import catch_up, dump, prepared, rows
from tests.test_rebuild import live, record, schemas

BATCH = 7


@pytest.fixture
def generation(engine: Engine) -> Generation:
    return prepared(engine)


#: In how many parts and where: bytes of a part, and up to how long a log one process does.
WAYS = {
    "in one part": (2**30, 1000),
    "in two parts or so": (8_000, 1000),
    "in many parts": (500, 1000),
    "in processes": (2**30, 0),
    "in many parts in processes": (1_500, 0),
}


def filled(engine: Engine, to: int, *, told: Callable[[int, int], object] = lambda done, of: None) -> Generation | None:
    """A new generation beside the live one, filled up to a position; None where that could not be done."""
    with engine.begin() as conn:
        _, new = projector.begin_rebuild(conn)
    return new if projector.fill(engine, new, to=to, batch=BATCH, told=told) else None


def expect_the_same(engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """That all read tables, filled at once, are row by row those that were projected, with the same indexes."""
    part_bytes, alone_max = WAYS[way]
    monkeypatch.setattr(filling, "_PART_BYTES", part_bytes)
    monkeypatch.setattr(filling, "_ALONE_MAX", alone_max)
    if alone_max:
        # Other processes do not know of it.
        monkeypatch.setattr(tables, "SUMMED_ABOVE", 2)
    catch_up(engine, cycle([Projector(generation)]), 3)
    expected = dump(engine, generation)
    ((to, *_),) = expected["cursor"]
    heard: list[tuple[int, int]] = []
    new = filled(engine, to, told=lambda done, of: heard.append((done, of)))
    assert new is not None
    found = dump(engine, new)
    for table in expected:
        assert found[table] == expected[table], table
    assert indexes(engine, new) == indexes(engine, generation)
    assert heard == sorted(heard)
    assert heard[-1] == (to - 1, to)


def indexes(engine: Engine, generation: Generation) -> list[tuple[Any, ...]]:
    """Every index and constraint, as it would be made."""
    of = f"'{generation.schema_name}'::regnamespace"
    found = rows(
        engine,
        generation,
        f"SELECT relname, pg_get_indexdef(oid) FROM pg_class WHERE relnamespace = {of} AND relkind = 'i' UNION ALL "
        f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = {of} ORDER BY 1, 2",
    )
    return [(name, made_by.replace(generation.schema_name, "")) for name, made_by in found]


@pytest.mark.parametrize("seed", range(600, 604))
@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_what_projecting_writes(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, way: str, seed: int
) -> None:
    record(engine, *building.some_log(random.Random(seed).choice, 60, named=seed % 2 == 0))
    expect_the_same(engine, generation, monkeypatch, way)


@pytest.mark.parametrize("seed", range(610, 612))
@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_what_projecting_writes_of_articles_that_come_and_go(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, way: str, seed: int
) -> None:
    record(engine, *test_projector.some_log(seed, 60))
    expect_the_same(engine, generation, monkeypatch, way)


@pytest.mark.parametrize("way", WAYS)
def test_what_stands_on_a_claim_that_many_stand_on_is_summed(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    many = {f"speaker-{n}": (asserts, denies)[n % 2]("gas-cut", bloc=(None, "eu", "un")[n % 3]) for n in range(110)}
    record(engine, article("many", **many), *(article(f"{n}", nato=denies("war-soon")) for n in range(9)))
    expect_the_same(engine, generation, monkeypatch, way)
    ((claim, asserting, denying),) = rows(engine, generation, "SELECT claim, asserting, denying FROM standing_sums")
    assert (claim, asserting, denying) == ("gas-cut", 55, 55)


def test_claims_that_were_merged_are_folded_together_wherever_they_are(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through claims between them too, and of merges that were undone."""
    slugs = [f"claim-{n}" for n in range(12)]
    record(engine, *(article(f"{n}", nato=asserts(slug), un=denies(slug)) for n, slug in enumerate(slugs)))
    # 0-1, 2-3, then 1-3 ties them; 4-5 is undone, and 6 stands alone.
    record(engine, merged(slugs[0], slugs[1]), merged(slugs[2], slugs[3], opposite=True), merged(slugs[1], slugs[3]))
    record(engine, merged(slugs[4], slugs[5]), undone(16), related(slugs[6], slugs[0]), ruled(slugs[3], State.DENIED))
    record(engine, retraction("0"), article("2", revision=2, uk=asserts(slugs[2]), nato=denies(slugs[7])))
    expect_the_same(engine, generation, monkeypatch, "in many parts")


@pytest.mark.parametrize("seed", range(5))
def test_claims_that_merges_connect_in_any_order_are_one_family(seed: int) -> None:
    dice = random.Random(seed)
    pairs = [(f"{dice.randrange(30)}", f"{dice.randrange(30)}") for _ in range(20)]
    connected = {each: {each} for pair in pairs for each in pair}
    for _ in pairs:
        for one, other in pairs:
            connected[one] = connected[other] = connected[one] | connected[other]
    families = filling._families(pairs)
    for one, of in connected.items():
        for other in connected:
            assert (families[one] == families[other]) == (other in of)


# --- memory -----------------------------------------------------------------------


def test_what_is_held_in_memory_does_not_grow_with_the_log(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds at one moment is held: of each article nothing, unless more is told of it."""
    record(engine, *(article(f"{n}", nato=asserts("a"), un=denies("b")) for n in range(60)))
    record(engine, retraction("7"), article("8", revision=2, uk=asserts("c")))
    held: list[tuple[int, int, int]] = []
    write = filling._Part.write

    def counted(self: filling._Part, *arguments: Any, **options: Any) -> None:
        write(self, *arguments, **options)
        spans = [each for each in vars(self._batch).values() if isinstance(each, Spans)]
        rows = sum(len(each.opened()) + len(each.closed) for each in spans)
        held.append((rows, len(self._fold.articles), len(self._again)))

    monkeypatch.setattr(filling._Part, "write", counted)
    assert filled(engine, 62) is not None
    # Of two articles three statements and a half are open; of two claims what stands, tallies and verdicts.
    assert max(rows for rows, _, _ in held) <= 2 + 4 + 2 + 2 + 2 * len(NAMES) + 1 + 1 + len(NAMES)
    assert max(articles for _, articles, _ in held) == 2


def test_the_longer_the_log_the_more_parts(engine: Engine, generation: Generation) -> None:
    record(engine, *(article(f"{n}", nato=asserts("a")) for n in range(40)))
    with engine.connect() as conn:
        sizes = [filling._plan(conn, generation, to, 1).parts for to in (0, 10, 40)]
    assert sizes == [1, 1, 1]
    with pytest.MonkeyPatch.context() as small, engine.connect() as conn:
        small.setattr(filling, "_PART_BYTES", 1_000)
        sizes = [filling._plan(conn, generation, to, 1).parts for to in (0, 10, 20, 40)]
    assert sizes[0] == 1 < sizes[1] < sizes[2] < sizes[3]


# --- what cannot be, and being killed ---------------------------------------------


@pytest.mark.parametrize("happened", test_projector.IMPOSSIBLE.values(), ids=test_projector.IMPOSSIBLE.keys())
@pytest.mark.parametrize("way", ["in one part", "in many parts"])
def test_what_cannot_be_followed_is_not_filled(
    engine: Engine,
    owner_engine: Engine,
    generation: Generation,
    monkeypatch: pytest.MonkeyPatch,
    happened: list[Event],
    way: str,
) -> None:
    monkeypatch.setattr(filling, "_PART_BYTES", WAYS[way][0])
    for event in happened:
        put(owner_engine, event)
    assert filled(engine, len(happened)) is None


@pytest.mark.parametrize("payload", [b"", b"{}", b"null", b'{"article":{"claims":[],"url":"https://example.org/x"}}'])
@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_read_is_not_filled(
    engine: Engine,
    owner_engine: Engine,
    generation: Generation,
    monkeypatch: pytest.MonkeyPatch,
    payload: bytes,
    way: str,
) -> None:
    monkeypatch.setattr(filling, "_PART_BYTES", WAYS[way][0])
    monkeypatch.setattr(filling, "_ALONE_MAX", WAYS[way][1])
    record(engine, article("1", nato=asserts("a")))
    put(owner_engine, payload)
    assert filled(engine, 2) is None


def test_interrupted_in_processes_it_takes_away_what_it_began(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(engine, *building.some_log(random.Random(620).choice, 40))
    catch_up(engine, cycle([Projector(generation)]))
    monkeypatch.setattr(filling, "_ALONE_MAX", 0)

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(engine, told=interrupt)
    assert multiprocessing.active_children() == []
    assert live(engine).generation == generation.generation
    assert schemas(engine) == [generation.schema_name]
    assert rebuild(engine).same


_processes = multiprocessing.get_context("forkserver")


def fill_telling_of_it(url: str, pipe: Any) -> None:
    """Fill in processes of which the test hears, in tables that it may lock before they begin."""
    share = filling._share

    def told(*arguments: Any) -> None:
        _, plan, processes, *_ = arguments
        pipe.send(plan.schema_name)
        pipe.recv()

        def tell() -> None:
            while len(begun := multiprocessing.active_children()) < processes:
                time.sleep(0.01)
            pipe.send([each.pid for each in begun])

        threading.Thread(target=tell, daemon=True).start()
        share(*arguments)

    filling._ALONE_MAX = 0  # type: ignore[misc]
    filling._share = told
    engine = engines.create(url)
    filled(engine, 40)


def test_processes_end_with_the_one_that_began_them(database: Database, engine: Engine, generation: Generation) -> None:
    """They wait for a lock that the test holds, so they do not come to an end by themselves."""
    record(engine, *(article(f"{n}", nato=asserts(f"claim-{n}")) for n in range(40)))
    here, there = _processes.Pipe()
    url = database.service_url.render_as_string(hide_password=False)
    process = _processes.Process(target=fill_telling_of_it, args=(url, there))
    process.start()
    schema_name = here.recv()
    with engine.begin() as conn:
        conn.exec_driver_sql(f"LOCK TABLE {schema_name}.article")
        here.send(None)
        begun = here.recv()
        assert begun
        eventually(lambda: waiting(engine) == len(begun))
        assert not any(ended(each) for each in begun)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: all(ended(each) for each in begun))
    process.join()


def waiting(engine: Engine) -> int:
    """How many sessions wait for a lock on a table of this database."""
    with engine.connect() as conn:
        return conn.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
        ).scalar_one()


def ended(pid: int) -> bool:
    """Whether a process is gone, or only its parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
