"""The projector in a process of its own beside another, which it never outlives.

Folding would hold up whoever answers requests or reads documents in the same process.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import asdict
from typing import IO, Final

from sqlalchemy import URL

from service import log
from service.cli.listening import Listener
from service.cli.logs import Form, set_up_log
from service.cli.projecting import Projecting
from service.cli.running import collect_seldom
from service.database import engine as engines
from service.projector import Generation

#: How long the projector may take to finish the batch in hand; what it has not committed, nobody misses.
_GRACE_S: Final = 10.0
_BACK_OFF_S_MAX: Final = 10.0

_logger = logging.getLogger("onrecord.projector")


@contextlib.contextmanager
def projected_beside(url: URL, generation: Generation, *, log_form: Form | None = None) -> Generator[None]:
    """A process projects the log of the database at `url` meanwhile; at the end it finishes the batch in hand.

    It is started again when it dies, and ends with this process whatever ends that: it
    reads from a pipe of which only this process holds the other end.
    """
    projector = _Projector(url, generation, log_form)
    supervising = threading.Thread(target=projector.supervise, name="projector", daemon=True)
    supervising.start()
    try:
        yield
    finally:
        projector.end()
        supervising.join()


class _Projector:
    """One process after another, until there is to be none."""

    def __init__(self, url: URL, generation: Generation, log_form: Form | None) -> None:
        # Through the pipe: others may read the arguments of a process, and the URL may hold a password.
        told = {
            "url": url.render_as_string(hide_password=False),
            "generation": asdict(generation),
            "log_form": log_form,
        }
        self._told = json.dumps(told).encode() + b"\n"
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # In a group of its own, Ctrl-C on the terminal does not reach it: it still projects for the last requests.
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli.accompanying"], stdin=subprocess.PIPE, process_group=0
        )
        with contextlib.suppress(BrokenPipeError):
            _pipe(process).write(self._told)
            _pipe(process).flush()
        return process

    def supervise(self) -> None:
        """Start it again whenever it dies, until it ends by itself or is to end."""
        back_off_s = 0.0
        while True:
            began = time.monotonic()
            status = self._process.wait()
            _close(_pipe(self._process))
            if status == 0 or self._ending.is_set():
                return
            back_off_s = 0.1 if time.monotonic() - began > _BACK_OFF_S_MAX else min(back_off_s * 2, _BACK_OFF_S_MAX)
            back_off_s = max(0.1, back_off_s)
            _logger.error("the projector's process ended (%s), another in %.1f s", status, back_off_s)
            self._ending.wait(back_off_s)
            with self._turn:
                if self._ending.is_set():
                    return
                self._process = self._start()

    def end(self) -> None:
        """Let it finish the batch in hand; returns when it is gone."""
        with self._turn:
            self._ending.set()
            process = self._process
        _close(_pipe(process))
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _close(pipe: IO[bytes]) -> None:
    # What is still in the buffer cannot be written to one that is gone.
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def main() -> None:
    """Project what standard input tells, until it ends."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # It ends with the process that it accompanies, and neither before nor after.
        signal.signal(each, signal.SIG_IGN)
    told = sys.stdin.buffer.readline()
    if not told:
        return
    sent = json.loads(told)
    set_up_log(sent["log_form"])
    collect_seldom()
    engine = engines.create(sent["url"], pool_size=2)
    stopping = threading.Event()

    def end_with_the_other(listener: Listener) -> None:
        # Not through its buffer: an interpreter cannot end while a thread reads there.
        os.read(sys.stdin.fileno(), 1)
        stopping.set()
        listener.wake()
        # It may be waiting for another projector, or for a database that says nothing.
        time.sleep(_GRACE_S)
        os._exit(1)

    with Listener(engine, log.CHANNEL) as listener:
        threading.Thread(target=end_with_the_other, args=(listener,), daemon=True).start()
        Projecting(engine, Generation(**sent["generation"])).run(listener, stopping)
    engine.dispose()


if __name__ == "__main__":
    main()
