"""What a stranger may take: each limit has a code, holds by every way in, and costs a known document nothing."""

import asyncio
import dataclasses
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from graphql import get_introspection_query
from hypothesis import HealthCheck, given, settings
from structlog.testing import capture_logs

from benchmarks import ours
from service.api.admission import Clients
from service.api.documents import remembered
from service.api.limits import DEFAULTS, Limits
from service.api.plans import Invalid, Request, Sent
from service.api.schema import code_of, graphql_schema
from service.config import Settings
from service.domain.errors import TooManyRequests
from tests.api import LIMITS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.conftest import Database
from tests.live import EVENTS, Service
from tests.processes import Start
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere
from tests.test_api_ways import curated as curated
from tests.test_api_ways import queries
from tests.test_site import run

ROOT = Path(__file__).parents[1]
WEB = ROOT / "service/web"
LOG = "{ log { head } }"


def limits(**other: Any) -> Limits:
    """Those of the tests, but for these."""
    return dataclasses.replace(LIMITS, **other)


def codes(query: str, allowed: Limits, **variables: Any) -> list[str]:
    """Why a request is not begun."""
    try:
        Request.of(graphql_schema, Sent(query, variables), allowed)
    except Invalid as error:
        return [code_of(each) for each in error.errors]
    return []


def cost(query: str, **variables: Any) -> int:
    """How many objects an answer may hold."""
    return Request.of(graphql_schema, Sent(query, variables), DEFAULTS).cost


def test_every_limit_is_a_setting_with_the_same_default() -> None:
    for each in dataclasses.fields(Limits):
        # How often a client may ask depends on where the service listens.
        default = None if each.name == "requests_per_s_max" else each.default
        assert Settings.model_fields[each.name].default == default, each.name


@pytest.mark.parametrize(("host", "statuses"), [("127.0.0.1", {200}), ("0.0.0.0", {200, 429})])
def test_on_this_machine_alone_anybody_asks_as_often_as_they_like(start: Start, host: str, statuses: set[int]) -> None:
    service = start("serve", "--host", host, "--port", "0", requests_burst_max="5", without_token="read")
    port = int(service.line(r"answers at http://[\d.]+:(\d+)/graphql")[1])
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        assert {http.post("/graphql", json={"query": LOG}).status_code for _ in range(200)} == statuses


# --- documents --------------------------------------------------------------------

#: Of each limit: its code, a document that just passes, and one that does not.
DOCUMENTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "tokens": ({"tokens_max": 6}, "TOO_MANY_TOKENS", LOG, "{ log { head head } }"),
    "comments": ({"tokens_max": 6}, "TOO_MANY_TOKENS", LOG + "#\n" * 6, LOG + "#\n" * 7),
    "depth": ({"depth_max": 2}, "TOO_DEEP", LOG, "{ ... { log { head } } }"),
    "depth of fragments": (
        {"depth_max": 3},
        "TOO_DEEP",
        "{ ...F } fragment F on Query { log { head } }",
        "{ ...F } fragment F on Query { log { ...G } } fragment G on Log { head }",
    ),
    "depth of a fragment that stands at two depths": (
        {"depth_max": 4},
        "TOO_DEEP",
        "{ log { ...G } ...F } fragment F on Query { log { ...G } } fragment G on Log { head }",
        "{ log { ...G } ... { ...F } } fragment F on Query { log { ...G } } fragment G on Log { head }",
    ),
    "aliases": ({"aliases_max": 1}, "TOO_MANY_ALIASES", "{ a: log { head } }", "{ a: log { b: head } }"),
    "aliases of fragments": (
        {"aliases_max": 1},
        "TOO_MANY_ALIASES",
        "{ ...F } fragment F on Query { a: log { head } }",
        "{ b: __typename ...F } fragment F on Query { a: log { head } }",
    ),
    "directives": (
        {"directives_max": 1},
        "TOO_MANY_DIRECTIVES",
        "{ log { head @skip(if: false) } }",
        "{ log @include(if: true) { head @skip(if: false) } }",
    ),
    "directives of operations": ({"directives_max": 1}, "TOO_MANY_DIRECTIVES", LOG, f"query @a @b {LOG}"),
    "root fields": (
        {"root_fields_max": 1},
        "TOO_MANY_ROOT_FIELDS",
        "{ log { head projected } }",
        "{ log { head } policies { id } }",
    ),
    "root fields of fragments": (
        {"root_fields_max": 2},
        "TOO_MANY_ROOT_FIELDS",
        "{ ...F } fragment F on Query { __typename ... { log { head } } }",
        "{ ...F ...F } fragment F on Query { __typename ... { log { head } } }",
    ),
    "cost": (
        {"cost_max": 4},
        "TOO_COSTLY",
        "{ claims(first: 3) { nodes { slug } } }",
        "{ claims(first: 4) { nodes { slug } } }",
    ),
    "introspection": ({"introspection": False}, "INTROSPECTION_OFF", "{ __typename }", "{ __schema { __typename } }"),
    "introspection of a type": (
        {"introspection": False},
        "INTROSPECTION_OFF",
        "{ log { __typename } }",
        '{ ...F } fragment F on Query { __type(name: "Claim") { name } }',
    ),
}


