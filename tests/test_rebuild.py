"""Rebuilding: the same read tables anew, while everybody goes on reading and recording, wherever it is killed."""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable
from itertools import cycle
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from service import log, projector
from service.audit import rebuild as rebuilding
from service.audit.rebuild import rebuild
from service.cli import projecting
from service.database import engine as engines
from service.domain import events
from service.domain.article import Article
from service.domain.errors import EventUnfoldable, NothingProjected, RebuildRunning
from service.domain.events import ArticleRecorded, Event
from service.domain.policies import NAMES, policy
from service.log import NewEvent
from service.projector import Generation, Projector
from service.queries import beliefs
from service.queries.snapshot import view
from tests import curated as building
from tests.builders import article, asserts, denies
from tests.conftest import Database
from tests.curated import merged
from tests.past_append import put
from tests.test_cli import Run, run, run_anywhere
from tests.test_cli_processes import WAIT_S_MAX, Start, ask, eventually, start, start_anywhere
from tests.test_projector import advance, catch_up, dump, prepared, rows

__all__ = ["run", "run_anywhere", "start", "start_anywhere"]

UNANIMOUS = policy("unanimous")


@pytest.fixture
def generation(engine: Engine) -> Generation:
    return prepared(engine)


def some_log(seed: int, steps: int) -> list[Event]:
    return building.some_log(random.Random(seed).choice, steps)


def record(engine: Engine, *happened: Article | Event) -> None:
    new = [
        NewEvent.of_article(each, actor="cli:test") if isinstance(each, Article) else NewEvent.of(each, actor="cli:t")
        for each in happened
    ]
    with engine.begin() as conn:
        log.append_all(conn, new)


def live(engine: Engine) -> Generation:
    with engine.begin() as conn:
        (found,) = (each for each in projector.generations(conn) if each.live)
    return found


def schemas(engine: Engine) -> list[str]:
    """The schemas of read tables that are there, whether or not a generation's row names them."""
    with engine.begin() as conn:
        found = conn.exec_driver_sql(r"SELECT nspname FROM pg_namespace WHERE nspname ~ '^onrecord_\d+$'")
        return sorted(found.scalars())


