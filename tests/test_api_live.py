"""Streams: caught up from any cursor, then live, without gaps or repeats, whatever breaks in between."""

import contextlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import InvalidStatus

from service.api import watching
from service.audit.rebuild import rebuild
from service.domain import article as documents
from service.domain.article import Article
from service.domain.events import ClaimsMerged, PolicyAdopted
from service.domain.policies import State, policy
from service.queries import streams
from tests.api import Api
from tests.api import served as served
from tests.builders import article, asserts, denies, document, raw, withholds
from tests.conftest import Database
from tests.live import EVENTS, NAME, TRANSITIONS, Service, Told
from tests.processes import eventually


@pytest.fixture
def service(database: Database, api: Api) -> Iterator[Service]:
    """A service that listens, on a record in which nothing is; `api` records and projects."""
    api.prepare()
    with Service(database) as started:
        yield started


def cursors(told: Iterator[Told], count: int) -> list[str | None]:
    """Where the next items stand."""
    return [each.id for each in itertools.islice(told, count)]


def moving(number: int, *slugs: str) -> Article:
    """An article that moves each of these claims: who asserted them denies them now, and the other way round."""
    say = asserts if number % 2 else denies
    published = f"2022-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return article(f"a-{number}", published=published, nato=[say(slug) for slug in slugs or ("alpha", "beta")])


def test_catching_up_goes_over_into_live(service: Service, api: Api) -> None:
    api.record(article("a", nato=[asserts("alpha"), asserts("beta")]), article("b", nato=asserts("gamma")))
    with service.sse(TRANSITIONS, after="0") as told:
        assert cursors(told, 3) == ["1:alpha", "1:beta", "2:gamma"]
        api.record(article("c", kremlin=denies("beta")))
        (moved,) = itertools.islice(told, 1)
        assert moved.kind == "next"
        assert moved.id == "3:beta"
        assert moved.data["data"] == {
            "transitions": {"cursor": "3:beta", "slug": "beta", "from": "ASSERTED", "to": "UNVERIFIED"}
        }
        assert moved.data["extensions"] == {"cost": 1, "log": {"position": 3, "head": 3}}


def test_a_cursor_is_a_place_within_a_position(service: Service, api: Api) -> None:
    api.record(moving(1), moving(2))
    for after, wanted in {
        "0": ["1:alpha", "1:beta", "2:alpha", "2:beta"],
        "1:alpha": ["1:beta", "2:alpha", "2:beta"],
        # No claim has to be there.
        "1:azure": ["1:beta", "2:alpha", "2:beta"],
        "1": ["2:alpha", "2:beta"],
    }.items():
        with service.sse(TRANSITIONS, after=after) as told:
            assert cursors(told, len(wanted)) == wanted


def test_without_a_cursor_a_stream_begins_now(service: Service, api: Api) -> None:
    api.record(moving(1))
    with service.socket() as there:
        there.subscribe(TRANSITIONS)
        # Answered in turn, so by then the stream has begun.
        there.subscribe("{ log { projected } }", id="2")
        assert there.next() == {"log": {"projected": 1}}
        assert there.receive() == {"id": "2", "type": "complete"}
        time.sleep(0.2)
        api.record(moving(2))
        assert there.next()["transitions"]["cursor"] == "2:alpha"


def test_events_come_in_order_once_they_are_projected(service: Service, api: Api) -> None:
    api.record(moving(1), moving(2))
    api.append(moving(3))
    with service.sse("{ log { head projected } }") as told:
        assert next(told).data["data"] == {"log": {"head": 3, "projected": 2}}
    with service.sse(EVENTS.replace("type", "type transitions { nodes { slug } }"), after=0) as told:
        assert cursors(told, 2) == ["1", "2"]
        api.project()
        assert next(told).data["data"]["events"] == {
            "position": 3,
            "type": "ArticleRecorded",
            "transitions": {"nodes": [{"slug": "alpha"}, {"slug": "beta"}]},
        }


