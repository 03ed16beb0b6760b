"""The read tables follow from the log alone, with all that people decide in it: however it is cut or killed."""

import random
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from service import log, tables
from service.domain.article import Article
from service.domain.belief import Fold
from service.domain.events import ClaimRuled, ClaimsMerged, Event, MergeUndone, RulingLifted
from service.domain.policies import NAMES, State, policy
from service.log import NewEvent
from service.projector import Generation, Projector, projecting
from service.tables import OPEN
from tests import curated as building
from tests.builders import article, asserts, denies
from tests.curated import lifted, merged, ruled, same_speaker, undone
from tests.test_projector import (
    EVERYTHING,
    WAYS,
    advance,
    catch_up,
    dump,
    empty,
    prepared,
    recorded,
    rows,
)


@pytest.fixture
def generation(engine: Engine) -> Generation:
    return prepared(engine)


def some_log(seed: int, steps: int) -> list[Event]:
    return building.some_log(random.Random(seed).choice, steps)


def record(engine: Engine, happened: Sequence[Article | Event]) -> None:
    """Append as one batch."""
    new = [
        NewEvent.of_article(each, actor="cli:test") if isinstance(each, Article) else NewEvent.of(each, actor="cli:t")
        for each in happened
    ]
    with engine.begin() as conn:
        log.append_all(conn, new)


