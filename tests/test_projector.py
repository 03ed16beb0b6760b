"""The read tables follow from the log alone: however it is cut, whoever projects, wherever it is killed."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from importlib import import_module
from itertools import cycle, pairwise
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from service import log, projector, tables
from service.database import engine as engines
from service.domain import events
from service.domain.article import Article, same_content
from service.domain.belief import Fold
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Event
from service.domain.policies import NAMES, policy
from service.log import NewEvent
from service.projector import Generation, Progress, Projector
from service.tables import OPEN
from tests.builders import Said, article, asserts, denies, retraction, withholds
from tests.conftest import Database
from tests.past_append import put

WAIT_S_MAX = 60
EVERYTHING = 100_000


# --- logs to project --------------------------------------------------------------

_CLAIMS = ["gas-cut", "sanctions", "troops-withdrawing", "war-soon"]
_SPEAKERS = ["nato", "kremlin", "white_house", "un", "itself"]
_BLOCS = {"nato": "nato", "kremlin": "russia", "white_house": "nato", "un": None, "itself": None}


def some_log(seed: int, length: int) -> list[Article | ArticleRetracted]:
    """What may be recorded: few claims and speakers, so that much of it concerns the same.

    Articles come late, are revised, retracted and revived, and say more than one thing of one claim.
    """
    dice = random.Random(seed)
    newest: dict[str, Article] = {}
    retracted: set[str] = set()
    happened: list[Article | ArticleRetracted] = []
    while len(happened) < length:
        chance = dice.random()
        known = dice.choice(list(newest)) if newest else None
        if known is not None and chance < 0.15:
            if known not in retracted:
                retracted.add(known)
                happened.append(retraction(known))
            continue
        revised = newest[known] if known is not None and chance < 0.45 else None
        name = known if known is not None and revised is not None else f"{len(newest)}"
        speakers: dict[str, list[Said]] = {}
        for _ in range(dice.choice([0, 1, 1, 2, 3, 5])):
            speaker = dice.choice(_SPEAKERS)
            say = dice.choice([asserts, asserts, denies, withholds])
            said = say(dice.choice(_CLAIMS), said=dice.choice([None, _day(dice)]), bloc=_BLOCS[speaker])
            speakers.setdefault(speaker, []).append(said)
        made = article(
            name,
            by=dice.choice(["daily-planet", "itv-news"]),
            published=_day(dice),
            revision=1 if revised is None else revised.revision + 1,
            revised=_day(dice) if revised is not None and dice.random() < 0.5 else None,
            **speakers,
        )
        if revised is None or name in retracted or not same_content(made, revised):
            newest[name] = made
            retracted.discard(name)
            happened.append(made)
    return happened


def _day(dice: random.Random) -> str:
    return str(date(2022, 2, 1) + timedelta(days=dice.randrange(6)))


def record(engine: Engine, happened: Sequence[Article | ArticleRetracted]) -> None:
    new = [
        NewEvent.of_article(each, actor="cli:test")
        if isinstance(each, Article)
        else NewEvent.of(each, actor="cli:test")
        for each in happened
    ]
    with engine.begin() as conn:
        log.append_all(conn, new)


def recorded(engine: Engine) -> list[tuple[int, Event]]:
    with engine.begin() as conn:
        return [(entry.position, entry.event()) for entry in log.stream(conn)]


# --- projecting and looking -------------------------------------------------------


@pytest.fixture
def generation(engine: Engine) -> Generation:
    return prepared(engine)


def prepared(engine: Engine, policies: Sequence[str] = NAMES) -> Generation:
    with engine.begin() as conn:
        return projector.prepare(conn, policies)


def advance(engine: Engine, by: Projector, limit: int = EVERYTHING) -> Progress:
    with engine.begin() as conn:
        return by.advance(conn, limit=limit)


def catch_up(engine: Engine, by: Iterator[Projector], limit: int = EVERYTHING) -> list[int]:
    """Project all there is, each batch by the next projector; returns how many events each took."""
    batches = []
    for each in by:
        progress = advance(engine, each, limit)
        assert progress.stopped_at is None, progress.because
        if progress.events == 0:
            return batches
        batches.append(progress.events)
    raise AssertionError


Dump = dict[str, list[tuple[Any, ...]]]


def dump(engine: Engine, generation: Generation) -> Dump:
    """Every row of every read table, and the cursor."""
    with engine.begin() as conn:
        conn.exec_driver_sql(f"SET LOCAL search_path TO {generation.schema_name}")
        found = {
            table: sorted((tuple(row) for row in conn.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)
            for table in tables.read_metadata.tables
        }
        (cursor,) = (each for each in projector.generations(conn) if each.generation == generation.generation)
    return {**found, "cursor": [(cursor.position, cursor.stopped_at, cursor.because)]}


def empty(engine: Engine, generation: Generation) -> None:
    """As `prepare` left it."""
    with engine.begin() as conn:
        for table in tables.read_metadata.tables:
            conn.exec_driver_sql(f"DELETE FROM {generation.schema_name}.{table}")
        conn.exec_driver_sql("UPDATE onrecord.generation SET position = 0, stopped_at = NULL, because = NULL")


def rows(engine: Engine, generation: Generation, sql: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        conn.exec_driver_sql(f"SET LOCAL search_path TO {generation.schema_name}")
        return [tuple(row) for row in conn.exec_driver_sql(sql)]


# --- however it is cut ------------------------------------------------------------

#: How the projectors of successive batches are come by.
WAYS: dict[str, Callable[[Generation], Iterator[Projector]]] = {
    "one that remembers": lambda generation: cycle([Projector(generation)]),
    "one that remembers nothing": lambda generation: cycle([Projector(generation, remembered_max=0)]),
    "one that remembers little": lambda generation: cycle([Projector(generation, remembered_max=5)]),
    "a fresh one for every batch": lambda generation: iter(lambda: Projector(generation), None),
    "two in turn": lambda generation: cycle([Projector(generation), Projector(generation)]),
    "two, unevenly": lambda generation: cycle([(one := Projector(generation)), one, Projector(generation), one]),
}


@pytest.mark.parametrize("seed", range(6))
def test_the_read_tables_do_not_depend_on_batches_or_on_who_projects(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    length = 40
    monkeypatch.setattr(tables, "SUMMED_ABOVE", seed % 4)
    record(engine, some_log(seed, length))
    assert catch_up(engine, WAYS["one that remembers"](generation)) == [length]
    expected = dump(engine, generation)
    assert len(expected["article"]) > length / 2
    assert expected["standing"]
    assert expected["standing_sums"]
    for limit in (1, 2, 7):
        for name, way in WAYS.items():
            empty(engine, generation)
            assert catch_up(engine, way(generation), limit)[0] == limit
            found = dump(engine, generation)
            for table in expected:
                assert found[table] == expected[table], (limit, name, table)


def test_a_batch_so_large_that_rows_are_copied_comes_to_the_same(engine: Engine, generation: Generation) -> None:
    said = [
        {f"speaker-{m}": (asserts, denies, withholds)[(n + m) % 3](f"claim-{(n + m) % 11}") for m in range(8)}
        for n in range(320)
    ]
    record(engine, [article(f"{n}", **each) for n, each in enumerate(said)])
    catch_up(engine, cycle([Projector(generation)]), 20)
    expected = dump(engine, generation)
    empty(engine, generation)
    catch_up(engine, cycle([Projector(generation)]), EVERYTHING)
    assert dump(engine, generation) == expected


@pytest.mark.parametrize("seed", range(20, 26))
@pytest.mark.parametrize("limit", [3, EVERYTHING])
def test_the_read_tables_say_at_every_position_what_the_fold_says(
    engine: Engine, generation: Generation, seed: int, limit: int
) -> None:
    record(engine, some_log(seed, 40))
    catch_up(engine, cycle([Projector(generation)]), limit)
    found = dump(engine, generation)
    columns = {name: table.columns.keys() for name, table in tables.read_metadata.tables.items()}

    def at(position: int, table: str, *wanted: str, since: str = "position") -> set[tuple[Any, ...]]:
        """The rows that hold at a position."""
        listed = [dict(zip(columns[table], row, strict=True)) for row in found[table]]
        held = [row for row in listed if row[since] <= position < row["until_position"]]
        chosen = [tuple(row[name] for name in wanted) for row in held]
        assert len(set(chosen)) == len(chosen)
        return set(chosen)

    fold = Fold([policy(each) for each in NAMES])
    for position, event in recorded(engine):
        fold.apply(event, position)
        lives = [life for life in fold.articles.values() if life.position is not None]
        assert at(position, "article", "position", "revision", "first_position") == {
            (life.position, life.revision, life.first_position) for life in lives
        }
        live = [statement for life in lives for statement in life.statements]
        fields = ["claim", "speaker", "stance", "bloc", "effective_at", "published_end", "first_position"]
        fields += ["position", "ordinal"]
        assert at(position, "statement", *fields) == {tuple(each) for each in live}
        stands = [each for claim in fold.claims.values() for each in claim.by_speaker.values()]
        assert at(position, "standing", *fields, since="since_position") == {tuple(each) for each in stands}
        assert at(position, "tally", "claim", "asserting", "denying", "withholding") == {
            (claim, *standing.tally()[:3]) for claim, standing in fold.claims.items()
        }
        assert at(position, "transition", "policy", "claim", "to_state", "to_reason") == {
            (each.id, claim, *verdict) for each in fold.policies for claim, verdict in fold.verdicts(each)
        }


@pytest.mark.parametrize("seed", range(40, 44))
def test_transitions_are_the_folds_and_form_a_chain(engine: Engine, generation: Generation, seed: int) -> None:
    record(engine, some_log(seed, 40))
    catch_up(engine, cycle([Projector(generation)]), 5)
    fold = Fold([policy(each) for each in NAMES])
    expected = [
        (
            *(each.policy, each.claim, each.position),
            *(each.before or (None, None)),
            *(each.after or (None, None)),
            *(each.effective_at, each.retroactive),
        )
        for position, event in recorded(engine)
        for each in fold.apply(event, position).transitions
    ]
    found = rows(engine, generation, "SELECT * FROM transition ORDER BY policy, claim, position")
    assert [row[:-1] for row in found] == sorted(expected, key=lambda row: row[:3])
    assert {row[0] for row in found} == {each.id for each in fold.policies}
    assert {row[-2] for row in found} == {True, False}
    for one, other in pairwise([*found, ("", "", 0)]):
        if one[:2] == other[:2]:
            # What holds ends where the next begins, and that says what it was.
            assert one[-1] == other[2] > one[2]
            assert one[5:7] == other[3:5]
            assert one[5:7] != other[5:7]
        else:
            assert one[-1] == OPEN


def test_a_statement_that_goes_on_standing_keeps_its_row(engine: Engine, generation: Generation) -> None:
    """Whether the projector remembers it or reads it anew, it has not begun again."""
    record(
        engine,
        [
            article("older", nato=asserts("gas-cut", said="2022-02-14")),
            article("newer", nato=asserts("gas-cut", said="2022-02-15")),
            retraction("older"),
        ],
    )
    catch_up(engine, iter(lambda: Projector(generation), None), 1)
    stood = rows(engine, generation, "SELECT position, since_position, until_position FROM standing")
    assert sorted(stood) == [(1, 1, 2), (2, 2, OPEN)]


def test_what_is_known_of_articles_outlets_speakers_and_topics_is_stored(
    engine: Engine, generation: Generation
) -> None:
    first = article("a", text="So they said so.", nato=asserts("gas-cut", form="direct", bloc="nato"))
    second = article("b", by="itv-news", published="2022-02-16T10:00:00Z", itself=denies("gas-cut"))
    read_by = {"kind": "model", "id": "reader", "version": "2"}
    other = {"claim": "gas-cut", "proposition": "Gas was cut off.", "topic": "gas"}
    revised = Article.model_validate(
        {
            **second.model_dump(exclude_none=True),
            "revision": 2,
            "change": "reading",
            "language": "en-GB",
            "headline": "Gas",
            "read_by": read_by,
            "claims": [{**second.model_dump()["claims"][0], **other}],
        }
    )
    record(engine, [first, second, revised, retraction("b", "Wrong.")])
    catch_up(engine, cycle([Projector(generation)]), 1)
    found = dump(engine, generation)
    assert found["outlet"] == [("daily-planet", 1), ("itv-news", 2)]
    assert found["speaker"] == [("nato", 1), ("outlet:itv-news", 2)]
    assert found["topic"] == [("gas", 3)]
    assert found["claim"] == [("gas-cut", 1, "gas", 3)]
    assert found["wording"] == [
        ("gas-cut", 1, "Gas cut.", None, "simple"),
        ("gas-cut", 3, "Gas was cut off.", "en-GB", "english"),
    ]
    assert found["retraction"] == [(4, "https://example.org/b", 2, "Wrong.")]
    articles = rows(
        engine,
        generation,
        "SELECT position, url, revision, first_position, outlet_name, headline, published_at, language, change, "
        "read_by_kind, read_by_id, read_by_version, text_sha256, quotes_verified, until_position "
        "FROM article ORDER BY position",
    )
    a, b = "https://example.org/a", "https://example.org/b"
    none = (None, None, None)
    at = "2022-02-16T10:00:00Z"
    assert articles == [
        (1, a, 1, 1, "Daily Planet", None, "2022-02-15", None, None, *none, first.text_sha256, True, OPEN),
        (2, b, 1, 2, "Itv News", None, at, None, None, *none, None, False, 3),
        (3, b, 2, 2, "Itv News", "Gas", at, "en-GB", "reading", "model", "reader", "2", None, False, 4),
    ]
    statements = rows(
        engine,
        generation,
        "SELECT position, ordinal, speaker, speaker_name, bloc, own_voice, outlet, stance, form, start, "
        "quote_verified, dictionary::text, until_position FROM statement ORDER BY position, ordinal",
    )
    itv = ("outlet:itv-news", "Itv News", None, True, "itv-news", "denies", None, None, False)
    assert statements == [
        (1, 0, "nato", "Nato", "nato", False, "daily-planet", "asserts", "direct", 3, True, "simple", OPEN),
        (2, 0, *itv, "simple", 3),
        (3, 0, *itv, "english", 4),
    ]


def test_the_first_topic_of_a_claim_counts(engine: Engine, generation: Generation) -> None:
    def topical(name: str, topic: str | None) -> Article:
        plain = article(name, nato=asserts("gas-cut")).model_dump()
        return Article.model_validate({**plain, "claims": [{**plain["claims"][0], "topic": topic}]})

    record(engine, [topical("a", None), topical("b", "gas"), topical("c", "war")])
    expected = [("gas-cut", 1, "gas", 2)]
    for limit in (1, 2, EVERYTHING):
        for way in WAYS.values():
            empty(engine, generation)
            catch_up(engine, way(generation), limit)
            found = dump(engine, generation)
            assert found["claim"] == expected
            assert found["topic"] == [("gas", 2), ("war", 3)]


def test_with_nothing_new_nothing_is_written(engine: Engine, generation: Generation) -> None:
    by = Projector(generation)
    assert advance(engine, by) == Progress(0, 0)
    record(engine, some_log(1, 5))
    assert advance(engine, by, limit=3) == Progress(3, 3)
    assert advance(engine, by, limit=3) == Progress(5, 2)
    before = dump(engine, generation)
    assert advance(engine, by) == Progress(5, 0)
    assert dump(engine, generation) == before


def test_a_batch_takes_as_many_statements_however_many_events_it_has(
    engine: Engine, generation: Generation, killed_before: Callable[[int | None], list[int]]
) -> None:
    record(engine, some_log(9, 200))
    by, taken = Projector(generation), list[int]()
    for limit in (20, 180):
        count = killed_before(None)
        assert advance(engine, by, limit).events == limit
        taken.append(count[0])
    assert taken[1] <= taken[0] + 2 < 40


def test_an_article_on_known_claims_takes_no_look_at_what_is_stored(
    engine: Engine, generation: Generation, killed_before: Callable[[int | None], list[int]]
) -> None:
    """Three round trips with the commit: what is next, all that is written."""
    by = Projector(generation)
    record(engine, [article(f"{n}", nato=asserts("gas-cut")) for n in range(2)])
    advance(engine, by, 1)
    pipelines = psycopg.Connection.pipeline
    trips: list[int] = []

    def counted(self: Any) -> Any:
        trips.append(1)
        return pipelines(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.Connection, "pipeline", counted)
        count = killed_before(None)
        assert advance(engine, by, 1).events == 1
    assert len(trips) == 2
    # Take and read; a savepoint, a row for each of outlet, speaker and dictionary, article, statement,
    # the end of what stood and what stands, the census, and the cursor. Neither tally nor verdict changed.
    assert count[0] == 2 + 1 + 3 + 2 + 2 + 1 + 1


# --- killed anywhere --------------------------------------------------------------


class KilledError(Exception):
    pass


@pytest.fixture
def killed_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Sets before which of the coming statements this process is killed; returns their count so far."""
    execute = psycopg.Cursor.execute
    count, at = [0], [0]

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == at[0]:
            raise KilledError
        return execute(self, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)

    def arrange(statement: int | None) -> list[int]:
        count[0], at[0] = 0, statement or 0
        return count

    return arrange


