"""Who may do what over the API: with a token, with another one, and with none."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx
import pytest
import structlog
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLNonNull, GraphQLObjectType, get_named_type
from graphql import GraphQLList as ListOf
from sqlalchemy import Engine
from starlette.responses import PlainTextResponse
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from service import tokens
from service.api import access
from service.api.access import Access
from service.api.authenticating import Authenticating
from service.api.schema import graphql_schema
from service.cli.integrating import Integrating
from service.config import Settings
from service.database import engine as engines
from service.domain.scopes import Scope
from tests.api import Api
from tests.api import served as served
from tests.builders import article, asserts
from tests.conftest import Database
from tests.live import EVENTS, Service
from tests.processes import eventually
from tests.test_site import NOWHERE
from tests.test_tokens import make

READ = frozenset({Scope.READ})
NOTHING = frozenset[Scope]()
RULE = 'mutation { ruleClaim(claim: "x", state: DENIED, reason: "Why.", waitSeconds: 0) { __typename } }'
HEAD = "{ log { head } }"

MUTATIONS = cast(GraphQLObjectType, graphql_schema.mutation_type)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def held(owner_engine: Engine) -> dict[str, str]:
    """A token of each scope, by the scope's name, and one of two."""
    made = {scope.value: make(owner_engine, scope.value, scope) for scope in Scope}
    return {**made, "both": make(owner_engine, "both", Scope.RECORD, Scope.CURATE)}


@pytest.fixture
def readable(database: Database) -> Iterator[Api]:
    """A service that may be read without a token."""
    with Api(database, without_token=READ) as api:
        api.record(article("a", nato=asserts("x")))
        yield api


