"""The database is gone, full, or held by others for a while: requests are put off, nothing hangs, all of it heals."""

import base64
import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.database.embedded import SERVICE_ROLE
from service.log import APPEND_LOCK
from tests.builders import asserts
from tests.test_api_mutations import RECORD, given
from tests.torture.people import Follower
from tests.torture.world import Server, World, eventually

#: Who is kept waiting for so long is kept waiting for ever.
HANGS_S = 60
READ = "{ claims { totalCount } log { head projected } }"


@pytest.fixture(scope="module")
def server(server_folders: Path, postgres_bin: Path | None) -> Iterator[Server]:
    """A server of this module's own: it is stopped, and filled."""
    with Server(server_folders / "outages", binaries=postgres_bin) as started:
        yield started


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """`onrecord serve` on a database of this test's own."""
    with World(server.database(f"outage_{tmp_path.name}"), tmp_path / "data") as started:
        yield started


@pytest.fixture
def http(world: World) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{world.port}", timeout=HANGS_S) as client:
        yield client


def send(http: httpx.Client, query: str, **variables: Any) -> httpx.Response:
    return http.post("/graphql", json={"query": query, "variables": variables})


def record(http: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    return send(http, RECORD, input=given(name, **{"nato": asserts("x"), **fields}))


def is_put_off(response: httpx.Response, *codes: str) -> None:
    assert response.status_code == 503, response.text
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["cache-control"] == "no-store"
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] in codes


def is_recorded(response: httpx.Response) -> None:
    """And projected."""
    assert response.status_code == 200, response.text
    outcome = response.json()["data"]["recordArticle"]
    assert outcome["__typename"] in ("ArticleAccepted", "ArticleRepeated")
    assert outcome["projected"] is True


def heals(world: World, http: httpx.Client, name: str) -> None:
    """What is recorded again is projected, read and signed."""
    eventually(lambda: send(http, READ).status_code == 200, "it reads again")
    eventually(lambda: record(http, name).status_code == 200, "it records again")
    is_recorded(record(http, name))
    head = send(http, READ).json()["data"]["log"]["head"]
    eventually(lambda: signed(http) == head, "it signs again")
    world.engine.dispose()
    world.verify()
    assert world.unforeseen() == []


def signed(http: httpx.Client) -> int:
    answer = http.get("/checkpoint")
    return int(answer.text.splitlines()[1]) if answer.status_code == 200 else 0


# --- gone -------------------------------------------------------------------------


def test_a_database_that_is_gone_puts_off_and_all_heals_when_it_is_back(
    server: Server, world: World, http: httpx.Client
):
    is_recorded(record(http, "before"))
    following = Follower("follower", world.port, events=True, socket=False)
    following.start()
    eventually(lambda: following.cursors == ["1"], "the stream")
    server.stop()
    try:
        for _ in range(2):
            is_put_off(send(http, READ), "DATABASE_UNREACHABLE")
            is_put_off(record(http, "meanwhile"), "DATABASE_UNREACHABLE")
            is_put_off(http.get("/checkpoint"), "DATABASE_UNREACHABLE")
            is_put_off(http.get("/tile/entries/000.p/1"), "DATABASE_UNREACHABLE")
    finally:
        server.start()
    heals(world, http, "after")
    eventually(lambda: following.cursors == ["1", "2"], "the stream goes on")
    # By the same connection: it was open all the time.
    assert following.unanswered == 0
    following.stopped()


def test_both_ways_of_answering_put_off(server: Server, world: World, http: httpx.Client):
    """The interpreter's too, which has the word where a fragment's fields are asked about the schema."""
    interpreted = "{ __schema { queryType { name } } log { head } }"
    assert send(http, interpreted).status_code == 200
    server.stop()
    try:
        is_put_off(send(http, interpreted), "DATABASE_UNREACHABLE")
        is_put_off(http.get("/graphql", params={"query": READ}), "DATABASE_UNREACHABLE")
        assert send(http, "{ __typename }").status_code == 200
    finally:
        server.start()
    heals(world, http, "after")


def test_a_limit_of_connections_puts_off(server: Server, world: World, http: httpx.Client):
    is_recorded(record(http, "before"))
    with server.connect("postgres") as conn:
        conn.execute(f"ALTER ROLE {SERVICE_ROLE} CONNECTION LIMIT 0".encode())
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [SERVICE_ROLE])
        try:
            is_put_off(send(http, READ), "DATABASE_UNREACHABLE")
            is_put_off(record(http, "meanwhile"), "DATABASE_UNREACHABLE")
        finally:
            conn.execute(f"ALTER ROLE {SERVICE_ROLE} CONNECTION LIMIT -1".encode())
    heals(world, http, "after")


# --- full -------------------------------------------------------------------------