@pytest.mark.parametrize("told", ["a fresh one", "told to forget", "told nothing"])
def test_killed_before_any_statement_it_goes_on_as_if_nothing_had_been(
    engine: Engine,
    generation: Generation,
    killed_before: Callable[[int | None], list[int]],
    told: str,
) -> None:
    record(engine, some_log(3, 16))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    empty(engine, generation)
    by, kills = Projector(generation), 0
    while True:
        before = dump(engine, generation)
        for statement in range(1, 100):
            killed_before(statement)
            try:
                progress = advance(engine, by, limit=4)
            except KilledError:
                kills += 1
            else:
                break
            finally:
                killed_before(None)
            assert dump(engine, generation) == before
            if told == "a fresh one":
                by = Projector(generation)
            elif told == "told to forget":
                by.forget()
        else:
            raise AssertionError("it was never through")
        if progress.events == 0:
            break
    assert kills > 40
    assert dump(engine, generation) == expected


def test_a_batch_that_was_rolled_back_is_projected_again(engine: Engine, generation: Generation) -> None:
    """Its caller may fail after it, and say nothing."""
    record(engine, some_log(4, 30))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    empty(engine, generation)
    by = Projector(generation)
    for _ in range(10):
        with engine.connect() as conn:
            assert by.advance(conn, limit=3).events == 3
            conn.rollback()
        assert advance(engine, by, limit=3).events == 3
    assert dump(engine, generation) == expected


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["service.projector", "service.database.engine", "tests.builders"])