@pytest.fixture
def closed(database: Database) -> Iterator[Api]:
    """A service of which nothing may be had without a token."""
    with Api(database, without_token=NOTHING) as api:
        api.record(article("a", nato=asserts("x")))
        yield api


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of a token is noticed by the next request."""
    monkeypatch.setattr(access, "FRESH_S", 0)


at_once = pytest.mark.usefixtures("_at_once")


def codes(api: Api, query: str, token: str | None = None, **headers: str) -> list[str]:
    answer = api.answer(query, headers={**headers, **(bearer(token) if token else {})})
    return [each["extensions"]["code"] for each in answer.get("errors", [])]


# --- what each mutation needs -----------------------------------------------------


def literal(of: Any) -> str:
    """Something that can be sent as a value of this type."""
    if isinstance(of, GraphQLNonNull):
        return literal(of.of_type)
    if isinstance(of, ListOf):
        return f"[{literal(of.of_type)}]"
    named = get_named_type(of)
    if isinstance(named, GraphQLEnumType):
        return next(iter(named.values))
    if isinstance(named, GraphQLInputObjectType):
        required = {name: each for name, each in named.fields.items() if isinstance(each.type, GraphQLNonNull)}
        return "{" + ", ".join(f"{name}: {literal(each.type)}" for name, each in required.items()) + "}"
    return {"Position": "1", "Float": "0", "Boolean": "true"}.get(named.name, '"2022-02-15"')


def sendable(name: str) -> str:
    """A mutation with all that it requires."""
    required = {arg: each for arg, each in MUTATIONS.fields[name].args.items() if isinstance(each.type, GraphQLNonNull)}
    given = ", ".join(f"{arg}: {literal(each.type)}" for arg, each in required.items())
    return f"mutation {{ {name}({given}) {{ __typename }} }}"


@pytest.mark.parametrize("name", MUTATIONS.fields)
def test_every_mutation_says_which_scope_it_needs_and_is_refused_without(
    readable: Api, held: Mapping[str, str], name: str
) -> None:
    said = re.search(r" \(needs the scope `(\w+)`\)$", MUTATIONS.fields[name].description or "")
    assert said is not None
    needs = Scope(said[1])
    assert needs is not Scope.READ
    enough = {needs.value, "admin", *(["both"] if needs is not Scope.ADMIN else [])}
    head = readable.head()
    assert codes(readable, sendable(name)) == ["UNAUTHENTICATED"]
    for scope, token in held.items():
        if scope not in enough:
            assert codes(readable, sendable(name), token) == ["FORBIDDEN"], scope
    assert readable.head() == head
    for scope in enough:
        answer = readable.answer(sendable(name), headers=bearer(held[scope]))
        assert answer["data"] is not None, scope


def test_of_several_mutations_none_is_done_unless_all_may_be(readable: Api, held: Mapping[str, str]) -> None:
    retract = 'retractArticle(url: "urn:x", reason: "Why.", waitSeconds: 0) { __typename }'
    lift = 'other: liftRuling(claim: "x", reason: "Why.", waitSeconds: 0) { __typename }'
    for both in (
        f"mutation {{ {RULE[11:-2]} {retract} }}",
        f"mutation {{ {RULE[11:-2]} ...more }} fragment more on Mutation {{ ... {{ {retract} }} }}",
        f"mutation ($so: Boolean = true) {{ {RULE[11:-2]} ... @include(if: $so) {{ {retract} }} }}",
        f"mutation Two {{ {RULE[11:-2]} {retract} }}",
    ):
        assert codes(readable, both, held["curate"]) == ["FORBIDDEN"]
    assert readable.head() == 1
    # What is left out needs nothing.
    skipped = f"mutation {{ {RULE[11:-2]} {lift} ... @skip(if: true) {{ {retract} }} }}"
    assert codes(readable, skipped, held["curate"]) == []
    assert readable.head() == 3


def test_what_writes_nothing_needs_no_scope(readable: Api) -> None:
    assert codes(readable, "mutation { __typename }") == []


# --- who sent it ------------------------------------------------------------------


def actors(api: Api) -> list[str]:
    with api.engine.begin() as conn:
        return list(conn.exec_driver_sql("SELECT actor FROM onrecord.event ORDER BY position").scalars())


def sending(number: int) -> str:
    return f'mutation {{ ruleClaim(claim: "x", state: DENIED, reason: "{number}", waitSeconds: 0) {{ __typename }} }}'


def test_the_actor_is_who_really_sent_it(api: Api, held: Mapping[str, str]) -> None:
    api.record(article("a", nato=asserts("x")))
    assert codes(api, sending(1)) == []
    assert codes(api, sending(2), held["curate"]) == []
    assert codes(api, sending(3), held["both"], **{"x-actor": "token:admin", "actor": "cli:root"}) == []
    assert actors(api) == ["cli:test", "anonymous", "token:curate", "token:both"]


def test_the_actor_is_the_same_by_every_way(database: Database, api: Api, held: Mapping[str, str]) -> None:
    api.record(article("a", nato=asserts("x")))
    with Service(database) as service:
        answered = httpx.post(
            f"http://127.0.0.1:{service.port}/graphql",
            json={"query": sending(1)},
            headers={"accept": "text/event-stream", **bearer(held["curate"])},
        )
        assert "CurationAccepted" in answered.text
        with (
            service.socket() as nobody,
            service.socket(additional_headers=bearer(held["both"])) as by_header,
            service.socket(introduce=False) as by_payload,
        ):
            by_payload.send(type="connection_init", payload=bearer(held["admin"]))
            assert by_payload.receive() == {"type": "connection_ack"}
            for number, socket in enumerate((nobody, by_header, by_payload), 2):
                socket.subscribe(sending(number))
                assert socket.next()["ruleClaim"]["__typename"] == "CurationAccepted"
    assert actors(api) == ["cli:test", "token:curate", "anonymous", "token:both", "token:admin"]


# --- writing without a token ------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_without_a_token_one_writes_from_this_machine(api: Api, host: str) -> None:
    api.record(article("a", nato=asserts("x")))
    assert codes(api, RULE, host=host) == []


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:8000", "localhost.example.org", "127.0.0.1.nip.io", "::1"]
)
def test_a_name_that_was_made_to_lead_here_lets_nobody_write(api: Api, held: Mapping[str, str], host: str) -> None:
    api.record(article("a", nato=asserts("x")))
    assert codes(api, RULE, host=host) == ["UNAUTHENTICATED"]
    assert codes(api, HEAD, host=host) == []
    assert codes(api, RULE, held["curate"], host=host) == []


# --- a token that is sent is checked ----------------------------------------------

BAD = {
    "of no such name": "Bearer onrecord_nobody_AAAA",
    "of another secret": "Bearer onrecord_admin_AAAA",
    "nothing": "Bearer ",
    "empty": "",
    "of another kind": "Basic YTpi",
    "without its kind": "onrecord_admin_AAAA",
    "not ASCII": "Bearer onrecord_admin_\xff",
}
PLACES = {
    "POST": {"method": "POST", "json": {"query": HEAD}},
    "GET": {"method": "GET", "params": {"query": HEAD}},
    "events": {"method": "GET", "params": {"query": HEAD}, "headers": {"accept": "text/event-stream"}},
    "checkpoint": {"method": "GET", "path": "/checkpoint"},
    "tile": {"method": "GET", "path": "/tile/entries/000.p/1"},
    "page": {"method": "GET", "path": "/"},
    "file": {"method": "GET", "path": "/web/app.js"},
    "GraphiQL": {"method": "GET", "headers": {"accept": "text/html"}},
    "nothing there": {"method": "POST", "path": "/nothing"},
}


def sent(api: Api, place: str, way: str = "compiled", **headers: str) -> httpx.Response:
    request: dict[str, Any] = {**PLACES[place]}
    given = {name: value.encode("latin-1") for name, value in headers.items()}
    return api.send(way=way, **{**request, "headers": {**request.get("headers", {}), **given}})


def assert_unauthenticated(answer: httpx.Response) -> None:
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="onrecord"'
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert answer.json().keys() == {"errors"}
    assert [each["extensions"]["code"] for each in answer.json()["errors"]] == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_token_in_force_is_refused_wherever_it_is_sent(
    api: Api, held: Mapping[str, str], place: str
) -> None:
    for authorization in BAD.values():
        assert_unauthenticated(sent(api, place, authorization=authorization))
    assert sent(api, place).status_code != 401
    assert sent(api, place, **bearer(held["read"])).status_code != 401
    assert sent(api, place, authorization=f"bearer  {held['read']} ").status_code != 401
    two = [("authorization", f"Bearer {held['read']}")] * 2
    assert_unauthenticated(api.send("GET", path="/", headers=two))


@at_once
def test_a_token_that_is_revoked_is_refused(readable: Api, owner_engine: Engine) -> None:
    token = make(owner_engine, "desk", Scope.RECORD)
    assert sent(readable, "POST", **bearer(token)).status_code == 200
    with owner_engine.begin() as conn:
        tokens.revoke(conn, "desk")
    assert_unauthenticated(sent(readable, "POST", **bearer(token)))
    # Another one of the name is not the first again.
    other = make(owner_engine, "desk", Scope.RECORD)
    assert_unauthenticated(sent(readable, "POST", **bearer(token)))
    assert sent(readable, "POST", **bearer(other)).status_code == 200


def test_what_is_guessed_costs_no_statement_and_reading_without_a_token_none_either(
    readable: Api, held: Mapping[str, str]
) -> None:
    assert sent(readable, "POST", **bearer(held["read"])).status_code == 200
    with readable.statements() as seen:
        for number in range(100):
            sent(readable, "page", **bearer(f"onrecord_read_{number:043}"))
            sent(readable, "page")
    asked = [each for each in seen if "onrecord.token" in each]
    assert len(asked) < 20, "at most one a second"
    with readable.statements() as seen:
        for way in ("compiled", "interpreted"):
            sent(readable, "POST", way)
    assert not any("onrecord.token" in each for each in seen)


# --- reading that is closed -------------------------------------------------------


def test_a_closed_record_is_for_who_has_a_token(closed: Api, held: Mapping[str, str]) -> None:
    with closed.engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM onrecord.event").scalar_one() == 1
    for place in ("POST", "GET", "events", "checkpoint", "tile", "nothing there"):
        for way in ("compiled", "interpreted"):
            assert_unauthenticated(sent(closed, place, way))
            for token in held.values():
                assert sent(closed, place, way, **bearer(token)).status_code != 401
    assert codes_of(closed, RULE) == 401


def codes_of(api: Api, query: str) -> int:
    return api.send(json={"query": query}).status_code


def test_a_closed_record_shows_the_explorer_and_nothing_of_itself(closed: Api) -> None:
    for place in ("page", "file", "GraphiQL"):
        assert sent(closed, place).status_code == 200
    for path in ("/claim/x", "/log/1", "/compare"):
        assert closed.send("GET", path=path).status_code == 200
        assert closed.send("HEAD", path=path).status_code == 200
        assert_unauthenticated(closed.send("POST", path=path))
    for path in ("/graphql/", "/Graphql", "/tile", "/web", "/elsewhere"):
        assert_unauthenticated(closed.send("GET", path=path, params={"query": HEAD}))
    assert "data" not in closed.send("GET", path="/graphql").text


def test_an_answer_that_is_known_is_still_closed(closed: Api, held: Mapping[str, str]) -> None:
    asked = {"query": '{ claim(slug: "x", asOf: {position: 1}) { slug } }'}
    for request in ({"method": "POST", "json": asked}, {"method": "GET", "params": asked}):
        first, again = (closed.send(**request, headers=bearer(held["read"])) for _ in range(2))
        assert first.json() == again.json()
        tag = first.headers["etag"]
        assert "authorization" in first.headers["vary"].lower()
        assert "public" not in first.headers["cache-control"]
        assert_unauthenticated(closed.send(**request))
        assert_unauthenticated(closed.send(**request, headers={"if-none-match": tag}))
        assert_unauthenticated(closed.send(**request, headers={"if-none-match": tag, **bearer("onrecord_read_x")}))
    known = closed.send("GET", params=asked, headers={"if-none-match": tag, **bearer(held["read"])})
    assert known.status_code == 304
    assert "authorization" in known.headers["vary"].lower()


def test_of_a_closed_record_nobody_between_keeps_tiles(
    closed: Api, readable: Api, held: Mapping[str, str], tmp_path: Any, database: Database
) -> None:
    settings = Settings(database_url=database.service_url.render_as_string(hide_password=False), data_dir=tmp_path)  # type: ignore[arg-type]
    Integrating.of(closed.engine, settings).catch_up()
    private = closed.send("GET", path="/tile/entries/000.p/1", headers=bearer(held["read"]))
    assert (private.status_code, private.headers["cache-control"].split(",")[0]) == (200, "private")
    open_ = readable.send("GET", path="/tile/entries/000.p/1")
    assert (open_.status_code, open_.headers["cache-control"].split(",")[0]) == (200, "public")
    assert "vary" not in open_.headers


# --- streams ----------------------------------------------------------------------


def test_a_socket_that_brings_no_token_is_closed(database: Database, closed: Api, held: Mapping[str, str]) -> None:
    with Service(database, without_token=NOTHING) as service:
        for payload in (None, {}, {"authorization": 7}, bearer("onrecord_read_x"), {"authorization": "\ud800"}):
            with service.socket(introduce=False) as there:
                there.send(type="connection_init", payload=payload)
                assert there.rest() == ([], 4401)
        with service.socket(introduce=False) as there:
            there.send(type="connection_init", payload={"Authorization": f"Bearer {held['read']}"})
            assert there.receive() == {"type": "connection_ack"}
            there.subscribe(HEAD)
            assert there.next() == {"log": {"head": 1}}
        with service.socket(additional_headers=bearer(held["read"])) as there:
            there.subscribe(HEAD)
            assert there.next() == {"log": {"head": 1}}
        with pytest.raises(InvalidStatus) as refused, service.socket(additional_headers=bearer("onrecord_read_x")):
            pass
        assert refused.value.response.status_code == 401


@at_once
def test_a_stream_ends_with_its_token(database: Database, api: Api, owner_engine: Engine) -> None:
    api.record(article("a", nato=asserts("x")))
    token = make(owner_engine, "desk", Scope.CURATE)
    with (
        Service(database) as service,
        service.sse(EVENTS, headers=bearer(token), after=0) as told,
        service.sse(EVENTS, after=0) as open_to_all,
        service.socket(additional_headers=bearer(token)) as there,
    ):
        assert next(told).id == "1"
        there.subscribe(EVENTS, after=0)
        assert there.next()["events"]["position"] == 1
        with owner_engine.begin() as conn:
            tokens.revoke(conn, "desk")
        api.record(article("b", nato=asserts("x")))
        last = next(told)
        assert [each["extensions"]["code"] for each in last.data.get("errors", [])] == ["UNAUTHENTICATED"]
        assert next(told).kind == "complete"
        message = there.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        # Nor does anything else go by that socket.
        there.subscribe(RULE, id="2")
        assert there.receive()["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert [each.id for each in itertools.islice(open_to_all, 2)] == ["1", "2"]
    assert api.head() == 2


@at_once
def test_a_stream_waits_for_the_database_to_say_whose_it_is(
    database: Database, api: Api, owner_engine: Engine, held: Mapping[str, str]
) -> None:
    api.record(article("a", nato=asserts("x")))
    with Service(database) as service, service.sse(EVENTS, headers=bearer(held["read"]), after=0) as told:
        assert next(told).id == "1"
        with owner_engine.begin() as conn:
            conn.exec_driver_sql("REVOKE SELECT ON onrecord.token FROM onrecord")
        with api.statements() as seen:
            api.record(article("b", nato=asserts("x")))
            eventually(lambda: any("onrecord.token" in str(each) for each in seen))
        with owner_engine.begin() as conn:
            conn.exec_driver_sql("GRANT SELECT ON onrecord.token TO onrecord")
        following = next(told)
        assert (following.kind, following.id) == ("next", "2")


# --- what is told of refusals -----------------------------------------------------


def test_refusals_are_counted_and_logged_without_what_was_sent(
    readable: Api, held: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    names = {code: f'onrecord_refusals_total{{code="{code}"}}' for code in ("UNAUTHENTICATED", "FORBIDDEN")}
    before = readable.measured()
    guess = "onrecord_desk_hunter2"
    with caplog.at_level("INFO", "onrecord"):
        sent(readable, "POST", **bearer(guess))
        codes(readable, RULE)
        codes(readable, RULE, held["record"])
        codes(readable, RULE, held["record"])
    after = readable.measured()
    assert {code: after[name] - before[name] for code, name in names.items()} == {"UNAUTHENTICATED": 2, "FORBIDDEN": 2}
    refused = [vars(each) for each in caplog.records if each.msg == "refused"]
    assert [each["code"] for each in refused] == ["UNAUTHENTICATED"] * 2 + ["FORBIDDEN"] * 2
    assert ["scope curate" in each["because"] for each in refused] == [False, True, True, True]
    written = json.dumps([vars(each) for each in caplog.records], default=str)
    assert "hunter2" not in written
    assert held["record"].split("_", 2)[2] not in written


def test_a_line_of_the_log_names_who_asked(database: Database, held: Mapping[str, str]) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        structlog.get_logger().info("asked")
        await PlainTextResponse("in")(scope, receive, send)

    async def ask() -> None:
        engine = engines.create_async(database.service_url)
        guarded = Authenticating(answer, Access(engine, without_token=READ))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://localhost") as client:
            await client.get("/")
            await client.get("/", headers=bearer(held["record"]))
        await engine.dispose()

    with capture_logs(processors=[merge_contextvars]) as logged:
        asyncio.run(ask())
    named = [(each["actor"], each["address"]) for each in logged]
    assert named == [("anonymous", "127.0.0.1"), ("token:record", "127.0.0.1")]


def test_where_the_database_does_not_say_who_it_is_nobody_is_let_in() -> None:
    engine = engines.create_async(NOWHERE)
    guarded = Authenticating(PlainTextResponse("in"), Access(engine, without_token=frozenset(Scope)))

    async def answer(**headers: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://localhost") as client:
            return await client.get("/", headers=headers)

    assert asyncio.run(answer()).text == "in"
    refused = asyncio.run(answer(**bearer("onrecord_desk_x")))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["errors"][0]["extensions"]["code"] == "DATABASE_UNREACHABLE"