# --- what is wanted ---------------------------------------------------------------


def topical(name: str, topic: str, slug: str) -> Article:
    """An article that says what a claim is about."""
    sent = document(name, published="2021-12-31", nato=asserts(slug))
    sent["claims"][0]["topic"] = topic
    return documents.read(raw(sent))


@pytest.fixture
def varied(api: Api) -> Api:
    """A record of several claims, topics and states."""
    api.record(
        *(moving(number) for number in range(1, 5)),
        moving(5, "gamma"),
        article("else", kremlin=[denies("gamma"), withholds("delta")]),
    )
    return api


def test_a_stream_is_of_what_is_asked_for(service: Service, varied: Api) -> None:
    asked = 'subscription ($claim: String, $state: State) { transitions(after: "0", claim: $claim, state: $state) '
    asked += "{ cursor to } }"
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"claim": "beta"}, ["1:beta", "2:beta", "3:beta", "4:beta"]),
        ({"claim": "beta", "state": "DENIED"}, ["2:beta", "4:beta"]),
        ({"state": "UNVERIFIED"}, ["6:delta", "6:gamma"]),
    ]
    for wanted, expected in cases:
        with service.sse(asked, **wanted) as told:
            assert cursors(told, len(expected)) == expected


def test_what_is_read_for_one_is_what_is_chosen_for_him_of_what_is_read_for_all(varied: Api) -> None:
    """Near the end of the log a stream is filtered here, and else in the database."""
    varied.record(topical("e", "troops", "epsilon"), moving(8, "epsilon"), topical("f", "talks", "zeta"))
    name = policy("unanimous").id
    every = streams.Transitions(name)
    filters = [
        streams.Transitions(name, claim=claim, topic=topic, state=state)
        for claim in (None, "beta", "epsilon", "nothing")
        for topic in (None, "troops", "talks", "nothing")
        for state in (None, *State)
    ]
    with varied.snapshot() as view:
        everything = every.read(view, every.end(0))
        assert len(everything.rows) > 10
        for each in filters:
            assert streams.chosen(everything, each) == each.read(view, every.end(0))
        assert len(streams.Transitions(name, topic="troops").read(view, every.end(0)).rows) == 2


def test_of_a_merged_claim_its_survivor_is_meant(service: Service, api: Api) -> None:
    api.record(moving(1), ClaimsMerged(claim="alpha", into="beta", reason="The same."), moving(4))
    with service.sse(TRANSITIONS.replace("after: $after", 'after: $after, claim: "alpha"'), after="0") as told:
        assert cursors(told, 2) == ["1:beta", "3:beta"]


def test_a_stream_stays_with_the_policy_that_was_in_force_when_it_began(service: Service, api: Api) -> None:
    asked = TRANSITIONS.replace("cursor", "cursor policy")
    with service.sse(asked, after="0") as told:
        api.record(moving(1, "alpha"), PolicyAdopted(policy="majority", reason="For now."), moving(2, "alpha"))
        assert [each.data["data"]["transitions"]["policy"] for each in itertools.islice(told, 2)] == ["unanimous@1"] * 2
    with service.sse(asked, after="0") as told:
        assert next(told).data["data"]["transitions"]["policy"] == "majority@1"
    with service.sse(asked.replace("after: $after", 'after: $after, policy: "latest"'), after="0") as told:
        assert next(told).data["data"]["transitions"]["policy"] == "latest@1"