def project_until_killed(url: str, generation: Generation, statement: int, *, after_commit: bool) -> None:
    """Project in batches of three, and die by SIGKILL at a statement, or after the commit that follows it."""
    execute = psycopg.Cursor.execute
    count = [0]

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == statement and not after_commit:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    engine = engines.create(url)
    by = Projector(generation)
    with engine.connect():
        psycopg.Cursor.execute = counted
    while True:
        with engine.begin() as conn:
            by.advance(conn, limit=3)
        if count[0] >= statement:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("after_commit", [False, True], ids=["before a statement", "after a commit"])
def test_a_killed_process_leaves_whole_batches(
    database: Database, engine: Engine, generation: Generation, after_commit: bool
) -> None:
    record(engine, some_log(5, 18))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    empty(engine, generation)
    url = database.service_url.render_as_string(hide_password=False)
    for statement in (1, 2, 9, 20):
        process = _processes.Process(
            target=project_until_killed,
            args=(url, generation, statement),
            kwargs={"after_commit": after_commit},
        )
        process.start()
        process.join(WAIT_S_MAX)
        assert process.exitcode == -signal.SIGKILL
        ((position, *_),) = dump(engine, generation)["cursor"]
        assert position % 3 == 0
        # Nothing of a later event is there, and nothing of an earlier one is missing.
        fold = Fold([policy(each) for each in NAMES])
        for at, event in recorded(engine)[:position]:
            fold.apply(event, at)
        standing = rows(engine, generation, "SELECT position, ordinal, until_position FROM standing")
        stands = {(each.position, each.ordinal) for c in fold.claims.values() for each in c.by_speaker.values()}
        assert {row[:2] for row in standing if row[2] == OPEN} == stands
        assert all(row[2] <= position or row[2] == OPEN for row in standing)
    catch_up(engine, cycle([Projector(generation)]), 3)
    assert dump(engine, generation) == expected