@pytest.mark.parametrize("limit", DOCUMENTS)
def test_a_document_is_refused_above_each_limit_and_not_at_it(limit: str) -> None:
    other, code, passes, does_not = DOCUMENTS[limit]
    assert codes(passes, limits(**other)) == []
    assert codes(does_not, limits(**other)) == [code]
    assert codes(does_not, LIMITS) != [code]


@pytest.mark.parametrize("limit", ["tokens", "depth", "cost", "introspection"])
def test_a_limit_holds_by_every_way_in(database: Database, api: Api, limit: str) -> None:
    other, code, passes, does_not = DOCUMENTS[limit]
    api.project()
    with Api(database, limits=limits(**other)) as limited:
        for way in ("compiled", "interpreted"):
            ways_to_send: list[tuple[str, dict[str, Any]]] = [
                ("POST", {"json": {"query": does_not}}),
                ("GET", {"params": {"query": does_not}}),
            ]
            for method, how in ways_to_send:
                response = limited.send(method, way, headers={"accept": "application/graphql-response+json"}, **how)
                assert response.status_code == (400 if limit == "tokens" else 422)
                assert [each["extensions"]["code"] for each in response.json()["errors"]] == [code]
            assert "errors" not in limited.send(way=way, json={"query": passes}).json()
    with Service(database, limits=limits(**other)) as service:
        with service.sse(does_not) as told:
            first, _ = told
            assert [each["extensions"]["code"] for each in first.data["errors"]] == [code]
        with service.socket() as there:
            there.subscribe(does_not)
            assert [each["extensions"]["code"] for each in there.receive()["payload"]] == [code]


def test_a_document_is_not_measured_twice(seeded: Api) -> None:
    """Limits do not cost the cache of documents: once missed, always hit."""
    query = "query ($n: Int) { claims(first: $n) { nodes { slug } } } # measured once"
    before = remembered.cache_info()
    assert [seeded.send(json={"query": query, "variables": {"n": n}}).status_code for n in (1, 2)] == [200, 200]
    after = remembered.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)
    # What is refused is known just as well.
    for _ in range(2):
        assert codes("{ a: log { head } } # refused", limits(aliases_max=0)) == ["TOO_MANY_ALIASES"]
    assert remembered.cache_info().hits - after.hits == 1


def test_long_documents_are_not_remembered() -> None:
    before = remembered.cache_info()
    for _ in range(2):
        assert codes(LOG + " " * 40_000, LIMITS) == []
    assert remembered.cache_info() == before


@pytest.mark.parametrize("kind", ["spread", "in one another", "in itself", "selected side by side"])
def test_fragments_are_each_looked_at_once(kind: str) -> None:
    """Or a document of a few lines would take longer than anybody lives."""
    n = 25
    last = f"fragment F{n} on Claim {{ slug topic {{ slug }} }}"
    one_in_another = {
        "spread": "...F{0} ...F{0}",
        "in one another": "topic {{ claims {{ nodes {{ ...F{0} }} }} }}",
        "in itself": "topic {{ claims {{ nodes {{ ...F0 ...F{0} }} }} }}",
        "selected side by side": "a{0}: topic {{ claims {{ nodes {{ ...F{0} }} edges {{ node {{ ...F{0} }} }} }} }} ",
    }[kind]
    chain = " ".join(f"fragment F{i} on Claim {{ {one_in_another.format(i + 1)} }}" for i in range(n))
    query = f"{{ claims {{ nodes {{ ...F0 }} }} }} {chain} {last}"
    begun = time.process_time()
    (code,) = set(codes(query, limits(depth_max=200, cost_max=DEFAULTS.cost_max)))
    assert code == ("BAD_QUERY" if kind == "in itself" else "TOO_COSTLY")
    assert time.process_time() - begun < 20


