"""`onrecord replay`, `verify`, `digest`, `export` and `import-log`: what auditors ask, and what they carry away."""

import contextlib
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import orjson
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine

from service import audit, log
from service.audit import transferring, verifying
from service.audit.recounting import LeftOut
from service.audit.replaying import STORED, Comparison, Outcome
from service.cli import integrating, recording, terminal
from service.cli.opening import open_database
from service.cli.terminal import clean
from service.config import Settings
from service.domain.policies import Policy, policy

#: A file's name that means standard input or output.
_STANDARD: Final = "-"


# --- replay -----------------------------------------------------------------------


def replay(
    settings: Settings,
    *,
    under: str | None,
    to: int | None,
    speakers: Sequence[str],
    outlets: Sequence[str],
    rulings: bool,
    against: str | None,
    json: bool,
) -> None:
    """Print what comes out differently, claim by claim."""
    left_out = LeftOut(frozenset(speakers), frozenset(outlets), rulings)
    chosen = None if under is None else policy(under)
    other = against if against in (None, STORED) else policy(against)
    with _reading(settings) as conn:
        compared = audit.compare(conn, policy=chosen, to=to, leave_out=left_out, against=other)
    if json:
        terminal.write(orjson.dumps(_told(compared)))
        return
    if compared.differences:
        terminal.show(_table(compared))
    terminal.say(_summed_up(compared), style="faint")


def _told(compared: Comparison) -> dict[str, Any]:
    """A comparison as JSON has it."""
    made, against = compared.replay, compared.against
    return {
        "position": made.position,
        "policy": made.policy,
        "without_speakers": sorted(made.left_out.speakers),
        "without_outlets": sorted(made.left_out.outlets),
        "without_rulings": made.left_out.rulings,
        "against": {"stored": compared.stored, "policy": against.policy, "claims": against.claims},
        "claims": made.claims,
        "moved": len(compared.moved),
        "differences": [
            {
                "claim": each.claim,
                "before": None if each.before is None else each.before._asdict(),
                "after": None if each.after is None else each.after._asdict(),
            }
            for each in compared.differences
        ],
    }


def _table(compared: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for each in compared.differences:
        arrow = Text("->" if each.moved else "  ", "faint")
        table.add_row(Text(each.claim, "key"), _drawn(each.before), arrow, _drawn(each.after))
    return table


def _drawn(outcome: Outcome | None) -> Text:
    if outcome is None:
        return Text("nobody speaks of it", "faint")
    counts = f"{outcome.asserting}+ {outcome.denying}\N{MINUS SIGN} {outcome.withholding}?"
    return Text.assemble((outcome.state, outcome.state), f" {outcome.reason} ", (counts, "faint"))


def _summed_up(compared: Comparison) -> str:
    made, against = compared.replay, compared.against
    without = [f"the speaker {id}" for id in sorted(made.left_out.speakers)]
    without += [f"the outlet {id}" for id in sorted(made.left_out.outlets)]
    without += ["rulings"] if made.left_out.rulings else []
    what = f"{made.policy} at position {made.position}"
    what += f" without {', '.join(without)}" if without else ""
    other = f"what is stored of {against.policy}" if compared.stored else f"{against.policy} with everything"
    moved, differing = len(compared.moved), len(compared.differences)
    of = f"of {compared.claims:,} claims"
    only = f", {differing - moved:,} only in how many speak" if differing > moved else ""
    return f"{what}, compared with {other}: {differing:,} {of} come out differently{only}."


# --- verify -----------------------------------------------------------------------


def verify(settings: Settings, *, checkpoint: Path | None) -> int:
    """Print each mismatch; returns the exit status.

    With the checkpoint that the service keeps outside the database, where it is at hand and none is
    named: a log that was restored from a backup is whole, and may still lack what was signed.
    """
    known = checkpoint or integrating.kept(settings)
    # Before the snapshot begins: a service that runs may sign meanwhile.
    note = None if known is None else known.read_bytes().decode(errors="replace")
    with _reading(settings) as conn:
        found = verifying.verify(conn, lambda each: terminal.out().print(Text(clean(str(each)))), note=note)
    for each in found.omitted:
        terminal.warn(f"Not compared: {clean(each)}.")
    looked_at = (
        f"{found.entries:,} entries, {found.register_rows:,} rows of the register, "
        f"{found.read_rows:,} rows of the read tables, {found.texts:,} texts, "
        f"and the tree over {found.in_tree:,} entries"
    )
    verdict = "all as the log says" if not found.mismatches else f"{found.mismatches:,} mismatches"
    terminal.say(f"{looked_at}: {verdict}.", style="error" if found.mismatches else "faint")
    return 1 if found.mismatches else 0


# --- digest -----------------------------------------------------------------------


def digest(settings: Settings, *, under: str | None, position: int | None, from_log: bool) -> None:
    """Print the state digest on one line: hash, policy, position."""
    chosen: Policy | None = None if under is None else policy(under)
    with _reading(settings) as conn:
        made = (audit.digest_of_log if from_log else audit.digest_stored)(conn, chosen, position=position)
    terminal.out().print(f"{made.root.hex()}  {made.policy}  {made.position}")


# --- export and import ------------------------------------------------------------


def export(settings: Settings, file: str, *, first: int, to: int | None, with_texts: bool) -> None:
    """Write the log to a file, or to standard output."""
    with _reading(settings) as conn, _writing(file) as opened:
        made = transferring.export_log(
            conn, lambda line: opened.write(line + b"\n"), first=first, to=to, with_texts=with_texts
        )
    texts = f" and {made.texts:,} texts" if with_texts else ""
    terminal.say(f"{made.entries:,} entries{texts}, up to position {made.position}; root {made.root.hex()}.")


def import_log(settings: Settings, file: str) -> None:
    """Record an exported log, all of it or nothing."""
    with open_database(settings) as engine:
        with _lines(file) as lines, terminal.waiting("Importing the log ..."):
            made = _imported(engine, lines)
        known = f", {made.known:,} known already" if made.known else ""
        texts = f", {made.texts:,} texts" if made.texts else ""
        terminal.out().print(f"{made.entries:,} recorded{known}{texts}; root {made.root.hex()}.")
        recording.catch_up(engine, settings)


def _imported(engine: Engine, lines: Iterator[bytes]) -> transferring.Transferred:
    with engine.begin() as conn:
        made = transferring.import_log(conn, lines)
    if made.entries:
        with engine.begin() as conn:
            log.announce(conn)
    return made


@contextlib.contextmanager
def _writing(file: str) -> Generator[IO[bytes]]:
    """The file to write to. It has its name only once it is whole."""
    if file == _STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as opened:
            yield opened
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _lines(file: str) -> Generator[Iterator[bytes]]:
    """The lines of a file, none longer than one of an export can be."""
    longest = transferring.LINE_BYTES_MAX + 1
    with contextlib.ExitStack() as stack:
        opened: IO[bytes] = sys.stdin.buffer if file == _STANDARD else stack.enter_context(Path(file).open("rb"))
        yield iter(lambda: opened.readline(longest), b"")


@contextlib.contextmanager
def _reading(settings: Settings) -> Generator[Connection]:
    """One moment of log and beliefs, in which nothing can be changed."""
    with open_database(settings) as engine:
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as conn:
            yield conn
