"""Backup and restore with PostgreSQL's own tools: what was restored is the record, and nothing that was signed is
contradicted by it."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service import log
from service.cli import main
from service.database import engine as engines
from service.database.embedded import OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer, find_binaries
from tests.api import SEEDS
from tests.builders import article, asserts, denies
from tests.conftest import Database
from tests.processes import Start, ask, eventually, processes, projected, record

Run = Callable[..., None]
Onrecord = Callable[..., tuple[int, str]]


@pytest.fixture
def tool(postgres_bin: Path | None, server: EmbeddedServer) -> Callable[..., Run]:
    """PostgreSQL's own programs, of the version of the server; a test is skipped where one is missing."""
    folder = find_binaries(postgres_bin)

    def named(name: str) -> Run:
        if not (folder / name).exists():
            pytest.skip(f"{name} is missing in {folder}")

        def run(*args: str, database: str | None = None) -> None:
            where = ["-h", str(server.socket_dir), "-p", "5432", "-U", SUPERUSER]
            on = [] if database is None else ["-d", database]
            ran = subprocess.run([folder / name, *where, *on, *args], capture_output=True, text=True)
            assert ran.returncode == 0, ran.stderr

        return run

    return named


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the signing key and the newest checkpoint are."""
    return tmp_path / "data"


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Starts `onrecord`, with the data folder of the test."""
    with processes(data_dir=str(data_dir)) as started:
        yield started


