"""`onrecord import --dry-run --beliefs`: which beliefs documents would move, and why."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine
from typer import TyperException

from service import log, projector
from service.cli import moves, terminal
from service.cli.documents import Place
from service.cli.moves import Moved
from service.cli.projecting import current
from service.domain.article import Stance
from service.domain.belief import Change, Move
from service.log import Appended, NewEvent
from service.projector import Generation, Projector
from service.queries.snapshot import view

_OTHERS: Final = (
    "Other read tables than this program's are in use, so what documents would move cannot be seen from here; "
    "leave --beliefs away, or ask the service that keeps them for `previewArticle`."
)
_STOPPED: Final = "What documents would move cannot be seen: {}."
_BATCH: Final = 500
_SAYS: Final = {Stance.ASSERTS: "asserts", Stance.DENIES: "denies", Stance.WITHHOLDS: "withholds"}
_SAID: Final = {Stance.ASSERTS: "asserted", Stance.DENIES: "denied", Stance.WITHHOLDS: "withheld"}


class Foreseeing:
    """Shows what batches of documents would move, by the read tables that are in use."""

    def __init__(self, engine: Engine, policies: Sequence[str]) -> None:
        self._engine = engine
        self._policies = policies

    def show(self, places: Sequence[Place], new: Sequence[NewEvent]) -> None:
        """Print what each document of a batch would move, if it would be recorded."""
        generation = current(self._engine, self._policies)
        if generation is None:
            raise TyperException(_OTHERS)
        with self._engine.connect() as conn, conn.begin() as transaction:
            try:
                changes = foresee(conn, generation, new)
            finally:
                transaction.rollback()
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for _ in range(6):
            table.add_column(overflow="fold")
        for place, change in zip(places, changes, strict=True):
            if change is not None:
                _add(table, place, change)
        if table.row_count:
            terminal.show(table)


def foresee(conn: Connection, generation: Generation, new: Sequence[NewEvent]) -> list[Change | None]:
    """What each event would change under the policy in force; None for one that is known already or refused.

    The batch is recorded and projected for it, event by event, so that each sees
    those before it and what comes out is what would happen. The caller's
    transaction holds the log and the read tables meanwhile, so keep the batch
    short, and it must be rolled back. Raises what `log.append` raises.
    """
    outcomes = log.append(conn, new)
    by = Projector(generation)
    first = min((each.position for each in outcomes if isinstance(each, Appended)), default=None)
    if first is None:
        return [None] * len(new)
    # What others recorded is projected first.
    _advance(conn, by, first - 1)
    begun = view(conn)
    assert begun is not None
    under = [begun.policy.id]
    changes: list[Change | None] = []
    for each, outcome in zip(new, outcomes, strict=True):
        if isinstance(outcome, Appended):
            changes.append(projector.preview(conn, each.event, position=outcome.position, policies=under))
            _advance(conn, by, outcome.position)
        else:
            changes.append(None)
    return changes


def _advance(conn: Connection, by: Projector, to: int) -> None:
    progress = by.advance(conn, limit=0)
    while progress.position < to and progress.stopped_at is None:
        progress = by.advance(conn, limit=min(to - progress.position, _BATCH))
    if progress.stopped_at is not None:
        raise TyperException(_STOPPED.format(progress.because))


def _add(table: Table, place: Place, change: Change) -> None:
    if not change.transitions:
        table.add_row(Text(str(place)), Text("moves no belief", "faint"))
    for each in change.transitions:
        late = ["it tells of an earlier time"] if each.retroactive else []
        why = [_why(move) for move in change.moves if each.claim in {said.claim for said in move if said is not None}]
        table.add_row(
            Text(str(place)),
            *moves.row(Moved(each.claim, each.before, each.after)),
            Text(f"because {'; '.join([*why, *late])}" if why or late else "", "faint"),
        )


def _why(move: Move) -> str:
    """Who now stands otherwise on a claim."""
    old, new = move
    if new is None:
        assert old is not None
        return f"{old.speaker} no longer {_SAYS[old.stance]}"
    before = f", and {_SAID[old.stance]} before" if old is not None and old.stance is not new.stance else ""
    return f"{new.speaker} {_SAYS[new.stance]}{before}"