def contents(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the read tables that are live, and their cursor."""
    return dump(engine, live(engine))


# --- the same tables --------------------------------------------------------------


@pytest.mark.parametrize("seed", range(500, 506))
def test_the_read_tables_are_row_by_row_what_they_were(engine: Engine, generation: Generation, seed: int) -> None:
    record(engine, *some_log(seed, 50))
    catch_up(engine, cycle([Projector(generation)]), 1 + seed % 5)
    before = dump(engine, generation)
    made = rebuild(engine)
    assert (made.same, made.removed) == (True, True)
    assert sorted(made.after) == sorted(policy(each).id for each in NAMES)
    assert live(engine).generation == made.generation.generation > generation.generation
    assert contents(engine) == before
    assert schemas(engine) == [made.generation.schema_name]


def test_what_was_not_projected_yet_is_in_the_new_ones(engine: Engine, generation: Generation) -> None:
    record(engine, *some_log(510, 30))
    reached = advance(engine, Projector(generation), 7).position
    made = rebuild(engine)
    assert made.same
    assert made.position == reached < 30
    assert live(engine).position == len(log_of(engine))


def log_of(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(log.stream(conn))


def test_an_empty_log_can_be_rebuilt(engine: Engine, generation: Generation) -> None:
    assert rebuild(engine).same
    assert live(engine).position == 0


def test_nothing_takes_the_place_of_nothing(engine: Engine) -> None:
    with pytest.raises(NothingProjected):
        rebuild(engine)
    assert schemas(engine) == []


# --- damage -----------------------------------------------------------------------

DAMAGE = {
    "another state": "UPDATE transition SET to_state = 'denied' WHERE claim = 'a' AND policy = 'unanimous@1'",
    "a verdict is gone": "DELETE FROM transition WHERE claim = 'a' AND policy = 'unanimous@1'",
    "another stance": "UPDATE standing SET stance = 'denies' WHERE claim = 'a'",
    "a claim is gone": "DELETE FROM tally WHERE claim = 'a'",
    "a claim that nobody speaks of": "INSERT INTO tally SELECT 'zz', 1, 1, 0, 0, until_position FROM tally LIMIT 1",
    "no stance at all": "UPDATE standing SET stance = 'maybe' WHERE claim = 'a'",
    "a table is gone": "DROP TABLE standing",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_mended_and_reported(run: Run, engine: Engine, generation: Generation, damage: str) -> None:
    record(engine, article("1", nato=asserts("a")), article("2", uk=denies("b")))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    rows_changed(engine, generation, damage)
    ran = run("rebuild")
    assert ran.status == 0
    assert "did not say what the log says, under " in ran.err
    assert "unanimous@1" in ran.err
    assert "after, and differs" in ran.out
    assert contents(engine) == expected
    again = run("rebuild")
    assert "say the same as the old ones" in again.err
    assert "differs" not in again.out


def rows_changed(engine: Engine, generation: Generation, sql: str) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(f"SET LOCAL search_path TO {generation.schema_name}")
        conn.exec_driver_sql(sql)


def test_a_log_that_cannot_be_followed_as_far_leaves_the_old_ones_in_place(
    engine: Engine, owner_engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers would see less than before; it is the log that is damaged, not the read tables."""
    record(engine, article("1", nato=asserts("a")))
    newer = events.encode(ArticleRecorded(article=article("newer", nato=asserts("b"))))
    put(owner_engine, newer, type_name="ArticleAnnounced")
    record(engine, article("3", nato=asserts("c")))
    with monkeypatch.context() as known:
        known.setitem(events.TYPES, "ArticleAnnounced", (ArticleRecorded, 1))  # type: ignore[arg-type]
        catch_up(engine, cycle([Projector(generation)]))
    before = contents(engine)
    with pytest.raises(EventUnfoldable) as refused:
        rebuild(engine)
    assert refused.value.position == 2
    assert contents(engine) == before
    assert schemas(engine) == [generation.schema_name]


def test_where_the_projector_stopped_the_rebuild_stops_too_and_takes_its_place(
    engine: Engine, owner_engine: Engine, generation: Generation
) -> None:
    record(engine, article("1", nato=asserts("a")))
    put(owner_engine, b"{}")
    catch_up_to_stop(engine, generation)
    before = contents(engine)
    assert rebuild(engine).same
    assert contents(engine) == before


def catch_up_to_stop(engine: Engine, generation: Generation) -> None:
    assert advance(engine, Projector(generation)).stopped_at is not None


# --- meanwhile --------------------------------------------------------------------


def look(engine: Engine) -> tuple[int, int, dict[str, Any]]:
    """What a reader is answered: from which generation, as of where, and every belief."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as conn:
        return looked(conn)


def looked(conn: Connection) -> tuple[int, int, dict[str, Any]]:
    reading = view(conn)
    assert reading is not None
    believed = {slug: each.verdict for slug, each in beliefs.beliefs(reading, building.CLAIMS, UNANIMOUS).items()}
    return reading.snapshot.generation, reading.position, believed


def test_what_is_recorded_meanwhile_is_in_the_result(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded and projected into the old ones, between any two batches and just before the swap."""
    happened = some_log(520, 60)
    monkeypatch.setattr(rebuilding, "_BATCH", 5)
    record(engine, *happened[:20])
    old = Projector(generation)
    catch_up(engine, cycle([old]))
    left = happened[20:]
    reached = 0

    def meanwhile(done: int, of: int) -> None:
        nonlocal reached
        # The last time there is nothing more to project, as far as the rebuild knows.
        if len(left) > 5 or done >= of:
            record(engine, left.pop(0))
            reached = advance(engine, old, 1).position

    made = rebuild(engine, told=meanwhile)
    assert live(engine).position >= reached > 20
    record(engine, *left)
    catch_up(engine, cycle([Projector(live(engine))]))
    found = contents(engine)
    assert made.same
    rebuild(engine)
    assert contents(engine) == found
    assert len(log_of(engine)) == len(happened)


def test_readers_are_answered_throughout_and_never_see_less(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = some_log(530, 60)
    record(engine, *happened[:40])
    catch_up(engine, cycle([Projector(generation)]))
    monkeypatch.setattr(rebuilding, "_BATCH", 3)
    before = look(engine)
    seen: list[tuple[int, int, dict[str, Any]]] = []
    stop = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.append(look(engine))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the test's to show
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for each in readers:
        each.start()
    made = [rebuild(engine) for _ in range(3)]
    stop.set()
    for each in readers:
        each.join()
    assert failures == []
    assert {(position, str(believed)) for _, position, believed in seen} == {(before[1], str(before[2]))}
    assert len({generation for generation, _, _ in seen}) > 1
    assert all(each.same for each in made)


@pytest.mark.parametrize("begun", [view, looked], ids=["has only begun", "is in the middle"])
def test_who_began_to_read_the_old_ones_may_finish(
    engine: Engine, generation: Generation, begun: Callable[[Connection], object]
) -> None:
    record(engine, *some_log(540, 20))
    catch_up(engine, cycle([Projector(generation)]))
    before = look(engine)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        begun(conn)
        made = rebuild(engine, readers_s_max=0.3)
        assert not made.removed
        assert looked(conn) == before
        assert before[0] == generation.generation
    assert generation.schema_name in schemas(engine)
    again = rebuild(engine)
    assert again.removed
    assert schemas(engine) == [again.generation.schema_name]


def test_a_projector_goes_on_in_the_new_ones_while_the_old_ones_are_still_read(
    engine: Engine, generation: Generation
) -> None:
    happened = some_log(545, 40)
    record(engine, *happened[:20])
    running = projecting.Projecting(engine, generation)
    assert list(running.catch_up())
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        looked(conn)
        assert not rebuild(engine, readers_s_max=0.1).removed
        record(engine, *happened[20:])
        assert list(running.catch_up())
        assert running.position == live(engine).position == len(happened)
        assert live(engine).generation > generation.generation


@pytest.mark.parametrize("limit", [1, 500])
def test_a_projector_goes_on_in_the_new_ones_though_the_old_ones_went_before_its_batch(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    happened = some_log(546, 40)
    record(engine, *happened[:20])
    running = projecting.Projecting(engine, generation)
    assert list(running.catch_up())
    record(engine, *happened[20:])
    running._limit = limit
    begin = Engine.begin
    rebuilt: list[bool] = []

    def late(self: Engine) -> Any:
        # Between its look at which are live and its batch.
        if not rebuilt:
            rebuilt.append(False)
            rebuilt[0] = rebuild(self).removed
        return begin(self)

    monkeypatch.setattr(Engine, "begin", late)
    for _ in running.catch_up():
        pass
    assert rebuilt == [True]
    assert running.position == live(engine).position == len(happened)


def test_a_second_rebuild_at_once_is_refused(run: Run, engine: Engine, generation: Generation) -> None:
    record(engine, *some_log(550, 20))
    catch_up(engine, cycle([Projector(generation)]))
    refused: list[str] = []

    def meanwhile(done: int, of: int) -> None:
        if not refused:
            with pytest.raises(RebuildRunning):
                rebuild(engine)
            ran = run("rebuild")
            assert ran.status == 1
            refused.append(ran.err)

    assert rebuild(engine, told=meanwhile).same
    assert "another rebuild is running" in refused[0]
    assert rebuild(engine).same


def test_interrupted_it_takes_away_what_it_began(engine: Engine, generation: Generation) -> None:
    record(engine, *some_log(560, 20))
    catch_up(engine, cycle([Projector(generation)]))
    before = contents(engine)

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(engine, told=interrupt)
    assert live(engine).generation == generation.generation
    assert schemas(engine) == [generation.schema_name]
    assert contents(engine) == before
    assert rebuild(engine).same


# --- killed -----------------------------------------------------------------------

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["service.audit.rebuild", "service.database.engine"])


def rebuild_until_killed(url: str, statement: int) -> None:
    """Rebuild in small batches, and die by SIGKILL before the statement of that number."""
    execute = psycopg.Cursor.execute
    count = [0]

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    engine = engines.create(url)
    rebuilding._BATCH = 7  # type: ignore[misc]
    with engine.connect():
        psycopg.Cursor.execute = counted  # type: ignore[method-assign]
    rebuild(engine)


def test_killed_anywhere_it_starts_over_and_leaves_nothing_behind(
    database: Database, engine: Engine, generation: Generation
) -> None:
    dice = random.Random(570)
    record(engine, *some_log(570, 40))
    catch_up(engine, cycle([Projector(generation)]))
    expected = contents(engine)
    url = database.service_url.render_as_string(hide_password=False)
    ended: list[int | None] = []
    for statement in [1, 2, 3, *sorted(dice.sample(range(4, 260), 14))]:
        process = _processes.Process(target=rebuild_until_killed, args=(url, statement))
        process.start()
        process.join(WAIT_S_MAX)
        ended.append(process.exitcode)
        assert contents(engine) == expected
        left = schemas(engine)
        assert live(engine).schema_name in left
        # The live one, perhaps the one before it, and one that was being made.
        assert len(left) <= 3
    assert ended.count(-signal.SIGKILL) > 10
    eventually(lambda: nobody_rebuilds(engine))
    made = rebuild(engine)
    assert (made.same, made.removed) == (True, True)
    assert contents(engine) == expected
    assert schemas(engine) == [made.generation.schema_name]
    assert rows(engine, live(engine), "SELECT count(*) FROM onrecord.generation") == [(1,)]


def nobody_rebuilds(engine: Engine) -> bool:
    """Whether the server has noticed that the killed one is gone."""
    with engine.begin() as conn:
        return not conn.exec_driver_sql("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')").scalar_one()


# --- a service --------------------------------------------------------------------


def test_a_running_service_answers_throughout_and_goes_on_in_the_new_ones(start: Start, engine: Engine) -> None:
    service = start("serve", "--port", "0")
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    happened = some_log(580, 80)
    record(engine, *happened[:40])
    announced(engine)
    eventually(lambda: live(engine).position == 40)
    query = "{ log { projected } claims(first: 100, orderBy: SLUG) { nodes { slug belief { state reason } } } }"
    before = ask(address, query)
    answers: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            answers.append(ask(address, query))

    reader = threading.Thread(target=read)
    reader.start()
    old = live(engine)
    ran = start("rebuild")
    ran.line("unanimous@1  40  before and after")
    assert ran.ends() == 0
    stop.set()
    reader.join()
    assert answers
    assert all(each == before for each in answers)
    new = live(engine)
    assert new.generation > old.generation
    record(engine, *happened[40:])
    announced(engine)
    head = len(log_of(engine))
    eventually(lambda: live(engine).position == head)
    assert live(engine).generation == new.generation
    assert ask(address, "{ log { projected } }") == {"log": {"projected": head}}
    assert service.ends(signal.SIGINT) == 0
    assert schemas(engine) == [new.schema_name]


def announced(engine: Engine) -> None:
    with engine.begin() as conn:
        log.announce(conn)


def test_rebuild_tells_how_far_it_is_and_what_it_came_to(run: Run, engine: Engine) -> None:
    record(engine, article("1", nato=asserts("a")), article("2", uk=denies("b")), merged("a", "b"))
    run("project", "--once")
    ran = run("rebuild")
    assert ran.status == 0
    assert "3 entries in " in ran.err
    assert "say the same as the old ones" in ran.err
    lines = [line.split("  ") for line in ran.out.splitlines()]
    assert [line[3] for line in lines] == ["before and after"] * len(NAMES)
    for digest, under, position, _ in lines:
        assert run("digest", "--policy", under).out == f"{digest}  {under}  {position}\n"


def test_without_read_tables_it_says_how_to_make_some(run: Run) -> None:
    ran = run("rebuild")
    assert ran.status == 1
    assert "`onrecord project`" in ran.err


def test_a_running_service_follows_whatever_read_tables_of_its_shape_go_live(engine: Engine) -> None:
    """Else it would project into tables that nobody reads, and answer from others that stand still."""
    running = projecting.Projecting(engine, projecting.prepared(engine, ["unanimous"]))
    with engine.begin() as conn:
        log.append_all(conn, [NewEvent.of_article(article("a", nato=asserts("one")), actor="cli:test")])
    list(running.catch_up())
    other = projecting.Projecting(engine, projecting.prepared(engine, ["unanimous", "majority"]))
    list(other.catch_up())
    with engine.begin() as conn:
        log.append_all(conn, [NewEvent.of_article(article("b", nato=asserts("two")), actor="cli:test")])
    list(running.catch_up())
    with engine.connect() as conn:
        (live,) = (each for each in projector.generations(conn) if each.live)
    assert (live.policies, live.position) == (["majority@1", "unanimous@1"], 2)