@pytest.fixture
def onrecord(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Onrecord:
    """Runs a command on a database, with the same data folder; gives its exit status and all that it said."""

    def run(database: Database, *args: str) -> tuple[int, str]:
        monkeypatch.setenv("ONRECORD_DATABASE_URL", url(database))
        monkeypatch.setenv("ONRECORD_DATA_DIR", str(data_dir))
        capfd.readouterr()
        status = main(args)
        said = capfd.readouterr()
        return status, said.out + said.err

    return run


def url(database: Database) -> str:
    return database.service_url.render_as_string(hide_password=False)


@pytest.fixture
def recorded(database: Database, engine: Engine, onrecord: Onrecord) -> None:
    """The seeds are recorded, projected and signed."""
    record(engine, *SEEDS)
    assert onrecord(database, "project", "--once")[0] == 0
    assert onrecord(database, "checkpoint")[0] == 0


@pytest.fixture
def elsewhere(server: EmbeddedServer, database: Database) -> Iterator[Database]:
    """A fresh database to restore into, as `docs/operations/backup.md` makes it."""
    superuser = engines.create(server.url(SUPERUSER, "postgres")).execution_options(isolation_level="AUTOCOMMIT")
    with superuser.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE restored OWNER {OWNER_ROLE}")
        conn.exec_driver_sql(f"GRANT CONNECT, CREATE ON DATABASE restored TO {SERVICE_ROLE}")
    yield Database(
        database.service_url.set(database="restored"),
        database.owner_url.set(database="restored"),
        database.superuser_url.set(database="restored"),
    )
    with superuser.connect() as conn:
        conn.exec_driver_sql("DROP DATABASE restored WITH (FORCE)")
    superuser.dispose()


@pytest.fixture
def dumped(tool: Callable[..., Run], recorded: None, database: Database, tmp_path: Path) -> Path:
    file = tmp_path / "onrecord.dump"
    tool("pg_dump")("--format=custom", f"--file={file}", database=database.service_url.database)
    return file


@pytest.fixture
def restored(tool: Callable[..., Run], dumped: Path, elsewhere: Database) -> Database:
    tool("pg_restore")("--exit-on-error", str(dumped), database="restored")
    return elsewhere


def digests(onrecord: Onrecord, database: Database) -> list[str]:
    """The state digest of what is stored, and of what a replay of the log comes to."""
    said = [onrecord(database, *args)[1] for args in (["digest"], ["digest", "--from-log"])]
    return re.findall(r"^[0-9a-f]{64}", "".join(said), re.MULTILINE)


def verified(onrecord: Onrecord, database: Database) -> None:
    status, said = onrecord(database, "verify")
    assert (status, "all as the log says" in said) == (0, True), said


def served(start: Start, database: Database) -> None:
    """The service answers from it, records, projects and ends well."""
    service = start("serve", "--port", "0", database_url=url(database))
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    before = ask(address, "{ log { head } }")["log"]["head"]
    engine = engines.create(database.service_url)
    record(engine, article("after", nato=denies("restored-once")))
    eventually(lambda: projected(engine) == before + 1)
    engine.dispose()
    assert service.ends(signal.SIGTERM) == 0


def test_a_dump_restored_into_a_fresh_database_is_the_record(
    onrecord: Onrecord, start: Start, database: Database, restored: Database
):
    assert len(digests(onrecord, restored)) == 2
    assert digests(onrecord, restored) == digests(onrecord, database)
    verified(onrecord, restored)
    served(start, restored)
    verified(onrecord, restored)


def test_a_restored_database_refuses_what_the_first_one_refused(restored: Database):
    """Triggers and grants are restored with it."""
    engine = engines.create(restored.superuser_url)
    for statement in (
        "DELETE FROM onrecord.event",
        "UPDATE onrecord.event SET actor = 'somebody'",
        "TRUNCATE onrecord.event CASCADE",
    ):
        with engine.connect() as conn, pytest.raises(Exception, match=r"only grows|append-only|never"):
            conn.exec_driver_sql(statement)
    engine.dispose()


def test_a_log_older_than_the_newest_checkpoint_is_told_and_nothing_is_signed(
    onrecord: Onrecord, start: Start, engine: Engine, database: Database, restored: Database, data_dir: Path
):
    """What was recorded after the backup is lost; nobody is to be shown another history under the same name."""
    record(engine, article("late", nato=asserts("y")))
    assert onrecord(database, "checkpoint")[0] == 0
    kept = (data_dir / "checkpoint").read_bytes()
    refused(start, restored, "the log has 5 entries, and .* was signed for 6")
    status, said = onrecord(restored, "verify")
    assert (status, "checkpoint: it was signed for 6 entries, and the log has 5" in said) == (1, True), said
    assert onrecord(restored, "checkpoint")[0] == 1
    # Nor once it has grown as long again, by another way.
    others = engines.create(restored.service_url)
    record(others, article("other", nato=asserts("y")), article("another", nato=asserts("y")))
    others.dispose()
    refused(start, restored, "the first 6 entries of the log are not those")
    assert onrecord(restored, "checkpoint")[0] == 1
    assert (data_dir / "checkpoint").read_bytes() == kept


def refused(start: Start, database: Database, why: str) -> None:
    """The service does not start, and says why."""
    service = start("serve", "--port", "0", database_url=url(database))
    service.line(why, service.err)
    assert service.ends() == 1


def test_a_loss_that_is_accepted_is_told_under_another_origin(
    onrecord: Onrecord, start: Start, engine: Engine, database: Database, restored: Database, data_dir: Path
):
    record(engine, article("late", nato=asserts("y")))
    assert onrecord(database, "checkpoint")[0] == 0
    before = (data_dir / "checkpoint").read_text().splitlines()
    reason = "The disk died; the backup was older."
    status, said = onrecord(restored, "checkpoint", "--accept-loss", "--reason", reason)
    assert status == 0, said
    after = (data_dir / "checkpoint").read_text().splitlines()
    assert (after[0] != before[0], after[1]) == (True, "5")
    verified(onrecord, restored)
    served(start, restored)


def test_a_base_backup_taken_while_it_records_holds_all_that_was_acknowledged_before(
    onrecord: Onrecord,
    start: Start,
    tool: Callable[..., Run],
    recorded: None,
    engine: Engine,
    database: Database,
    server_folders: Path,
    postgres_bin: Path | None,
):
    folder = server_folders / "basebackup"
    folder.mkdir()
    folder.chmod(0o711)
    acknowledged: list[int] = []
    done = threading.Event()

    def record_on() -> None:
        while not done.is_set():
            record(engine, article(f"n{len(acknowledged)}", nato=asserts("x")))
            acknowledged.append(1)

    recording = threading.Thread(target=record_on)
    recording.start()
    try:
        eventually(lambda: len(acknowledged) > 5)
        before = len(acknowledged)
        tool("pg_basebackup")("--pgdata", str(folder / "data"), "--wal-method=stream", "--checkpoint=fast")
    finally:
        done.set()
        recording.join()
    try:
        owner = (server_folders / "server" / "data").stat()
        for path in (folder / "data", *(folder / "data").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        with EmbeddedServer.start(folder, binaries=postgres_bin) as copy:
            name = database.service_url.database
            assert name is not None
            there = Database(*(copy.url(role, name) for role in (SERVICE_ROLE, OWNER_ROLE, SUPERUSER)))
            verified(onrecord, there)
            restored = engines.create(there.service_url)
            with restored.connect() as conn:
                assert len(SEEDS) + before <= log.head(conn) <= len(SEEDS) + len(acknowledged)
            restored.dispose()
            served(start, there)
            verified(onrecord, there)
    finally:
        shutil.rmtree(folder)
