"""A page costs what is on it, however much is recorded: told by the blocks that the database reads for it."""

import contextlib
import random
from collections.abc import Callable, Generator
from itertools import cycle, product
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from sqlalchemy import Engine

from service.domain import article as documents
from service.domain import policies
from service.domain.article import Article
from service.domain.policies import State
from service.projector import Projector
from service.queries import articles, beliefs, claims, log_entries, snapshot, statements
from service.queries.claims import ClaimFilter, ClaimOrder
from service.queries.paging import Page
from service.queries.snapshot import View
from service.queries.statements import StatementFilter
from service.tables import CENSUS_EVERY
from tests import curated
from tests.builders import article, asserts, denies, document, retraction, withholds
from tests.test_projector import catch_up, prepared
from tests.test_rebuild import record

POLICY = policies.policy("unanimous")
PAGE = Page(10)
SMALL, LARGE = 500, 5_000
A_DOCUMENT = 20  #: claims in an article.


def told(number: int) -> Article:
    """An article on claims that nobody spoke of before, by speakers of its own and some who speak of everything."""
    first = number * A_DOCUMENT
    slugs = [f"claim-{first + i}" for i in range(A_DOCUMENT)]
    alone: dict[str, Any] = {f"only_{number}": asserts(slugs[0])}
    made = document(
        f"{number}",
        by=f"outlet-{number % 7}",
        everywhere=[asserts(slug) for slug in slugs],
        # A third is disputed, so that some of everything is on every page.
        other=[(denies, asserts, withholds)[i % 3](slug) for i, slug in enumerate(slugs)],
        **alone,
    )
    for i, claim in enumerate(made["claims"]):
        claim["topic"] = f"topic-{i % 5}"
    return documents.parse(made)


