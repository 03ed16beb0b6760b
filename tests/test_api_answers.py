"""Answers that are known already: given again only while the record stands where it stood, byte by byte."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import uvloop
from sqlalchemy import text

from service import projector
from service.api.answers import Answers, Moment, Now
from service.api.documents import document, remembered
from service.api.fields import Kept
from service.api.schema import graphql_schema
from service.database import engine as engines
from service.domain.events import ClaimRuled, PolicyAdopted
from service.domain.policies import NAMES, State
from tests.api import LIMITS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.between import Between
from tests.builders import article, asserts, denies
from tests.conftest import Database

CLAIMS = "{ claims(first: 5) { nodes { slug belief { state } } } }"
THEN = "{ claims(first: 5, asOf: {position: 3}) { nodes { slug belief { state } } } }"


def get(api: Api, query: str, tags: str | None = None, **headers: str) -> httpx.Response:
    """The response to a query that is sent by GET, by who has what these tags name."""
    known = {} if tags is None else {"if-none-match": tags}
    return api.send("GET", params={"query": query}, headers={**known, **headers})


# --- tags -------------------------------------------------------------------------


def test_an_answer_has_a_tag_and_is_not_sent_twice_to_who_has_it(seeded: Api):
    first = get(seeded, CLAIMS)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = get(seeded, CLAIMS, first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    among = get(seeded, CLAIMS, f'"another", W/{first.headers["etag"]}')
    assert among.status_code == 304


def test_the_tag_is_another_once_the_record_moved_on(seeded: Api):
    first = get(seeded, CLAIMS)
    seeded.record(article("more", nato=asserts("gas-cut")))
    later = get(seeded, CLAIMS, first.headers["etag"])
    assert later.status_code == 200
    assert later.headers["etag"] != first.headers["etag"]
    assert later.json() != first.json()


def test_another_question_has_another_tag(seeded: Api):
    tags = {get(seeded, query).headers["etag"] for query in (CLAIMS, THEN, "{ claims(first: 6) { nodes { slug } } }")}
    assert len(tags) == 3


def test_a_query_by_post_has_a_tag_and_is_always_answered(seeded: Api):
    sent = {"query": CLAIMS}
    first = seeded.send(json=sent)
    again = seeded.send(json=sent, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["etag"] == first.headers["etag"]


def test_a_tag_outlives_the_service_that_gave_it(seeded: Api, database: Database):
    """It names the question and the moment, so nobody has to keep the answer."""
    for query in (CLAIMS, THEN):
        first = get(seeded, query)
        with Api(database) as another:
            assert get(another, query, first.headers["etag"]).status_code == 304
            assert get(another, query).content == first.content


def test_of_a_position_alone_an_answer_holds_for_ever(seeded: Api):
    first = get(seeded, THEN)
    assert first.headers["cache-control"] == "max-age=31536000, immutable"
    seeded.record(article("more", nato=asserts("gas-cut")))
    assert get(seeded, THEN).headers["etag"] == first.headers["etag"]
    assert get(seeded, THEN, first.headers["etag"]).status_code == 304
    assert get(seeded, THEN).content == first.content


@pytest.mark.parametrize(
    "query",
    [
        "{ log { head } }",
        "{ claims(first: 1) { nodes { slug } } log { head } }",
        '{ article(url: "urn:x", asOf: {position: 1}) { text } }',
        "{ events(first: 1) { nodes { inclusionProof { index } } } }",
        '{ replay(policy: "majority") { moved } }',
        "{ __typename }",
        "{ __schema { queryType { name } } }",
        "{ claims(first: 101) { nodes { slug } } }",
        "{ nothing }",
    ],
)
def test_what_depends_on_more_than_the_record_is_kept_nowhere(seeded: Api, query: str):
    for _ in range(2):
        response = get(seeded, query)
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        assert "etag" not in response.headers


def test_what_is_projected_is_not_for_ever(seeded: Api):
    response = get(seeded, "{ policies(asOf: {position: 1}) { id projected } }")
    assert response.headers["cache-control"] == "no-cache"


# --- the moment -------------------------------------------------------------------


def asked(api: Api, query: str = CLAIMS) -> dict[str, Any]:
    """The answer, after it was asked once before: from what is known, if it may be."""
    api.ways = ("known",)
    api.answer(query)
    return api.answer(query)


def test_what_was_answered_is_not_read_again(seeded: Api):
    assert asked(seeded)["extensions"]["log"] == {"position": 5, "head": 5}
    with seeded.statements() as ran:
        seeded.answer(CLAIMS)
        seeded.answer(THEN)
    # The second is another question.
    assert len([each for each in ran if "search_path" in each]) == 1
    with seeded.statements() as ran:
        seeded.answer(CLAIMS)
        seeded.answer(THEN)
    assert ran == []


def test_a_known_answer_is_given_up_as_soon_as_the_record_moves(seeded: Api):
    """What was committed before a request is in its answer, whoever committed it."""
    for number in range(5):
        before = asked(seeded)
        seeded.append(article(f"more-{number}", nato=denies("gas-cut")))
        unprojected = seeded.answer(CLAIMS)
        assert unprojected["extensions"]["log"] == {"position": 5 + number, "head": 6 + number}
        assert unprojected["data"] == before["data"]
        seeded.project()
        after = seeded.answer(CLAIMS)
        assert after["extensions"]["log"] == {"position": 6 + number, "head": 6 + number}


def test_who_must_see_a_position_is_not_given_an_older_answer(seeded: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("service.api.context.WAIT_S", 0.2)
    for query in (CLAIMS, THEN):
        asked(seeded, query)
        enough = seeded.answer(query, headers={"Onrecord-Min-Position": "5"})
        assert "errors" not in enough
        too_much = seeded.answer(query, headers={"Onrecord-Min-Position": "6"})
        assert [each["extensions"]["code"] for each in too_much["errors"]] == ["NOT_YET_PROJECTED"]


def test_a_decision_changes_what_is_known(seeded: Api):
    query = '{ claim(slug: "troops-withdrawing") { belief { state policy } } }'
    before = asked(seeded, query)["data"]["claim"]["belief"]
    seeded.record(PolicyAdopted(policy="latest@1", reason="a trial"))
    adopted = asked(seeded, query)["data"]["claim"]["belief"]
    assert (before["policy"], adopted["policy"]) == ("unanimous@1", "latest@1")
    seeded.record(ClaimRuled(claim="troops-withdrawing", state=State.DENIED, reason="seen"))
    assert asked(seeded, query)["data"]["claim"]["belief"]["state"] == "DENIED"


def test_another_generation_has_answers_of_its_own(seeded: Api):
    query = "{ policies { id projected } claims(first: 1) { nodes { slug } } }"
    before = asked(seeded, query)
    with seeded.engine.begin() as conn:
        fewer = projector.prepare(conn, ["unanimous"])
    with seeded.engine.begin() as conn:
        projector.Projector(fewer).advance(conn, limit=100)
    with seeded.engine.begin() as conn:
        projector.promote(conn, fewer.generation)
    after = seeded.answer(query)
    assert after["extensions"] == before["extensions"]
    assert [each["id"] for each in after["data"]["policies"] if each["projected"]] == ["unanimous@1"]
    assert len([each for each in before["data"]["policies"] if each["projected"]]) == len(NAMES)


def test_who_asks_where_the_record_stands_outlives_a_lost_connection(seeded: Api):
    before = asked(seeded)
    with seeded.engine.connect() as conn:
        conn.execute(text("SELECT 1"))
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        conn.execute(text(f"{ended} AND usename = current_user AND datname = current_database()"))
    # That may be told of the lost connection, or have another by then.
    seeded.answer(CLAIMS)
    assert asked(seeded) == before
    with seeded.statements() as ran:
        assert seeded.answer(CLAIMS) == before
    assert ran == []


def test_who_asks_where_the_record_stands_is_told_that_the_server_went(seeded: Api, database: Database):
    """Before it read the question, and however often: each time the next socket has the number of the last."""

    async def asked() -> None:
        with Between(database.service_url) as between:
            answering = engines.create_async(between.url)
            now = Now(answering)
            async with asyncio.timeout(20):
                for _ in range(3):
                    assert await now.moment() is not None
                    between.turn_deaf()
                    asking = asyncio.create_task(now.moment())
                    await asyncio.sleep(0.05)
                    between.go()
                    assert await asking is None
            await now.close()
            await answering.dispose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asked())


# --- what is remembered -----------------------------------------------------------


def test_a_document_is_parsed_and_validated_once(seeded: Api):
    query = "query ($n: Int) { claims(first: $n) { nodes { slug } } } # never sent before"
    before = remembered.cache_info()
    for n in range(1, 6):
        seeded.ask(query, n=n)
    after = remembered.cache_info()
    assert after.misses == before.misses + 1
    assert after.hits >= before.hits + 9
    known = document(graphql_schema, query, LIMITS)
    # One plan for each way to write the answer, whatever the variables.
    assert len(known.plans) == 2


def test_how_long_an_answer_holds_is_that_of_its_most_fleeting_field():
    def kept(query: str) -> Kept:
        return document(graphql_schema, query, LIMITS).kept

    assert kept("{ claims { nodes { slug } } }") is Kept.FOR_EVER
    assert kept("{ policies { id } claims { nodes { slug } } }") is Kept.WHILE_PROJECTED
    assert kept("{ policies { id } ...F } fragment F on Query { articles { nodes { text } } }") is Kept.NOT


NOW = Moment(1, 5, 5, None)


def test_answers_are_kept_in_so_many_bytes_and_the_least_asked_for_go():
    answers = Answers("schema", 10_000)
    for i in range(4):
        answers.put(b"%d" % i, NOW, b"x" * 1_500)
    assert answers.get(b"0") is not None
    answers.put(b"4", NOW, b"x" * 1_500)
    assert [answers.get(b"%d" % i) is not None for i in range(5)] == [True, False, True, True, True]
    answers.put(b"large", NOW, b"x" * 9_001)
    assert answers.get(b"large") is None
    assert answers.get(b"4") is not None
    # Another answer to one question takes the place of the one before.
    for _ in range(100):
        answers.put(b"4", NOW, b"x" * 1_500)
    assert answers.get(b"0") is not None


def test_nothing_is_kept_in_no_bytes():
    answers = Answers("schema", 0)
    assert answers.put(b"0", NOW, b"").etag == answers.tag(b"0", NOW)
    assert answers.get(b"0") is None


def test_a_tag_names_schema_question_and_moment():
    answers, others = Answers("schema", 0), Answers("another", 0)
    tags = [
        answers.tag(b"0", NOW),
        others.tag(b"0", NOW),
        answers.tag(b"1", NOW),
        answers.tag(b"0", None),
        *(answers.tag(b"0", NOW._replace(**{field: 7})) for field in NOW._fields),
    ]
    assert len(set(tags)) == len(tags)


def test_compiled_plans_can_be_switched_off(seeded: Api):
    body = json.dumps({"query": CLAIMS})
    sent = {"content": body, "headers": {"content-type": "application/json"}}
    off = seeded.send(way="interpreted", **sent)
    on = seeded.send(**sent)
    assert off.content == on.content
    assert "etag" not in off.headers