# --- what cannot be projected -----------------------------------------------------


def stopped(engine: Engine, generation: Generation) -> tuple[int, int | None, str | None]:
    """The generation's row, as readers see it: how far it is, where it stopped, and why."""
    (row,) = dump(engine, generation)["cursor"]
    return row[0], row[1], row[2]


def expect_stop(engine: Engine, generation: Generation, at: int, because: str) -> None:
    """That every projector stops before `at`, having projected all before, says why, and stays there."""
    by = Projector(generation)
    progress = advance(engine, by, limit=2)
    while progress.stopped_at is None:
        assert progress.events > 0, "it did not stop"
        progress = advance(engine, by, limit=2)
    assert progress.position == at - 1
    assert progress.stopped_at == at
    assert progress.because is not None
    assert because in progress.because
    assert stopped(engine, generation) == (at - 1, at, progress.because)
    before = dump(engine, generation)
    assert [row[0] for row in before["article"] + before["retraction"] if row[0] >= at] == []
    for again in (by, Projector(generation)):
        assert advance(engine, again) == Progress(at - 1, 0, at, progress.because)
    assert dump(engine, generation) == before
    # And in one go.
    empty(engine, generation)
    assert advance(engine, Projector(generation)) == Progress(at - 1, at - 1, at, progress.because)
    assert dump(engine, generation) == before


