"""The command line, run in this process: what it records, what it says, with which status."""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from service import log, projector
from service.cli import main
from service.cli.projecting import Projecting, prepared
from service.database import engine as engines
from service.domain.article import DOCUMENT_BYTES_MAX
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised
from service.log import NewEvent
from service.projector import Projector
from tests.builders import article, asserts, changed, denies, document, raw, url, without
from tests.conftest import Database

SEEDS = Path(__file__).resolve().parents[1] / "seeds"


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run_anywhere(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Run:
    """Runs `onrecord` with no database set."""
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    # Whatever a test forgets to set must not be found in somebody's data.
    monkeypatch.setenv("ONRECORD_DATA_DIR", str(tmp_path / "data"))

    def run(*args: object, stdin: bytes = b"", **settings: object) -> Ran:
        for name, value in settings.items():
            monkeypatch.setenv(f"ONRECORD_{name.upper()}", str(value))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([str(arg) for arg in args])
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return Ran(status, said.out.decode(), said.err.decode())

    return run


@pytest.fixture
def run(run_anywhere: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `onrecord` on the test's database."""
    monkeypatch.setenv("ONRECORD_DATABASE_URL", address(database.service_url))
    return run_anywhere


def address(url: Any) -> str:
    return url.render_as_string(hide_password=False)


def lines(*documents: object) -> bytes:
    return b"".join((each if isinstance(each, bytes) else raw(each)) + b"\n" for each in documents)


def urls(engine: Engine) -> list[tuple[str, int]]:
    """What was recorded, in order: the last word of each URL, and the revision."""
    with engine.connect() as conn:
        found = [entry.event() for entry in log.stream(conn)]
    return [
        (each.article.url.removeprefix(url("")), each.article.revision)
        for each in found
        if isinstance(each, ArticleRecorded | ArticleRevised)
    ]


A, B = document("a", nato=asserts("x")), document("b", russia=denies("x"))


# --- import -----------------------------------------------------------------------


def test_a_file_is_recorded(run: Run, engine: Engine, tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(A, indent=2))
    ran = run("import", file)
    assert (ran.status, ran.out, ran.err) == (0, "1 recorded.\n", "")
    assert urls(engine) == [("a", 1)]


def test_a_folder_is_recorded_in_order_of_names_with_what_lies_in_its_folders(run: Run, engine: Engine, tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "c.json").write_bytes(raw(document("c", nato=asserts("x"))))
    (tmp_path / "b" / "b.jsonl").write_bytes(lines(B))
    (tmp_path / "a.json").write_bytes(raw(A))
    (tmp_path / "readme.txt").write_text("not a document")
    assert run("import", tmp_path).status == 0
    assert urls(engine) == [("a", 1), ("b", 1), ("c", 1)]


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        (lines(A, B), ["a", "b"]),
        (raw(A), ["a"]),
        (json.dumps(A, indent=2).encode(), ["a"]),
        (b"\n\n" + lines(A) + b"\n" + lines(B) + b"\n", ["a", "b"]),
        (b"\xef\xbb\xbf" + raw(A), ["a"]),
        (b"", []),
    ],
    ids=["lines", "one line", "one document", "blank lines", "byte order mark", "nothing"],
)
def test_standard_input_is_lines_or_one_document(run: Run, engine: Engine, sent: bytes, recorded: list[str]):
    assert run("import", "-", stdin=sent).status == 0
    assert [name for name, _ in urls(engine)] == recorded


def test_a_bad_line_is_named_and_the_good_ones_are_recorded(run: Run, engine: Engine, tmp_path: Path):
    file = tmp_path / "many.jsonl"
    bad = changed(B, "claims[0].statements[0].stance", "claims")
    file.write_bytes(lines(A, bad, b"{", document("c", nato=asserts("x"))))
    ran = run("import", file)
    assert ran.status == 1
    assert f"{file}:2: claims[0].statements[0].stance: " in ran.err
    assert f"{file}:3: is not JSON at column 2" in ran.err
    assert ran.out == "2 recorded, 2 refused.\n"
    assert urls(engine) == [("a", 1), ("c", 1)]


def test_a_line_that_is_too_long_is_refused_and_the_next_is_read(run: Run, engine: Engine, tmp_path: Path):
    file = tmp_path / "long.jsonl"
    file.write_bytes(lines(A, b'{"url": "' + b"x" * (DOCUMENT_BYTES_MAX + 100_000), B))
    ran = run("import", file)
    assert (ran.status, ran.out) == (1, "2 recorded, 1 refused.\n")
    assert f"{file}:2: is longer than" in ran.err
    assert urls(engine) == [("a", 1), ("b", 1)]


