"""Verify finds whatever was changed behind the back of the log's guards, and nothing else.

Every test goes round the guards as a superuser, in a transaction that is taken
back: each change is seen to have happened before `verify` is asked about it.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, REGCONFIG

from service import log, projector, tables, tree
from service.audit.verifying import Mismatch, Verified, verify
from service.database import engine as engines
from service.domain import article as documents
from service.domain import events
from service.domain.article import Article
from service.domain.errors import CheckpointInvalid
from service.domain.events import Event, Relation
from service.domain.policies import NAMES, State
from service.log import NewEvent
from service.projector import Generation, Projector
from service.proof import Checkpoint
from tests import curated as building
from tests.builders import article, asserts, denies, document, retraction, withholds
from tests.conftest import Database
from tests.curated import adopted, erased, lifted, merged, related, ruled, same_speaker, undone
from tests.past_append import put
from tests.test_projector import EVERYTHING, prepared
from tests.test_tree import OTHER_SEED, integrate, signer

TEXT, GONE = "Yes, they said so.", "No, they said so."


def _happened() -> list[Article | Event]:
    """A log with which every table has rows."""
    sent = document("full", text=TEXT, by="itv-news", nato=asserts("a", said="2022-02-14"), itself=withholds("a"))
    sent |= {"headline": "Gas", "language": "en-GB", "read_by": {"kind": "model", "id": "reader", "version": "2"}}
    sent["claims"][0]["topic"] = "gas"
    speaker = {"role": "Secretary", "organisation": "NATO", "bloc": "nato"}
    sent["claims"][0]["statements"][0]["speaker"] |= speaker
    sent["claims"][0]["statements"][0] |= {"certainty": "possible", "form": "direct"}
    full = documents.parse(sent)
    return [
        full,
        article("1", nato=asserts("a"), russia=denies("b", bloc="east"), uk=withholds("c")),
        article("2", text=GONE, russia=denies("a")),
        article("1", revision=2, revised="2022-02-16", change="outlet", nato=asserts("a"), uk=denies("b")),
        retraction("2"),
        merged("a", "b", opposite=True),
        same_speaker("nato", "uk"),
        article("3", published="2022-02-17", nato=denies("a"), propositions=False),
        undone(6),
        related("a", "c", Relation.CONTRADICTS),
        ruled("c", State.DENIED),
        ruled("c", State.ASSERTED),
        lifted("c"),
        ruled("a", State.UNVERIFIED),
        adopted("majority"),
        erased(events.sha256(GONE.encode()).hex()),
    ]


def new_event(each: Article | Event) -> NewEvent:
    if isinstance(each, Article):
        return NewEvent.of_article(each, actor="cli:test")
    return NewEvent.of(each, actor="cli:test")


@pytest.fixture(autouse=True)
def summed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if many stood on these claims."""
    monkeypatch.setattr(tables, "SUMMED_ABOVE", 1)


@pytest.fixture
def generation(engine: Engine) -> Generation:
    """The read tables of that log."""
    with engine.begin() as conn:
        log.append_all(conn, [new_event(each) for each in _happened()])
        tree.integrate(conn, signer())
    made = prepared(engine)
    _project(engine, made)
    return made


def _project(engine: Engine, generation: Generation) -> None:
    with engine.begin() as conn:
        while Projector(generation).advance(conn, limit=EVERYTHING).events:
            pass


@pytest.fixture
def superuser(database: Database) -> Iterator[Engine]:
    """Who can go round every guard."""
    made = engines.create(database.superuser_url)
    yield made
    made.dispose()


@contextlib.contextmanager
def tampering(superuser: Engine, generation: Generation) -> Iterator[Connection]:
    """A transaction in which nothing is guarded, and which is taken back."""
    with superuser.connect() as conn:
        conn.exec_driver_sql(f"SET search_path TO {generation.schema_name}")
        for table in tables.GUARDED:
            conn.exec_driver_sql(f"ALTER TABLE {table.fullname} DISABLE TRIGGER ALL")
        yield conn
        conn.rollback()