def expect_all_projected(engine: Engine, generation: Generation) -> None:
    """That it goes on to the end, with what a projector that never stopped would have written."""
    head = len(recorded(engine))
    assert advance(engine, Projector(generation)).position == head
    assert stopped(engine, generation) == (head, None, None)
    found = dump(engine, generation)
    empty(engine, generation)
    catch_up(engine, cycle([Projector(generation)]), 1)
    assert dump(engine, generation) == found


def test_an_event_of_unknown_type_stops_it_until_the_program_knows_it(
    engine: Engine, owner_engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(engine, some_log(6, 5))
    newer = events.encode(ArticleRecorded(article=article("newer", nato=asserts("new"))))
    put(owner_engine, newer, type_name="ArticleAnnounced")
    record(engine, some_log(6, 7)[5:])
    expect_stop(engine, generation, 6, "ArticleAnnounced")
    monkeypatch.setitem(events.TYPES, "ArticleAnnounced", (ArticleRecorded, 1))  # type: ignore[arg-type]
    expect_all_projected(engine, generation)


def test_a_newer_schema_version_stops_it_until_the_program_knows_it(
    engine: Engine, owner_engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(engine, [article("a", nato=asserts("gas-cut"))])
    put(
        owner_engine,
        b'{"because":"It was made up.","url":"https://example.org/a"}',
        schema_version=2,
        type_name="ArticleRetracted",
    )
    put(owner_engine, ArticleRecorded(article=article("b", nato=denies("gas-cut"))))
    expect_stop(engine, generation, 2, "schema version 2")

    class Newer(ArticleRetracted):
        """As the next version might be: its reason has another name."""

        reason: str = ""
        because: str

    monkeypatch.setitem(events.TYPES, "ArticleRetracted", (Newer, 2))  # type: ignore[arg-type]
    expect_all_projected(engine, generation)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b'{"article":',
        b"\xff\xfe",
        b'{"reason":"It was made up.","url":"https://example.org/a"}',
    ],
)
def test_a_damaged_payload_stops_it(
    engine: Engine, owner_engine: Engine, generation: Generation, payload: bytes
) -> None:
    record(engine, some_log(7, 3))
    put(owner_engine, payload)
    put(owner_engine, ArticleRecorded(article=article("b", nato=denies("gas-cut"))))
    expect_stop(engine, generation, 4, "ArticleRecorded")


