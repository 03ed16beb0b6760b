"""An exported log, imported elsewhere, is the same log; anything less than all of it is refused."""

import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service import audit, log, tables
from service.audit.transferring import FORMAT, Transferred, export_log, import_log
from service.audit.verifying import verify
from service.domain import events, merkle
from service.domain.article import Article
from service.domain.canonical import canonical_json
from service.domain.errors import BadArgument, Busy, EntryRefused, ExportInvalid, LogDiffers, OnrecordError
from service.domain.events import Event
from service.domain.policies import NAMES, policy
from service.projector import Projector
from tests import curated as building
from tests import test_cli
from tests.builders import article, asserts, denies, retraction
from tests.curated import erased, merged
from tests.test_audit_verify import new_event
from tests.test_cli import Run
from tests.test_projector import catch_up, prepared

run, run_anywhere = test_cli.run, test_cli.run_anywhere

TEXT, GONE = "Yes, they said so.", "No, they said so."
HAPPENED = (
    article("1", nato=asserts("a"), russia=denies("b")),
    article("2", text=TEXT, uk=asserts("a")),
    article("3", text=GONE, uk=asserts("b")),
    merged("b", "a", opposite=True),
    erased(events.sha256(GONE.encode()).hex()),
    retraction("1"),
)


def record(engine: Engine, happened: Iterable[Article | Event]) -> None:
    with engine.begin() as conn:
        log.append_all(conn, [new_event(each) for each in happened])


def exported(engine: Engine, **options: Any) -> list[bytes]:
    """The lines of an export."""
    lines: list[bytes] = []
    with engine.connect() as conn:
        export_log(conn, lambda line: lines.append(line + b"\n"), **options)
    return lines


def imported(engine: Engine, lines: Iterable[bytes]) -> Transferred:
    with engine.begin() as conn:
        return import_log(conn, lines)


