"""`onrecord` as processes of its own: started, listened to, and ended with the test."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

import pytest
from sqlalchemy import Engine, text

from service import log
from service.domain.article import Article
from service.domain.events import Event
from service.log import NewEvent
from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[1]
WAIT_S_MAX = 60


class Process:
    """A running `onrecord`, whose output is read as it comes."""

    def __init__(self, *args: str, **settings: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ONRECORD_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", *args],
            cwd=ROOT,
            env={**clean, **{f"ONRECORD_{name.upper()}": value for name, value in settings.items()}},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.out, self.err = (self._lines(each) for each in (self.process.stdout, self.process.stderr))

    def _lines(self, stream: IO[bytes] | None) -> "Queue[str]":
        assert stream is not None
        found: Queue[str] = Queue()

        def read() -> None:
            for line in stream:
                found.put(line.decode().rstrip("\n"))

        threading.Thread(target=read, daemon=True).start()
        return found

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self, pattern: str, of: "Queue[str] | None" = None) -> re.Match[str]:
        """The next line of its output that matches; fails if none comes."""
        until = time.monotonic() + WAIT_S_MAX
        seen: list[str] = []
        while time.monotonic() < until:
            try:
                seen.append((self.out if of is None else of).get(timeout=0.2))
            except Empty:
                if self.process.poll() is not None:
                    break
            else:
                if found := re.search(pattern, seen[-1]):
                    return found
        raise AssertionError(f"no {pattern!r} in {seen}; on standard error {list(self.err.queue)}")

    def ends(self, how: int | None = None) -> int:
        """Its exit status, after the signal `how` if one is named."""
        if how is not None:
            self.process.send_signal(how)
        return self.process.wait(timeout=WAIT_S_MAX)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def beside(process: Process) -> list[int]:
    """The process ids of the projectors beside it."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [int(pid) for pid, parent, args in rows if int(parent) == process.process.pid and "accompanying" in args]


Start = Callable[..., Process]


@contextlib.contextmanager
def processes(**always: str) -> Iterator[Start]:
    """Starts `onrecord` with the settings `always`, and ends what it started."""
    started: list[Process] = []

    def start(*args: str, **settings: str) -> Process:
        started.append(Process(*args, **{**always, **settings}))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.close()


@pytest.fixture
def start_anywhere(tmp_path: Path) -> Iterator[Start]:
    """Starts `onrecord`, and ends it with the test."""
    # Whatever a test forgets to set must not be found in somebody's data.
    with processes(data_dir=str(tmp_path / "data")) as start:
        yield start


@pytest.fixture
def start(start_anywhere: Start, database: Database) -> Start:
    """Starts `onrecord` on the test's database."""
    where = database.service_url.render_as_string(hide_password=False)
    return lambda *args, **settings: start_anywhere(*args, database_url=where, **settings)


def _new(event: Article | Event) -> NewEvent:
    if isinstance(event, Article):
        return NewEvent.of_article(event, actor="test")
    return NewEvent.of(event, actor="test")


def record(engine: Engine, *recorded: Article | Event) -> None:
    """As another process does."""
    with engine.begin() as conn:
        log.append_all(conn, [_new(each) for each in recorded])
    with engine.begin() as conn:
        log.announce(conn)


def ask(address: str, query: str) -> Any:
    request = urllib.request.Request(
        address, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=WAIT_S_MAX) as answer:
        return json.load(answer)["data"]


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)


def projected(engine: Engine) -> int:
    with engine.connect() as conn:
        return conn.scalar(text("SELECT max(position) FROM onrecord.generation WHERE live")) or 0
