"""The database itself keeps the log: whoever asks, and whatever the code above it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from service import log, tables
from service.database import engine as engines
from service.domain.events import (
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    MergeUndone,
    PolicyAdopted,
    Relation,
    TextErased,
)
from service.domain.policies import State
from service.log import NewEvent
from tests.builders import article, asserts, retraction, url
from tests.conftest import Database
from tests.past_append import put

GUARDED = [table.name for table in tables.GUARDED]
RESTRICTED = psycopg.errors.RestrictViolation
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def events(engine: Engine) -> int:
    """A log in which every register has a row; returns its head."""
    with engine.begin() as conn:
        new = [
            NewEvent.of_article(article("a", nato=asserts("one")), actor="cli:test"),
            NewEvent.of(retraction("a"), actor="cli:test"),
            NewEvent.of_article(article("b", nato=asserts("two")), actor="cli:test"),
            NewEvent.of_article(article("b", revision=2, kremlin=asserts("two")), actor="cli:test"),
            *(
                NewEvent.of(each, actor="cli:test")
                for each in (
                    ClaimsRelated(claim="one", relation=Relation.REFINES, to="two", reason="so"),
                    ClaimsMerged(claim="one", into="two", reason="so"),
                    MergeUndone(position=6, reason="not so"),
                    ClaimRuled(claim="one", state=State.DENIED, reason="so"),
                    PolicyAdopted(policy="majority", reason="so"),
                    TextErased(text_sha256="0" * 64, reason="so"),
                )
            ),
        ]
        log.append_all(conn, new)
    return len(new)


@pytest.fixture(params=["service", "owner", "superuser as a replica"])
def role(request: pytest.FixtureRequest, database: Database) -> Iterator[Engine]:
    """Everybody who might try. A replica's session skips every trigger that is not always on."""
    urls = {"service": database.service_url, "owner": database.owner_url}
    replica = {"connect_args": {"options": "-c session_replication_role=replica"}}
    asked = urls.get(request.param)
    made = engines.create(asked) if asked else engines.create(database.superuser_url, **replica)
    yield made
    made.dispose()


def dump(engine: Engine) -> dict[str, list[Any]]:
    with engine.begin() as conn:
        return {name: sorted(map(tuple, conn.exec_driver_sql(f"SELECT * FROM onrecord.{name}"))) for name in GUARDED}


def refusal(role: Engine, sql: str, parameters: Any = ()) -> Any:
    """With what class of error the statement is refused, at the latest by its commit; None: it is not."""
    try:
        with role.begin() as conn:
            conn.exec_driver_sql(sql, parameters)
    except DBAPIError as error:
        return type(error.orig)
    return None


@contextmanager
def permitted(role: Engine) -> Iterator[Connection]:
    """What follows is done and then taken back."""
    with role.connect() as conn:
        yield conn
        conn.rollback()


#: Where that log ends.
HEAD = 10


def next_event(position: str = "position + 1", recorded_at: str = "clock_timestamp()") -> str:
    """A row to follow the last of the log, unless it is to be one that may not."""
    return (
        f"SELECT {position}, gen_random_uuid(), type, schema_version, {recorded_at}, actor, payload, "
        f"payload_sha256, leaf FROM onrecord.event WHERE position = {HEAD}"
    )


# --- the log and its register do not change ---------------------------------------

#: A statement for each way to change rows, and the ways round them.
CHANGES = {
    "update": "UPDATE onrecord.{table} SET position = position",
    "update of nothing": "UPDATE onrecord.{table} SET position = position WHERE false",
    "delete": "DELETE FROM onrecord.{table}",
    "delete of nothing": "DELETE FROM onrecord.{table} WHERE false",
    "truncate": "TRUNCATE onrecord.{table}",
    "truncate with others": "TRUNCATE onrecord.article_text, onrecord.{table} CASCADE",
    "upsert": """
        INSERT INTO onrecord.{table} SELECT * FROM onrecord.{table}
        ON CONFLICT ({key}) DO UPDATE SET position = EXCLUDED.position
    """,
    "merge": """
        MERGE INTO onrecord.{table} t USING onrecord.{table} s ON t.position = s.position
        WHEN MATCHED THEN DELETE
    """,
}