def test_a_file_that_cannot_be_read_is_named(run: Run, engine: Engine, tmp_path: Path):
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "h.json").write_bytes(raw(A))
    ran = run("import", tmp_path)
    assert ran.status == 1
    assert "gone.json: cannot be read: No such file" in ran.err
    assert urls(engine) == [("a", 1)]


def test_a_path_that_is_not_there_is_a_wrong_call(run: Run, engine: Engine, tmp_path: Path):
    (tmp_path / "a.json").write_bytes(raw(A))
    ran = run("import", tmp_path / "a.json", tmp_path / "b.json")
    assert ran.status == 2
    assert "b.json" in ran.err
    assert urls(engine) == []


def test_an_empty_folder_is_told(run: Run, tmp_path: Path):
    ran = run("import", tmp_path)
    assert (ran.status, ran.out) == (0, "0 recorded.\n")
    assert "no document" in ran.err


def test_a_date_after_the_article_is_recorded_with_a_warning(run: Run, tmp_path: Path):
    ran = run("import", "-", stdin=raw(document("a", nato=asserts("x", said="2022-03-01"))))
    assert ran.status == 0
    assert "warning  standard input:1: claims[0].statements[0].said_at: is after" in ran.err


def test_importing_twice_changes_nothing(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A, B))
    ran = run("import", "-", stdin=lines(A, B))
    assert (ran.status, ran.out) == (0, "0 recorded, 2 known already.\n")
    assert len(urls(engine)) == 2


