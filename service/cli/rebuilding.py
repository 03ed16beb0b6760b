"""`onrecord rebuild`: all read tables anew from the log."""

import contextlib
import time
from collections.abc import Callable, Generator
from typing import Final

from rich.text import Text

from service.audit.rebuild import Rebuilt
from service.audit.rebuild import rebuild as rebuilt
from service.cli import terminal
from service.cli.opening import open_database
from service.config import Settings

#: How often a line is written where no bar can be drawn.
_LINE_S: Final = 5.0
_DIFFERS: Final = (
    "The read tables did not say what the log says, under {}: somebody or something other than onrecord changed them. "
    "What was answered from them may have been wrong. The new ones have taken their place, made from the log alone."
)
_STILL_READ: Final = (
    "Somebody is still reading the old read tables; a running service removes them, or else the next rebuild does."
)


def rebuild(settings: Settings) -> None:
    """Make all read tables anew, and say whether the old ones said what the log says."""
    with open_database(settings) as engine:
        with _progress() as told:
            made = rebuilt(engine, told=told)
        _draw(made)
        differing = [policy for policy, digest in made.after.items() if made.before[policy] != digest]
        if differing:
            terminal.warn(_DIFFERS.format(", ".join(differing)))
        else:
            terminal.say("The new read tables say the same as the old ones, and have taken their place.")
        if not made.removed:
            terminal.say(_STILL_READ)


def _draw(made: Rebuilt) -> None:
    """The state digests as `onrecord digest` prints them: once where they are the same, else before and after."""
    for policy, after in made.after.items():
        before = made.before[policy]
        if before == after:
            _line(after, policy, made.position, "before and after")
        else:
            _line(before or "unreadable", policy, made.position, "before")
            _line(after, policy, made.position, "after, and differs", style="warning")


def _line(digest: str, policy: str, position: int, what: str, *, style: str = "faint") -> None:
    terminal.out().print(Text.assemble(f"{digest}  {policy}  {position}  ", (what, style)), soft_wrap=True)


@contextlib.contextmanager
def _progress() -> Generator[Callable[[int, int], object]]:
    """A bar on a terminal; elsewhere a line now and then. Gives what is told how many entries are done, of how many."""
    console = terminal.err()
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="default", finished_style="default"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Rebuilding", total=None, rate="")
        begun = time.monotonic()

        def told(done: int, of: int) -> None:
            description = "Rebuilding" if done < of else "Comparing"
            rate = f"{_rate(done, begun):,.0f} entries/s"
            progress.update(task, completed=done, total=of, description=description, rate=rate)

        yield told


def _lines() -> Callable[[int, int], object]:
    begun = last = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == of:
            terminal.say(f"{of:,} entries in {now - begun:,.1f} s; comparing")
        elif now - last >= _LINE_S:
            last = now
            rate = _rate(done, begun)
            left = f", about {(of - done) / rate:,.0f} s left" if rate else ""
            terminal.say(f"{done:,} of {of:,} entries, {rate:,.0f} entries/s{left}")

    return told


def _rate(done: int, begun: float) -> float:
    return done / max(time.monotonic() - begun, 1e-3)