@pytest.mark.parametrize("table", GUARDED)
def test_nobody_changes_or_removes_what_was_recorded(role: Engine, engine: Engine, events: int, table: str) -> None:
    before = dump(engine)
    key = ", ".join(column.name for column in tables.log_metadata.tables[f"onrecord.{table}"].primary_key)
    with permitted(role) as conn:
        # The role does get at the table.
        assert conn.exec_driver_sql(f"SELECT count(*) FROM onrecord.{table}").scalar_one() > 0
    answers = {name: refusal(role, sql.format(table=table, key=key)) for name, sql in CHANGES.items()}
    assert answers == dict.fromkeys(CHANGES, DENIED if role.url.username == "onrecord" else RESTRICTED)
    assert dump(engine) == before


def test_everybody_who_is_refused_changes_may_add_to_the_register(role: Engine, events: int) -> None:
    for sql in (
        "INSERT INTO onrecord.register_revision VALUES ('urn:x', 1, 5)",
        "INSERT INTO onrecord.register_retraction VALUES ('urn:x', 1, 6)",
        "INSERT INTO onrecord.register_claim VALUES ('x', 5)",
        "INSERT INTO onrecord.register_speaker VALUES ('x', 5)",
        "INSERT INTO onrecord.register_merge VALUES (20, 'claim', 'x', 'y', false)",
        "INSERT INTO onrecord.register_undoing VALUES (20, 21)",
        "INSERT INTO onrecord.register_ruling VALUES ('x', 20, NULL)",
        "INSERT INTO onrecord.register_relation VALUES ('x', 'refines', 'y', 20)",
        "INSERT INTO onrecord.register_adoption VALUES (20, 'majority@1')",
        "INSERT INTO onrecord.register_erasure VALUES ('\\x00', 20)",
    ):
        with permitted(role) as conn:
            assert conn.exec_driver_sql(sql).rowcount == 1


@pytest.mark.parametrize("table", GUARDED)
def test_a_service_that_was_granted_too_much_is_refused_too(
    engine: Engine, owner_engine: Engine, events: int, table: str
) -> None:
    with owner_engine.begin() as conn:
        conn.exec_driver_sql(f"GRANT ALL ON onrecord.{table} TO onrecord")
    key = ", ".join(column.name for column in tables.log_metadata.tables[f"onrecord.{table}"].primary_key)
    answers = {name: refusal(engine, sql.format(table=table, key=key)) for name, sql in CHANGES.items()}
    del answers["truncate with others"]
    assert set(answers.values()) == {RESTRICTED}


def test_the_service_cannot_put_the_guards_away(engine: Engine, events: int) -> None:
    for sql in (
        "ALTER TABLE onrecord.event DISABLE TRIGGER ALL",
        "DROP TRIGGER event_continue ON onrecord.event",
        "DROP FUNCTION onrecord.refuse_change() CASCADE",
        "CREATE OR REPLACE FUNCTION onrecord.refuse_change() RETURNS trigger LANGUAGE sql AS ''",
        "DROP TABLE onrecord.event",
        "SET session_replication_role = replica",
        "LOCK TABLE onrecord.event IN ACCESS EXCLUSIVE MODE",
        "SELECT * FROM onrecord.event FOR UPDATE",
    ):
        assert refusal(engine, sql) is DENIED, sql


def test_a_refusal_says_what_to_do_instead(owner_engine: Engine, events: int) -> None:
    with (
        pytest.raises(DBAPIError, match=r"onrecord\.event only grows: DELETE is refused") as caught,
        owner_engine.begin() as conn,
    ):
        conn.exec_driver_sql("DELETE FROM onrecord.event")
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert "retraction" in (error.diag.message_hint or "")


# --- the log goes on where it ends ------------------------------------------------

ROW = "INSERT INTO onrecord.event "


def test_everybody_may_continue_the_log(role: Engine, events: int) -> None:
    with permitted(role) as conn:
        assert conn.exec_driver_sql(ROW + next_event()).rowcount == 1
        assert log.head(conn) == HEAD + 1
    with permitted(role) as conn:
        several = next_event("position + n", "now() + n * interval '1 s'")
        sql = ROW + several.replace("WHERE", ", generate_series(1, 3) AS s(n) WHERE") + " ORDER BY n DESC"
        assert conn.exec_driver_sql(sql).rowcount == 3
        assert conn.exec_driver_sql(ROW + "SELECT * FROM onrecord.event WHERE false").rowcount == 0
        assert log.head(conn) == HEAD + 3


