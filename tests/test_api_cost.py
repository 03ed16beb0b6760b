"""A page costs a fixed number of SQL statements, counted by the server itself, and only what is selected is read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.database import engine as engines
from tests.api import Api
from tests.builders import article, asserts, denies, withholds
from tests.conftest import Database

STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): (.*)")


class Server:
    """What the server says that it was asked to run."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def ran(self, api: Api, query: str) -> list[str]:
        """The statements that one request causes, BEGIN and ROLLBACK among them."""
        before = self._log.stat().st_size
        api.ask(query)
        with self._log.open("rb") as log:
            log.seek(before)
            return STATEMENT.findall(log.read().decode())


@pytest.fixture
def server_log(database: Database, server_folders: Path) -> Server:
    """The server's log, in which every statement of this test's database is noted."""
    superuser = engines.create(database.superuser_url)
    with superuser.begin() as conn:
        conn.exec_driver_sql(f"ALTER DATABASE \"{database.superuser_url.database}\" SET log_statement = 'all'")
    superuser.dispose()
    return Server(server_folders / "server" / "postgres.log")


@pytest.fixture(params=["compiled", "interpreted"])
def large(database: Database, server_log: Server, request: pytest.FixtureRequest) -> Iterator[Api]:
    """The service with 120 claims, each with several statements, and nothing that reads on its own."""
    with Api(database, listening=False) as api:
        api.ways = (request.param,)
        api.record(
            *(
                article(
                    f"{number}-{edition}",
                    by=f"outlet-{number}",
                    text="they said so",
                    **{
                        f"speaker_{i}_{number}": [say(f"claim-{number}-{claim}") for claim in range(10)]
                        for i, say in enumerate((asserts, denies, withholds, asserts))
                    },
                )
                for number in range(12)
                for edition in ("first", "second")
            )
        )
        # A connection asks things of its own when it is made.
        api.ask("{ log { head } }")
        yield api


#: A list, with all that may be asked below one claim of it.
BELOW = """slug proposition topic { slug claims(first: 2) { totalCount nodes { slug } } }
    wordings { nodes { proposition article { url } } }
    belief { state reason asserting since { cursor event { type leaf } claim { slug } }
        because { nodes { quote speaker { name } } } }
    other: belief(policy: "majority") { state } strict: belief(policy: "unanimous:min_speakers=2") { state }
    history { nodes { cursor } } retraced: history(policy: "unanimous:min_speakers=2") { nodes { cursor } }
    statements(first: 5) { nodes { id quote stance standing speaker { slug name role }
        article { url text outlet { name } retraction { reason } revisions { nodes { id } } event { position } } } }
    speakers { nodes { speaker { name statements(first: 1) { nodes { claim { slug } } } } statement { quote } } }"""


PAGES = {
    "claims": "{ claims(first: N) { nodes { BELOW } } }",
    "claims by edges": """{ claims(first: N, orderBy: SLUG) { totalCount byState { denied }
        edges { cursor node { BELOW } } } }""",
    "articles": """{ articles(first: N) { nodes { outlet { name articles(first: 2) { nodes { url } } } text
        claims(first: 3) { nodes { BELOW } } statements(first: N) { nodes { speaker { name } } } } } }""",
    "speakers": """{ speakers(first: N) { nodes { name
        statements(first: N) { nodes { claim { belief { state } } article { url } } } } } }""",
    "events": """{ events(first: N) { nodes { payload
        article { url claims(first: 2) { nodes { belief { state } } } } } } }""",
    "outlets and topics": """{ topics(first: N) { nodes { slug } } outlets(first: N) { nodes {
        articles { nodes { revisions { nodes { retraction { reason } } } } } } } }""",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_a_hundred_costs_as_many_statements_as_a_page_of_one(large: Api, server_log: Server, page: str):
    query = PAGES[page].replace("BELOW", BELOW)
    counts = {n: len(server_log.ran(large, query.replace("first: N", f"first: {n}"))) for n in (1, 7, 100)}
    assert counts[1] == counts[7] == counts[100]
    assert 4 <= counts[1] < 60


def test_the_server_counts_what_the_service_sends(large: Api, server_log: Server):
    """So that the count means something: one statement more is one more."""
    one = server_log.ran(large, '{ claim(slug: "claim-0-0") { slug } }')
    two = server_log.ran(large, '{ claim(slug: "claim-0-0") { slug belief { state } } }')
    many = server_log.ran(large, f'{{ claim(slug: "claim-0-0") {{ {BELOW} }} }}')
    assert len(two) == len(one) + 1
    assert len(many) > len(two) + 15
    assert one[0].startswith("BEGIN")
    assert "READ ONLY" in one[0]
    assert "REPEATABLE READ" in one[0]
    with large.statements() as handed:
        large.ask(f'{{ claim(slug: "claim-0-0") {{ {BELOW} }} }}')
    assert len(handed) == len(many) - 2


def test_what_is_not_selected_is_not_read(large: Api, server_log: Server):
    ran = " ".join(server_log.ran(large, "{ claims(first: 100) { nodes { slug } } }"))
    assert "count(" not in ran
    for table in ("statement", "standing", "tally", "article", "speaker"):
        assert f" {table} " not in ran, table
    ran = " ".join(server_log.ran(large, "{ articles(first: 100) { nodes { url } } }"))
    assert "article_text" not in ran
    assert server_log.ran(large, "{ __typename }") == []


#: What is read for a field, and a query that selects it.
READ_FOR = {
    "wording": "{ claims { nodes { proposition } } }",
    "s.quote": "{ claims { nodes { statements { edges { node { quote } } } } } }",
    "s.effective_at": "{ articles { nodes { statements { nodes { ... on Statement { effectiveAt } } } } } }",
    "t.retroactive": "{ claims { nodes { history { nodes { retroactive } } } } }",
    "WHERE e.position = t.position": "{ claims { nodes { belief { since { recordedAt } } } } }",
}


@pytest.mark.parametrize("column", READ_FOR)
def test_of_a_row_only_what_is_selected_is_read(large: Api, column: str):
    for expected, query in READ_FOR.items():
        with large.statements() as handed:
            large.ask(query)
        assert (column in " ".join(handed)) == (column == expected), query


def test_the_count_of_a_list_is_taken_once(large: Api, server_log: Server):
    one = server_log.ran(large, "{ claims(first: 0) { totalCount } }")
    both = server_log.ran(large, "{ claims(first: 0) { totalCount byState { asserted denied unverified } } }")
    assert len(both) == len(one)


def test_a_mutation_reads_as_much_for_one_article_as_for_many(large: Api, server_log: Server):
    """Sent again, so nothing is written; with the beliefs of all its claims."""
    query = """mutation ($inputs: [ArticleInput!]!) { recordArticles(inputs: $inputs, waitSeconds: 0) {
        ... on ArticleRepeated { position } } }"""
    outlet = {"id": "o", "name": "O"}
    inputs = [
        {"url": f"urn:{number}", "outlet": outlet, "publishedAt": "2022-02-15", "claims": []} for number in range(20)
    ]
    large.ask(query, inputs=inputs)
    counts = []
    for some in (inputs[:1], inputs):
        with large.statements() as ran:
            large.ask(query, inputs=some)
        counts.append(len(ran))
    assert counts[0] == counts[1]
