"""Whatever is sent: never a fault of ours, never an error without a code, and never half of a write.

A few hundred requests with every run of the tests; `make fuzz` sends many thousands, others each time, and counts them.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.audit.verifying import Mismatch, verify
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.test_api_errors import DOCUMENTED
from tests.test_api_mutations import RECORD, sent
from tests.test_api_ways import curated as curated
from tests.test_api_ways import queries

#: Half as many as of other properties, since each is a request.
fuzzed = settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
JSON = {"content-type": "application/json"}
#: Nobody projects meanwhile.
SOON = RECORD.replace("waitSeconds: 20", "waitSeconds: 0")


class Target:
    """The service, and what it holds by now."""

    #: Of this process, by all tests together.
    requests = 0

    def __init__(self, api: Api) -> None:
        self.api = api
        self._head = api.head()
        self.recorded = 0  #: by the last request.

    def send(self, method: str = "POST", **request: Any) -> httpx.Response:
        """Send a request, and see that it did no harm: at most one event more."""
        type(self).requests += 1
        with capture_logs() as logged:
            response = self.api.send(method, **request)
        assert response.status_code < 500, response.text
        assert logged == []
        for code in codes(response):
            assert code in DOCUMENTED - {"INTERNAL"}, response.text
        before, self._head = self._head, self.api.head()
        self.recorded = self._head - before
        assert self.recorded in (0, 1), response.text
        return response


def codes(response: httpx.Response) -> list[str]:
    """The codes of all errors of an answer, which has nothing else where there is no answer."""
    kind = response.headers.get("content-type", "")
    if "json" not in kind:
        assert "event-stream" in kind or "html" in kind or response.status_code == 304, response
        return []
    answer = response.json()
    assert answer.keys() <= {"data", "errors", "extensions"}
    return [each["extensions"]["code"] for each in answer.get("errors", ())]


@pytest.fixture
def target(seeded: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """The service with the seeds. In the end the log is what it should be."""
    monkeypatch.setattr("service.api.context.WAIT_S", 0.01)
    yield Target(seeded)
    seeded.project()
    mismatches: list[Mismatch] = []
    with seeded.engine.begin() as conn:
        verified = verify(conn, mismatches.append)
    assert mismatches == []
    assert verified.entries == seeded.head()


# --- bytes ------------------------------------------------------------------------

#: JSON of any shape, more often than not with the names that mean something.
names = st.sampled_from(["query", "variables", "operationName", "extensions", "input", "url", "claims"]) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
#: What is a request, before something is done to its bytes.
REQUESTS = [
    json.dumps({"query": "{ claims(first: 2) { nodes { slug belief { state } } } }"}).encode(),
    json.dumps({"query": "query Q($n: Int) { claims(first: $n) { totalCount } }", "variables": {"n": 2}}).encode(),
    json.dumps({"query": SOON, "variables": {"input": sent(SEEDS[0].model_dump(mode="json"))}}).encode(),
    json.dumps({"query": "{ log { head } } fragment F on Log { head }", "operationName": None}).encode(),
]


@st.composite
def broken(draw: Any, whole: st.SearchStrategy[bytes]) -> bytes:
    """Some bytes of `whole`, with a few pieces of it cut out, doubled, or put in another's place."""
    data = draw(whole)
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        end = min(end, begin + draw(st.sampled_from([1, 2, 8, 100, 10_000])))
        piece = draw(st.sampled_from([b"", data[begin:end] * 2]) | st.binary(max_size=8) | st.sampled_from(TOKENS))
        data = data[:begin] + piece + data[end:]
    return data


TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b"\x00", b"\xff", b"\xf0\x9f", b"null", b"1e999"),
    *(b"NaN", b"-0", b"$n", b"...F", b"@skip(if: true)", b"mutation", b"subscription", b"__schema", b"!", b"#", b'"""'),
    *(b"9" * 400, b"[" * 2_000, b"{a" * 2_000, b"9223372036854775808", b"\\uFEFF", b"\xef\xbb\xbf"),
]


@fuzzed
@given(
    body=st.binary(max_size=300)
    | broken(st.sampled_from(REQUESTS))
    | values.map(lambda each: json.dumps(each).encode())
)
@example(body=b"[" * 1_000_000)
def test_any_bytes_may_be_sent(target: Target, body: bytes) -> None:
    target.send(content=body, headers=JSON)


@fuzzed
@given(query=st.binary(max_size=300) | broken(st.sampled_from([b"query={log{head}}&variables={}&operationName="])))
def test_any_address_may_be_asked(target: Target, query: bytes) -> None:
    # As a client has to write them; a page for people is none of ours.
    escaped = "".join(chr(each) if chr(each).isalnum() or each in b"=&" else f"%{each:02X}" for each in query)
    target.send("GET", path=f"/graphql?{escaped}")