def test_each_item_is_answered_at_a_position_that_is_not_before_it(service: Service, api: Api) -> None:
    asked = 'subscription { transitions(after: "0") { position claim { belief { since { position } } } } }'
    with api.projecting(), service.sse(asked) as told:
        for number in range(1, 30):
            api.append(moving(number, "alpha"))
        for each in itertools.islice(told, 29):
            moved = each.data["data"]["transitions"]
            seen = each.data["extensions"]["log"]["position"]
            assert moved["position"] <= moved["claim"]["belief"]["since"]["position"] <= seen


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('subscription { transitions(after: "x") { cursor } }', "BAD_CURSOR"),
        ('subscription { transitions(after: "7") { cursor } }', "BAD_CURSOR"),
        ('subscription { transitions(after: "0:Alpha") { cursor } }', "BAD_CURSOR"),
        ("subscription { events(after: 7) { position } }", "BAD_CURSOR"),
        ("subscription { events(after: -1) { position } }", "BAD_QUERY"),
        ('subscription { transitions(policy: "hearsay") { cursor } }', "POLICY_INVALID"),
        (
            'subscription { transitions(policy: "unanimous:min_speakers=7", after: "0") { cursor } }',
            "POLICY_NOT_PROJECTED",
        ),
        ('subscription { transitions(claim: "\\u0000") { cursor } }', "BAD_ARGUMENT"),
        ("subscription { events { position } transitions { cursor } }", "BAD_QUERY"),
        ("subscription { events { position }", "BAD_QUERY"),
        ("subscription { nothing }", "BAD_QUERY"),
        ("subscription ($after: String!) { transitions(after: $after) { cursor } }", "BAD_QUERY"),
    ],
)
def test_what_cannot_be_is_refused(service: Service, query: str, code: str) -> None:
    with service.sse(query) as told:
        first, last = told
        assert [first.kind, last.kind] == ["next", "complete"]
        assert list(first.data) == ["errors"]
        assert first.data["errors"][0]["extensions"]["code"] == code
    with service.socket() as there:
        there.subscribe(query)
        message = there.receive()
        assert (message["type"], message["id"]) == ("error", "1")
        assert message["payload"][0]["extensions"]["code"] == code


# --- server-sent events -----------------------------------------------------------


@pytest.mark.parametrize("query", [TRANSITIONS, TRANSITIONS.replace("($after: String)", "").replace("$after", '"0"')])
def test_who_comes_back_goes_on_after_the_last_event(service: Service, api: Api, query: str) -> None:
    """Wherever the request says that it begins, since a browser sends the same request again."""
    api.record(moving(1), moving(2))
    with service.sse(query, headers={"last-event-id": "1:alpha"}, after="0") as told:
        assert cursors(told, 3) == ["1:beta", "2:alpha", "2:beta"]
    with service.sse(EVENTS, headers={"last-event-id": "1"}, after=0) as told:
        assert cursors(told, 1) == ["2"]
    with service.sse(EVENTS, headers={"last-event-id": "1:alpha"}, after=0) as told:
        assert next(told).data["errors"][0]["extensions"]["code"] == "BAD_CURSOR"


def test_who_is_cut_off_before_the_first_item_knows_where_to_go_on(service: Service, api: Api) -> None:
    api.record(moving(1))
    with httpx.stream("GET", service.url(TRANSITIONS), headers={"accept": "text/event-stream"}) as response:
        lines = response.iter_lines()
        assert [next(lines), next(lines), next(lines)] == [": here", "id: 1", ""]


def test_queries_are_answered_by_events_too(service: Service) -> None:
    with service.sse("{ log { head } }") as told:
        first, last = told
        assert first.data["data"] == {"log": {"head": 0}}
        assert last.kind == "complete"