def _first(name: str = "a", **fields: Any) -> ArticleRecorded:
    return ArticleRecorded(article=article(name, nato=asserts("gas-cut"), **fields))


def _later(revision: int, name: str = "a") -> ArticleRevised:
    return ArticleRevised(article=article(name, nato=denies("gas-cut"), revision=revision))


IMPOSSIBLE = {
    "retracting what is not recorded": [_first("other"), retraction("a")],
    "retracting what is retracted": [_first(), retraction("a"), retraction("a", "Again.")],
    "recording what is recorded": [_first(), _first(published="2022-02-16")],
    "recording what is retracted": [_first(), retraction("a"), _first(published="2022-02-16")],
    "revising what is not recorded": [_first("other"), _later(2)],
    "revising past a revision": [_first(), _later(3)],
    "revising to the same revision": [_first(), _later(2), _later(2)],
    "naming a claim without saying what it is": [
        _first(),
        ArticleRecorded(article=article("b", nato=asserts("new"), propositions=False)),
    ],
}


@pytest.mark.parametrize("happened", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_event_that_cannot_follow_from_those_before_it_stops_it(
    engine: Engine, owner_engine: Engine, generation: Generation, happened: list[Event]
) -> None:
    """`append` would have refused it, so it is damage, and to guess what it means is worse than to stop."""
    for event in happened:
        put(owner_engine, event)
    put(owner_engine, _first("after"))
    expect_stop(engine, generation, len(happened), f"event {len(happened)}")


def test_an_event_that_could_not_be_folded_is_projected_once_it_can(
    engine: Engine, owner_engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(engine, some_log(8, 9))
    apply = Fold.apply

    def faulty(self: Fold, event: Event, position: int) -> Any:
        change = apply(self, event, position)
        if position == 6:
            raise ZeroDivisionError("a fault of the program's own")
        return change

    with monkeypatch.context() as patched:
        patched.setattr(Fold, "apply", faulty)
        expect_stop(engine, generation, 6, "a fault of the program's own")
    expect_all_projected(engine, generation)


# --- two at once ------------------------------------------------------------------


def test_a_second_projector_waits_for_the_first(engine: Engine, generation: Generation) -> None:
    record(engine, some_log(9, 30))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    empty(engine, generation)
    with ThreadPoolExecutor() as others, engine.connect() as first:
        assert Projector(generation).advance(first, limit=10).position == 10
        second = others.submit(advance, engine, Projector(generation))
        wait_until_one_waits(engine, second)
        first.commit()
        assert second.result(WAIT_S_MAX) == Progress(30, 20)
    assert dump(engine, generation) == expected


def test_several_projectors_at_once_project_everything_once(engine: Engine, generation: Generation) -> None:
    record(engine, some_log(10, 60))
    catch_up(engine, cycle([Projector(generation)]))
    expected = dump(engine, generation)
    empty(engine, generation)
    with ThreadPoolExecutor(3) as pool:
        started = [pool.submit(catch_up, engine, cycle([Projector(generation)]), 2) for _ in range(3)]
        taken = [each.result(WAIT_S_MAX) for each in started]
    assert sum(sum(each) for each in taken) == 60
    assert dump(engine, generation) == expected


def wait_until_one_waits(engine: Engine, other: Future[Any]) -> None:
    """Until the other one, in its thread, waits for a lock; it is an error if it ends instead."""
    end = time.monotonic() + WAIT_S_MAX
    while True:
        assert not other.done(), other.exception() or "it did not wait"
        with engine.begin() as conn:
            waits = conn.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).scalar_one()
        if waits:
            return
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


# --- generations ------------------------------------------------------------------


def test_the_first_generation_is_live_at_once_and_prepared_once(engine: Engine) -> None:
    made = prepared(engine)
    assert made.live
    assert (made.position, made.stopped_at, made.because) == (0, None, None)
    assert made.policies == sorted(policy(each).id for each in NAMES)
    assert prepared(engine) == made
    assert prepared(engine, [f"{each}@1" for each in reversed(NAMES)]) == made
    with engine.begin() as conn:
        assert projector.generations(conn) == [made]


def test_other_policies_are_another_generation_that_goes_live_when_told(engine: Engine) -> None:
    first = prepared(engine)
    record(engine, some_log(11, 10))
    catch_up(engine, cycle([Projector(first)]))
    before = dump(engine, first)
    second = prepared(engine, ["unanimous", "unanimous:min_speakers=2"])
    assert second.schema_name != first.schema_name
    assert not second.live
    catch_up(engine, cycle([Projector(second)]))
    assert {row[0] for row in rows(engine, second, "SELECT DISTINCT policy FROM transition")} == {
        "unanimous@1",
        "unanimous@1:min_speakers=2",
    }
    # The one that readers are answered from is as it was.
    assert dump(engine, first) == before
    assert live(engine) == [first.generation]
    for _ in range(2):
        with engine.begin() as conn:
            projector.promote(conn, second.generation)
        assert live(engine) == [second.generation]
    assert prepared(engine, ["unanimous", "unanimous:min_speakers=2"]).generation == second.generation


def live(engine: Engine) -> list[int]:
    with engine.begin() as conn:
        return [each.generation for each in projector.generations(conn) if each.live]


def test_other_read_tables_are_another_generation(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(engine)
    monkeypatch.setattr(import_module("service.projector.generations"), "_RULES_VERSION", 0)
    second = prepared(engine)
    assert second.shape != first.shape
    assert second.generation != first.generation
    assert not second.live


def test_superseded_generations_are_dropped_with_their_tables(engine: Engine) -> None:
    first, second, third = (prepared(engine, [name]) for name in ("unanimous", "majority", "latest"))
    with engine.begin() as conn:
        # Nothing that readers are answered from goes, nor what is being made.
        for each in (first, second):
            assert projector.drop_superseded(conn, each.generation) == []
        projector.promote(conn, second.generation)
        assert projector.drop_superseded(conn, second.generation) == [first.schema_name]
        assert projector.drop_superseded(conn, second.generation) == []
        assert [each.generation for each in projector.generations(conn)] == [
            second.generation,
            third.generation,
        ]
        schemas = conn.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'onrecord%%'")
        assert set(schemas.scalars()) == {"onrecord", second.schema_name, third.schema_name}
    catch_up(engine, cycle([Projector(second)]))


def test_two_that_prepare_at_once_make_one(engine: Engine) -> None:
    with ThreadPoolExecutor() as others, engine.connect() as conn:
        made = projector.prepare(conn, NAMES)
        other = others.submit(prepared, engine)
        wait_until_one_waits(engine, other)
        conn.commit()
        assert other.result(WAIT_S_MAX) == made
    assert live(engine) == [made.generation]


def test_what_is_prepared_and_rolled_back_was_never_there(engine: Engine) -> None:
    with engine.connect() as conn:
        gone = projector.prepare(conn, NAMES)
        conn.rollback()
    made = prepared(engine)
    assert made.live
    with engine.begin() as conn:
        assert projector.generations(conn) == [made]
        found = conn.exec_driver_sql("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (gone.schema_name,))
        assert found.scalar_one() == (gone.schema_name == made.schema_name)


def test_what_is_remembered_stays_within_its_bound(engine: Engine, generation: Generation) -> None:
    """A claim counts, and each statement that stands on it, so that retracted ones do not pile up."""
    record(engine, [article(f"{n}", nato=asserts(f"claim-{n}"), un=denies("war-soon")) for n in range(20)])
    record(engine, [retraction(f"{n}") for n in range(10)])
    for bound, claims in ((0, 0), (5, 5), (1_000, 21)):
        empty(engine, generation)
        by = Projector(generation, remembered_max=bound)
        catch_up(engine, cycle([by]), 4)
        held = by._claims.values()
        assert len(held) <= claims
        assert by._remembered == sum(1 + len(each.standing.by_speaker) for each in held) <= bound
    assert len(by._claims) == 21
