"""What browsers are told: whose pages may ask, what an answer may be taken for, and that nobody is asked in turn."""

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from service.domain import article as documents
from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import document, raw
from tests.conftest import Database
from tests.live import EVENTS, Service

FRIEND, STRANGER = "https://news.example", "https://evil.example"
LOG = "{ log { head } }"
#: Of every kind, by whom it is answered.
PATHS = ["/", "/web/app.js", "/nothing", "/graphql", "/graphql?query={log{head}}", "/checkpoint", "/tile/0/x"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["*/*", "text/html", "image/png"])
def test_every_answer_says_what_it_may_be_taken_for(seeded: Api, path: str, accept: str) -> None:
    headers = seeded.send("GET", path=path, headers={"accept": accept}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not re.search(r"unsafe|\*|https?:", headers["content-security-policy"])
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("path", PATHS)
def test_no_header_is_said_twice(seeded: Api, path: str) -> None:
    names = [name for name, _ in seeded.send("GET", path=path).headers.multi_items()]
    assert len(names) == len(set(names))


# --- pages of other origins -------------------------------------------------------


def preflight(api: Api, origin: str) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    return api.send("OPTIONS", headers={"origin": origin, **asked})


def test_pages_of_other_origins_may_not_ask(seeded: Api) -> None:
    assert preflight(seeded, STRANGER).status_code == 405
    for response in (preflight(seeded, STRANGER), seeded.send(json={"query": LOG}, headers={"origin": STRANGER})):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.fixture
def shared(database: Database, seeded: Api) -> Iterator[Api]:
    """The service with the seeds, for pages of one other origin too."""
    with Api(database, origins=[FRIEND]) as api:
        yield api


def test_those_of_an_origin_that_is_let_in_may(shared: Api) -> None:
    allowed = preflight(shared, FRIEND)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, FRIEND)
    assert "Content-Type" in allowed.headers["access-control-allow-headers"]
    assert "Onrecord-Min-Position" in allowed.headers["access-control-allow-headers"]
    told = shared.send("GET", params={"query": "{ claims { totalCount } }"}, headers={"origin": FRIEND})
    assert told.headers["access-control-allow-origin"] == FRIEND
    assert "ETag" in told.headers["access-control-expose-headers"]
    assert {"Accept", "Origin"} <= set(told.headers["vary"].split(", "))
    assert told.headers["cross-origin-resource-policy"] == "cross-origin"
    # A page hears of what is refused too.
    refused = shared.send(json=[], headers={"origin": FRIEND})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (422, FRIEND)


def test_and_no_others(shared: Api) -> None:
    assert preflight(shared, STRANGER).status_code == 400
    told = shared.send(json={"query": LOG}, headers={"origin": STRANGER})
    assert "access-control-allow-origin" not in told.headers
    # No cookie or password of a reader goes with what a page asks.
    assert "access-control-allow-credentials" not in preflight(shared, FRIEND).headers


def test_sockets_are_for_the_same_pages(database: Database, seeded: Api) -> None:
    with Service(database, origins=[FRIEND]) as service:
        with service.socket(origin=FRIEND) as there:
            there.subscribe(EVENTS, after=4)
            assert there.next() == {"events": {"position": 5, "type": "ArticleRecorded"}}
        for origin in (STRANGER, "null", FRIEND + ".evil.example"):
            with pytest.raises(InvalidStatus) as refused, service.socket(introduce=False, origin=origin):
                pass
            response = refused.value.response
            assert response.status_code == 403
            assert json.loads(response.body or b"")["errors"][0]["extensions"]["code"] == "ORIGIN_REFUSED"
            assert response.headers["x-content-type-options"] == "nosniff"


# --- whom the service asks --------------------------------------------------------


def test_nothing_that_a_document_names_is_ever_fetched(api: Api) -> None:
    """Whatever is an address in it: whoever listens there hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        sent = document("a")
        sent |= {"url": f"{address}/article", "headline": f"{address}/headline", "text": f"see {address}/text"}
        sent["outlet"]["name"] = f"{address}/outlet"
        speaker = {"id": "s", "name": f"{address}/name", "role": f"{address}/role", "organisation": f"{address}/org"}
        said = {"speaker": speaker, "stance": "asserts", "quote": f"{address}/text"}
        sent["claims"] = [{"claim": "c", "proposition": f"{address}/proposition", "statements": [said]}]
        article = documents.read(raw(sent))
        recorded = api.ask(
            "mutation ($input: ArticleInput!) { recordArticle(input: $input) { __typename } }",
            input={
                "url": f"{address}/other",
                "outlet": {"id": "o", "name": address},
                "publishedAt": "2022-02-15",
                "headline": address,
                "claims": [],
            },
        )
        assert recorded == {"recordArticle": {"__typename": "ArticleAccepted"}}
        api.record(article)
        found = api.ask("""{ articles { nodes { url headline text outlet { name } statements { nodes { quote
            speaker { name role organisation } claim { proposition } } } event { payload leaf } } } }""")
        assert len(found["articles"]["nodes"]) == 2
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
