"""The command line as processes of their own: what starts, follows, is interrupted, and ends."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from service import log
from service.cli.listening import Listener
from service.cli.serving import bound
from service.config import Settings
from tests.builders import article, asserts, document, raw
from tests.conftest import Database
from tests.processes import ROOT, WAIT_S_MAX, Start, ask, beside, eventually, projected, record
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere

PROTOCOL = Subprotocol("graphql-transport-ws")


# --- serve ------------------------------------------------------------------------


def test_the_service_answers_projects_what_others_record_and_stops_when_told(start: Start, engine: Engine):
    service = start("serve", "--port", "0")
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    record(engine, article("a", nato=asserts("x")))
    eventually(lambda: projected(engine) == 1)
    query = '{ claim(slug: "x") { belief { state } } }'
    assert ask(address, query) == {"claim": {"belief": {"state": "ASSERTED"}}}
    assert service.ends(signal.SIGTERM) == 0
    assert "Stopped." in list(service.err.queue)


def test_the_service_does_not_start_where_strangers_could_write(start: Start):
    refused = start("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.ends() == 1
    (said,) = list(refused.err.queue)
    assert "without a token they could write" in said
    assert "ONRECORD_WITHOUT_TOKEN=read" in said
    bound(Settings(without_token="read"), "0.0.0.0", 0).close()


def test_who_may_write_is_asked_of_the_tokens(start: Start, engine: Engine, database: Database):
    service = start("serve", "--port", "0", without_token="read")
    service.line("Nobody may write: no token for it is in force", service.err)
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    record(engine, article("a", nato=asserts("x")))
    owner_url = database.owner_url.render_as_string(hide_password=False)
    made = start("token", "create", "desk", "--scope", "curate", owner_url=owner_url)
    assert made.ends() == 0
    (token,) = list(made.out.queue)

    def rule(**headers: str) -> httpx.Response:
        query = 'mutation { ruleClaim(claim: "x", state: DENIED, reason: "Why.") { __typename } }'
        return httpx.post(address, json={"query": query}, headers=headers, timeout=WAIT_S_MAX)

    assert rule().json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert rule(authorization=f"Bearer {token}").json()["data"] == {"ruleClaim": {"__typename": "CurationAccepted"}}
    assert start("token", "revoke", "desk", owner_url=owner_url).ends() == 0
    eventually(lambda: rule(authorization=f"Bearer {token}").status_code == 401)
    service.line('"code": "UNAUTHENTICATED"', service.err)
    assert not any(token in line for line in list(service.err.queue))
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT actor FROM onrecord.event WHERE position = 2")) == "token:desk"
    assert service.ends(signal.SIGTERM) == 0


def test_the_projector_outlives_its_connections(start: Start, engine: Engine, database: Database):
    service = start("serve", "--port", "0")
    service.line("answers at")
    superuser = create_engine(database.superuser_url.set(drivername="postgresql+psycopg"))
    with superuser.begin() as conn:
        conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    superuser.dispose()
    engine.dispose()
    record(engine, article("a", nato=asserts("x")))
    eventually(lambda: projected(engine) == 1)
    assert service.ends(signal.SIGTERM) == 0


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of one that nobody waits for."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


def test_a_projector_that_is_killed_is_started_again(start: Start, engine: Engine):
    service = start("serve", "--port", "0")
    service.line("answers at")
    for number in (1, 2):
        (pid,) = beside(service)
        os.kill(pid, signal.SIGKILL)
        service.line("the projector's process ended", service.err)
        record(engine, article(f"n{number}", nato=asserts("x")))
        eventually(lambda number=number: projected(engine) == number)
    (pid,) = beside(service)
    assert service.ends(signal.SIGTERM) == 0
    assert not runs(pid)


def test_a_projector_ends_with_whom_it_accompanies_and_not_before(start: Start, engine: Engine):
    """Not by a signal that a terminal or a supervisor sends to both; and even where its service is killed."""
    service = start("serve", "--port", "0")
    service.line("answers at")
    record(engine, article("a", nato=asserts("x")))
    eventually(lambda: projected(engine) == 1)
    (pid,) = beside(service)
    assert os.getpgid(pid) != os.getpgid(service.process.pid)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, each)
    record(engine, article("b", nato=asserts("x")))
    eventually(lambda: projected(engine) == 2)
    assert beside(service) == [pid]
    service.ends(signal.SIGKILL)
    eventually(lambda: not runs(pid))


def test_a_projector_whose_read_tables_are_gone_ends_and_stays_away(start: Start, engine: Engine):
    service = start("serve", "--port", "0")
    service.line("answers at")
    record(engine, article("a", nato=asserts("x")))
    eventually(lambda: projected(engine) == 1)
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM onrecord.generation"))
    record(engine, article("b", nato=asserts("x")))
    service.line("another onrecord projects into other read tables", service.err)
    eventually(lambda: beside(service) == [])
    assert service.ends(signal.SIGTERM) == 0
    assert not any("process ended" in line for line in list(service.err.queue))


def test_an_import_of_many_is_projected_meanwhile_and_killed_leaves_nothing_behind(start: Start, engine: Engine):
    documents = [raw(document(f"n{i}", nato=asserts("x"))) + b"\n" for i in range(2_250)]
    importing = start("import", "-")
    importing.send(b"".join(documents))
    eventually(lambda: projected(engine) > 0)
    (pid,) = beside(importing)
    recorded = head(engine)
    importing.ends(signal.SIGKILL)
    eventually(lambda: not runs(pid))
    again = start("import", "-")
    assert again.process.stdin is not None
    again.send(b"".join(documents))
    again.process.stdin.close()
    new, known = (int(each.replace(",", "")) for each in again.line(r"([\d,]+) recorded, ([\d,]+) known").groups())
    assert new + known == 2_250
    assert known >= recorded
    assert again.ends() == 0
    assert projected(engine) == head(engine) == 2_250


def test_a_port_that_is_taken_is_told(start: Start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start("serve", "--port", str(port))
        service.line(f"Port {port} at 127.0.0.1 cannot be used.*--port", service.err)
        assert service.ends() == 1


def test_a_database_that_is_behind_is_not_served(start_anywhere: Start, empty_database: Database):
    where = empty_database.service_url.render_as_string(hide_password=False)
    service = start_anywhere("serve", "--port", "0", database_url=where)
    service.line("run `onrecord migrate`", service.err)
    assert service.ends() == 1


# --- the others -------------------------------------------------------------------


def test_the_projector_as_a_process_of_its_own(start: Start, engine: Engine):
    record(engine, article("a", nato=asserts("x")))
    once = start("project", "--once")
    once.line("up to date, at position 1; 1 entry was new")
    assert once.ends() == 0
    for_good = start("project")
    for_good.line("projector runs", for_good.err)
    record(engine, article("b", nato=asserts("x")))
    eventually(lambda: projected(engine) == 2)
    assert for_good.ends(signal.SIGTERM) == 128 + signal.SIGTERM


def test_who_follows_the_log_sees_what_is_recorded_later(start: Start, engine: Engine):
    record(engine, article("a", nato=asserts("x")))
    following = start("log", "--follow", "--json")
    assert json.loads(following.line(".+")[0])["position"] == 1
    record(engine, article("b", nato=asserts("x")))
    assert json.loads(following.line(".+")[0])["position"] == 2
    assert following.ends(signal.SIGINT) == 128 + signal.SIGINT
    assert not list(following.err.queue)


def test_who_reads_no_further_ends_the_log_quietly(engine: Engine, database: Database):
    record(engine, *(article(f"n{i}", nato=asserts("x")) for i in range(2000)))
    where = database.service_url.render_as_string(hide_password=False)
    command = f"{shlex.quote(sys.executable)} -m service log | head -n 1"
    ran = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "ONRECORD_DATABASE_URL": where}, capture_output=True
    )
    assert ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""


def test_an_import_that_is_interrupted_keeps_what_it_recorded_and_can_go_on(start: Start, engine: Engine):
    documents = [raw(document(f"n{i}", nato=asserts("x"))) + b"\n" for i in range(150)]
    importing = start("import", "-")
    importing.send(b"".join(documents))
    eventually(lambda: head(engine) == 100)
    assert importing.ends(signal.SIGINT) == 128 + signal.SIGINT
    importing.line("100 recorded.")
    assert any("run it again to go on" in line for line in list(importing.err.queue))
    again = start("import", "-")
    assert again.process.stdin is not None
    again.send(b"".join(documents))
    again.process.stdin.close()
    again.line("50 recorded, 100 known already.")
    assert again.ends() == 0


def head(engine: Engine) -> int:
    with engine.connect() as conn:
        return log.head(conn)


def test_an_import_beside_a_running_service_does_no_harm(start: Start, engine: Engine):
    service = start("serve", "--port", "0")
    service.line("answers at")
    importing = start("import", "-")
    assert importing.process.stdin is not None
    importing.send(b"".join(raw(document(f"n{i}", nato=asserts("x"))) + b"\n" for i in range(500)))
    importing.process.stdin.close()
    importing.line("500 recorded.")
    assert importing.ends() == 0
    assert projected(engine) == 500
    assert service.ends(signal.SIGTERM) == 0


# --- nothing configured -----------------------------------------------------------


def test_without_a_database_there_is_one_in_the_data_folder(start_anywhere: Start, server_folders: Path):
    folder = str(server_folders / "default")
    importing = start_anywhere("import", "seeds", data_dir=folder)
    importing.line("5 recorded.")
    assert importing.ends() == 0
    service = start_anywhere("serve", data_dir=folder, port="0")
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    assert ask(address, "{ log { head } }") == {"log": {"head": 5}}
    # Beside the service, on the same server.
    showing = start_anywhere("claim", "troops-withdrawing", data_dir=folder)
    showing.line("UNVERIFIED  CONFLICT")
    assert showing.ends() == 0
    assert service.ends(signal.SIGINT) == 0
    assert not (server_folders / "default" / "postgres" / "data" / "postmaster.pid").exists()


def test_the_demo_can_be_seen_twice(start_anywhere: Start, server_folders: Path):
    folder = str(server_folders / "demos")
    for _ in range(2):
        demo = start_anywhere("demo", "--port", "0", data_dir=folder, database_url="postgresql://nowhere/none")
        address = demo.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
        query = demo.line(r"^  (\{.*\})$")[1]
        assert len(ask(address, query)["claims"]["nodes"]) == 5
        assert ask(address, "{ log { head projected } }") == {"log": {"head": 5, "projected": 5}}
        assert demo.ends(signal.SIGINT) == 0
    assert [each.name for each in (server_folders / "demos").iterdir()] == ["demo"]


# --- waiting ----------------------------------------------------------------------


def test_a_listener_hears_at_once_and_again_after_its_connection_was_lost(engine: Engine, database: Database):
    with Listener(engine, log.CHANNEL) as listener:
        listener.wait()  # connects
        for _ in range(2):
            with engine.begin() as conn:
                log.announce(conn)
            began = time.monotonic()
            listener.wait(WAIT_S_MAX)
            assert time.monotonic() - began < WAIT_S_MAX / 2
            superuser = create_engine(database.superuser_url.set(drivername="postgresql+psycopg"))
            with superuser.begin() as conn:
                conn.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
            superuser.dispose()
            listener.wait(WAIT_S_MAX)  # notices
            listener.wait(WAIT_S_MAX)  # connects anew


def test_a_listener_can_be_woken_for_good(engine: Engine):
    with Listener(engine, log.CHANNEL) as listener:
        listener.wait()
        listener.wake()
        for _ in range(2):
            began = time.monotonic()
            listener.wait(WAIT_S_MAX)
            assert time.monotonic() - began < WAIT_S_MAX / 2


def test_open_streams_do_not_keep_a_service_from_ending(start: Start, engine: Engine):
    service = start("serve", "--port", "0")
    address = service.line(r"answers at (http://127\.0\.0\.1:\d+/graphql)")[1]
    record(engine, article("a", nato=asserts("x")))
    query = urllib.parse.quote('subscription { transitions(after: "0") { cursor } }')
    asked = urllib.request.Request(f"{address}?query={query}", headers={"Accept": "text/event-stream"})
    socket = address.replace("http:", "ws:")
    with urllib.request.urlopen(asked, timeout=WAIT_S_MAX) as events, connect(socket, subprotocols=[PROTOCOL]) as there:
        told = [events.readline() for _ in range(6)]
        assert b"id: 1:x\n" in told
        assert service.ends(signal.SIGINT) == 0
        assert b"complete" not in events.read()
        with pytest.raises(ConnectionClosed):
            there.recv(WAIT_S_MAX)
        assert there.close_code == 1012
    assert not any("Cancel" in line for line in service.err.queue)