def test_a_retracted_article_sent_again_stays_retracted_and_is_told(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    run("retract", url("a"), "--reason", "It was made up.")
    ran = run("import", "-", stdin=lines(A))
    assert ran.status == 0
    assert "is retracted, at position 2" in ran.err
    assert ran.out == "0 recorded, 1 known already. 1 of those known is retracted.\n"


def test_more_than_one_batch_is_recorded_in_order(run: Run, engine: Engine):
    many = [document(f"n{i}", nato=asserts("x")) for i in range(250)]
    assert run("import", "-", stdin=lines(*many)).out == "250 recorded.\n"
    assert [name for name, _ in urls(engine)] == [f"n{i}" for i in range(250)]


def test_what_is_told_comes_batch_by_batch_although_the_next_is_read_meanwhile(run: Run):
    """Of each batch first those that are no documents, then those that the log refuses."""
    no_documents, skipping = {20, 150}, {10, 120, 240}
    many = [
        b"{" if n in no_documents else document(f"n{n}", revision=3 if n in skipping else 1, nato=asserts("x"))
        for n in range(1, 251)
    ]
    ran = run("import", "-", stdin=lines(*many))
    assert ran.out == "245 recorded, 5 refused.\n"
    told = [int(line.split(":")[1]) for line in ran.err.splitlines() if line.startswith("refused")]
    assert told == [20, 10, 150, 120, 240]


def test_a_dry_run_says_what_would_happen_and_writes_nothing(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    nowhere = document("c", propositions=False, nato=asserts("unheard-of"))
    ran = run("import", "--dry-run", "-", stdin=lines(A, B, nowhere))
    assert ran.status == 1
    assert ran.out == "1 would be recorded, 1 known already, 1 would be refused.\n"
    assert "claims[0].proposition: is required" in ran.err
    assert urls(engine) == [("a", 1)]


def test_the_actor_is_who_runs_the_command(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("USER", "somebody-else")
    run("import", "-", stdin=raw(A))
    entry = json.loads(run("log", "--json").out)
    assert entry["actor"].startswith("cli:")
    assert entry["actor"] != "cli:somebody-else"


def test_a_user_without_a_name_acts_by_number(run: Run, monkeypatch: pytest.MonkeyPatch):
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    run("import", "-", stdin=raw(A))
    assert json.loads(run("log", "--json").out)["actor"] == f"cli:uid-{os.getuid()}"


def test_the_beliefs_are_up_to_date_after_an_import(run: Run):
    run("import", "-", stdin=lines(A, B))
    assert "CONFLICT" in run("claim", "x").out


# --- import --revise --------------------------------------------------------------

CHANGED = changed(A, "headline", "Changed")
SAME, NOW = without(A, "revision"), without(CHANGED, "revision")


def test_a_changed_article_is_refused_with_what_to_do(run: Run):
    run("import", "-", stdin=lines(A))
    ran = run("import", "-", stdin=lines(CHANGED))
    assert ran.status == 1
    assert "send it as revision 2" in ran.err
    assert "--revise" in ran.err


@pytest.mark.parametrize("sent", [CHANGED, NOW], ids=["as revision 1", "as no revision"])
def test_revise_records_a_changed_article_as_the_next_revision_once(run: Run, engine: Engine, sent: dict[str, Any]):
    run("import", "-", stdin=lines(A))
    assert run("import", "--revise", "-", stdin=lines(sent, B)).out == "1 recorded, 1 revised.\n"
    assert run("import", "--revise", "-", stdin=lines(sent, B)).out == "0 recorded, 2 known already.\n"
    assert sorted(urls(engine)) == [("a", 1), ("a", 2), ("b", 1)]


def test_revise_follows_an_article_back_to_what_it_said_first(run: Run, engine: Engine):
    assert run("import", "--revise", "-", stdin=lines(SAME, NOW, SAME)).out == "1 recorded, 2 revised.\n"
    assert urls(engine) == [("a", 1), ("a", 2), ("a", 3)]


def test_revise_takes_a_revision_that_is_named_for_what_it_is(run: Run, engine: Engine):
    second = changed(changed(CHANGED, "revision", 2), "change", "outlet")
    for _ in range(2):
        assert run("import", "--revise", "-", stdin=lines(A, second)).status == 0
    assert urls(engine) == [("a", 1), ("a", 2)]


def test_revise_does_not_bring_a_retracted_article_back_while_it_says_the_same(run: Run, engine: Engine):
    run("import", "--revise", "-", stdin=lines(SAME, NOW))
    run("retract", url("a"), "--reason", "It was made up.")
    ran = run("import", "--revise", "-", stdin=lines(NOW))
    assert "1 known already. 1 of those known is retracted." in ran.out
    assert run("import", "--revise", "-", stdin=lines(SAME)).out == "0 recorded, 1 revised.\n"


def test_a_dry_run_of_revise_writes_nothing(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    assert run("import", "--revise", "--dry-run", "-", stdin=lines(NOW)).out == (
        "0 would be recorded, 1 would be revised.\n"
    )
    assert urls(engine) == [("a", 1)]


# --- the log, retractions, claims -------------------------------------------------


def test_the_log_is_printed_for_people_and_for_programs(run: Run, engine: Engine):
    run("import", "-", stdin=lines(changed(A, "headline", "Two\nlines\x1b[2J"), B))
    run("retract", url("b"), "--reason", "It was made up.")
    told = run("log").out.splitlines()
    assert [line.split()[0] for line in told] == ["1", "2", "3"]
    assert "recorded   Daily Planet: Two lines\N{REPLACEMENT CHARACTER}[2J" in told[0]
    assert "retracted  It was made up." in told[2]
    entries = [json.loads(line) for line in run("log", "--json", "--after", 1).out.splitlines()]
    assert [(each["position"], each["type"]) for each in entries] == [
        (2, "ArticleRecorded"),
        (3, "ArticleRetracted"),
    ]
    assert entries[1]["payload"] == {"reason": "It was made up.", "url": url("b")}


def test_a_retraction_is_recorded_once_and_counts(run: Run):
    run("import", "-", stdin=lines(A))
    assert run("retract", url("a"), "--reason", "It was made up.").out.endswith("at position 2.\n")
    again = run("retract", url("a"), "--reason", "Again.")
    assert (again.status, again.out) == (0, f"{url('a')} was retracted before, at position 2; nothing changed.\n")
    shown = run("claim", "x").out
    assert "RETRACTED" in shown
    assert "retracted: Daily Planet" in shown


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["https://example.org/nowhere", "--reason", "Why."], 1, "no article is recorded under"),
        (["https://example.org/a#b", "--reason", "Why."], 2, "has a fragment"),
        (["https://example.org/a", "--reason", " "], 2, "must not be empty"),
        (["https://example.org/a"], 2, "--reason"),
    ],
)
def test_a_retraction_that_cannot_be_is_refused(run: Run, args: Sequence[str], status: int, said: str):
    ran = run("retract", *args)
    assert ran.status == status
    assert said in ran.err


def test_claims_are_listed_by_state_topic_policy_and_words(run: Run):
    run("import", SEEDS)

    def listed(*args: str) -> set[str]:
        return {line.split()[4] for line in run("claims", *args, "--limit", "100").out.splitlines()}

    assert len(listed()) == 24
    assert listed("--state", "denied") == {"ukraine-nato-membership-on-agenda"}
    assert "troops-withdrawing" in listed("--topic", "troops")
    assert "troops-withdrawing" not in listed("--topic", "diplomacy")
    assert "troops-withdrawing" in listed("--policy", "majority", "--state", "asserted")
    assert "field-hospitals" in listed("--search", "hospitals")


def test_a_claim_is_shown_with_who_stands_where(run: Run):
    run("import", SEEDS)
    shown = run("claim", "troops-withdrawing")
    assert shown.status == 0
    for words in (
        "UNVERIFIED  CONFLICT  5 assert \N{MIDDLE DOT} 2 deny \N{MIDDLE DOT} 7 withhold",
        "Jens Stoltenberg  Secretary-General of NATO",
        "\N{LEFT DOUBLE QUOTATION MARK}no withdrawals of troops or equipment\N{RIGHT DOUBLE QUOTATION MARK}",
        "ITV News, 2022-02-16",
        "asserted    UNCONTRADICTED",
    ):
        assert words in shown.out
    assert "OUTVOTED" in run("claim", "troops-withdrawing", "--policy", "majority").out


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["claim", "nowhere"], 1, "No article on record names nowhere"),
        (["claims", "--policy", "guess"], 1, "is no policy"),
        (["claims", "--policy", "unanimous:min_speakers=3"], 1, "unanimous@1:min_speakers=3"),
        (["claims", "--state", "true"], 2, "asserted, denied, unverified"),
        (["frobnicate"], 2, "frobnicate"),
        (["log", "--after", "-1"], 2, "--after"),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(run: Run, args: Sequence[str], status: int, said: str):
    run("import", "-", stdin=lines(A))
    ran = run(*args)
    assert ran.status == status
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_an_empty_record_says_how_to_begin(run: Run):
    ran = run("claims")
    assert ran.status == 1
    assert "onrecord import" in ran.err


