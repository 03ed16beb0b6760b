"""Upgrades: the database of every released schema can be brought up to this program, and an older program sees it."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from service import projector, tables, tree
from service.audit.digests import digest_of_log, digest_stored
from service.audit.verifying import verify
from service.cli import main
from service.database import engine as engines
from service.database import schema
from service.database.embedded import SERVICE_ROLE
from service.domain.policies import NAMES
from service.projector import Projector
from tests.builders import article, asserts
from tests.conftest import Database
from tests.processes import Start, eventually, projected, record
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere
from tests.schemas.make import FOLDER, SIGNER, states

RELEASED = sorted(path.name.removesuffix(".sql.gz") for path in FOLDER.glob("*.sql.gz"))
MIGRATIONS = Path(schema.__file__).parents[2] / "migrations" / "versions"


def test_every_schema_that_there_was_is_kept():
    assert sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("[0-9]*.py")) == RELEASED


@pytest.fixture(params=RELEASED)
def released(request: pytest.FixtureRequest, empty_database: Database) -> str:
    """A database as that release left it; gives its revision."""
    superuser = engines.create(empty_database.superuser_url)
    dump = gzip.decompress((FOLDER / f"{request.param}.sql.gz").read_bytes()).decode()
    with superuser.begin() as conn:
        conn.connection.cursor().execute(dump.encode())
    superuser.dispose()
    return request.param


def test_a_released_schema_is_upgraded(released: str, empty_database: Database):
    """Nothing of the record is lost or believed otherwise, and the service can go on from there."""
    expected = json.loads((FOLDER / f"{released}.json").read_text())
    owner = engines.create(empty_database.owner_url)
    done = schema.migrate(owner, metadata=tables.log_metadata, service_role=SERVICE_ROLE)
    assert (done.before, done.after) == (released, schema.revision())
    owner.dispose()

    engine = engines.create(empty_database.service_url)
    with engine.begin() as conn:
        generation = projector.prepare(conn, NAMES)
    record(engine, article("after", nato=asserts("after-the-upgrade")))
    with engine.begin() as conn:
        while Projector(generation).advance(conn).events:
            pass
        projector.promote(conn, generation.generation)
        tree.integrate(conn, SIGNER)
    with engine.connect() as conn:
        told: list[Any] = []
        assert verify(conn, told.append).mismatches == 0, told
        before = conn.scalar(text("SELECT max(position) - 1 FROM onrecord.event"))
        assert digest_of_log(conn, position=before).root.hex() == expected["digest"]
        assert digest_stored(conn).root == digest_of_log(conn).root
        now = {each: state for each, state in states(conn).items() if not each.endswith(" after-the-upgrade")}
        assert now == expected["states"]
    engine.dispose()


# --- an older program ---------------------------------------------------------------


@pytest.fixture
def set_revision(owner_engine: Engine) -> Callable[[str], None]:
    """Makes the database one that another program has migrated."""

    def set_revision(to: str) -> None:
        with owner_engine.begin() as conn:
            conn.execute(text("UPDATE onrecord.alembic_version SET version_num = :to"), {"to": to})

    return set_revision


@pytest.mark.parametrize(
    "args",
    [["serve", "--port", "0"], ["project", "--once"], ["import", "seeds"], ["verify"], ["status"], ["rebuild"]],
    ids=lambda args: args[0],
)
def test_a_newer_database_is_refused(
    database: Database,
    set_revision: Callable[[str], None],
    args: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    set_revision("9999")
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONRECORD_DATABASE_URL", database.service_url.render_as_string(hide_password=False))
    monkeypatch.setenv("ONRECORD_DATA_DIR", str(tmp_path))
    assert main(args) == 1
    said = " ".join(capfd.readouterr().err.split())
    assert said.endswith("a newer onrecord has migrated it; upgrade onrecord."), said
    assert "revision 9999, which this program does not know" in said


def test_a_running_service_stops_projecting_when_its_database_is_migrated(
    start: Start, engine: Engine, set_revision: Callable[[str], None]
):
    """It says that it is not ready, writes no read table and signs nothing, and goes on where it can."""
    serving = start("serve", port="0")
    address = serving.line(r"answers at (http://\S+)/graphql")[1]
    record(engine, article("1", nato=asserts("a")))
    eventually(lambda: (projected(engine), signed(engine)) == (1, 1))
    set_revision("9999")
    record(engine, article("2", nato=asserts("b")))
    serving.line("projecting failed.*a newer onrecord has migrated it", of=serving.err)
    status, told = ready(address)
    assert status == 503
    assert [name for name, check in told["checks"].items() if check["ok"]] == ["database"]
    assert "a newer onrecord has migrated it" in told["checks"]["schema"]["says"]
    assert (projected(engine), signed(engine)) == (1, 1)
    set_revision(schema.revision())
    eventually(lambda: projected(engine) == 2)
    eventually(lambda: ready(address)[0] == 200)


def signed(engine: Engine) -> int | None:
    with engine.connect() as conn:
        return conn.scalar(text("SELECT max(size) FROM onrecord.checkpoint"))


def ready(address: str) -> tuple[int, Any]:
    told = httpx.get(f"{address}/readyz", timeout=30)
    return told.status_code, told.json()