@fuzzed
@given(
    method=st.sampled_from(["GET", "POST"]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("accept", "content-type", "onrecord-min-position", "if-none-match", "last-event-id", "origin"),
                *("x-forwarded-for", "accept-encoding", "content-encoding", "cookie", "authorization", "range"),
            ]
        ),
        st.binary(max_size=60).map(lambda each: bytes(byte for byte in each if byte >= 32 and byte != 127))
        | st.sampled_from(
            [
                *(b"text/event-stream", b"application/graphql-response+json", b"*/*;q=0", b"application/json;q=1.0001"),
                *(b"application/json", b"application/json; charset=", b"multipart/form-data; boundary=x", b";;,,q=1"),
                *(b"0", b"5", b"99", b"9" * 30, b"\xb2", b'"x", W/"y"', b"*", b"text/html"),
            ]
        ),
        max_size=6,
    ),
)
def test_any_headers_may_be_sent(target: Target, method: str, headers: dict[str, bytes]) -> None:
    query = "{ claims(first: 1) { nodes { slug } } }"
    how: dict[str, Any] = {"params": {"query": query}} if method == "GET" else {"content": json.dumps({"query": query})}
    # To wait for what is not there yet is told by 503, as it should.
    headers = {name: value for name, value in headers.items() if name != "onrecord-min-position" or value < b"6"}
    target.send(method, headers={"content-type": JSON["content-type"], **headers}, **how)


# --- operations -------------------------------------------------------------------


@fuzzed
@given(query=queries().flatmap(lambda each: st.just(each.encode()) | broken(st.just(each.encode()))))
def test_any_operation_may_be_asked(curated: Api, query: bytes) -> None:
    Target(curated).send(content=json.dumps({"query": query.decode(errors="replace")}), headers=JSON)


@fuzzed
@given(variables=st.dictionaries(st.sampled_from(["n", "s", "ids", "where", "at"]), values))
def test_any_variables_may_be_given(target: Target, variables: dict[str, Any]) -> None:
    query = """query ($n: Int, $s: String!, $ids: [ID!]!, $where: ClaimFilter, $at: AsOf) {
        claims(first: $n, where: $where, asOf: $at) { totalCount nodes { slug } } nodes(ids: $ids) { id }
        claim(slug: $s) { statements(first: $n, after: $s) { nodes { quote } } } }"""
    target.send(content=json.dumps({"query": query, "variables": {"s": "x", "ids": [], **variables}}), headers=JSON)


# --- documents --------------------------------------------------------------------

SENT = [sent(each.model_dump(mode="json", exclude_none=True)) for each in SEEDS]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


ODD = st.sampled_from(
    [
        *(None, "", " ", "\0", "\ud800", "x" * 3_000, "a-b", "A", "é", "2022-02-30", "0999-01-01", "2022-02-15T25:00Z"),
        *("http://", "urn:x#y", "javascript:alert(1)", "ASSERTS", "DENIES", 0, -1, 2**31, 2**63, 1.5, True, [], {}),
        *([None], {"id": None}, "1", "\u202e", "𝕏" * 10, "outlet:x"),
    ]
)


@st.composite
def mutated(draw: Any) -> dict[str, Any]:
    """A seed's document, in which a few things are others, are gone, or are there twice."""
    document = copy.deepcopy(draw(st.sampled_from(SENT)))
    if draw(st.booleans()):
        # One that is not on record yet.
        document["url"] = f"urn:fuzz:{draw(st.integers(0, 10**9))}"
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(list(places(document))))
        parent = document
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["odd", "any", "gone", "twice", "from elsewhere"])):
            case "odd":
                parent[last] = draw(ODD)
            case "any":
                parent[last] = draw(values)
            case "gone":
                del parent[last]
            case "twice" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
            case _:
                *there, name = draw(st.sampled_from(list(places(document))))
                found = document
                for step in [*there, name]:
                    found = found[step]
                parent[last] = copy.deepcopy(found)
    return document


@fuzzed
@given(document=mutated())
def test_any_document_may_be_recorded(target: Target, document: dict[str, Any]) -> None:
    response = target.send(content=json.dumps({"query": SOON, "variables": {"input": document}}), headers=JSON)
    assert target.recorded == response.text.count("ArticleAccepted")


def test_some_of_what_is_made_up_is_recorded_and_some_refused(target: Target) -> None:
    """Or the test above would say little."""
    told: list[str] = []

    @settings(fuzzed, max_examples=60)
    @given(document=mutated())
    def send(document: dict[str, Any]) -> None:
        body = json.dumps({"query": SOON, "variables": {"input": document}})
        told.append(target.send(content=body, headers=JSON).text)

    send()
    for outcome in ("ArticleAccepted", "ArticleRefused", "BAD_QUERY"):
        assert any(outcome in each for each in told), outcome


@pytest.fixture(scope="session", autouse=True)
def _counted() -> Iterator[None]:
    """For `make fuzz`: how many requests that were."""
    yield
    print(f"\n{Target.requests:,} requests were made up and sent.")
