"""`onrecord prove` and `onrecord checkpoint`: what others need to verify the log."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from sqlalchemy import Engine
from typer import TyperException

from service import log, tree
from service.cli import terminal
from service.cli.integrating import Integrating
from service.cli.opening import open_database
from service.config import Settings
from service.tree import SignedCheckpoint


def prove(settings: Settings, positions: Sequence[int], *, since: Sequence[Path], tlog_proof: bool) -> None:
    """Print what it takes to see offline that these entries are in the log."""
    notes = [each.read_bytes().decode(errors="replace") for each in since]
    with open_database(settings) as engine:
        cover(engine, settings, max(positions))
        with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn:
            if tlog_proof:
                printed = str(tree.tlog_proof(conn, positions[0])).removesuffix("\n")
            else:
                printed = json.dumps(tree.evidence(conn, positions, since=notes), indent=2, ensure_ascii=False)
    terminal.write(printed.encode())


def checkpoint(settings: Settings, *, key: bool) -> None:
    """Sign the log as it is now, and print the checkpoint, or the `key` to verify it with."""
    with open_database(settings) as engine:
        integrating = Integrating.of(engine, settings)
        integrating.check()
        with terminal.waiting("Hashing the log ..."):
            signed = integrating.catch_up()
        _show(engine, signed, key=key)


def rebuild(settings: Settings) -> None:
    """Make the stored tree anew from the log, and sign what is new."""
    with open_database(settings) as engine:
        with terminal.waiting("Hashing the log ..."), engine.begin() as conn:
            size = tree.rebuild(conn)
        terminal.say(f"The tree is made anew from {size:,} entries, and is what was signed.")
        integrating = Integrating.of(engine, settings)
        integrating.check()
        _show(engine, integrating.catch_up(), key=False)


def accept_loss(settings: Settings, *, reason: str) -> None:
    """Go on with what is left of the log, under a new origin."""
    with open_database(settings) as engine:
        integrating = Integrating.of(engine, settings)
        with terminal.waiting("Hashing the log ..."):
            signed = integrating.accept_loss(reason)
        terminal.warn(
            f"The log goes on as {signed.origin}, with {signed.size:,} entries. Tell those who verify it: "
            "the key is a new one to them, and what caches hold of /tile is of the old one."
        )
        _show(engine, signed, key=False)


def cover(engine: Engine, settings: Settings, position: int | None = None) -> None:
    """See that a checkpoint covers the position, or the whole log, signing one if need be."""
    with engine.connect() as conn:
        newest, head = tree.newest(conn), log.head(conn)
    position = head if position is None else position
    if position > head:
        raise TyperException(f"There is no entry at position {position}; the log has {head:,}.")
    if newest is None or newest.size < position:
        integrating = Integrating.of(engine, settings)
        integrating.check()
        with terminal.waiting("Hashing the log ..."):
            integrating.catch_up()


def _show(engine: Engine, signed: SignedCheckpoint, *, key: bool) -> None:
    with engine.connect() as conn:
        known = tree.identity(conn)
    assert known is not None
    if key:
        terminal.write(str(known.key).encode())
        return
    terminal.write(signed.note.removesuffix("\n").encode())
    terminal.err().print(Text(f"Verify with the key {known.key}", style="faint"), soft_wrap=True)
