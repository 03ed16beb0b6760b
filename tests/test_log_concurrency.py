"""Many writers at once, in processes of their own: the log has no hole, for anybody, at any time."""

import itertools
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

import pytest
from sqlalchemy import Engine

from service import log
from service.database import engine as engines
from service.domain.article import Article
from service.domain.events import ArticleRecorded
from service.log import Appended, NewEvent, Refused
from tests.builders import article, asserts
from tests.conftest import Database

#: Nothing here takes long; this ends a test that would wait for ever.
WAIT_S_MAX = 60

# Each process is forked from one that holds no connection, lock or thread.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["service.log", "service.database.engine", "tests.builders"])


@dataclass
class Process:
    """One process, and what it says."""

    process: Any
    pipe: Pipe

    def says(self) -> Any:
        """The next thing it says."""
        if not self.pipe.poll(WAIT_S_MAX):
            raise TimeoutError("the process says nothing")
        return self.pipe.recv()

    def tell(self, what: Any = "go on") -> None:
        self.pipe.send(what)

    def kill(self) -> None:
        """As `kill -9` does; returns when it is gone."""
        self.process.kill()
        self.process.join(WAIT_S_MAX)

    def said(self) -> list[Any]:
        """All that it said before it died."""
        found = []
        try:
            while self.pipe.poll(0):
                found.append(self.pipe.recv())
        except EOFError:
            pass
        return found


@contextmanager
def running(target: Callable[..., None], *arguments: Any, count: int = 1) -> Iterator[list[Process]]:
    """Processes that run `target(number, pipe, *arguments)`; those still there at the end are killed."""
    started: list[Process] = []
    try:
        for number in range(count):
            ours, theirs = _processes.Pipe()
            process = _processes.Process(target=target, args=(number, theirs, *arguments))
            process.start()
            theirs.close()
            started.append(Process(process, ours))
        yield started
    finally:
        for each in started:
            each.kill()
            each.pipe.close()


# --- what the processes do --------------------------------------------------------


def append(conn: Any, articles: list[Article]) -> list[tuple[str, int]]:
    """Append, and return the URL and place of each."""
    new = [NewEvent.of_article(each, actor="cli:test") for each in articles]
    outcomes = log.append(conn, new, wait_s_max=WAIT_S_MAX)
    places = []
    for each, outcome in zip(articles, outcomes, strict=True):
        assert not isinstance(outcome, Refused)
        places.append((each.url, outcome.position))
    return places


def write(number: int, pipe: Pipe, url: str, batches: int) -> None:
    """Append and commit so many batches as fast as it goes, and say after each commit what is recorded."""
    engine = engines.create(url)
    pipe.send("ready")
    pipe.recv()
    for batch in range(batches):
        articles = [article(f"{number}-{batch}-{n}", nato=asserts("new")) for n in range(batch % 3 + 1)]
        with engine.begin() as conn:
            places = append(conn, articles)
        pipe.send(places)
    pipe.send("done")
    engine.dispose()


def write_the_same(number: int, pipe: Pipe, url: str, articles: int) -> None:
    """Append what all the others append too, in an order of one's own, one by one."""
    engine = engines.create(url)
    pipe.send("ready")
    pipe.recv()
    order = list(range(articles))
    random.Random(number).shuffle(order)
    for n in order:
        with engine.begin() as conn:
            places = append(conn, [article(f"{n}", nato=asserts("new"))])
        pipe.send(places)
    pipe.send("done")
    engine.dispose()


def hold(number: int, pipe: Pipe, url: str) -> None:
    """Append, say what it came to, and commit when told."""
    engine = engines.create(url)
    with engine.begin() as conn:
        pipe.send(append(conn, [article(f"held-{number}", nato=asserts("new"))]))
        pipe.recv()
    pipe.send("committed")
    engine.dispose()