def found(conn: Connection, note: str | None = None) -> list[Mismatch]:
    told: list[Mismatch] = []
    summary = verify(conn, told.append, note=note)
    assert summary.mismatches == len(told)
    return told


def without_tree(told: list[Mismatch]) -> list[Mismatch]:
    """What would be noticed if the tree were made to fit."""
    return [each for each in told if each.where != "tree"]


def _fail(told: Mismatch) -> None:
    pytest.fail(str(told))


def change(conn: Connection, sql: str, *parameters: Any) -> None:
    """Do what nobody may; it must have done something."""
    assert conn.exec_driver_sql(sql, parameters).rowcount > 0, sql


# --- what is whole --------------------------------------------------------------------------------


def test_a_log_that_nobody_touched_has_no_mismatch(engine: Engine, generation: Generation):
    told: list[Mismatch] = []
    with engine.connect() as conn:
        summary = verify(conn, told.append)
        stored = {
            table.name: conn.exec_driver_sql(f"SELECT count(*) FROM {schema}.{table.name}").scalar_one()
            for schema, of in (
                ("onrecord", tables.REGISTER),
                (generation.schema_name, tables.read_metadata.sorted_tables),
            )
            for table in of
        }
    assert told == []
    # What the tests below go through is all there.
    assert all(stored.values()), stored
    of_register = sum(stored[table.name] for table in tables.REGISTER)
    assert summary == Verified(
        head=16,
        entries=16,
        register_rows=of_register,
        read_rows=sum(stored.values()) - of_register,
        texts=1,
        in_tree=16,
    )


def test_an_empty_log_has_no_mismatch(engine: Engine):
    with engine.connect() as conn:
        assert verify(conn, _fail).omitted == ["the read tables, as none are live"]
    prepared(engine)
    with engine.connect() as conn:
        assert verify(conn, _fail) == Verified()


@pytest.mark.parametrize("seed", [500, 501, 502])
@pytest.mark.parametrize("projected", [0, 7, EVERYTHING])
def test_whatever_is_recorded_is_verified_wherever_the_projector_is(engine: Engine, seed: int, projected: int):
    happened = building.some_log(random.Random(seed).choice, 60)
    with engine.begin() as conn:
        log.append_all(conn, [new_event(each) for each in happened])
    made = prepared(engine, ["unanimous", "majority"] if seed % 2 else NAMES)
    with engine.begin() as conn:
        by = Projector(made)
        progress = by.advance(conn, limit=1) if projected else None
        while progress is not None and progress.events and progress.position < projected:
            progress = by.advance(conn, limit=1)
    with engine.connect() as conn:
        assert verify(conn, _fail).entries == len(happened)


def test_verifying_changes_nothing(engine: Engine, generation: Generation):
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as conn:
        assert found(conn) == []


def test_what_goes_round_the_guards_can_change_something_harmless(superuser: Engine, generation: Generation):
    """Otherwise the tests below would show nothing."""
    with tampering(superuser, generation) as conn:
        change(conn, "UPDATE onrecord.event SET actor = actor")
        assert found(conn) == []


# --- the log --------------------------------------------------------------------------------------


