"""Beliefs that moved, or would move: which, from what to what."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.table import Table
from rich.text import Text

from service.cli import terminal
from service.domain.policies import Verdict

#: More than anybody reads on a terminal.
SHOWN_MAX: Final = 100


class Moved(NamedTuple):
    """A belief before and after."""

    claim: str
    before: Verdict | None  #: None where the claim was not there.
    after: Verdict | None  #: None where it is merged away.


def show(moved: Sequence[Moved]) -> None:
    """Print what moved, one claim a line."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for each in moved[:SHOWN_MAX]:
        table.add_row(*row(each))
    terminal.show(table)
    if len(moved) > SHOWN_MAX:
        terminal.say(f"and {len(moved) - SHOWN_MAX:,} more")


def row(each: Moved) -> tuple[Text, Text, Text, Text]:
    """The cells of one that moved: the claim, what was believed, an arrow, what is."""
    return (
        Text(each.claim, "key"),
        _drawn(each.before, otherwise="not on record"),
        Text("->", "faint"),
        _drawn(each.after, otherwise="merged away"),
    )


def counted(moved: Sequence[Moved], *, would: bool = False) -> str:
    """How many they are, as the beginning of a sentence."""
    verb = "would move" if would else "moved"
    return f"{len(moved) or 'No'} {'belief' if len(moved) in (0, 1) else 'beliefs'} {verb}"


def _drawn(verdict: Verdict | None, *, otherwise: str) -> Text:
    if verdict is None:
        return Text(otherwise, "faint")
    return Text.assemble((verdict.state, verdict.state), f" {verdict.reason}")
