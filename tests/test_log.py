"""What append promises: places, outcomes, the register, texts, times, bytes and turns."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import rfc8785
from sqlalchemy import Engine, select
from sqlalchemy import event as sql_events

from service import log, tables, texts
from service.domain import events
from service.domain.article import Article
from service.domain.errors import (
    ArticleChanged,
    ArticleUnknown,
    Busy,
    PropositionMissing,
    RevisionSkipped,
)
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised
from service.log import Appended, NewEvent, Outcome, Refused, Repeated
from tests.builders import QUOTE, article, asserts, denies, retraction, url, withholds
from tests.conftest import Database
from tests.past_append import put

#: A statement on a claim that nobody has named before.
NEW = asserts("new")


def sent(*what: Article | ArticleRetracted) -> list[NewEvent]:
    return [
        NewEvent.of_article(each, actor="cli:test")
        if isinstance(each, Article)
        else NewEvent.of(each, actor="cli:test")
        for each in what
    ]


def append(engine: Engine, *what: Article | ArticleRetracted) -> list[Outcome]:
    with engine.begin() as conn:
        return log.append(conn, sent(*what))


def positions(outcomes: Sequence[Outcome]) -> list[int | None]:
    """Where each was appended; None for those that were not."""
    return [each.position if isinstance(each, Appended) else None for each in outcomes]


def refusal(outcome: Outcome) -> Any:
    assert isinstance(outcome, Refused), outcome
    return outcome.error


def stored(engine: Engine) -> list[events.Envelope]:
    with engine.begin() as conn:
        return log.read(conn, after=0, limit=1_000_000)


def rows(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        return sorted(tuple(row) for row in conn.exec_driver_sql(f"SELECT * FROM onrecord.{table}"))


def kept_texts(engine: Engine) -> set[str]:
    with engine.begin() as conn:
        return set(conn.execute(select(tables.article_text.c.content)).scalars())


# --- places and outcomes ----------------------------------------------------------


def test_positions_count_from_one_without_gaps(engine: Engine) -> None:
    assert positions(append(engine, article("a"), article("b"))) == [1, 2]
    assert positions(append(engine, article("c"))) == [3]
    assert [each.position for each in stored(engine)] == [1, 2, 3]


def test_nothing_sent_is_nothing_recorded(engine: Engine) -> None:
    assert append(engine) == []
    assert stored(engine) == []


def test_every_event_has_its_outcome_in_the_order_sent(engine: Engine) -> None:
    append(engine, article("known"))
    outcomes = append(
        engine,
        article("a"),
        article("known"),
        article("skips", revision=2),
        retraction("unknown"),
        retraction("known"),
        article("b"),
    )
    assert [type(each) for each in outcomes] == [Appended, Repeated, Refused, Refused, Appended, Appended]
    assert positions(outcomes) == [2, None, None, None, 3, 4]


def test_the_refused_leave_the_others_standing(engine: Engine) -> None:
    """What many small writers sent together is one batch; none of them answers for another."""
    outcomes = append(engine, article("a"), article("b", revision=7), article("c"))
    assert positions(outcomes) == [1, None, 2]
    assert [each.event() for each in stored(engine)] == [
        ArticleRecorded(article=article("a")),
        ArticleRecorded(article=article("c")),
    ]


def test_sending_again_changes_nothing_and_answers_with_the_first_place(engine: Engine) -> None:
    append(engine, article("a"), article("b"))
    before = stored(engine)
    assert append(engine, article("b"), article("a")) == [Repeated(2), Repeated(1)]
    assert stored(engine) == before


def test_the_second_of_two_equal_articles_in_a_batch_repeats_the_first(engine: Engine) -> None:
    outcomes = append(engine, article("a"), article("a"))
    assert positions(outcomes) == [1, None]
    assert outcomes[1] == Repeated(1)


def test_other_content_under_the_same_revision_is_refused_and_names_the_next(engine: Engine) -> None:
    append(engine, article("a"), article("b"), article("b", revision=2, published="2022-02-16"))
    first, second = (
        refusal(each)
        for each in append(engine, article("a", published="2022-02-17"), article("b", published="2022-02-17"))
    )
    assert isinstance(first, ArticleChanged)
    assert (first.url, first.revision, first.position) == (url("a"), 1, 1)
    assert first.next_revision == 2
    # The first revision of two: what comes next is the third.
    assert (second.revision, second.position, second.next_revision) == (1, 2, 3)
    assert len(stored(engine)) == 3


def test_a_revision_that_came_out_at_another_time_is_another_one(engine: Engine) -> None:
    append(engine, article("a"), article("a", revision=2, published="2022-02-16", revised="2022-02-17"))
    (outcome,) = append(engine, article("a", revision=2, published="2022-02-16", revised="2022-02-18"))
    assert isinstance(refusal(outcome), ArticleChanged)


def test_a_skipped_revision_is_refused_and_names_the_one_to_send(engine: Engine) -> None:
    append(engine, article("a"))
    known, unknown = append(engine, article("a", revision=3), article("b", revision=2))
    assert isinstance(refusal(known), RevisionSkipped)
    assert (refusal(known).revision, refusal(known).next_revision) == (3, 2)
    assert refusal(unknown).next_revision == 1
    assert len(stored(engine)) == 1


def test_revisions_may_follow_one_another_within_a_batch(engine: Engine) -> None:
    outcomes = append(engine, *(article("a", revision=n, published=f"2022-02-1{n}") for n in (1, 2, 3)))
    assert positions(outcomes) == [1, 2, 3]
    assert [type(each.event()) for each in stored(engine)] == [
        ArticleRecorded,
        ArticleRevised,
        ArticleRevised,
    ]


def test_the_same_content_under_the_next_number_is_a_repeat(engine: Engine) -> None:
    append(engine, article("a"), article("a", revision=2, published="2022-02-16"))
    assert append(engine, article("a", revision=3, published="2022-02-16")) == [Repeated(2)]
    assert len(stored(engine)) == 2


def test_a_revision_may_go_back_to_older_content(engine: Engine) -> None:
    append(engine, article("a"), article("a", revision=2, published="2022-02-16"))
    assert positions(append(engine, article("a", revision=3))) == [3]


# --- retractions ------------------------------------------------------------------


def test_to_retract_what_is_not_recorded_is_refused(engine: Engine) -> None:
    (outcome,) = append(engine, retraction("a"))
    assert isinstance(refusal(outcome), ArticleUnknown)
    assert refusal(outcome).url == url("a")
    assert stored(engine) == []


def test_an_article_may_be_retracted_in_the_batch_that_records_it(engine: Engine) -> None:
    assert positions(append(engine, article("a"), retraction("a"))) == [1, 2]


def test_retracting_again_answers_where_it_was_retracted(engine: Engine) -> None:
    append(engine, article("a"), article("b"), retraction("a"))
    again = retraction("a", "Another reason.")
    assert append(engine, retraction("a"), again) == [Repeated(3, 3), Repeated(3, 3)]
    assert len(stored(engine)) == 3


def test_a_known_revision_does_not_bring_a_retracted_article_back(engine: Engine) -> None:
    append(
        engine,
        article("a"),
        article("a", revision=2, published="2022-02-16"),
        retraction("a"),
        article("other"),
    )
    assert append(engine, article("a", revision=2, published="2022-02-16"), article("a")) == [
        Repeated(2, retracted_at=3),
        Repeated(1, retracted_at=3),
    ]
    assert len(stored(engine)) == 4
    # It is still retracted.
    assert append(engine, retraction("a")) == [Repeated(3, 3)]


def test_the_next_revision_brings_a_retracted_article_back_even_unchanged(engine: Engine) -> None:
    append(engine, article("a"), retraction("a"))
    assert positions(append(engine, article("a", revision=2))) == [3]
    assert append(engine, article("a", revision=2), article("a")) == [Repeated(3), Repeated(1)]
    assert positions(append(engine, retraction("a"))) == [4]
    assert append(engine, retraction("a")) == [Repeated(4, 4)]


# --- claims -----------------------------------------------------------------------


def test_a_claim_needs_its_proposition_the_first_time(engine: Engine) -> None:
    (outcome,) = append(engine, article("a", nato=[asserts("known"), asserts("new")], propositions=False))
    assert isinstance(refusal(outcome), PropositionMissing)
    assert (refusal(outcome).claim, refusal(outcome).path) == ("known", "claims[0].proposition")
    append(engine, article("b", nato=asserts("known")))
    (outcome,) = append(engine, article("a", nato=[asserts("known"), asserts("new")], propositions=False))
    assert (refusal(outcome).claim, refusal(outcome).path) == ("new", "claims[1].proposition")
    assert len(stored(engine)) == 1


def test_a_claim_is_known_to_the_rest_of_its_batch(engine: Engine) -> None:
    outcomes = append(engine, article("a", nato=NEW), article("b", nato=NEW, propositions=False))
    assert positions(outcomes) == [1, 2]


def test_a_refused_article_makes_no_claim_known(engine: Engine) -> None:
    outcomes = append(
        engine,
        article("a", nato=NEW, revision=2),
        article("b", nato=NEW, propositions=False),
    )
    assert isinstance(refusal(outcomes[1]), PropositionMissing)
    assert rows(engine, "register_claim") == []


def test_a_claim_stays_known_after_its_article_is_retracted(engine: Engine) -> None:
    append(engine, article("a", nato=NEW), retraction("a"))
    assert positions(append(engine, article("b", nato=NEW, propositions=False))) == [3]


# --- the register -----------------------------------------------------------------


def test_the_register_is_what_follows_from_the_log(engine: Engine) -> None:
    append(
        engine,
        article("a", nato=[asserts("one"), asserts("two")], itself=denies("two")),
        article("b", nato=asserts("two")),
    )
    append(engine, article("b", nato=asserts("two")), article("x", revision=2))
    append(engine, article("c", nato=asserts("three"), un=asserts("three")))
    append(engine, article("a", nato=asserts("four"), revision=2), retraction("b"), retraction("b"))
    append(engine, retraction("x"), article("b", revision=2, itself=withholds("two")), retraction("b"))
    revisions, retractions, claims, speakers = {}, {}, {}, {}
    newest: dict[str, int] = {}
    for entry in stored(engine):
        match entry.event():
            case ArticleRetracted(url=gone):
                retractions[gone, newest[gone]] = entry.position
            case ArticleRecorded(article=each) | ArticleRevised(article=each):
                newest[each.url] = each.revision
                revisions[each.url, each.revision] = entry.position
                for claim in each.claims:
                    claims.setdefault(claim.claim, entry.position)
                for _, _, statement in each.statements():
                    speakers.setdefault(each.speaker_of(statement), entry.position)
    assert len(revisions) == 5
    assert len(retractions) == 2
    assert set(speakers) == {"nato", "un", "outlet:daily-planet"}
    assert rows(engine, "register_revision") == sorted((*key, at) for key, at in revisions.items())
    assert rows(engine, "register_retraction") == sorted((*key, at) for key, at in retractions.items())
    assert rows(engine, "register_claim") == sorted(claims.items())
    assert rows(engine, "register_speaker") == sorted(speakers.items())


def test_rows_that_do_not_arrive_are_an_error_and_nothing_is_recorded(engine: Engine, owner_engine: Engine) -> None:
    """Never success by default: a row that something in the database swallowed would be missing for ever."""
    with owner_engine.begin() as conn:
        conn.exec_driver_sql(
            "CREATE FUNCTION onrecord.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        conn.exec_driver_sql(
            "CREATE TRIGGER swallow BEFORE INSERT ON onrecord.register_speaker "
            "FOR EACH ROW EXECUTE FUNCTION onrecord.swallow()"
        )
    with pytest.raises(AssertionError, match="rows"):
        append(engine, article("a", nato=NEW))
    assert stored(engine) == []
    assert rows(engine, "register_revision") == []


# --- texts ------------------------------------------------------------------------

TEXT = f"A spokesman spoke, and {QUOTE}."
SAID = asserts("troops-withdrawing")
OTHER_TEXT = f"That is what {QUOTE}."


def test_the_text_of_an_appended_article_is_kept_beside_the_log(engine: Engine) -> None:
    append(engine, article("a", nato=SAID, text=TEXT))
    (entry,) = stored(engine)
    event = entry.event()
    assert isinstance(event, ArticleRecorded)
    assert event.quotes_verified is True
    assert event.article.text is None
    digest = hashlib.sha256(TEXT.encode()).digest()
    assert event.article.text_sha256 == digest.hex()
    assert b"spokesman" not in entry.payload
    with engine.begin() as conn:
        assert texts.texts_by_hash(conn, [digest]) == {digest: TEXT}


def test_the_text_of_a_refused_article_is_not_kept(engine: Engine) -> None:
    append(engine, article("a", revision=2, nato=SAID, text=TEXT))
    assert kept_texts(engine) == set()


def test_a_repeat_brings_the_text_that_the_log_names(engine: Engine) -> None:
    recorded = article("a", nato=SAID, text=TEXT)
    append(engine, recorded.without_text())
    assert kept_texts(engine) == set()
    assert append(engine, recorded) == [Repeated(1)]
    assert kept_texts(engine) == {TEXT}
    # And again, now that it is there.
    assert append(engine, recorded) == [Repeated(1)]
    assert kept_texts(engine) == {TEXT}


def test_a_repeat_does_not_bring_a_text_that_the_log_does_not_name(engine: Engine) -> None:
    append(engine, article("a", nato=SAID))
    assert append(engine, article("a", nato=SAID, text=TEXT), article("a", revision=2, nato=SAID, text=TEXT)) == [
        Repeated(1),
        Repeated(1),
    ]
    assert kept_texts(engine) == set()


def test_another_text_is_another_article(engine: Engine) -> None:
    append(engine, article("a", nato=SAID, text=TEXT))
    (outcome,) = append(engine, article("a", nato=SAID, text=OTHER_TEXT))
    assert isinstance(refusal(outcome), ArticleChanged)
    assert kept_texts(engine) == {TEXT}


def test_texts_of_one_batch_are_each_kept_once(engine: Engine) -> None:
    append(engine, *(article(f"{n}", nato=SAID, text=TEXT if n % 2 else OTHER_TEXT) for n in range(6)))
    assert kept_texts(engine) == {TEXT, OTHER_TEXT}


# --- times ------------------------------------------------------------------------


def test_recording_times_increase_with_every_position(engine: Engine) -> None:
    before = datetime.now(UTC)
    outcomes = append(engine, *(article(f"{n}") for n in range(20)))
    outcomes += append(engine, article("later"))
    after = datetime.now(UTC)
    times = [each.recorded_at for each in outcomes if isinstance(each, Appended)]
    assert all(one < other for one, other in itertools.pairwise(times))
    assert before - timedelta(seconds=1) < times[0] < times[-1] < after + timedelta(seconds=1)
    assert times == [each.recorded_at for each in stored(engine)]


def test_recording_times_increase_although_the_clock_was_set_back(engine: Engine, owner_engine: Engine) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    append(engine, article("a"))
    put(owner_engine, ArticleRecorded(article=article("b")), recorded_at=ahead)
    outcomes = append(engine, article("c"), article("d")) + append(engine, article("e"))
    times = [each.recorded_at for each in outcomes if isinstance(each, Appended)]
    assert times == [ahead + timedelta(microseconds=n) for n in (1, 2, 3)]


def test_a_long_transaction_does_not_hold_the_time_still(engine: Engine) -> None:
    """now() is the time at which a transaction began; one that began early may get its turn late."""
    with engine.connect() as early, early.begin():
        began = early.exec_driver_sql("SELECT now()").scalar_one()
        (other,) = append(engine, article("a"))
        clock = early.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        (outcome,) = log.append(early, sent(article("b")))
    assert isinstance(other, Appended)
    assert isinstance(outcome, Appended)
    assert began < other.recorded_at < clock <= outcome.recorded_at


# --- bytes ------------------------------------------------------------------------


def test_payloads_and_leaves_are_canonical_and_hashed_from_their_bytes(engine: Engine) -> None:
    append(
        engine,
        article("a", nato=SAID, text=TEXT),
        article("a", nato=asserts("troops-withdrawing", quote='"Löwe"\u2028\n😀', start=7), revision=2),
    )
    append(engine, retraction("a"))
    with engine.begin() as conn:
        entries = conn.execute(select(tables.event).order_by(tables.event.c.position)).all()
    assert [each.type for each in entries] == ["ArticleRecorded", "ArticleRevised", "ArticleRetracted"]
    assert len({each.event_id for each in entries}) == 3
    for row in entries:
        event = events.decode(row.type, row.schema_version, row.payload)
        content = event.model_dump(mode="json", exclude_none=True)
        assert row.payload == rfc8785.dumps(content)
        assert row.payload_sha256 == hashlib.sha256(row.payload).digest()
        assert row.leaf == rfc8785.dumps(
            {
                "actor": "cli:test",
                "event_id": str(row.event_id),
                "payload_sha256": hashlib.sha256(row.payload).hexdigest(),
                "recorded_at": row.recorded_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "schema_version": 1,
                "type": row.type,
            }
        )


def test_events_are_read_back_in_order_from_any_place(engine: Engine) -> None:
    recorded = [ArticleRecorded(article=article(f"{n}")) for n in range(7)]
    append(engine, *(each.article for each in recorded))
    with engine.begin() as conn:
        assert log.head(conn) == 7
        everything = log.read(conn, after=0, limit=100)
        assert [each.event() for each in everything] == recorded
        assert log.read(conn, after=2, limit=3) == everything[2:5]
        assert log.read(conn, after=7, limit=3) == []
        stored = [(each.position, each.type, each.schema_version, each.payload) for each in everything]
        assert list(log.stream(conn)) == stored
        assert list(log.stream(conn, to=4)) == stored[:4]
        assert [each.event() for each in log.stream(conn, to=2)] == recorded[:2]


def test_a_stream_leaves_out_what_is_not_wanted(engine: Engine) -> None:
    append(engine, article("1"), article("2"), article("1", revision=2, itself=asserts("a")))
    with engine.begin() as conn:
        assert [each.position for each in log.stream(conn, without="ArticleRecorded")] == [3]
        assert [each.position for each in log.stream(conn, without="ArticleRevised")] == [1, 2]


def test_who_stops_reading_a_stream_may_go_on_in_the_same_transaction(engine: Engine) -> None:
    """However much of it the server still has to send."""
    dice = random.Random(450)
    words = [asserts("a", quote=dice.randbytes(500).hex()) for _ in range(1000)]
    append(engine, *(article(nato=words[n : n + 20]) for n in range(0, 1000, 20)))
    with engine.begin() as conn:
        before = conn.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one()
        with closing(log.stream(conn)) as entries:
            assert next(entries).position == 1
        assert log.head(conn) == 50
        assert conn.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one() == before


def test_an_empty_log_has_its_head_at_zero(engine: Engine) -> None:
    with engine.begin() as conn:
        assert log.head(conn) == 0
        assert list(log.stream(conn)) == []


# --- transactions and turns -------------------------------------------------------


def test_what_is_rolled_back_was_never_there(engine: Engine) -> None:
    with engine.connect() as conn:
        assert positions(log.append(conn, sent(article("a", nato=SAID, text=TEXT)))) == [1]
        conn.rollback()
    assert stored(engine) == []
    assert kept_texts(engine) == set()
    assert positions(append(engine, article("b"))) == [1]


def test_two_appends_in_one_transaction_go_on_from_each_other(engine: Engine) -> None:
    with engine.begin() as conn:
        assert positions(log.append(conn, sent(article("a", nato=NEW)))) == [1]
        outcomes = log.append(
            conn,
            sent(article("a", nato=NEW), article("b", nato=NEW, propositions=False)),
        )
        assert outcomes[0] == Repeated(1)
        assert positions(outcomes) == [None, 2]


def test_append_all_raises_what_was_refused(engine: Engine) -> None:
    with engine.begin() as conn:
        assert log.append_all(conn, sent(article("a"), article("a")))[1] == Repeated(1)
    with pytest.raises(RevisionSkipped), engine.begin() as conn:
        log.append_all(conn, sent(article("b"), article("c", revision=2)))
    assert len(stored(engine)) == 1


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_append_refuses_a_snapshot_that_is_older_than_its_turn(engine: Engine, isolation: str) -> None:
    with (
        pytest.raises(AssertionError, match="READ COMMITTED"),
        engine.connect().execution_options(isolation_level=isolation) as conn,
    ):
        log.append(conn, sent(article("a")))
    assert stored(engine) == []


def test_an_append_is_durable_although_the_session_was_not(engine: Engine, owner_engine: Engine) -> None:
    with owner_engine.begin() as conn:
        name = conn.exec_driver_sql("SELECT current_database()").scalar_one()
        conn.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with engine.connect() as conn:
        setting = "SHOW synchronous_commit"
        assert conn.exec_driver_sql(setting).scalar_one() == "off"
        log.append(conn, sent(article("a")))
        assert conn.exec_driver_sql(setting).scalar_one() == "on"
        conn.commit()
        assert conn.exec_driver_sql(setting).scalar_one() == "off"


def test_nobody_holds_the_log_for_ever(engine: Engine) -> None:
    """A writer that hangs loses its turn, and its settings end with its transaction."""
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with engine.connect() as conn:
        before = [conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]
        log.append(conn, sent(article("a")), wait_s_max=3)
        assert [conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names] == ["3s", "1min", "1min"]
        conn.commit()
        assert [conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names] == before


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Somebody else has the turn."""
    with engine.connect() as other, other.begin():
        log.append(other, sent(article("held")))
        yield