def test_one_byte_of_a_payload_is_noticed_wherever_it_is(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        length = conn.exec_driver_sql("SELECT length(payload) FROM onrecord.event WHERE position = 4").scalar_one()
        for at in range(0, length, 23):
            with conn.begin_nested() as nested:
                sql = "UPDATE onrecord.event SET payload = set_byte(payload, %s, get_byte(payload, %s) # %s)"
                change(conn, f"{sql} WHERE position = 4", at, at, 1 << at % 7)
                told = found(conn)
                assert ("event", 4) in {(each.where, each.position) for each in told}
                assert "payload_sha256 is not the hash of its payload" in {each.told for each in told}
                nested.rollback()


def test_whitespace_in_a_payload_is_noticed_even_with_its_hashes(superuser: Engine, generation: Generation):
    """It means the same, so nothing that is derived from it tells."""
    with tampering(superuser, generation) as conn:
        rewrite(conn, 5, lambda payload: payload.replace(b'":"', b'": "', 1))
        assert [str(each) for each in without_tree(found(conn))] == ["event 5: payload is not in canonical form"]


CHANGED = {
    "event_id": "gen_random_uuid()",
    "type": "'ArticleRevised'",
    "schema_version": "2",
    "recorded_at": "recorded_at - interval '1 day'",
    "actor": "'cli:nobody'",
    "payload_sha256": "sha256('x')",
    "leaf": "leaf || ' '",
}


@pytest.mark.parametrize("column", CHANGED)
def test_every_column_of_an_entry_counts(superuser: Engine, generation: Generation, column: str):
    with tampering(superuser, generation) as conn:
        change(conn, f"UPDATE onrecord.event SET {column} = {CHANGED[column]} WHERE position = 3")
        assert ("event", 3) in {(each.where, each.position) for each in found(conn)}


def test_every_column_of_an_entry_is_tried():
    assert CHANGED.keys() | {"position", "payload"} == set(tables.event.columns.keys())


_ENVELOPE = [column.name for column in tables.event.columns if column.name != "position"]
_SWAP = """
    UPDATE onrecord.event e SET {columns} FROM onrecord.event o
     WHERE (e.position, o.position) IN ((2, 3), (3, 2))
"""


def _swap(conn: Connection, *columns: str) -> None:
    conn.exec_driver_sql("ALTER TABLE onrecord.event DROP CONSTRAINT event_event_id_key")
    conn.exec_driver_sql("ALTER TABLE onrecord.event DROP CONSTRAINT event_recorded_at_key")
    change(conn, _SWAP.format(columns=", ".join(f"{name} = o.{name}" for name in columns)))


def test_two_events_that_are_swapped_are_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        _swap(conn, *_ENVELOPE)
        told = found(conn)
        assert ("event", 3, "it is not recorded after the entry before it") in _brief(told)


def test_two_events_that_are_swapped_in_their_places_and_times_are_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        _swap(conn, *(name for name in _ENVELOPE if name != "recorded_at"))
        told = found(conn)
        assert {2, 3} <= {each.position for each in told if each.told.startswith("leaf is not")}
        # And with leaves that fit, by all that follows from the order.
        for position in (2, 3):
            rewrite(conn, position, lambda payload: payload)
        told = found(conn)
        assert not any("leaf" in each.told for each in told)
        assert {"register_revision", f"{generation.schema_name}.article"} <= {each.where for each in told}


def _brief(told: list[Mismatch]) -> set[tuple[str, int | None, str]]:
    return {(each.where, each.position, each.told) for each in told}


def test_an_event_that_is_deleted_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(conn, "DELETE FROM onrecord.event WHERE position IN (8, 10, 11)")
        told = _brief(found(conn))
        assert ("event", 9, "entry 8 is missing before it") in told
        assert ("event", 12, "entry 10 to 11 is missing before it") in told


def test_the_first_that_is_deleted_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(conn, "DELETE FROM onrecord.event WHERE position = 1")
        assert ("event", 2, "entry 1 is missing before it") in _brief(found(conn))


@pytest.mark.parametrize("length", range(1, 16))
def test_the_last_that_are_deleted_are_noticed(superuser: Engine, generation: Generation, length: int):
    """By what was derived from them, whatever they are."""
    with tampering(superuser, generation) as conn:
        change(conn, "DELETE FROM onrecord.event WHERE position > %s", length)
        told = found(conn)
        assert "generation" in {each.where for each in told}
        conn.exec_driver_sql("UPDATE onrecord.generation SET position = %s", (length,))
        assert {each.position for each in found(conn) if each.where.startswith("register")} == set(
            range(length + 1, 17)
        )


def test_an_event_that_is_deleted_and_the_rest_renumbered_is_noticed(superuser: Engine, generation: Generation):
    """The entries themselves are faultless then."""
    with tampering(superuser, generation) as conn:
        change(conn, "DELETE FROM onrecord.event WHERE position = 10")
        change(conn, "UPDATE onrecord.event SET position = position + 1000 WHERE position > 10")
        change(conn, "UPDATE onrecord.event SET position = position - 1001 WHERE position > 1000")
        told = found(conn)
        assert "event" not in {each.where for each in told}
        assert {"register_relation", "register_ruling", f"{generation.schema_name}.ruling"} <= {
            each.where for each in told
        }


def test_an_entry_at_an_impossible_position_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        conn.exec_driver_sql("ALTER TABLE onrecord.event DROP CONSTRAINT event_position_check")
        change(conn, "UPDATE onrecord.event SET position = -1 WHERE position = 16")
        assert ("event", -1, "its position is impossible") in _brief(found(conn))


def rewrite(conn: Connection, position: int, by: Any) -> None:
    """Rewrite an event together with its stored hashes."""
    entry = log.read(conn, after=position - 1, limit=1)[0]
    payload = by(bytes(entry.payload))
    digest = events.sha256(payload)
    leaf = events.leaf(
        event_id=entry.event_id,
        type=entry.type,
        schema_version=entry.schema_version,
        recorded_at=entry.recorded_at,
        actor=entry.actor,
        payload_sha256=digest,
    )
    sql = "UPDATE onrecord.event SET payload = %s, payload_sha256 = %s, leaf = %s WHERE position = %s"
    change(conn, sql, payload, digest, leaf, position)


def test_an_event_that_is_rewritten_with_its_hashes_is_noticed_by_what_was_derived(
    superuser: Engine, generation: Generation
):
    with tampering(superuser, generation) as conn:
        rewrite(conn, 1, lambda payload: payload.replace(b"they said so", b"they never did"))
        told = without_tree(found(conn))
        assert {each.where for each in told} == {f"{generation.schema_name}.statement"}
        assert "quote is 'they said so', and the log says 'they never did'" in told[0].told


def test_an_event_that_append_would_have_refused_is_noticed(
    engine: Engine, owner_engine: Engine, generation: Generation
):
    """Whatever comes after it is not known; what was before is still compared."""
    position = put(owner_engine, merged("b", "b"))
    told: list[Mismatch] = []
    with engine.connect() as conn:
        summary = verify(conn, told.append)
    assert [(each.where, each.position) for each in told] == [("event", position)]
    assert "the log before it does not go on like this: b cannot be merged into itself" in told[0].told
    assert summary.omitted == [f"the register from position {position} on, as that event cannot be folded"]
    assert summary.read_rows > 0


def test_an_event_of_another_program_is_noticed_and_what_is_before_it_compared(
    engine: Engine, owner_engine: Engine, superuser: Engine, generation: Generation
):
    position = put(owner_engine, b"{}", type_name="ArticleAnnounced")
    _project(engine, generation)
    with tampering(superuser, generation) as conn:
        assert [(each.where, each.position) for each in found(conn)] == [("event", position)]
        change(conn, "UPDATE claim SET first_position = first_position + 1 WHERE claim = 'a'")
        assert [each.where for each in found(conn)] == ["event", f"{generation.schema_name}.claim"]


# --- the register and the read tables -------------------------------------------------------------


def _tables(generation: Generation) -> dict[str, Table]:
    of_register = {table.fullname: table for table in tables.REGISTER}
    of_reading = {f"{generation.schema_name}.{table.name}": table for table in tables.read_metadata.sorted_tables}
    return of_register | of_reading


_TABLES = [*(table.name for table in tables.REGISTER), *(table.name for table in tables.read_metadata.sorted_tables)]


def _other(column: Column[Any]) -> str:
    """Another value of a column, in SQL."""
    name = f'"{column.name}"'
    match column.type:
        case Boolean():
            return f"NOT {name}"
        case BigInteger() | Integer():
            # Nothing is recorded there, and nothing stands until then.
            return f"coalesce(CASE WHEN {name} = {tables.OPEN} THEN 999 ELSE {name} + 1000 END, 1000)"
        case DateTime():
            return f"coalesce({name} + interval '1 us', now())"
        case REGCONFIG():
            return f"CASE WHEN {name} = 'german'::regconfig THEN 'french'::regconfig ELSE 'german'::regconfig END"
        case LargeBinary():
            return f"set_byte({name}, 0, get_byte({name}, 0) # 1)"
        case Text():
            return f"coalesce({name} || 'x', 'x')"
        case JSONB():
            return f"{name} || jsonb_build_object('x', 1)"
        case ARRAY():  # pragma: no cover - there is none yet
            raise AssertionError(column)
    raise AssertionError(column)


def _unconstrained(conn: Connection, generation: Generation) -> None:
    """Tampered rows need not be unique."""
    for name, table in _tables(generation).items():
        schema = name.partition(".")[0]
        found = conn.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('u', 'p')", (name,)
        )
        for constraint in found.scalars().all():
            conn.exec_driver_sql(f'ALTER TABLE {schema}.{table.name} DROP CONSTRAINT "{constraint}" CASCADE')