@pytest.mark.parametrize(
    ("position", "recorded_at"),
    [
        pytest.param("position + 2", "clock_timestamp()", id="a hole"),
        pytest.param("position + 1000", "clock_timestamp()", id="a great hole"),
        pytest.param("position + 1", "recorded_at", id="at the same time"),
        pytest.param("position + 1", "recorded_at - interval '1 h'", id="back in time"),
        pytest.param("position", "clock_timestamp()", id="twice"),
        pytest.param("position - 2", "clock_timestamp()", id="over an older one"),
        pytest.param("0", "clock_timestamp()", id="before the first"),
        pytest.param("-1", "clock_timestamp()", id="below nothing"),
    ],
)
def test_nobody_adds_what_does_not_continue_the_log(
    role: Engine, engine: Engine, events: int, position: str, recorded_at: str
) -> None:
    before = dump(engine)
    refused = refusal(role, ROW + next_event(position, recorded_at))
    assert refused in {RESTRICTED, psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation}
    assert dump(engine) == before


@pytest.mark.parametrize(
    ("position", "recorded_at"),
    [
        pytest.param("position + 2 * n - 1", "now() + n * interval '1 s'", id="a hole inside"),
        pytest.param("position + n + 1", "now() + n * interval '1 s'", id="a hole before"),
        pytest.param("position + n", "now() - (n - 9) * interval '1 s'", id="back in time inside"),
        pytest.param("position + n", "recorded_at + (n - 2) * interval '1 us'", id="back in time at first"),
        pytest.param("position + n - 5", "now() + n * interval '1 s'", id="around what is there"),
    ],
)
def test_several_rows_at_once_must_continue_the_log_too(
    role: Engine, engine: Engine, events: int, position: str, recorded_at: str
) -> None:
    before = dump(engine)
    rows = next_event(position, recorded_at).replace("WHERE", ", generate_series(1, 3) AS s(n) WHERE")
    refused = refusal(role, ROW + rows)
    assert refused in {RESTRICTED, psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation}
    assert dump(engine) == before


def test_an_empty_log_begins_at_one(role: Engine, engine: Engine) -> None:
    row = (
        "VALUES (%s, gen_random_uuid(), 'ArticleRecorded', 1, clock_timestamp(), 'cli:test', '{}', sha256('{}'), '{}')"
    )
    assert refusal(role, ROW + row, (2,)) is RESTRICTED
    assert refusal(role, ROW + row, (0,)) in {RESTRICTED, psycopg.errors.CheckViolation}
    with permitted(role) as conn:
        assert conn.exec_driver_sql(ROW + row, (1,)).rowcount == 1


def test_a_row_put_in_while_another_is_not_yet_committed_leaves_no_hole(
    role: Engine, engine: Engine, events: int
) -> None:
    """Who inserts past append cannot see the open one's place, and cannot go over it."""
    with engine.connect() as first, first.begin():
        log.append_all(first, [NewEvent.of_article(article("c"), actor="cli:test")])
        assert refusal(role, ROW + next_event("position + 2")) is RESTRICTED
    assert [position for position, *_ in dump(engine)["event"]] == list(range(1, HEAD + 2))


def test_past_append_the_owner_can_only_continue(engine: Engine, owner_engine: Engine, events: int) -> None:
    """What other tests put in as damage obeys the guards, so that it is what could be met."""
    with engine.begin() as conn:
        last = log.read(conn, after=events - 1, limit=1)[0].recorded_at
    with pytest.raises(DBAPIError, match="recorded_at must increase"):
        put(owner_engine, b"{}", recorded_at=last - timedelta(seconds=1))
    assert put(owner_engine, b"{}") == events + 1


def test_a_leaf_stays_under_one_kilobyte_and_a_hash_has_its_length(owner_engine: Engine, events: int) -> None:
    for column, value in (("leaf", "repeat('x', 1024)::bytea"), ("payload_sha256", "'short'::bytea")):
        sql = next_event().replace(f"{column},", f"{value},").replace(f"{column} FROM", f"{value} FROM")
        assert refusal(owner_engine, ROW + sql) is psycopg.errors.CheckViolation, column


# --- what is beside the log and not kept for ever ---------------------------------


def test_texts_can_be_erased_but_not_rewritten(engine: Engine, events: int) -> None:
    with engine.begin() as conn:
        text = "they said so"
        new = NewEvent.of_article(article("c", nato=asserts("one"), text=text), actor="cli:test")
        log.append_all(conn, [new])
    assert refusal(engine, "UPDATE onrecord.article_text SET content = 'x'") is DENIED
    with engine.begin() as conn:
        assert conn.exec_driver_sql("DELETE FROM onrecord.article_text").rowcount == 1
        assert url("c") in {envelope_url for envelope_url, *_ in dump(engine)["register_revision"]}