def test_nothing_is_written_by_get(service: Service, api: Api) -> None:
    with service.sse('mutation { adoptPolicy(policy: "majority", reason: "So.") { __typename } }') as told:
        first, _ = told
        assert first.data["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"
    assert api.head() == 0


# --- the WebSocket ----------------------------------------------------------------


@pytest.mark.parametrize("subprotocols", [["graphql-ws"], None])
def test_other_protocols_are_refused(service: Service, subprotocols: Any) -> None:
    with pytest.raises(InvalidStatus) as refused, service.socket(introduce=False, subprotocols=subprotocols):
        pass
    assert refused.value.response.status_code == 400


def test_pages_of_other_origins_are_refused(service: Service) -> None:
    with pytest.raises(InvalidStatus) as refused, service.socket(introduce=False, origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    with service.socket(origin=f"http://127.0.0.1:{service.port}"):
        pass


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (['{"type": "connection_init"'], 4400),
        (['{"type": "hello"}'], 4400),
        (['{"type": "connection_init"}', '{"type": "subscribe", "id": "1"}'], 4400),
        (['{"type": "connection_init"}'] * 2, 4429),
        (['{"type": "subscribe", "id": "1", "payload": {"query": "{ log { head } }"}}'], 4401),
        (
            ['{"type": "connection_init"}']
            + ['{"type": "subscribe", "id": "1", "payload": {"query": "subscription { events { type } }"}}'] * 2,
            4409,
        ),
    ],
)
def test_who_breaks_the_protocol_is_told_by_its_code(service: Service, messages: list[str], code: int) -> None:
    with service.socket(introduce=False) as there:
        for each in messages:
            there.connection.send(each)
        assert there.rest()[1] == code


def test_operations_go_on_side_by_side_over_one_socket(service: Service, api: Api) -> None:
    with service.socket() as there:
        there.send(type="ping", payload={"at": 1})
        assert there.receive() == {"type": "pong", "payload": {"at": 1}}
        there.subscribe(TRANSITIONS, id="moves", after="0")
        there.subscribe(EVENTS, id="entries", after=0)
        api.record(moving(1, "alpha"))
        told = {each["id"]: each["payload"]["data"] for each in (there.receive(), there.receive())}
        assert told["moves"]["transitions"]["cursor"] == "1:alpha"
        assert told["entries"]["events"]["position"] == 1
        there.send(type="complete", id="entries")
        # Its id is free again.
        there.subscribe("{ log { head } }", id="entries")
        assert there.next() == {"log": {"head": 1}}


# --- whatever breaks --------------------------------------------------------------


def test_a_rebuild_in_between_changes_nothing(service: Service, api: Api) -> None:
    with service.sse(TRANSITIONS, after="0") as told:
        for number in range(1, 4):
            api.record(moving(number))
            assert cursors(told, 2) == [f"{number}:alpha", f"{number}:beta"]
            rebuild(api.engine, readers_s_max=0.1)
            api.renew()


def test_killed_connections_to_the_database_heal(service: Service, database: Database, api: Api) -> None:
    chance = random.Random(7)
    done = threading.Event()

    def kill() -> None:
        superuser = database.superuser_url
        host = superuser.query["host"]
        with psycopg.connect(
            host=str(host), user=superuser.username, dbname=superuser.database, autocommit=True
        ) as conn:
            while not done.wait(chance.uniform(0.01, 0.2)):
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = %s AND datname = current_database()",
                    (NAME,),
                )

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        with api.projecting(), service.sse(TRANSITIONS, after="0") as told:
            for number in range(1, 151):
                api.append(moving(number))
                if number % 10 == 0:
                    time.sleep(chance.uniform(0, 0.2))
            expected = [f"{number}:{slug}" for number in range(1, 151) for slug in ("alpha", "beta")]
            assert cursors(told, 300) == expected
    finally:
        done.set()
        killing.join()


def test_a_stop_ends_streams_and_who_comes_back_misses_nothing(database: Database, api: Api) -> None:
    api.record(moving(1))
    with Service(database) as service, service.sse(TRANSITIONS, after="0") as told, service.socket() as there:
        there.subscribe(TRANSITIONS, after="0")
        assert there.next()["transitions"]["cursor"] == "1:alpha"
        assert cursors(told, 2) == ["1:alpha", "1:beta"]
        service.__exit__()
        # Ended, and not complete.
        assert list(told) == []
        assert there.rest()[1] == 1012
    api.record(moving(2))
    with Service(database) as service, service.sse(TRANSITIONS, headers={"last-event-id": "1:beta"}, after="0") as told:
        assert cursors(told, 2) == ["2:alpha", "2:beta"]


