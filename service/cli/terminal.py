"""What is written for people: the two consoles, and text that cannot take a terminal over."""

import contextlib
import sys
import threading
from collections.abc import Callable, Generator
from functools import cache
from typing import Final

from rich.console import Console, RenderableType
from rich.text import Text
from rich.theme import Theme

_THEME: Final = Theme(
    {
        "asserted": "green",
        "denied": "red",
        "unverified": "yellow",
        "asserts": "green",
        "denies": "red",
        "withholds": "yellow",
        "faint": "dim",
        "key": "bold",
        "warning": "yellow",
        "error": "red",
    }
)
_PATIENCE_S: Final = 0.7
_WIDTH_ELSEWHERE: Final = 100_000
#: Invisible characters that scripts need to join or part their letters.
_JOINERS: Final = "\u200c\u200d"


@cache
def out() -> Console:
    """Standard output."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Standard error, for everything that is not the answer: progress, warnings, refusals."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    # Nothing is guessed from what we print: a quote may well look like markup or a number.
    console = Console(stderr=stderr, theme=_THEME, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        # Whoever reads a pipe or a file wants whole lines.
        console.width = _WIDTH_ELSEWHERE
    return console


def clean(text: str) -> str:
    r"""Text that can be shown: on one line, with nothing in it that moves a cursor or turns letters round.

    >>> clean("a\nb\x1b[2J")
    'a b\ufffd[2J'
    """
    shown = " ".join(text.split())
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() or char in _JOINERS else "\N{REPLACEMENT CHARACTER}" for char in shown)


def show(drawn: RenderableType) -> None:
    """Print the answer, or a part of it, elsewhere than on a terminal without the blanks that fill a table."""
    console = out()
    if console.is_terminal:
        console.print(drawn)
        return
    with console.capture() as captured:
        console.print(drawn)
    for line in captured.get().splitlines():
        console.print(line.rstrip())


def line_break() -> str:
    """Between what belongs on two lines on a terminal, and on one for `grep`."""
    return "\n" if out().is_terminal else "  "


def say(sentence: str, *, style: str = "") -> None:
    """Tell a person something that is not part of the answer."""
    err().print(Text(sentence, style=style))


def warn(sentence: str) -> None:
    """Tell a person what they may want to change."""
    err().print(Text.assemble(("warning", "warning"), "  ", sentence))


def write(line: bytes) -> None:
    """One line for a program, as it is."""
    sys.stdout.buffer.write(line + b"\n")


@contextlib.contextmanager
def waiting(sentence: str) -> Generator[Callable[[str], object]]:
    """Shows on a terminal that something takes its time, once it does; elsewhere nothing.

    Gives what changes the sentence.
    """
    if not err().is_terminal:
        yield lambda _: None
        return
    status = err().status(sentence)
    timer = threading.Timer(_PATIENCE_S, status.start)
    timer.start()
    try:
        yield status.update
    finally:
        timer.cancel()
        timer.join()
        status.stop()