@pytest.mark.parametrize("wait_s_max", [0.05, 0.0001, 0])
def test_who_gets_no_turn_is_told_and_may_repeat(engine: Engine, wait_s_max: float) -> None:
    with engine.connect() as conn:
        with held(engine):
            with pytest.raises(Busy):
                log.append(conn, sent(article("a")), wait_s_max=wait_s_max)
            # The connection is good for another transaction at once.
            assert log.head(conn) == 0
            conn.rollback()
        assert positions(log.append(conn, sent(article("a")), wait_s_max=wait_s_max)) == [2]
        conn.commit()
    assert [each.position for each in stored(engine)] == [1, 2]


def test_being_told_busy_ends_the_callers_block(engine: Engine) -> None:
    with held(engine), pytest.raises(Busy), engine.begin() as conn:
        log.append(conn, sent(article("a")), wait_s_max=0.01)
    assert positions(append(engine, article("a"))) == [2]


def test_an_append_takes_the_same_number_of_statements_whatever_it_brings(engine: Engine) -> None:
    statements: list[str] = []

    def count(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        statements.extend([statement] * (len(parameters) if many else 1))

    sql_events.listen(engine, "before_cursor_execute", count)

    def cost(*what: Article | ArticleRetracted) -> int:
        statements.clear()
        append(engine, *what)
        return len(statements)

    few = cost(article("few", nato=SAID, text=TEXT))
    many = cost(
        *(article(f"{n}", text=f"{TEXT} {n}", **{f"s{n}": asserts(f"c-{n}")}) for n in range(100)),
        *(retraction(f"{n}") for n in range(50)),
        *(article(f"{n}", revision=2, **{f"s{n}": asserts(f"c-{n}")}) for n in range(25)),
    )
    assert many == few
    assert few <= 5
    assert len(stored(engine)) == 176


def test_an_append_reads_as_little_of_a_long_log_as_of_a_short_one(engine: Engine) -> None:
    """By one connection, whose plans were made while the log was short, and without statistics."""
    with engine.connect() as conn:

        def read_so_far() -> int:
            return conn.exec_driver_sql(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_xact_user_tables "
                "WHERE schemaname = 'onrecord'"
            ).scalar_one()

        def rows_read(*what: Article) -> int:
            before = read_so_far()
            log.append(conn, sent(*what))
            read = read_so_far() - before
            conn.commit()
            return read

        short = [rows_read(article(f"short-{n}", nato=SAID)) for n in range(20)]
        rows_read(*(article(f"more-{n}", nato=SAID) for n in range(1000)))
        long = [rows_read(article(f"long-{n}", nato=SAID)) for n in range(20)]
    assert max(long) <= max(short)


def test_readers_are_woken_by_an_announcement(database: Database, engine: Engine) -> None:
    where = database.service_url
    with psycopg.connect(
        host=str(where.query["host"]), user=where.username, dbname=where.database, autocommit=True
    ) as listener:
        listener.execute(f"LISTEN {log.CHANNEL}".encode())
        append(engine, article("a"))
        with engine.begin() as conn:
            log.announce(conn)
        assert [each.channel for each in listener.notifies(timeout=10, stop_after=1)] == [log.CHANNEL]