def test_a_chain_of_fragments_is_too_deep_before_it_is_too_much() -> None:
    chain = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} }}" for i in range(1_000))
    query = f"{{ ...F0 }} {chain} fragment F1000 on Query {{ log {{ head }} }}"
    assert codes(query, limits()) == ["TOO_DEEP"]
    assert codes(query, limits(depth_max=200)) == ["TOO_DEEP"]


# --- the cost ---------------------------------------------------------------------


def test_the_cost_is_how_many_objects_an_answer_may_hold() -> None:
    assert cost("{ __typename }") == 0
    assert cost(LOG) == 1
    # The page, its claims and their beliefs.
    assert cost("{ claims(first: 3) { nodes { slug belief { state } } } }") == 1 + 3 * 2
    assert cost("{ claims { totalCount edges { cursor node { slug } } pageInfo { endCursor } } }") == 1 + 25 * 2 + 1
    assert cost("{ claims(last: 7) { nodes { slug } } }") == 1 + 7
    assert cost("{ claims(first: 0) { totalCount } }") == 1
    # More than a page has is refused when it is read.
    assert cost("{ claims(first: 101) { nodes { slug } } }") == 1 + 100
    assert cost("{ claims(first: 2) { nodes { statements(first: 5) { nodes { quote } } } } }") == 1 + 2 * (1 + 1 + 5)
    assert cost('{ nodes(ids: ["a", "b"]) { id } }') == 2
    assert cost("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["a"] * 5) == 5
    assert cost("{ policies { id } }") == 10
    assert cost('{ claim(slug: "x") { relations { reason claim { slug } } } }') == 1 + 10 * 2


def test_the_cost_follows_variables_and_their_defaults() -> None:
    query = "query ($n: Int = 4) { claims(first: $n) { nodes { statements(first: $n) { nodes { id } } } } }"
    assert [cost(query, n=n) for n in (1, 10)] == [1 + 1 * (2 + 1), 1 + 10 * (2 + 10)]
    assert cost(query) == 1 + 4 * (2 + 4)
    assert cost(query, n=None) == 1 + 25 * (2 + 25)
    # Of many sizes each is worked out anew, and right.
    assert [cost(query, n=n) for n in range(101)] == [1 + n * (2 + n) for n in range(101)]


def test_a_fragment_costs_what_it_holds_wherever_it_is_spread() -> None:
    query = (
        "{ a: claims(first: 2) { ...P } b: claims(first: 3) { ...P } } fragment P on ClaimConnection { nodes { slug } }"
    )
    assert cost(query) == (1 + 2) + (1 + 3)


def test_every_answer_says_its_cost_also_one_that_is_known(seeded: Api) -> None:
    query = "query ($n: Int) { claims(first: $n) { nodes { slug } } }"
    for _ in range(2):
        assert seeded.answer(query, n=2)["extensions"]["cost"] == 3
    retracted = seeded.answer('mutation { retractArticle(url: "urn:none", reason: "so") { __typename } }')
    assert retracted["extensions"]["cost"] == 1


def objects(data: Any) -> int:
    """How many objects some JSON holds."""
    match data:
        case dict():
            return 1 + sum(objects(each) for each in data.values())
        case list():
            return sum(objects(each) for each in data)
        case _:
            return 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(query=queries())
def test_no_answer_holds_more_objects_than_it_may(curated: Api, query: str) -> None:
    curated.ways = ("compiled",)
    answer = curated.answer(query)
    if answer.get("data"):
        payload = '"payload"' in json.dumps(answer)
        assert payload or objects(answer["data"]) - 1 <= answer["extensions"]["cost"]


# --- what has to pass -------------------------------------------------------------


def test_introspection_passes() -> None:
    everything = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert cost(everything) < DEFAULTS.cost_max / 4


@pytest.mark.parametrize("screen", [each.name for each in WEB.glob("*.js") if "export const query" in each.read_text()])
def test_what_the_explorer_asks_passes(screen: str) -> None:
    query = run(screen, "return module.query;")
    assert [each for each in codes(query, DEFAULTS) if each != "BAD_QUERY"] == []


def test_what_the_examples_and_the_benchmarks_ask_passes() -> None:
    asked: list[str] = run("examples.js", "return module.EXAMPLES;")
    asked += [ours.PAGE, ours.PAGE_AS_OF, ours.CLAIM, ours.FILTERED, ours.COUNTED, ours.SEARCH, ours.CHANGES, ours.DEEP]
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        asked += re.findall(r"^```graphql\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    for query in asked:
        # Their variables are not at hand, and a page without one is 25 long.
        wide = query.replace("first: $first", "first: 100")
        assert [each for each in codes(wide, DEFAULTS) if each != "BAD_QUERY"] == [], query
    assert cost("{ claims(first: 100) { nodes { slug statements(first: 5) { nodes { speaker { name } } } } } }") < 2_000


# --- bytes ------------------------------------------------------------------------


def sized(size: int) -> bytes:
    """A request of so many bytes."""
    body = json.dumps({"query": LOG}).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("way", ["compiled", "interpreted"])
def test_a_body_is_counted_as_it_comes_in(database: Database, api: Api, way: str, chunked: bool) -> None:
    api.project()

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    with Api(database, limits=limits(body_bytes_max=1_000)) as limited:
        for size, status in ((1_000, 200), (1_001, 413), (100_000, 413)):
            body: Any = pieces(sized(size)) if chunked else sized(size)
            response = limited.send(way=way, content=body, headers={"content-type": "application/json"})
            assert response.status_code == status
            if status == 413:
                assert response.json()["errors"][0]["extensions"]["code"] == "BODY_TOO_LARGE"
                assert response.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_not_waited_for(database: Database, api: Api) -> None:
    api.project()

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    with Api(database, limits=limits(request_s_max=0.2)) as limited:
        response = limited.send(content=never(), headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (408, "BODY_TOO_SLOW")


# --- time -------------------------------------------------------------------------


@pytest.fixture
def held(database: Database, seeded: Api) -> Iterator[Callable[[], int]]:
    """Somebody holds the claims, so that reading them waits; counts who does."""
    with psycopg.connect(str(database.superuser_url.set(drivername="postgresql").render_as_string())) as conn:
        (schema,) = conn.execute("SELECT schema_name FROM onrecord.generation WHERE live").fetchone() or ("",)
        conn.execute(f"LOCK TABLE {schema}.claim IN ACCESS EXCLUSIVE MODE".encode())

        def waiting() -> int:
            count = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database"
            count += " WHERE datname = current_database())"
            (found,) = conn.execute(count.encode()).fetchone() or (0,)
            return found

        yield waiting


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)


CLAIM = '{ claim(slug: "troops-withdrawing") { slug } }'


@pytest.mark.parametrize("way", ["compiled", "interpreted"])
def test_what_takes_too_long_is_given_up_and_its_sql_cancelled(
    database: Database, held: Callable[[], int], way: str
) -> None:
    with Api(database, limits=limits(request_s_max=0.3)) as limited, capture_logs() as logged:
        response = limited.send(way=way, json={"query": CLAIM})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "TIMED_OUT"
        eventually(lambda: held() == 0)
        # The connection is as good as before.
        assert limited.send(way=way, json={"query": LOG}).json()["data"] == {"log": {"head": 5}}
    assert logged == []


def test_who_leaves_is_not_read_for(database: Database, held: Callable[[], int]) -> None:
    with Service(database) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as there:
            body = json.dumps({"query": CLAIM})
            head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
            there.sendall(f"{head}\r\n\r\n{body}".encode())
            eventually(lambda: held() > 0)
        eventually(lambda: held() == 0)


# --- how often --------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def came(clients: Clients, *addresses: str) -> list[float]:
    """How long each of these has to wait, in seconds."""
    waits: list[float] = []
    for each in addresses:
        try:
            clients.admit({"type": "http", "client": (each, 1)})
            waits.append(0)
        except TooManyRequests as error:
            waits.append(error.wait_s)
    return waits


def test_a_client_has_a_bucket_that_fills_again() -> None:
    clock = Clock()
    clients = Clients(2, 3, now=clock)
    assert came(clients, *["1.1.1.1"] * 5) == [0, 0, 0, 0.5, 0.5]
    # Another is not concerned.
    assert came(clients, "1.1.1.2") == [0]
    clock.now = 0.5
    assert came(clients, *["1.1.1.1"] * 2) == [0, 0.5]
    clock.now = 1_000
    assert came(clients, *["1.1.1.1"] * 4) == [0, 0, 0, 0.5]


def test_a_network_of_the_new_kind_is_one_client() -> None:
    clients = Clients(1, 1, now=Clock())
    assert came(clients, "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1%eth0", "fe80::2%eth0") == [
        0,
        1,
        0,
        0,
        1,
    ]


def test_clients_are_forgotten_in_the_end() -> None:
    clients = Clients(1, 1, now=Clock())
    came(clients, *(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}" for i in range(10_001)))
    assert came(clients, "10.0.0.1", "10.0.0.0") == [1, 0]


def test_who_asks_too_often_is_told_when_to_come_again(database: Database, api: Api) -> None:
    api.project()
    name = 'onrecord_refusals_total{code="TOO_MANY_REQUESTS"}'
    before = api.measured()[name]
    with Api(database, limits=limits(requests_per_s_max=0.1, requests_burst_max=2)) as limited:
        # Whatever is asked for, and whoever somebody says to be.
        forwarded = {"x-forwarded-for": "9.9.9.9"}
        statuses = [limited.send(json={"query": LOG}).status_code, limited.send("GET", path="/checkpoint").status_code]
        assert statuses == [200, 404]
        response = limited.send(json={"query": LOG}, headers=forwarded)
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (429, "TOO_MANY_REQUESTS")
    assert int(response.headers["retry-after"]) == 10
    assert response.headers["x-content-type-options"] == "nosniff"
    assert api.measured()[name] == before + 1


def test_a_proxy_that_is_trusted_says_who_asks(database: Database, api: Api) -> None:
    api.project()
    often = limits(requests_per_s_max=0.1, requests_burst_max=1)
    with Service(database, limits=often, trusted_proxies=["127.0.0.0/8"]) as service:

        def status(client: str) -> int:
            return httpx.get(service.url(LOG), headers={"x-forwarded-for": client}).status_code

        assert [status(client) for client in ("1.1.1.1", "1.1.1.1", "1.1.1.2", "1.1.1.2")] == [200, 429, 200, 429]


def test_operations_over_one_socket_count_too(database: Database, api: Api) -> None:
    api.project()
    often = limits(requests_per_s_max=0.01, requests_burst_max=3, subscriptions_max=1)
    with Service(database, limits=often) as service, service.socket() as there:
        there.subscribe(EVENTS, id="stream", after=0)
        there.subscribe(LOG, id="one too many")
        assert [each["extensions"]["code"] for each in there.receive()["payload"]] == ["TOO_MANY_SUBSCRIPTIONS"]
        there.subscribe(LOG, id="too often")
        message = there.receive()
        assert (message["type"], message["id"]) == ("error", "too often")
        assert [each["extensions"]["code"] for each in message["payload"]] == ["TOO_MANY_REQUESTS"]
        # The connection goes on.
        there.send(type="ping")
        assert there.receive() == {"type": "pong"}


# --- connections ------------------------------------------------------------------


def told(there: socket.socket) -> tuple[bytes, Any]:
    """What comes until the other side closes: the status line and the answer."""
    received = b""
    while more := there.recv(65536):
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"x-content-type-options: nosniff" in head
    assert b"server:" not in head.lower()
    return head.split(b"\r\n")[0], json.loads(body)["errors"][0]["extensions"]["code"]


def test_a_long_body_is_no_long_head(start: Start) -> None:
    """Of what comes at once, all may be there before anybody has looked at it."""
    service = start("serve", "--port", "0")
    address = service.line(r"answers at (http://\S+)/graphql")[1]
    long = {"query": LOG, "variables": {"nobody": "x" * 300_000}}
    with httpx.Client(base_url=address) as http:
        assert [http.post("/graphql", json=long).status_code for _ in range(20)] == [200] * 20


def test_connections_are_so_many_and_none_only_keeps_its_place(start: Start) -> None:
    service = start("serve", "--port", "0", connections_max="3", request_s_max="2")
    port = int(service.line(r"answers at http://127\.0\.0\.1:(\d+)/graphql")[1])
    address = ("127.0.0.1", port)
    one, two, three = (socket.create_connection(address) for _ in range(3))
    with one, two, three:
        # What is no HTTP, and a head that never ends.
        one.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert told(one) == (b"HTTP/1.1 400 Bad Request", "REQUEST_MALFORMED")
        two.sendall(b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000)
        assert told(two)[1] == "HEAD_TOO_LARGE"
        # One that says nothing is closed.
        assert three.recv(1) == b""
    many = [socket.create_connection(address) for _ in range(5)]
    answers = [told(each) for each in many[3:]]
    assert answers == [(b"HTTP/1.1 503 Service Unavailable", "TOO_MANY_CONNECTIONS")] * 2
    for each in many:
        each.close()
    eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/").status_code == 200)


# --- what is not told -------------------------------------------------------------


@pytest.mark.parametrize("query", ["{ lig { head } }", "query ($w: ClaimFilter) { claims(where: $w) { totalCount } }"])
def test_suggestions_can_be_switched_off(query: str) -> None:
    def messages(allowed: Limits) -> str:
        with pytest.raises(Invalid) as refused:
            Request.of(graphql_schema, Sent(query, {"w": {"tpoic": "x"}}), allowed)
        return str(refused.value)

    assert "Did you mean" in messages(limits())
    assert "Did you mean" not in messages(limits(suggestions=False))