def watch(number: int, pipe: Pipe, url: str) -> None:
    """Read the log on and on; say the first hole that is seen, or how far the log went."""
    engine = engines.create(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        pipe.send("ready")
        seen, last = 0, False
        while not last:
            last = pipe.poll(0)
            for entry in log.read(conn, after=seen, limit=1000):
                if entry.position != seen + 1:
                    pipe.send(f"{entry.position} was there before {seen + 1}")
                    return
                seen = entry.position
            head, count = conn.exec_driver_sql("SELECT max(position), count(*) FROM onrecord.event").one()
            if count and head != count:
                pipe.send(f"there were {count} entries up to {head}")
                return
        pipe.send(seen)
    engine.dispose()


# --- what must hold ---------------------------------------------------------------


@pytest.fixture
def url(database: Database) -> str:
    return database.service_url.render_as_string(hide_password=False)


@contextmanager
def watched(url: str) -> Iterator[None]:
    """What happens inside is watched by somebody who reads all the time, and who must see it all."""
    with running(watch, url) as (watcher,):
        assert watcher.says() == "ready"
        yield
        watcher.tell("stop")
        engine = engines.create(url)
        with engine.begin() as conn:
            assert watcher.says() == log.head(conn)
        engine.dispose()


def in_order(engine: Engine) -> dict[str, int]:
    """Where each URL is recorded, in a log that is seen to have no hole, no double and no step back."""
    with engine.begin() as conn:
        entries = log.read(conn, after=0, limit=1_000_000)
    assert [each.position for each in entries] == list(range(1, len(entries) + 1))
    assert all(one.recorded_at < other.recorded_at for one, other in itertools.pairwise(entries))
    places: dict[str, int] = {}
    for each in entries:
        event = each.event()
        assert isinstance(event, ArticleRecorded)
        assert event.article.url not in places
        places[event.article.url] = each.position
    return places


def waiting(engine: Engine) -> int:
    """How many wait for their turn."""
    with engine.begin() as conn:
        return conn.exec_driver_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).scalar_one()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S_MAX
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def successes(writer: Process) -> dict[str, int]:
    """All that a writer says it recorded, until it is done."""
    places: dict[str, int] = {}
    while (said := writer.says()) != "done":
        places.update(said)
    return places


@pytest.mark.parametrize(("writers", "batches"), [(2, 60), (16, 8)])
def test_many_writers_leave_no_hole_and_lose_nothing(engine: Engine, url: str, writers: int, batches: int) -> None:
    recorded: dict[str, int] = {}
    with watched(url), running(write, url, batches, count=writers) as started:
        for each in started:
            assert each.says() == "ready"
        for each in started:
            each.tell()
        for each in started:
            recorded.update(successes(each))
    assert len(recorded) == writers * sum(batch % 3 + 1 for batch in range(batches))
    assert in_order(engine) == recorded


def test_what_many_send_at_once_is_recorded_once_and_all_are_told_where(engine: Engine, url: str) -> None:
    with watched(url), running(write_the_same, url, 30, count=4) as started:
        for each in started:
            assert each.says() == "ready"
        for each in started:
            each.tell()
        told = [successes(each) for each in started]
    recorded = in_order(engine)
    assert len(recorded) == 30
    assert told == [recorded] * 4


def test_who_holds_the_log_open_keeps_the_others_waiting_and_nobody_out(engine: Engine, url: str) -> None:
    with watched(url), running(hold, url) as (holder,):
        ((held_url, position),) = holder.says()
        assert position == 1
        with running(write, url, 3, count=3) as others:
            for each in others:
                assert each.says() == "ready"
                each.tell()
            wait_until(lambda: waiting(engine) == 3)
            # Not one of them went past the place that is taken but not yet there.
            assert in_order(engine) == {}
            holder.tell("commit")
            assert holder.says() == "committed"
            recorded = {held_url: position}
            for each in others:
                recorded.update(successes(each))
    assert len(recorded) == 1 + 3 * (1 + 2 + 3)
    assert in_order(engine) == recorded


def test_a_writer_killed_before_its_commit_leaves_neither_event_nor_hole(engine: Engine, url: str) -> None:
    with watched(url), running(hold, url) as (holder,):
        ((dead_url, position),) = holder.says()
        # Only now, so that it is the other that has the turn.
        with running(hold, url) as (waiter,):
            wait_until(lambda: waiting(engine) == 1)
            with running(write, url, 3) as (survivor,):
                assert survivor.says() == "ready"
                survivor.tell()
                wait_until(lambda: waiting(engine) == 2)
                # One is killed while it waits for its turn, the other while it has it.
                waiter.kill()
                holder.kill()
                recorded = successes(survivor)
    places = in_order(engine)
    assert places == recorded
    assert dead_url not in places
    assert position == 1
    assert min(places.values()) == 1


def test_a_writer_killed_at_any_time_has_recorded_whatever_it_said(engine: Engine, url: str) -> None:
    said: dict[str, int] = {}
    with watched(url):
        for commits in (1, 2, 3, 5, 8):
            with running(write, url, 1_000) as (writer,):
                assert writer.says() == "ready"
                # Those of the dead before are there already, and are answered with their places.
                writer.tell()
                for _ in range(commits):
                    said.update(writer.says())
                writer.kill()
                for each in writer.said():
                    said.update(each)
        with engine.begin() as conn:
            (outcome,) = log.append(conn, [NewEvent.of_article(article("after"), actor="cli:test")])
        assert isinstance(outcome, Appended)
    places = in_order(engine)
    assert outcome.position == len(places)
    assert said.items() <= places.items()
