"""What arrives together is one append, and every caller is answered as if alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy import event as sql_events
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from service import log
from service.database import engine as engines
from service.domain import events
from service.domain.article import Article
from service.domain.errors import ArticleChanged, Busy, RevisionSkipped
from service.log import APPEND_LOCK, Appended, NewEvent, Outcome, Refused, Repeated, grouping
from service.log.grouping import Grouping
from tests.builders import article, asserts
from tests.conftest import Database

Result = TypeVar("Result")
SAID = asserts("gas-cut")


def sent(*articles: Article, actor: str = "cli:test") -> list[NewEvent]:
    return [NewEvent.of_article(each, actor=actor) for each in articles]


def poison(name: str) -> list[NewEvent]:
    """What passes every check of ours and is refused by the database: an actor that holds a NUL."""
    return [replace(each, actor="\x00") for each in sent(article(name))]


class Group:
    """A grouping on the test's database, and what it is seen to do there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.grouping = Grouping(engine)
        self.statements: list[str] = []
        #: Set once the first group is on its way, so that what comes then is of the next.
        self.leading = asyncio.Event()
        sql_events.listen(engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "NOTIFY" not in statement:
            self.statements.append(statement)
            self.leading.set()

    def hand_over(self, new: Sequence[NewEvent]) -> "asyncio.Task[list[Outcome]]":
        return asyncio.create_task(self.grouping.append(new))


@pytest.fixture
def run(database: Database) -> Callable[[Callable[[Group], Awaitable[Result]]], Result]:
    """Runs a coroutine function with a grouping, and closes that."""

    def runs(body: Callable[[Group], Awaitable[Result]]) -> Result:
        async def whole() -> Result:
            engine = engines.create_async(database.service_url)
            try:
                group = Group(engine)
                found = await asyncio.wait_for(body(group), 60)
                await group.grouping.close()
                return found
            finally:
                await engine.dispose()

        return asyncio.run(whole())

    return runs


Run = Callable[[Callable[[Group], Awaitable[Any]]], Any]


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Somebody else has the turn."""
    with engine.begin() as other:
        other.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        yield


def recorded(engine: Engine) -> dict[int, tuple[str, str]]:
    """URL and actor by position."""
    found: dict[int, tuple[str, str]] = {}
    with engine.begin() as conn:
        for entry in log.read(conn, after=0, limit=100_000):
            event = entry.event()
            assert isinstance(event, events.ArticleRecorded)
            found[entry.position] = (event.article.url, entry.actor)
    assert list(found) == list(range(1, len(found) + 1))
    return found


def position(outcomes: Sequence[Outcome]) -> int:
    (outcome,) = outcomes
    assert isinstance(outcome, Appended)
    return outcome.position


def test_what_arrives_meanwhile_is_the_next_group_and_costs_no_more_statements_than_one(run: Run, engine: Engine):
    async def body(group: Group) -> None:
        with held(engine):
            first = group.hand_over(sent(article("first")))
            await group.leading.wait()
            others = [group.hand_over(sent(article(f"{n}", nato=SAID))) for n in range(40)]
            await asyncio.sleep(0)
        assert position(await first) == 1
        # In order of arrival.
        assert [position(each) for each in await asyncio.gather(*others)] == list(range(2, 42))
        both = len(group.statements)
        await group.grouping.append(sent(article("last")))
        alone = len(group.statements) - both
        assert both == 2 * alone

    run(body)
    assert len(recorded(engine)) == 42


def test_who_is_ready_together_is_recorded_together(run: Run):
    async def body(group: Group) -> list[int]:
        await group.grouping.append(sent(article("before")))
        group.statements.clear()
        await asyncio.gather(*(group.grouping.append(sent(article(str(n)))) for n in range(8)))
        return [len(group.statements)]

    assert run(body) == [3]


def test_nothing_handed_over_is_nothing_done(run: Run):
    async def body(group: Group) -> tuple[list[Outcome], int]:
        return await group.grouping.append([]), len(group.statements)

    assert run(body) == ([], 0)


@pytest.mark.parametrize("poisoned", [False, True])
def test_every_one_of_many_is_answered_as_if_alone(run: Run, engine: Engine, poisoned: bool):
    """New ones, repeats, refusals and faults of many clients at once; the log is that of one after the other."""
    clients, rounds = 16, 12

    async def client(group: Group, number: int, told: dict[int, str]) -> None:
        for n in range(rounds):
            own = article(f"{number}-{n}", nato=SAID)
            shared = article(f"shared-{n}", nato=SAID)
            other = article(f"shared-{n}", nato=asserts("gas-not-cut"))
            skips = article(f"{number}-{n}-skips", revision=3, nato=SAID)
            if poisoned and number % 4 == 0:
                with pytest.raises(DBAPIError, match="Unicode"):
                    await group.grouping.append([*poison(f"{number}-{n}-bad"), *sent(own)])
                continue
            one, two, three, four = await group.grouping.append(sent(own, shared, skips, other, actor=f"cli:{number}"))
            assert isinstance(one, Appended)
            assert isinstance(two, Appended | Repeated)
            assert isinstance(three, Refused)
            assert isinstance(three.error, RevisionSkipped)
            assert three.error.url == skips.url
            assert isinstance(four, Refused)
            assert isinstance(four.error, ArticleChanged)
            assert four.error.position == two.position
            told[one.position] = own.url
            # Whoever it was that recorded it, all are told the same place.
            assert told.setdefault(two.position, shared.url) == shared.url

    async def body(group: Group) -> dict[int, str]:
        told: dict[int, str] = {}
        await asyncio.gather(*(client(group, number, told) for number in range(clients)))
        return told

    told = run(body)
    log_ = recorded(engine)
    assert {at: url for at, (url, _) in log_.items()} == told
    good = clients - (clients // 4 if poisoned else 0)
    assert len(told) == good * rounds + rounds
    for at, (url, actor) in log_.items():
        if "shared" not in url:
            assert url.split("/")[-1].split("-")[0] == actor.removeprefix("cli:"), at


def test_what_a_caller_reads_after_its_answer_holds_what_it_sent(run: Run, engine: Engine):
    async def client(group: Group, number: int) -> None:
        for n in range(5):
            at = position(await group.grouping.append(sent(article(f"{number}-{n}"))))
            with engine.begin() as conn:
                assert log.head(conn) >= at

    async def body(group: Group) -> None:
        await asyncio.gather(*(client(group, number) for number in range(8)))

    run(body)


def test_a_fault_is_told_to_whom_it_belongs_and_no_stranger(run: Run, engine: Engine):
    async def body(group: Group) -> list[Any]:
        with held(engine):
            first = group.hand_over(sent(article("first")))
            await group.leading.wait()
            others = [group.hand_over(each) for each in (sent(article("a")), poison("b"), sent(article("c")))]
            await asyncio.sleep(0)
        return await asyncio.gather(first, *others, return_exceptions=True)

    first, a, b, c = run(body)
    assert [position(each) for each in (first, a, c)] == [1, 2, 3]
    assert isinstance(b, DBAPIError)
    assert len(recorded(engine)) == 3


def test_who_no_longer_waits_hurts_nobody(run: Run, engine: Engine):
    """Whose turn had not come is not recorded; whose turn had come is; all others get what is theirs."""

    async def body(group: Group) -> list[int]:
        with held(engine):
            gone = group.hand_over(sent(article("gone")))
            await group.leading.wait()
            others = [group.hand_over(sent(article(str(n)))) for n in range(6)]
            await asyncio.sleep(0)
            gone.cancel()
            others[0].cancel()
            others[3].cancel()
            await asyncio.sleep(0)
        for each in (gone, others[0], others[3]):
            with pytest.raises(asyncio.CancelledError):
                await each
        return [position(await each) for each in (others[n] for n in (1, 2, 4, 5))]

    assert run(body) == [2, 3, 4, 5]
    assert [url.split("/")[-1] for url, _ in recorded(engine).values()] == ["gone", "1", "2", "4", "5"]


def test_a_group_is_bounded_and_what_one_hands_over_stays_together(run: Run, engine: Engine):
    async def body(group: Group) -> list[list[int]]:
        with held(engine):
            first = group.hand_over(sent(article("first")))
            await group.leading.wait()
            parts = [sent(*(article(f"{part}-{n}") for n in range(120))) for part in range(3)]
            big = sent(article("big", text="x" * 1_000_000))
            others = [group.hand_over(each) for each in (*parts, big, *([sent(article("small"))]))]
            await asyncio.sleep(0)
        await first
        outcomes = await asyncio.gather(*others)
        # Three of 120 do not fit together, and the last two go with the third.
        assert len([each for each in group.statements if "pg_advisory_xact_lock" in each]) == 4
        return [[each.position for each in one if isinstance(each, Appended)] for one in outcomes]

    together = run(body)
    assert [each[0] for each in together] == [2, 122, 242, 362, 363]
    assert all(each == list(range(each[0], each[0] + len(each))) for each in together)


async def told_and_sent_again(engine: Engine, group: Group) -> list[int]:
    """Where four get once they send again what they sent while somebody else had the turn, and were told so."""
    with held(engine):
        told = await asyncio.gather(
            *(group.grouping.append(sent(article(str(n)))) for n in range(4)), return_exceptions=True
        )
    assert [type(each) for each in told] == [Busy] * 4
    # Together: not one after the other, each for as long.
    assert len(group.statements) == 1
    again = await asyncio.gather(*(group.grouping.append(sent(article(str(n)))) for n in range(4)))
    return [position(each) for each in again]


def test_all_of_a_group_that_gets_no_turn_are_told_and_may_repeat(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "append", partial(log.append, wait_s_max=0.1))
    assert run(partial(told_and_sent_again, engine)) == [1, 2, 3, 4]


def test_nobody_waits_for_more_than_one_turn_that_does_not_come(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """However many groups there would be."""
    monkeypatch.setattr(log, "append", partial(log.append, wait_s_max=0.1))
    monkeypatch.setattr(grouping, "_EVENTS_MAX", 1)
    assert run(partial(told_and_sent_again, engine)) == [1, 2, 3, 4]


def test_a_database_that_goes_is_told_to_all_and_one_that_is_back_is_used(run: Run, engine: Engine, database: Database):
    def end_whoever_waits() -> None:
        where = database.superuser_url
        with psycopg.connect(host=str(where.query["host"]), user=where.username, dbname=where.database) as conn:
            ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while conn.execute(ended).fetchone() == (0,):
                pass

    async def body(group: Group) -> list[int]:
        with held(engine):
            asked = [group.hand_over(sent(article(str(n)))) for n in range(4)]
            await group.leading.wait()
            await asyncio.to_thread(end_whoever_waits)
            told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in told] == [OperationalError] * 4
        again = await asyncio.gather(*(group.grouping.append(sent(article(str(n)))) for n in range(4)))
        return [position(each) for each in again]

    assert run(body) == [1, 2, 3, 4]


def test_readers_of_the_log_are_woken_once_it_is_recorded(run: Run, database: Database, engine: Engine):
    where = database.service_url
    with psycopg.connect(
        host=str(where.query["host"]), user=where.username, dbname=where.database, autocommit=True
    ) as listener:
        listener.execute(f"LISTEN {log.CHANNEL}".encode())
        run(lambda group: group.grouping.append(sent(article("a"))))
        assert [each.channel for each in listener.notifies(timeout=10, stop_after=1)] == [log.CHANNEL]
        # A repeat is nothing new.
        run(lambda group: group.grouping.append(sent(article("a"))))
        assert list(listener.notifies(timeout=0.2)) == []
