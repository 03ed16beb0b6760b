"""What people decide on what articles brought: merges, relations, rulings, policies, erasures."""

from typing import Final, assert_never

from rich.text import Text
from sqlalchemy import Connection
from typer import BadParameter

from service import log, texts
from service.cli import moves, recording, terminal
from service.cli.acting import actor
from service.cli.moves import Moved
from service.cli.opening import open_database
from service.config import Settings
from service.domain import article as documents
from service.domain.errors import DocumentInvalid, TooBroad
from service.domain.events import (
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    MergeUndone,
    PolicyAdopted,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.log import NewEvent, Repeated
from service.queries import beliefs as queries
from service.queries.paging import Page
from service.queries.snapshot import AsOf, View, view

Decision = (
    TextErased | ClaimsMerged | SpeakersMerged | MergeUndone | ClaimsRelated | ClaimRuled | RulingLifted | PolicyAdopted
)

#: How the command line calls the fields of a decision; all others by their names in capitals.
_HINTS: Final = {"into": "--into", "reason": "--reason", "text_sha256": "SHA256", "to": "OTHER"}
_NOT_YET: Final = "Which beliefs it moves is seen once it is projected; it is recorded all the same."
_ADOPTED: Final = "No belief moved: each policy goes on as it was."
_UNLISTED: Final = (
    "{} is not projected: until `onrecord project --once`, or `onrecord serve` when it starts, has done that, "
    "name another with --policy to list claims."
)


def decide(settings: Settings, kind: type[Decision], **given: object) -> None:
    """Record a decision, and print at which position and which beliefs it moved.

    One that is in force already is not recorded again, and nothing changes.
    """
    decided = _validated(kind, given)
    with open_database(settings) as engine:
        with engine.begin() as conn:
            kept = _kept(conn, decided)
            (outcome,) = log.append_all(conn, [NewEvent.of(decided, actor=actor())])
        if isinstance(outcome, Repeated):
            _say(f"So it is since position {outcome.position}: {_told(decided)}. Nothing changed.")
            return
        with engine.begin() as conn:
            log.announce(conn)
        _say(f"From position {outcome.position} on, {_told(decided)}.{kept}")
        recording.catch_up(engine, settings)
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as conn:
            _show_moved(view(conn), decided, outcome.position)


def _validated(kind: type[Decision], given: dict[str, object]) -> Decision:
    try:
        return documents.validated(kind, given)
    except DocumentInvalid as error:
        fault = error.problems[0]
        raise BadParameter(fault.message, param_hint=_HINTS.get(fault.path, fault.path.upper())) from None


def _told(decided: Decision) -> str:
    """What is so from now on."""
    match decided:
        case ClaimsMerged(claim=merged, into=into, opposite=opposite):
            return f"{merged} counts for {'the opposite of ' if opposite else ''}{into}"
        case SpeakersMerged(speaker=merged, into=into):
            return f"what {merged} says counts as said by {into}"
        case MergeUndone(position=made):
            return f"the merge of position {made} is undone"
        case ClaimsRelated(claim=claim, relation=relation, to=to):
            return f"{claim} {relation} {to}"
        case ClaimRuled(claim=claim, state=state):
            return f"{claim} is {state} under every policy"
        case RulingLifted(claim=claim):
            return f"the policies decide on {claim} again"
        case PolicyAdopted(policy=policy):
            return f"{policy} is meant where no policy is named"
        case TextErased(text_sha256=digest):
            return f"the text {digest} is erased, whatever brings it again"
        case _:
            assert_never(decided)


def _kept(conn: Connection, decided: Decision) -> str:
    """Of an erasure, whether the text is there: a mistyped hash would be erased as well."""
    if not isinstance(decided, TextErased):
        return ""
    digest = bytes.fromhex(decided.text_sha256)
    return "" if texts.texts_by_hash(conn, [digest]) else " No text of that hash was kept here."


def _show_moved(reading: View | None, decided: Decision, position: int) -> None:
    match decided:
        case PolicyAdopted(policy=adopted):
            _say(_ADOPTED)
            if reading is not None and adopted not in reading.snapshot.policies:
                terminal.warn(_UNLISTED.format(adopted))
            return
        case TextErased() | ClaimsRelated():
            return
        case _:
            pass
    if reading is None or reading.position < position:
        terminal.say(_NOT_YET)
        return
    under = reading.at(AsOf(position)).policy
    try:
        page = Page(queries.FOLDED_MAX)
        changed = queries.changes(reading, under, start=position - 1, to=position, page=page).items
    except TooBroad as error:
        _say(f"It touches more than {error.limit:,} claims, too many to compare here.")
        return
    moved = [
        Moved(
            each.claim,
            None if each.before is None else each.before.verdict,
            None if each.after is None else each.after.verdict,
        )
        for each in changed
    ]
    _say(f"{moves.counted(moved)} under {under.id}{':' if moved else '.'}")
    if moved:
        moves.show(moved)


def _say(sentence: str) -> None:
    terminal.out().print(Text(sentence))