def test_called_with_nothing_it_prints_what_there_is(run_anywhere: Run):
    ran = run_anywhere()
    assert ran.status == 2
    assert "Usage: onrecord" in ran.out
    assert ran.err == ""


# --- looking after ----------------------------------------------------------------


def test_settings_are_printed_and_secrets_are_not(run_anywhere: Run):
    ran = run_anywhere("settings", database_url="postgresql://me:hunter2@db/x", port=81)
    assert ran.status == 0
    assert "hunter2" not in ran.out + ran.err
    assert "ONRECORD_DATABASE_URL = set, and not shown" in ran.out
    assert "ONRECORD_PORT = 81  (default: 8000)" in ran.out


def test_a_setting_that_cannot_be_used_is_named_without_its_value(run_anywhere: Run):
    ran = run_anywhere("status", port="hunter2")
    assert ran.status == 1
    assert "ONRECORD_PORT" in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("cors_origins", "https://a.example http://[::1]:8080 *", "a.example"),
        ("cors_origins", "http://127.0.0.1:8080", "https://a.example/"),
        ("trusted_proxies", "10.0.0.7 fd00::/8", "10.0.0.7/8"),
        ("trusted_proxies", "", "proxy.example"),
    ],
)
def test_a_list_with_one_that_would_never_match_is_refused(run_anywhere: Run, name: str, good: str, bad: str):
    assert run_anywhere("settings", **{name: good}).status == 0
    ran = run_anywhere("settings", **{name: f"{good} {bad}"})
    assert ran.status == 1
    assert re.search(f"ONRECORD_{name.upper()} cannot be used: '?{re.escape(bad)}", ran.err)


def test_a_misspelt_setting_is_told(run_anywhere: Run):
    ran = run_anywhere("settings", databse_url="postgresql://me:hunter2@db/x")
    assert "did you mean ONRECORD_DATABASE_URL?" in ran.err
    assert "hunter2" not in ran.err


def test_a_database_that_cannot_be_reached_is_told_without_its_password(run_anywhere: Run):
    ran = run_anywhere("claims", database_url="postgresql://me:hunter2@127.0.0.1:1/x")
    assert ran.status == 1
    assert "No connection to the database x at 127.0.0.1 port 1: Connection refused" in ran.err
    assert "hunter2" not in ran.err


