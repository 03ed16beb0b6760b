"""The benchmark: what it is fed, that all whom it compares read the same rows, and that its table owns up."""

import itertools
import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import generator, measure, ours, plot, report
from benchmarks.clients import Asking, Clients, answer
from benchmarks.generator import Document, Retraction
from benchmarks.measure import Budget, Figure, Missing, Row
from benchmarks.peers import raw
from benchmarks.reading import questions, rows_of
from benchmarks.server import Database
from service.database.embedded import EmbeddedServer
from tests import conftest


@pytest.fixture
def measured(server: EmbeddedServer, database: conftest.Database) -> Database:
    """This test's database as the benchmark knows it."""
    return Database(server, database.service_url.database or "")


# --- what it is fed ---------------------------------------------------------------


def test_the_same_seed_gives_the_same_news():
    """A longer stream begins like a shorter one, so that databases of two sizes hold the same news."""
    first, again, other = (list(itertools.islice(generator.news(seed), 300)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.fixture(scope="module")
def news() -> list[Document | Retraction]:
    return list(itertools.islice(generator.news(), 5_000))


def test_the_news_has_the_shares_that_it_claims(news: list[Document | Retraction]):
    documents = [item for item in news if isinstance(item, dict)]
    articles = [document for document in documents if "revision" not in document]

    assert all(sum(len(claim["statements"]) for claim in each["claims"]) == 8 for each in documents)
    assert len(documents) - len(articles) == pytest.approx(0.02 * len(articles), rel=0.3)
    assert len(news) - len(documents) == pytest.approx(0.005 * len(articles), rel=0.5)
    # Who was published before the article that had arrived a day earlier, at one in four minutes, is late.
    day = 24 * 60 // 4
    pairs = zip(articles, articles[day:], strict=False)
    late = sum(later["published_at"] < earlier["published_at"] for earlier, later in pairs)
    assert late == pytest.approx(0.05 * len(articles), rel=0.3)
    named = {claim["claim"] for each in articles for claim in each["claims"]}
    assert 8 * len(articles) / len(named) == pytest.approx(10, rel=0.02)


def test_the_news_follows_zipf(news: list[Document | Retraction]):
    """What is named most is named about ten times as often as what is tenth."""
    named = [claim for each in news if isinstance(each, dict) for claim in each["claims"]]
    claims = Counter(claim["claim"] for claim in named)
    assert claims["claim-0"] == pytest.approx(10 * claims["claim-9"], rel=0.5)
    speakers = Counter(said["speaker"]["id"] for claim in named for said in claim["statements"])
    assert speakers["speaker-0"] == pytest.approx(10 * speakers["speaker-9"], rel=0.5)


# --- who reads what -----------------------------------------------------------------


def test_everybody_reads_the_same_rows(measured: Database, tmp_path: Path):
    """The page over HTTP says what raw SQL says, now and as of a position, whatever number makes it another request."""
    with ours.engine_of(measured) as engine:
        ours.fill(engine, itertools.islice(generator.news(), 600))
        ours.projected(engine)
    with (
        ours.serving(measured, tmp_path / "serve") as service,
        raw.connect(measured.conninfo()) as conn,
        Clients() as clients,
    ):
        asked = questions(service.port, measured)
        page, then = asked["page"], asked["as of"]
        now, before = raw.rows_of(raw.page(conn, 0)), raw.rows_of(raw.page(conn, 0, 300))
        assert len(now) == len(before) == 100
        assert now != before
        assert {len(statements) for *_, statements in now} >= {5}
        assert rows_of(answer(page)) == rows_of(answer(page, page.distinct - 1)) == now
        assert rows_of(answer(then)) == rows_of(answer(then, then.distinct - 1)) == before
        for asking in asked.values():
            assert asking.request(1) != asking.request(2)
            assert answer(asking, 1)
        assert clients.run(page, 2, most=3).requests == 6
        # Refusals are quick, and would make a broken server look fast.
        with pytest.raises(RuntimeError, match="errors"):
            clients.run(Asking(service.port, (b'{"query": "{ nothing }"}',)), 1, most=1)


def test_the_rows_of_a_page_are_the_same_in_each_dialect():
    said = {"stance": "asserts", "name": "N", "quote": "Q", "position": 3}
    told = {"slug": "c", "proposition": "P", "firstPosition": 1}
    believed = {"state": "asserted", "reason": "R", "asserting": 1, "denying": 0, "withholding": 0, "contested": False}
    shouted = {**believed, "state": "ASSERTED"}
    in_ours = {
        "claims": {"nodes": [{**told, "belief": shouted, "statements": {"nodes": [{**said, "stance": "ASSERTS"}]}}]}
    }
    in_strawberry = {"claims": [{**told, **believed, "statements": [said]}]}
    position = {**said, "position": "3"}
    in_postgraphile = {
        "allClaims": {"nodes": [{**told, "firstPosition": "1", **believed, "statementsByClaim": {"nodes": [position]}}]}
    }
    wanted = [("c", "P", 1, "asserted", "R", 1, 0, 0, False, (("asserts", "N", "Q", 3),))]
    for told_by in (in_ours, in_strawberry, in_postgraphile):
        assert rows_of(json.dumps({"data": told_by}).encode()) == wanted


def test_copy_puts_the_same_rows_under_the_same_indexes(measured: Database):
    with ours.engine_of(measured) as engine, measured.connect() as conn:
        ours.fill(engine, itertools.islice(generator.news(), 50))
        ours.projected(engine)
        schema = ours.schema_of_live(measured)
        copy = raw.Copy(conn, schema)
        copy.run()
        counted = "SELECT count(*), sum(hashtextextended(s::text, 0)) FROM {}.statement s"
        indexes = "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = %s ORDER BY 1, 2"
        theirs, mine = (conn.execute(counted.format(name).encode()).fetchone() for name in ("copied", schema))
        assert theirs == mine != (0, None)
        assert conn.execute(indexes, ("copied",)).fetchall() == conn.execute(indexes, (schema,)).fetchall()
        copy.close()


# --- what it says -----------------------------------------------------------------


def _table(budget: Budget | None, theirs: measure.Round | Missing) -> Row:
    (row,) = measure.table(3, "a/s", {"ours": lambda: 10.0, "theirs": theirs}, [("work", "ours", "theirs", budget)])
    return row


@pytest.mark.parametrize(
    ("budget", "theirs", "verdict"),
    [
        (Budget("at least", 2), 5.0, "met"),
        (Budget("at least", 3), 5.0, "not met"),
        (Budget("within", 2), 20.0, "met"),
        (Budget("within", 2), 21.0, "not met"),
        (None, 5.0, ""),
    ],
)
def test_the_table_says_whether_a_budget_is_met(budget: Budget | None, theirs: float, verdict: str):
    row = _table(budget, lambda: theirs)
    assert row.verdict == verdict
    assert report.cells(row)[-1] == verdict


def test_who_is_missing_is_named():
    row = _table(Budget("at least", 2), Missing("it is not installed"))
    assert (row.verdict, row.peer, row.note) == ("missing", "theirs", "it is not installed")
    assert "missing" in report.cells(row)
    written = report.as_json({}, [row])
    assert written["rows"][0]["verdict"] == "missing"


def test_measures_take_turns_and_the_first_counts_for_nobody():
    order: list[str] = []

    def of(name: str) -> measure.Round:
        def round() -> float:
            order.append(name)
            return len(order)

        return round

    samples = measure.interleaved(2, {"a": of("a"), "b": of("b")})
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert samples == {"a": [3, 6], "b": [4, 5]}
    assert Figure.of([3, 6, 4]) == Figure(4, 3, 6)


def test_the_plot_can_be_looked_at():
    drawn = ElementTree.fromstring(plot.svg({"append": {1_000: 0.4, 10_000: 0.5}, "page": {1_000: 8, 10_000: 9}}))
    names = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"append", "page", "1,000", "10,000", "claims"} <= names
