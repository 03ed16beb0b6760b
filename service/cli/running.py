"""`main`: runs a command, and turns whatever ends it into a sentence and an exit status.

Statuses: 0 done, 1 refused or failed, 2 called wrongly, 128 + n ended by signal n.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Final

_DEBUG: Final = "--debug"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How many more objects there must be than before, until cycles are looked for.
_ALLOCATIONS: Final = 50_000


def collect_seldom() -> None:
    """Let this process look for cycles of objects more seldom, and never among what is loaded by now.

    Documents, events and rows are thousands of objects that form none. To look through them
    again and again took as long as the work on them.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command that `args` name (those of the process by default); returns the exit status."""
    given = list(sys.argv[1:] if args is None else args)
    debug = _DEBUG in given
    # Wherever it was written: who sees an error adds it at the end.
    given = [*[_DEBUG] * debug, *(arg for arg in given if arg != _DEBUG)]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A quote may hold what the terminal's encoding has no letter for.
            stream.reconfigure(errors="backslashreplace")
    with _signals_raised() as caught:
        try:
            return _run(given, debug=debug)
        except KeyboardInterrupt:
            return 128 + (caught[-1] if caught else signal.SIGINT)


def _run(args: Sequence[str], *, debug: bool) -> int:
    from service.cli.commands import app

    collect_seldom()
    try:
        status = app(args, prog_name="onrecord", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`). The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            raise
        from service.cli.failures import told

        sentence, code = told(error)
        sys.stderr.write(f"{sentence}\n" if sentence else "")
        return code
    if status == 128 + signal.SIGINT:
        # Typer says so of every signal; which one it was is known to our caller.
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _signals_raised() -> Generator[list[int]]:
    """Within it, being told to end is an exception, so that what is open is closed on the way out.

    Gives the signals that came.
    """
    caught: list[int] = []

    def interrupt(signum: int, _: FrameType | None) -> None:
        caught.append(signum)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {signum: signal.signal(signum, interrupt) for signum in _SIGNALS}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