@pytest.mark.parametrize("table", _TABLES)
def test_a_row_that_is_changed_is_noticed_in_every_table_and_column(
    superuser: Engine, generation: Generation, table: str
):
    with tampering(superuser, generation) as conn:
        _unconstrained(conn, generation)
        (name, of) = next((name, of) for name, of in _tables(generation).items() if of.name == table)
        place = name.removeprefix("onrecord.")
        for column in of.columns:
            for at in conn.exec_driver_sql(f"SELECT ctid FROM {name} ORDER BY ctid LIMIT 2").scalars().all():
                with conn.begin_nested() as nested:
                    change(conn, f'UPDATE {name} SET "{column.name}" = {_other(column)} WHERE ctid = %s::tid', at)
                    told = found(conn)
                    assert {each.where for each in told} == {place}, (column.name, told)
                    if not column.primary_key:
                        assert len(told) == 1
                        assert f"{column.name} is " in told[0].told
                        assert "and the log says" in told[0].told
                    else:
                        assert len(told) == 2
                    nested.rollback()


@pytest.mark.parametrize("table", _TABLES)
def test_a_row_that_is_removed_is_noticed_in_every_table(superuser: Engine, generation: Generation, table: str):
    with tampering(superuser, generation) as conn:
        (name,) = (name for name, of in _tables(generation).items() if of.name == table)
        for at in conn.exec_driver_sql(f"SELECT ctid FROM {name}").scalars().all():
            with conn.begin_nested() as nested:
                change(conn, f"DELETE FROM {name} WHERE ctid = %s::tid", at)
                (told,) = found(conn)
                assert told.where == name.removeprefix("onrecord.")
                assert told.told.endswith(" is missing")
                nested.rollback()
        change(conn, f"DELETE FROM {name}")
        assert found(conn)