def test_a_database_that_was_never_migrated_is_refused_until_it_is(run_anywhere: Run, empty_database: Database):
    refused = run_anywhere("import", SEEDS, database_url=address(empty_database.service_url))
    assert refused.status == 1
    assert "`onrecord migrate`" in refused.err
    migrated = run_anywhere("migrate", owner_url=address(empty_database.owner_url))
    assert migrated.status == 0
    assert "from nothing to 0" in migrated.out
    assert "is up to date" in run_anywhere("migrate").out
    assert run_anywhere("import", SEEDS).status == 0


def test_a_database_of_a_newer_program_is_refused(run: Run, owner_engine: Engine):
    with owner_engine.begin() as conn:
        conn.execute(text("UPDATE onrecord.alembic_version SET version_num = '9999'"))
    ran = run("log")
    assert ran.status == 1
    assert "upgrade onrecord" in ran.err


def test_status_tells_how_things_are(run: Run, engine: Engine):
    run("import", SEEDS)
    with engine.begin() as conn:
        log.append(conn, [log.NewEvent.of(ArticleRetracted(url=urls_of(conn)[0], reason="Why."), actor="t")])
    ran = run("status")
    assert ran.status == 0
    assert "6 entries" in ran.out
    assert "5, 1 behind" in ran.out
    assert ran.err == ""


def urls_of(conn: Any) -> list[str]:
    return list(conn.scalars(text("SELECT url FROM onrecord.register_revision ORDER BY position")))


def test_status_warns_where_the_service_owns_the_log(run: Run, database: Database):
    assert "owns the log" in run("status", database_url=address(database.owner_url)).err


def test_an_unforeseen_error_is_a_sentence_and_with_debug_a_trace(run: Run, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: object, **named: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(log, "head", broken)
    ran = run("status")
    assert ran.status == 1
    assert "RuntimeError: broken" in ran.err
    assert "--debug" in ran.err
    assert "Traceback" not in ran.err
    with pytest.raises(RuntimeError, match="broken"):
        run("status", "--debug")


# --- the loop around the projector ------------------------------------------------


def test_the_event_that_the_database_refuses_stops_the_projector_before_it_and_is_named(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    generation = prepared(engine, ["unanimous"])
    run("import", "-", stdin=lines(*(document(f"n{i}", nato=asserts(f"x{i}")) for i in range(40))))
    advance = Projector.advance
    refused = [30]

    def refusing(self: Projector, conn: Any, *, limit: int) -> projector.Progress:
        progress = advance(self, conn, limit=limit)
        if refused and progress.position >= refused[0]:
            raise psycopg.errors.CheckViolation("no such thing")
        return progress

    monkeypatch.setattr(Projector, "advance", refusing)
    projecting = Projecting(engine, generation)
    *_, last = projecting.catch_up()
    assert (last.position, last.stopped_at) == (29, 30)
    with engine.connect() as conn:
        stored = {each.generation: each for each in projector.generations(conn)}[generation.generation]
    assert (stored.position, stored.stopped_at) == (29, 30)
    assert stored.because == "event 30 cannot be projected: CheckViolation: no such thing"
    refused.clear()
    *_, last = projecting.catch_up()
    assert (last.position, last.stopped_at, projecting.stopped) == (40, None, None)


def test_other_read_tables_go_live_once_they_have_caught_up(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A, B))
    generation = prepared(engine, ["majority"])
    assert not generation.live
    for _ in Projecting(engine, generation).catch_up():
        pass
    with engine.connect() as conn:
        assert [each.policies for each in projector.generations(conn) if each.live] == [["majority@1", "unanimous@1"]]


def test_the_projector_keeps_what_it_prepared_from_one_event_to_the_next(database: Database, engine: Engine):
    single = engines.create(database.service_url, pool_size=1, max_overflow=0)
    projecting = Projecting(single, prepared(single, ["unanimous"]))
    for i in range(8):
        with engine.begin() as conn:
            log.append_all(conn, [NewEvent.of_article(article(f"n{i}", nato=asserts(f"x{i}")), actor="test")])
        assert [progress.position for progress in projecting.catch_up()] == [i + 1]
    with single.connect() as conn:
        kept = conn.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    single.dispose()
    assert any("INTO statement" in each for each in kept)
    assert any("max(e.position)" in each for each in kept)


def test_an_import_leaves_read_tables_of_others_alone(run: Run, engine: Engine):
    run("import", "-", stdin=lines(A))
    ran = run("import", "-", stdin=lines(B), policies="majority")
    assert ran.status == 0
    assert "onrecord project --once" in ran.err
    with engine.connect() as conn:
        assert [each.position for each in projector.generations(conn)] == [1]