@pytest.mark.parametrize("seed", [101, 103, 104])
def test_the_read_tables_do_not_depend_on_batches_or_on_who_projects(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    happened = some_log(seed, 40)
    assert {ClaimsMerged, MergeUndone, ClaimRuled} <= {type(each) for each in happened}
    monkeypatch.setattr(tables, "SUMMED_ABOVE", seed % 3)
    record(engine, happened)
    catch_up(engine, WAYS["one that remembers"](generation))
    expected = dump(engine, generation)
    for limit in (1, 3, EVERYTHING):
        for name, way in WAYS.items():
            empty(engine, generation)
            catch_up(engine, way(generation), limit)
            found = dump(engine, generation)
            for table in expected:
                assert found[table] == expected[table], (limit, name, table)


def test_who_was_merged_is_met_on_a_summed_claim_as_who_survives(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SUMMED_ABOVE", 1)
    said = article("a", nato=asserts("gas-cut"), uk=asserts("gas-cut"), un=denies("gas-cut"))
    record(engine, [said, same_speaker("uk", "nato"), article("b", uk=denies("gas-cut"))])
    catch_up(engine, iter(lambda: Projector(generation), None), 1)
    assert rows(engine, generation, "SELECT asserting, denying, withholding FROM standing_sums") == [(0, 2, 0)]


@pytest.mark.parametrize("seed", range(200, 212))
def test_the_read_tables_say_at_every_position_what_the_fold_says(
    engine: Engine, generation: Generation, seed: int
) -> None:
    record(engine, some_log(seed, 60))
    catch_up(engine, cycle([Projector(generation)]), 1 + seed % 4)
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
    told = []
    fields = ["claim", "speaker", "stance", "bloc", "effective_at", "published_end", "first_position"]
    fields += ["position", "ordinal"]
    for position, event in recorded(engine):
        told += fold.apply(event, position).transitions
        lives = [life for life in fold.articles.values() if life.position is not None]
        # Statements stay where their own slug says; what stands counts for the survivor.
        assert at(position, "statement", *fields) == {tuple(each) for life in lives for each in life.statements}
        stands = [each for claim in fold.claims.values() for each in claim.by_speaker.values()]
        assert at(position, "standing", *fields, since="since_position") == {tuple(each) for each in stands}
        assert at(position, "tally", "claim", "asserting", "denying", "withholding") == {
            (claim, *standing.tally()[:3]) for claim, standing in fold.claims.items()
        }
        # A row that says that the claim is merged away holds until it begins again.
        believed = {row for row in at(position, "transition", "policy", "claim", "to_state", "to_reason") if row[2]}
        assert believed == {
            (each.id, claim, *verdict) for each in fold.policies for claim, verdict in fold.verdicts(each)
        }
        assert at(position, "merge", "position", "kind", "merged", "survivor", "opposite") == set(fold.merges)
        assert at(position, "ruling", "claim", "state", "position") == set(fold.rulings.values())
    expected = [
        (
            *(each.policy, each.claim, each.position),
            *(each.before or (None, None)),
            *(each.after or (None, None)),
            *(each.effective_at, each.retroactive),
        )
        for each in told
    ]
    stored = rows(engine, generation, "SELECT * FROM transition ORDER BY policy, claim, position")
    assert [row[:-1] for row in stored] == sorted(expected, key=lambda row: row[:3])


class KilledError(Exception):
    """What ends a batch in the middle."""


@pytest.mark.parametrize("seed", [300, 301])
def test_killed_before_any_statement_it_goes_on_as_if_nothing_had_been(
    engine: Engine, generation: Generation, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same projector, whatever it remembers: merges too are of the batch that was rolled back."""
    record(engine, some_log(seed, 30))
    catch_up(engine, cycle([Projector(generation)]), 4)
    expected = dump(engine, generation)
    empty(engine, generation)
    dice = random.Random(seed)
    fuse = [0]
    execute = psycopg.Cursor.execute

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        fuse[0] -= 1
        if fuse[0] == 0:
            raise KilledError
        return execute(self, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    by = Projector(generation)
    killed = 0
    for _ in range(400):
        fuse[0] = dice.randrange(2, 30)
        try:
            if advance(engine, by, 4).events == 0:
                break
        except KilledError:
            killed += 1
    fuse[0] = 0
    assert killed > 5
    assert dump(engine, generation) == expected


def test_a_merge_that_no_log_holds_stops_the_projector(engine: Engine, generation: Generation) -> None:
    record(engine, [article("1", nato=asserts("a")), article("2", uk=denies("b")), merged("a", "b")])
    advance(engine, Projector(generation), 2)
    with engine.begin() as conn:
        # As damage would have it: the merge is there before its event is projected.
        conn.exec_driver_sql(
            f"INSERT INTO {generation.schema_name}.merge VALUES (1, 'claim', 'a', 'b', false, 'x', {OPEN})"
        )
    progress = advance(engine, Projector(generation), 2)
    assert (progress.position, progress.stopped_at) == (2, 3)
    assert "a is merged away already" in (progress.because or "")


def test_what_is_remembered_stays_within_its_bound_with_merges_in_force(engine: Engine, generation: Generation) -> None:
    record(engine, [article(f"{n}", nato=asserts(f"claim-{n}")) for n in range(10)])
    record(engine, [merged(f"claim-{n}", "claim-0") for n in range(1, 10)])
    record(engine, [article(f"late-{n}", uk=denies(f"claim-{n}")) for n in range(10)])
    by = Projector(generation, remembered_max=3)
    catch_up(engine, cycle([by]), 2)
    assert len(by._claims) <= 3


@pytest.mark.parametrize("seed", [400, 401, 402])
def test_append_in_one_batch_or_one_by_one_gives_the_same_log_and_register(
    engine: Engine, owner_engine: Engine, seed: int
) -> None:
    happened = some_log(seed, 40)
    record(engine, happened)
    together = _register(engine)
    with owner_engine.begin() as conn:
        for table in tables.GUARDED:
            conn.exec_driver_sql(f"ALTER TABLE {table.fullname} DISABLE TRIGGER USER")
            conn.exec_driver_sql(f"DELETE FROM {table.fullname}")
            conn.exec_driver_sql(f"ALTER TABLE {table.fullname} ENABLE ALWAYS TRIGGER {table.name}_refuse_delete")
    for each in happened:
        record(engine, [each])
    assert _register(engine) == together


@pytest.mark.parametrize("seed", [410, 411])
def test_what_is_sent_twice_changes_nothing_or_is_refused(engine: Engine, seed: int) -> None:
    """As often as it is sent, and whatever came between: the register stays what the log says."""
    happened = some_log(seed, 30)
    record(engine, happened)
    before = _register(engine)
    again = [each for each in happened if not isinstance(each, ClaimRuled | RulingLifted | MergeUndone)]
    with engine.begin() as conn:
        outcomes = log.append(conn, [NewEvent.of(each, actor="cli:test") for each in again])
        added = sum(isinstance(each, log.Appended) for each in outcomes)
        assert log.head(conn) == len(happened) + added
    after = _register(engine)
    for name in before:
        assert set(before[name]) <= set(after[name])


def _register(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.begin() as conn:
        return {
            table.name: sorted(tuple(row) for row in conn.exec_driver_sql(f"SELECT * FROM {table.fullname}"))
            for table in tables.REGISTER
        } | {"event": [(each.position, each.type, each.payload) for each in log.stream(conn)]}


def test_rulings_and_merges_are_stored_with_their_reasons_and_ends(engine: Engine, generation: Generation) -> None:
    record(
        engine,
        [
            article("1", nato=asserts("a"), uk=denies("b")),
            merged("a", "b", opposite=True),
            undone(2),
            same_speaker("nato", "uk"),
            ruled("a", State.DENIED),
            ruled("a", State.ASSERTED),
        ],
    )
    catch_up(engine, cycle([Projector(generation)]))
    found = dump(engine, generation)
    why = building.REASON
    assert found["merge"] == [
        (2, "claim", "a", "b", True, why, 3),
        (4, "speaker", "nato", "uk", False, why, OPEN),
    ]
    assert found["ruling"] == [("a", 5, "denied", why, 6), ("a", 6, "asserted", why, OPEN)]


def test_decisions_among_articles_do_not_make_it_read_the_log_again(
    engine: Engine, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Article | Event] = [article("first", nato=asserts("a"))]
    for n in range(10):
        happened += [article(f"x{n}", nato=asserts("a")), ruled("a", State.DENIED), lifted("a")]
    record(engine, happened)
    read: list[int] = []
    take = projecting.take

    def counted(*arguments: Any, **options: Any) -> Any:
        position, entries = take(*arguments, **options)
        read.extend(each.position for each in entries)
        return position, entries

    monkeypatch.setattr(projecting, "take", counted)
    catch_up(engine, cycle([Projector(generation)]))
    assert read == list(range(1, 32))