@pytest.mark.parametrize("table", _TABLES)
def test_a_row_that_is_added_is_noticed_in_every_table(superuser: Engine, generation: Generation, table: str):
    with tampering(superuser, generation) as conn:
        _unconstrained(conn, generation)
        (name, of) = next((name, of) for name, of in _tables(generation).items() if of.name == table)
        keys = {column.name for column in of.primary_key}
        once = ", ".join(_other(column) if column.name in keys else f'"{column.name}"' for column in of.columns)
        for columns in (once, ", ".join(f'"{column.name}"' for column in of.columns)):
            # One of another key, and one that is there twice.
            with conn.begin_nested() as nested:
                change(conn, f"INSERT INTO {name} SELECT {columns} FROM {name} LIMIT 1")
                (told,) = found(conn)
                assert told.where == name.removeprefix("onrecord.")
                assert "is there, and nothing in the log says so" in told.told
                nested.rollback()


def test_a_mismatch_of_a_belief_names_claim_and_position(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(
            conn,
            "UPDATE transition SET to_state = 'asserted' WHERE claim = 'b' AND policy = 'unanimous@1' AND position = 2",
        )
        (told,) = found(conn)
        assert str(told) == (
            f"{generation.schema_name}.transition 2 (b): row policy 'unanimous@1', claim 'b', position 2: "
            "to_state is 'asserted', and the log says 'denied'"
        )


def test_read_tables_of_another_version_are_not_compared(superuser: Engine, generation: Generation):
    """They are another program's; a rebuild makes new ones."""
    with tampering(superuser, generation) as conn:
        change(conn, "UPDATE onrecord.generation SET shape = 'x'")
        change(conn, "DELETE FROM claim")
        summary = verify(conn, _fail)
        assert summary.omitted == ["the read tables, as they are those of another version of onrecord"]


def test_only_the_read_tables_that_readers_are_answered_from_are_compared(engine: Engine, generation: Generation):
    with engine.begin() as conn:
        other = projector.prepare(conn, ["majority"])
        assert not other.live
    with engine.connect() as conn:
        assert found(conn) == []


# --- texts ----------------------------------------------------------------------------------------


def test_a_text_that_is_changed_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(conn, "UPDATE onrecord.article_text SET content = content || ' '")
        (told,) = found(conn)
        assert told.where == "text"
        assert "is not the hash of its content" in told.told


def test_an_erased_text_that_is_there_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(conn, "INSERT INTO onrecord.article_text VALUES (%s, %s)", events.sha256(GONE.encode()), GONE)
        (told,) = found(conn)
        assert told.told.endswith("was erased, and is there")


def test_a_text_that_no_article_names_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        change(conn, "INSERT INTO onrecord.article_text VALUES (sha256('x'), 'x')")
        (told,) = found(conn)
        assert told.told.endswith("is there, and no article names it")


def test_a_text_that_is_not_held_is_no_mismatch(superuser: Engine, generation: Generation):
    """The log never says that one is: it may not have been sent along, and an import has none."""
    with tampering(superuser, generation) as conn:
        change(conn, "DELETE FROM onrecord.article_text")
        assert found(conn) == []


# --- the tree and the checkpoint ------------------------------------------------------------------


def test_a_tile_that_is_changed_removed_or_added_is_noticed(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        for sql in (
            "UPDATE onrecord.tile SET hashes = set_byte(hashes, 37, get_byte(hashes, 37) # 1)",
            "UPDATE onrecord.tile SET hashes = substring(hashes, 1, 32)",
            "UPDATE onrecord.tile SET hashes = hashes || sha256('x')",
            "UPDATE onrecord.tile SET index = 1",
            "DELETE FROM onrecord.tile",
            "INSERT INTO onrecord.tile SELECT 0, 1, substring(hashes, 1, 32) FROM onrecord.tile",
            "INSERT INTO onrecord.tile SELECT 1, 0, substring(hashes, 1, 32) FROM onrecord.tile",
        ):
            with conn.begin_nested() as nested:
                change(conn, sql)
                assert {each.where for each in found(conn)} == {"tree"}, sql
                nested.rollback()


def test_a_tile_of_many_is_noticed(engine: Engine, superuser: Engine, generation: Generation):
    """Full ones, partial ones, and the one above them."""
    with engine.begin() as conn:
        log.append_all(conn, [new_event(article(f"n{n}", nato=asserts("a"))) for n in range(600)])
    integrate(engine)
    _project(engine, generation)
    with tampering(superuser, generation) as conn:
        assert found(conn) == []
        places = conn.exec_driver_sql("SELECT level, index FROM onrecord.tile").all()
        assert len(places) == 4
        for level, index in places:
            with conn.begin_nested() as nested:
                change(conn, "DELETE FROM onrecord.tile WHERE level = %s AND index = %s", level, index)
                (told,) = found(conn)
                assert str(told) == f"tree: Tile {level}/{index} is not what the log's entries hash to"
                nested.rollback()


def test_an_event_that_is_rewritten_with_its_hashes_and_all_that_follows_is_noticed_by_the_tree(
    superuser: Engine, generation: Generation
):
    with tampering(superuser, generation) as conn:
        rewrite(conn, 1, lambda payload: payload.replace(b"they said so", b"they never did"))
        change(conn, "UPDATE statement SET quote = 'they never did' WHERE position = 1")
        assert {each.where for each in found(conn)} == {"tree"}


def test_a_log_that_was_exchanged_whole_is_noticed_by_a_checkpoint_that_was_kept(
    superuser: Engine, generation: Generation
):
    """Whoever has the database and the key can make everything in it fit; not what is elsewhere."""
    with tampering(superuser, generation) as conn:
        kept = tree.newest(conn)
        assert kept is not None
        assert found(conn, kept.note) == []
        rewrite(conn, 1, lambda payload: payload.replace(b"they said so", b"they never did"))
        change(conn, "UPDATE statement SET quote = 'they never did' WHERE position = 1")
        for table in ("tile", "checkpoint"):
            conn.exec_driver_sql(f"ALTER TABLE onrecord.{table} DISABLE TRIGGER ALL")
            change(conn, f"DELETE FROM onrecord.{table}")
        change(conn, "UPDATE onrecord.tree SET size = 0")
        tree.integrate(conn, signer())
        assert found(conn) == []
        (told,) = found(conn, kept.note)
        assert str(told) == (
            "checkpoint: the first 16 entries are not those that it was signed for: some were exchanged"
        )


def test_a_log_that_lost_its_end_is_noticed_by_a_checkpoint_that_was_kept(superuser: Engine, generation: Generation):
    with tampering(superuser, generation) as conn:
        kept = tree.newest(conn)
        assert kept is not None
        change(conn, "DELETE FROM onrecord.event WHERE position = 16")
        told = [str(each) for each in found(conn, kept.note) if each.where == "checkpoint"]
        assert told == ["checkpoint: it was signed for 16 entries, and the log has 15"]
        change(conn, "DELETE FROM onrecord.event WHERE position = 7")
        told = [str(each) for each in found(conn, kept.note) if each.where == "checkpoint"]
        assert told == ["checkpoint: it was signed for 16 entries, and the log has 14"]


def test_a_log_that_has_grown_still_begins_with_what_was_signed(engine: Engine, generation: Generation):
    with engine.begin() as conn:
        before = tree.newest(conn)
        log.append_all(conn, [new_event(article("late", nato=asserts("a")))])
    _project(engine, generation)
    integrate(engine)
    with engine.connect() as conn:
        assert before is not None
        assert found(conn, before.note) == []
        assert verify(conn, _fail).in_tree == 17


def test_a_checkpoint_of_an_empty_log_is_one_of_every_log(engine: Engine):
    integrate(engine)
    with engine.begin() as conn:
        kept = tree.newest(conn)
        assert kept is not None
        assert found(conn, kept.note) == []
        log.append_all(conn, [new_event(article("1", nato=asserts("a")))])
        assert found(conn, kept.note) == []


def test_a_checkpoint_that_this_log_did_not_sign_is_refused(engine: Engine, generation: Generation):
    with engine.connect() as conn:
        kept = tree.newest(conn)
        assert kept is not None
        forged = signer(OTHER_SEED).sign(Checkpoint(kept.origin, 3, bytes(32)))
        for note in (forged, kept.note.replace("16", "15"), "", kept.note[:-20]):
            with pytest.raises(CheckpointInvalid):
                verify(conn, _fail, note=note)