# --- what it costs ----------------------------------------------------------------

#: Long answers, of which a connection takes only a few.
LONG = EVENTS.replace("type", " ".join(f"payload{i}: payload" for i in range(20)))


def test_who_reads_too_slowly_is_cut_off_and_misses_nothing_by_events(database: Database, api: Api) -> None:
    api.record(*(moving(number) for number in range(1, 301)))
    with Service(database, slow_s=1, buffer_bytes=8192) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            path = service.url(LONG, after=0).partition(f":{service.port}")[2]
            with _cut_off():
                wanted = "Accept: text/event-stream\r\nConnection: close\r\n\r\n"
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{wanted}".encode())
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        taken = [int(each) for each in _ids(got)]
        assert taken == list(range(1, len(taken) + 1))
        assert len(taken) < 300
        assert b'"code":"TOO_SLOW"' in got
        assert b"event: complete" not in got
        with service.sse(EVENTS, headers={"last-event-id": f"{taken[-1]}"}) as told:
            assert cursors(told, 300 - len(taken)) == [f"{each}" for each in range(len(taken) + 1, 301)]


@contextlib.contextmanager
def _cut_off() -> Iterator[None]:
    """Who asks in here is cut off by the end of it, having read nothing."""

    def times() -> float:
        return watching.REGISTRY.get_sample_value("onrecord_refusals_total", {"code": "TOO_SLOW"}) or 0

    before = times()
    yield
    eventually(lambda: times() > before)


def _ids(got: bytes) -> list[bytes]:
    return [each.removeprefix(b"id: ") for each in got.split(b"\n") if each.startswith(b"id: ") and each != b"id: 0"]


def test_who_reads_too_slowly_is_cut_off_and_misses_nothing_by_socket(database: Database, api: Api) -> None:
    api.record(*(moving(number) for number in range(1, 301)))
    with Service(database, slow_s=2, buffer_bytes=8192) as service:
        with service.socket(max_queue=1) as there:
            with _cut_off():
                there.subscribe(LONG, after=0)
            messages, code = there.rest()
        assert code == 4413
        taken = [each["payload"]["data"]["events"]["position"] for each in messages]
        assert taken == list(range(1, len(taken) + 1))
        assert len(taken) < 300
        with service.socket() as there:
            there.subscribe(EVENTS, after=taken[-1])
            assert [there.next()["events"]["position"] for _ in range(300 - len(taken))] == list(
                range(len(taken) + 1, 301)
            )


@pytest.mark.parametrize("filtered", [False, True])
def test_fifty_subscribers_cost_what_one_does(service: Service, api: Api, filtered: bool) -> None:
    slugs = [f"claim-{i:02}" for i in range(50)]
    asked = "subscription ($claim: String) { transitions(claim: $claim) { cursor claim { belief { state } } } }"

    def cost(number: int, subscribers: int) -> int:
        with contextlib.ExitStack() as stack:
            there = [stack.enter_context(service.socket()) for _ in range(subscribers)]
            for one, slug in zip(there, slugs, strict=False):
                one.subscribe(asked, claim=slug if filtered else None)
                one.subscribe("{ log { head } }", id="2")
                assert one.next()["log"]
                assert one.receive() == {"id": "2", "type": "complete"}
            time.sleep(0.3)
            api.record(moving(number, *slugs))
            for one in there:
                for _ in range(1 if filtered else 50):
                    assert one.next()
            with api.statements() as seen:
                api.record(moving(number + 1, slugs[0]))
                assert there[0].next()["transitions"]["cursor"] == f"{number + 1}:{slugs[0]}"
                if not filtered:
                    for one in there[1:]:
                        assert one.next()
            api.record(moving(number + 2, slugs[0]))
            return sum("FROM transition t" in str(statement) for statement in seen)

    alone = cost(1, 1)
    assert alone > 0
    assert cost(4, 50) == alone
