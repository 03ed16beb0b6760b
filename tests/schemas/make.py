"""Make the fixture of a released schema: a small record at that revision, as compressed SQL.

    .venv/bin/python -m tests.schemas.make 0002

`REVISION.sql.gz` is the database as `pg_dump` writes it, and `REVISION.json` what was believed
of it. Make one when a revision is released, and never again: the code of a later day may write
other rows. tests/test_upgrades.py upgrades each of them.
"""

import base64
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from service import log, projector, tables, tree
from service.audit.digests import digest_of_log
from service.database import engine as engines
from service.database import schema
from service.database.embedded import DATABASE, OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer, find_binaries
from service.domain import article as documents
from service.domain.article import Article
from service.domain.events import ArticleRetracted, Event
from service.domain.policies import NAMES, State
from service.log import NewEvent
from service.projector import Projector
from service.tree import Signer
from tests.curated import adopted, lifted, merged, related, ruled, same_speaker, undone

FOLDER = Path(__file__).parent
SEEDS = FOLDER.parents[1] / "seeds"
SIGNER = Signer.of(base64.b64encode(bytes(32)).decode(), origin="onrecord.test/log", where="of the test")
#: What only newer servers, or only psql, would understand.
_NOT_SQL = ("\\restrict", "\\unrestrict", "SET transaction_timeout")


def happened() -> list[Article | Event]:
    """The seed articles, and decisions of each kind on what they brought."""
    seeds = [documents.read(path.read_bytes()) for path in sorted(SEEDS.glob("*.json"))]
    return [
        *seeds,
        merged("largest-force-since-cold-war", "forces-building-up"),
        merged("invasion-would-spread", "ready-to-attack", opposite=True),
        undone(7),
        same_speaker("boris-johnson", "liz-truss"),
        related("invasion-on-16-feb", "invasion-imminent"),
        ruled("field-hospitals", State.ASSERTED),
        ruled("genocide-in-donbass", State.DENIED),
        lifted("field-hospitals"),
        adopted("majority"),
        ArticleRetracted(url=seeds[1].url, reason="It was withdrawn."),
    ]


def states(conn: Connection) -> dict[str, list[str]]:
    """State and reason of each claim under each policy, as they are stored."""
    (name,) = conn.exec_driver_sql("SELECT schema_name FROM onrecord.generation WHERE live").scalars()
    found = conn.exec_driver_sql(
        f"SELECT policy || ' ' || claim, to_state, to_reason FROM {name}.transition "
        f"WHERE until_position = {tables.OPEN} ORDER BY policy, claim"
    )
    return {each: [state, reason] for each, state, reason in found}


def _migrated(owner: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._migrations()).replace("%", "%%"))
    with owner.begin() as conn:
        conn.exec_driver_sql(f"CREATE SCHEMA {schema.SCHEMA}")
        config.attributes.update(connection=conn, metadata=tables.log_metadata)
        command.upgrade(config, revision)
        there = [
            each
            for each in tables.log_metadata.tables.values()
            if conn.dialect.has_table(conn, each.name, schema=schema.SCHEMA)
        ]
        schema._grant(conn, there, SERVICE_ROLE)


def _recorded(engine: Engine) -> None:
    with engine.begin() as conn:
        for each in happened():
            made = NewEvent.of_article if isinstance(each, Article) else NewEvent.of
            log.append_all(conn, [made(each, actor="cli:test")])  # pyright: ignore[reportArgumentType]
        generation = projector.prepare(conn, NAMES)
    with engine.begin() as conn:
        by = Projector(generation)
        while by.advance(conn).events:
            pass
        if conn.dialect.has_table(conn, "tree", schema=schema.SCHEMA):
            tree.integrate(conn, SIGNER)


def main(revision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer.start(Path(folder) / "server") as server:
            owner, engine = (engines.create(server.url(role, DATABASE)) for role in (OWNER_ROLE, SERVICE_ROLE))
            _migrated(owner, revision)
            _recorded(engine)
            with engine.connect() as conn:
                believed = {"digest": digest_of_log(conn).root.hex(), "states": states(conn)}
            owner.dispose()
            engine.dispose()
            # With the owners of all that is in it; who may do what is for the next migration to say.
            dump = [find_binaries(None) / "pg_dump", "-h", server.socket_dir, "-U", SUPERUSER, "-d", DATABASE]
            options = ["--no-privileges", "--inserts", "--rows-per-insert=100"]
            said = subprocess.run([*dump, *options], check=True, capture_output=True, text=True).stdout
    lines = [line for line in said.splitlines() if not line.startswith(_NOT_SQL)]
    (FOLDER / f"{revision}.sql.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))
    (FOLDER / f"{revision}.json").write_text(json.dumps(believed, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
