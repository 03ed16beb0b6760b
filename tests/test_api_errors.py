"""What went wrong is told by a code of the closed list, and what went on inside is not told at all."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL
from structlog.testing import capture_logs

from service.database import engine as engines
from service.domain import errors
from service.domain.errors import OnrecordError
from tests.api import Api
from tests.api import one_way as one_way
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import asserts
from tests.conftest import Database
from tests.test_api_mutations import RECORD, given

DOCUMENTED = set(
    re.findall(
        r"^\| `([A-Z_]+)` \|", (Path(__file__).parents[1] / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)


def test_the_list_of_codes_is_closed():
    raised = {
        each.code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, OnrecordError) and each is not OnrecordError
    }
    assert raised | {"BAD_QUERY", "INTERNAL"} == DOCUMENTED


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nothing }",
        "{ claim { slug } }",
        "{ claim(slug: 1) { slug } }",
        '{ claim(slug: "x") }',
        "{ log { head { x } } }",
        "{ ...F }",
        "{ log { ...F } } fragment F on Log { ...F }",
        "fragment F on Log { head } { log { head } }",
        "{ log { head } } { log { head } }",
        "query ($x: Nothing) { log { head } }",
        "query ($x: Int) { event(position: $x) { id } }",
        "query ($x: Position!) { event(position: $x) { id } }",
        "{ claims(first: $n) { totalCount } }",
        "{ event(position: -1) { id } }",
        "{ event(position: 1.5) { id } }",
        "{ event(position: 9223372036854775808) { id } }",
        '{ event(position: "1") { id } }',
        "{ claims(first: 3000000000) { totalCount } }",
        "{ claims(orderBy: OLDEST) { totalCount } }",
        '{ a: claim(slug: "x") { slug } a: claim(slug: "y") { slug } }',
        "{ log @unknown { head } }",
        "mutation { log { head } }",
        "subscription { x }",
        "{ log { head } }" + "}" * 5000,
        "{ log " * 5000,
    ],
)
def test_a_query_that_does_not_fit_the_schema_is_the_callers_business(seeded: Api, query: str):
    with capture_logs() as logged:
        codes = seeded.codes(query)
    assert codes
    assert set(codes) == {"BAD_QUERY"}
    assert logged == []


@pytest.mark.parametrize("held", ["\0", "a\0b", "\ud800", "gas-\udfff"])
def test_what_no_text_can_hold_is_refused_wherever_it_stands(seeded: Api, held: str):
    """PostgreSQL has neither; it must not come so far."""
    with capture_logs() as logged:
        for field in (
            "claim(slug: $s) { slug }",
            "outlet(slug: $s) { slug }",
            "speaker(slug: $s) { slug }",
            "article(url: $s) { url }",
            "node(id: $id) { id }",
            'claim(slug: "troops-withdrawing") { belief(policy: $id) { state } }',
            'claim(slug: "troops-withdrawing") { history(policy: $id) { nodes { to } } }',
            'claim(slug: "troops-withdrawing") { statements(speaker: $s) { nodes { id } } }',
            'claim(slug: "troops-withdrawing") { statements(after: $s) { nodes { id } } }',
            'speaker(slug: "joe-biden") { statements(claim: $s) { nodes { id } } }',
            "articles(outlet: $s) { nodes { url } }",
            "claims(where: {topic: $s}) { totalCount }",
            "claims(where: {speaker: $s}) { totalCount }",
            "claims(where: {outlet: $s}) { nodes { slug } }",
            "claims(where: {policy: $id}) { nodes { slug } }",
            "claims(where: {text: $s}) { byState { asserted } }",
        ):
            name, kind = ("$id", "ID!") if "$id" in field else ("$s", "String!")
            codes = seeded.codes(f"query ({name}: {kind}) {{ {field} }}", **{name[1:]: held})
            assert codes == ["BAD_ARGUMENT"], field
        found = seeded.answer("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["Event:1", f"Claim:{held}"])
        assert [each["extensions"]["code"] for each in found["errors"]] == ["BAD_ARGUMENT"]
    assert logged == []


def test_one_field_that_fails_leaves_the_others_standing(seeded: Api):
    answer = seeded.answer("""{ claim(slug: "troops-withdrawing") { slug } bad: claim(slug: "troops-withdrawing") {
        statements(first: 101) { nodes { id } } } node(id: "x") { id } log { head } }""")
    assert answer["data"] == {
        "claim": {"slug": "troops-withdrawing"},
        "bad": None,
        "node": None,
        "log": {"head": 5},
    }
    assert {tuple(error["path"]): error["extensions"]["code"] for error in answer["errors"]} == {
        ("bad", "statements"): "BAD_PAGE",
        ("node",): "BAD_ARGUMENT",
    }


def test_before_anything_is_projected_it_says_so(api: Api):
    ((code, message),) = api.errors("{ log { head } }")
    assert code == "NOTHING_PROJECTED"
    assert "onrecord serve" in message
    # What asks nothing of the record is answered.
    assert api.ask("{ __typename }") == {"__typename": "Query"}


# --- inside -----------------------------------------------------------------------


def test_what_nobody_foresaw_is_logged_and_not_shown(one_way: Api, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("the password is hunter2")

    monkeypatch.setattr("service.queries.claims.claims_by_slug", broken)
    with capture_logs() as logged:
        answer = one_way.answer('{ claim(slug: "troops-withdrawing") { slug } }')
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "INTERNAL"}
    assert "hunter2" not in str(answer)
    assert "log" in error["message"]
    (entry,) = logged
    assert (entry["log_level"], entry["event"]) == ("error", "unforeseen")
    assert "hunter2" in str(entry["exc_info"])
    assert entry["exc_info"].__traceback__ is not None


def test_what_fails_while_a_field_is_answered_is_logged_and_not_shown(one_way: Api, monkeypatch: pytest.MonkeyPatch):
    def broken(**_: Any) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setattr("service.api.types.leaf", broken)
    with capture_logs() as logged:
        answer = one_way.answer("{ event(position: 1) { leaf } log { head } }")
    (error,) = answer["errors"]
    assert (error["extensions"], error["path"]) == ({"code": "INTERNAL"}, ["event", "leaf"])
    assert answer["data"] == {"event": None, "log": {"head": 5}}
    assert "secret" not in str(answer)
    assert [each["path"] for each in logged] == [["event", "leaf"]]


def test_what_the_database_says_is_not_shown(seeded: Api):
    with seeded.engine.begin() as conn:
        (schema,) = conn.exec_driver_sql("SELECT schema_name FROM onrecord.generation").one()
        conn.exec_driver_sql(f"DROP TABLE {schema}.claim")
    with capture_logs() as logged:
        answer = seeded.answer('{ claim(slug: "troops-withdrawing") { slug } }')
    assert [each["extensions"]["code"] for each in answer["errors"]] == ["INTERNAL"]
    assert "SELECT" not in str(answer)
    assert "UndefinedTable" in str(logged)


# --- the database -----------------------------------------------------------------


def test_a_database_that_is_not_there_is_told_without_saying_where(database: Database):
    nowhere = URL.create(
        "postgresql", username="someone", password="hunter2", database="secret", query={"host": "/nowhere"}
    )
    with Api(dataclasses.replace(database, service_url=nowhere)) as api, capture_logs() as logged:
        for answer in (
            api.answer("{ log { head } }"),
            api.answer(RECORD, input=given("a", nato=asserts("gas-cut"))),
        ):
            (error,) = answer["errors"]
            assert error["extensions"] == {"code": "DATABASE_UNREACHABLE"}
            for secret in ("someone", "hunter2", "secret", "nowhere"):
                assert secret not in str(answer)
        assert api.ask("{ __typename }") == {"__typename": "Query"}
    assert logged == []


def disconnect_all(database: Database) -> None:
    """End every connection to the database, from the server's side."""
    superuser = engines.create(database.superuser_url)
    with superuser.connect() as conn:
        conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    superuser.dispose()


def test_a_lost_connection_is_told_and_the_next_request_has_another(one_way: Api, database: Database):
    query = "{ log { head } }"
    one_way.ask(query)
    disconnect_all(database)
    with capture_logs() as logged:
        assert one_way.codes(query) == ["DATABASE_UNREACHABLE"]
        assert one_way.ask(query) == {"log": {"head": 5}}
    assert logged == []


def test_waiting_outlives_a_lost_connection(api: Api, database: Database):
    """Who listens for the projector finds a new connection."""
    api.ways = ("compiled",)
    api.prepare()
    api.engine.dispose()
    api.ask("{ log { head } }")
    disconnect_all(database)
    assert api.codes("{ log { head } }") == ["DATABASE_UNREACHABLE"]
    with api.projecting():
        outcome = api.ask(RECORD, input=given("a", nato=asserts("gas-cut")))["recordArticle"]
    assert outcome["projected"] is True