@pytest.fixture
def tiny(server: Server, server_folders: Path) -> Iterator[Path]:
    """A disk of 48 MiB, on which a tablespace `tiny` is."""
    folder = server_folders / "tiny"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=48m", "onrecord-tiny", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("a small disk can be mounted by root alone")
    try:
        owner = (server_folders / "outages" / "data").stat()
        (folder / "space").mkdir()
        os.chown(folder / "space", owner.st_uid, owner.st_gid)
        with server.connect("postgres") as conn:
            conn.execute(f"CREATE TABLESPACE tiny LOCATION '{folder / 'space'}'".encode())
        yield folder
        with server.connect("postgres") as conn:
            conn.execute("DROP DATABASE full_disk WITH (FORCE)")
            conn.execute("DROP TABLESPACE tiny")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def test_a_full_disk_puts_off_and_nothing_is_half_written(server: Server, tiny: Path, tmp_path: Path):
    chance = random.Random(1)
    with (
        World(server.database("full_disk", tablespace="tiny"), tmp_path / "data") as world,
        httpx.Client(base_url=f"http://127.0.0.1:{world.port}", timeout=HANGS_S) as http,
    ):
        is_recorded(record(http, "before"))
        ballast = tiny / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(tiny).free - 512 * 1024))
        acknowledged = 1
        for number in range(100):
            # As much as cannot be compressed.
            text = f"{base64.b85encode(chance.randbytes(100_000)).decode()} they said so"
            response = record(http, f"large-{number}", text=text)
            if response.status_code == 503:
                break
            assert "ArticleAccepted" in response.text, (response.status_code, response.text)
            acknowledged += 1
        is_put_off(response, "DATABASE_EXHAUSTED")
        assert world.head() == acknowledged
        assert send(http, READ).status_code == 200
        ballast.unlink()
        heals(world, http, "after")
        assert world.head() == acknowledged + 1


# --- held by others ---------------------------------------------------------------


def test_who_gets_no_turn_is_told_however_many_wait(world: World, http: httpx.Client):
    is_recorded(record(http, "before"))
    with world.superuser() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
        with ThreadPoolExecutor(30) as pool:
            writing = [pool.submit(record, http, f"meanwhile-{number}") for number in range(30)]
            assert send(http, READ).status_code == 200
            for each in writing:
                is_put_off(each.result(), "BUSY")
    heals(world, http, "after")
    assert world.head() == 2


def test_tables_that_a_session_locked_and_forgot_put_off(world: World, http: httpx.Client):
    is_recorded(record(http, "before"))
    with world.superuser() as holder, holder.transaction():
        holder.execute("LOCK TABLE onrecord.event IN ACCESS EXCLUSIVE MODE")
        is_put_off(record(http, "meanwhile"), "BUSY")
        is_put_off(send(http, "{ articles { nodes { url } } log { head } }"), "BUSY")
    heals(world, http, "after")


def test_an_idle_session_that_holds_what_is_projected_and_signed_keeps_nobody_from_recording(
    world: World, http: httpx.Client
):
    is_recorded(record(http, "before"))
    with world.superuser() as holder, holder.transaction():
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT * FROM onrecord.generation FOR UPDATE")
        holder.execute("SELECT * FROM onrecord.tree FOR UPDATE")
        answer = send(
            http, RECORD.replace("waitSeconds: 20", "waitSeconds: 0.2"), input=given("meanwhile", nato=asserts("x"))
        )
        assert answer.json()["data"]["recordArticle"]["projected"] is False
        assert send(http, READ).json()["data"]["log"] == {"head": 2, "projected": 1}
    heals(world, http, "after")


# --- stopping ---------------------------------------------------------------------


def _in_flight(http: httpx.Client, world: World, name: str) -> "Future[httpx.Response]":
    """A write that waits for its turn."""
    future: Future[httpx.Response] = Future()

    def write() -> None:
        try:
            future.set_result(record(http, name))
        except httpx.TransportError as error:
            future.set_exception(error)

    threading.Thread(target=write, daemon=True).start()
    with world.superuser() as conn:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: conn.execute(waiting).fetchone() == (1,), "it waits for its turn")
    return future


def test_what_was_taken_on_is_finished_and_acknowledged_before_the_service_ends(world: World, http: httpx.Client):
    with world.superuser() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
        writing = _in_flight(http, world, "slow")
        world.service.process.send_signal(signal.SIGTERM)
        world.service.line("Stopping", world.service.err)
    is_recorded(writing.result(HANGS_S))
    assert world.service.ends() == 0
    world.verify()


def test_what_cannot_be_finished_is_not_half_written_and_the_service_ends(world: World, http: httpx.Client):
    with world.superuser() as holder, holder.transaction():
        holder.execute("SELECT pg_advisory_lock(%s)", [APPEND_LOCK])
        holder.execute("SELECT * FROM onrecord.tree FOR UPDATE")
        writing = _in_flight(http, world, "never")
        assert world.service.ends(signal.SIGTERM) == 0
        with contextlib.suppress(httpx.TransportError):
            is_put_off(writing.result(HANGS_S), "BUSY")
    assert world.head() == 0
    world.verify()