def stored(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Everything of the log's side, row by row."""
    with engine.connect() as conn:
        return {
            table.name: sorted(map(tuple, conn.exec_driver_sql(f"SELECT * FROM {table.fullname}")), key=repr)
            for table in (*tables.GUARDED, tables.article_text)
        }


@pytest.fixture
def emptied(owner_engine: Engine) -> Callable[[], None]:
    """Makes the test's database one in which nothing was ever recorded."""

    def empty() -> None:
        with owner_engine.begin() as conn:
            for table in (*tables.GUARDED, tables.article_text):
                conn.exec_driver_sql(f"ALTER TABLE {table.fullname} DISABLE TRIGGER USER")
                conn.exec_driver_sql(f"DELETE FROM {table.fullname}")
                conn.exec_driver_sql(f"ALTER TABLE {table.fullname} ENABLE TRIGGER USER")
                names = conn.exec_driver_sql(
                    "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", (table.fullname,)
                )
                for name in names.scalars().all():
                    conn.exec_driver_sql(f"ALTER TABLE {table.fullname} ENABLE ALWAYS TRIGGER {name}")

    return empty


def nothing(engine: Engine) -> bool:
    return not any(stored(engine).values())


# --- the same elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [700, 701, 702])
def test_an_import_gives_the_same_log_register_root_and_digests(engine: Engine, emptied: Callable[[], None], seed: int):
    happened = building.some_log(random.Random(seed).choice, 60)
    record(engine, happened)
    before = stored(engine)
    lines = exported(engine)
    with engine.connect() as conn:
        digests = [audit.digest_of_log(conn, policy(name)) for name in NAMES]
    emptied()
    assert nothing(engine)
    made = imported(engine, lines)
    assert (made.position, made.entries, made.known) == (len(happened), len(happened), 0)
    assert stored(engine) == before
    with engine.connect() as conn:
        ordered = conn.exec_driver_sql("SELECT leaf FROM onrecord.event ORDER BY position").scalars()
        assert made.root == merkle.root(bytes(leaf) for leaf in ordered)
        assert [audit.digest_of_log(conn, policy(name)) for name in NAMES] == digests
    catch_up(engine, cycle([Projector(prepared(engine))]))
    with engine.connect() as conn:
        assert [audit.digest_stored(conn, policy(name)) for name in NAMES] == digests
        assert verify(conn, lambda each: pytest.fail(str(each))).entries == len(happened)


def test_what_is_exported_again_is_the_same_file(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()
    imported(engine, lines)
    assert exported(engine) == lines


def test_an_export_is_a_header_the_envelopes_and_what_they_come_to(engine: Engine):
    record(engine, HAPPENED)
    header, *middle, trailer = [json.loads(line) for line in exported(engine)]
    assert header == {"format": FORMAT, "from": 1, "before": merkle.EMPTY_ROOT.hex()}
    assert [each["position"] for each in middle] == [1, 2, 3, 4, 5, 6]
    with engine.connect() as conn:
        entry = log.read(conn, after=3, limit=1)[0]
    assert middle[3] == {
        "position": 4,
        "event_id": str(entry.event_id),
        "type": "ClaimsMerged",
        "schema_version": 1,
        "recorded_at": events.recorded_text(entry.recorded_at),
        "actor": "cli:test",
        "payload": {"claim": "b", "into": "a", "opposite": True, "reason": building.REASON},
    }
    assert (trailer["count"], trailer["to"]) == (6, 6)


def test_an_empty_log_is_exported_and_imported(engine: Engine):
    lines = exported(engine)
    assert len(lines) == 2
    assert imported(engine, lines) == Transferred(0, 0, 0, 0, merkle.EMPTY_ROOT)
    assert nothing(engine)


def test_the_log_goes_on_where_the_import_ended(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()
    imported(engine, lines)
    with engine.begin() as conn:
        (again, new) = log.append(conn, [new_event(HAPPENED[0]), new_event(article("4", nato=asserts("a")))])
    assert isinstance(again, log.Repeated)
    assert isinstance(new, log.Appended)
    assert new.position == 7


# --- what is here already -------------------------------------------------------------------------


def test_importing_again_changes_nothing(engine: Engine):
    record(engine, HAPPENED)
    before = stored(engine)
    made = imported(engine, exported(engine))
    assert (made.entries, made.known, made.position) == (0, 6, 6)
    assert stored(engine) == before


def test_a_copy_is_brought_up_to_date_by_what_was_added(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    whole, begun, rest = exported(engine), exported(engine, to=4), exported(engine, first=5)
    before = stored(engine)
    assert json.loads(rest[0])["before"] == json.loads(begun[-1])["root"]
    assert json.loads(rest[-1]) == {**json.loads(whole[-1]), "count": 2}
    for second in (whole, rest):
        emptied()
        imported(engine, begun)
        made = imported(engine, second)
        assert made.entries == 2
        assert made.root.hex() == json.loads(whole[-1])["root"]
        assert {**stored(engine), "article_text": []} == {**before, "article_text": []}


def test_a_log_that_is_ahead_knows_it_all(engine: Engine):
    record(engine, HAPPENED[:3])
    lines = exported(engine)
    record(engine, HAPPENED[3:])
    made = imported(engine, lines)
    assert (made.entries, made.known, made.position) == (0, 3, 3)


def test_another_log_is_refused(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines, later = exported(engine), exported(engine, first=3)
    emptied()
    record(engine, HAPPENED[:2])  # the same words, recorded at another time
    before = stored(engine)
    with pytest.raises(LogDiffers, match="position 1 is another entry"):
        imported(engine, lines)
    with pytest.raises(LogDiffers, match="the entries before its position 3 are others"):
        imported(engine, later)
    assert stored(engine) == before


def test_what_leaves_a_gap_is_refused(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine, first=3)
    emptied()
    with pytest.raises(LogDiffers, match="it begins at position 3, and the log here ends at 0"):
        imported(engine, lines)


@pytest.mark.parametrize(("first", "to"), [(0, None), (8, None), (1, 7), (6, 4)])
def test_only_what_is_on_record_is_exported(engine: Engine, first: int, to: int | None):
    record(engine, HAPPENED)
    with pytest.raises(BadArgument):
        exported(engine, first=first, to=to)


# --- what is not whole ----------------------------------------------------------------------------


def refused(engine: Engine, lines: Sequence[bytes]) -> OnrecordError:
    """How an import is refused, having recorded nothing."""
    with pytest.raises(OnrecordError) as caught:
        imported(engine, lines)
    assert nothing(engine)
    return caught.value


def test_an_export_that_was_cut_off_is_refused_at_the_cut_wherever_it_is(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    whole = b"".join(exported(engine))
    emptied()
    assert len(whole.splitlines()) == 8
    ends = list(accumulate(map(len, whole.splitlines(keepends=True))))
    for cut in [*range(0, len(whole) - 2, 97), *ends[:-1], len(whole) - 3]:
        lines = whole[:cut].splitlines(keepends=True)
        error = refused(engine, lines)
        assert isinstance(error, ExportInvalid)
        assert error.line in (len(lines), len(lines) + 1)
    imported(engine, whole.splitlines(keepends=True))


def test_a_line_that_is_missing_twice_or_elsewhere_is_refused(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()
    for other in (
        [*lines[:2], *lines[3:]],
        [*lines[:3], lines[2], *lines[3:]],
        [*lines[:2], lines[3], lines[2], *lines[4:]],
        [*lines[:-2], lines[-1]],
        lines[1:],
        [*lines, lines[-1]],
        [*lines, lines[1]],
        [lines[0], *lines],
        lines[:-1],
    ):
        assert isinstance(refused(engine, other), ExportInvalid)


def test_whatever_is_changed_on_the_way_is_refused(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()

    def changed(index: int, **fields: Any) -> list[bytes]:
        read = json.loads(lines[index])
        return [*lines[:index], canonical_json({**read, **fields}) + b"\n", *lines[index + 1 :]]

    payload = json.loads(lines[1])["payload"]
    payload["article"]["headline"] = "Another"
    later = "2999-01-01T00:00:00.000000Z"
    for other, what in [
        (changed(0, format="onrecord-log@2"), "does not say that it is onrecord-log@1"),
        (changed(0, before="00" * 32), "the entries before its position 1 are others"),
        (changed(0, more=1), "more is not known here"),
        (changed(1, payload=payload), "its root is not that of its entries"),
        (changed(1, actor="cli:nobody"), "its root is not that of its entries"),
        (changed(1, event_id="00000000-0000-0000-0000-000000000001"), "its root is not that of its entries"),
        (changed(1, event_id="00000000000000000000000000000001"), "not written as exports write it"),
        (changed(1, recorded_at="2022-02-15T18:00:00"), "not written as exports write it"),
        (changed(1, recorded_at=later), "entry 2 .* was not recorded after the entry before it"),
        (changed(1, recorded_at=7), "recorded_at is no text"),
        (changed(1, schema_version=2), "newer than this program"),
        (changed(1, schema_version=True), "schema_version is no whole number"),
        (changed(1, type="ArticleRevised"), "its payload is damaged"),
        (changed(1, payload=[]), "its payload is damaged"),
        (changed(1, payload={**payload, "quotes_verified": None}), "not in canonical form"),
        (changed(1, position=2), "position 1 comes next"),
        (changed(1, more=1), "more is not known here"),
        (changed(4, payload={**json.loads(lines[4])["payload"], "into": "b"}), "b cannot be merged into itself"),
        (changed(7, count=5), "it says 5 entries up to 6; 6 are there"),
        (changed(7, to=7), "it says 6 entries up to 7; 6 are there"),
        (changed(7, root="00" * 32), "its root is not that of its entries"),
        ([*lines[:3], b"[]\n", *lines[3:]], "it is no JSON object"),
        ([*lines[:3], b"\n", *lines[3:]], "it is not JSON"),
    ]:
        error = refused(engine, other)
        assert isinstance(error, ExportInvalid | EntryRefused | LogDiffers)
        assert re.search(what, str(error)), str(error)


def test_an_import_of_several_batches_that_fails_late_leaves_nothing(engine: Engine, emptied: Callable[[], None]):
    record(engine, [article(f"{n}", nato=asserts("a")) for n in range(450)])
    lines = exported(engine)
    emptied()
    assert isinstance(refused(engine, lines[:-1]), ExportInvalid)
    assert imported(engine, lines).entries == 450


def test_nobody_appends_while_a_log_is_imported(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()
    outcomes: list[Any] = []

    def meddled() -> Iterable[bytes]:
        yield from lines[:3]
        with engine.connect() as conn:
            try:
                log.append(conn, [new_event(article("x", nato=asserts("x")))], wait_s_max=0.05)
            except Busy as error:
                outcomes.append(error)
        yield from lines[3:]

    assert imported(engine, meddled()).entries == 6
    assert len(outcomes) == 1


def test_two_imports_at_once_are_one(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine)
    emptied()
    made: list[Transferred] = []
    threads = [threading.Thread(target=lambda: made.append(imported(engine, lines))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted((each.entries, each.known) for each in made) == [(0, 6), (0, 6), (6, 0)]


# --- texts ----------------------------------------------------------------------------------------


def test_texts_stay_here_unless_they_are_asked_for(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    bare, full = exported(engine), exported(engine, with_texts=True)
    assert len(stored(engine)["article_text"]) == 1
    assert TEXT.encode() not in b"".join(bare)
    (line,) = set(full) - set(bare)
    assert json.loads(line) == {"text_sha256": events.sha256(TEXT.encode()).hex(), "text": TEXT}
    assert full.index(line) == 3  # after the entry that names it
    before = stored(engine)
    emptied()
    assert imported(engine, bare).texts == 0
    assert stored(engine) == {**before, "article_text": []}
    # A copy without gets them later.
    assert (made := imported(engine, full)).known == 6
    assert made.texts == 1
    assert stored(engine) == before


def test_a_text_is_checked_and_belongs_to_the_entry_before_it(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED)
    lines = exported(engine, with_texts=True)
    emptied()
    other = canonical_json({"text_sha256": events.sha256(b"x").hex(), "text": "x"}) + b"\n"
    damaged = lines[3].replace(b"Yes", b"Not")
    for text, at in ((damaged, 3), (other, 3), (lines[3], 2), (lines[3], 1)):
        without = [*lines[:3], *lines[4:]]
        assert isinstance(refused(engine, [*without[:at], text, *without[at:]]), ExportInvalid)


def test_an_erased_text_does_not_come_back_with_an_import(engine: Engine, emptied: Callable[[], None]):
    record(engine, HAPPENED[:3])
    before_its_erasure = exported(engine, with_texts=True)
    record(engine, HAPPENED[3:])
    whole = exported(engine)
    made = imported(engine, before_its_erasure)
    assert [row[1] for row in stored(engine)["article_text"]] == [TEXT]
    assert made.texts == 1
    # Nor with one in which it is erased further on.
    gone = canonical_json({"text_sha256": events.sha256(GONE.encode()).hex(), "text": GONE}) + b"\n"
    emptied()
    imported(engine, [*whole[:4], gone, *whole[4:]])
    assert [row[1] for row in stored(engine)["article_text"]] == []


# --- the commands ---------------------------------------------------------------------------------


def test_a_log_is_exported_verified_digested_and_imported_by_commands(
    run: Run,
    engine: Engine,
    emptied: Callable[[], None],
    tmp_path: Path,
):
    record(engine, HAPPENED)
    assert run("project", "--once").status == 0
    ran = run("verify")
    assert (ran.status, ran.out) == (0, "")
    assert "6 entries" in ran.err
    assert "all as the log says." in ran.err
    digest = run("digest")
    assert digest.out.split()[1:] == ["unanimous@1", "6"]
    assert run("digest", "--from-log").out == digest.out
    assert run("digest", "--policy", "majority", "--position", 3).out.split()[1:] == ["majority@1", "3"]
    file = tmp_path / "log.jsonl"
    ran = run("export", file)
    assert (ran.status, ran.out) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["log.jsonl"]
    assert run("export", "-").out == file.read_text()
    emptied()
    with engine.begin() as conn:
        conn.exec_driver_sql("DROP SCHEMA onrecord_1 CASCADE")
        conn.exec_driver_sql("DELETE FROM onrecord.generation")
    ran = run("import-log", file)
    root = json.loads(file.read_bytes().splitlines()[-1])["root"]
    assert (ran.status, ran.out) == (0, f"6 recorded; root {root}.\n")
    assert run("digest").out == digest.out
    ran = run("import-log", "-", stdin=file.read_bytes())
    assert ran.out == f"0 recorded, 6 known already; root {root}.\n"
    ran = run("import-log", "-", stdin=file.read_bytes()[:-20])
    assert ran.status == 1
    assert "line 8 of the exported log: it was cut off in the middle; nothing was imported" in ran.err
    assert run("import-log", tmp_path / "nowhere").status == 1


def test_verify_prints_every_mismatch_and_ends_with_1(run: Run, engine: Engine):
    record(engine, HAPPENED)
    run("project", "--once")
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE onrecord_1.claim SET first_position = 2")
    ran = run("verify")
    assert ran.status == 1
    assert ran.out.splitlines() == [
        f"onrecord_1.claim 1 ({claim}): row claim '{claim}': first_position is 2, and the log says 1" for claim in "ab"
    ]
    assert "2 mismatches" in ran.err


def test_verify_takes_a_checkpoint_that_was_kept(run: Run, engine: Engine, tmp_path: Path):
    record(engine, HAPPENED)
    run("project", "--once")
    kept = tmp_path / "checkpoint"
    kept.write_text(run("checkpoint").out)
    record(engine, [article("late", nato=asserts("a"))])
    run("project", "--once")
    ran = run("verify", "--checkpoint", kept)
    assert (ran.status, ran.out) == (0, "")
    assert "the tree over 6 entries" in ran.err
    kept.write_text(kept.read_text().replace("6", "5"))
    assert run("verify", "--checkpoint", kept).status == 1
    assert run("verify", "--checkpoint", tmp_path / "nowhere").status == 1


def test_replay_prints_what_comes_out_differently(run: Run, engine: Engine):
    record(
        engine, [article("1", nato=asserts("a"), russia=denies("a")), article("2", uk=asserts("b"), nato=asserts("b"))]
    )
    ran = run("replay", "--without-speaker", "nato")
    assert ran.status == 0
    assert [" ".join(line.split()) for line in ran.out.splitlines()] == [
        "a unverified CONFLICT 1+ 1− 0? -> denied UNCONTRADICTED 0+ 1− 0?",
        "b asserted UNCONTRADICTED 2+ 0− 0? asserted UNCONTRADICTED 1+ 0− 0?",
    ]
    assert "unanimous@1 at position 2 without the speaker nato, compared with unanimous@1 with everything" in ran.err
    assert "2 of 2 claims come out differently, 1 only in how many speak." in ran.err
    told = json.loads(run("replay", "--policy", "majority", "--to", 1, "--json").out)
    assert told["against"] == {"stored": False, "policy": "unanimous@1", "claims": 1}
    assert told["differences"] == [
        {
            "claim": "a",
            "before": {"state": "unverified", "reason": "CONFLICT", "asserting": 1, "denying": 1, "withholding": 0},
            "after": {"state": "unverified", "reason": "TIED", "asserting": 1, "denying": 1, "withholding": 0},
        }
    ]
    run("project", "--once")
    ran = run("replay")
    assert ran.out == ""
    assert "compared with what is stored of unanimous@1: 0 of 2 claims come out differently." in ran.err
    assert run("replay", "--without-speaker", "nobody").status == 1
    assert run("replay", "--to", 9).status == 1
    assert run("replay", "--against", "nonsense").status == 1