@contextlib.contextmanager
def blocks_read() -> Generator[list[int]]:
    """How many blocks each statement reads meanwhile, wherever they were: as EXPLAIN tells, which runs it as well."""
    read: list[int] = []
    execute: Any = psycopg.Cursor.execute

    def noted(cursor: Any, statement: Any, parameters: Any = None, **how: Any) -> Any:
        explaining = psycopg.Cursor(cursor.connection)
        execute(explaining, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        found = explaining.fetchone()
        assert found is not None
        plan = found[0][0]["Plan"]
        read.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
        return execute(cursor, statement, parameters, **how)

    with patch.object(psycopg.Cursor, "execute", noted):
        yield read


def reads(of: int) -> dict[str, Callable[[View], object]]:
    """Everything that a page is of, on a record with so many claims; what is rare is of one claim in all of them."""

    def page(order: ClaimOrder = ClaimOrder.NEWEST, page: Page = PAGE, **wanted: Any) -> Callable[[View], object]:
        return lambda view: claims.claims(view, ClaimFilter(**wanted), POLICY, order, page)

    def count(**wanted: Any) -> Callable[[View], object]:
        return lambda view: claims.count_by_state(view, ClaimFilter(**wanted), POLICY)

    middle = of // A_DOCUMENT // 2
    rare = {
        "topic": "topic-unknown",
        "speaker": f"only-{middle}",
        "outlet": "outlet-unknown",
        "article": middle,
        "text": f"claim {of // 2}",
    }
    found = {
        "claims": page(),
        "claims by slug": page(ClaimOrder.SLUG),
        "claims from the middle on": page(page=Page(10, after=(middle, "claim-0"))),
        "claims by slug, from the middle on": page(ClaimOrder.SLUG, Page(10, after=("claim-3",))),
        "claims to the middle": page(page=Page(10, before=(middle, "claim-0"), backward=True)),
        "claims in the middle of the log": lambda view: page()(view.at(snapshot.AsOf(middle))),
        "claims of a state": page(state=State.ASSERTED),
        "claims of a topic": page(topic="topic-1"),
        "claims of a state, a topic, contested": page(state=State.UNVERIFIED, topic="topic-1", contested=True),
        "claims not contested": page(contested=False),
        "claims of a single speaker's side": page(single_speaker=True),
        "claims of a speaker who speaks of all": page(speaker="everywhere"),
        "claims of an outlet": page(outlet="outlet-1"),
        "claims of words that many have": page(text="claim"),
        "claims of words that many have, by slug": page(ClaimOrder.SLUG, text="claim"),
        "claims that changed of late": page(changed_after=of // A_DOCUMENT - 1),
        "how many claims": count(),
        "how many claims of a state": count(state=State.ASSERTED),
        "how many claims in the middle of the log": lambda view: count()(view.at(snapshot.AsOf(middle))),
        "how many claims changed of late": count(changed_after=of // A_DOCUMENT - 1),
        "claims below topics": lambda view: claims.claims_of_topics(view, ["topic-1", "topic-2"], PAGE),
        "what changed in ten events": lambda view: beliefs.changes(
            view, POLICY, start=middle - 10, to=middle, page=PAGE
        ),
        "articles": lambda view: articles.articles(view, PAGE),
        "speakers": lambda view: articles.speakers(view, PAGE),
        "outlets": lambda view: articles.outlets(view, PAGE),
        "topics": lambda view: articles.topics(view, PAGE),
        "statements of a speaker who speaks of all": lambda view: statements.of_speakers(
            view, ["everywhere"], StatementFilter(), PAGE
        ),
        "standing statements of a speaker who speaks of all": lambda view: statements.of_speakers(
            view, ["everywhere"], StatementFilter(standing=True), PAGE
        ),
        "events": lambda view: log_entries.events(view, PAGE, from_position=middle),
    }
    for name, value in rare.items():
        found[f"claims of a rare {name}"] = page(**{name: value})
        found[f"claims of a rare {name}, by slug"] = page(ClaimOrder.SLUG, **{name: value})
        found[f"how many claims of a rare {name}"] = count(**{name: value})
    return found


def grown(engine: Engine, begin: int, end: int) -> None:
    record(engine, *(told(number) for number in range(begin // A_DOCUMENT, end // A_DOCUMENT)))
    catch_up(engine, cycle([Projector(prepared(engine))]))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for name in ("onrecord_1", "onrecord"):
            schema = f"SELECT tablename FROM pg_tables WHERE schemaname = '{name}'"
            for table in conn.exec_driver_sql(schema).scalars().all():
                conn.exec_driver_sql(f"VACUUM ANALYZE {name}.{table}")


def costs(engine: Engine, of: int) -> dict[str, int]:
    """Of each read, how many blocks it reads."""
    found: dict[str, int] = {}
    for name, read in reads(of).items():
        with engine.connect() as conn, conn.begin():
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            view = snapshot.view(conn)
            assert view is not None
            with blocks_read() as blocks:
                read(view)
            found[name] = sum(blocks)
    return found


def test_a_page_reads_as_much_of_ten_times_as_many_claims(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that what is not rare is more than few on both.
    monkeypatch.setattr(claims, "_FEW", 50)
    monkeypatch.setattr(claims, "_FEW_FOUND", 50)
    grown(engine, 0, SMALL)
    small = costs(engine, SMALL)
    grown(engine, SMALL, LARGE)
    large = costs(engine, LARGE)
    # An index is a level higher, and pages of a smaller table lie side by side.
    growing = {name: (small[name], large[name]) for name in small if large[name] > 1.6 * small[name] + 30}
    assert growing == {}


# --- and it says the same ---------------------------------------------------------


def seen(engine: Engine, read: Callable[[View], Any]) -> Any:
    with engine.connect() as conn, conn.begin():
        conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        view = snapshot.view(conn)
        assert view is not None
        return read(view)


_COUNT = """
    SELECT to_state, count(*) FROM transition
     WHERE policy = %(policy)s AND position <= %(position)s AND until_position > %(position)s GROUP BY to_state
"""


@pytest.mark.parametrize(("seed", "limit"), [(700, 1), (701, 7), (702, 1000)])
def test_as_many_claims_are_counted_at_every_position_as_there_are(engine: Engine, seed: int, limit: int) -> None:
    record(engine, *curated.some_log(random.Random(seed).choice, 60, named=True))
    catch_up(engine, cycle([Projector(prepared(engine))]), limit)

    def read(view: View) -> None:
        assert view.position > 2 * CENSUS_EVERY
        for name, position in product(view.snapshot.policies, range(view.position + 1)):
            at, policy = view.at(snapshot.AsOf(position)), policies.policy(name)
            found = view.conn.exec_driver_sql(_COUNT, {"policy": name, "position": position})
            there: dict[Any, int] = dict(found.all())
            counts = {state: there.get(state, 0) for state in State}
            assert claims.count_by_state(at, ClaimFilter(), policy) == counts
            denied = claims.count_by_state(at, ClaimFilter(state=State.DENIED), policy)
            assert denied == {State.ASSERTED: 0, State.DENIED: counts[State.DENIED], State.UNVERIFIED: 0}

    seen(engine, read)


FILTERS: list[dict[str, Any]] = [
    {"topic": "t"},
    {"speaker": "nato"},
    {"outlet": "daily-planet"},
    {"article": 1},
    {"speaker": "un", "outlet": "daily-planet", "contested": True},
    {"speaker": "nobody"},
    {"text": "said"},
    {"text": "said", "speaker": "nato"},
    {"text": "nothing of this"},
]


@pytest.mark.parametrize("seed", range(710, 712))
def test_the_same_claims_are_found_whether_few_or_all_are_gone_through(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    withdrawn = article("withdrawn", nato=asserts("no-more")), retraction("withdrawn")
    record(engine, *curated.some_log(random.Random(seed).choice, 60, named=True), *withdrawn)
    catch_up(engine, cycle([Projector(prepared(engine))]))

    def read(view: View) -> list[Any]:
        return [
            (
                claims.claims(at, ClaimFilter(**wanted), POLICY, order, page),
                claims.count_by_state(at, ClaimFilter(**wanted), POLICY),
            )
            for at in (view, view.at(snapshot.AsOf(view.position // 2)))
            for order, page in product(ClaimOrder, (PAGE, Page(2), Page(2, backward=True)))
            for wanted in FILTERS
        ]

    few = seen(engine, read)
    assert sum(len(found.items) for found, _ in few) > 20
    monkeypatch.setattr(claims, "_FEW", 0)
    monkeypatch.setattr(claims, "_FEW_FOUND", 0)
    assert seen(engine, read) == few
